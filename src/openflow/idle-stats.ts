// How long flows have been idle, which OpenFlow 1.4 cannot say: OFPMP_FLOW_DESC with the OXS field idle_time (OpenFlow 1.5.1,
// 7.2.4.1 and 7.3.5.2). The one question that is asked in 1.5; of its answer nothing else is read.

import { OFPG_ANY, OFPMPF_MORE, OFPP, OFPT, OFPTT_ALL } from './constants';
import { paddedLength, matchLength } from './match';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';

const OFP15_VERSION = 6;
const OFPMP_FLOW_DESC = 1;
const OFPXSC_OPENFLOW_BASIC = 0x8002;
const OXS_IDLE_TIME = 1;
const HEADER = 8;
const MULTIPART_HEADER = 16;
/** struct ofp_flow_desc before its match, and where its cookie is. */
const FIXED_LENGTH = 24;
const COOKIE = 16;

/** The xid of the question. */
export const IDLE_XID = 2;

/** OFPT_HELLO for 1.5 alone, and the question for flows that a cookie picks. */
export function encodeIdleRequest({ cookie, cookieMask }: { cookie: bigint; cookieMask: bigint }): Buffer {
  const hello = Buffer.from([OFP15_VERSION, OFPT.HELLO, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 1 << OFP15_VERSION]);
  const request = Buffer.alloc(56);
  request.set([OFP15_VERSION, OFPT.MULTIPART_REQUEST, 0, request.length]);
  request.writeUInt32BE(IDLE_XID, 4);
  request.writeUInt16BE(OFPMP_FLOW_DESC, 8);
  request[16] = OFPTT_ALL;
  request.writeUInt32BE(OFPP.ANY, 20);
  request.writeUInt32BE(OFPG_ANY, 24);
  request.writeBigUInt64BE(cookie, 32);
  request.writeBigUInt64BE(cookieMask, 40);
  // An empty match.
  request.set([0, 1, 0, 4], 48);
  return Buffer.concat([hello, request]);
}

/** What identifies a flow: its cookie and its match, as bytes. The same in all versions of OpenFlow that have OXM. */
export function flowKey(buffer: Buffer, cookieAt: number, matchAt: number, end: number): string {
  const length = matchLength(buffer, matchAt, end);
  return buffer.toString('latin1', cookieAt, cookieAt + 8) + buffer.toString('latin1', matchAt, matchAt + length);
}

/**
 * Takes the messages of the answer that `bytes` holds whole; returns how many bytes that were, and whether it is complete.
 * Calls back with the key of each flow. Throws ProtocolError for bytes that are no OpenFlow 1.5, and for an error message.
 */
export function takeIdleReply(
  bytes: Buffer,
  visit: (key: string, idleSeconds: number) => void,
): { taken: number; isDone: boolean } {
  let at = 0;
  while (bytes.length - at >= HEADER) {
    const length = u16(bytes, at + 2);
    if (length < HEADER) throw new ProtocolError('ofp_header', `length ${length}`);
    if (bytes.length - at < length) break;
    const [start, end] = [at, at + length];
    at = end;
    if (bytes[start + 1] === OFPT.ERROR)
      throw new ProtocolError('OFPT_ERROR', 'the datapath does not answer in OpenFlow 1.5');
    if (bytes[start + 1] !== OFPT.MULTIPART_REPLY || u32(bytes, start + 4) !== IDLE_XID) continue;
    takePart(bytes, start, end, visit);
    if ((u16(bytes, start + 10) & OFPMPF_MORE) === 0) return { taken: at, isDone: true };
  }
  return { taken: at, isDone: false };
}

function takePart(bytes: Buffer, start: number, end: number, visit: (key: string, idleSeconds: number) => void): void {
  requireLength('ofp_multipart', end - start, MULTIPART_HEADER);
  if (bytes[start] !== OFP15_VERSION) throw new ProtocolError('ofp_header', `version ${bytes[start]}`);
  for (let flow = start + MULTIPART_HEADER; flow < end;) {
    requireLength('ofp_flow_desc', end - flow, FIXED_LENGTH + 8);
    const flowEnd = flow + u16(bytes, flow);
    if (flowEnd <= flow + FIXED_LENGTH || flowEnd > end) throw new ProtocolError('ofp_flow_desc', 'wrong length');
    const match = flow + FIXED_LENGTH;
    const idle = idleSeconds(bytes, match + paddedLength(matchLength(bytes, match, flowEnd)), flowEnd);
    if (idle !== undefined) visit(flowKey(bytes, flow + COOKIE, match, flowEnd), idle);
    flow = flowEnd;
  }
}

/** Of struct ofp_stats at `at`. */
function idleSeconds(bytes: Buffer, at: number, end: number): number | undefined {
  requireLength('ofp_stats', end - at, 4);
  const statsEnd = Math.min(end, at + u16(bytes, at + 2));
  for (let field = at + 4; field + 4 <= statsEnd;) {
    const length = bytes[field + 3] ?? 0;
    const isIdle = u16(bytes, field) === OFPXSC_OPENFLOW_BASIC && (bytes[field + 2] ?? 0) >>> 1 === OXS_IDLE_TIME;
    if (isIdle && length >= 8 && field + 12 <= statsEnd) return u32(bytes, field + 4);
    field += 4 + length;
  }
  return undefined;
}
