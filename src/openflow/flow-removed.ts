// OFPT_FLOW_REMOVED: struct ofp_flow_removed (OpenFlow 1.4, 7.4.2).

import { OFPT } from './constants';
import type { FlowMod } from './flow-mod';
import { decodeTimes } from './flow-mod';
import type { Match } from './match';
import { decodeMatch, encodeMatch } from './match';
import type { MessageWriter } from './message-writer';
import { requireLength } from './protocol-error';
import { counter, u16, u32, u64 } from './reader';

/** A flow is gone that had OFPFF.SEND_FLOW_REM. Lost where the connection was away: a hint, not a record. */
export interface FlowRemoved extends Pick<FlowMod, 'idleTimeoutSeconds' | 'hardTimeoutSeconds'> {
  readonly type: 'flowRemoved';
  readonly cookie: bigint;
  readonly priority: number;
  /** One of OFPRR. */
  readonly reason: number;
  readonly table: number;
  readonly durationSeconds: number;
  readonly durationNanoseconds: number;
  readonly packetCount: number;
  readonly byteCount: number;
  readonly match: Match;
}

const FIXED_LENGTH = 48;

export function encodeFlowRemoved(writer: MessageWriter, xid: number, removed: FlowRemoved): void {
  const start = writer.begin(OFPT.FLOW_REMOVED, xid);
  writer.u64(removed.cookie);
  writer.u16(removed.priority);
  writer.u8(removed.reason);
  writer.u8(removed.table);
  writer.u32(removed.durationSeconds);
  writer.u32(removed.durationNanoseconds);
  writer.u16(removed.idleTimeoutSeconds ?? 0);
  writer.u16(removed.hardTimeoutSeconds ?? 0);
  writer.counter(removed.packetCount);
  writer.counter(removed.byteCount);
  encodeMatch(writer, removed.match);
  writer.end(start);
}

export function decodeFlowRemoved(buffer: Buffer, offset: number, end: number): FlowRemoved {
  requireLength('ofp_flow_removed', end - offset, FIXED_LENGTH + 8);
  return {
    type: 'flowRemoved',
    cookie: u64(buffer, offset + 8),
    priority: u16(buffer, offset + 16),
    reason: buffer[offset + 18] as number,
    table: buffer[offset + 19] as number,
    durationSeconds: u32(buffer, offset + 20),
    durationNanoseconds: u32(buffer, offset + 24),
    ...decodeTimes(buffer, offset + 28),
    packetCount: counter(buffer, offset + 32),
    byteCount: counter(buffer, offset + 40),
    match: decodeMatch(buffer, offset + FIXED_LENGTH, end),
  };
}
