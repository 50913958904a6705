// Containers: how they are connected, and their move to another host.

import { z } from 'zod';
import { formatCidr, formatIpv4, formatMac } from '../../base/addresses';
import { DaoliError } from '../../base/errors';
import type { EndpointRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import { gatewayOf, poolHolding } from '../../driver/network-pools';
import type { MovedContainer, MoveRequest, MoveStep } from '../../move/mover';
import { byName, flag, name } from '../fields';
import { findContainer } from '../find-container';
import { directoryOf, operation, streamOperation } from '../operation';
import type { MovingAgent } from './moving';

export interface ContainerAgent extends MovingAgent {
  readonly mover: {
    move(request: MoveRequest, tell: (step: MoveStep) => void): Promise<MovedContainer>;
  };
}

const INTERFACE = z.object({
  network: z.string(),
  tenant: z.string(),
  address: z.string().meta({ description: 'with the length of its prefix: 10.9.0.2/24' }),
  mac: z.string(),
  gateway: z.string().nullable().meta({ description: 'null in a network without a way out' }),
  locator: z.string().meta({ description: 'its address between hosts' }),
  interface: z.string().meta({ description: 'on its host' }),
  aliases: z.array(z.string()),
  ports: z.array(
    z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), hostIp: z.string(), hostPort: z.number(), port: z.number() }),
  ),
});

const CONTAINER_NETWORK = z
  .object({
    name: z.string().nullable(),
    id: z.string(),
    host: z.string(),
    networks: z.array(INTERFACE),
  })
  .meta({ id: 'ContainerNetwork' });
export type ContainerNetwork = z.infer<typeof CONTAINER_NETWORK>;

const MOVED = z
  .object({
    name: z.string(),
    from: z.string(),
    to: z.string(),
    containerId: z.string(),
    state: z.enum(['running', 'stopped']),
    addresses: z.array(z.object({ network: z.string(), address: z.string(), mac: z.string() })),
    awayMs: z.number().meta({ description: 'from its stop to the start of the new one' }),
    kept: z.string().nullable().meta({ description: 'the name of the old one, where that was kept' }),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'MovedContainer' });

const MOVE_STEP = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('doing'), message: z.string() }),
    z.object({ kind: z.literal('warning'), message: z.string() }),
    z.object({ kind: z.literal('moved'), moved: MOVED }),
  ])
  .meta({ id: 'MoveStep' });
export type ShownMoveStep = z.infer<typeof MOVE_STEP>;

export const containerOperations = [
  operation({
    id: 'getContainerNetwork',
    method: 'get',
    path: '/v1/containers/{name}/network',
    tag: 'containers',
    summary: 'How a container is connected: name is its name, id or HOST/NAME',
    parameters: byName,
    answer: CONTAINER_NETWORK,
    errors: ['conflict', 'not-found'],
    needsDirectory: true,
    handle: async (agent: ContainerAgent, { parameters }) => {
      try {
        const view = directoryOf(agent);
        const { containerId: id, name: known, host, endpoints } = findContainer(view, parameters.name);
        return { name: known ?? null, id, host, networks: endpoints.map((endpoint) => describe(view, endpoint)) };
      } catch (error) {
        throw await explained(agent, parameters.name, error);
      }
    },
  }),
  streamOperation({
    id: 'moveContainer',
    method: 'post',
    path: '/v1/containers/{name}/move',
    tag: 'containers',
    summary:
      'Makes a container anew on another host, with its addresses. On a server. It goes on when the caller has gone',
    parameters: byName,
    body: z.strictObject({
      node: name.optional().meta({ description: 'by default the host with the fewest endpoints that can have it' }),
      force: flag.optional().meta({ description: 'in spite of bind mounts, --rm and power over its host' }),
      keep: flag.optional().meta({ description: 'the old one stays, stopped, under another name' }),
    }),
    item: MOVE_STEP,
    errors: ['conflict', 'not-found', 'unavailable'],
    needsDirectory: true,
    handle: async (agent: ContainerAgent, { parameters, body: { node, force = false, keep = false } }) => {
      const steps = new Steps();
      const request = { container: parameters.name, node, force, keep };
      agent.mover
        .move(request, (step) => steps.add(step))
        .then(
          () => steps.end(),
          (error: unknown) => steps.fail(error),
        );
      // What is refused is refused, and begins no stream.
      await steps.begun;
      return steps.read();
    },
  }),
];

function describe(view: DirectoryView, endpoint: EndpointRow): ContainerNetwork['networks'][number] {
  const { networkId, address, prefix, publishedPorts } = endpoint;
  const network = view.network(networkId);
  const pool = poolHolding(view, networkId, address);
  const gateway =
    network === undefined || pool === undefined || network.internal ? undefined : gatewayOf(view, network, pool);
  return {
    network: network?.name ?? networkId,
    tenant: endpoint.tenant,
    address: formatCidr({ base: address, prefix }),
    mac: formatMac(endpoint.mac),
    gateway: gateway === undefined ? null : formatIpv4(gateway),
    locator: formatIpv4(endpoint.locator),
    interface: endpoint.interfaceName,
    aliases: [...endpoint.aliases],
    ports: publishedPorts.map(({ protocol, hostIp, hostPort, containerPort: port }) => ({
      protocol,
      hostIp: formatIpv4(hostIp),
      hostPort,
      port,
    })),
  };
}

/** A container that does not run has no interface, which is another thing than not to be. */
async function explained(agent: ContainerAgent, text: string, error: unknown): Promise<unknown> {
  if (!(error instanceof DaoliError) || error.code !== 'not-found') return error;
  const own = agent.moveHost.name;
  const wanted = text.startsWith(`${own}/`) ? text.slice(own.length + 1) : text;
  if (wanted.includes('/')) return error;
  const found = await agent.moveHost.describe(wanted).catch(() => undefined);
  if (found === undefined) return error;
  const { name: known, state, attachments } = found.container;
  if (Object.keys(found.networks).length === 0) {
    const names = attachments.map(({ network }) => network).join(', ') || 'none of its own';
    return new DaoliError('conflict', `container ${own}/${known} is in no DaoliNet network; it has ${names}`, known);
  }
  return new DaoliError('conflict', `container ${own}/${known} does not run (${state}), so it has no interface`, known);
}

/** What is told, one after another, for one reader; who tells never waits. */
class Steps {
  private readonly waiting: MoveStep[] = [];
  private state: { readonly error?: unknown } | undefined;
  private wake: () => void = () => undefined;
  private begin!: () => void;
  private refuse!: (error: unknown) => void;
  /** Resolves with the first step; rejects where there is none. */
  readonly begun = new Promise<void>((resolve, reject) => {
    this.begin = resolve;
    this.refuse = reject;
  });

  add(step: MoveStep): void {
    this.waiting.push(step);
    this.begin();
    this.wake();
  }

  end(): void {
    this.state = {};
    this.begin();
    this.wake();
  }

  fail(error: unknown): void {
    this.state = { error };
    this.refuse(error);
    this.wake();
  }

  async *read(): AsyncGenerator<MoveStep> {
    for (;;) {
      for (let step = this.waiting.shift(); step !== undefined; step = this.waiting.shift()) yield step;
      if (this.state !== undefined) {
        if ('error' in this.state) throw this.state.error;
        return;
      }
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }
}
