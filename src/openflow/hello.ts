// OFPT_HELLO: struct ofp_hello with its version bitmap (OpenFlow 1.4, 7.5.1).

import { OFPT, OFP_VERSION } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';

/** The first message of either side. `versions` are version bytes from the bitmap; absent where there was none. */
export interface Hello {
  readonly type: 'hello';
  /** The header's version: the sender's highest. */
  readonly version: number;
  readonly versions?: readonly number[];
}

const OFPHET_VERSIONBITMAP = 1;

/** Appends the message. `versions` are 0 to 31. */
export function encodeHello(writer: MessageWriter, xid: number, hello: Hello): void {
  const start = writer.begin(OFPT.HELLO, xid);
  writer.bytes[start] = hello.version;
  if (hello.versions !== undefined) {
    writer.u16(OFPHET_VERSIONBITMAP);
    writer.u16(8);
    writer.u32(hello.versions.reduce((bitmap, version) => bitmap | (1 << version), 0));
  }
  writer.end(start);
}

/** Decodes the message. Elements of other types are ignored, as the specification says. */
export function decodeHello(buffer: Buffer, offset: number, end: number): Hello {
  const version = buffer[offset] as number;
  for (let at = offset + 8; at < end;) {
    requireLength('ofp_hello_elem', end - at, 4);
    const length = u16(buffer, at + 2);
    if (length < 4 || at + length > end) throw new ProtocolError('ofp_hello_elem', `length ${length}`);
    if (u16(buffer, at) === OFPHET_VERSIONBITMAP && length >= 8) {
      const bitmap = u32(buffer, at + 4);
      const versions = Array.from({ length: 32 }, (_, i) => i).filter((i) => (bitmap & (1 << i)) !== 0);
      return { type: 'hello', version, versions };
    }
    at += (length + 7) & ~7;
  }
  return { type: 'hello', version };
}

/** True where the sender of `hello` speaks OpenFlow 1.4: by its bitmap, or without one by its highest version. */
export function speaksOpenFlow14(hello: Hello): boolean {
  return hello.versions?.includes(OFP_VERSION) ?? hello.version >= OFP_VERSION;
}
