// Networks of Docker's swarm mode. One is made on a manager: swarm's network first, which gives the id, then its row in the
// directory, by which each host makes its configuration (see Replicator); when every node has it, it is done. What swarm has
// no more, whoever removed it there, is marked as removed, and each host gives its configuration back.

import { formatCidr, formatIpv4, type Cidr } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { markRemoved } from '../directory/operations';
import type { NetworkId, NetworkRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type { Docker } from '../docker/docker';
import type { Swarm } from '../docker/swarm';
import {
  checkWanted,
  hostsOfNodes,
  managedSwarm,
  nameConfiguration,
  planSwarmNetwork,
  problemsOn,
  type SwarmNetworkRow,
  type WantedSwarmNetwork,
} from './swarm-plan';

export interface SwarmNetworksParts {
  readonly store: DirectoryStore;
  readonly docker: Swarm & Pick<Docker, 'createNetwork' | 'removeNetwork'>;
  /** Knows the destinations of the host's routes, which default pools keep clear of. */
  readonly host: { hostRoutes(): Promise<ReadonlyArray<{ readonly destination: Cidr }>> };
  readonly settings: { readonly defaultPools: Cidr; readonly locatorRange: Cidr; readonly mtu: number };
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** A network as it has been made. */
export interface MadeSwarmNetwork {
  readonly id: string;
  readonly name: string;
  /** The name of what each node has of it. */
  readonly configuration: string;
  readonly subnet: string;
  readonly gateway: string | null;
  /** The hosts that have it, and those that were away and get it when they are back. */
  readonly hosts: readonly string[];
  readonly away: readonly string[];
}

/** The hosts where a network that was removed is in use, or that are away: it goes from there when that is over. */
export interface RemovedSwarmNetwork {
  readonly left: readonly string[];
}

/** Below what `daolictl` waits for an answer. */
const NODES_MS = 20_000;
const REMOVAL_MS = 10_000;
/** A host that does not follow who has a network asks. */
const ASK_MS = 300;
/** Events of Docker's say what goes, but not while it is away. */
const LOOK_MS = 30_000;

export class SwarmNetworks {
  private looking: Promise<void> | undefined;
  private isStarted = false;
  private reported = '';
  private cancelLook = (): void => undefined;

  constructor(private readonly parts: SwarmNetworksParts) {}

  /** Idempotent. */
  start(): void {
    if (this.isStarted) return;
    this.isStarted = true;
    this.look();
  }

  /** Resolves when nothing is under way any more. Idempotent. */
  async stop(): Promise<void> {
    this.isStarted = false;
    this.cancelLook();
    await this.looking;
  }

  /**
   * Makes a network on the whole swarm. Throws `invalid`, `conflict` where this host is no manager, a node no host of the
   * cluster, or a name or subnet taken, and `unavailable` where a node does not get it in time; nothing stays behind then.
   */
  async create(wanted: WantedSwarmNetwork): Promise<MadeSwarmNetwork> {
    const { docker, store } = this.parts;
    const swarmId = managedSwarm(await docker.readSwarm());
    checkWanted(store.view, wanted);
    const { ready, away } = hostsOfNodes(store.view, await docker.listNodes());
    const { name, internal, attachable } = wanted;
    const configuration = nameConfiguration(name, this.parts.random());
    const standIn = await this.makeStandIn(configuration);
    const made = docker.createSwarmNetwork({ name, internal, attachable, configuration });
    const id = (await made.catch(async (error: unknown) => {
      await docker.removeNetwork(standIn);
      throw error;
    })) as NetworkId;
    try {
      await docker.removeNetwork(standIn);
      await this.writeDown(wanted, { id, swarmId, configuration });
      await this.waitForHosts(id, name, ready);
    } catch (error) {
      await this.takeBack(id);
      throw error;
    }
    return this.describe(id, ready, away);
  }

  /**
   * Docker 28 wants the configuration to be there on the manager, and 20.10 does not ask. What stands in it is read on nodes
   * alone, and has to name the id that swarm gives only now: so an empty one stands for it meanwhile.
   */
  private makeStandIn(name: string): Promise<string> {
    const empty = { internal: false, options: {}, ipamOptions: {}, subnets: [] };
    return this.parts.docker.createNetwork({ name, ...empty, isConfiguration: true });
  }

  private async writeDown(
    wanted: WantedSwarmNetwork,
    ids: Pick<SwarmNetworkRow, 'id' | 'swarmId' | 'configuration'>,
  ): Promise<void> {
    const { host, settings } = this.parts;
    const { defaultPools: within, locatorRange: locators, mtu } = settings;
    const routes = wanted.subnet === undefined ? await host.hostRoutes() : [];
    const defaults = { within, locators, routes: routes.map(({ destination }) => destination) };
    await this.write((context) => planSwarmNetwork(context, wanted, { ...ids, mtu, defaults }));
  }

  /** Until each of these hosts has its part. Throws what a host says is in its way, or who has not got it in time. */
  private async waitForHosts(id: NetworkId, name: string, hosts: readonly string[]): Promise<void> {
    const { store, clock } = this.parts;
    const end = clock.now() + NODES_MS;
    for (;;) {
      const network = store.view.network(id);
      const problem = network === undefined || network.isRemoved ? 'it was removed' : problemsOn(network, hosts);
      if (problem !== undefined)
        throw new DaoliError('conflict', `network ${name} cannot be on every node: ${problem}`);
      // What comes while the database is asked counts, too.
      const changed = this.nextChange(Math.min(ASK_MS, end - clock.now()));
      const missing = await this.missingOn(id, hosts);
      if (missing.length === 0) return;
      if (clock.now() >= end) {
        const what = `${missing.join(', ')} did not make its part of network ${name} within ${NODES_MS / 1000} s`;
        const remedy = 'is the plugin enabled there, and `daolictl cluster status` well?';
        throw new DaoliError('unavailable', `${what}: ${remedy}`);
      }
      await changed;
    }
  }

  /** Those of the hosts whose Docker has not got its part of the network. */
  private async missingOn(id: NetworkId, hosts: readonly string[]): Promise<string[]> {
    const having = new Set(await this.parts.store.hostsOf(id));
    return hosts.filter((host) => !having.has(host));
  }

  /** What a creation that failed has made. */
  private async takeBack(id: NetworkId): Promise<void> {
    await this.parts.docker.removeNetwork(id).catch((error: unknown) => this.complain(error));
    await this.write((context) => markRemoved(context, id)).catch((error: unknown) => this.complain(error));
  }

  private async describe(id: NetworkId, ready: readonly string[], away: readonly string[]): Promise<MadeSwarmNetwork> {
    const { view } = this.parts.store;
    const { name = '', configuration = '', gateway } = view.network(id) ?? {};
    const [pool] = view.poolsOfNetwork(id);
    return {
      id,
      name,
      configuration,
      subnet: pool === undefined ? '' : formatCidr(pool.cidr),
      gateway: gateway === undefined ? null : formatIpv4(gateway),
      hosts: ready,
      away: await this.missingOn(id, away),
    };
  }

  /**
   * Removes a network from the whole swarm. `isForced`: whatever Docker says of it, as when its swarm is there no more. Throws
   * `not-found`, naming those that there are, and `conflict` while services or containers use it.
   */
  async remove(name: string, isForced: boolean): Promise<RemovedSwarmNetwork> {
    const { docker, store, clock } = this.parts;
    const network = this.find(name);
    if (!isForced) {
      const swarmId = managedSwarm(await docker.readSwarm());
      if (swarmId !== network.swarmId) {
        const remedy = 'run it on a manager of that one, or with --force if it is there no more';
        throw new DaoliError('conflict', `network ${name} is of another swarm than this host: ${remedy}`, name);
      }
      await docker.removeNetwork(network.id);
    }
    await this.write((context) => markRemoved(context, network.id));
    const end = clock.now() + REMOVAL_MS;
    while (store.view.network(network.id) !== undefined && clock.now() < end) {
      await this.nextChange(end - clock.now());
    }
    return { left: (await store.hostsOf(network.id)).sort() };
  }

  private find(name: string): NetworkRow {
    const networks = [...this.parts.store.view.networks()].filter(({ swarmId }) => swarmId !== undefined);
    const network = networks.find((each) => each.name === name || each.id === name);
    if (network !== undefined) return network;
    const names = networks.map((each) => each.name ?? each.id).sort();
    const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`;
    throw new DaoliError('not-found', `${name.slice(0, 100)} is no DaoliNet network of a swarm; ${there}`, name);
  }

  /** A manager says that it has removed a network; it may be none of ours. */
  gone(id: string): void {
    if (!this.isStarted) return;
    const network = this.parts.store.view.network(id as NetworkId);
    if (network?.swarmId === undefined || network.isRemoved) return;
    this.markGone(network).catch((error: unknown) => this.complain(error));
  }

  /**
   * Whether swarm still has all of its networks: on a timer, and when Docker is back. One whose tasks are ending here is listed
   * until they have.
   */
  look(): void {
    if (!this.isStarted) return;
    this.cancelLook();
    this.looking ??= this.compare()
      .then(() => (this.reported = ''))
      .catch((error: unknown) => this.complain(error))
      .then(() => {
        this.looking = undefined;
        if (this.isStarted) this.cancelLook = this.parts.clock.after(LOOK_MS, () => this.look());
      });
  }

  private async compare(): Promise<void> {
    const { docker, store } = this.parts;
    // Before swarm is asked: a network that is written down is there already.
    const known = [...store.view.networks()].filter(({ swarmId, isRemoved }) => swarmId !== undefined && !isRemoved);
    if (known.length === 0) return;
    const { managed } = await docker.readSwarm();
    const ours = known.filter(({ swarmId }) => swarmId === managed);
    if (ours.length === 0) return;
    const there = new Set(await docker.listSwarmNetworks());
    for (const network of ours) if (!there.has(network.id)) await this.markGone(network);
  }

  private async markGone({ id, name }: NetworkRow): Promise<void> {
    await this.write((context) => markRemoved(context, id));
    this.parts.logger.info('a network was removed from the swarm', { network: id, name });
  }

  private complain(error: unknown): void {
    const message = messageOf(error);
    if (message === this.reported) return;
    this.reported = message;
    this.parts.logger.warn('networks of the swarm could not be looked after', { error: message });
  }

  /** Resolves when the view has changed, and after this time at the latest. */
  private nextChange(limitMs: number): Promise<void> {
    const { store, clock } = this.parts;
    return new Promise((resolve) => {
      const end = (): void => {
        stopFollowing();
        cancel();
        resolve();
      };
      const stopFollowing = store.onChange(end);
      const cancel = clock.after(limitMs, end);
    });
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
