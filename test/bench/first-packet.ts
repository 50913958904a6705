// What the first packet of a new pair waits longer than later ones, which find its route: real Open vSwitch with its
// userspace datapath in a network namespace of its own, endpoints on veth pairs into another, the controller on default
// settings, meters included. One packet at a time. Beside it, in alternating runs, a controller that writes the same
// messages and looks at nothing: what OVS and the machine allow.
//   second packet   sent when the first has come out. OVS has not looked at its datapath flows anew by then, so that it goes
//                   through the controller, too, which has nothing left to install.
//   later packet    sent when all is settled: no controller, no upcall.
//   upcall          the route is there, but OVS has forgotten its datapath flow: what OVS itself needs for a new flow.
// OVS looks at every port for every packet (one system call each), so the number of ports matters: few here, and many.

import { inPrivateNetwork } from './support/private-network';
import { pairsOf, startRig, type Contestant, type Rig } from './support/ovs-rig';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';

const FEW = 16;
const MANY = 64;
const RUNS = 3;
/** Pairs of one run. */
const PAIRS = 1000;

interface Times {
  readonly first: number[];
  readonly second: number[];
  readonly later: number[];
  readonly upcall: number[];
}

const COLUMNS = ['first', 'second', 'later', 'upcall'] as const;
type Column = (typeof COLUMNS)[number];

/** Each pair once, again and again, its routes taken away in between. */
async function measure(rig: Rig, contestant: Contestant, pairs: number): Promise<Times> {
  const times: Times = { first: [], second: [], later: [], upcall: [] };
  const rounds = Math.ceil(PAIRS / pairs);
  for (let round = -1; round < rounds; round += 1) {
    const fresh = await rig.frames.loop(0, pairs, 2);
    const later = await rig.frames.loop(0, pairs, 1);
    await rig.ovs.appctl('dpctl/del-flows', 'netdev@ovs-netdev');
    const upcall = await rig.frames.loop(0, pairs, 1);
    await contestant.clearRoutes();
    if (round < 0) continue; // warm-up
    times.first.push(...fresh.map(([first = NaN]) => first));
    times.second.push(...fresh.map(([, second = NaN]) => second));
    times.later.push(...later.flat());
    times.upcall.push(...upcall.flat());
  }
  return times;
}

interface Found {
  readonly p50: Record<Column, number>;
  readonly p99: Record<Column, number>;
  readonly lost: number;
}

function summaryOf(runs: readonly Times[]): Found {
  const each = (share: number) => {
    const middle = (column: Column) => median(runs.map((times) => percentile(times[column], share)));
    return Object.fromEntries(COLUMNS.map((column) => [column, middle(column)])) as Record<Column, number>;
  };
  const lost = runs.flatMap((times) => COLUMNS.flatMap((column) => times[column])).filter((time) => time < 0).length;
  return { p50: each(0.5), p99: each(0.99), lost };
}

async function compare(folder: string, ports: number): Promise<{ ours: Found; stub: Found }> {
  const rig = await startRig(folder, ports);
  const runs = { ours: [] as Times[], stub: [] as Times[] };
  const pairs = ports * Math.floor((ports - 1) / 2);
  try {
    await rig.frames.load(pairsOf(ports, pairs));
    for (let run = 0; run < RUNS; run += 1) {
      for (const kind of ['ours', 'stub'] as const) {
        const contestant = await (kind === 'ours' ? rig.startController() : rig.startStub());
        runs[kind].push(await measure(rig, contestant, pairs));
        await contestant.stop();
      }
    }
  } finally {
    await rig.stop();
  }
  return { ours: summaryOf(runs.ours), stub: summaryOf(runs.stub) };
}

function resultsOf(ports: number, { ours, stub }: { ours: Found; stub: Found }): Result[] {
  const row = (measure: string, of: (found: Found) => number, more: Partial<Result> = {}): Result => {
    return { measure, value: of(ours), unit: 'µs', peer: { name: 'stub', value: of(stub) }, ...more };
  };
  const all = [
    row(`${ports} ports: first over second packet, p50`, ({ p50 }) => p50.first - p50.second, { floor: 250, goal: 50 }),
    row('  p99 of the first over the second’s p50', ({ p50, p99 }) => p99.first - p50.second, { goal: 1500 }),
    row('  first over a later packet, p50', ({ p50 }) => p50.first - p50.later),
  ];
  for (const column of COLUMNS) {
    all.push(row(`  ${column === 'upcall' ? column : `${column} packet`}, p50`, ({ p50 }) => p50[column]));
    all.push(row(`  ${column === 'upcall' ? column : `${column} packet`}, p99`, ({ p99 }) => p99[column]));
  }
  return [...all, row('  lost', ({ lost }) => lost, { unit: 'packets' })];
}

inPrivateNetwork(async (folder) => {
  const few = resultsOf(FEW, await compare(folder, FEW));
  const many = resultsOf(MANY, await compare(folder, MANY)).slice(0, 3);
  publish('first-packet', `first packets of new pairs, ${PAIRS} in each of ${RUNS} runs`, [...few, ...many]);
});
