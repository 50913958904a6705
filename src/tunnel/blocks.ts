// Whose locators are whose: the blocks of every host that lie in the range of the cluster, without overlap. A device of
// WireGuard gives an address to one peer alone, whoever claims it last; so no claim is passed on that touches another.

import { cidrHolds, cidrLast, type Cidr } from '../base/addresses';
import type { HostRow } from '../directory/rows';

/**
 * The blocks of hosts by name, ascending. Where two overlap (servers let nobody enter such a block; a range that was set anew
 * may) the one that begins first keeps it, then the wider one, then the host whose name sorts first: the same everywhere.
 */
export function blocksByHost(hosts: Iterable<HostRow>, range: Cidr): ReadonlyMap<string, readonly Cidr[]> {
  const blocks = new Map<string, Cidr[]>();
  let taken = -1;
  for (const { host, block } of claimsOf(hosts, range)) {
    if (block.base <= taken) continue;
    taken = cidrLast(block);
    const own = blocks.get(host);
    if (own === undefined) blocks.set(host, [block]);
    else own.push(block);
  }
  return blocks;
}

interface Claim {
  readonly host: string;
  readonly block: Cidr;
}

function claimsOf(hosts: Iterable<HostRow>, range: Cidr): Claim[] {
  const claims: Claim[] = [];
  for (const { name, locatorBlocks } of hosts) {
    for (const { base, prefix } of locatorBlocks) {
      if (prefix >= range.prefix && cidrHolds(range, base)) claims.push({ host: name, block: { base, prefix } });
    }
  }
  return claims.sort(
    (a, b) => a.block.base - b.block.base || a.block.prefix - b.block.prefix || (a.host < b.host ? -1 : 1),
  );
}
