// The flows of relays: a port of one host leads to an endpoint of another. Between the port's host and the endpoint there is
// what the relay's services need, and nothing else: packets to them, answers from them, and the ICMP errors about both. The
// port's host translates, masquerades and follows connections in its kernel; here packets are passed on. Static, for a rule
// stands for it; one lane for all services between the same two.

import type { Ipv4, Mac } from '../base/addresses';
import { decTtl, output, setField, type Action } from '../openflow/action';
import type { FlowMod } from '../openflow/flow-mod';
import type { Match } from '../openflow/match';
import { ETH_TYPE, ICMP, IP_PROTO } from '../packet/protocol-numbers';
import { flow, icmpMatch, LATER, type FlowRest } from './flow-parts';
import type { FlowFabric, FlowHost, FlowRelay, RelayAway, RelayHere, RelayService } from './model';
import { asPortNo, cookieOf, KIND, PRIORITY, REGISTER, RELAY_FLOW, TABLE, VARIANT } from './pipeline';
import { farContextOf, type HostPort } from './route-flows';

/** Where the host is as far as its relays need it. */
interface Way {
  readonly fabric: FlowFabric;
  readonly hostPort: HostPort;
  readonly host: FlowHost;
}

/** The flows of a relay; `number` tells it from others. Empty where this host has no such way, or no host port. */
export function relayFlows(relay: FlowRelay, number: number, host: FlowHost): FlowMod[] {
  const { fabric, hostPort } = host;
  if (hostPort === undefined) return [];
  if (relay.kind === 'here') return hereFlows(relay, number, host, hostPort);
  // The kernel, which has translated it, sends it into the tunnel itself.
  if (fabric === undefined || relay.isTunnelled === true) return [];
  return awayFlows(relay, number, { fabric, hostPort, host });
}

type Builder = (which: number, table: number, rest: FlowRest) => FlowMod;

function builder(number: number): Builder {
  const priorities: Partial<Record<number, number>> = {
    [TABLE.ROUTE]: PRIORITY.ROUTE.RELAY,
    [TABLE.OUTSIDE]: PRIORITY.OUTSIDE.RELAY,
    [TABLE.FABRIC_IN]: PRIORITY.FABRIC_IN.RELAY,
  };
  return (which, table, rest) =>
    flow(cookieOf(KIND.RELAY, number, VARIANT | which), table, priorities[table] ?? 0, rest);
}

/** On the port's host. Its kernel has taken one from the TTL, or will. */
function awayFlows({ locator, routerMac, services }: RelayAway, number: number, { fabric, hostPort, host }: Way) {
  const out = relayOut(routerMac, host.routerMac, fabric.portNo);
  const back = relayOut(hostPort.mac, host.routerMac, hostPort.portNo);
  const towards = between(hostPort.portNo, host.hostAddress, locator);
  const from = { ...between(fabric.portNo, locator, host.hostAddress), ethSrc: routerMac };
  const { TO, FROM, TO_ERROR, FROM_ERROR } = RELAY_FLOW;
  const unreachable = icmpMatch(ICMP.DESTINATION_UNREACHABLE);
  const build = builder(number);
  return [
    ...toServices(services, towards).map(([which, match]) => build(TO | which, TABLE.OUTSIDE, { match, actions: out })),
    ...fromServices(services, from).map(([which, match]) =>
      build(FROM | which, TABLE.FABRIC_IN, { match, actions: back }),
    ),
    build(TO_ERROR, TABLE.OUTSIDE, { match: { ...towards, ...unreachable }, actions: out }),
    build(FROM_ERROR, TABLE.FABRIC_IN, { match: { ...from, ...unreachable }, actions: back }),
  ];
}

/** On the endpoint's host. ICMP errors to it, and in user space later fragments, come by the controller: see FABRIC_IN. */
function hereFlows({ peer, endpoint, services }: RelayHere, number: number, host: FlowHost, hostPort: HostPort) {
  const isTunnel = peer.isTunnelled === true;
  const far = farContextOf(host, 0, isTunnel);
  if (far === undefined) return [];
  const peerMac = isTunnel ? hostPort.mac : peer.routerMac;
  const deliver = [
    setField('ethSrc', host.routerMac),
    setField('ethDst', endpoint.mac),
    setField('ipv4Dst', endpoint.ip),
    ...(isTunnel ? [] : [decTtl()]),
    output(asPortNo(endpoint.portNo)),
  ];
  const depart = {
    actions: [
      setField('ethDst', peerMac),
      setField(REGISTER.FROM_LOCATOR, endpoint.locator),
      setField(REGISTER.TO_LOCATOR, peer.locator),
    ],
    gotoTable: TABLE.FABRIC_OUT,
  };
  const towards = { ...between(far.farPortNo, peer.locator, endpoint.locator), ethSrc: peerMac };
  const from = between(endpoint.portNo, endpoint.ip, peer.locator);
  const { TO, FROM, FROM_ERROR } = RELAY_FLOW;
  const build = builder(number);
  return [
    ...toServices(services, towards)
      .filter(([, { ipFrag }]) => ipFrag === undefined || host.kernelDatapath)
      .map(([which, match]) => build(TO | which, TABLE.FABRIC_IN, { match, actions: deliver })),
    ...fromServices(services, from).map(([which, match]) => build(FROM | which, TABLE.ROUTE, { match, ...depart })),
    build(FROM_ERROR, TABLE.ROUTE, { match: { ...from, ...icmpMatch(ICMP.DESTINATION_UNREACHABLE) }, ...depart }),
  ];
}

function between(portNo: number, ipv4Src: Ipv4, ipv4Dst: Ipv4): Match {
  return { inPort: asPortNo(portNo), ethType: ETH_TYPE.IPV4, ipv4Src, ipv4Dst };
}

function relayOut(ethDst: Mac, ethSrc: Mac, portNo: number): Action[] {
  return [setField('ethSrc', ethSrc), setField('ethDst', ethDst), output(asPortNo(portNo))];
}

/** What tells a flow of a lane from its others, and what it matches. */
type Part = readonly [which: number, match: Match];

function toServices(services: readonly RelayService[], lane: Match): Part[] {
  return parts(services, lane, (port, isUdp) => (isUdp ? { udpDst: port } : { tcpDst: port }));
}

function fromServices(services: readonly RelayService[], lane: Match): Part[] {
  return parts(services, lane, (port, isUdp) => (isUdp ? { udpSrc: port } : { tcpSrc: port }));
}

/** A flow for each service, and one for the later fragments of each protocol: these have no ports. */
function parts(services: readonly RelayService[], lane: Match, of: (port: number, isUdp: boolean) => Match): Part[] {
  const protocols = new Set(services.map(({ protocol }) => protocol));
  return [
    ...services.map(({ protocol, port }): Part => {
      const ipProto = IP_PROTO[protocol];
      return [partOf(protocol, port), { ...lane, ipProto, ...of(port, protocol === 'UDP') }];
    }),
    ...[...protocols].map((protocol): Part => [
      partOf(protocol, 0),
      { ...lane, ipProto: IP_PROTO[protocol], ipFrag: LATER },
    ]),
  ];
}

/** The port, and a bit for the protocol above it. No service has port 0. */
function partOf(protocol: RelayService['protocol'], port: number): number {
  return (protocol === 'UDP' ? RELAY_FLOW.UDP : 0) | port;
}
