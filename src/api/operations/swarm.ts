// Networks of Docker's swarm mode, made and removed.

import { z } from 'zod';
import { parseCidr } from '../../base/addresses';
import { parsedUnlessEmpty } from '../../base/body-schema';
import type * as swarmNetworks from '../../driver/swarm-networks';
import type { WantedSwarmNetwork } from '../../driver/swarm-plan';
import { byName, flag, name, optionalAddress, queryFlag, text } from '../fields';
import { operation, type ApiAgent } from '../operation';

/** See SwarmNetworks. */
export interface SwarmCommands {
  create(wanted: WantedSwarmNetwork): Promise<swarmNetworks.MadeSwarmNetwork>;
  remove(name: string, isForced: boolean): Promise<swarmNetworks.RemovedSwarmNetwork>;
}

export interface SwarmAgent extends ApiAgent {
  readonly swarm: SwarmCommands;
}

const WANTED = z
  .strictObject({
    name,
    subnet: parsedUnlessEmpty(parseCidr).optional(),
    gateway: optionalAddress,
    internal: flag.optional(),
    attachable: flag.optional(),
    options: z.record(z.string(), text, { error: 'is not an object' }).optional(),
  })
  .transform(({ name, subnet, gateway, internal = false, attachable = true, options = {} }): WantedSwarmNetwork => ({
    name,
    subnet,
    gateway,
    internal,
    attachable,
    options,
  }));

const MADE = z
  .object({
    id: z.string(),
    name: z.string(),
    configuration: z.string().meta({ description: 'the name of what each node has of it' }),
    subnet: z.string(),
    gateway: z.string().nullable(),
    hosts: z.array(z.string()),
    away: z.array(z.string()).meta({ description: 'hosts that get it when they are back' }),
  })
  .meta({ id: 'SwarmNetwork' });
export type MadeSwarmNetwork = z.infer<typeof MADE>;

const REMOVED = z
  .object({ left: z.array(z.string()).meta({ description: 'hosts where it is in use, or that are away' }) })
  .meta({ id: 'RemovedSwarmNetwork' });
export type RemovedSwarmNetwork = z.infer<typeof REMOVED>;

export const swarmOperations = [
  operation({
    id: 'createSwarmNetwork',
    method: 'post',
    path: '/v1/swarm/networks',
    tag: 'swarm',
    summary: 'Makes a network on every node of the swarm. On a manager',
    body: WANTED,
    answer: MADE,
    errors: ['conflict', 'not-found', 'unavailable', 'unsupported', 'exhausted'],
    needsDirectory: true,
    handle: (agent: SwarmAgent, { body }) => agent.swarm.create(body),
  }),
  operation({
    id: 'removeSwarmNetwork',
    method: 'delete',
    path: '/v1/swarm/networks/{name}',
    tag: 'swarm',
    summary: 'Removes a network from the whole swarm. On a manager',
    parameters: byName,
    query: z.strictObject({
      force: queryFlag.optional().meta({ description: 'though its swarm is there no more' }),
    }),
    answer: REMOVED,
    errors: ['conflict', 'not-found', 'unavailable'],
    needsDirectory: true,
    handle: (agent: SwarmAgent, { parameters, query }) => agent.swarm.remove(parameters.name, query.force ?? false),
  }),
];
