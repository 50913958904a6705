// This host's cluster. What decides from the directory is refused until that has been read; to look, and to leave, it is not
// needed.

import { z } from 'zod';
import type { Ipv4 } from '../../base/addresses';
import type { ClusterStatus as StatusOfCluster } from '../../cluster/cluster-status';
import type { HostSettings } from '../../cluster/host-settings';
import type { OwnSettings } from '../../cluster/own-membership';
import type { Entry } from '../../cluster/sites';
import { byName, flag, l2Setting, name, nothing, optionalAddress, optionalEndpoint, optionalSite } from '../fields';
import { operation, type ApiAgent } from '../operation';

/** What the API does to this host's cluster: see Cluster. */
export interface ClusterCommands {
  status(): Promise<StatusOfCluster>;
  /** Resolves with the token for the next host. */
  init(entry: Entry, needsApproval: boolean): Promise<string>;
  token(needsApproval: boolean): Promise<string>;
  /** Resolves with false where somebody has to say yes first. */
  join(token: string, entry: Entry): Promise<boolean>;
  decide(host: string, verdict: 'approved' | 'refused'): Promise<void>;
  set(host: string, settings: HostSettings): Promise<void>;
  setTunnel(settings: OwnSettings): void;
  remove(host: string): Promise<void>;
  promote(host: string): Promise<void>;
  demote(host: string): Promise<void>;
  rotate(): Promise<void>;
  rotateKeys(): Promise<void>;
  leave(): void;
}

/** See Recovery. */
export interface RecoveryCommands {
  backup(): Promise<Readonly<Record<string, unknown>>>;
  restore(backup: unknown, address: Ipv4 | undefined): Promise<void>;
  recover(without: readonly string[]): Promise<void>;
  rejoin(token: string): Promise<boolean>;
}

export interface ClusterAgent extends ApiAgent {
  readonly cluster: ClusterCommands & { readonly recovery: RecoveryCommands };
}

const HOST = z
  .object({
    name: z.string(),
    address: z.string().nullable(),
    site: z.string(),
    isServer: z.boolean(),
    isHub: z.boolean().meta({ description: 'whether it passes packets on between hosts behind NAT' }),
    encrypts: z.boolean().meta({ description: 'whether its packets are encrypted inside of its site, too' }),
    version: z
      .string()
      .nullable()
      .meta({ description: 'of its plugin, as it told last; null where that is too old to tell' }),
    endpoint: z.string().nullable().meta({ description: 'where other sites reach its tunnel; null behind NAT' }),
    master: z.string().nullable().meta({
      description: 'the host whose controller is in charge of its datapath; null while it is nobody’s, or not known',
    }),
    way: z.enum(['fabric', 'tunnel', 'hub']).nullable().meta({
      description: 'how this host reaches it, as far as the directory says; null: not at all, or it is this one',
    }),
    noL2: z.enum(['said', 'detected']).nullable().meta({
      description:
        'that it shares no L2 with its site, as was said, or as it has found out; null: as far as is known it does',
    }),
    hubs: z.array(z.string()).meta({ description: 'through which hubs, where it is through one' }),
    member: z.enum(['leader', 'follower', 'joining']).nullable().meta({ description: 'null where that is not known' }),
    isThis: z.boolean(),
    locators: z.array(z.string()),
    endpoints: z.number().nullable().meta({ description: 'null where this host does not know them all' }),
  })
  .meta({ id: 'Host' });
export type ShownHost = z.infer<typeof HOST>;

export type L2Setting = z.infer<typeof l2Setting>;

const WAITING = z
  .object({
    name: z.string(),
    address: z.string(),
    from: z.string().meta({ description: 'the address that its connection comes from' }),
    site: z.string(),
    isHub: z.boolean(),
    since: z.number().meta({ description: 'milliseconds since 1970' }),
  })
  .meta({ id: 'WaitingHost' });
export type WaitingHost = z.infer<typeof WAITING>;

const CLUSTER_STATUS = z
  .object({
    startedAt: z.number().meta({ description: 'when this agent began, milliseconds since 1970' }),
    cluster: z
      .object({
        servers: z.array(z.string()),
        isServer: z.boolean(),
        dns: z.string().meta({ description: 'where containers ask for names of those on other hosts' }),
        site: z.string().meta({ description: 'where this host is' }),
        endpoint: z.string().nullable().meta({ description: 'where other sites reach this host; null behind NAT' }),
        l2: l2Setting.meta({ description: 'whether this host shares an L2 with its site; "auto": it finds out' }),
      })
      .nullable()
      .meta({ description: 'null where this host is in no cluster' }),
    connected: z.boolean().meta({ description: 'whether the directory is there at present' }),
    waiting: z.array(WAITING).meta({ description: 'hosts that somebody has to let in' }),
    hosts: z.array(HOST),
  })
  .meta({ id: 'ClusterStatus' });
export type ClusterStatus = z.infer<typeof CLUSTER_STATUS>;

const TOKEN = z.object({ token: z.string() }).meta({ id: 'JoinToken' });
export type JoinToken = z.infer<typeof TOKEN>;

/** What is said of a host when it comes in. */
const ENTRY = z.strictObject({
  address: optionalAddress,
  site: optionalSite,
  isHub: flag.optional(),
  encrypts: flag.optional(),
  endpoint: optionalEndpoint,
  l2: l2Setting.optional(),
});

/** 10,000 endpoints take some 10 MB. */
const MAX_BACKUP_BYTES = 256 * 1024 * 1024;

const TAG = { tag: 'cluster' } as const;
const CHANGE = { ...TAG, needsDirectory: true, answer: nothing } as const;

const joinToken = name.max(16_384, 'is too long');
/** Coming in with a token, for the first time or again. */
const ENTRANCE = {
  ...TAG,
  method: 'post',
  answer: z.object({ isWaiting: z.boolean().meta({ description: 'somebody has to say yes first' }) }),
  errors: ['conflict', 'unavailable'],
} as const;

export const clusterOperations = [
  operation({
    ...TAG,
    id: 'getCluster',
    method: 'get',
    path: '/v1/cluster',
    summary: 'What this host knows of its cluster',
    answer: CLUSTER_STATUS,
    handle: async (agent: ClusterAgent) => {
      // In any state, but an agent that has just begun knows no hosts yet.
      await agent.settled();
      return agent.cluster.status();
    },
  }),
  operation({
    ...TAG,
    id: 'initCluster',
    method: 'post',
    path: '/v1/cluster/init',
    summary: 'Makes this host the first of a cluster; its agent starts anew',
    body: ENTRY.extend({ needsApproval: flag.optional() }),
    answer: TOKEN,
    errors: ['conflict'],
    needsDirectory: true,
    handle: async (agent: ClusterAgent, { body: { needsApproval = false, ...entry } }) => ({
      token: await agent.cluster.init(entry, needsApproval),
    }),
  }),
  operation({
    ...TAG,
    id: 'createToken',
    method: 'post',
    path: '/v1/cluster/token',
    summary: 'Makes a token that lets one host join; those before are no good any more. On a server',
    body: z.strictObject({ needsApproval: flag.optional().meta({ description: 'who comes with it waits for a yes' }) }),
    answer: TOKEN,
    errors: ['conflict'],
    needsDirectory: true,
    handle: async (agent: ClusterAgent, { body }) => ({
      token: await agent.cluster.token(body.needsApproval ?? false),
    }),
  }),
  operation({
    ...ENTRANCE,
    needsDirectory: true,
    id: 'joinCluster',
    path: '/v1/cluster/join',
    summary: 'Joins the cluster that the token is of; the agent starts anew. While somebody has to say yes, ask again',
    body: ENTRY.extend({ token: joinToken }),
    handle: async (agent: ClusterAgent, { body: { token, ...entry } }) => ({
      isWaiting: !(await agent.cluster.join(token, entry)),
    }),
  }),
  operation({
    ...CHANGE,
    id: 'rotateCertificate',
    method: 'post',
    path: '/v1/cluster/rotate',
    summary: 'Gets this host a new certificate; the agent starts anew',
    errors: ['conflict', 'unavailable'],
    handle: async (agent: ClusterAgent) => {
      await agent.cluster.rotate();
      return {};
    },
  }),
  operation({
    ...CHANGE,
    id: 'rotateKeys',
    method: 'post',
    path: '/v1/cluster/rotateKeys',
    summary: 'Makes another key for this host’s tunnel; what goes through it goes on',
    errors: ['conflict', 'unavailable'],
    handle: async (agent: ClusterAgent) => {
      await agent.cluster.rotateKeys();
      return {};
    },
  }),
  operation({
    ...TAG,
    id: 'leaveCluster',
    method: 'post',
    path: '/v1/cluster/leave',
    summary: 'Makes a host that was removed one of its own again; the agent starts anew',
    answer: nothing,
    errors: ['conflict'],
    handle: (agent: ClusterAgent) => {
      agent.cluster.leave();
      return {};
    },
  }),
  operation({
    ...TAG,
    needsDirectory: true,
    id: 'backupCluster',
    method: 'get',
    path: '/v1/cluster/backup',
    summary: 'All that the directory has, and the keys of the cluster: whoever has it can be a host of it. On a server',
    answer: z.looseObject({}),
    errors: ['conflict', 'unavailable'],
    handle: (agent: ClusterAgent) => agent.cluster.recovery.backup(),
  }),
  operation({
    ...TAG,
    id: 'restoreCluster',
    method: 'post',
    path: '/v1/cluster/restore',
    summary: 'Begins the cluster of a backup anew, with this host as its only server; its agent starts anew',
    maxBodyBytes: MAX_BACKUP_BYTES,
    body: z.strictObject({ backup: z.looseObject({}, { error: 'is not an object' }), address: optionalAddress }),
    answer: nothing,
    errors: ['conflict', 'not-found', 'unavailable'],
    handle: async (agent: ClusterAgent, { body: { backup, address } }) => {
      await agent.cluster.recovery.restore(backup, address);
      return {};
    },
  }),
  operation({
    ...TAG,
    id: 'recoverCluster',
    method: 'post',
    path: '/v1/cluster/recover',
    summary: 'Goes on with this server alone, where most of the others are lost for good; its agent starts anew',
    body: z.strictObject({ without: z.array(name).max(16).meta({ description: 'the names of all other servers' }) }),
    answer: nothing,
    errors: ['conflict', 'unavailable'],
    handle: async (agent: ClusterAgent, { body }) => {
      await agent.cluster.recovery.recover(body.without);
      return {};
    },
  }),
  operation({
    ...ENTRANCE,
    id: 'rejoinCluster',
    path: '/v1/cluster/rejoin',
    summary: 'Comes back to a cluster that this host is one of, with a token; its agent starts anew',
    body: z.strictObject({ token: joinToken }),
    handle: async (agent: ClusterAgent, { body }) => ({
      isWaiting: !(await agent.cluster.recovery.rejoin(body.token)),
    }),
  }),
  ...(['approve', 'refuse'] as const).map((word) =>
    operation({
      ...CHANGE,
      id: `${word}Host`,
      method: 'put',
      path: `/v1/cluster/waiting/{name}/${word}`,
      summary: `Says ${word === 'approve' ? 'yes' : 'no'} to a host that waits to be let in. On a server`,
      parameters: byName,
      errors: ['conflict', 'not-found'],
      handle: async (agent: ClusterAgent, { parameters }) => {
        await agent.cluster.decide(parameters.name, word === 'approve' ? 'approved' : 'refused');
        return {};
      },
    }),
  ),
  operation({
    ...CHANGE,
    id: 'setTunnel',
    method: 'put',
    path: '/v1/cluster/tunnel',
    summary: 'Says how other hosts reach this one; what is left out stays, and its agent starts anew',
    body: z.strictObject({ endpoint: optionalEndpoint.nullable(), l2: l2Setting.optional() }),
    errors: ['conflict'],
    handle: (agent: ClusterAgent, { body }) => {
      agent.cluster.setTunnel(body);
      return {};
    },
  }),
  operation({
    ...CHANGE,
    id: 'setHost',
    method: 'put',
    path: '/v1/cluster/hosts/{name}',
    summary: 'Says where a host is, whether it is a hub, and whether it encrypts; what is left out stays. On a server',
    parameters: byName,
    body: z.strictObject({ site: optionalSite, isHub: flag.optional(), encrypts: flag.optional() }),
    errors: ['conflict', 'not-found'],
    handle: async (agent: ClusterAgent, { parameters, body }) => {
      await agent.cluster.set(parameters.name, body);
      return {};
    },
  }),
  operation({
    ...CHANGE,
    id: 'promoteHost',
    method: 'put',
    path: '/v1/cluster/servers/{name}',
    summary: 'Lets another host serve the directory, too. On a server',
    parameters: byName,
    errors: ['conflict', 'not-found', 'unavailable'],
    handle: async (agent: ClusterAgent, { parameters }) => {
      await agent.cluster.promote(parameters.name);
      return {};
    },
  }),
  operation({
    ...CHANGE,
    id: 'demoteHost',
    method: 'delete',
    path: '/v1/cluster/servers/{name}',
    summary: 'Makes a server a client of the others. On a server',
    parameters: byName,
    errors: ['conflict', 'not-found', 'unavailable'],
    handle: async (agent: ClusterAgent, { parameters }) => {
      await agent.cluster.demote(parameters.name);
      return {};
    },
  }),
  operation({
    ...CHANGE,
    id: 'removeHost',
    method: 'delete',
    path: '/v1/cluster/hosts/{name}',
    summary: 'Puts a host out of the cluster, with its endpoints and addresses. On a server',
    parameters: byName,
    errors: ['conflict', 'not-found', 'unavailable'],
    handle: async (agent: ClusterAgent, { parameters }) => {
      await agent.cluster.remove(parameters.name);
      return {};
    },
  }),
];
