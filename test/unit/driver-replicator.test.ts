// A network of one host on all of them: two hosts with a driver and a Docker each, over one directory.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { renameNetwork } from '../../src/directory/operations';
import { NETWORK_OPTION, type NetworkId, type PoolId } from '../../src/directory/rows';
import type { NetworkSpec } from '../../src/docker/docker';
import { Deadline } from '../../src/driver/deadline';
import { NetworkDriver } from '../../src/driver/network-driver';
import { Replicator } from '../../src/driver/replicator';
import { Ipam } from '../../src/ipam/ipam';
import { isRow, remove } from '../../src/ovsdb/operations';
import { MemoryFlows } from '../fakes/driver-world';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory } from '../fakes/memory-directory';
import { MemoryDocker } from '../fakes/memory-docker';

const ORIGINAL = 'a'.repeat(64) as NetworkId;
const SUBNET = parseCidr('10.1.0.0/24');
const GATEWAY = parseIpv4('10.1.0.1');

/** One host, as far as networks go. Its Docker calls IPAM and driver as the real one does. */
class TestHost {
  readonly docker = new MemoryDocker();
  readonly clock = new ManualClock();
  readonly store;
  readonly ipam;
  readonly driver;
  readonly replicator;
  readonly flows = new MemoryFlows();
  readonly warnings: string[] = [];

  constructor(name: string, database: ReturnType<typeof createMemoryDatabase>, extent: 'everything' | 'needed') {
    this.store = createMemoryDirectory({ host: name, database, extent });
    const locatorRange = parseCidr('100.64.0.0/10');
    const host = { hostRoutes: () => Promise.resolve([]) };
    this.ipam = new Ipam({ store: this.store, host, defaultPools: parseCidr('10.128.0.0/9'), locatorRange });
    const parts = {
      store: this.store,
      flows: this.flows,
      settings: { mtu: 1500, locatorRange, checksumOffload: false },
    };
    this.driver = new NetworkDriver(parts as never, this.clock, silentLogger);
    const logger = {
      ...silentLogger,
      warn: (_: string, fields?: object) => void this.warnings.push(JSON.stringify(fields)),
    };
    this.replicator = new Replicator({
      store: this.store,
      docker: this.docker,
      clock: this.clock,
      logger,
      random: () => 0,
    });
    this.docker.onCreate = (id, spec) => this.create(id, spec);
    this.docker.onRemove = (id) => this.call('DeleteNetwork', { NetworkID: id });
  }

  async call(method: string, body: object): Promise<void> {
    await this.driver.handlers[`NetworkDriver.${method}`]!(body, new Deadline(this.clock, 8000));
  }

  /** What Docker does for a network with our IPAM. */
  private async create(id: string, { subnets, options, ipamOptions, internal }: NetworkSpec): Promise<void> {
    const networkId = ipamOptions[NETWORK_OPTION] as NetworkId | undefined;
    const data = [];
    for (const { subnet, gateway = '' } of subnets) {
      const request = { tenant: 'default', cidr: parseCidr(subnet), range: undefined, networkId };
      const { poolId } = await this.ipam.requestPool(request);
      const address = parseIpv4(gateway);
      await this.ipam.requestAddress({ poolId, address, use: 'gateway', mac: undefined });
      data.push({ AddressSpace: 'daolinet', Pool: subnet, Gateway: `${gateway}/24` });
    }
    const Options = { 'com.docker.network.generic': options, 'com.docker.network.internal': internal };
    await this.call('CreateNetwork', { NetworkID: id, Options, IPv4Data: data, IPv6Data: [] });
  }

  name(name: string): Promise<void> {
    return this.store.transact((context) => ({ ops: renameNetwork(context, ORIGINAL, name), result: undefined }));
  }

  /** An address, as for a container that starts. */
  async address(): Promise<number> {
    const poolId = 'default/10.1.0.0/24' as PoolId;
    return (
      (await this.ipam.requestAddress({ poolId, address: undefined, use: 'endpoint', mac: undefined })).address & 255
    );
  }
}

let first: TestHost;
let second: TestHost;
beforeEach(() => {
  const database = createMemoryDatabase();
  [first, second] = [new TestHost('h1', database, 'everything'), new TestHost('h2', database, 'needed')];
});
afterEach(() => Promise.all([first.replicator.stop(), second.replicator.stop()]));

/** The first host's Docker makes the network, with its own IPAM or with ours. */
async function make(ipam: 'docker' | 'daolinet'): Promise<void> {
  if (ipam === 'daolinet') {
    const { poolId } = await first.ipam.requestPool({
      tenant: 'default',
      cidr: SUBNET,
      range: undefined,
      networkId: undefined,
    });
    await first.ipam.requestAddress({ poolId, address: GATEWAY, use: 'gateway', mac: undefined });
  }
  const AddressSpace = ipam === 'docker' ? 'LocalDefault' : 'daolinet';
  const IPv4Data = [{ AddressSpace, Pool: '10.1.0.0/24', Gateway: '10.1.0.1/24' }];
  const Options = { 'com.docker.network.generic': { mtu: '1400' } };
  await first.call('CreateNetwork', { NetworkID: ORIGINAL, Options, IPv4Data, IPv6Data: [] });
  first.docker.networks.push({
    id: ORIGINAL,
    name: 'demo',
    driver: 'daolinet',
    scope: 'local',
    internal: false,
    labels: {},
  });
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const start = () => [first, second].forEach(({ replicator }) => replicator.start());

describe.each(['docker', 'daolinet'] as const)('a network with the IPAM of %s', (ipam) => {
  beforeEach(async () => {
    start();
    await make(ipam);
    await settled();
    expect(second.docker.networks).toEqual([]);
    await first.name('demo');
    await settled();
  });

  test('is made on the other host once its name is known, and only once', async () => {
    expect(second.docker.networks).toMatchObject([{ name: 'demo' }]);
    const [{ id } = { id: '' }] = second.docker.networks;
    expect(second.store.view.networkOfDocker(id)?.id).toBe(ORIGINAL);
    expect([...second.store.view.networks()]).toHaveLength(1);
    expect([...second.store.view.networks()]).toMatchObject([{ mtu: 1400 }]);
    second.replicator.trigger();
    await settled();
    expect([first.docker.networks.length, second.docker.networks.length]).toEqual([1, 1]);
  });

  test('gives out each address once, the other host from the top where Docker counts from the bottom', async () => {
    const given = [await second.address(), await second.address()];
    expect(given).toEqual(ipam === 'docker' ? [254, 253] : [2, 3]);
    if (ipam === 'daolinet') expect(await first.address()).toBe(4);
    // Not before the pool was known whole.
    expect(second.store.followed).toEqual(Array(2).fill({ pool: 'default/10.1.0.0/24' }));
  });

  test('goes from the other host when it is removed here, and the directory has nothing of it', async () => {
    await first.docker.removeNetwork(ORIGINAL);
    if (ipam === 'daolinet') await first.ipam.releasePool('default/10.1.0.0/24' as PoolId);
    await settled();
    expect([first.docker.networks, second.docker.networks]).toEqual([[], []]);
    expect([...first.store.view.networks(), ...first.store.view.pools(), ...first.store.view.tenants()]).toEqual([]);
  });

  test('goes from here when it is removed on the other host', async () => {
    await second.docker.removeNetwork(second.docker.networks[0]!.id);
    await settled();
    expect([first.docker.networks, second.docker.networks]).toEqual([[], []]);
    expect([...first.store.view.networks(), ...first.store.view.pools()]).toEqual([]);
  });
});

test('a name that the host has for something else is told, never touched, and the network comes when it is free', async () => {
  second.docker.networks.push({ id: 'x', name: 'demo', driver: 'bridge', scope: 'local', internal: false, labels: {} });
  start();
  await make('docker');
  await first.name('demo');
  await settled();
  expect(second.docker.networks.map(({ id }) => id)).toEqual(['x']);
  expect(second.warnings).toEqual([expect.stringContaining('this host has another network demo')]);
  expect([...second.replicator.problems.keys()]).toEqual([ORIGINAL]);
  second.docker.networks = [];
  second.clock.advance(60_000);
  await settled();
  expect(second.docker.networks).toMatchObject([{ name: 'demo' }]);
  expect(second.replicator.problems.size).toBe(0);
});

test('a Docker that is away gets it when it is back', async () => {
  second.docker.setAvailable(false);
  start();
  await make('docker');
  await first.name('demo');
  await settled();
  expect(second.docker.networks).toEqual([]);
  second.docker.setAvailable(true);
  second.replicator.trigger();
  await settled();
  expect(second.docker.networks).toHaveLength(1);
});

test('the same subnet without being that network is refused, naming its owner; so is a network that is not there', async () => {
  await make('docker');
  await first.name('demo');
  const body = (options: object) => ({
    NetworkID: 'b'.repeat(64),
    Options: { 'com.docker.network.generic': options },
    IPv4Data: [{ AddressSpace: 'LocalDefault', Pool: '10.1.0.0/24', Gateway: '10.1.0.1/24' }],
    IPv6Data: [],
  });
  await expect(second.call('CreateNetwork', body({}))).rejects.toThrow(
    '10.1.0.0/24 overlaps pool default/10.1.0.0/24 (network demo) in tenant default',
  );
  await expect(second.call('CreateNetwork', body({ [NETWORK_OPTION]: 'c'.repeat(64) }))).rejects.toThrow(
    'there is no such network',
  );
});

test('networks of before hosts were written down are noted as this host’s', async () => {
  await make('docker');
  const [replica] = first.store.view.replicasOf(ORIGINAL);
  first.store.database.transact([remove('NetworkReplica', isRow(replica!.uuid))]);
  expect([...first.store.view.replicasOf(ORIGINAL)]).toEqual([]);
  first.replicator.start();
  await settled();
  expect([...first.store.view.replicasOf(ORIGINAL)]).toMatchObject([{ host: 'h1', dockerId: ORIGINAL }]);
});
