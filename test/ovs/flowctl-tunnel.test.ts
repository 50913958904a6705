// Hosts that are reached by a tunnel, on a real Open vSwitch in user space: what is handed to the kernel by the host port, and
// what the kernel has taken out of a tunnel, in locators. One endpoint is on a host of the fabric still.
import { formatIpv4, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { sameNetworkPolicy, type FlowEndpoint, type FlowRelay, type Policy } from '../../src/flowctl/model';
import {
  away,
  AWAY,
  blue,
  describeFrame,
  endpoints,
  far,
  frameFrom,
  HOST_ADDRESS,
  HOST_MAC,
  hostWithTunnels,
  icmpError,
  internal,
  Lab,
  one,
  OUTSIDE,
  PEER,
  ROUTER_MAC,
  SERVER_ADDRESS,
  two,
  udp,
  until,
} from './flowctl-lab';

const awayBlue: FlowEndpoint = { ...away, id: 'away-blue', networkKey: 2, locator: parseIpv4('100.64.2.3') };

/** Endpoint two may be sent to port 80 alone, by whoever is not of its network's policy. */
const onlyWeb: Policy = {
  ...sameNetworkPolicy,
  subjectOf: (id, networkKey) => (id === 'e2' ? 99 : networkKey),
  judge: (source, destination) => {
    if (source === 99 || destination === 99) return 'depends';
    return source === destination ? 'allow' : 'deny';
  },
  permits: (_, destination, protocol, port) => destination === 99 && protocol === 17 && port === 2000,
};

let lab: Lab;
beforeAll(async () => {
  const present = [...endpoints, far, away, awayBlue];
  lab = await Lab.start({ denyTimeoutSeconds: 2 }, present, onlyWeb, hostWithTunnels);
  lab.controller.setPeer(PEER);
  lab.controller.setPeer(AWAY);
});
afterAll(() => lab?.stop());
beforeEach(() => lab.forget());

const hex = (mac: number) => mac.toString(16).padStart(12, '0');
const OUT = `${hex(ROUTER_MAC)}>${hex(HOST_MAC)} ${formatIpv4(one.locator)}>${formatIpv4(away.locator)}`;
const IN = `${hex(ROUTER_MAC)}>${hex(one.mac)} ${formatIpv4(away.ip)}>${formatIpv4(one.ip)}`;

/** What this host's kernel has taken out of a tunnel. */
function fromTunnel(src: Ipv4, dst: Ipv4, rest: Parameters<typeof frameFrom>[2]): Buffer {
  return frameFrom({ mac: HOST_MAC, ip: src }, dst, rest);
}

function withTtl(frame: Buffer, ttl: number): Buffer {
  const sum = frame.readUInt16BE(24) + ((frame[22]! - ttl) << 8);
  frame.writeUInt16BE((sum & 0xffff) + (sum >>> 16), 24);
  frame[22] = ttl;
  return frame;
}

const quotes = (error: Buffer) =>
  `${formatIpv4(error.readUInt32BE(54) as Ipv4)}>${formatIpv4(error.readUInt32BE(58) as Ipv4)}`;

async function noRoutes(): Promise<void> {
  await lab.controller.removeEndpoint(away.id);
  await lab.controller.addEndpoint(away);
  await lab.settled();
}

test('out and in: handed to the kernel in locators, with the TTL as it is, and both halves stand', async () => {
  for (const round of ['first', 'second']) {
    await lab.inject(1, frameFrom(one, away.ip, udp(round)));
    expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([`${OUT} ttl 64 proto 17`]);
    await lab.inject(10, withTtl(fromTunnel(away.locator, one.locator, udp(round)), 1));
    expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([`${IN} ttl 1 proto 17`]);
  }
  expect(await lab.reactiveFlows()).toEqual([
    'table=2, idle_timeout=60, send_flow_rem priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.30 ' +
      'actions=set_field:02:da:00:00:00:10->eth_dst,set_field:0x64400002->reg4,set_field:0x64400202->reg5,goto_table:4',
    'table=6, idle_timeout=60, send_flow_rem priority=200,ip,in_port=10,dl_src=02:da:00:00:00:10,' +
      'nw_src=100.64.2.2,nw_dst=100.64.0.2 actions=set_field:02:da:00:00:00:fe->eth_src,' +
      'set_field:02:00:00:00:00:01->eth_dst,set_field:10.1.0.30->ip_src,set_field:10.1.0.2->ip_dst,output:1',
  ]);
  expect(lab.everything()).toEqual({});
});

test('in: whoever begins, and large packets are left to the kernel', async () => {
  await noRoutes();
  await lab.inject(10, fromTunnel(away.locator, one.locator, udp('first')));
  expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([`${IN} ttl 64 proto 17`]);
  await lab.inject(1, frameFrom(one, away.ip, { ...udp('x'.repeat(1400)), fragment: 0x4000 }));
  expect((await lab.leaving(10, 1))[0]?.length).toBeGreaterThan(1400);
});

describe.each(['without a route', 'on a route'])('%s', (which) => {
  beforeEach(async () => {
    await noRoutes();
    if (which === 'without a route') return;
    await lab.inject(1, frameFrom(one, away.ip, udp('open')));
    await lab.leaving(10, 1);
    lab.forget();
  });

  test('a TTL that runs out here is told by the server’s own address', async () => {
    await lab.inject(1, withTtl(frameFrom(one, away.ip, udp('trace')), 1));
    const [error] = (await lab.leaving(1, 1)) as [Buffer];
    expect(describeFrame(error)).toContain(`${formatIpv4(SERVER_ADDRESS)}>${formatIpv4(one.ip)}`);
    expect([error[34], quotes(error)]).toEqual([11, '10.1.0.2>10.1.0.30']);
    expect(lab.everything()).toEqual({});
  });

  test('what servers on the way say of a TTL comes with their own addresses', async () => {
    // A hub, here of this very site, speaks of what it passes on to others.
    for (const peer of [AWAY, PEER]) {
      const about = fromTunnel(one.locator, away.locator, udp('trace'));
      await lab.inject(10, fromTunnel(peer.locator, one.locator, icmpError(11, 0, about)));
      const [frame] = (await lab.leaving(1, 1)) as [Buffer];
      expect(describeFrame(frame)).toContain(`${formatIpv4(peer.address)}>10.1.0.2 ttl 64`);
      expect(quotes(frame)).toBe('10.1.0.2>10.1.0.30');
    }
  });

  test('errors of endpoints are translated both ways, and so are fragments', async () => {
    const came = frameFrom({ mac: away.mac, ip: away.ip }, one.ip, udp('closed'));
    await lab.inject(1, frameFrom(one, away.ip, icmpError(3, 3, came)));
    const [out] = (await lab.leaving(10, 1)) as [Buffer];
    expect([describeFrame(out), quotes(out)]).toEqual([`${OUT} ttl 64 proto 1`, '100.64.2.2>100.64.0.2']);
    const left = fromTunnel(one.locator, away.locator, udp('closed'));
    await lab.inject(10, fromTunnel(away.locator, one.locator, icmpError(3, 3, left)));
    const [back] = (await lab.leaving(1, 1)) as [Buffer];
    expect([describeFrame(back), quotes(back)]).toEqual([`${IN} ttl 64 proto 1`, '10.1.0.2>10.1.0.30']);
    const later = { proto: 17, payload: Buffer.alloc(400), fragment: 50 };
    await lab.inject(1, frameFrom(one, away.ip, later));
    expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([`${OUT} ttl 64 proto 17`]);
    await lab.inject(10, fromTunnel(away.locator, one.locator, later));
    expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([`${IN} ttl 64 proto 17`]);
  });
});

test.each([
  [
    'from the fabric, as the host itself',
    11,
    () => frameFrom({ mac: AWAY.routerMac, ip: away.locator }, one.locator, udp('x')),
  ],
  ['from the fabric, as the tunnel', 11, () => frameFrom({ mac: HOST_MAC, ip: away.locator }, one.locator, udp('x'))],
  ['from a tunnel, as an endpoint of the fabric', 10, () => fromTunnel(far.locator, one.locator, udp('x'))],
  ['from a tunnel, as an endpoint of this host', 10, () => fromTunnel(two.locator, one.locator, udp('x'))],
  ['from a tunnel, to another tenant', 10, () => fromTunnel(awayBlue.locator, one.locator, udp('x'))],
  ['from a tunnel, as nobody', 10, () => fromTunnel(parseIpv4('100.64.9.9'), one.locator, udp('x'))],
  ['from a tunnel, to nobody', 10, () => fromTunnel(away.locator, parseIpv4('100.64.0.99'), udp('x'))],
  ['from a tunnel, to the host', 10, () => fromTunnel(away.locator, HOST_ADDRESS, udp('x'))],
  ['from a tunnel, a host that is no endpoint', 10, () => fromTunnel(AWAY.locator, one.locator, udp('x'))],
  [
    'from the fabric, what a host behind a tunnel says',
    11,
    () =>
      frameFrom(
        { mac: AWAY.routerMac, ip: AWAY.locator },
        one.locator,
        icmpError(11, 0, fromTunnel(one.locator, away.locator, udp('x'))),
      ),
  ],
  [
    'from a tunnel, a host about an endpoint of the fabric',
    10,
    () => fromTunnel(AWAY.locator, one.locator, icmpError(11, 0, fromTunnel(one.locator, far.locator, udp('x')))),
  ],
])('what may not be goes nowhere: %s', async (_, portNo, frame) => {
  await lab.inject(portNo, frame());
  await lab.inject(10, fromTunnel(away.locator, one.locator, udp('honest')));
  expect(await lab.leaving(1, 1)).toHaveLength(1);
  expect(lab.everything()).toEqual({});
});

test('what the host itself sends, and the outside, go their way as before', async () => {
  await lab.inject(10, frameFrom({ mac: HOST_MAC, ip: HOST_ADDRESS }, one.locator, udp('host')));
  expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([
    `${hex(ROUTER_MAC)}>${hex(one.mac)} ${formatIpv4(HOST_ADDRESS)}>${formatIpv4(one.ip)} ttl 64 proto 17`,
  ]);
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('out')));
  expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([
    `${hex(ROUTER_MAC)}>${hex(HOST_MAC)} ${formatIpv4(one.locator)}>${formatIpv4(OUTSIDE)} ttl 64 proto 17`,
  ]);
  await lab.inject(3, frameFrom(blue, away.locator, udp('x')));
  await lab.inject(5, frameFrom(internal, away.locator, udp('x')));
  expect(lab.everything()).toEqual({});
});

test('a policy with ports holds for what comes through a tunnel', async () => {
  const datagram = (port: number) => {
    const { proto, payload } = udp('x');
    payload.writeUInt16BE(port, 2);
    return fromTunnel(away.locator, two.locator, { proto, payload });
  };
  await lab.inject(10, datagram(2001));
  await lab.inject(10, datagram(2000));
  expect((await lab.leaving(2, 1)).map((frame) => frame.readUInt16BE(36))).toEqual([2000]);
  const { proto, payload } = udp('answer');
  payload.writeUInt16BE(2000, 0);
  payload.writeUInt16BE(1000, 2);
  await lab.inject(2, frameFrom(two, away.ip, { proto, payload }));
  expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([
    `${hex(ROUTER_MAC)}>${hex(HOST_MAC)} ${formatIpv4(two.locator)}>${formatIpv4(away.locator)} ttl 64 proto 17`,
  ]);
  expect((await lab.reactiveFlows()).join('\n')).toContain('tp_dst=2000');
});

test('a port of a host behind a tunnel leads to an endpoint here, and its answers go back there', async () => {
  const relay: FlowRelay = {
    kind: 'here',
    peer: { locator: AWAY.locator, routerMac: AWAY.routerMac, isTunnelled: true },
    endpoint: { portNo: 1, mac: one.mac, ip: one.ip, locator: one.locator },
    services: [{ protocol: 'UDP', port: 2000 }],
  };
  lab.controller.setRelays([relay]);
  await lab.settled();
  lab.forget();
  await lab.inject(10, fromTunnel(AWAY.locator, one.locator, udp('asks')));
  expect((await lab.leaving(1, 1)).map(describeFrame)).toEqual([
    `${hex(ROUTER_MAC)}>${hex(one.mac)} ${formatIpv4(AWAY.locator)}>${formatIpv4(one.ip)} ttl 64 proto 17`,
  ]);
  const { proto, payload } = udp('answers');
  payload.writeUInt16BE(2000, 0);
  await lab.inject(1, frameFrom(one, AWAY.locator, { proto, payload }));
  expect((await lab.leaving(10, 1)).map(describeFrame)).toEqual([
    `${hex(ROUTER_MAC)}>${hex(HOST_MAC)} ${formatIpv4(one.locator)}>${formatIpv4(AWAY.locator)} ttl 64 proto 17`,
  ]);
  lab.controller.setRelays([]);
  await lab.settled();
  await lab.inject(10, fromTunnel(AWAY.locator, one.locator, udp('asks')));
  await lab.inject(10, fromTunnel(away.locator, one.locator, udp('honest')));
  expect(await lab.leaving(1, 1)).toHaveLength(1);
});

test('a host that is reached by a tunnel from now on is not sent to by the fabric any more', async () => {
  await lab.inject(1, frameFrom(one, far.ip, udp('by the fabric')));
  expect(await lab.leaving(11, 1)).toHaveLength(1);
  const location = { kind: 'remote', routerMac: PEER.routerMac, isTunnelled: true } as const;
  await lab.controller.addEndpoint({ ...far, location });
  await until('end of the route', async () => !(await lab.flows()).join().includes('in_port=11,dl_src'));
  await lab.settled();
  lab.forget();
  await lab.inject(1, frameFrom(one, far.ip, udp('by the tunnel')));
  expect(await lab.leaving(10, 1)).toHaveLength(1);
  expect(lab.everything()).toEqual({});
});
