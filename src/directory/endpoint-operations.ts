// What is written about addresses and endpoints, as operations of one transaction each; see operations.ts. An Address row
// lives while a Docker holds it (from RequestAddress to ReleaseAddress) or an endpoint has it, so that whatever call is
// lost, an address in use is never given twice, and one out of use is never lost.

import { cidrHolds, formatIpv4, formatMac, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { named, type NamedUuid, type Uuid } from '../ovsdb/notation';
import { insert, isRow, mutate, remove, update, wait } from '../ovsdb/operations';
import { describeEndpoint, describeHolder, describeNetwork } from './descriptions';
import { insertLocatorBlock, ownHost } from './operations';
import type { AddressRow, EndpointId, EndpointRow, NetworkId, PoolId, PoolRow, PublishedPortRow } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

export interface NewAddress {
  readonly poolId: PoolId;
  readonly address: Ipv4;
  readonly use: AddressRow['use'];
  readonly mac?: Mac | undefined;
}

/** An address that this host's Docker requested. That nobody has it is checked by the caller and by the server. */
export function insertAddress(context: PlanContext, address: NewAddress): Ops {
  const pool = context.view.pool(address.poolId);
  if (pool === undefined) throw new DaoliError('not-found', `pool ${address.poolId} does not exist`, address.poolId);
  return [insertAddressRow(context, pool, address, [ownHost(context).uuid])];
}

function insertAddressRow(
  { view, nowMs }: PlanContext,
  pool: PoolRow,
  address: Omit<NewAddress, 'poolId'>,
  holders: readonly Uuid[],
) {
  const row = {
    tenant: view.tenant(pool.tenant)?.uuid,
    address: formatIpv4(address.address),
    pool: pool.uuid,
    use: address.use,
    mac: address.mac === undefined ? undefined : formatMac(address.mac),
    holders,
    since: nowMs,
  };
  return insert('Address', row, { uuidName: 'address' });
}

/** This host's Docker requests an address that is there already. Nothing to do if it holds it. */
export function holdAddress(context: PlanContext, row: AddressRow): Ops {
  if (row.holders.includes(context.host)) return [];
  return [mutate('Address', isRow(row.uuid), [['holders', 'insert', [ownHost(context).uuid]]])];
}

/** A reserved address is requested again, perhaps with another MAC address: it is reserved anew. */
export function reserveAgain(context: PlanContext, row: AddressRow, mac: Mac | undefined): Ops {
  const { view, nowMs } = context;
  const changes = { mac: mac === undefined ? undefined : formatMac(mac), since: nowMs };
  return [
    waitForHolders(view, row),
    wait('Address', isRow(row.uuid), [{ since: row.since }]),
    update('Address', isRow(row.uuid), changes),
    ...holdAddress(context, row),
  ];
}

/**
 * This host's Docker gives an address back. It goes, unless another host holds it or its endpoint is still there (then
 * DeleteEndpoint was lost or is late, and the address goes with the endpoint). Nothing to do for one that is not there.
 */
export function releaseAddress(context: PlanContext, poolId: PoolId, address: Ipv4): Ops {
  const { view, host } = context;
  const pool = view.pool(poolId);
  const row = pool && view.addressHolder(pool.tenant, address);
  if (row?.poolId !== poolId) return [];
  const endpoint = view.endpointAt(row.tenant, address);
  const isAlone = row.holders.every((holder) => holder === host);
  // The gateway of a network is every host's that has it: it goes with the network's pool.
  const isShared = row.use !== 'endpoint' && pool?.networkId !== undefined;
  if (endpoint === undefined && isAlone && !isShared) return removeAddress(context, row);
  if (!row.holders.includes(host)) return [];
  // The endpoint must still be there, else nobody would ever remove the row.
  const stays = endpoint ? [wait('Endpoint', isRow(endpoint.uuid), [{ id: endpoint.id }])] : [];
  return [...stays, mutate('Address', isRow(row.uuid), [['holders', 'delete', [ownHost(context).uuid]]])];
}

/** Removes an address that no endpoint has. The server refuses it if one has come to have it. */
export function removeAddress(context: PlanContext, row: AddressRow): Ops {
  return [waitForHolders(context.view, row), remove('Address', isRow(row.uuid))];
}

/** Fails the transaction if others hold the address now than in our view. */
function waitForHolders(view: DirectoryView, row: AddressRow) {
  return wait('Address', isRow(row.uuid), [{ holders: row.holders.map((name) => view.host(name)?.uuid) }]);
}

export interface NewEndpoint {
  readonly id: EndpointId;
  readonly networkId: NetworkId;
  readonly address: Ipv4;
  readonly mac: Mac;
  readonly interfaceName: string;
}

/**
 * An endpoint of this host, with a locator and a port number of its own, bound to its address. The address was reserved
 * by our IPAM; or Docker's gave it, or the reservation is gone, and it is written down here. Throws `conflict` where
 * somebody else has the address, the id or the MAC address, `invalid` where the address is not in the network.
 */
export function insertEndpoint(context: PlanContext, endpoint: NewEndpoint): Ops {
  const { view, allocate, nowMs } = context;
  const network = view.network(endpoint.networkId);
  if (network === undefined) {
    throw new DaoliError('not-found', `network ${endpoint.networkId} does not exist`, endpoint.networkId);
  }
  const existing = view.endpoint(endpoint.id);
  if (existing !== undefined) {
    throw new DaoliError('conflict', `${describeEndpoint(view, existing)} exists already`, endpoint.id);
  }
  if (context.attempt > 0) refuseTakenMac(view, endpoint);
  const address = bindAddress(context, endpoint, network.ipam);
  const { locator, newBlock } = allocate.locator();
  const row = {
    id: endpoint.id,
    network: network.uuid,
    address: address.ref,
    mac: formatMac(endpoint.mac),
    host: ownHost(context).uuid,
    locator: formatIpv4(locator),
    port_no: allocate.portNo(),
    interface: endpoint.interfaceName,
    created: nowMs,
  };
  return [...(newBlock ? insertLocatorBlock(ownHost(context), newBlock) : []), ...address.ops, insert('Endpoint', row)];
}

function bindAddress(
  context: PlanContext,
  { networkId, address, mac }: NewEndpoint,
  ipam: 'daolinet' | 'docker',
): { ops: Ops; ref: Uuid | NamedUuid } {
  const { view } = context;
  const pool = [...view.poolsOfNetwork(networkId)].find((candidate) => cidrHolds(candidate.cidr, address));
  const text = formatIpv4(address);
  if (pool === undefined) {
    throw new DaoliError('invalid', `${text} is in no subnet of ${describeNetwork(view, networkId)}`, text);
  }
  const row = view.addressHolder(pool.tenant, address);
  if (row === undefined) {
    const holders = ipam === 'daolinet' ? [ownHost(context).uuid] : [];
    return {
      ops: [insertAddressRow(context, pool, { address, use: 'endpoint', mac }, holders)],
      ref: named('address'),
    };
  }
  const isOthers = row.mac !== undefined && row.mac !== mac;
  if (row.use !== 'endpoint' || isOthers || view.endpointAt(row.tenant, address) !== undefined) {
    throw new DaoliError('conflict', `${text} is ${describeHolder(view, row)}`, text);
  }
  return { ops: [], ref: row.uuid };
}

/**
 * In one network a MAC address is one endpoint's. The server's index sees to that; this says it in words after it has,
 * since it looks at every endpoint of the network.
 */
function refuseTakenMac(view: DirectoryView, { networkId, mac }: NewEndpoint): void {
  for (const other of view.endpointsOf(networkId)) {
    if (other.mac !== mac) continue;
    const text = formatMac(mac);
    throw new DaoliError('conflict', `MAC address ${text} is in use by ${describeEndpoint(view, other)}`, text);
  }
}

/**
 * Removes an endpoint and its published ports. Its address stays reserved as long as a Docker holds it, and goes too if
 * none does. Nothing to do for an endpoint that is not there.
 */
export function deleteEndpoint(context: PlanContext, id: EndpointId): Ops {
  const { view, nowMs } = context;
  const endpoint = view.endpoint(id);
  if (endpoint === undefined) return [];
  const removal = remove('Endpoint', isRow(endpoint.uuid));
  const row = view.addressHolder(endpoint.tenant, endpoint.address);
  if (row === undefined) return [removal];
  if (row.holders.length === 0) return [removal, ...removeAddress(context, row)];
  return [removal, waitForHolders(view, row), update('Address', isRow(row.uuid), { since: nowMs })];
}

/** What of an endpoint changes in its life. Undefined empties; a member that is not given stays. */
export interface EndpointChanges {
  readonly sandbox?: string | undefined;
  readonly containerId?: string | undefined;
  readonly containerName?: string | undefined;
  readonly aliases?: readonly string[];
  readonly service?: string | undefined;
  readonly labels?: ReadonlyMap<string, string>;
}

const COLUMNS = {
  sandbox: 'sandbox',
  containerId: 'container_id',
  containerName: 'container_name',
  aliases: 'aliases',
  service: 'service',
  labels: 'labels',
} as const satisfies Record<keyof EndpointChanges, string>;

function isSameValue(old: unknown, value: unknown): boolean {
  if (Array.isArray(old) && Array.isArray(value)) return sameSet(old, value);
  if (old instanceof Map && value instanceof Map) {
    return old.size === value.size && [...old].every(([key, text]) => value.get(key) === text);
  }
  return old === value;
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((element) => b.includes(element));
}

/** Changes an endpoint. Nothing to do where all is so already. Throws `not-found`. */
export function updateEndpoint({ view }: PlanContext, id: EndpointId, changes: EndpointChanges): Ops {
  const endpoint = existingEndpoint(view, id);
  const row: Record<string, unknown> = {};
  for (const [member, column] of Object.entries(COLUMNS) as Array<[keyof EndpointChanges, string]>) {
    if (!(member in changes)) continue;
    const [old, value] = [endpoint[member], changes[member]];
    if (!isSameValue(old, value)) row[column] = value;
  }
  if (Object.keys(row).length === 0) return [];
  return [wait('Endpoint', isRow(endpoint.uuid), [{ id }]), update('Endpoint', isRow(endpoint.uuid), row)];
}

function existingEndpoint(view: DirectoryView, id: EndpointId): EndpointRow {
  const endpoint = view.endpoint(id);
  if (endpoint === undefined) throw new DaoliError('not-found', `endpoint ${id} does not exist`, id);
  return endpoint;
}

/** A host port that leads to an endpoint. */
export type NewPublishedPort = Pick<PublishedPortRow, 'protocol' | 'hostIp' | 'hostPort' | 'containerPort'>;

const ANY_ADDRESS = 0;

/** The published port of this host that `port` would collide with: the same address, or any address, and port. */
export function collidingPort(
  { view, host }: PlanContext,
  port: NewPublishedPort,
): { readonly port: PublishedPortRow; readonly endpoint: EndpointRow } | undefined {
  for (const published of view.publishedPorts()) {
    const other = published.port;
    if (other.host !== host || other.protocol !== port.protocol || other.hostPort !== port.hostPort) continue;
    if (other.hostIp === port.hostIp || other.hostIp === ANY_ADDRESS || port.hostIp === ANY_ADDRESS) return published;
  }
  return undefined;
}

/**
 * Makes these the published ports of an endpoint, on this host; none revokes all. Nothing to do where they are so
 * already. Throws `not-found`, and `conflict` where another endpoint has one of them.
 */
export function publishPorts(context: PlanContext, id: EndpointId, ports: readonly NewPublishedPort[]): Ops {
  const { view, host } = context;
  const endpoint = existingEndpoint(view, id);
  const isSame = (old: PublishedPortRow, port: NewPublishedPort) =>
    old.host === host &&
    old.protocol === port.protocol &&
    old.hostIp === port.hostIp &&
    old.hostPort === port.hostPort &&
    old.containerPort === port.containerPort;
  const kept = endpoint.publishedPorts.filter((old) => ports.some((port) => isSame(old, port)));
  const added = ports.filter((port) => !kept.some((old) => isSame(old, port)));
  if (added.length === 0 && kept.length === endpoint.publishedPorts.length) return [];
  for (const port of added) refuseCollision(context, endpoint, port);
  const owner = ownHost(context).uuid;
  const rows = added.map((port, index) => insert('PublishedPort', portRow(port, owner), { uuidName: `port${index}` }));
  const all = [...kept.map((old) => old.uuid), ...added.map((_, index) => named(`port${index}`))];
  return [
    ...rows,
    wait('Endpoint', isRow(endpoint.uuid), [{ published_ports: endpoint.publishedPorts.map((old) => old.uuid) }]),
    update('Endpoint', isRow(endpoint.uuid), { published_ports: all }),
  ];
}

function portRow(port: NewPublishedPort, host: Uuid): object {
  return {
    host,
    protocol: port.protocol,
    host_ip: formatIpv4(port.hostIp),
    host_port: port.hostPort,
    container_port: port.containerPort,
  };
}

function refuseCollision(context: PlanContext, endpoint: EndpointRow, port: NewPublishedPort): void {
  const other = collidingPort(context, port);
  if (other === undefined || other.endpoint.id === endpoint.id) return;
  const text = `${port.hostPort}/${port.protocol}`;
  const owner = describeEndpoint(context.view, other.endpoint);
  throw new DaoliError('conflict', `host port ${text} is published by ${owner} already: choose another`, text);
}
