// How this host's agent and its datapath are.

import { z } from 'zod';
import { operation, type ApiAgent } from '../operation';

const CHARGES = z
  .object({
    master: z.string().nullable().meta({
      description: 'the host whose controller is in charge of this host’s datapath; null while it is nobody’s',
    }),
    obstacle: z.string().nullable().meta({ description: 'why this host can have no backups' }),
    backups: z.array(z.object({ host: z.string(), isConnected: z.boolean() })).meta({
      description: 'the hosts that stand by for this one, and whether its Open vSwitch has reached them',
    }),
    standsBy: z.array(z.object({ host: z.string(), isConnected: z.boolean(), isMaster: z.boolean() })).meta({
      description: 'the hosts that this one stands by for, and whether it is in charge of their datapaths',
    }),
  })
  .meta({ id: 'Charges' });
export type Charges = Readonly<z.infer<typeof CHARGES>>;

export const AGENT_STATUS = z
  .object({
    version: z.string(),
    host: z.string(),
    state: z.string().meta({ description: '"ready", or what the agent waits for' }),
    datapath: z.string(),
    ovsVersion: z.string(),
    charges: CHARGES,
    time: z.string().meta({ description: 'this host’s clock, ISO 8601' }),
  })
  .meta({ id: 'AgentStatus' });
export type AgentStatus = Readonly<z.infer<typeof AGENT_STATUS>>;

export interface StatusAgent extends ApiAgent {
  status(): AgentStatus;
  /** Monotonic counters by name: packet-ins, routes made, packets dropped, by reason. */
  counters(): Promise<Readonly<Record<string, number>>>;
}

export const statusOperations = [
  operation({
    id: 'getStatus',
    method: 'get',
    path: '/v1/status',
    tag: 'status',
    summary: 'How the agent of this host is; answered in any state',
    answer: AGENT_STATUS,
    handle: (agent: StatusAgent) => agent.status(),
  }),
  operation({
    id: 'getCounters',
    method: 'get',
    path: '/v1/counters',
    tag: 'status',
    summary: 'What was counted since the agent began: packet-ins, routes, packets dropped, by reason',
    answer: z.record(z.string(), z.number()),
    handle: (agent: StatusAgent) => agent.counters(),
  }),
];
