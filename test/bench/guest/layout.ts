// The names and addresses in the guest. There are two hosts, a and b, each a network namespace, and between them one wire, a
// veth pair, for each path, so that no path's bridge sees another's packets. Each path but the plain one has a container,
// again a namespace, on either host. What stands side by side is a scene: paths inside of a site, or encrypted between two.

export const SIDES = ['a', 'b'] as const;
export type Side = (typeof SIDES)[number];

export const SCENES = {
  site: ['daolinet', 'normal', 'bridge', 'vxlan', 'routed', 'macvlan', 'plain'],
  sites: ['tunnel', 'wireguard', 'esp'],
} as const;
export type Scene = keyof typeof SCENES;
export type Path = (typeof SCENES)[Scene][number];

/** The paths of a scene; the first is DaoliNet's. */
export const pathsOf = (scene: Scene): readonly Path[] => SCENES[scene];
export const productOf = (scene: Scene): Path => SCENES[scene][0];

/** Numbers in addresses. */
const PATHS: readonly Path[] = [...SCENES.site, ...SCENES.sites];

export const TITLES: Record<Path, string> = {
  daolinet: 'DaoliNet',
  normal: 'OVS NORMAL',
  bridge: 'Linux bridge',
  vxlan: 'VXLAN',
  routed: 'plain forwarding',
  macvlan: 'macvlan',
  plain: 'host to host',
  tunnel: 'DaoliNet',
  wireguard: 'bare WireGuard',
  esp: 'VXLAN in ESP',
};

/** What a wire carries, in bytes of IP packet. */
export const MTU = 1500;
/** What WireGuard carries. */
export const TUNNEL_MTU = 1420;
/** Of DaoliNet; the bare one has the next. */
export const TUNNEL_PORT = 7471;

/** The private key of a host's WireGuard. */
export const keyOf = (side: Side): string => Buffer.alloc(32, 0x40 + 8 * SIDES.indexOf(side)).toString('base64');

export const other = (side: Side): Side => (side === 'a' ? 'b' : 'a');
export const hostOf = (side: Side): string => `host-${side}`;
const numberOf = (side: Side): number => SIDES.indexOf(side) + 1;

/** Where a path's traffic begins and ends: a container, or on the plain path the host itself. */
export const endOf = (path: Path, side: Side): string => (path === 'plain' ? hostOf(side) : `${path}-${side}`);

/** The host's interface at its end of a path's wire. The plain path is on that of DaoliNet: it leaves the NIC to the host. */
export const wireOf = (path: Path): string => `w-${path === 'plain' ? 'daolinet' : path}`;

/** The host's address on a wire. */
export const serverAddress = (path: Path, side: Side): string =>
  `192.0.2.${16 * PATHS.indexOf(path === 'plain' ? 'daolinet' : path) + numberOf(side)}`;

/** The address that a path's traffic goes to or comes from. */
export function addressOf(path: Path, side: Side): string {
  if (path === 'plain') return serverAddress(path, side);
  // Plain forwarding is between subnets; on the others both containers are in one.
  const subnet = path === 'routed' ? 10 * numberOf(side) : 0;
  return `10.${PATHS.indexOf(path)}.${subnet}.${numberOf(side) + 1}`;
}
