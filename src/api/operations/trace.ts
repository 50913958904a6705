// What would become of a packet between two containers, or to an address: each host's half from that host.

import { z } from 'zod';
import { formatIpv4, parseIpv4, tryParseIpv4, type Ipv4 } from '../../base/addresses';
import { parsed } from '../../base/body-schema';
import { messageOf } from '../../base/errors';
import type { EndpointRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import { formatTransport, parseTransport, type TracedTransport } from '../../observe/packet';
import type { WantedHalf } from '../../observe/seeing';
import type { HostTrace } from '../../observe/trace';
import { END, endAt, endOfRow } from '../ends';
import { name } from '../fields';
import { endpointIn, findContainer } from '../find-container';
import { directoryOf, operation, type ApiAgent } from '../operation';

const STEP = z.object({
  table: z.number().nullable().meta({ description: 'null for what the controller would add' }),
  name: z.string().nullable().meta({ description: 'the table’s name, as in docs/pipeline.md' }),
  what: z.string().meta({ description: 'what the flow is there for' }),
  match: z.string().meta({ description: 'the flow, as Open vSwitch prints it' }),
  actions: z.array(z.string()),
});

const HOST_TRACE = z
  .object({
    host: z.string(),
    packet: z.string().meta({ description: 'as it comes to that host’s datapath, in words of ovs-fields(7)' }),
    steps: z.array(STEP),
    route: z
      .array(z.string())
      .meta({ description: 'flows that the controller would install; none where they are there' }),
    fate: z.string(),
    outcome: z.enum(['here', 'other-host', 'outside', 'answered', 'refused', 'dropped', 'nobody']),
    policy: z.string().nullable().meta({ description: 'which rule decides' }),
    differences: z.array(z.string()).meta({ description: 'where the datapath does something else; none: it agrees' }),
  })
  .meta({ id: 'HostTrace' });

const TRACE = z
  .object({
    from: END,
    to: END,
    transport: z.string().meta({ description: '"tcp/80", "udp/53" or "icmp"' }),
    fate: z.string().meta({ description: 'in a sentence' }),
    isDelivered: z.boolean().nullable().meta({ description: 'null where only a part of the way could be looked at' }),
    agrees: z.boolean().meta({ description: 'every datapath that was asked does what it should' }),
    hosts: z.array(HOST_TRACE),
    unknown: z.array(z.string()).meta({ description: 'hosts that could not be asked, and why' }),
  })
  .meta({ id: 'Trace', description: 'What would become of a packet' });
export type ShownTrace = Readonly<z.infer<typeof TRACE>>;
export type ShownHostTrace = ShownTrace['hosts'][number];

/** Another host's agent, as far as it is asked here. */
export interface RemoteGet {
  get<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S>>;
}

export interface TraceAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  readonly seeing: { trace(wanted: WantedHalf): Promise<HostTrace> };
  remote(host: string): RemoteGet;
}

const transport = parsed(parseTransport).optional();
const FACTS = { method: 'get', tag: 'seeing', needsDirectory: true } as const;

export const traceOperations = [
  operation({
    ...FACTS,
    id: 'tracePacket',
    path: '/v1/trace',
    summary: 'What would become of a packet from a container to another, or to an address; changes nothing',
    errors: ['not-found', 'conflict', 'unavailable'],
    query: z.strictObject({
      from: name.meta({ description: 'a container, by name, id or host/name' }),
      to: name.meta({ description: 'likewise, or an IPv4 address' }),
      transport: transport.meta({ description: 'tcp/PORT, udp/PORT, or icmp, which is the default' }),
      network: name.optional().meta({ description: 'that of the source, where it is in several' }),
    }),
    answer: TRACE,
    handle: async (agent: TraceAgent, { query }) => {
      const view = directoryOf(agent);
      const { source, destination, address } = endsOf(view, query);
      return followed(agent, view, {
        source,
        destination,
        address,
        transport: query.transport ?? parseTransport(undefined),
      });
    },
  }),
  operation({
    ...FACTS,
    id: 'traceHalf',
    path: '/v1/trace/half',
    summary: 'The part of one host in that; hosts ask one another for it',
    errors: ['not-found', 'unavailable'],
    query: z.strictObject({
      half: z.enum(['departure', 'arrival'], { error: 'is not departure or arrival' }),
      source: name.meta({ description: 'endpoint id' }),
      destination: name.optional().meta({ description: 'endpoint id' }),
      address: parsed(parseIpv4).optional(),
      transport,
    }),
    answer: HOST_TRACE,
    handle: (agent: TraceAgent, { query }) =>
      agent.seeing.trace({
        half: query.half,
        source: query.source,
        destination: query.destination,
        address: query.address,
        transport: query.transport ?? parseTransport(undefined),
      }),
  }),
];

interface Ends {
  readonly source: EndpointRow;
  readonly destination: EndpointRow | undefined;
  readonly address: Ipv4;
}

/** By a network that both are in; else by two of one tenant; else whichever. */
function endsOf(view: DirectoryView, query: { from: string; to: string; network?: string | undefined }): Ends {
  const from = findContainer(view, query.from);
  const candidates = query.network === undefined ? from.endpoints : [endpointIn(view, from, query.network)];
  const address = tryParseIpv4(query.to);
  if (address !== undefined) {
    const source = candidates.length === 1 ? candidates[0] : endpointFor(view, candidates, address);
    return { source: source ?? endpointIn(view, from, query.network), destination: undefined, address };
  }
  const pairs = candidates.flatMap((source) =>
    findContainer(view, query.to).endpoints.map((destination) => ({ source, destination })),
  );
  const pair =
    pairs.find(({ source, destination }) => source.networkId === destination.networkId) ??
    pairs.find(({ source, destination }) => source.tenant === destination.tenant) ??
    pairs[0];
  if (pair === undefined) throw new Error('a container has an endpoint');
  return { ...pair, address: pair.destination.address };
}

/** Of several endpoints the one whose tenant knows the address; undefined where that does not decide. */
function endpointFor(view: DirectoryView, candidates: readonly EndpointRow[], address: Ipv4): EndpointRow | undefined {
  const knowing = candidates.filter(({ tenant }) => view.endpointAt(tenant, address) !== undefined);
  return knowing.length === 1 ? knowing[0] : undefined;
}

async function followed(
  agent: TraceAgent,
  view: DirectoryView,
  { source, destination, address, transport: wanted }: Ends & { readonly transport: TracedTransport },
): Promise<ShownTrace> {
  const hosts: ShownHostTrace[] = [];
  const unknown: string[] = [];
  const ask = async (host: string, half: WantedHalf) => {
    const trace = await askHalf(agent, host, half).catch((error: unknown) => {
      if (host === agent.status().host) throw error;
      unknown.push(`${host}: ${messageOf(error)}`);
    });
    if (trace !== undefined) hosts.push(trace);
    return trace;
  };
  // In the source's tenant the address may be somebody else's, or nobody's.
  const met = view.endpointAt(source.tenant, address);
  const common = { source: source.id, transport: wanted };
  const left = await ask(source.host, { ...common, half: 'departure', destination: met?.id, address });
  const leaves = left === undefined ? met !== undefined && met.host !== source.host : left.outcome === 'other-host';
  const arrived =
    leaves && met !== undefined
      ? await ask(met.host, { ...common, half: 'arrival', destination: met.id, address: undefined })
      : undefined;
  const last = arrived ?? left;
  const isWhole = left !== undefined && (!leaves || arrived !== undefined);
  const isMissed = destination !== undefined && destination.id !== met?.id;
  const stranger = `; who is meant is in tenant ${destination?.tenant}, which nothing of tenant ${source.tenant} reaches`;
  const strange = isMissed ? stranger : '';
  return {
    from: endOfRow(view, source),
    to:
      destination === undefined
        ? met
          ? endOfRow(view, met)
          : endAt(formatIpv4(address))
        : endOfRow(view, destination),
    transport: formatTransport(wanted),
    fate: `${last?.fate ?? 'not known'}${strange}`,
    isDelivered: isWhole ? !isMissed && ['here', 'outside', 'answered'].includes(last?.outcome ?? '') : null,
    agrees: hosts.every(({ differences }) => differences.length === 0),
    hosts,
    unknown,
  };
}

async function askHalf(agent: TraceAgent, host: string, wanted: WantedHalf): Promise<ShownHostTrace> {
  if (host === agent.status().host) return shown(await agent.seeing.trace(wanted));
  const { half, source, destination, address } = wanted;
  const query = new URLSearchParams({ half, source, transport: formatTransport(wanted.transport) });
  if (destination !== undefined) query.set('destination', destination);
  if (address !== undefined) query.set('address', formatIpv4(address));
  return agent.remote(host).get(`/v1/trace/half?${query.toString()}`, HOST_TRACE);
}

/** The schema's lists are not read-only. */
function shown({ steps, route, differences, ...rest }: HostTrace): ShownHostTrace {
  return {
    ...rest,
    steps: steps.map(({ actions, ...step }) => ({ ...step, actions: [...actions] })),
    route: [...route],
    differences: [...differences],
  };
}
