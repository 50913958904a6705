// Cuts an IPv4 packet into fragments (RFC 791, 3.2), for the way over a link that takes less than the packet has.

import { setU16 } from './bytes';
import { internetChecksum } from './checksum';
import type { PacketView } from './packet-view';
import { ETHERNET_HEADER, IPV4_HEADER } from './protocol-numbers';

/** A frame to be sent, as PacketView names its parts. */
export interface Frame {
  readonly buffer: Buffer;
  readonly offset: number;
  readonly length: number;
}

const MORE_FRAGMENTS = 0x2000;
/** Options whose type has this bit go with every fragment. */
const COPIED = 0x80;
const OPTION_END = 0;
const OPTION_NOP = 1;

/**
 * The packet of the view (parse 'ok', IPv4, whole), which may be a fragment itself, in Ethernet frames of at most `mtu`
 * bytes of IPv4, 68 or more. They have the MACs and the other header fields of the packet.
 */
export function cutIntoFragments(view: PacketView, mtu: number): Frame[] {
  const payload = view.ipTotalLength - view.ipHeaderLength;
  const frames: Frame[] = [];
  for (let done = 0; done < payload;) {
    const header = done === 0 ? firstHeader(view) : laterHeader(view);
    const room = (mtu - header.length) & ~7;
    const length = Math.min(room, payload - done);
    frames.push(fragment(view, header, done, length));
    done += length;
  }
  return frames;
}

function fragment(view: PacketView, header: Buffer, from: number, length: number): Frame {
  const isLast = from + length === view.ipTotalLength - view.ipHeaderLength;
  const frame = Buffer.alloc(ETHERNET_HEADER + header.length + length);
  view.buffer.copy(frame, 0, view.offset, view.offset + ETHERNET_HEADER);
  const ip = ETHERNET_HEADER;
  header.copy(frame, ip);
  frame[ip] = 0x40 | (header.length / 4);
  setU16(frame, ip + 2, header.length + length);
  const more = !isLast || view.ipMoreFragments ? MORE_FRAGMENTS : 0;
  setU16(frame, ip + 6, ((view.ipFragOffset + from) >>> 3) | more);
  setU16(frame, ip + 10, 0);
  setU16(frame, ip + 10, internetChecksum(frame, ip, header.length));
  view.buffer.copy(frame, ip + header.length, view.l4Offset + from, view.l4Offset + from + length);
  return { buffer: frame, offset: 0, length: frame.length };
}

function firstHeader(view: PacketView): Buffer {
  return view.buffer.subarray(view.l3Offset, view.l3Offset + view.ipHeaderLength);
}

/** The header with those options alone that go with every fragment. */
function laterHeader(view: PacketView): Buffer {
  const whole = firstHeader(view);
  const kept: Buffer[] = [];
  for (let at = IPV4_HEADER; at < whole.length && whole[at] !== OPTION_END;) {
    const type = whole[at] as number;
    const length = type === OPTION_NOP ? 1 : (whole[at + 1] ?? 0);
    // What says that it is longer than the header, or nothing, is a lie: it ends here.
    if (length < 1 || (type !== OPTION_NOP && length < 2) || at + length > whole.length) break;
    if (type & COPIED) kept.push(whole.subarray(at, at + length));
    at += length;
  }
  const options = Buffer.concat(kept);
  const padded = Buffer.alloc(Math.ceil(options.length / 4) * 4);
  options.copy(padded);
  return Buffer.concat([whole.subarray(0, IPV4_HEADER), padded]);
}
