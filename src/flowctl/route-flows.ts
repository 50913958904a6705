// The flows that packets cause and that end by themselves: routes (idle timeout, told of when they end) and drops (hard
// timeout). Pure construction; the packet path uses templates that are made from these very functions.

import type { Ipv4, Mac } from '../base/addresses';
import { output, setField, type Action } from '../openflow/action';
import { OFPFF } from '../openflow/constants';
import type { FlowMod } from '../openflow/flow-mod';
import { ETH_TYPE } from '../packet/protocol-numbers';
import type { FlowHost } from './model';
import { asPortNo, cookieOf, KIND, ofKind, PORT_FLOW, PRIORITY, TABLE, VARIANT } from './pipeline';

/** One end of a route. */
export interface RouteEnd {
  readonly portNo: number;
  readonly mac: Mac;
  readonly ip: Ipv4;
}

/** An endpoint that talks to the outside. */
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
  const priority = table === TABLE.ROUTE ? PRIORITY.ROUTE.ROUTE : PRIORITY.OUTSIDE.ROUTE;
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

/** Takes the negative entries for an address away, in whatever tenant: the others ask again and get them anew. */
export function forgetNobody(address: Ipv4, table: number): FlowMod {
  return {
    type: 'flowMod',
    command: 'delete',
    table,
    priority: 0,
    match: { ethType: ETH_TYPE.IPV4, ipv4Dst: address },
    ...ofKind(KIND.NEGATIVE),
  };
}
