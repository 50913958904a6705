// Frames of the Linux kernel (test/golden/packets.json), and frames built the slow way, field by field, for comparison.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { frames } = JSON.parse(readFileSync(join(__dirname, '../../golden/packets.json'), 'utf8')) as {
  frames: string[];
};

/** Every recorded frame, in order. */
export const captured = frames.map((hex) => Buffer.from(hex, 'hex'));

/** The recorded frames that a test knows by what they are. */
export function capturedWhere(predicate: (frame: Buffer) => boolean): Buffer[] {
  return captured.filter(predicate).map((frame) => Buffer.from(frame));
}

export const isIpv4 = (frame: Buffer) => frame.readUInt16BE(12) === 0x0800;
export const isProto = (proto: number) => (frame: Buffer) => isIpv4(frame) && frame[23] === proto;
export const isLaterFragment = (frame: Buffer) => isIpv4(frame) && (frame.readUInt16BE(20) & 0x1fff) !== 0;
export const isIcmpType = (type: number) => (frame: Buffer) => isProto(1)(frame) && frame[34] === type;

/** One's complement checksum, by the definition: add up, carry around, complement. */
export function naiveChecksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** The checksum field of TCP or UDP computed anew over the whole segment, with its pseudo header. */
export function naiveL4Checksum(frame: Buffer): number {
  const [ip, l4, proto] = [frame.subarray(14, 34), frame.subarray(34, 14 + frame.readUInt16BE(16)), frame[23] ?? 0];
  const segment = Buffer.from(l4);
  segment.writeUInt16BE(0, proto === 6 ? 16 : 6);
  const pseudo = Buffer.from([...ip.subarray(12, 20), 0, proto, segment.length >> 8, segment.length & 255]);
  return naiveChecksum(Buffer.concat([pseudo, segment]));
}

export interface Ipv4Frame {
  readonly src: number;
  readonly dst: number;
  readonly proto: number;
  readonly payload: Buffer;
  readonly fragment?: number;
  readonly options?: Buffer;
}

/** A frame with right checksums (that of TCP and UDP only where it is no fragment). */
export function buildFrame({ src, dst, proto, payload, fragment = 0, options = Buffer.alloc(0) }: Ipv4Frame): Buffer {
  const header = Buffer.alloc(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(0x1234, 4);
  header.writeUInt16BE(fragment, 6);
  header[8] = 64;
  header[9] = proto;
  header.writeUInt32BE(src, 12);
  header.writeUInt32BE(dst, 16);
  options.copy(header, 20);
  header.writeUInt16BE(naiveChecksum(header), 10);
  const frame = Buffer.concat([Buffer.from('02420a01000102420a0100020800', 'hex'), header, payload]);
  const at = proto === 6 ? 16 : proto === 17 ? 6 : -1;
  if (at >= 0 && fragment === 0 && options.length === 0) {
    const checksum = naiveL4Checksum(frame);
    frame.writeUInt16BE(proto === 17 && checksum === 0 ? 0xffff : checksum, 34 + at);
  }
  return frame;
}
