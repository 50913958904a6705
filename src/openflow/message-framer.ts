// Cuts a byte stream into OpenFlow messages. Whole messages are handed on in place, inside the chunk that Node read; only
// one that straddles two chunks is copied. It checks the header, not the body.

import { OFPT, OFP_VERSION } from './constants';
import { HEADER_LENGTH, MAX_MESSAGE_LENGTH } from './message-writer';
import { ProtocolError } from './protocol-error';
import { u16 } from './reader';

/** Gets one message of `length` bytes at `offset`. The bytes are valid only during the call. */
export type MessageHandler = (buffer: Buffer, offset: number, length: number) => void;

export class MessageFramer {
  private tail: Buffer = Buffer.allocUnsafeSlow(4096);
  private tailLength = 0;
  private failure: ProtocolError | undefined;

  /** What `onMessage` throws comes out of `push`, and the rest of that chunk is lost: the connection is to be ended. */
  constructor(private readonly onMessage: MessageHandler) {}

  /**
   * Takes the next bytes of the stream and hands on every message that is complete. Throws ProtocolError for a header
   * of another version or with a length under 8, and again for whatever is pushed after that.
   */
  push(chunk: Buffer): void {
    if (this.failure !== undefined) throw this.failure;
    let at = this.tailLength === 0 ? 0 : this.finishTail(chunk);
    while (chunk.length - at >= HEADER_LENGTH) {
      const length = this.messageLength(chunk, at);
      if (chunk.length - at < length) break;
      const start = at;
      at += length;
      this.onMessage(chunk, start, length);
    }
    if (at < chunk.length) this.keep(chunk, at, chunk.length);
  }

  /** Completes the message in the tail as far as `chunk` goes; returns how many bytes of `chunk` it took. */
  private finishTail(chunk: Buffer): number {
    let at = 0;
    if (this.tailLength < HEADER_LENGTH) {
      at = Math.min(HEADER_LENGTH - this.tailLength, chunk.length);
      this.keep(chunk, 0, at);
      if (this.tailLength < HEADER_LENGTH) return at;
    }
    const length = this.messageLength(this.tail, 0);
    const rest = Math.min(length - this.tailLength, chunk.length - at);
    this.keep(chunk, at, at + rest, length);
    if (this.tailLength === length) {
      this.tailLength = 0;
      this.onMessage(this.tail, 0, length);
    }
    return at + rest;
  }

  private keep(chunk: Buffer, from: number, to: number, capacity = 0): void {
    const needed = Math.max(capacity, this.tailLength + to - from);
    if (needed > this.tail.length) {
      const larger = Buffer.allocUnsafeSlow(MAX_MESSAGE_LENGTH);
      this.tail.copy(larger, 0, 0, this.tailLength);
      this.tail = larger;
    }
    chunk.copy(this.tail, this.tailLength, from, to);
    this.tailLength += to - from;
  }

  private messageLength(buffer: Buffer, offset: number): number {
    const version = buffer[offset] as number;
    const type = buffer[offset + 1] as number;
    const length = u16(buffer, offset + 2);
    // A hello states the highest version of its sender, and the error that refuses one may be of any.
    if (version !== OFP_VERSION && type !== OFPT.HELLO && type !== OFPT.ERROR) {
      this.fail(`version ${version} in a connection of version ${OFP_VERSION}`);
    }
    if (length < HEADER_LENGTH) this.fail(`length ${length}`);
    return length;
  }

  private fail(problem: string): never {
    this.failure = new ProtocolError('ofp_header', problem);
    throw this.failure;
  }
}
