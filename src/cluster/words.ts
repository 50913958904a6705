// What the controllers of two hosts say to one another, as bytes. A word says that its sender has made a route: from an
// endpoint of its own to one of whom it is said to, both by their locators.
//
//   one byte   how many bytes follow: 9
//   one byte   what is said: 1, a route was made
//   four each  the locator of the source, that of the destination
//
// A later version may say more behind that, and other things: an agent passes over what it does not know, by its length.

import type { Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';

/** The ALPN protocol; another meaning of the bytes has another name. */
export const WORDS_PROTOCOL = 'daolinet-words/1';
export const WORD_BYTES = 10;
const FOLLOWING_BYTES = WORD_BYTES - 1;
const ROUTE_MADE = 1;

export interface RouteWord {
  readonly source: Ipv4;
  readonly destination: Ipv4;
}

export function encodeWord({ source, destination }: RouteWord): Buffer {
  const bytes = Buffer.allocUnsafe(WORD_BYTES);
  bytes[0] = FOLLOWING_BYTES;
  bytes[1] = ROUTE_MADE;
  bytes.writeUInt32BE(source, 2);
  bytes.writeUInt32BE(destination, 6);
  return bytes;
}

/** Finds words in chunks of a stream. Keeps less than one word of them. */
export class WordReader {
  private rest = Buffer.alloc(0);

  /** `take` is told of each word; of one that only a later version knows, without what it says. */
  constructor(private readonly take: (word: RouteWord | undefined) => void) {}

  /** Throws `invalid` where the bytes are no words; then nothing may follow. */
  push(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (let length = bytes[at]; length !== undefined && at + length < bytes.length; length = bytes[at]) {
      this.take(decodeWord(bytes.subarray(at + 1, at + 1 + length)));
      at += 1 + length;
    }
    // A copy: the chunk is not kept for it.
    this.rest = Buffer.from(bytes.subarray(at));
  }
}

/** `said` is what follows the length. */
function decodeWord(said: Buffer): RouteWord | undefined {
  const isRoute = said[0] === ROUTE_MADE;
  if (said.length === 0 || (isRoute && said.length < FOLLOWING_BYTES)) {
    throw new DaoliError('invalid', `the ${said.length} bytes "${said.toString('hex')}" are no word`);
  }
  return isRoute ? { source: said.readUInt32BE(1) as Ipv4, destination: said.readUInt32BE(5) as Ipv4 } : undefined;
}
