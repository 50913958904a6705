// How many new pairs a second find their routes without a packet lost: real Open vSwitch with its userspace datapath in a
// network namespace of its own, endpoints on veth pairs into another, the controller on default settings: the meter of each
// port (1,000 packet-ins a second) and the limit of the bridge (10,000) included. The senders take turns, so a port's
// meter is far away. Each step sends one packet of each of so many pairs that a second has, of which none has a route; a
// rate counts as lossless if one of two tries loses nothing. Beside it, in alternating runs, a controller that writes the
// same messages and looks at nothing: what OVS and the machine allow.

import { inPrivateNetwork } from './support/private-network';
import { pairsOf, startRig, type Contestant, type Rig } from './support/ovs-rig';
import { median } from './support/report';
import { publish } from './support/results';

const PORTS = 192;
const STEPS = [2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000];
const RUNS = 3;
const TRIES = 2;
const SECONDS = 1;
/** As much of the rate as was really sent, or the try does not count as one of that rate. */
const PACED = 0.95;

interface Climb {
  readonly lossless: number;
  /** Arrived at the rate that lost, as a share. */
  readonly shareAbove: number;
}

async function climb(rig: Rig, contestant: Contestant): Promise<Climb> {
  let lossless = 0;
  for (const rate of STEPS) {
    let best = 0;
    for (let attempt = 0; attempt < TRIES && best < 1; attempt += 1) {
      await contestant.clearRoutes();
      const { arrived, seconds } = await rig.frames.rate(rate, 0, rate * SECONDS);
      const isPaced = (rate * SECONDS) / seconds >= PACED * rate;
      best = Math.max(best, isPaced ? arrived / (rate * SECONDS) : 0);
    }
    if (best < 1) return { lossless, shareAbove: best };
    lossless = rate;
  }
  return { lossless, shareAbove: 1 };
}

inPrivateNetwork(async (folder) => {
  const rig = await startRig(folder, PORTS);
  const ours: Climb[] = [];
  const stubs: Climb[] = [];
  try {
    await rig.frames.load(pairsOf(PORTS, Math.max(...STEPS) * SECONDS));
    for (let run = 0; run < RUNS; run += 1) {
      const controller = await rig.startController();
      ours.push(await climb(rig, controller));
      await controller.clearRoutes();
      await controller.stop();
      const stub = await rig.startStub();
      stubs.push(await climb(rig, stub));
      await stub.clearRoutes();
      await stub.stop();
    }
  } finally {
    await rig.stop();
  }
  const of = (climbs: Climb[], name: keyof Climb) => median(climbs.map((each) => each[name]));
  const peer = (name: keyof Climb, scale = 1) => ({ name: 'stub', value: scale * of(stubs, name) });
  publish('new-pairs', `new pairs a second, over ${PORTS} ports, ${RUNS} runs`, [
    {
      measure: 'highest rate without a loss',
      value: of(ours, 'lossless'),
      unit: '/s',
      floor: 3000,
      goal: 5000,
      peer: peer('lossless'),
    },
    {
      measure: `arrived one step above, or at ${STEPS.at(-1)}/s`,
      value: 100 * of(ours, 'shareAbove'),
      unit: '%',
      peer: peer('shareAbove', 100),
    },
  ]);
});
