// What a host may write into the directory: its own rows, and what all share. A server of the cluster asks this about each
// operation (RFC 7047 §5.2) of another host before the database sees it. References and indexes of the database do the
// rest: what somebody uses cannot be deleted. Pure; what is not known to be right is refused.

import { parseAddressPort } from '../base/address-port';
import {
  cidrHolds,
  cidrsOverlap,
  formatIpv4,
  parseCidr,
  parseIpv4,
  parseMac,
  type Cidr,
  type Ipv4,
} from '../base/addresses';
import { messageOf } from '../base/errors';
import { freeLocators, LOCATOR_BLOCK_PREFIX } from '../directory/allocation';
import {
  TUNNEL_KEY,
  type AddressRow,
  type HostRow,
  type NetworkId,
  type NetworkReplicaRow,
  type SwitchRow,
} from '../directory/rows';
import { isOfAnyHost } from '../directory/tunnel-operations';
import type { DirectoryView } from '../directory/view';
import {
  asList,
  asObject,
  changesOf,
  existingRefs,
  holdsOnly,
  isEmptySet,
  isNewPart,
  isOfOwn,
  isOfOwnKey,
  isRef,
  read,
  uuidOf,
  type Change,
  type Json,
} from './operation-values';
import { checkAddress } from './sites';
import { factsOf, type NewBlock, type TransactionFacts } from './transaction-facts';

/** What the decision is made from. */
export interface Inspection {
  readonly view: Pick<
    DirectoryView,
    'hosts' | 'row' | 'tenant' | 'replicasOf' | 'replicaOn' | 'pool' | 'endpointAt' | 'endpointByLocator'
  >;
  /** The host that writes. */
  readonly host: HostRow;
  readonly locatorRange: Cidr;
  /** Whether a row that is not in the view is really gone: it may be a moment ahead of it. */
  readonly isLast: boolean;
}

type Transaction = Inspection & TransactionFacts;

const NOT_THERE = 'that row is not there (yet)';
/** What is wrong, or undefined. */
type Verdict = string | undefined;

/** A host may be told of the end of so many endpoints after it has found its blocks full. */
const LAST_LOCATORS = 64;
const HARMLESS = new Set(['select', 'wait', 'comment', 'commit', 'abort', 'assert']);
/** More than any host has a reason for. */
const MAX_OPERATIONS = 2_000;
/** ovsdb-server reads others, too, but the view knows rows by this one. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Why the host may not send this transaction, or undefined. `operations` is what stands behind the database's name. */
export function inspectTransaction(operations: readonly unknown[], inspection: Inspection): Verdict {
  if (operations.length > MAX_OPERATIONS) return `a transaction has at most ${MAX_OPERATIONS} operations`;
  if (hasOddUuid(operations)) return 'a uuid is written in lower case';
  const transaction = { ...inspection, ...factsOf(operations, inspection.host.uuid) };
  for (const operation of operations) {
    if (typeof operation !== 'object' || operation === null) return 'an operation is no object';
    const verdict = inspectOperation(operation as Json, transaction);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** Whether a transaction that passes says something of the host's tunnel. */
export function tellsOfTunnel(operations: readonly unknown[]): boolean {
  return operations.map(asObject).some(({ op, table }) => table === 'Tunnel' && !HARMLESS.has(String(op)));
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
      return inspectInsert(String(table), operation, transaction);
    case 'update':
    case 'mutate':
    case 'delete':
      return inspectChange(operation, transaction);
    default:
      return `hosts do no ${String(op)}`;
  }
}

function inspectInsert(table: string, operation: Json, inspection: Transaction): Verdict {
  const { host } = inspection;
  const row = asObject(operation['row']);
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
    case 'Switch':
      return isOwn ? undefined : `a ${table} belongs to the host that writes it`;
    case 'Tunnel':
      return isOwn ? inspectTunnel(row, inspection) : 'a Tunnel belongs to the host that writes it';
    case 'Endpoint':
      return isOwn ? inspectEndpoint(row, inspection) : 'an Endpoint belongs to the host that writes it';
    case 'LocatorBlock':
      return inspectBlock(row['cidr'], operation['uuid-name'], inspection);
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

/** What is no key or no address would be nobody's row; and at some addresses no other host is, or every host is itself. */
function inspectTunnel(row: Json, { locatorRange }: Inspection): Verdict {
  const { key, endpoint } = row;
  if (key !== undefined && !(typeof key === 'string' && TUNNEL_KEY.test(key))) return 'that is no key of a tunnel';
  if (endpoint === undefined || isEmptySet(endpoint)) return undefined;
  const { address } = (typeof endpoint === 'string' && read(() => parseAddressPort(endpoint))) || {};
  return address !== undefined && isOfAnyHost(address, locatorRange) ? undefined : 'no host is reached there';
}

/** With an address of its network that is nobody else's, and a locator of its host. */
function inspectEndpoint(row: Json, inspection: Transaction): Verdict {
  const { view, host } = inspection;
  if (existingRefs(row['published_ports']).length > 0) return 'published ports are one Endpoint’s';
  if (read(() => parseMac(String(row['mac']))) === undefined) return 'that is no MAC address';
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

/**
 * A block that is free as a whole (a unique index sees only one that is spelt the same), for a host that has no locator left in
 * those that it has: every other host routes to each of them.
 */
function inspectBlock(text: unknown, name: unknown, inspection: Transaction): Verdict {
  const { view, host, locatorRange, newBlocks, entered } = inspection;
  const cidr = read(() => parseCidr(String(text)));
  const size = Math.max(locatorRange.prefix, LOCATOR_BLOCK_PREFIX);
  const isRight = cidr !== undefined && cidr.prefix === size && cidrHolds(locatorRange, cidr.base);
  if (!isRight) return `a locator block is a /${size} of the cluster's range`;
  for (const other of view.hosts()) {
    if (other.locatorBlocks.some((block) => cidrsOverlap(block, cidr))) return `the locator block is ${other.name}'s`;
  }
  if (!entered.has(name)) return 'a locator block comes with the host that has it';
  const isNeeded = newBlocks.length === 1 && freeLocators(view, host, locatorRange) <= LAST_LOCATORS;
  return isNeeded ? undefined : 'a host gets another locator block when those that it has are full';
}

function inspectChange(operation: Json, inspection: Transaction): Verdict {
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

function inspectColumns(table: string, uuid: string, operation: Json, inspection: Transaction): Verdict {
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
      return (
        only('locator_blocks', 'address', 'version') ??
        firstVerdict(changes, (change) => inspectOwnHost(change, inspection))
      );
    case 'Endpoint': {
      const row = view.row('Endpoint', uuid);
      if (row?.host !== host.name) return 'that Endpoint is another host’s';
      const ports = changes.filter(({ column }) => column === 'published_ports').flatMap((c) => existingRefs(c.value));
      const isOwn = ports.every((port) => row.publishedPorts.some((own) => own.uuid === port));
      if (!isOwn) return 'published ports are one Endpoint’s';
      return only('sandbox', 'container_id', 'container_name', 'aliases', 'service', 'labels', 'published_ports');
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
    case 'Tunnel': {
      const row = view.row('Tunnel', uuid);
      if (row?.host !== host.name) return 'that Tunnel is another host’s';
      if (operation['op'] !== 'update') return 'a Tunnel is updated';
      return (
        only('key', 'port', 'endpoint', 'no_l2', 'l2_detected', 'unheard') ??
        inspectTunnel(asObject(operation['row']), inspection)
      );
    }
    case 'Switch':
      return inspectSwitch(view.row('Switch', uuid), changes, inspection) ?? only(...SWITCH_COLUMNS);
    case 'FirewallRule': {
      const row = view.row('FirewallRule', uuid);
      return row?.host === host.name ? only('status') : 'that FirewallRule is of another host’s port';
    }
    default:
      return `hosts change no ${table}`;
  }
}

/** Its address, which it may get anew from its network, is nobody else's of its site; and it gets new blocks. */
function inspectOwnHost(change: Change, { view, host, locatorRange }: Inspection): Verdict {
  // Whoever reads it takes it for what it is: what the host says.
  if (change.column === 'version') return undefined;
  if (change.column !== 'address') return isNewPart(change) ? undefined : 'a host enters new blocks alone';
  const address = change.mutator === undefined ? read<Ipv4>(() => parseIpv4(change.value as string)) : undefined;
  if (address === undefined) return 'a host has an address';
  if (!isOfAnyHost(address, locatorRange)) return `${formatIpv4(address)} is no host's address`;
  try {
    checkAddress(view, { name: host.name, site: host.site, address });
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function firstVerdict(changes: readonly Change[], inspect: (change: Change) => Verdict): Verdict {
  for (const change of changes) {
    const verdict = inspect(change);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

const MASTERY = ['generation', 'master'];
const SWITCH_COLUMNS = [...MASTERY, 'backups', 'profile'];

/**
 * A host says of its own datapath what it likes, but that the generation falls. Who stands by for another makes itself master of
 * the next generation, or nobody after itself; that the generation is the one it says, the database sees to.
 */
function inspectSwitch(row: SwitchRow | undefined, changes: readonly Change[], inspection: Transaction): Verdict {
  const { host, generations: held } = inspection;
  const isOwn = row?.host === host.name;
  if (row === undefined || !(isOwn || row.backups.includes(host.name))) return 'that Switch is another host’s';
  const valueOf = (name: string) => changes.find(({ column }) => column === name)?.value;
  const isMastery = changes.some(({ column }) => MASTERY.includes(column));
  if (!isOwn && !changes.every(({ column }) => MASTERY.includes(column))) return 'a backup changes the master alone';
  if (!isMastery) return undefined;
  if (changes.some(({ mutator }) => mutator !== undefined)) return 'a generation is written as it is to be';
  const [generation, before] = [valueOf('generation'), held.get(row.uuid)];
  if (typeof generation !== 'number' || before === undefined) return 'another master comes with another generation';
  if (isOwn) return generation > before ? undefined : 'a generation only rises';
  const isStepUp = isRef(valueOf('master'), host.uuid);
  const isStepDown = row.master === host.name && isEmptySet(valueOf('master'));
  if (generation !== before + 1) return 'a backup makes the next generation';
  return isStepUp || isStepDown ? undefined : 'a backup makes nobody else master';
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

function isOwnLocator(value: unknown, host: HostRow, blocks: readonly NewBlock[]): boolean {
  const locator = read<Ipv4>(() => parseIpv4(String(value)));
  const all = [...host.locatorBlocks, ...blocks.map(({ block }) => block)];
  return locator !== undefined && all.some((block) => cidrHolds(block, locator));
}
