// What the docker command line can ask that cannot be: each is refused with a message that says what is wrong, with which
// thing, and changes nothing.
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { PLUGIN, waitFor, type Host } from '../../lab/host';
import {
  addressOf,
  getApi,
  leftovers,
  refusal,
  remove,
  serverCommand,
  startClient,
  startHostWithPeers,
  untilNamed,
} from './support/peers';

const OURS = ['--ipam-driver', 'daolinet'];

let host: Host;
let containers: string[] = [];
let networks: string[] = [];

beforeAll(async () => {
  host = await startHostWithPeers();
}, 900_000);

afterAll(() => host?.stop(), 60_000);

afterEach(async () => {
  await remove(host, [...containers, 'refused'], [...networks, 'refused']);
  containers = [];
  networks = [];
}, 120_000);

/** Makes a network whose name is known to DaoliNet, too. */
async function network(name: string, ...args: string[]): Promise<void> {
  networks.push(name);
  await host.docker('network', 'create', '-d', 'daolinet', ...args, name);
  const shown = () => getApi<{ name: string | null }[]>(host, '/v1/networks');
  await waitFor(`the name of ${name}`, async () => (await shown()).some((each) => each.name === name));
}

async function client(name: string, net: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startClient(host, name, ['--network', net, ...args]);
}

/** What is there, to see that a refused call has changed nothing. */
const state = async () => ({
  networks: await host.docker('network', 'ls', '--format', '{{.Name}}'),
  shown: await getApi(host, '/v1/networks'),
  endpoints: (await getApi<unknown[]>(host, '/v1/endpoints')).length,
});

async function refusedNetwork(...args: string[]): Promise<string> {
  const before = await state();
  const message = await refusal(host, 'network', 'create', '-d', 'daolinet', ...args, 'refused');
  expect(await state()).toEqual(before);
  return message;
}

async function refusedContainer(...args: string[]): Promise<string> {
  containers.push('refused');
  const before = await state();
  const message = await refusal(host, 'run', '-d', '--name', 'refused', ...args, ...serverCommand('refused', []));
  expect(await state()).toEqual(before);
  await host.docker('rm', '-f', 'refused');
  return message;
}

describe('networks', () => {
  test('a pool that overlaps another one, which is named', async () => {
    await network('demo', ...OURS, '--subnet', '10.50.0.0/16');
    expect(await refusedNetwork(...OURS, '--subnet', '10.50.1.0/24')).toMatch(
      /10\.50\.1\.0\/24 overlaps .*10\.50\.0\.0\/16.*network demo/,
    );
  }, 60_000);

  test("a pool of Docker's own IPAM that overlaps one of ours", async () => {
    await network('demo', ...OURS, '--subnet', '10.50.0.0/16');
    expect(await refusedNetwork('--subnet', '10.50.1.0/24')).toMatch(/10\.50\.1\.0\/24 overlaps .*10\.50\.0\.0\/16/);
  }, 60_000);

  test('two pools of one network that overlap', async () => {
    expect(await refusedNetwork(...OURS, '--subnet', '10.50.0.0/16', '--subnet', '10.50.1.0/24')).toMatch(/overlap/);
  }, 60_000);

  test.each([
    [['--subnet', '100.64.3.0/24'], '100.64.3.0/24 cannot be a subnet: it overlaps the locator range 100.64.0.0/10'],
    [['--subnet', '127.0.0.0/24'], '127.0.0.0/24 cannot be a subnet: it overlaps 127.0.0.0/8 (loopback)'],
    [['--subnet', '224.1.0.0/24'], '224.1.0.0/24 cannot be a subnet: it overlaps 224.0.0.0/4 (multicast)'],
    [['--subnet', '10.0.0.0/7'], 'cannot be a subnet: it is larger than a /8'],
    [['--subnet', '10.50.0.0/31'], '10.50.0.0/31 cannot be a subnet: it is smaller than a /30'],
  ])(
    '%j with either IPAM',
    async (args, message) => {
      expect(await refusedNetwork(...OURS, ...args)).toContain(message);
      // Docker's own IPAM may find another reason first.
      expect(await refusedNetwork(...args)).toMatch(/cannot be a subnet|No available addresses on this pool/);
    },
    60_000,
  );

  test.each([
    [['--subnet', '10.50.0.0/24', '--ip-range', '10.51.0.0/25'], /10\.51\.0\.0\/25/],
    [['--subnet', '10.50.0.0/24', '--gateway', '10.51.0.1'], /10\.51\.0\.1/],
    [['--subnet', '10.50.0.0/24', '--gateway', '10.50.0.0'], /10\.50\.0\.0/],
    [['--subnet', '10.50.0.0/24', '--aux-address', 'x=10.51.0.1'], /10\.51\.0\.1/],
    [
      ['--subnet', '10.50.0.0/24', '--gateway', '10.50.0.9', '--aux-address', 'x=10.50.0.9'],
      /10\.50\.0\.9|[Aa]ddress already in use/,
    ],
    [['--subnet', '10.50.0.300/24'], /10\.50\.0\.300/],
  ])(
    '%j, naming what is wrong',
    async (args, message) => {
      expect(await refusedNetwork(...OURS, ...args)).toMatch(message);
      expect(await refusedNetwork(...args)).toMatch(message);
    },
    60_000,
  );

  test('IPv6', async () => {
    const notYet = 'IPv6 is not supported yet: create the network without --ipv6 and IPv6 subnets';
    expect(await refusedNetwork('--ipv6', '--subnet', 'fd00:1::/64')).toContain(notYet);
    expect(await refusedNetwork(...OURS, '--ipv6', '--subnet', 'fd00:1::/64')).toContain(notYet);
  }, 60_000);

  test.each([
    [['-o', 'colour=red'], 'DaoliNet has no option -o colour'],
    [['-o', 'mtu=1e3'], '-o mtu=1e3: is not an MTU'],
    [[...OURS, '--ipam-opt', 'tennant=red'], 'DaoliNet has no option --ipam-opt tennant; it has tenant'],
    [[...OURS, '--ipam-opt', 'tenant=a/b'], '--ipam-opt tenant=a/b: is not a name'],
    [
      [...OURS, '--ipam-opt', 'tenant=red', '-o', 'tenant=blue', '--subnet', '10.50.0.0/24'],
      'was requested for tenant red',
    ],
    [['--ipam-driver', 'null'], 'has no subnet'],
  ])(
    '%j is refused by name',
    async (args, message) => {
      expect(await refusedNetwork(...args)).toContain(message);
    },
    60_000,
  );

  test('after each refusal the same subnet can still be had', async () => {
    await refusedNetwork(...OURS, '--subnet', '10.50.0.0/24', '-o', 'colour=red');
    await refusedNetwork('--subnet', '10.50.0.0/24', '-o', 'colour=red');
    await network('demo', ...OURS, '--subnet', '10.50.0.0/24');
    await network('second', '--subnet', '10.51.0.0/24');
  }, 60_000);
});

describe.each([
  ["Docker's own IPAM", [] as string[]],
  ['our IPAM', OURS],
])('addresses, with %s', (_, ipam) => {
  const isOurs = ipam.length > 0;

  test('a pool that is used up', async () => {
    await network('tiny', ...ipam, '--subnet', '10.52.0.0/30');
    await client('only', 'tiny');
    const message = await refusedContainer('--network', 'tiny');
    expect(message).toMatch(
      isOurs ? /pool .*10\.52\.0\.0\/30 .*is exhausted: all 2 addresses are taken/ : /no available IPv4 addresses/,
    );
  }, 60_000);

  test('an address outside the subnet', async () => {
    await network('demo', ...ipam, '--subnet', '10.52.0.0/24');
    const message = await refusedContainer('--network', 'demo', '--ip', '10.53.0.9');
    // Docker itself looks first.
    expect(message).toMatch(/10\.53\.0\.9|no configured subnet or ip-range contains? the IP address 10\.53\.0\.9/);
  }, 60_000);

  test('an address in use, by whom', async () => {
    await network('demo', ...ipam, '--subnet', '10.52.0.0/24');
    await client('owner', 'demo', '--ip', '10.52.0.9');
    await untilNamed(host, 'owner');
    const message = await refusedContainer('--network', 'demo', '--ip', '10.52.0.9');
    expect(message).toMatch(
      isOurs ? /10\.52\.0\.9 is in use by container owner in network demo/ : /Address already in use/,
    );
  }, 60_000);

  test.each([
    ['the gateway', '10.52.0.1', /10\.52\.0\.1 is the gateway of pool .*10\.52\.0\.0\/24 \(network demo\)/],
    [
      'an auxiliary address',
      '10.52.0.5',
      /10\.52\.0\.5 is an auxiliary address of pool .*10\.52\.0\.0\/24 \(network demo\)/,
    ],
    ['the network address', '10.52.0.0', /10\.52\.0\.0 is the network address of pool/],
    ['the broadcast address', '10.52.0.255', /10\.52\.0\.255 is the broadcast address of pool/],
  ])(
    '%s as a container’s',
    async (_, address, ours) => {
      await network('demo', ...ipam, '--subnet', '10.52.0.0/24', '--aux-address', 'printer=10.52.0.5');
      const message = await refusedContainer('--network', 'demo', '--ip', address);
      expect(message).toMatch(isOurs ? ours : /Address already in use|cannot be an interface's/);
    },
    60_000,
  );

  test('a refused container leaves its address free', async () => {
    await network('demo', ...ipam, '--subnet', '10.52.0.0/30');
    await refusedContainer('--network', 'demo', '-p', '192.0.2.99:80:80');
    await client('next', 'demo');
    expect(await addressOf(host, 'next', 'demo')).toBe('10.52.0.2');
    expect((await leftovers(host)).endpoints).toBe(1);
  }, 60_000);

  test('an IPv6 address', async () => {
    await network('demo', ...ipam, '--subnet', '10.52.0.0/24');
    await refusedContainer('--network', 'demo', '--ip6', 'fd00::9');
  }, 60_000);
});

test('a MAC address in use, by whom; in another network it is free', async () => {
  await network('demo', ...OURS, '--subnet', '10.52.0.0/24');
  await network('other', ...OURS, '--subnet', '10.53.0.0/24');
  const mac = ['--mac-address', '02:00:00:00:00:07'];
  await client('owner', 'demo', ...mac);
  await untilNamed(host, 'owner');
  expect(await refusedContainer('--network', 'demo', ...mac)).toContain(
    'MAC address 02:00:00:00:00:07 is in use by container owner in network demo',
  );
  await client('twin', 'other', ...mac);
}, 60_000);

test.each(['01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', '00:00:00:00:00:00'])(
  'the MAC address %s, which no interface can have',
  async (mac) => {
    await network('demo', ...OURS, '--subnet', '10.52.0.0/24');
    expect(await refusedContainer('--network', 'demo', '--mac-address', mac)).toMatch(
      /Interface\.MacAddress: ".*" is (a multicast MAC address: an interface cannot have it|the zero MAC address)/,
    );
  },
  60_000,
);

describe('settings', () => {
  const DEFAULTS = JSON.parse(readFileSync(path.join(__dirname, '../../config.json'), 'utf8')) as {
    env: { name: string; value: string }[];
  };

  /** Sets these, and all others to what they are by default. */
  async function set(...pairs: string[]): Promise<void> {
    await host.docker('plugin', 'disable', '-f', PLUGIN);
    const defaults = DEFAULTS.env.map(({ name, value }) => `${name}=${value}`);
    await host.docker('plugin', 'set', PLUGIN, ...defaults, ...pairs);
    await host.docker('plugin', 'enable', PLUGIN);
  }

  const refused = () => refusal(host, 'network', 'create', '-d', 'daolinet', '--subnet', '10.52.0.0/24', 'refused');

  test.each([
    ['DAOLINET_IDLE_TIMEOUT', '0', 'is not a whole number of seconds from 1 to 65535'],
    ['DAOLINET_LOCATORS', '100.64.0.0', 'is not an IPv4 prefix (as in 10.128.0.0/9)'],
    ['DAOLINET_LOCATORS', '100.64.0.0/30', 'is not a prefix of /10 to /22'],
    ['DAOLINET_LOG_LEVEL', 'loud', 'is not one of'],
    ['DAOLINET_DEFAULT_POOLS', '10.0.0.0/30', 'is not a prefix of /8 to /24'],
    ['DAOLINET_MTU', '12', 'is not a whole number of bytes from 576 to 9216'],
    ['DAOLINET_MAX_ROUTES', '0', 'is not a whole number of routes from 1 to 65535'],
    ['DAOLINET_PACKET_IN_RATE', 'many', 'is not a whole number of packets a second from 1 to 100000'],
    ['DAOLINET_BRIDGE', 'br int', 'is not an interface name'],
    ['DAOLINET_DATAPATH', 'fast', 'is not one of auto, system, netdev'],
    ['DAOLINET_OVS', 'mine', 'is not one of auto, host, plugin'],
  ])(
    '%s=%s is named to whoever uses the plugin, and in the log',
    async (name, value, message) => {
      await set(`${name}=${value}`);
      const said = await refused();
      expect(said).toContain(`wrong setting: ${name}: "${value}" ${message}`);
      expect(said).toContain('change it with docker plugin set');
      const log = await host.exec('tail', ['-n', '30', '/var/log/daolinet/dockerd.log']);
      expect(log).toContain(`wrong setting: ${name}: `);
    },
    60_000,
  );

  test('several wrong ones are all named, and with right ones it works again', async () => {
    await set('DAOLINET_MTU=12', 'DAOLINET_IDLE_TIMEOUT=never');
    const said = await refused();
    expect(said).toContain('DAOLINET_MTU: "12"');
    expect(said).toContain('DAOLINET_IDLE_TIMEOUT: "never"');
    await set();
    await network('demo', ...OURS, '--subnet', '10.52.0.0/24');
  }, 60_000);

  test('one that does not exist is refused by Docker', async () => {
    await host.docker('plugin', 'disable', '-f', PLUGIN);
    expect(await refusal(host, 'plugin', 'set', PLUGIN, 'DAOLINET_COLOUR=red')).toContain('DAOLINET_COLOUR');
    await host.docker('plugin', 'enable', PLUGIN);
  }, 60_000);

  test('a locator range that a route of the host is in the way of is named, until the route is gone', async () => {
    await host.exec('ip', ['link', 'add', 'tail0', 'type', 'veth', 'peer', 'name', 'tail1']);
    await host.exec('ip', ['link', 'set', 'tail0', 'up']);
    await host.exec('ip', ['route', 'add', '100.64.0.0/10', 'dev', 'tail0']);
    await set();
    expect(await refused()).toMatch(
      /the locator block 100\.64\.0\.0\/24 overlaps the host's route to 100\.64\.0\.0\/10 by tail0: choose another range/,
    );
    await host.exec('ip', ['link', 'del', 'tail0']);
    await host.untilReady();
    await network('demo', ...OURS, '--subnet', '10.52.0.0/24');
  }, 60_000);
});
