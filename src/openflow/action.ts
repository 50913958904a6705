// Actions as plain objects, with a small builder for each so that flows read like ovs-ofctl text. No bytes here.

import type { PortNo } from './constants';
import type { FieldName, FieldValues } from './oxm';
import { FIELDS } from './oxm';

/** `bits` bits of a field, from bit `offset` (0 is the lowest). */
export interface Subfield {
  readonly field: FieldName;
  readonly offset: number;
  readonly bits: number;
}

/** OFPAT_OUTPUT. `maxLen` counts only towards CONTROLLER (default: all). */
export interface OutputAction {
  readonly type: 'output';
  readonly portNo: PortNo;
  readonly maxLen?: number;
}
/** NXAST_OUTPUT_REG: to the port whose number is in `source`. */
export interface OutputRegAction {
  readonly type: 'outputReg';
  readonly source: Subfield;
}
/** OFPAT_SET_FIELD; NXAST_REG_LOAD2 where there is a mask. */
export interface SetFieldAction {
  readonly type: 'setField';
  readonly field: FieldName;
  readonly value: number | bigint;
  readonly mask?: number | bigint;
}
/** NXAST_REG_MOVE: copies bits of one field to as many of another. */
export interface MoveAction {
  readonly type: 'move';
  readonly source: Subfield;
  readonly destination: Subfield;
}
/** NXAST_REG_LOAD: a constant into up to 64 bits. */
export interface LoadAction {
  readonly type: 'load';
  readonly destination: Subfield;
  readonly value: bigint;
}
/** OFPAT_DEC_NW_TTL. At TTL 1 or 0 OVS stops here and sends an OFPR_INVALID_TTL packet-in, which no meter holds back. */
export interface DecTtlAction {
  readonly type: 'decTtl';
}
/** NXAST_RESUBMIT_TABLE: looks up again, as from `inPort`, in `table`; each stays as it is where absent. */
export interface ResubmitAction {
  readonly type: 'resubmit';
  readonly inPort?: PortNo;
  readonly table?: number;
}
/** NXAST_CONTROLLER2. Defaults: the whole packet, reason OFPR_ACTION, controller 0, no meter. */
export interface ControllerAction {
  readonly type: 'controller';
  readonly maxLen?: number;
  readonly controllerId?: number;
  readonly reason?: number;
  readonly userdata?: Buffer;
  readonly pause?: true;
  readonly meterId?: number;
}
/** NXAST_CHECK_PKT_LARGER: sets a bit where the packet has more than `length` bytes, its Ethernet header counted. */
export interface CheckPktLargerAction {
  readonly type: 'checkPktLarger';
  readonly length: number;
  readonly destination: Subfield;
}
/** Somebody else's action that this codec has no name for: its bytes, whole. */
export interface RawAction {
  readonly type: 'raw';
  readonly bytes: Buffer;
}

export type Action =
  | OutputAction
  | OutputRegAction
  | SetFieldAction
  | MoveAction
  | LoadAction
  | DecTtlAction
  | ResubmitAction
  | ControllerAction
  | CheckPktLargerAction
  | RawAction;

/** The whole of a field. */
export function whole(field: FieldName): Subfield {
  return { field, offset: 0, bits: FIELDS[field].bits };
}

/** Some bits of a field. */
export function bitsOf(field: FieldName, offset: number, bits: number): Subfield {
  return { field, offset, bits };
}

export function output(portNo: PortNo, maxLen?: number): OutputAction {
  return maxLen === undefined ? { type: 'output', portNo } : { type: 'output', portNo, maxLen };
}

export function outputReg(source: Subfield): OutputRegAction {
  return { type: 'outputReg', source };
}

export function setField<Field extends FieldName>(
  field: Field,
  value: FieldValues[Field],
  mask?: FieldValues[Field],
): SetFieldAction {
  return mask === undefined ? { type: 'setField', field, value } : { type: 'setField', field, value, mask };
}

export function move(source: Subfield, destination: Subfield): MoveAction {
  return { type: 'move', source, destination };
}

export function load(destination: Subfield, value: number | bigint): LoadAction {
  return { type: 'load', destination, value: BigInt(value) };
}

export function decTtl(): DecTtlAction {
  return { type: 'decTtl' };
}

/** Looks the packet up again in `table`, with the port it came in on. */
export function resubmit(table: number): ResubmitAction {
  return { type: 'resubmit', table };
}

export function controller(options: Omit<ControllerAction, 'type'> = {}): ControllerAction {
  return { type: 'controller', ...options };
}

export function checkPktLarger(length: number, destination: Subfield): CheckPktLargerAction {
  return { type: 'checkPktLarger', length, destination };
}
