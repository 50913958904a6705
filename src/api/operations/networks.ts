// Networks, and what is in them.

import { z } from 'zod';
import { formatCidr, formatIpv4, formatMac } from '../../base/addresses';
import { endpointState, type EndpointRow, type NetworkRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import { directoryOf, operation, type ApiAgent } from '../operation';

const NETWORK = z
  .object({
    id: z.string(),
    name: z.string().nullable(),
    tenant: z.string(),
    internal: z.boolean(),
    gateway: z.string().nullable(),
    subnets: z.array(z.string()),
    ipam: z.enum(['daolinet', 'docker']),
    mtu: z.number(),
    options: z.record(z.string(), z.string()),
    swarm: z.string().nullable().meta({ description: 'its id in Docker’s swarm' }),
    problems: z.record(z.string(), z.string()).meta({ description: 'why hosts have not got it, by their names' }),
    endpoints: z.number().nullable().meta({ description: 'null where this host does not know them all' }),
  })
  .meta({ id: 'Network' });
export type ShownNetwork = z.infer<typeof NETWORK>;

const ENDPOINT = z
  .object({
    id: z.string(),
    container: z.string().nullable().meta({ description: 'the name of its container' }),
    containerId: z.string().nullable(),
    network: z.string(),
    tenant: z.string(),
    address: z.string(),
    mac: z.string(),
    host: z.string(),
    locator: z.string().meta({ description: 'its address between hosts' }),
    interface: z.string(),
    portNo: z.number(),
    state: z.enum(['created', 'joined']),
    service: z.string().nullable().meta({ description: 'of swarm, or "project_service" of compose' }),
    labels: z.record(z.string(), z.string()),
  })
  .meta({ id: 'Endpoint', description: 'One interface of one container in one network' });
export type ShownEndpoint = z.infer<typeof ENDPOINT>;

const PUBLISHED_PORT = z
  .object({
    container: z.string().nullable(),
    containerId: z.string().nullable(),
    endpoint: z.string(),
    protocol: z.enum(['tcp', 'udp', 'sctp']),
    hostIp: z.string(),
    hostPort: z.number(),
    containerPort: z.number(),
  })
  .meta({ id: 'PublishedPort' });
export type ShownPort = z.infer<typeof PUBLISHED_PORT>;

const SHARED = { method: 'get', tag: 'networks', needsDirectory: true } as const;

export const networkOperations = [
  operation({
    ...SHARED,
    id: 'listNetworks',
    path: '/v1/networks',
    summary: 'All networks',
    answer: z.array(NETWORK),
    handle: (agent: ApiAgent) => {
      const directory = directoryOf(agent);
      return [...directory.networks()].map((network) => describeNetwork(directory, network));
    },
  }),
  operation({
    ...SHARED,
    id: 'listEndpoints',
    path: '/v1/endpoints',
    summary: 'The endpoints that this host knows: its own, and those that they may talk to',
    answer: z.array(ENDPOINT),
    handle: (agent: ApiAgent) => {
      const directory = directoryOf(agent);
      return [...directory.endpoints()].map((row) => describeEndpoint(directory, row));
    },
  }),
  operation({
    ...SHARED,
    id: 'listPorts',
    path: '/v1/ports',
    summary: 'Published ports of those endpoints',
    answer: z.array(PUBLISHED_PORT),
    handle: (agent: ApiAgent) => [...directoryOf(agent).endpoints()].flatMap(describePorts),
  }),
];

function describeNetwork(directory: DirectoryView, network: NetworkRow): ShownNetwork {
  return {
    id: network.id,
    name: network.name ?? null,
    tenant: network.tenant,
    internal: network.internal,
    gateway: network.gateway === undefined ? null : formatIpv4(network.gateway),
    subnets: [...directory.poolsOfNetwork(network.id)].map((pool) => formatCidr(pool.cidr)),
    ipam: network.ipam,
    mtu: network.mtu,
    options: network.options,
    swarm: network.swarmId ?? null,
    problems: Object.fromEntries(network.problems),
    // Null where this host does not know them all, as it has none of them.
    endpoints: directory.knowsAllOf(network.id) ? [...directory.endpointsOf(network.id)].length : null,
  };
}

function describeEndpoint(directory: DirectoryView, endpoint: EndpointRow): ShownEndpoint {
  return {
    id: endpoint.id,
    container: endpoint.containerName ?? null,
    containerId: endpoint.containerId ?? null,
    network: directory.network(endpoint.networkId)?.name ?? endpoint.networkId,
    tenant: endpoint.tenant,
    address: formatIpv4(endpoint.address),
    mac: formatMac(endpoint.mac),
    host: endpoint.host,
    locator: formatIpv4(endpoint.locator),
    interface: endpoint.interfaceName,
    portNo: endpoint.portNo,
    state: endpointState(endpoint),
    service: endpoint.service ?? null,
    labels: Object.fromEntries(endpoint.labels),
  };
}

function describePorts(endpoint: EndpointRow): ShownPort[] {
  return endpoint.publishedPorts.map((port) => ({
    container: endpoint.containerName ?? null,
    containerId: endpoint.containerId ?? null,
    endpoint: endpoint.id,
    protocol: port.protocol,
    hostIp: formatIpv4(port.hostIp),
    hostPort: port.hostPort,
    containerPort: port.containerPort,
  }));
}
