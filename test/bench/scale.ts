// One directory for 1,000 hosts with 100,000 endpoints: what it costs the database and a host, how long a change takes to be
// known, how long everybody needs to come back, and where it breaks. The database is real: the first member of a Raft cluster,
// which unlike a plain file tells who comes back only what was missed. Hosts are
// connections with the monitors that the product asks for (support/simulated-host.ts), but for those whose memory is
// measured, which are the product's Directory in a process of its own.
//
// The mix: 1,000 networks of 100 endpoints; each host has 5 containers in each of 20 networks, so each network is on 20 hosts. Each
// host stands by for two others, and follows what those need, too.
// SCALE=small makes it a tenth.

import { fork } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatMac, parseCidr, type Mac } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { conditionsOf } from '../../src/directory/conditions';
import { Directory, DIRECTORY_DATABASE } from '../../src/directory/directory';
import { TABLES_IN_ORDER } from '../../src/directory/row-decoding';
import type { NetworkId } from '../../src/directory/rows';
import { OvsdbClient } from '../../src/ovsdb/client';
import type { MonitoredTables } from '../../src/ovsdb/monitor';
import { named, ZERO_UUID, type Operation } from '../../src/ovsdb/notation';
import { update } from '../../src/ovsdb/operations';
import { parseSchema } from '../../src/ovsdb/schema';
import { startOvsdbServer, type OvsdbServer } from '../ovs/ovsdb-server';
import { startDaemon, runTool, type Daemon } from '../ovs/process';
import * as cluster from './support/large-cluster';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';
import { markOf, SimulatedHost } from './support/simulated-host';

const SMALL = process.env['SCALE'] === 'small' ? 10 : 1;
const SIZE: cluster.ClusterSize = {
  hosts: 1000 / SMALL,
  networks: 1000 / SMALL,
  networksOfHost: 20,
  endpointsEach: 5,
};
const SCHEMA_FILE = 'src/directory/directory.ovsschema';
const SCHEMA = parseSchema(JSON.parse(readFileSync(SCHEMA_FILE, 'utf8')));
const OF_RELAY = 250 / SMALL;
/** Hosts that begin with nothing. */
const COLD = 50;
const SPREAD_MS = 20_000 / SMALL;
const LATENCY_CHANGES = 100;
const SUSTAINED_MS = 5_000;
const OUTSTANDING = 8;
const TICKS_MS = 10;

const rows: Result[] = [];
const found = (measure: string, value: number, unit: string, peer?: Result['peer']): void => {
  rows.push({ measure, value, unit, ...(peer && { peer }) });
  process.stderr.write(
    `${measure}: ${value.toPrecision(4)} ${unit}${peer ? ` (${peer.name} ${peer.value.toPrecision(4)})` : ''}\n`,
  );
};

const cpuMs = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICKS_MS;
};
const residentMb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
const pathOf = (remote: string): string => remote.replace('unix:', '');
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A relay is ready when it has everything. */
const READY_WITHIN_MS = 120_000;

async function openClient(remote: string): Promise<OvsdbClient> {
  const client = new OvsdbClient({ remotes: [remote], database: DIRECTORY_DATABASE, probeMs: 0 });
  const late = setTimeout(() => client.stop(), READY_WITHIN_MS);
  client.start();
  await client.whenReady();
  clearTimeout(late);
  return client;
}

async function fill(client: OvsdbClient): Promise<void> {
  const all = Array.from({ length: SIZE.hosts }, (_, host) => host);
  await client.transact(all.flatMap(cluster.hostRows));
  await client.transact(all.map((host) => cluster.switchRow(host, SIZE)));
  for (let network = 0; network < SIZE.networks; network += 1) {
    // Who made it; all others have replicas.
    const holders = cluster.hostsOf(network, SIZE).slice(0, 1);
    const tenant = network === 0 ? named('tenant') : cluster.rowUuid('tenant', 0);
    const head = network === 0 ? cluster.tenantRows() : [];
    await client.transact([...head, ...cluster.networkRows(network, holders, tenant)]);
  }
  for (let host = 0; host < SIZE.hosts; host += 20) {
    const some = all.slice(host, host + 20);
    await client.transact(
      some.flatMap((each) => cluster.networksOf(each, SIZE).map((network) => cluster.replicaRow(each, network))),
    );
    await client.transact(some.flatMap((each) => cluster.endpointsOfHost(each, SIZE)));
  }
}

/** As Directory asks for them. */
function tablesOf(host: number | 'everything'): MonitoredTables {
  if (host === 'everything') return Object.fromEntries(TABLES_IN_ORDER.map((table) => [table, {}]));
  const networks = cluster.networksFollowed(host, SIZE);
  const where = conditionsOf({
    host: cluster.rowUuid('host', host),
    backed: new Set(cluster.backedBy(host, SIZE).map((each) => cluster.rowUuid('host', each))),
    networks: new Set(networks.map((network) => cluster.rowUuid('network', network))),
    containers: new Set<string>(),
    pools: new Set(networks.map((network) => cluster.rowUuid('pool', network))),
  });
  return Object.fromEntries(TABLES_IN_ORDER.map((table) => [table, where[table] ? { where: where[table] } : {}]));
}

interface Held {
  readonly heapMb: number;
  readonly rssMb: number;
  readonly seconds: number;
  readonly endpoints: number;
  /** Milliseconds until one more network is known. */
  readonly widenMs: number;
}

async function settledMemory(): Promise<{ heap: number; rss: number }> {
  for (let i = 0; i < 5; i += 1) {
    await pause(50);
    globalThis.gc?.();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: (heapUsed + external) / 2 ** 20, rss: rss / 2 ** 20 };
}

/** The process of one host. */
async function hold(extent: 'everything' | 'needed', remote: string): Promise<void> {
  process.on('message', () => undefined);
  const options = { remotes: [remote], host: cluster.hostName(0), locatorRange: parseCidr('100.64.0.0/10') };
  const directory = new Directory({ ...options, address: 0xc0000000 as never, extent, logger: silentLogger });
  const empty = await settledMemory();
  const begin = performance.now();
  directory.start();
  await directory.whenReady();
  const seconds = (performance.now() - begin) / 1000;
  const full = await settledMemory();
  const widen = performance.now();
  const own = cluster.networksFollowed(0, SIZE);
  const strange = cluster.networkId(
    [...Array(SIZE.networks).keys()].find((each) => !own.includes(each)) ?? 0,
  ) as NetworkId;
  const endpoints = directory.view.endpointCount();
  await directory.follow({ network: strange });
  const widenMs = performance.now() - widen;
  process.send?.({ heapMb: full.heap - empty.heap, rssMb: full.rss - empty.rss, seconds, endpoints, widenMs });
  directory.stop();
  process.disconnect();
}

function measureHost(extent: 'everything' | 'needed', remote: string): Promise<Held> {
  const program = process.argv[1] as string;
  const child = fork(program, ['--hold', extent, remote], { execArgv: ['--expose-gc'] });
  return new Promise((resolve, reject) => {
    child.once('message', (held: Held) => resolve(held));
    child.once('exit', (code) => reject(new Error(`the process of a host ended with ${code}`)));
  });
}

async function compareHosts({ remote, daemon }: OvsdbServer): Promise<void> {
  const { pid } = daemon();
  const measured: Held[] = [];
  const server: number[] = [];
  for (const extent of ['needed', 'everything'] as const) {
    const before = cpuMs(pid);
    measured.push(await measureHost(extent, remote));
    server.push(cpuMs(pid) - before);
  }
  const [part, whole] = measured as [Held, Held];
  const beside = (name: keyof Held) => ({ name: 'everything', value: whole[name] });
  found('endpoints that a host knows', part.endpoints, '', beside('endpoints'));
  found('  its replica, heap', part.heapMb, 'MB', beside('heapMb'));
  found('  its replica, resident', part.rssMb, 'MB', beside('rssMb'));
  found('  cold start of one host', part.seconds, 's', beside('seconds'));
  found('  the same, CPU of the database', (server[0] ?? 0) / 1000, 's', {
    name: 'everything',
    value: (server[1] ?? 0) / 1000,
  });
  found('  one network more: until it is known', part.widenMs, 'ms');
}

/** When each change was known where. */
class Watch {
  readonly seen = new Map<number, number[]>();

  readonly onMark = (mark: number): void => {
    const times = this.seen.get(mark);
    if (times === undefined) this.seen.set(mark, [performance.now()]);
    else times.push(performance.now());
  };
}

class Fleet {
  readonly watch = new Watch();
  readonly hosts: SimulatedHost[] = [];

  /** Starts hosts with pauses between them, as many as there are `delays`. Resolves with how long each took, ms. */
  async start(path: string, delays: readonly number[], since?: string): Promise<number[]> {
    return Promise.all(
      delays.map(async (delay, index) => {
        if (delay > 0) await pause(delay);
        const begin = performance.now();
        const host = new SimulatedHost(this.watch.onMark);
        this.hosts.push(host);
        await host.start(path, SCHEMA, tablesOf(index), since);
        return performance.now() - begin;
      }),
    );
  }

  get bytes(): number {
    return this.hosts.reduce((sum, host) => sum + host.bytes, 0);
  }

  stop(): void {
    for (const host of this.hosts.splice(0)) host.stop();
  }
}

/** How many of the networks of a host have got one more endpoint in this run. */
const added = new Map<number, number>();
const addedOn = new Map<number, number>();

/** A container starts: an address and an endpoint, with a mark. */
function startOps(change: number): Operation[] {
  const host = (change * 37) % SIZE.hosts;
  const networks = cluster.networksOf(host, SIZE);
  const network = networks[change % networks.length] as number;
  const [at, number] = [added.get(network) ?? 0, addedOn.get(host) ?? 0];
  added.set(network, at + 1);
  addedOn.set(host, number + 1);
  const placed = SIZE.networksOfHost * SIZE.endpointsEach;
  const ops = cluster.endpointRows(host, network, placed + at, placed + number);
  return ops.map((op) =>
    op.op === 'insert' && op.table === 'Endpoint' ? { ...op, row: { ...op.row, container_name: markOf(change) } } : op,
  );
}

let changes = 0;

/** One change after another: until it is answered, and known to all whom it concerns. */
async function measureChanges(client: OvsdbClient, watch: Watch, concerned: number, title: string): Promise<void> {
  const [answered, first, all]: number[][] = [[], [], []];
  let heard = 0;
  for (let i = 0; i < LATENCY_CHANGES; i += 1) {
    const change = (changes += 1);
    const begin = performance.now();
    await client.transact(startOps(change));
    answered?.push(performance.now() - begin);
    for (let wait = 0; (watch.seen.get(change)?.length ?? 0) < concerned && wait < 200; wait += 1) await pause(1);
    const times = watch.seen.get(change) ?? [];
    heard += times.length;
    for (const time of times) first?.push(time - begin);
    all?.push(Math.max(...times) - begin);
    await pause(5);
  }
  found(`${title}: a change is answered, p50`, median(answered ?? []), 'ms');
  found('  known by a host that it concerns, p50', percentile(first ?? [], 0.5), 'ms');
  found('  the same, p99', percentile(first ?? [], 0.99), 'ms');
  found('  known by all whom it concerns, p50', median(all ?? []), 'ms');
  found('  hosts that are told of a change', heard / LATENCY_CHANGES, '');
}

/** As many changes as it takes, some at a time. Resolves with changes a second and the database's CPU for one, ms. */
async function sustain(client: OvsdbClient, pid: number): Promise<{ rate: number; cpu: number }> {
  const [begin, before] = [performance.now(), cpuMs(pid)];
  let count = 0;
  const work = async (): Promise<void> => {
    while (performance.now() - begin < SUSTAINED_MS) {
      await client.transact(renameOps((changes += 1)));
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: OUTSTANDING }, work));
  const seconds = (performance.now() - begin) / 1000;
  return { rate: count / seconds, cpu: (cpuMs(pid) - before) / count };
}

/** A small change of one endpoint, found by its uuid: its network's hosts are told. */
const someEndpoints: string[] = [];
function renameOps(change: number): Operation[] {
  const uuid = someEndpoints[change % someEndpoints.length] as never;
  return [update('Endpoint', [['_uuid', '==', uuid]], { container_name: `renamed-${change}` })];
}

async function chooseEndpoints(client: OvsdbClient): Promise<void> {
  for (let host = 0; host < SIZE.hosts && someEndpoints.length < 50; host += Math.ceil(SIZE.hosts / 50)) {
    const [network = 0] = cluster.networksOf(host, SIZE);
    const mac = formatMac((0x024200000000 + network * 65536) as Mac);
    const [result] = await client.transact([
      { op: 'select', table: 'Endpoint', where: [['mac', '==', mac]], columns: ['_uuid'] },
    ]);
    someEndpoints.push(...(result?.rows ?? []).map((row) => String(row['_uuid'])));
  }
}

/** Hosts that have nothing yet, or, with `since`, that were connected until that transaction. */
async function connectAll(
  { fleet, path, pid, since }: { fleet: Fleet; path: string; pid: number; since?: string },
  title: string,
  delays: number[],
): Promise<void> {
  const [begin, before] = [performance.now(), cpuMs(pid)];
  const took = await fleet.start(path, delays, since);
  found(title, (performance.now() - begin) / 1000, 's');
  found('  one host waits, p50', median(took) / 1000, 's');
  found('  the same, p99', percentile(took, 0.99) / 1000, 's');
  found('  CPU of the database for one', (cpuMs(pid) - before) / delays.length, 'ms');
  found('  sent to one', fleet.bytes / delays.length / 1e6, 'MB');
}

async function lastTransaction(client: OvsdbClient): Promise<string> {
  const params = [DIRECTORY_DATABASE, 'last', { JoinToken: [{}] }, ZERO_UUID];
  const [, last] = (await client.request('monitor_cond_since', params)) as [boolean, string];
  await client.request('monitor_cancel', ['last']);
  return last;
}

async function startRelay(source: string): Promise<{ daemon: Daemon; path: string; stop(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'ovsdb-relay-'));
  const path = join(dir, 'db.sock');
  const argv = ['ovsdb-server', '-vconsole:info', `--remote=punix:${path}`, `--unixctl=${dir}/ctl`, '--no-chdir'];
  const env = { OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir };
  const daemon = await startDaemon([...argv, `relay:${DIRECTORY_DATABASE}:${source}`], env, /\(Open vSwitch\)/);
  const stop = async () => {
    await daemon.end();
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const client = await openClient(`unix:${path}`);
    client.stop();
  } catch (error) {
    await stop();
    throw error;
  }
  return { daemon, path, stop };
}

/** The hosts on a relay instead of the database. */
async function measureRelay(client: OvsdbClient, server: OvsdbServer): Promise<void> {
  const begin = performance.now();
  const relay = await startRelay(server.remote);
  const fleet = new Fleet();
  try {
    found('a relay is there', (performance.now() - begin) / 1000, 's');
    found('  resident', residentMb(relay.daemon.pid), 'MB');
    const at = { fleet, path: relay.path, pid: relay.daemon.pid, since: await lastTransaction(client) };
    await connectAll(at, `${OF_RELAY} hosts come back to it at once`, Array(OF_RELAY).fill(0));
    const before = cpuMs(relay.daemon.pid);
    const { rate, cpu } = await sustain(client, server.daemon().pid);
    found('  changes a second with them', rate, '/s');
    found('  CPU of the database for one', cpu, 'ms');
    found('  CPU of the relay for one', (cpuMs(relay.daemon.pid) - before) / (rate * (SUSTAINED_MS / 1000)), 'ms');
  } finally {
    fleet.stop();
    await relay.stop();
  }
}

async function measure(server: OvsdbServer): Promise<void> {
  const { pid } = server.daemon();
  const client = await openClient(server.remote);
  const begin = performance.now();
  await fill(client);
  found('the database is filled', (performance.now() - begin) / 1000, 's');
  found('  resident', residentMb(pid), 'MB');
  found('  its file', statSync(join(server.dir, 'db')).size / 2 ** 20, 'MB');
  await chooseEndpoints(client);
  const alone = await sustain(client, pid);
  found('changes a second, no host connected', alone.rate, '/s');
  found('  CPU of the database for one', alone.cpu, 'ms');
  await compareHosts(server);

  const fleet = new Fleet();
  const { hosts } = SIZE;
  const at = { fleet, path: pathOf(server.remote), pid };
  await connectAll(at, `${COLD} hosts that have nothing, at once: until the last is in`, Array(COLD).fill(0));
  fleet.stop();
  await pause(1_000);
  for (const spread of [SPREAD_MS, 0]) {
    fleet.stop();
    await pause(1_000);
    const delays = Array.from({ length: hosts }, () => Math.random() * spread);
    const how = spread === 0 ? 'at once' : `within ${spread / 1000} s`;
    await connectAll({ ...at, since: await lastTransaction(client) }, `${hosts} hosts come back ${how}`, delays);
  }
  found('resident, with all of them', residentMb(pid), 'MB');
  const follows = (host: number) => cluster.networksFollowed(host, SIZE).includes(0);
  const concerned = Array.from({ length: hosts }, (_, host) => host).filter(follows).length;
  await measureChanges(client, fleet.watch, concerned, `${hosts} hosts`);
  for (const part of [1, 0.5, 0.25]) {
    for (const host of fleet.hosts.splice(Math.round(hosts * part))) host.stop();
    await pause(1_000);
    const { rate, cpu } = await sustain(client, pid);
    found(`changes a second with ${fleet.hosts.length} hosts`, rate, '/s');
    found('  CPU of the database for one', cpu, 'ms');
  }
  fleet.stop();
  await pause(1_000);
  await measureRelay(client, server);
  client.stop();
}

async function main(): Promise<void> {
  const server = await startOvsdbServer({ schema: SCHEMA_FILE, clustered: true });
  try {
    const version = (await runTool(['ovsdb-server', '--version'])).split('\n')[0] ?? '';
    await measure(server);
    const { hosts, networks } = SIZE;
    const endpoints = hosts * SIZE.networksOfHost * SIZE.endpointsEach;
    const title = `${hosts} hosts, ${networks} networks, ${endpoints.toLocaleString('en-US')} endpoints on one ${version}`;
    publish('scale', title, rows);
  } finally {
    await server.stop();
  }
}

const role = process.argv.indexOf('--hold');
if (role < 0)
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1); // the connections that are left would keep it
  });
else void hold(process.argv[role + 1] as 'everything' | 'needed', process.argv[role + 2] as string);
