// Work that fails is tried again by itself, and what is in its way is told once.
import { RetriedWork } from '../../src/base/retried-work';
import { ManualClock } from '../fakes/manual-clock';

test('tries again after a while that grows; tells a problem once, another one, and the end of it', async () => {
  const clock = new ManualClock();
  const told: string[] = [];
  const failures = ['away', 'away', 'full'];
  let runs = 0;
  const work = new RetriedWork({
    work: async () => {
      runs += 1;
      const failure = failures.shift();
      if (failure !== undefined) throw new Error(failure);
    },
    clock,
    random: () => 0.999,
    onProblem: (problem) => told.push(problem),
    onMended: () => told.push('mended'),
  });
  const after = async (ms: number) => {
    clock.advance(ms);
    await work.idle();
    return runs;
  };
  work.ask();
  await work.idle();
  expect(await after(490)).toBe(1);
  expect(await after(10)).toBe(2);
  expect(await after(990)).toBe(2);
  expect(await after(10)).toBe(3);
  expect(await after(2_000)).toBe(4);
  expect(told).toEqual(['away', 'full', 'mended']);
  expect(clock.waiting).toBe(0);

  failures.push('away');
  work.ask();
  await work.idle();
  work.stop();
  work.ask();
  expect(await after(60_000)).toBe(5);
});
