// The management API: what the agent knows and does, as JSON over HTTP on a unix socket that only root can open. The shapes
// are ours, in Docker's words where Docker has one; addresses are text here.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { z } from 'zod';
import { formatCidr, formatIpv4, formatMac, parseIpv4, type Ipv4 } from '../base/addresses';
import { parsedUnlessEmpty, parserOf } from '../base/body-schema';
import { DaoliError, messageOf, type ErrorCode } from '../base/errors';
import type { ClusterStatus } from '../cluster/cluster';
import { endpointState, type EndpointRow, type NetworkRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { LiveRoute } from '../flowctl/model';
import { swarmRoutes, type SwarmCommands } from './swarm-routes';

/** What the API does to this host's cluster: see Cluster. */
export interface ClusterCommands {
  status(): Promise<ClusterStatus>;
  /** Resolves with the token for the next host. */
  init(address: Ipv4 | undefined): Promise<string>;
  token(): Promise<string>;
  join(token: string, address: Ipv4 | undefined): Promise<void>;
  remove(host: string): Promise<void>;
  promote(host: string): Promise<void>;
  demote(host: string): Promise<void>;
  rotate(): Promise<void>;
  leave(): void;
}

/** What the API shows of the running agent. */
export interface ShownAgent {
  /** Undefined until the directory has been read. */
  readonly view: DirectoryView | undefined;
  readonly cluster: ClusterCommands;
  readonly swarm: SwarmCommands;
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
  app.use('/v1/cluster', clusterRoutes(agent));
  app.use('/v1/swarm', swarmRoutes(agent));
  app.use((request: Request, response: Response) => {
    response.status(404).json({ message: `there is no ${request.method} ${request.path}` });
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const code = error instanceof DaoliError ? error.code : 'internal';
    response.status(STATUS[code] ?? 500).json({ message: messageOf(error), code });
  });
  return app;
}

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  invalid: 400,
  'not-found': 404,
  conflict: 409,
  unavailable: 503,
};
const MAX_BODY_BYTES = 64 * 1024;
const address = parsedUnlessEmpty(parseIpv4).optional();
const parseInit = parserOf(z.object({ address }));
const parseJoin = parserOf(z.object({ address, token: z.string({ error: 'is not text' }).min(1, 'is empty') }));

/** What decides from the directory is refused until that has been read; to look, and to leave, it is not needed. */
function clusterRoutes(agent: ShownAgent): express.Router {
  const router = express.Router();
  router.use(express.json({ limit: MAX_BODY_BYTES }));
  router.get('/', async (_request, response) => void response.json(await agent.cluster.status()));
  router.post('/leave', (_request, response) => {
    agent.cluster.leave();
    response.json({});
  });
  router.use((_request: Request, response: Response, next: NextFunction) => {
    if (agent.view !== undefined) return next();
    response.status(503).json({ message: agent.status().state, code: 'unavailable' });
  });
  router.post('/init', async (request, response) => {
    const { address: wanted } = parseInit(request.body ?? {});
    response.json({ token: await agent.cluster.init(wanted) });
  });
  router.post('/token', async (_request, response) => void response.json({ token: await agent.cluster.token() }));
  router.post('/join', async (request, response) => {
    const { token, address: wanted } = parseJoin(request.body ?? {});
    await agent.cluster.join(token, wanted);
    response.json({});
  });
  router.post('/rotate', async (_request, response) => {
    await agent.cluster.rotate();
    response.json({});
  });
  router.put('/servers/:name', async (request, response) => {
    await agent.cluster.promote(request.params['name'] ?? '');
    response.json({});
  });
  router.delete('/servers/:name', async (request, response) => {
    await agent.cluster.demote(request.params['name'] ?? '');
    response.json({});
  });
  router.delete('/hosts/:name', async (request, response) => {
    await agent.cluster.remove(request.params['name'] ?? '');
    response.json({});
  });
  return router;
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
    swarm: network.swarmId ?? null,
    problems: Object.fromEntries(network.problems),
    // Null where this host does not know them all, as it has none of them.
    endpoints: directory.knowsAllOf(network.id) ? [...directory.endpointsOf(network.id)].length : null,
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
