// Ports of one host that lead to an endpoint of another, on a real Open vSwitch in user space: the part of the port's host, the
// part of the endpoint's host, and what neither lets through.
import { formatIpv4, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import type { FlowRelay, RelayService } from '../../src/flowctl/model';
import { internetChecksum } from '../../src/packet/checksum';
import { naiveChecksum, naiveL4Checksum } from '../unit/packet/frames';
import {
  describeFrame,
  endpoints,
  FABRIC_MTU,
  far,
  frameFrom,
  HOST_ADDRESS,
  HOST_MAC,
  icmpError,
  Lab,
  one,
  PEER,
  SERVER_ADDRESS,
  two,
  until,
} from './flowctl-lab';

type Payload = Parameters<typeof frameFrom>[2];

const SERVICE = 2000;
const CLIENT = 1000;
const services: RelayService[] = [
  { protocol: 'TCP', port: 22 },
  { protocol: 'UDP', port: SERVICE },
];
const here: FlowRelay = {
  kind: 'here',
  peer: PEER,
  endpoint: { portNo: 1, mac: one.mac, ip: one.ip, locator: one.locator },
  services,
};
const away: FlowRelay = { kind: 'away', locator: far.locator, routerMac: PEER.routerMac, services };

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({}, [...endpoints, far]);
  lab.controller.setPeer(PEER);
  await setRelays(here, away);
});
afterAll(() => lab?.stop());
beforeEach(() => lab.forget());

const relayFlows = () => lab.flows('cookie=0xda24000000000000/0xff0f000000000000');

async function setRelays(...relays: FlowRelay[]): Promise<void> {
  const wanted = relays.reduce((sum, { kind }) => sum + (kind === 'here' ? 7 : 10), 0);
  lab.controller.setRelays(relays);
  await until('change of the relays', async () => (await relayFlows()).length === wanted);
}

/** A datagram with a right checksum, so that a wrong rewriting shows. */
function datagram(text: string, srcPort: number, dstPort: number): Payload {
  const payload = Buffer.alloc(8 + text.length);
  payload.writeUInt16BE(srcPort, 0);
  payload.writeUInt16BE(dstPort, 2);
  payload.writeUInt16BE(payload.length, 4);
  payload.writeUInt16BE(0xffff, 6);
  payload.write(text, 8);
  return { proto: 17, payload };
}

/** The head of a TCP segment. */
function segment(srcPort: number, dstPort: number): Payload {
  const payload = Buffer.alloc(20);
  payload.writeUInt16BE(srcPort, 0);
  payload.writeUInt16BE(dstPort, 2);
  payload[12] = 0x50;
  return { proto: 6, payload };
}

function sent(frame: Buffer): Buffer {
  if (frame[23] === 17 && frame.readUInt16BE(20) === 0) frame.writeUInt16BE(naiveL4Checksum(frame), 40);
  return frame;
}

function expectWhole(frame: Buffer): void {
  expect(internetChecksum(frame, 14, 20)).toBe(0);
  if (frame[23] === 17) expect(frame.readUInt16BE(40)).toBe(naiveL4Checksum(frame));
  if (frame[23] === 1) expect(internetChecksum(frame, 34, frame.readUInt16BE(16) - 20)).toBe(0);
}

function withTtl(frame: Buffer, ttl: number): Buffer {
  frame[22] = ttl;
  frame.writeUInt16BE(0, 24);
  frame.writeUInt16BE(naiveChecksum(frame.subarray(14, 34)), 24);
  return frame;
}

const fromPeer = (src: Ipv4, dst: Ipv4, rest: Payload, mac = PEER.routerMac) => frameFrom({ mac, ip: src }, dst, rest);
const fromHost = (src: Ipv4, dst: Ipv4, rest: Payload) => frameFrom({ mac: HOST_MAC, ip: src }, dst, rest);
const quotes = (error: Buffer) =>
  `${formatIpv4(error.readUInt32BE(54) as Ipv4)}>${formatIpv4(error.readUInt32BE(58) as Ipv4)}`;
/** Two fragments of a datagram without a checksum, the later one first. */
function fragments(payload: Buffer): Payload[] {
  payload.writeUInt16BE(0, 6);
  return [
    { proto: 17, payload: payload.subarray(400), fragment: 50 },
    { proto: 17, payload: payload.subarray(0, 400), fragment: 0x2000 },
  ];
}
const join = (frames: Buffer[]) =>
  Buffer.concat(
    [...frames]
      .sort((a, b) => (a.readUInt16BE(20) & 0x1fff) - (b.readUInt16BE(20) & 0x1fff))
      .map((frame) => frame.subarray(34)),
  );
const large = 'x'.repeat(1400);
const longText = 'abcdefgh'.repeat(100);

describe('where the endpoint is', () => {
  const IN = `02da000000fe>020000000001 ${formatIpv4(PEER.locator)}>${formatIpv4(one.ip)}`;
  const OUT = `02da000000fe>02da000001fe ${formatIpv4(one.locator)}>${formatIpv4(PEER.locator)}`;
  const question = (text: string) => datagram(text, CLIENT, SERVICE);
  const answer = (text: string) => datagram(text, SERVICE, CLIENT);

  test('what comes from the port’s host arrives, and the answer goes back', async () => {
    await lab.inject(11, sent(fromPeer(PEER.locator, one.locator, question('hello'))));
    const [came] = (await lab.leaving(1, 1)) as [Buffer];
    expect([describeFrame(came), came.subarray(42).toString()]).toEqual([`${IN} ttl 63 proto 17`, 'hello']);
    expectWhole(came);
    await lab.inject(1, sent(frameFrom(one, PEER.locator, answer('yes'))));
    const [went] = (await lab.leaving(11, 1)) as [Buffer];
    expect([describeFrame(went), went.subarray(42).toString()]).toEqual([`${OUT} ttl 63 proto 17`, 'yes']);
    expectWhole(went);
  });

  test('TCP as well; the controller has nothing to do with either', async () => {
    const { packetIns } = lab.controller.counters();
    await lab.inject(11, fromPeer(PEER.locator, one.locator, segment(CLIENT, 22)));
    await lab.inject(1, frameFrom(one, PEER.locator, segment(22, CLIENT)));
    expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([`${IN} ttl 63 proto 6`]);
    expect((await lab.leaving(11, 1)).map(describeFrame)).toEqual([`${OUT} ttl 63 proto 6`]);
    expect(lab.controller.counters().packetIns).toBe(packetIns);
    expect(await lab.reactiveFlows()).toEqual([]);
  });

  test('fragments come and go whole', async () => {
    const { payload } = question(longText);
    await lab.inject(11, ...fragments(payload).map((part) => fromPeer(PEER.locator, one.locator, part)));
    const came = await lab.leaving(1, 2);
    expect(new Set(came.map(describeFrame))).toEqual(new Set([`${IN} ttl 63 proto 17`]));
    expect(join(came).equals(payload)).toBe(true);
    const back = answer(longText).payload;
    await lab.inject(1, ...fragments(back).map((part) => frameFrom(one, PEER.locator, part)));
    const went = await lab.leaving(11, 2);
    expect(new Set(went.map(describeFrame))).toEqual(new Set([`${OUT} ttl 63 proto 17`]));
    expect(join(went).equals(back)).toBe(true);
  });

  test('an answer that is too large: told where it may not be cut, cut where it may', async () => {
    await lab.inject(1, frameFrom(one, PEER.locator, { ...answer(large), fragment: 0x4000 }));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect([error[34], error[35], error.readUInt16BE(40)]).toEqual([3, 4, FABRIC_MTU]);
    expect(describeFrame(error)).toContain(`${formatIpv4(SERVER_ADDRESS)}>${formatIpv4(one.ip)}`);
    await lab.inject(1, sent(frameFrom(one, PEER.locator, answer(large))));
    const pieces = await lab.leaving(11, 2);
    expect(new Set(pieces.map(describeFrame))).toEqual(new Set([`${OUT} ttl 63 proto 17`]));
    const joined = Buffer.concat([pieces[0]!, ...pieces.slice(1).map((piece) => piece.subarray(34))]);
    joined.writeUInt16BE(joined.length - 14, 16);
    expect(joined.readUInt16BE(40)).toBe(naiveL4Checksum(joined));
  });

  test('errors about what came and what went are translated', async () => {
    const came = fromPeer(PEER.locator, one.ip, question('closed'));
    await lab.inject(1, frameFrom(one, PEER.locator, icmpError(3, 3, came)));
    const [out] = (await lab.leaving(11, 1)) as [Buffer];
    expect([describeFrame(out), quotes(out)]).toEqual([
      `${OUT} ttl 63 proto 1`,
      `${formatIpv4(PEER.locator)}>${formatIpv4(one.locator)}`,
    ]);
    expectWhole(out);
    const went = fromPeer(one.locator, PEER.locator, answer('too large'));
    await lab.inject(11, fromPeer(PEER.locator, one.locator, icmpError(3, 4, went)));
    const [back] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(back)).toBe(
      `02da000000fe>020000000001 ${formatIpv4(PEER.address)}>${formatIpv4(one.ip)} ttl 63 proto 1`,
    );
    expect(quotes(back)).toBe(`${formatIpv4(one.ip)}>${formatIpv4(PEER.locator)}`);
    expectWhole(back);
  });

  test('an answer whose TTL runs out here is told by the server’s own address', async () => {
    await lab.inject(1, withTtl(frameFrom(one, PEER.locator, answer('old')), 1));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect([describeFrame(error), error[34]]).toEqual([
      `02da000000fe>020000000001 ${formatIpv4(SERVER_ADDRESS)}>${formatIpv4(one.ip)} ttl 64 proto 1`,
      11,
    ]);
  });

  test.each([
    ['another port', () => fromPeer(PEER.locator, one.locator, datagram('x', CLIENT, 2001))],
    ['another protocol', () => fromPeer(PEER.locator, one.locator, segment(CLIENT, SERVICE))],
    ['a port of the other protocol', () => fromPeer(PEER.locator, one.locator, datagram('x', CLIENT, 22))],
    ['another endpoint', () => fromPeer(PEER.locator, two.locator, question('x'))],
    ['another host’s MAC', () => fromPeer(PEER.locator, one.locator, question('x'), 0x02dead000001 as never)],
    ['another locator of that host', () => fromPeer((PEER.locator + 9) as Ipv4, one.locator, question('x'))],
    [
      'a ping',
      () => fromPeer(PEER.locator, one.locator, { proto: 1, payload: Buffer.from('0800f7ff00000000', 'hex') }),
    ],
    [
      'an error about what did not go there',
      () => fromPeer(PEER.locator, one.locator, icmpError(3, 4, fromPeer(one.locator, HOST_ADDRESS, answer('x')))),
    ],
    ['a TTL that runs out', () => withTtl(fromPeer(PEER.locator, one.locator, question('x')), 1)],
  ])('nothing else comes in: %s', async (_, frame) => {
    await lab.inject(11, frame(), sent(fromPeer(PEER.locator, one.locator, question('honest'))));
    const [only] = (await lab.leaving(1, 1)) as [Buffer];
    expect(only.subarray(42).toString()).toBe('honest');
    const { 11: told = 0, ...others } = lab.everything();
    expect(others).toEqual({});
    // Of a TTL that runs out the peer is told.
    expect(told).toBeLessThanOrEqual(_.includes('TTL') ? 1 : 0);
  });

  test.each([
    ['no answer', () => frameFrom(one, PEER.locator, datagram('x', 2001, CLIENT))],
    ['another protocol', () => frameFrom(one, PEER.locator, segment(SERVICE, CLIENT))],
    ['to another host', () => frameFrom(one, (PEER.locator + 256) as Ipv4, answer('x'))],
    ['another endpoint', () => frameFrom(two, PEER.locator, answer('x'))],
    ['a ping', () => frameFrom(one, PEER.locator, { proto: 1, payload: Buffer.from('0800f7ff00000000', 'hex') })],
    [
      'an error about what did not come from there',
      () => frameFrom(one, PEER.locator, icmpError(3, 3, fromPeer(far.locator, one.ip, question('x')))),
    ],
  ])('nothing else goes out: %s', async (_, frame) => {
    const bad = frame();
    await lab.inject(bad.readUInt32BE(26) === two.ip ? 2 : 1, bad);
    await lab.inject(1, sent(frameFrom(one, PEER.locator, answer('honest'))));
    const [only] = (await lab.leaving(11, 1)) as [Buffer];
    expect(only.subarray(42).toString()).toBe('honest');
    expect(lab.everything()).toEqual({});
  });
});

describe('where the port is', () => {
  const OUT = `02da000000fe>02da000001fe ${formatIpv4(HOST_ADDRESS)}>${formatIpv4(far.locator)}`;
  const IN = `02da000000fe>02da00000010 ${formatIpv4(far.locator)}>${formatIpv4(HOST_ADDRESS)}`;
  const question = (text: string) => datagram(text, CLIENT, SERVICE);
  const answer = (text: string) => datagram(text, SERVICE, CLIENT);

  test('what the kernel sends goes to the endpoint’s host, and the answer to the kernel', async () => {
    const { packetIns } = lab.controller.counters();
    await lab.inject(10, sent(fromHost(HOST_ADDRESS, far.locator, question('hello'))));
    const [went] = (await lab.leaving(11, 1)) as [Buffer];
    // The kernel takes one from the TTL, both ways.
    expect([describeFrame(went), went.subarray(42).toString()]).toEqual([`${OUT} ttl 64 proto 17`, 'hello']);
    expectWhole(went);
    await lab.inject(11, sent(fromPeer(far.locator, HOST_ADDRESS, answer('yes'))));
    const [came] = (await lab.leaving(10, 1)) as [Buffer];
    expect([describeFrame(came), came.subarray(42).toString()]).toEqual([`${IN} ttl 64 proto 17`, 'yes']);
    expectWhole(came);
    await lab.inject(10, fromHost(HOST_ADDRESS, far.locator, segment(CLIENT, 22)));
    await lab.inject(11, fromPeer(far.locator, HOST_ADDRESS, segment(22, CLIENT)));
    expect((await lab.leaving(11, 1)).map(describeFrame)).toEqual([`${OUT} ttl 64 proto 6`]);
    expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([`${IN} ttl 64 proto 6`]);
    expect(lab.controller.counters().packetIns).toBe(packetIns);
  });

  test('fragments and errors go and come as they are', async () => {
    const { payload } = question(longText);
    await lab.inject(10, ...fragments(payload).map((part) => fromHost(HOST_ADDRESS, far.locator, part)));
    expect(join(await lab.leaving(11, 2)).equals(payload)).toBe(true);
    await lab.inject(11, ...fragments(payload).map((part) => fromPeer(far.locator, HOST_ADDRESS, part)));
    // The first fragment comes from the client's port here, which is no service.
    expect(await lab.leaving(10, 1)).toHaveLength(1);
    const went = fromPeer(HOST_ADDRESS, far.locator, question('x'));
    await lab.inject(11, fromPeer(far.locator, HOST_ADDRESS, icmpError(3, 3, went)));
    const [error] = (await lab.leaving(10, 1)) as [Buffer];
    expect([describeFrame(error), quotes(error)]).toEqual([
      `${IN} ttl 64 proto 1`,
      `${formatIpv4(HOST_ADDRESS)}>${formatIpv4(far.locator)}`,
    ]);
    const came = fromPeer(far.locator, HOST_ADDRESS, answer('x'));
    await lab.inject(10, fromHost(HOST_ADDRESS, far.locator, icmpError(3, 4, came)));
    const [told] = (await lab.leaving(11, 1)) as [Buffer];
    expect(describeFrame(told)).toBe(`${OUT} ttl 64 proto 1`);
  });

  test.each([
    ['another source', () => fromHost(parseIpv4('198.51.100.7'), far.locator, question('x'))],
    ['another port', () => fromHost(HOST_ADDRESS, far.locator, datagram('x', CLIENT, 2001))],
    ['another endpoint', () => fromHost(HOST_ADDRESS, (far.locator + 1) as Ipv4, question('x'))],
    [
      'a ping',
      () => fromHost(HOST_ADDRESS, far.locator, { proto: 1, payload: Buffer.from('0800f7ff00000000', 'hex') }),
    ],
  ])('nothing else goes out: %s', async (_, frame) => {
    await lab.inject(10, frame(), sent(fromHost(HOST_ADDRESS, far.locator, question('honest'))));
    const [only] = (await lab.leaving(11, 1)) as [Buffer];
    expect(only.subarray(42).toString()).toBe('honest');
    expect(lab.everything()).toEqual({});
  });

  test.each([
    ['no answer', () => fromPeer(far.locator, HOST_ADDRESS, datagram('x', 2001, CLIENT))],
    ['to a service of this host', () => fromPeer(far.locator, HOST_ADDRESS, segment(CLIENT, 22))],
    ['another endpoint', () => fromPeer((far.locator + 1) as Ipv4, HOST_ADDRESS, answer('x'))],
    ['another host’s MAC', () => fromPeer(far.locator, HOST_ADDRESS, answer('x'), 0x02dead000001 as never)],
    ['a TTL that runs out', () => withTtl(fromPeer(far.locator, HOST_ADDRESS, answer('x')), 1)],
  ])('nothing else comes in: %s', async (_, frame) => {
    await lab.inject(11, frame(), sent(fromPeer(far.locator, HOST_ADDRESS, answer('honest'))));
    const [only] = (await lab.leaving(10, 1)) as [Buffer];
    expect(only.subarray(42).toString()).toBe('honest');
    expect(lab.everything()).toEqual({});
  });

  test('nothing else comes in: a ping, which the datapath answers', async () => {
    const ping = fromPeer(far.locator, HOST_ADDRESS, { proto: 1, payload: Buffer.from('0800f7ff00000000', 'hex') });
    await lab.inject(11, ping, sent(fromPeer(far.locator, HOST_ADDRESS, answer('honest'))));
    const [only] = (await lab.leaving(10, 1)) as [Buffer];
    expect(only.subarray(42).toString()).toBe('honest');
    const [reply] = (await lab.leaving(11, 1)) as [Buffer];
    expect(reply.readUInt8(34)).toBe(0);
    expect(lab.everything()).toEqual({});
  });

  test('endpoints of this host do not reach the locator', async () => {
    await lab.inject(1, frameFrom(one, far.locator, question('x')));
    await lab.inject(10, sent(fromHost(HOST_ADDRESS, far.locator, question('honest'))));
    expect(await lab.leaving(11, 1)).toHaveLength(1);
    expect(lab.everything()).toEqual({});
  });
});

test('a controller that starts anew leaves the flows as they are, and those of relays that are no more go', async () => {
  const before = await relayFlows();
  await lab.controller.stop();
  await lab.startController([...endpoints, far]);
  lab.controller.setPeer(PEER);
  lab.controller.setRelays([here, away]);
  await lab.reconnect();
  expect(await relayFlows()).toEqual(before);
  await setRelays(away);
  await lab.inject(11, fromPeer(PEER.locator, one.locator, datagram('x', CLIENT, SERVICE)));
  await lab.inject(10, sent(fromHost(HOST_ADDRESS, far.locator, datagram('honest', CLIENT, SERVICE))));
  expect(await lab.leaving(11, 1)).toHaveLength(1);
  expect(lab.everything()).toEqual({});
  await setRelays();
  await setRelays(here, away);
});
