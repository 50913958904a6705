// Packets that come to the controller, as models: OFPT_PACKET_IN (OpenFlow 1.4, 7.4.1), Open vSwitch's NXT_PACKET_IN2,
// and the request that chooses between them. packet-in-view.ts reads the same without allocating.

import { NXPINT, NXT, NX_EXPERIMENTER, OFPT, OFP_NO_BUFFER } from './constants';
import type { Match } from './match';
import { decodeFields, decodeMatch, encodeFields, encodeMatch, matchLength, paddedLength } from './match';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32, u64 } from './reader';

export interface PacketIn {
  readonly type: 'packetIn';
  /** One of OFPR. */
  readonly reason: number;
  readonly tableId: number;
  readonly cookie: bigint;
  /** Length of the packet before it was cut. */
  readonly totalLength: number;
  /** inPort, metadata and registers, not fields of the packet. */
  readonly fields: Match;
  readonly data: Buffer;
}

export interface PacketIn2 {
  readonly type: 'packetIn2';
  readonly reason: number;
  readonly tableId: number;
  readonly cookie: bigint;
  readonly fullLength: number;
  readonly fields: Match;
  readonly userdata?: Buffer;
  /** Opaque; NXT_RESUME takes it back. */
  readonly continuation?: Buffer;
  readonly data: Buffer;
}

/** NXT_SET_PACKET_IN_FORMAT: one of NXPIF. */
export interface SetPacketInFormat {
  readonly type: 'setPacketInFormat';
  readonly format: number;
}

export function encodePacketIn(writer: MessageWriter, xid: number, packetIn: PacketIn): void {
  const start = writer.begin(OFPT.PACKET_IN, xid);
  writer.u32(OFP_NO_BUFFER);
  writer.u16(packetIn.totalLength);
  writer.u8(packetIn.reason);
  writer.u8(packetIn.tableId);
  writer.u64(packetIn.cookie);
  encodeMatch(writer, packetIn.fields);
  writer.zeros(2);
  writer.copy(packetIn.data);
  writer.end(start);
}

export function decodePacketIn(buffer: Buffer, offset: number, end: number): PacketIn {
  requireLength('ofp_packet_in', end - offset, 24);
  const data = offset + 24 + paddedLength(matchLength(buffer, offset + 24, end)) + 2;
  if (data > end) throw new ProtocolError('ofp_packet_in', 'truncated');
  return {
    type: 'packetIn',
    totalLength: u16(buffer, offset + 12),
    reason: buffer[offset + 14] as number,
    tableId: buffer[offset + 15] as number,
    cookie: u64(buffer, offset + 16),
    fields: decodeMatch(buffer, offset + 24, end),
    data: Buffer.from(buffer.subarray(data, end)),
  };
}

/** Starts a Nicira message. */
export function beginNicira(writer: MessageWriter, xid: number, subtype: number): number {
  const start = writer.begin(OFPT.EXPERIMENTER, xid);
  writer.u32(NX_EXPERIMENTER);
  writer.u32(subtype);
  return start;
}

/** Appends the message in the order in which OVS writes it. */
export function encodePacketIn2(writer: MessageWriter, xid: number, packetIn: PacketIn2): void {
  const { data, userdata, continuation } = packetIn;
  const start = beginNicira(writer, xid, NXT.PACKET_IN2);
  property(writer, NXPINT.PACKET, () => writer.copy(data));
  if (packetIn.fullLength !== data.length) property(writer, NXPINT.FULL_LEN, () => writer.u32(packetIn.fullLength));
  property(writer, NXPINT.TABLE_ID, () => writer.u8(packetIn.tableId));
  property(writer, NXPINT.COOKIE, () => {
    writer.u32(0);
    writer.u64(packetIn.cookie);
  });
  property(writer, NXPINT.REASON, () => writer.u8(packetIn.reason));
  property(writer, NXPINT.METADATA, () => encodeFields(writer, packetIn.fields));
  if (continuation !== undefined) property(writer, NXPINT.CONTINUATION, () => writer.copy(continuation));
  if (userdata !== undefined) property(writer, NXPINT.USERDATA, () => writer.copy(userdata));
  writer.end(start);
}

function property(writer: MessageWriter, type: number, body: () => void): void {
  const start = writer.position;
  writer.u16(type);
  writer.u16(0);
  body();
  writer.setU16(start + 2, writer.position - start);
  writer.pad8(start);
}

type Writable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

export function decodePacketIn2(buffer: Buffer, offset: number, end: number): PacketIn2 {
  const packetIn: Writable<PacketIn2> = {
    type: 'packetIn2',
    reason: 0,
    tableId: 0,
    cookie: 0n,
    fullLength: 0,
    fields: {},
    data: Buffer.alloc(0),
  };
  for (let at = offset + 16; at < end;) {
    requireLength('NXT_PACKET_IN2', end - at, 4);
    const length = u16(buffer, at + 2);
    if (length < 4 || at + length > end) throw new ProtocolError('NXT_PACKET_IN2', `property length ${length}`);
    takeProperty(packetIn, u16(buffer, at), buffer.subarray(at + 4, at + length));
    at += (length + 7) & ~7;
  }
  if (packetIn.fullLength === 0) packetIn.fullLength = packetIn.data.length;
  return packetIn;
}

/** Bytes that a property needs at least. */
const LEAST: Readonly<Record<number, number>> = {
  [NXPINT.FULL_LEN]: 4,
  [NXPINT.TABLE_ID]: 1,
  [NXPINT.COOKIE]: 12,
  [NXPINT.REASON]: 1,
};

function takeProperty(packetIn: Writable<PacketIn2>, type: number, body: Buffer): void {
  requireLength('NXT_PACKET_IN2 property', body.length, LEAST[type] ?? 0);
  if (type === NXPINT.PACKET) packetIn.data = Buffer.from(body);
  else if (type === NXPINT.FULL_LEN) packetIn.fullLength = u32(body, 0);
  else if (type === NXPINT.TABLE_ID) packetIn.tableId = body[0] as number;
  else if (type === NXPINT.COOKIE) packetIn.cookie = u64(body, 4);
  else if (type === NXPINT.REASON) packetIn.reason = body[0] as number;
  else if (type === NXPINT.METADATA) packetIn.fields = decodeFields(body, 0, body.length);
  else if (type === NXPINT.USERDATA) packetIn.userdata = Buffer.from(body);
  else if (type === NXPINT.CONTINUATION) packetIn.continuation = Buffer.from(body);
}

export function encodeSetPacketInFormat(writer: MessageWriter, xid: number, request: SetPacketInFormat): void {
  const start = beginNicira(writer, xid, NXT.SET_PACKET_IN_FORMAT);
  writer.u32(request.format);
  writer.end(start);
}

export function decodeSetPacketInFormat(buffer: Buffer, offset: number, end: number): SetPacketInFormat {
  requireLength('NXT_SET_PACKET_IN_FORMAT', end - offset, 20);
  return { type: 'setPacketInFormat', format: u32(buffer, offset + 16) };
}
