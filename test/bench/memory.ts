// Memory for each endpoint over the empty process, at 100,000: what an agent holds of them, which is the directory's tables
// (rows of addresses and endpoints with their indexes, filled from a real ovsdb-server by OVSDB's monitor) and the
// controller's index. The endpoints are joined containers of two hosts, with names and ids as long as Docker's, one DNS
// alias each, no published ports. All of them are in the controller too, which a real agent has only for its own host.
// Measured after garbage collection, each part in a process of its own, empty before and full after.

import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { formatIpv4, formatMac, parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Directory, DIRECTORY_DATABASE } from '../../src/directory/directory';
import type { EndpointRow, NetworkRow } from '../../src/directory/rows';
import { Controller } from '../../src/flowctl/controller';
import { OvsdbClient } from '../../src/ovsdb/client';
import { named, type Operation, type Uuid } from '../../src/ovsdb/notation';
import { insert } from '../../src/ovsdb/operations';
import { startOvsdbServer } from '../ovs/ovsdb-server';
import { median } from './support/report';
import { publish, type Result } from './support/results';

const ENDPOINTS = 100_000;
const HOSTS = ['host-a', 'host-b'];
const BATCH = 2000;
const RUNS = 2;
const SCHEMA = 'src/directory/directory.ovsschema';
const LOCATORS = parseCidr('100.64.0.0/10');
const NETWORK = 'a'.repeat(64);

const PARTS = ['directory', 'controller', 'both'] as const;
type Part = (typeof PARTS)[number];

interface Memory {
  /** JavaScript's heap and what it has outside of it. */
  readonly heap: number;
  /** What the kernel counts. */
  readonly rss: number;
}

const idOf = (text: string): string => createHash('sha256').update(text).digest('hex');

function hostOps(): Operation[] {
  return [
    ...HOSTS.flatMap((name, i) => [
      insert('LocatorBlock', { cidr: `100.${64 + i}.0.0/16` }, { uuidName: `block${i}` }),
      insert('Host', {
        name,
        router_mac: `02:da:00:00:00:0${i}`,
        datapath_id: `000002da0000000${i}`,
        locator_blocks: [named(`block${i}`)],
      }),
    ]),
    insert('Tenant', { name: 'default', number: 1, revision: 1 }, { uuidName: 'tenant' }),
    insert(
      'Network',
      { id: NETWORK, key: 1, name: 'demo', tenant: named('tenant'), ipam: 'daolinet', mtu: 1500, created: 1 },
      { uuidName: 'network' },
    ),
    insert(
      'Pool',
      { id: 'default/10.0.0.0/8', tenant: named('tenant'), cidr: '10.0.0.0/8', network: named('network') },
      { uuidName: 'pool' },
    ),
  ];
}

interface References {
  readonly hosts: readonly Uuid[];
  readonly tenant: Uuid;
  readonly network: Uuid;
  readonly pool: Uuid;
}

function endpointOps(index: number, { hosts, tenant, network, pool }: References): Operation[] {
  const of = index % HOSTS.length;
  const host = hosts[of] as Uuid;
  const portNo = 1 + Math.floor(index / HOSTS.length);
  const mac = formatMac((0x024200000000 + index) as Mac);
  const locator = formatIpv4((parseIpv4(`100.${64 + of}.0.2`) + portNo) as Ipv4);
  const [endpoint, container] = [idOf(`endpoint ${index}`), idOf(`container ${index}`)];
  const address = formatIpv4((parseIpv4('10.0.0.2') + index) as Ipv4);
  return [
    insert(
      'Address',
      { tenant, address, pool, use: 'endpoint', mac, holders: [host], since: 1_800_000_000_000 + index },
      { uuidName: `a${index}` },
    ),
    insert('Endpoint', {
      id: endpoint,
      network,
      address: named(`a${index}`),
      mac,
      host,
      locator,
      port_no: portNo,
      interface: `dl${endpoint.slice(0, 11)}`,
      sandbox: `/var/run/docker/netns/${container.slice(0, 12)}`,
      container_id: container,
      container_name: `service-${index}`,
      aliases: [container.slice(0, 12)],
      created: 1_800_000_000_000 + index,
    }),
  ];
}

/** Fills the database. */
async function seed(remote: string): Promise<void> {
  const client = new OvsdbClient({ remotes: [remote], database: DIRECTORY_DATABASE });
  client.start();
  await client.whenReady();
  const results = await client.transact(hostOps());
  const uuid = (at: number) => results[at]?.uuid as Uuid;
  const [firstHost, secondHost, tenant, network, pool] = [uuid(1), uuid(3), uuid(4), uuid(5), uuid(6)];
  const references = { hosts: [firstHost, secondHost], tenant, network, pool };
  for (let from = 0; from < ENDPOINTS; from += BATCH) {
    await client.transact(Array.from({ length: BATCH }, (_, i) => endpointOps(from + i, references)).flat());
  }
  client.stop();
}

async function settledMemory(): Promise<Memory> {
  for (let i = 0; i < 5; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    globalThis.gc?.();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

function fill(controller: Controller, endpoints: Iterable<EndpointRow>, network: NetworkRow): Promise<unknown> {
  controller.setHost({
    routerMac: parseMac('02:da:00:00:00:00'),
    hostAddress: parseIpv4('100.64.0.1'),
    locatorRange: LOCATORS,
    kernelDatapath: false,
  });
  controller.setNetwork({ id: network.id, key: 1, tenant: 1, pools: [parseCidr('10.0.0.0/8')], internal: false });
  const confirmed: Promise<void>[] = [];
  for (const { id, mac, address: ip, locator, portNo, host } of endpoints) {
    const location = { kind: 'local', portNo, datapathId: HOSTS.indexOf(host).toString().padStart(16, '0') } as const;
    confirmed.push(controller.addEndpoint({ id, networkKey: 1, mac, ip, locator, location }));
  }
  // No datapath ever confirms: each gives up after two seconds, and stays.
  return Promise.allSettled(confirmed);
}

/** The process under test: says what it holds empty, and then full. */
async function hold(part: Part, remote: string): Promise<void> {
  process.on('message', () => undefined); // the directory's timers alone would not keep it running
  const directory = new Directory({
    remotes: [remote],
    host: HOSTS[0] as string,
    locatorRange: LOCATORS,
    logger: silentLogger,
  });
  const controller = new Controller({ path: '/nowhere', clock: systemClock, logger: silentLogger });
  const empty = await settledMemory();
  const begin = performance.now();
  directory.start();
  await directory.whenReady();
  const seconds = (performance.now() - begin) / 1000;
  const beforeController = part === 'controller' ? await settledMemory() : empty;
  const network = [...directory.view.networks()][0];
  if (network === undefined || [...directory.view.endpoints()].length !== ENDPOINTS) throw new Error('not all came');
  if (part !== 'directory') await fill(controller, directory.view.endpoints(), network);
  const full = await settledMemory();
  if (part !== 'directory' && controller.counters().endpoints !== ENDPOINTS) throw new Error('not all are there');
  process.send?.({
    heap: (full.heap - beforeController.heap) / ENDPOINTS,
    rss: (full.rss - beforeController.rss) / ENDPOINTS,
    seconds,
  });
  directory.stop();
  process.disconnect();
}

type Held = Memory & { readonly seconds: number };

function measure(part: Part, remote: string): Promise<Held> {
  const child = fork(process.argv[1] as string, ['--hold', part, remote], { execArgv: ['--expose-gc'] });
  return new Promise((resolve, reject) => {
    child.once('message', (held: Held) => resolve(held));
    child.once('exit', (code) => reject(new Error(`the process that holds ${part} ended with ${code}`)));
  });
}

async function main(): Promise<void> {
  const server = await startOvsdbServer({ schema: SCHEMA });
  const held: Record<Part, Held[]> = { directory: [], controller: [], both: [] };
  try {
    await seed(server.remote);
    for (let run = 0; run < RUNS; run += 1) {
      for (const part of PARTS) held[part].push(await measure(part, server.remote));
    }
  } finally {
    await server.stop();
  }
  const of = (part: Part, name: keyof Held) => median(held[part].map((each) => each[name]));
  const rows: Result[] = [
    { measure: 'directory and controller', value: of('both', 'heap'), unit: 'B', floor: 1024, goal: 512 },
    { measure: '  directory', value: of('directory', 'heap'), unit: 'B' },
    { measure: '  controller', value: of('controller', 'heap'), unit: 'B' },
    { measure: 'both, as the kernel counts (resident)', value: of('both', 'rss'), unit: 'B' },
    { measure: 'reading all of it from the database', value: of('both', 'seconds'), unit: 's' },
  ];
  publish('memory', `memory an endpoint, ${ENDPOINTS.toLocaleString('en-US')} endpoints, ${RUNS} runs`, rows);
}

const role = process.argv.indexOf('--hold');
if (role < 0) void main();
else void hold(process.argv[role + 1] as Part, process.argv[role + 2] as string);
