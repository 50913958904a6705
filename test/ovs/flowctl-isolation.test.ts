// What endpoints try that is not theirs to do, on a real Open vSwitch: forged addresses, ARP, tags, other tenants and
// networks, locators, floods. Each frame is followed by an honest one of the same port, so that its fate is settled.
import { formatIpv4, parseIpv4, parseMac, type Ipv4 } from '../../src/base/addresses';
import { setMac } from '../../src/packet/bytes';
import {
  blue,
  describeFrame,
  frameFrom,
  HOST_ADDRESS,
  HOST_MAC,
  internal,
  Lab,
  one,
  other,
  OUTSIDE,
  ROUTER_MAC,
  two,
  udp,
  until,
  type LabEndpoint,
} from './flowctl-lab';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ idleTimeoutSeconds: 300, denyTimeoutSeconds: 1, packetInRate: 20, packetInBurst: 20 });
  await lab.inject(1, frameFrom(one, two.ip, udp('route')));
  await lab.leaving(2, 1);
});
afterAll(() => lab?.stop());
beforeEach(() => lab.forget());

/** Sends frames from port 1, then an honest one to endpoint two; returns what left by any port but that. */
async function fateOf(...frames: Buffer[]): Promise<Record<number, number>> {
  await lab.inject(1, ...frames, frameFrom(one, two.ip, udp('honest')));
  const frame = await lab.leaving(2, 1);
  expect(frame.map((each) => each.subarray(42).toString())).toEqual(['honest']);
  return lab.everything();
}

function arp(op: number, from: Pick<LabEndpoint, 'mac' | 'ip'>, tpa: Ipv4, ethSrc = from.mac): Buffer {
  const frame = Buffer.alloc(42);
  frame.fill(0xff, 0, 6);
  setMac(frame, 6, ethSrc);
  Buffer.from([8, 6, 0, 1, 8, 0, 6, 4, 0, op]).copy(frame, 12);
  setMac(frame, 22, from.mac);
  frame.writeUInt32BE(from.ip, 28);
  frame.writeUInt32BE(tpa, 38);
  return frame;
}

describe('ARP', () => {
  test.each([two.ip, parseIpv4('10.1.0.1'), parseIpv4('10.1.0.200'), OUTSIDE, HOST_ADDRESS])(
    'whoever is asked for (%#), the answer is the router',
    async (tpa) => {
      await lab.inject(1, arp(1, one, tpa));
      const [answer] = (await lab.leaving(1, 1)) as [Buffer];
      expect(answer.toString('hex')).toBe(
        '020000000001' +
          '02da000000fe' +
          '0806' +
          '0001080006040002' +
          '02da000000fe' +
          hex(tpa) +
          '020000000001' +
          hex(one.ip),
      );
      expect(lab.everything()).toEqual({});
    },
  );

  test('a question to the router alone, as a kernel that has its MAC asks, is answered too', async () => {
    const question = arp(1, one, two.ip);
    setMac(question, 0, ROUTER_MAC);
    await lab.inject(1, question);
    expect(await lab.leaving(1, 1)).toHaveLength(1);
  });

  test.each([
    ['for its own address', arp(1, one, one.ip)],
    ['with nobody as sender', arp(1, { ...one, ip: 0 as Ipv4 }, two.ip)],
    ["with another's address", arp(1, { ...one, ip: two.ip }, two.ip)],
    ["with another's MAC inside", arp(1, { ...one, mac: two.mac }, two.ip, one.mac)],
    ["with another's MAC outside", arp(1, one, two.ip, two.mac)],
    ['as an answer', arp(2, one, two.ip)],
    ['as the gateway', arp(1, { mac: one.mac, ip: parseIpv4('10.1.0.1') }, parseIpv4('10.1.0.1'))],
  ])('%s is not answered and reaches nobody', async (_, frame) => {
    expect(await fateOf(frame)).toEqual({});
  });

  test('the host asks for locators and gets the router, but not for its own address', async () => {
    const hostEnd = { mac: HOST_MAC, ip: HOST_ADDRESS };
    await lab.inject(10, arp(1, hostEnd, one.locator));
    const [answer] = (await lab.leaving(10, 1)) as [Buffer];
    expect(answer.subarray(22, 32).toString('hex')).toBe('02da000000fe' + hex(one.locator));
    await lab.inject(
      10,
      arp(1, hostEnd, HOST_ADDRESS),
      arp(1, hostEnd, parseIpv4('10.1.0.2')),
      arp(1, hostEnd, two.locator),
    );
    expect(await lab.leaving(10, 1)).toHaveLength(1);
    expect(lab.everything()).toEqual({});
  });
});

function hex(ip: Ipv4): string {
  return ip.toString(16).padStart(8, '0');
}

function tagged(frame: Buffer, tpid: number, tci: number): Buffer {
  const tag = Buffer.alloc(4);
  tag.writeUInt16BE(tpid, 0);
  tag.writeUInt16BE(tci, 2);
  return Buffer.concat([frame.subarray(0, 12), tag, frame.subarray(12)]);
}

const toTwo = () => frameFrom(one, two.ip, udp('forged'));

describe('a forged frame goes nowhere:', () => {
  test.each([
    ["another's MAC", frameFrom({ ...one, mac: two.mac }, two.ip, udp('x'))],
    ["the router's MAC", frameFrom({ ...one, mac: ROUTER_MAC }, two.ip, udp('x'))],
    ["another's address", frameFrom({ ...one, ip: two.ip }, two.ip, udp('x'))],
    ["another's address, outward", frameFrom({ ...one, ip: two.ip }, OUTSIDE, udp('x'))],
    ['no address', frameFrom({ ...one, ip: 0 as Ipv4 }, two.ip, udp('x'))],
    ['its own locator', frameFrom({ ...one, ip: one.locator }, OUTSIDE, udp('x'))],
    ['straight to the MAC of another', frameFrom(one, two.ip, udp('x'), two.mac)],
    ['broadcast', frameFrom(one, two.ip, udp('x'), 0xffffffffffff as typeof one.mac)],
    ['multicast', frameFrom(one, parseIpv4('224.0.0.251'), udp('x'), parseMac('01:00:5e:00:00:fb'))],
    ['a bridge group address', frameFrom(one, two.ip, udp('x'), parseMac('01:80:c2:00:00:00'))],
    ['802.1Q', tagged(toTwo(), 0x8100, 5)],
    ['a priority tag', tagged(toTwo(), 0x8100, 0)],
    ['802.1ad', tagged(toTwo(), 0x88a8, 5)],
    ['two tags', tagged(tagged(toTwo(), 0x8100, 5), 0x88a8, 6)],
    ['IPv6', Buffer.concat([toTwo().subarray(0, 12), Buffer.from('86dd', 'hex'), Buffer.alloc(60, 0x60)])],
    [
      'LLDP',
      Buffer.concat([Buffer.from('0180c200000e', 'hex'), toTwo().subarray(6, 12), Buffer.from('88cc0000', 'hex')]),
    ],
    ['MPLS', Buffer.concat([toTwo().subarray(0, 12), Buffer.from('8847', 'hex'), toTwo().subarray(14)])],
    ['an unknown protocol', Buffer.concat([toTwo().subarray(0, 12), Buffer.from('8870', 'hex'), Buffer.alloc(50)])],
    ['an IP header that is too short', toTwo().subarray(0, 30)],
    ['an IP header that lies about its length', patched(toTwo(), 14, 0x44)],
    ['a packet that lies about its length', patched(toTwo(), 16, 0xff)],
  ])('%s', async (_, frame) => {
    expect(await fateOf(frame)).toEqual({});
  });
});

function patched(frame: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(frame);
  copy[at] = value;
  return copy;
}

test('what is dropped is counted by reason', async () => {
  const before = await lab.controller.drops();
  await fateOf(
    tagged(toTwo(), 0x8100, 5),
    frameFrom(one, two.ip, udp('x'), 0xffffffffffff as typeof one.mac),
    frameFrom({ ...one, ip: two.ip }, two.ip, udp('x')),
    arp(2, one, two.ip),
    frameFrom(one, two.locator, udp('x')),
    frameFrom(one, parseIpv4('169.254.169.254'), udp('x')),
  );
  // OVS adds up what its datapath flows count every half second.
  await until('counters', async () => {
    const after = await lab.controller.drops();
    return Object.entries(after).every(
      ([reason, count]) => count > before[reason as keyof typeof before] || reason === 'icmp',
    );
  });
});

describe('no way to', () => {
  test.each([
    ['loopback', '127.0.0.1'],
    ['link-local, where clouds keep secrets', '169.254.169.254'],
    ['this network', '0.0.0.5'],
    ['multicast', '239.1.2.3'],
    ['broadcast', '255.255.255.255'],
    ['its own locator', formatIpv4(one.locator)],
    ["a neighbour's locator", formatIpv4(two.locator)],
    ["another tenant's locator", formatIpv4(blue.locator)],
    ['a locator of another host', '100.65.3.9'],
  ])('%s (%s)', async (_, address) => {
    expect(await fateOf(frameFrom(one, parseIpv4(address), udp('x')))).toEqual({});
  });

  test('an endpoint of another network of the tenant; the second packet does not ask again', async () => {
    const { packetIns, denied } = lab.controller.counters();
    expect(await fateOf(frameFrom(one, other.ip, udp('x')))).toEqual({});
    await until('denial', () => lab.controller.counters().denied > denied);
    expect(await lab.flows('table=2,ip,nw_dst=10.2.0.2')).toEqual([
      'table=2, hard_timeout=1, priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2 actions=drop',
    ]);
    expect(await fateOf(frameFrom(one, other.ip, udp('x')))).toEqual({});
    expect(lab.controller.counters().packetIns).toBe(packetIns + 1);
  });

  test('the outside from an internal network, nor back; it is told at once', async () => {
    await lab.inject(5, frameFrom(internal, OUTSIDE, udp('x')));
    const [error] = (await lab.leaving(5, 1)) as [Buffer];
    expect([error[34], error[35]]).toEqual([3, 0]);
    await lab.inject(10, frameFrom({ mac: HOST_MAC, ip: OUTSIDE }, internal.locator, udp('x')));
    await until('refusal', async () => (await lab.flows('table=3,in_port=10')).length === 1);
    expect(lab.everything()).toEqual({});
  });
});

test('two tenants with the same addresses each meet their own', async () => {
  expect(two.ip).toBe(blue.ip);
  await lab.inject(3, frameFrom(blue, one.ip, udp('blue to 10.1.0.2')));
  const [error] = (await lab.leaving(3, 1)) as [Buffer];
  expect([error[34], error[35]]).toEqual([3, 1]);
  expect(lab.everything()).toEqual({});
  await lab.inject(1, frameFrom(one, two.ip, udp('red to 10.1.0.3')));
  expect((await lab.leaving(2, 1)).map(describeFrame)).toEqual([
    '02da000000fe>020000000002 10.1.0.2>10.1.0.3 ttl 64 proto 17',
  ]);
  expect(lab.everything()).toEqual({});
});

test('a gateway is answered in its own network only', async () => {
  const ping = { proto: 1, payload: Buffer.from('0800f7ff00000000', 'hex') };
  await lab.inject(1, frameFrom(one, parseIpv4('10.2.0.1'), ping));
  const [error] = (await lab.leaving(1, 1)) as [Buffer];
  expect([error[34], error[35]]).toEqual([3, 1]);
});

test('a flood of addresses that nobody has is held back by the port’s meter, and no other port notices', async () => {
  const before = lab.controller.counters().packetIns;
  const flood = Array.from({ length: 90 }, (_, i) => frameFrom(one, (one.ip + 100 + i) as Ipv4, udp('x')));
  await lab.inject(1, ...flood);
  await lab.inject(2, frameFrom(two, OUTSIDE, udp('innocent')));
  expect((await lab.leaving(10, 1)).map(describeFrame)).toHaveLength(1);
  const asked = lab.controller.counters().packetIns - before;
  expect(asked).toBeGreaterThan(1);
  expect(asked).toBeLessThanOrEqual(2 * 20 + 1);
});
