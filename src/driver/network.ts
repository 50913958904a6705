// The life of a network: CreateNetwork writes it down with its pools and tells the controller, DeleteNetwork takes away
// what is left of it. Docker tells neither at its start nor at ours which networks there are: the directory keeps them.

import { cidrsOverlap, formatCidr, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { describeNetwork } from '../directory/descriptions';
import { insertAddress } from '../directory/endpoint-operations';
import { deleteNetwork, insertNetwork, insertReplica, loseNetwork, poolIdOf } from '../directory/operations';
import {
  type AddressRow,
  DEFAULT_TENANT,
  NETWORK_OPTION,
  type NetworkId,
  type NetworkRow,
  type PoolRow,
} from '../directory/rows';
import type { PlanContext, Planned } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import { checkPool } from '../ipam/pools';
import { type CallQueue, settleAll } from './call-queue';
import type { Deadline } from './deadline';
import type { Endpoints } from './endpoint';
import { readNetworkOptions, type NetworkOptions } from './network-options';
import { flowNetworkOf } from './network-pools';
import type { DriverParts } from './ports';
import type { Publishing } from './publishing';
import type { CreateNetworkRequest, NetworkRequest, RequestedPool } from './schemas';

const DIRECTORY = 'the directory';
/** The address spaces of Docker's own IPAM (libnetwork, ipamapi). */
const DOCKERS_SPACES: ReadonlySet<string> = new Set(['LocalDefault', 'GlobalDefault']);

export interface NetworkParts {
  readonly driver: DriverParts;
  readonly calls: CallQueue;
  readonly endpoints: Endpoints;
  readonly publishing: Publishing;
  readonly logger: Logger;
}

/** A request with its options read. */
interface Wanted {
  readonly request: CreateNetworkRequest;
  readonly options: NetworkOptions;
  readonly ipam: NetworkRow['ipam'];
}

export class Networks {
  constructor(private readonly parts: NetworkParts) {}

  /**
   * CreateNetwork. Idempotent for the same content. Throws `unsupported` for IPv6, `invalid` for options and pools that
   * cannot be, `conflict` where a pool overlaps, naming its owner.
   */
  create(request: CreateNetworkRequest, deadline: Deadline): Promise<void> {
    const { driver, calls } = this.parts;
    const wanted = checkRequest(request);
    const { networkId: original } = wanted.options;
    if (original !== undefined) return this.takeUp(original, request, deadline);
    for (const { cidr } of request.pools) checkPool(cidr, undefined, driver.settings.locatorRange);
    return calls.run(request.networkId, deadline, async () => {
      const planned = driver.store.transact((context) => this.planCreate(context, wanted));
      const isNew = await deadline.wait(DIRECTORY, planned);
      try {
        if (wanted.ipam === 'docker') await this.keepAddresses(request, deadline);
        await this.tellController(request.networkId);
      } catch (error) {
        if (isNew) await deadline.wait(DIRECTORY, this.deleteRows(request.networkId, 'undone')).catch(() => undefined);
        throw error;
      }
      if (isNew) this.refreshTenant(request.networkId);
    });
  }

  /** CreateNetwork, of a network that another host has: see Replicator. */
  private takeUp(original: NetworkId, request: CreateNetworkRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(original, deadline, async () => {
      const planned = this.parts.driver.store.transact((context) => planTakeUp(context, original, request));
      await deadline.wait(DIRECTORY, planned);
      await this.tellController(original);
    });
  }

  /** DeleteNetwork, with endpoints of this host whose removal was lost. Unknown ids succeed. */
  delete({ networkId }: NetworkRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(networkId, deadline, () => this.forget(networkId, deadline));
  }

  /**
   * Takes a network away with all that it has here. In its turn. Idempotent. Where Docker has lost it, other hosts keep
   * theirs.
   */
  async forget(networkId: NetworkId, deadline: Deadline, why: 'removed' | 'lost' = 'removed'): Promise<void> {
    const { store, flows } = this.parts.driver;
    const network = store.view.network(networkId);
    if (network === undefined) return;
    await this.forgetEndpoints(networkId, deadline);
    // The last task of this host has left it: that is not its end.
    if (network.swarmId !== undefined && why === 'removed') return;
    const { view, host } = store;
    const isElsewhere = !view.isWhole || [...view.replicasOf(networkId)].some((replica) => replica.host !== host);
    // Where other hosts have it still, whoever follows the directory takes it out when the last has given it back.
    if (!isElsewhere && network.swarmId === undefined) await flows.removeNetwork(networkId);
    await deadline.wait(DIRECTORY, this.deleteRows(networkId, why));
  }

  /** Enters a network in the controller as the directory has it. Nothing to do where it is gone. */
  async tellController(networkId: NetworkId): Promise<void> {
    const { store, flows } = this.parts.driver;
    const network = store.view.network(networkId);
    if (network !== undefined) await flows.setNetwork(flowNetworkOf(store.view, network));
  }

  private async forgetEndpoints(networkId: NetworkId, deadline: Deadline): Promise<void> {
    const { driver, calls, endpoints } = this.parts;
    const { view, host } = driver.store;
    const left = [...view.endpointsOf(networkId)].filter((endpoint) => endpoint.host === host);
    await settleAll(
      left.map(
        ({ id }) =>
          () =>
            calls.run(id, deadline, async () => {
              const endpoint = view.endpoint(id);
              if (endpoint !== undefined) await endpoints.forget(endpoint, deadline);
            }),
      ),
    );
  }

  private deleteRows(networkId: NetworkId, why: 'removed' | 'lost' | 'undone'): Promise<void> {
    return this.parts.driver.store.transact((context) => {
      const pools = why === 'undone' ? 'kept' : 'removed';
      const ops = why === 'lost' ? loseNetwork(context, networkId) : deleteNetwork(context, networkId, pools);
      return { ops, result: undefined };
    });
  }

  /** The result is whether the network is new. */
  private planCreate(context: PlanContext, { request, options, ipam }: Wanted): Planned<boolean> {
    const { view } = context;
    const existing = view.network(request.networkId);
    if (existing !== undefined) {
      if (isSameNetwork(view, existing, request)) return { ops: [], result: false };
      const message = `${describeNetwork(view, existing.id)} exists already, with other options or subnets`;
      throw new DaoliError('conflict', message, existing.id);
    }
    const requested = ipam === 'daolinet' ? request.pools.map((pool) => findPool(context, pool, options.tenant)) : [];
    const tenant = requested[0]?.tenant ?? options.tenant ?? DEFAULT_TENANT;
    const ops = insertNetwork(context, {
      id: request.networkId,
      tenant,
      internal: request.internal,
      gateway: request.pools[0]?.gateway,
      ipam,
      mtu: options.mtu ?? this.parts.driver.settings.mtu,
      options: request.options,
      poolIds: requested.map((pool) => pool.id),
      ...(ipam === 'docker' ? { newPools: request.pools.map(({ cidr }) => ({ cidr })) } : {}),
    });
    return { ops, result: true };
  }

  /** What Docker's own IPAM has given away already. Our IPAM has written down its own. */
  private async keepAddresses(request: CreateNetworkRequest, deadline: Deadline): Promise<void> {
    for (const pool of request.pools) {
      const gateway = pool.gateway === undefined ? [] : [{ address: pool.gateway, use: 'gateway' as const }];
      const auxiliary = pool.auxiliary.map(({ address }) => ({ address, use: 'auxiliary' as const }));
      for (const { address, use } of [...gateway, ...auxiliary]) {
        await deadline.wait(DIRECTORY, this.keepAddress(request.networkId, pool.cidr, address, use));
      }
    }
  }

  private keepAddress(networkId: NetworkId, cidr: Cidr, address: Ipv4, use: AddressRow['use']): Promise<void> {
    return this.parts.driver.store.transact((context) => {
      const tenant = context.view.network(networkId)?.tenant ?? DEFAULT_TENANT;
      const isKept = context.view.addressHolder(tenant, address) !== undefined;
      const poolId = poolIdOf(tenant, cidr);
      return { ops: isKept ? [] : insertAddress(context, { poolId, address, use }), result: undefined };
    });
  }

  /** The packet filter knows each published endpoint's tenant by its pools, and these are now more. Not waited for. */
  private refreshTenant(networkId: NetworkId): void {
    const { driver, calls, publishing, logger } = this.parts;
    const tenant = driver.store.view.network(networkId)?.tenant;
    for (const { id } of publishing.publishing((endpoint) => endpoint.tenant === tenant)) {
      const told = calls.runOnOwn(id, (deadline) => publishing.refresh(id, deadline));
      told.catch((error: unknown) => {
        logger.warn(`published ports were not told of a new subnet: ${messageOf(error)}`, { endpointId: id });
      });
    }
  }
}

function checkRequest(request: CreateNetworkRequest): Wanted {
  if (request.ipv6) {
    throw new DaoliError(
      'unsupported',
      'IPv6 is not supported yet: create the network without --ipv6 and IPv6 subnets',
    );
  }
  if (!request.ipv4)
    throw new DaoliError('unsupported', 'a DaoliNet network needs IPv4: create it without --ipv4=false');
  const options = readNetworkOptions(request.options);
  const [first] = request.pools;
  if (first === undefined || request.pools.some((pool) => pool.cidr.prefix === 0)) {
    throw new DaoliError('invalid', 'IPv4Data has no subnet: a DaoliNet network needs one (not --ipam-driver null)');
  }
  for (const [index, pool] of request.pools.entries()) {
    if (pool.gateway === undefined) throw new DaoliError('invalid', `IPv4Data[${index}].Gateway is missing`);
    const twin = request.pools.slice(0, index).find((other) => cidrsOverlap(other.cidr, pool.cidr));
    if (twin !== undefined) {
      const message = `IPv4Data[${index}].Pool: ${formatCidr(pool.cidr)} overlaps ${formatCidr(twin.cidr)} of the same network`;
      throw new DaoliError('conflict', message);
    }
  }
  return { request, options, ipam: DOCKERS_SPACES.has(first.addressSpace) ? 'docker' : 'daolinet' };
}

/** Docker does not say which PoolID a network has: it is the one of this host that waits for a network of its CIDR. */
function findPool({ view, host }: PlanContext, { cidr }: RequestedPool, tenant: string | undefined): PoolRow {
  const text = formatCidr(cidr);
  const waiting = [...view.pools()].filter(
    (pool) =>
      pool.networkId === undefined &&
      pool.cidr.base === cidr.base &&
      pool.cidr.prefix === cidr.prefix &&
      pool.holders.includes(host),
  );
  const found = tenant === undefined ? waiting : waiting.filter((pool) => pool.tenant === tenant);
  const [pool, second] = found;
  if (pool !== undefined && second === undefined) return pool;
  if (pool !== undefined) {
    const tenants = found.map((each) => each.tenant).join(', ');
    const message = `subnet ${text} waits for a network in several tenants (${tenants}): name one with -o tenant=…`;
    throw new DaoliError('conflict', message, text);
  }
  const [other] = waiting;
  const message =
    other === undefined
      ? `subnet ${text} was not requested from DaoliNet's IPAM driver: use --ipam-driver daolinet, or none`
      : `subnet ${text} was requested for tenant ${other.tenant}: -o tenant=${tenant} must name the same`;
  throw new DaoliError('invalid', message, text);
}

function planTakeUp(context: PlanContext, original: NetworkId, request: CreateNetworkRequest): Planned<undefined> {
  const { view } = context;
  const network = view.network(original);
  if (network === undefined) {
    const message = `-o ${NETWORK_OPTION}=${original.slice(0, 100)}: there is no such network; agents of DaoliNet alone use it`;
    throw new DaoliError('not-found', message, original);
  }
  if (network.internal !== request.internal || cidrsOf(request.pools) !== cidrsOf([...view.poolsOfNetwork(original)])) {
    throw new DaoliError('conflict', `${describeNetwork(view, original)} has other subnets, or is internal`, original);
  }
  // Of a swarm's network it is its configuration that a host has; this is the network itself, under its own id.
  const isNew = network.swarmId === undefined || network.isRemoved;
  return { ops: isNew ? insertReplica(context, network, request.networkId) : [], result: undefined };
}

function cidrsOf(pools: readonly { readonly cidr: Cidr }[]): string {
  return pools
    .map(({ cidr }) => formatCidr(cidr))
    .sort()
    .join();
}

function isSameNetwork(view: DirectoryView, network: NetworkRow, request: CreateNetworkRequest): boolean {
  const [mine, asked] = [network.options, request.options];
  return (
    network.internal === request.internal &&
    network.gateway === request.pools[0]?.gateway &&
    Object.keys(mine).length === Object.keys(asked).length &&
    Object.entries(asked).every(([name, value]) => mine[name] === value) &&
    cidrsOf([...view.poolsOfNetwork(network.id)]) === cidrsOf(request.pools)
  );
}
