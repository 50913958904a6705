// Which hosts stand by for a host: one of its own site, which it reaches in a millisecond, and one of another, which outlives
// the site; where there are no others, two of the same. Each site is a ring by the hashes of names, and a host has the next one
// of it: so every host has about as many to stand by for, and one that comes or goes changes little. Those of other sites are
// those with the largest hash of both names (rendezvous hashing). Pure.

import { canDial } from '../cluster/sites';
import type { HostRow, SwitchRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

export type ChoiceView = Pick<DirectoryView, 'host' | 'hosts' | 'tunnel' | 'switchOf'>;

/** The bound of the column; see directory.ovsschema. */
export const MAX_BACKUPS = 2;

/**
 * The backups of a host in the order in which they take over. Candidates have a row of their datapath, since agents of older
 * versions have none, and can be dialled by the host. `isAway` says of which nothing was heard for long.
 */
export function chooseBackups(view: ChoiceView, own: string, isAway: (host: string) => boolean): string[] {
  const host = view.host(own);
  if (host === undefined) return [];
  const isCandidate = (other: HostRow) =>
    view.switchOf(other.name) !== undefined && canDial(view, host, other) && !isAway(other.name);
  const candidates = [...view.hosts()].filter(isCandidate);
  const [near, far] = [true, false].map((isNear) => candidates.filter(({ site }) => (site === host.site) === isNear));
  const first = nextOnRing('first', host, near as HostRow[]) ?? heaviest(host, far as HostRow[]);
  if (first === undefined) return [];
  const isOther = ({ name }: HostRow) => name !== first.name;
  const others = (far as HostRow[]).filter(isOther);
  const elsewhere = others.filter(({ site }) => site !== first.site);
  const second =
    heaviest(host, elsewhere) ?? heaviest(host, others) ?? nextOnRing('second', host, near!.filter(isOther));
  return [first, ...(second === undefined ? [] : [second])].map(({ name }) => name);
}

/** The backups that a row names, which is a set, in the order in which they take over: of the host's own site first. */
export function backupsInOrder(view: Pick<DirectoryView, 'host'>, { host, backups }: SwitchRow): string[] {
  const site = view.host(host)?.site;
  const rank = (name: string) => hashOf('order', host, name) + (view.host(name)?.site === site ? 0 : 2 ** 32);
  return [...backups].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

/** The one whose place follows that of the host, on a ring that is another for each `name`. */
function nextOnRing(name: string, host: HostRow, others: readonly HostRow[]): HostRow | undefined {
  const own = hashOf(name, host.name);
  const distance = (other: HostRow) => (hashOf(name, other.name) - own + 2 ** 32) % 2 ** 32 || 2 ** 32;
  return least(others, distance);
}

function heaviest(host: HostRow, others: readonly HostRow[]): HostRow | undefined {
  return least(others, (other) => -hashOf('weight', host.name, other.name));
}

/** Of two alike the one whose name is first. */
function least(hosts: readonly HostRow[], measure: (host: HostRow) => number): HostRow | undefined {
  let best: { readonly host: HostRow; readonly value: number } | undefined;
  for (const host of hosts) {
    const value = measure(host);
    const isLess = best === undefined || value < best.value || (value === best.value && host.name < best.host.name);
    if (isLess) best = { host, value };
  }
  return best?.host;
}

/** FNV-1a of 32 bits, mixed as MurmurHash3 ends: every host works it out for every other, so it is cheap. */
function hashOf(...words: readonly string[]): number {
  const text = words.join('\n');
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
