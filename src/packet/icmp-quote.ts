// The packet that an ICMP error quotes: read it, and change its addresses, so that an error about a translated packet
// reaches its sender with the addresses that the sender knows (RFC 5508, 4.2).

import type { Ipv4 } from '../base/addresses';
import { setU16, u16, u32 } from './bytes';
import { updateChecksum16, updateChecksum32 } from './checksum';
import type { Addresses } from './ipv4-rewrite';
import { l4ChecksumOffset, storeAddresses, updateL4Checksum } from './ipv4-rewrite';
import type { PacketView } from './packet-view';
import { ICMP_HEADER, IPV4_HEADER, IP_PROTO, isIcmpError } from './protocol-numbers';

/** What an ICMP error says about the packet that it quotes. */
export interface Quote {
  /** Offset of the quoted IPv4 header in the view's buffer. */
  readonly ipOffset: number;
  readonly ipSrc: Ipv4;
  readonly ipDst: Ipv4;
  readonly ipProto: number;
  readonly l4Offset: number;
  /** Bytes of the quoted packet that are there after its IPv4 header. RFC 792 asks for eight. */
  readonly l4Length: number;
  /** Ports of TCP, UDP and SCTP; 0 for others, and for later fragments. */
  readonly l4Src: number;
  readonly l4Dst: number;
  readonly isLaterFragment: boolean;
}

/** Reads the quote of the ICMP error in `view`. Undefined where it is no ICMP error, or quotes no whole IPv4 header. */
export function readQuote(view: PacketView): Quote | undefined {
  if (view.ipProto !== IP_PROTO.ICMP || !isIcmpError(view.icmpType)) return undefined;
  const { buffer } = view;
  const ipOffset = view.l4Offset + ICMP_HEADER;
  const length = view.l4Length - ICMP_HEADER;
  if (length < IPV4_HEADER || (buffer[ipOffset] as number) >>> 4 !== 4) return undefined;
  const headerLength = ((buffer[ipOffset] as number) & 15) * 4;
  if (headerLength < IPV4_HEADER || headerLength > length) return undefined;
  const ipProto = buffer[ipOffset + 9] as number;
  const isLaterFragment = (u16(buffer, ipOffset + 6) & 0x1fff) !== 0;
  const l4Offset = ipOffset + headerLength;
  const l4Length = length - headerLength;
  const hasPorts = !isLaterFragment && l4Length >= 4 && PORT_PROTOCOLS.includes(ipProto);
  return {
    ipOffset,
    ipSrc: u32(buffer, ipOffset + 12) as Ipv4,
    ipDst: u32(buffer, ipOffset + 16) as Ipv4,
    ipProto,
    l4Offset,
    l4Length,
    l4Src: hasPorts ? u16(buffer, l4Offset) : 0,
    l4Dst: hasPorts ? u16(buffer, l4Offset + 2) : 0,
    isLaterFragment,
  };
}

const PORT_PROTOCOLS: readonly number[] = [IP_PROTO.TCP, IP_PROTO.UDP, IP_PROTO.SCTP];

/**
 * Gives the quoted packet other addresses, in place: its IPv4 checksum, its TCP or UDP checksum where that is quoted, and
 * the checksum of the ICMP message around it. All are updated, not computed anew, so what was wrong stays wrong.
 */
export function rewriteQuote(view: PacketView, quote: Quote, after: Addresses): void {
  const { buffer } = view;
  const { ipOffset, ipProto, l4Offset } = quote;
  const before: Addresses = { src: quote.ipSrc, dst: quote.ipDst };
  const icmpChecksum = view.l4Offset + 2;
  let outer = u16(buffer, icmpChecksum);

  const innerChecksum = u16(buffer, ipOffset + 10);
  storeAddresses(buffer, ipOffset, after);
  outer = updateChecksum32(updateChecksum32(outer, before.src, after.src), before.dst, after.dst);
  outer = updateChecksum16(outer, innerChecksum, u16(buffer, ipOffset + 10));

  const at = l4ChecksumOffset(ipProto);
  if (at >= 0 && !quote.isLaterFragment && quote.l4Length >= at + 2) {
    const checksum = u16(buffer, l4Offset + at);
    const updated = updateL4Checksum(ipProto, checksum, before, after);
    setU16(buffer, l4Offset + at, updated);
    outer = updateChecksum16(outer, checksum, updated);
  }
  setU16(buffer, icmpChecksum, outer);
}
