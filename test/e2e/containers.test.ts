// Containers as users run them: addresses and names of their own, several networks, connecting and disconnecting while they
// run, every way to stop and start them, many at once, and a Compose file.
import { mkdirSync, writeFileSync } from 'node:fs';
import * as path from 'node:path';
import { HOST_ADDRESS, IMAGE, INTERNET_ADDRESS, OUTSIDE_ADDRESS, waitFor, type Host } from '../../lab/host';
import {
  addressOf,
  answers,
  ask,
  getApi,
  leftovers,
  OUTSIDE,
  ping,
  remove,
  run,
  serverCommand,
  serveAt,
  startClient,
  startHostWithPeers,
  untilNamed,
  startServer,
  waitForServer,
} from './support/peers';

const UDP = { protocol: 'udp' } as const;
const NOTHING_COMES = { timeoutMs: 1500 };
const NONE_LEFT = { links: [], ports: [], endpoints: 0 };
const MANY = 20;

let host: Host;
let containers: string[] = [];

beforeAll(async () => {
  host = await startHostWithPeers();
  await serveAt(host, OUTSIDE, ['80/tcp', `53/udp/${OUTSIDE_ADDRESS}`, `53/udp/${INTERNET_ADDRESS}`]);
  await host.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.60.0.0/24', 'demo');
  await host.docker(
    ...['network', 'create', '-d', 'daolinet', '--ipam-driver', 'daolinet', '--subnet', '10.61.0.0/24', 'other'],
  );
}, 900_000);

afterAll(() => host?.stop(), 60_000);

afterEach(async () => {
  await remove(host, containers, []);
  containers = [];
}, 120_000);

async function server(name: string, network: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startServer(host, name, ['80/tcp', '53/udp'], ['--network', network, ...args]);
}

async function client(name: string, network: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startClient(host, name, ['--network', network, ...args]);
}

const interfacesOf = async (name: string): Promise<string[]> =>
  (await host.docker('exec', name, 'ls', '/sys/class/net')).split(/\s+/).filter((link) => link.startsWith('eth'));

const defaultRouteOf = async (name: string): Promise<string> =>
  /default via (\S+)/.exec(await host.docker('exec', name, 'ip', 'route'))?.[1] ?? 'none';

describe.each(['demo', 'other'])('on network %s', (network) => {
  const prefix = network === 'demo' ? '10.60.0' : '10.61.0';

  test('--ip and --mac-address are what the container has, and what others see', async () => {
    await server('web', network, '--ip', `${prefix}.50`, '--mac-address', '02:00:00:00:00:50');
    await client('app', network, '--ip', `${prefix}.51`);
    expect(await host.docker('exec', 'web', 'cat', '/sys/class/net/eth0/address')).toBe('02:00:00:00:00:50');
    expect(await host.docker('exec', 'web', 'ip', '-4', 'addr', 'show', 'eth0')).toContain(`inet ${prefix}.50/24`);
    expect(await ask(host, 'app', `${prefix}.50:80`)).toBe(`web ${prefix}.51`);
    const [shown] = (await getApi<{ address: string; mac: string }[]>(host, '/v1/endpoints')).filter(
      ({ address }) => address === `${prefix}.50`,
    );
    expect(shown?.mac).toBe('02:00:00:00:00:50');
  }, 60_000);

  test('names, aliases and ids are found by Docker’s DNS', async () => {
    await server('web', network, '--network-alias', 'service', '--network-alias', 'backend');
    await client('app', network);
    const from = await addressOf(host, 'app', network);
    const id = (await host.docker('inspect', '--format', '{{.Id}}', 'web')).slice(0, 12);
    for (const name of ['web', 'service', 'backend', id]) {
      expect([name, await ask(host, 'app', `${name}:80`)]).toEqual([name, `web ${from}`]);
    }
    const address = await addressOf(host, 'web', network);
    const names = await run(host, 'app', ['busybox', 'nslookup', address]);
    expect(names).toContain(`web.${network}`);
  }, 60_000);

  test('TCP, UDP and ICMP cross, in bulk and in fragments', async () => {
    await server('web', network);
    await client('app', network);
    const from = `web ${await addressOf(host, 'app', network)}`;
    expect(await ask(host, 'app', 'web:80', { bytes: 10_000_000, timeoutMs: 30_000 })).toBe(from);
    for (const bytes of [1472, 1473, 8000, 65_000]) {
      expect([bytes, await ask(host, 'app', 'web:53', { ...UDP, bytes })]).toEqual([bytes, from]);
      expect([bytes, await ping(host, 'app', 'web', '-s', String(bytes))]).toEqual([bytes, 1]);
    }
  }, 90_000);

  test('stop, start, restart, kill, pause: reachable when it runs, unreachable at once when not', async () => {
    const address = `${prefix}.50`;
    await server('web', network, '--ip', address);
    await client('app', network, '--ip', `${prefix}.51`);
    const reached = `web ${prefix}.51`;
    expect(await ask(host, 'app', 'web:80')).toBe(reached);
    await host.docker('stop', '-t', '5', 'web');
    expect(await ask(host, 'app', `${address}:80`)).toBe('EHOSTUNREACH');
    await host.docker('start', 'web');
    await waitForServer(host, 'web', 2);
    expect(await ask(host, 'app', 'web:80')).toBe(reached);
    await host.docker('restart', '-t', '5', 'web');
    await waitForServer(host, 'web', 3);
    expect(await ask(host, 'app', 'web:80')).toBe(reached);
    await host.docker('kill', 'web');
    await waitFor('the endpoint to go', async () => (await leftovers(host)).endpoints === 1);
    expect(await ask(host, 'app', `${address}:80`)).toBe('EHOSTUNREACH');
    await host.docker('start', 'web');
    await waitForServer(host, 'web', 4);
    await host.docker('pause', 'web');
    expect(await ping(host, 'app', address)).toBe(1); // its network lives on
    await host.docker('unpause', 'web');
    expect(await ask(host, 'app', 'web:80')).toBe(reached);
    await host.docker('rm', '-f', 'web');
    expect(await ask(host, 'app', `${address}:80`)).toBe('EHOSTUNREACH');
    await host.docker('rm', '-f', 'app');
    await waitFor(
      'nothing to be left',
      async () => JSON.stringify(await leftovers(host)) === JSON.stringify(NONE_LEFT),
    );
  }, 180_000);

  test(`${MANY} containers start at once, reach one another, and go at once`, async () => {
    const names = Array.from({ length: MANY }, (_, index) => `node${index}`);
    containers.push(...names);
    await Promise.all(
      names.map((name) => host.docker('run', '-d', '--name', name, '--network', network, IMAGE, 'sleep', '3600')),
    );
    const addresses = await Promise.all(names.map((name) => addressOf(host, name, network)));
    expect(new Set(addresses).size).toBe(MANY);
    const heard = await Promise.all(
      names.map(async (name, index) => {
        const others = [1, 7].map((step) => names[(index + step) % MANY] ?? '');
        return Promise.all(others.map((other) => ping(host, name, other)));
      }),
    );
    expect(heard.flat()).toEqual(Array(2 * MANY).fill(1));
    expect(await leftovers(host)).toMatchObject({ endpoints: MANY });
    await Promise.all(names.map((name) => host.docker('rm', '-f', name)));
    await waitFor(
      'nothing to be left',
      async () => JSON.stringify(await leftovers(host)) === JSON.stringify(NONE_LEFT),
    );
  }, 180_000);
});

test('connect and disconnect while the container runs', async () => {
  await server('web', 'other', '--ip', '10.61.0.50');
  await client('app', 'demo');
  expect(await ask(host, 'app', '10.61.0.50:80', NOTHING_COMES)).toMatch(/timeout|EHOSTUNREACH/);

  await host.docker('network', 'connect', '--ip', '10.61.0.60', '--alias', 'visitor', 'other', 'app');
  expect(await interfacesOf('app')).toHaveLength(2);
  expect(await ask(host, 'app', 'web:80')).toBe('web 10.61.0.60');
  expect(await ping(host, 'web', 'visitor')).toBe(1);

  await host.docker('network', 'disconnect', 'other', 'app');
  expect(await interfacesOf('app')).toHaveLength(1);
  expect(await ask(host, 'app', '10.61.0.50:80', NOTHING_COMES)).toMatch(/timeout|EHOSTUNREACH/);
  expect(await ask(host, 'web', '10.61.0.60:80')).toBe('EHOSTUNREACH');
  expect((await leftovers(host)).endpoints).toBe(2);

  await host.docker('network', 'connect', 'other', 'app');
  expect(await ask(host, 'app', 'web:80')).toBe(`web ${await addressOf(host, 'app', 'other')}`);
}, 90_000);

test('a container of several networks talks in each, and its gateway moves with them', async () => {
  await host.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.62.0.0/24', 'above');
  await server('web', 'demo');
  await server('shop', 'other');
  await client('app', 'demo');
  await host.docker('network', 'connect', 'other', 'app');
  const everywhere = async () =>
    answers({
      demo: ask(host, 'app', 'web:80'),
      other: ask(host, 'app', 'shop:80'),
      outside: ask(host, 'app', `${INTERNET_ADDRESS}:80`),
      'outside, UDP': ask(host, 'app', `${INTERNET_ADDRESS}:53`, UDP),
    });
  const all = {
    demo: `web ${await addressOf(host, 'app', 'demo')}`,
    other: `shop ${await addressOf(host, 'app', 'other')}`,
    outside: `outside ${HOST_ADDRESS}`,
    'outside, UDP': `outside ${HOST_ADDRESS}`,
  };
  expect(await defaultRouteOf('app')).toBe('10.60.0.1');
  expect(await everywhere()).toEqual(all);

  // The first by name has the gateway.
  await host.docker('network', 'connect', 'above', 'app');
  expect(await defaultRouteOf('app')).toBe('10.62.0.1');
  expect(await everywhere()).toEqual(all);

  await host.docker('network', 'disconnect', 'above', 'app');
  expect(await defaultRouteOf('app')).toBe('10.60.0.1');
  expect(await everywhere()).toEqual(all);

  await host.docker('network', 'disconnect', 'demo', 'app');
  expect(await defaultRouteOf('app')).toBe('10.61.0.1');
  expect(
    await answers({ other: ask(host, 'app', 'shop:80'), outside: ask(host, 'app', `${INTERNET_ADDRESS}:80`) }),
  ).toEqual({ other: all.other, outside: all.outside });
  await host.docker('network', 'rm', 'above');
}, 120_000);

test("a network of DaoliNet and Docker's bridge on one container", async () => {
  await host.docker('network', 'create', 'plain');
  await server('web', 'demo');
  await client('app', 'plain');
  await host.docker('network', 'connect', 'demo', 'app');
  expect(
    await answers({ demo: ask(host, 'app', 'web:80'), outside: ask(host, 'app', `${OUTSIDE_ADDRESS}:80`) }),
  ).toEqual({ demo: `web ${await addressOf(host, 'app', 'demo')}`, outside: `outside ${HOST_ADDRESS}` });
  await host.docker('rm', '-f', 'app');
  await host.docker('network', 'rm', 'plain');
}, 60_000);

test('connected while it is stopped, a container has the network when it starts', async () => {
  await server('web', 'other');
  containers.push('app');
  await host.docker('create', '--name', 'app', '--network', 'demo', ...serverCommand('app', ['80/tcp']));
  await host.docker('network', 'connect', 'other', 'app');
  expect((await leftovers(host)).endpoints).toBe(1);
  await host.docker('start', 'app');
  await waitForServer(host, 'app');
  expect(await ask(host, 'app', 'web:80')).toBe(`web ${await addressOf(host, 'app', 'other')}`);
}, 60_000);

test('a renamed container is found by its new name', async () => {
  await server('web', 'demo');
  await client('app', 'demo');
  await host.docker('rename', 'web', 'renamed');
  containers.push('renamed');
  expect(await ask(host, 'app', 'renamed:80')).toBe(`web ${await addressOf(host, 'app', 'demo')}`);
  await untilNamed(host, 'renamed');
}, 60_000);

test('a container that dies is started again by its restart policy, with its network', async () => {
  await server('web', 'demo', '--ip', '10.60.0.50', '--restart', 'always');
  await client('app', 'demo', '--ip', '10.60.0.51');
  // It may end with the container, before it has said so.
  await host.tryDocker('exec', 'web', 'busybox', 'kill', '-TERM', '1');
  await waitForServer(host, 'web', 2);
  expect(await ask(host, 'app', 'web:80')).toBe('web 10.60.0.51');
}, 60_000);

test('one network namespace for two containers: --network container:', async () => {
  await server('web', 'demo', '--ip', '10.60.0.50');
  await client('app', 'demo', '--ip', '10.60.0.51');
  containers.push('side');
  await host.docker('run', '-d', '--name', 'side', '--network', 'container:web', ...serverCommand('side', ['81/tcp']));
  await waitForServer(host, 'side');
  expect(await ask(host, 'app', '10.60.0.50:81')).toBe('side 10.60.0.51');
}, 60_000);

describe('Compose', () => {
  const FOLDER = '/root/shop';
  const compose = (...args: string[]) =>
    host.exec('docker-compose', ['--project-directory', FOLDER, '-f', `${FOLDER}/docker-compose.yml`, ...args], {
      timeoutMs: 120_000,
    });

  /** What serverCommand gives, in the words of a Compose file. */
  function service(name: string, rest: object): object {
    const [mounts, image, command] = split(serverCommand(name, ['80/tcp']));
    return { image, command, volumes: mounts, stop_grace_period: '2s', ...rest };
  }

  function split(args: readonly string[]): [string[], string, string[]] {
    const at = args.indexOf(IMAGE);
    // A Compose file replaces $NAME.
    const command = args.slice(at + 1).map((text) => text.replaceAll('$', '$$$$'));
    return [args.slice(0, at).filter((text) => text !== '-v'), IMAGE, command];
  }

  test('networks, aliases, addresses, ports, scaling: up, and down again', async () => {
    const file = {
      version: '2.4',
      services: {
        web: service('web', {
          networks: { front: { aliases: ['www'] }, back: {} },
          ports: ['8090:80'],
          depends_on: ['store'],
        }),
        store: service('store', { networks: { back: { ipv4_address: '10.64.0.20' } } }),
        app: service('app', { networks: ['front'] }),
      },
      networks: {
        front: { driver: 'daolinet' },
        back: {
          driver: 'daolinet',
          internal: true,
          driver_opts: { mtu: '1400' },
          ipam: { driver: 'daolinet', config: [{ subnet: '10.64.0.0/24' }] },
        },
      },
    };
    mkdirSync(host.path(FOLDER), { recursive: true });
    writeFileSync(path.join(host.path(FOLDER), 'docker-compose.yml'), JSON.stringify(file));

    await compose('up', '-d', '--scale', 'app=2');
    const inside = async (name: string, index = 1) =>
      (await compose('ps', '-q', name)).split('\n')[index - 1]?.slice(0, 12) ?? '';
    const [web, app] = [await inside('web'), await inside('app')];
    for (const id of [web, app, await inside('store')]) await waitForServer(host, id);
    const back = await addressOf(host, web, 'shop_back');
    expect(
      await answers({
        'web by service': ask(host, app, 'web:80').then((text) => text.split(' ')[0] ?? ''),
        'web by alias': ask(host, app, 'www:80').then((text) => text.split(' ')[0] ?? ''),
        'store from web': ask(host, web, 'store:80'),
        'store from app': ask(host, app, '10.64.0.20:80', NOTHING_COMES).then((text) =>
          text.replace(/timeout/, 'EHOSTUNREACH'),
        ),
        'web from outside': ask(host, OUTSIDE, `${HOST_ADDRESS}:8090`),
        'outside from app': ask(host, app, `${INTERNET_ADDRESS}:80`),
      }),
    ).toEqual({
      'web by service': 'web',
      'web by alias': 'web',
      'store from web': `store ${back}`,
      'store from app': 'EHOSTUNREACH',
      'web from outside': `web ${OUTSIDE_ADDRESS}`,
      'outside from app': `outside ${HOST_ADDRESS}`,
    });
    // Docker's DNS gives the addresses of both instances.
    const found = await run(host, web, ['busybox', 'nslookup', 'app']);
    expect(new Set(found.match(/Address: (?!127)\S+/g)).size).toBe(2);

    await compose('restart', '-t', '2', 'store');
    await waitForServer(host, await inside('store'), 2);
    expect(await ask(host, web, 'store:80')).toBe(`store ${back}`);

    await compose('down', '-t', '2');
    expect(await host.docker('network', 'ls', '--quiet', '--filter', 'name=shop')).toBe('');
    await waitFor(
      'nothing to be left',
      async () => JSON.stringify(await leftovers(host)) === JSON.stringify(NONE_LEFT),
    );
  }, 240_000);
});

test('no docker_gwbridge appeared through all of this', async () => {
  expect(await host.docker('network', 'ls', '--format', '{{.Name}}')).not.toContain('docker_gwbridge');
}, 60_000);
