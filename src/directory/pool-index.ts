// The pools of the tenants, and in each pool its addresses and their endpoints. Pools of one tenant do not overlap, so
// an address has at most one pool: it is found by one look-up for each prefix length that the tenant uses.

import { maskOf, type Ipv4, type Mac } from '../base/addresses';
import { KeyedRows } from './keyed-rows';
import type { AddressRow, EndpointRow, NetworkId, PoolId, PoolRow } from './rows';

/** Who has an address: its endpoint, or without one its own row. One entry for both saves much memory. */
export type AddressUser = EndpointRow | AddressRow;

export function isEndpoint(user: AddressUser): user is EndpointRow {
  return 'portNo' in user;
}

/** A pool with everything in it. */
export interface PoolCell {
  pool: PoolRow;
  readonly users: KeyedRows<Ipv4, AddressUser>;
  /** Requested for an endpoint, and no endpoint has it; by address. */
  readonly reserved: Map<Ipv4, AddressRow>;
  /** Those of `reserved` that were requested with a MAC address. */
  readonly reservedByMac: Map<Mac, AddressRow>;
}

interface TenantPools {
  readonly cells: Set<PoolCell>;
  /** By prefix length, then by base. */
  readonly byPrefix: Map<number, Map<number, PoolCell>>;
}

function childOf<K, V>(parent: Map<K, V>, key: K, make: () => NoInfer<V>): V {
  let child = parent.get(key);
  if (child === undefined) parent.set(key, (child = make()));
  return child;
}

export class PoolIndex {
  private readonly byId = new Map<PoolId, PoolCell>();
  private readonly byTenant = new Map<string, TenantPools>();
  private readonly byNetwork = new Map<NetworkId, Set<PoolCell>>();

  cell(id: PoolId): PoolCell | undefined {
    return this.byId.get(id);
  }

  cells(): Iterable<PoolCell> {
    return this.byId.values();
  }

  cellsOfTenant(tenant: string): Iterable<PoolCell> {
    return this.byTenant.get(tenant)?.cells ?? [];
  }

  cellsOfNetwork(id: NetworkId): Iterable<PoolCell> {
    return this.byNetwork.get(id) ?? [];
  }

  user(tenant: string, address: Ipv4): AddressUser | undefined {
    const pools = this.byTenant.get(tenant);
    if (pools === undefined) return undefined;
    for (const [prefix, byBase] of pools.byPrefix) {
      const found = byBase.get((address & maskOf(prefix)) >>> 0)?.users.get(address);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  setPool(pool: PoolRow): void {
    let cell = this.byId.get(pool.id);
    if (cell === undefined) {
      const users = new KeyedRows<Ipv4, AddressUser>((user) => user.address);
      cell = { pool, users, reserved: new Map(), reservedByMac: new Map() };
      this.byId.set(pool.id, cell);
      const tenant = childOf(this.byTenant, pool.tenant, () => ({ cells: new Set<PoolCell>(), byPrefix: new Map() }));
      tenant.cells.add(cell);
      childOf(tenant.byPrefix, pool.cidr.prefix, () => new Map()).set(pool.cidr.base, cell);
    }
    this.unlinkNetwork(cell);
    cell.pool = pool;
    if (pool.networkId !== undefined) {
      childOf(this.byNetwork, pool.networkId, () => new Set()).add(cell);
    }
  }

  deletePool(pool: PoolRow): void {
    const cell = this.byId.get(pool.id);
    const tenant = this.byTenant.get(pool.tenant);
    if (cell === undefined || tenant === undefined) return;
    this.byId.delete(pool.id);
    this.unlinkNetwork(cell);
    tenant.cells.delete(cell);
    const byBase = tenant.byPrefix.get(pool.cidr.prefix);
    byBase?.delete(pool.cidr.base);
    if (byBase?.size === 0) tenant.byPrefix.delete(pool.cidr.prefix);
    if (tenant.cells.size === 0) this.byTenant.delete(pool.tenant);
  }

  /** `previous` is the row before, if there was one. */
  setAddress(address: AddressRow, previous: AddressRow | undefined): void {
    const pool = this.byId.get(address.poolId);
    if (pool === undefined) return;
    if (previous !== undefined) this.unreserve(pool, previous);
    const user = pool.users.get(address.address);
    if (user !== undefined && isEndpoint(user)) return;
    pool.users.set(address);
    this.reserve(pool, address);
  }

  deleteAddress(address: AddressRow): void {
    const pool = this.byId.get(address.poolId);
    if (pool === undefined) return;
    this.unreserve(pool, address);
    pool.users.delete(address.address);
  }

  setEndpoint(endpoint: EndpointRow, address: AddressRow): void {
    const pool = this.byId.get(endpoint.poolId);
    if (pool === undefined) return;
    pool.users.set(endpoint);
    this.unreserve(pool, address);
  }

  /** `address` is the row of its address, if that is still there. */
  deleteEndpoint(endpoint: EndpointRow, address: AddressRow | undefined): void {
    const pool = this.byId.get(endpoint.poolId);
    if (pool === undefined) return;
    pool.users.delete(endpoint.address);
    if (address === undefined) return;
    pool.users.set(address);
    this.reserve(pool, address);
  }

  private reserve(pool: PoolCell, address: AddressRow): void {
    if (address.use !== 'endpoint') return;
    pool.reserved.set(address.address, address);
    if (address.mac !== undefined) pool.reservedByMac.set(address.mac, address);
  }

  private unreserve(pool: PoolCell, address: AddressRow): void {
    pool.reserved.delete(address.address);
    if (address.mac === undefined) return;
    if (pool.reservedByMac.get(address.mac)?.address === address.address) pool.reservedByMac.delete(address.mac);
  }

  private unlinkNetwork(cell: PoolCell): void {
    const { networkId } = cell.pool;
    if (networkId === undefined) return;
    const cells = this.byNetwork.get(networkId);
    cells?.delete(cell);
    if (cells?.size === 0) this.byNetwork.delete(networkId);
  }
}
