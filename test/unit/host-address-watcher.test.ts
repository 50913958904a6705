// Noticing that the host itself has other addresses or another MTU: which lines of the kernel's count, and when it is told.
import { silentLogger } from '../../src/base/logger';
import { AddressWatcher, changeIn } from '../../src/host/address-watcher';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner } from '../fakes/scripted-runner';

const link = (name: string, mtu: number) =>
  `3: ${name}: <BROADCAST,MULTICAST,UP> mtu ${mtu} qdisc noqueue state UP group default \\    link/ether 6a:7f:02:27:d3:a8`;

test.each<[string, object | undefined]>([
  ['3: eth0    inet 10.1.1.1/24 scope global eth0\\       valid_lft forever preferred_lft forever', { device: 'eth0' }],
  ['Deleted 3: eth0    inet 10.1.1.1/24 scope global eth0\\       valid_lft forever', { device: 'eth0' }],
  ['3: eth0    inet6 fe80::1/64 scope link \\       valid_lft forever', undefined],
  [link('eth0', 1400), { device: 'eth0', mtu: 1400 }],
  [link('eth0@if7', 1400), { device: 'eth0', mtu: 1400 }],
  [`Deleted ${link('wlan0', 1500)}`, { device: 'wlan0', mtu: 1500 }],
  [link('dl0123456789a@dc0123456789a', 1500), undefined],
  [link('vethab12cd3@if5', 1500), undefined],
  [link('daoli0', 1500), undefined],
  ['4: daoli0    inet 100.64.0.1/24 scope global daoli0', undefined],
  ['something else', undefined],
])('%s', (line, change) => {
  expect(changeIn(line)).toEqual(change);
});

function world() {
  const runner = new ScriptedRunner();
  const clock = new ManualClock();
  const watcher = new AddressWatcher({ runner, clock, logger: silentLogger, random: () => 0.5 });
  let told = 0;
  const end = watcher.onChange(() => (told += 1));
  watcher.start();
  const say = (...lines: string[]) =>
    runner.processes.at(-1)?.handlers.onStdout(lines.map((one) => `${one}\n`).join(''));
  return { clock, watcher, say, end, runner, told: () => told };
}

test('several changes are told of once, when they have settled; what is as it was is not', () => {
  const { clock, say, told, watcher } = world();
  say('Deleted 3: eth0    inet 10.1.1.1/24 scope global eth0', '3: eth0    inet 10.1.1.2/24 scope global eth0');
  expect(told()).toBe(0);
  clock.advance(1_000);
  expect(told()).toBe(1);
  say(link('eth0', 1500));
  clock.advance(1_000);
  say(link('eth0', 1500), link('eth0', 1500), link('daoli-wg', 1420));
  clock.advance(1_000);
  expect(told()).toBe(2);
  say(link('eth0', 1400));
  clock.advance(1_000);
  expect(told()).toBe(3);
  void watcher.stop();
});

test('it looks now and then, and again where the monitor had ended', async () => {
  const { clock, told, watcher, end, runner } = world();
  clock.advance(30_000);
  expect(told()).toBe(1);
  runner.processes.at(-1)?.exit('died');
  clock.advance(2_000);
  expect(told()).toBe(2);
  end();
  clock.advance(60_000);
  expect(told()).toBe(2);
  await Promise.all([watcher.stop(), watcher.stop()]);
  expect(clock.waiting).toBe(0);
});
