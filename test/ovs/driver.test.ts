// The driver on real parts: Docker's calls over HTTP, our IPAM, the directory in a real ovsdb-server, and the bridge and
// controller of a real OVS (dummy datapath, where every name is a device). Only the kernel's links are a fake.
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { formatMac, parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Directory } from '../../src/directory/directory';
import type { EndpointId } from '../../src/directory/rows';
import { linkNamesOf } from '../../src/driver/link-names';
import { NetworkDriver } from '../../src/driver/network-driver';
import type { DriverParts } from '../../src/driver/ports';
import { Reconciler } from '../../src/driver/reconciler';
import { PluginServer } from '../../src/driver/server';
import { Controller } from '../../src/flowctl/controller';
import { Ipam } from '../../src/ipam/ipam';
import { ipamHandlers } from '../../src/ipam/handlers';
import { Switch } from '../../src/switch/switch';
import { newId, publish } from '../fakes/driver-world';
import { MemoryDocker } from '../fakes/memory-docker';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { RecordingHost } from '../fakes/recording-host';
import { startOvs, type Ovs } from './ovs';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

const locatorRange = parseCidr('100.64.0.0/10');
const world = { clock: systemClock, random: Math.random, logger: silentLogger };

let ovs: Ovs;
let database: OvsdbServer;
let folder: string;
let host: RecordingHost;
let docker: MemoryDocker;
let agent: TestAgent;

/** What the agent is made of, with a life of its own: it can be killed and made again beside the same daemons. */
class TestAgent {
  readonly directory = new Directory({ remotes: [database.remote], host: 'host1', locatorRange, logger: silentLogger });
  private connected = () => {};
  private readonly datapath = new Promise<void>((resolve) => (this.connected = resolve));
  readonly controller = new Controller({
    ...world,
    path: join(ovs.rundir, 'of.sock'),
    onConnected: () => this.connected(),
  });
  readonly ports = new RecordingHost().ports; // sockets die with their process
  readonly socket = join(folder, 'plugin.sock');
  switch!: Switch;
  driver!: NetworkDriver;
  server!: PluginServer;
  reconciler!: Reconciler;

  async start(): Promise<this> {
    this.directory.start();
    await this.directory.whenReady();
    const { datapathId, routerMac } = this.directory.view.host('host1')!;
    this.switch = new Switch({
      ...world,
      remote: ovs.dbRemote,
      bridge: 'br-int',
      controllerTarget: `unix:${ovs.rundir}/of.sock`,
      datapathId,
      datapathType: 'dummy',
      owner: 'host1',
    });
    this.switch.start();
    this.controller.setHost({ routerMac, hostAddress: parseIpv4('100.64.0.1'), locatorRange, kernelDatapath: false });
    await this.controller.start();
    await this.switch.ensureBridge();
    const parts: DriverParts = {
      store: this.directory,
      flows: this.controller,
      switch: this.switch,
      links: host.links,
      firewall: host.firewall,
      ports: this.ports,
      settings: { mtu: 1500, checksumOffload: false, locatorRange },
      randomBytes,
    };
    this.driver = new NetworkDriver(parts, systemClock, silentLogger);
    const ipam = new Ipam({
      store: this.directory,
      host: host.links,
      defaultPools: parseCidr('10.128.0.0/9'),
      locatorRange,
    });
    const handlers = { ...ipamHandlers(ipam), ...this.driver.handlers };
    this.server = new PluginServer({ ...world, paths: [this.socket], handlers });
    this.reconciler = new Reconciler({ ...world, driver: this.driver, parts, docker, graceMs: 0 });
    await this.server.start();
    await this.datapath;
    return this;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await this.reconciler.stop();
    await this.controller.stop();
    this.switch.stop();
    this.directory.stop();
  }
}

beforeEach(async () => {
  [ovs, database] = await Promise.all([startOvs(), startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE })]);
  folder = mkdtempSync(join(tmpdir(), 'daoli-driver-'));
  host = new RecordingHost();
  docker = new MemoryDocker();
  const config = { hostInterface: 'daoli0', hostAddress: parseIpv4('100.64.0.1'), locatorRange };
  await host.firewall.apply({ ...config, locatorBlocks: [], doors: [], closedPorts: [], dockerBridges: [] }, []);
  agent = await new TestAgent().start();
});
afterEach(async () => {
  await agent.stop();
  await Promise.all([ovs.stop(), database.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

function call(method: string, body: object): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const headers = { 'Content-Length': Buffer.byteLength(text) };
    const request = httpRequest(
      { socketPath: agent.socket, path: `/${method}`, method: 'POST', agent: false, headers },
      (response) => {
        let reply = '';
        response.on('data', (chunk: Buffer) => (reply += chunk.toString()));
        response.on('end', () => {
          const answer = JSON.parse(reply) as Record<string, unknown>;
          if (response.statusCode === 200) resolve(answer);
          else reject(new Error(String(answer['Err'])));
        });
      },
    );
    request.on('error', reject);
    request.end(text);
  });
}

interface Running {
  readonly networkId: string;
  readonly endpointId: string;
  readonly poolId: string;
  readonly address: string;
}

async function createNetwork(): Promise<{ networkId: string; poolId: string }> {
  const request = { AddressSpace: 'daolinet', Pool: '10.1.0.0/24', SubPool: '', Options: null, V6: false };
  const { PoolID, Pool } = await call('IpamDriver.RequestPool', request);
  const Options = { RequestAddressType: 'com.docker.network.gateway' };
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options });
  const networkId = newId();
  await call('NetworkDriver.CreateNetwork', {
    NetworkID: networkId,
    Options: { 'com.docker.network.generic': {} },
    IPv4Data: [{ AddressSpace: 'daolinet', Pool, Gateway: Address }],
    IPv6Data: [],
  });
  docker.networks.push({
    id: networkId,
    name: 'demo',
    driver: 'daolinet',
    scope: 'local',
    internal: false,
    labels: {},
  });
  return { networkId, poolId: String(PoolID) };
}

async function start({ networkId, poolId }: { networkId: string; poolId: string }): Promise<Running> {
  const endpointId = newId();
  const mac = `02:42:00:00:${endpointId.slice(0, 2)}:${endpointId.slice(2, 4)}`;
  const Options = { 'com.docker.network.endpoint.macaddress': mac };
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID: poolId, Address: '', Options });
  const ids = { NetworkID: networkId, EndpointID: endpointId };
  const Interface = { Address, AddressIPv6: '', MacAddress: mac };
  expect(await call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} })).toEqual({ Interface: {} });
  await call('NetworkDriver.Join', { ...ids, SandboxKey: `/var/run/docker/netns/${endpointId.slice(0, 12)}` });
  const portMap = { 'com.docker.network.portmap': [publish(0, 80)] };
  await call('NetworkDriver.ProgramExternalConnectivity', { ...ids, Options: portMap });
  docker.endpoints.push({ endpointId, networkId, aliases: [], labels: new Map() });
  return { networkId, endpointId, poolId, address: String(Address).split('/')[0] ?? '' };
}

async function stop({ networkId, endpointId, poolId, address }: Running): Promise<void> {
  const ids = { NetworkID: networkId, EndpointID: endpointId };
  await call('NetworkDriver.RevokeExternalConnectivity', ids);
  await call('NetworkDriver.Leave', ids);
  await call('NetworkDriver.DeleteEndpoint', ids);
  await call('IpamDriver.ReleaseAddress', { PoolID: poolId, Address: address });
  docker.endpoints = docker.endpoints.filter((endpoint) => endpoint.endpointId !== endpointId);
}

const row = ({ endpointId }: Running) => agent.directory.view.endpoint(endpointId as EndpointId)!;

/** The flows of the endpoint's port, in OVS's words. */
async function flowsOf(running: Running): Promise<string[]> {
  const { portNo } = row(running);
  const dump = await ovs.ofctl('dump-flows', '--no-names', 'br-int');
  return dump.split('\n').filter((line) => new RegExp(`in_port=${portNo}\\b`).test(line));
}

test('a container’s life, as far as OVS sees it', async () => {
  const network = await createNetwork();
  const before = (await ovs.ofctl('dump-flows', 'br-int')).split('\n').length;
  const web = await start(network);
  const { host: name } = linkNamesOf(web.endpointId);
  expect(await ovs.vsctl('get', 'interface', name, 'ofport')).toBe(String(row(web).portNo));
  expect(await ovs.vsctl('get', 'interface', name, 'external_ids:daolinet-endpoint')).toBe(`"${web.endpointId}"`);
  expect((await flowsOf(web)).length).toBeGreaterThan(0);
  expect((await flowsOf(web)).join()).toContain(formatMac(row(web).mac));
  await stop(web);
  expect((await ovs.ofctl('dump-flows', 'br-int')).split('\n')).toHaveLength(before);
  expect(await ovs.vsctl('list-ports', 'br-int')).not.toContain(name);
  await call('IpamDriver.ReleasePool', { PoolID: network.poolId });
  await call('NetworkDriver.DeleteNetwork', { NetworkID: network.networkId });
  expect([...agent.directory.view.tenants()]).toEqual([]);
});

test('twenty containers side by side', async () => {
  const network = await createNetwork();
  const running = await Promise.all(Array.from({ length: 20 }, () => start(network)));
  expect(new Set(running.map((each) => row(each).portNo)).size).toBe(20);
  await Promise.all(running.map((each) => stop(each)));
  expect(agent.directory.view.endpointCount()).toBe(0);
  expect(agent.switch.ports()).toEqual([]);
  expect(agent.ports.list()).toEqual([]);
});

test('the agent is killed: the next one has everything again', async () => {
  const network = await createNetwork();
  const web = await start(network);
  await agent.stop();
  agent = await new TestAgent().start();
  expect(await agent.reconciler.run()).toMatchObject({ failed: 0, askedDocker: true });
  expect(agent.controller.hasEndpoint(web.endpointId)).toBe(true);
  expect((await flowsOf(web)).length).toBeGreaterThan(0);
  expect(agent.ports.list()).toMatchObject([{ hostPort: row(web).publishedPorts[0]?.hostPort }]);
  await stop(web);
});

test('the bridge is deleted: ports and flows come back under their numbers', async () => {
  const web = await start(await createNetwork());
  const lost = new Promise<void>((resolve) => void agent.switch.onBridgeLost(resolve));
  await ovs.vsctl('del-br', 'br-int');
  await lost;
  await agent.switch.ensureBridge();
  expect(await agent.reconciler.run()).toMatchObject({ failed: 0 });
  expect(await ovs.vsctl('get', 'interface', linkNamesOf(web.endpointId).host, 'ofport')).toBe(String(row(web).portNo));
  await agent.reconciler.run();
  expect((await flowsOf(web)).length).toBeGreaterThan(0);
});

test('Docker forgets a container while the agent is dead: nothing of it is left', async () => {
  const network = await createNetwork();
  const web = await start(network);
  await agent.stop();
  docker.endpoints = [];
  agent = await new TestAgent().start();
  expect(await agent.reconciler.run()).toMatchObject({ failed: 0 });
  expect(row(web)).toBeUndefined();
  expect(agent.switch.ports()).toEqual([]);
  expect(host.links.table.size).toBe(0);
  expect(agent.ports.list()).toEqual([]);
  expect([...agent.directory.view.pools()].map((pool) => agent.directory.view.addressCount(pool.id))).toEqual([1]); // the gateway
});
