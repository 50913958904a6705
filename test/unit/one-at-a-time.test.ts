// One run at a time, and none that is asked for is lost.
import { OneAtATime } from '../../src/base/one-at-a-time';

test('runs one at a time; whoever asks meanwhile gets one more run, however many ask', async () => {
  const ends: (() => void)[] = [];
  let underWay = 0;
  const work = new OneAtATime(async () => {
    underWay += 1;
    expect(underWay).toBe(1);
    await new Promise<void>((resolve) => ends.push(resolve));
    underWay -= 1;
  });
  work.ask();
  work.ask();
  work.ask();
  expect(ends).toHaveLength(1);
  const idle = work.idle();
  ends[0]!();
  await new Promise(setImmediate);
  expect(ends).toHaveLength(2);
  ends[1]!();
  await idle;
  expect(ends).toHaveLength(2);
});

// What asks in one of the microtasks between the end of a run and the word of it would be lost by a flag that a later one resets.
test.each(Array.from({ length: 12 }, (_, turns) => turns))(
  'asked %d microtasks after a run has ended: it runs again',
  async (turns) => {
    let runs = 0;
    const work = new OneAtATime(async () => {
      runs += 1;
      if (runs > 1) return;
      await Promise.resolve();
      void (async () => {
        for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
        work.ask();
      })();
    });
    work.ask();
    await new Promise(setImmediate);
    expect(runs).toBe(2);
    await work.idle();
  },
);
