// What a host follows of the tables that grow with the containers of the cluster: from what it has itself to the conditions
// of its monitor. The one place where they are. Pure; interest.ts keeps them up to date.
//
// A host needs every endpoint and address of the networks that its own endpoints are in, and of those that groups, pairs and
// policies connect with them, since these are who they may talk to, and of pools where its Docker has asked for an address, since the free ones are those that are not there. Its own rows
// it needs always, and the containers that its ports lead to by firewall rules. Of the hosts that it stands by for it needs the
// same, to be their controller at any moment. Clauses are by network, pool and container's
// name, never by endpoint: they are few, and seldom change.

import type { Condition, Uuid } from '../ovsdb/notation';
import type { TableConditions } from '../ovsdb/monitor';
import { containersOf } from './rule-containers';
import type { NetworkRow, PoolRow } from './rows';
import type { DirectoryView } from './view';

/** The tables of which a host follows a part. All others are small, or change seldom, and are followed whole. */
export const PARTIAL_TABLES = ['NetworkReplica', 'Address', 'PublishedPort', 'Endpoint'] as const;

/** What a host needs, by uuid. `host` is undefined before its row is there. */
export interface Needs {
  readonly host: Uuid | undefined;
  /** The hosts that it stands by for. */
  readonly backed: ReadonlySet<Uuid>;
  readonly networks: ReadonlySet<Uuid>;
  readonly pools: ReadonlySet<Uuid>;
  /** Names of containers that the firewall rules of these hosts lead to, wherever they run. */
  readonly containers: ReadonlySet<string>;
}

export const NO_NEEDS: Needs = {
  host: undefined,
  backed: new Set(),
  networks: new Set(),
  pools: new Set(),
  containers: new Set(),
};

/** Which rows of the partial tables are followed; any one condition of a table is enough. */
export function conditionsOf({ host, backed, networks, pools, containers }: Needs): TableConditions {
  const own: readonly Condition[] = host === undefined ? [] : [['host', '==', host]];
  const held: readonly Condition[] = host === undefined ? [] : [['holders', 'includes', [host]]];
  return {
    NetworkReplica: own,
    Address: [
      // There are about as many as networks, and every host that makes a network asks for them.
      ['use', '==', 'gateway'],
      ['use', '==', 'auxiliary'],
      ...[...pools].sort().map((pool): Condition => ['pool', '==', pool]),
      ...held,
    ],
    PublishedPort: own,
    Endpoint: [
      ...own,
      ...[...backed].sort().map((other): Condition => ['host', '==', other]),
      ...[...networks].sort().map((network): Condition => ['network', '==', network]),
      ...[...containers].sort().map((name): Condition => ['container_name', '==', name]),
    ],
  };
}

/** What of the view tells which networks and pools a host needs. */
export type OwnView = Pick<
  DirectoryView,
  | 'host'
  | 'network'
  | 'networks'
  | 'pool'
  | 'pools'
  | 'poolsOfNetwork'
  | 'reservedOf'
  | 'endpointsOn'
  | 'groups'
  | 'pairs'
  | 'policies'
  | 'firewallRules'
  | 'switches'
  | 'switchOf'
  | 'endpoints'
>;

/** The hosts whose datapaths a host is in charge of, or may be at any moment: itself, and those that it stands by for. */
export function chargesOf(view: Pick<DirectoryView, 'switches'>, host: string): string[] {
  return [host, ...[...view.switches()].filter(({ backups }) => backups.includes(host)).map((row) => row.host)];
}

/**
 * The networks and pools of what a host has at this moment: its endpoints, those of the hosts that it stands by for, and
 * addresses that its Docker just asked for.
 */
export function neededBy(view: OwnView, host: string): ReadonlySet<NetworkRow | PoolRow> {
  const needed = new Set<NetworkRow | PoolRow>();
  const charges = chargesOf(view, host);
  for (const { networkId } of charges.flatMap((name) => [...view.endpointsOn(name)])) {
    const network = view.network(networkId);
    if (network !== undefined) needed.add(network);
  }
  for (const network of [...needed]) for (const other of connectedWith(view, network as NetworkRow)) needed.add(other);
  for (const network of networksOfContainers(view, containersOf(view, charges))) needed.add(network);
  for (const pool of view.pools()) {
    for (const { holders } of view.reservedOf(pool.id)) if (holders.includes(host)) needed.add(wholeOf(view, pool));
  }
  return needed;
}

/** An endpoint is shown with its address, which comes with its network. */
function* networksOfContainers(view: OwnView, names: ReadonlySet<string>): Iterable<NetworkRow> {
  if (names.size === 0) return;
  for (const { containerName, networkId } of view.endpoints()) {
    const network = names.has(containerName ?? '') ? view.network(networkId) : undefined;
    if (network !== undefined) yield network;
  }
}

/**
 * Networks whose containers a network's may talk to, for all that is known of them by their networks. It goes both ways: what is
 * connected with another has that one connected with it.
 */
export function connectedWith(view: OwnView, network: NetworkRow): NetworkRow[] {
  const own = [...view.groups()].filter(({ networkIds }) => networkIds.includes(network.id)).map(({ name }) => name);
  const isOwn = (selector: string) => {
    if (selector.startsWith(NETWORK)) return selector.slice(NETWORK.length) === network.name;
    return !selector.startsWith(GROUP) || own.includes(selector.slice(GROUP.length));
  };
  const allowed = view.policies().filter(({ action }) => action === 'allow');
  const others = new Set([
    ...own.map((name) => GROUP + name),
    ...[...view.pairs()].filter(({ isConnected }) => isConnected).map(({ a }) => a),
    ...allowed.flatMap(({ from, to }) => [...(isOwn(from) ? [to] : []), ...(isOwn(to) ? [from] : [])]),
  ]);
  return others.size === 0 ? [] : meantBy(view, others, network.tenant);
}

const NETWORK = 'network:';
const GROUP = 'group:';

/** The networks of a tenant that selectors (see src/policy) may mean containers of: one that names none may mean any. */
function meantBy(view: OwnView, selectors: ReadonlySet<string>, tenant: string): NetworkRow[] {
  const ofTenant = [...view.networks()].filter((network) => network.tenant === tenant);
  const isPlaced = (selector: string) => selector.startsWith(NETWORK) || selector.startsWith(GROUP);
  if (![...selectors].every(isPlaced)) return ofTenant;
  const grouped = new Set(
    [...view.groups()].filter(({ name }) => selectors.has(GROUP + name)).flatMap(({ networkIds }) => networkIds),
  );
  return ofTenant.filter(({ id, name }) => grouped.has(id) || selectors.has(`${NETWORK}${name}`));
}

/** The network that a pool is of, which is followed as a whole; the pool alone where it has none (yet). */
export function wholeOf(view: OwnView, pool: PoolRow): NetworkRow | PoolRow {
  return (pool.networkId === undefined ? undefined : view.network(pool.networkId)) ?? pool;
}

/** The networks among these rows, and all pools of theirs and beside them. Rows that are gone by now are left out. */
export function needsOf(view: OwnView, host: string, uuids: ReadonlySet<Uuid>): Needs {
  const networks = new Set<Uuid>();
  const pools = new Set<Uuid>();
  for (const { uuid, id } of view.networks()) {
    if (!uuids.has(uuid)) continue;
    networks.add(uuid);
    for (const pool of view.poolsOfNetwork(id)) pools.add(pool.uuid);
  }
  for (const { uuid } of view.pools()) if (uuids.has(uuid)) pools.add(uuid);
  const charges = chargesOf(view, host);
  const backed = new Set(charges.slice(1).flatMap((name) => view.host(name)?.uuid ?? []));
  return { host: view.host(host)?.uuid, backed, networks, pools, containers: containersOf(view, charges) };
}
