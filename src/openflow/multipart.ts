// The frame around multipart messages: struct ofp_multipart_request and ofp_multipart_reply (OpenFlow 1.4, 7.3.5). A long
// reply comes in parts, of which all but the last say that more follow. Bodies stand in the files of their subjects.

import { OFPMPF_MORE, OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { requireLength } from './protocol-error';
import { u16 } from './reader';

/** Bytes before the body. */
export const MULTIPART_HEADER = 16;

/** True in all parts of a reply but the last. */
export interface Part {
  readonly more: boolean;
}

/** Starts a request of one of OFPMP; `writer.end` ends it. */
export function beginRequest(writer: MessageWriter, xid: number, type: number): number {
  const start = writer.begin(OFPT.MULTIPART_REQUEST, xid);
  writer.u32(type << 16);
  writer.u32(0);
  return start;
}

/** Starts a part of a reply. */
export function beginReply(writer: MessageWriter, xid: number, type: number, { more }: Part): number {
  const start = writer.begin(OFPT.MULTIPART_REPLY, xid);
  writer.u32((type << 16) | (more ? OFPMPF_MORE : 0));
  writer.u32(0);
  return start;
}

/** The OFPMP type of the multipart message at `offset`. Throws ProtocolError where it has no room for one. */
export function multipartType(buffer: Buffer, offset: number, end: number): number {
  requireLength('ofp_multipart', end - offset, MULTIPART_HEADER);
  return u16(buffer, offset + 8);
}

/** True where further parts of the reply at `offset` follow. */
export function hasMore(buffer: Buffer, offset: number): boolean {
  return (u16(buffer, offset + 10) & OFPMPF_MORE) !== 0;
}
