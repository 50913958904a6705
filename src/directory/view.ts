// What can be read from the directory, synchronously: the narrow interface that IPAM, driver, controller and API use. It
// reads this process's replica; nothing here waits. Rows are immutable, so a caller may keep one and compare.

import type { Ipv4 } from '../base/addresses';
import type {
  AddressRow,
  EndpointId,
  EndpointRow,
  HostRow,
  NetworkId,
  NetworkRow,
  PoolId,
  PoolRow,
  PublishedPortRow,
  TenantRow,
} from './rows';

export interface DirectoryView {
  host(name: string): HostRow | undefined;
  hosts(): Iterable<HostRow>;

  tenant(name: string): TenantRow | undefined;
  tenants(): Iterable<TenantRow>;

  network(id: NetworkId): NetworkRow | undefined;
  networkByKey(key: number): NetworkRow | undefined;
  networks(): Iterable<NetworkRow>;

  pool(id: PoolId): PoolRow | undefined;
  pools(): Iterable<PoolRow>;
  poolsOfTenant(tenant: string): Iterable<PoolRow>;
  poolsOfNetwork(id: NetworkId): Iterable<PoolRow>;

  /** Who has, or has reserved, an address of a tenant. */
  addressHolder(tenant: string, address: Ipv4): AddressRow | undefined;
  /** The address of a pool that was requested with a MAC address: gateway, auxiliary, reserved or bound. */
  addressByMac(poolId: PoolId, mac: number): AddressRow | undefined;
  addressesOf(poolId: PoolId): Iterable<AddressRow>;
  /** How many addresses of the pool are taken, those outside its range included. */
  addressCount(poolId: PoolId): number;

  endpoint(id: EndpointId): EndpointRow | undefined;
  endpoints(): Iterable<EndpointRow>;
  endpointCount(): number;
  endpointsOf(networkId: NetworkId): Iterable<EndpointRow>;
  /** The endpoint that has an address of a tenant. */
  endpointAt(tenant: string, address: Ipv4): EndpointRow | undefined;
  endpointByLocator(locator: Ipv4): EndpointRow | undefined;
  endpointByPort(host: string, portNo: number): EndpointRow | undefined;
  endpointsOfContainer(containerId: string): Iterable<EndpointRow>;

  /** Every published port, with the endpoint it leads to. */
  publishedPorts(): Iterable<{ readonly port: PublishedPortRow; readonly endpoint: EndpointRow }>;
}
