// Words for rows in messages to users: the name where one is known, else the id as `docker ps` and `docker network ls`
// shorten it.

import type { AddressRow, EndpointRow, NetworkId, PoolRow } from './rows';
import type { DirectoryView } from './view';

function shortId(id: string): string {
  return id.slice(0, 12);
}

/** "network demo". */
export function describeNetwork(view: DirectoryView, id: NetworkId): string {
  return `network ${view.network(id)?.name ?? shortId(id)}`;
}

/** "container web in network demo". A container's name is learned after its endpoint. */
export function describeEndpoint(view: DirectoryView, endpoint: EndpointRow): string {
  const network = describeNetwork(view, endpoint.networkId);
  if (endpoint.containerName !== undefined) return `container ${endpoint.containerName} in ${network}`;
  if (endpoint.containerId !== undefined) return `container ${shortId(endpoint.containerId)} in ${network}`;
  return `endpoint ${shortId(endpoint.id)} in ${network}`;
}

/** "pool red/10.1.0.0/24 (network demo)". */
export function describePool(view: DirectoryView, pool: PoolRow): string {
  return `pool ${pool.id} (${pool.networkId === undefined ? 'no network yet' : describeNetwork(view, pool.networkId)})`;
}

/** What an address that is taken is: "the gateway of pool red/10.1.0.0/24 (network demo)", "in use by container
 * web in network demo". */
export function describeHolder(view: DirectoryView, row: AddressRow): string {
  const pool = view.pool(row.poolId);
  const where = pool === undefined ? `pool ${row.poolId}` : describePool(view, pool);
  if (row.use === 'gateway') return `the gateway of ${where}`;
  if (row.use === 'auxiliary') return `an auxiliary address of ${where}`;
  const endpoint = view.endpointAt(row.tenant, row.address);
  if (endpoint === undefined) return `reserved in ${where} for a container that is just starting or was just removed`;
  const released = row.holders.length === 0 && view.network(endpoint.networkId)?.ipam === 'daolinet';
  return `in use by ${describeEndpoint(view, endpoint)}${released ? ', which is being cleaned up: try again in a moment' : ''}`;
}
