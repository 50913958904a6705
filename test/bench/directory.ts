// What a host's writing into the directory of its cluster costs: transactions of the smallest kind that the agent sends (one
// column of one of its own endpoints), one after another and 50 in flight, from a client host through the server's door (TLS,
// each transaction inspected), on emulated hosts. Beside it the same by the server itself over its unix socket, in alternating
// runs, and `ovsdb-client transact`. Two agents follow each change meanwhile, as they always do.

import { buildSync } from 'esbuild';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { FRONT_PORT, DIRECTORY_PROTOCOLS } from '../../src/cluster/front';
import { joinAll, startHosts, stopCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import { getApi } from '../e2e/support/peers';
import type { DirectoryTask, DirectoryTimes } from './support/directory-client';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';

const RUNS = 5;
const SERIAL = 1_000;
const PIPELINED = 5_000;
const IN_FLIGHT = 50;
const BY_PROGRAM = 20;
const CLIENT = resolve('build/bench/directory-client.cjs');
const WAYS = ['door', 'socket'] as const;
type Way = (typeof WAYS)[number];

/** A host's own certificate and key, as root of that host has them. */
async function tlsOf(host: Host): Promise<NonNullable<DirectoryTask['tls']>> {
  const folder = await host.exec('sh', ['-c', 'echo /var/lib/docker/plugins/*/propagated-mount/cluster']);
  const text = (name: string) => readFileSync(host.path(`${folder}/${name}`), 'utf8');
  const [ca, cert, key] = [text('ca.crt'), text('host.crt'), text('host.key')];
  return { ca, cert, key, ALPNProtocols: DIRECTORY_PROTOCOLS, rejectUnauthorized: false };
}

/** Runs the client program on a host. */
async function measureOn(host: Host, task: DirectoryTask): Promise<DirectoryTimes> {
  const said = await host.exec(process.execPath, [CLIENT], { input: JSON.stringify(task) });
  return JSON.parse(said) as DirectoryTimes;
}

/** The server's own socket, in the plugin's file system as the host sees it. */
const socketOf = (host: Host) => `unix:/proc/${host.agentPid() ?? 0}/root/run/daolinet/directory.sock`;

/** ms of each `ovsdb-client transact`, a program started for it. */
async function byProgram(host: Host): Promise<number[]> {
  const select = { op: 'select', table: 'Host', where: [], columns: ['name'] };
  const words = ['transact', socketOf(host), JSON.stringify(['DaoliNet', select])];
  const times: number[] = [];
  for (let index = 0; index < BY_PROGRAM; index += 1) {
    const begin = performance.now();
    await host.exec('ovsdb-client', words);
    times.push(performance.now() - begin);
  }
  return times;
}

/** A container on each host, and what it is in the directory. */
async function prepare(h1: Host, h2: Host): Promise<Map<string, string>> {
  await joinAll([h1, h2]);
  await h1.docker('network', 'create', '-d', 'daolinet', 'n');
  await waitFor('the network on h2', async () => (await h2.docker('network', 'ls')).includes('n'), 20_000);
  for (const host of [h1, h2]) await host.docker('run', '-d', '--network', 'n', IMAGE, 'sleep', '3600');
  const endpoints = await getApi<{ id: string; host: string }[]>(h1, '/v1/endpoints');
  return new Map(endpoints.map(({ id, host }) => [host, id]));
}

async function main(): Promise<void> {
  const entryPoints = ['test/bench/support/directory-client.ts'];
  buildSync({ entryPoints, outfile: CLIENT, bundle: true, platform: 'node', target: 'node20', logLevel: 'warning' });
  const lab = await startHosts(2, { docker: '20.10' });
  try {
    const [h1, h2] = lab.hosts as [Host, Host];
    const endpoints = await prepare(h1, h2);
    const counts = { serial: SERIAL, pipelined: PIPELINED, inFlight: IN_FLIGHT };
    const door = {
      remote: `ssl:${h1.address}:${FRONT_PORT}`,
      tls: await tlsOf(h2),
      endpoint: endpoints.get('h2') ?? '',
    };
    const socket = { remote: socketOf(h1), endpoint: endpoints.get('h1') ?? '' };
    const found: Record<Way, DirectoryTimes[]> = { door: [], socket: [] };
    for (let run = 0; run <= RUNS; run += 1) {
      const ways = run % 2 === 0 ? WAYS : [...WAYS].reverse();
      for (const way of ways) {
        const times = await measureOn(way === 'door' ? h2 : h1, { ...(way === 'door' ? door : socket), ...counts });
        if (run > 0) found[way].push(times);
      }
    }
    const program = await byProgram(h1);
    const serial = (way: Way) => found[way].flatMap((times) => times.serial);
    const rate = (way: Way, key: 'serialRate' | 'pipelinedRate') => median(found[way].map((times) => times[key]));
    const own = (value: number) => ({ name: 'unix socket', value });
    const row = (measure: string, unit: string, value: (way: Way) => number): Result => ({
      measure,
      value: value('door'),
      unit,
      peer: own(value('socket')),
    });
    publish('directory', `transactions of a client host, ${RUNS} runs`, [
      row('transaction, one after another, p50', 'µs', (way) => median(serial(way))),
      row('the same, p99', 'µs', (way) => percentile(serial(way), 0.99)),
      row('transactions, one after another', '/s', (way) => rate(way, 'serialRate')),
      row(`transactions, ${IN_FLIGHT} in flight`, '/s', (way) => rate(way, 'pipelinedRate')),
      { measure: 'ovsdb-client on the server, p50', value: 1000 * median(program), unit: 'µs' },
    ]);
  } finally {
    await stopCluster(lab);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
