// A host around the driver, in memory: what outlives our process (directory, kernel links, packet filter, OVS, Docker) is
// made once; what dies with it (flows of the controller, bound ports, queues) with each AgentProcess. A Failpoint makes
// one step of a process fail, or kills the process there.

import { randomBytes, randomUUID } from 'node:crypto';
import { formatIpv4, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { silentLogger, type Logger } from '../../src/base/logger';
import { insertAddress, releaseAddress } from '../../src/directory/endpoint-operations';
import { insertPool, poolIdOf, releasePool } from '../../src/directory/operations';
import type { AddressRow, PoolId } from '../../src/directory/rows';
import { Deadline } from '../../src/driver/deadline';
import { linkNamesOf } from '../../src/driver/link-names';
import { NetworkDriver } from '../../src/driver/network-driver';
import type { PluginHandlers } from '../../src/driver/plugin-app';
import type { DriverParts } from '../../src/driver/ports';
import type { FlowController, SwitchPorts } from '../../src/driver/ports';
import { Reconciler } from '../../src/driver/reconciler';
import { ipamHandlers } from '../../src/ipam/handlers';
import { Ipam } from '../../src/ipam/ipam';
import type { FlowEndpoint, FlowNetwork } from '../../src/flowctl/model';
import type { PortNo } from '../../src/openflow/constants';
import type { PortSpec, SwitchPort } from '../../src/switch/ports';
import { ManualClock } from './manual-clock';
import type { MemoryDatabase } from './memory-database';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from './memory-directory';
import { MemoryDocker } from './memory-docker';
import { RecordingHost } from './recording-host';

/** Ports in OVS's database. It gives the number that was asked for, unless another port has it. */
export class MemorySwitch implements SwitchPorts {
  readonly table = new Map<string, SwitchPort>();
  /** Set: every call throws it. */
  away: DaoliError | undefined;

  constructor(private readonly hasLink: (name: string) => boolean) {}

  async whenReady(): Promise<void> {
    if (this.away !== undefined) throw this.away;
  }

  async addPort({ name, ofportRequest, externalIds }: PortSpec): Promise<PortNo> {
    await this.whenReady();
    if (!this.hasLink(name)) throw new DaoliError('internal', `OVS cannot open ${name}: no such device`, name);
    const existing = this.table.get(name)?.portNo;
    if (existing !== undefined) return existing;
    const taken = new Set([...this.table.values()].map(({ portNo }) => portNo as number));
    let free = ofportRequest ?? 1;
    while (taken.has(free)) free += 1;
    const portNo = free as PortNo;
    const ids = new Map(Object.entries(externalIds));
    this.table.set(name, { name, portNo, externalIds: ids, error: undefined });
    return portNo;
  }

  async removePort(name: string): Promise<void> {
    await this.whenReady();
    this.table.delete(name);
  }

  ports(): readonly SwitchPort[] {
    return [...this.table.values()];
  }

  port(name: string): SwitchPort | undefined {
    return this.table.get(name);
  }
}

export class MemoryFlows implements FlowController {
  readonly networks = new Map<string, FlowNetwork>();
  readonly endpoints = new Map<string, FlowEndpoint>();
  away: DaoliError | undefined;

  setNetwork(network: FlowNetwork): void {
    this.networks.set(network.id, network);
  }

  removeNetwork(id: string): void {
    const key = this.networks.get(id)?.key;
    if ([...this.endpoints.values()].some((endpoint) => endpoint.networkKey === key)) {
      throw new DaoliError('conflict', `network ${id} has endpoints`, id);
    }
    this.networks.delete(id);
  }

  hasNetwork(id: string): boolean {
    return this.networks.has(id);
  }

  async addEndpoint(endpoint: FlowEndpoint): Promise<void> {
    const hasNetwork = [...this.networks.values()].some(({ key }) => key === endpoint.networkKey);
    if (!hasNetwork) throw new DaoliError('not-found', `endpoint ${endpoint.id} is of no network`, endpoint.id);
    if (this.away !== undefined) throw this.away;
    this.endpoints.set(endpoint.id, endpoint);
  }

  async removeEndpoint(id: string): Promise<void> {
    this.endpoints.delete(id);
    if (this.away !== undefined) throw this.away;
  }

  hasEndpoint(id: string): boolean {
    return this.endpoints.has(id);
  }

  endpointIds(): Iterable<string> {
    return this.endpoints.keys();
  }
}

/** Docker, which also says which subnets have our IPAM. */
export class DockerWithSubnets extends MemoryDocker {
  readonly subnets = new Set<string>();

  override listOwnSubnets(): Promise<string[]> {
    return Promise.resolve([...this.subnets]);
  }

  addNetwork(id: string): void {
    const rest = { name: '', driver: 'daolinet', scope: 'local', internal: false, labels: {} };
    this.networks.push({ id, ...rest });
  }

  dropNetwork(id: string): void {
    this.networks = this.networks.filter((network) => network.id !== id);
  }

  addEndpoint(endpointId: string, networkId: string): void {
    this.endpoints.push({ endpointId, networkId, aliases: [], labels: new Map() });
  }

  removeEndpoint(endpointId: string): void {
    this.endpoints = this.endpoints.filter((endpoint) => endpoint.endpointId !== endpointId);
  }
}

/** The process was killed: nothing of it goes on. */
export class Killed extends Error {}

/** How a step goes wrong. */
export type Accident = 'fail' | 'killed-before' | 'killed-after';

/** What happens at step `at` (1 is the first): it fails, or the process is killed before or after it was carried out. */
export class Failpoint {
  steps: string[] = [];
  isDead = false;
  /** Waited for before each step that can wait, where it is set. */
  pause: ((name: string) => Promise<void>) | undefined;

  constructor(
    private at: number,
    private mode: Accident,
  ) {}

  /** It happens at the `after`-th step from now, instead. */
  arm(after: number, mode: Accident): void {
    this.at = this.steps.length + after;
    this.mode = mode;
  }

  /** It does not happen any more. */
  disarm(): void {
    this.at = 0;
  }

  /** Calls `step` as one step. */
  guard<T>(name: string, step: () => T): T {
    if (this.isDead) throw new Killed(name);
    this.steps.push(name);
    if (this.steps.length !== this.at) return step();
    if (this.mode === 'fail') throw new DaoliError('internal', `${name} fails`, name);
    if (this.mode === 'killed-before') {
      this.isDead = true;
      throw new Killed(name);
    }
    const result = step();
    const kill = (): void => {
      this.isDead = true;
      throw new Killed(name);
    };
    if (result instanceof Promise) return (result as Promise<unknown>).finally(kill) as T;
    kill();
    return result;
  }
}

/** `target` with each of the named methods as a step. An async method throws by its promise. */
function withSteps<T extends object>(target: T, prefix: string, names: readonly (keyof T)[], failpoint: Failpoint): T {
  return new Proxy(target, {
    get(object, key) {
      const value = Reflect.get(object, key, object) as unknown;
      if (typeof value !== 'function') return value;
      const method = (value as (...args: unknown[]) => unknown).bind(object);
      if (!names.includes(key as keyof T)) return method;
      const step = (args: unknown[]) => failpoint.guard(`${prefix}.${String(key)}`, () => method(...args));
      const isSynchronous = key === 'deleteLink' || key === 'setNetwork' || key === 'removeNetwork';
      if (isSynchronous) return (...args: unknown[]) => step(args);
      return async (...args: unknown[]) => {
        await failpoint.pause?.(`${prefix}.${String(key)}`);
        return step(args);
      };
    },
  });
}

export class DriverWorld {
  readonly clock = new ManualClock();
  readonly database: MemoryDatabase = createMemoryDatabase();
  /** Kernel links and packet filter; of the ports' sockets each process has its own. */
  readonly host = new RecordingHost();
  readonly switch = new MemorySwitch((name) => this.host.links.table.has(name));
  readonly docker = new DockerWithSubnets();
  /** Ports that other programs of the host have, as "tcp 8080". */
  readonly portsOfOthers = new Set<string>();

  /** Docker takes a container's end out of its namespace, where there is one. */
  giveBack(endpointId: string): void {
    const { links } = this.host;
    const { host, container } = linkNamesOf(endpointId);
    if (links.table.has(host) && !links.table.has(container)) links.addLink(container, { kind: 'veth' });
  }

  /** What there is of endpoints and networks, in words: nothing of it when all is taken away. */
  leftovers(agent: AgentProcess): string[] {
    const { view } = agent.store;
    return [
      ...[...view.networks()].map(({ id }) => `network ${id.slice(0, 4)}`),
      ...[...view.pools()].map(({ id }) => `pool ${id}`),
      ...[...view.pools()]
        .flatMap((pool) => [...view.addressesOf(pool.id)])
        .map((row) => `address ${formatIpv4(row.address)}`),
      ...[...view.endpoints()].map(({ id }) => `endpoint ${id.slice(0, 4)}`),
      ...[...view.publishedPorts()].map(({ port }) => `published ${port.hostPort}`),
      ...[...view.tenants()].map(({ name }) => `tenant ${name}`),
      ...[...this.host.links.table.keys()].map((name) => `link ${name.slice(0, 6)}`),
      ...[...this.switch.table.keys()].map((name) => `port ${name.slice(0, 6)}`),
      ...[...this.host.firewall.published.values()]
        .filter(({ ports }) => ports.length > 0)
        .map(({ endpointId }) => `let in ${endpointId.slice(0, 4)}`),
      ...agent.ports.list().map(({ hostPort }) => `bound ${hostPort}`),
      ...[...agent.flows.endpoints.keys()].map((id) => `flows ${id.slice(0, 4)}`),
      ...[...agent.flows.networks.keys()].map((id) => `flow network ${id.slice(0, 4)}`),
    ];
  }
}

export interface AgentOptions {
  readonly failpoint?: Failpoint;
  readonly logger?: Logger;
  readonly graceMs?: number;
}

/** One life of our process on a host. */
export class AgentProcess {
  readonly store: MemoryDirectory;
  readonly flows = new MemoryFlows();
  readonly ports;
  readonly parts: DriverParts;
  readonly driver: NetworkDriver;
  readonly ipam: Ipam;
  readonly reconciler: Reconciler;
  readonly failpoint: Failpoint;

  constructor(
    readonly world: DriverWorld,
    options: AgentOptions = {},
  ) {
    this.failpoint = options.failpoint ?? new Failpoint(0, 'fail');
    this.store = createMemoryDirectory({ database: world.database });
    const process = new RecordingHost();
    this.ports = process.ports;
    for (const port of world.portsOfOthers) process.ports.takenByOthers.add(port);
    const step = this.failpoint;
    this.parts = {
      store: withSteps(this.store, 'directory', ['transact'], step),
      flows: withSteps(this.flows, 'flows', ['setNetwork', 'removeNetwork', 'addEndpoint', 'removeEndpoint'], step),
      switch: withSteps(world.switch, 'switch', ['addPort', 'removePort'], step),
      links: withSteps(world.host.links, 'links', ['createVeth', 'deleteLink'], step),
      firewall: withSteps(world.host.firewall, 'firewall', ['publish', 'withdraw', 'flushConnections'], step),
      ports: withSteps(process.ports, 'ports', ['reserve', 'release'], step),
      settings: { mtu: 1500, checksumOffload: false, locatorRange: parseCidr('100.64.0.0/10') },
      randomBytes,
    };
    const logger = options.logger ?? silentLogger;
    this.driver = new NetworkDriver(this.parts, world.clock, logger);
    const { locatorRange } = this.parts.settings;
    const host = { hostRoutes: () => Promise.resolve([]) };
    this.ipam = new Ipam({ store: this.parts.store, host, defaultPools: parseCidr('10.128.0.0/9'), locatorRange });
    const { docker, clock } = world;
    const graceMs = options.graceMs ?? 120_000;
    const common = { driver: this.driver, parts: this.parts, docker, clock, logger, graceMs };
    this.reconciler = new Reconciler({ ...common, random: () => 0.5, intervalMs: 30_000 });
  }

  /** The packet filter is set up, as main does before anything else. */
  async boot(): Promise<this> {
    const config = {
      hostInterface: 'daoli0',
      hostAddress: parseIpv4('100.64.0.1'),
      locatorBlocks: [],
      locatorRange: parseCidr('100.64.0.0/10'),
      doors: [],
      closedPorts: [],
      dockerBridges: [],
    };
    await this.world.host.firewall.apply(config, []);
    return this;
  }

  /** A call of Docker: `NetworkDriver.<method>`. */
  call(method: string, body: unknown): Promise<Record<string, unknown>> {
    return this.handle(`NetworkDriver.${method}`, body);
  }

  /** A call of Docker, of either of its protocols: "IpamDriver.RequestPool". */
  async handle(method: string, body: unknown): Promise<Record<string, unknown>> {
    const handlers: PluginHandlers = { ...ipamHandlers(this.ipam), ...this.driver.handlers };
    const handler = handlers[method];
    if (handler === undefined) throw new Error(`no method ${method}`);
    const deadline = new Deadline(this.world.clock, 8_000);
    try {
      return (await handler(body, deadline)) as Record<string, unknown>;
    } finally {
      deadline.end();
    }
  }

  // What our IPAM would do for Docker.

  async requestPool(cidr: string, tenant = 'default'): Promise<PoolId> {
    const pool = parseCidr(cidr);
    await this.parts.store.transact((context) => ({
      ops: insertPool(context, { tenant, cidr: pool }),
      result: undefined,
    }));
    return poolIdOf(tenant, pool);
  }

  async requestAddress(poolId: PoolId, address: string, use: AddressRow['use'] = 'endpoint'): Promise<void> {
    await this.parts.store.transact((context) => ({
      ops: insertAddress(context, { poolId, address: parseIpv4(address), use }),
      result: undefined,
    }));
  }

  async releaseAddress(poolId: PoolId, address: string): Promise<void> {
    await this.parts.store.transact((context) => ({
      ops: releaseAddress(context, poolId, parseIpv4(address)),
      result: undefined,
    }));
  }

  async releasePool(poolId: PoolId): Promise<void> {
    await this.parts.store.transact((context) => ({ ops: releasePool(context, poolId), result: undefined }));
  }
}

let counter = 0;
/** 64 hex digits that begin with a running number. */
export function newId(): string {
  counter += 1;
  return counter.toString(16).padStart(4, '0') + (randomUUID() + randomUUID()).replaceAll('-', '').slice(0, 60);
}

export interface NetworkSpec {
  readonly cidr: string;
  readonly tenant?: string;
  readonly internal?: boolean;
  readonly options?: Readonly<Record<string, string>>;
  readonly addressSpace?: string;
  readonly gateway?: string;
}

const firstOf = (cidr: Cidr): string => formatIpv4((cidr.base + 1) as Ipv4);

export function networkBody(networkId: string, spec: NetworkSpec): object {
  const cidr = parseCidr(spec.cidr);
  const Gateway = `${spec.gateway ?? firstOf(cidr)}/${cidr.prefix}`;
  return {
    NetworkID: networkId,
    Options: {
      'com.docker.network.generic': spec.options ?? {},
      ...(spec.internal === true ? { 'com.docker.network.internal': true } : {}),
    },
    IPv4Data: [{ AddressSpace: spec.addressSpace ?? 'daolinet', Pool: spec.cidr, Gateway }],
    IPv6Data: [],
  };
}

/** What Docker does, in its order, with its way of going on after errors. */
export class DockerActor {
  constructor(
    readonly world: DriverWorld,
    public agent: AgentProcess,
  ) {}

  /** `docker network create`; resolves with its id. */
  async createNetwork(spec: NetworkSpec, networkId = newId()): Promise<string> {
    const { agent } = this;
    const isOwnIpam = spec.addressSpace === undefined;
    const poolId = poolIdOf(spec.tenant ?? 'default', parseCidr(spec.cidr));
    if (isOwnIpam) {
      await agent.requestPool(spec.cidr, spec.tenant);
      await agent.requestAddress(poolId, spec.gateway ?? firstOf(parseCidr(spec.cidr)), 'gateway');
      this.world.docker.subnets.add(spec.cidr);
    }
    try {
      await agent.call('CreateNetwork', networkBody(networkId, spec));
    } catch (error) {
      if (isOwnIpam) await this.ignoring(agent.releasePool(poolId));
      this.world.docker.subnets.delete(spec.cidr);
      throw error;
    }
    this.world.docker.addNetwork(networkId);
    return networkId;
  }

  /** `docker network rm`. */
  async removeNetwork(networkId: string, spec: NetworkSpec): Promise<void> {
    const poolId = poolIdOf(spec.tenant ?? 'default', parseCidr(spec.cidr));
    if (spec.addressSpace === undefined) await this.ignoring(this.agent.releasePool(poolId));
    await this.ignoring(this.agent.call('DeleteNetwork', { NetworkID: networkId }));
    this.world.docker.dropNetwork(networkId);
    this.world.docker.subnets.delete(spec.cidr);
  }

  /** `docker run`: resolves when the container runs. What fails is undone as Docker does. */
  async startContainer(container: Container): Promise<void> {
    const { networkId, endpointId, poolId, address } = container;
    const ids = { NetworkID: networkId, EndpointID: endpointId };
    const { agent, world } = this;
    if (poolId !== undefined) await agent.requestAddress(poolId, address);
    const prefix = container.prefix ?? 24;
    try {
      await agent.call('CreateEndpoint', { ...ids, Interface: { Address: `${address}/${prefix}` }, Options: {} });
    } catch (error) {
      if (poolId !== undefined) await this.ignoring(agent.releaseAddress(poolId, address));
      throw error;
    }
    world.docker.addEndpoint(endpointId, networkId);
    try {
      await agent.call('Join', { ...ids, SandboxKey: container.sandbox, Options: {} });
      // Docker moves the container's end away: the host sees it no longer.
      world.host.links.table.delete(linkNamesOf(endpointId).container);
      const Options = { 'com.docker.network.portmap': container.portMap ?? [] };
      await agent.call('ProgramExternalConnectivity', { ...ids, Options });
    } catch (error) {
      await this.stopContainer(container);
      throw error;
    }
  }

  /** `docker rm -f`: Docker ignores every error. */
  async stopContainer({ networkId, endpointId, poolId, address }: Container): Promise<void> {
    const ids = { NetworkID: networkId, EndpointID: endpointId };
    const { agent } = this;
    await this.ignoring(agent.call('RevokeExternalConnectivity', ids));
    await this.ignoring(agent.call('Leave', ids));
    this.world.giveBack(endpointId);
    await this.ignoring(agent.call('DeleteEndpoint', ids));
    this.world.docker.removeEndpoint(endpointId);
    if (poolId !== undefined) await this.ignoring(agent.releaseAddress(poolId, address));
  }

  private async ignoring(call: Promise<unknown>): Promise<void> {
    await call.catch(() => undefined);
  }
}

export interface Container {
  readonly networkId: string;
  readonly endpointId: string;
  /** Undefined with Docker's own IPAM. */
  readonly poolId: PoolId | undefined;
  readonly address: string;
  readonly sandbox: string;
  readonly prefix?: number;
  readonly portMap?: readonly object[];
}

export function containerIn(
  networkId: string,
  poolId: PoolId | undefined,
  address: string,
  ports: object[] = [],
): Container {
  const endpointId = newId();
  const sandbox = `/var/run/docker/netns/${endpointId.slice(0, 12)}`;
  return { networkId, endpointId, poolId, address, sandbox, portMap: ports };
}

/** `-p hostPort:containerPort`. */
export function publish(hostPort: number, containerPort: number): object {
  return { Proto: 6, IP: '', Port: containerPort, HostIP: '', HostPort: hostPort, HostPortEnd: hostPort };
}
