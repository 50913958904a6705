// What a host may write into the directory: its own rows, and what all share. A server of the cluster asks this about each
// operation (RFC 7047 §5.2) of another host before the database sees it. References and indexes of the database do the
// rest: what somebody uses cannot be deleted. Pure; what is not known to be right is refused.

import { cidrHolds, cidrsOverlap, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { LOCATOR_BLOCK_PREFIX } from '../directory/allocation';
import type { HostRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

/** What the decision is made from. */
export interface Inspection {
  readonly view: Pick<DirectoryView, 'hosts' | 'host' | 'row' | 'replicasOf' | 'endpointAt' | 'addressesOf'>;
  /** The host that writes. */
  readonly host: HostRow;
  readonly locatorRange: Cidr;
}

type Json = Readonly<Record<string, unknown>>;
/** What is wrong, or undefined. */
type Verdict = string | undefined;

const HARMLESS = new Set(['select', 'wait', 'comment', 'commit', 'abort', 'assert']);

/** Why the host may not send this transaction, or undefined. `operations` is what stands behind the database's name. */
export function inspectTransaction(operations: readonly unknown[], inspection: Inspection): Verdict {
  const blocks = newBlocks(operations);
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null) return 'an operation is no object';
    const verdict = inspectOperation(operation as Json, inspection, blocks);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

function inspectOperation(operation: Json, inspection: Inspection, blocks: readonly Cidr[]): Verdict {
  const { op, table } = operation;
  if (HARMLESS.has(String(op))) return undefined;
  switch (op) {
    case 'insert':
      return inspectInsert(String(table), asObject(operation['row']), inspection, blocks);
    case 'update':
    case 'mutate':
    case 'delete':
      return inspectChange(operation, inspection);
    default:
      return `hosts do no ${String(op)}`;
  }
}

function inspectInsert(table: string, row: Json, inspection: Inspection, blocks: readonly Cidr[]): Verdict {
  const { host } = inspection;
  const isOwn = isRef(row['host'], host.uuid);
  switch (table) {
    case 'Tenant':
    case 'Network':
      return undefined;
    case 'Pool':
    case 'Address':
      return holdsOnly(row['holders'], host.uuid) ? undefined : `an ${table} is held by who asked for it`;
    case 'NetworkReplica':
    case 'PublishedPort':
      return isOwn ? undefined : `a ${table} belongs to the host that writes it`;
    case 'Endpoint':
      if (!isOwn) return 'an Endpoint belongs to the host that writes it';
      return isOwnLocator(row['locator'], host, blocks) ? undefined : 'a locator is from a block of its host';
    case 'LocatorBlock':
      return inspectBlock(row['cidr'], inspection);
    default:
      return `hosts insert no ${table}`;
  }
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
  const columns = new Set(
    op === 'mutate'
      ? asList(operation['mutations']).map((mutation) => String(asList(mutation)[0]))
      : Object.keys(asObject(operation['row'])),
  );
  return op === 'delete'
    ? inspectDelete(table, uuid, inspection)
    : inspectColumns(table, uuid, columns, operation, inspection);
}

function inspectDelete(table: string, uuid: string, inspection: Inspection): Verdict {
  const { view, host } = inspection;
  const isOwn = (row: { readonly host: string } | undefined) => row === undefined || row.host === host.name;
  switch (table) {
    case 'Endpoint':
      return isOwn(view.row('Endpoint', uuid)) ? undefined : 'that Endpoint is another host’s';
    case 'NetworkReplica':
      return isOwn(view.row('NetworkReplica', uuid)) ? undefined : 'that NetworkReplica is another host’s';
    case 'Address': {
      const row = view.row('Address', uuid);
      const isFree = row === undefined || row.holders.every((holder) => holder === host.name);
      return isFree ? undefined : 'that Address is held by another host';
    }
    case 'Pool':
      return inspectPoolEnd(uuid, inspection);
    case 'Network': {
      const row = view.row('Network', uuid);
      const isFree = row === undefined || [...view.replicasOf(row.id)].every(isOwn);
      return isFree ? undefined : 'that Network is on other hosts, too';
    }
    default:
      return `hosts delete no ${table}`;
  }
}

/** The end of a pool with its addresses: nobody else's Docker has it, nor the network that it is of. */
function inspectPoolEnd(uuid: string | undefined, { view, host }: Inspection): Verdict {
  const pool = uuid === undefined ? undefined : view.row('Pool', uuid);
  if (pool === undefined) return undefined;
  const isOwn = (name: string) => name === host.name;
  const isFree =
    pool.networkId === undefined
      ? pool.holders.every(isOwn)
      : [...view.replicasOf(pool.networkId)].every((replica) => isOwn(replica.host));
  return isFree ? undefined : 'that Pool is another host’s, too';
}

function inspectColumns(
  table: string,
  uuid: string,
  columns: ReadonlySet<string>,
  operation: Json,
  inspection: Inspection,
): Verdict {
  const { view, host } = inspection;
  const only = (...allowed: string[]): Verdict => {
    const stray = [...columns].find((column) => !allowed.includes(column));
    return stray === undefined ? undefined : `hosts do not change ${stray} of a ${table}`;
  };
  const isHeld = columns.has('holders');
  if (isHeld && !mutatesOwn(operation, host.uuid)) return `a host enters and leaves itself alone as a holder`;
  switch (table) {
    case 'Host':
      return uuid === host.uuid ? only('locator_blocks') : 'that Host is another';
    case 'Endpoint':
      if (view.row('Endpoint', uuid)?.host !== host.name) return 'that Endpoint is another host’s';
      return only('sandbox', 'container_id', 'container_name', 'aliases', 'published_ports');
    case 'Tenant':
      return only('revision');
    case 'Network':
      return only('name', 'removed');
    case 'Pool':
      return only('network', 'holders');
    case 'Address': {
      const row = view.row('Address', uuid);
      const endpoint = row && view.endpointAt(row.tenant, row.address);
      const isOwn =
        endpoint === undefined ? row?.holders.every((holder) => holder === host.name) : endpoint.host === host.name;
      if (isHeld) return only('holders');
      return isOwn === true ? only('mac', 'since') : 'that Address is another host’s';
    }
    default:
      return `hosts change no ${table}`;
  }
}

/** [["holders", "insert" or "delete", own uuid]], and nothing else of that column. */
function mutatesOwn(operation: Json, own: string): boolean {
  return asList(operation['mutations'])
    .map(asList)
    .filter(([column]) => column === 'holders')
    .every(([, mutator, value]) => (mutator === 'insert' || mutator === 'delete') && holdsOnly(value, own));
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
