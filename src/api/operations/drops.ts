// What was dropped on this host, where and why.

import { z } from 'zod';
import { formatIpv4, tryParseIpv4 } from '../../base/addresses';
import type { DirectoryView } from '../../directory/view';
import { DROP_REASONS, type DropFlow } from '../../flowctl/drop-report';
import type { SeenDenial, SeenDrops } from '../../observe/seeing';
import { IP_PROTO } from '../../packet/protocol-numbers';
import { END, endAt, endOf } from '../ends';
import { directoryOf, operation, type ApiAgent } from '../operation';

const DROP = z
  .object({
    where: z.string().meta({ description: 'the table of the pipeline, "firewall", or "meter"' }),
    why: z.string().meta({ description: 'a word: "spoofed", "denied", …' }),
    meaning: z.string().meta({ description: 'the same for people' }),
    packets: z.number(),
    bytes: z.number(),
    from: END.nullable().meta({ description: 'null where all senders are counted together' }),
    to: END.nullable(),
    ageSeconds: z.number().nullable().meta({ description: 'since when it is dropped; null where that is always so' }),
  })
  .meta({ id: 'Drop', description: 'Packets that were dropped in one place for one reason' });
export type ShownDrop = Readonly<z.infer<typeof DROP>>;

const DENIAL = z
  .object({
    from: END,
    to: END,
    protocol: z.string().meta({ description: '"tcp/80", "icmp", "47"' }),
    packets: z.number().meta({ description: 'those that came to the controller' }),
    secondsAgo: z.number(),
  })
  .meta({ id: 'Denial', description: 'What the policy refused of late' });
export type ShownDenial = Readonly<z.infer<typeof DENIAL>>;

const DROPS = z
  .object({ host: z.string(), drops: z.array(DROP), denials: z.array(DENIAL) })
  .meta({ id: 'Drops', description: 'What was dropped on one host' });
export type ShownDrops = Readonly<z.infer<typeof DROPS>>;

export interface DropsAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  readonly seeing: { drops(): Promise<SeenDrops> };
}

/** By the counters' names in the table `inet daolinet`. */
export const FILTER_REASONS: Readonly<Record<string, string>> = {
  around_datapath: 'from a container into the host’s own stack, past the datapath',
  locator_back_door: 'to or from an address of the fabric, and not by a published port or an answer',
  loopback_forged: 'to or from a loopback address',
  locator_forged: 'from the datapath with an address that is none of this host’s',
  docker_bridge_refused: 'to a container of Docker’s own networks, past its published ports',
  forwarded_port_refused: 'to a port of a firewall rule, whose clients these are not or whose container is away',
  closed_port_refused: 'to a port that is for hosts of the cluster alone',
  locator_astray: 'to an address of the fabric, and neither into the datapath nor into a tunnel',
  tunnel_forged: 'from a tunnel with an address that is not another host’s',
  tunnel_refused: 'by a tunnel, and not between containers nor to the door of a host',
};

export const dropsOperations = [
  operation({
    id: 'listDrops',
    method: 'get',
    path: '/v1/drops',
    tag: 'seeing',
    summary: 'What was dropped on this host, where, why and how often; and what the policy refused of late',
    answer: DROPS,
    needsDirectory: true,
    errors: ['unavailable'],
    handle: async (agent: DropsAgent) => {
      const view = directoryOf(agent);
      const { flows, filter, denials } = await agent.seeing.drops();
      const filtered = Object.entries(filter)
        .filter(([, { packets }]) => packets > 0)
        .map(([name, { packets, bytes }]) => ({
          ...{ where: 'firewall', why: name.replaceAll('_', '-'), meaning: FILTER_REASONS[name] ?? name },
          ...{ packets, bytes, from: null, to: null, ageSeconds: null },
        }));
      return {
        host: agent.status().host,
        drops: [...flows.map((flow) => describeDrop(view, flow)), ...filtered],
        denials: denials.map((denial) => describeDenial(view, denial)),
      };
    },
  }),
];

function describeDrop(view: DirectoryView, flow: DropFlow): ShownDrop {
  const { table, reason, packets, bytes, source, destination, address, ageSeconds } = flow;
  const to = destination !== undefined ? endOf(view, destination) : address && endAt(formatIpv4(address));
  return {
    where: reason === 'metered' ? 'meter' : table,
    why: reason,
    meaning: DROP_REASONS[reason],
    packets,
    bytes,
    from: source === undefined ? null : endOf(view, source),
    to: to || null,
    ageSeconds: ageSeconds ?? null,
  };
}

function describeDenial(
  view: DirectoryView,
  { source, destination, protocol, port, ...rest }: SeenDenial,
): ShownDenial {
  const sideOf = (text: string) => (tryParseIpv4(text) === undefined ? endOf(view, text) : endAt(text));
  const { packets, secondsAgo } = rest;
  return { from: sideOf(source), to: sideOf(destination), protocol: protocolName(protocol, port), packets, secondsAgo };
}

export function protocolName(protocol: number, port: number): string {
  const name = Object.entries(IP_PROTO)
    .find(([, number]) => number === protocol)?.[0]
    .toLowerCase();
  return port === 0 ? (name ?? String(protocol)) : `${name ?? protocol}/${port}`;
}
