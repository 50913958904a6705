// The table `inet daolinet` as text for `nft -f`. Pure: the wanted state in, a transaction out. Rules never change while the
// agent runs; published ports are elements of maps, so that adding one costs the same with ten of them and ten thousand.

import { cidrHolds, formatCidr, formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { buildTunnelChains, TUNNEL_COUNTERS, TUNNELS } from './firewall-tunnels';
import type { FirewallConfig, ForwardedPort, PublishedEndpoint, PublishedPort } from './host';

export const TABLE = 'inet daolinet';

/** Numbers, because names are looked up in /etc/protocols, which a small root file system has not. */
export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** A value in a map or set of the table. */
export interface Element {
  readonly object:
    | 'published'
    | 'published_at'
    | 'published_from'
    | 'published_from_at'
    | 'refused_ports'
    | 'refused_ports_at'
    | 'pool_clients'
    | 'docker_bridges'
    | 'closed_ports'
    | 'doors';
  readonly key: string;
  /** Empty for a set. */
  readonly value: string;
}

/** Whoever has ports in the table. */
export type Publisher = PublishedEndpoint | ForwardedPort;

const set = (object: Element['object'], key: string): Element => ({ object, key, value: '' });

/** "6 . 8080", with the host address in front where there is one. */
function portKey({ protocol, hostPort, hostIp }: Omit<PublishedPort, 'containerPort'>): string {
  const key = `${PROTOCOL_NUMBERS[protocol]} . ${hostPort}`;
  return hostIp === undefined ? key : `${formatIpv4(hostIp)} . ${key}`;
}

function portElement({ locator }: PublishedEndpoint, port: PublishedPort): Element {
  const value = `${formatIpv4(locator)} . ${port.containerPort}`;
  return { object: port.hostIp === undefined ? 'published' : 'published_at', key: portKey(port), value };
}

/** A port that is not for everybody is translated for those whom it is for, and refused where a packet was not translated. */
function forwardElements(port: ForwardedPort): Element[] {
  const { target, from, hostIp } = port;
  const isForAll = hostIp === undefined;
  const key = portKey(port);
  const refused = set(isForAll ? 'refused_ports' : 'refused_ports_at', key);
  if (target === undefined) return [refused];
  const value = `${formatIpv4(target.locator)} . ${target.port}`;
  if (from.length === 0) return [{ object: isForAll ? 'published' : 'published_at', key, value }];
  const object = isForAll ? 'published_from' : 'published_from_at';
  return [refused, ...widest(from).map((cidr) => ({ object, key: `${formatCidr(cidr)} . ${key}`, value }) as const)];
}

/** Without those that lie in another one: an interval set takes no overlap. */
function widest(pools: readonly Cidr[]): Cidr[] {
  return [...pools]
    .sort((a, b) => a.prefix - b.prefix)
    .reduce<Cidr[]>((kept, pool) => (kept.some((wide) => cidrHolds(wide, pool.base)) ? kept : [...kept, pool]), []);
}

function poolElements(locator: Ipv4, tenantPools: readonly Cidr[]): Element[] {
  return widest(tenantPools).map((pool) => set('pool_clients', `${formatIpv4(locator)} . ${formatCidr(pool)}`));
}

function elementsOf(publisher: Publisher): Element[] {
  if ('name' in publisher) {
    const { target } = publisher;
    return [
      ...forwardElements(publisher),
      ...(target === undefined ? [] : poolElements(target.locator, target.tenantPools)),
    ];
  }
  if (publisher.ports.length === 0) return [];
  const ports = new Map(publisher.ports.map((port) => [publishedKey(port), portElement(publisher, port)]));
  return [...ports.values(), ...poolElements(publisher.locator, publisher.tenantPools)];
}

const identity = ({ object, key }: Element): string => `${object} ${key}`;
const sameElement = (a: Element | undefined, b: Element): boolean => a !== undefined && a.value === b.value;

function publishedKey(port: Omit<PublishedPort, 'containerPort'>): string {
  return `${port.hostIp === undefined ? 'published' : 'published_at'} ${portKey(port)}`;
}

/** What names a published port on the host, to tell two that are the same. */
export function publishedKeys(publisher: Publisher): string[] {
  return ('name' in publisher ? [publisher] : publisher.ports).map(publishedKey);
}

/** The commands that turn the elements of some publishers from `before` to `after`; empty where nothing changes. */
export function buildChange(before: readonly Publisher[], after: readonly Publisher[]): string {
  const own = (publishers: readonly Publisher[]) =>
    new Map(publishers.flatMap(elementsOf).map((element) => [identity(element), element] as const));
  const [old, wanted] = [own(before), own(after)];
  const command = (verb: 'add' | 'delete', element: Element): string =>
    `${verb} element ${TABLE} ${element.object} { ${verb === 'add' ? elementText(element) : element.key} }`;
  return [
    ...[...old].filter(([id, element]) => !sameElement(wanted.get(id), element)).map(([, e]) => command('delete', e)),
    ...[...wanted].filter(([id, element]) => !sameElement(old.get(id), element)).map(([, e]) => command('add', e)),
  ].join('\n');
}

export function buildBridges(hostInterface: string, names: readonly string[]): string {
  const pairs = bridgePairs(hostInterface, names);
  return [
    `flush set ${TABLE} docker_bridges`,
    ...(pairs.length === 0 ? [] : [`add element ${TABLE} docker_bridges { ${pairs.join(', ')} }`]),
  ].join('\n');
}

function bridgePairs(hostInterface: string, names: readonly string[]): string[] {
  return names.map((name) => `${quote(hostInterface)} . ${quote(name)}`);
}

const quote = (name: string): string => `"${name}"`;

/** Everything that the maps and sets are to hold. */
export function elementsOfState(config: FirewallConfig, published: Iterable<Publisher>): Element[] {
  const of = (object: Element['object'], keys: readonly string[]): Element[] => keys.map((key) => set(object, key));
  return [
    ...of('docker_bridges', bridgePairs(config.hostInterface, config.dockerBridges)),
    ...of(
      'closed_ports',
      config.closedPorts.map(({ protocol, port }) => `${PROTOCOL_NUMBERS[protocol]} . ${port}`),
    ),
    ...of(
      'doors',
      config.doors.map(({ address, port }) => `${formatIpv4(address)} . ${port}`),
    ),
    ...[...published].flatMap(elementsOf),
  ];
}

export const elementText = ({ key, value }: Element): string => (value === '' ? key : `${key} : ${value}`);

function buildObjects(elements: readonly Element[]): string {
  const of = (object: Element['object']): string => {
    const texts = new Set(elements.filter((element) => element.object === object).map(elementText));
    return texts.size === 0 ? '' : `\n    elements = { ${[...texts].join(', ')} }`;
  };
  return `
  # in . out; every named set here has a key of several parts: nft 1.0 crashes on listing a set of one part made by nft 1.1
  set docker_bridges {
    type ifname . ifname;${of('docker_bridges')}
  }
  set closed_ports {
    type inet_proto . inet_service;${of('closed_ports')}
  }
  set doors {
    type ipv4_addr . inet_service;${of('doors')}
  }
  # locator . pool: clients whose addresses the endpoint would look for in its own tenant
  set pool_clients {
    type ipv4_addr . ipv4_addr; flags interval;${of('pool_clients')}
  }
  map published {
    type inet_proto . inet_service : ipv4_addr . inet_service;${of('published')}
  }
  map published_at {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;${of('published_at')}
  }
  # client . port: ports that are not for everybody
  map published_from {
    type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags interval;${of('published_from')}
  }
  map published_from_at {
    type ipv4_addr . ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; flags interval;${of('published_from_at')}
  }
  # ports that the agent holds, and lets nobody in by its sockets
  set refused_ports {
    type inet_proto . inet_service;${of('refused_ports')}
  }
  set refused_ports_at {
    type ipv4_addr . inet_proto . inet_service;${of('refused_ports_at')}
  }
  counter around_datapath { }
  counter locator_back_door { }
  counter loopback_forged { }
  counter locator_forged { }
  counter docker_bridge_refused { }
  counter closed_port_refused { }
  counter forwarded_port_refused { }${TUNNEL_COUNTERS}`;
}

/** Published ports: from the host's addresses to the endpoint's locator, which may be of another host. */
function buildNat({ hostAddress, locatorRange }: FirewallConfig, hostInterface: string, blocks: string): string {
  const own = formatIpv4(hostAddress);
  const translate = `
    fib daddr type != local return
    dnat ip to ip daddr . meta l4proto . th dport map @published_at
    dnat ip to meta l4proto . th dport map @published
    # Without the protocols nft takes no map of intervals
    meta l4proto { 6, 17 } dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @published_from_at
    meta l4proto { 6, 17 } dnat ip to ip saddr . meta l4proto . th dport map @published_from`;
  return `
  chain prerouting_nat {
    type nat hook prerouting priority dstnat; policy accept;
    # Other hosts reach no port of this one by its locator
    iifname ${TUNNELS} return
    # A neighbour may not reach what is published to the host itself; the host's own packets pass the output hook.
    ip daddr 127.0.0.0/8 return${translate}
  }
  chain output_nat {
    type nat hook output priority -100; policy accept;${translate}
  }
  chain postrouting_nat {
    type nat hook postrouting priority srcnat; policy accept;
    # Of another host: the answers have to come back here
    oifname ${hostInterface} ip daddr ${formatCidr(locatorRange)} ip daddr != ${blocks} snat ip to ${own}
    oifname ${hostInterface} ip saddr 127.0.0.0/8 snat ip to ${own}
    oifname ${hostInterface} iifname ${hostInterface} snat ip to ${own}
    oifname ${hostInterface} ip daddr . ip saddr @pool_clients snat ip to ${own}
    oifname != { "lo", ${hostInterface} } ip saddr ${blocks} masquerade
  }`;
}

/** What may pass to and from locators besides. An accept ends our chain only: those of others are still asked. */
function buildFilter(config: FirewallConfig, hostInterface: string, blocks: string): string {
  const locatorRange = formatCidr(config.locatorRange);
  const names = config.dnsAddress === undefined ? '' : buildNames(formatIpv4(config.dnsAddress));
  return `
  chain prerouting_raw {
    type filter hook prerouting priority raw; policy accept;
    # With OVS's userspace datapath the stack, too, sees what a container sends, to the MAC of its own veth pair for one
    iifname "dl*" meta iifkind "veth" counter name around_datapath drop
    # route_localnet is on here: nothing on the wire has a loopback address
    iifname ${hostInterface} ip daddr 127.0.0.0/8 counter name loopback_forged drop
    iifname ${hostInterface} ip saddr 127.0.0.0/8 counter name loopback_forged drop
  }
  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    iifname ${TUNNELS} goto from_tunnel
    oifname ${TUNNELS} goto to_tunnel
    iifname ${hostInterface} ip saddr != ${blocks} goto from_elsewhere
    oifname ${hostInterface} jump to_locators
    iifname ${hostInterface} jump from_locators
  }
  chain to_locators {
    ct state established,related accept
    ct status dnat accept
    counter name locator_back_door drop
  }
  # A container of another host answers who came by a port of this one, and does nothing else
  chain from_elsewhere {
    ip saddr ${locatorRange} ct state established,related ct status dnat accept
    counter name locator_forged drop
  }
  chain from_locators {
    meta nfproto ipv6 drop
    ct state established,related accept
    ip daddr ${locatorRange} counter name locator_back_door drop
    meta l4proto 6 ip daddr . th dport @doors counter name closed_port_refused drop
    ct status dnat accept
    iifname . oifname @docker_bridges counter name docker_bridge_refused drop
  }
  chain input {
    type filter hook input priority filter - 5; policy accept;
    iifname ${TUNNELS} goto to_host_by_tunnel${names}
    iifname ${hostInterface} ip saddr != ${blocks} ct state != { established, related } counter name locator_forged drop
    meta l4proto . th dport @refused_ports counter name forwarded_port_refused goto refuse
    ip daddr . meta l4proto . th dport @refused_ports_at counter name forwarded_port_refused goto refuse
    iifname ${hostInterface} ct state new meta l4proto . th dport @closed_ports counter name closed_port_refused drop
  }
  chain refuse {
    meta l4proto 6 reject with tcp reset
    reject
  }
  chain output {
    type filter hook output priority filter - 5; policy accept;
    # conf/all/send_redirects would send them although they are off for these interfaces
    oifname ${hostInterface} icmp type redirect drop
    oifname ${TUNNELS} icmp type redirect drop
    # A peer that says it is at a locator: its tunnel would go through itself, round and round. Ports of this host lead there
    oifname ${TUNNELS} ct status dnat accept
    oifname ${TUNNELS} meta l4proto 17 counter name tunnel_refused drop
  }`;
}

/** Services of the host that listen on every address are not reached by the one that is for names. */
function buildNames(address: string): string {
  return `
    ip daddr ${address} meta l4proto { 6, 17 } th dport 53 accept
    ip daddr ${address} counter name closed_port_refused drop`;
}

/** One transaction that replaces whatever the table was. */
export function buildTable(config: FirewallConfig, published: Iterable<Publisher>): string {
  const hostInterface = quote(config.hostInterface);
  const blocks = `{ ${config.locatorBlocks.map(formatCidr).join(', ')} }`;
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {${buildObjects(elementsOfState(config, published))}
${buildNat(config, hostInterface, blocks)}
${buildFilter(config, hostInterface, blocks)}
${buildTunnelChains(config)}
}
`;
}
