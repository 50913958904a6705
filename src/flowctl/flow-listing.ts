// Flows as the datapath lists them, struct ofp_flow_stats (OpenFlow 1.4, 7.3.5.2), compared in place, as bytes, with
// flow mods: 50,000 of them are looked at in some milliseconds, and none is decoded. OVS writes matches and actions in
// one order whatever it was told, and the codec writes them in that order too; a test holds both together. Where they
// should ever differ, a flow that is right is only sent again.

import { OFPG_ANY, OFPP, OFPT, OFP_NO_BUFFER, OFPFC } from '../openflow/constants';
import type { MessageWriter } from '../openflow/message-writer';
import { u16, u32 } from '../openflow/reader';

const STATS = {
  TABLE: 2,
  SECONDS: 4,
  NANOSECONDS: 8,
  PRIORITY: 12,
  IDLE: 14,
  HARD: 16,
  FLAGS: 18,
  COOKIE: 24,
  MATCH: 48,
} as const;
/** Where the match of a listed flow begins. */
export const LISTED_MATCH = STATS.MATCH;
/** struct ofp_flow_mod (7.3.4.2), its header counted. */
const MOD = { TABLE: 24, IDLE: 26, HARD: 28, PRIORITY: 30, FLAGS: 44, MATCH: 48 } as const;
/** Smallest struct ofp_flow_stats: its head and an empty match. */
export const MIN_LISTED = 56;

/** A flow in the datapath, to delete it by. */
export interface ListedFlow {
  readonly table: number;
  readonly priority: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** struct ofp_match with its padding. */
  readonly match: Buffer;
}

/** In milliseconds: a route that seemed younger than it is would not be known again when its end is told. */
export function listedAgeMs(buffer: Buffer, at: number): number {
  return u32(buffer, at + STATS.SECONDS) * 1000 + u32(buffer, at + STATS.NANOSECONDS) / 1e6;
}

export function listedCookieHigh(buffer: Buffer, at: number): number {
  return u32(buffer, at + STATS.COOKIE);
}

export function listedCookieLow(buffer: Buffer, at: number): number {
  return u32(buffer, at + STATS.COOKIE + 4);
}

function paddedMatchLength(buffer: Buffer, match: number): number {
  return (u16(buffer, match + 2) + 7) & ~7;
}

/** Copies what identifies the flow listed at `at`. Undefined where its match passes the end of its `length` bytes. */
export function copyListed(buffer: Buffer, at: number, length: number): ListedFlow | undefined {
  const matchLength = paddedMatchLength(buffer, at + STATS.MATCH);
  if (matchLength < 8 || STATS.MATCH + matchLength > length) return undefined;
  return {
    table: buffer[at + STATS.TABLE]!,
    priority: u16(buffer, at + STATS.PRIORITY),
    cookieHigh: listedCookieHigh(buffer, at),
    cookieLow: listedCookieLow(buffer, at),
    match: Buffer.from(buffer.subarray(at + STATS.MATCH, at + STATS.MATCH + matchLength)),
  };
}

/** How a listed flow compares with the flow mod that should have made it. */
export type Comparison = 'same' | 'changed' | 'other';

/**
 * Compares the flow listed at `at` with the flow mod of `modLength` bytes at `mod`. 'changed': it has the same table,
 * priority and match, so that adding the flow mod replaces it. 'other': it is another flow.
 */
export function compareListed(
  listed: { buffer: Buffer; at: number; length: number },
  flowMod: { bytes: Buffer; at: number; length: number },
): Comparison {
  const { buffer, at, length } = listed;
  const { bytes, at: mod } = flowMod;
  const matchLength = paddedMatchLength(bytes, mod + MOD.MATCH);
  const hasSameKey =
    buffer[at + STATS.TABLE] === bytes[mod + MOD.TABLE] &&
    u16(buffer, at + STATS.PRIORITY) === u16(bytes, mod + MOD.PRIORITY) &&
    length >= STATS.MATCH + matchLength &&
    sameBytes(buffer, at + STATS.MATCH, bytes, mod + MOD.MATCH, matchLength);
  if (!hasSameKey) return 'other';
  const isSame =
    u16(buffer, at + STATS.IDLE) === u16(bytes, mod + MOD.IDLE) &&
    u16(buffer, at + STATS.HARD) === u16(bytes, mod + MOD.HARD) &&
    u16(buffer, at + STATS.FLAGS) === u16(bytes, mod + MOD.FLAGS) &&
    length - STATS.MATCH === flowMod.length - MOD.MATCH &&
    sameBytes(buffer, at + STATS.MATCH, bytes, mod + MOD.MATCH, length - STATS.MATCH);
  return isSame ? 'same' : 'changed';
}

function sameBytes(a: Buffer, atA: number, b: Buffer, atB: number, length: number): boolean {
  for (let i = 0; i < length; i += 1) if (a[atA + i] !== b[atB + i]) return false;
  return true;
}

/** Appends the flow mod that deletes exactly a listed flow. */
export function appendDelete(writer: MessageWriter, xid: number, flow: ListedFlow): void {
  const start = writer.begin(OFPT.FLOW_MOD, xid);
  writer.u32(flow.cookieHigh);
  writer.u32(flow.cookieLow);
  writer.u32(0xffffffff);
  writer.u32(0xffffffff);
  writer.u8(flow.table);
  writer.u8(OFPFC.DELETE_STRICT);
  writer.u32(0);
  writer.u16(flow.priority);
  writer.u32(OFP_NO_BUFFER);
  writer.u32(OFPP.ANY);
  writer.u32(OFPG_ANY);
  writer.u32(0);
  writer.copy(flow.match);
  writer.end(start);
}
