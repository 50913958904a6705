// The table `inet daolinet` as text for `nft -f`. Pure: the wanted state in, a transaction out. Rules never change while the
// agent runs; published ports are elements of maps, so that adding one costs the same with ten of them and ten thousand.

import { cidrHolds, formatCidr, formatIpv4, type Cidr } from '../base/addresses';
import type { FirewallConfig, PublishedEndpoint, PublishedPort } from './host';

export const TABLE = 'inet daolinet';

/** Numbers, because names are looked up in /etc/protocols, which a small root file system has not. */
export const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** A value in a map or set of the table. */
export interface Element {
  readonly object: 'published' | 'published_at' | 'pool_clients' | 'docker_bridges' | 'closed_ports' | 'doors';
  readonly key: string;
  /** Empty for a set. */
  readonly value: string;
}

function portElement(endpoint: PublishedEndpoint, port: PublishedPort): Element {
  const key = `${PROTOCOL_NUMBERS[port.protocol]} . ${port.hostPort}`;
  const value = `${formatIpv4(endpoint.locator)} . ${port.containerPort}`;
  return port.hostIp === undefined
    ? { object: 'published', key, value }
    : { object: 'published_at', key: `${formatIpv4(port.hostIp)} . ${key}`, value };
}

/** Without those that lie in another one: an interval set takes no overlap. */
function widest(pools: readonly Cidr[]): Cidr[] {
  return [...pools]
    .sort((a, b) => a.prefix - b.prefix)
    .reduce<Cidr[]>((kept, pool) => (kept.some((wide) => cidrHolds(wide, pool.base)) ? kept : [...kept, pool]), []);
}

function elementsOf(endpoint: PublishedEndpoint | undefined): Element[] {
  if (endpoint === undefined || endpoint.ports.length === 0) return [];
  const locator = formatIpv4(endpoint.locator);
  const ports = new Map(
    endpoint.ports.map((port) => [identity(portElement(endpoint, port)), portElement(endpoint, port)]),
  );
  return [
    ...ports.values(),
    ...widest(endpoint.tenantPools).map((pool): Element => ({
      object: 'pool_clients',
      key: `${locator} . ${formatCidr(pool)}`,
      value: '',
    })),
  ];
}

const identity = ({ object, key }: Element): string => `${object} ${key}`;
const sameElement = (a: Element | undefined, b: Element): boolean => a !== undefined && a.value === b.value;

/** What names a published port on the host, to tell two that are the same. */
export function publishedKeys(endpoint: PublishedEndpoint): string[] {
  return endpoint.ports.map((port) => identity(portElement(endpoint, port)));
}

/** The commands that turn the elements of one endpoint from `before` to `after`; empty where nothing changes. */
export function buildChange(before: PublishedEndpoint | undefined, after: PublishedEndpoint | undefined): string {
  const old = new Map(elementsOf(before).map((element) => [identity(element), element]));
  const wanted = new Map(elementsOf(after).map((element) => [identity(element), element]));
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
export function elementsOfState(config: FirewallConfig, published: Iterable<PublishedEndpoint>): Element[] {
  const of = (object: Element['object'], keys: readonly string[]): Element[] =>
    keys.map((key) => ({ object, key, value: '' }));
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
  counter around_datapath { }
  counter locator_back_door { }
  counter loopback_forged { }
  counter locator_forged { }
  counter docker_bridge_refused { }
  counter closed_port_refused { }`;
}

/** Published ports: from the host's addresses to the endpoint's locator. */
function buildNat(hostInterface: string, hostAddress: string, blocks: string): string {
  const translate = `
    fib daddr type != local return
    dnat ip to ip daddr . meta l4proto . th dport map @published_at
    dnat ip to meta l4proto . th dport map @published`;
  return `
  chain prerouting_nat {
    type nat hook prerouting priority dstnat; policy accept;
    # A neighbour may not reach what is published to the host itself; the host's own packets pass the output hook.
    ip daddr 127.0.0.0/8 return${translate}
  }
  chain output_nat {
    type nat hook output priority -100; policy accept;${translate}
  }
  chain postrouting_nat {
    type nat hook postrouting priority srcnat; policy accept;
    oifname ${hostInterface} ip saddr 127.0.0.0/8 snat ip to ${hostAddress}
    oifname ${hostInterface} iifname ${hostInterface} snat ip to ${hostAddress}
    oifname ${hostInterface} ip daddr . ip saddr @pool_clients snat ip to ${hostAddress}
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
    oifname ${hostInterface} jump to_locators
    iifname ${hostInterface} jump from_locators
  }
  chain to_locators {
    ct state established,related accept
    ct status dnat accept
    counter name locator_back_door drop
  }
  chain from_locators {
    meta nfproto ipv6 drop
    ip saddr != ${blocks} counter name locator_forged drop
    ct state established,related accept
    ip daddr ${locatorRange} counter name locator_back_door drop
    meta l4proto 6 ip daddr . th dport @doors counter name closed_port_refused drop
    ct status dnat accept
    iifname . oifname @docker_bridges counter name docker_bridge_refused drop
  }
  chain input {
    type filter hook input priority filter - 5; policy accept;${names}
    iifname ${hostInterface} ct state new meta l4proto . th dport @closed_ports counter name closed_port_refused drop
  }
  chain output {
    type filter hook output priority filter - 5; policy accept;
    # conf/all/send_redirects would send them although they are off for this interface
    oifname ${hostInterface} icmp type redirect drop
  }`;
}

/** Services of the host that listen on every address are not reached by the one that is for names. */
function buildNames(address: string): string {
  return `
    ip daddr ${address} meta l4proto { 6, 17 } th dport 53 accept
    ip daddr ${address} counter name closed_port_refused drop`;
}

/** One transaction that replaces whatever the table was. */
export function buildTable(config: FirewallConfig, published: Iterable<PublishedEndpoint>): string {
  const hostInterface = quote(config.hostInterface);
  const blocks = `{ ${config.locatorBlocks.map(formatCidr).join(', ')} }`;
  return `add table ${TABLE}
delete table ${TABLE}
table ${TABLE} {${buildObjects(elementsOfState(config, published))}
${buildNat(hostInterface, formatIpv4(config.hostAddress), blocks)}
${buildFilter(config, hostInterface, blocks)}
}
`;
}
