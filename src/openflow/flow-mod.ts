// OFPT_FLOW_MOD: struct ofp_flow_mod (OpenFlow 1.4, 7.3.4.2).

import type { PortNo } from './constants';
import { OFPG_ANY, OFPP, OFPT, OFP_NO_BUFFER } from './constants';
import type { Instructions } from './instruction';
import { decodeInstructions, encodeInstructions } from './instruction';
import type { Match } from './match';
import { decodeMatch, encodeMatch, matchLength, paddedLength } from './match';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32, u64 } from './reader';

export type FlowModCommand = 'add' | 'modify' | 'modify_strict' | 'delete' | 'delete_strict';

/**
 * A change of the flow tables. Absent members have the value 0 (`outPort`: any port). `cookie` is the new flow's for
 * adds; for modify and delete it picks flows, by the bits of `cookieMask`. `outPort` narrows deletes.
 */
export interface FlowMod extends Instructions {
  readonly type: 'flowMod';
  readonly command: FlowModCommand;
  /** 0 to 254, or OFPTT_ALL in deletes. */
  readonly table: number;
  readonly priority: number;
  readonly match: Match;
  readonly cookie?: bigint;
  readonly cookieMask?: bigint;
  readonly idleTimeoutSeconds?: number;
  readonly hardTimeoutSeconds?: number;
  readonly importance?: number;
  /** Bits of OFPFF. */
  readonly flags?: number;
  readonly outPort?: PortNo;
}

/** enum ofp_flow_mod_command, by number. */
const COMMANDS: readonly FlowModCommand[] = ['add', 'modify', 'modify_strict', 'delete', 'delete_strict'];

/** Bytes before the match. */
const FIXED_LENGTH = 48;

/** Appends the message. Throws RangeError for a value that does not fit its field. */
export function encodeFlowMod(writer: MessageWriter, xid: number, flow: FlowMod): void {
  const start = writer.begin(OFPT.FLOW_MOD, xid);
  writer.u64(flow.cookie ?? 0n);
  writer.u64(flow.cookieMask ?? 0n);
  writer.u8(flow.table);
  writer.u8(COMMANDS.indexOf(flow.command));
  writer.u16(flow.idleTimeoutSeconds ?? 0);
  writer.u16(flow.hardTimeoutSeconds ?? 0);
  writer.u16(flow.priority);
  writer.u32(OFP_NO_BUFFER);
  writer.u32(flow.outPort ?? OFPP.ANY);
  writer.u32(OFPG_ANY);
  writer.u16(flow.flags ?? 0);
  writer.u16(flow.importance ?? 0);
  encodeMatch(writer, flow.match);
  encodeInstructions(writer, flow);
  writer.end(start);
}

/** Decodes the message from `offset` to `end`. Members of value 0 (for `outPort`: any) are left out. */
export function decodeFlowMod(buffer: Buffer, offset: number, end: number): FlowMod {
  requireLength('ofp_flow_mod', end - offset, FIXED_LENGTH);
  const command = COMMANDS[buffer[offset + 25] as number];
  if (command === undefined) throw new ProtocolError('ofp_flow_mod', `command ${buffer[offset + 25]}`);
  const match = offset + FIXED_LENGTH;
  const instructions = match + paddedLength(matchLength(buffer, match, end));
  const flow: { -readonly [Key in keyof FlowMod]: FlowMod[Key] } = {
    type: 'flowMod',
    command,
    table: buffer[offset + 24] as number,
    priority: u16(buffer, offset + 30),
    match: decodeMatch(buffer, match, end),
    ...decodeInstructions(buffer, instructions, end),
  };
  const cookie = u64(buffer, offset + 8);
  const cookieMask = u64(buffer, offset + 16);
  const outPort = u32(buffer, offset + 36) as PortNo;
  const times = decodeTimes(buffer, offset + 26);
  if (cookie !== 0n) flow.cookie = cookie;
  if (cookieMask !== 0n) flow.cookieMask = cookieMask;
  if (outPort !== OFPP.ANY) flow.outPort = outPort;
  return { ...flow, ...times, ...decodeFlags(buffer, offset + 44) };
}

/** Idle and hard timeout, as flow mods, flow removed and flow statistics carry them. */
export function decodeTimes(
  buffer: Buffer,
  offset: number,
): Pick<FlowMod, 'idleTimeoutSeconds' | 'hardTimeoutSeconds'> {
  const [idle, hard] = [u16(buffer, offset), u16(buffer, offset + 2)];
  return { ...(idle ? { idleTimeoutSeconds: idle } : {}), ...(hard ? { hardTimeoutSeconds: hard } : {}) };
}

/** Flags and importance, as flow mods and flow statistics carry them. */
export function decodeFlags(buffer: Buffer, offset: number): Pick<FlowMod, 'flags' | 'importance'> {
  const [flags, importance] = [u16(buffer, offset), u16(buffer, offset + 2)];
  return { ...(flags ? { flags } : {}), ...(importance ? { importance } : {}) };
}
