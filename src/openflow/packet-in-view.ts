// NXT_PACKET_IN2 (Open vSwitch, nicira-ext.h) read in place into one object that is used again and again: the first
// packet of every connection comes through here, so nothing is allocated and nothing copied. packet-in.ts has the model.

import { NXPINT, NXT, NX_EXPERIMENTER, OFPR, OFPT, OFP_VERSION } from './constants';
import { FIELDS } from './oxm';
import { ProtocolError } from './protocol-error';
import { u16, u32 } from './reader';

const HEADER_AND_SUBTYPE = 16;
const IN_PORT = FIELDS.inPort.oxm;
const METADATA = FIELDS.metadata.oxm;
const REG0 = FIELDS.reg0.oxm;
const REG7 = FIELDS.reg7.oxm;

/** True where the message at `offset`, which is whole, is an NXT_PACKET_IN2. */
export function isPacketIn2(buffer: Buffer, offset: number, length: number): boolean {
  return (
    length >= HEADER_AND_SUBTYPE &&
    u16(buffer, offset) === ((OFP_VERSION << 8) | OFPT.EXPERIMENTER) &&
    u32(buffer, offset + 8) === NX_EXPERIMENTER &&
    u32(buffer, offset + 12) === NXT.PACKET_IN2
  );
}

export class PacketInView {
  tableId = 0;
  /** One of OFPR. */
  reason: number = OFPR.NO_MATCH;
  cookieHi = 0;
  cookieLo = 0;
  inPort = 0;
  /** reg0 to reg7; a register that the message leaves out is 0. */
  readonly regs = new Uint32Array(8);
  hasMetadata = false;
  metadataHi = 0;
  metadataLo = 0;
  /** Where the userdata of the controller action lies in `buffer`; length 0 where there is none. */
  userdataOffset = 0;
  userdataLength = 0;
  /** Where the packet lies in `buffer`, and how long it was before it was cut to the action's `max_len`. */
  packetOffset = 0;
  packetLength = 0;
  fullLength = 0;
  /** Length 0 unless the controller action paused the pipeline. */
  continuationOffset = 0;
  continuationLength = 0;
  /** What was decoded last: all offsets are into it. */
  buffer: Buffer = Buffer.alloc(0);

  /** Reads the NXT_PACKET_IN2 at `offset` (see `isPacketIn2`). Throws ProtocolError where it is malformed. */
  decode(buffer: Buffer, offset: number, length: number): void {
    this.reset(buffer);
    const end = offset + length;
    let at = offset + HEADER_AND_SUBTYPE;
    while (at < end) {
      if (end - at < 4) throw new ProtocolError('NXT_PACKET_IN2', 'truncated property');
      const size = u16(buffer, at + 2);
      if (size < 4 || at + size > end) throw new ProtocolError('NXT_PACKET_IN2', `property length ${size}`);
      this.readProperty(u16(buffer, at), at + 4, size - 4);
      at += (size + 7) & ~7;
    }
    if (this.fullLength === 0) this.fullLength = this.packetLength;
  }

  private reset(buffer: Buffer): void {
    this.buffer = buffer;
    this.tableId = 0;
    this.reason = OFPR.NO_MATCH;
    this.cookieHi = 0;
    this.cookieLo = 0;
    this.inPort = 0;
    this.hasMetadata = false;
    this.metadataHi = 0;
    this.metadataLo = 0;
    this.userdataOffset = 0;
    this.userdataLength = 0;
    this.packetOffset = 0;
    this.packetLength = 0;
    this.fullLength = 0;
    this.continuationOffset = 0;
    this.continuationLength = 0;
    const { regs } = this;
    for (let i = 0; i < 8; i++) regs[i] = 0;
  }

  private readProperty(type: number, at: number, size: number): void {
    const { buffer } = this;
    switch (type) {
      case NXPINT.PACKET:
        this.packetOffset = at;
        this.packetLength = size;
        return;
      case NXPINT.USERDATA:
        this.userdataOffset = at;
        this.userdataLength = size;
        return;
      case NXPINT.METADATA:
        return this.readMetadata(at, at + size);
      case NXPINT.CONTINUATION:
        this.continuationOffset = at;
        this.continuationLength = size;
        return;
      case NXPINT.TABLE_ID:
        requireSize(size, 1);
        this.tableId = buffer[at] as number;
        return;
      case NXPINT.REASON:
        requireSize(size, 1);
        this.reason = buffer[at] as number;
        return;
      case NXPINT.COOKIE:
        // Aligned to 64 bits: four bytes of padding come before the value.
        requireSize(size, 12);
        this.cookieHi = u32(buffer, at + 4);
        this.cookieLo = u32(buffer, at + 8);
        return;
      case NXPINT.FULL_LEN:
        requireSize(size, 4);
        this.fullLength = u32(buffer, at);
        return;
    }
  }

  private readMetadata(offset: number, end: number): void {
    const { buffer } = this;
    let at = offset;
    while (end - at >= 4) {
      const header = u32(buffer, at);
      const value = at + 4;
      at = value + (header & 0xff);
      if (at > end) break;
      if (header === IN_PORT) {
        this.inPort = u32(buffer, value);
      } else if (header >= REG0 && header <= REG7 && (header & 0x1ff) === 4) {
        this.regs[(header - REG0) >>> 9] = u32(buffer, value);
      } else if (header === METADATA) {
        this.hasMetadata = true;
        this.metadataHi = u32(buffer, value);
        this.metadataLo = u32(buffer, value + 4);
      }
    }
    if (at !== end) throw new ProtocolError('NXPINT_METADATA', 'a field passes its end');
  }
}

function requireSize(size: number, least: number): void {
  if (size < least) throw new ProtocolError('NXT_PACKET_IN2', `property of ${size} bytes`);
}
