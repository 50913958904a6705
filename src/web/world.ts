// What the page knows: the lists of the API as the agent's stream says them, and what is worked out of them to be drawn. No browser
// here: text and numbers in, text and numbers out.

import type { ShownHost } from '../api/operations/cluster';
import type { ShownGroup } from '../api/operations/groups';
import type { ShownEndpoint, ShownNetwork, ShownPort } from '../api/operations/networks';
import type { ShownPair } from '../api/operations/pairs';
import type { ShownDefault, ShownPolicy } from '../api/operations/policies';
import type { Sight } from '../api/operations/watch';

/** A route as an agent lists it: one way. */
export interface Route {
  readonly kind: 'pair' | 'egress' | 'conversation';
  readonly source?: string;
  readonly destination?: string;
  readonly conversation?: {
    readonly isOpening: boolean;
    readonly protocol: number;
    readonly sourcePort?: number;
    readonly destinationPort?: number;
    readonly icmpType?: number;
    readonly outsideAddress?: string;
  };
  readonly ageSeconds: number;
  readonly idleSeconds?: number;
  readonly packets?: number;
  readonly bytes?: number;
}

/** What the policy refused, as an agent lists it. */
export interface Denial {
  readonly from: { readonly endpoint: string | null };
  readonly to: { readonly endpoint: string | null };
  readonly protocol: string;
  readonly packets: number;
  readonly secondsAgo: number;
}

/** A port of a host that leads to a container of some host, as an agent lists it. */
export interface FirewallRule {
  readonly name: string;
  readonly host: string;
  readonly protocol: string;
  readonly hostPort: number;
  /** Its name; with a host in front, as in "h1/web", for the one there alone. */
  readonly container: string;
  readonly containerPort: number;
  readonly status?: string | null;
}

/** A route, and since when it has been watched. */
export interface LiveRoute extends Route {
  readonly seenOn: string;
  /** When it came, and when its last packet passed, in milliseconds of the page's clock. */
  readonly bornAt: number;
  readonly activeAt: number;
  /** Of late. */
  readonly packetsPerSecond: number;
  /** When its packets were counted. */
  readonly countedAt: number;
}

/** What one host's agent sees in its datapath. */
interface HostSight {
  routes: Map<string, LiveRoute>;
  problem: string | null;
}

export interface FreshDenial {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
}

/** Of one host: it says them, and may have been broken into. */
const MAX_ROUTES = 20_000;
/** An older denial is no news. */
const NEWS_SECONDS = 3;

export class World {
  readonly hosts = new Map<string, ShownHost>();
  readonly networks = new Map<string, ShownNetwork>();
  readonly endpoints = new Map<string, ShownEndpoint>();
  readonly ports = new Map<string, ShownPort>();
  readonly groups = new Map<string, ShownGroup>();
  readonly defaults = new Map<string, ShownDefault>();
  readonly policies = new Map<string, ShownPolicy & { readonly place: number }>();
  readonly pairs = new Map<string, ShownPair>();
  readonly firewall = new Map<string, FirewallRule>();
  /** By host. */
  readonly sights = new Map<string, HostSight>();
  /** The host whose agent serves this page. */
  host = '';

  /**
   * Takes in what an agent says. The first one that speaks is the one that serves the page; the others tell of their datapaths alone.
   * Returns what its policy has refused since.
   */
  take(sight: Sight, now: number): FreshDenial[] {
    if (this.host === '') this.host = sight.host;
    const isOwn = sight.host === this.host;
    const own = this.sights.get(sight.host) ?? { routes: new Map<string, LiveRoute>(), problem: null };
    this.sights.set(sight.host, own);
    own.problem = sight.problem;
    if (sight.isFirst) own.routes.clear();
    if (sight.isFirst && isOwn) for (const list of Object.values(this.lists())) list.clear();
    const lists = isOwn ? this.lists() : {};
    for (const [name, { set, gone }] of Object.entries(sight.changes)) {
      const list = lists[name];
      if (list === undefined) continue;
      for (const key of gone) list.delete(key);
      for (const [key, item] of Object.entries(set)) list.set(key, item);
    }
    this.takeRoutes(own, sight, now);
    return freshDenials(sight);
  }

  /** Forgets all: the agent will say it again. */
  clear(): void {
    for (const list of Object.values(this.lists())) list.clear();
    this.sights.clear();
    this.host = '';
  }

  /** In the order in which they are asked. */
  orderedPolicies(): ShownPolicy[] {
    return [...this.policies.values()].sort((a, b) => a.place - b.place);
  }

  private lists(): Record<string, Map<string, unknown>> {
    const { hosts, networks, endpoints, ports, groups, defaults, policies, pairs, firewall } = this;
    return { hosts, networks, endpoints, ports, groups, defaults, policies, pairs, firewall };
  }

  private takeRoutes(own: HostSight, { host, changes }: Sight, now: number): void {
    const { set, gone } = changes['routes'] ?? { set: {}, gone: [] };
    for (const key of gone) own.routes.delete(key);
    for (const [key, item] of Object.entries(set)) {
      if (own.routes.size >= MAX_ROUTES && !own.routes.has(key)) continue;
      own.routes.set(key, liveRoute(item as unknown as Route, own.routes.get(key), host, now));
    }
  }
}

/** What is known of a route now, from what was known before. */
function liveRoute(route: Route, before: LiveRoute | undefined, seenOn: string, now: number): LiveRoute {
  const bornAt = now - route.ageSeconds * 1000;
  const [packets, counted] = [route.packets ?? 0, before?.packets ?? 0];
  // One that has counted less is another one.
  if (before === undefined || packets < counted) {
    const activeAt = now - (route.idleSeconds ?? 0) * 1000;
    const packetsPerSecond = route.ageSeconds === 0 ? packets : 0;
    return { ...route, seenOn, bornAt, activeAt, packetsPerSecond, countedAt: now };
  }
  const seconds = Math.max(0.2, (now - before.countedAt) / 1000);
  const activeAt = packets > counted ? now : before.activeAt;
  const packetsPerSecond = (packets - counted) / seconds;
  return { ...route, seenOn, bornAt: before.bornAt, activeAt, packetsPerSecond, countedAt: now };
}

function freshDenials({ changes, isFirst }: Sight): FreshDenial[] {
  if (isFirst) return [];
  const denials = Object.values(changes['denials']?.set ?? {}) as unknown as Denial[];
  return denials
    .filter(({ secondsAgo }) => secondsAgo <= NEWS_SECONDS)
    .map(({ from, to, protocol }) => ({ from: from.endpoint ?? OUTSIDE, to: to.endpoint ?? OUTSIDE, protocol }));
}

/** What is no endpoint. */
export const OUTSIDE = 'outside';
