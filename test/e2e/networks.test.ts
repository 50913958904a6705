// Networks as `docker network create` makes them: subnets, gateways, ranges, options, both IPAM drivers and both names of
// the driver. Each is proved by containers that talk.
import { type Host, IMAGE } from '../../lab/host';
import {
  addressOf,
  answers,
  ask,
  getApi,
  leftovers,
  ON_HOST,
  ping,
  refusal,
  remove,
  startClient,
  startHostWithPeers,
  startServer,
} from './support/peers';

interface ShownNetwork {
  readonly name: string;
  readonly tenant: string;
  readonly subnets: string[];
  readonly ipam: string;
}

let host: Host;
let containers: string[] = [];
let networks: string[] = [];

beforeAll(async () => {
  host = await startHostWithPeers();
}, 900_000);

afterAll(() => host?.stop(), 60_000);

afterEach(async () => {
  await remove(host, containers, networks);
  containers = [];
  networks = [];
}, 120_000);

async function network(name: string, ...args: string[]): Promise<void> {
  networks.push(name);
  await host.docker('network', 'create', '-d', 'daolinet', ...args, name);
}

async function server(name: string, net: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startServer(host, name, ['80/tcp', '53/udp'], ['--network', net, ...args]);
}

async function client(name: string, net: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startClient(host, name, ['--network', net, ...args]);
}

const routeOf = (container: string): Promise<string> => host.docker('exec', container, 'ip', 'route');

describe.each([
  ["Docker's own IPAM", [] as string[]],
  ['--ipam-driver daolinet', ['--ipam-driver', 'daolinet']],
  ['--ipam-driver daolinet/daolinet:latest', ['--ipam-driver', 'daolinet/daolinet:latest']],
])('with %s', (_, ipam) => {
  test('a network without --subnet gets one, and its containers talk', async () => {
    await network('demo', ...ipam);
    await server('web', 'demo');
    await client('app', 'demo');
    const address = await addressOf(host, 'app', 'demo');
    expect(
      await answers({ tcp: ask(host, 'app', 'web:80'), udp: ask(host, 'app', 'web:53', { protocol: 'udp' }) }),
    ).toEqual({
      tcp: `web ${address}`,
      udp: `web ${address}`,
    });
    if (ipam.length > 0) expect(address).toMatch(/^10\.128\.0\./);
  }, 120_000);

  test('two networks without --subnet do not overlap', async () => {
    await network('one', ...ipam);
    await network('two', ...ipam);
    const shown = (await getApi<ShownNetwork[]>(host, '/v1/networks')).flatMap(({ subnets }) => subnets);
    expect(new Set(shown).size).toBe(2);
  }, 60_000);

  test('--subnet, --gateway, --ip-range and --aux-address are kept to', async () => {
    await network(
      'demo',
      ...ipam,
      ...['--subnet', '10.66.0.0/16', '--gateway', '10.66.9.9'],
      ...['--ip-range', '10.66.5.0/30', '--aux-address', 'printer=10.66.5.2'],
    );
    await server('web', 'demo');
    await client('app', 'demo');
    const given = [await addressOf(host, 'web', 'demo'), await addressOf(host, 'app', 'demo')];
    for (const address of given) expect(address).toMatch(/^10\.66\.5\.[0-3]$/);
    expect(given).not.toContain('10.66.5.2');
    expect(await routeOf('app')).toContain('default via 10.66.9.9');
    expect(await ping(host, 'app', '10.66.9.9')).toBe(1);
    expect(await ask(host, 'app', `${given[0]}:80`)).toBe(`web ${given[1]}`);
    const shown = JSON.parse(await host.docker('network', 'inspect', '--format', '{{json .IPAM.Config}}', 'demo'));
    expect(shown).toEqual([
      {
        Subnet: '10.66.0.0/16',
        IPRange: '10.66.5.0/30',
        Gateway: '10.66.9.9',
        AuxiliaryAddresses: { printer: '10.66.5.2' },
      },
    ]);
  }, 120_000);

  test('a removed network leaves nothing, and its subnet can be used again', async () => {
    for (const name of ['first', 'second']) {
      await network(name, ...ipam, '--subnet', '10.67.0.0/24');
      await server('web', name, '--ip', '10.67.0.50');
      await host.docker('rm', '-f', 'web');
      await host.docker('network', 'rm', name);
      expect(await getApi(host, '/v1/networks')).toEqual([]);
    }
    expect(await leftovers(host)).toMatchObject({ ports: [], endpoints: 0 });
  }, 120_000);

  test('--internal: containers talk to one another, and to nobody else', async () => {
    await network('inner', ...ipam, '--internal', '--subnet', '10.68.0.0/24');
    await server('web', 'inner', '-p', '8088:80');
    await client('app', 'inner');
    expect(await routeOf('app')).not.toContain('default');
    expect(await ask(host, 'app', 'web:80')).toBe(`web ${await addressOf(host, 'app', 'inner')}`);
    const outward = { timeoutMs: 1500 };
    expect(
      await answers({
        outside: ask(host, 'app', '198.51.100.1:80', outward),
        'the host': ask(host, 'app', '198.51.100.10:80', outward),
        'the host by its locator': ask(host, 'app', '100.64.0.1:80', outward),
        'published port': ask(host, ON_HOST, '127.0.0.1:8088', outward),
      }),
    ).toEqual({
      outside: 'ENETUNREACH',
      'the host': 'ENETUNREACH',
      'the host by its locator': 'ENETUNREACH',
      'published port': 'ECONNREFUSED',
    });
    // Not even with a route of their own.
    await host.inNetworkOf('app', 'ip', 'route', 'add', 'default', 'via', '10.68.0.1');
    expect(
      await answers({
        outside: ask(host, 'app', '198.51.100.1:80', outward),
        'the host': ask(host, 'app', '198.51.100.10:80', outward),
      }),
    ).toEqual({
      outside: expect.stringMatching(/timeout|EHOSTUNREACH|ENETUNREACH/),
      'the host': expect.stringMatching(/timeout|EHOSTUNREACH|ENETUNREACH/),
    });
  }, 120_000);
});

describe.each(['daolinet', 'daolinet/daolinet:latest'])('-d %s', (driver) => {
  test('names the driver', async () => {
    networks.push('named');
    await host.docker('network', 'create', '-d', driver, '--subnet', '10.69.0.0/24', 'named');
    expect(await host.docker('network', 'inspect', '--format', '{{.Driver}}', 'named')).toBe(driver);
    await server('web', 'named');
    await client('app', 'named');
    expect(await ask(host, 'app', 'web:80')).toBe('web 10.69.0.3');
  }, 120_000);
});

test('networks of both driver names share nothing but the host', async () => {
  await host.docker('network', 'create', '-d', 'daolinet/daolinet:latest', '--subnet', '10.70.0.0/24', 'long');
  networks.push('long');
  await network('short', '--subnet', '10.71.0.0/24');
  await server('web', 'long', '--ip', '10.70.0.9');
  await client('app', 'short');
  expect(await ask(host, 'app', '10.70.0.9:80', { timeoutMs: 1500 })).toMatch(/timeout|EHOSTUNREACH/);
}, 120_000);

test('two tenants use the same subnet at the same time', async () => {
  for (const tenant of ['red', 'blue']) {
    await network(
      tenant,
      ...['--ipam-driver', 'daolinet', '--ipam-opt', `tenant=${tenant}`, '-o', `tenant=${tenant}`],
      ...['--subnet', '10.1.0.0/24'],
    );
    await server(`${tenant}-a`, tenant, '--ip', '10.1.0.10');
    await client(`${tenant}-b`, tenant, '--ip', '10.1.0.11');
  }
  expect(await answers({ red: ask(host, 'red-b', '10.1.0.10:80'), blue: ask(host, 'blue-b', '10.1.0.10:80') })).toEqual(
    { red: 'red-a 10.1.0.11', blue: 'blue-a 10.1.0.11' },
  );
}, 120_000);

test("-o tenant names a tenant with Docker's own IPAM too", async () => {
  await network('red', '-o', 'tenant=red', '--subnet', '10.1.0.0/24');
  const [shown] = await getApi<ShownNetwork[]>(host, '/v1/networks');
  expect(shown).toMatchObject({ tenant: 'red', subnets: ['10.1.0.0/24'], ipam: 'docker' });
}, 60_000);

test('a network of several subnets: containers of all of them talk', async () => {
  await network('wide', '--subnet', '10.72.0.0/24', '--subnet', '10.73.0.0/24', '--ipam-driver', 'daolinet');
  await server('web', 'wide', '--ip', '10.72.0.10');
  await server('app', 'wide', '--ip', '10.73.0.10');
  expect(await answers({ down: ask(host, 'web', '10.73.0.10:80'), up: ask(host, 'app', '10.72.0.10:80') })).toEqual({
    down: 'app 10.72.0.10',
    up: 'web 10.73.0.10',
  });
}, 120_000);

describe('-o', () => {
  test.each(['mtu', 'com.docker.network.driver.mtu'])(
    '%s is the MTU of container interfaces',
    async (option) => {
      await network('small', '-o', `${option}=1400`, '--subnet', '10.74.0.0/24');
      await server('web', 'small');
      await client('app', 'small');
      expect(await host.docker('exec', 'app', 'cat', '/sys/class/net/eth0/mtu')).toBe('1400');
      expect(await ask(host, 'app', 'web:80', { bytes: 100_000 })).toBe('web 10.74.0.3');
      expect(await ping(host, 'app', 'web', '-s', '3000')).toBe(1);
    },
    120_000,
  );

  test('the MTU is 1500 unless something else is said', async () => {
    await network('demo');
    await client('web', 'demo');
    expect(await host.docker('exec', 'web', 'cat', '/sys/class/net/eth0/mtu')).toBe('1500');
  }, 60_000);

  test('container_iface_prefix names the interfaces', async () => {
    await network('prefixed', '-o', 'com.docker.network.container_iface_prefix=lan');
    await client('web', 'prefixed');
    expect(await host.docker('exec', 'web', 'ls', '/sys/class/net')).toMatch(/\blan0\b/);
  }, 60_000);

  test.each([
    [['-o', 'mtuu=1400'], 'DaoliNet has no option -o mtuu; it has tenant'],
    [['-o', 'mtu=12'], '-o mtu=12: is not an MTU from 576 to 65535 bytes'],
    [['-o', 'tenant=a b'], '-o tenant=a b: is not a name'],
    [['--ipam-driver', 'daolinet', '--ipam-opt', 'tenannt=red'], 'DaoliNet has no option --ipam-opt tenannt'],
  ])('%j is refused by name', async (args, message) => {
    expect(await refusal(host, 'network', 'create', '-d', 'daolinet', ...args, 'refused')).toContain(message);
    expect(await host.docker('network', 'ls', '--quiet', '--filter', 'name=refused')).toBe('');
    expect(await getApi(host, '/v1/networks')).toEqual([]);
  });
});

test('a network in use cannot be removed', async () => {
  await network('demo');
  await client('web', 'demo');
  expect(await refusal(host, 'network', 'rm', 'demo')).toContain('has active endpoints');
  await server('app', 'demo');
  expect(await ask(host, 'web', 'app:80')).toMatch(/^app /);
}, 60_000);

test('no docker_gwbridge appeared through all of this', async () => {
  expect(await host.docker('network', 'ls', '--format', '{{.Name}}')).not.toContain('docker_gwbridge');
  expect(await host.exec('ip', ['-o', 'link'])).not.toContain('docker_gwbridge');
  expect(await host.docker('run', '--rm', IMAGE, 'true')).toBe('');
});
