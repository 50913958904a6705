// When a hub is taken for dead, and for alive again.
import { parseIpv4 } from '../../src/base/addresses';
import { HubWatch } from '../../src/tunnel/hub-watch';
import { ManualClock } from '../fakes/manual-clock';

const A = { host: 'a', device: 'daoli-wg1', locator: parseIpv4('100.64.1.1') };
const B = { host: 'b', device: 'daoli-wg2', locator: parseIpv4('100.64.2.1') };

class World {
  readonly clock = new ManualClock();
  readonly asked: string[] = [];
  readonly changes: string[] = [];
  readonly silent = new Set<string>();
  /** What an earlier agent has found. */
  readonly dead = new Set<string>();
  verdicts = 0;
  /** Probes of these devices never end by themselves. */
  readonly hanging = new Map<string, (answers: boolean) => void>();
  isHanging = false;
  readonly watch = new HubWatch({
    clock: this.clock,
    probe: (_address, device, timeoutMs) => {
      expect(timeoutMs).toBeLessThan(1_000);
      this.asked.push(device);
      if (this.isHanging) return new Promise((resolve) => this.hanging.set(device, resolve));
      return Promise.resolve(!this.silent.has(device));
    },
    wasDead: (hub) => this.dead.has(hub),
    onVerdict: () => (this.verdicts += 1),
    onChange: (hub, isAlive) => this.changes.push(`${hub} ${isAlive ? 'is back' : 'is dead'}`),
  });

  async seconds(count: number): Promise<void> {
    await new Promise(setImmediate);
    for (let second = 0; second < count; second += 1) {
      this.clock.advance(1_000);
      await new Promise(setImmediate);
    }
  }
}

let world: World;
beforeEach(() => (world = new World()));

test('pings each hub every second through its device, from the beginning, and no others', async () => {
  world.watch.watch([A, B]);
  await world.seconds(2);
  expect(world.asked).toEqual(['daoli-wg1', 'daoli-wg2', 'daoli-wg1', 'daoli-wg2', 'daoli-wg1', 'daoli-wg2']);
  world.watch.watch([]);
  await world.seconds(5);
  expect(world.asked).toHaveLength(6);
  expect(world.clock.waiting).toBe(0);
});

test('one is dead after three that are missed in a row, and back after three that are answered', async () => {
  world.watch.watch([A, B]);
  await world.seconds(5);
  world.silent.add('daoli-wg1');
  await world.seconds(2);
  world.silent.delete('daoli-wg1');
  await world.seconds(1);
  world.silent.add('daoli-wg1');
  await world.seconds(2);
  expect(world.changes).toEqual([]);
  await world.seconds(1);
  expect(world.changes).toEqual(['a is dead']);
  expect([world.watch.isAlive('a'), world.watch.isAlive('b'), world.watch.isAlive('c')]).toEqual([false, true, true]);
  await world.seconds(10);
  world.silent.delete('daoli-wg1');
  await world.seconds(2);
  expect(world.changes).toEqual(['a is dead']);
  await world.seconds(1);
  expect(world.changes).toEqual(['a is dead', 'a is back']);
});

test('a ping that hangs is a miss each second; meanwhile no other one is sent, and what it says at last counts no more', async () => {
  world.isHanging = true;
  world.watch.watch([A]);
  await world.seconds(2);
  expect(world.changes).toEqual([]);
  await world.seconds(1);
  expect(world.changes).toEqual(['a is dead']);
  await world.seconds(20);
  expect(world.asked).toEqual(['daoli-wg1']);
  world.isHanging = false;
  world.hanging.get('daoli-wg1')!(true);
  await world.seconds(2);
  expect(world.changes).toEqual(['a is dead']);
  await world.seconds(1);
  expect(world.changes).toEqual(['a is dead', 'a is back']);
});

test('what is known of a hub stays with it, unless it has another device', async () => {
  world.silent.add('daoli-wg1');
  world.watch.watch([A]);
  await world.seconds(2);
  expect(world.watch.isAlive('a')).toBe(false);
  world.watch.watch([B, { ...A }]);
  expect(world.watch.isAlive('a')).toBe(false);
  world.watch.watch([{ ...A, device: 'daoli-wg3' }]);
  expect(world.watch.isAlive('a')).toBe(true);
});

test('says which are dead, unless all are: that says nothing of them', async () => {
  expect(world.watch.unheard).toEqual([]);
  world.watch.watch([A, B]);
  world.silent.add('daoli-wg1');
  await world.seconds(4);
  expect(world.watch.unheard).toEqual(['a']);
  world.silent.add('daoli-wg2');
  await world.seconds(4);
  expect(world.watch.unheard).toBeUndefined();
  world.silent.clear();
  await world.seconds(4);
  expect(world.watch.unheard).toEqual([]);
  // Both came back in one round.
  expect(world.verdicts).toBe(3);
});

test('one that was dead for an earlier agent is dead until it answers', async () => {
  world.dead.add('a');
  expect(world.watch.isAlive('a')).toBe(false);
  world.watch.watch([A, B]);
  expect([world.watch.isAlive('a'), world.watch.isAlive('b')]).toEqual([false, true]);
  await world.seconds(2);
  expect(world.changes).toEqual(['a is back']);
});

test('nothing is told of a hub that is not watched any more', async () => {
  world.isHanging = true;
  world.watch.watch([A]);
  await world.seconds(1);
  world.watch.stop();
  world.hanging.get('daoli-wg1')!(false);
  await world.seconds(5);
  expect(world.changes).toEqual([]);
  world.watch.stop();
});
