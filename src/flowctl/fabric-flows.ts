// The flows around the fabric port and the tunnel: what may come in there, what routes to other hosts have in common, and
// what they leave to the controller. They are there as long as a way to other hosts is, whoever these are.

import type { Mac } from '../base/addresses';
import { checkPktLarger, decTtl, move, output, setField, whole, type Action } from '../openflow/action';
import type { FlowMod } from '../openflow/flow-mod';
import type { Match } from '../openflow/match';
import { ETHERNET_HEADER, ETH_TYPE, ICMP } from '../packet/protocol-numbers';
import {
  DROP,
  echoBack,
  flow,
  FRAGMENTS,
  GROUP,
  icmpMatch,
  ICMP_ERRORS,
  ipv4Match,
  punt,
  puntFlow,
  type FlowRest,
  type Way,
} from './flow-parts';
import type { FlowFabric, FlowHost } from './model';
import {
  asPortNo,
  cookieOf,
  FABRIC_FLOW,
  KIND,
  PORT_FLOW,
  PRIORITY,
  PUNT_REASON,
  REGISTER,
  TABLE,
  VARIANT,
} from './pipeline';

/**
 * To and from other hosts. A packet to one comes here from its route with the locators that it gets in registers; what a
 * flow cannot do well goes to the controller as the endpoint sent it: one whose TTL runs out, an ICMP error, a later
 * fragment in user space, one that is too large for the fabric. Empty where there is neither fabric nor tunnel.
 */
export function fabricFlows(host: FlowHost): FlowMod[] {
  const { fabric } = host;
  if (fabric === undefined && host.hasTunnels !== true) return [];
  return [
    ...(fabric === undefined ? [] : fabricPort(fabric.portNo, host)),
    ...fabricExceptions(host, TABLE.FABRIC_OUT),
    fabricOut(host),
    ...(fabric === undefined ? [] : fabricSend(fabric, host)),
    ...tunnelSend(host),
    ...fabricExceptions(host, TABLE.FABRIC_IN),
    ...(fabric === undefined ? [] : fabricEcho(fabric.portNo, host)),
    fabricFlow(host, FABRIC_FLOW.IN_MISS, TABLE.FABRIC_IN, PRIORITY.FABRIC_IN.MISS, {
      match: {},
      ...punt(PUNT_REASON.ARRIVAL),
    }),
  ];
}

function fabricFlow({ fabric }: FlowHost, which: number, table: number, priority: number, rest: FlowRest): FlowMod {
  return flow(cookieOf(KIND.FABRIC, fabric?.portNo ?? 0, VARIANT | which), table, priority, rest);
}

/**
 * What the fabric port may bring: to this host's router MAC, from locator to locator. What every L2 is full of is no
 * attempt of anybody's, and is dropped apart from that.
 */
function fabricPort(portNo: number, host: FlowHost): FlowMod[] {
  const locators = ipv4Match(host.locatorRange);
  const match: Match = {
    inPort: asPortNo(portNo),
    ethDst: host.routerMac,
    ethType: ETH_TYPE.IPV4,
    ipv4Src: locators,
    ipv4Dst: locators,
  };
  const { NOISE_ARP, NOISE_MULTICAST } = FABRIC_FLOW;
  const noise = (which: number, rest: Match) => {
    const noiseMatch = { inPort: asPortNo(portNo), ...rest };
    return fabricFlow(host, which, TABLE.CLASSIFY, PRIORITY.CLASSIFY.FABRIC_NOISE, { match: noiseMatch, ...DROP });
  };
  return [
    noise(NOISE_ARP, { ethType: ETH_TYPE.ARP }),
    noise(NOISE_MULTICAST, { ethDst: GROUP }),
    fabricFlow(host, PORT_FLOW.IP, TABLE.CLASSIFY, PRIORITY.CLASSIFY.IP, { match, gotoTable: TABLE.FABRIC_IN }),
    puntFlow(cookieOf(KIND.FABRIC, portNo, VARIANT | PORT_FLOW.PUNT), portNo),
  ];
}

/**
 * Another host asks whether packets come through to here, which the datapath answers alone, and answers what this one asked:
 * see FabricProbes.
 */
function fabricEcho(portNo: number, host: FlowHost): FlowMod[] {
  const { hostAddress, routerMac } = host;
  const echo = (which: number, icmpv4Type: number, way: Way) =>
    fabricFlow(host, which, TABLE.FABRIC_IN, PRIORITY.FABRIC_IN.ECHO, {
      match: { inPort: asPortNo(portNo), ipv4Dst: hostAddress, ...icmpMatch(icmpv4Type) },
      ...way,
    });
  return [
    echo(FABRIC_FLOW.ECHO, ICMP.ECHO_REQUEST, { actions: echoBack(routerMac, hostAddress) }),
    echo(FABRIC_FLOW.ECHO_ANSWER, ICMP.ECHO_REPLY, punt(PUNT_REASON.ARRIVAL)),
  ];
}

function fabricExceptions(host: FlowHost, table: 4 | 6): FlowMod[] {
  const isOut = table === TABLE.FABRIC_OUT;
  const { TTL, ICMP: ERRORS, FRAGMENT } = PRIORITY.FABRIC_OUT;
  const { OUT_TTL_0, IN_TTL_0, OUT_ICMP, IN_ICMP, OUT_FRAGMENT_TCP, IN_FRAGMENT_TCP } = FABRIC_FLOW;
  const exception = punt(PUNT_REASON.FABRIC);
  const of = (which: number, priority: number, rest: FlowRest) => fabricFlow(host, which, table, priority, rest);
  // What comes out of a tunnel has made its last hop.
  const { fabric } = host;
  const from = isOut ? {} : fabric && { inPort: asPortNo(fabric.portNo) };
  const ttl = (from === undefined ? [] : [0, 1]).map((nwTtl) =>
    of((isOut ? OUT_TTL_0 : IN_TTL_0) + nwTtl, TTL, {
      match: { ...from, ethType: ETH_TYPE.IPV4, nwTtl },
      ...exception,
    }),
  );
  const icmp = ICMP_ERRORS.map(([type, isWanted], i) =>
    of((isOut ? OUT_ICMP : IN_ICMP) + i, ERRORS, { match: icmpMatch(type), ...(isWanted ? exception : DROP) }),
  );
  const fragments = FRAGMENTS.map((match, i) =>
    of((isOut ? OUT_FRAGMENT_TCP : IN_FRAGMENT_TCP) + i, FRAGMENT, { match, ...exception }),
  );
  return [...ttl, ...icmp, ...(host.kernelDatapath ? [] : fragments)];
}

/** From here on all routes to other hosts are alike. */
function fabricOut(host: FlowHost): FlowMod {
  const { fabric } = host;
  const measured = { field: REGISTER.TOO_LARGE, offset: 0, bits: 1 };
  const measure = fabric?.isNarrow === true ? [checkPktLarger(fabric.mtu + ETHERNET_HEADER, measured)] : [];
  return fabricFlow(host, FABRIC_FLOW.OUT_MISS, TABLE.FABRIC_OUT, PRIORITY.FABRIC_OUT.MISS, {
    match: {},
    ...(measure.length > 0 && { actions: measure }),
    gotoTable: TABLE.FABRIC_SEND,
  });
}

/** The last step onto the fabric. */
function fabricSend(fabric: FlowFabric, host: FlowHost): FlowMod[] {
  const { FABRIC_SEND } = PRIORITY;
  const tooLarge = fabricFlow(host, FABRIC_FLOW.TOO_LARGE, TABLE.FABRIC_SEND, FABRIC_SEND.TOO_LARGE, {
    match: { [REGISTER.TOO_LARGE]: 1 },
    ...punt(PUNT_REASON.FABRIC),
  });
  return [
    ...(fabric.isNarrow ? [tooLarge] : []),
    fabricFlow(host, FABRIC_FLOW.SEND, TABLE.FABRIC_SEND, FABRIC_SEND.SEND, {
      match: { ethType: ETH_TYPE.IPV4 },
      actions: [...inLocators(host.routerMac), decTtl(), output(asPortNo(fabric.portNo))],
    }),
  ];
}

/** The last step into a tunnel: to the kernel, which finds the one that leads to the locator, or refuses. */
function tunnelSend(host: FlowHost): FlowMod[] {
  const { hostPort, hasTunnels } = host;
  if (hostPort === undefined || hasTunnels !== true) return [];
  return [
    fabricFlow(host, FABRIC_FLOW.SEND_TUNNEL, TABLE.FABRIC_SEND, PRIORITY.FABRIC_SEND.TUNNEL, {
      match: { ethType: ETH_TYPE.IPV4, ethDst: hostPort.mac },
      actions: [...inLocators(host.routerMac), output(asPortNo(hostPort.portNo))],
    }),
  ];
}

function inLocators(routerMac: Mac): Action[] {
  return [
    setField('ethSrc', routerMac),
    move(whole(REGISTER.FROM_LOCATOR), whole('ipv4Src')),
    move(whole(REGISTER.TO_LOCATOR), whole('ipv4Dst')),
  ];
}
