// What the static flows of different tables are made of.

import type { Cidr, Ipv4, Mac } from '../base/addresses';
import { maskOf } from '../base/addresses';
import { controller, move, output, setField, whole, type Action } from '../openflow/action';
import { OFPP } from '../openflow/constants';
import type { FlowMod } from '../openflow/flow-mod';
import type { Masked, Match } from '../openflow/match';
import { NX_IP_FRAG } from '../openflow/oxm';
import { ETH_TYPE, ICMP, IP_PROTO } from '../packet/protocol-numbers';
import { asPortNo, PRIORITY, REGISTER, TABLE, USERDATA } from './pipeline';

export const LATER: Masked<number> = { value: NX_IP_FRAG.LATER, mask: NX_IP_FRAG.LATER };
export const NOT_LATER: Masked<number> = { value: 0, mask: NX_IP_FRAG.LATER };

const GROUP_BIT = 0x0100_0000_0000 as Mac;
/** Broadcast and multicast. */
export const GROUP: Masked<Mac> = { value: GROUP_BIT, mask: GROUP_BIT };

/** What a flow does with its packets. */
export type Way = Pick<FlowMod, 'actions' | 'gotoTable' | 'meter'>;
export type FlowRest = { readonly match: Match } & Way;

/** What a flow does with its packets. No way is a drop. */
export const DROP: Way = {};

export function flow(cookie: bigint, table: number, priority: number, rest: FlowRest): FlowMod {
  return { type: 'flowMod', command: 'add', table, priority, cookie, ...rest };
}

/** An exact address, or a prefix. */
export function ipv4Match(cidr: Cidr) {
  if (cidr.prefix === 32) return cidr.base;
  return { value: cidr.base, mask: maskOf(cidr.prefix) as Ipv4 };
}

export function punt(reason: number): Way {
  return { actions: [setField(REGISTER.PUNT_REASON, reason)], gotoTable: TABLE.PUNT };
}

/** ICMP errors quote a packet, which no flow can rewrite; redirects and source quenches go nowhere. In the order of BASE. */
export const ICMP_ERRORS: readonly (readonly [type: number, isWanted: boolean])[] = [
  [ICMP.DESTINATION_UNREACHABLE, true],
  [ICMP.TIME_EXCEEDED, true],
  [ICMP.PARAMETER_PROBLEM, true],
  [ICMP.REDIRECT, false],
  [ICMP.SOURCE_QUENCH, false],
];

export function icmpMatch(icmpv4Type: number): Match {
  return { ethType: ETH_TYPE.IPV4, ipFrag: NOT_LATER, ipProto: IP_PROTO.ICMP, icmpv4Type };
}

/** TTL of what the datapath answers itself. */
const ANSWER_TTL = 64;

/** Sends a packet back to where it came from, from `address`; `between`: what else is changed in it. */
export function back(routerMac: Mac, address: Ipv4, ...between: Action[]): Action[] {
  return [
    move(whole('ethSrc'), whole('ethDst')),
    setField('ethSrc', routerMac),
    move(whole('ipv4Src'), whole('ipv4Dst')),
    setField('ipv4Src', address),
    ...between,
    setField('nwTtl', ANSWER_TTL),
    output(OFPP.IN_PORT),
  ];
}

/** Makes of an ICMP echo request its reply. */
export function echoBack(routerMac: Mac, address: Ipv4): Action[] {
  return back(routerMac, address, setField('icmpv4Type', ICMP.ECHO_REPLY));
}

/** The userspace datapath updates a TCP or UDP checksum where a later fragment has data. ICMP has no pseudo-header. */
export const FRAGMENTS: readonly Match[] = [IP_PROTO.TCP, IP_PROTO.UDP].map((ipProto) => ({
  ethType: ETH_TYPE.IPV4,
  ipFrag: LATER,
  ipProto,
}));

/** The only way to the controller: through the port's own meter, whose id is the port's number. */
export function puntFlow(cookie: bigint, portNo: number): FlowMod {
  return flow(cookie, TABLE.PUNT, PRIORITY.PUNT.PORT, {
    match: { inPort: asPortNo(portNo) },
    meter: portNo,
    actions: [controller({ userdata: USERDATA })],
  });
}
