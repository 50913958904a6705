// Networks of Docker's swarm mode: two hosts with a driver, a Docker and a part in one swarm each, over one directory.
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import { NETWORK_OPTION, type NetworkId, type PoolId } from '../../src/directory/rows';
import { Deadline } from '../../src/driver/deadline';
import { NetworkDriver } from '../../src/driver/network-driver';
import { Replicator } from '../../src/driver/replicator';
import { SwarmNetworks } from '../../src/driver/swarm-networks';
import type { WantedSwarmNetwork } from '../../src/driver/swarm-plan';
import { Ipam } from '../../src/ipam/ipam';
import { MemoryFlows } from '../fakes/driver-world';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory } from '../fakes/memory-directory';
import { MemoryDocker } from '../fakes/memory-docker';
import { MemorySwarm } from '../fakes/memory-swarm';

const SUBNET = parseCidr('10.9.0.0/24');
const GATEWAY = parseIpv4('10.9.0.1');
const POOL = 'default/10.9.0.0/24' as PoolId;
const DEMO: WantedSwarmNetwork = {
  name: 'demo',
  subnet: SUBNET,
  gateway: undefined,
  internal: false,
  attachable: true,
  options: {},
};
const CONFIGURATION = 'demo-config-0000';
const node = (name: string, rest: object = {}) => ({ name, address: '', isReady: true, isDrained: false, ...rest });

class TestHost {
  readonly docker;
  readonly clock = new ManualClock();
  readonly store;
  readonly ipam;
  readonly driver;
  readonly replicator;
  readonly swarm;
  readonly warnings: string[] = [];

  constructor(
    name: string,
    role: 'manager' | 'worker' | 'alone',
    swarm: MemorySwarm,
    database: ReturnType<typeof createMemoryDatabase>,
  ) {
    this.docker = new MemoryDocker(`${name}-`);
    this.store = createMemoryDirectory({ host: name, database });
    const locatorRange = parseCidr('100.64.0.0/10');
    const defaultPools = parseCidr('10.128.0.0/9');
    const host = { hostRoutes: () => Promise.resolve([]) };
    this.ipam = new Ipam({ store: this.store, host, defaultPools, locatorRange });
    const settings = { mtu: 1500, locatorRange, checksumOffload: false, defaultPools };
    const flows = new MemoryFlows();
    this.driver = new NetworkDriver({ store: this.store, flows, settings } as never, this.clock, silentLogger);
    const logger = { ...silentLogger, warn: (text: string) => void this.warnings.push(text) };
    const parts = { store: this.store, clock: this.clock, logger };
    this.replicator = new Replicator({ ...parts, docker: this.docker, random: () => 0 });
    this.swarm = new SwarmNetworks({
      ...parts,
      docker: swarm.dockerOf(this.docker, role),
      host,
      settings,
      random: () => 0,
    });
    this.replicator.start();
    this.swarm.start();
  }

  async call(method: string, body: object): Promise<void> {
    await this.driver.handlers[`NetworkDriver.${method}`]!(body, new Deadline(this.clock, 8000));
  }

  /** What Docker does on a node for the first task there: with the configuration's IPAM and options, under swarm's id. */
  async firstTask(id: string): Promise<void> {
    const mark = { [NETWORK_OPTION]: id };
    const networkId = id as NetworkId;
    const { poolId } = await this.ipam.requestPool({ tenant: 'default', cidr: SUBNET, range: undefined, networkId });
    await this.ipam.requestAddress({ poolId, address: GATEWAY, use: 'gateway', mac: undefined });
    const IPv4Data = [{ AddressSpace: 'daolinet', Pool: '10.9.0.0/24', Gateway: '10.9.0.1/24' }];
    const Options = { 'com.docker.network.generic': mark, 'com.docker.network.internal': false };
    await this.call('CreateNetwork', { NetworkID: id, Options, IPv4Data, IPv6Data: [] });
  }

  /** What Docker does when the last task of a node has ended. */
  async lastTask(id: string): Promise<void> {
    await this.ipam.releaseAddress(POOL, GATEWAY);
    await this.ipam.releasePool(POOL);
    await this.call('DeleteNetwork', { NetworkID: id });
  }

  async address(last: number): Promise<number> {
    const mac = parseMac(`02:00:00:00:00:${last.toString(16).padStart(2, '0')}`);
    const given = await this.ipam.requestAddress({ poolId: POOL, address: undefined, use: 'endpoint', mac });
    return given.address & 255;
  }

  get names(): string[] {
    return this.docker.networks.map(({ name }) => name);
  }
}

let swarm: MemorySwarm;
let first: TestHost;
let second: TestHost;
beforeEach(() => {
  swarm = new MemorySwarm();
  swarm.nodes = [node('h1'), node('h2')];
  const database = createMemoryDatabase();
  [first, second] = [new TestHost('h1', 'manager', swarm, database), new TestHost('h2', 'worker', swarm, database)];
});
afterEach(() => Promise.all([first, second].flatMap((host) => [host.replicator.stop(), host.swarm.stop()])));

async function settled(): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Everything of networks and addresses that the directory has. */
const rows = () => {
  const { view } = first.store;
  const pools = [...view.pools()];
  return [...view.networks(), ...pools, ...pools.flatMap(({ id }) => [...view.addressesOf(id)]), ...view.tenants()];
};
const addresses = () => [...first.store.view.addressesOf(POOL)];

test('one command: swarm has it, and each host its configuration, marked as that network’s', async () => {
  const made = await first.swarm.create({ ...DEMO, options: { mtu: '1400' } });
  expect(made).toMatchObject({
    name: 'demo',
    subnet: '10.9.0.0/24',
    gateway: '10.9.0.1',
    hosts: ['h1', 'h2'],
    away: [],
  });
  expect([...swarm.networks]).toEqual([
    [made.id, { name: 'demo', configuration: CONFIGURATION, internal: false, attachable: true }],
  ]);
  for (const { docker } of [first, second]) {
    const spec = [...docker.specs.values()].at(-1);
    expect(spec).toEqual({
      name: CONFIGURATION,
      internal: false,
      options: { mtu: '1400', [NETWORK_OPTION]: made.id },
      ipamOptions: { [NETWORK_OPTION]: made.id },
      subnets: [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1' }],
      isConfiguration: true,
    });
  }
  expect(addresses()).toEqual([]);
});

test('without a subnet a free one is taken, and the next network has another', async () => {
  const open = { ...DEMO, subnet: undefined };
  expect(await first.swarm.create(open)).toMatchObject({ subnet: '10.128.0.0/24', gateway: '10.128.0.1' });
  expect(await first.swarm.create({ ...open, name: 'more' })).toMatchObject({ subnet: '10.128.1.0/24' });
});

test('tasks on both nodes have addresses of one pool; the last to go from a node leaves the network there', async () => {
  const { id } = await first.swarm.create(DEMO);
  await first.firstTask(id);
  await second.firstTask(id);
  expect([await first.address(1), await second.address(2), await first.address(3)]).toEqual([2, 3, 4]);
  for (const [host, last] of [
    [first, 2],
    [second, 3],
    [first, 4],
  ] as const) {
    await host.ipam.releaseAddress(POOL, parseIpv4(`10.9.0.${last}`));
  }
  await first.lastTask(id);
  await second.lastTask(id);
  // The gateway's is the network's: whoever comes next does not get it.
  expect(addresses()).toMatchObject([{ use: 'gateway', address: GATEWAY, holders: [] }]);
  await settled();
  expect([first.names, second.names]).toEqual([[CONFIGURATION], [CONFIGURATION]]);
  expect([...first.store.view.networks()]).toMatchObject([{ id, isRemoved: false }]);
  // And it begins again.
  await second.firstTask(id);
  expect(await second.address(5)).toBe(2);
});

describe('removal', () => {
  let id: string;
  beforeEach(async () => {
    ({ id } = await first.swarm.create(DEMO));
  });

  test('takes it from the swarm and from every host, and the directory has nothing of it', async () => {
    expect(await first.swarm.remove('demo', false)).toEqual({ left: [] });
    await settled();
    expect([first.names, second.names, [...swarm.networks], rows()]).toEqual([[], [], [], []]);
  });

  test('is refused while services use it, and for what is no such network', async () => {
    swarm.used.add('demo');
    await expect(first.swarm.remove('demo', false)).rejects.toThrow('is in use');
    await expect(first.swarm.remove('other', false)).rejects.toThrow('no DaoliNet network of a swarm; there are demo');
    await expect(second.swarm.remove('demo', false)).rejects.toThrow(
      'no manager of its swarm: run it on one that is (192.0.2.1)',
    );
    expect(first.store.view.network(id as NetworkId)?.isRemoved).toBe(false);
  });

  test('by Docker itself is noticed by a manager, by and by', async () => {
    swarm.networks.delete(id);
    second.swarm.look(); // a worker knows nothing of it
    await settled();
    expect(first.names).toEqual([CONFIGURATION]);
    first.clock.advance(30_000);
    await settled();
    expect([first.names, second.names, rows()]).toEqual([[], [], []]);
  });

  test('that Docker tells is followed at once, and nothing but a network of a swarm goes by it', async () => {
    first.swarm.gone('x');
    await settled();
    expect(first.names).toEqual([CONFIGURATION]);
    first.swarm.gone(id);
    first.swarm.gone(id);
    await settled();
    expect([first.names, second.names, rows()]).toEqual([[], [], []]);
  });

  test('waits on a host whose Docker is away', async () => {
    second.docker.setAvailable(false);
    const removed = first.swarm.remove('demo', false);
    await settled();
    first.clock.advance(10_000);
    expect(await removed).toEqual({ left: ['h2'] });
    await expect(first.swarm.create(DEMO)).rejects.toThrow('network demo is being removed, and a host has it still');
    second.docker.setAvailable(true);
    second.replicator.trigger();
    await settled();
    expect(rows()).toEqual([]);
  });

  test('waits for Docker to let go, but not for ever where it counts wrong: nothing uses it, and the directory is rid of it', async () => {
    const keep = () => Promise.reject(new DaoliError('conflict', 'Docker refuses it: configuration network is in use'));
    second.docker.removeNetwork = keep;
    const shown = { id, name: 'demo', driver: 'daolinet', scope: 'swarm', internal: false, labels: {} };
    second.docker.networks.push(shown); // the network itself, whose last task is ending
    const removed = first.swarm.remove('demo', false);
    for (let retry = 0; retry < 3; retry += 1) {
      await settled();
      second.clock.advance(60_000);
    }
    await settled();
    expect([...first.store.view.networks()]).toMatchObject([{ id, isRemoved: true }]);
    second.docker.networks = second.docker.networks.filter((network) => network !== shown);
    second.clock.advance(60_000);
    expect(await removed).toEqual({ left: [] });
    expect(rows()).toEqual([]);
    expect(second.warnings.at(-1)).toContain('Docker keeps a network that nothing is made from any more');
    // The name is free for another.
    second.docker.networks = second.docker.networks.map((network) => ({ ...network, name: 'demo-config-ffff' }));
    expect(await first.swarm.create(DEMO)).toMatchObject({ hosts: ['h1', 'h2'] });
  });

  test('is not refused once only: Docker lets go a moment after the last task', async () => {
    const removeNetwork = second.docker.removeNetwork.bind(second.docker);
    second.docker.removeNetwork = () => {
      second.docker.removeNetwork = removeNetwork;
      return Promise.reject(new DaoliError('conflict', 'Docker refuses it: configuration network is in use'));
    };
    const removed = first.swarm.remove('demo', false);
    await settled();
    second.clock.advance(60_000);
    expect(await removed).toEqual({ left: [] });
    expect([second.names, second.warnings]).toEqual([[], []]);
  });

  test('of one whose swarm is there no more has to be forced; a manager of another swarm does not touch it', async () => {
    swarm.id = 'swarm-2';
    swarm.networks.clear();
    first.swarm.look();
    await settled();
    await expect(first.swarm.remove('demo', false)).rejects.toThrow('of another swarm than this host');
    await first.swarm.remove('demo', true);
    await settled();
    expect(rows()).toEqual([]);
  });
});

describe('a host', () => {
  test('that is away gets it when it is back', async () => {
    swarm.nodes = [node('h1'), node('h2', { isReady: false })];
    second.docker.setAvailable(false);
    expect(await first.swarm.create(DEMO)).toMatchObject({ hosts: ['h1'], away: ['h2'] });
    second.docker.setAvailable(true);
    second.replicator.trigger();
    await settled();
    expect(second.names).toEqual([CONFIGURATION]);
  });

  test('whose configuration somebody removed gets it again', async () => {
    const { id } = await first.swarm.create(DEMO);
    second.docker.networks = [];
    await second.driver.networks.forget(id as NetworkId, new Deadline(second.clock, 8000), 'lost');
    await settled();
    expect(second.names).toEqual([CONFIGURATION]);
  });

  test('whose agent ended before it was written down takes up what it has made', async () => {
    const made = await first.swarm.create(DEMO);
    const [{ id } = { id: '' }] = second.docker.networks;
    await second.driver.networks.forget(made.id as NetworkId, new Deadline(second.clock, 8000), 'lost');
    await settled();
    expect(second.store.view.replicaOn('h2', made.id as NetworkId)?.dockerId).toBe(id);
    expect(second.names).toEqual([CONFIGURATION]);
  });

  test.each(['demo', CONFIGURATION])(
    'that has another network %s says so to the manager; nothing stays behind',
    async (name) => {
      const other = { id: 'x', name, driver: 'bridge', scope: 'local', internal: false, labels: {} };
      second.docker.networks.push(other);
      await expect(first.swarm.create(DEMO)).rejects.toThrow(
        `network demo cannot be on every node: host h2 says: this host has another network ${name}: remove or rename one of the two`,
      );
      await settled();
      expect([first.names, second.names, [...swarm.networks], rows()]).toEqual([[], [name], [], []]);
    },
  );

  test('that does not answer is waited for, and named', async () => {
    second.docker.setAvailable(false);
    const making = first.swarm.create(DEMO);
    const said = expect(making).rejects.toThrow('h2 did not make its part of network demo within 20 s');
    await settled();
    first.clock.advance(20_000);
    await said;
    await settled();
    expect([first.names, [...swarm.networks], rows()]).toEqual([[], [], []]);
  });
});

describe('is refused', () => {
  test.each([
    [{ name: 'a b' }, '"a b" is no name of a network'],
    [{ options: { colour: 'red' } }, 'DaoliNet has no option -o colour'],
    [{ options: { [NETWORK_OPTION]: 'x' } }, 'is for agents of DaoliNet alone'],
    [{ gateway: parseIpv4('10.8.0.1') }, '--gateway 10.8.0.1 is not in 10.9.0.0/24'],
    [{ gateway: parseIpv4('10.9.0.255') }, '--gateway 10.9.0.255 is the first or last address of 10.9.0.0/24'],
    [{ subnet: parseCidr('100.64.0.0/24') }, 'overlaps the locator range'],
  ])('%j', async (change, message) => {
    await expect(first.swarm.create({ ...DEMO, ...change })).rejects.toThrow(message);
    expect([[...swarm.networks], rows()]).toEqual([[], []]);
  });

  test('a name or a subnet that is taken', async () => {
    await first.swarm.create(DEMO);
    await expect(first.swarm.create(DEMO)).rejects.toThrow('network demo is there already');
    const twin = { ...DEMO, name: 'twin' };
    await expect(first.swarm.create(twin)).rejects.toThrow(
      '10.9.0.0/24 overlaps pool default/10.9.0.0/24 (network demo)',
    );
    expect(await first.swarm.create({ ...twin, options: { tenant: 'red' } })).toMatchObject({ name: 'twin' });
  });

  test('a node that is no host of the cluster, unless no task is placed there', async () => {
    swarm.nodes.push(node('h3', { address: '192.0.2.3' }));
    await expect(first.swarm.create(DEMO)).rejects.toThrow(
      'swarm node h3 (192.0.2.3) is no host of this DaoliNet cluster',
    );
    swarm.nodes[2] = node('h3', { isDrained: true });
    await first.swarm.create(DEMO);
  });

  test('on a worker, and without a swarm', async () => {
    await expect(second.swarm.create(DEMO)).rejects.toThrow(
      'this host is no manager of its swarm: run it on one that is (192.0.2.1)',
    );
    const third = new TestHost('h3', 'alone', swarm, createMemoryDatabase());
    await expect(third.swarm.create(DEMO)).rejects.toThrow('Docker of this host is in no swarm');
    await Promise.all([third.replicator.stop(), third.swarm.stop()]);
  });
});
