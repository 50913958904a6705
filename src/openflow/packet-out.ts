// OFPT_PACKET_OUT: struct ofp_packet_out (OpenFlow 1.4, 7.3.7).

import type { Action } from './action';
import { decodeActions } from './action-decode';
import { encodeActions } from './action-encode';
import type { PortNo } from './constants';
import { OFPT, OFP_NO_BUFFER } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';

/** Sends a packet as if it had come in on `inPort` (a port, or OFPP.CONTROLLER or OFPP.LOCAL) through `actions`. */
export interface PacketOut {
  readonly type: 'packetOut';
  readonly inPort: PortNo;
  readonly actions: readonly Action[];
  readonly data: Buffer;
}

const FIXED_LENGTH = 24;

/** Appends the message. */
export function encodePacketOut(writer: MessageWriter, xid: number, packetOut: PacketOut): void {
  const start = writer.begin(OFPT.PACKET_OUT, xid);
  writer.u32(OFP_NO_BUFFER);
  writer.u32(packetOut.inPort);
  writer.u16(0);
  writer.zeros(6);
  const actions = writer.position;
  encodeActions(writer, packetOut.actions);
  writer.setU16(start + 16, writer.position - actions);
  writer.copy(packetOut.data);
  writer.end(start);
}

export function decodePacketOut(buffer: Buffer, offset: number, end: number): PacketOut {
  requireLength('ofp_packet_out', end - offset, FIXED_LENGTH);
  const actions = offset + FIXED_LENGTH;
  const data = actions + u16(buffer, offset + 16);
  if (data > end) throw new ProtocolError('ofp_packet_out', 'actions pass its end');
  return {
    type: 'packetOut',
    inPort: u32(buffer, offset + 12) as PortNo,
    actions: decodeActions(buffer, actions, data),
    data: Buffer.from(buffer.subarray(data, end)),
  };
}
