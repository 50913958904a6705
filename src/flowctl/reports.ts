// What is asked of a datapath for people to read: routes with their packets, and what was dropped and why.

import type { Ipv4 } from '../base/addresses';
import { decodeMatch, type Match } from '../openflow/match';
import { flowKey } from '../openflow/idle-stats';
import { counter, u32 } from '../openflow/reader';
import { classOf } from './conversation-flows';
import type { ConversationRules, ConversationSide } from './conversation-rules';
import type { DatapathState } from './datapath-state';
import type { EndpointIndex } from './endpoint-index';
import type { IdleTimes } from './idle-query';
import type { LiveRoute } from './model';
import { BASE, FABRIC_FLOW, isOfConversation, KIND, ofKind, readCookieWords, VARIANT, type Cookie } from './pipeline';
import type { RouteRules, RouteSlots } from './route-rules';
import { OUTSIDE, TICK_MS, ticksOf } from './route-table';
import type { Session } from './session';

/** struct ofp_flow_stats (OpenFlow 1.4, 7.3.5.2). */
const SECONDS = 4;
const COOKIE = 24;
const PACKETS = 32;
const BYTES = 40;
const MATCH = 48;

/** Packets that the datapath dropped, by reason. */
export interface DropCounts {
  /** With a VLAN tag. */
  tagged: number;
  /** ARP that was not an endpoint's own question: forged, gratuitous, or an answer. */
  arp: number;
  /** Broadcast and multicast. */
  multicast: number;
  /** From an endpoint's port, but not from its MAC and address to the router MAC; or from a port that is nobody's. */
  spoofed: number;
  /** To loopback, link-local, multicast and other addresses that no endpoint may have. */
  guarded: number;
  /** From endpoints to locators. */
  locators: number;
  /** ICMP redirects and source quenches to or from the outside, or another host. */
  icmp: number;
}

type Reasons = readonly (readonly [number, keyof DropCounts])[];

const BASE_REASONS: Reasons = [
  [BASE.TAGGED, 'tagged'],
  [BASE.ARP_REFUSED, 'arp'],
  [BASE.ARP_MISS, 'arp'],
  [BASE.MULTICAST, 'multicast'],
  [BASE.SPOOFED, 'spoofed'],
  [BASE.PUNT_MISS, 'spoofed'],
  [BASE.GUARD_THIS_NETWORK, 'guarded'],
  [BASE.GUARD_LOOPBACK, 'guarded'],
  [BASE.GUARD_LINK_LOCAL, 'guarded'],
  [BASE.GUARD_MULTICAST, 'guarded'],
  [BASE.LOCATORS, 'locators'],
  [BASE.ICMP_REDIRECT, 'icmp'],
  [BASE.ICMP_QUENCH, 'icmp'],
];
/** Redirects and source quenches stand behind the three kinds of errors that pass: see ICMP_ERRORS. */
const FABRIC_REASONS: Reasons = [FABRIC_FLOW.OUT_ICMP, FABRIC_FLOW.IN_ICMP].flatMap((first) => [
  [first + 3, 'icmp'],
  [first + 4, 'icmp'],
]);

/** Asks datapaths what their drop flows have counted. */
export async function listDrops(sessions: readonly Session[]): Promise<DropCounts> {
  const counts: DropCounts = { tagged: 0, arp: 0, multicast: 0, spoofed: 0, guarded: 0, locators: 0, icmp: 0 };
  const take = (reasons: Reasons) => (buffer: Buffer, at: number) => {
    const which = readCookieWords(u32(buffer, at + COOKIE), u32(buffer, at + COOKIE + 4))?.b ?? 0;
    const reason = reasons.find(([flow]) => (VARIANT | flow) === which)?.[1];
    if (reason !== undefined) counts[reason] += counter(buffer, at + PACKETS);
  };
  await Promise.all(
    sessions.flatMap((session) => [
      session.listFlows(ofKind(KIND.BASE), take(BASE_REASONS)),
      session.listFlows(ofKind(KIND.FABRIC), take(FABRIC_REASONS)),
    ]),
  );
  return counts;
}

/** What says what a listed flow is. */
interface Readers {
  readonly routes: RouteRules;
  readonly conversations: ConversationRules;
  readonly endpoints: EndpointIndex;
  /** How long flows were idle, where that is known. */
  readonly idleTimes?: IdleTimes | undefined;
}

/** Asks a datapath for its routes. */
export async function listRoutes(session: Session, datapathNo: number, readers: Readers): Promise<LiveRoute[]> {
  const listed: LiveRoute[] = [];
  const take = (buffer: Buffer, at: number, length: number) => {
    const cookie = readCookieWords(u32(buffer, at + COOKIE), u32(buffer, at + COOKIE + 4));
    const known = cookie && readRoute(datapathNo, cookie, () => decodeMatch(buffer, at + MATCH, at + length), readers);
    if (known === undefined) return;
    const ageSeconds = u32(buffer, at + SECONDS);
    const idleSeconds = readers.idleTimes?.get(flowKey(buffer, at + COOKIE, at + MATCH, at + length));
    const idle = idleSeconds === undefined ? {} : { idleSeconds };
    const [packets, bytes] = [counter(buffer, at + PACKETS), counter(buffer, at + BYTES)];
    listed.push({ ...known, ageSeconds, ...idle, packets, bytes });
  };
  for (const kind of [KIND.PAIR, KIND.EGRESS, KIND.REMOTE, KIND.OPENING, KIND.ANSWER]) {
    await session.listFlows(ofKind(kind), take);
  }
  return listed;
}

type Described = Omit<LiveRoute, 'ageSeconds'>;

function readRoute(datapathNo: number, cookie: Cookie, match: () => Match, readers: Readers): Described | undefined {
  const { routes, conversations, endpoints } = readers;
  if (!isOfConversation(cookie.kind)) {
    const route = routes.routeOf(datapathNo, cookie);
    return route && describeRoute(route, endpoints);
  }
  const side = conversations.read(datapathNo, cookie, match());
  if (side !== undefined) return describeConversation(side, endpoints);
  const ends = routes.endsOf(datapathNo, cookie);
  return ends && { ...describeRoute(ends, endpoints), kind: 'conversation', isFragments: true };
}

function describeConversation({ conversation, isOpening }: ConversationSide, endpoints: EndpointIndex): Described {
  const { opener, answerer, outsideAddress } = conversation;
  const ends = isOpening ? { from: opener, to: answerer } : { from: answerer, to: opener };
  const isOutside = opener === OUTSIDE || answerer === OUTSIDE;
  const live = {
    isOpening,
    ...classOf(conversation, isOpening),
    ...(isOutside && { outsideAddress: outsideAddress as Ipv4 }),
  };
  return { ...describeRoute(ends, endpoints), kind: 'conversation', conversation: live };
}

/** The routes that a datapath was last known to have. */
export function rememberedRoutes(datapath: DatapathState, endpoints: EndpointIndex, nowMs: number): LiveRoute[] {
  const routes: LiveRoute[] = [];
  const now = ticksOf(nowMs);
  datapath.routes.forEach((from, to, ticks) => {
    const ageSeconds = Math.max(0, Math.floor(((now - ticks) * TICK_MS) / 1000));
    routes.push({ ...describeRoute({ from, to }, endpoints), ageSeconds });
  });
  datapath.conversations.forEachLive((conversation, isOpening, ticks) => {
    const ageSeconds = Math.max(0, Math.floor(((now - ticks) * TICK_MS) / 1000));
    routes.push({ ...describeConversation({ conversation, isOpening }, endpoints), ageSeconds });
  });
  return routes;
}

function describeRoute({ from, to }: RouteSlots, endpoints: EndpointIndex): Described {
  const source = from === OUTSIDE ? undefined : endpoints.idOf(from);
  const destination = to === OUTSIDE ? undefined : endpoints.idOf(to);
  const kind = from === OUTSIDE || to === OUTSIDE ? 'egress' : 'pair';
  return { kind, ...(source !== undefined ? { source } : {}), ...(destination !== undefined ? { destination } : {}) };
}
