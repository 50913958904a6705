// Deadlines and turns: how a call of Docker ends in time, and what it leaves for the next one.
import { CallQueue, settleAll } from '../../src/driver/call-queue';
import { Deadline } from '../../src/driver/deadline';
import { ManualClock } from '../fakes/manual-clock';

let clock: ManualClock;
beforeEach(() => (clock = new ManualClock()));

const never = new Promise<never>(() => {});
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('a deadline', () => {
  test('gives what it waited for, and its errors', async () => {
    const deadline = new Deadline(clock, 8_000);
    expect(await deadline.wait('the directory', Promise.resolve(5))).toBe(5);
    await expect(deadline.wait('the directory', Promise.reject(new Error('no')))).rejects.toThrow('no');
    deadline.end();
    expect(clock.waiting).toBe(0);
  });

  test('ends every wait, naming the innermost part that did not answer', async () => {
    const deadline = new Deadline(clock, 8_000);
    const outer = deadline.wait('DaoliNet', never);
    const inner = deadline.wait('Open vSwitch', never);
    clock.advance(8_000);
    const message = /^Open vSwitch did not answer within 8 s/;
    await expect(outer).rejects.toThrow(message);
    await expect(inner).rejects.toThrow(message);
    expect(() => deadline.check()).toThrow(message);
    await expect(deadline.wait('the directory', never)).rejects.toThrow(message);
  });

  test('a part that fails after it does so unheard', async () => {
    const deadline = new Deadline(clock, 8_000);
    let fail = (_error: Error): void => {};
    const wait = deadline.wait('the directory', new Promise((_, reject) => (fail = reject)));
    clock.advance(8_000);
    await expect(wait).rejects.toThrow('did not answer');
    fail(new Error('late'));
    await settled();
  });
});

describe('turns', () => {
  test('a call that waited too long for its turn is never begun', async () => {
    const calls = new CallQueue(clock);
    const [first, second] = [new Deadline(clock, 20_000), new Deadline(clock, 8_000)];
    let release = () => {};
    const holding = calls.run('e1', first, () => new Promise<void>((resolve) => (release = resolve)));
    let isBegun = false;
    const waiting = calls.run('e1', second, async () => void (isBegun = true));
    clock.advance(8_000);
    await expect(waiting).rejects.toThrow('an earlier call for the same thing did not answer within 8 s');
    release();
    await holding;
    await settled();
    expect(isBegun).toBe(false);
  });

  test('Docker’s calls are remembered for two minutes, others are not', async () => {
    const calls = new CallQueue(clock);
    await calls.run('e1', new Deadline(clock, 8_000), async () => {});
    await calls.runOnOwn('e2', async () => {});
    expect([calls.wasCalled('e1', 120_000), calls.wasCalled('e2', 120_000)]).toEqual([true, false]);
    clock.advance(60_000);
    expect([calls.wasCalled('e1', 120_000), calls.wasCalled('e1', 30_000)]).toEqual([true, false]);
    clock.advance(60_000);
    await calls.run('e3', new Deadline(clock, 8_000), async () => {});
    expect(calls.wasCalled('e1', Infinity)).toBe(false);
  });
});

test('all tasks settle before the first failure is thrown, also when one throws at once', async () => {
  const done: string[] = [];
  const slow = async (): Promise<void> => {
    await settled();
    done.push('slow');
    throw new Error('slow fails too');
  };
  const broken = (): Promise<void> => {
    throw new Error('broken');
  };
  await expect(settleAll([slow, broken, async () => void done.push('quick')])).rejects.toThrow('slow fails too');
  expect(done).toEqual(['quick', 'slow']);
  await expect(settleAll([broken])).rejects.toThrow('broken');
  await settleAll([]);
});
