// A frame read in place into one object that is used again and again: Ethernet with at most one VLAN tag, then ARP or
// IPv4, then ports or ICMP type and code. It allocates nothing, throws nothing and verifies no checksum. Frames come from
// containers, so every byte may be a lie.

import type { Ipv4, Mac } from '../base/addresses';
import { mac, u16, u32 } from './bytes';
import { ETHERNET_HEADER, ETH_TYPE, ICMP_HEADER, IPV4_HEADER, IP_PROTO } from './protocol-numbers';

/** What `parse` says: 'ok', or why the frame is malformed. */
export type ParseResult = 'ok' | 'truncated' | 'bad-version' | 'bad-ihl' | 'bad-length' | 'bad-arp';

const VLAN_TAG = 4;
const ARP_IPV4 = 28;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const SCTP_HEADER = 12;

export class PacketView {
  /** The frame is `length` bytes of `buffer` from `offset`; all other offsets are into `buffer` too. */
  buffer: Buffer = Buffer.alloc(0);
  offset = 0;
  length = 0;

  ethDst = 0 as Mac;
  ethSrc = 0 as Mac;
  /** After the VLAN tag where there is one. Under 0x600 it is a length (IEEE 802.3). */
  ethType = 0;
  hasVlan = false;
  vlanTci = 0;
  l3Offset = 0;

  arpOp = 0;
  arpSha = 0 as Mac;
  arpSpa = 0 as Ipv4;
  arpTha = 0 as Mac;
  arpTpa = 0 as Ipv4;

  ipHeaderLength = 0;
  ipTotalLength = 0;
  ipTtl = 0;
  ipProto = 0;
  ipSrc = 0 as Ipv4;
  ipDst = 0 as Ipv4;
  /** Where this fragment's payload begins in that of the datagram, in bytes. Over 0: a later fragment, without ports. */
  ipFragOffset = 0;
  ipMoreFragments = false;
  ipDontFragment = false;

  /** After the IPv4 header, and what of the datagram is there (less where the frame was cut to `max_len`). */
  l4Offset = 0;
  l4Length = 0;
  /** Ports of TCP, UDP and SCTP; 0 for others and for later fragments. */
  l4Src = 0;
  l4Dst = 0;
  /** ICMP type and code; -1 for others and for later fragments. */
  icmpType = -1;
  icmpCode = -1;

  /**
   * Reads the frame of `length` bytes at `offset`. `fullLength` is its length before it was cut. Where the result is not
   * 'ok', the fields of the layer that is malformed, and of those above it, are not to be used.
   */
  parse(buffer: Buffer, offset: number, length: number, fullLength = length): ParseResult {
    this.reset(buffer, offset, length);
    if (length < ETHERNET_HEADER) return 'truncated';
    this.ethDst = mac(buffer, offset);
    this.ethSrc = mac(buffer, offset + 6);
    this.ethType = u16(buffer, offset + 12);
    let header = ETHERNET_HEADER;
    if (this.ethType === ETH_TYPE.VLAN) {
      header += VLAN_TAG;
      if (length < header) return 'truncated';
      this.hasVlan = true;
      this.vlanTci = u16(buffer, offset + 14);
      this.ethType = u16(buffer, offset + 16);
    }
    this.l3Offset = offset + header;
    if (this.ethType === ETH_TYPE.IPV4) return this.parseIpv4(length - header, fullLength - header);
    if (this.ethType === ETH_TYPE.ARP) return this.parseArp(length - header);
    return 'ok';
  }

  /** True for a fragment of a datagram, the first included. */
  get isFragment(): boolean {
    return this.ipMoreFragments || this.ipFragOffset !== 0;
  }

  private reset(buffer: Buffer, offset: number, length: number): void {
    this.buffer = buffer;
    this.offset = offset;
    this.length = length;
    this.hasVlan = false;
    this.vlanTci = 0;
    this.ethType = 0;
    this.arpOp = 0;
    this.ipProto = 0;
    this.ipSrc = 0 as Ipv4;
    this.ipDst = 0 as Ipv4;
    this.ipFragOffset = 0;
    this.ipMoreFragments = false;
    this.l4Src = 0;
    this.l4Dst = 0;
    this.icmpType = -1;
    this.icmpCode = -1;
  }

  /** RFC 826 for Ethernet and IPv4; others are malformed to us. */
  private parseArp(length: number): ParseResult {
    const { buffer, l3Offset: at } = this;
    if (length < ARP_IPV4) return 'truncated';
    if (u32(buffer, at) !== 0x0001_0800 || u16(buffer, at + 4) !== 0x0604) return 'bad-arp';
    this.arpOp = u16(buffer, at + 6);
    this.arpSha = mac(buffer, at + 8);
    this.arpSpa = u32(buffer, at + 14) as Ipv4;
    this.arpTha = mac(buffer, at + 18);
    this.arpTpa = u32(buffer, at + 24) as Ipv4;
    return 'ok';
  }

  private parseIpv4(length: number, fullLength: number): ParseResult {
    const { buffer, l3Offset: at } = this;
    if (length < IPV4_HEADER) return 'truncated';
    const versionAndIhl = buffer[at] as number;
    const headerLength = (versionAndIhl & 15) * 4;
    const totalLength = u16(buffer, at + 2);
    if (versionAndIhl >>> 4 !== 4) return 'bad-version';
    if (headerLength < IPV4_HEADER) return 'bad-ihl';
    if (length < headerLength) return 'truncated';
    if (totalLength < headerLength || totalLength > fullLength) return 'bad-length';
    const fragment = u16(buffer, at + 6);
    this.ipHeaderLength = headerLength;
    this.ipTotalLength = totalLength;
    this.ipDontFragment = (fragment & 0x4000) !== 0;
    this.ipMoreFragments = (fragment & 0x2000) !== 0;
    this.ipFragOffset = (fragment & 0x1fff) << 3;
    this.ipTtl = buffer[at + 8] as number;
    this.ipProto = buffer[at + 9] as number;
    this.ipSrc = u32(buffer, at + 12) as Ipv4;
    this.ipDst = u32(buffer, at + 16) as Ipv4;
    this.l4Offset = at + headerLength;
    this.l4Length = Math.min(totalLength, length) - headerLength;
    // A fragment may not reach over the largest datagram ("ping of death").
    if (this.ipFragOffset + totalLength - headerLength > 0xffff) return 'bad-length';
    return this.ipFragOffset === 0 ? this.parseL4() : 'ok';
  }

  private parseL4(): ParseResult {
    const { buffer, l4Offset: at, l4Length, ipProto } = this;
    switch (ipProto) {
      case IP_PROTO.ICMP:
        if (l4Length < ICMP_HEADER) return 'truncated';
        this.icmpType = buffer[at] as number;
        this.icmpCode = buffer[at + 1] as number;
        return 'ok';
      case IP_PROTO.TCP:
        return this.parsePorts(TCP_HEADER);
      case IP_PROTO.UDP:
        return this.parsePorts(UDP_HEADER);
      case IP_PROTO.SCTP:
        return this.parsePorts(SCTP_HEADER);
      default:
        return 'ok';
    }
  }

  /** A first fragment that cuts the header of its protocol is an attack on filters (RFC 1858), so it is malformed. */
  private parsePorts(headerLength: number): ParseResult {
    if (this.l4Length < headerLength) return 'truncated';
    this.l4Src = u16(this.buffer, this.l4Offset);
    this.l4Dst = u16(this.buffer, this.l4Offset + 2);
    return 'ok';
  }
}
