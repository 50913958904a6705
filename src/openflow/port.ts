// Ports of the datapath: struct ofp_port (OpenFlow 1.4, 7.2.1), OFPT_PORT_STATUS, and OFPMP_PORT_DESC's list.

import type { Mac } from '../base/addresses';
import type { PortNo } from './constants';
import { OFPPR, OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32, u48 } from './reader';

export interface Port {
  readonly portNo: PortNo;
  readonly hwAddr: Mac;
  /** At most 15 bytes: OVS cuts longer names of interfaces. */
  readonly name: string;
  /** Bits of OFPPC. */
  readonly config: number;
  /** Bits of OFPPS. */
  readonly state: number;
  /** OFPPDPT_ETHERNET: six words as they come (current, advertised, supported, peer; current and maximum kbps). */
  readonly ethernet?: readonly number[];
}

export interface PortStatus {
  readonly type: 'portStatus';
  readonly reason: 'add' | 'delete' | 'modify';
  readonly port: Port;
}

const FIXED_LENGTH = 40;
const NAME_LENGTH = 16;
const OFPPDPT_ETHERNET = 0;
const ETHERNET_LENGTH = 32;

/** Appends struct ofp_port. */
export function encodePort(writer: MessageWriter, port: Port): void {
  const start = writer.position;
  writer.u32(port.portNo);
  writer.u32(0);
  writer.u48(port.hwAddr);
  writer.zeros(2);
  const name = Buffer.alloc(NAME_LENGTH);
  name.write(port.name, 0, NAME_LENGTH - 1, 'latin1');
  writer.copy(name);
  writer.u32(port.config);
  writer.u32(port.state);
  if (port.ethernet !== undefined) {
    writer.u32((OFPPDPT_ETHERNET << 16) | ETHERNET_LENGTH);
    writer.u32(0);
    for (const word of port.ethernet) writer.u32(word);
  }
  writer.setU16(start + 4, writer.position - start);
}

/** Length of the struct ofp_port at `offset`. Throws ProtocolError where it passes `end`. */
function portLength(buffer: Buffer, offset: number, end: number): number {
  requireLength('ofp_port', end - offset, FIXED_LENGTH);
  const length = u16(buffer, offset + 4);
  if (length < FIXED_LENGTH || offset + length > end) throw new ProtocolError('ofp_port', `length ${length}`);
  return length;
}

/** Decodes the struct ofp_port at `offset`, which ends before `end`. Properties of other types are ignored. */
export function decodePort(buffer: Buffer, offset: number, end: number): Port {
  const limit = offset + portLength(buffer, offset, end);
  const name = buffer.subarray(offset + 16, offset + 16 + NAME_LENGTH);
  const nul = name.indexOf(0);
  const ethernet = decodeEthernet(buffer, offset + FIXED_LENGTH, limit);
  return {
    portNo: u32(buffer, offset) as PortNo,
    hwAddr: u48(buffer, offset + 8) as Mac,
    name: name.subarray(0, nul < 0 ? NAME_LENGTH : nul).toString('latin1'),
    config: u32(buffer, offset + 32),
    state: u32(buffer, offset + 36),
    ...(ethernet === undefined ? {} : { ethernet }),
  };
}

function decodeEthernet(buffer: Buffer, offset: number, end: number): number[] | undefined {
  for (let at = offset; at < end;) {
    requireLength('ofp_port_desc_prop', end - at, 4);
    const length = u16(buffer, at + 2);
    if (length < 4 || at + length > end) throw new ProtocolError('ofp_port_desc_prop', `length ${length}`);
    if (u16(buffer, at) === OFPPDPT_ETHERNET && length === ETHERNET_LENGTH) {
      return [8, 12, 16, 20, 24, 28].map((word) => u32(buffer, at + word));
    }
    at += (length + 7) & ~7;
  }
  return undefined;
}

/** Decodes ports that fill `offset` to `end`: the body of an OFPMP_PORT_DESC reply. */
export function decodePorts(buffer: Buffer, offset: number, end: number): Port[] {
  const ports: Port[] = [];
  for (let at = offset; at < end; at += u16(buffer, at + 4)) ports.push(decodePort(buffer, at, end));
  return ports;
}

const REASONS = { add: OFPPR.ADD, delete: OFPPR.DELETE, modify: OFPPR.MODIFY } as const;
const REASON_NAMES = ['add', 'delete', 'modify'] as const;

export function encodePortStatus(writer: MessageWriter, xid: number, status: PortStatus): void {
  const start = writer.begin(OFPT.PORT_STATUS, xid);
  writer.u8(REASONS[status.reason]);
  writer.zeros(7);
  encodePort(writer, status.port);
  writer.end(start);
}

export function decodePortStatus(buffer: Buffer, offset: number, end: number): PortStatus {
  requireLength('ofp_port_status', end - offset, 16 + FIXED_LENGTH);
  const reason = REASON_NAMES[buffer[offset + 8] as number];
  if (reason === undefined) throw new ProtocolError('ofp_port_status', `reason ${buffer[offset + 8]}`);
  return { type: 'portStatus', reason, port: decodePort(buffer, offset + 16, end) };
}
