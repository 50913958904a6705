// What the controller means to become of a packet: worked out from the directory and the policy, without a look at the datapath,
// so that the two can be held against one another. Pure.

import { cidrHolds, formatIpv4, formatMac, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import type { EndpointRow, NetworkRow } from '../directory/rows';
import { reachOf, withoutL2 } from '../directory/reach';
import type { DirectoryView } from '../directory/view';
import type { Conversation } from '../flowctl/conversation';
import { conversationFlow } from '../flowctl/conversation-flows';
import type { FlowHost } from '../flowctl/model';
import {
  farContextOf,
  inwardFlow,
  outwardFlow,
  pairFlow,
  remoteInFlow,
  remoteOutFlow,
  type FarContext,
  type OutsideEnd,
  type RouteContext,
} from '../flowctl/route-flows';
import { REMOTE_PLACE, TABLE } from '../flowctl/pipeline';
import { formatActions } from '../openflow/action-text';
import { formatFlow } from '../openflow/flow-text';
import type { FlowMod } from '../openflow/flow-mod';
import { openingOf, type Explanation } from './explain';
import { CLIENT_PORT, FIRST_TTL, type TracedPacket, type TracedTransport } from './packet';

/** A route that the controller would make. */
export interface PredictedRoute {
  /** As ovs-ofctl prints them. */
  readonly flows: readonly string[];
  /** What the packet's own flow does, for ofproto/trace-packet-out. */
  readonly actions: string;
}

/** How a packet is to leave. */
export interface PredictedOutput {
  readonly port: number;
  /** By OVS's names. */
  readonly fields: Readonly<Record<string, string>>;
}

export interface Prediction {
  readonly packet: TracedPacket;
  /** In words. */
  readonly fate: string;
  readonly outcome: 'here' | 'other-host' | 'outside' | 'answered' | 'refused' | 'dropped' | 'nobody';
  readonly output?: PredictedOutput;
  readonly route?: PredictedRoute;
}

/** The datapath that the packet comes to. */
export interface TraceSite {
  readonly view: DirectoryView;
  readonly flowHost: FlowHost;
  readonly idleTimeoutSeconds: number;
}

/** Whom the packet is for: a container, or whoever has an address as the source's tenant sees it. */
export interface TraceTarget {
  readonly address: Ipv4;
  /** The endpoint that has it there. */
  readonly endpoint: EndpointRow | undefined;
}

const GUARDS: readonly (readonly [Cidr, string])[] = [
  [{ base: 0 as Ipv4, prefix: 8 }, 'is no address to send to'],
  [{ base: 0x7f000000 as Ipv4, prefix: 8 }, 'is a loopback address'],
  [{ base: 0xa9fe0000 as Ipv4, prefix: 16 }, 'is link-local'],
  [{ base: 0xe0000000 as Ipv4, prefix: 3 }, 'is multicast or above'],
];

/** Of a packet that an endpoint of this host sends. `explanation`: what the policy says of the two. */
export function predictDeparture(
  site: TraceSite,
  source: EndpointRow,
  target: TraceTarget,
  transport: TracedTransport,
  explanation: Explanation,
): Prediction {
  const { view, flowHost } = site;
  const { address, endpoint } = target;
  const packet: TracedPacket = {
    ...transport,
    inPort: source.portNo,
    ethSrc: source.mac,
    ethDst: flowHost.routerMac,
    ipSrc: source.address,
    ipDst: address,
    ttl: FIRST_TTL,
  };
  const network = view.network(source.networkId);
  const text = formatIpv4(address);
  const guard = GUARDS.find(([cidr]) => cidrHolds(cidr, address));
  if (guard !== undefined) return { packet, outcome: 'dropped', fate: `dropped: ${text} ${guard[1]}` };
  if (transport.protocol === 'icmp' && address === network?.gateway) return gatewayEcho(packet, site, source, address);
  if (endpoint !== undefined && endpoint.id === source.id) {
    return { packet, outcome: 'refused', fate: `dropped: ${text} is its own address` };
  }
  if (endpoint !== undefined) return toEndpoint(site, packet, { source, destination: endpoint }, explanation);
  const pool = [...view.poolsOfTenant(source.tenant)].find(({ cidr }) => cidrHolds(cidr, address));
  if (pool !== undefined) {
    const isKnown = pool.networkId === undefined || view.knowsAllOf(pool.networkId);
    const fate = isKnown
      ? `nobody has ${text}: the controller answers with ICMP unreachable`
      : `this host does not know whether somebody has ${text}: it knows only what its own containers may talk to`;
    return { packet, outcome: 'nobody', fate };
  }
  return toOutside(site, packet, source, { network, address, explanation });
}

function gatewayEcho(packet: TracedPacket, site: TraceSite, source: EndpointRow, address: Ipv4): Prediction {
  const fields = {
    dl_src: formatMac(site.flowHost.routerMac),
    dl_dst: formatMac(source.mac),
    nw_src: formatIpv4(address),
    nw_dst: formatIpv4(source.address),
  };
  const fate = 'answered by the gateway, in the datapath';
  return { packet, outcome: 'answered', fate, output: { port: source.portNo, fields } };
}

interface Ends {
  readonly source: EndpointRow;
  readonly destination: EndpointRow;
}

function toEndpoint(site: TraceSite, packet: TracedPacket, ends: Ends, explanation: Explanation): Prediction {
  const { source, destination } = ends;
  const to = labelOf(destination);
  if (!explanation.isAllowed) return { packet, outcome: 'refused', fate: `dropped: the policy refuses it` };
  if (destination.host === source.host) {
    const [here, there] = [endOf(site, source), endOf(site, destination)];
    const context = contextOf(site);
    return {
      packet,
      outcome: 'here',
      fate: `delivered to ${to}, on this host`,
      output: { port: destination.portNo, fields: addressed(site, packet, destination) },
      route: routeOf(pairFlow(here, there, context), pairFlow(there, here, context), packet, explanation),
    };
  }
  const way = wayBetween(site, source.host, destination.host);
  if (way === undefined) {
    return { packet, outcome: 'nobody', fate: `host ${destination.host} of ${to} is out of reach` };
  }
  const here = endOf(site, source);
  const there = { ...endOf(site, destination), mac: way.mac };
  const flow = remoteOutFlow(here, there, way.context);
  const back = remoteInFlow(there, here, way.context);
  return {
    packet,
    outcome: 'other-host',
    fate: `sent to host ${destination.host}${way.how}, for ${to}`,
    output: {
      port: way.context.farPortNo,
      fields: {
        dl_src: formatMac(site.flowHost.routerMac),
        dl_dst: formatMac(way.mac),
        nw_src: formatIpv4(source.locator),
        nw_dst: formatIpv4(destination.locator),
        nw_ttl: String(packet.ttl - way.hop),
      },
    },
    route: routeOf(flow, back, packet, explanation),
  };
}

function toOutside(
  site: TraceSite,
  packet: TracedPacket,
  source: EndpointRow,
  { network, address, explanation }: { network: NetworkRow | undefined; address: Ipv4; explanation: Explanation },
): Prediction {
  const { hostPort, hostAddress, dnsAddress, locatorRange, routerMac } = site.flowHost;
  const text = formatIpv4(address);
  const isOwn = address === hostAddress || address === dnsAddress;
  if (!isOwn && cidrHolds(locatorRange, address)) {
    return { packet, outcome: 'dropped', fate: `dropped: ${text} is an address of the fabric` };
  }
  if (network?.internal === true && address === dnsAddress) {
    return {
      packet,
      outcome: 'nobody',
      fate: 'passed on by the controller: names are all that an internal network asks',
    };
  }
  if (network?.internal === true) {
    return { packet, outcome: 'nobody', fate: 'answered with ICMP unreachable: its network has no way out' };
  }
  if (hostPort === undefined) return { packet, outcome: 'nobody', fate: 'answered with ICMP unreachable: no way out' };
  if (!explanation.isAllowed) return { packet, outcome: 'refused', fate: 'dropped: the policy refuses it' };
  const context = contextOf(site);
  const end = endOf(site, source);
  const flow = outwardFlow(end, hostPort, context);
  const whose = isOwn ? 'this host itself' : 'the outside, where the host puts its own address in';
  return {
    packet,
    outcome: 'outside',
    fate: `handed to the host’s own network, for ${whose}`,
    output: {
      port: hostPort.portNo,
      fields: {
        dl_src: formatMac(routerMac),
        dl_dst: formatMac(hostPort.mac),
        nw_src: formatIpv4(source.locator),
        nw_dst: text,
        nw_ttl: String(packet.ttl),
      },
    },
    route: routeOf(flow, inwardFlow(end, hostPort, context), packet, explanation, address),
  };
}

/** Of a packet that another host sends to an endpoint of this one. */
export function predictArrival(
  site: TraceSite,
  { source, destination }: Ends,
  transport: TracedTransport,
  explanation: Explanation,
): Prediction {
  const { flowHost } = site;
  const way = wayBetween(site, destination.host, source.host);
  const packet: TracedPacket = {
    ...transport,
    inPort: way?.context.farPortNo ?? 0,
    ethSrc: way?.mac ?? flowHost.routerMac,
    ethDst: flowHost.routerMac,
    ipSrc: source.locator,
    ipDst: destination.locator,
    // The kernels at both ends of a tunnel have taken theirs.
    ttl: way?.isTunnel === true ? FIRST_TTL - 2 : FIRST_TTL - 1,
  };
  if (!explanation.isAllowed) return { packet, outcome: 'refused', fate: 'dropped: the policy refuses it' };
  if (way === undefined) return { packet, outcome: 'nobody', fate: `this host has no way to host ${source.host}` };
  const here = endOf(site, destination);
  const there = { ...endOf(site, source), mac: way.mac };
  const flow = remoteInFlow(there, here, way.context);
  return {
    packet,
    outcome: 'here',
    fate: `delivered to ${labelOf(destination)}`,
    output: {
      port: destination.portNo,
      fields: {
        dl_src: formatMac(flowHost.routerMac),
        dl_dst: formatMac(destination.mac),
        nw_src: formatIpv4(source.address),
        nw_dst: formatIpv4(destination.address),
        nw_ttl: String(packet.ttl - way.hop),
      },
    },
    route: routeOf(flow, remoteOutFlow(here, there, way.context), packet, explanation),
  };
}

function addressed({ flowHost }: TraceSite, packet: TracedPacket, to: EndpointRow): Record<string, string> {
  return {
    dl_src: formatMac(flowHost.routerMac),
    dl_dst: formatMac(to.mac),
    nw_src: formatIpv4(packet.ipSrc),
    nw_dst: formatIpv4(packet.ipDst),
    nw_ttl: String(packet.ttl),
  };
}

/** `flow` is the packet's own way, `back` that of its answer; of a conversation where the policy depends on ports. */
function routeOf(
  flow: FlowMod,
  back: FlowMod,
  packet: TracedPacket,
  { isWide }: Explanation,
  outsideAddress?: Ipv4,
): PredictedRoute {
  const actions = actionsOf(flow);
  if (isWide) return { flows: [flow, back].map(formatFlow), actions };
  const conversation: Conversation = {
    ...{ opener: 0, answerer: 0, outsideAddress: outsideAddress ?? 0 },
    protocol: openingOf(packet).protocol,
    openerPort: packet.port === undefined ? 0 : CLIENT_PORT,
    answererPort: packet.port ?? 0,
  };
  const outside = outsideAddress === undefined ? [{}, {}] : [{ ipv4Dst: outsideAddress }, { ipv4Src: outsideAddress }];
  const there = conversationFlow({ route: flow, outside: outside[0] ?? {} }, conversation, true);
  const again = conversationFlow({ route: back, outside: outside[1] ?? {} }, conversation, false);
  return { flows: [there, again].map(formatFlow), actions };
}

/** How this host and another exchange packets. */
interface HostWay {
  readonly isTunnel: boolean;
  /** In words, where it is not the fabric. */
  readonly how: string;
  readonly context: FarContext;
  /** What the other is reached by, and sends from. */
  readonly mac: Mac;
  /** What this host's datapath takes from the TTL. */
  readonly hop: number;
}

/** Undefined where there is no way. */
function wayBetween(
  { view, flowHost, idleTimeoutSeconds }: TraceSite,
  own: string,
  other: string,
): HostWay | undefined {
  const peer = view.host(other);
  const reach = peer && reachOf(view, own, peer);
  const isTunnel = reach === 'tunnel';
  const context = reach && farContextOf(flowHost, idleTimeoutSeconds, isTunnel);
  const mac = isTunnel ? flowHost.hostPort?.mac : peer?.routerMac;
  const reasons = peer && isTunnel ? withoutL2(view, own, peer) : [];
  const reason = reasons.length === 0 ? '' : `, as there is no L2 in common with ${reasons.join(' and ')}`;
  const how = isTunnel ? ` by the tunnel${reason}` : '';
  return context && mac && { isTunnel, how, context, mac, hop: isTunnel ? 0 : 1 };
}

function contextOf({ flowHost, idleTimeoutSeconds }: TraceSite): RouteContext {
  return { routerMac: flowHost.routerMac, idleTimeoutSeconds };
}

/** One on another host has that host's router MAC, and what stands for its port. */
function endOf({ view, flowHost }: TraceSite, endpoint: EndpointRow): OutsideEnd {
  const { address: ip, locator, portNo, mac } = endpoint;
  const host = view.host(endpoint.host);
  if (host === undefined || host.routerMac === flowHost.routerMac) return { portNo, mac, ip, locator };
  return { portNo: REMOTE_PLACE + locator - flowHost.locatorRange.base, mac: host.routerMac, ip, locator };
}

/** A flow's actions where no flow is: what comes after them by resubmission. */
function actionsOf({ actions = [], gotoTable }: FlowMod): string {
  const text = formatActions(actions);
  return gotoTable === undefined ? text : `${text},resubmit(,${gotoTable})`;
}

export function labelOf({ containerName, containerId, id }: EndpointRow): string {
  return containerName ?? containerId?.slice(0, 12) ?? `endpoint ${id.slice(0, 12)}`;
}

/** Tables in which a packet is put to the controller for want of a route. */
export const ROUTE_TABLES: readonly number[] = [TABLE.ROUTE, TABLE.OUTSIDE, TABLE.FABRIC_IN];
