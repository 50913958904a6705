// Faults while a load runs, in short: the most telling ones, and then some by chance. `npm run test:faults` has all of them.
import { faultCalled } from '../faults/faults/all';
import { seeded } from '../faults/seeded';
import { soak } from '../faults/soak';
import { Stage } from '../faults/stage';
import { misses, Trial } from '../faults/trial';

jest.setTimeout(900_000);

/** Of bounds on time, on a machine that has something else to do. */
const TIMES = 3;
const SOAK_MS = 300_000;
const SEED = 1;

let stage: Stage;
let trial: Trial;

beforeAll(async () => {
  stage = await Stage.start(3, seeded(SEED));
  trial = new Trial(stage);
  await trial.begin();
}, 900_000);
afterAll(() => stage?.stop(), 60_000);

test.each(['leader-killed', 'daolinetd-killed', 'ovs-vswitchd-killed', 'host-cut-off'])('%s', async (name) => {
  expect(misses(await trial.run(faultCalled(name)), TIMES)).toEqual([]);
});

test(`faults by chance (seed ${SEED}) break nothing, and nothing grows`, async () => {
  const { broken } = await soak(stage, trial, SOAK_MS);
  expect(broken).toEqual([]);
});
