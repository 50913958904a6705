// OFPT_ECHO_REQUEST and OFPT_ECHO_REPLY: a reply carries the bytes of its request (OpenFlow 1.4, 7.5.2 and 7.5.3).

import { OFPT } from './constants';
import type { MessageWriter } from './message-writer';

export interface Echo {
  readonly type: 'echoRequest' | 'echoReply';
  readonly data: Buffer;
}

export function encodeEcho(writer: MessageWriter, xid: number, echo: Echo): void {
  const start = writer.begin(echo.type === 'echoRequest' ? OFPT.ECHO_REQUEST : OFPT.ECHO_REPLY, xid);
  writer.copy(echo.data);
  writer.end(start);
}

export function decodeEcho(type: Echo['type'], buffer: Buffer, offset: number, end: number): Echo {
  return { type, data: Buffer.from(buffer.subarray(offset + 8, end)) };
}
