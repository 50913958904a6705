// Between hosts, on a real Open vSwitch in user space: what leaves by the fabric port and what comes in there, as the peer
// would send it. Frames on the fabric carry locators and router MACs alone.
import { formatIpv4, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import type { FlowHost } from '../../src/flowctl/model';
import { internetChecksum } from '../../src/packet/checksum';
import { naiveChecksum, naiveL4Checksum } from '../unit/packet/frames';
import {
  blue,
  describeFrame,
  endpoints,
  FABRIC_MTU,
  FABRIC_PORT,
  far,
  farBlue,
  farOther,
  frameFrom,
  host,
  HOST_ADDRESS,
  icmpError,
  Lab,
  one,
  PEER,
  SERVER_ADDRESS,
  two,
  udp,
  until,
} from './flowctl-lab';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ denyTimeoutSeconds: 2 }, [...endpoints, far, farBlue, farOther]);
  lab.controller.setPeer(PEER);
});
afterAll(() => lab?.stop());
beforeEach(() => lab.forget());

const OUT = `02da000000fe>02da000001fe ${formatIpv4(one.locator)}>${formatIpv4(far.locator)}`;
const IN = `02da000000fe>020000000001 ${formatIpv4(far.ip)}>${formatIpv4(one.ip)}`;

/** What the peer's datapath sends for one of its endpoints. */
function fromPeer(src: Ipv4, dst: Ipv4, rest: Parameters<typeof frameFrom>[2], mac = PEER.routerMac): Buffer {
  return frameFrom({ mac, ip: src }, dst, rest);
}

function withTtl(frame: Buffer, ttl: number): Buffer {
  frame[22] = ttl;
  frame.writeUInt16BE(0, 24);
  frame.writeUInt16BE(naiveChecksum(frame.subarray(14, 34)), 24);
  return frame;
}

const quotes = (error: Buffer) =>
  `${formatIpv4(error.readUInt32BE(54) as Ipv4)}>${formatIpv4(error.readUInt32BE(58) as Ipv4)}`;

function expectWhole(frame: Buffer): void {
  expect(internetChecksum(frame, 14, 20)).toBe(0);
  if (frame[23] === 17) expect(frame.readUInt16BE(40)).toBe(naiveL4Checksum(frame));
  if (frame[23] === 1) expect(internetChecksum(frame, 34, frame.readUInt16BE(16) - 20)).toBe(0);
}

/** UDP with a right checksum, so that a wrong rewriting shows. */
function datagram(text: string): Parameters<typeof frameFrom>[2] {
  const { proto, payload } = udp(text);
  payload.writeUInt16BE(0xffff, 6);
  return { proto, payload };
}
function sent(frame: Buffer): Buffer {
  if (frame[23] === 17) frame.writeUInt16BE(naiveL4Checksum(frame), 40);
  return frame;
}

async function noRoutes(): Promise<void> {
  await lab.controller.removeEndpoint(far.id);
  await lab.controller.addEndpoint(far);
  await until('end of the routes', async () =>
    (await lab.flows('table=6')).every((line) => !line.includes('_timeout')),
  );
}

test('hosts that have not talked hold nothing about one another', async () => {
  expect(await lab.reactiveFlows()).toEqual([]);
  const text = (await lab.flows()).join('\n');
  expect(text).not.toContain('02:da:00:00:01:fe');
  expect(text).not.toContain(formatIpv4(far.locator));
});

test('out: the first packet and those after it leave as the peer knows them, and both halves stand', async () => {
  for (const round of ['first', 'second', 'third']) {
    await lab.inject(1, sent(frameFrom(one, far.ip, datagram(round))));
    const [frame] = (await lab.leaving(11, 1)) as [Buffer];
    expect(describeFrame(frame)).toBe(`${OUT} ttl 63 proto 17`);
    expect(frame.subarray(42).toString()).toBe(round);
    expectWhole(frame);
  }
  expect(await lab.reactiveFlows()).toEqual([
    'table=2, idle_timeout=60, send_flow_rem priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.20 ' +
      'actions=set_field:02:da:00:00:01:fe->eth_dst,set_field:0x64400002->reg4,set_field:0x64400102->reg5,goto_table:4',
    'table=6, idle_timeout=60, send_flow_rem priority=200,ip,in_port=11,dl_src=02:da:00:00:01:fe,' +
      'nw_src=100.64.1.2,nw_dst=100.64.0.2 actions=set_field:02:da:00:00:00:fe->eth_src,' +
      'set_field:02:00:00:00:00:01->eth_dst,set_field:10.1.0.20->ip_src,set_field:10.1.0.2->ip_dst,dec_ttl,output:1',
  ]);
});

test('in: whoever begins', async () => {
  await noRoutes();
  for (const round of ['first', 'second', 'third']) {
    await lab.inject(11, sent(fromPeer(far.locator, one.locator, datagram(round))));
    const [frame] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(frame)).toBe(`${IN} ttl 63 proto 17`);
    expectWhole(frame);
  }
  expect(await lab.reactiveFlows()).toHaveLength(2);
  expect((await lab.controller.routes()).map(({ source, destination }) => [source, destination]).sort()).toEqual([
    ['e1', 'far1'],
    ['far1', 'e1'],
  ]);
});

describe.each(['without a route', 'on a route'])('%s', (which) => {
  beforeEach(async () => {
    await noRoutes();
    if (which === 'without a route') return;
    await lab.inject(1, frameFrom(one, far.ip, udp('open')));
    await lab.leaving(11, 1);
    lab.forget();
  });

  test('a TTL that runs out here is told by the server’s own address', async () => {
    await lab.inject(1, withTtl(frameFrom(one, far.ip, udp('trace')), 1));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(error)).toBe(
      `02da000000fe>020000000001 ${formatIpv4(SERVER_ADDRESS)}>${formatIpv4(one.ip)} ttl 64 proto 1`,
    );
    expect([error[34], error[35], quotes(error)]).toEqual([11, 0, '10.1.0.2>10.1.0.20']);
    expectWhole(error);
    expect(lab.everything()).toEqual({});
  });

  test('a TTL that runs out here, of a packet from the peer, is told to it in locators', async () => {
    await lab.inject(11, withTtl(fromPeer(far.locator, one.locator, udp('trace')), 1));
    const [error] = (await lab.leaving(11, 1)) as [Buffer];
    expect(describeFrame(error)).toBe(
      `02da000000fe>02da000001fe ${formatIpv4(HOST_ADDRESS)}>${formatIpv4(far.locator)} ttl 64 proto 1`,
    );
    expect([error[34], error[35], quotes(error)]).toEqual([11, 0, '100.64.1.2>100.64.0.2']);
    expectWhole(error);
  });

  test('what the peer itself says of a TTL comes with its own address', async () => {
    const error = icmpError(11, 0, fromPeer(one.locator, far.locator, udp('trace')));
    await lab.inject(11, fromPeer(PEER.locator, one.locator, error));
    const [frame] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(frame)).toBe('02da000000fe>020000000001 192.0.2.2>10.1.0.2 ttl 63 proto 1');
    expect(quotes(frame)).toBe('10.1.0.2>10.1.0.20');
    expectWhole(frame);
  });

  test('errors of endpoints are translated both ways', async () => {
    const came = frameFrom({ mac: far.mac, ip: far.ip }, one.ip, udp('closed'));
    await lab.inject(1, frameFrom(one, far.ip, icmpError(3, 3, came)));
    const [out] = (await lab.leaving(11, 1)) as [Buffer];
    expect([describeFrame(out), quotes(out)]).toEqual([`${OUT} ttl 63 proto 1`, '100.64.1.2>100.64.0.2']);
    expectWhole(out);
    const left = fromPeer(one.locator, far.locator, udp('closed'));
    await lab.inject(11, fromPeer(far.locator, one.locator, icmpError(3, 3, left)));
    const [back] = (await lab.leaving(1, 1)) as [Buffer];
    expect([describeFrame(back), quotes(back)]).toEqual([`${IN} ttl 63 proto 1`, '10.1.0.2>10.1.0.20']);
    expectWhole(back);
  });

  test('too large: told where it may not be cut, cut where it may', async () => {
    const large = 'x'.repeat(1400);
    await lab.inject(1, frameFrom(one, far.ip, { ...udp(large), fragment: 0x4000 }));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect([error[34], error[35], error.readUInt16BE(40)]).toEqual([3, 4, FABRIC_MTU]);
    expect(describeFrame(error)).toContain(`${formatIpv4(SERVER_ADDRESS)}>10.1.0.2`);
    const whole = sent(frameFrom(one, far.ip, datagram(large)));
    await lab.inject(1, whole);
    const pieces = await lab.leaving(11, 2);
    expect(pieces.every((piece) => piece.length <= 14 + FABRIC_MTU && internetChecksum(piece, 14, 20) === 0)).toBe(
      true,
    );
    expect(new Set(pieces.map(describeFrame))).toEqual(new Set([`${OUT} ttl 63 proto 17`]));
    const joined = Buffer.concat([pieces[0]!, ...pieces.slice(1).map((piece) => piece.subarray(34))]);
    joined.writeUInt16BE(joined.length - 14, 16);
    expect(joined.readUInt16BE(40)).toBe(naiveL4Checksum(joined));
    expect(joined.subarray(42).toString()).toBe(large);
    expect(lab.everything()).toEqual({});
  });

  test('fragments go and come whole, the later ones first', async () => {
    const { payload } = udp('abcdefgh'.repeat(100));
    const parts = [
      { proto: 17, payload: payload.subarray(400), fragment: 50 },
      { proto: 17, payload: payload.subarray(0, 400), fragment: 0x2000 },
    ];
    const join = (frames: Buffer[]) =>
      Buffer.concat(
        [...frames]
          .sort((a, b) => (a.readUInt16BE(20) & 0x1fff) - (b.readUInt16BE(20) & 0x1fff))
          .map((frame) => frame.subarray(34)),
      );
    await lab.inject(1, ...parts.map((part) => frameFrom(one, far.ip, part)));
    const out = await lab.leaving(11, 2);
    expect(new Set(out.map(describeFrame))).toEqual(new Set([`${OUT} ttl 63 proto 17`]));
    expect(join(out).equals(payload)).toBe(true);
    await lab.inject(11, ...parts.map((part) => fromPeer(far.locator, one.locator, part)));
    const back = await lab.leaving(1, 2);
    expect(new Set(back.map(describeFrame))).toEqual(new Set([`${IN} ttl 63 proto 17`]));
    expect(join(back).equals(payload)).toBe(true);
  });
});

describe('what may not be goes nowhere', () => {
  const strange = { mac: parseInt('02dead000001', 16) as never };
  test.each([
    [
      'a locator of the peer’s endpoint with another MAC',
      () => fromPeer(far.locator, two.locator, udp('x'), strange.mac),
    ],
    ['a locator of this host’s own endpoint', () => fromPeer(one.locator, two.locator, udp('x'))],
    ['a locator that nobody has', () => fromPeer(parseIpv4('100.64.9.9'), two.locator, udp('x'))],
    ['an endpoint of another tenant', () => fromPeer(farBlue.locator, two.locator, udp('x'))],
    ['an endpoint of another network', () => fromPeer(farOther.locator, two.locator, udp('x'))],
    ['a logical address', () => fromPeer(far.ip, two.ip, udp('x'))],
    ['to a logical address', () => fromPeer(far.locator, two.ip, udp('x'))],
    ['to this host itself', () => fromPeer(far.locator, HOST_ADDRESS, udp('x'))],
    [
      'the peer itself, about what is no endpoint of its own',
      () => fromPeer(PEER.locator, two.locator, icmpError(11, 0, fromPeer(two.locator, one.locator, udp('x')))),
    ],
    [
      'the peer itself, about another’s packet',
      () => fromPeer(PEER.locator, two.locator, icmpError(11, 0, fromPeer(one.locator, far.locator, udp('x')))),
    ],
    ['the peer itself, and no error', () => fromPeer(PEER.locator, two.locator, udp('x'))],
    [
      'a redirect',
      () => fromPeer(far.locator, two.locator, icmpError(5, 1, fromPeer(two.locator, far.locator, udp('x')))),
    ],
  ])('from the fabric: %s', async (_, frame) => {
    await lab.inject(11, frame(), fromPeer(far.locator, one.locator, udp('honest')));
    expect(await lab.leaving(1, 1)).toHaveLength(1);
    expect(lab.everything()).toEqual({});
  });

  test('from an endpoint: to another network’s, to a locator', async () => {
    await lab.inject(3, frameFrom(blue, far.locator, udp('x')), frameFrom(blue, PEER.locator, udp('x')));
    await lab.inject(1, frameFrom(one, farOther.ip, udp('x')), frameFrom(one, far.ip, udp('honest')));
    expect(await lab.leaving(11, 1)).toHaveLength(1);
    expect(lab.everything()).toEqual({});
  });
});

test('overlapping tenants over two hosts do not hear one another', async () => {
  await lab.inject(3, frameFrom(blue, farBlue.ip, udp('blue')));
  await lab.inject(1, frameFrom(one, far.ip, udp('red')));
  const frames = await lab.leaving(11, 2);
  expect(frames.map((frame) => [formatIpv4(frame.readUInt32BE(30) as Ipv4), frame.subarray(42).toString()])).toEqual([
    [formatIpv4(farBlue.locator), 'blue'],
    [formatIpv4(far.locator), 'red'],
  ]);
});

test('an endpoint that is gone from its host is gone here, and one that appears is reached at once', async () => {
  const { routesRemoved: _, ...before } = lab.controller.counters();
  expect(before.routes).toBeGreaterThan(0);
  await lab.controller.removeEndpoint(far.id);
  expect((await lab.flows()).join('\n')).not.toContain(formatIpv4(far.locator));
  await lab.settled();
  await lab.inject(1, frameFrom(one, far.ip, udp('x')));
  const [error] = (await lab.leaving(1, 1)) as [Buffer];
  expect([error[34], error[35]]).toEqual([3, 1]);
  // It comes up on another host: another locator, another router MAC.
  const moved = {
    ...far,
    locator: parseIpv4('100.64.2.7'),
    location: { kind: 'remote', routerMac: parseInt('02da000002fe', 16) as never } as const,
  };
  await lab.controller.addEndpoint(moved);
  await until('end of the refusal', async () => (await lab.flows('table=2')).every((line) => !line.includes('=1,')));
  await lab.settled();
  await lab.inject(1, frameFrom(one, far.ip, udp('there')));
  expect((await lab.leaving(11, 1)).map(describeFrame)).toEqual([
    `02da000000fe>02da000002fe ${formatIpv4(one.locator)}>100.64.2.7 ttl 63 proto 17`,
  ]);
  await lab.controller.removeEndpoint(far.id);
  await lab.controller.addEndpoint(far);
});

test('routes to other hosts are known again after a restart of the controller', async () => {
  await lab.inject(1, frameFrom(one, far.ip, udp('x')));
  await lab.leaving(11, 1);
  await lab.controller.stop();
  await lab.startController([...endpoints, far, farBlue, farOther]);
  await lab.reconnect();
  expect((await lab.controller.routes()).filter(({ destination }) => destination === far.id)).toHaveLength(1);
  const { packetIns } = lab.controller.counters();
  await lab.settled();
  await lab.inject(1, frameFrom(one, far.ip, udp('still')));
  await lab.leaving(11, 1);
  expect(lab.controller.counters().packetIns).toBe(packetIns);
});

describe('whether packets come through', () => {
  const echo = (type: number, token: number) => {
    const payload = Buffer.alloc(8);
    payload[0] = type;
    payload.writeUInt32BE(token, 4);
    payload.writeUInt16BE(naiveChecksum(payload), 2);
    return { proto: 1, payload };
  };

  test('the datapath answers another host alone', async () => {
    await lab.controller.stop();
    await lab.inject(FABRIC_PORT, fromPeer(PEER.locator, HOST_ADDRESS, echo(8, 0xabcd1234)));
    const [frame] = (await lab.leaving(FABRIC_PORT, 1)) as [Buffer];
    expect(describeFrame(frame)).toBe('02da000000fe>02da000001fe 100.64.0.1>100.64.1.1 ttl 64 proto 1');
    expect([frame[34], frame.readUInt32BE(38)]).toEqual([0, 0xabcd1234]);
    expectWhole(frame);
    await lab.startController([...endpoints, far, farBlue, farOther]);
    lab.controller.setPeer(PEER);
    await lab.reconnect();
  });

  test('another host is asked as packets of containers go, and its answer alone counts', async () => {
    lab.forget();
    const answered = lab.controller.probeFabric(PEER.locator, 5_000);
    const [frame] = (await lab.leaving(FABRIC_PORT, 1)) as [Buffer];
    expect(describeFrame(frame)).toBe('02da000000fe>02da000001fe 100.64.0.1>100.64.1.1 ttl 64 proto 1');
    expect(frame[34]).toBe(8);
    expectWhole(frame);
    const { stale, noWay } = lab.controller.counters();
    const before = await lab.reactiveFlows();
    const token = frame.readUInt32BE(38);
    await lab.inject(FABRIC_PORT, fromPeer(PEER.locator, HOST_ADDRESS, echo(0, token), one.mac));
    await lab.inject(FABRIC_PORT, fromPeer(PEER.locator, HOST_ADDRESS, echo(0, token + 1)));
    await until('the strange answers', () => lab.controller.counters().stale - stale === 2);
    expect(lab.controller.counters().noWay).toBe(noWay);
    await lab.inject(FABRIC_PORT, fromPeer(PEER.locator, HOST_ADDRESS, echo(0, token)));
    expect(await answered).toBe(true);
    expect(await lab.reactiveFlows()).toEqual(before);
  });

  test('silence, and a host that is not there, are no answer', async () => {
    expect(await lab.controller.probeFabric(PEER.locator, 50)).toBe(false);
    expect(await lab.controller.probeFabric(far.locator, 50)).toBe(false);
  });

  test('how long it has been one that answers is known, and not of one that hangs', async () => {
    expect(await lab.controller.fabricStandsMs()).toBeGreaterThan(0);
    lab.controller.setHost({ ...host, fabric: undefined } as unknown as FlowHost);
    expect(await lab.controller.fabricStandsMs()).toBeUndefined();
    lab.controller.setHost(host);
    await until('the fabric', async () => (await lab.controller.fabricStandsMs()) !== undefined);
    expect(await lab.controller.fabricStandsMs()).toBeLessThan(5_000);
  });
});
