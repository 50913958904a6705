// What devices, peers and routes this host's tunnels are to have: from the directory, from whom this host has to do with, and
// from which hubs answer. Pure, and the same for the same: peers are ordered by their hosts' names, prefixes by address.
//
// Of two hosts with a tunnel between them both plans name the other, and what the one routes into a device its peer there
// accepts at the other end. Packets of a host behind NAT for another one behind NAT go to a hub, which has both as peers and
// passes them on. Such a host has a device for each of its hubs, and takes from each hub what comes from any host that is reached
// like that, so that which hub it sends by, and which one answers come by, are two decisions of two hosts. For each of the others
// it takes the first hub that answers it and, as far as the other has told, that one too.

import type { Cidr, Ipv4 } from '../base/addresses';
import type { AddressPort } from '../base/address-port';
import { hostLocator } from '../directory/allocation';
import type { TunnelDevice, TunnelPeer, TunnelRoute } from '../host/host';
import { blocksByHost } from './blocks';
import {
  endpointOf,
  hubDevice,
  hubPort,
  isHidden,
  Links,
  memberOf,
  membersOf,
  TUNNEL_DEVICE,
  type Link,
  type LinkView,
  type Member,
} from './links';

/** Mappings of NAT live for 30 s and more. */
export const KEEPALIVE_SECONDS = 25;

export interface PlanInput {
  readonly view: LinkView;
  /** The name of this host. */
  readonly own: string;
  /** All locators of the cluster. */
  readonly locatorRange: Cidr;
  /** Of the devices, in bytes. */
  readonly mtu: number;
  /** The hosts that this one has to do with. Hubs, and on a hub those behind NAT, need not be among them. */
  readonly needed: ReadonlySet<string>;
  readonly isAlive: (hub: string) => boolean;
  /** The hub that had the routes to a host last. */
  readonly lastHub: (host: string) => string | undefined;
}

export interface PlannedPeer extends TunnelPeer {
  readonly host: string;
  /** That host's own locator, which answers pings. */
  readonly locator: Ipv4 | undefined;
}

export interface PlannedDevice extends TunnelDevice {
  readonly peers: readonly PlannedPeer[];
}

/** A hub of this host, with what it is pinged by. */
export interface PlannedHub {
  readonly host: string;
  readonly device: string;
  readonly locator: Ipv4 | undefined;
}

/** A host, and the hub that has the routes to it. */
export interface RelayedHost {
  readonly host: string;
  readonly hub: string;
}

export interface TunnelPlan {
  /** None where no host is to be reached by tunnel. */
  readonly devices: readonly PlannedDevice[];
  readonly routes: readonly TunnelRoute[];
  /** The hubs of this host, in the order in which they are taken. */
  readonly hubs: readonly PlannedHub[];
  /** The hosts among the needed ones that are reached through hubs. */
  readonly relayed: readonly RelayedHost[];
}

export const NO_TUNNELS: TunnelPlan = { devices: [], routes: [], hubs: [], relayed: [] };

/** A host with a tunnel to this one. */
interface Neighbour extends Member {
  readonly link: Link;
  readonly blocks: readonly Cidr[];
}

export function planTunnels(input: PlanInput): TunnelPlan {
  const { view, own: name, locatorRange, needed, mtu } = input;
  const own = memberOf(view, name);
  if (own === undefined) return NO_TUNNELS;
  const neighbours = neighboursOf(own, view, locatorRange);
  if (neighbours.length === 0) return NO_TUNNELS;
  const isNeeded = ({ host }: Member) => needed.has(host.name);
  const direct = neighbours.filter((one) => one.link.kind === 'spoke' || (one.link.kind === 'direct' && isNeeded(one)));
  const hubs = neighbours.filter(({ link }) => link.kind === 'hub').sort((a, b) => indexOf(a) - indexOf(b));
  const relayed = neighbours.filter(({ link }) => link.kind === 'relayed');
  const behind = relayed.flatMap(({ blocks }) => blocks);

  const peerOf = (one: Neighbour, more: readonly Cidr[] = []): PlannedPeer => ({
    host: one.host.name,
    locator: hostLocator(one.host, locatorRange),
    publicKey: one.tunnel.key,
    ...withEndpoint(reachedAt(one, own)),
    allowed: [...one.blocks, ...more].sort(byAddress),
    keepaliveSeconds: isHidden(own) && one.host.site !== own.host.site ? KEEPALIVE_SECONDS : 0,
  });
  const main = { name: TUNNEL_DEVICE, listenPort: own.tunnel.port, mtu, peers: direct.map((one) => peerOf(one)) };
  const others = hubs.map((one) => ({
    name: hubDevice(indexOf(one)),
    listenPort: hubPort(own.tunnel, indexOf(one)),
    mtu,
    peers: [peerOf(one, behind)],
  }));

  const through = relayed.filter(isNeeded).flatMap((to) => {
    const hub = chooseHub(hubs, to, input);
    return hub === undefined ? [] : { to, hub };
  });
  const routes = [
    ...direct.flatMap((one) => routesTo(one, TUNNEL_DEVICE)),
    ...hubs.flatMap((one) => routesTo(one, hubDevice(indexOf(one)))),
    ...through.flatMap(({ to, hub }) => routesTo(to, hubDevice(indexOf(hub)))),
  ];
  return {
    devices: [main, ...others],
    routes: routes.sort((a, b) => byAddress(a.destination, b.destination)),
    hubs: hubs.map(({ host, link }) => ({
      host: host.name,
      device: hubDevice(indexOf({ link })),
      locator: hostLocator(host, locatorRange),
    })),
    relayed: through.map(({ to, hub }) => ({ host: to.host.name, hub: hub.host.name })),
  };
}

/** A host without blocks has nothing to send from, and nothing is sent there. */
function neighboursOf(own: Member, view: LinkView, range: Cidr): Neighbour[] {
  const links = new Links(view);
  const blocks = blocksByHost(view.hosts(), range);
  if (!blocks.has(own.host.name)) return [];
  const neighbours: Neighbour[] = [];
  for (const member of membersOf(view)) {
    const theirs = blocks.get(member.host.name);
    const link = links.between(own, member);
    if (link !== undefined && theirs !== undefined) neighbours.push({ ...member, link, blocks: theirs });
  }
  return neighbours.sort((a, b) => (a.host.name < b.host.name ? -1 : 1));
}

function indexOf({ link }: Pick<Neighbour, 'link'>): number {
  return link.kind === 'hub' || link.kind === 'spoke' ? link.index : -1;
}

/** A host has a port of its own for each of its hubs. */
function reachedAt(one: Neighbour, own: Member): AddressPort | undefined {
  const endpoint = endpointOf(one, own);
  return one.link.kind === 'spoke' && endpoint ? { ...endpoint, port: hubPort(one.tunnel, one.link.index) } : endpoint;
}

function withEndpoint(endpoint: AddressPort | undefined): { endpoint?: AddressPort } {
  return endpoint === undefined ? {} : { endpoint };
}

/**
 * The first that answers both; else the first that answers this host, as the other may not have told of a change yet. Where none
 * does, nothing is changed: it may be this host's own connection that is away.
 */
function chooseHub(hubs: readonly Neighbour[], to: Neighbour, input: PlanInput): Neighbour | undefined {
  const alive = hubs.filter(({ host }) => input.isAlive(host.name));
  const common = alive.find(({ host }) => !to.tunnel.unheard.includes(host.name));
  if (alive[0] !== undefined) return common ?? alive[0];
  const last = input.lastHub(to.host.name);
  return hubs.find(({ host }) => host.name === last) ?? hubs[0];
}

function routesTo({ blocks }: Neighbour, device: string): TunnelRoute[] {
  return blocks.map((destination) => ({ destination, device }));
}

function byAddress(a: Cidr, b: Cidr): number {
  return a.base - b.base || a.prefix - b.prefix;
}
