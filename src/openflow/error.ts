// OFPT_ERROR: struct ofp_error_msg and ofp_error_experimenter_msg (OpenFlow 1.4, 7.5.4).

import { NX_EXPERIMENTER, OFPT } from './constants';
import { ERROR_TYPES, NX_ERRORS, OFPET_EXPERIMENTER } from './error-codes';
import type { MessageWriter } from './message-writer';
import { requireLength } from './protocol-error';
import { u16, u32 } from './reader';

/** A refusal. Its xid is that of the message that was refused, of which `data` has at least the first 64 bytes. */
export interface ErrorMessage {
  readonly type: 'error';
  readonly errorType: number;
  /** `exp_type` where there is an experimenter. */
  readonly code: number;
  readonly experimenter?: number;
  /** Of OFPET_HELLO_FAILED: a text. */
  readonly data: Buffer;
}

export function encodeError(writer: MessageWriter, xid: number, error: ErrorMessage): void {
  const start = writer.begin(OFPT.ERROR, xid);
  writer.u16(error.errorType);
  writer.u16(error.code);
  if (error.experimenter !== undefined) writer.u32(error.experimenter);
  writer.copy(error.data);
  writer.end(start);
}

export function decodeError(buffer: Buffer, offset: number, end: number): ErrorMessage {
  requireLength('ofp_error_msg', end - offset, 12);
  const errorType = u16(buffer, offset + 8);
  const code = u16(buffer, offset + 10);
  if (errorType !== OFPET_EXPERIMENTER) {
    return { type: 'error', errorType, code, data: Buffer.from(buffer.subarray(offset + 12, end)) };
  }
  requireLength('ofp_error_experimenter_msg', end - offset, 16);
  const data = Buffer.from(buffer.subarray(offset + 16, end));
  return { type: 'error', errorType, code, experimenter: u32(buffer, offset + 12), data };
}

/** The name of an error as the specification has it, "OFPFMFC_TABLE_FULL"; numbers where it has none. */
export function errorName({ errorType, code, experimenter }: Omit<ErrorMessage, 'type' | 'data'>): string {
  if (experimenter === NX_EXPERIMENTER && NX_ERRORS[code] !== undefined) return NX_ERRORS[code];
  if (experimenter !== undefined) return `experimenter 0x${experimenter.toString(16)} error ${code}`;
  const row = ERROR_TYPES[errorType];
  if (row === undefined) return `error type ${errorType} code ${code}`;
  const name = row[2].split(' ')[code];
  return name === undefined ? `OFPET_${row[0]} code ${code}` : `${row[1]}_${name}`;
}
