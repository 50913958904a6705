// From rows as the OVSDB client gives them (a value per column, references as uuids) to the typed rows of rows.ts. A row
// that somebody wrote by hand and that makes no sense throws, and its reader leaves it out.

import { parseAddressPort } from '../base/address-port';
import { parseCidr, parseIpv4, parseMac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { Uuid } from '../ovsdb/notation';
import { EndpointRecord } from './endpoint-record';
import { DEFAULT_SITE, PLUGIN_VERSION, SITE_NAME, TUNNEL_KEY } from './rows';
import type {
  AddressRow,
  EndpointId,
  FirewallRuleRow,
  GroupRow,
  HostRow,
  JoinRequestRow,
  JoinTokenRow,
  LocatorBlock,
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

/** The columns of one row by their OVSDB names: atoms, undefined for an empty optional one, arrays, Maps. */
export type RawRow = Readonly<Record<string, unknown>>;

/** All tables of the schema as they are kept, the parts of other rows included. */
export interface StoredRows {
  LocatorBlock: LocatorBlock;
  Host: HostRow;
  Tunnel: TunnelRow;
  Switch: SwitchRow;
  JoinToken: JoinTokenRow;
  JoinRequest: JoinRequestRow;
  Tenant: TenantRow;
  Network: NetworkRow;
  NetworkReplica: NetworkReplicaRow;
  Pool: PoolRow;
  Address: AddressRow;
  PublishedPort: PublishedPortRow;
  Endpoint: EndpointRecord;
  Group: GroupRow;
  Pair: PairRow;
  Policy: PolicyRow;
  FirewallRule: FirewallRuleRow;
}
export type StoredTable = keyof StoredRows;

/** Referenced tables stand before those that refer to them. */
export const TABLES_IN_ORDER: readonly StoredTable[] = [
  'LocatorBlock',
  'Host',
  'Tunnel',
  'Switch',
  'JoinToken',
  'JoinRequest',
  'Tenant',
  'Network',
  'NetworkReplica',
  'Pool',
  'Address',
  'PublishedPort',
  'Endpoint',
  'Group',
  'Pair',
  'Policy',
  'FirewallRule',
];

/** Finds the typed row behind a reference. */
export interface RowResolver {
  row<T extends StoredTable>(table: T, uuid: string): StoredRows[T] | undefined;
  pool(id: PoolId): PoolRow | undefined;
  /** A list of one host's name, the same each time. */
  listOf(host: string): readonly string[];
}

type Decoder<T extends StoredTable> = (uuid: Uuid, raw: RawRow, rows: RowResolver) => StoredRows[T];

const NONE: readonly never[] = Object.freeze([]);
const NO_TEXTS: ReadonlyMap<string, string> = new Map();

/** The row refers to one that is not there. */
export class MissingReference extends DaoliError {
  constructor(readonly table: StoredTable) {
    super('internal', `a row of the directory refers to a ${table} that is not there`);
  }
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new DaoliError('internal', `a text is missing in a row of the directory`);
}

function optionalText(value: unknown): string | undefined {
  return value === undefined ? undefined : text(value);
}

function number(value: unknown): number {
  if (typeof value === 'number') return value;
  throw new DaoliError('internal', `a number is missing in a row of the directory`);
}

/** Sets are nearly always empty or of one element: the empty one is shared. */
function list<T>(value: unknown, decode: (element: unknown) => T): readonly T[] {
  if (!Array.isArray(value) || value.length === 0) return NONE;
  return value.map(decode);
}

function follow<T extends StoredTable>(rows: RowResolver, table: T, uuid: unknown): StoredRows[T] {
  const row = rows.row(table, text(uuid));
  if (row === undefined) throw new MissingReference(table);
  return row;
}

/** Nearly always one host: then the same list for all rows that have it. */
function hostNames(rows: RowResolver, value: unknown): readonly string[] {
  const names = list(value, (uuid) => follow(rows, 'Host', uuid).name);
  return names.length === 1 ? rows.listOf(names[0] as string) : names;
}

/** Ports of other hosts' endpoints need not be there: they are not followed everywhere. */
function publishedPorts(rows: RowResolver, value: unknown) {
  const uuids = list(value, (uuid) => text(uuid) as Uuid);
  const ports = list(uuids, (uuid) => rows.row('PublishedPort', uuid as Uuid)).filter((port) => port !== undefined);
  const isUnknown = (uuid: Uuid) => rows.row('PublishedPort', uuid) === undefined;
  return {
    publishedPorts: ports.length === 0 ? NONE : ports,
    unknownPorts: ports.length === uuids.length ? NONE : uuids.filter(isUnknown),
  };
}

/** Hosts of older versions name none. */
function siteName(value: unknown): string {
  if (value === undefined || value === '') return DEFAULT_SITE;
  const name = text(value);
  if (SITE_NAME.test(name)) return name;
  throw new DaoliError('internal', `"${name}" is no name of a site`);
}

/** People see it on other hosts. What is no version says nothing. */
function pluginVersion(value: unknown): string | undefined {
  return typeof value === 'string' && PLUGIN_VERSION.test(value) ? value : undefined;
}

/** It is given to the kernel as it is. */
function tunnelKey(value: unknown): string {
  const key = text(value);
  if (TUNNEL_KEY.test(key)) return key;
  throw new DaoliError('internal', 'a key of a tunnel is no key');
}

const DECODERS: { readonly [T in StoredTable]: Decoder<T> } = {
  LocatorBlock: (uuid, raw) => ({ uuid, ...parseCidr(text(raw['cidr'])) }),

  Host: (uuid, raw, rows) => ({
    uuid,
    name: text(raw['name']),
    routerMac: parseMac(text(raw['router_mac'])),
    datapathId: text(raw['datapath_id']),
    address: raw['address'] === undefined ? undefined : parseIpv4(text(raw['address'])),
    certificates: list(raw['certificates'], text),
    isServer: raw['is_server'] === true,
    site: siteName(raw['site']),
    isHub: raw['is_hub'] === true,
    encrypts: raw['encrypt'] === true,
    version: pluginVersion(raw['version']),
    locatorBlocks: [...list(raw['locator_blocks'], (block) => follow(rows, 'LocatorBlock', block))].sort(
      (a, b) => a.base - b.base,
    ),
  }),

  Tunnel: (uuid, raw, rows) => ({
    uuid,
    host: follow(rows, 'Host', raw['host']).name,
    key: tunnelKey(raw['key']),
    port: number(raw['port']),
    endpoint: raw['endpoint'] === undefined ? undefined : parseAddressPort(text(raw['endpoint'])),
    noL2: raw['no_l2'] === true && (raw['l2_detected'] === true ? 'detected' : 'said'),
    unheard: hostNames(rows, raw['unheard']),
  }),

  Switch: (uuid, raw, rows) => ({
    uuid,
    host: follow(rows, 'Host', raw['host']).name,
    generation: number(raw['generation']),
    master: raw['master'] === undefined ? undefined : follow(rows, 'Host', raw['master']).name,
    backups: list(raw['backups'], (backup) => follow(rows, 'Host', backup).name),
    profile: text(raw['profile']),
  }),

  JoinToken: (uuid, raw) => ({
    uuid,
    hash: text(raw['hash']),
    expires: number(raw['expires']),
    needsApproval: raw['needs_approval'] === true,
  }),

  JoinRequest: (uuid, raw) => ({
    uuid,
    token: text(raw['token']),
    digest: text(raw['digest']),
    name: text(raw['name']),
    address: parseIpv4(text(raw['address'])),
    from: parseIpv4(text(raw['from'])),
    site: siteName(raw['site']),
    isHub: raw['is_hub'] === true,
    since: number(raw['since']),
    verdict: optionalText(raw['verdict']) as JoinRequestRow['verdict'],
  }),

  Tenant: (uuid, raw) => ({
    uuid,
    name: text(raw['name']),
    number: number(raw['number']),
    revision: number(raw['revision']),
  }),

  Network: (uuid, raw, rows) => ({
    uuid,
    id: text(raw['id']) as NetworkId,
    key: number(raw['key']),
    name: optionalText(raw['name']),
    tenant: follow(rows, 'Tenant', raw['tenant']).name,
    internal: raw['internal'] === true,
    gateway: raw['gateway'] === undefined ? undefined : parseIpv4(text(raw['gateway'])),
    ipam: raw['ipam'] === 'docker' ? 'docker' : 'daolinet',
    mtu: number(raw['mtu']),
    options: raw['options'] instanceof Map ? (Object.fromEntries(raw['options']) as Record<string, string>) : {},
    isRemoved: raw['removed'] === true,
    isDefaultDeny: raw['default_deny'] === true,
    swarmId: optionalText(raw['swarm']),
    configuration: optionalText(raw['configuration']),
    problems: raw['problems'] instanceof Map ? (raw['problems'] as ReadonlyMap<string, string>) : NO_TEXTS,
    created: number(raw['created']),
  }),

  NetworkReplica: (uuid, raw, rows) => ({
    uuid,
    host: follow(rows, 'Host', raw['host']).name,
    networkId: follow(rows, 'Network', raw['network']).id,
    dockerId: text(raw['docker_id']),
  }),

  Pool: (uuid, raw, rows) => ({
    uuid,
    id: text(raw['id']) as PoolId,
    tenant: follow(rows, 'Tenant', raw['tenant']).name,
    cidr: parseCidr(text(raw['cidr'])),
    range: raw['range'] === undefined ? undefined : parseCidr(text(raw['range'])),
    networkId: raw['network'] === undefined ? undefined : follow(rows, 'Network', raw['network']).id,
    holders: hostNames(rows, raw['holders']),
    created: number(raw['created']),
  }),

  Address: (uuid, raw, rows) => {
    const pool = follow(rows, 'Pool', raw['pool']);
    return {
      uuid,
      tenant: pool.tenant,
      address: parseIpv4(text(raw['address'])),
      poolId: pool.id,
      use: text(raw['use']) as AddressRow['use'],
      mac: raw['mac'] === undefined ? undefined : parseMac(text(raw['mac'])),
      holders: hostNames(rows, raw['holders']),
      since: number(raw['since']),
    };
  },

  PublishedPort: (uuid, raw, rows) => ({
    uuid,
    host: follow(rows, 'Host', raw['host']).name,
    protocol: text(raw['protocol']) as PublishedPortRow['protocol'],
    hostIp: parseIpv4(text(raw['host_ip'])),
    hostPort: number(raw['host_port']),
    containerPort: number(raw['container_port']),
  }),

  Endpoint: (uuid, raw, rows) => {
    const address = follow(rows, 'Address', raw['address']);
    const columns = {
      uuid,
      id: text(raw['id']) as EndpointId,
      networkId: follow(rows, 'Network', raw['network']).id,
      prefix: rows.pool(address.poolId)?.cidr.prefix ?? 32,
      mac: parseMac(text(raw['mac'])),
      host: follow(rows, 'Host', raw['host']).name,
      locator: parseIpv4(text(raw['locator'])),
      portNo: number(raw['port_no']),
      interfaceName: text(raw['interface']),
      sandbox: optionalText(raw['sandbox']),
      containerId: optionalText(raw['container_id']),
      containerName: optionalText(raw['container_name']),
      aliases: list(raw['aliases'], text),
      service: optionalText(raw['service']),
      labels: raw['labels'] instanceof Map ? (raw['labels'] as ReadonlyMap<string, string>) : NO_TEXTS,
      ...publishedPorts(rows, raw['published_ports']),
      created: number(raw['created']),
    };
    return new EndpointRecord(columns, address);
  },

  Group: (uuid, raw, rows) => ({
    uuid,
    name: text(raw['name']),
    networkIds: list(raw['networks'], (network) => follow(rows, 'Network', network).id),
    created: number(raw['created']),
  }),

  Pair: (uuid, raw) => ({
    uuid,
    a: text(raw['a']),
    b: text(raw['b']),
    isConnected: raw['connected'] === true,
    created: number(raw['created']),
  }),

  Policy: (uuid, raw) => ({
    uuid,
    name: text(raw['name']),
    position: number(raw['position']),
    action: raw['action'] === 'allow' ? 'allow' : 'deny',
    from: text(raw['from']),
    to: text(raw['to']),
    protocol: optionalText(raw['protocol']) as PolicyRow['protocol'],
    ports: list(raw['ports'], text),
    created: number(raw['created']),
  }),

  FirewallRule: (uuid, raw, rows) => ({
    uuid,
    name: text(raw['name']),
    host: follow(rows, 'Host', raw['host']).name,
    protocol: text(raw['protocol']) as FirewallRuleRow['protocol'],
    hostIp: parseIpv4(text(raw['host_ip'])),
    hostPort: number(raw['host_port']),
    container: text(raw['container']),
    containerPort: number(raw['container_port']),
    from: list(raw['from'], (cidr) => parseCidr(text(cidr))),
    status: optionalText(raw['status']),
    created: number(raw['created']),
  }),
};

/** Decodes one row. Throws DaoliError where a value is missing, makes no sense, or refers to a row that is not there. */
export function decodeRow<T extends StoredTable>(table: T, uuid: Uuid, raw: RawRow, rows: RowResolver): StoredRows[T] {
  return DECODERS[table](uuid, raw, rows);
}
