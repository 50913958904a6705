// Hot-plug routes as containers notice them, and as `ovs-ofctl dump-flows` shows them: none while nobody talks, both
// directions after one packet, which is not lost, and none again when the pair has been silent.

import { INTERNET_ADDRESS, OUTSIDE_ADDRESS, PLUGIN, waitFor, type Host } from '../../lab/host';
import type { BackgroundCommand } from '../../lab/namespace';
import { besideIn, talk } from './support/beside';
import { Capture } from './support/capture';
import { sendDatagram } from './support/frames';
import {
  answers,
  ask,
  getApi,
  OUTSIDE,
  ping,
  run,
  serveAt,
  startClient,
  startHostWithPeers,
  startServer,
} from './support/peers';

jest.setTimeout(120_000);

const IDLE_SECONDS = 3;
const GATEWAY = '10.50.0.1';
const ADDRESS = { ann: '10.50.0.10', bob: '10.50.0.11', cat: '10.50.0.12', dan: '10.50.0.13' } as const;
type Name = keyof typeof ADDRESS;
const NOBODY = '10.50.0.99';

/** Sends datagrams to ever other addresses of 10.60.0.0/16 until it is ended: 50 each 5 ms, ten times what a port may punt. */
const FLOOD = `
  socket(my $socket, 2, 2, 17) or die "socket: $!";
  for (my $n = 0; ; select(undef, undef, undef, 0.005)) {
    for (1 .. 50) {
      $n = ($n + 1) % 65000;
      send($socket, 'flood', 0, pack('S n C4 x8', 2, 9, 10, 60, $n >> 8, $n & 255));
    }
  }
`;

interface ShownRoute {
  readonly kind: string;
  readonly source?: string;
  readonly destination?: string;
}
interface ShownEndpoint {
  readonly id: string;
  readonly address: string;
}
type Counters = Record<
  'datapaths' | 'packetIns' | 'routesInstalled' | 'routesRemoved' | 'routesCapped' | 'unreachable',
  number
>;

let host: Host;

beforeAll(async () => {
  host = await startHostWithPeers({ settings: { DAOLINET_IDLE_TIMEOUT: String(IDLE_SECONDS) } });
  await serveAt(host, OUTSIDE, ['80/tcp', '53/udp']);
  const create = ['network', 'create', '-d', 'daolinet', '--ipam-driver', 'daolinet'];
  await host.docker(...create, '--subnet', '10.50.0.0/24', 'demo');
  await host.docker(...create, '--subnet', '10.60.0.0/16', 'wide');
  for (const [name, ip] of Object.entries(ADDRESS)) {
    await startServer(host, name, ['80/tcp', '53/udp'], ['--network', 'demo', '--ip', ip]);
  }
}, 900_000);

afterAll(() => host?.stop(), 60_000);

/** The routes in the datapath: "10.50.0.10 > 10.50.0.11" each, "*" for all addresses outside. */
async function routes(): Promise<string[]> {
  const flows = await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int');
  const lines = flows.split('\n').filter((line) => line.includes('idle_timeout'));
  const field = (line: string, name: string) => new RegExp(`${name}=([\\d.]+)`).exec(line)?.[1] ?? '*';
  return lines.map((line) => `${field(line, 'nw_src')} > ${field(line, 'nw_dst')}`).sort();
}

const bothWays = (one: string, other: string): string[] => [`${one} > ${other}`, `${other} > ${one}`].sort();

/** Waits until nobody has talked for long enough. */
async function silence(): Promise<void> {
  await waitFor('the routes to go', async () => (await routes()).length === 0, 3 * IDLE_SECONDS * 1000 + 10_000);
}

const counters = (): Promise<Counters> => getApi<Counters>(host, '/v1/counters');

describe('a route', () => {
  test('is not there while nobody talks', async () => {
    await silence();
    expect(await getApi(host, '/v1/routes')).toEqual([]);
  });

  test('is there in both directions after one packet, which is answered', async () => {
    await silence();
    const before = await counters();
    expect(await ping(host, 'ann', ADDRESS.bob)).toBe(1);
    expect(await routes()).toEqual(bothWays(ADDRESS.ann, ADDRESS.bob));
    const endpoints = new Map(
      (await getApi<ShownEndpoint[]>(host, '/v1/endpoints')).map(({ id, address }) => [id, address]),
    );
    const shown = (await getApi<ShownRoute[]>(host, '/v1/routes')).map(
      ({ source = '', destination = '' }) => `${endpoints.get(source)} > ${endpoints.get(destination)}`,
    );
    expect(shown.sort()).toEqual(bothWays(ADDRESS.ann, ADDRESS.bob));
    expect((await counters()).routesInstalled).toBeGreaterThanOrEqual(before.routesInstalled + 2);
  });

  test('costs the controller nothing more while it is used', async () => {
    await ping(host, 'ann', ADDRESS.bob);
    await ping(host, 'ann', ADDRESS.bob);
    const before = await counters();
    expect(await ping(host, 'ann', ADDRESS.bob, '-c', '20', '-i', '0.05')).toBe(20);
    expect((await counters()).packetIns).toBe(before.packetIns);
  });

  test('goes when the pair has been silent for the idle time, and the agent hears of it', async () => {
    const before = await counters();
    await ping(host, 'ann', ADDRESS.bob);
    const end = Date.now();
    await silence();
    expect(Date.now() - end).toBeLessThan(3 * IDLE_SECONDS * 1000);
    await waitFor('the agent to hear', async () => (await counters()).routesRemoved >= before.routesRemoved + 2);
    expect(await getApi(host, '/v1/routes')).toEqual([]);
  });

  test('lets the datagram that made it through, once', async () => {
    await silence();
    const capture = await Capture.start(host, 'cat');
    await sendDatagram(host, 'ann', ADDRESS.cat, 'the-only-one');
    await waitFor('the datagram', () => capture.count('the-only-one') > 0);
    expect(await ping(host, 'ann', ADDRESS.cat)).toBe(1);
    expect(capture.count('the-only-one')).toBe(1);
    await capture.stop();
  });

  test('goes with its container', async () => {
    await startClient(host, 'short', ['--network', 'demo', '--ip', '10.50.0.20']);
    const pinging = await besideIn(host, 'ann', 'busybox', 'ping', '-i', '0.2', '10.50.0.20');
    await waitFor('routes', async () => (await routes()).includes('10.50.0.20 > 10.50.0.10'));
    await host.docker('kill', 'short');
    await waitFor('its routes to go', async () => !(await routes()).join().includes('10.50.0.20'), 3000);
    await pinging.stop();
    await host.docker('rm', 'short');
  });
});

describe('answered by the datapath, without the agent', () => {
  test('ARP: whoever is asked for, the router has the address', async () => {
    const before = await counters();
    const asked = await Promise.all(
      [ADDRESS.bob, GATEWAY, NOBODY].map((address) =>
        host.docker('exec', 'ann', 'busybox', 'arping', '-c', '2', '-w', '5', '-I', 'eth0', address),
      ),
    );
    const macs = asked.flatMap((text) => [...text.matchAll(/\[([0-9a-f:]{17})\]/g)].map(([, mac]) => mac));
    const flows = await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int', 'table=0,ip');
    expect(macs).toHaveLength(6);
    expect(new Set(macs).size).toBe(1);
    expect(flows).toContain(`dl_dst=${macs[0]},nw_src=${ADDRESS.ann}`);
    expect((await counters()).packetIns).toBe(before.packetIns);
  });

  test('ARP for its own address goes unanswered, as for anybody who looks whether it is taken', async () => {
    const text = await host.docker(
      'exec',
      'ann',
      'busybox',
      'arping',
      '-D',
      '-c',
      '2',
      '-w',
      '2',
      '-I',
      'eth0',
      ADDRESS.ann,
    );
    expect(text).toContain('Received 0 response');
  });

  test('ping of the gateway, a large one too', async () => {
    const before = await counters();
    expect(await ping(host, 'ann', GATEWAY, '-c', '3', '-i', '0.1')).toBe(3);
    expect(await ping(host, 'ann', GATEWAY, '-s', '5000')).toBe(1);
    expect((await counters()).packetIns).toBe(before.packetIns);
  });
});

describe('an address that nobody has', () => {
  test('is unreachable at once', async () => {
    const before = await counters();
    expect(await ask(host, 'ann', `${NOBODY}:80`, { timeoutMs: 3000 })).toBe('EHOSTUNREACH');
    expect((await counters()).unreachable).toBeGreaterThan(before.unreachable);
    expect(await routes()).not.toContain(`${ADDRESS.ann} > ${NOBODY}`);
  });

  test('is reached at once when a container takes it, however often it was asked for before', async () => {
    const pinging = await besideIn(host, 'ann', 'busybox', 'ping', '-i', '0.05', NOBODY);
    await waitFor('the drop', async () =>
      (await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int')).includes('hard_timeout'),
    );
    await startClient(host, 'late', ['--network', 'demo', '--ip', NOBODY]);
    expect(await ping(host, 'ann', NOBODY)).toBe(1);
    await pinging.stop();
    await host.docker('rm', '-f', 'late');
  });
});

describe('what crosses', () => {
  test.each([
    ['between containers', 'bob', ADDRESS.bob],
    ['outward', 'outside', OUTSIDE_ADDRESS],
  ])('%s: TCP, UDP, ICMP, and fragments of each, from the first packet on', async (_, name, address) => {
    await silence();
    const udp = (bytes: number) => ask(host, 'ann', `${address}:53`, { protocol: 'udp', bytes });
    const server = expect.stringMatching(new RegExp(`^${name} `));
    expect(await udp(5000)).toEqual(server);
    expect(await ping(host, 'ann', address, '-s', '5000')).toBe(1);
    expect(await ping(host, 'ann', address)).toBe(1);
    expect(
      await answers({
        tcp: ask(host, 'ann', `${address}:80`),
        'much tcp': ask(host, 'ann', `${address}:80`, { bytes: 1_000_000 }),
        udp: udp(32),
      }),
    ).toEqual({ tcp: server, 'much tcp': server, udp: server });
    // Alone: its fragments fill what a socket holds, and one that is lost is the datagram.
    expect(await udp(65_000)).toEqual(server);
  });

  test('the hops: none between containers of one host; outward the host and then the destination', async () => {
    const hops = async (to: string) => {
      const trace = await run(host, 'ann', ['busybox', 'traceroute', '-n', '-q', '1', '-w', '3', '-m', '5', to]);
      return [...trace.matchAll(/^ *\d+ +(\S+)/gm)].map(([, hop]) => hop);
    };
    expect(await hops(ADDRESS.bob)).toEqual([ADDRESS.bob]);
    expect(await hops(INTERNET_ADDRESS)).toEqual([expect.stringMatching(/^[\d.]+$/), INTERNET_ADDRESS]);
  });

  test('an --internal network: its members talk, and nothing leaves it', async () => {
    await host.docker('network', 'create', '-d', 'daolinet', '--internal', '--subnet', '10.51.0.0/24', 'inner');
    for (const name of ['in1', 'in2']) await startServer(host, name, ['80/tcp'], ['--network', 'inner']);
    expect(await ask(host, 'in1', 'in2:80')).toMatch(/^in2 /);
    const capture = await Capture.start(host, OUTSIDE, 'uplink');
    await host.inNetworkOf('in1', 'ip', 'route', 'add', 'default', 'dev', 'eth0');
    expect(await ask(host, 'in1', `${INTERNET_ADDRESS}:80`, { timeoutMs: 3000 })).not.toMatch(/^outside/);
    await host.tryDocker('exec', 'in1', 'busybox', 'ping', '-c', '2', '-W', '1', '-p', 'e5', INTERNET_ADDRESS);
    expect(await ping(host, 'ann', INTERNET_ADDRESS, '-p', 'c3')).toBe(1);
    await waitFor('the allowed ping', () => capture.count(Buffer.alloc(16, 0xc3)) > 0);
    expect(capture.count(Buffer.alloc(16, 0xe5))).toBe(0);
    await capture.stop();
    await host.docker('rm', '-f', 'in1', 'in2');
    await host.docker('network', 'rm', 'inner');
  });
});

describe('one container cannot use up what all share', () => {
  test("while it sends to thousands of addresses, other pairs' first packets come through", async () => {
    await startClient(host, 'flooder', ['--network', 'demo', '--ip', '10.50.0.30']);
    await silence();
    const [before, start] = [await counters(), Date.now()];
    const flood = await besideIn(host, 'flooder', 'perl', '-e', FLOOD);
    await waitFor('the flood', async () => (await counters()).packetIns > before.packetIns + 1000);
    const pairs: [Name, Name][] = [['ann', 'bob'], ['cat', 'dan'], ['ann', 'cat'], ['bob', 'dan'], ['dan', 'ann'], ['bob', 'cat']]; // prettier-ignore
    const received: Record<string, number> = {};
    for (const [from, to] of pairs) received[`${from} to ${to}`] = await ping(host, from, ADDRESS[to]);
    const [after, seconds] = [await counters(), (Date.now() - start) / 1000];
    await flood.stop();
    expect(received).toEqual({
      'ann to bob': 1,
      'cat to dan': 1,
      'ann to cat': 1,
      'bob to dan': 1,
      'dan to ann': 1,
      'bob to cat': 1,
    });
    // Its meter lets 1,000 a second pass, and 1,000 at once before.
    expect(after.packetIns - before.packetIns).toBeLessThan(1000 * (seconds + 1) * 1.1 + 100);
    await host.docker('rm', '-f', 'flooder');
  });

  test('with as many routes as it may have, it still reaches others, packet by packet', async () => {
    await host.docker('plugin', 'disable', '-f', PLUGIN);
    await host.docker('plugin', 'set', PLUGIN, 'DAOLINET_MAX_ROUTES=2');
    await host.docker('plugin', 'enable', PLUGIN);
    await waitFor('the agent to be in charge', () =>
      counters().then(
        ({ datapaths }) => datapaths === 1,
        () => false, // it is starting
      ),
    );
    await silence();
    const before = await counters();
    const talking: BackgroundCommand[] = [];
    try {
      for (const to of ['bob', 'cat'] as const) talking.push(await talk(host, 'ann', ADDRESS[to]));
      expect(await ping(host, 'ann', ADDRESS.dan, '-c', '3', '-i', '0.1')).toBe(3);
      const ofAnn = (await routes()).filter((route) => route.startsWith(`${ADDRESS.ann} `));
      expect(ofAnn).toEqual([`${ADDRESS.ann} > ${ADDRESS.bob}`, `${ADDRESS.ann} > ${ADDRESS.cat}`]);
    } finally {
      for (const each of talking) await each.stop();
    }
    expect((await counters()).routesCapped).toBeGreaterThanOrEqual(before.routesCapped + 3);
    expect(await ping(host, 'cat', ADDRESS.dan)).toBe(1);
    expect(await routes()).toEqual(expect.arrayContaining(bothWays(ADDRESS.cat, ADDRESS.dan)));
  });
});
