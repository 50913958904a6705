// Actions to bytes: struct ofp_action_* (OpenFlow 1.4, 7.2.4) and struct nx_action_* (Open vSwitch, ofp-actions.c).

import type { Action, ControllerAction, ResubmitAction, SetFieldAction, Subfield } from './action';
import { NXAC2PT, NXAST, NX_EXPERIMENTER, OFPAT, OFPP, OFPR } from './constants';
import { encodeField } from './match';
import type { MessageWriter } from './message-writer';
import type { Masked } from './match';
import { FIELDS } from './oxm';

/** `max_len` of an output that has none: all of the packet to the controller, and 0 where it does not count. */
export function defaultMaxLen(portNo: number): number {
  return portNo === OFPP.CONTROLLER ? 0xffff : 0;
}

/** `table` of a resubmit that stays in its table. */
export const SAME_TABLE = 0xff;
/** OFPP_IN_PORT in the 16 bits of OpenFlow 1.0, which resubmit still has. */
export const IN_PORT_16 = OFPP.IN_PORT & 0xffff;

/** Appends actions one after another. Throws RangeError for a value that does not fit its field. */
export function encodeActions(writer: MessageWriter, actions: readonly Action[]): void {
  for (const action of actions) encodeAction(writer, action);
}

function encodeAction(writer: MessageWriter, action: Action): void {
  const start = writer.position;
  switch (action.type) {
    case 'output':
      writer.u32((OFPAT.OUTPUT << 16) | 16);
      writer.u32(action.portNo);
      writer.u16(action.maxLen ?? defaultMaxLen(action.portNo));
      writer.zeros(6);
      return;
    case 'setField':
      return encodeSetField(writer, action, start);
    case 'decTtl':
      writer.u32((OFPAT.DEC_NW_TTL << 16) | 8);
      return writer.u32(0);
    case 'resubmit':
      return encodeResubmit(writer, action);
    case 'move':
      experimenter(writer, NXAST.REG_MOVE, 24);
      writer.u16(action.source.bits);
      writer.u16(action.source.offset);
      writer.u16(action.destination.offset);
      writer.u32(FIELDS[action.source.field].nxm);
      return writer.u32(FIELDS[action.destination.field].nxm);
    case 'load':
      experimenter(writer, NXAST.REG_LOAD, 24);
      writer.u16(offsetAndBits(action.destination));
      writer.u32(FIELDS[action.destination.field].nxm);
      return writer.u64(action.value);
    case 'outputReg':
      experimenter(writer, NXAST.OUTPUT_REG, 24);
      writer.u16(offsetAndBits(action.source));
      writer.u32(FIELDS[action.source.field].nxm);
      writer.u16(0xffff);
      return writer.zeros(6);
    case 'checkPktLarger':
      experimenter(writer, NXAST.CHECK_PKT_LARGER, 24);
      writer.u16(action.length);
      writer.u16(action.destination.offset);
      writer.u32(FIELDS[action.destination.field].nxm);
      return writer.zeros(6);
    case 'controller':
      return encodeController(writer, action, start);
    case 'raw':
      return writer.copy(action.bytes);
  }
}

/** The head of a Nicira action. A `length` of 0 is stored later by `endAction`. */
function experimenter(writer: MessageWriter, subtype: number, length: number): void {
  writer.u32((OFPAT.EXPERIMENTER << 16) | length);
  writer.u32(NX_EXPERIMENTER);
  writer.u16(subtype);
}

function endAction(writer: MessageWriter, start: number): void {
  writer.pad8(start);
  writer.setU16(start + 2, writer.position - start);
}

function offsetAndBits(subfield: Subfield): number {
  return (subfield.offset << 6) | (subfield.bits - 1);
}

function encodeSetField(writer: MessageWriter, action: SetFieldAction, start: number): void {
  const { field, value, mask } = action;
  if (mask === undefined) {
    writer.u32(OFPAT.SET_FIELD << 16);
    encodeField(writer, FIELDS[field], value);
  } else {
    experimenter(writer, NXAST.REG_LOAD2, 0);
    // OVS lists this action with the NXM header, so that is how it is written.
    encodeField(writer, FIELDS[field], { value, mask } as Masked<number> | Masked<bigint>, FIELDS[field].nxm);
  }
  endAction(writer, start);
}

function encodeResubmit(writer: MessageWriter, action: ResubmitAction): void {
  experimenter(writer, NXAST.RESUBMIT_TABLE, 16);
  writer.u16(action.inPort ?? IN_PORT_16);
  writer.u8(action.table ?? SAME_TABLE);
  writer.zeros(3);
}

function encodeController(writer: MessageWriter, action: ControllerAction, start: number): void {
  experimenter(writer, NXAST.CONTROLLER2, 0);
  writer.zeros(6);
  if (action.maxLen !== undefined && action.maxLen !== 0xffff) property16(writer, NXAC2PT.MAX_LEN, action.maxLen);
  if (action.controllerId) property16(writer, NXAC2PT.CONTROLLER_ID, action.controllerId);
  if (action.reason !== undefined && action.reason !== OFPR.ACTION) {
    // One byte, so its length is 5, and three of padding.
    writer.u32((NXAC2PT.REASON << 16) | 5);
    writer.u32(action.reason << 24);
  }
  if (action.userdata !== undefined && action.userdata.length > 0) {
    const property = writer.position;
    writer.u16(NXAC2PT.USERDATA);
    writer.u16(4 + action.userdata.length);
    writer.copy(action.userdata);
    writer.pad8(property);
  }
  if (action.pause) {
    writer.u32((NXAC2PT.PAUSE << 16) | 4);
    writer.u32(0);
  }
  if (action.meterId) {
    writer.u32((NXAC2PT.METER_ID << 16) | 8);
    writer.u32(action.meterId);
  }
  endAction(writer, start);
}

/** A property of two bytes, padded with two. */
function property16(writer: MessageWriter, type: number, value: number): void {
  writer.u32((type << 16) | 8);
  writer.u16(value);
  writer.u16(0);
}
