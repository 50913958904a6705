// The client of the Docker engine against recorded answers of a real one (20.10.24), and against one that fails in every way.
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import type { DockerHandlers } from '../../src/docker/docker';
import { Engine } from '../../src/docker/engine';
import recorded from '../fakes/docker-20.10.json';
import { FakeEngine } from '../fakes/fake-engine';
import { ManualClock } from '../fakes/manual-clock';

const NETWORK = 'ee232bf012db837e58caf3fa60da558c887fee7a0cc16e5cfee4548a6d935bef';
const BRIDGE = 'ad8a775397a7cf0b13862216dfe8c6dab91c036005b1a82be2b7a7b9eddbf1ed';
const WEB = '6373d6fa99f7ec202c5c8f91090c52a41469d0a9a5272f31d8c2a9e69c906cb4';
const DATA = '18ed99f6b3c2ce45321ed05b8be14336d7e58a654dfae37e9e91d2849f924b27';
const OFF = '238d15609b6d343545fcdfd67f12df7bcdc27f3d28e68733e2c428102a0d0b9b';

let engine: FakeEngine;
let clock: ManualClock;
let docker: Engine;
let warnings: unknown[];

beforeEach(async () => {
  engine = new FakeEngine();
  clock = new ManualClock();
  warnings = [];
  await engine.start();
  // Docker's bridge plays our driver: the answers do not differ but for its name.
  docker = new Engine({
    socketPath: engine.socketPath,
    drivers: ['bridge', 'daolinet'],
    clock,
    logger: { ...silentLogger, warn: (_, fields) => void warnings.push(fields) },
    random: () => 0.999,
  });
});

afterEach(() => engine.remove());

/** Waits until something is so, without a time of its own: the test's limit is the limit. */
async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
}

class Listener implements DockerHandlers {
  readonly heard: unknown[] = [];
  onConnected = (): void => void this.heard.push('connected');
  onDisconnected = (): void => void this.heard.push('disconnected');
  onContainer = (event: object): void => void this.heard.push(event);
  onNetwork = (event: object): void => void this.heard.push(event);
}

describe('listing', () => {
  test('networks of our drivers only', async () => {
    const networks = await docker.listNetworks();
    expect(networks.map(({ name }) => name)).toEqual(['bridge', 'demo']);
    expect(networks[1]).toEqual({
      id: NETWORK,
      name: 'demo',
      driver: 'bridge',
      scope: 'local',
      internal: true,
      labels: { a: 'b' },
    });
  });

  test('subnets of networks that have our IPAM, whatever their driver', async () => {
    const [bridge, ...others] = engine.answers['/networks'] as object[];
    const config = [{ Subnet: '10.1.0.0/24', Gateway: '10.1.0.1' }, { Subnet: '10.2.0.0/24' }];
    engine.answers['/networks'] = [{ ...bridge, IPAM: { Driver: 'bridge', Options: null, Config: config } }, ...others];
    expect(await docker.listOwnSubnets()).toEqual(['10.1.0.0/24', '10.2.0.0/24']);
    engine.answers['/networks'] = others.map((network) => ({
      ...network,
      IPAM: { Driver: 'default', Config: config },
    }));
    expect(await docker.listOwnSubnets()).toEqual([]);
  });

  test('endpoints, with names and aliases as they are after a rename', async () => {
    const endpoints = await docker.listEndpoints();
    expect(endpoints).toEqual(
      [
        {
          endpointId: '38823ee2d326f662150efee567957d92625a25e950e61c5e16d09cfb1065e129',
          networkId: NETWORK,
          containerId: DATA,
          containerName: 'data',
          aliases: ['dbx', '18ed99f6b3c2'],
          labels: new Map(),
          interface: { address: '10.5.0.2', mac: '02:42:0a:05:00:02', sandbox: '/var/run/docker/netns/c227578c520d' },
        },
        {
          endpointId: '52e2e4c48205bc5199a5d6923a1dc0769adc2cf45bf1045bef4fc02204c33da1',
          networkId: NETWORK,
          containerId: WEB,
          containerName: 'web',
          aliases: ['www', '6373d6fa99f7'],
          labels: new Map(),
          interface: { address: '10.5.0.9', mac: '02:42:0a:05:00:09', sandbox: '/var/run/docker/netns/f669e21286b5' },
        },
      ].filter(({ networkId }) => networkId === NETWORK),
    );
  });

  test('endpoints of one container, on every network; none of one that is stopped or unknown', async () => {
    const networks = (await docker.listContainerEndpoints(DATA)).map(({ networkId }) => networkId);
    expect(networks).toEqual([BRIDGE, NETWORK]);
    expect(await docker.listContainerEndpoints(OFF)).toEqual([]);
    expect(await docker.listContainerEndpoints('0'.repeat(64))).toEqual([]);
  });

  test("Docker's bridges by the names of their interfaces", async () => {
    expect(await docker.listBridges()).toEqual(['br-ee232bf012db', 'docker0']);
  });

  test('an endpoint that no container has', async () => {
    engine.answers[`/networks/${NETWORK}`] = {
      ...(engine.answers[`/networks/${NETWORK}`] as object),
      Containers: { 'ep-1234': { Name: 'web', EndpointID: '1234' } },
    };
    engine.answers[`/networks/${BRIDGE}`] = { ...(engine.answers['/networks'] as object[])[2] };
    expect(await docker.listEndpoints()).toEqual([
      { endpointId: '1234', networkId: NETWORK, aliases: [], labels: new Map() },
    ]);
  });

  test('of labels beyond all measure, those that fit are known, uncut', async () => {
    const path = `/containers/${WEB}/json`;
    const container = engine.answers[path] as { Config?: object };
    const many = Array.from({ length: 200 }, (_, i) => [`key${String(i).padStart(3, '0')}`, 'x'] as const);
    const service = { 'com.docker.swarm.service.name': 's'.repeat(513) };
    const labels = { long: 'x'.repeat(513), full: 'x'.repeat(512), ...Object.fromEntries(many), ...service };
    container.Config = { Labels: labels };
    const [endpoint] = await docker.listContainerEndpoints(WEB);
    expect(endpoint?.service).toBeUndefined();
    expect([...endpoint!.labels.keys()]).toEqual(['full', ...many.slice(0, 127).map(([key]) => key)]);
    expect(warnings).toEqual([expect.objectContaining({ container: WEB, leftOut: 75 })]);
  });
});

describe('an engine that is not well: no list rather than a short one', () => {
  test.each(['listNetworks', 'listEndpoints', 'listBridges', 'listOwnSubnets'] as const)(
    '%s while it is away',
    async (method) => {
      await engine.stop();
      await expect(docker[method]()).rejects.toMatchObject({ code: 'unavailable' });
    },
  );

  test('one network of many cannot be read', async () => {
    engine.faults.set(`/networks/${NETWORK}`, 500);
    await expect(docker.listEndpoints()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('one container of many cannot be read', async () => {
    engine.faults.set(`/containers/${WEB}/json`, 500);
    await expect(docker.listEndpoints()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('an answer of another shape', async () => {
    engine.answers['/networks'] = [{ Id: 7, Driver: 'bridge' }];
    await expect(docker.listNetworks()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('a network and a container that go away between two questions are not missed', async () => {
    engine.faults.set(`/networks/${BRIDGE}`, 404).set(`/containers/${WEB}/json`, 404);
    const names = (await docker.listEndpoints()).map(({ containerName }) => containerName);
    expect(names).toEqual(['data', 'web']);
  });

  test.each([`/networks`, `/networks/${NETWORK}`, `/containers/${WEB}/json`])('silence at %s', async (path) => {
    engine.faults.set(path, 'hang');
    const listing = docker.listEndpoints();
    await until(() => engine.requests.includes(path));
    clock.advance(5000);
    await expect(listing).rejects.toThrow('the Docker engine: did not answer within 5 s');
    expect(clock.waiting).toBe(0);
  });
});

describe('events', () => {
  test('those of containers and networks, of every driver, in order', async () => {
    const listener = new Listener();
    const watch = docker.watch(listener);
    await until(() => engine.listeners === 1);
    const lines = recorded.events.map((event) => `${JSON.stringify(event)}\n`).join('');
    // Cut anywhere, in the middle of a character too.
    const bytes = Buffer.from(lines.replaceAll('"web"', '"wéb"'));
    for (let i = 0; i < bytes.length; i += 97) engine.send(bytes.subarray(i, i + 97));
    await until(() => listener.heard.length === 17);
    expect(listener.heard.slice(0, 4)).toEqual([
      'connected',
      { action: 'create', networkId: NETWORK, networkName: 'demo', driver: 'bridge' },
      { action: 'connect', networkId: NETWORK, networkName: 'demo', driver: 'bridge', containerId: WEB },
      { action: 'start', containerId: WEB, containerName: 'wéb' },
    ]);
    expect(listener.heard).toContainEqual({ action: 'rename', containerId: DATA, containerName: 'data' });
    watch.stop();
    await until(() => engine.listeners === 0);
    expect(clock.waiting).toBe(0);
  });

  test('a restart of the engine: heard of, connected again, and nothing after stop', async () => {
    const listener = new Listener();
    const watch = docker.watch(listener);
    await until(() => engine.listeners === 1 && listener.heard.length === 1);
    await engine.stop();
    await until(() => listener.heard.length === 2);
    for (const [tries, pauseMs] of [200, 400, 800].entries()) {
      clock.advance(pauseMs);
      await until(() => listener.heard.length === 3 + tries);
    }
    await engine.start();
    clock.advance(1600);
    await until(() => listener.heard.at(-1) === 'connected');
    expect(listener.heard).toEqual(['connected', ...Array<string>(4).fill('disconnected'), 'connected']);
    watch.stop();
    await engine.stop();
    clock.advance(60_000);
    expect(listener.heard).toHaveLength(6);
    expect(clock.waiting).toBe(0);
  });

  test('the pause grows while the engine is away', async () => {
    await engine.stop();
    const listener = new Listener();
    const watch = docker.watch(listener);
    await until(() => listener.heard.length === 1);
    clock.advance(199);
    expect(clock.waiting).toBe(1);
    clock.advance(1);
    await until(() => listener.heard.length === 2);
    clock.advance(399);
    expect(listener.heard).toHaveLength(2);
    clock.advance(1);
    await until(() => listener.heard.length === 3);
    watch.stop();
  });

  test('an engine that accepts and says nothing is given up and tried again', async () => {
    engine.faults.set('/events', 'hang');
    const listener = new Listener();
    const watch = docker.watch(listener);
    await until(() => engine.requests.includes('/events'));
    clock.advance(5000);
    await until(() => listener.heard.length === 1);
    engine.faults.clear();
    clock.advance(1000);
    await until(() => listener.heard.at(-1) === 'connected');
    watch.stop();
  });

  test('lines that are no events, and handlers that throw, do no harm', async () => {
    const listener = new Listener();
    let thrown = 0;
    listener.onContainer = () => {
      thrown += 1;
      throw new Error('a bug');
    };
    const watch = docker.watch(listener);
    await until(() => engine.listeners === 1);
    engine.send('\n\nnonsense\n{}\n[]\nnull\n{"Type":"container","Action":"start"}\n');
    engine.send('{"Type":"container","Action":"exec_start: sh","Actor":{"ID":"1","Attributes":null}}\n');
    engine.send('{"Type":"container","Action":"start","Actor":{"ID":"1","Attributes":null}}\n');
    engine.send('{"Type":"network","Action":"destroy","Actor":{"ID":"2","Attributes":{"name":"n","type":"t"}}}\n');
    await until(() => listener.heard.length === 2);
    expect(thrown).toBe(1);
    watch.stop();
  });

  test('a line without an end is given up', async () => {
    const listener = new Listener();
    const watch = docker.watch(listener);
    await until(() => engine.listeners === 1);
    engine.send('x'.repeat(2 ** 20 + 1));
    await until(() => listener.heard.includes('disconnected'));
    watch.stop();
  });
});

describe('swarm mode', () => {
  const node = (Hostname: string, Addr: string, rest: object = {}) => ({
    Spec: { Role: 'worker', Availability: 'active' },
    Description: { Hostname },
    Status: { State: 'ready', Addr },
    ...rest,
  });

  test.each([
    [{ LocalNodeState: 'inactive', ControlAvailable: false, RemoteManagers: null }, [false, undefined, []]],
    [
      { LocalNodeState: 'active', ControlAvailable: false, RemoteManagers: [{ NodeID: 'x', Addr: '192.0.2.1:2377' }] },
      [true, undefined, ['192.0.2.1']],
    ],
    [{ LocalNodeState: 'active', ControlAvailable: true, Cluster: { ID: 'swarm' } }, [true, 'swarm', []]],
  ])('where this host stands: %j', async (Swarm, [isNode, managed, managers]) => {
    engine.answers['/info'] = { ID: 'x', Swarm };
    expect(await docker.readSwarm()).toEqual({ isNode, managed, managers });
  });

  test('its nodes, a manager that was never told its address among them', async () => {
    engine.answers['/nodes'] = [
      node('h1', '0.0.0.0', { ManagerStatus: { Leader: true, Addr: '192.0.2.1:2377' } }),
      node('h2', '192.0.2.2', { Status: { State: 'down', Addr: '192.0.2.2' } }),
      node('h3', '192.0.2.3', { Spec: { Availability: 'drain' } }),
    ];
    expect(await docker.listNodes()).toEqual([
      { name: 'h1', address: '192.0.2.1', isReady: true, isDrained: false },
      { name: 'h2', address: '192.0.2.2', isReady: false, isDrained: false },
      { name: 'h3', address: '192.0.2.3', isReady: true, isDrained: true },
    ]);
  });

  test('its networks of our driver; none, with the reason, while its managers are not in agreement', async () => {
    const networks = engine.answers['/networks'] as { Driver: string }[];
    const bridge = networks.find(({ Driver }) => Driver === 'bridge');
    engine.answers['/networks'] = [{ ...bridge, Id: 'swarms', Scope: 'swarm' }, ...networks];
    await expect(docker.listSwarmNetworks()).rejects.toMatchObject({ code: 'conflict' });
    engine.answers['/nodes'] = [node('h1', '192.0.2.1')];
    expect(await docker.listSwarmNetworks()).toEqual(['swarms']);
  });

  test('a network of the swarm, and what it is made from on a node', async () => {
    engine.answers['/networks/create'] = { Id: 'made' };
    const shared = { name: 'demo', internal: true };
    expect(await docker.createSwarmNetwork({ ...shared, configuration: 'demo-config', attachable: true })).toBe('made');
    expect(engine.sent['/networks/create']).toEqual({
      Name: 'demo',
      CheckDuplicate: true,
      Driver: 'daolinet',
      Scope: 'swarm',
      Internal: true,
      Attachable: true,
      ConfigFrom: { Network: 'demo-config' },
    });
    const subnets = [{ subnet: '10.9.0.0/24', gateway: '10.9.0.1' }];
    const spec = { ...shared, options: { mtu: '1400' }, ipamOptions: { a: 'b' }, subnets };
    await docker.createNetwork({ ...spec, isConfiguration: true });
    const Config = [{ Subnet: '10.9.0.0/24', Gateway: '10.9.0.1' }];
    expect(engine.sent['/networks/create']).toEqual({
      Name: 'demo',
      CheckDuplicate: true,
      ConfigOnly: true,
      Options: { mtu: '1400' },
      IPAM: { Driver: 'daolinet', Options: { a: 'b' }, Config },
    });
    await docker.createNetwork(spec);
    expect(engine.sent['/networks/create']).toMatchObject({ Driver: 'bridge', IPAM: { Driver: 'bridge' } });
  });
});

test('with the clock of the system nothing is left running', async () => {
  const real = new Engine({
    socketPath: engine.socketPath,
    drivers: ['bridge'],
    clock: systemClock,
    logger: silentLogger,
    random: Math.random,
  });
  expect(await real.listNetworks()).toHaveLength(2);
});
