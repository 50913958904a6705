// What our handlers take of one container start: RequestAddress, CreateEndpoint and Join, as Docker calls them over HTTP,
// on everything real: ovsdb-servers, ovs-vswitchd (userspace datapath), kernel links, controller. Beside it, in the same
// run, a stub that answers the same three calls at once: what HTTP and Node cost by themselves. Docker makes the container's
// namespace between CreateEndpoint and Join, and our handlers work on meanwhile: measured with and without such a pause.
// Needs root. Runs in a network namespace of its own, so it touches nothing of the machine.

import { spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent as HttpAgent, createServer, request as httpRequest } from 'node:http';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Directory } from '../../src/directory/directory';
import { NetworkDriver } from '../../src/driver/network-driver';
import { PluginServer } from '../../src/driver/server';
import { Controller } from '../../src/flowctl/controller';
import { createLinuxHost } from '../../src/host/linux-host';
import { createRunner } from '../../src/host/runner';
import { createSysctlFiles } from '../../src/host/sysctl-files';
import { ipamHandlers } from '../../src/ipam/handlers';
import { Ipam } from '../../src/ipam/ipam';
import { Switch } from '../../src/switch/switch';
import { startOvs } from '../ovs/ovs';
import { startOvsdbServer } from '../ovs/ovsdb-server';

const INSIDE = 'DAOLI_BENCH_INSIDE';
const STARTS = 200;
const WARM_UP = 20;
const AT_ONCE = 100;
const PAUSE_MS = 10;
const SCHEMA = 'src/directory/directory.ovsschema';
const locatorRange = parseCidr('100.64.0.0/10');

type Reply = Record<string, unknown>;
type Call = (method: string, body: object) => Promise<Reply>;

function client(socketPath: string, maxSockets: number): { call: Call; close(): void } {
  const agent = new HttpAgent({ keepAlive: true, maxSockets });
  const call: Call = (method, body) =>
    new Promise((resolve, reject) => {
      const text = JSON.stringify(body);
      const headers = { 'Content-Length': Buffer.byteLength(text) };
      const request = httpRequest({ socketPath, agent, path: `/${method}`, method: 'POST', headers }, (response) => {
        let reply = '';
        response.on('data', (chunk: Buffer) => (reply += chunk.toString()));
        response.on('end', () => {
          const answer = JSON.parse(reply) as Reply;
          if (response.statusCode === 200) resolve(answer);
          else reject(new Error(`${method}: ${String(answer['Err'])}`));
        });
      });
      request.on('error', reject);
      request.end(text);
    });
  return { call, close: () => agent.destroy() };
}

interface Started {
  readonly ids: { NetworkID: string; EndpointID: string };
  readonly address: string;
  /** Milliseconds of each of the three calls. */
  readonly parts: readonly number[];
}

const newId = (): string => (randomUUID() + randomUUID()).replaceAll('-', '');

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function startOne(call: Call, networkId: string, poolId: string, pauseMs = 0): Promise<Started> {
  const ids = { NetworkID: networkId, EndpointID: newId() };
  const mac = `02:42:${randomBytes(4)
    .toString('hex')
    .replace(/..(?!$)/g, '$&:')}`;
  const Options = { 'com.docker.network.endpoint.macaddress': mac };
  const times = [performance.now()];
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID: poolId, Address: '', Options });
  times.push(performance.now());
  const Interface = { Address, AddressIPv6: '', MacAddress: mac };
  await call('NetworkDriver.CreateEndpoint', { ...ids, Interface, Options: {} });
  times.push(performance.now());
  if (pauseMs > 0) await pause(pauseMs);
  const join = performance.now();
  await call('NetworkDriver.Join', { ...ids, SandboxKey: `/run/docker/netns/${ids.EndpointID.slice(0, 12)}` });
  const [begin = 0, requested = 0, created = 0] = times;
  const parts = [requested - begin, created - requested, performance.now() - join];
  return { ids, address: String(Address).split('/')[0] ?? '', parts };
}

async function stopOne(call: Call, poolId: string, { ids, address }: Started): Promise<number> {
  const start = performance.now();
  await call('NetworkDriver.Leave', ids);
  await call('NetworkDriver.DeleteEndpoint', ids);
  await call('IpamDriver.ReleaseAddress', { PoolID: poolId, Address: address });
  return performance.now() - start;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN) * 1000) / 1000;
}

const summary = (values: readonly number[]) => ({
  p50: percentile(values, 0.5),
  p95: percentile(values, 0.95),
  p99: percentile(values, 0.99),
});

async function startAgent(folder: string) {
  const [ovs, database] = await Promise.all([startOvs({ dummy: false }), startOvsdbServer({ schema: SCHEMA })]);
  const world = { clock: systemClock, random: Math.random, logger: silentLogger };
  const directory = new Directory({ remotes: [database.remote], host: 'bench', locatorRange, logger: silentLogger });
  directory.start();
  await directory.whenReady();
  const host = createLinuxHost({ ...world, runner: createRunner(), sysctl: createSysctlFiles() });
  await host.start();
  const row = directory.view.host('bench');
  if (row === undefined) throw new Error('the directory has no row of this host');
  const controller = new Controller({ ...world, path: join(ovs.rundir, 'of.sock') });
  const hostAddress = parseIpv4('100.64.0.1');
  controller.setHost({ routerMac: row.routerMac, hostAddress, locatorRange, kernelDatapath: false });
  await controller.start();
  const ovsSwitch = new Switch({
    ...world,
    remote: ovs.dbRemote,
    bridge: 'br-int',
    controllerTarget: `unix:${ovs.rundir}/of.sock`,
    datapathId: row.datapathId,
    datapathType: 'netdev',
    owner: 'bench',
  });
  ovsSwitch.start();
  await ovsSwitch.ensureBridge();
  const parts = {
    store: directory,
    flows: controller,
    switch: ovsSwitch,
    ...host,
    settings: { mtu: 1500, checksumOffload: false, locatorRange },
    randomBytes,
  };
  const driver = new NetworkDriver(parts, systemClock, silentLogger);
  const ipam = new Ipam({ store: directory, host: host.links, defaultPools: parseCidr('10.128.0.0/9'), locatorRange });
  const socket = join(folder, 'plugin.sock');
  const server = new PluginServer({
    ...world,
    paths: [socket],
    handlers: { ...ipamHandlers(ipam), ...driver.handlers },
  });
  await server.start();
  return {
    socket,
    idle: () => host.links.deletionsDone(),
    async stop() {
      await server.stop();
      await controller.stop();
      ovsSwitch.stop();
      directory.stop();
      await host.stop();
      await Promise.all([ovs.stop(), database.stop()]);
    },
  };
}

/** Answers the three calls at once. */
async function startStub(folder: string): Promise<{ socket: string; stop(): Promise<void> }> {
  const answers: Record<string, object> = {
    '/IpamDriver.RequestAddress': { Address: '10.1.0.5/16', Data: {} },
    '/NetworkDriver.Join': { InterfaceName: { SrcName: 'dc', DstPrefix: 'eth' }, Gateway: '10.1.0.1' },
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      JSON.parse(Buffer.concat(chunks).toString());
      response.end(JSON.stringify(answers[request.url ?? ''] ?? {}));
    });
  });
  const socket = join(folder, 'stub.sock');
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    stop: () => new Promise((resolve) => (server.closeAllConnections(), server.close(() => resolve()))),
  };
}

async function createNetwork(call: Call): Promise<{ networkId: string; poolId: string }> {
  const pool = { AddressSpace: 'daolinet', Pool: '10.1.0.0/16', SubPool: '', Options: null, V6: false };
  const { PoolID, Pool } = await call('IpamDriver.RequestPool', pool);
  const Options = { RequestAddressType: 'com.docker.network.gateway' };
  const { Address } = await call('IpamDriver.RequestAddress', { PoolID, Address: '', Options });
  const networkId = newId();
  const IPv4Data = [{ AddressSpace: 'daolinet', Pool, Gateway: Address }];
  await call('NetworkDriver.CreateNetwork', { NetworkID: networkId, Options: {}, IPv4Data, IPv6Data: [] });
  return { networkId, poolId: String(PoolID) };
}

async function measure(folder: string): Promise<object> {
  const agent = await startAgent(folder);
  const stub = await startStub(folder);
  const [ours, floor] = [client(agent.socket, 1), client(stub.socket, 1)];
  const many = client(agent.socket, AT_ONCE);
  try {
    const { networkId, poolId } = await createNetwork(ours.call);
    const started: Started[] = [];
    const paused: Started[] = [];
    const stopped: number[] = [];
    const stubbed: number[] = [];
    for (let index = 0; index < WARM_UP + STARTS; index += 1) {
      const one = await startOne(ours.call, networkId, poolId);
      const stopMs = await stopOne(ours.call, poolId, one);
      await agent.idle(); // links are deleted in the background, and would be in the next one's way
      const other = await startOne(floor.call, networkId, poolId);
      const third = await startOne(ours.call, networkId, poolId, PAUSE_MS);
      await stopOne(ours.call, poolId, third);
      await agent.idle();
      if (index < WARM_UP) continue;
      started.push(one);
      paused.push(third);
      stopped.push(stopMs);
      stubbed.push(sum(other.parts));
    }
    const begin = performance.now();
    const all = await Promise.all(Array.from({ length: AT_ONCE }, () => startOne(many.call, networkId, poolId)));
    const together = performance.now() - begin;
    for (const one of all) await stopOne(ours.call, poolId, one);
    await agent.idle();
    return {
      'container start, our handlers': summary(started.map(({ parts }) => sum(parts))),
      '  RequestAddress': summary(started.map(({ parts }) => parts[0] ?? NaN)),
      '  CreateEndpoint': summary(started.map(({ parts }) => parts[1] ?? NaN)),
      '  Join': summary(started.map(({ parts }) => parts[2] ?? NaN)),
      [`the same, ${PAUSE_MS} ms between CreateEndpoint and Join`]: summary(paused.map(({ parts }) => sum(parts))),
      '  Join after that': summary(paused.map(({ parts }) => parts[2] ?? NaN)),
      'the stub': summary(stubbed),
      'container stop, our handlers': summary(stopped),
      [`${AT_ONCE} starts at once, each`]: summary(all.map(({ parts }) => sum(parts))),
      [`${AT_ONCE} starts at once, all`]: { p50: Math.round(together) },
    };
  } finally {
    for (const each of [ours, floor, many]) each.close();
    await stub.stop();
    await agent.stop();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function writeJson(results: object): void {
  const at = process.argv.indexOf('--json');
  const file = at < 0 ? undefined : process.argv[at + 1];
  if (file === undefined) return;
  mkdirSync(dirname(file), { recursive: true });
  const load = existsSync('/proc/loadavg') ? readFileSync('/proc/loadavg', 'utf8').split(' ')[0] : '';
  const machine = { node: process.version, cpus: cpus().length, load };
  writeFileSync(file, `${JSON.stringify({ name: 'attach', unit: 'ms', machine, results }, undefined, 2)}\n`);
}

/** Runs this program again in a network namespace of its own. */
function enterNamespace(): never {
  if (process.getuid?.() !== 0) {
    process.stderr.write('the attach benchmark makes network interfaces: run it as root\n');
    process.exit(2);
  }
  const argv = ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status } = spawnSync('unshare', argv, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } });
  process.exit(status ?? 1);
}

async function main(): Promise<void> {
  if (process.env[INSIDE] === undefined) enterNamespace();
  const folder = mkdtempSync(join(tmpdir(), 'daoli-bench-'));
  try {
    const results = await measure(folder);
    process.stdout.write('milliseconds\n');
    console.table(results);
    writeJson(results);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exitCode = 1;
});
