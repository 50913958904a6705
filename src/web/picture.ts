// What of the world becomes which things to draw: containers, the connections between them, ports that lead in. A connection is all
// routes between the same two, both ways, on whichever host they were seen.

import { networkKey } from './colours';
import { OUTSIDE, type FirewallRule, type LiveRoute, type World } from './world';
import type { ShownHost } from '../api/operations/cluster';
import type { ShownEndpoint, ShownPort } from '../api/operations/networks';

/** A container: a node. */
export interface Container {
  /** Of the node. */
  readonly id: string;
  readonly name: string;
  readonly containerId: string;
  readonly host: string;
  /** By the names of their networks. */
  readonly endpoints: readonly ShownEndpoint[];
  /** As `networkKey` has them. */
  readonly networks: readonly string[];
  readonly isJoined: boolean;
  readonly ports: readonly ShownPort[];
  readonly service: string | null;
  readonly labels: Readonly<Record<string, string>>;
}

/** A live connection: an edge. */
export interface Connection {
  readonly id: string;
  /** Nodes: containers, or OUTSIDE. */
  readonly one: string;
  readonly other: string;
  readonly routes: readonly LiveRoute[];
  /** The network that both are in, where it is one. */
  readonly network: string | undefined;
  /** Whether it goes by a tunnel, encrypted, as far as this page's host knows. */
  readonly isTunnelled: boolean;
  readonly bornAt: number;
  readonly activeAt: number;
  readonly packets: number;
  readonly bytes: number;
  readonly packetsPerSecond: number;
}

/** A port of a host that leads to a container. */
export interface Door extends FirewallRule {
  readonly id: string;
  /** The node that it leads to; undefined while there is none. */
  readonly target: string | undefined;
}

export interface Picture {
  readonly containers: ReadonlyMap<string, Container>;
  readonly connections: ReadonlyMap<string, Connection>;
  readonly doors: ReadonlyMap<string, Door>;
  /** The connections of each node. */
  readonly talks: ReadonlyMap<string, readonly Connection[]>;
  /** The node of each endpoint. */
  readonly nodeOf: ReadonlyMap<string, string>;
}

/** The hosts in the order in which they stand: those of one site side by side. */
export function hostsInOrder({ hosts }: World): { readonly name: string; readonly label: string }[] {
  const areSeveral = new Set([...hosts.values()].map(({ site }) => site)).size > 1;
  return [...hosts.values()]
    .sort((a, b) => compare(a.site, b.site) || compare(a.name, b.name))
    .map(({ name, site }) => ({ name, label: areSeveral ? `${name} · ${site}` : name }));
}

/** How this page's host reaches another, it says; of two others it knows their sites, and whether they encrypt. */
function isTunnelBetween({ hosts }: World, one: string, other: string): boolean {
  const [a, b] = [hosts.get(one), hosts.get(other)];
  if (a === undefined || b === undefined || a === b) return false;
  const far: ShownHost | undefined = a.isThis ? b : b.isThis ? a : undefined;
  if (far !== undefined && far.way !== null) return far.way !== 'fabric';
  return a.site !== b.site || a.encrypts || b.encrypts;
}

export function pictureOf(world: World): Picture {
  const containers = containersOf(world);
  const nodeOf = new Map<string, string>([[OUTSIDE, OUTSIDE]]);
  for (const { id, endpoints } of containers.values()) for (const endpoint of endpoints) nodeOf.set(endpoint.id, id);
  const hostOf = (node: string) => containers.get(node)?.host ?? '';
  const connections = connectionsOf(world, nodeOf, hostOf);
  const talks = new Map<string, Connection[]>();
  for (const connection of connections.values()) {
    for (const node of [connection.one, connection.other]) collect(talks, node, connection);
  }
  return { containers, connections, talks, doors: doorsOf(world, containers), nodeOf };
}

function containersOf({ endpoints, ports }: World): Map<string, Container> {
  const byContainer = new Map<string, ShownEndpoint[]>();
  for (const endpoint of endpoints.values()) {
    // One that Docker has made and no container has got yet.
    if (endpoint.containerId === null) continue;
    const id = `${endpoint.host}/${endpoint.containerId}`;
    collect(byContainer, id, endpoint);
  }
  const portsOf = new Map<string, ShownPort[]>();
  for (const port of ports.values()) collect(portsOf, port.endpoint, port);
  return new Map(
    [...byContainer].map(([id, unordered]) => {
      const own = [...unordered].sort((a, b) => compare(a.network, b.network));
      return [
        id,
        containerOf(
          id,
          own,
          own.flatMap((each) => portsOf.get(each.id) ?? []),
        ),
      ] as const;
    }),
  );
}

function containerOf(id: string, endpoints: readonly ShownEndpoint[], ports: readonly ShownPort[]): Container {
  const [first] = endpoints;
  const containerId = first?.containerId ?? '';
  return {
    id,
    name: endpoints.find(({ container }) => container !== null)?.container ?? containerId.slice(0, 12),
    containerId,
    host: first?.host ?? '',
    endpoints,
    networks: endpoints.map(({ tenant, network }) => networkKey(tenant, network)),
    isJoined: endpoints.some(({ state }) => state === 'joined'),
    ports,
    service: endpoints.find(({ service }) => service !== null)?.service ?? null,
    labels: first?.labels ?? {},
  };
}

function connectionsOf(
  world: World,
  nodeOf: ReadonlyMap<string, string>,
  hostOf: (node: string) => string,
): Map<string, Connection> {
  const bySides = new Map<string, LiveRoute[]>();
  for (const { routes } of world.sights.values()) {
    for (const route of routes.values()) {
      const id = connectionId(nodeOf.get(route.source ?? OUTSIDE), nodeOf.get(route.destination ?? OUTSIDE));
      if (id !== undefined) collect(bySides, id, route);
    }
  }
  return new Map([...bySides].map(([id, routes]) => [id, connectionOf(world, id, routes, hostOf)] as const));
}

/** The same both ways. Undefined where one of the two is not known here. */
export function connectionId(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined || one === other) return undefined;
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}

function connectionOf(
  world: World,
  id: string,
  routes: readonly LiveRoute[],
  hostOf: (node: string) => string,
): Connection {
  const { endpoints } = world;
  const [one = '', other = ''] = id.split(' ');
  // One between hosts is in both datapaths: what has passed is what the one that saw more has counted.
  const ways = new Map<string, LiveRoute>();
  for (const route of routes) {
    const way = JSON.stringify([route.source, route.destination, route.conversation]);
    const known = ways.get(way);
    if (known === undefined || (route.packets ?? 0) > (known.packets ?? 0)) ways.set(way, route);
  }
  const counted = [...ways.values()];
  const networks = new Set(
    counted.flatMap(({ source, destination }) =>
      [source, destination].flatMap((endpoint) => {
        const row = endpoints.get(endpoint ?? '');
        return row === undefined ? [] : [networkKey(row.tenant, row.network)];
      }),
    ),
  );
  return {
    ...{ id, one, other, routes: counted },
    network: networks.size === 1 ? [...networks][0] : undefined,
    isTunnelled: isTunnelBetween(world, hostOf(one), hostOf(other)),
    bornAt: Math.min(...routes.map(({ bornAt }) => bornAt)),
    activeAt: Math.max(...routes.map(({ activeAt }) => activeAt)),
    packets: sum(counted.map(({ packets = 0 }) => packets)),
    bytes: sum(counted.map(({ bytes = 0 }) => bytes)),
    packetsPerSecond: sum(counted.map(({ packetsPerSecond }) => packetsPerSecond)),
  };
}

function doorsOf({ firewall }: World, containers: ReadonlyMap<string, Container>): Map<string, Door> {
  const byName = new Map<string, string>();
  for (const { id, name, host } of containers.values()) {
    byName.set(name, id);
    byName.set(`${host}/${name}`, id);
  }
  return new Map(
    [...firewall.values()].map((rule) => {
      const id = `rule/${rule.name}`;
      return [id, { ...rule, id, target: byName.get(rule.container) }] as const;
    }),
  );
}

/** As people sort names: h2 before h10. */
export const { compare } = new Intl.Collator('en', { numeric: true });

function collect<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [item]);
  else list.push(item);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
