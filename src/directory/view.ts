// What can be read from the directory, synchronously: the narrow interface that IPAM, driver, controller and API use. It
// reads this process's replica; nothing here waits. Rows are immutable, so a caller may keep one and compare.

import type { Ipv4, Mac } from '../base/addresses';
import type {
  AddressRow,
  DirectoryRows,
  EndpointId,
  EndpointRow,
  FirewallRuleRow,
  GroupRow,
  HostRow,
  JoinRequestRow,
  JoinTokenRow,
  NetworkId,
  NetworkReplicaRow,
  NetworkRow,
  PairRow,
  PolicyRow,
  PoolId,
  PoolRow,
  PublishedPortRow,
  SwitchRow,
  TenantRow,
  TunnelRow,
} from './rows';

export interface DirectoryView {
  /** False: of endpoints, addresses and ports only what this host needs is here, and of replicas of networks its own. */
  readonly isWhole: boolean;
  /** Whether every endpoint and address of a network is here. */
  knowsAllOf(id: NetworkId): boolean;

  /** A row by its uuid. */
  row<T extends keyof DirectoryRows>(table: T, uuid: string): DirectoryRows[T] | undefined;

  host(name: string): HostRow | undefined;
  hosts(): Iterable<HostRow>;
  /** How a host's tunnel is reached; undefined where it has told nothing (yet). */
  tunnel(host: string): TunnelRow | undefined;
  tunnels(): Iterable<TunnelRow>;
  /** Who is in charge of a host's datapath; undefined where its agent is of a version without backups, or alone. */
  switchOf(host: string): SwitchRow | undefined;
  switches(): Iterable<SwitchRow>;
  joinTokens(): Iterable<JoinTokenRow>;
  joinRequests(): Iterable<JoinRequestRow>;

  tenant(name: string): TenantRow | undefined;
  tenants(): Iterable<TenantRow>;

  network(id: NetworkId): NetworkRow | undefined;
  networkByKey(key: number): NetworkRow | undefined;
  networks(): Iterable<NetworkRow>;
  /** The network that some host's Docker has under this id. */
  networkOfDocker(dockerId: string): NetworkRow | undefined;
  /** As which networks the hosts' Dockers have it: all of them where the view is whole, else this host's. */
  replicasOf(id: NetworkId): Iterable<NetworkReplicaRow>;
  replicaOn(host: string, id: NetworkId): NetworkReplicaRow | undefined;

  pool(id: PoolId): PoolRow | undefined;
  pools(): Iterable<PoolRow>;
  poolsOfTenant(tenant: string): Iterable<PoolRow>;
  poolsOfNetwork(id: NetworkId): Iterable<PoolRow>;

  /** The row of an address that is taken: a gateway's, an auxiliary one, reserved, or bound to `endpointAt` it. */
  addressHolder(tenant: string, address: Ipv4): AddressRow | undefined;
  /** The address of a pool that was requested with this MAC address and that no endpoint has (yet, or any more). */
  reservedByMac(poolId: PoolId, mac: Mac): AddressRow | undefined;
  /** Every address of a pool that was requested for an endpoint and that no endpoint has (yet, or any more). */
  reservedOf(poolId: PoolId): Iterable<AddressRow>;
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
  /** The endpoints of one host; those of another host than this are looked for among all. */
  endpointsOn(host: string): Iterable<EndpointRow>;

  group(name: string): GroupRow | undefined;
  groups(): Iterable<GroupRow>;
  pairs(): Iterable<PairRow>;
  /** In the order in which they are asked. */
  policies(): readonly PolicyRow[];
  firewallRules(): Iterable<FirewallRuleRow>;

  /** Every published port, with the endpoint it leads to. */
  publishedPorts(): Iterable<{ readonly port: PublishedPortRow; readonly endpoint: EndpointRow }>;
}

/** What an address is: `reserved` if it was requested for an endpoint that is not there (yet, or any more). */
export function addressState(view: DirectoryView, row: AddressRow): 'gateway' | 'auxiliary' | 'reserved' | 'bound' {
  if (row.use !== 'endpoint') return row.use;
  return view.endpointAt(row.tenant, row.address) === undefined ? 'reserved' : 'bound';
}
