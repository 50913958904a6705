// What is counted where nothing may be logged: one set for each controller, read by metrics and tests.

export interface FlowCounters {
  packetIns: number;
  packetOuts: number;
  /** Directions installed, the repeated ones included. */
  routesInstalled: number;
  /** flowRemoved of routes. */
  routesRemoved: number;
  /** Packets that went on without a route, because an endpoint or the datapath had its fill. */
  routesCapped: number;
  /** Routes that their destination's host was told of. */
  wordsTold: number;
  /** Routes made because their source's host told of them, before a packet came. */
  wordsFollowed: number;
  /** Words of other hosts about what may not be, or is not known here (yet). */
  wordsRefused: number;
  /** Pairs that the policy refused. */
  denied: number;
  /** ICMP unreachable sent. */
  unreachable: number;
  /** ICMP time exceeded sent, about packets between hosts. */
  timeExceeded: number;
  /** ICMP fragmentation needed sent. */
  tooLarge: number;
  /** Packets to or from the outside of endpoints that may not, or of nobody; from other hosts to nobody here. */
  noWay: number;
  /** Drop flows not installed, because the port had caused too many. */
  dropsCapped: number;
  icmpErrorsRewritten: number;
  fragmentsRewritten: number;
  /** Packets in packet-ins that are no IPv4 packet that could be handled. */
  malformed: number;
  /** Packet-ins of a port or address that is no endpoint's any more. */
  stale: number;
  /** Packet-ins that no flow of ours caused. */
  foreign: number;
  /** Packet-outs and packet-ins given up while the datapath did not read. */
  packetOutsDropped: number;
  packetInsDropped: number;
  /** Errors that the datapath answered with. */
  errors: number;
  /** Messages that broke the protocol, each of which ended its connection. */
  protocolErrors: number;
  connections: number;
  /** Flows put back or taken away on connecting. */
  flowsRepaired: number;
}

export function newCounters(): FlowCounters {
  return {
    packetIns: 0,
    packetOuts: 0,
    routesInstalled: 0,
    routesRemoved: 0,
    routesCapped: 0,
    wordsTold: 0,
    wordsFollowed: 0,
    wordsRefused: 0,
    denied: 0,
    unreachable: 0,
    timeExceeded: 0,
    tooLarge: 0,
    noWay: 0,
    dropsCapped: 0,
    icmpErrorsRewritten: 0,
    fragmentsRewritten: 0,
    malformed: 0,
    stale: 0,
    foreign: 0,
    packetOutsDropped: 0,
    packetInsDropped: 0,
    errors: 0,
    protocolErrors: 0,
    connections: 0,
    flowsRepaired: 0,
  };
}
