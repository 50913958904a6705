// IPv4 and MAC addresses as numbers, and their text. The controller compares and packs addresses millions of times a
// second, so they are numbers inside; text exists at the edges (Docker, OVSDB, logs). IPv6 gets types of its own later.

import { DaoliError } from './errors';

declare const brand: unique symbol;
/** An IPv4 address, 0 to 2^32-1. */
export type Ipv4 = number & { readonly [brand]: 'Ipv4' };
/** A MAC address, 0 to 2^48-1. */
export type Mac = number & { readonly [brand]: 'Mac' };
/** An IPv4 prefix: `base` has no bit set below `prefix` (0 to 32). */
export interface Cidr {
  readonly base: Ipv4;
  readonly prefix: number;
}

const OCTET = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
const IPV4 = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`);

/** Parses dotted decimal, strictly (no leading zeros). Undefined where it is not an IPv4 address. */
export function tryParseIpv4(text: string): Ipv4 | undefined {
  const octets = IPV4.exec(text);
  if (octets === null) return undefined;
  return (((Number(octets[1]) << 24) | (Number(octets[2]) << 16) | (Number(octets[3]) << 8) | Number(octets[4])) >>>
    0) as Ipv4;
}

/** Parses dotted decimal. Throws `invalid`, naming the text. */
export function parseIpv4(text: string): Ipv4 {
  const address = tryParseIpv4(text);
  if (address === undefined) throw new DaoliError('invalid', `"${text}" is not an IPv4 address`, text);
  return address;
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Parses an address with its prefix length as interfaces have it, "10.1.0.5/24". Throws `invalid`. */
export function parseInterfaceAddress(text: string): { address: Ipv4; prefix: number } {
  const slash = text.indexOf('/');
  const address = slash < 0 ? undefined : tryParseIpv4(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,2}$/.test(length) || Number(length) > 32) {
    throw new DaoliError('invalid', `"${text}" is not an IPv4 address with a prefix length (as in 10.1.0.5/24)`, text);
  }
  return { address, prefix: Number(length) };
}

/** Parses a prefix, "10.1.0.0/24". Host bits must be zero. Throws `invalid`. */
export function parseCidr(text: string): Cidr {
  const { address, prefix } = parseInterfaceAddress(text);
  const cidr = cidrOf(address, prefix);
  if (cidr.base !== address) {
    throw new DaoliError('invalid', `"${text}" has bits set below its prefix: did you mean ${formatCidr(cidr)}?`, text);
  }
  return cidr;
}

export function formatCidr(cidr: Cidr): string {
  return `${formatIpv4(cidr.base)}/${cidr.prefix}`;
}

/** The network mask of a prefix length, as an unsigned number. */
export function maskOf(prefix: number): number {
  return prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0;
}

/** The prefix of the given length that holds `address`. */
export function cidrOf(address: Ipv4, prefix: number): Cidr {
  return { base: ((address & maskOf(prefix)) >>> 0) as Ipv4, prefix };
}

export function cidrHolds(cidr: Cidr, address: Ipv4): boolean {
  return (address & maskOf(cidr.prefix)) >>> 0 === cidr.base;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrHolds(a, b.base) : cidrHolds(b, a.base);
}

/** How many addresses a prefix has, the first and the last included. */
export function cidrSize(cidr: Cidr): number {
  return 2 ** (32 - cidr.prefix);
}

export function cidrLast(cidr: Cidr): Ipv4 {
  return (cidr.base + cidrSize(cidr) - 1) as Ipv4;
}

const MAC = /^([0-9a-f]{2}):([0-9a-f]{2}):([0-9a-f]{2}):([0-9a-f]{2}):([0-9a-f]{2}):([0-9a-f]{2})$/i;

/** Parses six hex octets with colons. Throws `invalid`. */
export function parseMac(text: string): Mac {
  if (!MAC.test(text))
    throw new DaoliError('invalid', `"${text}" is not a MAC address (as in 02:42:0a:01:00:05)`, text);
  return parseInt(text.replaceAll(':', ''), 16) as Mac;
}

export function formatMac(mac: Mac): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/..(?!$)/g, '$&:');
}
