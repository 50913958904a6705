import { Backoff } from '../../src/base/backoff';
import { KeyedQueue } from '../../src/base/keyed-queue';
import { pause } from '../../src/base/pause';
import { ManualClock } from '../fakes/manual-clock';

test('back-off doubles between half and all, to its limit, and only success resets it', () => {
  const low = new Backoff(100, 1000, () => 0);
  expect([low.nextMs(), low.nextMs(), low.nextMs(), low.nextMs(), low.nextMs()]).toEqual([50, 100, 200, 400, 500]);
  low.succeeded();
  expect(low.nextMs()).toBe(50);
});

describe('KeyedQueue', () => {
  test('one key runs in order, also after a failure; another key does not wait', async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    let open!: () => void;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const first = queue.run('a', async () => {
      await gate;
      log.push('a1');
      throw new Error('no');
    });
    const second = queue.run('a', async () => {
      log.push('a2');
    });
    await queue.run('b', async () => {
      log.push('b1');
    });
    open();
    await expect(first).rejects.toThrow('no');
    await second;
    expect(log).toEqual(['b1', 'a1', 'a2']);
  });
  test('a full key refuses', async () => {
    const queue = new KeyedQueue(1);
    let open!: () => void;
    const held = queue.run('a', () => new Promise<void>((resolve) => (open = resolve)));
    await expect(queue.run('a', async () => undefined)).rejects.toThrow('too many requests wait for a');
    await Promise.resolve();
    open();
    await held;
  });
});

test('a pause ends in time, or at once when nobody waits any more, and leaves no timer', async () => {
  const clock = new ManualClock();
  const asker = new AbortController();
  const whole = pause(1000, asker.signal, clock);
  clock.advance(1000);
  await expect(whole).resolves.toBe(true);
  const short = pause(1000, asker.signal, clock);
  expect(clock.waiting).toBe(1);
  asker.abort();
  await expect(short).resolves.toBe(false);
  await expect(pause(1000, asker.signal, clock)).resolves.toBe(false);
  expect(clock.waiting).toBe(0);
  await expect(pause(0, new AbortController().signal, clock)).resolves.toBe(true);
});
