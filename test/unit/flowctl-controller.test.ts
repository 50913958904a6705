// The controller over its socket, with datapaths in memory and a clock that tests move: greeting, silence, congestion,
// refusals, and several datapaths at once. What it programs is tested elsewhere.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import type { Logger } from '../../src/base/logger';
import { Controller, type ControllerOptions } from '../../src/flowctl/controller';
import {
  sameNetworkPolicy,
  type FlowEndpoint,
  type FlowHost,
  type FlowNetwork,
  type Policy,
} from '../../src/flowctl/model';
import { PUNT_REASON, USERDATA } from '../../src/flowctl/pipeline';
import { OFPMP, OFPRR, OFPT } from '../../src/openflow/constants';
import { encodeMessage } from '../../src/openflow/message';
import { MessageWriter } from '../../src/openflow/message-writer';
import { attach, FakeDatapath } from '../fakes/fake-datapath';
import { ManualClock } from '../fakes/manual-clock';
import { buildFrame } from './packet/frames';

const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};
const network: FlowNetwork = { id: 'n', key: 1, tenant: 1, pools: [parseCidr('10.0.0.0/8')], internal: false };

function endpoint(n: number, datapathId?: string): FlowEndpoint {
  return {
    id: `e${n}`,
    networkKey: 1,
    mac: (0x020000000000 + n) as Mac,
    ip: (0x0a000000 + n) as Ipv4,
    locator: (host.hostAddress + n) as Ipv4,
    location: { kind: 'local', portNo: n, ...(datapathId === undefined ? {} : { datapathId }) },
  };
}

let folder: string;
let clock: ManualClock;
let controller: Controller;
let sockets: Socket[];
const events: string[] = [];
const warnings: string[] = [];
const logger: Logger = {
  debug() {},
  info() {},
  warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
  error() {},
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flowctl-'));
  clock = new ManualClock();
  sockets = [];
  events.length = 0;
  warnings.length = 0;
});
afterEach(async () => {
  sockets.forEach((socket) => socket.destroy());
  await controller.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function start(options: Partial<ControllerOptions> = {}): Promise<void> {
  controller = new Controller({
    path: join(folder, 's'),
    clock,
    logger,
    onConnected: (datapathId) => void events.push(`connected ${datapathId}`),
    onDisconnected: (datapathId, reason) => void events.push(`disconnected ${datapathId}: ${reason}`),
    ...options,
  });
  controller.setHost(host);
  controller.setNetwork(network);
  await controller.start();
}

async function enter(fake: FakeDatapath): Promise<{ socket: Socket; tell: (bytes: Buffer) => void }> {
  const attached = await attach(join(folder, 's'), fake);
  sockets.push(attached.socket);
  return attached;
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 4000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not come to that');
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const ready = (count = 1) => until(() => controller.counters().datapaths === count);

function packetIn(from: number, to: number): Buffer {
  const data = buildFrame({
    src: 0x0a000000 + from,
    dst: 0x0a000000 + to,
    proto: 17,
    payload: Buffer.from('03e807d000080000', 'hex'),
  });
  const writer = new MessageWriter();
  encodeMessage(writer, 0, {
    type: 'packetIn2',
    reason: 1,
    tableId: 4,
    cookie: 0n,
    fullLength: data.length,
    fields: { inPort: from as never, reg0: 1, reg1: 1, reg2: PUNT_REASON.PAIR },
    userdata: USERDATA,
    data,
  });
  return Buffer.from(writer.take());
}

const DATAPATH = '00000000000000da';

test('a datapath is greeted, programmed and announced; when it hangs up, that is too', async () => {
  await start();
  const fake = new FakeDatapath();
  expect(controller.isServing).toBe(false);
  const { socket } = await enter(fake);
  await ready();
  expect(controller.isServing).toBe(true);
  expect(fake.dump()).not.toEqual([]);
  socket.end();
  await until(() => events.length === 2);
  expect(controller.isServing).toBe(false);
  expect(events).toEqual([`connected ${DATAPATH}`, `disconnected ${DATAPATH}: the datapath closed the connection`]);
});

test('it does not start without its host, and stops and starts as often as one likes', async () => {
  controller = new Controller({ path: join(folder, 's'), clock, logger });
  await expect(controller.start()).rejects.toMatchObject({ code: 'invalid' });
  controller.setHost(host);
  await controller.start();
  await controller.start();
  await enter(new FakeDatapath());
  await ready();
  await controller.stop();
  await controller.stop();
  expect(controller.counters().datapaths).toBe(0);
  await controller.start();
  await enter(new FakeDatapath());
  await ready();
});

test('a socket that vanishes is made again, while connections live on', async () => {
  await start();
  const [first, second] = [new FakeDatapath(1n), new FakeDatapath(2n)];
  controller.addEndpoint(endpoint(1, '0000000000000001')).catch(() => undefined);
  await enter(first);
  await ready();
  rmSync(join(folder, 's'));
  clock.advance(2000);
  await until(() => existsSync(join(folder, 's')));
  await enter(second);
  await ready(2);
});

test('a silent datapath is asked, and given up when it says nothing', async () => {
  await start();
  const fake = new FakeDatapath();
  const { socket } = await enter(fake);
  await ready();
  for (let probe = 0; probe < 3; probe += 1) {
    const { bytesRead } = socket;
    clock.advance(5000);
    // Eight bytes of echo request come, and the fake answers.
    await until(() => socket.bytesRead === bytesRead + 8);
    await controller.drops();
  }
  expect(controller.counters().datapaths).toBe(1);
  socket.pause();
  jest.spyOn(fake, 'take').mockReturnValue(Buffer.alloc(0));
  socket.resume();
  clock.advance(5000);
  clock.advance(5000);
  await until(() => events.length === 2);
  expect(events[1]).toContain('said nothing for 10 s');
});

test('who does not say what it is, is not waited for', async () => {
  await start();
  const socket = connect(join(folder, 's'));
  sockets.push(socket);
  socket.resume();
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await until(() => controller.counters().connections === 1);
  clock.advance(4000);
  socket.write(Buffer.from('0500000800000001', 'hex'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance(4000);
  socket.write(Buffer.from('0503000800000001', 'hex'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  clock.advance(4000);
  await closed;
  expect(events).toEqual([]);
});

test('only the datapath that it was told of is taken', async () => {
  await start({ datapathId: DATAPATH });
  const { socket } = await enter(new FakeDatapath(0xbadn));
  await new Promise((resolve) => socket.once('close', resolve));
  const fake = new FakeDatapath();
  await enter(fake);
  await ready();
  await controller.addEndpoint(endpoint(1));
  expect(fake.meterIds()).toContain(1);
});

test('a datapath that connects anew takes the place of its former connection', async () => {
  await start();
  const fake = new FakeDatapath();
  const { socket } = await enter(fake);
  await ready();
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await enter(fake);
  await closed;
  await until(() => events.length === 3);
  expect(events.map((event) => event.split(' ')[0])).toEqual(['connected', 'disconnected', 'connected']);
});

test('it becomes master before it does anything, and takes the datapath back from whoever became master', async () => {
  const asked: bigint[] = [];
  let grant = (_: bigint): void => undefined;
  await start({
    nextGeneration: (seen) => {
      asked.push(seen);
      return new Promise((resolve) => (grant = resolve));
    },
  });
  const fake = new FakeDatapath();
  fake.generation = 6n;
  const { tell } = await enter(fake);
  await until(() => asked.length === 1);
  controller.addEndpoint(endpoint(1)).catch(() => undefined);
  controller.addEndpoint(endpoint(2)).catch(() => undefined);
  tell(packetIn(1, 2));
  expect(fake.dump()).toEqual([]);
  // Somebody was faster: it asks again with what the datapath has seen.
  fake.generation = 8n;
  grant(7n);
  await until(() => asked.length === 2);
  grant(9n);
  await ready();
  expect(asked).toEqual([6n, 8n]);
  expect(fake.generation).toBe(9n);
  const flows = fake.dump();
  expect(flows).not.toEqual([]);
  expect(controller.counters().packetIns).toBe(0);

  tell(fake.demote(12n));
  await until(() => asked.length === 3);
  expect(controller.counters().datapaths).toBe(0);
  tell(packetIn(1, 2));
  await expect(controller.routes()).resolves.toEqual([]);
  controller.addEndpoint(endpoint(3)).catch(() => undefined);
  await new Promise((resolve) => setImmediate(resolve));
  expect(fake.dump()).toEqual(flows);
  grant(13n);
  await ready();
  expect(asked[2]).toBe(12n);
  expect(fake.meterIds()).toContain(3);
  expect(warnings).toEqual([`another controller became master of the datapath {"datapathId":"${DATAPATH}"}`]);
  tell(packetIn(1, 2));
  await until(() => controller.counters().packetIns === 1);
});

test('a datapath that does not answer who is master is given up', async () => {
  await start();
  const fake = new FakeDatapath();
  const take = fake.take.bind(fake);
  let asked = 0;
  jest.spyOn(fake, 'take').mockImplementation((bytes) => {
    if (bytes[1] !== OFPT.ROLE_REQUEST) return take(bytes);
    asked += 1;
    return Buffer.alloc(0);
  });
  await enter(fake);
  await until(() => asked === 1);
  clock.advance(4000);
  await until(() => events.length === 1);
  expect(events).toEqual([`disconnected ${DATAPATH}: the datapath did not answer within 4000 ms`]);
});

test('several datapaths each have their own endpoints, and packets find no way between them yet', async () => {
  await start();
  const [first, second] = [new FakeDatapath(1n), new FakeDatapath(2n)];
  const of = (n: number, datapath: bigint) => endpoint(n, datapath.toString(16).padStart(16, '0'));
  for (const each of [of(1, 1n), of(2, 1n), of(3, 2n)]) controller.addEndpoint(each).catch(() => undefined);
  const { tell } = await enter(first);
  await enter(second);
  await ready(2);
  expect([first.meterIds(), second.meterIds()]).toEqual([
    [1, 2, 10],
    [3, 10],
  ]);
  tell(packetIn(1, 3));
  tell(packetIn(1, 2));
  await until(() => first.sent.length > 0);
  expect(first.sent.map(({ portNo }) => portNo)).toEqual([2]);
  expect(second.sent).toEqual([]);
});

test('what the datapath does not read is bounded: packet-outs are given up first, then packet-ins; flow mods never', async () => {
  await start();
  for (let n = 11; n <= 50; n += 1) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const fake = new FakeDatapath();
  const { socket, tell } = await enter(fake);
  await ready();
  socket.pause();
  const ports = Array.from({ length: 40 }, (_, i) => 11 + i);
  const pairs = ports.flatMap((from) => ports.filter((to) => to !== from).map((to) => packetIn(from, to)));
  const seen = () => controller.counters().packetIns + controller.counters().packetInsDropped;
  // Each round comes late enough for every route to be sent again.
  for (let round = 1; round <= 60; round += 1) {
    tell(Buffer.concat(pairs));
    await until(() => seen() === round * pairs.length);
    clock.advance(100);
  }
  const { packetOuts, packetOutsDropped, packetInsDropped, routesInstalled } = controller.counters();
  expect(packetOuts + packetOutsDropped + packetInsDropped).toBe(60 * pairs.length);
  expect(packetOutsDropped).toBeGreaterThan(1000);
  expect(packetInsDropped).toBeGreaterThan(1000);
  expect(routesInstalled * 144).toBeLessThan(10 * 1024 * 1024);
  socket.destroy();
});

test('a datapath of another host asks about so many packets a second, whatever its meters let through', async () => {
  await start({ packetInsPerSecond: 20 });
  for (let n = 11; n <= 12; n += 1) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const { tell } = await enter(new FakeDatapath());
  await ready();
  const counts = () => [controller.counters().packetIns, controller.counters().packetInsDropped];
  tell(Buffer.concat(Array.from({ length: 100 }, () => packetIn(11, 12))));
  await until(() => counts()[1]! > 0 && counts()[0]! + counts()[1]! === 100);
  expect(counts()).toEqual([20, 80]);
  clock.advance(500);
  tell(Buffer.concat(Array.from({ length: 100 }, () => packetIn(11, 12))));
  await until(() => counts()[0]! + counts()[1]! === 200);
  expect(counts()).toEqual([30, 170]);
});

test('a datapath that refuses bundles gets its flows one by one', async () => {
  await start();
  const fake = new FakeDatapath();
  const take = fake.take.bind(fake);
  let bundles = 0;
  jest.spyOn(fake, 'take').mockImplementation((bytes) => {
    const type = bytes[1];
    if (type !== OFPT.BUNDLE_CONTROL && type !== OFPT.BUNDLE_ADD_MESSAGE) return take(bytes);
    bundles += 1;
    const writer = new MessageWriter();
    // OFPBFC_UNKNOWN.
    encodeMessage(writer, bytes.readUInt32BE(4), {
      type: 'error',
      errorType: 17,
      code: 0,
      data: bytes.subarray(0, 64),
    });
    return Buffer.from(writer.take());
  });
  await enter(fake);
  await ready();
  expect(bundles).toBeGreaterThan(0);
  expect(fake.dump()).toHaveLength(22 + 4 + 1);
});

test('endpoints may come and go while what the datapath has is compared', async () => {
  await start();
  for (const n of [1, 2]) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const fake = new FakeDatapath();
  const take = fake.take.bind(fake);
  const changes: Promise<void>[] = [];
  jest.spyOn(fake, 'take').mockImplementation((bytes) => {
    const answer = take(bytes);
    const isListing = bytes[1] === OFPT.MULTIPART_REQUEST && bytes.readUInt16BE(8) === OFPMP.METER_CONFIG;
    if (isListing) {
      changes.push(controller.addEndpoint(endpoint(3)), controller.removeEndpoint('e1'));
      controller.setNetwork({ ...network, gateway: parseIpv4('10.0.0.1') });
    }
    return answer;
  });
  await enter(fake);
  await ready();
  await Promise.all(changes);
  await controller.drops();
  await until(() => controller.counters().datapaths === 1);
  expect(fake.meterIds()).toEqual([2, 3, 10]);
  expect(fake.dump((flow) => flow.match.inPort === 1)).toEqual([]);
  expect(fake.dump((flow) => flow.match.inPort === 3)).toHaveLength(4);
  expect(fake.dump()).toHaveLength(22 + 4 + 3 + 8);
  expect(warnings).toEqual([]);
});

test('a datapath that never confirms lets its caller down in time, and endpoints that cannot be are refused at once', async () => {
  await start();
  const fake = new FakeDatapath();
  await enter(fake);
  await ready();
  const take = jest.spyOn(fake, 'take').mockReturnValue(Buffer.alloc(0));
  const waiting = controller.addEndpoint(endpoint(1));
  clock.advance(4000);
  await expect(waiting).rejects.toMatchObject({ code: 'unavailable' });
  take.mockRestore();
  await expect(controller.addEndpoint({ ...endpoint(2), networkKey: 9 })).rejects.toMatchObject({ code: 'not-found' });
  await expect(controller.addEndpoint({ ...endpoint(2), ip: endpoint(1).ip })).rejects.toMatchObject({
    code: 'conflict',
  });
  expect([...controller.endpointIds()]).toEqual(['e1']);
  await controller.addEndpoint(endpoint(1));
  await controller.removeEndpoint('e1');
  await controller.removeEndpoint('e1');
  controller.removeNetwork('n');
  controller.removeNetwork('n');
  expect(controller.hasNetwork('n')).toBe(false);
});

test('an endpoint that changes is replaced: nothing of before is left', async () => {
  await start();
  const fake = new FakeDatapath();
  await enter(fake);
  await ready();
  await controller.addEndpoint(endpoint(1));
  await controller.addEndpoint({ ...endpoint(7), id: 'e1' });
  expect(fake.dump((flow) => flow.match.inPort === 1)).toEqual([]);
  expect(fake.dump((flow) => flow.match.inPort === 7)).toHaveLength(4);
  expect(fake.meterIds()).toEqual([7, 10]);
  expect(() => controller.removeNetwork('n')).toThrow(expect.objectContaining({ code: 'conflict' }));
});

test('a packet that the policy chokes on ends itself alone, and is told of once a minute', async () => {
  let shouldThrow = true;
  const policy: Policy = {
    ...sameNetworkPolicy,
    judge() {
      if (shouldThrow) throw new Error('no idea');
      return 'allow';
    },
  };
  await start({ policy });
  for (const n of [1, 2]) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const fake = new FakeDatapath();
  const { tell } = await enter(fake);
  await ready();
  tell(Buffer.concat([packetIn(1, 2), packetIn(1, 2)]));
  await until(() => controller.counters().malformed === 2);
  for (let probe = 0; probe < 12; probe += 1) {
    clock.advance(5000);
    await controller.drops();
  }
  tell(packetIn(1, 2));
  await until(() => controller.counters().malformed === 3);
  shouldThrow = false;
  tell(packetIn(1, 2));
  await until(() => fake.sent.length === 1);
  expect(warnings).toEqual([
    `a packet was dropped: Error: no idea {"datapathId":"${DATAPATH}"}`,
    `a packet was dropped: Error: no idea {"datapathId":"${DATAPATH}","othersSinceLast":1}`,
  ]);
});

test('a policy that changes takes routes away and lets denied ones be asked again', async () => {
  await start();
  for (const n of [1, 2]) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const fake = new FakeDatapath();
  const { tell } = await enter(fake);
  await ready();
  const routes = () => fake.dump((flow) => (flow.idleTimeoutSeconds ?? 0) > 0).length;
  const denials = () => fake.dump((flow) => (flow.hardTimeoutSeconds ?? 0) > 0).length;
  tell(packetIn(1, 2));
  await until(() => routes() === 2);
  controller.setPolicy({ ...sameNetworkPolicy, judge: () => 'deny' });
  // All is compared again meanwhile, and served.
  expect(controller.counters().datapaths).toBe(0);
  expect(controller.isServing).toBe(true);
  await until(() => routes() === 0);
  tell(packetIn(1, 2));
  await until(() => denials() === 1);
  expect(controller.denials()).toEqual([
    { source: 'e1', destination: 'e2', protocol: 17, port: 2000, packets: 1, lastMs: clock.now() },
  ]);
  controller.setPolicy(sameNetworkPolicy);
  await until(() => denials() === 0);
  expect(await controller.routes()).toEqual([]);
});

test('an endpoint that becomes something else to the policy loses what it may not have, and nothing else changes', async () => {
  const subjects = new Map([['e3', 9]]);
  await start({ policy: { ...sameNetworkPolicy, subjectOf: (id, networkKey) => subjects.get(id) ?? networkKey } });
  for (const n of [1, 2, 3, 4]) controller.addEndpoint(endpoint(n)).catch(() => undefined);
  const fake = new FakeDatapath();
  const { tell } = await enter(fake);
  await ready();
  const live = () =>
    fake.dump((flow) => (flow.idleTimeoutSeconds ?? 0) > 0).map((line) => /nw_src=\S+/.exec(line)?.[0]);
  const denials = () => fake.dump((flow) => (flow.hardTimeoutSeconds ?? 0) > 0).length;
  tell(Buffer.concat([packetIn(1, 2), packetIn(1, 4), packetIn(1, 3), packetIn(3, 2)]));
  await until(() => live().length === 4 && denials() === 2);
  const { flowsRepaired } = controller.counters();
  const fourth = live().filter((line) => line?.includes('10.0.0.4'));
  subjects.delete('e3');
  subjects.set('e2', 9);
  controller.refreshSubjects(['e1', 'e2', 'nobody']);
  // e3 is still what it was to the policy, since nobody said that it has changed.
  await until(() => live().length === 2 && denials() === 1);
  expect(live().filter((line) => line?.includes('10.0.0.4'))).toEqual(fourth);
  controller.refreshSubjects(['e1', 'e2', 'e3', 'e4']);
  await until(() => denials() === 0);
  tell(packetIn(1, 3));
  await until(() => live().length === 4);
  expect(controller.counters()).toMatchObject({ denied: 2, flowsRepaired });
});

test.each([
  ['all that two have', sameNetworkPolicy],
  ['a conversation', { ...sameNetworkPolicy, judge: () => 'depends' as const, permits: () => true }],
])('a route that the datapath had already, for %s, is forgotten when it ends', async (_what, policy) => {
  const enterAll = async () => {
    await start({ policy, settings: { idleTimeoutSeconds: 3 } });
    for (const n of [1, 2]) controller.addEndpoint(endpoint(n)).catch(() => undefined);
    const attached = await enter(fake);
    await ready();
    return attached;
  };
  const fake = new FakeDatapath();
  const { tell } = await enterAll();
  tell(packetIn(1, 2));
  await until(() => fake.dump(({ idleTimeoutSeconds = 0 }) => idleTimeoutSeconds > 0).length === 2);
  // Whatever part of a second it is old.
  fake.advance(1.9);
  clock.advance(1_900);
  await controller.stop();
  const again = await enterAll();
  expect(controller.counters().routes).toBe(1);
  clock.advance(2_000);
  again.tell(fake.advance(2));
  await until(() => controller.counters().routes === 0);
});

test('a late word about a route that was deleted does not make the next one of the pair forgotten', async () => {
  await start();
  controller.setHost({
    ...host,
    serverAddress: parseIpv4('192.0.2.1'),
    fabric: { portNo: 11, mtu: 1500, isNarrow: false },
  });
  const fake = new FakeDatapath();
  const { tell } = await enter(fake);
  const peer = parseMac('02:da:00:00:02:fe');
  await ready();
  await controller.addEndpoint(endpoint(1));
  await controller.addEndpoint({ ...endpoint(2), location: { kind: 'remote', routerMac: peer } });
  const routes = () => fake.dump((flow) => (flow.idleTimeoutSeconds ?? 0) > 0);
  controller.takeWord(peer, endpoint(2).locator, endpoint(1).locator);
  await until(() => routes().length === 2);
  for (const line of routes()) {
    const writer = new MessageWriter();
    const flow = { cookie: BigInt(/cookie=(0x[0-9a-f]+)/.exec(line)![1]!), priority: 600, table: 2, match: {} };
    const counts = { durationSeconds: 0, durationNanoseconds: 1e6, packetCount: 0, byteCount: 0 };
    encodeMessage(writer, 0, { type: 'flowRemoved', ...flow, ...counts, idleTimeoutSeconds: 60, reason: OFPRR.DELETE });
    tell(Buffer.from(writer.take()));
  }
  await controller.drops();
  await controller.removeEndpoint('e2');
  await controller.drops();
  expect(routes()).toEqual([]);
});

test('networks change while endpoints are there: pools, gateway and the way outside follow', async () => {
  await start();
  const fake = new FakeDatapath();
  await enter(fake);
  await ready();
  await controller.addEndpoint(endpoint(1));
  const before = fake.dump();
  const wider = { ...network, gateway: parseIpv4('10.0.0.1'), pools: [...network.pools, parseCidr('11.0.0.0/8')] };
  controller.setNetwork(wider);
  await controller.drops();
  expect(fake.dump()).toHaveLength(before.length + 3);
  controller.setNetwork(network);
  await controller.drops();
  expect(fake.dump()).toEqual(before);
  const other = { ...network, id: 'other', key: 2 };
  expect(() => controller.setNetwork(other)).toThrow(expect.objectContaining({ code: 'conflict', subject: 'n' }));
  expect(() => controller.setNetwork({ ...network, tenant: 2 })).toThrow(expect.objectContaining({ code: 'conflict' }));
  expect(() => controller.setNetwork({ ...other, key: 0 })).toThrow(expect.objectContaining({ code: 'invalid' }));
  controller.setNetwork({ ...other, tenant: 2 });
});
