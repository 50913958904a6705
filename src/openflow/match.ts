// A match as a plain object, and its bytes: struct ofp_match of type OFPMT_OXM (OpenFlow 1.4, 7.2.2).

import type { MessageWriter } from './message-writer';
import { ProtocolError } from './protocol-error';
import { u16, u32, readValue } from './reader';
import type { FieldName, FieldRow, FieldValues } from './oxm';
import { FIELDS, OXM_HAS_MASK, rowOfHeader } from './oxm';

/** A value of which only the bits of `mask` count. `value` has no bit outside `mask`. */
export interface Masked<Value> {
  readonly value: Value;
  readonly mask: Value;
}

/**
 * Which packets a flow is for: each field exact or masked, absent fields free. Prerequisites (`ethType` for `ipv4Src`,
 * `ipProto` for `tcpDst`) are the caller's; the datapath refuses a match that lacks them. `unknown` holds fields of
 * other people's flows that this codec has no name for, as the bytes of their TLVs.
 */
export type Match = {
  readonly [Field in FieldName]?: FieldValues[Field] | Masked<FieldValues[Field]>;
} & { readonly unknown?: Buffer };

/** What stands in a match for one field, whichever. */
export type MatchValue = number | bigint | Masked<number> | Masked<bigint>;

const OFPMT_OXM = 1;

/** Stores one value in the width of its field. Throws RangeError where it does not fit. */
function encodeValue(writer: MessageWriter, row: FieldRow, value: number | bigint): void {
  if (value < 0 || value > row.max) throw new RangeError(`${row.field}: ${value} does not fit ${row.bits} bits`);
  if (typeof value === 'bigint') {
    if (row.bytes === 8) writer.u64(value);
    else if (row.bytes === 16) writer.u128(value);
    else throw new RangeError(`${row.field} is a number, not a bigint`);
    return;
  }
  if (row.bytes === 4) writer.u32(value);
  else if (row.bytes === 2) writer.u16(value);
  else if (row.bytes === 6) writer.u48(value);
  else if (row.bytes === 1) writer.u8(value);
  else throw new RangeError(`${row.field} is a bigint, not a number`);
}

/** Appends one TLV, with its OXM header unless told to take the field's NXM header. */
export function encodeField(writer: MessageWriter, row: FieldRow, value: MatchValue, header = row.oxm): void {
  if (typeof value === 'object') {
    writer.u32(header + row.bytes + OXM_HAS_MASK);
    encodeValue(writer, row, value.value);
    encodeValue(writer, row, value.mask);
  } else {
    writer.u32(header);
    encodeValue(writer, row, value);
  }
}

function rowsOf(match: Match): FieldRow[] {
  const rows: FieldRow[] = [];
  for (const field in match) {
    if (field === 'unknown' || match[field as FieldName] === undefined) continue;
    const row = FIELDS[field as FieldName];
    let at = rows.length;
    for (; at > 0 && (rows[at - 1] as FieldRow).order > row.order; at--) rows[at] = rows[at - 1] as FieldRow;
    rows[at] = row;
  }
  return rows;
}

/** Appends struct ofp_match, padded to a multiple of 8 bytes. Throws RangeError for a value that does not fit. */
export function encodeMatch(writer: MessageWriter, match: Match): void {
  const start = writer.position;
  writer.u16(OFPMT_OXM);
  writer.u16(0);
  encodeFields(writer, match);
  writer.setU16(start + 2, writer.position - start);
  writer.pad8(start);
}

/** Appends the OXM TLVs of a match and nothing around them. */
export function encodeFields(writer: MessageWriter, match: Match): void {
  for (const row of rowsOf(match)) encodeField(writer, row, match[row.field] as MatchValue);
  if (match.unknown !== undefined) writer.copy(match.unknown);
}

/** The bytes that a match of `matchLength` takes with its padding. */
export function paddedLength(length: number): number {
  return (length + 7) & ~7;
}

/** Length of the struct ofp_match at `offset`, without padding. Throws ProtocolError where it passes `end`. */
export function matchLength(buffer: Buffer, offset: number, end: number): number {
  if (end - offset < 8) throw new ProtocolError('ofp_match', 'truncated');
  const length = u16(buffer, offset + 2);
  if (u16(buffer, offset) !== OFPMT_OXM) throw new ProtocolError('ofp_match', 'is not of type OXM');
  if (length < 4 || offset + paddedLength(length) > end) throw new ProtocolError('ofp_match', `length ${length}`);
  return length;
}

/** Decodes the struct ofp_match at `offset`, which ends before `end`. */
export function decodeMatch(buffer: Buffer, offset: number, end: number): Match {
  return decodeFields(buffer, offset + 4, offset + matchLength(buffer, offset, end));
}

/** Decodes OXM or NXM TLVs that fill `offset` to `end`. The result keeps no reference to `buffer`. */
export function decodeFields(buffer: Buffer, offset: number, end: number): Match {
  const match: { [field: string]: MatchValue | Buffer } = {};
  const unknown: Buffer[] = [];
  for (let at = offset; at < end;) {
    const next = fieldEnd(buffer, at, end);
    const row = rowOfHeader(u32(buffer, at));
    if (row === undefined) unknown.push(buffer.subarray(at, next));
    else match[row.field] = decodeValue(buffer, at, row);
    at = next;
  }
  if (unknown.length > 0) match['unknown'] = Buffer.concat(unknown);
  return match;
}

/** Where the OXM TLV at `offset` ends. Throws ProtocolError where that is after `end`. */
export function fieldEnd(buffer: Buffer, offset: number, end: number): number {
  if (end - offset < 4) throw new ProtocolError('OXM', 'truncated header');
  const next = offset + 4 + (buffer[offset + 3] as number);
  if (next > end) throw new ProtocolError('OXM', 'value passes the end of the match');
  return next;
}

/** The value of the OXM TLV at `offset`, which is of `row` and lies inside the buffer. */
export function decodeValue(buffer: Buffer, offset: number, row: FieldRow): MatchValue {
  const masked = (u32(buffer, offset) & OXM_HAS_MASK) !== 0;
  const length = buffer[offset + 3] as number;
  // NXM_OF_IN_PORT and OXM_OF_IN_PORT are rows of their own, so one row has one width.
  if (length !== (masked ? 2 * row.bytes : row.bytes)) throw new ProtocolError(row.longName, `length ${length}`);
  const value = readValue(buffer, offset + 4, row.bytes);
  checkBits(row, value);
  if (!masked) return value;
  const mask = readValue(buffer, offset + 4 + row.bytes, row.bytes);
  checkBits(row, mask);
  return mask === row.max ? value : ({ value, mask } as Masked<number> | Masked<bigint>);
}

function checkBits(row: FieldRow, value: number | bigint): void {
  if (value > row.max) throw new ProtocolError(row.longName, `value over ${row.bits} bits`);
}
