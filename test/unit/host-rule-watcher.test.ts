// Noticing that rules were taken away: which events count, how soon, and how rarely when somebody fights with us.
import { concernsUs, RuleWatcher, type WatchedRules } from '../../src/host/rule-watcher';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner } from '../fakes/scripted-runner';

class Rules implements WatchedRules {
  repairs = 0;
  legacy = 0;
  missing = 0;
  broken = false;

  repair(): Promise<number> {
    this.repairs += 1;
    return this.broken ? Promise.reject(new Error('broken')) : Promise.resolve(this.missing);
  }

  repairLegacy(): Promise<number> {
    this.legacy += 1;
    return Promise.resolve(0);
  }
}

const clock = (): ManualClock => new ManualClock();
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const GONE = 'delete table inet daolinet\n# new generation 9 by process 7 (nft)\n';

function world() {
  const rules = new Rules();
  const runner = new ScriptedRunner();
  const time = clock();
  const lines: string[] = [];
  const log = (message: string): void => void lines.push(message);
  const logger = { debug: () => undefined, info: log, warn: log, error: log };
  const watcher = new RuleWatcher({ runner, clock: time, logger, random: () => 0.999, rules });
  watcher.start();
  const say = (text: string): void => runner.processes.at(-1)?.handlers.onStdout(text);
  const pass = async (ms: number): Promise<void> => {
    time.advance(ms);
    await settled();
  };
  return { rules, runner, time, lines, watcher, say, pass };
}

test.each([
  ['delete table inet daolinet', true],
  ['delete rule inet daolinet forward handle 7', true],
  ['delete element inet daolinet published { tcp . 80 }', true],
  ['add element inet daolinet published { tcp . 80 : 100.64.7.2 . 80 }', false],
  ['delete table ip filter', true],
  ['delete rule ip filter DOCKER-USER handle 4', true],
  ['delete chain ip filter FORWARD', true],
  ['delete rule ip filter DOCKER handle 4', false],
  ['create chain ip filter DOCKER-USER', true],
  ['insert rule ip filter FORWARD counter packets 0 bytes 0 jump DOCKER-USER', true],
  ['add chain ip filter FORWARD { type filter hook forward priority filter; policy drop; }', true],
  ['add rule ip filter DOCKER ip daddr 172.17.0.2 tcp dport 80 counter accept', false],
  ['delete table ip nat', false],
  ['delete table inet daolinet-of-somebody', false],
  ['# new generation 6 by process 10970 (iptables-nft)', false],
])('%s: %s', (line, concerns) => {
  expect(concernsUs(line)).toBe(concerns);
});

test('many events make one check, soon', async () => {
  const { rules, say, pass, watcher } = world();
  say('delete rule inet daolinet x handle 1\ndelete ta');
  say('ble inet daolinet\n');
  expect(rules.repairs).toBe(0);
  await pass(50);
  expect(rules.repairs).toBe(1);
  await pass(500);
  expect(rules.repairs).toBe(1);
  await watcher.stop();
});

test('events of others cost nothing', async () => {
  const { rules, say, pass, watcher } = world();
  for (let i = 0; i < 1000; i += 1) say('add rule ip nat DOCKER tcp dport 80 counter dnat to 172.17.0.2:80\n');
  await pass(900);
  expect(rules.repairs).toBe(0);
  await watcher.stop();
});

test('whoever takes rules away again and again is met ever more slowly, and quickly again after a calm time', async () => {
  const { rules, say, pass, watcher, lines } = world();
  rules.missing = 1;
  const waits: number[] = [];
  for (let i = 0; i < 10; i += 1) {
    const before = rules.repairs;
    say(GONE);
    let waited = 0;
    while (rules.repairs === before) {
      await pass(10);
      waited += 10;
    }
    waits.push(waited);
  }
  expect(waits).toEqual([50, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  expect(lines).toHaveLength(10);
  rules.missing = 0;
  for (let second = 0; second < 10; second += 1) await pass(1000);
  const before = rules.repairs;
  say(GONE);
  await pass(50);
  expect(rules.repairs).toBe(before + 1);
  await watcher.stop();
});

test('a check that fails is told, and does not end the watch', async () => {
  const { rules, say, pass, watcher, lines } = world();
  rules.broken = true;
  say(GONE);
  await pass(50);
  expect(lines).toEqual(['the rules of the packet filter cannot be put back']);
  rules.broken = false;
  say(GONE);
  await pass(50);
  expect(rules.repairs).toBe(2);
  await watcher.stop();
});

test('legacy rules are looked at every second, everything every minute', async () => {
  const { rules, pass, watcher } = world();
  for (let second = 0; second < 60; second += 1) await pass(1000);
  expect(rules.legacy).toBeGreaterThanOrEqual(59);
  expect(rules.repairs).toBe(1);
  await watcher.stop();
});

test('a monitor that ends is started again, ever more slowly, and what it missed is checked', async () => {
  const { rules, runner, pass, watcher } = world();
  expect(runner.processes.map(({ file }) => file)).toEqual(['sh']);
  runner.processes.at(-1)?.exit('no buffer space');
  await pass(999);
  expect(runner.processes).toHaveLength(1);
  await pass(1);
  expect(runner.processes).toHaveLength(2);
  await pass(50);
  expect(rules.repairs).toBe(1);
  runner.processes.at(-1)?.exit('no buffer space');
  await pass(1500);
  expect(runner.processes).toHaveLength(2);
  await pass(600);
  expect(runner.processes).toHaveLength(3);
  await watcher.stop();
});

test('after stop() nothing runs and nothing is called; it can be called twice', async () => {
  const { rules, runner, time, say, pass, watcher } = world();
  say(GONE);
  await watcher.stop();
  await watcher.stop();
  expect(runner.processes[0]?.ended).toBe(true);
  await pass(120_000);
  expect(rules.repairs + rules.legacy).toBe(0);
  expect(runner.processes).toHaveLength(1);
  expect(time.waiting).toBe(0);
});
