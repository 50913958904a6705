import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import { insertEndpoint } from '../../src/directory/endpoint-operations';
import { insertNetwork } from '../../src/directory/operations';
import type { EndpointId, NetworkId } from '../../src/directory/rows';
import { NameFollower } from '../../src/driver/name-follower';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDirectory } from '../fakes/memory-directory';
import { MemoryDocker } from '../fakes/memory-docker';

const NETWORK = 'a'.repeat(64) as NetworkId;
const ENDPOINT = 'b'.repeat(64) as EndpointId;
const CONTAINER = 'c'.repeat(64);

async function setUp() {
  const clock = new ManualClock();
  const store = createMemoryDirectory();
  const docker = new MemoryDocker();
  const bridges: string[][] = [];
  let comparisons = 0;
  const gone: string[] = [];
  const follower = new NameFollower({
    docker,
    store,
    logger: silentLogger,
    clock,
    random: () => 0,
    setDockerBridges: async (names) => void bridges.push([...names]),
    onDockerBack: () => (comparisons += 1),
    onSwarmNetworkGone: (id) => void gone.push(id),
  });
  await store.transact((context) => ({
    ops: insertNetwork(context, {
      id: NETWORK,
      tenant: 'default',
      internal: false,
      gateway: parseIpv4('10.1.0.1'),
      ipam: 'docker',
      mtu: 1500,
      options: {},
      newPools: [{ cidr: parseCidr('10.1.0.0/24') }],
    }),
    result: undefined,
  }));
  await store.transact((context) => ({
    ops: insertEndpoint(context, {
      id: ENDPOINT,
      networkId: NETWORK,
      address: parseIpv4('10.1.0.5'),
      mac: parseMac('02:42:0a:01:00:05'),
      interfaceName: 'dlbbbbbbbbbbb',
    }),
    result: undefined,
  }));
  const changed = () =>
    new Promise<void>((resolve) => {
      const end = store.onChange(() => (end(), resolve()));
    });
  return { clock, store, docker, follower, bridges, changed, comparisons: () => comparisons, gone };
}

test('a container that starts gives its endpoint a name; a rename changes it', async () => {
  const { store, docker, follower, changed } = await setUp();
  follower.start();
  docker.endpoints = [
    {
      endpointId: ENDPOINT,
      networkId: NETWORK,
      containerId: CONTAINER,
      containerName: 'web',
      aliases: ['www'],
      labels: new Map(),
    },
  ];
  let change = changed();
  docker.sendContainer({ action: 'start', containerId: CONTAINER, containerName: 'web' });
  await change;
  expect(store.view.endpoint(ENDPOINT)).toMatchObject({
    containerId: CONTAINER,
    containerName: 'web',
    aliases: ['www'],
    labels: new Map(),
  });

  docker.endpoints = docker.endpoints.map((endpoint) => ({ ...endpoint, containerName: 'shop' }));
  change = changed();
  docker.sendContainer({ action: 'rename', containerId: CONTAINER, containerName: 'shop' });
  await change;
  expect(store.view.endpoint(ENDPOINT)?.containerName).toBe('shop');
  await follower.stop();
});

test('a name that could not be written is learned when the directory is back, though Docker says nothing more', async () => {
  const { clock, store, docker, follower, changed } = await setUp();
  follower.start();
  await new Promise(setImmediate);
  const names = { containerId: CONTAINER, containerName: 'web', aliases: [], labels: new Map<string, string>() };
  docker.endpoints = [{ endpointId: ENDPOINT, networkId: NETWORK, ...names }];
  let refused = 0;
  store.onTransact = () => {
    refused += 1;
    throw new DaoliError('unavailable', 'no leader');
  };
  docker.sendContainer({ action: 'start', containerId: CONTAINER, containerName: 'web' });
  while (refused === 0) await new Promise(setImmediate);
  while (clock.waiting === 0) await new Promise(setImmediate);
  store.onTransact = () => undefined;
  const change = changed();
  clock.advance(60_000);
  await change;
  expect(store.view.endpoint(ENDPOINT)?.containerName).toBe('web');
  await follower.stop();
});

test('when the directory is back, what it says of containers is compared: a later version holds more of them', async () => {
  const { store, docker, follower } = await setUp();
  follower.start();
  const endpoint = { endpointId: ENDPOINT, networkId: NETWORK, containerId: CONTAINER, containerName: 'web' };
  docker.endpoints = [{ ...endpoint, aliases: [], labels: new Map([['tier', 'web']]) }];
  follower.onDirectoryBack();
  await follower.stop();
  expect(store.view.endpoint(ENDPOINT)?.labels).toEqual(new Map([['tier', 'web']]));
});

test('each connection lists everything: network names, bridges, and endpoints of ours that Docker alone knows are passed over', async () => {
  const { store, docker, follower, bridges, changed, comparisons } = await setUp();
  docker.bridges = ['docker0', 'br-1'];
  docker.networks = [NETWORK, 'f'.repeat(64)].map((id) => ({
    id,
    name: `net-${id[0]}`,
    driver: 'daolinet',
    scope: 'local',
    internal: false,
    labels: {},
  }));
  docker.endpoints = [
    {
      endpointId: 'e'.repeat(64),
      networkId: NETWORK,
      containerId: CONTAINER,
      containerName: 'gone',
      aliases: [],
      labels: new Map(),
    },
  ];
  const change = changed();
  follower.start();
  await change;
  await follower.stop();
  expect(store.view.network(NETWORK)?.name).toBe('net-a');
  expect(bridges).toEqual([['docker0', 'br-1']]);
  expect(comparisons()).toBe(1);
});

test('a network that swarm has no more is told, and nothing is listed for it', async () => {
  const { docker, follower, gone } = await setUp();
  follower.start();
  docker.sendNetwork({ action: 'remove', networkId: 's'.repeat(25), networkName: 'demo', driver: '' });
  expect(gone).toEqual(['s'.repeat(25)]);
  await follower.stop();
});
