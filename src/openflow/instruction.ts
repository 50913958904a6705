// What a flow does with a packet: struct ofp_instruction_* (OpenFlow 1.4, 7.2.3).

import type { Action } from './action';
import { decodeActions } from './action-decode';
import { encodeActions } from './action-encode';
import { OFPIT } from './constants';
import type { Masked } from './match';
import type { MessageWriter } from './message-writer';
import { ProtocolError } from './protocol-error';
import { u16, u32, u64 } from './reader';

/** What happens to a packet, in the order in which OVS runs it. All absent is "drop". */
export interface Instructions {
  /** OFPIT_METER: drops what is over the meter's rate before anything else. */
  readonly meter?: number;
  /** OFPIT_APPLY_ACTIONS. An empty list is no list, here and in `writeActions`. */
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

/** Appends instructions in the order in which OVS writes them. */
export function encodeInstructions(writer: MessageWriter, instructions: Instructions): void {
  const { meter, actions, clearActions, writeActions, writeMetadata, gotoTable } = instructions;
  if (meter !== undefined) {
    writer.u32((OFPIT.METER << 16) | 8);
    writer.u32(meter);
  }
  if (actions !== undefined && actions.length > 0) encodeActionList(writer, OFPIT.APPLY_ACTIONS, actions);
  if (clearActions) encodeActionList(writer, OFPIT.CLEAR_ACTIONS, []);
  if (writeActions !== undefined && writeActions.length > 0)
    encodeActionList(writer, OFPIT.WRITE_ACTIONS, writeActions);
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

type Writable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Decodes the instructions that fill `offset` to `end`. Throws ProtocolError; so do those of a type that OVS lacks. */
export function decodeInstructions(buffer: Buffer, offset: number, end: number): Instructions {
  const instructions: Writable<Instructions> = {};
  for (let at = offset; at < end;) {
    if (end - at < 8) throw new ProtocolError('ofp_instruction', 'truncated');
    const length = u16(buffer, at + 2);
    if (length < 8 || (length & 7) !== 0 || at + length > end)
      throw new ProtocolError('ofp_instruction', `length ${length}`);
    decodeInstruction(buffer, at, length, instructions);
    at += length;
  }
  return instructions;
}

function decodeInstruction(buffer: Buffer, at: number, length: number, into: Writable<Instructions>): void {
  const type = u16(buffer, at);
  switch (type) {
    case OFPIT.METER:
      into.meter = u32(buffer, at + 4);
      return;
    case OFPIT.APPLY_ACTIONS:
      // An empty list does what no list does, and OVS lists a flow without it.
      if (length > 8) into.actions = decodeActions(buffer, at + 8, at + length);
      return;
    case OFPIT.CLEAR_ACTIONS:
      into.clearActions = true;
      return;
    case OFPIT.WRITE_ACTIONS:
      if (length > 8) into.writeActions = decodeActions(buffer, at + 8, at + length);
      return;
    case OFPIT.WRITE_METADATA:
      if (length < 24) throw new ProtocolError('ofp_instruction_write_metadata', `length ${length}`);
      into.writeMetadata = { value: u64(buffer, at + 8), mask: u64(buffer, at + 16) };
      return;
    case OFPIT.GOTO_TABLE:
      into.gotoTable = buffer[at + 4] as number;
      return;
    default:
      throw new ProtocolError('ofp_instruction', `type ${type}`);
  }
}
