// The controller without I/O against a datapath in memory: whatever is done to both, in whatever order, the tables end up
// as they should be, and no packet ends up where it should not.
import fc from 'fast-check';
import { cidrHolds, parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import type { DatapathState } from '../../src/flowctl/datapath-state';
import { sameNetworkPolicy, type FlowEndpoint, type FlowHost, type FlowNetwork } from '../../src/flowctl/model';
import { TABLE, USERDATA } from '../../src/flowctl/pipeline';
import { encodeMessage } from '../../src/openflow/message';
import { MessageWriter } from '../../src/openflow/message-writer';
import { setMac } from '../../src/packet/bytes';
import type { Output } from '../fakes/fake-datapath';
import { FlowWorld } from '../fakes/flow-world';
import { buildFrame } from '../unit/packet/frames';

const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};

/** Two tenants with the same pool, a second network in one of them, and one without a way out. */
const NETWORKS: readonly FlowNetwork[] = [
  { id: 'red', key: 1, tenant: 7, gateway: parseIpv4('10.1.0.1'), pools: [parseCidr('10.1.0.0/29')], internal: false },
  { id: 'blue', key: 2, tenant: 8, gateway: parseIpv4('10.1.0.1'), pools: [parseCidr('10.1.0.0/29')], internal: false },
  {
    id: 'red-2',
    key: 3,
    tenant: 7,
    gateway: parseIpv4('10.2.0.1'),
    pools: [parseCidr('10.2.0.0/29')],
    internal: false,
  },
  { id: 'inner', key: 4, tenant: 7, gateway: parseIpv4('10.3.0.1'), pools: [parseCidr('10.3.0.0/29')], internal: true },
];
const PORTS = [1, 2, 3, 4, 5, 6];
const OUTSIDE_ADDRESS = parseIpv4('198.51.100.7');

function frame(from: { mac: Mac; ip: Ipv4 }, dst: Ipv4, text: string): Buffer {
  const payload = Buffer.concat([Buffer.from([3, 232, 7, 208, 0, 8 + text.length, 0, 0]), Buffer.from(text)]);
  const built = buildFrame({ src: from.ip, dst, proto: 17, payload });
  setMac(built, 0, host.routerMac);
  setMac(built, 6, from.mac);
  return built;
}

function endpointAt(portNo: number, networkKey: number, last: number): FlowEndpoint {
  const pool = NETWORKS[networkKey - 1]?.pools[0]?.base ?? 0;
  return {
    id: `e${portNo}`,
    networkKey,
    mac: (0x020000000000 + portNo) as Mac,
    ip: (pool + last) as Ipv4,
    locator: (host.hostAddress + portNo) as Ipv4,
    location: { kind: 'local', portNo },
  };
}

// Steps of a history.
const portNo = fc.constantFrom(...PORTS);
const address = fc.oneof(
  fc
    .record({ network: fc.integer({ min: 0, max: 3 }), last: fc.integer({ min: 1, max: 6 }) })
    .map(({ network, last }) => ((NETWORKS[network]?.pools[0]?.base ?? 0) + last) as Ipv4),
  fc.integer({ min: 0, max: 8 }).map((n) => (host.hostAddress + n) as Ipv4),
  fc.constantFrom(OUTSIDE_ADDRESS, parseIpv4('127.0.0.1'), parseIpv4('169.254.169.254'), parseIpv4('224.0.0.1')),
);
/** Ports that are busy, so that the same two meet again. */
const few = fc.constantFrom(1, 2, 3);
const step = fc.oneof(
  fc.record({
    do: fc.constant('add' as const),
    portNo,
    network: fc.integer({ min: 1, max: 4 }),
    last: fc.integer({ min: 2, max: 5 }),
  }),
  fc.record({
    do: fc.constant('add' as const),
    portNo: few,
    network: fc.constantFrom(1, 1, 2),
    last: fc.constantFrom(2, 3),
  }),
  fc.record({ do: fc.constant('remove' as const), portNo: few }),
  fc.record({ do: fc.constant('remove' as const), portNo }),
  fc.record({ do: fc.constant('packet' as const), portNo, src: fc.option(address, { freq: 3 }), dst: address }),
  fc.record({ do: fc.constant('packet' as const), portNo, src: fc.constant(null), dst: address }),
  fc.record({ do: fc.constant('talk' as const), portNo: few, to: few }),
  fc.record({ do: fc.constant('talk' as const), portNo: few, to: few }),
  fc.record({ do: fc.constant('from host' as const), dst: address }),
  fc.record({ do: fc.constant('advance' as const), seconds: fc.constantFrom(1, 40, 70) }),
  fc.record({ do: fc.constant('restart' as const), cut: fc.integer({ min: 0, max: 9000 }) }),
  fc.record({ do: fc.constant('wipe' as const), cut: fc.integer({ min: 0, max: 9000 }) }),
  fc.record({ do: fc.constant('pools' as const), second: fc.boolean() }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function perform(world: FlowWorld, each: Step): void {
  switch (each.do) {
    case 'add':
      world.remove(`e${each.portNo}`);
      try {
        world.add(endpointAt(each.portNo, each.network, each.last));
      } catch (error) {
        // The address is another's: refused, and nothing was sent.
        expect(error).toMatchObject({ code: 'conflict' });
      }
      return;
    case 'remove':
      return world.remove(`e${each.portNo}`);
    case 'packet':
      return sendAndCheck(world, each.portNo, each.src, each.dst);
    case 'talk':
      return talkAndCheck(world, each.portNo, each.to);
    case 'from host':
      return sendFromHostAndCheck(world, each.dst);
    case 'advance':
      return world.advance(each.seconds);
    case 'restart':
      world.restart(world.endpoints, [...world.inventory.allNetworks()]);
      world.resync(each.cut);
      return void world.resync();
    case 'wipe':
      world.fake.wipe();
      world.resync(each.cut);
      return void world.resync();
    case 'pools':
      return world.setNetwork({
        ...(NETWORKS[0] as FlowNetwork),
        pools: [parseCidr('10.1.0.0/29'), ...(each.second ? [parseCidr('10.7.0.0/29')] : [])],
      });
  }
}

/** What an endpoint sends goes to whom it may, as it should look, or nowhere. */
function sendAndCheck(world: FlowWorld, inPort: number, src: Ipv4 | null, dst: Ipv4): void {
  const sender = world.endpoints.find(({ id }) => id === `e${inPort}`);
  const mac = (0x020000000000 + inPort) as Mac;
  const ip = src ?? sender?.ip ?? (0x0a010002 as Ipv4);
  const outputs = world.packet(inPort, frame({ mac, ip }, dst, 'payload'));
  if (sender === undefined || ip !== sender.ip) {
    expect(outputs).toEqual([]);
    return;
  }
  expect(outputs.length).toBeLessThanOrEqual(1);
  for (const output of outputs) checkOutput(world, sender, dst, output);
}

/** Two endpoints of one network reach one another, always. Where the other is gone, nobody takes its packets. */
function talkAndCheck(world: FlowWorld, from: number, to: number): void {
  const sender = world.endpoints.find(({ id }) => id === `e${from}`);
  const receiver = world.endpoints.find(({ id }) => id === `e${to}`);
  const dst = receiver?.ip ?? world.lastAddresses.get(to);
  if (sender === undefined || dst === undefined) return;
  sendAndCheck(world, from, null, dst);
  if (receiver === undefined || from === to || sender.networkKey !== receiver.networkKey) return;
  const outputs = world.packet(from, frame(sender, dst, 'again'));
  expect(outputs.map((output) => output.portNo)).toEqual([to]);
}

function checkOutput(
  world: FlowWorld,
  sender: FlowEndpoint,
  dst: Ipv4,
  { portNo: outPort, frame: left }: Output,
): void {
  const network = world.inventory.network(sender.networkKey) as FlowNetwork;
  const [ethDst, from, to] = [left.readUIntBE(0, 6), left.readUInt32BE(26), left.readUInt32BE(30)];
  if (outPort === 10) {
    expect([ethDst, from, to, network.internal]).toEqual([host.hostPort?.mac, sender.locator, dst, false]);
    const isInside = [...world.inventory.allNetworks()].some(
      (each) => each.tenant === network.tenant && each.pools.some((pool) => cidrHolds(pool, dst)),
    );
    expect(isInside).toBe(false);
    expect(cidrHolds(host.locatorRange, dst) && dst !== host.hostAddress).toBe(false);
  } else if (outPort === (sender.location as { portNo: number }).portNo) {
    // The gateway, about what cannot be.
    expect([ethDst, from, to, left[23], left[34]]).toEqual([sender.mac, network.gateway, sender.ip, 1, 3]);
  } else {
    const receiver = world.endpoints.find(({ id }) => id === `e${outPort}`);
    expect([ethDst, from, to]).toEqual([receiver?.mac, sender.ip, receiver?.ip]);
    expect([to, sender.networkKey]).toEqual([dst, receiver?.networkKey]);
  }
}

function sendFromHostAndCheck(world: FlowWorld, dst: Ipv4): void {
  const outputs = world.packet(10, frame({ mac: host.hostPort?.mac as Mac, ip: OUTSIDE_ADDRESS }, dst, 'in'));
  const receiver = world.endpoints.find(({ locator }) => locator === dst);
  const isOpen = receiver !== undefined && world.inventory.network(receiver.networkKey)?.internal === false;
  const seen = outputs.map(({ portNo: outPort, frame: left }) => [outPort, left.readUInt32BE(30)]);
  expect(seen.length).toBeLessThanOrEqual(isOpen ? 1 : 0);
  for (const each of seen) expect(each).toEqual([(receiver?.location as { portNo: number }).portNo, receiver?.ip]);
}

test('whatever happens, packets go where they may, and the tables end up right', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), (steps) => {
      const world = new FlowWorld({ host, networks: NETWORKS, policy: sameNetworkPolicy });
      for (const each of steps) perform(world, each);
      const { flows, meters } = world.wanted;
      expect(world.staticFlows).toEqual(flows);
      expect(world.fake.meterIds()).toEqual(meters);
      // What is denied is asked anew after a resynchronisation; nothing else is touched.
      const drops = world.routes.filter((line) => line.includes('hard_timeout')).length;
      expect([world.resync(), world.resync()]).toEqual([drops, 0]);
    }),
    { numRuns: 100 },
  );
});

test('an honest pair is connected and stays so over restarts of either side', () => {
  const world = new FlowWorld({ host, networks: NETWORKS, policy: sameNetworkPolicy });
  const [a, b] = [endpointAt(1, 1, 2), endpointAt(2, 1, 3)];
  world.add(a);
  world.add(b);
  const ping = () => world.packet(1, frame(a, b.ip, 'ping')).map((output) => output.portNo);
  expect([ping(), ping()]).toEqual([[2], [2]]);
  expect(world.counters.packetIns).toBe(1);
  const { routes } = world;
  world.restart(world.endpoints, NETWORKS);
  expect(world.resync()).toBe(0);
  expect(world.remembered).toEqual(['e1>e2', 'e2>e1']);
  world.fake.wipe();
  world.resync();
  expect([world.routes, ping(), world.counters.packetIns]).toEqual([routes, [2], 1]);
  world.advance(60);
  expect([world.routes, world.remembered]).toEqual([[], []]);
});

test('every batch may arrive twice', () => {
  const world = new FlowWorld({ host, networks: NETWORKS, policy: sameNetworkPolicy });
  const [a, b] = [endpointAt(1, 1, 2), endpointAt(2, 1, 3)];
  const take = world.fake.take.bind(world.fake);
  jest.spyOn(world.fake, 'take').mockImplementation((bytes) => {
    take(bytes);
    return take(bytes);
  });
  world.add(a);
  world.add(b);
  expect(world.packet(1, frame(a, b.ip, 'ping'))).toHaveLength(2);
  const { flows } = world.wanted;
  expect(world.staticFlows).toEqual(flows);
  expect(world.routes).toHaveLength(2);
  world.remove('e1');
  world.remove('e2');
  expect(world.staticFlows).toEqual(world.wanted.flows);
  expect(world.routes).toEqual([]);
});

test('over its cap an endpoint’s packets go on one by one', () => {
  const world = new FlowWorld({ host, networks: NETWORKS, policy: sameNetworkPolicy });
  const routes = (world as unknown as { state: DatapathState }).state.routes as unknown as { limits: object };
  Object.assign(routes.limits, { perEndpoint: 1 });
  const [a, b, c] = [endpointAt(1, 1, 2), endpointAt(2, 1, 3), endpointAt(3, 1, 4)];
  for (const each of [a, b, c]) world.add(each);
  expect(world.packet(1, frame(a, b.ip, 'one')).map((output) => output.portNo)).toEqual([2]);
  for (let i = 0; i < 3; i++)
    expect(world.packet(1, frame(a, c.ip, 'two')).map((output) => output.portNo)).toEqual([3]);
  expect([world.routes.length, world.counters.routesCapped]).toEqual([2, 3]);
});

test('what comes in a packet-in may be any bytes', () => {
  const world = new FlowWorld({ host, networks: NETWORKS, policy: sameNetworkPolicy });
  world.add(endpointAt(1, 1, 2));
  world.add(endpointAt(2, 1, 3));
  const honest = frame(endpointAt(1, 1, 2), endpointAt(2, 1, 3).ip, 'x');
  const damage = fc.array(fc.record({ at: fc.nat(honest.length - 1), value: fc.nat(255) }), { maxLength: 3 });
  const mostly = (value: number) => fc.oneof({ weight: 3, arbitrary: fc.constant(value) }, fc.nat(honest.length));
  fc.assert(
    fc.property(damage, mostly(honest.length), mostly(1), (changes, length, reason) => {
      const packet = Buffer.from(honest.subarray(0, length));
      for (const { at, value } of changes) if (at < length) packet[at] = value;
      const writer = new MessageWriter();
      encodeMessage(writer, 0, {
        type: 'packetIn2',
        reason: 1,
        tableId: TABLE.PUNT,
        cookie: 0n,
        fullLength: packet.length,
        fields: { inPort: 1 as never, reg0: 7, reg1: 1, reg2: reason },
        userdata: USERDATA,
        data: packet,
      });
      world.fake.sent.length = 0;
      (world as unknown as { tell(bytes: Buffer): void }).tell(Buffer.from(writer.take()));
      const isHonest = packet.length >= 34 && packet.readUInt32BE(26) === endpointAt(1, 1, 2).ip;
      expect(world.fake.sent.length).toBeLessThanOrEqual(isHonest ? 1 : 0);
    }),
  );
});
