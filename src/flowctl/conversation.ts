// A conversation, where the policy looks at protocol and port: who opened it, who answers, and what tells it from others
// between the same two. And what a packet says of itself in these words.

import type { PacketView } from '../packet/packet-view';
import { ICMP, IP_PROTO } from '../packet/protocol-numbers';

/** Ports are 0 where the protocol has none: there is one conversation of it for each opener and answerer. */
export interface Conversation {
  /** Slots, of which one may be OUTSIDE. */
  readonly opener: number;
  readonly answerer: number;
  /** The address of the one that is OUTSIDE, else 0. */
  readonly outsideAddress: number;
  readonly protocol: number;
  readonly openerPort: number;
  readonly answererPort: number;
}

/** Where a packet comes from and goes to: slots, or OUTSIDE and the address that is there. */
export interface PacketEnds {
  readonly from: number;
  readonly to: number;
  readonly outsideAddress: number;
}

/** TCP, UDP and SCTP: what has ports in its first four bytes. */
export function hasPorts(protocol: number): boolean {
  return protocol === IP_PROTO.TCP || protocol === IP_PROTO.UDP || protocol === IP_PROTO.SCTP;
}

/** The conversation that a packet opens or goes on with, if its sender is the opener. ICMP opens with echo requests alone. */
export function openedBy(packet: PacketView, ends: PacketEnds): Conversation | undefined {
  const { ipProto: protocol, icmpType, l4Src: openerPort, l4Dst: answererPort } = packet;
  if (protocol === IP_PROTO.ICMP && icmpType !== ICMP.ECHO_REQUEST) return undefined;
  const { from: opener, to: answerer, outsideAddress } = ends;
  return { opener, answerer, outsideAddress, protocol, openerPort, answererPort };
}

/** The conversation that a packet answers in, if its sender is the answerer. */
export function answeredBy(packet: PacketView, ends: PacketEnds): Conversation | undefined {
  const { ipProto: protocol, icmpType, l4Src: answererPort, l4Dst: openerPort } = packet;
  if (protocol === IP_PROTO.ICMP && icmpType !== ICMP.ECHO_REPLY) return undefined;
  const { from: answerer, to: opener, outsideAddress } = ends;
  return { opener, answerer, outsideAddress, protocol, openerPort, answererPort };
}
