// ICMP messages that a router makes: errors about a packet (RFC 792, RFC 1812 4.3), echo requests, and answers to them.

import type { Ipv4, Mac } from '../base/addresses';
import { setMac, setU16, setU32 } from './bytes';
import { internetChecksum } from './checksum';
import type { PacketView } from './packet-view';
import {
  ETHERNET_HEADER,
  ETH_TYPE,
  ICMP,
  ICMP_HEADER,
  ICMP_UNREACHABLE,
  IPV4_HEADER,
  IP_PROTO,
  isIcmpError,
} from './protocol-numbers';

/** Who sends: the MAC and the address of the router. */
export interface IcmpSender {
  readonly mac: Mac;
  readonly address: Ipv4;
}

export interface IcmpErrorKind {
  readonly type: number;
  readonly code: number;
  /** For "fragmentation needed" (RFC 1191): what fits the next hop, in bytes of IPv4 packet. */
  readonly mtu?: number;
}

/** Nobody may be asked to send less than this (RFC 791). */
const MIN_MTU = 68;
/** An error is no longer than this, so that it is never cut itself (RFC 1812, 4.3.2.3). */
const MAX_ERROR = 576;
const TTL = 64;
/** Internetwork control, as RFC 1812 4.3.2.5 asks for errors. */
const TOS_INTERNETWORK_CONTROL = 0xc0;
const DONT_FRAGMENT = 0x4000;

export function unreachable(code: number): IcmpErrorKind {
  return { type: ICMP.DESTINATION_UNREACHABLE, code };
}

export const TTL_EXCEEDED: IcmpErrorKind = { type: ICMP.TIME_EXCEEDED, code: 0 };

export function fragmentationNeeded(mtu: number): IcmpErrorKind {
  return { type: ICMP.DESTINATION_UNREACHABLE, code: ICMP_UNREACHABLE.FRAGMENTATION_NEEDED, mtu };
}

/** True for 0/8, 127/8, multicast, class E and broadcast: no single host sends from there, and none is answered there. */
function isNoHost(address: Ipv4): boolean {
  const net = address >>> 24;
  return net === 0 || net === 127 || net >= 224;
}

/** The group bit of a MAC address: broadcast or multicast. */
function isGroup(mac: Mac): boolean {
  return (Math.floor(mac / 0x100_0000_0000) & 1) === 1;
}

/** True where RFC 1812 4.3.2.7 lets an error about this packet be sent. Tagged frames are none of ours. */
export function mayReportError(view: PacketView): boolean {
  if (view.ethType !== ETH_TYPE.IPV4 || view.hasVlan || view.ipFragOffset !== 0) return false;
  if (view.ipProto === IP_PROTO.ICMP && isIcmpError(view.icmpType)) return false;
  return !isGroup(view.ethDst) && !isGroup(view.ethSrc) && !isNoHost(view.ipSrc) && !isNoHost(view.ipDst);
}

/**
 * Builds the frame of an ICMP error about the packet in `view` (parse 'ok', IPv4), to the MAC that it came from. It quotes
 * the packet as far as 576 bytes go. Undefined where no error may be sent about it.
 */
export function buildIcmpError(view: PacketView, sender: IcmpSender, kind: IcmpErrorKind): Buffer | undefined {
  if (!mayReportError(view)) return undefined;
  const quoted = Math.min(view.ipHeaderLength + view.l4Length, MAX_ERROR - IPV4_HEADER - ICMP_HEADER);
  const frame = Buffer.alloc(ETHERNET_HEADER + IPV4_HEADER + ICMP_HEADER + quoted);
  storeHeaders(frame, view, sender);
  const icmp = ETHERNET_HEADER + IPV4_HEADER;
  frame[icmp] = kind.type;
  frame[icmp + 1] = kind.code;
  if (kind.mtu !== undefined) setU16(frame, icmp + 6, Math.min(Math.max(kind.mtu, MIN_MTU), 0xffff));
  view.buffer.copy(frame, icmp + ICMP_HEADER, view.l3Offset, view.l3Offset + quoted);
  setU16(frame, icmp + 2, internetChecksum(frame, icmp, ICMP_HEADER + quoted));
  return frame;
}

/** To the MAC and address that `view` came from. */
function storeHeaders(frame: Buffer, view: Pick<PacketView, 'ethSrc' | 'ipSrc'>, sender: IcmpSender): void {
  setMac(frame, 0, view.ethSrc);
  setMac(frame, 6, sender.mac);
  setU16(frame, 12, ETH_TYPE.IPV4);
  const ip = ETHERNET_HEADER;
  frame[ip] = 0x45;
  frame[ip + 1] = TOS_INTERNETWORK_CONTROL;
  setU16(frame, ip + 2, frame.length - ETHERNET_HEADER);
  setU16(frame, ip + 6, DONT_FRAGMENT);
  frame[ip + 8] = TTL;
  frame[ip + 9] = IP_PROTO.ICMP;
  setU32(frame, ip + 12, sender.address);
  setU32(frame, ip + 16, view.ipSrc);
  setU16(frame, ip + 10, internetChecksum(frame, ip, IPV4_HEADER));
}

/** Builds the frame of an ICMP echo request without data; its answer has the same token, of 32 bits. */
export function buildEchoRequest({ from, to, token }: { from: IcmpSender; to: IcmpSender; token: number }): Buffer {
  const frame = Buffer.alloc(ETHERNET_HEADER + IPV4_HEADER + ICMP_HEADER);
  storeHeaders(frame, { ethSrc: to.mac, ipSrc: to.address }, from);
  const icmp = ETHERNET_HEADER + IPV4_HEADER;
  frame[icmp] = ICMP.ECHO_REQUEST;
  setU32(frame, icmp + 4, token);
  setU16(frame, icmp + 2, internetChecksum(frame, icmp, ICMP_HEADER));
  return frame;
}

/**
 * Builds the answer to the ICMP echo request in `view`: same identifier, sequence number and data, from the address that
 * was asked, with the MAC that was asked. Undefined where it is no whole echo request to a single host.
 */
export function buildEchoReply(view: PacketView): Buffer | undefined {
  if (view.icmpType !== ICMP.ECHO_REQUEST || view.isFragment || !mayReportError(view)) return undefined;
  if (view.l4Length !== view.ipTotalLength - view.ipHeaderLength) return undefined;
  // A damaged request is not answered with a checksum that says it was whole.
  if (internetChecksum(view.buffer, view.l4Offset, view.l4Length) !== 0) return undefined;
  const frame = Buffer.alloc(ETHERNET_HEADER + IPV4_HEADER + view.l4Length);
  storeHeaders(frame, view, { mac: view.ethDst, address: view.ipDst });
  const [ip, icmp] = [ETHERNET_HEADER, ETHERNET_HEADER + IPV4_HEADER];
  // An answer carries the type of service of its request (RFC 1812, 4.3.3.6); options are not copied.
  frame[ip + 1] = view.buffer[view.l3Offset + 1] as number;
  setU16(frame, ip + 10, 0);
  setU16(frame, ip + 10, internetChecksum(frame, ip, IPV4_HEADER));
  view.buffer.copy(frame, icmp, view.l4Offset, view.l4Offset + view.l4Length);
  frame[icmp] = ICMP.ECHO_REPLY;
  setU16(frame, icmp + 2, 0);
  setU16(frame, icmp + 2, internetChecksum(frame, icmp, view.l4Length));
  return frame;
}
