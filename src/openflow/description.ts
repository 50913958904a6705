// What the datapath says about itself: the reply to OFPMP_DESC (OpenFlow 1.4, 7.3.5.1). The request has no body.

import { OFPMP } from './constants';
import type { MessageWriter } from './message-writer';
import { MULTIPART_HEADER, beginReply } from './multipart';
import { requireLength } from './protocol-error';

export interface DescReply {
  readonly type: 'descReply';
  /** "Nicira, Inc." and "Open vSwitch" for OVS, with its version in `software`. */
  readonly manufacturer: string;
  readonly hardware: string;
  readonly software: string;
  readonly serialNumber: string;
  readonly datapath: string;
}

const FIELDS = [
  ['manufacturer', 256],
  ['hardware', 256],
  ['software', 256],
  ['serialNumber', 32],
  ['datapath', 256],
] as const;
const LENGTH = 1056;

export function encodeDescReply(writer: MessageWriter, xid: number, reply: DescReply): void {
  const start = beginReply(writer, xid, OFPMP.DESC, { more: false });
  for (const [field, length] of FIELDS) {
    const text = Buffer.alloc(length);
    text.write(reply[field], 0, length - 1, 'latin1');
    writer.copy(text);
  }
  writer.end(start);
}

export function decodeDescReply(buffer: Buffer, offset: number, end: number): DescReply {
  const body = offset + MULTIPART_HEADER;
  requireLength('ofp_desc', end - body, LENGTH);
  let at = body;
  const texts = FIELDS.map(([field, length]) => {
    const bytes = buffer.subarray(at, (at += length));
    const nul = bytes.indexOf(0);
    return [field, bytes.subarray(0, nul < 0 ? length : nul).toString('latin1')];
  });
  return { type: 'descReply', ...(Object.fromEntries(texts) as Omit<DescReply, 'type'>) };
}
