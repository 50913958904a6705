// What the first packet of a new pair waits longer than the second, which finds its route: real Open vSwitch with its
// userspace datapath in a network namespace of its own, endpoints on veth pairs into another, the controller on default
// settings, meters included. One packet at a time. Beside it, in alternating runs, a controller that writes the same
// messages and looks at nothing, and routes that are installed already, whose first packet still costs OVS an upcall.

import { inPrivateNetwork } from './support/private-network';
import { pairsOf, startRig, type Rig } from './support/ovs-rig';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';

const PORTS = 64;
const PAIRS = 1900;
const TIMES = 3;
const RUNS = 3;
/** Of each run: the code warms up, and OVS's tables grow. */
const WARM_UP = 200;

interface Measured {
  readonly over50: number;
  readonly over99: number;
  readonly first50: number;
  readonly first99: number;
  readonly second50: number;
  readonly second99: number;
  readonly lost: number;
}

async function measure(rig: Rig): Promise<Measured> {
  const all = await rig.frames.loop(0, PAIRS, TIMES);
  const [first = [], second = []] = [0, 1].map((n) => all.slice(WARM_UP).map((times) => times[n] ?? NaN));
  const second50 = median(second);
  return {
    over50: median(first) - second50,
    over99: percentile(first, 0.99) - second50,
    first50: median(first),
    first99: percentile(first, 0.99),
    second50,
    second99: percentile(second, 0.99),
    lost: all.flat().filter((time) => time < 0).length,
  };
}

function middle(runs: readonly Measured[]): Measured {
  const of = (name: keyof Measured) => median(runs.map((run) => run[name]));
  return {
    over50: of('over50'),
    over99: of('over99'),
    first50: of('first50'),
    first99: of('first99'),
    second50: of('second50'),
    second99: of('second99'),
    lost: runs.reduce((sum, run) => sum + run.lost, 0),
  };
}

function resultsOf(ours: Measured, stub: Measured, there: Measured): Result[] {
  const row = (measure: string, name: keyof Measured, more: Partial<Result> = {}): Result => {
    return { measure, value: ours[name], unit: 'µs', peer: { name: 'stub', value: stub[name] }, ...more };
  };
  return [
    row('first packet over the second, p50', 'over50', { floor: 250, goal: 50 }),
    row('first packet p99 over the second’s p50', 'over99', { goal: 1500 }),
    row('first packet, p50', 'first50'),
    row('first packet, p99', 'first99'),
    row('second packet, p50', 'second50'),
    row('second packet, p99', 'second99'),
    { measure: 'first packet with its route there, p50', value: there.first50, unit: 'µs' },
    { measure: 'first packet with its route there, p99', value: there.first99, unit: 'µs' },
    row('lost', 'lost', { unit: `of ${RUNS * PAIRS * TIMES}` }),
  ];
}

inPrivateNetwork(async (folder) => {
  const rig = await startRig(folder, PORTS);
  const runs = { ours: [] as Measured[], stub: [] as Measured[], there: [] as Measured[] };
  try {
    await rig.frames.load(pairsOf(PORTS, PAIRS));
    for (let run = 0; run < RUNS; run += 1) {
      const ours = await rig.startController();
      runs.ours.push(await measure(rig));
      await rig.ovs.appctl('dpctl/del-flows', 'netdev@ovs-netdev');
      runs.there.push(await measure(rig));
      await ours.clearRoutes();
      await ours.stop();
      const stub = await rig.startStub();
      runs.stub.push(await measure(rig));
      await stub.clearRoutes();
      await stub.stop();
    }
  } finally {
    await rig.stop();
  }
  const results = resultsOf(middle(runs.ours), middle(runs.stub), middle(runs.there));
  publish(
    'first-packet',
    `first packet of a new pair, ${PORTS} ports, ${PAIRS - WARM_UP} pairs, ${RUNS} runs`,
    results,
  );
});
