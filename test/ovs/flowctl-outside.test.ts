// Between endpoints and what is behind the host port, on a real Open vSwitch in user space: addresses are rewritten on one
// side only, in the datapath where it can, and by the controller where it cannot. And the gateway, which answers itself.
import { parseIpv4 } from '../../src/base/addresses';
import { internetChecksum } from '../../src/packet/checksum';
import { naiveChecksum, naiveL4Checksum } from '../unit/packet/frames';
import {
  blue,
  describeFrame,
  frameFrom,
  frameIn,
  host,
  HOST_ADDRESS,
  HOST_MAC,
  icmpError,
  Lab,
  one,
  OUTSIDE,
  two,
  udp,
  until,
} from './flowctl-lab';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start();
});
afterAll(() => lab?.stop());
beforeEach(() => lab.forget());

const GATEWAY = parseIpv4('10.1.0.1');
const MORE_FRAGMENTS = 0x2000;

function tcp(text: string): { proto: number; payload: Buffer } {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(43210, 0);
  header.writeUInt16BE(80, 2);
  header[12] = 0x50;
  return { proto: 6, payload: Buffer.concat([header, Buffer.from(text)]) };
}

function expectRightChecksums(frame: Buffer): void {
  expect(internetChecksum(frame, 14, 20)).toBe(0);
  if (frame[23] === 17 && frame.readUInt16BE(40) === 0) return;
  expect(frame.readUInt16BE(frame[23] === 17 ? 40 : 50)).toBe(naiveL4Checksum(frame));
}

test.each([
  ['TCP', tcp('hello')],
  ['UDP', udp('hello')],
])('%s crosses both ways with right checksums, the first packet and those after it', async (_, packet) => {
  for (const round of ['first', 'second']) {
    await lab.inject(1, frameFrom(one, OUTSIDE, packet));
    const [out] = (await lab.leaving(10, 1)) as [Buffer];
    expect([round, describeFrame(out)]).toEqual([
      round,
      `02da000000fe>02da00000010 100.64.0.2>198.51.100.7 ttl 64 proto ${packet.proto}`,
    ]);
    expectRightChecksums(out);
    await lab.inject(10, frameIn(one, packet));
    const [back] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(back)).toBe(`02da000000fe>020000000001 198.51.100.7>10.1.0.2 ttl 64 proto ${packet.proto}`);
    expectRightChecksums(back);
  }
});

test('whoever begins, a published port is reached: from outside, and from the host itself', async () => {
  await lab.inject(10, frameIn(two, tcp('GET'), parseIpv4('203.0.113.50')));
  const [first] = (await lab.leaving(2, 1)) as [Buffer];
  expect(describeFrame(first)).toBe('02da000000fe>020000000002 203.0.113.50>10.1.0.3 ttl 64 proto 6');
  await lab.inject(10, frameIn(two, tcp('GET'), HOST_ADDRESS));
  expect((await lab.leaving(2, 1)).map(describeFrame)).toEqual([
    '02da000000fe>020000000002 100.64.0.1>10.1.0.3 ttl 64 proto 6',
  ]);
  await lab.inject(10, frameIn(blue, tcp('GET')));
  expect((await lab.leaving(3, 1)).map(describeFrame)).toEqual([
    '02da000000fe>020000000003 198.51.100.7>10.1.0.3 ttl 64 proto 6',
  ]);
  expect(lab.everything()).toEqual({});
});

test('a locator that nobody has swallows what comes, and the host may send to locators only', async () => {
  const { noWay } = lab.controller.counters();
  const from = { mac: HOST_MAC, ip: OUTSIDE };
  await lab.inject(10, frameFrom(from, parseIpv4('100.64.0.99'), udp('x')), frameFrom(from, one.ip, udp('x')));
  await until('refusal', () => lab.controller.counters().noWay === noWay + 1);
  await lab.inject(10, frameFrom({ mac: one.mac, ip: OUTSIDE }, one.locator, udp('x')), frameIn(one, udp('honest')));
  expect(await lab.leaving(1, 1)).toHaveLength(1);
  expect(lab.everything()).toEqual({});
});

describe('fragments', () => {
  const payload = Buffer.concat([udp('').payload.fill(0, 6), Buffer.alloc(2000, 'abcdefgh')]);
  payload.writeUInt16BE(payload.length, 4);
  const parts = [
    { proto: 17, payload: payload.subarray(0, 1000), fragment: MORE_FRAGMENTS },
    { proto: 17, payload: payload.subarray(1000, 1992), fragment: MORE_FRAGMENTS | 125 },
    { proto: 17, payload: payload.subarray(1992), fragment: 249 },
  ];
  const reassemble = (frames: readonly Buffer[]) =>
    Buffer.concat(
      [...frames]
        .sort((a, b) => (a.readUInt16BE(20) & 0x1fff) - (b.readUInt16BE(20) & 0x1fff))
        .map((frame) => frame.subarray(34)),
    );

  test('a datagram in pieces leaves whole', async () => {
    const { fragmentsRewritten } = lab.controller.counters();
    await lab.inject(1, ...parts.map((part) => frameFrom(one, OUTSIDE, part)));
    const frames = await lab.leaving(10, 3);
    expect(new Set(frames.map(describeFrame))).toEqual(
      new Set(['02da000000fe>02da00000010 100.64.0.2>198.51.100.7 ttl 64 proto 17']),
    );
    expect(frames.every((frame) => internetChecksum(frame, 14, 20) === 0)).toBe(true);
    expect(reassemble(frames).equals(payload)).toBe(true);
    expect(lab.controller.counters().fragmentsRewritten).toBe(fragmentsRewritten + 2);
  });

  test('and comes in whole, the later pieces first', async () => {
    await lab.inject(10, ...[...parts].reverse().map((part) => frameIn(one, part)));
    const frames = await lab.leaving(1, 3);
    expect(new Set(frames.map(describeFrame))).toEqual(
      new Set(['02da000000fe>020000000001 198.51.100.7>10.1.0.2 ttl 64 proto 17']),
    );
    expect(reassemble(frames).equals(payload)).toBe(true);
  });

  test('between endpoints they are packets like others', async () => {
    await lab.inject(1, ...parts.map((part) => frameFrom(one, two.ip, part)));
    expect(reassemble(await lab.leaving(2, 3)).equals(payload)).toBe(true);
  });
});

describe('ICMP errors', () => {
  test('from outside about what an endpoint sent reach it with its own address inside', async () => {
    const sent = frameFrom({ mac: one.mac, ip: one.locator }, OUTSIDE, udp('too large'));
    const router = parseIpv4('203.0.113.1');
    await lab.inject(10, frameIn(one, icmpError(3, 4, sent), router));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(error)).toBe('02da000000fe>020000000001 203.0.113.1>10.1.0.2 ttl 64 proto 1');
    expect(internetChecksum(error, 14, 20)).toBe(0);
    expect(internetChecksum(error, 34, error.length - 34)).toBe(0);
    const quoted = frameFrom(one, OUTSIDE, udp('too large')).subarray(14, 42);
    expect(error.subarray(42).toString('hex')).toBe(quoted.toString('hex'));
  });

  test('of an endpoint about what came from outside leave with its locator inside', async () => {
    const came = frameFrom({ mac: HOST_MAC, ip: OUTSIDE }, two.ip, udp('closed'));
    await lab.inject(2, frameFrom(two, OUTSIDE, icmpError(3, 3, came)));
    const [error] = (await lab.leaving(10, 1)) as [Buffer];
    expect(describeFrame(error)).toBe('02da000000fe>02da00000010 100.64.0.3>198.51.100.7 ttl 64 proto 1');
    expect(internetChecksum(error, 34, error.length - 34)).toBe(0);
    expect(error.subarray(54, 62).readUInt32BE(0)).toBe(OUTSIDE);
    expect(error.readUInt32BE(58)).toBe(two.locator);
  });

  test.each([
    ['about a packet that was never its own', () => frameFrom(one, OUTSIDE, icmpError(3, 3, frameIn(two, udp('x'))))],
    ['a redirect', () => frameFrom(one, OUTSIDE, icmpError(5, 1, frameFrom(one, OUTSIDE, udp('x'))))],
    [
      'that quotes nothing',
      () => frameFrom(one, OUTSIDE, { proto: 1, payload: Buffer.from('0303fcfc00000000', 'hex') }),
    ],
  ])('%s goes nowhere', async (_, frame) => {
    await lab.inject(1, frame(), frameFrom(one, OUTSIDE, udp('honest')));
    expect(await lab.leaving(10, 1)).toHaveLength(1);
    expect(lab.everything()).toEqual({});
  });
});

describe('the gateway', () => {
  const ping = (size: number) => {
    const payload = Buffer.concat([Buffer.from('0800000000010002', 'hex'), Buffer.alloc(size, 'ping')]);
    payload.writeUInt16BE(naiveChecksum(payload), 2);
    return payload;
  };

  test('answers ping in the datapath', async () => {
    const { packetIns } = lab.controller.counters();
    await lab.inject(1, frameFrom(one, GATEWAY, { proto: 1, payload: ping(56) }));
    const [pong] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(pong)).toBe('02da000000fe>020000000001 10.1.0.1>10.1.0.2 ttl 64 proto 1');
    expect(pong[34]).toBe(0);
    expect(internetChecksum(pong, 34, pong.length - 34)).toBe(0);
    expect(lab.controller.counters().packetIns).toBe(packetIns);
  });

  test('answers a large one, in pieces', async () => {
    const payload = ping(2992);
    const pieces = [0, 1000, 2000].map((at) => ({
      proto: 1,
      payload: payload.subarray(at, at + 1000),
      fragment: (at / 8) | (at < 2000 ? MORE_FRAGMENTS : 0),
    }));
    await lab.inject(1, ...pieces.map((piece) => frameFrom(one, GATEWAY, piece)));
    const pongs = await lab.leaving(1, 3);
    const pong = Buffer.concat(pongs.map((frame) => frame.subarray(34)));
    expect([pong[0], naiveChecksum(pong)]).toEqual([0, 0]);
    expect(pong.subarray(4).equals(payload.subarray(4))).toBe(true);
  });
});

test('without a host port there is no way out, and with it again there is', async () => {
  const { hostPort: _, ...without } = host;
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('x')));
  await lab.leaving(10, 1);
  lab.controller.setHost(without);
  await until('end of the routes outside', async () =>
    (await lab.reactiveFlows()).every((line) => !/table=3/.test(line)),
  );
  await lab.settled();
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('x')));
  const [error] = (await lab.leaving(1, 1)) as [Buffer];
  expect([error[34], error[35]]).toEqual([3, 0]);
  lab.controller.setHost(host);
  await until('the host port’s flows', async () => (await lab.flows('in_port=10')).length > 0);
  await until('end of the refusal', async () => (await lab.flows('table=3,in_port=1')).length === 0);
  await lab.settled();
  await lab.inject(1, frameFrom(one, OUTSIDE + 1, udp('x')));
  expect(await lab.leaving(10, 1)).toHaveLength(1);
});
