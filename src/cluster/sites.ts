// Hosts at several sites: what is said of one when it comes into the cluster, by which of its addresses a server is dialled,
// and who may be a server. Pure. How packets go between sites is src/directory/reach.ts.

import type { AddressPort } from '../base/address-port';
import { formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { hostLocator } from '../directory/allocation';
import { reachOf } from '../directory/reach';
import type { HostRow } from '../directory/rows';
import { isOfAnyHost, TUNNEL_PORT, type L2Setting } from '../directory/tunnel-operations';
import type { DirectoryView } from '../directory/view';
import type { KnownServer } from './files';

/** What people say of a host when it comes in; what they do not say is found out, or is as it is at others. */
export interface Entry {
  /** The address by which the others of its site reach it. */
  readonly address?: Ipv4 | undefined;
  readonly site?: string | undefined;
  readonly isHub?: boolean | undefined;
  readonly encrypts?: boolean | undefined;
  /** Where hosts of other sites reach its tunnel. */
  readonly endpoint?: AddressPort | undefined;
  /** Whether it shares an L2 with its site. Default: it finds out. */
  readonly l2?: L2Setting | undefined;
}

/** What a host itself has to know of its tunnel, to tell it in the directory. */
export interface TunnelFacts {
  /** Undefined behind NAT. */
  readonly endpoint: AddressPort | undefined;
  readonly l2: L2Setting;
}

/** Servers with the address by which a host of this site reaches them. */
export function seenFrom(site: string, servers: readonly KnownServer[]): KnownServer[] {
  return servers.map((server) => {
    const { outside } = server;
    return server.site === site || outside === undefined ? server : { ...server, address: outside };
  });
}

/** Whether some packets of the cluster are to be encrypted: there are two sites, or a host encrypts inside of its own. */
export function needsTunnels(view: Pick<DirectoryView, 'hosts'>): boolean {
  const members = [...view.hosts()].filter(({ address }) => address !== undefined);
  return members.some(({ site, encrypts }) => encrypts || site !== members[0]?.site);
}

/** The address by which other sites reach a host, where that is not its own. */
export function outsideOf(endpoint: AddressPort | undefined, own: Ipv4): Ipv4 | undefined {
  return endpoint === undefined || endpoint.address === own ? undefined : endpoint.address;
}

/**
 * Whether servers of any site reach a host. Before it has told of its tunnel, that is known of hosts in the servers' own site
 * alone.
 */
export function mayServe(view: Pick<DirectoryView, 'hosts' | 'tunnel'>, host: HostRow): boolean {
  const tunnel = view.tunnel(host.name);
  if (tunnel !== undefined) return tunnel.endpoint !== undefined;
  return [...view.hosts()].every(({ isServer, site }) => !isServer || site === host.site);
}

/** Throws `invalid` for a hub that others cannot dial. */
export function checkHub(name: string, isHub: boolean, endpoint: AddressPort | undefined): void {
  if (!isHub || endpoint !== undefined) return;
  const remedy = 'where others reach it nevertheless, say so with --endpoint ADDRESS[:PORT]';
  throw new DaoliError('invalid', `host ${name} is behind NAT, so it cannot be a hub: ${remedy}`, name);
}

/**
 * Where the door of another host is: at its address in this host's own site, else at its locator, through the tunnel. Undefined
 * where no tunnel leads there (yet).
 */
export function doorOf(
  view: Pick<DirectoryView, 'host' | 'tunnel'>,
  own: string,
  other: HostRow,
  locatorRange: Cidr,
): Ipv4 | undefined {
  if (view.host(own)?.site === other.site) return other.address;
  return reachOf(view, own, other) === undefined ? undefined : hostLocator(other, locatorRange);
}

/** Throws `invalid` for addresses that are no host's, and those among the locators, which only tunnels lead to. */
export function checkReached(addresses: readonly (Ipv4 | undefined)[], locatorRange: Cidr): void {
  const wrong = addresses.find((address) => address !== undefined && !isOfAnyHost(address, locatorRange));
  if (wrong === undefined) return;
  const text = formatIpv4(wrong);
  throw new DaoliError('invalid', `no other host could reach this one at ${text}: give another address`, text);
}

/**
 * Whether a host opens connections to another one without a third between them: it is of its site, or has an endpoint that all
 * sites reach. The other way round it may not.
 */
export function canDial(view: Pick<DirectoryView, 'tunnel'>, from: HostRow, to: HostRow): boolean {
  if (from.name === to.name) return false;
  if (from.site === to.site) return to.address !== undefined;
  return view.tunnel(from.name) !== undefined && view.tunnel(to.name)?.endpoint !== undefined;
}

/** Throws `conflict` where another host of the site has the address. Two sites may have the same ones. */
export function checkAddress(view: Pick<DirectoryView, 'hosts'>, host: Standing): void {
  const { name, site, address } = host;
  if (address === undefined) return;
  const other = [...view.hosts()].find((each) => each.name !== name && each.site === site && each.address === address);
  if (other === undefined) return;
  const text = formatIpv4(address);
  const remedy = 'join with --address, or with --site where it is at another';
  throw new DaoliError('conflict', `${text} is the address of host ${other.name}: ${remedy}`, text);
}

interface Standing {
  readonly name: string;
  readonly site: string;
  readonly address: Ipv4 | undefined;
}

/**
 * Where other sites reach a newcomer that says nothing of it, as a server sees it: undefined behind NAT. That is where it comes
 * from another address than it has itself, or where the server is of its site and is reached at another address itself.
 */
export function endpointOf(
  newcomer: { readonly address: Ipv4; readonly local: Ipv4 | undefined; readonly site: string },
  seen: Ipv4,
  server: { readonly address: Ipv4; readonly site: string; readonly tunnel: TunnelFacts },
): AddressPort | undefined {
  const { address, local = address, site } = newcomer;
  if (local !== seen) return undefined;
  if (site === server.site && outsideOf(server.tunnel.endpoint, server.address) !== undefined) return undefined;
  return { address, port: TUNNEL_PORT };
}
