// Values of fields as ovs-ofctl prints and reads them.

import type { Ipv4, Mac } from '../base/addresses';
import { formatIpv4, formatMac, parseIpv4, parseMac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { PortNo } from './constants';
import { OFPP } from './constants';
import type { Masked, MatchValue } from './match';
import type { FieldRow } from './oxm';

/** C's %#x: a hexadecimal number, and 0 as "0". */
export function hex(value: number | bigint): string {
  return value == 0 ? '0' : `0x${value.toString(16)}`;
}

export function isMasked(value: MatchValue): value is Masked<number> | Masked<bigint> {
  return typeof value === 'object';
}

const PORT_NAMES = new Map<number, string>(
  Object.entries(OFPP)
    .filter(([name]) => name !== 'MAX')
    .map(([name, portNo]) => [portNo, name]),
);

export function formatPort(portNo: number): string {
  return PORT_NAMES.get(portNo) ?? String(portNo);
}

/** A port number or a reserved port's name. Throws `invalid`. */
export function parsePort(text: string): PortNo {
  const reserved = OFPP[text.toUpperCase() as keyof typeof OFPP];
  return reserved ?? (parseUnsigned(text, 0xffffffff) as PortNo);
}

/** A decimal or hexadecimal number of 0 to `max`. Throws `invalid`. */
export function parseUnsigned(text: string, max: number): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : NaN;
  if (!(value <= max)) throw new DaoliError('invalid', `"${text}" is not a number of 0 to ${max}`, text);
  return value;
}

/** The same for wide fields. -1 is all ones, as in `cookie=1/-1`. */
export function parseWide(text: string, max: bigint): bigint {
  if (text === '-1') return max;
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : -1n;
  if (value < 0n || value > max) throw new DaoliError('invalid', `"${text}" is not a number of 0 to ${max}`, text);
  return value;
}

/** Dotted decimal with what the mask needs: nothing, a prefix length, or a dotted mask. */
function formatMaskedIpv4(value: number, mask: number): string {
  const address = formatIpv4(value as Ipv4);
  if (mask === 0xffffffff) return address;
  const prefix = Math.clz32(~mask);
  const contiguous = ((mask << prefix) | 0) === 0;
  return `${address}/${contiguous ? prefix : formatIpv4(mask as Ipv4)}`;
}

/** Eight groups, the longest run of two or more zero groups as "::" (RFC 5952). */
export function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16));
  let [start, length] = [0, 1];
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (groups[i + run] === '0') run++;
    if (run > length) [start, length] = [i, run];
  }
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

function parseIpv6(text: string): bigint {
  const sides = text.split('::');
  const groups = sides.map((side) => (side === '' ? [] : side.split(':')));
  const [head = [], tail = []] = groups;
  const missing = 8 - head.length - tail.length;
  const all = sides.length === 2 ? [...head, ...Array<string>(Math.max(missing, 0)).fill('0'), ...tail] : head;
  if (sides.length > 2 || all.length !== 8 || !all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) {
    throw new DaoliError('invalid', `"${text}" is not an IPv6 address`, text);
  }
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function formatMaskedIpv6(value: bigint, mask: bigint): string {
  const all = (1n << 128n) - 1n;
  if (mask === all) return formatIpv6(value);
  const zeros = (all ^ mask).toString(2).replace(/^0$/, '').length;
  const contiguous = mask === (all >> BigInt(zeros)) << BigInt(zeros);
  return `${formatIpv6(value)}/${contiguous ? 128 - zeros : formatIpv6(mask)}`;
}

// Name, value and mask. The first row of a name is what it means when it is read; OVS prints the others too.
const FRAG_NAMES: readonly (readonly [string, number, number])[] = [
  ['no', 0, 3],
  ['first', 1, 3],
  ['later', 3, 3],
  ['no', 0, 1],
  ['yes', 1, 1],
  ['later', 2, 2],
  ['not_later', 0, 2],
];
function formatFrag(value: number, mask: number): string {
  return FRAG_NAMES.find((row) => row[1] === value && row[2] === mask)?.[0] ?? '<error>';
}

function paddedHex(row: FieldRow, value: number | bigint): string {
  return `0x${value.toString(16).padStart(Math.ceil(row.bits / 4), '0')}`;
}

/** A value of `row` with its mask, as in set_field. In a match the field's own spelling may differ: see match-text. */
export function formatValue(row: FieldRow, value: MatchValue): string {
  const exact = isMasked(value) ? value.value : value;
  const mask = isMasked(value) ? value.mask : row.max;
  switch (row.format) {
    case 'port':
      return formatPort(exact as number);
    case 'mac':
      return formatMac(exact as Mac) + (isMasked(value) ? `/${formatMac(mask as Mac)}` : '');
    case 'ipv4':
      return formatMaskedIpv4(exact as number, mask as number);
    case 'ipv6':
      return formatMaskedIpv6(exact as bigint, mask as bigint);
    case 'frag':
      return formatFrag(exact as number, mask as number);
    case 'paddedHex':
      return paddedHex(row, exact) + (isMasked(value) ? `/${paddedHex(row, mask)}` : '');
    case 'hex':
      return hex(exact) + (isMasked(value) ? `/${hex(mask)}` : '');
    case 'decimal':
      // A masked number is hexadecimal on both sides.
      return isMasked(value) ? `0x${exact.toString(16)}/0x${mask.toString(16)}` : String(exact);
  }
}

function parseExact(row: FieldRow, text: string): number | bigint {
  switch (row.format) {
    case 'port':
      return parsePort(text);
    case 'mac':
      return parseMac(text);
    case 'ipv4':
      return parseIpv4(text);
    case 'ipv6':
      return parseIpv6(text);
    default:
      return row.bits > 48 ? parseWide(text, row.max as bigint) : parseUnsigned(text, row.max as number);
  }
}

function parseMask(row: FieldRow, text: string): number | bigint {
  if (row.format === 'ipv4' && /^\d{1,2}$/.test(text)) {
    const prefix = parseUnsigned(text, 32);
    return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
  }
  if (row.format === 'ipv6' && /^\d{1,3}$/.test(text)) {
    const prefix = parseUnsigned(text, 128);
    return (row.max as bigint) ^ ((1n << BigInt(128 - prefix)) - 1n);
  }
  return parseExact(row, text);
}

/** The value that `text` gives to `row`, with a mask after "/". Throws `invalid`. */
export function parseValue(row: FieldRow, text: string): MatchValue {
  if (row.format === 'frag') {
    const named = FRAG_NAMES.find(([name]) => name === text);
    if (named === undefined) throw new DaoliError('invalid', `"${text}" is no kind of fragment`, text);
    const [, value, mask] = named;
    return mask === row.max ? value : { value, mask };
  }
  const slash = text.indexOf('/');
  if (slash < 0) return parseExact(row, text);
  const mask = parseMask(row, text.slice(slash + 1));
  const value = parseExact(row, text.slice(0, slash));
  if (mask === row.max) return value;
  if (typeof value === 'bigint') return { value: value & (mask as bigint), mask: mask as bigint };
  return { value: maskNumber(value, mask as number), mask: mask as number };
}

/** `value & mask` for up to 48 bits. */
function maskNumber(value: number, mask: number): number {
  const high = (Math.floor(value / 0x1_0000_0000) & Math.floor(mask / 0x1_0000_0000)) >>> 0;
  return high * 0x1_0000_0000 + ((value & mask) >>> 0);
}
