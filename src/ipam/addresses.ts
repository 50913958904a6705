// Which address a request gets, and which requests get none. Pure, but for the cursors that go round.

import { cidrHolds, formatCidr, formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { nextFree } from '../directory/allocation';
import { describeHolder, describePool } from '../directory/descriptions';
import { holdAddress, insertAddress, reserveAgain } from '../directory/endpoint-operations';
import type { AddressRow, PoolId, PoolRow } from '../directory/rows';
import type { Ops, PlanContext, Planned } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import { dynamicAddresses, interfaceAddresses } from './pools';
import type { AddressRequest } from './schemas';

/**
 * A reservation whose endpoint did not come for so long is no longer waited for: whoever asks for that very address may
 * have it. CreateEndpoint follows RequestAddress at once, and both end within 8 s.
 */
const TAKEOVER_MS = 10_000;

/** Where in each pool the last dynamic address was given: the next one is looked for behind it. */
export class AddressCursors {
  private readonly last = new Map<PoolId, Ipv4>();

  /** Where a restart goes on: behind the address that was requested last. */
  after(view: DirectoryView, poolId: PoolId): Ipv4 {
    const known = this.last.get(poolId);
    if (known !== undefined) return known;
    let newest: AddressRow | undefined;
    for (const row of view.addressesOf(poolId)) {
      if (row.use === 'endpoint' && (newest === undefined || row.since >= newest.since)) newest = row;
    }
    return newest?.address ?? (0 as Ipv4);
  }

  /** What this process gave last. */
  known(poolId: PoolId): Ipv4 | undefined {
    return this.last.get(poolId);
  }

  set(poolId: PoolId, address: Ipv4): void {
    this.last.set(poolId, address);
  }

  forget(poolId: PoolId): void {
    this.last.delete(poolId);
  }
}

export interface GivenAddress {
  readonly address: Ipv4;
  /** The prefix length of the pool. */
  readonly prefix: number;
}

/**
 * RequestAddress. The same request again gets the same address. Throws `not-found` without the pool, `invalid` for an
 * address that is not in it, `conflict` for one that is taken, and `exhausted`.
 */
export function planAddress(
  context: PlanContext,
  request: AddressRequest,
  cursors: AddressCursors,
): Planned<GivenAddress> {
  const pool = heldPool(context, request.poolId);
  const given = (address: Ipv4, ops: Ops): Planned<GivenAddress> => ({
    ops,
    result: { address, prefix: pool.cidr.prefix },
  });
  const { address, mac, use } = request;
  if (address !== undefined) return given(address, planAsked(context, pool, address, request));
  const before = mac === undefined || use !== 'endpoint' ? undefined : context.view.reservedByMac(pool.id, mac);
  if (before?.holders.includes(context.host)) return given(before.address, reserveAgain(context, before, mac));
  if (use === 'gateway') {
    const gateway = gatewayIn(context, pool);
    return given(gateway, planAsked(context, pool, gateway, request));
  }
  const free = freeAddress(context, pool, cursors);
  return given(free, insertAddress(context, { poolId: pool.id, address: free, use, mac }));
}

/**
 * A pool that this host's Docker has requested, or one of another host's network. One that it gave back may be there still,
 * for endpoints that are left.
 */
function heldPool({ view, host }: PlanContext, id: PoolId): PoolRow {
  const pool = view.pool(id);
  if (pool !== undefined && (pool.holders.includes(host) || isOfAnother(view, host, pool))) return pool;
  throw new DaoliError('not-found', `pool ${id} does not exist: create the network again`, id);
}

/** That this host has it is said by its replica of the network, which comes after its first addresses. */
function isOfAnother(view: DirectoryView, host: string, { networkId }: PoolRow): boolean {
  if (networkId === undefined) return false;
  return view.replicaOn(host, networkId)?.dockerId !== networkId;
}

function planAsked(context: PlanContext, pool: PoolRow, address: Ipv4, { use, mac, poolId }: AddressRequest): Ops {
  const { view } = context;
  const text = formatIpv4(address);
  checkIsOf(view, pool, address);
  const row = view.addressHolder(pool.tenant, address);
  if (row === undefined) return insertAddress(context, { poolId, address, use, mac });
  if (row.use === use && use !== 'endpoint') return pool.networkId === undefined ? holdAddress(context, row) : [];
  const isFree = row.use === use && view.endpointAt(pool.tenant, address) === undefined;
  const fits = row.mac === mac || isExpected(context, row) || isStale(context, row);
  if (isFree && fits) return reserveAgain(context, row, mac);
  throw new DaoliError('conflict', `${text} is ${describeHolder(view, row)}`, text);
}

/** Kept for a container that is coming to this host, whatever MAC address its Docker gives it: see hand-over.ts. */
function isExpected({ host }: PlanContext, row: AddressRow): boolean {
  return row.mac === undefined && row.holders.length === 1 && row.holders[0] === host;
}

function isStale({ host, nowMs }: PlanContext, row: AddressRow): boolean {
  // A clock that was set back makes a reservation look young for long.
  return row.holders.every((holder) => holder === host) && Math.abs(nowMs - row.since) >= TAKEOVER_MS;
}

function checkIsOf(view: DirectoryView, pool: PoolRow, address: Ipv4): void {
  const text = formatIpv4(address);
  const refuse = (what: string): never => {
    throw new DaoliError('invalid', `${text} is ${what} ${describePool(view, pool)}`, text);
  };
  if (!cidrHolds(pool.cidr, address)) refuse('not in');
  const { first, last } = interfaceAddresses(pool.cidr);
  if (address < first) refuse('the network address of');
  if (address > last) refuse('the broadcast address of');
}

/**
 * Where the network's own host has Docker's IPAM, which counts from the bottom and asks nobody, other hosts count from the
 * top: so they do not meet before the pool is full.
 */
function freeAddress(context: PlanContext, pool: PoolRow, cursors: AddressCursors): Ipv4 {
  const { view } = context;
  const { first, last } = dynamicAddresses(pool);
  const isDockers = pool.networkId !== undefined && view.network(pool.networkId)?.ipam === 'docker';
  // Its own mirror image, where top is bottom.
  const turned = (address: number) => (isDockers ? first + last - address : address);
  const isTaken = (address: number) => view.addressHolder(pool.tenant, turned(address) as Ipv4) !== undefined;
  const after = isDockers ? cursors.known(pool.id) : cursors.after(view, pool.id);
  const found = nextFree(first, last, after === undefined ? 0 : turned(after), isTaken);
  const free = found === undefined ? undefined : (turned(found) as Ipv4);
  if (free === undefined) throw exhausted(view, pool, last - first + 1);
  cursors.set(pool.id, free);
  return free;
}

/**
 * A pool has one gateway: whoever asks again gets it again. Else the lowest that is free, wherever dynamic addresses come
 * from: that is where people look for a gateway.
 */
function gatewayIn({ view }: PlanContext, pool: PoolRow): Ipv4 {
  for (const row of view.addressesOf(pool.id)) if (row.use === 'gateway') return row.address;
  const { first, last } = interfaceAddresses(pool.cidr);
  const isTaken = (address: number) => view.addressHolder(pool.tenant, address as Ipv4) !== undefined;
  const free = nextFree(first, last, -1, isTaken) as Ipv4 | undefined;
  if (free === undefined) throw exhausted(view, pool, last - first + 1);
  return free;
}

function exhausted(view: DirectoryView, pool: PoolRow, size: number): DaoliError {
  const where = pool.range === undefined ? '' : ` of its range ${formatCidr(pool.range)}`;
  const message = `${describePool(view, pool)} is exhausted: all ${size} addresses${where} are taken`;
  return new DaoliError('exhausted', message, pool.id);
}
