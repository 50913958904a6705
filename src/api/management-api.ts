// The management API: what the agent knows, as JSON over HTTP on a unix socket that only root can open. Read-only. The
// shapes are ours, in Docker's words where Docker has one; addresses are text here.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { formatCidr, formatIpv4, formatMac } from '../base/addresses';
import { messageOf } from '../base/errors';
import { endpointState, type EndpointRow, type NetworkRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { LiveRoute } from '../flowctl/model';

/** What the API shows of the running agent. */
export interface ShownAgent {
  /** Undefined until the directory has been read. */
  readonly view: DirectoryView | undefined;
  status(): AgentStatus;
  /** Asks the datapath, for packet counts. */
  routes(): Promise<readonly LiveRoute[]>;
  /** Monotonic counters by name: packet-ins, routes made, packets dropped, by reason. */
  counters(): Promise<Readonly<Record<string, number>>>;
}

export interface AgentStatus {
  readonly version: string;
  readonly host: string;
  /** "ready", or what the agent waits for. */
  readonly state: string;
  readonly datapath: string;
  readonly ovsVersion: string;
}

/** The Express application; the caller listens. */
export function createManagementApi(agent: ShownAgent): Express {
  const app = express();
  app.disable('x-powered-by');
  const read = (path: string, answer: (view: DirectoryView) => unknown) =>
    app.get(path, (_request, response) => {
      const directory = agent.view;
      if (directory === undefined) response.status(503).json({ message: agent.status().state });
      else response.json(answer(directory));
    });

  app.get('/v1/status', (_request, response) => void response.json(agent.status()));
  app.get('/v1/counters', async (_request, response) => void response.json(await agent.counters()));
  app.get('/v1/routes', async (_request, response) => void response.json(await agent.routes()));
  read('/v1/networks', (directory) => [...directory.networks()].map((network) => describeNetwork(directory, network)));
  read('/v1/endpoints', (directory) => [...directory.endpoints()].map((row) => describeEndpoint(directory, row)));
  read('/v1/ports', (directory) => [...directory.endpoints()].flatMap(describePorts));
  app.use((request: Request, response: Response) => {
    response.status(404).json({ message: `there is no ${request.method} ${request.path}` });
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).json({ message: messageOf(error) });
  });
  return app;
}

function describeNetwork(directory: DirectoryView, network: NetworkRow) {
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
    endpoints: [...directory.endpointsOf(network.id)].length,
  };
}

function describeEndpoint(directory: DirectoryView, endpoint: EndpointRow) {
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
  };
}

function describePorts(endpoint: EndpointRow) {
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
