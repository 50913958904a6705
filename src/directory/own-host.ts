// This host's own row: made when an agent first meets a database, and kept in step with the locator range.

import { cidrHolds, cidrsOverlap, formatCidr, formatIpv4, type Cidr, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { isRow, mutate, update, wait } from '../ovsdb/operations';
import { nextLocatorBlock } from './allocation';
import { insertHost, insertLocatorBlock } from './operations';
import type { HostRow } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

/** A random MAC address, unicast and locally administered (IEEE 802, the two low bits of the first octet are 10). */
export function randomMac(random: () => number): Mac {
  const low = Math.floor(random() * 2 ** 24);
  const high = Math.floor(random() * 2 ** 24) & 0xfcffff;
  return ((high | 0x020000) * 2 ** 24 + low) as Mac;
}

/** The datapath id of a host: as OpenFlow has it by custom, its MAC address in the lower 48 bits. */
export function datapathIdOf(routerMac: Mac): string {
  return routerMac.toString(16).padStart(16, '0');
}

/** What a host writes of itself. */
export interface OwnHostFacts {
  readonly locatorRange: Cidr;
  /** The server's own address in its cluster. */
  readonly address: Ipv4 | undefined;
  /** The address is of another network than that of its site: nothing may go over the fabric there, not for a moment. */
  readonly isElsewhere?: boolean;
}

/**
 * Inserts the Host row of this host if there is none. If there is one, sees to its address, and to a locator block inside
 * the range, which may have been set anew, and gives up blocks outside it that no endpoint uses. Throws `exhausted`.
 */
export function planOwnHost({ view, host }: PlanContext, facts: OwnHostFacts, random: () => number): Ops {
  const { locatorRange } = facts;
  const row = view.host(host);
  if (row === undefined) {
    const routerMac = randomMac(random);
    const block = freeBlock(view, locatorRange);
    return insertHost({ name: host, routerMac, datapathId: datapathIdOf(routerMac), address: facts.address, block });
  }
  return [...adjustAddress(view, row, facts), ...adjustBlocks(view, row, locatorRange)];
}

/** Of which version the plugin of this host is, for people. Nothing to do where its row says so. */
export function planVersion({ view, host }: PlanContext, version: string): Ops {
  const row = view.host(host);
  return row === undefined || row.version === version ? [] : [update('Host', isRow(row.uuid), { version })];
}

function adjustAddress(view: DirectoryView, row: HostRow, { address, isElsewhere }: OwnHostFacts): Ops {
  if (row.address === address) return [];
  const tunnel = isElsewhere === true ? view.tunnel(row.name) : undefined;
  return [
    update('Host', isRow(row.uuid), { address: address === undefined ? undefined : formatIpv4(address) }),
    ...(tunnel === undefined ? [] : [update('Tunnel', isRow(tunnel.uuid), { no_l2: true })]),
  ];
}

function adjustBlocks(view: DirectoryView, host: HostRow, range: Cidr): Ops {
  const isUsed = (block: Cidr) =>
    [...view.endpointsOn(host.name)].some((endpoint) => cidrHolds(block, endpoint.locator));
  const outside = host.locatorBlocks.filter((block) => !cidrsOverlap(range, block));
  const unused = outside.filter((block) => !isUsed(block)).map(({ uuid }) => uuid);
  const isMissing = outside.length === host.locatorBlocks.length;
  if (!isMissing && unused.length === 0) return [];
  const removal = mutate('Host', isRow(host.uuid), [['locator_blocks', 'delete', unused]]);
  return [
    wait('Host', isRow(host.uuid), [{ locator_blocks: host.locatorBlocks.map(({ uuid }) => uuid) }]),
    ...(isMissing ? insertLocatorBlock(host, freeBlock(view, range)) : []),
    removal,
  ];
}

function freeBlock(view: DirectoryView, range: Cidr): Cidr {
  const block = nextLocatorBlock(view, range);
  if (block !== undefined) return block;
  const text = formatCidr(range);
  throw new DaoliError('exhausted', `every locator block of ${text} is taken: use a larger locator range`, text);
}
