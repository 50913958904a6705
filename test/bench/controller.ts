// How many first packets the controller decides about in a second, and how long one takes.
//   decision    16 datapaths with 512 packet-ins outstanding each, 100,000 endpoints: packet-in decoded, both endpoints
//               looked up, policy asked, two flow mods and the packet-out written.
//   turnaround  one datapath, one packet-in outstanding.
// Over Unix sockets, the datapaths in another process than the controller; beside it a stub that answers as many bytes
// without looking, in alternating runs, medians of them. Default settings.

import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Controller } from '../../src/flowctl/controller';
import { DatapathLoad } from './support/datapath-load';
import { datapathIdOf, packetInsOf, populate } from './support/population';
import { median, percentile, printTable, writeJson } from './support/report';
import { startStub } from './support/stub-controller';

const ENDPOINTS = 100_000;
const DATAPATHS = 16;
const PORTS = ENDPOINTS / DATAPATHS;
/** More than a datapath decides about in a tenth of a second, so that no route counts as just installed. */
const PAIRS = 20_000;
/** Two flow mods of 144 bytes and a packet-out of 74 and 72. */
const ANSWER_BYTES = [144, 144, 146];
const RUNS = 3;
const WARM_UP_MS = 3000;
const MEASURE_MS = 4000;

type Kind = 'controller' | 'stub';

/** The process under test: this program again, told what to be. */
async function serve(kind: Kind, path: string): Promise<void> {
  if (kind === 'stub') startStub(path, stubAnswer());
  else {
    const controller = new Controller({ path, clock: systemClock, logger: silentLogger });
    populate(controller, ENDPOINTS, DATAPATHS);
    await controller.start();
    process.on('message', () => process.send?.(controller.counters()));
  }
  process.send?.('listening');
}

function stubAnswer(): Buffer {
  return Buffer.concat(
    ANSWER_BYTES.map((length, i) => {
      const message = Buffer.alloc(length);
      message.writeUInt32BE(((0x05 << 24) | ((i < 2 ? 14 : 13) << 16) | length) >>> 0, 0);
      return message;
    }),
  );
}

async function start(kind: Kind, path: string): Promise<ChildProcess> {
  const child = fork(process.argv[1] as string, ['--serve', kind, path]);
  await new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', reject);
  });
  return child;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Measured {
  readonly decisions: number;
  readonly flowModsEach: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(kind: Kind, folder: string, datapaths: number, window: number): Promise<Measured> {
  const path = join(folder, 's');
  const child = await start(kind, path);
  const loads = Array.from({ length: datapaths }, (_, datapath) => {
    const packetIns = packetInsOf(datapath, PORTS, PAIRS);
    return new DatapathLoad({ path, datapathId: datapathIdOf(datapath), packetIns, window });
  });
  const sum = (of: (load: DatapathLoad) => number) => loads.reduce((total, load) => total + of(load), 0);
  await Promise.all(loads.map((load) => load.ready));
  loads.forEach((load) => load.run());
  await pause(WARM_UP_MS);
  const [packetOuts, flowMods, begin] = [
    sum((load) => load.packetOuts),
    sum((load) => load.flowMods),
    performance.now(),
  ];
  loads.forEach((load) => (load.isMeasuringLatency = window === 1));
  await pause(MEASURE_MS);
  const seconds = (performance.now() - begin) / 1000;
  const decided = sum((load) => load.packetOuts) - packetOuts;
  const flowModsEach = (sum((load) => load.flowMods) - flowMods) / decided;
  loads.forEach((load) => load.stop());
  child.kill('SIGKILL');
  await new Promise((resolve) => child.once('exit', resolve));
  rmSync(path, { force: true });
  const micros = loads.flatMap((load) => load.latencies).map((ns) => ns / 1000);
  return { decisions: decided / seconds, flowModsEach, p50: percentile(micros, 0.5), p99: percentile(micros, 0.99) };
}

/** Alternating runs of controller and stub; the median of each number. */
async function compare(folder: string, datapaths: number, window: number): Promise<Record<Kind, Measured>> {
  const runs: Record<Kind, Measured[]> = { controller: [], stub: [] };
  for (let run = 0; run < RUNS; run += 1) {
    for (const kind of ['controller', 'stub'] as const) runs[kind].push(await measure(kind, folder, datapaths, window));
  }
  const middle = (kind: Kind): Measured => {
    const of = (name: keyof Measured) => median(runs[kind].map((run) => run[name]));
    return { decisions: of('decisions'), flowModsEach: of('flowModsEach'), p50: of('p50'), p99: of('p99') };
  };
  return { controller: middle('controller'), stub: middle('stub') };
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'daolinet-bench-'));
  try {
    const decision = await compare(folder, DATAPATHS, 512);
    const kinds = ['controller', 'stub'] as const;
    printTable(
      `decision: ${DATAPATHS} datapaths, 512 outstanding each, ${ENDPOINTS.toLocaleString('en-US')} endpoints`,
      kinds.map((kind) => ({
        '': kind,
        'decisions/s': decision[kind].decisions,
        'flow mods each': decision[kind].flowModsEach,
        'of the stub': `${Math.round((100 * decision[kind].decisions) / decision.stub.decisions)} %`,
      })),
    );
    const turnaround = await compare(folder, 1, 1);
    printTable(
      'turnaround: one datapath, one outstanding',
      kinds.map((kind) => ({
        '': kind,
        'p50 µs': turnaround[kind].p50,
        'p99 µs': turnaround[kind].p99,
        'decisions/s': turnaround[kind].decisions,
      })),
    );
    writeJson({ decision, turnaround });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const role = process.argv.indexOf('--serve');
if (role < 0) void main();
else void serve(process.argv[role + 1] as Kind, process.argv[role + 2] as string);
