// What flows there are: OFPMP_FLOW and OFPMP_AGGREGATE (OpenFlow 1.4, 7.3.5.2 and 7.3.5.3).

import type { PortNo } from './constants';
import { OFPG_ANY, OFPMP, OFPP, OFPTT_ALL } from './constants';
import type { FlowMod } from './flow-mod';
import { decodeFlags, decodeTimes } from './flow-mod';
import type { Instructions } from './instruction';
import { decodeInstructions, encodeInstructions } from './instruction';
import type { Match } from './match';
import { decodeMatch, encodeMatch, matchLength, paddedLength } from './match';
import type { MessageWriter } from './message-writer';
import type { Part } from './multipart';
import { MULTIPART_HEADER, beginReply, beginRequest, hasMore } from './multipart';
import { ProtocolError, requireLength } from './protocol-error';
import { counter, u16, u32, u64 } from './reader';

/** Which flows: all that are in `table` (absent: every table), agree with the cookie's bits and are inside `match`. */
export interface FlowStatsRequest {
  readonly type: 'flowStatsRequest' | 'aggregateStatsRequest';
  readonly table?: number;
  readonly outPort?: PortNo;
  readonly cookie?: bigint;
  readonly cookieMask?: bigint;
  readonly match: Match;
}

/** A flow in the datapath. `formatFlow({ command: 'add', ...flow })` prints it. */
export interface FlowStats
  extends Instructions, Pick<FlowMod, 'idleTimeoutSeconds' | 'hardTimeoutSeconds' | 'flags' | 'importance'> {
  readonly table: number;
  readonly durationSeconds: number;
  readonly durationNanoseconds: number;
  readonly priority: number;
  readonly cookie: bigint;
  readonly packetCount: number;
  readonly byteCount: number;
  readonly match: Match;
}

export interface FlowStatsReply extends Part {
  readonly type: 'flowStatsReply';
  readonly flows: readonly FlowStats[];
}

export interface AggregateStatsReply {
  readonly type: 'aggregateStatsReply';
  readonly packetCount: number;
  readonly byteCount: number;
  readonly flowCount: number;
}

const REQUEST_LENGTH = 32;
/** struct ofp_flow_stats before its match. */
const FIXED_LENGTH = 48;

export function encodeFlowStatsRequest(writer: MessageWriter, xid: number, request: FlowStatsRequest): void {
  const type = request.type === 'flowStatsRequest' ? OFPMP.FLOW : OFPMP.AGGREGATE;
  const start = beginRequest(writer, xid, type);
  writer.u32((request.table ?? OFPTT_ALL) << 24);
  writer.u32(request.outPort ?? OFPP.ANY);
  writer.u32(OFPG_ANY);
  writer.u32(0);
  writer.u64(request.cookie ?? 0n);
  writer.u64(request.cookieMask ?? 0n);
  encodeMatch(writer, request.match);
  writer.end(start);
}

export function decodeFlowStatsRequest(
  type: FlowStatsRequest['type'],
  buffer: Buffer,
  offset: number,
  end: number,
): FlowStatsRequest {
  const body = offset + MULTIPART_HEADER;
  requireLength('ofp_flow_stats_request', end - body, REQUEST_LENGTH);
  const table = buffer[body] as number;
  const outPort = u32(buffer, body + 4) as PortNo;
  const [cookie, cookieMask] = [u64(buffer, body + 16), u64(buffer, body + 24)];
  return {
    type,
    ...(table === OFPTT_ALL ? {} : { table }),
    ...(outPort === OFPP.ANY ? {} : { outPort }),
    ...(cookie === 0n ? {} : { cookie }),
    ...(cookieMask === 0n ? {} : { cookieMask }),
    match: decodeMatch(buffer, body + REQUEST_LENGTH, end),
  };
}

export function encodeFlowStatsReply(writer: MessageWriter, xid: number, reply: FlowStatsReply): void {
  const start = beginReply(writer, xid, OFPMP.FLOW, reply);
  for (const flow of reply.flows) encodeFlowStats(writer, flow);
  writer.end(start);
}

function encodeFlowStats(writer: MessageWriter, flow: FlowStats): void {
  const start = writer.position;
  writer.u16(0);
  writer.u8(flow.table);
  writer.u8(0);
  writer.u32(flow.durationSeconds);
  writer.u32(flow.durationNanoseconds);
  writer.u16(flow.priority);
  writer.u16(flow.idleTimeoutSeconds ?? 0);
  writer.u16(flow.hardTimeoutSeconds ?? 0);
  writer.u16(flow.flags ?? 0);
  writer.u16(flow.importance ?? 0);
  writer.zeros(2);
  writer.u64(flow.cookie);
  writer.counter(flow.packetCount);
  writer.counter(flow.byteCount);
  encodeMatch(writer, flow.match);
  encodeInstructions(writer, flow);
  writer.setU16(start, writer.position - start);
}

/** Decodes one part of a reply. */
export function decodeFlowStatsReply(buffer: Buffer, offset: number, end: number): FlowStatsReply {
  const flows: FlowStats[] = [];
  forEachFlowStats(buffer, offset, end, (at, length) => flows.push(decodeFlowStats(buffer, at, at + length)));
  return { type: 'flowStatsReply', more: hasMore(buffer, offset), flows };
}

/**
 * Calls back with where each struct ofp_flow_stats of the reply at `offset` begins and how long it is, for those who
 * read it in place. Its fixed part is whole; `decodeFlowStats` checks the rest.
 */
export function forEachFlowStats(
  buffer: Buffer,
  offset: number,
  end: number,
  visit: (at: number, length: number) => void,
): void {
  for (let at = offset + MULTIPART_HEADER; at < end;) {
    requireLength('ofp_flow_stats', end - at, FIXED_LENGTH + 8);
    const length = u16(buffer, at);
    if (length < FIXED_LENGTH + 8 || at + length > end) throw new ProtocolError('ofp_flow_stats', `length ${length}`);
    visit(at, length);
    at += length;
  }
}

/** Decodes the struct ofp_flow_stats from `at` to `end`. */
export function decodeFlowStats(buffer: Buffer, at: number, end: number): FlowStats {
  const match = at + FIXED_LENGTH;
  const instructions = match + paddedLength(matchLength(buffer, match, end));
  return {
    table: buffer[at + 2] as number,
    durationSeconds: u32(buffer, at + 4),
    durationNanoseconds: u32(buffer, at + 8),
    priority: u16(buffer, at + 12),
    ...decodeTimes(buffer, at + 14),
    ...decodeFlags(buffer, at + 18),
    cookie: u64(buffer, at + 24),
    packetCount: counter(buffer, at + 32),
    byteCount: counter(buffer, at + 40),
    match: decodeMatch(buffer, match, end),
    ...decodeInstructions(buffer, instructions, end),
  };
}

export function encodeAggregateStatsReply(writer: MessageWriter, xid: number, reply: AggregateStatsReply): void {
  const start = beginReply(writer, xid, OFPMP.AGGREGATE, { more: false });
  writer.counter(reply.packetCount);
  writer.counter(reply.byteCount);
  writer.u32(reply.flowCount);
  writer.u32(0);
  writer.end(start);
}

export function decodeAggregateStatsReply(buffer: Buffer, offset: number, end: number): AggregateStatsReply {
  const body = offset + MULTIPART_HEADER;
  requireLength('ofp_aggregate_stats_reply', end - body, 24);
  return {
    type: 'aggregateStatsReply',
    packetCount: counter(buffer, body),
    byteCount: counter(buffer, body + 8),
    flowCount: u32(buffer, body + 16),
  };
}
