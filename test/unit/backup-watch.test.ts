// When a host is judged to be gone, and when it is not.
import { GONE_AFTER_MS, Watch, type Life } from '../../src/backup/watch';
import { ManualClock } from '../fakes/manual-clock';

let clock: ManualClock;
let watch: Watch;
let told: [string, Life][];
beforeEach(() => {
  clock = new ManualClock();
  told = [];
  watch = new Watch(clock, (host, life) => void told.push([host, life]));
});
afterEach(() => {
  watch.stop();
  expect(clock.waiting).toBe(0);
});

test('a host that answers in time is there; its last answer holds for a while', () => {
  watch.setHosts(new Set(['a']));
  for (let n = 0; n < 100; n += 1) {
    clock.advance(500);
    watch.hear('a', 'serving');
  }
  expect(watch.lifeOf('a')).toBe('serving');
  clock.advance(GONE_AFTER_MS - 1);
  expect(told).toEqual([]);
  clock.advance(1);
  expect(told).toEqual([['a', 'gone']]);
  watch.hear('a', 'serving');
  expect(told).toEqual([
    ['a', 'gone'],
    ['a', 'serving'],
  ]);
});

test('one that answers and is not in charge is idle, after as long', () => {
  watch.setHosts(new Set(['a']));
  watch.hear('a', 'serving');
  for (let n = 0; n < 3; n += 1) {
    expect(watch.lifeOf('a')).toBe('serving');
    clock.advance(500);
    watch.hear('a', 'idle');
  }
  expect(watch.lifeOf('a')).toBe('idle');
  clock.advance(GONE_AFTER_MS);
  expect(told).toEqual([
    ['a', 'idle'],
    ['a', 'gone'],
  ]);
});

test('one that says that it ends is gone at once', () => {
  watch.setHosts(new Set(['a']));
  watch.hear('a', 'leaving');
  expect(told).toEqual([['a', 'gone']]);
});

test('a new one, and one that was seen otherwise, has the time to be heard', () => {
  watch.setHosts(new Set(['a']));
  clock.advance(2_999);
  expect(watch.lifeOf('a')).toBe('serving');
  clock.advance(1);
  expect(watch.lifeOf('a')).toBe('gone');
  watch.presume('a');
  clock.advance(2_999);
  expect(watch.lifeOf('a')).toBe('serving');
  clock.advance(1);
  expect(watch.lifeOf('a')).toBe('gone');
});

test('one that comes back again and again without being in charge has longer each time, until it says that it is', () => {
  watch.setHosts(new Set(['a']));
  /** Milliseconds for which it counts as serving after it was seen, and once more at the same time. */
  const granted = () => {
    clock.advance(60_000);
    watch.presume('a');
    clock.advance(5);
    watch.presume('a');
    watch.hear('a', 'idle');
    let ms = 5;
    for (; watch.lifeOf('a') === 'serving'; ms += 100) clock.advance(100);
    return Math.floor(ms / 1_000);
  };
  expect([granted(), granted(), granted(), granted()]).toEqual([3, 6, 12, 12]);
  watch.hear('a', 'serving');
  expect([granted(), granted()]).toEqual([3, 6]);
  watch.presume('a');
  watch.hear('a', 'leaving');
  expect(watch.lifeOf('a')).toBe('gone');
});

test('who is not watched is gone, and told of no more', () => {
  watch.setHosts(new Set(['a']));
  watch.hear('b', 'serving');
  expect(watch.lifeOf('b')).toBe('gone');
  watch.setHosts(new Set());
  watch.presume('a');
  clock.advance(10_000);
  expect(told).toEqual([]);
});

test('a host that was held up itself judges nobody by it', () => {
  let now = 0;
  const timers: (() => void)[] = [];
  const slow = {
    now: () => now,
    after: (_ms: number, callback: () => void) => {
      timers.push(callback);
      return () => void timers.splice(timers.indexOf(callback), 1);
    },
  };
  const stopped = new Watch(slow, (host, life) => void told.push([host, life]));
  stopped.setHosts(new Set(['a']));
  stopped.hear('a', 'serving');
  // It was stopped for a minute; its timers come first when it goes on.
  now = 60_000;
  timers.shift()!();
  expect(told).toEqual([]);
  now += GONE_AFTER_MS;
  timers.shift()!();
  expect(told).toEqual([['a', 'gone']]);
});
