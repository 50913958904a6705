// Changes the addresses of an IPv4 packet in place, with the checksums that cover them: what a datapath's set_field does,
// for the packets that take the slow path.

import type { Ipv4 } from '../base/addresses';
import { setU16, setU32, u16, u32 } from './bytes';
import { updateChecksum16, updateChecksum32 } from './checksum';
import type { PacketView } from './packet-view';
import { IP_PROTO } from './protocol-numbers';

const TTL_AND_PROTO = 8;
const SRC = 12;
const DST = 16;
const IP_CHECKSUM = 10;

/** Where the checksum that covers the addresses stands in a protocol's header; -1 where there is none. */
export function l4ChecksumOffset(ipProto: number): number {
  if (ipProto === IP_PROTO.TCP) return 16;
  return ipProto === IP_PROTO.UDP ? 6 : -1;
}

/**
 * An L4 checksum after the addresses changed. A UDP checksum of 0 means "none" and stays; one that becomes 0 is written
 * as 0xffff (RFC 768).
 */
export function updateL4Checksum(ipProto: number, checksum: number, before: Addresses, after: Addresses): number {
  if (ipProto === IP_PROTO.UDP && checksum === 0) return 0;
  const updated = updateChecksum32(updateChecksum32(checksum, before.src, after.src), before.dst, after.dst);
  return ipProto === IP_PROTO.UDP && updated === 0 ? 0xffff : updated;
}

export interface Addresses {
  readonly src: Ipv4;
  readonly dst: Ipv4;
}

/** Stores both addresses into the IPv4 header at `ip` and updates its checksum. The L4 checksum is the caller's. */
export function storeAddresses(bytes: Buffer, ip: number, after: Addresses): void {
  const checksum = updateChecksum32(u16(bytes, ip + IP_CHECKSUM), u32(bytes, ip + SRC), after.src);
  setU16(bytes, ip + IP_CHECKSUM, updateChecksum32(checksum, u32(bytes, ip + DST), after.dst));
  setU32(bytes, ip + SRC, after.src);
  setU32(bytes, ip + DST, after.dst);
}

/**
 * Gives the packet in `view`, whose parse was 'ok' and which is IPv4, other addresses; the view sees them. A later
 * fragment has no L4 header, and nothing after its IPv4 header is touched.
 */
export function rewriteAddresses(view: PacketView, after: Addresses): void {
  const { buffer, l3Offset, l4Offset, ipProto } = view;
  const at = l4ChecksumOffset(ipProto);
  if (at >= 0 && view.ipFragOffset === 0) {
    const before = { src: view.ipSrc, dst: view.ipDst };
    setU16(buffer, l4Offset + at, updateL4Checksum(ipProto, u16(buffer, l4Offset + at), before, after));
  }
  storeAddresses(buffer, l3Offset, after);
  view.ipSrc = after.src;
  view.ipDst = after.dst;
}

/** One hop further: the packet in `view` (parse 'ok', IPv4, a TTL over 0) has one less to go; the view sees it. */
export function decrementTtl(view: PacketView): void {
  const { buffer, l3Offset } = view;
  const before = u16(buffer, l3Offset + TTL_AND_PROTO);
  setU16(buffer, l3Offset + TTL_AND_PROTO, before - 0x100);
  const checksum = updateChecksum16(u16(buffer, l3Offset + IP_CHECKSUM), before, before - 0x100);
  setU16(buffer, l3Offset + IP_CHECKSUM, checksum);
  view.ipTtl -= 1;
}
