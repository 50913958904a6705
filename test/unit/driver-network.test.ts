// CreateNetwork and DeleteNetwork: pools of both IPAMs, options, tenants, and what is refused.
import { formatCidr, formatIpv4, parseIpv4 } from '../../src/base/addresses';
import { updateEndpoint } from '../../src/directory/endpoint-operations';
import { renameNetwork } from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import {
  AgentProcess,
  containerIn,
  DockerActor,
  DriverWorld,
  Failpoint,
  networkBody,
  newId,
} from '../fakes/driver-world';

let world: DriverWorld;
let agent: AgentProcess;
let docker: DockerActor;

beforeEach(async () => {
  world = new DriverWorld();
  agent = await new AgentProcess(world).boot();
  docker = new DockerActor(world, agent);
});

const network = (id: string) => agent.store.view.network(id as NetworkId);
const pools = (id: string) => [...agent.store.view.poolsOfNetwork(id as NetworkId)].map(({ cidr }) => formatCidr(cidr));
const create = (body: object) => agent.call('CreateNetwork', body);

async function rename(id: string, name: string): Promise<void> {
  await agent.store.transact((context) => ({ ops: renameNetwork(context, id as NetworkId, name), result: undefined }));
}

test('with our IPAM: the pool that was requested is the network’s', async () => {
  const options = { mtu: '1400' };
  const id = await docker.createNetwork({ cidr: '10.1.0.0/24', options, internal: true });
  expect(network(id)).toMatchObject({ tenant: 'default', ipam: 'daolinet', mtu: 1400, internal: true, options });
  expect(formatIpv4(network(id)!.gateway!)).toBe('10.1.0.1');
  expect(pools(id)).toEqual(['10.1.0.0/24']);
  expect(agent.flows.networks.get(id)).toMatchObject({ key: network(id)!.key, tenant: 1, internal: true });
});

test('with Docker’s own IPAM: pool, gateway and auxiliary addresses are written down', async () => {
  const id = newId();
  await create({
    NetworkID: id,
    Options: {},
    IPv4Data: [
      { AddressSpace: 'LocalDefault', Pool: '10.1.0.0/24', Gateway: '10.1.0.1/24', AuxAddresses: { r: '10.1.0.9/24' } },
      { AddressSpace: 'LocalDefault', Pool: '10.2.0.0/24', Gateway: '10.2.0.254/24' },
    ],
    IPv6Data: [],
  });
  expect(network(id)).toMatchObject({ ipam: 'docker', tenant: 'default', mtu: 1500 });
  expect(pools(id).sort()).toEqual(['10.1.0.0/24', '10.2.0.0/24']);
  const use = (address: string) => agent.store.view.addressHolder('default', parseIpv4(address))?.use;
  expect([use('10.1.0.1'), use('10.1.0.9'), use('10.2.0.254')]).toEqual(['gateway', 'auxiliary', 'gateway']);

  // The gateway is the one of the endpoint's subnet.
  const container = containerIn(id, undefined, '10.2.0.5');
  const ids = { NetworkID: id, EndpointID: container.endpointId };
  await agent.call('CreateEndpoint', { ...ids, Interface: { Address: '10.2.0.5/24' } });
  expect(await agent.call('Join', { ...ids, SandboxKey: '/s' })).toMatchObject({ Gateway: '10.2.0.254' });
  await agent.call('DeleteEndpoint', ids);
  await agent.call('DeleteNetwork', { NetworkID: id });
  expect(world.leftovers(agent)).toEqual([]);
});

test('an internal network with several subnets has routes between them', async () => {
  const id = newId();
  const IPv4Data = ['10.1.0', '10.2.0'].map((base) => ({
    AddressSpace: 'LocalDefault',
    Pool: `${base}.0/24`,
    Gateway: `${base}.1/24`,
  }));
  await create({ NetworkID: id, Options: { 'com.docker.network.internal': true }, IPv4Data });
  const ids = { NetworkID: id, EndpointID: newId() };
  await agent.call('CreateEndpoint', { ...ids, Interface: { Address: '10.2.0.5/24' } });
  expect(await agent.call('Join', { ...ids, SandboxKey: '/s' })).toMatchObject({
    Gateway: '',
    StaticRoutes: [{ Destination: '10.1.0.0/24', RouteType: 1, NextHop: '' }],
    DisableGatewayService: true,
  });
});

describe('tenants', () => {
  test('two have the same CIDR at once', async () => {
    const red = await docker.createNetwork({ cidr: '10.1.0.0/24', tenant: 'red' });
    const blue = await docker.createNetwork({ cidr: '10.1.0.0/24', tenant: 'blue', options: { tenant: 'blue' } });
    expect([network(red)?.tenant, network(blue)?.tenant]).toEqual(['red', 'blue']);
    expect(agent.flows.networks.get(red)?.tenant).not.toBe(agent.flows.networks.get(blue)?.tenant);
  });

  test('-o tenant must name the tenant of --ipam-opt', async () => {
    await agent.requestPool('10.1.0.0/24', 'red');
    const body = networkBody(newId(), { cidr: '10.1.0.0/24', options: { tenant: 'blue' } });
    await expect(create(body)).rejects.toThrow(
      /10\.1\.0\.0\/24 was requested for tenant red: -o tenant=blue must name/,
    );
  });

  test('with Docker’s own IPAM, -o tenant alone says it', async () => {
    const spec = { cidr: '10.1.0.0/24', addressSpace: 'LocalDefault', options: { tenant: 'red' } };
    expect(network(await docker.createNetwork(spec))?.tenant).toBe('red');
  });

  test('when two pools of one CIDR wait, -o tenant decides', async () => {
    await agent.requestPool('10.1.0.0/24', 'red');
    await agent.requestPool('10.1.0.0/24', 'blue');
    const spec = { cidr: '10.1.0.0/24' };
    await expect(create(networkBody(newId(), spec))).rejects.toThrow(
      /in several tenants \(.*\): name one with -o tenant=/,
    );
    const id = newId();
    await create(networkBody(id, { ...spec, options: { tenant: 'blue' } }));
    expect(network(id)?.tenant).toBe('blue');
  });
});

describe('refused, and nothing is changed:', () => {
  const pool = { AddressSpace: 'LocalDefault', Pool: '10.1.0.0/24', Gateway: '10.1.0.1/24' };

  test.each([
    ['IPv6', { Options: { 'com.docker.network.enable_ipv6': true } }, /IPv6 is not supported yet/],
    ['an IPv6 subnet', { IPv6Data: [{ Pool: 'fd00::/64' }] }, /IPv6 is not supported yet/],
    ['no IPv4', { Options: { 'com.docker.network.enable_ipv4': false } }, /needs IPv4/],
    ['no subnet', { IPv4Data: [] }, /IPv4Data has no subnet/],
    ['the null IPAM', { IPv4Data: [{ ...pool, Pool: '0.0.0.0/0', Gateway: null }] }, /has no subnet/],
    ['no gateway', { IPv4Data: [{ ...pool, Gateway: undefined }] }, /IPv4Data\[0\]\.Gateway is missing/],
    [
      'overlapping subnets',
      { IPv4Data: [pool, { ...pool, Pool: '10.1.0.0/25' }] },
      /IPv4Data\[1\]\.Pool: 10\.1\.0\.0\/25 overlaps/,
    ],
    [
      'an unknown option',
      { Options: { 'com.docker.network.generic': { vlan: '5' } } },
      /no option -o vlan; it has tenant/,
    ],
    ['a wrong MTU', { Options: { 'com.docker.network.generic': { mtu: '5' } } }, /-o mtu=5: is not an MTU/],
    [
      'a pool that nobody requested',
      { IPv4Data: [{ ...pool, AddressSpace: 'x' }] },
      /was not requested from DaoliNet's IPAM/,
    ],
  ])('%s', async (_what, change, message) => {
    const body = { NetworkID: newId(), Options: {}, IPv4Data: [pool], IPv6Data: [], ...change };
    await expect(create(body)).rejects.toThrow(message);
    expect(world.leftovers(agent)).toEqual([]);
  });

  test('a pool that overlaps another network’s, naming it', async () => {
    await rename(await docker.createNetwork({ cidr: '10.1.0.0/16' }), 'demo');
    const spec = { cidr: '10.1.5.0/24', addressSpace: 'LocalDefault' };
    await expect(docker.createNetwork(spec)).rejects.toThrow(/10\.1\.5\.0\/24 overlaps .*network demo/);
  });
});

test('the same network twice is one; with something else it is refused', async () => {
  const spec = { cidr: '10.1.0.0/24', options: { mtu: '1400' } };
  const id = await docker.createNetwork(spec);
  const before = world.leftovers(agent);
  expect(await create(networkBody(id, spec))).toEqual({});
  expect(world.leftovers(agent)).toEqual(before);
  for (const other of [
    { ...spec, options: {} },
    { ...spec, internal: true },
    { ...spec, gateway: '10.1.0.9' },
  ]) {
    await expect(create(networkBody(id, other))).rejects.toThrow(/exists already, with other options or subnets/);
  }
  expect(world.leftovers(agent)).toEqual(before);
});

test('a controller that refuses takes a new network back, and leaves an old one', async () => {
  const spec = { cidr: '10.1.0.0/24' };
  const refusing = new AgentProcess(world, { failpoint: new Failpoint(4, 'fail') });
  await expect(new DockerActor(world, refusing).createNetwork(spec)).rejects.toThrow('flows.setNetwork fails');
  expect(world.leftovers(agent)).toEqual([]);
  const id = await docker.createNetwork(spec);
  const again = new AgentProcess(world, { failpoint: new Failpoint(2, 'fail') });
  await expect(again.call('CreateNetwork', networkBody(id, spec))).rejects.toThrow('flows.setNetwork fails');
  expect(network(id)).toBeDefined();
});

test('a new network that is taken back leaves the pool that Docker has requested for it, until Docker gives it back', async () => {
  const poolId = await agent.requestPool('10.1.0.0/24');
  await agent.requestAddress(poolId, '10.1.0.1', 'gateway');
  const before = world.leftovers(agent);
  const body = networkBody(newId(), { cidr: '10.1.0.0/24' });
  const refusing = new AgentProcess(world, { failpoint: new Failpoint(2, 'fail') });
  await expect(refusing.call('CreateNetwork', body)).rejects.toThrow('flows.setNetwork fails');
  expect(world.leftovers(agent)).toEqual(before);
  await agent.call('CreateNetwork', body);
  await agent.releasePool(poolId);
  await agent.call('DeleteNetwork', body);
  expect(world.leftovers(agent)).toEqual([]);
});

test('deleted twice, and while endpoints of its containers are known by name', async () => {
  const id = await docker.createNetwork({ cidr: '10.1.0.0/24' });
  const container = containerIn(id, 'default/10.1.0.0/24' as PoolId, '10.1.0.5');
  await docker.startContainer(container);
  const endpointId = container.endpointId as EndpointId;
  await agent.store.transact((context) => ({
    ops: updateEndpoint(context, endpointId, { containerName: 'web', containerId: 'c1' }),
    result: undefined,
  }));
  await agent.call('DeleteNetwork', { NetworkID: id });
  await agent.call('DeleteNetwork', { NetworkID: id });
  expect(world.leftovers(agent)).toEqual([]);
});

test('swarm: AllocateNetwork gives the options back, the others succeed', async () => {
  const Options = { tenant: 'red' };
  const id = 'x7k2m9q4w1e8r5t3y6u0i2o4p';
  expect(await agent.call('AllocateNetwork', { NetworkID: id, Options, IPv4Data: [], IPv6Data: null })).toEqual({
    Options,
  });
  expect(await agent.call('FreeNetwork', { NetworkID: id })).toEqual({});
  expect(await agent.call('DiscoverNew', { DiscoveryType: 1, DiscoveryData: {} })).toEqual({});
  expect(await agent.call('DiscoverDelete', { DiscoveryType: 1, DiscoveryData: {} })).toEqual({});
  expect(await agent.call('GwAllocCheck', { Options: {} })).toEqual({ SkipIPv4: false, SkipIPv6: false });
  expect(await agent.call('GetCapabilities', undefined)).toEqual({
    Scope: 'local',
    ConnectivityScope: 'global',
    GwAllocChecker: true,
  });
});

describe('every method that takes ids refuses a body without them, and changes nothing:', () => {
  const ofNetworks = ['AllocateNetwork', 'FreeNetwork', 'CreateNetwork', 'DeleteNetwork'];
  const ofEndpoints = [
    'CreateEndpoint',
    'DeleteEndpoint',
    'EndpointOperInfo',
    'Join',
    'Leave',
    'ProgramExternalConnectivity',
    'RevokeExternalConnectivity',
  ];
  const bodies = [undefined, null, {}, [], 'x', 7, { NetworkID: '' }, { NetworkID: ['a'] }];

  test.each([...ofNetworks, ...ofEndpoints])('%s', async (method) => {
    const withoutEndpoint = ofEndpoints.includes(method) ? [{ NetworkID: newId() }] : [];
    for (const body of [...bodies, ...withoutEndpoint]) {
      await expect(agent.call(method, body)).rejects.toThrow(/NetworkID|EndpointID|not a JSON object/);
    }
    expect(world.leftovers(agent)).toEqual([]);
  });

  test('there are no others', () => {
    const withoutIds = ['GetCapabilities', 'GwAllocCheck', 'DiscoverNew', 'DiscoverDelete'];
    const all = [...ofNetworks, ...ofEndpoints, ...withoutIds].map((method) => `NetworkDriver.${method}`);
    expect(Object.keys(agent.driver.handlers).sort()).toEqual(all.sort());
  });
});
