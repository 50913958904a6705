// Where messages are written: one slab with a cursor, so that everything of an event-loop turn leaves in one write().
// It knows bytes, the OpenFlow header and nothing else. No method allocates but `take` and a slab that is replaced.

import { OFP_VERSION } from './constants';

/** Length of the OpenFlow header, and the largest length that it can state. */
export const HEADER_LENGTH = 8;
export const MAX_MESSAGE_LENGTH = 0xffff;

/** Room for the longest message and for one inside it: while it is written, the slab stays where it is. */
const ROOM = 2 * (MAX_MESSAGE_LENGTH + 1);

const EMPTY = Buffer.alloc(0);
const scratch = new DataView(new ArrayBuffer(8));

export class MessageWriter {
  /** The current slab. It is replaced when it is full: never keep it over a call that may write. */
  bytes: Buffer;
  /** Where the next byte goes. */
  position = 0;
  private takenTo = 0;
  private lent = 0;
  /** Start of the message that was begun and has not ended; -1 where there is none. */
  private open = -1;

  constructor(private readonly slabBytes = 256 * 1024) {
    this.bytes = Buffer.allocUnsafeSlow(Math.max(slabBytes, ROOM));
  }

  /** Bytes written and not taken yet. */
  get pending(): number {
    return this.position - this.takenTo;
  }

  /** Makes room for `length` bytes. Whoever stores into `bytes` without `begin` calls this first. */
  reserve(length: number): void {
    if (this.position + length > this.bytes.length) this.replaceSlab(length);
  }

  /**
   * Starts a message: writes its header with length 0, and returns its start for `end`. A message may be begun inside
   * another, as in OFPT_BUNDLE_ADD_MESSAGE, and ends first.
   */
  begin(type: number, xid: number): number {
    if (this.open < 0) {
      this.reserve(ROOM);
      this.open = this.position;
    }
    const start = this.position;
    this.u16((OFP_VERSION << 8) | type);
    this.u16(0);
    this.u32(xid);
    return start;
  }

  /** Ends the message that began at `start`: stores its length. Throws RangeError where it is over 65,535 bytes. */
  end(start: number): void {
    const length = this.position - start;
    if (length > MAX_MESSAGE_LENGTH) {
      this.discard(this.open < 0 ? start : this.open);
      throw new RangeError(`OpenFlow message of ${length} bytes: the longest is ${MAX_MESSAGE_LENGTH}`);
    }
    this.setU16(start + 2, length);
    if (start === this.open) this.open = -1;
  }

  /** Takes back everything from `start`, where a message began that will not be sent. */
  discard(start: number): void {
    this.position = start;
    if (this.open >= start) this.open = -1;
  }

  /**
   * Hands over what was written since the last call. The bytes stay as they are until `release`; without `release`
   * they stay for good, and the slab is replaced when it is full. A message that was begun and never ended, because its
   * encoder threw, is dropped.
   */
  take(): Buffer {
    if (this.open >= 0) this.discard(this.open);
    if (this.pending === 0) return EMPTY;
    const taken = this.bytes.subarray(this.takenTo, this.position);
    this.takenTo = this.position;
    this.lent += 1;
    return taken;
  }

  /** Says that bytes handed out by `take` are sent. When all are, the slab is used again from its start. */
  release(taken: Buffer): void {
    if (taken.buffer !== this.bytes.buffer || this.lent === 0) return;
    this.lent -= 1;
    if (this.lent === 0 && this.pending === 0) this.position = this.takenTo = 0;
  }

  u8(value: number): void {
    this.bytes[this.position++] = value;
  }

  u16(value: number): void {
    const { bytes, position } = this;
    bytes[position] = value >>> 8;
    bytes[position + 1] = value;
    this.position = position + 2;
  }

  u32(value: number): void {
    const { bytes, position } = this;
    bytes[position] = value >>> 24;
    bytes[position + 1] = value >>> 16;
    bytes[position + 2] = value >>> 8;
    bytes[position + 3] = value;
    this.position = position + 4;
  }

  /** A number of up to 48 bits, as six bytes: a MAC address. */
  u48(value: number): void {
    this.u16((value / 0x1_0000_0000) >>> 0);
    this.u32(value);
  }

  u64(value: bigint): void {
    // Through a scratch view: shifting a bigint would allocate two more.
    scratch.setBigUint64(0, value);
    this.u32(scratch.getUint32(0));
    this.u32(scratch.getUint32(4));
  }

  u128(value: bigint): void {
    this.u64(value >> 64n);
    this.u64(value);
  }

  /** A counter: a number as 64 bits. What is over 2^53 is as exact as the number, and 2^64 counts as 2^64-1. */
  counter(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.u32(Math.min(high, 0xffffffff));
    this.u32(high > 0xffffffff ? 0xffffffff : value % 0x1_0000_0000);
  }

  zeros(count: number): void {
    const { bytes, position } = this;
    for (let i = 0; i < count; i++) bytes[position + i] = 0;
    this.position = position + count;
  }

  /** Zeros until the length since `start` is a multiple of 8. */
  pad8(start: number): void {
    const rest = (this.position - start) & 7;
    if (rest !== 0) this.zeros(8 - rest);
  }

  /** Bytes as they are. The caller has reserved room, or writes inside a message. */
  copy(source: Uint8Array): void {
    // A message that is too long is refused by `end`; until then it must not throw in the middle.
    if (this.position + source.length <= this.bytes.length) this.bytes.set(source, this.position);
    this.position += source.length;
  }

  setU16(offset: number, value: number): void {
    this.bytes[offset] = value >>> 8;
    this.bytes[offset + 1] = value;
  }

  private replaceSlab(length: number): void {
    const { pending } = this;
    const slab = Buffer.allocUnsafeSlow(Math.max(this.slabBytes, 2 * (pending + length)));
    slab.set(this.bytes.subarray(this.takenTo, this.position));
    this.bytes = slab;
    if (this.open >= 0) this.open -= this.takenTo;
    this.position = pending;
    this.takenTo = 0;
    this.lent = 0;
  }
}
