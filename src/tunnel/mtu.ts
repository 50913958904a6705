// How large packets may be that go through tunnels. Pure.

import type { DirectoryView } from '../directory/view';
import { reachOf } from '../directory/reach';

/** What WireGuard puts around a packet: IPv6 40 (IPv4 20), UDP 8, its own head 16 and tag 16. Enough for both, as its own tools have it. */
const OVERHEAD = 80;
/** Every host takes as much (RFC 791), and so does every link with IPv6 over it (RFC 8200) with WireGuard's part. */
const SMALLEST = 1_200;

/** Of the devices: `interfaceMtu` is that of the interface towards the peers, in bytes. */
export function tunnelMtu(interfaceMtu: number): number {
  return Math.max(interfaceMtu - OVERHEAD, SMALLEST);
}

/** Of a new network: what was set, and no more than a tunnel takes as soon as one host is reached by one. */
export function networkMtu(
  setting: number,
  view: Pick<DirectoryView, 'host' | 'hosts' | 'tunnel'>,
  own: string,
  tunnel: number,
): number {
  for (const other of view.hosts()) if (reachOf(view, own, other) === 'tunnel') return Math.min(setting, tunnel);
  return setting;
}
