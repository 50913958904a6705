// Questions about a network's pools: which one an address lies in, what its gateway is, and what the controller is told
// of the network. Pure reads of the directory.

import { cidrHolds, cidrLast, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { NetworkId, NetworkRow, PoolRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { FlowNetwork } from '../flowctl/model';

/** The network's row. Throws `not-found` with what to do. */
export function requireNetwork(view: DirectoryView, networkId: NetworkId): NetworkRow {
  const network = view.network(networkId);
  if (network !== undefined) return network;
  const id = networkId.slice(0, 12);
  const message = `network ${id} does not exist in DaoliNet: remove it from Docker and create it again`;
  throw new DaoliError('not-found', message, networkId);
}

/** Not the network's own address nor its broadcast address, which prefixes of /31 and /32 do not have (RFC 3021). */
export function isInterfaceAddress(cidr: Cidr, address: Ipv4): boolean {
  if (!cidrHolds(cidr, address)) return false;
  return cidr.prefix >= 31 || (address !== cidr.base && address !== cidrLast(cidr));
}

/** The pool of the network that `address` lies in. */
export function poolHolding(view: DirectoryView, networkId: NetworkId, address: Ipv4): PoolRow | undefined {
  for (const pool of view.poolsOfNetwork(networkId)) if (cidrHolds(pool.cidr, address)) return pool;
  return undefined;
}

/** The gateway of one pool of a network: the network's, or where that lies in another pool, the pool's own. */
export function gatewayOf(view: DirectoryView, network: NetworkRow, pool: PoolRow): Ipv4 | undefined {
  if (network.gateway !== undefined && cidrHolds(pool.cidr, network.gateway)) return network.gateway;
  for (const row of view.addressesOf(pool.id)) if (row.use === 'gateway') return row.address;
  return undefined;
}

/** The network as the datapath sees it. */
export function flowNetworkOf(view: DirectoryView, network: NetworkRow): FlowNetwork {
  return {
    id: network.id,
    key: network.key,
    tenant: view.tenant(network.tenant)?.number ?? 0,
    ...(network.gateway === undefined ? {} : { gateway: network.gateway }),
    pools: [...view.poolsOfNetwork(network.id)].map((pool) => pool.cidr),
    internal: network.internal,
  };
}
