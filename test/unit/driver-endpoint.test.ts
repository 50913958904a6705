// The life of a container's interface, as Docker drives it: what is there after each call, what is refused, and that any
// call may come twice, late or in another order.
import { formatMac, parseIpv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { updateEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointId, PoolId } from '../../src/directory/rows';
import type { PortNo } from '../../src/openflow/constants';
import {
  AgentProcess,
  containerIn,
  DockerActor,
  DriverWorld,
  Failpoint,
  newId,
  publish,
  type Container,
} from '../fakes/driver-world';

const POOL = 'default/10.1.0.0/24' as PoolId;
const NETWORK = { cidr: '10.1.0.0/24' };

let world: DriverWorld;
let agent: AgentProcess;
let docker: DockerActor;
let networkId: string;

beforeEach(async () => {
  world = new DriverWorld();
  agent = await new AgentProcess(world).boot();
  docker = new DockerActor(world, agent);
  networkId = await docker.createNetwork(NETWORK);
});

const row = (container: Container) => agent.store.view.endpoint(container.endpointId as EndpointId);
const ids = ({ endpointId }: Container) => ({ NetworkID: networkId, EndpointID: endpointId });
const short = ({ endpointId }: Container) => endpointId.slice(0, 11);

async function name(container: Container, containerName: string): Promise<void> {
  const id = container.endpointId as EndpointId;
  await agent.store.transact((context) => ({ ops: updateEndpoint(context, id, { containerName }), result: undefined }));
}

test('a whole life', async () => {
  const container = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]);
  const empty = world.leftovers(agent);

  await agent.requestAddress(POOL, '10.1.0.5');
  const created = await agent.call('CreateEndpoint', { ...ids(container), Interface: { Address: '10.1.0.5/24' } });
  const endpoint = row(container);
  expect(agent.store.followed).toContainEqual({ network: networkId });
  expect(endpoint).toMatchObject({ address: parseIpv4('10.1.0.5'), host: 'host1', sandbox: undefined });
  expect(created).toEqual({ Interface: { MacAddress: formatMac(endpoint!.mac) } });
  expect(Math.floor(endpoint!.mac / 2 ** 40) & 3).toBe(2); // locally administered, unicast

  const joined = await agent.call('Join', { ...ids(container), SandboxKey: container.sandbox });
  expect(joined).toEqual({
    InterfaceName: { SrcName: `dc${short(container)}`, DstPrefix: 'eth' },
    Gateway: '10.1.0.1',
    StaticRoutes: [],
    DisableGatewayService: false,
  });
  expect(row(container)?.sandbox).toBe(container.sandbox);
  const link = world.host.links.table.get(`dc${short(container)}`);
  expect(link).toMatchObject({ link: { mac: endpoint!.mac, mtu: 1500 }, checksumOffload: false });
  expect(world.switch.table.get(`dl${short(container)}`)?.portNo).toBe(endpoint!.portNo);
  expect(agent.flows.endpoints.get(container.endpointId)).toMatchObject({
    ip: endpoint!.address,
    locator: endpoint!.locator,
    location: { kind: 'local', portNo: endpoint!.portNo },
  });

  const Options = { 'com.docker.network.portmap': container.portMap };
  expect(await agent.call('ProgramExternalConnectivity', { ...ids(container), Options })).toEqual({});
  expect(row(container)?.publishedPorts).toMatchObject([{ hostPort: 8080, containerPort: 80, protocol: 'tcp' }]);
  expect(world.host.firewall.published.get(container.endpointId)).toMatchObject({
    locator: endpoint!.locator,
    ports: [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }],
  });
  expect(agent.ports.list()).toMatchObject([{ hostPort: 8080, locator: endpoint!.locator }]);
  expect(await agent.call('EndpointOperInfo', ids(container))).toEqual({ Value: {} });

  expect(await agent.call('RevokeExternalConnectivity', ids(container))).toEqual({});
  expect(row(container)?.publishedPorts).toEqual([]);
  expect(agent.ports.list()).toEqual([]);
  expect(world.host.firewall.published.size).toBe(0);

  expect(await agent.call('Leave', ids(container))).toEqual({});
  expect(agent.flows.endpoints.size).toBe(0);
  expect(world.switch.table.size).toBe(0);
  expect(world.host.links.table.has(`dl${short(container)}`)).toBe(true); // Docker gives the other end back first
  expect(row(container)?.sandbox).toBeUndefined();

  expect(await agent.call('DeleteEndpoint', ids(container))).toEqual({});
  await agent.releaseAddress(POOL, '10.1.0.5');
  expect(world.leftovers(agent)).toEqual(empty);
  await docker.removeNetwork(networkId, NETWORK);
  expect(world.leftovers(agent)).toEqual([]);
});

describe('MAC addresses', () => {
  const create = (container: Container, body: object) => agent.call('CreateEndpoint', { ...ids(container), ...body });

  test('what Docker chose is not told to it again', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5');
    const Interface = { Address: '10.1.0.5/24', MacAddress: '02:42:0a:01:00:05' };
    expect(await create(container, { Interface })).toEqual({ Interface: {} });
    expect(formatMac(row(container)!.mac)).toBe('02:42:0a:01:00:05');
  });

  test('--mac-address comes in base64 too', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5');
    const Options = { 'com.docker.network.endpoint.macaddress': 'AgAAAAAH' };
    const reply = await create(container, { Interface: { Address: '10.1.0.5/24' }, Options });
    expect(reply).toEqual({ Interface: { MacAddress: '02:00:00:00:00:07' } });
  });

  test('two of the same are refused, with the one who has it', async () => {
    const [a, b] = [containerIn(networkId, POOL, '10.1.0.5'), containerIn(networkId, POOL, '10.1.0.6')];
    const MacAddress = '02:42:0a:01:00:05';
    await create(a, { Interface: { Address: '10.1.0.5/24', MacAddress } });
    await name(a, 'web');
    await expect(create(b, { Interface: { Address: '10.1.0.6/24', MacAddress } })).rejects.toThrow(
      /MAC address 02:42:0a:01:00:05 is in use by container web/,
    );
    expect(row(b)).toBeUndefined();
  });
});

describe('CreateEndpoint refuses', () => {
  const create = (address: string, more: object = {}, id = newId()) =>
    agent.call('CreateEndpoint', { NetworkID: networkId, EndpointID: id, Interface: { Address: address, ...more } });

  test.each([
    ['an address outside the network', '10.2.0.5/24', {}, /10\.2\.0\.5 lies outside network .* \(10\.1\.0\.0\/24\)/],
    ['the gateway’s address', '10.1.0.1/24', {}, /10\.1\.0\.1 is the gateway of network/],
    ['the network’s own address', '10.1.0.0/24', {}, /10\.1\.0\.0 cannot be an interface's in 10\.1\.0\.0\/24/],
    ['the broadcast address', '10.1.0.255/24', {}, /10\.1\.0\.255 cannot be/],
    ['no address', '', {}, /Interface\.Address is empty/],
    ['IPv6', '10.1.0.5/24', { AddressIPv6: 'fd00::5/64' }, /IPv6 is not supported yet/],
  ])('%s', async (_what, address, more, message) => {
    const before = world.leftovers(agent);
    await expect(create(address, more)).rejects.toThrow(message);
    expect(world.leftovers(agent)).toEqual(before);
  });

  test('an unknown network', async () => {
    const body = { NetworkID: newId(), EndpointID: newId(), Interface: { Address: '10.1.0.5/24' } };
    await expect(agent.call('CreateEndpoint', body)).rejects.toThrow(
      /network .{12} does not exist in DaoliNet: remove it/,
    );
  });

  test('an address in use, saying by whom', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5');
    await docker.startContainer(container);
    await name(container, 'web');
    await expect(create('10.1.0.5/24')).rejects.toThrow(/10\.1\.0\.5 is in use by container web in network/);
  });

  test('an id that is there already with something else', async () => {
    const id = newId();
    await create('10.1.0.5/24', {}, id);
    await expect(create('10.1.0.6/24', {}, id)).rejects.toThrow(/endpoint .* exists already, with address 10\.1\.0\.5/);
    await expect(create('10.1.0.5/24', { MacAddress: '02:00:00:00:00:01' }, id)).rejects.toThrow(/exists already/);
  });
});

describe('every call may come twice', () => {
  test('with the same content: nothing changes, and the answer is the same', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80), publish(0, 443)]);
    const twice = async (method: string, body: object): Promise<void> => {
      const first = await agent.call(method, body);
      await new Promise((resolve) => setImmediate(resolve)); // what goes on in the background
      const before = [world.leftovers(agent), agent.store.committed.length];
      expect(await agent.call(method, body)).toEqual(first);
      expect([world.leftovers(agent), agent.store.committed.length]).toEqual(before);
    };
    await agent.requestAddress(POOL, '10.1.0.5');
    await twice('CreateEndpoint', { ...ids(container), Interface: { Address: '10.1.0.5/24' } });
    await twice('Join', { ...ids(container), SandboxKey: container.sandbox });
    const Options = { 'com.docker.network.portmap': container.portMap };
    await twice('ProgramExternalConnectivity', { ...ids(container), Options });
    await twice('RevokeExternalConnectivity', ids(container));
    await twice('Leave', ids(container));
    await twice('DeleteEndpoint', ids(container));
    await agent.releaseAddress(POOL, '10.1.0.5');
    await twice('DeleteNetwork', { NetworkID: networkId });
    expect(world.leftovers(agent)).toEqual([]);
  });

  test('a repeated Join leaves the interface that Docker has moved away', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5');
    await docker.startContainer(container);
    await agent.call('Join', { ...ids(container), SandboxKey: container.sandbox });
    expect(world.host.calls.filter((call) => call.startsWith('links.createVeth'))).toHaveLength(1);
  });

  test('what is unknown is gone: teardown succeeds', async () => {
    const body = { NetworkID: networkId, EndpointID: newId() };
    for (const method of ['RevokeExternalConnectivity', 'Leave', 'DeleteEndpoint']) {
      expect(await agent.call(method, body)).toEqual({});
    }
    expect(await agent.call('DeleteNetwork', { NetworkID: newId() })).toEqual({});
  });

  test('what is unknown cannot be joined or published', async () => {
    const body = { NetworkID: networkId, EndpointID: newId(), SandboxKey: '/s' };
    await expect(agent.call('Join', body)).rejects.toThrow(/endpoint .{12} does not exist in network/);
    await expect(agent.call('ProgramExternalConnectivity', body)).rejects.toThrow(/does not exist/);
  });
});

describe('teardown in another order', () => {
  test.each([
    ['DeleteEndpoint alone', ['DeleteEndpoint']],
    ['DeleteEndpoint, then Leave and Revoke', ['DeleteEndpoint', 'Leave', 'RevokeExternalConnectivity']],
    ['Leave without Revoke', ['Leave', 'DeleteEndpoint']],
  ])('%s', async (_what, methods) => {
    const empty = world.leftovers(agent);
    const container = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]);
    await docker.startContainer(container);
    for (const method of methods) await agent.call(method, ids(container));
    await agent.releaseAddress(POOL, '10.1.0.5');
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('ReleaseAddress before DeleteEndpoint', async () => {
    const empty = world.leftovers(agent);
    const container = containerIn(networkId, POOL, '10.1.0.5');
    await docker.startContainer(container);
    await agent.releaseAddress(POOL, '10.1.0.5');
    expect(row(container)?.address).toBe(parseIpv4('10.1.0.5'));
    await agent.call('DeleteEndpoint', ids(container));
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('Leave implies Revoke: the port can be published again at once', async () => {
    const first = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]);
    await docker.startContainer(first);
    await agent.call('Leave', ids(first));
    await docker.startContainer(containerIn(networkId, POOL, '10.1.0.6', [publish(8080, 80)]));
    expect(agent.ports.list()).toMatchObject([{ hostPort: 8080 }]);
  });

  test('DeleteNetwork takes endpoints with it whose removal was lost', async () => {
    await docker.startContainer(containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]));
    await docker.startContainer(containerIn(networkId, POOL, '10.1.0.6'));
    await agent.call('DeleteNetwork', { NetworkID: networkId });
    expect(world.leftovers(agent)).toEqual([]);
  });
});

describe('published ports', () => {
  const program = (container: Container, portMap: readonly object[]) =>
    agent.call('ProgramExternalConnectivity', {
      ...ids(container),
      Options: { 'com.docker.network.portmap': portMap },
    });
  const hostPorts = (container: Container) =>
    (row(container)?.publishedPorts ?? []).map(({ hostPort }) => hostPort).sort();

  let web: Container;
  beforeEach(async () => {
    web = containerIn(networkId, POOL, '10.1.0.5');
    await docker.startContainer(web);
    await name(web, 'web');
  });

  test('a range gives its first free port, 0 gives any, and a fixed one comes before both', async () => {
    await program(web, [
      { Proto: 6, Port: 70, HostIP: '', HostPort: 7000, HostPortEnd: 7005 },
      { Proto: 6, Port: 80, HostIP: '', HostPort: 7000, HostPortEnd: 7000 },
      { Proto: 17, Port: 9000, HostIP: '127.0.0.1', HostPort: 9000, HostPortEnd: 9000 },
      { Proto: 6, Port: 443, HostIP: '', HostPort: 0, HostPortEnd: 0 },
    ]);
    const published = row(web)!.publishedPorts;
    const find = (containerPort: number) => published.find((port) => port.containerPort === containerPort);
    expect(find(80)).toMatchObject({ hostPort: 7000 });
    expect(find(70)).toMatchObject({ hostPort: 7001 });
    expect(find(9000)).toMatchObject({ protocol: 'udp', hostIp: parseIpv4('127.0.0.1') });
    expect(find(443)!.hostPort).toBeGreaterThan(30_000);
  });

  test('a port of another container is refused by its name, and nothing is left of the attempt', async () => {
    await program(web, [publish(8080, 80)]);
    const other = containerIn(networkId, POOL, '10.1.0.6');
    await docker.startContainer(other);
    await expect(program(other, [publish(8081, 81), publish(8080, 80)])).rejects.toThrow(
      'host port 8080/tcp is published by container web in network',
    );
    expect(hostPorts(other)).toEqual([]);
    expect(agent.ports.list()).toHaveLength(1);
    expect(world.host.firewall.published.get(other.endpointId)?.ports ?? []).toEqual([]);
  });

  test('a port of another program is refused', async () => {
    agent.ports.takenByOthers.add('tcp 8080');
    await expect(program(web, [publish(8080, 80)])).rejects.toThrow(/port 8080\/tcp .* already in use/);
    expect(hostPorts(web)).toEqual([]);
  });

  test('an IPv6 host address is refused before anything is done', async () => {
    const entry = { Proto: 6, Port: 80, HostIP: '::1', HostPort: 8080, HostPortEnd: 8080 };
    await expect(program(web, [entry])).rejects.toThrow(/cannot publish on ::1: IPv6 is not supported yet/);
    expect(agent.ports.list()).toEqual([]);
  });

  test('a new map replaces the old one, and what is in both stays', async () => {
    await program(web, [publish(8080, 80), publish(0, 443)]);
    const any = hostPorts(web).find((port) => port !== 8080)!;
    await program(web, [publish(8081, 81), publish(0, 443)]);
    expect(hostPorts(web)).toEqual([8081, any].sort());
    expect(agent.ports.list()).toHaveLength(2);
  });

  test('the role moves to another endpoint of the container: Revoke there, Program here', async () => {
    await program(web, [publish(8080, 80)]);
    const second = await secondEndpointOf(web);
    await agent.call('RevokeExternalConnectivity', ids(web));
    await program(second, [publish(8080, 80)]);
    expect([hostPorts(web), hostPorts(second)]).toEqual([[], [8080]]);
  });

  test('the role moves without Revoke, as with Docker 29', async () => {
    await program(web, [publish(8080, 80)]);
    const second = await secondEndpointOf(web);
    await program(second, [publish(8080, 80)]);
    expect([hostPorts(web), hostPorts(second)]).toEqual([[], [8080]]);
    expect(agent.ports.list()).toMatchObject([{ endpointId: second.endpointId }]);
    expect([...world.host.firewall.published.keys()]).toEqual([second.endpointId]);
  });

  async function secondEndpointOf(container: Container): Promise<Container> {
    const second = { ...containerIn(networkId, POOL, '10.1.0.7'), sandbox: container.sandbox };
    await docker.startContainer(second);
    return second;
  }

  test('a packet filter that refuses takes the ports back', async () => {
    world.host.fail('firewall.publish', new DaoliError('internal', 'nft refused'));
    await expect(program(web, [publish(8080, 80)])).rejects.toThrow('nft refused');
    expect(hostPorts(web)).toEqual([]);
    expect(agent.ports.list()).toEqual([]);
  });

  test('a new subnet of the tenant is told to the packet filter', async () => {
    await program(web, [publish(8080, 80)]);
    await docker.createNetwork({ cidr: '10.9.0.0/24' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.host.firewall.published.get(web.endpointId)?.tenantPools).toHaveLength(2);
  });
});

describe('Join', () => {
  test('of an internal network gives no gateway, and keeps docker_gwbridge away', async () => {
    const internal = await docker.createNetwork({ cidr: '10.5.0.0/24', internal: true });
    const container = containerIn(internal, 'default/10.5.0.0/24' as PoolId, '10.5.0.5', [publish(8080, 80)]);
    await agent.requestAddress(container.poolId!, container.address);
    const body = { NetworkID: internal, EndpointID: container.endpointId };
    await agent.call('CreateEndpoint', { ...body, Interface: { Address: '10.5.0.5/24' } });
    const reply = await agent.call('Join', { ...body, SandboxKey: container.sandbox });
    expect(reply).toMatchObject({ Gateway: '', StaticRoutes: [], DisableGatewayService: true });
    expect(agent.flows.networks.get(internal)?.internal).toBe(true);
    const Options = { 'com.docker.network.portmap': container.portMap };
    expect(await agent.call('ProgramExternalConnectivity', { ...body, Options })).toEqual({});
    expect(agent.ports.list()).toEqual([]);
  });

  test('uses the options of the network: MTU and interface prefix', async () => {
    const options = { mtu: '1400', 'com.docker.network.container_iface_prefix': 'net' };
    const other = await docker.createNetwork({ cidr: '10.6.0.0/24', options });
    const container = containerIn(other, undefined, '10.6.0.5');
    const body = { NetworkID: other, EndpointID: container.endpointId };
    await agent.call('CreateEndpoint', { ...body, Interface: { Address: '10.6.0.5/24' } });
    const reply = await agent.call('Join', { ...body, SandboxKey: container.sandbox });
    expect(reply).toMatchObject({ InterfaceName: { DstPrefix: 'net' } });
    expect(world.host.links.table.get(`dl${short(container)}`)?.link.mtu).toBe(1400);
  });

  test('fails with OVS’s words, and the teardown that follows leaves nothing', async () => {
    const empty = world.leftovers(agent);
    world.switch.away = new DaoliError('unavailable', 'Open vSwitch is away');
    const container = containerIn(networkId, POOL, '10.1.0.5');
    await expect(docker.startContainer(container)).rejects.toThrow('Open vSwitch is away');
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('refuses a port number that OVS changed', async () => {
    const container = containerIn(networkId, POOL, '10.1.0.5');
    world.switch.ports = () => [];
    world.switch.addPort = () => Promise.resolve(4711 as PortNo);
    await expect(docker.startContainer(container)).rejects.toThrow(/the port number 4711, as another port has/);
  });
});

test('teardown does not wait for an OVS that is away: the address is free at once', async () => {
  const container = containerIn(networkId, POOL, '10.1.0.5');
  await docker.startContainer(container);
  world.switch.away = new DaoliError('unavailable', 'Open vSwitch is away');
  agent.flows.away = new DaoliError('unavailable', 'the datapath is away');
  await agent.call('Leave', ids(container));
  await agent.call('DeleteEndpoint', ids(container));
  expect(row(container)).toBeUndefined();
  expect(agent.flows.endpoints.size).toBe(0);
  expect([...world.switch.table.keys()]).toEqual([`dl${short(container)}`]); // the reconciler's
});

test('teardown works before Open vSwitch was ever there', async () => {
  const container = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]);
  await docker.startContainer(container);
  const next = new AgentProcess(world);
  const missing = (): never => {
    throw new DaoliError('unavailable', 'DaoliNet is starting');
  };
  Object.defineProperty(next.parts, 'switch', { get: missing });
  Object.defineProperty(next.parts, 'flows', { get: missing });
  await next.call('Leave', ids(container));
  await next.call('DeleteEndpoint', ids(container));
  expect(row(container)).toBeUndefined();
  expect(world.host.firewall.published.size).toBe(0);
});

test('a directory that is away gives an error within the call’s time', async () => {
  agent.store.setAway(true);
  const container = containerIn(networkId, undefined, '10.1.0.5');
  const call = agent.call('CreateEndpoint', { ...ids(container), Interface: { Address: '10.1.0.5/24' } });
  await new Promise((resolve) => setImmediate(resolve));
  world.clock.advance(8_000);
  await expect(call).rejects.toThrow(/the directory did not answer within 8 s/);
  agent.store.setAway(false);
});

describe('side by side', () => {
  test('a hundred containers at once, then all away', async () => {
    const empty = world.leftovers(agent);
    const containers = Array.from({ length: 100 }, (_, index) =>
      containerIn(networkId, POOL, `10.1.0.${index + 10}`, [publish(0, 80)]),
    );
    await Promise.all(containers.map((container) => docker.startContainer(container)));
    const rows = [...agent.store.view.endpoints()];
    expect(new Set(rows.map(({ locator }) => locator)).size).toBe(100);
    expect(new Set(rows.map(({ portNo }) => portNo)).size).toBe(100);
    expect(new Set(rows.map(({ publishedPorts }) => publishedPorts[0]?.hostPort)).size).toBe(100);
    await Promise.all(containers.map((container) => docker.stopContainer(container)));
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('one endpoint’s call does not wait for another’s that hangs', async () => {
    const [slow, fast] = [containerIn(networkId, POOL, '10.1.0.5'), containerIn(networkId, POOL, '10.1.0.6')];
    const createVeth = world.host.links.createVeth.bind(world.host.links);
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    world.host.links.createVeth = async (spec) => {
      if (spec.name === `dl${short(slow)}`) await gate;
      await createVeth(spec);
    };
    const starting = docker.startContainer(slow);
    await docker.startContainer(fast);
    expect(agent.flows.hasEndpoint(fast.endpointId)).toBe(true);
    expect(agent.flows.hasEndpoint(slow.endpointId)).toBe(false);
    release();
    await starting;
  });

  test('Join and DeleteEndpoint of one endpoint at the same time: the last wins, and nothing is left', async () => {
    const empty = world.leftovers(agent);
    const container = containerIn(networkId, undefined, '10.1.0.5');
    await agent.call('CreateEndpoint', { ...ids(container), Interface: { Address: '10.1.0.5/24' } });
    const joining = agent.call('Join', { ...ids(container), SandboxKey: container.sandbox });
    await Promise.all([joining, agent.call('DeleteEndpoint', ids(container))]);
    await agent.releaseAddress(POOL, '10.1.0.5');
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('the same address for two endpoints at once: one gets it', async () => {
    await agent.requestAddress(POOL, '10.1.0.5');
    const create = () =>
      agent.call('CreateEndpoint', {
        NetworkID: networkId,
        EndpointID: newId(),
        Interface: { Address: '10.1.0.5/24' },
      });
    const results = await Promise.allSettled([create(), create(), create()]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });
});

test('the parts of one start: what is called, and in which order', async () => {
  const counting = new Failpoint(0, 'fail');
  const other = new DockerActor(world, new AgentProcess(world, { failpoint: counting }));
  await other.startContainer(containerIn(networkId, POOL, '10.1.0.9'));
  expect(counting.steps).toEqual([
    'directory.transact', // RequestAddress
    'directory.transact', // CreateEndpoint
    'links.createVeth', // before Join asks for them
    'switch.addPort',
    'directory.transact', // Join, beside the effects
    'switch.addPort',
    'flows.setNetwork', // this process had not told the controller yet
    'flows.addEndpoint', // ProgramExternalConnectivity without ports is nothing
  ]);
});

describe('veth pair and OVS port are made between CreateEndpoint and Join', () => {
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  let container: Container;
  const create = () => agent.call('CreateEndpoint', { ...ids(container), Interface: { Address: '10.1.0.5/24' } });
  const join = () => agent.call('Join', { ...ids(container), SandboxKey: container.sandbox });
  const made = () => world.host.calls.filter((call) => call.startsWith('links.createVeth')).length;
  const isConnected = () =>
    agent.flows.hasEndpoint(container.endpointId) && world.switch.table.has(`dl${short(container)}`);

  beforeEach(() => (container = containerIn(networkId, undefined, '10.1.0.5')));

  test('once', async () => {
    await create();
    await settled();
    expect(world.switch.table.has(`dl${short(container)}`)).toBe(true);
    expect(agent.flows.hasEndpoint(container.endpointId)).toBe(false);
    await join();
    expect(made()).toBe(1);
    expect(isConnected()).toBe(true);
  });

  test('Join does again what failed', async () => {
    world.host.fail('links.createVeth', new DaoliError('internal', 'no memory'));
    await create();
    await join();
    expect(made()).toBe(2);
    expect(isConnected()).toBe(true);
  });

  test('Join says what fails twice', async () => {
    world.switch.addPort = () => Promise.reject(new DaoliError('internal', 'OVS cannot open it'));
    await create();
    await expect(join()).rejects.toThrow('OVS cannot open it');
  });

  test('DeleteEndpoint without Join takes them away', async () => {
    const empty = world.leftovers(agent);
    await create();
    await agent.call('DeleteEndpoint', ids(container));
    await agent.releaseAddress(POOL, '10.1.0.5');
    expect(world.leftovers(agent)).toEqual(empty);
  });

  test('the reconciler leaves them alone', async () => {
    await create();
    await settled();
    await agent.reconciler.run();
    expect(world.switch.table.size).toBe(1);
    await join();
    expect(isConnected()).toBe(true);
  });

  test('when the reconciler took them away after all, Join makes them again', async () => {
    await create();
    await settled();
    world.clock.advance(120_000);
    await agent.reconciler.run();
    expect(world.switch.table.size).toBe(0);
    await join();
    expect(isConnected()).toBe(true);
  });
});
