// A network made on one host of a cluster is there on every host: this host's Docker is told to make those that it has
// not, and to remove those that somebody has removed elsewhere, as soon as they are unused here. What to do is planned from
// the directory and from what Docker lists; Docker then calls the driver, which writes it down.

import { formatCidr, formatIpv4 } from '../base/addresses';
import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { deleteNetwork, insertReplica } from '../directory/operations';
import { NETWORK_OPTION, type DirectoryChange, type NetworkId, type NetworkRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import type { Docker, NetworkSpec } from '../docker/docker';
import { gatewayOf } from './network-pools';

/** What is to be done with one network. */
export type Replication =
  /** Docker has it under its own id, and the directory does not say so: it was made before that was written down. */
  | { readonly kind: 'note'; readonly network: NetworkRow }
  | { readonly kind: 'create'; readonly network: NetworkRow; readonly spec: NetworkSpec }
  | { readonly kind: 'remove'; readonly network: NetworkRow; readonly dockerId: string }
  /** It was removed, and no host has it any more. Hosts that know only their own leave this to servers. */
  | { readonly kind: 'end'; readonly network: NetworkRow }
  /** Another network of the host has its name: it is told, and nothing is touched. */
  | { readonly kind: 'name-taken'; readonly network: NetworkRow; readonly name: string };

export function planReplication(
  view: DirectoryView,
  host: string,
  inDocker: readonly { readonly id: string; readonly name: string }[],
): Replication[] {
  const ids = new Set(inDocker.map(({ id }) => id));
  const names = new Set(inDocker.map(({ name }) => name));
  const plan = (network: NetworkRow): Replication | undefined => {
    if (isOver(view, network)) return { kind: 'end', network };
    if (!isUnfinished(view, host, network)) return undefined;
    const own = view.replicaOn(host, network.id);
    if (own !== undefined) return { kind: 'remove', network, dockerId: own.dockerId };
    if (ids.has(network.id)) return { kind: 'note', network };
    const { name } = network;
    if (name === undefined) return undefined; // learned soon, from the events of the host that has made it
    if (names.has(name)) return { kind: 'name-taken', network, name };
    return { kind: 'create', network, spec: specOf(view, network, name) };
  };
  return [...view.networks()].map(plan).filter((action) => action !== undefined);
}

/** It is not here and should be, or is removed elsewhere and unused here. */
function isUnfinished(view: DirectoryView, host: string, network: NetworkRow): boolean {
  if (view.replicaOn(host, network.id) === undefined) return !network.isRemoved;
  return network.isRemoved && !isUsedOn(view, host, network.id);
}

/** Nobody has it any more, and nobody's Docker will get it again. */
function isOver(view: DirectoryView, network: NetworkRow): boolean {
  if (!network.isRemoved || !view.isWhole) return false;
  const [replica] = view.replicasOf(network.id);
  const [endpoint] = view.endpointsOf(network.id);
  return replica === undefined && endpoint === undefined;
}

function isWorkLeft(view: DirectoryView, host: string): boolean {
  for (const network of view.networks()) if (isUnfinished(view, host, network) || isOver(view, network)) return true;
  return false;
}

function isUsedOn(view: DirectoryView, host: string, id: NetworkId): boolean {
  for (const endpoint of view.endpointsOf(id)) if (endpoint.host === host) return true;
  return false;
}

/** The same network, with our IPAM whatever the first host has: both know by the option which one it is. */
function specOf(view: DirectoryView, network: NetworkRow, name: string): NetworkSpec {
  const { internal, options } = network;
  const subnets = [...view.poolsOfNetwork(network.id)].map((pool) => {
    const gateway = gatewayOf(view, network, pool);
    return { subnet: formatCidr(pool.cidr), ...(gateway === undefined ? {} : { gateway: formatIpv4(gateway) }) };
  });
  const mark = { [NETWORK_OPTION]: network.id };
  return { name, internal, options: { ...options, ...mark }, ipamOptions: mark, subnets };
}

export interface ReplicatorParts {
  readonly store: DirectoryStore;
  readonly docker: Pick<Docker, 'listAllNetworks' | 'createNetwork' | 'removeNetwork'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

const RETRY = { minMs: 1_000, maxMs: 60_000 };

export class Replicator {
  private readonly backoff: Backoff;
  /** What was said of a network: as long as it stays so, once. */
  private said = new Map<NetworkId, string>();
  private isStarted = false;
  private isDue = false;
  private running: Promise<void> | undefined;
  private stopFollowing: () => void = () => undefined;
  private cancelRetry: () => void = () => undefined;

  constructor(private readonly parts: ReplicatorParts) {
    this.backoff = new Backoff(RETRY.minMs, RETRY.maxMs, parts.random);
  }

  /** Idempotent. */
  start(): void {
    if (this.isStarted) return;
    this.isStarted = true;
    this.stopFollowing = this.parts.store.onChange((changes) => {
      if (changes.some((change) => this.matters(change))) this.trigger();
    });
    this.trigger();
  }

  /** Resolves when nothing is under way any more. Idempotent. */
  async stop(): Promise<void> {
    this.isStarted = false;
    this.stopFollowing();
    this.cancelRetry();
    await this.running;
  }

  /** What was not done is looked at again, as after Docker came back. */
  trigger(): void {
    this.isDue = true;
    if (this.isStarted) this.running ??= this.drain().finally(() => (this.running = undefined));
  }

  /** What is wrong with networks that this host should have, by network id. */
  get problems(): ReadonlyMap<NetworkId, string> {
    return this.said;
  }

  private matters(change: DirectoryChange): boolean {
    if (change.table === 'Network' || change.table === 'NetworkReplica') return true;
    // The last endpoint of a network that waits for its removal.
    return change.table === 'Endpoint' && change.kind === 'delete' && change.previous.host === this.parts.store.host;
  }

  private async drain(): Promise<void> {
    while (this.isDue && this.isStarted) {
      this.isDue = false;
      this.cancelRetry();
      if (await this.runOnce()) this.backoff.succeeded();
      else if (!this.isDue) this.cancelRetry = this.parts.clock.after(this.backoff.nextMs(), () => this.trigger());
    }
  }

  /** True where nothing is left to be tried again. */
  private async runOnce(): Promise<boolean> {
    const { store, docker } = this.parts;
    const problems = new Map<NetworkId, string>();
    try {
      // Docker is asked only where there is something to do for it.
      if (!isWorkLeft(store.view, store.host)) return true;
      for (const action of planReplication(store.view, store.host, await docker.listAllNetworks())) {
        await this.perform(action).catch((error: unknown) => void problems.set(action.network.id, messageOf(error)));
      }
    } catch (error) {
      this.parts.logger.warn('networks of other hosts wait for the Docker engine', { error: messageOf(error) });
      return false;
    }
    this.say(problems);
    return problems.size === 0;
  }

  private async perform(action: Replication): Promise<void> {
    const { docker, logger, store } = this.parts;
    const { id, name } = action.network;
    switch (action.kind) {
      case 'note':
        return store.transact((context) => ({
          ops: insertReplica(context, context.view.network(id) ?? action.network, id),
          result: undefined,
        }));
      case 'create':
        await docker.createNetwork(action.spec);
        logger.info('made a network of another host', { network: id, name });
        return;
      case 'remove':
        await docker.removeNetwork(action.dockerId);
        logger.info('removed a network that was removed on another host', { network: id, name });
        return;
      case 'end':
        return store.transact((context) => ({ ops: deleteNetwork(context, id), result: undefined }));
      case 'name-taken':
        throw new Error(`this host has another network ${action.name}: remove or rename one of the two`);
    }
  }

  private say(problems: Map<NetworkId, string>): void {
    for (const [network, problem] of problems) {
      if (this.said.get(network) === problem) continue;
      const { name } = this.parts.store.view.network(network) ?? {};
      this.parts.logger.warn('a network of another host is not on this one', { network, name, problem });
    }
    this.said = problems;
  }
}
