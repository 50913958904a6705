// What is asked of a datapath for people to read: routes with their packets, and what was dropped and why.

import { counter, u32 } from '../openflow/reader';
import type { DatapathState } from './datapath-state';
import type { EndpointIndex } from './endpoint-index';
import type { LiveRoute } from './model';
import { BASE, FABRIC_FLOW, KIND, ofKind, readCookieWords, VARIANT } from './pipeline';
import type { RouteRules, RouteSlots } from './route-rules';
import { OUTSIDE, TICK_MS, ticksOf } from './route-table';
import type { Session } from './session';

/** struct ofp_flow_stats (OpenFlow 1.4, 7.3.5.2). */
const SECONDS = 4;
const COOKIE = 24;
const PACKETS = 32;
const BYTES = 40;

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

/** Asks a datapath for its routes. */
export async function listRoutes(
  session: Session,
  datapathNo: number,
  rules: RouteRules,
  endpoints: EndpointIndex,
): Promise<LiveRoute[]> {
  const routes: LiveRoute[] = [];
  const take = (buffer: Buffer, at: number) => {
    const cookie = readCookieWords(u32(buffer, at + COOKIE), u32(buffer, at + COOKIE + 4));
    const route = cookie && rules.routeOf(datapathNo, cookie);
    if (route === undefined) return;
    const ageSeconds = u32(buffer, at + SECONDS);
    const [packets, bytes] = [counter(buffer, at + PACKETS), counter(buffer, at + BYTES)];
    routes.push({ ...describeRoute(route, endpoints), ageSeconds, packets, bytes });
  };
  await session.listFlows(ofKind(KIND.PAIR), take);
  await session.listFlows(ofKind(KIND.EGRESS), take);
  await session.listFlows(ofKind(KIND.REMOTE), take);
  return routes;
}

/** The routes that a datapath was last known to have. */
export function rememberedRoutes(datapath: DatapathState, endpoints: EndpointIndex, nowMs: number): LiveRoute[] {
  const routes: LiveRoute[] = [];
  const now = ticksOf(nowMs);
  datapath.routes.forEach((from, to, ticks) => {
    const ageSeconds = Math.max(0, Math.floor(((now - ticks) * TICK_MS) / 1000));
    routes.push({ ...describeRoute({ from, to }, endpoints), ageSeconds });
  });
  return routes;
}

function describeRoute({ from, to }: RouteSlots, endpoints: EndpointIndex): Omit<LiveRoute, 'ageSeconds'> {
  const source = from === OUTSIDE ? undefined : endpoints.idOf(from);
  const destination = to === OUTSIDE ? undefined : endpoints.idOf(to);
  const kind = from === OUTSIDE || to === OUTSIDE ? 'egress' : 'pair';
  return { kind, ...(source !== undefined ? { source } : {}), ...(destination !== undefined ? { destination } : {}) };
}
