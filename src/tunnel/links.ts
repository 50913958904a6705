// Which tunnels there are between hosts, by what the directory says of both: two hosts that ask about the same pair get the
// same answer. Pure. Who needs which of them is needed.ts; what a device is told of them is plan.ts.

import type { AddressPort } from '../base/address-port';
import { reachOf } from '../directory/reach';
import type { HostRow, TunnelRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

/** All direct peers of a host are of this device. */
export const TUNNEL_DEVICE = 'daoli-wg';
/** A host without an endpoint goes through as many, the first of them by name. */
export const MAX_HUBS = 3;

export type LinkView = Pick<DirectoryView, 'host' | 'hosts' | 'tunnel' | 'tunnels'>;

/** A host that can have tunnels. */
export interface Member {
  readonly host: HostRow;
  readonly tunnel: TunnelRow;
}

export function memberOf(view: LinkView, name: string): Member | undefined {
  const host = view.host(name);
  const tunnel = view.tunnel(name);
  return host === undefined || tunnel === undefined ? undefined : { host, tunnel };
}

export function* membersOf(view: LinkView): Iterable<Member> {
  for (const tunnel of view.tunnels()) {
    const host = view.host(tunnel.host);
    if (host !== undefined) yield { host, tunnel };
  }
}

/** Whether other sites cannot speak to it first: it is behind NAT. */
export function isHidden({ tunnel }: Member): boolean {
  return tunnel.endpoint === undefined;
}

/** Where a host speaks to another one: inside its site at the server's own address. */
export function endpointOf(other: Member, from: Member): AddressPort | undefined {
  const { address, site } = other.host;
  return site === from.host.site && address !== undefined
    ? { address, port: other.tunnel.port }
    : other.tunnel.endpoint;
}

/** The device for the hub of this place, 0 to 2, on a host that goes through hubs. */
export function hubDevice(index: number): string {
  return `${TUNNEL_DEVICE}${index + 1}`;
}

/** The port of that device, next to the one that the host tells. */
export function hubPort({ port }: TunnelRow, index: number): number {
  return port + MAX_HUBS <= 0xffff ? port + index + 1 : port - index - 1;
}

/** `direct`: one speaks to the other. `hub`: the other is one of this host's hubs. `spoke`: this host is one of its hubs. */
export type Link =
  | { readonly kind: 'direct' }
  | { readonly kind: 'hub'; readonly index: number }
  | { readonly kind: 'spoke'; readonly index: number }
  | { readonly kind: 'relayed' };

/** The tunnels of a cluster as the directory is at this moment. */
export class Links {
  /** In the order in which they are taken. */
  readonly hubs: readonly Member[];
  private readonly hubIndex: ReadonlyMap<string, number>;
  /** Whether some hosts reach one another through hubs alone. */
  private readonly areHubsInUse: boolean;

  constructor(private readonly view: LinkView) {
    const members = [...membersOf(view)];
    this.hubs = members
      .filter((member) => member.host.isHub && !isHidden(member))
      .sort((a, b) => (a.host.name < b.host.name ? -1 : 1))
      .slice(0, MAX_HUBS);
    this.hubIndex = new Map(this.hubs.map(({ host }, index) => [host.name, index]));
    this.areHubsInUse = new Set(members.filter(isHidden).map(({ host }) => host.site)).size > 1;
  }

  /**
   * The tunnel between two hosts; undefined where there is none. A hub of a host's own site is a hub for it also where their own
   * packets go over the fabric.
   */
  between(own: Member, other: Member): Link | undefined {
    const reach = reachOf(this.view, own.host.name, other.host);
    const isTunnel = reach === 'tunnel';
    const hub = isHidden(own) ? this.hubIndex.get(other.host.name) : undefined;
    if (hub !== undefined) return isTunnel || this.areHubsInUse ? { kind: 'hub', index: hub } : undefined;
    const spoke = isHidden(other) ? this.hubIndex.get(own.host.name) : undefined;
    if (spoke !== undefined) return isTunnel || this.areHubsInUse ? { kind: 'spoke', index: spoke } : undefined;
    if (!isTunnel) return undefined;
    const isDirect = endpointOf(other, own) !== undefined || endpointOf(own, other) !== undefined;
    return { kind: isDirect ? 'direct' : 'relayed' };
  }
}
