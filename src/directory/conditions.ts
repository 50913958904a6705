// What a host follows of the tables that grow with the containers of the cluster: from what it has itself to the conditions
// of its monitor. The one place where they are. Pure; interest.ts keeps them up to date.
//
// A host needs every endpoint and address of the networks that its own endpoints are in, since these are who they may talk
// to, and of pools where its Docker has asked for an address, since the free ones are those that are not there. Its own rows
// it needs always. Clauses are by network and pool, never by endpoint: they are few, and seldom change.

import type { Condition, Uuid } from '../ovsdb/notation';
import type { TableConditions } from '../ovsdb/monitor';
import type { NetworkRow, PoolRow } from './rows';
import type { DirectoryView } from './view';

/** The tables of which a host follows a part. All others are small, or change seldom, and are followed whole. */
export const PARTIAL_TABLES = ['NetworkReplica', 'Address', 'PublishedPort', 'Endpoint'] as const;

/** What a host needs, by uuid. `host` is undefined before its row is there. */
export interface Needs {
  readonly host: Uuid | undefined;
  readonly networks: ReadonlySet<Uuid>;
  readonly pools: ReadonlySet<Uuid>;
}

export const NO_NEEDS: Needs = { host: undefined, networks: new Set(), pools: new Set() };

/** Which rows of the partial tables are followed; any one condition of a table is enough. */
export function conditionsOf({ host, networks, pools }: Needs): TableConditions {
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
    Endpoint: [...own, ...[...networks].sort().map((network): Condition => ['network', '==', network])],
  };
}

/** What of the view tells which networks and pools a host needs. */
export type OwnView = Pick<
  DirectoryView,
  'host' | 'network' | 'networks' | 'pool' | 'pools' | 'poolsOfNetwork' | 'reservedOf' | 'endpointsOn'
>;

/** The networks and pools of what a host has at this moment: its endpoints, and addresses that its Docker just asked for. */
export function neededBy(view: OwnView, host: string): ReadonlySet<NetworkRow | PoolRow> {
  const needed = new Set<NetworkRow | PoolRow>();
  for (const { networkId } of view.endpointsOn(host)) {
    const network = view.network(networkId);
    if (network !== undefined) needed.add(network);
  }
  for (const pool of view.pools()) {
    for (const { holders } of view.reservedOf(pool.id)) if (holders.includes(host)) needed.add(wholeOf(view, pool));
  }
  return needed;
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
  return { host: view.host(host)?.uuid, networks, pools };
}
