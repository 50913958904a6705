// A network made on one host of a cluster is there on every host: this host's Docker is told to make those that it has
// not, and to remove those that somebody has removed elsewhere, as soon as they are unused here. What to do is planned from
// the directory and from what Docker lists; Docker then calls the driver, which writes it down. Of a swarm's network each
// host's Docker has the configuration instead, which it tells no driver about: that is written down here.

import { formatCidr, formatIpv4 } from '../base/addresses';
import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OneAtATime } from '../base/one-at-a-time';
import { deleteNetwork, insertReplica, tellProblem } from '../directory/operations';
import { NETWORK_OPTION, type DirectoryChange, type NetworkId, type NetworkRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import type { Docker, ListedNetwork, NetworkSpec } from '../docker/docker';
import { gatewayOf } from './network-pools';

/** What is to be done with one network. */
export type Replication =
  /** Docker has it, and the directory does not say so: it was made before that was written down. */
  | { readonly kind: 'note'; readonly network: NetworkRow; readonly dockerId: string }
  | { readonly kind: 'create'; readonly network: NetworkRow; readonly spec: NetworkSpec }
  | { readonly kind: 'remove'; readonly network: NetworkRow; readonly dockerId: string; readonly isInDocker: boolean }
  /** It was removed, and no host has it any more. Hosts that know only their own leave this to servers. */
  | { readonly kind: 'end'; readonly network: NetworkRow }
  /** Another network of the host has its name: it is told, and nothing is touched. */
  | { readonly kind: 'name-taken'; readonly network: NetworkRow; readonly name: string };

export function planReplication(view: DirectoryView, host: string, inDocker: readonly ListedNetwork[]): Replication[] {
  const ids = new Set(inDocker.map(({ id }) => id));
  const names = new Set(inDocker.map(({ name }) => name));
  const plan = (network: NetworkRow): Replication | undefined => {
    if (isOver(view, network)) return { kind: 'end', network };
    if (!isUnfinished(view, host, network)) return undefined;
    const own = view.replicaOn(host, network.id);
    const isInDocker = ids.has(network.id);
    if (own !== undefined) return { kind: 'remove', network, dockerId: own.dockerId, isInDocker };
    if (network.swarmId !== undefined) return planConfiguration(view, network, inDocker);
    if (isInDocker) return { kind: 'note', network, dockerId: network.id };
    const { name } = network;
    if (name === undefined) return undefined; // learned soon, from the events of the host that has made it
    if (names.has(name)) return { kind: 'name-taken', network, name };
    return { kind: 'create', network, spec: specOf(view, network, name) };
  };
  return [...view.networks()].map(plan).filter((action) => action !== undefined);
}

function planConfiguration(
  view: DirectoryView,
  network: NetworkRow,
  inDocker: readonly ListedNetwork[],
): Replication | undefined {
  const { id, name, configuration } = network;
  if (configuration === undefined) return undefined;
  const made = inDocker.find((other) => other.name === configuration && other.options[NETWORK_OPTION] === id);
  if (made !== undefined) return { kind: 'note', network, dockerId: made.id };
  // A network of the host's own would stand before the swarm's, for whoever names it there.
  const other = inDocker.find((each) => each.name === configuration || (each.name === name && each.id !== id));
  if (other !== undefined) return { kind: 'name-taken', network, name: other.name };
  return { kind: 'create', network, spec: { ...specOf(view, network, configuration), isConfiguration: true } };
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
  /** Networks that Docker did not give back the last time: it is about to, where their last endpoint has just gone. */
  private held = new Set<NetworkId>();
  private isStarted = false;
  private readonly passes = new OneAtATime(() => this.pass());
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
    await this.passes.idle();
  }

  /** What was not done is looked at again, as after Docker came back. */
  trigger(): void {
    if (this.isStarted) this.passes.ask();
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

  private async pass(): Promise<void> {
    if (!this.isStarted) return;
    this.cancelRetry();
    if (await this.runOnce()) this.backoff.succeeded();
    else this.cancelRetry = this.parts.clock.after(this.backoff.nextMs(), () => this.trigger());
  }

  /** True where nothing is left to be tried again. */
  private async runOnce(): Promise<boolean> {
    const { store, docker } = this.parts;
    const problems = new Map<NetworkId, string>();
    try {
      // Docker is asked only where there is something to do for it.
      if (!isWorkLeft(store.view, store.host)) {
        await this.say(problems);
        return true;
      }
      for (const action of planReplication(store.view, store.host, await docker.listAllNetworks())) {
        await this.perform(action).catch((error: unknown) => void problems.set(action.network.id, messageOf(error)));
      }
    } catch (error) {
      this.parts.logger.warn('networks of other hosts wait for the Docker engine', { error: messageOf(error) });
      return false;
    }
    await this.say(problems);
    return problems.size === 0;
  }

  private async perform(action: Replication): Promise<void> {
    const { docker, logger } = this.parts;
    const { id, name, swarmId } = action.network;
    switch (action.kind) {
      case 'note':
        return this.note(action.network, action.dockerId);
      case 'create': {
        const dockerId = await docker.createNetwork(action.spec);
        if (swarmId !== undefined) await this.noteOrRemove(action.network, dockerId);
        logger.info('made a network of another host', { network: id, name });
        return;
      }
      case 'remove':
        await docker.removeNetwork(action.dockerId).catch((error: unknown) => this.expectKept(action, error));
        if (swarmId !== undefined) await this.write((context) => deleteNetwork(context, id));
        logger.info('removed a network that was removed on another host', { network: id, name });
        return;
      case 'end':
        return this.write((context) => deleteNetwork(context, id));
      case 'name-taken':
        throw new Error(`this host has another network ${action.name}: remove or rename one of the two`);
    }
  }

  private note({ id }: NetworkRow, dockerId: string): Promise<void> {
    return this.write((context) => {
      const network = context.view.network(id);
      return network === undefined ? [] : insertReplica(context, network, dockerId);
    });
  }

  /** Where the network has gone meanwhile, nobody would remove its configuration. */
  private async noteOrRemove(network: NetworkRow, dockerId: string): Promise<void> {
    try {
      await this.note(network, dockerId);
      if (this.parts.store.view.network(network.id) === undefined) await this.parts.docker.removeNetwork(dockerId);
    } catch (error) {
      await this.parts.docker.removeNetwork(dockerId);
      throw error;
    }
  }

  /**
   * Docker 20.10 counts the uses of a configuration wrong when it has died while one was in use, and never lets go of it
   * again. Where the network itself is not there any more, nothing uses it.
   */
  private expectKept({ network, isInDocker }: { network: NetworkRow; isInDocker: boolean }, error: unknown): void {
    const isRefused = error instanceof DaoliError && error.code === 'conflict';
    if (network.swarmId === undefined || isInDocker || !isRefused || !this.held.has(network.id)) throw error;
    const { configuration } = network;
    const problem = 'Docker keeps a network that nothing is made from any more; that does no harm';
    this.parts.logger.warn(problem, { configuration, error: messageOf(error) });
  }

  /** In the log, and to the other hosts: who makes a swarm's network waits for all of them. */
  private async say(problems: Map<NetworkId, string>): Promise<void> {
    const { store, logger } = this.parts;
    const isHeld = (id: NetworkId): boolean => store.view.network(id)?.isRemoved === true;
    const held = new Set([...problems.keys()].filter(isHeld));
    const told = new Map([...problems].filter(([id]) => !isHeld(id) || this.held.has(id)));
    for (const [network, problem] of told) {
      if (this.said.get(network) === problem) continue;
      const { name } = store.view.network(network) ?? {};
      logger.warn('a network of another host is not as it should be on this one', { network, name, problem });
    }
    this.said = told;
    this.held = held;
    const changed = [...store.view.networks()].filter(
      ({ id, problems: known }) => known.get(store.host) !== told.get(id),
    );
    for (const { id } of changed) await this.write((context) => tellProblem(context, id, told.get(id)));
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
