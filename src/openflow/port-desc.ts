// What ports there are: the reply to OFPMP_PORT_DESC (OpenFlow 1.4, 7.3.5.6). The request has no body.

import { OFPMP } from './constants';
import type { MessageWriter } from './message-writer';
import type { Part } from './multipart';
import { MULTIPART_HEADER, beginReply, hasMore } from './multipart';
import type { Port } from './port';
import { decodePorts, encodePort } from './port';

export interface PortDescReply extends Part {
  readonly type: 'portDescReply';
  readonly ports: readonly Port[];
}

export function encodePortDescReply(writer: MessageWriter, xid: number, reply: PortDescReply): void {
  const start = beginReply(writer, xid, OFPMP.PORT_DESC, reply);
  for (const port of reply.ports) encodePort(writer, port);
  writer.end(start);
}

export function decodePortDescReply(buffer: Buffer, offset: number, end: number): PortDescReply {
  const ports = decodePorts(buffer, offset + MULTIPART_HEADER, end);
  return { type: 'portDescReply', more: hasMore(buffer, offset), ports };
}
