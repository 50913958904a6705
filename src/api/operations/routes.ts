// The routes that are plugged in on this host, with names, and as they come and go.

import { z } from 'zod';
import { formatIpv4, type Ipv4 } from '../../base/addresses';
import { DaoliError } from '../../base/errors';
import { pause } from '../../base/pause';
import type { DirectoryView } from '../../directory/view';
import type { LiveConversation, LiveRoute } from '../../flowctl/model';
import { END, endAt, endOf, type ShownEnd } from '../ends';
import { name } from '../fields';
import { findContainer } from '../find-container';
import { directoryOf, operation, streamOperation, type ApiAgent } from '../operation';

const CONVERSATION = z
  .object({
    isOpening: z.boolean().meta({ description: 'the direction of who opened it; the other takes answers alone' }),
    protocol: z.number().meta({ description: 'the number that IP has for it' }),
    sourcePort: z.number().optional(),
    destinationPort: z.number().optional(),
    icmpType: z.number().optional(),
    outsideAddress: z.string().optional(),
    isFragments: z.boolean().optional().meta({ description: 'later fragments of all between these two' }),
  })
  .meta({ id: 'Conversation' });

const ROUTE = z
  .object({
    kind: z.enum(['pair', 'egress', 'conversation']),
    source: z.string().optional().meta({ description: 'endpoint id; an egress route has it outward' }),
    destination: z.string().optional().meta({ description: 'endpoint id; an egress route has it inward' }),
    conversation: CONVERSATION.optional().meta({ description: 'what tells it from others between the same two' }),
    from: END.meta({ description: 'its source by name; an address, or nothing, where it is outside' }),
    to: END,
    seenOn: z.string().meta({ description: 'the host whose datapath has it; one between hosts is on both' }),
    ageSeconds: z.number(),
    idleSeconds: z.number().optional().meta({ description: 'since its last packet, where the datapath says it' }),
    packets: z.number().optional(),
    bytes: z.number().optional(),
  })
  .meta({ id: 'Route', description: 'A route that is plugged in at present, one way' });
export type ShownRoute = Readonly<z.infer<typeof ROUTE>>;

const CHANGE = z
  .object({
    event: z.enum(['is', 'came', 'went']).meta({ description: '"is": it was there when the watch began' }),
    at: z.string().meta({ description: 'when that was seen, ISO 8601' }),
    route: ROUTE,
  })
  .meta({ id: 'RouteChange' });
export type ShownRouteChange = Readonly<z.infer<typeof CHANGE>>;

export interface RoutesAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  /** Asks the datapath, for packet counts. */
  routes(): Promise<readonly LiveRoute[]>;
}

const WATCH_MS = 1_000;
/** Each looks at all flows of the datapath once a second. */
const MAX_WATCHERS = 8;
let watchers = 0;

const query = z.strictObject({
  from: name.optional().meta({ description: 'a container, by name, id or host/name' }),
  to: name.optional().meta({ description: 'likewise' }),
});
type Wanted = z.infer<typeof query>;

export const routeOperations = [
  operation({
    id: 'listRoutes',
    method: 'get',
    path: '/v1/routes',
    tag: 'seeing',
    summary: 'The routes that are plugged in on this host',
    needsDirectory: true,
    errors: ['not-found', 'conflict', 'unavailable'],
    query,
    answer: z.array(ROUTE),
    handle: (agent: RoutesAgent, asked) => listed(agent, asked.query),
  }),
  streamOperation({
    id: 'watchRoutes',
    method: 'get',
    path: '/v1/routes/watch',
    tag: 'seeing',
    summary: 'Routes of this host as they come and go, looked at once a second; first those that are there',
    needsDirectory: true,
    errors: ['not-found', 'conflict', 'exhausted', 'unavailable'],
    query,
    item: CHANGE,
    handle: async (agent: RoutesAgent, asked) => {
      if (watchers >= MAX_WATCHERS) {
        throw new DaoliError('exhausted', `routes are watched ${MAX_WATCHERS} times already: end one of them`);
      }
      return watch(agent, asked.query, await listed(agent, asked.query), asked.signal);
    },
  }),
];

async function listed(agent: RoutesAgent, wanted: Wanted): Promise<ShownRoute[]> {
  const view = directoryOf(agent);
  const { host } = agent.status();
  const idsOf = (text: string | undefined) =>
    text === undefined ? undefined : new Set<string>(findContainer(view, text).endpoints.map(({ id }) => id));
  const [from, to] = [idsOf(wanted.from), idsOf(wanted.to)];
  const isWanted = ({ source, destination }: LiveRoute) =>
    (from === undefined || from.has(source ?? '')) && (to === undefined || to.has(destination ?? ''));
  return (await agent.routes()).filter(isWanted).map((route) => describeRoute(view, host, route));
}

async function* watch(
  agent: RoutesAgent,
  wanted: Wanted,
  first: readonly ShownRoute[],
  signal: AbortSignal,
): AsyncGenerator<ShownRouteChange> {
  watchers += 1;
  try {
    const at = () => new Date().toISOString();
    for (const route of first) yield { event: 'is', at: at(), route };
    let before = new Map(first.map((route) => [keyOf(route), route]));
    while (await pause(WATCH_MS, signal)) {
      const now = new Map((await listed(agent, wanted)).map((route) => [keyOf(route), route]));
      for (const [key, route] of before) if (!livesOn(route, now.get(key))) yield { event: 'went', at: at(), route };
      for (const [key, route] of now) if (!livesOn(before.get(key), route)) yield { event: 'came', at: at(), route };
      before = now;
    }
  } finally {
    watchers -= 1;
  }
}

/** One that is younger than before went, and came again. */
function livesOn(before: ShownRoute | undefined, now: ShownRoute | undefined): boolean {
  return before !== undefined && now !== undefined && now.ageSeconds >= before.ageSeconds;
}

function keyOf({ kind, source, destination, conversation }: ShownRoute): string {
  return JSON.stringify([kind, source, destination, conversation]);
}

function describeRoute(view: DirectoryView, seenOn: string, route: LiveRoute): ShownRoute {
  const { conversation, source, destination, ...rest } = route;
  const outside = conversation?.outsideAddress;
  return {
    ...rest,
    ...(source === undefined ? {} : { source }),
    ...(destination === undefined ? {} : { destination }),
    ...(conversation === undefined ? {} : { conversation: describeConversation(conversation) }),
    from: sideOf(view, source, outside),
    to: sideOf(view, destination, outside),
    seenOn,
  };
}

function describeConversation({ outsideAddress, ...rest }: LiveConversation): z.infer<typeof CONVERSATION> {
  return { ...rest, ...(outsideAddress === undefined ? {} : { outsideAddress: formatIpv4(outsideAddress) }) };
}

/** What is no endpoint is outside: everything there, or one address. */
function sideOf(view: DirectoryView, endpointId: string | undefined, outside: Ipv4 | undefined): ShownEnd {
  return endpointId === undefined ? endAt(outside === undefined ? '*' : formatIpv4(outside)) : endOf(view, endpointId);
}
