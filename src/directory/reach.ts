// How packets of containers get from one host to another: by what the directory says of both, so that the two agree. Pure. It
// does not say whether the other host answers, nor, of a tunnel, whether it is direct or through a hub (src/tunnel).

import type { HostRow } from './rows';
import type { DirectoryView } from './view';

/** `fabric`: as they are, over the network of the site. `tunnel`: encrypted. */
export type Reach = 'fabric' | 'tunnel';

/** Undefined: not at all (yet). Nothing falls back to the fabric: what is to be encrypted waits for its tunnel. */
export function reachOf(view: Pick<DirectoryView, 'host' | 'tunnel'>, own: string, other: HostRow): Reach | undefined {
  const host = view.host(own);
  if (host === undefined || other.name === own) return undefined;
  const tunnels = [view.tunnel(own), view.tunnel(other.name)];
  if (isPlain(host, other) && tunnels.every((tunnel) => (tunnel?.noL2 ?? false) === false)) return 'fabric';
  return tunnels.every((tunnel) => tunnel !== undefined) ? 'tunnel' : undefined;
}

/** Two hosts of one site that do not encrypt inside of it. */
function isPlain(host: HostRow, other: HostRow): boolean {
  return host.site === other.site && [host, other].every(({ address, encrypts }) => address !== undefined && !encrypts);
}

/**
 * Whether two hosts exchange packets as they are if they share an L2, whatever was detected: as long as nobody has said that they
 * do not. Then both keep their port onto it, and can find out.
 */
export function mayShareL2(view: Pick<DirectoryView, 'host' | 'tunnel'>, own: string, other: HostRow): boolean {
  const host = view.host(own);
  if (host === undefined || other.name === own || !isPlain(host, other)) return false;
  return [own, other.name].every((name) => view.tunnel(name)?.noL2 !== 'said');
}

/** The two of which it was said, or detected, that they share no L2 with their one site: why they have a tunnel. */
export function withoutL2(view: Pick<DirectoryView, 'host' | 'tunnel'>, own: string, other: HostRow): string[] {
  if (view.host(own)?.site !== other.site) return [];
  return [own, other.name].flatMap((name) => {
    const noL2 = view.tunnel(name)?.noL2 ?? false;
    return noL2 === false ? [] : [`${name}${noL2 === 'detected' ? ' (detected)' : ''}`];
  });
}

/** How packets to another host go, for people. */
export interface Way {
  readonly kind: Reach | 'hub';
  /** The hubs that they may go through, where neither of the two can be dialled by the other. */
  readonly hubs: readonly string[];
}

/** Undefined: not at all. Of the hubs that answer both, each host takes its first: see src/tunnel/plan.ts. */
export function wayOf(
  view: Pick<DirectoryView, 'host' | 'hosts' | 'tunnel'>,
  own: string,
  other: HostRow,
): Way | undefined {
  const kind = reachOf(view, own, other);
  if (kind === undefined) return undefined;
  const isDialled = [own, other.name].some((name) => view.tunnel(name)?.endpoint !== undefined);
  if (kind === 'fabric' || isDialled || view.host(own)?.site === other.site) return { kind, hubs: [] };
  const hubs = [...view.hosts()].filter(({ name, isHub }) => isHub && view.tunnel(name)?.endpoint !== undefined);
  if (hubs.length === 0) return undefined;
  const unheard = [own, other.name].flatMap((name) => view.tunnel(name)?.unheard ?? []);
  const heard = hubs.filter(({ name }) => !unheard.includes(name));
  return { kind: 'hub', hubs: (heard.length === 0 ? hubs : heard).map(({ name }) => name).sort() };
}
