// The flows that stand while a thing exists: the pipeline's own, the host port's, a network's, an endpoint's. Pure
// construction of what `ovs-ofctl` would be told; nothing is sent here. Whether one is there costs no traffic anything.

import type { Cidr, Ipv4, Mac } from '../base/addresses';
import { move, output, setField, whole } from '../openflow/action';
import { OFPP } from '../openflow/constants';
import type { FlowMod } from '../openflow/flow-mod';
import type { Masked, Match } from '../openflow/match';
import { ETH_TYPE, ICMP, IP_PROTO } from '../packet/protocol-numbers';
import {
  back,
  DROP,
  echoBack,
  flow,
  FRAGMENTS,
  icmpMatch,
  ICMP_ERRORS,
  ipv4Match,
  LATER,
  NOT_LATER,
  punt,
  puntFlow,
  type FlowRest,
  type Way,
  GROUP,
} from './flow-parts';
import type { FlowHost, FlowNetwork } from './model';
import {
  asPortNo,
  BASE,
  cookieOf,
  KIND,
  NETWORK_FLOW,
  networkCookie,
  PORT_FLOW,
  PRIORITY,
  PUNT_REASON,
  REGISTER,
  TABLE,
  VARIANT,
} from './pipeline';

/** An endpoint as its flows need it. */
export interface EndpointRow {
  readonly portNo: number;
  readonly mac: Mac;
  readonly ip: Ipv4;
  readonly tenant: number;
  readonly networkKey: number;
}

/** The pipeline's own flows: what holds for every packet, whatever is attached. */
export function baseFlows(host: FlowHost): FlowMod[] {
  return [...classifyBase(), arpAnswer(host.routerMac), ...routeBase(host), ...outsideBase(host), puntMiss()];
}

function base(which: number, table: number, priority: number, rest: FlowRest): FlowMod {
  return flow(cookieOf(KIND.BASE, 0, VARIANT | which), table, priority, rest);
}

function classifyBase(): FlowMod[] {
  const { TAGGED, ARP_REFUSED, MULTICAST, MISS } = PRIORITY.CLASSIFY;
  // Bit 12 of OXM_OF_VLAN_VID says that there is a tag, whichever: 802.1Q, 802.1ad or a priority tag.
  const tagged = { vlanVid: { value: 0x1000, mask: 0x1000 } };
  return [
    base(BASE.TAGGED, TABLE.CLASSIFY, TAGGED, { match: tagged }),
    base(BASE.ARP_REFUSED, TABLE.CLASSIFY, ARP_REFUSED, { match: { ethType: ETH_TYPE.ARP }, ...DROP }),
    base(BASE.MULTICAST, TABLE.CLASSIFY, MULTICAST, { match: { ethDst: GROUP } }),
    base(BASE.SPOOFED, TABLE.CLASSIFY, MISS, { match: {} }),
  ];
}

/** Makes the answer out of the question: whoever is asked for, the router MAC is told. */
function arpAnswer(routerMac: Mac): FlowMod {
  const actions = [
    move(whole('ethSrc'), whole('ethDst')),
    setField('ethSrc', routerMac),
    setField('arpOp', 2),
    move(whole('arpSha'), whole('arpTha')),
    setField('arpSha', routerMac),
    move(whole('arpTpa'), whole(REGISTER.SCRATCH)),
    move(whole('arpSpa'), whole('arpTpa')),
    move(whole(REGISTER.SCRATCH), whole('arpSpa')),
    output(OFPP.IN_PORT),
  ];
  return base(BASE.ARP_ANSWER, TABLE.ARP, PRIORITY.ARP.ANSWER, { match: { ethType: ETH_TYPE.ARP }, actions });
}

/** Destinations that no endpoint may have: this network, loopback, link-local, multicast and above. */
const GUARDS: readonly (readonly [number, number, number])[] = [
  [BASE.GUARD_THIS_NETWORK, 0x00000000, 8],
  [BASE.GUARD_LOOPBACK, 0x7f000000, 8],
  [BASE.GUARD_LINK_LOCAL, 0xa9fe0000, 16],
  [BASE.GUARD_MULTICAST, 0xe0000000, 3],
];

function routeBase(host: FlowHost): FlowMod[] {
  const { GUARD, HOST_ADDRESS, LOCATORS, MISS } = PRIORITY.ROUTE;
  const toward = (cidr: Cidr): Match => ({ ethType: ETH_TYPE.IPV4, ipv4Dst: ipv4Match(cidr) });
  const outside: Way = { gotoTable: TABLE.OUTSIDE };
  return [
    base(BASE.ARP_MISS, TABLE.ARP, PRIORITY.ARP.MISS, { match: {} }),
    ...GUARDS.map(([which, address, prefix]) =>
      base(which, TABLE.ROUTE, GUARD, { match: toward({ base: address as Ipv4, prefix }) }),
    ),
    base(BASE.HOST_ADDRESS, TABLE.ROUTE, HOST_ADDRESS, {
      match: toward({ base: host.hostAddress, prefix: 32 }),
      ...outside,
    }),
    ...(host.dnsAddress === undefined
      ? []
      : [
          base(BASE.DNS_ADDRESS, TABLE.ROUTE, HOST_ADDRESS, {
            match: toward({ base: host.dnsAddress, prefix: 32 }),
            ...outside,
          }),
        ]),
    base(BASE.LOCATORS, TABLE.ROUTE, LOCATORS, { match: toward(host.locatorRange) }),
    base(BASE.ROUTE_MISS, TABLE.ROUTE, MISS, { match: {}, ...outside }),
  ];
}

function outsideBase(host: FlowHost): FlowMod[] {
  const { OUTSIDE } = PRIORITY;
  const icmp = ICMP_ERRORS.map(([type, isWanted], i) =>
    base(BASE.ICMP_UNREACHABLE + i, TABLE.OUTSIDE, OUTSIDE.ICMP, {
      match: icmpMatch(type),
      ...(isWanted ? punt(PUNT_REASON.ICMP_ERROR) : DROP),
    }),
  );
  const fragments = FRAGMENTS.map((match, i) =>
    base(BASE.FRAGMENT_TCP + i, TABLE.OUTSIDE, OUTSIDE.FRAGMENT, { match, ...punt(PUNT_REASON.FRAGMENT) }),
  );
  const miss = base(BASE.OUTSIDE_MISS, TABLE.OUTSIDE, OUTSIDE.MISS, { match: {}, ...punt(PUNT_REASON.OUTSIDE) });
  return [...icmp, ...(host.kernelDatapath ? [] : fragments), miss];
}

function puntMiss(): FlowMod {
  return base(BASE.PUNT_MISS, TABLE.PUNT, PRIORITY.PUNT.MISS, { match: {} });
}

/**
 * What the host port may send: to locators, with the port's own MAC. What comes from a locator that is not this host's own
 * came out of a tunnel. Empty where there is no host port.
 */
export function hostFlows(host: FlowHost): FlowMod[] {
  if (host.hostPort === undefined) return [];
  const { portNo, mac } = host.hostPort;
  const inPort = asPortNo(portNo);
  const { IP, ARP_SELF, ARP, PUNT, TUNNEL, OWN_LOCATOR, OWN_NAMES } = PORT_FLOW;
  const locators = ipv4Match(host.locatorRange);
  const of = (which: number, priority: number, rest: FlowRest) =>
    flow(cookieOf(KIND.HOST, portNo, VARIANT | which), TABLE.CLASSIFY, priority, rest);
  const ip = { inPort, ethSrc: mac, ethDst: host.routerMac, ethType: ETH_TYPE.IPV4, ipv4Dst: locators };
  const own = (which: number, ipv4Src: Ipv4) =>
    of(which, PRIORITY.CLASSIFY.OWN_LOCATOR, { match: { ...ip, ipv4Src }, gotoTable: TABLE.OUTSIDE });
  const tunnel = [
    of(TUNNEL, PRIORITY.CLASSIFY.TUNNEL, { match: { ...ip, ipv4Src: locators }, gotoTable: TABLE.FABRIC_IN }),
    own(OWN_LOCATOR, host.hostAddress),
    ...(host.dnsAddress === undefined ? [] : [own(OWN_NAMES, host.dnsAddress)]),
  ];
  return [
    of(IP, PRIORITY.CLASSIFY.IP, { match: ip, gotoTable: TABLE.OUTSIDE }),
    ...(host.hasTunnels === true ? tunnel : []),
    of(ARP_SELF, PRIORITY.CLASSIFY.ARP_SELF, {
      match: { inPort, ethType: ETH_TYPE.ARP, arpTpa: host.hostAddress },
    }),
    of(ARP, PRIORITY.CLASSIFY.ARP, {
      match: { inPort, ethSrc: mac, ethType: ETH_TYPE.ARP, arpOp: 1, arpSha: mac, arpTpa: locators },
      gotoTable: TABLE.ARP,
    }),
    puntFlow(cookieOf(KIND.HOST, portNo, VARIANT | PUNT), portNo),
  ];
}

/** What an endpoint may send: IPv4 from its own MAC and address to the router MAC, and ARP questions of its own. */
export function endpointFlows(endpoint: EndpointRow, routerMac: Mac): FlowMod[] {
  const { portNo, mac, ip } = endpoint;
  const inPort = asPortNo(portNo);
  const { IP, ARP_SELF, ARP, PUNT } = PORT_FLOW;
  const of = (which: number, priority: number, rest: FlowRest) =>
    flow(cookieOf(KIND.ENDPOINT, portNo, VARIANT | which), TABLE.CLASSIFY, priority, rest);
  return [
    of(IP, PRIORITY.CLASSIFY.IP, {
      match: { inPort, ethSrc: mac, ethDst: routerMac, ethType: ETH_TYPE.IPV4, ipv4Src: ip },
      actions: [setField(REGISTER.TENANT, endpoint.tenant), setField(REGISTER.NETWORK, endpoint.networkKey)],
      gotoTable: TABLE.ROUTE,
    }),
    of(ARP_SELF, PRIORITY.CLASSIFY.ARP_SELF, { match: { inPort, ethType: ETH_TYPE.ARP, arpTpa: ip } }),
    of(ARP, PRIORITY.CLASSIFY.ARP, {
      match: { inPort, ethSrc: mac, ethType: ETH_TYPE.ARP, arpOp: 1, arpSpa: ip, arpSha: mac },
      gotoTable: TABLE.ARP,
    }),
    puntFlow(cookieOf(KIND.ENDPOINT, portNo, VARIANT | PUNT), portNo),
  ];
}

/**
 * A network's gateway answers ping in the datapath, and its pools never leave through the host. An internal network's way
 * to the names of its containers is by the controller, packet by packet: it has no routes to the outside.
 */
export function networkFlows(network: FlowNetwork, host: Pick<FlowHost, 'routerMac' | 'dnsAddress'>): FlowMod[] {
  const pools = network.pools.map((pool, i) =>
    flow(networkCookie(network.key, NETWORK_FLOW.POOL + i), TABLE.ROUTE, PRIORITY.ROUTE.POOL, {
      match: { ethType: ETH_TYPE.IPV4, ipv4Dst: ipv4Match(pool), [REGISTER.TENANT]: network.tenant },
      ...punt(PUNT_REASON.PAIR),
    }),
  );
  const { routerMac, dnsAddress } = host;
  const names =
    network.internal && dnsAddress !== undefined
      ? [
          flow(networkCookie(network.key, NETWORK_FLOW.DNS), TABLE.ROUTE, PRIORITY.ROUTE.DNS, {
            match: { ethType: ETH_TYPE.IPV4, ipv4Dst: dnsAddress, [REGISTER.NETWORK]: network.key },
            ...punt(PUNT_REASON.OUTSIDE),
          }),
        ]
      : [];
  const echo = network.gateway === undefined ? [] : gatewayEcho(network, network.gateway, routerMac);
  return [...echo, ...pools, ...names];
}

function gatewayEcho(network: FlowNetwork, gateway: Ipv4, routerMac: Mac): FlowMod[] {
  const ping = (ipFrag: Masked<number>): Match => ({
    ethType: ETH_TYPE.IPV4,
    ipv4Dst: gateway,
    ipFrag,
    ipProto: IP_PROTO.ICMP,
    [REGISTER.NETWORK]: network.key,
  });
  const { ECHO, ECHO_LATER } = NETWORK_FLOW;
  return [
    flow(networkCookie(network.key, ECHO), TABLE.ROUTE, PRIORITY.ROUTE.ECHO, {
      match: { ...ping(NOT_LATER), icmpv4Type: ICMP.ECHO_REQUEST },
      actions: echoBack(routerMac, gateway),
    }),
    // Later fragments of a large ping have no type: all of that protocol turn back.
    flow(networkCookie(network.key, ECHO_LATER), TABLE.ROUTE, PRIORITY.ROUTE.ECHO, {
      match: ping(LATER),
      actions: back(routerMac, gateway),
    }),
  ];
}
