// Actions from bytes. What has no name here is kept whole as a raw action: the bridge may hold other people's flows.

import type { Action, ControllerAction, Subfield } from './action';
import { IN_PORT_16, SAME_TABLE, defaultMaxLen } from './action-encode';
import type { PortNo } from './constants';
import { NXAC2PT, NXAST, NX_EXPERIMENTER, OFPAT, OFPR } from './constants';
import { decodeValue, fieldEnd } from './match';
import { rowOfHeader } from './oxm';
import { ProtocolError } from './protocol-error';
import { u16, u32, u64 } from './reader';

/** Decodes the actions that fill `offset` to `end`. The result keeps no reference to `buffer`. */
export function decodeActions(buffer: Buffer, offset: number, end: number): Action[] {
  const actions: Action[] = [];
  for (let at = offset; at < end;) {
    if (end - at < 8) throw new ProtocolError('ofp_action', 'truncated');
    const length = u16(buffer, at + 2);
    if (length < 8 || (length & 7) !== 0 || at + length > end)
      throw new ProtocolError('ofp_action', `length ${length}`);
    actions.push(decodeAction(buffer, at, length) ?? raw(buffer, at, length));
    at += length;
  }
  return actions;
}

function raw(buffer: Buffer, at: number, length: number): Action {
  return { type: 'raw', bytes: Buffer.from(buffer.subarray(at, at + length)) };
}

/** Undefined where the action, or a field in it, has no name here. */
function decodeAction(buffer: Buffer, at: number, length: number): Action | undefined {
  switch (u16(buffer, at)) {
    case OFPAT.OUTPUT:
      return length === 16 ? decodeOutput(buffer, at) : undefined;
    case OFPAT.SET_FIELD:
      return decodeSetField(buffer, at + 4, at + length);
    case OFPAT.DEC_NW_TTL:
      return { type: 'decTtl' };
    case OFPAT.EXPERIMENTER:
      return length >= 16 && u32(buffer, at + 4) === NX_EXPERIMENTER ? decodeNicira(buffer, at, length) : undefined;
    default:
      return undefined;
  }
}

function decodeOutput(buffer: Buffer, at: number): Action {
  const portNo = u32(buffer, at + 4) as PortNo;
  const maxLen = u16(buffer, at + 8);
  return maxLen === defaultMaxLen(portNo) ? { type: 'output', portNo } : { type: 'output', portNo, maxLen };
}

function decodeSetField(buffer: Buffer, at: number, end: number): Action | undefined {
  const row = at + 4 <= end ? rowOfHeader(u32(buffer, at)) : undefined;
  if (row === undefined) return undefined;
  fieldEnd(buffer, at, end);
  const value = decodeValue(buffer, at, row);
  if (typeof value !== 'object') return { type: 'setField', field: row.field, value };
  return { type: 'setField', field: row.field, value: value.value, mask: value.mask };
}

function decodeNicira(buffer: Buffer, at: number, length: number): Action | undefined {
  switch (u16(buffer, at + 8)) {
    case NXAST.RESUBMIT:
      return decodeResubmit(buffer, at, SAME_TABLE);
    case NXAST.RESUBMIT_TABLE:
      return decodeResubmit(buffer, at, buffer[at + 12] as number);
    case NXAST.REG_LOAD2:
      return decodeSetField(buffer, at + 10, at + length);
    case NXAST.CONTROLLER:
      return decodeController(buffer, at);
    case NXAST.CONTROLLER2:
      return decodeController2(buffer, at + 16, at + length);
    default:
      return length === 24 ? decodeNicira24(buffer, at) : undefined;
  }
}

function decodeNicira24(buffer: Buffer, at: number): Action | undefined {
  switch (u16(buffer, at + 8)) {
    case NXAST.REG_MOVE: {
      const bits = u16(buffer, at + 10);
      const source = subfield(buffer, at + 16, u16(buffer, at + 12), bits);
      const destination = subfield(buffer, at + 20, u16(buffer, at + 14), bits);
      return source && destination && { type: 'move', source, destination };
    }
    case NXAST.REG_LOAD: {
      const destination = packedSubfield(buffer, at + 10);
      return destination && { type: 'load', destination, value: u64(buffer, at + 16) };
    }
    case NXAST.OUTPUT_REG: {
      const source = u16(buffer, at + 16) === 0xffff ? packedSubfield(buffer, at + 10) : undefined;
      return source && { type: 'outputReg', source };
    }
    case NXAST.CHECK_PKT_LARGER: {
      const destination = subfield(buffer, at + 14, u16(buffer, at + 12), 1);
      return destination && { type: 'checkPktLarger', length: u16(buffer, at + 10), destination };
    }
    default:
      return undefined;
  }
}

/** `bits` bits from `offset` of the field whose header stands at `at`. Undefined where there are no such bits. */
function subfield(buffer: Buffer, at: number, offset: number, bits: number): Subfield | undefined {
  const row = rowOfHeader(u32(buffer, at));
  // A header of the other kind than we write would not come back as it was.
  if (row === undefined || u32(buffer, at) !== row.nxm || bits === 0 || offset + bits > row.bits) return undefined;
  return { field: row.field, offset, bits };
}

/** The same where offset and bits are packed into the 16 bits before the header. */
function packedSubfield(buffer: Buffer, at: number): Subfield | undefined {
  const packed = u16(buffer, at);
  return subfield(buffer, at + 2, packed >>> 6, (packed & 63) + 1);
}

/** A port of OpenFlow 1.0: reserved ports have their upper bits back. */
function port16(portNo: number): PortNo {
  return (portNo >= 0xff00 ? (portNo | 0xffff0000) >>> 0 : portNo) as PortNo;
}

function decodeResubmit(buffer: Buffer, at: number, table: number): Action {
  const inPort = u16(buffer, at + 10);
  return {
    type: 'resubmit',
    ...(inPort === IN_PORT_16 ? {} : { inPort: port16(inPort) }),
    ...(table === SAME_TABLE ? {} : { table }),
  };
}

type ControllerOptions = { -readonly [Key in keyof ControllerAction]: ControllerAction[Key] };

/** NXAST_CONTROLLER, which CONTROLLER2 stands for as well. */
function decodeController(buffer: Buffer, at: number): Action {
  return withoutDefaults({
    type: 'controller',
    maxLen: u16(buffer, at + 10),
    controllerId: u16(buffer, at + 12),
    reason: buffer[at + 14] as number,
  });
}

/** What says the same as saying nothing is left out. */
function withoutDefaults(action: ControllerOptions): Action {
  if (action.maxLen === 0xffff) delete action.maxLen;
  if (action.controllerId === 0) delete action.controllerId;
  if (action.reason === OFPR.ACTION) delete action.reason;
  if (action.userdata?.length === 0) delete action.userdata;
  if (action.meterId === 0) delete action.meterId;
  return action;
}

function decodeController2(buffer: Buffer, offset: number, end: number): Action {
  const action: ControllerOptions = { type: 'controller' };
  for (let at = offset; at < end;) {
    const length = u16(buffer, at + 2);
    if (end - at < 8 || length < 4 || at + length > end)
      throw new ProtocolError('NXAST_CONTROLLER2', `length ${length}`);
    takeProperty(action, buffer, at, length);
    at += (length + 7) & ~7;
  }
  return withoutDefaults(action);
}

function takeProperty(action: ControllerOptions, buffer: Buffer, at: number, length: number): void {
  const type = u16(buffer, at);
  if (type === NXAC2PT.MAX_LEN) action.maxLen = u16(buffer, at + 4);
  else if (type === NXAC2PT.CONTROLLER_ID) action.controllerId = u16(buffer, at + 4);
  else if (type === NXAC2PT.REASON) action.reason = buffer[at + 4] as number;
  else if (type === NXAC2PT.USERDATA) action.userdata = Buffer.from(buffer.subarray(at + 4, at + length));
  else if (type === NXAC2PT.PAUSE) action.pause = true;
  else if (type === NXAC2PT.METER_ID) action.meterId = u32(buffer, at + 4);
  else throw new ProtocolError('NXAST_CONTROLLER2', `property ${type}`);
}
