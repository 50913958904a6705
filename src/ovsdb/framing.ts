// Splits a byte stream into JSON texts. OVSDB has no separators between messages (RFC 7047 §4), so the only way to find
// an end is to count brackets outside of strings. Every byte is looked at once, whatever the chunks are; bytes become a
// string once per message, so a character that a chunk boundary cuts stays whole. No parsing here.

import { isUtf8 } from 'node:buffer';
import { ProtocolError } from './errors';

export const DEFAULT_MAX_MESSAGE_BYTES = 256 * 1024 * 1024;
/** ovsdb-server's own bound on nesting (JSON_MAX_HEIGHT). */
const MAX_DEPTH = 1000;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

export class JsonSplitter {
  private depth = 0;
  private inString = false;
  private escaped = false;
  private parts: Buffer[] = [];
  private partBytes = 0;

  constructor(
    private readonly onText: (text: string) => void,
    private readonly maxBytes = DEFAULT_MAX_MESSAGE_BYTES,
  ) {}

  /**
   * Takes the next bytes and calls back with each message that they complete. Throws ProtocolError on what cannot be a
   * JSON object or is too large; nothing may be pushed after that.
   */
  push(chunk: Buffer): void {
    let start = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.depth === 0) {
        at = start = this.findStart(chunk, at);
        if (at === chunk.length) return;
      }
      at = this.findEnd(chunk, at);
      if (this.depth > 0) break;
      this.emit(chunk.subarray(start, at));
    }
    if (this.depth > 0) this.keep(chunk.subarray(start));
  }

  /** The place of the next `{`, or the chunk's length if there is only white space. */
  private findStart(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      if (byte === OPEN_BRACE) return at;
      const isSpace = byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
      if (!isSpace) throw new ProtocolError(`a message must be a JSON object, not begin with byte ${byte}`);
    }
    return chunk.length;
  }

  /** Reads on until the object ends (returns the place after it, depth 0) or the chunk does. */
  private findEnd(chunk: Buffer, from: number): number {
    const { length } = chunk;
    let { depth, inString, escaped } = this;
    let at = from;
    for (; at < length; at += 1) {
      const byte = chunk[at] as number;
      if (inString) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inString = false;
      } else if (byte === QUOTE) {
        inString = true;
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        depth += 1;
        if (depth > MAX_DEPTH) throw new ProtocolError(`a message is nested deeper than ${MAX_DEPTH}`);
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        depth -= 1;
        if (depth === 0) {
          at += 1;
          break;
        }
      }
    }
    this.depth = depth;
    this.inString = inString;
    this.escaped = escaped;
    return at;
  }

  private keep(part: Buffer): void {
    this.measure(part);
    this.parts.push(part);
    this.partBytes += part.length;
  }

  private emit(last: Buffer): void {
    this.measure(last);
    const whole = this.parts.length === 0 ? last : Buffer.concat([...this.parts, last]);
    this.parts = [];
    this.partBytes = 0;
    if (!isUtf8(whole)) throw new ProtocolError('a message is not UTF-8');
    this.onText(whole.toString('utf8'));
  }

  private measure(more: Buffer): void {
    if (this.partBytes + more.length > this.maxBytes) {
      throw new ProtocolError(`a message is larger than ${this.maxBytes} bytes`);
    }
  }
}
