// OFPT_FLOW_MOD: struct ofp_flow_mod (OpenFlow 1.4, 7.3.4.2), and the instructions that flows carry (7.2.3).

import type { Action } from './action';
import { encodeActions } from './action-encode';
import type { PortNo } from './constants';
import { OFPG_ANY, OFPIT, OFPP, OFPT, OFP_NO_BUFFER } from './constants';
import type { Masked, Match } from './match';
import { encodeMatch } from './match';
import type { MessageWriter } from './message-writer';

/** What happens to a packet, in the order in which OVS runs it. All absent is "drop". */
export interface Instructions {
  /** OFPIT_METER: drops what is over the meter's rate before anything else. */
  readonly meter?: number;
  /** OFPIT_APPLY_ACTIONS. Never empty. */
  readonly actions?: readonly Action[];
  /** OFPIT_CLEAR_ACTIONS. */
  readonly clearActions?: true;
  /** OFPIT_WRITE_ACTIONS. */
  readonly writeActions?: readonly Action[];
  /** OFPIT_WRITE_METADATA. */
  readonly writeMetadata?: Masked<bigint>;
  /** OFPIT_GOTO_TABLE. */
  readonly gotoTable?: number;
}

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

const COMMANDS: readonly FlowModCommand[] = ['add', 'modify', 'modify_strict', 'delete', 'delete_strict'];

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

/** Appends instructions in the order in which OVS writes them. */
export function encodeInstructions(writer: MessageWriter, instructions: Instructions): void {
  const { meter, actions, clearActions, writeActions, writeMetadata, gotoTable } = instructions;
  if (meter !== undefined) {
    writer.u32((OFPIT.METER << 16) | 8);
    writer.u32(meter);
  }
  if (actions !== undefined && actions.length > 0) encodeActionList(writer, OFPIT.APPLY_ACTIONS, actions);
  if (clearActions) encodeActionList(writer, OFPIT.CLEAR_ACTIONS, []);
  if (writeActions !== undefined) encodeActionList(writer, OFPIT.WRITE_ACTIONS, writeActions);
  if (writeMetadata !== undefined) {
    writer.u32((OFPIT.WRITE_METADATA << 16) | 24);
    writer.u32(0);
    writer.u64(writeMetadata.value);
    writer.u64(writeMetadata.mask);
  }
  if (gotoTable !== undefined) {
    writer.u32((OFPIT.GOTO_TABLE << 16) | 8);
    writer.u8(gotoTable);
    writer.zeros(3);
  }
}

function encodeActionList(writer: MessageWriter, type: number, actions: readonly Action[]): void {
  const start = writer.position;
  writer.u32(type << 16);
  writer.u32(0);
  encodeActions(writer, actions);
  writer.setU16(start + 2, writer.position - start);
}
