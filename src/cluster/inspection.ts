// What a host may write into the directory: its own rows, and what all share. A server of the cluster asks this about each
// operation (RFC 7047 §5.2) of another host before the database sees it. References and indexes of the database do the
// rest: what somebody uses cannot be deleted. Pure; what is not known to be right is refused.

import { cidrHolds, cidrsOverlap, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { LOCATOR_BLOCK_PREFIX } from '../directory/allocation';
import type { AddressRow, HostRow, NetworkId, NetworkReplicaRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

/** What the decision is made from. */
export interface Inspection {
  readonly view: Pick<DirectoryView, 'hosts' | 'row' | 'tenant' | 'replicasOf' | 'replicaOn' | 'pool' | 'endpointAt'>;
  /** The host that writes. */
  readonly host: HostRow;
  readonly locatorRange: Cidr;
  /** Whether a row that is not in the view is really gone: it may be a moment ahead of it. */
  readonly isLast: boolean;
}

/** What operations of one transaction say of one another, worked out once. */
interface Transaction extends Inspection {
  /** The locator blocks that it makes. */
  readonly newBlocks: readonly Cidr[];
  /** The pools of the addresses that it makes, by their uuid-name. */
  readonly newAddresses: ReadonlyMap<string, string | undefined>;
}

type Json = Readonly<Record<string, unknown>>;
const NOT_THERE = 'that row is not there (yet)';
/** What is wrong, or undefined. */
type Verdict = string | undefined;

const HARMLESS = new Set(['select', 'wait', 'comment', 'commit', 'abort', 'assert']);
/** More than any host has a reason for. */
const MAX_OPERATIONS = 2_000;
/** ovsdb-server reads others, too, but the view knows rows by this one. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Why the host may not send this transaction, or undefined. `operations` is what stands behind the database's name. */
export function inspectTransaction(operations: readonly unknown[], inspection: Inspection): Verdict {
  if (operations.length > MAX_OPERATIONS) return `a transaction has at most ${MAX_OPERATIONS} operations`;
  if (hasOddUuid(operations)) return 'a uuid is written in lower case';
  const transaction = { ...inspection, newBlocks: newBlocks(operations), newAddresses: newAddresses(operations) };
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null) return 'an operation is no object';
    const verdict = inspectOperation(operation as Json, transaction);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** Whether a reference somewhere in it is spelt as no row of the view is. */
function hasOddUuid(value: unknown): boolean {
  if (!Array.isArray(value))
    return typeof value === 'object' && value !== null && Object.values(value).some(hasOddUuid);
  const [tag, uuid] = value as unknown[];
  const isOdd = tag === 'uuid' && typeof uuid === 'string' && UUID.test(uuid.toLowerCase()) && !UUID.test(uuid);
  return isOdd || value.some(hasOddUuid);
}

function inspectOperation(operation: Json, transaction: Transaction): Verdict {
  const { op, table } = operation;
  if (HARMLESS.has(String(op))) return undefined;
  switch (op) {
    case 'insert':
      return inspectInsert(String(table), asObject(operation['row']), transaction);
    case 'update':
    case 'mutate':
    case 'delete':
      return inspectChange(operation, transaction);
    default:
      return `hosts do no ${String(op)}`;
  }
}

function inspectInsert(table: string, row: Json, inspection: Transaction): Verdict {
  const { host } = inspection;
  const isOwn = isRef(row['host'], host.uuid);
  switch (table) {
    case 'Tenant':
    case 'Network':
      return undefined;
    case 'Pool':
      if (!holdsOnly(row['holders'], host.uuid)) return 'a Pool is held by who asked for it';
      return existingRefs(row['network']).length === 0 ? undefined : 'a Pool comes with its Network or before it';
    case 'Address':
      return inspectAddress(row, inspection);
    case 'NetworkReplica':
    case 'PublishedPort':
      return isOwn ? undefined : `a ${table} belongs to the host that writes it`;
    case 'Endpoint':
      return isOwn ? inspectEndpoint(row, inspection) : 'an Endpoint belongs to the host that writes it';
    case 'LocatorBlock':
      return inspectBlock(row['cidr'], inspection);
    default:
      return `hosts insert no ${table}`;
  }
}

/** An address of its pool, in the tenant of its pool. */
function inspectAddress(row: Json, { view, host }: Inspection): Verdict {
  if (!holdsOnly(row['holders'], host.uuid)) return 'an Address is held by who asked for it';
  const pool = view.row('Pool', uuidOf(row['pool']) ?? '');
  const address = read<Ipv4>(() => parseIpv4(String(row['address'])));
  const isOfPool = pool !== undefined && address !== undefined && cidrHolds(pool.cidr, address);
  const isOfTenant = isOfPool && isRef(row['tenant'], view.tenant(pool.tenant)?.uuid ?? '');
  return isOfTenant ? undefined : 'an Address is of its Pool';
}

/** With an address of its network that is nobody else's, and a locator of its host. */
function inspectEndpoint(row: Json, inspection: Transaction): Verdict {
  const { view, host } = inspection;
  if (existingRefs(row['published_ports']).length > 0) return 'published ports are one Endpoint’s';
  const uuid = uuidOf(row['address']);
  const existing = uuid === undefined ? undefined : view.row('Address', uuid);
  const pool = existing ? view.pool(existing.poolId) : view.row('Pool', poolOfNew(row['address'], inspection) ?? '');
  const network = view.row('Network', uuidOf(row['network']) ?? '');
  if (pool === undefined || network === undefined || pool.networkId !== network.id) {
    return 'the Address of an Endpoint is of its Network';
  }
  const isFree = existing === undefined || existing.holders.length === 0 || existing.holders.includes(host.name);
  if (!isFree) return 'that Address is held by another host';
  return isOwnLocator(row['locator'], host, inspection.newBlocks) ? undefined : 'a locator is from a block of its host';
}

/** The pool of an address that the same transaction inserts. */
function poolOfNew(address: unknown, { newAddresses: made }: Transaction): string | undefined {
  const [tag, name] = asList(address);
  return tag === 'named-uuid' ? made.get(String(name)) : undefined;
}

/** A block that is free as a whole: a unique index sees only one that is spelt the same. */
function inspectBlock(text: unknown, { view, locatorRange }: Inspection): Verdict {
  const cidr = read(() => parseCidr(String(text)));
  const size = Math.max(locatorRange.prefix, LOCATOR_BLOCK_PREFIX);
  const isRight = cidr !== undefined && cidr.prefix === size && cidrHolds(locatorRange, cidr.base);
  if (!isRight) return `a locator block is a /${size} of the cluster's range`;
  for (const other of view.hosts()) {
    if (other.locatorBlocks.some((block) => cidrsOverlap(block, cidr))) return `the locator block is ${other.name}'s`;
  }
  return undefined;
}

function inspectChange(operation: Json, inspection: Inspection): Verdict {
  const { op } = operation;
  const table = String(operation['table']);
  const where = asList(operation['where']);
  const [first, more] = where.map(asList);
  if (first === undefined || more !== undefined || first[1] !== '==') return 'a change names one row, by its _uuid';
  const uuid = uuidOf(first[2]);
  if (table === 'Address' && first[0] === 'pool' && op === 'delete') return inspectPoolEnd(uuid, inspection);
  if (first[0] !== '_uuid' || uuid === undefined) return 'a change names one row, by its _uuid';
  return op === 'delete' ? inspectDelete(table, uuid, inspection) : inspectColumns(table, uuid, operation, inspection);
}

function inspectDelete(table: string, uuid: string, inspection: Inspection): Verdict {
  const { view, host, isLast } = inspection;
  const gone = isLast ? undefined : NOT_THERE;
  const isOwn = (row: { readonly host: string }) => row.host === host.name;
  switch (table) {
    case 'Endpoint':
    case 'NetworkReplica': {
      const row = view.row(table, uuid);
      if (row === undefined) return gone;
      return isOwn(row) ? undefined : `that ${table} is another host’s`;
    }
    case 'Address': {
      const row = view.row('Address', uuid);
      if (row === undefined) return gone;
      return row.holders.every((holder) => holder === host.name) ? undefined : 'that Address is held by another host';
    }
    case 'Pool':
      return inspectPoolEnd(uuid, inspection);
    case 'Network': {
      const row = view.row('Network', uuid);
      if (row === undefined) return gone;
      return isOnlyOn(host, view.replicasOf(row.id)) ? undefined : 'that Network is not this host’s alone';
    }
    default:
      return `hosts delete no ${table}`;
  }
}

/** The end of a pool with its addresses: nobody else's Docker has it, nor the network that it is of. */
function inspectPoolEnd(uuid: string | undefined, { view, host, isLast }: Inspection): Verdict {
  if (uuid === undefined) return 'a change names one row, by its _uuid';
  const pool = view.row('Pool', uuid);
  if (pool === undefined) return isLast ? undefined : NOT_THERE;
  const isFree =
    pool.networkId === undefined
      ? pool.holders.every((name) => name === host.name)
      : isOnlyOn(host, view.replicasOf(pool.networkId));
  return isFree ? undefined : 'that Pool is another host’s, too';
}

/** One that no host has (yet), as a swarm's in its first moment, is nobody's to end but the servers'. */
function isOnlyOn(host: HostRow, replicas: Iterable<NetworkReplicaRow>): boolean {
  const hosts = [...replicas].map((replica) => replica.host);
  return hosts.length > 0 && hosts.every((name) => name === host.name);
}

function inspectColumns(table: string, uuid: string, operation: Json, inspection: Inspection): Verdict {
  const { view, host } = inspection;
  const changes = changesOf(operation);
  const changed = new Set(changes.map(({ column }) => column));
  const only = (...allowed: string[]): Verdict => {
    const stray = [...changed].find((column) => !allowed.includes(column));
    return stray === undefined ? undefined : `hosts do not change ${stray} of a ${table}`;
  };
  const isHeld = changed.has('holders');
  if (isHeld && !changes.every((change) => change.column !== 'holders' || isOfOwn(change, host.uuid))) {
    return `a host enters and leaves itself alone as a holder`;
  }
  switch (table) {
    case 'Host':
      if (uuid !== host.uuid) return 'that Host is another';
      return only('locator_blocks') ?? (changes.every(isNewPart) ? undefined : 'a host enters new blocks alone');
    case 'Endpoint': {
      const row = view.row('Endpoint', uuid);
      if (row?.host !== host.name) return 'that Endpoint is another host’s';
      const ports = changes.filter(({ column }) => column === 'published_ports').flatMap((c) => existingRefs(c.value));
      const isOwn = ports.every((port) => row.publishedPorts.some((own) => own.uuid === port));
      if (!isOwn) return 'published ports are one Endpoint’s';
      return only('sandbox', 'container_id', 'container_name', 'aliases', 'published_ports');
    }
    case 'Tenant':
      return only('revision');
    case 'Network': {
      const row = view.row('Network', uuid);
      if (changed.has('problems')) {
        const isOwn = changes.every((change) => change.column === 'problems' && isOfOwnKey(change, host.name));
        return isOwn ? undefined : 'a host tells its own problems alone';
      }
      // Whoever is a manager of the swarm ends its network.
      if (row?.swarmId !== undefined) return only('removed');
      const replica = view.replicaOn(host.name, row?.id ?? ('' as NetworkId));
      if (replica === undefined) return 'that Network is not on this host';
      if (changed.has('name') && replica.dockerId !== replica.networkId) return 'a Network is named where it was made';
      return only('name', 'removed');
    }
    case 'Pool': {
      const row = view.row('Pool', uuid);
      const isNew = changes.every(({ column, value }) => column !== 'network' || existingRefs(value).length === 0);
      const isFree = row !== undefined && row.networkId === undefined && row.holders.includes(host.name);
      if (changed.has('network') && !(isNew && isFree)) return 'a Pool gets a new Network of who asked for it';
      return only('network', 'holders');
    }
    case 'Address':
      return inspectAddressChange(view.row('Address', uuid), changes, inspection) ?? only('mac', 'since', 'holders');
    default:
      return `hosts change no ${table}`;
  }
}

/** Who has an address may change it; gateways are held by all who ask. */
function inspectAddressChange(
  row: AddressRow | undefined,
  changes: readonly Change[],
  inspection: Inspection,
): Verdict {
  const { view, host } = inspection;
  if (row === undefined) return 'that Address is not there';
  const endpoint = view.endpointAt(row.tenant, row.address);
  const isFree = row.holders.every((holder) => holder === host.name);
  const isOwn = endpoint === undefined ? isFree : endpoint.host === host.name;
  const isAllowed = ({ column, mutator }: Change) =>
    column === 'holders' ? mutator === 'delete' || row.use !== 'endpoint' || isFree : isOwn;
  return changes.every(isAllowed) ? undefined : 'that Address is another host’s';
}

/** What a change does to one column: `mutator` is undefined where it replaces it. */
interface Change {
  readonly column: string;
  readonly mutator: unknown;
  readonly value: unknown;
}

function changesOf(operation: Json): Change[] {
  if (operation['op'] === 'update') {
    const row = asObject(operation['row']);
    return Object.entries(row).map(([column, value]) => ({ column, mutator: undefined, value }));
  }
  return asList(operation['mutations'])
    .map(asList)
    .map(([column, mutator, value]) => ({ column: String(column), mutator, value }));
}

/** "insert" or "delete" of the own uuid. */
function isOfOwn({ mutator, value }: Change, own: string): boolean {
  return (mutator === 'insert' || mutator === 'delete') && holdsOnly(value, own);
}

/** "insert" or "delete" of what a map has under this key. */
function isOfOwnKey({ mutator, value }: Change, key: string): boolean {
  const [tag, elements] = asList(value);
  if (mutator === 'delete' && tag === 'set') return asList(elements).every((element) => element === key);
  return mutator === 'insert' && tag === 'map' && asList(elements).every((pair) => asList(pair)[0] === key);
}

/** "insert" of what the same transaction makes. */
function isNewPart({ mutator, value }: Change): boolean {
  return mutator === 'insert' && existingRefs(value).length === 0;
}

function newAddresses(operations: readonly unknown[]): Map<string, string | undefined> {
  const made = new Map<string, string | undefined>();
  for (const { op, table, row, 'uuid-name': name } of operations.map(asObject)) {
    if (op !== 'insert' || typeof name !== 'string') continue;
    // The same name twice is refused by the database.
    made.set(name, table === 'Address' ? uuidOf(asObject(row)['pool']) : undefined);
  }
  return made;
}

function newBlocks(operations: readonly unknown[]): Cidr[] {
  return operations.flatMap((operation) => {
    const { op, table, row } = asObject(operation);
    if (op !== 'insert' || table !== 'LocatorBlock') return [];
    return read(() => parseCidr(String(asObject(row)['cidr']))) ?? [];
  });
}

function isOwnLocator(value: unknown, host: HostRow, blocks: readonly Cidr[]): boolean {
  const locator = read<Ipv4>(() => parseIpv4(String(value)));
  return locator !== undefined && [...host.locatorBlocks, ...blocks].some((block) => cidrHolds(block, locator));
}

/** A set of at most this one reference, in either spelling of one element (RFC 7047 §5.1). */
function holdsOnly(value: unknown, uuid: string): boolean {
  if (value === undefined || isRef(value, uuid)) return true;
  const [tag, elements] = asList(value);
  return tag === 'set' && asList(elements).every((element) => isRef(element, uuid));
}

function isRef(value: unknown, uuid: string): boolean {
  return uuidOf(value) === uuid;
}

/** The rows that are there already among the references of a value, in either spelling. */
function existingRefs(value: unknown): string[] {
  const [tag, elements] = asList(value);
  return (tag === 'set' ? asList(elements) : [value]).flatMap((element) => uuidOf(element) ?? []);
}

function uuidOf(value: unknown): string | undefined {
  const [tag, uuid] = asList(value);
  return tag === 'uuid' && typeof uuid === 'string' ? uuid : undefined;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}

function read<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
