// What has to be said to wg(8) and ip(8) so that a device and the routes by tunnels become what they are to be. Differences
// only: a peer that stays keeps its session and the endpoint that its packets taught. Pure.

import { formatCidr, formatIpv4, parseCidr, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { TunnelDevice, TunnelEndpoint, TunnelPeer, TunnelPeerState, TunnelRoute } from './host';
import type { RouteDetails } from './link-listing';
import { checkKey } from './tunnel-keys';
import type { TunnelListing } from './tunnel-listing';

/** All devices of ours have such a name, and no other interface has. */
export const TUNNEL_NAME = /^daoli-wg[1-9]?$/;
/** After so long without a handshake WireGuard has no session (REJECT_AFTER_TIME): what was learned in it is worth nothing. */
const SESSION_MS = 180_000;

/** What is known of a peer besides what the device shows. */
export interface KnownPeer {
  /** The endpoint told last; absent: none was. */
  readonly told?: TunnelEndpoint;
  /** What the device had last: it outlives the device here. */
  readonly seen?: TunnelPeerState;
}

/** By public key. */
export type KnownPeers = ReadonlyMap<string, KnownPeer>;

export interface TunnelPlan {
  /** Arguments of `wg set DEVICE`; none: nothing differs. The private key, where it is among them, comes by standard input. */
  readonly words: readonly string[];
  /** Peers that are to be called at once, so that nobody waits for a first packet. */
  readonly calls: readonly TunnelPeer[];
}

export interface TunnelPlanInput {
  readonly device: TunnelDevice;
  readonly privateKey: string;
  readonly listing: TunnelListing;
  readonly known: KnownPeers;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly change?: AddressChange | undefined;
}

/**
 * What became of addresses of this host. Where there is a new one, peers are called, and so learn it. Where one has gone, the
 * socket is opened anew, too: wireguard-go would send from it for ever.
 */
export type AddressChange = 'new' | 'gone';

export const formatEndpoint = ({ address, port }: TunnelEndpoint): string => `${formatIpv4(address)}:${port}`;

const sameEndpoint = (a: TunnelEndpoint | undefined, b: TunnelEndpoint | undefined): boolean =>
  a?.address === b?.address && a?.port === b?.port;

export function planTunnel({ device, privateKey, listing, known, now, change }: TunnelPlanInput): TunnelPlan {
  const current = new Map(listing.peers.map((peer) => [peer.publicKey, peer]));
  const wanted = new Set(device.peers.map(({ publicKey }) => publicKey));
  const isNewKey = listing.privateKey !== privateKey;
  const port = device.listenPort === 0 ? listing.listenPort : device.listenPort;
  const own = [
    ...(isNewKey ? ['private-key', '/dev/stdin'] : []),
    ...(port === listing.listenPort && change !== 'gone' ? [] : ['listen-port', String(port)]),
  ];
  const callsAll = isNewKey || change !== undefined;
  const planned = device.peers.map((peer) => {
    const has = current.get(peer.publicKey);
    const endpoint = endpointToTell(peer, has, known.get(peer.publicKey), now);
    return { peer, isNew: has === undefined, canCall: (endpoint ?? has?.endpoint) !== undefined, endpoint, has };
  });
  return {
    words: [
      ...own,
      // New ones take their addresses from those that go: no packet finds nobody.
      ...planned.flatMap(({ peer, has, endpoint }) => peerWords(peer, has, endpoint)),
      ...[...current.keys()].filter((key) => !wanted.has(key)).flatMap((key) => ['peer', key, 'remove']),
    ],
    calls: planned.filter(({ isNew, canCall }) => canCall && (isNew || callsAll)).map(({ peer }) => peer),
  };
}

/** The words for what differs of a peer; none where nothing does. */
function peerWords(peer: TunnelPeer, has: TunnelPeerState | undefined, endpoint: TunnelEndpoint | undefined): string[] {
  const allowed = allowedText(peer.allowed);
  const words = [
    ...(endpoint === undefined ? [] : ['endpoint', formatEndpoint(endpoint)]),
    ...((has?.keepaliveSeconds ?? 0) === peer.keepaliveSeconds
      ? []
      : ['persistent-keepalive', String(peer.keepaliveSeconds)]),
    ...(has !== undefined && allowedText(has.allowed) === allowed ? [] : ['allowed-ips', allowed]),
  ];
  return words.length === 0 ? [] : ['peer', peer.publicKey, ...words];
}

function allowedText(allowed: readonly Cidr[]): string {
  return [...new Set(allowed.map(formatCidr))].sort().join(',');
}

/** Undefined where the device's own is to stay. */
function endpointToTell(
  { endpoint: told }: TunnelPeer,
  has: TunnelPeerState | undefined,
  known: KnownPeer | undefined,
  now: number,
): TunnelEndpoint | undefined {
  if (has?.endpoint === undefined) {
    const seen = known?.seen;
    const learned = seen !== undefined && hasSession(seen, now) ? seen.endpoint : undefined;
    return learned ?? told ?? seen?.endpoint;
  }
  if (told === undefined || sameEndpoint(told, has.endpoint)) return undefined;
  const isAnother = known !== undefined && !sameEndpoint(told, known.told);
  return isAnother || !hasSession(has, now) ? told : undefined;
}

function hasSession({ lastHandshakeMs }: TunnelPeerState, now: number): boolean {
  return lastHandshakeMs !== undefined && now - lastHandshakeMs < SESSION_MS;
}

/** What is known afterwards, of the peers that are to be there. */
export function knownAfter(device: TunnelDevice, listing: TunnelListing, known: KnownPeers): KnownPeers {
  const current = new Map(listing.peers.map((peer) => [peer.publicKey, peer]));
  return new Map(
    device.peers.map(({ publicKey, endpoint }) => {
      const has = current.get(publicKey);
      const seen = has?.endpoint === undefined ? known.get(publicKey)?.seen : has;
      return [publicKey, { ...(endpoint && { told: endpoint }), ...(seen && { seen }) }];
    }),
  );
}

/**
 * Switching keepalives on sends one, and for that begins a session, as nothing else does at once. After it they are again what
 * they are to be.
 */
export function callWords(peers: readonly TunnelPeer[]): string[] {
  const set = (seconds: (peer: TunnelPeer) => number) =>
    peers.flatMap((peer) => ['peer', peer.publicKey, 'persistent-keepalive', String(seconds(peer))]);
  return [...set(() => 0), ...set(() => 1), ...set(({ keepaliveSeconds }) => keepaliveSeconds)];
}

/** As planTunnel() for a peer that is taken away and put back. */
export function renewWords(peer: TunnelPeer, has: TunnelPeerState | undefined): string[] {
  const endpoint = peer.endpoint ?? has?.endpoint;
  return ['peer', peer.publicKey, 'remove', ...peerWords(peer, undefined, endpoint)];
}

/** Commands for `ip -batch`. */
export function planTunnelRoutes(
  wanted: readonly TunnelRoute[],
  source: Ipv4,
  listed: readonly RouteDetails[],
): string[] {
  const ours = listed.filter(
    ({ device, type, table }) =>
      device !== undefined && TUNNEL_NAME.test(device) && type === 'unicast' && table === 'main',
  );
  const wants = new Map(wanted.map((route) => [formatCidr(route.destination), route]));
  const current = new Map(
    ours.filter(({ metric }) => metric === 0).map((route) => [formatCidr(route.destination), route]),
  );
  const add = [...wants].flatMap(([destination, { device }]) => {
    const has = current.get(destination);
    if (has?.device === device && has.source === source) return [];
    // By a gateway, which no tunnel looks at: else a hub, where packets leave as they came, would send redirects, and these use
    // up what the kernel allows of "time exceeded". One cannot switch them off for a device alone.
    const gateway = formatIpv4(parseCidr(destination).base);
    return [`route replace ${destination} via ${gateway} dev ${device} onlink src ${formatIpv4(source)}`];
  });
  const remove = ours
    .filter(({ destination, metric }) => metric !== 0 || !wants.has(formatCidr(destination)))
    .map(({ destination, device, metric }) => `route delete ${formatCidr(destination)} dev ${device} metric ${metric}`);
  return [...add, ...remove];
}

/** Throws `invalid` for what wg or a shell would take for something else, or for what would not stay as it was told. */
export function checkTunnels(devices: readonly TunnelDevice[], routes: readonly TunnelRoute[]): void {
  const names = new Set<string>();
  for (const { name, listenPort, mtu, peers } of devices) {
    if (!TUNNEL_NAME.test(name) || names.has(name))
      throw invalid(`"${name}" cannot be the name of a tunnel's device`, name);
    names.add(name);
    if (!isWithin(listenPort, 0, 65535)) throw invalid(`${listenPort} is no UDP port`, name);
    if (!isWithin(mtu, 576, 65535)) throw invalid(`${mtu} is no MTU of a tunnel: give 576 to 65535 bytes`, name);
    checkPeers(name, peers);
  }
  const stray = routes.find(({ device }) => !names.has(device));
  if (stray !== undefined) throw invalid(`there is no device ${stray.device} for a route by it`, stray.device);
}

function checkPeers(name: string, peers: readonly TunnelPeer[]): void {
  const taken = new Set<string>();
  const take = (what: string): void => {
    if (taken.has(what)) throw invalid(`two peers of ${name} have ${what}`, what);
    taken.add(what);
  };
  for (const { publicKey, allowed, endpoint, keepaliveSeconds } of peers) {
    take(checkKey(publicKey, 'public'));
    for (const text of new Set(allowed.map(formatCidr))) take(text);
    if (!isWithin(keepaliveSeconds, 0, 65535)) throw invalid(`${keepaliveSeconds} is no keepalive`, publicKey);
    if (endpoint !== undefined && !isWithin(endpoint.port, 1, 65535)) {
      throw invalid(`${formatEndpoint(endpoint)} is no endpoint`, publicKey);
    }
  }
}

const isWithin = (value: number, least: number, most: number): boolean =>
  Number.isInteger(value) && value >= least && value <= most;

const invalid = (message: string, subject: string): DaoliError => new DaoliError('invalid', message, subject);
