// How tunnels are brought to what was asked for, and kept there: by which programs, in which order, and what is told when one
// fails. What WireGuard makes of it, test/e2e/host-tunnels.test.ts shows.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { CoProcessSession } from '../../src/host/co-process-session';
import { shellDialogue } from '../../src/host/dialogues';
import type { TunnelsSpec } from '../../src/host/host';
import { answerTime, probeArguments, sendProbe } from '../../src/host/probe';
import { publicKeyOf } from '../../src/host/tunnel-keys';
import { addressChange, isLoss } from '../../src/host/tunnel-watcher';
import { HostTunnels } from '../../src/host/tunnels';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner, type ScriptedAnswer } from '../fakes/scripted-runner';

const PRIVATE = 'QBdCtUYCKhHQ+/ny3nx4UMWNyN7PdXm9aSQjYTBFvFQ=';
const KEY_B = `${'B'.repeat(42)}A=`;
const spec: TunnelsSpec = {
  privateKey: PRIVATE,
  source: parseIpv4('100.64.1.1'),
  devices: [
    {
      ...{ name: 'daoli-wg', listenPort: 7471, mtu: 1420 },
      peers: [
        {
          ...{ publicKey: KEY_B, endpoint: { address: parseIpv4('192.0.2.2'), port: 7471 }, keepaliveSeconds: 0 },
          allowed: [parseCidr('100.64.2.0/24')],
        },
      ],
    },
  ],
  routes: [{ destination: parseCidr('100.64.2.0/24'), device: 'daoli-wg' }],
};

/** The host as far as these commands see it. */
class Kernel {
  hasWireGuard = true;
  links = new Map<string, { up: boolean; mtu: number; dump: string }>();
  routes: object[] = [];
  refuse: RegExp | undefined;

  answer(command: string): ScriptedAnswer {
    if (this.refuse?.test(command)) return { status: 1, stderr: 'RTNETLINK answers: No\n' };
    if (command.startsWith('ip -j -d link show')) return { stdout: this.listLinks() };
    if (command.startsWith('ip -j -4 route')) return { stdout: JSON.stringify(this.routes) };
    if (command.startsWith('ip link add daoli-wg-probe')) return { status: this.hasWireGuard ? 0 : 2 };
    const [, made] = /ip link add (daoli-wg\d?) type wireguard|exec wireguard-go -f (daoli-wg\d?)/.exec(command) ?? [];
    if (made !== undefined || command.includes('setsid')) return this.make(made ?? 'daoli-wg');
    const [, shown = ''] = /^wg show (\S+) dump$/.exec(command) ?? [];
    if (shown !== '') return { stdout: this.links.get(shown)?.dump ?? '', status: this.links.has(shown) ? 0 : 1 };
    const [, up = ''] = /^ip link set dev (\S+) mtu/.exec(command) ?? [];
    if (up !== '') this.links.set(up, { mtu: 1420, dump: '', ...this.links.get(up), up: true });
    const [, set = ''] = /^wg set (\S+) private-key/.exec(command) ?? [];
    const link = this.links.get(set);
    if (link !== undefined) link.dump = DUMP;
    if (command.includes('ip -force -batch -')) this.routes = [ROUTE];
    return {};
  }

  private make(name: string): ScriptedAnswer {
    this.links.set(name, { up: false, mtu: 1420, dump: '(none)\t(none)\t41569\toff\n' });
    return {};
  }

  private listLinks(): string {
    const flags = (up: boolean): string[] => (up ? ['UP'] : []);
    return JSON.stringify(
      [...this.links].map(([ifname, { up, mtu }], index) => ({ ifindex: index + 2, ifname, flags: flags(up), mtu })),
    );
  }
}

const DUMP =
  `${PRIVATE}\t${publicKeyOf(PRIVATE)}\t7471\toff\n` +
  `${KEY_B}\t(none)\t192.0.2.2:7471\t100.64.2.0/24\t1795892517\t436\t528\toff\n`;
const ROUTE = { dst: '100.64.2.0/24', dev: 'daoli-wg', prefsrc: '100.64.1.1' };

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

function world() {
  const kernel = new Kernel();
  const runner = new ScriptedRunner((command) => kernel.answer(command));
  const clock = new ManualClock();
  const lines: string[] = [];
  const log = (message: string): void => void lines.push(message);
  const logger = { debug: log, info: log, warn: log, error: log };
  const settings = new Map<string, string>();
  const write = async (path: string, value: string): Promise<void> => void settings.set(path, value);
  const sysctl = { read: async () => '', write, writeIfPresent: write, isWritable: async () => true };
  const shell = new CoProcessSession({ runner, clock, dialogue: shellDialogue });
  const now = () => 1_795_892_600_000;
  const tunnels = new HostTunnels({ runner, clock, logger, random: () => 0.999, shell, sysctl, now });
  const commands = (): string[] => runner.commands('sh').splice(0);
  const monitor = () => runner.processes.find(({ args }) => args.join(' ').includes('ip monitor link'));
  /** What was run since `from`, without what only looks. */
  const changes = (from = 0): string[] =>
    commands()
      .slice(from)
      .filter((command) => !/^(ip -j|wg show)/.test(command));
  return { kernel, runner, clock, lines, settings, tunnels, commands, changes, monitor };
}

test('a device is made, prepared before it goes up, configured, its peers called, and then routed to', async () => {
  const { tunnels, changes, settings } = world();
  await tunnels.apply(spec);
  const [, make, up, set, call, join, routes, ...rest] = changes();
  expect(make).toContain('ip link add daoli-wg type wireguard');
  expect(up).toContain('ip link set dev daoli-wg mtu 1420 up');
  expect(join).toBe(
    `unshare --mount sh -c 'mount -t sysfs sysfs /sys && echo 20000 >/sys/class/net/daoli-wg/gro_flush_timeout'`,
  );
  expect(set).toBe(
    `wg set daoli-wg private-key /dev/stdin listen-port 7471 peer ${KEY_B} endpoint 192.0.2.2:7471` +
      ` allowed-ips 100.64.2.0/24 <<'END_OF_INPUT'\n${PRIVATE}\nEND_OF_INPUT`,
  );
  expect(call).toContain(`peer ${KEY_B} persistent-keepalive 1`);
  expect(routes).toContain('route replace 100.64.2.0/24 via 100.64.2.0 dev daoli-wg onlink src 100.64.1.1');
  expect(rest).toEqual([]);
  expect(settings.get('net/ipv6/conf/daoli-wg/disable_ipv6')).toBe('1');
  expect(settings.get('net/ipv4/conf/daoli-wg/rp_filter')).toBe('2');
  await tunnels.stop();
});

test('asked for again, nothing is changed', async () => {
  const { tunnels, commands, changes } = world();
  await tunnels.apply(spec);
  const before = commands().length;
  await tunnels.apply(spec);
  expect(changes(before)).toEqual([]);
  await tunnels.stop();
});

test('an agent that starts changes nothing of a device that is right', async () => {
  const { tunnels, kernel, changes } = world();
  kernel.links.set('daoli-wg', { up: true, mtu: 1420, dump: DUMP });
  kernel.routes = [ROUTE];
  await tunnels.apply(spec);
  const [up, join, ...rest] = changes();
  expect(up).toContain('ip link set dev daoli-wg mtu 1420 up');
  expect(join).toContain('gro_flush_timeout');
  expect(rest).toEqual([]);
  await tunnels.stop();
});

test('where segments cannot be joined, that is told and the tunnel is there all the same', async () => {
  const { tunnels, kernel, lines } = world();
  kernel.refuse = /gro_flush_timeout/;
  await tunnels.apply(spec);
  expect(lines).toEqual(['a tunnel is slower than it could be']);
  expect(kernel.routes).toEqual([ROUTE]);
  await tunnels.stop();
});

test('devices of ours that are not named go, others stay', async () => {
  const { tunnels, kernel, changes } = world();
  for (const name of ['daoli-wg1', 'wg0', 'daoli-wg-of-somebody'])
    kernel.links.set(name, { up: true, mtu: 1420, dump: DUMP });
  await tunnels.apply({ ...spec, devices: [], routes: [] });
  expect(changes()).toEqual([expect.stringContaining('ip link delete daoli-wg1')]);
  await tunnels.stop();
});

test('without WireGuard in the kernel it is wireguard-go, with its reason where it does not run', async () => {
  const { tunnels, kernel, changes } = world();
  kernel.hasWireGuard = false;
  await tunnels.apply(spec);
  expect(await tunnels.kind()).toBe('userspace');
  expect(changes()[1]).toContain(
    "setsid sh -c 'echo $$ >/var/run/wireguard/daoli-wg.pid; exec wireguard-go -f daoli-wg'",
  );
  kernel.links.clear();
  kernel.refuse = /setsid/;
  await expect(tunnels.apply(spec)).rejects.toMatchObject({ code: 'unsupported' });
  await tunnels.stop();
});

test('what wg refuses is told in its words, and never with the key', async () => {
  const { tunnels, kernel } = world();
  kernel.refuse = /^wg set/;
  const error = await tunnels.apply(spec).catch((reason: unknown) => reason);
  expect(String(error)).toBe('DaoliError: cannot configure daoli-wg: RTNETLINK answers: No');
  await tunnels.stop();
});

test.each([
  ['Deleted 6: daoli-wg: <POINTOPOINT,MULTICAST,NOARP> mtu 1420 qdisc noop state DOWN group default', true],
  ['6: daoli-wg2: <POINTOPOINT,MULTICAST,NOARP> mtu 1420 qdisc pfifo_fast state DOWN group default', true],
  ['6: daoli-wg: <POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP> mtu 1420 qdisc pfifo_fast state UNKNOWN', false],
  ['Deleted 7: daoli-wgx: <POINTOPOINT,NOARP> mtu 1420', false],
  ['Deleted 7: dn0123456789a@if6: <BROADCAST,MULTICAST> mtu 1500', false],
  ['    link/none ', false],
])('%s: %s', (line, loss) => {
  expect(isLoss(line)).toBe(loss);
});

test.each([
  ['Deleted 2: uplink    inet 192.0.2.2/24 scope global uplink', 'gone'],
  ['2: uplink    inet 192.0.2.22/24 scope global uplink', 'new'],
  ['2: uplink    inet 192.0.2.22/24 brd 192.0.2.255 scope global dynamic noprefixroute uplink', 'new'],
  ['1: lo    inet 127.0.0.1/8 scope host lo', undefined],
  ['Deleted 3: daoli0    inet 100.64.2.1/24 scope global daoli0', undefined],
  ['3: daoli0    inet 100.64.2.1/24 scope global daoli0', undefined],
  ['Deleted 2: uplink    inet6 fe80::1/64 scope link', undefined],
])('%s: the address is %s', (line, change) => {
  expect(addressChange(line)).toBe(change);
});

const CALL = `wg set daoli-wg peer ${KEY_B} persistent-keepalive 0`;
test.each([
  ['another address, maybe a while after it lost the last one, calls its peers', '', [CALL]],
  [
    'an address less opens its sockets anew and calls its peers',
    'Deleted ',
    ['wg set daoli-wg listen-port 7471 ', CALL],
  ],
])('a host that has %s', async (_what, word, expected) => {
  const { tunnels, clock, commands, changes, monitor } = world();
  await tunnels.apply(spec);
  const before = commands().length;
  monitor()?.handlers.onStdout(`${word}2: uplink    inet 192.0.2.1/24 scope global uplink\n`);
  clock.advance(20);
  await settled();
  expect(changes(before)).toEqual(expected.map((start) => expect.stringContaining(start)));
  await tunnels.stop();
});

test('a device that goes away is made again at once, with its peers and routes, and whoever wants to know is told', async () => {
  const { tunnels, kernel, clock, commands, changes, monitor, lines } = world();
  const lost: string[] = [];
  const forget = tunnels.onLost((name) => lost.push(name));
  await tunnels.apply(spec);
  const before = commands().length;
  kernel.links.clear();
  kernel.routes = [];
  monitor()?.handlers.onStdout('Deleted 6: daoli-wg: <POINTOPOINT,MULTICAST,NOARP> mtu 1420\n    link/none \n');
  clock.advance(20);
  await settled();
  expect(changes(before).map((command) => command.split('\n')[0]?.slice(0, 24))).toEqual([
    'ip link delete daoli-wg ',
    'ip link set dev daoli-wg',
    'wg set daoli-wg private-',
    'wg set daoli-wg peer BBB',
    "unshare --mount sh -c 'm",
    "ip -force -batch - <<'EN",
  ]);
  expect(lost).toEqual(['daoli-wg']);
  expect(lines).toEqual(['a tunnel device has gone: it is made again']);
  forget();
  await tunnels.stop();
});

test('one that cannot be made again is tried ever more rarely, told of once, and back when it can', async () => {
  const { tunnels, kernel, clock, monitor, lines, commands } = world();
  await tunnels.apply(spec);
  kernel.links.clear();
  kernel.refuse = /type wireguard/;
  const before = commands().length;
  monitor()?.handlers.onStdout('Deleted 6: daoli-wg: <NOARP> mtu 1420\n');
  for (let i = 0; i < 400; i += 1) {
    clock.advance(50);
    await Promise.resolve();
    if (i % 8 === 0) await settled();
  }
  const tries = commands()
    .slice(before)
    .filter((command) => command.includes('type wireguard')).length;
  expect(tries).toBeGreaterThan(5);
  expect(tries).toBeLessThan(25);
  expect(lines.filter((line) => line === 'the tunnels cannot be put back')).toHaveLength(1);
  kernel.refuse = undefined;
  clock.advance(5_000);
  await settled();
  expect(kernel.links.has('daoli-wg')).toBe(true);
  await tunnels.stop();
});

test('everything is looked at now and then, and not any more when it was stopped', async () => {
  const { tunnels, kernel, clock, changes, commands } = world();
  await tunnels.apply(spec);
  kernel.routes = [];
  const before = commands().length;
  clock.advance(20_000);
  await settled();
  expect(changes(before)).toEqual([expect.stringContaining('route replace 100.64.2.0/24')]);
  await tunnels.stop();
  expect(clock.waiting).toBe(0);
});

test('the state shows no private key', async () => {
  const { tunnels } = world();
  expect(await tunnels.state()).toEqual([]);
  await tunnels.apply(spec);
  const state = await tunnels.state();
  expect(state).toMatchObject([{ name: 'daoli-wg', publicKey: publicKeyOf(PRIVATE), peers: [{ bytesReceived: 436 }] }]);
  expect(JSON.stringify(state)).not.toContain(PRIVATE);
  await tunnels.stop();
});

test('a peer is begun anew on its device alone', async () => {
  const { tunnels, commands, changes } = world();
  await tunnels.apply(spec);
  const before = commands().length;
  await tunnels.renew('daoli-wg', 'nobody');
  await tunnels.renew('daoli-wg9', KEY_B);
  expect(changes(before)).toEqual([]);
  await tunnels.renew('daoli-wg', KEY_B);
  expect(changes(before)[0]).toContain(`wg set daoli-wg peer ${KEY_B} remove peer ${KEY_B} endpoint 192.0.2.2:7471`);
  await tunnels.stop();
});

describe('an echo', () => {
  const address = parseIpv4('100.64.2.1');

  test('is asked for with device, source and size', () => {
    const all = { address, device: 'daoli-wg1', source: spec.source, timeoutMs: 500, packetBytes: 1420 };
    expect(probeArguments(all).join(' ')).toBe('-n -c 1 -W 0.5 -I daoli-wg1 -I 100.64.1.1 -M do -s 1392 100.64.2.1');
    expect(probeArguments({ address, timeoutMs: 1000 }).join(' ')).toBe('-n -c 1 -W 1 100.64.2.1');
  });

  test('has a time where it was answered', () => {
    expect(answerTime('64 bytes from 100.64.2.1: icmp_seq=1 ttl=64 time=0.345 ms\n')).toBe(0.345);
    expect(answerTime('64 bytes from 100.64.2.1: icmp_seq=1 ttl=64 time=12 ms\n')).toBe(12);
    expect(answerTime('From 100.64.1.1 icmp_seq=1 Destination Host Unreachable\n')).toBeUndefined();
  });

  test('that hangs is ended; without ping there is none', async () => {
    const runner = new ScriptedRunner();
    const clock = new ManualClock();
    const hanging = sendProbe(runner, clock, { address, timeoutMs: 500 });
    clock.advance(1_000);
    expect(await hanging).toBeUndefined();
    expect(runner.processes[0]?.killed).toBe(true);
    const missing = sendProbe(runner, clock, { address, timeoutMs: 500 });
    runner.processes[1]?.exit('ping is not installed');
    await expect(missing).rejects.toMatchObject({ code: 'unsupported' });
    expect(clock.waiting).toBe(0);
  });
});
