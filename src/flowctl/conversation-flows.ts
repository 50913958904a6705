// The flows of conversations: those of routes, for the packets of one conversation alone, and above them. Exact matches
// only, of few shapes, so that the datapath stays fast whatever is sent. Pure construction.

import type { Ipv4 } from '../base/addresses';
import type { FlowMod } from '../openflow/flow-mod';
import type { Masked, Match } from '../openflow/match';
import { ICMP, IP_PROTO } from '../packet/protocol-numbers';
import { hasPorts, type Conversation } from './conversation';
import { LATER } from './flow-parts';
import { cookieOf, isOfConversation, KIND, PRIORITY, readCookie, TABLE } from './pipeline';

/** Which packets between two ends: of a protocol, and of ports or an ICMP type where the protocol has them. */
export interface PacketClass {
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmpType?: number;
}

/** The packets of one direction of a conversation. */
export function classOf(conversation: Conversation, isOpening: boolean): PacketClass {
  const { protocol, openerPort, answererPort } = conversation;
  if (protocol === IP_PROTO.ICMP) return { protocol, icmpType: isOpening ? ICMP.ECHO_REQUEST : ICMP.ECHO_REPLY };
  if (!hasPorts(protocol)) return { protocol };
  return isOpening
    ? { protocol, sourcePort: openerPort, destinationPort: answererPort }
    : { protocol, sourcePort: answererPort, destinationPort: openerPort };
}

const PORT_FIELDS = {
  [IP_PROTO.TCP]: ['tcpSrc', 'tcpDst'],
  [IP_PROTO.UDP]: ['udpSrc', 'udpDst'],
  [IP_PROTO.SCTP]: ['sctpSrc', 'sctpDst'],
} as const;

function matchOf({ protocol, sourcePort, destinationPort, icmpType }: PacketClass): Match {
  const [source, destination] = PORT_FIELDS[protocol as keyof typeof PORT_FIELDS] ?? ['tcpSrc', 'tcpDst'];
  return {
    ipProto: protocol,
    ...(sourcePort !== undefined && { [source]: sourcePort }),
    ...(destinationPort !== undefined && { [destination]: destinationPort }),
    ...(icmpType !== undefined && { icmpv4Type: icmpType }),
  };
}

function priorityOf(table: number, which: 'CONVERSATION' | 'REFUSAL'): number {
  return table === TABLE.ROUTE ? PRIORITY.ROUTE[which] : PRIORITY.OUTSIDE[which]; // as in FABRIC_IN
}

/** The flow of a route, and the outside address that it is for where it has one. */
export interface Way {
  readonly route: FlowMod;
  readonly outside: Pick<Match, 'ipv4Src' | 'ipv4Dst'>;
}

function narrowed({ route, outside }: Way, kind: number, which: 'CONVERSATION' | 'REFUSAL', match: Match): FlowMod {
  const { a = 0, b = 0 } = readCookie(route.cookie ?? 0n) ?? {};
  return {
    ...route,
    cookie: cookieOf(kind as typeof KIND.OPENING, a, b),
    priority: priorityOf(route.table, which),
    match: { ...route.match, ...outside, ...match },
  };
}

/** One direction of a conversation. */
export function conversationFlow(way: Way, conversation: Conversation, isOpening: boolean): FlowMod {
  const kind = isOpening ? KIND.OPENING : KIND.ANSWER;
  return narrowed(way, kind, 'CONVERSATION', matchOf(classOf(conversation, isOpening)));
}

/**
 * Later fragments from one end to another that have a conversation: they carry no ports. For a while, after which it is
 * looked at again whether the two still have one.
 */
export function fragmentFlow(way: Way, hardTimeoutSeconds: number): FlowMod {
  const { idleTimeoutSeconds: _, ...flow } = narrowed(way, KIND.ANSWER, 'CONVERSATION', { ipFrag: LATER });
  return { ...flow, hardTimeoutSeconds };
}

/** Packets that the policy refuses, whatever port they come from; all between the two, where none are told. */
export function refusalFlow(way: Way, packets: PacketClass | undefined, hardTimeoutSeconds: number): FlowMod {
  const { table, priority, cookie, match } = narrowed(way, KIND.DENY, 'REFUSAL', packets ? matchOf(packets) : {});
  return { type: 'flowMod', command: 'add', table, priority, cookie: cookie ?? 0n, match, hardTimeoutSeconds };
}

/** Takes exactly this flow away. */
export function withoutFlow({ table, priority, match, cookie = 0n }: FlowMod): FlowMod {
  const cookieMask = 0xffff_ffff_ffff_ffffn;
  return { type: 'flowMod', command: 'delete_strict', table, priority, match, cookie, cookieMask };
}

/** What a flow of a conversation says by its match. Undefined for one of fragments, and for what is none of ours. */
export function readPacketClass(kind: number, match: Match): PacketClass | undefined {
  const protocol = exact(match.ipProto);
  if (!isOfConversation(kind) || protocol === undefined || match.ipFrag !== undefined) return undefined;
  const sourcePort = exact(match.tcpSrc ?? match.udpSrc ?? match.sctpSrc);
  const destinationPort = exact(match.tcpDst ?? match.udpDst ?? match.sctpDst);
  const icmpType = exact(match.icmpv4Type);
  return {
    protocol,
    ...(sourcePort !== undefined && { sourcePort }),
    ...(destinationPort !== undefined && { destinationPort }),
    ...(icmpType !== undefined && { icmpType }),
  };
}

function exact<Value extends number>(value: Value | Masked<Value> | undefined): Value | undefined {
  return typeof value === 'number' ? value : undefined;
}

/** The outside address that a flow is for, in the direction that its match says. */
export function readOutsideAddress(match: Match, isFromOutside: boolean): Ipv4 | undefined {
  return exact(isFromOutside ? match.ipv4Src : match.ipv4Dst);
}
