// When a host takes it that it shares no L2 with its site, and when it does not: silence alone says nothing.
import {
  chosenPeers,
  findingOf,
  L2Watch,
  LOOK_INTERVAL_MS,
  MAX_ASKED,
  PROBE_MS,
  ROUNDS,
} from '../../src/tunnel/l2-watch';
import { ManualClock } from '../fakes/manual-clock';

class World {
  readonly clock = new ManualClock();
  /** By name; one that is not there is silent, and its door is shut. */
  readonly hosts = new Map<string, { answers: boolean; standsMs: number | undefined }>();
  ownMs: number | undefined = 60_000;
  isMissing = false;
  readonly asked: string[] = [];
  readonly doors: string[] = [];
  readonly verdicts: boolean[] = [];
  readonly watch = new L2Watch({
    clock: this.clock,
    random: () => 0,
    peers: () => [...this.hosts.keys()],
    probe: (host, timeoutMs) => {
      this.asked.push(host);
      if (this.hosts.get(host)?.answers === true) return Promise.resolve(true);
      return new Promise((resolve) => this.clock.after(timeoutMs, () => resolve(false)));
    },
    standsMs: (host) => {
      if (host === undefined) return Promise.resolve(this.ownMs);
      this.doors.push(host);
      return Promise.resolve(this.hosts.get(host)?.standsMs);
    },
    isMissing: () => this.isMissing,
    onJudged: (isMissing) => {
      this.isMissing = isMissing;
      this.verdicts.push(isMissing);
    },
  });

  async seconds(count: number): Promise<void> {
    for (let second = 0; second < count; second += 1) {
      for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
      this.clock.advance(1_000);
    }
    for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
  }
}

const SILENT = { answers: false, standsMs: 60_000 };
const ANSWERS = { answers: true, standsMs: 60_000 };
/** Until a verdict: two questions a round. */
const VERDICT_SECONDS = (ROUNDS * 2 * PROBE_MS) / 1_000;
let world: World;
beforeEach(() => (world = new World()));
afterEach(() => {
  world.watch.stop();
  expect(world.clock.waiting).toBe(0);
});

test('another host that is there to answer, and does not, speaks against the L2: after three rounds', async () => {
  world.hosts.set('b', SILENT);
  world.watch.start();
  await world.seconds(VERDICT_SECONDS - 1);
  expect(world.verdicts).toEqual([]);
  await world.seconds(1);
  expect(world.verdicts).toEqual([true]);
  expect(world.asked).toHaveLength(2 * ROUNDS);
});

test('one that answers speaks for it, whatever others do, and no door is asked of those that answer', async () => {
  world.hosts.set('b', SILENT).set('c', ANSWERS);
  world.watch.start();
  await world.seconds(60);
  expect(world.verdicts).toEqual([]);
  expect(new Set(world.doors)).toEqual(new Set(['b']));
});

test.each<[string, number | undefined, number | undefined]>([
  ['its agent does not answer: it is down, or cut off, or older', undefined, 60_000],
  ['its datapath is not there: Open vSwitch is away', undefined, 60_000],
  ['its datapath has come a moment ago', 1_999, 60_000],
  ['this host’s own datapath is not there', 60_000, undefined],
  ['this host’s own datapath has come a moment ago', 60_000, 1_999],
])('silence says nothing where %s', async (_, standsMs, ownMs) => {
  world.hosts.set('b', { answers: false, standsMs });
  world.ownMs = ownMs;
  world.watch.start();
  await world.seconds(300);
  expect(world.verdicts).toEqual([]);
});

test('one answer between two silences changes nothing', async () => {
  world.hosts.set('b', SILENT);
  world.watch.start();
  await world.seconds(VERDICT_SECONDS - 2);
  world.hosts.set('b', ANSWERS);
  await world.seconds(2);
  world.hosts.set('b', SILENT);
  await world.seconds(30);
  expect(world.verdicts).toEqual([]);
});

test('a verdict is looked at again every minute, and withdrawn when there is an L2 after all', async () => {
  world.hosts.set('b', SILENT);
  world.watch.start();
  await world.seconds(VERDICT_SECONDS);
  world.hosts.set('b', ANSWERS);
  await world.seconds(LOOK_INTERVAL_MS / 1_000);
  expect(world.verdicts).toEqual([true, false]);
});

test('a host that comes is asked at once, and with none there is nothing to ask', async () => {
  world.watch.start();
  await world.seconds(1);
  expect(world.asked).toEqual([]);
  world.hosts.set('b', ANSWERS);
  world.watch.hostsChanged();
  await world.seconds(0);
  expect(world.asked).toEqual(['b']);
  world.watch.hostsChanged();
  await world.seconds(1);
  expect(world.asked).toEqual(['b']);
});

test('what is under way when it stops is not told', async () => {
  world.hosts.set('b', SILENT);
  world.watch.start();
  await world.seconds(VERDICT_SECONDS - 1);
  world.watch.stop();
  await world.seconds(2);
  expect(world.verdicts).toEqual([]);
});

test('of a large site each host asks the next ones by name, so that none is asked by all', () => {
  const names = Array.from({ length: 100 }, (_, index) => `h${String(index).padStart(2, '0')}`);
  const asked = new Map<string, number>();
  for (const own of names) {
    const chosen = chosenPeers(
      own,
      names.filter((name) => name !== own),
    );
    expect(chosen).toHaveLength(MAX_ASKED);
    for (const name of chosen) asked.set(name, (asked.get(name) ?? 0) + 1);
  }
  expect(new Set(asked.values())).toEqual(new Set([MAX_ASKED]));
  expect(chosenPeers('b', ['c', 'a'])).toEqual(['c', 'a']);
  expect(chosenPeers('z', ['c', 'a'])).toEqual(['a', 'c']);
});

test('with nobody asked nothing is found', () => {
  expect(findingOf([], 60_000)).toBe('unknown');
});
