// The flows that packets cause and that end by themselves: routes (idle timeout, told of when they end) and drops (hard
// timeout). Pure construction; the packet path uses templates that are made from these very functions.

import type { Ipv4, Mac } from '../base/addresses';
import { decTtl, output, setField, type Action } from '../openflow/action';
import { OFPFF } from '../openflow/constants';
import type { FlowMod } from '../openflow/flow-mod';
import type { Match } from '../openflow/match';
import { ETH_TYPE } from '../packet/protocol-numbers';
import type { FlowHost } from './model';
import { asPortNo, cookieOf, KIND, ofKind, PORT_FLOW, PRIORITY, REGISTER, TABLE, VARIANT } from './pipeline';

/**
 * One end of a route. Of one on another host, `portNo` is its place, and `mac` what it is reached by: that host's router MAC,
 * or the host port's where a tunnel leads there.
 */
export interface RouteEnd {
  readonly portNo: number;
  readonly mac: Mac;
  readonly ip: Ipv4;
}

/** An endpoint that talks to the outside, or to another host. */
export interface OutsideEnd extends RouteEnd {
  readonly locator: Ipv4;
}

/** What routes of one datapath have in common. */
export interface RouteContext {
  readonly routerMac: Mac;
  readonly idleTimeoutSeconds: number;
}

/** Where the host port is. */
export type HostPort = NonNullable<FlowHost['hostPort']>;

function reactive(cookie: bigint, table: number) {
  const priority = table === TABLE.ROUTE ? PRIORITY.ROUTE.ROUTE : PRIORITY.OUTSIDE.ROUTE; // as in FABRIC_IN
  return { type: 'flowMod', command: 'add', table, priority, cookie } as const;
}

function route(cookie: bigint, table: number, context: RouteContext) {
  return {
    ...reactive(cookie, table),
    idleTimeoutSeconds: context.idleTimeoutSeconds,
    flags: OFPFF.SEND_FLOW_REM,
  } as const;
}

/** One hop: the router's MAC, the peer's MAC, out. TTL untouched. */
export function pairActions(to: RouteEnd, routerMac: Mac): Action[] {
  return [setField('ethSrc', routerMac), setField('ethDst', to.mac), output(asPortNo(to.portNo))];
}

/** One direction between two endpoints of this datapath. */
export function pairFlow(from: RouteEnd, to: RouteEnd, context: RouteContext): FlowMod {
  return {
    ...route(cookieOf(KIND.PAIR, from.portNo, to.portNo), TABLE.ROUTE, context),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip, ipv4Dst: to.ip },
    actions: pairActions(to, context.routerMac),
  };
}

export function outwardActions(from: OutsideEnd, hostPort: HostPort, routerMac: Mac): Action[] {
  return [
    setField('ethSrc', routerMac),
    setField('ethDst', hostPort.mac),
    setField('ipv4Src', from.locator),
    output(asPortNo(hostPort.portNo)),
  ];
}

/** An endpoint to all outside addresses: its locator becomes the source. */
export function outwardFlow(from: OutsideEnd, hostPort: HostPort, context: RouteContext): FlowMod {
  return {
    ...route(cookieOf(KIND.EGRESS, from.portNo, hostPort.portNo), TABLE.OUTSIDE, context),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip },
    actions: outwardActions(from, hostPort, context.routerMac),
  };
}

export function inwardActions(to: OutsideEnd, routerMac: Mac): Action[] {
  return [
    setField('ethSrc', routerMac),
    setField('ethDst', to.mac),
    setField('ipv4Dst', to.ip),
    output(asPortNo(to.portNo)),
  ];
}

/** All outside addresses to an endpoint: what comes to its locator. */
export function inwardFlow(to: OutsideEnd, hostPort: HostPort, context: RouteContext): FlowMod {
  return {
    ...route(cookieOf(KIND.EGRESS, hostPort.portNo, to.portNo), TABLE.OUTSIDE, context),
    match: { inPort: asPortNo(hostPort.portNo), ethType: ETH_TYPE.IPV4, ipv4Dst: to.locator },
    actions: inwardActions(to, context.routerMac),
  };
}

/** By which port other hosts are reached: the fabric port, or the host port, behind which are tunnels. */
export interface FarContext extends RouteContext {
  readonly farPortNo: number;
  readonly isTunnel?: boolean;
}

/** Undefined where there is no such way from this host. */
export function farContextOf(host: FlowHost, idleTimeoutSeconds: number, isTunnel: boolean): FarContext | undefined {
  const { routerMac, fabric, hostPort, hasTunnels } = host;
  const port = isTunnel ? (hasTunnels === true ? hostPort : undefined) : fabric;
  return port && { routerMac, idleTimeoutSeconds, farPortNo: port.portNo, isTunnel };
}

/** On the fabric each host takes one from the TTL; where a tunnel is, its kernel does. */
function hop({ isTunnel }: FarContext): Action[] {
  return isTunnel === true ? [] : [decTtl()];
}

/** From an endpoint here to one on another host: its way from here on is that of all others. */
export function remoteOutFlow(from: OutsideEnd, to: OutsideEnd, context: RouteContext): FlowMod {
  return {
    ...route(cookieOf(KIND.REMOTE, from.portNo, to.portNo), TABLE.ROUTE, context),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip, ipv4Dst: to.ip },
    actions: [
      setField('ethDst', to.mac),
      setField(REGISTER.FROM_LOCATOR, from.locator),
      setField(REGISTER.TO_LOCATOR, to.locator),
    ],
    gotoTable: TABLE.FABRIC_OUT,
  };
}

/** What a packet on that way becomes in the end. */
export function remoteOutActions(from: OutsideEnd, to: OutsideEnd, context: FarContext): Action[] {
  return [
    setField('ethSrc', context.routerMac),
    setField('ethDst', to.mac),
    setField('ipv4Src', from.locator),
    setField('ipv4Dst', to.locator),
    ...hop(context),
    output(asPortNo(context.farPortNo)),
  ];
}

export function remoteInActions(from: OutsideEnd, to: OutsideEnd, context: FarContext): Action[] {
  return [
    setField('ethSrc', context.routerMac),
    setField('ethDst', to.mac),
    setField('ipv4Src', from.ip),
    setField('ipv4Dst', to.ip),
    ...hop(context),
    output(asPortNo(to.portNo)),
  ];
}

/** From an endpoint on another host, which speaks with its `mac` alone, to one here. */
export function remoteInFlow(from: OutsideEnd, to: OutsideEnd, context: FarContext): FlowMod {
  return {
    ...route(cookieOf(KIND.REMOTE, from.portNo, to.portNo), TABLE.FABRIC_IN, context),
    match: farMatch(from, to, context.farPortNo),
    actions: remoteInActions(from, to, context),
  };
}

function farMatch(from: OutsideEnd, to: OutsideEnd, farPortNo: number): Match {
  return {
    inPort: asPortNo(farPortNo),
    ethSrc: from.mac,
    ethType: ETH_TYPE.IPV4,
    ipv4Src: from.locator,
    ipv4Dst: to.locator,
  };
}

/** A pair that the policy refuses, where it comes in. */
export function denyInFlow(from: OutsideEnd, to: OutsideEnd, farPortNo: number, seconds: number): FlowMod {
  return {
    ...drop(cookieOf(KIND.DENY, from.portNo, to.portNo), TABLE.FABRIC_IN, seconds),
    match: farMatch(from, to, farPortNo),
  };
}

function drop(cookie: bigint, table: number, hardTimeoutSeconds: number) {
  return { ...reactive(cookie, table), hardTimeoutSeconds };
}

/** A pair that the policy refuses. */
export function denyFlow(from: RouteEnd, to: RouteEnd, hardTimeoutSeconds: number): FlowMod {
  return {
    ...drop(cookieOf(KIND.DENY, from.portNo, to.portNo), TABLE.ROUTE, hardTimeoutSeconds),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip, ipv4Dst: to.ip },
  };
}

const negativeCookie = (portNo: number) => cookieOf(KIND.NEGATIVE, portNo, VARIANT | PORT_FLOW.DROP);

/** From an endpoint to an address that nobody has. */
export function nobodyFlow(from: RouteEnd, destination: Ipv4, hardTimeoutSeconds: number): FlowMod {
  return {
    ...drop(negativeCookie(from.portNo), TABLE.ROUTE, hardTimeoutSeconds),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip, ipv4Dst: destination },
  };
}

/** From an endpoint that has no way out to all outside addresses. */
export function noWayOutFlow(from: RouteEnd, hardTimeoutSeconds: number): FlowMod {
  return {
    ...drop(negativeCookie(from.portNo), TABLE.OUTSIDE, hardTimeoutSeconds),
    match: { inPort: asPortNo(from.portNo), ethType: ETH_TYPE.IPV4, ipv4Src: from.ip },
  };
}

/** From the host port to a locator that nobody has, or whose endpoint is not to be reached. */
export function noWayInFlow(hostPortNo: number, locator: Ipv4, hardTimeoutSeconds: number): FlowMod {
  return {
    ...drop(negativeCookie(hostPortNo), TABLE.OUTSIDE, hardTimeoutSeconds),
    match: { inPort: asPortNo(hostPortNo), ethType: ETH_TYPE.IPV4, ipv4Dst: locator },
  };
}

/** From other hosts to a locator that nobody has here. */
export function nobodyHereFlow(farPortNo: number, locator: Ipv4, hardTimeoutSeconds: number): FlowMod {
  return {
    ...drop(negativeCookie(farPortNo), TABLE.FABRIC_IN, hardTimeoutSeconds),
    match: { inPort: asPortNo(farPortNo), ethType: ETH_TYPE.IPV4, ipv4Dst: locator },
  };
}

/** Takes the drops of a kind towards an address away, in whatever tenant: the others ask again and get them anew. */
export function forgetDrops(kind: typeof KIND.NEGATIVE | typeof KIND.DENY, address: Ipv4, table: number): FlowMod {
  return {
    type: 'flowMod',
    command: 'delete',
    table,
    priority: 0,
    match: { ethType: ETH_TYPE.IPV4, ipv4Dst: address },
    ...ofKind(kind),
  };
}
