// Which pools there may be, and which one is given where the user leaves it open. Pure.

import {
  cidrHolds,
  cidrLast,
  cidrSize,
  cidrsOverlap,
  formatCidr,
  parseCidr,
  type Cidr,
  type Ipv4,
} from '../base/addresses';
import { DaoliError } from '../base/errors';
import { nextFree } from '../directory/allocation';
import { describeNetwork } from '../directory/descriptions';
import { insertPool, poolIdOf } from '../directory/operations';
import type { NetworkId, PoolId, PoolRow } from '../directory/rows';
import type { PlanContext, Planned } from '../directory/store';
import type { PoolRequest } from './schemas';

/** A /31 or /32 has no room for a gateway and a container; a prefix shorter than /8 is a mistake. */
const SHORTEST_PREFIX = 8;
const LONGEST_PREFIX = 30;
/** What default pools are carved to. */
const DEFAULT_POOL_PREFIX = 24;

/** Prefixes that containers cannot have as addresses or could not send to (RFC 6890). */
const UNUSABLE: ReadonlyArray<readonly [string, string]> = [
  ['0.0.0.0/8', 'this network'],
  ['127.0.0.0/8', 'loopback'],
  ['169.254.0.0/16', 'link-local'],
  ['224.0.0.0/4', 'multicast'],
  ['240.0.0.0/4', 'reserved'],
];

/** Addresses that interfaces can have, or that are given out by themselves: from the first to the last, both included. */
export interface AddressRange {
  readonly first: Ipv4;
  readonly last: Ipv4;
}

/** Of a pool: not the network's own address, nor its broadcast address. */
export function interfaceAddresses(cidr: Cidr): AddressRange {
  return { first: (cidr.base + 1) as Ipv4, last: (cidrLast(cidr) - 1) as Ipv4 };
}

/** Of a pool's range (`--ip-range`), or of the whole pool. `first` is above `last` where there are none. */
export function dynamicAddresses({ cidr, range }: Pick<PoolRow, 'cidr' | 'range'>): AddressRange {
  const whole = interfaceAddresses(cidr);
  if (range === undefined) return whole;
  return {
    first: Math.max(whole.first, range.base) as Ipv4,
    last: Math.min(whole.last, cidrLast(range)) as Ipv4,
  };
}

/** Throws `invalid`, saying why, for a prefix that cannot be a pool, whoever gives out its addresses. */
export function checkPool(cidr: Cidr, range: Cidr | undefined, locators: Cidr): void {
  const text = formatCidr(cidr);
  const refuse = (why: string): never => {
    throw new DaoliError('invalid', `${text} cannot be a subnet: ${why}`, text);
  };
  if (cidr.prefix < SHORTEST_PREFIX) refuse(`it is larger than a /${SHORTEST_PREFIX}`);
  if (cidr.prefix > LONGEST_PREFIX) refuse(`it is smaller than a /${LONGEST_PREFIX}`);
  for (const [prefix, name] of UNUSABLE) {
    if (cidrsOverlap(parseCidr(prefix), cidr)) refuse(`it overlaps ${prefix} (${name})`);
  }
  if (cidrsOverlap(locators, cidr)) refuse(`it overlaps the locator range ${formatCidr(locators)} (DAOLINET_LOCATORS)`);
  if (range !== undefined) checkRange(cidr, range);
}

function checkRange(cidr: Cidr, range: Cidr): void {
  const text = formatCidr(range);
  if (range.prefix < cidr.prefix || !cidrHolds(cidr, range.base)) {
    throw new DaoliError('invalid', `--ip-range ${text} does not lie inside subnet ${formatCidr(cidr)}`, text);
  }
  const { first, last } = dynamicAddresses({ cidr, range });
  if (first > last) {
    const message = `--ip-range ${text} has no address that a container could have: it is the first or last of the subnet`;
    throw new DaoliError('invalid', message, text);
  }
}

/** What default pools must keep clear of. */
export interface DefaultPools {
  readonly within: Cidr;
  /** Destinations of the host's own routes. */
  readonly routes: readonly Cidr[];
  readonly locators: Cidr;
}

/** The lowest default pool that overlaps no pool of the tenant and no route of the host. Throws `exhausted`. */
export function nextDefaultPool({ view }: Pick<PlanContext, 'view'>, tenant: string, defaults: DefaultPools): Cidr {
  const { within, routes, locators } = defaults;
  const prefix = Math.max(within.prefix, DEFAULT_POOL_PREFIX);
  const size = 2 ** (32 - prefix);
  const pools = [...view.poolsOfTenant(tenant)].map((pool) => pool.cidr);
  const inTheWay = [...pools, ...routes.filter((route) => route.prefix > 0), locators].filter((cidr) =>
    cidrsOverlap(within, cidr),
  );
  const single = new Set(inTheWay.filter((cidr) => cidr.prefix >= prefix).map(({ base }) => Math.floor(base / size)));
  const wide = inTheWay.filter((cidr) => cidr.prefix < prefix);
  const first = within.base / size;
  const isTaken = (index: number) => single.has(index) || wide.some((cidr) => cidrHolds(cidr, (index * size) as Ipv4));
  const index = nextFree(first, first + cidrSize(within) / size - 1, -1, isTaken);
  if (index !== undefined) return { base: (index * size) as Ipv4, prefix };
  const text = formatCidr(within);
  const message = `no subnet is free in the default pools ${text}: give one with --subnet, or set DAOLINET_DEFAULT_POOLS`;
  throw new DaoliError('exhausted', message, text);
}

export interface GivenPool {
  readonly poolId: PoolId;
  readonly cidr: Cidr;
}

/** RequestPool. Throws `invalid`, `conflict` where it overlaps another pool of the tenant, and `exhausted`. */
export function planPool(context: PlanContext, request: PoolRequest, defaults: DefaultPools): Planned<GivenPool> {
  const { tenant, range, networkId } = request;
  if (networkId !== undefined) return planPoolOf(context, networkId, request.cidr);
  const cidr = request.cidr ?? nextDefaultPool(context, tenant, defaults);
  checkPool(cidr, range, defaults.locators);
  return { ops: insertPool(context, { tenant, cidr, range }), result: { poolId: poolIdOf(tenant, cidr, range), cidr } };
}

/** A pool of a network that another host has. Throws `not-found`. */
function planPoolOf(context: PlanContext, networkId: NetworkId, wanted: Cidr | undefined): Planned<GivenPool> {
  const { view } = context;
  const isWanted = ({ cidr }: PoolRow) => cidr.base === wanted?.base && cidr.prefix === wanted.prefix;
  const pool = [...view.poolsOfNetwork(networkId)].find(isWanted);
  // That this host has it too is said once, by its replica of the network: holders would be as many as hosts.
  if (pool !== undefined) return { ops: [], result: { poolId: pool.id, cidr: pool.cidr } };
  const what = wanted === undefined ? 'a subnet that is not named' : `subnet ${formatCidr(wanted)}`;
  const message = `${what} is none of ${describeNetwork(view, networkId)}, which agents of DaoliNet alone make elsewhere`;
  throw new DaoliError('not-found', message, networkId);
}
