// A large cluster as rows of the directory: so many hosts, networks and endpoints that are joined. Every host has containers
// in some networks, every network has them on some hosts, and no two hosts have the same networks.

import { createHash } from 'node:crypto';
import { formatCidr, formatIpv4, formatMac, type Ipv4, type Mac } from '../../../src/base/addresses';
import { named, type Operation, type Uuid } from '../../../src/ovsdb/notation';
import { insert } from '../../../src/ovsdb/operations';

export interface ClusterSize {
  readonly hosts: number;
  /** As many as hosts, or a multiple or part of them: each has containers on the same number of hosts. */
  readonly networks: number;
  readonly networksOfHost: number;
  /** Endpoints that one host has in each of its networks. */
  readonly endpointsEach: number;
}

/** Between the networks of one host, so that hosts share some and never all. */
const STRIDE = 379;
const FIRST_LOCATOR_BLOCK = 0x64400000; // 100.64.0.0
const FIRST_POOL = 0x0a000000; // 10.0.0.0
const NOW_MS = 1_800_000_000_000;

const idOf = (text: string): string => createHash('sha256').update(text).digest('hex');

export const hostName = (host: number): string => `host-${host}`;
export const networkId = (network: number): string => idOf(`network ${network}`);

/** The networks that a host has containers in. */
export function networksOf(host: number, { networks, networksOfHost }: ClusterSize): number[] {
  return Array.from({ length: networksOfHost }, (_, k) => (host + k * STRIDE) % networks);
}

/** Between a host and the two that it stands by for. */
const BACKED = [331, 662];

/** The hosts that a host stands by for: two, as each has two backups. */
export function backedBy(host: number, { hosts }: ClusterSize): number[] {
  return BACKED.map((step) => (host + step) % hosts);
}

/** The networks that a host follows: its own, and those of the hosts that it stands by for. */
export function networksFollowed(host: number, size: ClusterSize): number[] {
  return [...new Set([host, ...backedBy(host, size)].flatMap((each) => networksOf(each, size)))];
}

/** Who is in charge of a host's datapath: itself. */
export function switchRow(host: number, { hosts }: ClusterSize): Operation {
  const backups = BACKED.map((step) => rowUuid('host', (host + hosts - (step % hosts)) % hosts));
  const own = rowUuid('host', host);
  return insert('Switch', { host: own, generation: 1, master: own, backups, profile: '{}' });
}

/** The hosts that have containers in a network. */
export function hostsOf(network: number, size: ClusterSize): number[] {
  return Array.from({ length: size.hosts }, (_, host) => host).filter((host) =>
    networksOf(host, size).includes(network),
  );
}

/** What every row is: chosen beforehand, so that others can refer to it. */
export function rowUuid(kind: string, number: number): Uuid {
  const hex = idOf(`${kind} ${number}`);
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  ) as Uuid;
}

export function hostRows(host: number): Operation[] {
  const cidr = formatCidr({ base: (FIRST_LOCATOR_BLOCK + host * 256) as Ipv4, prefix: 24 });
  return [
    insert('LocatorBlock', { cidr }, { uuidName: `block${host}` }),
    insert(
      'Host',
      {
        name: hostName(host),
        router_mac: formatMac((0x02da00000000 + host) as Mac),
        datapath_id: (0x02da00000000 + host).toString(16).padStart(16, '0'),
        address: formatIpv4((0xc0000000 + host) as Ipv4),
        certificates: [idOf(`certificate ${host}`)],
        locator_blocks: [named(`block${host}`)],
      },
      { uuid: rowUuid('host', host) },
    ),
  ];
}

export function tenantRows(): Operation[] {
  return [
    insert('Tenant', { name: 'default', number: 1, revision: 1 }, { uuid: rowUuid('tenant', 0), uuidName: 'tenant' }),
  ];
}

/** A network with its pool and gateway, which `holders` have. */
export function networkRows(network: number, holders: readonly number[], tenant: unknown): Operation[] {
  const cidr = formatCidr({ base: (FIRST_POOL + network * 256) as Ipv4, prefix: 24 });
  const hosts = holders.map((host) => rowUuid('host', host));
  const gateway = formatIpv4((FIRST_POOL + network * 256 + 1) as Ipv4);
  const [row, pool] = [named(`n${network}`), named(`p${network}`)];
  return [
    insert(
      'Network',
      {
        id: networkId(network),
        key: network + 1,
        name: `network-${network}`,
        tenant: tenant as Uuid,
        gateway,
        ipam: 'daolinet',
        mtu: 1500,
        created: NOW_MS,
      },
      { uuid: rowUuid('network', network), uuidName: `n${network}` },
    ),
    insert(
      'Pool',
      { id: `default/${cidr}`, tenant: tenant as Uuid, cidr, network: row, holders: hosts, created: NOW_MS },
      { uuid: rowUuid('pool', network), uuidName: `p${network}` },
    ),
    insert('Address', {
      tenant: tenant as Uuid,
      address: gateway,
      pool,
      use: 'gateway',
      holders: hosts,
      since: NOW_MS,
    }),
  ];
}

export function replicaRow(host: number, network: number): Operation {
  return insert('NetworkReplica', {
    host: rowUuid('host', host),
    network: rowUuid('network', network),
    docker_id: idOf(`network ${network} on ${host}`),
  });
}

/** The `number`th endpoint of a host, with its address: `at` is its place in its network. */
export function endpointRows(host: number, network: number, at: number, number: number): Operation[] {
  const mac = formatMac((0x024200000000 + network * 65536 + at) as Mac);
  const name = `${network}x${at}`;
  const [endpoint, container] = [idOf(`endpoint ${name}`), idOf(`container ${name}`)];
  return [
    insert(
      'Address',
      {
        tenant: rowUuid('tenant', 0),
        address: formatIpv4((FIRST_POOL + network * 256 + 2 + at) as Ipv4),
        pool: rowUuid('pool', network),
        use: 'endpoint',
        mac,
        holders: [rowUuid('host', host)],
        since: NOW_MS,
      },
      { uuidName: `a${name}` },
    ),
    insert('Endpoint', {
      id: endpoint,
      network: rowUuid('network', network),
      address: named(`a${name}`),
      mac,
      host: rowUuid('host', host),
      locator: formatIpv4((FIRST_LOCATOR_BLOCK + host * 256 + 2 + number) as Ipv4),
      port_no: number + 1,
      interface: `dl${endpoint.slice(0, 11)}`,
      sandbox: `/var/run/docker/netns/${container.slice(0, 12)}`,
      container_id: container,
      container_name: `service-${name}`,
      aliases: [container.slice(0, 12)],
      created: NOW_MS,
    }),
  ];
}

/** The endpoints of one host. */
export function endpointsOfHost(host: number, size: ClusterSize): Operation[] {
  return networksOf(host, size).flatMap((network, k) =>
    Array.from({ length: size.endpointsEach }, (_, j) =>
      endpointRows(host, network, k * size.endpointsEach + j, k * size.endpointsEach + j),
    ).flat(),
  );
}
