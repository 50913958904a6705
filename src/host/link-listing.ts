// What `ip -j` prints, as our types. Pure; the shapes are those of iproute2 5 and 6.

import { z } from 'zod';
import {
  cidrOf,
  cidrsOverlap,
  parseInterfaceAddress,
  parseIpv4,
  parseMac,
  type Cidr,
  type Ipv4,
} from '../base/addresses';
import type { HostRoute, InterfaceAddress, Link } from './host';

const linkShape = z.object({
  ifindex: z.number(),
  ifname: z.string(),
  flags: z.array(z.string()),
  mtu: z.number(),
  link_type: z.string().optional(),
  address: z.string().optional(),
  /** The name of the veth peer (or of the lower device), where it is in the same network namespace. */
  link: z.string().optional(),
  linkinfo: z.object({ info_kind: z.string().optional() }).optional(),
  addr_info: z
    .array(z.object({ family: z.string().optional(), local: z.string().optional(), prefixlen: z.number().optional() }))
    .optional(),
});

const routeShape = z.object({
  dst: z.string(),
  dev: z.string().optional(),
  type: z.string().optional(),
  table: z.union([z.string(), z.number()]).optional(),
  metric: z.number().optional(),
  prefsrc: z.string().optional(),
  nexthops: z.array(z.object({ dev: z.string().optional() })).optional(),
});

/** A link with what a plan for it has to know besides. */
export interface LinkDetails extends Link {
  readonly peer: string | undefined;
  readonly addresses: readonly InterfaceAddress[];
}

// `ip -j` prints nothing at all for an empty list, and "{}" for what a filter left out.
function parseList<T>(json: string, shape: z.ZodType<T>): T[] {
  const list: unknown = json.trim() === '' ? [] : JSON.parse(json);
  if (!Array.isArray(list)) return [];
  const entries: unknown[] = list;
  return entries.filter((entry) => Object.keys(entry as object).length > 0).map((entry) => shape.parse(entry));
}

/** Reads `ip -j -d link show` or `ip -j -d addr show`, of IPv4 alone (`-4`), too. */
export function parseLinks(json: string): LinkDetails[] {
  return parseList(json, linkShape).map((link) => ({
    name: link.ifname,
    index: link.ifindex,
    ...(link.link_type === 'ether' && link.address !== undefined ? { mac: parseMac(link.address) } : {}),
    mtu: link.mtu,
    up: link.flags.includes('UP'),
    kind: link.linkinfo?.info_kind ?? '',
    peer: link.link,
    addresses: (link.addr_info ?? []).flatMap(({ family, local, prefixlen }) =>
      family === 'inet' && local !== undefined && prefixlen !== undefined
        ? [{ address: parseIpv4(local), prefix: prefixlen }]
        : [],
    ),
  }));
}

/** A route with what a plan has to know besides. */
export interface RouteDetails extends HostRoute {
  readonly metric: number;
  /** The address that the host's own packets by this route carry. */
  readonly source?: Ipv4;
}

/** Reads `ip -j -4 route show table all`. */
export function parseRoutes(json: string): RouteDetails[] {
  return parseList(json, routeShape).map((route) => {
    const device = route.dev ?? route.nexthops?.find(({ dev }) => dev !== undefined)?.dev;
    return {
      destination: parseDestination(route.dst),
      ...(device === undefined ? {} : { device }),
      type: route.type ?? 'unicast',
      table: String(route.table ?? 'main'),
      metric: route.metric ?? 0,
      ...(route.prefsrc === undefined ? {} : { source: parseIpv4(route.prefsrc) }),
    };
  });
}

function parseDestination(text: string): Cidr {
  if (text === 'default') return cidrOf(parseIpv4('0.0.0.0'), 0);
  const { address, prefix } = parseInterfaceAddress(text.includes('/') ? text : `${text}/32`);
  return cidrOf(address, prefix);
}

/** The device of the default route that the kernel prefers. */
export function defaultRouteDevice(routes: readonly RouteDetails[]): string | undefined {
  return routes
    .filter((route) => route.destination.prefix === 0 && route.table === 'main' && route.device !== undefined)
    .sort((a, b) => a.metric - b.metric)[0]?.device;
}

/**
 * The first route that has addresses of `range` in it and is not a default route, nor by one of `ownDevices`. Where there is one,
 * the host already reaches something else by these addresses.
 */
export function overlappingRoute(
  routes: readonly HostRoute[],
  range: Cidr,
  ownDevices: readonly string[],
): HostRoute | undefined {
  return routes.find(
    ({ destination, device }) =>
      destination.prefix > 0 &&
      (device === undefined || !ownDevices.includes(device)) &&
      cidrsOverlap(destination, range),
  );
}
