// The directory in memory: typed rows with the indexes that DirectoryView needs, fed with the row changes of one
// transaction after another. It knows nothing of OVSDB connections. About 100,000 endpoints have to fit, so what can be
// derived from another index has none of its own.

import type { Ipv4, Mac } from '../base/addresses';
import { compactId, type CompactId } from '../base/compact-id';
import { DaoliError, messageOf } from '../base/errors';
import type { Uuid } from '../ovsdb/notation';
import type { EndpointRecord } from './endpoint-record';
import { KeyedRows } from './keyed-rows';
import { isEndpoint, PoolIndex, type AddressUser } from './pool-index';
import { ReplicaIndex } from './replica-index';
import { containersOf } from './rule-containers';
import { decodeRow, MissingReference, TABLES_IN_ORDER, type RawRow, type RowResolver } from './row-decoding';
import type { StoredRows, StoredTable } from './row-decoding';
import { encodeAddress, encodeEndpoint, type TypedOnlyTable, type TypedRows } from './row-encoding';
import type {
  AddressRow,
  DirectoryChange,
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
import type { DirectoryView } from './view';

/** A row as a transaction left it; without `row` it was deleted. `Change` of src/ovsdb is one. */
export interface RawChange {
  readonly table: string;
  readonly uuid: Uuid;
  readonly row?: RawRow;
}

interface Step {
  readonly table: StoredTable;
  readonly uuid: Uuid;
  readonly raw: RawRow | undefined;
}

/** Two of the tables grow with the containers. */
type RowMaps = { readonly [T in StoredTable]: RowsByUuid<StoredRows[T]> };

class RowsByUuid<V extends { readonly uuid: Uuid }> extends KeyedRows<string, V> {
  constructor() {
    super((row) => row.uuid);
  }
}

export class DirectoryTables implements DirectoryView, RowResolver {
  private readonly rows: RowMaps = {
    LocatorBlock: new RowsByUuid(),
    Host: new RowsByUuid(),
    Tunnel: new RowsByUuid(),
    Switch: new RowsByUuid(),
    JoinToken: new RowsByUuid(),
    JoinRequest: new RowsByUuid(),
    Tenant: new RowsByUuid(),
    Network: new RowsByUuid(),
    NetworkReplica: new RowsByUuid(),
    Pool: new RowsByUuid(),
    Address: new RowsByUuid(),
    PublishedPort: new RowsByUuid(),
    Endpoint: new RowsByUuid(),
    Group: new RowsByUuid(),
    Pair: new RowsByUuid(),
    Policy: new RowsByUuid(),
    FirewallRule: new RowsByUuid(),
  };
  private readonly hostsByName = new Map<string, HostRow>();
  private readonly tunnelsByHost = new Map<string, TunnelRow>();
  private readonly switchesByHost = new Map<string, SwitchRow>();
  private readonly tenantsByName = new Map<string, TenantRow>();
  private readonly networksById = new Map<NetworkId, NetworkRow>();
  private readonly networksByKey = new Map<number, NetworkRow>();
  private readonly replicas = new ReplicaIndex();
  private readonly poolIndex = new PoolIndex();
  private readonly endpointsById = new KeyedRows<CompactId, EndpointRecord>((row) => row.compactId);
  private readonly endpointsByLocator = new KeyedRows<Ipv4, EndpointRow>((row) => row.locator);
  /** Of this host, and of those that it stands by for: nobody asks for the ports of others often. */
  private readonly byPort = new Map<string, Map<number, EndpointRow>>();
  private readonly publishing = new Set<EndpointRecord>();
  private readonly hostLists = new Map<string, readonly string[]>();
  /** Endpoints whose address is not followed (yet). */
  private readonly waiting = new Map<Uuid, RawRow>();

  /**
   * `onBadRow` hears of rows that make no sense; they are left out. With `isFollowed`, which says of which networks all
   * endpoints and addresses are followed, an endpoint without its address is none: it is shown when that is there, too.
   */
  constructor(
    private readonly ownHost: string,
    private readonly onBadRow: (error: DaoliError) => void = () => undefined,
    private readonly isFollowed?: (network: NetworkRow) => boolean,
  ) {
    this.byPort.set(ownHost, new Map());
  }

  /**
   * Takes the rows that one transaction, or one snapshot, changed, and says what that means: what went, then what came or
   * changed, referenced rows before those that refer to them.
   */
  apply(changes: readonly RawChange[]): DirectoryChange[] {
    const steps = this.inOrder(changes);
    const went = steps.toReversed().flatMap((step) => this.takeOut(step));
    const came = steps.flatMap((step) => this.putIn(step));
    const waited = this.withTheirAddress().flatMap((step) => this.putIn(step));
    return [...went, ...came, ...waited].filter((change) => change !== undefined);
  }

  /** Endpoints that waited for an address which is there now. */
  private withTheirAddress(): Step[] {
    const complete = [...this.waiting].filter(([, raw]) => this.rows.Address.has(String(raw['address'])));
    for (const [uuid] of complete) this.waiting.delete(uuid);
    return complete.map(([uuid, raw]) => ({ table: 'Endpoint', uuid, raw }));
  }

  /**
   * The networks of endpoints that wait for their addresses: of this host's and of those that it stands by for, and of the
   * containers that ports of theirs lead to.
   */
  *waitingNetworks(): Iterable<NetworkRow> {
    if (this.waiting.size === 0) return;
    const containers = containersOf(this, [...this.byPort.keys()]);
    for (const raw of this.waiting.values()) {
      const network = this.rows.Network.get(String(raw['network']));
      const isOwn = this.byPort.has(this.rows.Host.get(String(raw['host']))?.name ?? '');
      if (network !== undefined && (isOwn || containers.has(String(raw['container_name'])))) yield network;
    }
  }

  get isWhole(): boolean {
    return this.isFollowed === undefined;
  }
  knowsAllOf(id: NetworkId): boolean {
    const network = this.network(id);
    return this.isFollowed === undefined || (network !== undefined && this.isFollowed(network));
  }

  private inOrder(changes: readonly RawChange[]): Step[] {
    const byTable = new Map<string, Step[]>(TABLES_IN_ORDER.map((table) => [table, []]));
    for (const { table, uuid, row } of changes) {
      byTable.get(table)?.push({ table: table as StoredTable, uuid, raw: row });
    }
    return [...byTable.values()].flat();
  }

  /** First half of a step: a deleted row leaves, and a changed endpoint leaves the indexes whose keys may change. */
  private takeOut({ table, uuid, raw }: Step): DirectoryChange | undefined {
    const previous = this.rows[table].get(uuid);
    if (table === 'Endpoint') this.waiting.delete(uuid);
    if (previous === undefined) return undefined;
    if (raw === undefined) {
      this.rows[table].delete(uuid);
      this.unindex(table, previous);
      return changeOf(table, previous, undefined);
    }
    if (table === 'Endpoint') this.unindex(table, previous);
    return undefined;
  }

  /** Second half: the row as it is now. One that makes no sense leaves nothing behind. */
  private putIn({ table, uuid, raw }: Step): DirectoryChange | undefined {
    if (raw === undefined) return undefined;
    const previous = this.rows[table].get(uuid);
    const row = this.decode(table, uuid, raw);
    if (row === undefined) {
      if (previous !== undefined && table !== 'Endpoint') this.unindex(table, previous);
      this.rows[table].delete(uuid);
      return changeOf(table, previous, undefined);
    }
    (this.rows[table] as KeyedRows<string, typeof row>).set(row);
    this.index(table, row, previous);
    return changeOf(table, previous, row);
  }

  private decode(table: StoredTable, uuid: Uuid, raw: RawRow): StoredRows[StoredTable] | undefined {
    try {
      return decodeRow(table, uuid, raw, this);
    } catch (error) {
      if (table === 'Endpoint' && this.isWaiting(error)) {
        this.waiting.set(uuid, raw);
        return undefined;
      }
      this.onBadRow(
        new DaoliError('internal', `row ${uuid} of ${table} is left out: ${messageOf(error)}`, uuid, { cause: error }),
      );
      return undefined;
    }
  }

  private isWaiting(error: unknown): boolean {
    return !this.isWhole && error instanceof MissingReference && error.table === 'Address';
  }

  private index(table: StoredTable, row: StoredRows[StoredTable], previous: StoredRows[StoredTable] | undefined): void {
    if (table === 'Host') this.hostsByName.set((row as HostRow).name, row as HostRow);
    else if (table === 'Tunnel') this.tunnelsByHost.set((row as TunnelRow).host, row as TunnelRow);
    else if (table === 'Switch') this.indexSwitch(row as SwitchRow);
    else if (table === 'Tenant') this.tenantsByName.set((row as TenantRow).name, row as TenantRow);
    else if (table === 'NetworkReplica') this.replicas.set(row as NetworkReplicaRow);
    else if (table === 'Pool') this.poolIndex.setPool(row as PoolRow);
    else if (table === 'Address') {
      this.poolIndex.setAddress(row as AddressRow, previous as AddressRow | undefined);
    } else if (table === 'Endpoint') this.indexEndpoint(row as EndpointRecord);
    else if (table === 'Network') {
      const network = row as NetworkRow;
      this.networksById.set(network.id, network);
      this.networksByKey.set(network.key, network);
    }
  }

  private unindex(table: StoredTable, row: StoredRows[StoredTable]): void {
    if (table === 'Host') {
      this.hostsByName.delete((row as HostRow).name);
      this.hostLists.delete((row as HostRow).name);
    } else if (table === 'Tunnel') this.tunnelsByHost.delete((row as TunnelRow).host);
    else if (table === 'Switch') this.unindexSwitch(row as SwitchRow);
    else if (table === 'Tenant') this.tenantsByName.delete((row as TenantRow).name);
    else if (table === 'NetworkReplica') this.replicas.delete(row as NetworkReplicaRow);
    else if (table === 'Pool') this.poolIndex.deletePool(row as PoolRow);
    else if (table === 'Address') this.poolIndex.deleteAddress(row as AddressRow);
    else if (table === 'Endpoint') this.unindexEndpoint(row as EndpointRecord);
    else if (table === 'Network') {
      this.networksById.delete((row as NetworkRow).id);
      this.networksByKey.delete((row as NetworkRow).key);
    }
  }

  private indexSwitch(row: SwitchRow): void {
    this.switchesByHost.set(row.host, row);
    const isBackup = row.backups.includes(this.ownHost);
    if (!isBackup) this.forgetPorts(row.host);
    else if (!this.byPort.has(row.host)) {
      this.byPort.set(row.host, new Map([...this.endpointsOfOther(row.host)].map((each) => [each.portNo, each])));
    }
  }

  private unindexSwitch(row: SwitchRow): void {
    this.switchesByHost.delete(row.host);
    this.forgetPorts(row.host);
  }

  private forgetPorts(host: string): void {
    if (host !== this.ownHost) this.byPort.delete(host);
  }

  private indexEndpoint(endpoint: EndpointRecord): void {
    this.endpointsById.set(endpoint);
    this.endpointsByLocator.set(endpoint);
    this.byPort.get(endpoint.host)?.set(endpoint.portNo, endpoint);
    if (endpoint.publishedPorts.length > 0) this.publishing.add(endpoint);
    const address = this.rows.Address.get(endpoint.addressUuid);
    if (address !== undefined) this.poolIndex.setEndpoint(endpoint, address);
  }

  private unindexEndpoint(endpoint: EndpointRecord): void {
    this.endpointsById.delete(endpoint.compactId);
    this.endpointsByLocator.delete(endpoint.locator);
    this.byPort.get(endpoint.host)?.delete(endpoint.portNo);
    this.publishing.delete(endpoint);
    this.poolIndex.deleteEndpoint(endpoint, this.rows.Address.get(endpoint.addressUuid));
  }

  /** The rows of a table as the OVSDB client had them, made anew. */
  typedRows(table: TypedOnlyTable): TypedRows {
    const { Address, Endpoint } = this.rows;
    const rows = table === 'Address' ? Address : Endpoint;
    return {
      has: (uuid) => rows.has(uuid),
      uuids: () => rows.keys() as Iterable<Uuid>,
      raw: (uuid) => {
        const [address, endpoint] = table === 'Address' ? [Address.get(uuid)] : [undefined, Endpoint.get(uuid)];
        if (address !== undefined) return encodeAddress(address, this);
        return endpoint && encodeEndpoint(endpoint, this);
      },
    };
  }

  /** All rows of a table that there are at this moment, likewise; each is made when it is asked for. */
  rawRows(table: TypedOnlyTable): Iterable<readonly [Uuid, RawRow]> {
    return table === 'Address'
      ? lazily([...this.rows.Address.values()], (row) => [row.uuid, encodeAddress(row, this)] as const)
      : lazily([...this.rows.Endpoint.values()], (row) => [row.uuid, encodeEndpoint(row, this)] as const);
  }

  /** Whether a row of this uuid is there and makes sense. */
  hasRow(table: string, uuid: Uuid): boolean {
    return this.rows[table as StoredTable]?.has(uuid) ?? false;
  }

  listOf(host: string): readonly string[] {
    let list = this.hostLists.get(host);
    if (list === undefined) this.hostLists.set(host, (list = Object.freeze([host])));
    return list;
  }

  row<T extends StoredTable>(table: T, uuid: string): StoredRows[T] | undefined {
    return this.rows[table].get(uuid);
  }

  host(name: string): HostRow | undefined {
    return this.hostsByName.get(name);
  }
  hosts(): Iterable<HostRow> {
    return this.hostsByName.values();
  }

  tunnel(host: string): TunnelRow | undefined {
    return this.tunnelsByHost.get(host);
  }
  tunnels(): Iterable<TunnelRow> {
    return this.tunnelsByHost.values();
  }

  switchOf(host: string): SwitchRow | undefined {
    return this.switchesByHost.get(host);
  }
  switches(): Iterable<SwitchRow> {
    return this.switchesByHost.values();
  }

  group(name: string): GroupRow | undefined {
    for (const group of this.rows.Group.values()) if (group.name === name) return group;
    return undefined;
  }
  groups(): Iterable<GroupRow> {
    return this.rows.Group.values();
  }
  pairs(): Iterable<PairRow> {
    return this.rows.Pair.values();
  }
  policies(): readonly PolicyRow[] {
    return [...this.rows.Policy.values()].sort((a, b) => a.position - b.position);
  }
  firewallRules(): Iterable<FirewallRuleRow> {
    return this.rows.FirewallRule.values();
  }

  joinTokens(): Iterable<JoinTokenRow> {
    return this.rows.JoinToken.values();
  }
  joinRequests(): Iterable<JoinRequestRow> {
    return this.rows.JoinRequest.values();
  }

  tenant(name: string): TenantRow | undefined {
    return this.tenantsByName.get(name);
  }
  tenants(): Iterable<TenantRow> {
    return this.tenantsByName.values();
  }

  network(id: NetworkId): NetworkRow | undefined {
    return this.networksById.get(id);
  }
  networkByKey(key: number): NetworkRow | undefined {
    return this.networksByKey.get(key);
  }
  networks(): Iterable<NetworkRow> {
    return this.networksById.values();
  }

  networkOfDocker(dockerId: string): NetworkRow | undefined {
    const replica = this.replicas.ofDocker(dockerId);
    return this.networksById.get(replica?.networkId ?? (dockerId as NetworkId));
  }
  replicasOf(id: NetworkId): Iterable<NetworkReplicaRow> {
    return this.replicas.of(id);
  }
  replicaOn(host: string, id: NetworkId): NetworkReplicaRow | undefined {
    return this.replicas.on(host, id);
  }

  pool(id: PoolId): PoolRow | undefined {
    return this.poolIndex.cell(id)?.pool;
  }
  pools(): Iterable<PoolRow> {
    return this.rows.Pool.values();
  }
  *poolsOfTenant(tenant: string): Iterable<PoolRow> {
    for (const { pool } of this.poolIndex.cellsOfTenant(tenant)) yield pool;
  }
  *poolsOfNetwork(id: NetworkId): Iterable<PoolRow> {
    for (const { pool } of this.poolIndex.cellsOfNetwork(id)) yield pool;
  }

  addressHolder(tenant: string, address: Ipv4): AddressRow | undefined {
    return this.addressOf(this.poolIndex.user(tenant, address));
  }
  reservedByMac(poolId: PoolId, mac: Mac): AddressRow | undefined {
    return this.poolIndex.cell(poolId)?.reservedByMac.get(mac);
  }
  reservedOf(poolId: PoolId): Iterable<AddressRow> {
    return this.poolIndex.cell(poolId)?.reserved.values() ?? [];
  }
  *addressesOf(poolId: PoolId): Iterable<AddressRow> {
    for (const user of this.poolIndex.cell(poolId)?.users.values() ?? []) {
      const address = this.addressOf(user);
      if (address !== undefined) yield address;
    }
  }
  addressCount(poolId: PoolId): number {
    return this.poolIndex.cell(poolId)?.users.size ?? 0;
  }

  endpoint(id: EndpointId): EndpointRow | undefined {
    return this.endpointsById.get(compactId(id));
  }
  endpoints(): Iterable<EndpointRow> {
    return this.endpointsById.values();
  }
  endpointCount(): number {
    return this.endpointsById.size;
  }
  *endpointsOf(networkId: NetworkId): Iterable<EndpointRow> {
    for (const { users } of this.poolIndex.cellsOfNetwork(networkId)) {
      for (const user of users.values()) if (isEndpoint(user) && user.networkId === networkId) yield user;
    }
  }
  endpointAt(tenant: string, address: Ipv4): EndpointRow | undefined {
    const user = this.poolIndex.user(tenant, address);
    return user !== undefined && isEndpoint(user) ? user : undefined;
  }
  endpointByLocator(locator: Ipv4): EndpointRow | undefined {
    return this.endpointsByLocator.get(locator);
  }
  endpointByPort(host: string, portNo: number): EndpointRow | undefined {
    const known = this.byPort.get(host);
    if (known !== undefined) return known.get(portNo);
    for (const endpoint of this.endpointsOn(host)) if (endpoint.portNo === portNo) return endpoint;
    return undefined;
  }
  endpointsOn(host: string): Iterable<EndpointRow> {
    return this.byPort.get(host)?.values() ?? this.endpointsOfOther(host);
  }

  private *endpointsOfOther(host: string): Iterable<EndpointRow> {
    for (const endpoint of this.endpointsById.values()) if (endpoint.host === host) yield endpoint;
  }

  private addressOf(user: AddressUser | undefined): AddressRow | undefined {
    return user !== undefined && isEndpoint(user) ? this.rows.Address.get(user.addressUuid) : user;
  }

  *publishedPorts(): Iterable<{ readonly port: PublishedPortRow; readonly endpoint: EndpointRow }> {
    for (const endpoint of this.publishing) {
      for (const port of endpoint.publishedPorts) yield { port, endpoint };
    }
  }
}

function* lazily<A, B>(items: readonly A[], make: (item: A) => B): Iterable<B> {
  for (const item of items) yield make(item);
}

/** The change for listeners; the parts of other rows have none of their own. */
function changeOf(
  table: StoredTable,
  previous: StoredRows[StoredTable] | undefined,
  row: StoredRows[StoredTable] | undefined,
): DirectoryChange | undefined {
  if (table === 'LocatorBlock' || table === 'PublishedPort') return undefined;
  if (row !== undefined) {
    const change = previous === undefined ? { kind: 'insert', row } : { kind: 'modify', row, previous };
    return { table, ...change } as DirectoryChange;
  }
  return previous && ({ table, kind: 'delete', previous } as DirectoryChange);
}
