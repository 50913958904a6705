// What is written to the directory, as operations of one transaction each (RFC 7047 §5.2): hosts, tenants, networks and
// pools. Nothing here sends anything. Where two writers could race, the server decides: unique indexes, references, and a
// `wait` (compare-and-swap) on what the decision was made from; whoever loses plans again.

import { cidrsOverlap, formatCidr, formatIpv4, formatMac, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { named, type Mutation, type NamedUuid, type Uuid } from '../ovsdb/notation';
import { insert, isRow, mutate, remove, update, wait } from '../ovsdb/operations';
import { describeNetwork, describePool } from './descriptions';
import { DEFAULT_SITE } from './rows';
import type { HostRow, NetworkId, NetworkRow, PoolId, PoolRow } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

type Ref = Uuid | NamedUuid;

/** The Host row of this host. Throws `unavailable` before it is there. */
export function ownHost({ view, host }: PlanContext): HostRow {
  const row = view.host(host);
  if (row === undefined)
    throw new DaoliError('unavailable', `host ${host} is not in the directory yet: try again`, host);
  return row;
}

export interface NewHost {
  readonly name: string;
  readonly routerMac: Mac;
  readonly datapathId: string;
  /** Undefined outside of a cluster. */
  readonly address: Ipv4 | undefined;
  readonly certificates?: readonly string[];
  /** Default false. */
  readonly isServer?: boolean;
  /** Default DEFAULT_SITE. */
  readonly site?: string;
  /** Default false. */
  readonly isHub?: boolean;
  /** Default false. */
  readonly encrypts?: boolean;
  readonly block: Cidr;
}

/** The default site has no name in the database: that is what old rows have. */
export function siteColumn(site: string): string {
  return site === DEFAULT_SITE ? '' : site;
}

/** A new host with its first locator block. */
export function insertHost(host: NewHost): Ops {
  return [
    insert('LocatorBlock', { cidr: formatCidr(host.block) }, { uuidName: 'block' }),
    insert('Host', {
      name: host.name,
      router_mac: formatMac(host.routerMac),
      datapath_id: host.datapathId,
      address: host.address === undefined ? undefined : formatIpv4(host.address),
      certificates: host.certificates ?? [],
      is_server: host.isServer ?? false,
      site: siteColumn(host.site ?? DEFAULT_SITE),
      is_hub: host.isHub ?? false,
      encrypt: host.encrypts ?? false,
      locator_blocks: [named('block')],
    }),
  ];
}

/** Gives a host one more locator block. */
export function insertLocatorBlock(host: HostRow, block: Cidr): Ops {
  return [
    insert('LocatorBlock', { cidr: formatCidr(block) }, { uuidName: 'block' }),
    mutate('Host', isRow(host.uuid), [['locator_blocks', 'insert', [named('block')]]]),
  ];
}

/** The tenant's row, made if it is not there. */
function referTenant({ view, allocate }: PlanContext, name: string): { ops: Ops; ref: Ref } {
  const tenant = view.tenant(name);
  if (tenant !== undefined) return { ops: [], ref: tenant.uuid };
  const row = { name, number: allocate.tenantNumber(), revision: 0 };
  return { ops: [insert('Tenant', row, { uuidName: 'tenant' })], ref: named('tenant') };
}

/** "red/10.1.0.0/24", with "/10.1.0.128/25" behind it where the pool has a range. */
export function poolIdOf(tenant: string, cidr: Cidr, range?: Cidr): PoolId {
  return [tenant, formatCidr(cidr), ...(range ? [formatCidr(range)] : [])].join('/') as PoolId;
}

/** A pool of the tenant that overlaps `cidr`, if there is one. */
export function overlappingPool(view: DirectoryView, tenant: string, cidr: Cidr): PoolRow | undefined {
  for (const pool of view.poolsOfTenant(tenant)) if (cidrsOverlap(pool.cidr, cidr)) return pool;
  return undefined;
}

export interface NewPool {
  readonly cidr: Cidr;
  readonly range?: Cidr | undefined;
}

interface PoolOwner {
  readonly tenant: string;
  readonly ref: Ref;
  readonly network: NamedUuid | undefined;
  readonly holders: readonly Uuid[];
}

/**
 * Adds pools to a tenant. That they overlap none is checked here, and again by the server: the tenant's revision must
 * still be the one of this view. Throws `conflict`.
 */
function addPools({ view, nowMs }: PlanContext, pools: readonly NewPool[], owner: PoolOwner): Ops {
  for (const [index, { cidr }] of pools.entries()) {
    const other = overlappingPool(view, owner.tenant, cidr);
    const twin = pools.slice(0, index).find((pool) => cidrsOverlap(pool.cidr, cidr));
    if (other === undefined && twin === undefined) continue;
    const what = other ? describePool(view, other) : `${formatCidr((twin as NewPool).cidr)} of the same network`;
    const message = `${formatCidr(cidr)} overlaps ${what} in tenant ${owner.tenant}: choose another subnet or tenant`;
    throw new DaoliError('conflict', message, formatCidr(cidr));
  }
  const tenant = view.tenant(owner.tenant);
  const owned = { tenant: owner.ref, network: owner.network, holders: owner.holders };
  const swap = tenant && [
    wait('Tenant', isRow(tenant.uuid), [{ revision: tenant.revision }]),
    update('Tenant', isRow(tenant.uuid), { revision: tenant.revision + 1 }),
  ];
  const rows = pools.map(({ cidr, range }) => {
    const id = poolIdOf(owner.tenant, cidr, range);
    const prefixes = { cidr: formatCidr(cidr), range: range && formatCidr(range) };
    return insert('Pool', { id, ...prefixes, ...owned, created: nowMs });
  });
  return [...(swap ?? []), ...rows];
}

/** A pool that this host's Docker requested. Throws `conflict` where it overlaps another of the tenant. */
export function insertPool(context: PlanContext, pool: NewPool & { readonly tenant: string }): Ops {
  const { ops, ref } = referTenant(context, pool.tenant);
  const holders = [ownHost(context).uuid];
  return [...ops, ...addPools(context, [pool], { tenant: pool.tenant, ref, network: undefined, holders })];
}

/**
 * This host's Docker gives a pool back. It goes with its addresses, unless another host holds it or an endpoint is still
 * in it: then it goes with its network. So does one that another host's Docker has in a network, or that is a swarm's.
 * Nothing to do for a pool that is not there.
 */
export function releasePool(context: PlanContext, id: PoolId): Ops {
  const { view, host } = context;
  const pool = view.pool(id);
  if (pool === undefined) return [];
  const others = pool.holders.filter((holder) => holder !== host);
  const isKept = pool.networkId !== undefined && isThereWithout(context, pool.networkId);
  const isUsed = [...view.addressesOf(id)].some((row) => view.endpointAt(row.tenant, row.address) !== undefined);
  if (others.length === 0 && !isUsed && !isKept) return removePool(pool);
  if (others.length === pool.holders.length) return [];
  return [mutate('Pool', isRow(pool.uuid), [['holders', 'delete', [ownHost(context).uuid]]])];
}

/** Whether a network is there without this host, or may be: where who else has it is not known. */
function isThereWithout(context: PlanContext, id: NetworkId): boolean {
  const { view } = context;
  return !view.isWhole || view.network(id)?.swarmId !== undefined || hasOtherReplica(context, id);
}

function removePool(pool: PoolRow): Ops {
  return [remove('Address', [['pool', '==', pool.uuid]]), remove('Pool', isRow(pool.uuid))];
}

export interface NewNetwork {
  readonly id: NetworkId;
  readonly tenant: string;
  readonly internal: boolean;
  readonly gateway: Ipv4 | undefined;
  readonly ipam: NetworkRow['ipam'];
  readonly mtu: number;
  readonly options: Readonly<Record<string, string>>;
  /** Pools that were requested from our IPAM before. */
  readonly poolIds?: readonly PoolId[];
  /** Pools of Docker's own IPAM, and of a swarm's network, which are ours to write down. */
  readonly newPools?: readonly NewPool[];
  /** Of a network of swarm mode, which no host's Docker has yet: see NetworkRow. */
  readonly swarm?: { readonly id: string; readonly name: string; readonly configuration: string };
}

/** A network with its pools. Throws `conflict` where a pool overlaps or has a network, `not-found` where one is away. */
export function insertNetwork(context: PlanContext, network: NewNetwork): Ops {
  const { view, allocate, nowMs } = context;
  const existing = view.network(network.id);
  if (existing !== undefined) {
    throw new DaoliError('conflict', `${describeNetwork(view, network.id)} exists already`, network.id);
  }
  const refer = referTenant(context, network.tenant);
  const owner = { tenant: network.tenant, ref: refer.ref, network: named('network'), holders: [] };
  return [
    ...refer.ops,
    insert(
      'Network',
      {
        id: network.id,
        key: allocate.networkKey(),
        tenant: refer.ref,
        internal: network.internal,
        gateway: network.gateway === undefined ? undefined : formatIpv4(network.gateway),
        ipam: network.ipam,
        ...swarmColumns(network),
        mtu: network.mtu,
        options: network.options,
        created: nowMs,
      },
      { uuidName: 'network' },
    ),
    ...(network.newPools ? addPools(context, network.newPools, owner) : []),
    ...(network.poolIds ?? []).flatMap((id) => attachPool(context, id, network)),
    ...(network.swarm === undefined ? [insertReplicaRow(context, named('network'), network.id)] : []),
  ];
}

function swarmColumns({ swarm }: NewNetwork): object {
  return swarm === undefined ? {} : { swarm: swarm.id, name: swarm.name, configuration: swarm.configuration };
}

function insertReplicaRow(context: PlanContext, network: Ref, dockerId: string) {
  return insert('NetworkReplica', { host: ownHost(context).uuid, network, docker_id: dockerId });
}

/**
 * This host's Docker has the network too, under an id of its own. Throws `conflict` where it has it already under another
 * id, or where the network is being removed.
 */
export function insertReplica(context: PlanContext, network: NetworkRow, dockerId: string): Ops {
  const { view, host } = context;
  const existing = view.replicaOn(host, network.id);
  if (existing?.dockerId === dockerId) return [];
  const what = describeNetwork(view, network.id);
  if (existing !== undefined) {
    throw new DaoliError(
      'conflict',
      `${what} is on host ${host} already, as ${existing.dockerId.slice(0, 12)}`,
      network.id,
    );
  }
  if (network.isRemoved) throw new DaoliError('conflict', `${what} is being removed`, network.id);
  return [
    wait('Network', isRow(network.uuid), [{ removed: false }]),
    insertReplicaRow(context, network.uuid, dockerId),
  ];
}

function hasOtherReplica({ view, host }: PlanContext, id: NetworkId): boolean {
  return [...view.replicasOf(id)].some((replica) => replica.host !== host);
}

function attachPool({ view }: PlanContext, id: PoolId, network: NewNetwork): Ops {
  const pool = view.pool(id);
  if (pool === undefined) throw new DaoliError('not-found', `pool ${id} does not exist`, id);
  if (pool.networkId !== undefined || pool.tenant !== network.tenant) {
    throw new DaoliError('conflict', `network ${network.id} cannot have ${describePool(view, pool)}`, id);
  }
  return [
    wait<{ network: Uuid | undefined }>('Pool', isRow(pool.uuid), [{ network: undefined }]),
    update('Pool', isRow(pool.uuid), { network: named('network') }),
  ];
}

/** Docker's name of a network, once it is known. Nothing to do where it is the same. Throws `not-found`. */
export function renameNetwork({ view }: PlanContext, id: NetworkId, name: string): Ops {
  const network = view.network(id);
  if (network === undefined) throw new DaoliError('not-found', `network ${id} does not exist`, id);
  return network.name === name ? [] : [update('Network', isRow(network.uuid), { name })];
}

/**
 * This host's Docker gives a network back. It goes with its pools and addresses where no other host's has it; else it is
 * marked, and the others give it back when it is unused there. Throws `conflict` while it has endpoints here, or, where it
 * would go, anywhere. Nothing to do for a network that is not there. With pools `kept`, those that Docker requested stay, and
 * wait for a network: it has not given them back.
 */
export function deleteNetwork(context: PlanContext, id: NetworkId, pools: 'removed' | 'kept' = 'removed'): Ops {
  const { view, host } = context;
  const network = view.network(id);
  if (network === undefined) return [];
  const isShared = !view.isWhole || hasOtherReplica(context, id);
  const inTheWay = [...view.endpointsOf(id)].some((endpoint) => !isShared || endpoint.host === host);
  if (inTheWay) {
    throw new DaoliError('conflict', `${describeNetwork(view, id)} still has endpoints: remove them first`, id);
  }
  const replicas = [...view.replicasOf(id)];
  const own = replicas.filter((replica) => replica.host === host);
  // Two hosts that give it back at once must not each leave the rest to the other. A host that does not know who else has
  // it leaves it to a server, which sees when nobody has.
  const asKnown = replicas.map((replica) => ({ docker_id: replica.dockerId }));
  const leave = [
    ...(view.isWhole
      ? [wait('NetworkReplica', [['network', '==', network.uuid]], asKnown, { columns: ['docker_id'] })]
      : []),
    ...own.map((replica) => remove('NetworkReplica', isRow(replica.uuid))),
  ];
  if (!isShared) {
    const gone = [...view.poolsOfNetwork(id)].filter((pool) => pools === 'removed' || pool.holders.length === 0);
    return [...leave, ...gone.flatMap(removePool), remove('Network', isRow(network.uuid))];
  }
  if (own.length === 0 && network.isRemoved) return [];
  return [...leave, markRow(network)];
}

/** This host's Docker has lost a network: nobody has removed it, so other hosts keep theirs. Else as `deleteNetwork`. */
export function loseNetwork(context: PlanContext, id: NetworkId): Ops {
  const network = context.view.network(id);
  const isKept = !context.view.isWhole || (network?.swarmId !== undefined && !network.isRemoved);
  if (!isKept && !hasOtherReplica(context, id)) return deleteNetwork(context, id);
  const own = context.view.replicaOn(context.host, id);
  return own === undefined ? [] : [remove('NetworkReplica', isRow(own.uuid))];
}

/**
 * Swarm's network of this id is gone: each host gives its configuration back, and its row goes when none has it. Nothing to
 * do where that is known.
 */
export function markRemoved({ view }: PlanContext, id: NetworkId): Ops {
  const network = view.network(id);
  return network === undefined || network.isRemoved ? [] : [markRow(network)];
}

function markRow(network: NetworkRow) {
  return update('Network', isRow(network.uuid), { removed: true });
}

/** Why this host has not got a network that it should have; undefined where nothing is in the way (any more). */
export function tellProblem({ view, host }: PlanContext, id: NetworkId, problem: string | undefined): Ops {
  const network = view.network(id);
  if (network === undefined || network.problems.get(host) === problem) return [];
  const tell: Mutation[] = problem === undefined ? [] : [['problems', 'insert', { [host]: problem }]];
  // An insertion would leave what is there (RFC 7047 §5.1).
  return [mutate('Network', isRow(network.uuid), [['problems', 'delete', [host]], ...tell])];
}
