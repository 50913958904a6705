// What a plan takes over from the devices as they are, which may be an earlier agent's. Pure.
//
// A host that has another key is another peer for WireGuard, of which nothing is known: it is given the endpoint that was learned
// from the old one, so that this host can speak to it at once. And before the directory itself has been heard, what is known of it
// may be old: then nothing is taken away that is there.

import { cidrsOverlap, type Cidr } from '../base/addresses';
import type { TunnelDevice, TunnelDeviceState, TunnelPeer, TunnelPeerState, TunnelRoute } from '../host/host';

/** Peers that the devices do not have yet, with the endpoints of those whose addresses they get. */
export function withLearned<D extends TunnelDevice>(devices: readonly D[], state: readonly TunnelDeviceState[]): D[] {
  return devices.map((device) => {
    const there = state.find(({ name }) => name === device.name)?.peers ?? [];
    const keys = new Set(there.map(({ publicKey }) => publicKey));
    if (device.peers.every(({ publicKey }) => keys.has(publicKey))) return device;
    const wanted = new Set(device.peers.map(({ publicKey }) => publicKey));
    const gone = there.filter(({ publicKey }) => !wanted.has(publicKey));
    const peers = device.peers.map((peer) => {
      const before = keys.has(peer.publicKey) ? undefined : gone.find((one) => isPredecessor(one, peer));
      return before?.endpoint === undefined ? peer : { ...peer, endpoint: before.endpoint };
    });
    return { ...device, peers };
  });
}

function isPredecessor(before: TunnelPeerState, peer: TunnelPeer): boolean {
  return before.allowed.some((one) => peer.allowed.some((other) => cidrsOverlap(one, other)));
}

/** The plan, with all that is there besides: devices, peers with what nobody else gets of their addresses, and routes to them. */
export function withAllThatIsThere(
  { devices, routes }: { readonly devices: readonly TunnelDevice[]; readonly routes: readonly TunnelRoute[] },
  state: readonly TunnelDeviceState[],
  mtu: number,
): { readonly devices: TunnelDevice[]; readonly routes: TunnelRoute[] } {
  const kept: TunnelRoute[] = [];
  const names = new Set([...devices.map(({ name }) => name), ...state.map(({ name }) => name)]);
  const all = [...names].sort().map((name): TunnelDevice => {
    const planned = devices.find((device) => device.name === name);
    const there = state.find((device) => device.name === name);
    const device = planned ?? { name, listenPort: there?.listenPort ?? 0, mtu, peers: [] };
    const others = (there?.peers ?? []).flatMap((peer) => remainderOf(peer, device.peers));
    for (const { allowed } of others) {
      for (const destination of allowed)
        if (isFree(destination, [...routes, ...kept])) kept.push({ destination, device: name });
    }
    return { ...device, peers: [...device.peers, ...others] };
  });
  return { devices: all, routes: [...routes, ...kept] };
}

/** A peer that is not planned, without what planned ones have; none where nothing is left. */
function remainderOf(peer: TunnelPeerState, planned: readonly TunnelPeer[]): TunnelPeer[] {
  if (planned.some(({ publicKey }) => publicKey === peer.publicKey)) return [];
  const allowed = peer.allowed.filter((one) => planned.every((other) => isApart(one, other.allowed)));
  const { publicKey, keepaliveSeconds } = peer;
  return allowed.length === 0 ? [] : [{ publicKey, allowed, keepaliveSeconds }];
}

function isApart(one: Cidr, others: readonly Cidr[]): boolean {
  return others.every((other) => !cidrsOverlap(one, other));
}

/** Of several devices with the same prefix the first has the route: the one of direct peers sorts first. */
function isFree(destination: Cidr, routes: readonly TunnelRoute[]): boolean {
  return isApart(
    destination,
    routes.map((route) => route.destination),
  );
}
