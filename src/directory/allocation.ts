// Round-robin allocation of what is unique: tenant numbers, network keys, port numbers and locators. A cursor goes on from
// the number given last, so that what was just released stays unused for as long as possible: flows, connection tracking
// and ARP entries of its last owner may still be about.

import { cidrHolds, cidrLast, cidrSize, cidrsOverlap, formatCidr, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { HostRow } from './rows';
import type { Allocator } from './store';
import type { DirectoryView } from './view';

/** OpenFlow port numbers of endpoints. Those above are for the fabric and host port. */
export const MAX_ENDPOINT_PORT_NO = 0xfe00;
/** Tenant numbers and network keys stay below 2^31: such numbers need no memory of their own in this runtime. */
const MAX_NUMBER = 0x7fffffff;
/** Prefix length of a locator block. */
export const LOCATOR_BLOCK_PREFIX = 24;

/** The first number from `first` to `last` that is free, looking from the one after `after` and round. */
export function nextFree(
  first: number,
  last: number,
  after: number,
  isTaken: (number: number) => boolean,
): number | undefined {
  const size = last - first + 1;
  const start = after < first || after >= last ? 0 : after - first + 1;
  for (let step = 0; step < size; step += 1) {
    const number = first + ((start + step) % size);
    if (!isTaken(number)) return number;
  }
  return undefined;
}

/** The block of `range` after `after` that no host has, and that overlaps no block of another size. */
export function nextLocatorBlock(view: DirectoryView, range: Cidr): Cidr | undefined {
  const prefix = Math.max(range.prefix, LOCATOR_BLOCK_PREFIX);
  const size = 2 ** (32 - prefix);
  const taken = [...view.hosts()].flatMap((host) => host.locatorBlocks);
  const takenBases = new Set(taken.filter((block) => block.prefix === prefix).map((block) => block.base as number));
  const others = taken.filter((block) => block.prefix !== prefix);
  const names = dnsAddressOf(range);
  const isTaken = (index: number) => {
    const base = (range.base + index * size) as Ipv4;
    if (cidrHolds({ base, prefix }, names) && cidrSize(range) > size) return true;
    return takenBases.has(base) || others.some((block) => cidrsOverlap(block, { base, prefix }));
  };
  const index = nextFree(0, cidrSize(range) / size - 1, -1, isTaken);
  return index === undefined ? undefined : { base: (range.base + index * size) as Ipv4, prefix };
}

/** Where every host's agent answers for names: the same everywhere, and in nobody's block. */
export function dnsAddressOf(range: Cidr): Ipv4 {
  return (cidrLast(range) - 1) as Ipv4;
}

/** The blocks of a host that lie in the range; others are left from an earlier setting. */
function blocksIn(range: Cidr, host: HostRow | undefined): readonly Cidr[] {
  return host?.locatorBlocks.filter((block) => cidrsOverlap(range, block)) ?? [];
}

/** The host's own address on the fabric: the first of its first block, as 100.64.0.1. */
export function hostLocator(host: HostRow, range: Cidr): Ipv4 | undefined {
  const [block] = blocksIn(range, host);
  return block && ((block.base + 1) as Ipv4);
}

/** The addresses of a block that endpoints get: not its first two (network, the host's own) and not its last. */
const SPARED_HEAD = 2;
const SPARED_TAIL = 1;

/** The host's blocks as one row of locators. */
class LocatorRow {
  private readonly perBlock: number;

  constructor(private readonly blocks: readonly Cidr[]) {
    this.perBlock = Math.min(...blocks.map(cidrSize)) - SPARED_HEAD - SPARED_TAIL;
  }

  get size(): number {
    return this.blocks.length === 0 ? 0 : this.blocks.length * this.perBlock;
  }

  at(index: number): Ipv4 {
    const block = this.blocks[Math.floor(index / this.perBlock)] as Cidr;
    return (block.base + SPARED_HEAD + (index % this.perBlock)) as Ipv4;
  }

  indexOf(locator: Ipv4): number {
    const block = this.blocks.findIndex((one) => cidrHolds(one, locator));
    return block < 0 ? -1 : block * this.perBlock + (locator - (this.blocks[block] as Cidr).base - SPARED_HEAD);
  }
}

/** How many locators no endpoint has, in those blocks of a host that are of the range. */
export function freeLocators(view: Pick<DirectoryView, 'endpointByLocator'>, host: HostRow, range: Cidr): number {
  const row = new LocatorRow(blocksIn(range, host));
  let free = 0;
  for (let index = 0; index < row.size; index += 1) {
    if (view.endpointByLocator(row.at(index)) === undefined) free += 1;
  }
  return free;
}

/** The newest of some rows: where a cursor goes on after a restart. */
function newest<T extends { readonly created: number }>(rows: Iterable<T>): T | undefined {
  let found: T | undefined;
  for (const row of rows) if (found === undefined || row.created >= found.created) found = row;
  return found;
}

/** The allocator of one host over its view. Two calls never give the same while the first one's row is not there yet. */
export class RoundRobinAllocator implements Allocator {
  private lastTenantNumber: number | undefined;
  private lastNetworkKey: number | undefined;
  private lastPortNo: number | undefined;
  private lastLocator: Ipv4 | undefined;

  constructor(
    private readonly view: DirectoryView,
    private readonly host: string,
    private readonly locatorRange: Cidr,
  ) {}

  tenantNumber(): number {
    const taken = new Set([...this.view.tenants()].map((tenant) => tenant.number));
    const after = this.lastTenantNumber ?? Math.max(0, ...taken);
    const number = nextFree(1, MAX_NUMBER, after, (candidate) => taken.has(candidate));
    return (this.lastTenantNumber = found(number, 'tenant number'));
  }

  networkKey(): number {
    const after = this.lastNetworkKey ?? newest(this.view.networks())?.key ?? 0;
    const key = nextFree(1, MAX_NUMBER, after, (candidate) => this.view.networkByKey(candidate) !== undefined);
    return (this.lastNetworkKey = found(key, 'network key'));
  }

  portNo(): number {
    const after = this.lastPortNo ?? newest(this.view.endpointsOn(this.host))?.portNo ?? 0;
    const isTaken = (candidate: number) => this.view.endpointByPort(this.host, candidate) !== undefined;
    const portNo = nextFree(1, MAX_ENDPOINT_PORT_NO, after, isTaken);
    return (this.lastPortNo = found(portNo, 'port number of this host'));
  }

  locator(): { locator: Ipv4; newBlock: Cidr | undefined } {
    const row = new LocatorRow(blocksIn(this.locatorRange, this.view.host(this.host)));
    const last = this.lastLocator ?? newest(this.view.endpointsOn(this.host))?.locator;
    const after = last === undefined ? -1 : row.indexOf(last);
    const isTaken = (index: number) => this.view.endpointByLocator(row.at(index)) !== undefined;
    const index = nextFree(0, row.size - 1, after, isTaken);
    if (index !== undefined) return { locator: (this.lastLocator = row.at(index)), newBlock: undefined };
    const newBlock = nextLocatorBlock(this.view, this.locatorRange);
    if (newBlock === undefined) {
      const range = formatCidr(this.locatorRange);
      throw new DaoliError('exhausted', `every locator block of ${range} is taken: use a larger locator range`, range);
    }
    return { locator: (this.lastLocator = (newBlock.base + SPARED_HEAD) as Ipv4), newBlock };
  }
}

function found(number: number | undefined, what: string): number {
  if (number === undefined) throw new DaoliError('exhausted', `no ${what} is free`);
  return number;
}
