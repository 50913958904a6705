// Policies with ports, on a real Open vSwitch in user space: between endpoints, with another host, with the outside; after
// a pause, a restart and a change of policy.
import type { Ipv4 } from '../../src/base/addresses';
import { IP_PROTO } from '../../src/packet/protocol-numbers';
import { PortPolicy, type OutsideRule, type PairRule } from '../fakes/port-policy';
import { naiveL4Checksum } from '../unit/packet/frames';
import {
  describeFrame,
  endpoints,
  far,
  farOther,
  frameFrom,
  frameIn,
  icmpError,
  Lab,
  one,
  other,
  OUTSIDE,
  PEER,
  two,
  until,
  type LabEndpoint,
} from './flowctl-lab';

const { ICMP, TCP, UDP } = IP_PROTO;
/** `one` and `two` are subject 1 by their network, `other` and `farOther` subject 3. */
const WEB: PairRule = { from: 1, to: 3, protocol: TCP, port: 80 };
const NAMES: PairRule = { from: 1, to: 3, protocol: UDP, port: 53 };
const PING: PairRule = { from: 1, to: 3, protocol: ICMP };
const OUT: OutsideRule = { subject: 1, direction: 'out', protocol: UDP, port: 53 };
const IN: OutsideRule = { subject: 1, direction: 'in', protocol: TCP, port: 80 };
const ALL = [WEB, NAMES, PING];
const policy = new PortPolicy(ALL, [OUT, IN]);

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ refusalTimeoutSeconds: 3 }, [...endpoints, far, farOther], policy);
  lab.controller.setPeer(PEER);
});
afterAll(() => lab?.stop());
beforeEach(async () => {
  await setPolicy([]);
  await setPolicy(ALL);
  await until('end of what was before', async () => (await lab.reactiveFlows()).length === 0);
  lab.forget();
});

async function setPolicy(pairs: readonly PairRule[], outside: readonly OutsideRule[] = [OUT, IN]): Promise<void> {
  policy.pairs = pairs;
  policy.outside = pairs.length === 0 ? [] : outside;
  lab.controller.setPolicy(policy);
  await until('comparison', () => lab.controller.counters().datapaths === 1);
  await lab.settled();
}

interface Rest {
  readonly proto: number;
  readonly payload: Buffer;
  readonly fragment?: number;
}
function tcp(source: number, destination: number): Rest {
  const payload = Buffer.alloc(20);
  payload.writeUInt16BE(source, 0);
  payload.writeUInt16BE(destination, 2);
  payload.set([0x50, 0x02], 12);
  return { proto: TCP, payload };
}
function udp(source: number, destination: number): Rest {
  const payload = Buffer.alloc(16);
  payload.writeUInt16BE(source, 0);
  payload.writeUInt16BE(destination, 2);
  payload.writeUInt16BE(16, 4);
  return { proto: UDP, payload };
}
const echo = (type: number): Rest => ({ proto: ICMP, payload: Buffer.from([type, 0, 0xff - type, 0xfe, 0, 1, 0, 0]) });

const fromPeer = (to: LabEndpoint, rest: Rest) =>
  frameFrom({ mac: PEER.routerMac, ip: farOther.locator }, to.locator, rest);
const passes = async (from: LabEndpoint, to: LabEndpoint, rest: Rest) => {
  await lab.settled();
  await lab.inject(from.location.portNo, frameFrom(from, to.ip, rest));
  return (await lab.leaving(to.location.portNo, 1))[0]!;
};
/** What came before is through when something that passes comes out after it. */
const nothingPasses = async (from: LabEndpoint, to: LabEndpoint, ...rest: Rest[]) => {
  const denied = lab.controller.counters().denied;
  await lab.inject(from.location.portNo, ...rest.map((each) => frameFrom(from, to.ip, each)));
  await until('refusal', () => lab.controller.counters().denied > denied);
  await lab.settled();
  expect(lab.everything()).toEqual({});
};
const conversations = async () => (await lab.reactiveFlows()).filter((line) => line.includes('idle_timeout'));

test('TCP and UDP pass both ways by exact flows, which OVS keeps as they were sent', async () => {
  const first = await passes(one, other, tcp(40000, 80));
  expect(describeFrame(first)).toBe('02da000000fe>020000000004 10.1.0.2>10.2.0.2 ttl 64 proto 6');
  expect(first.readUInt16BE(50)).toBe(naiveL4Checksum(first));
  await passes(other, one, tcp(80, 40000));
  await passes(one, other, udp(40000, 53));
  await passes(other, one, udp(53, 40000));
  const actions = (portNo: number) =>
    `actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:0${portNo}->eth_dst,output:${portNo}`;
  const start = 'table=2, idle_timeout=60, send_flow_rem priority=620';
  const [there, back] = ['in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2', 'in_port=4,nw_src=10.2.0.2,nw_dst=10.1.0.2'];
  expect((await lab.reactiveFlows()).sort()).toEqual([
    `${start},tcp,${there},tp_src=40000,tp_dst=80 ${actions(4)}`,
    `${start},tcp,${back},tp_src=80,tp_dst=40000 ${actions(1)}`,
    `${start},udp,${there},tp_src=40000,tp_dst=53 ${actions(4)}`,
    `${start},udp,${back},tp_src=53,tp_dst=40000 ${actions(1)}`,
  ]);
  const routes = await lab.controller.routes();
  expect(
    routes.map(({ kind, source, destination, conversation }) => [kind, source, destination, conversation]),
  ).toEqual(
    expect.arrayContaining([
      ['conversation', 'e1', 'e4', { isOpening: true, protocol: TCP, sourcePort: 40000, destinationPort: 80 }],
      ['conversation', 'e4', 'e1', { isOpening: false, protocol: UDP, sourcePort: 53, destinationPort: 40000 }],
    ]),
  );
  expect(routes).toHaveLength(4);
});

test('answers that nobody asked for are dropped, whatever port they come from', async () => {
  await nothingPasses(other, one, tcp(80, 40000));
  await nothingPasses(other, one, udp(53, 40000), udp(53, 40001));
  await nothingPasses(other, one, echo(0));
  await nothingPasses(one, other, tcp(40000, 81));
  expect(await conversations()).toEqual([]);
  expect(lab.controller.denials()[0]).toMatchObject({ source: 'e1', destination: 'e4', protocol: TCP, port: 81 });
  await passes(one, other, tcp(40000, 80));
  await nothingPasses(other, one, tcp(80, 40002));
  await passes(other, one, tcp(80, 40000));
});

test('what is refused stays in the datapath for a while', async () => {
  await nothingPasses(one, other, tcp(1, 22));
  const { packetIns } = lab.controller.counters();
  const more = Array.from({ length: 18 }, (_, index) => frameFrom(one, other.ip, tcp(2 + index, 22)));
  await lab.inject(1, ...more);
  await passes(one, other, tcp(40000, 80));
  expect(lab.everything()).toEqual({});
  expect(lab.controller.counters().packetIns - packetIns).toBe(1);
  expect((await lab.reactiveFlows()).filter((line) => line.includes('drop'))).toEqual([
    'table=2, hard_timeout=3, priority=550,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2,tp_dst=22 actions=drop',
  ]);
  await until('end of the drop', async () => !(await lab.reactiveFlows()).some((line) => line.includes('drop')));
});

test('a ping passes and is answered; an ICMP error passes about what was asked', async () => {
  await passes(one, other, echo(8));
  await passes(other, one, echo(0));
  await nothingPasses(other, one, echo(8));
  await passes(one, other, udp(40000, 53));
  await passes(other, one, icmpError(3, 3, frameFrom(one, other.ip, udp(40000, 53))));
  await nothingPasses(other, one, icmpError(3, 3, frameFrom(one, two.ip, udp(40000, 53))));
});

test('fragments pass with their first, large or not, and none passes alone', async () => {
  await nothingPasses(one, other, { ...udp(0, 0), fragment: 2 });
  await passes(one, other, { ...udp(40000, 53), fragment: 0x2000 });
  for (let i = 0; i < 3; i += 1) await passes(one, other, { ...udp(0, 0), fragment: 2 });
  await passes(other, one, { ...udp(53, 40000), fragment: 0x2000 });
  await passes(other, one, { ...udp(0, 0), fragment: 2 });
  expect((await lab.reactiveFlows()).filter((line) => line.includes('nw_frag=later'))).toHaveLength(2);
  // Without the whole header of TCP it is malformed, and has no ports to OVS either.
  const { malformed } = lab.controller.counters();
  await passes(one, other, tcp(40000, 80));
  await lab.inject(
    1,
    frameFrom(one, other.ip, { proto: TCP, payload: tcp(40000, 80).payload.subarray(0, 8), fragment: 0x2000 }),
  );
  await until('malformed packet', () => lab.controller.counters().malformed > malformed);
  expect(lab.everything()).toEqual({});
});

test('with an endpoint on another host, each host judges for itself', async () => {
  await lab.inject(1, frameFrom(one, farOther.ip, tcp(40000, 80)));
  expect(describeFrame((await lab.leaving(11, 1))[0]!)).toBe(
    '02da000000fe>02da000001fe 100.64.0.2>100.64.1.4 ttl 63 proto 6',
  );
  await lab.inject(11, fromPeer(one, tcp(80, 40000)));
  expect(describeFrame((await lab.leaving(1, 1))[0]!)).toBe(
    '02da000000fe>020000000001 10.2.0.20>10.1.0.2 ttl 63 proto 6',
  );
  const { denied } = lab.controller.counters();
  await lab.inject(11, fromPeer(one, tcp(80, 40001)), fromPeer(one, udp(7, 53)));
  await until('refusals', () => lab.controller.counters().denied === denied + 2);
  lab.controller.takeWord(PEER.routerMac, farOther.locator, one.locator);
  expect(lab.controller.counters().wordsFollowed).toBe(0);
  expect(await conversations()).toHaveLength(2);
  const asked = frameFrom({ mac: PEER.routerMac, ip: one.locator }, farOther.locator, tcp(40000, 80));
  await lab.inject(11, fromPeer(one, icmpError(3, 3, asked)));
  await lab.leaving(1, 1);
  await lab.inject(11, fromPeer(one, { ...udp(0, 0), fragment: 2 }));
  await lab.leaving(1, 1);
  expect(lab.everything()).toEqual({});
});

test('with the outside: what it may ask, and what may be asked of it', async () => {
  await lab.inject(1, frameFrom(one, OUTSIDE, udp(40000, 53)));
  expect(describeFrame((await lab.leaving(10, 1))[0]!)).toContain('100.64.0.2>198.51.100.7');
  await lab.inject(10, frameIn(one, udp(53, 40000)));
  expect(describeFrame((await lab.leaving(1, 1))[0]!)).toContain('198.51.100.7>10.1.0.2');
  await lab.inject(10, frameIn(one, tcp(40000, 80)));
  await lab.leaving(1, 1);
  await lab.inject(1, frameFrom(one, OUTSIDE, tcp(80, 40000)));
  await lab.leaving(10, 1);
  const { denied } = lab.controller.counters();
  await lab.inject(1, frameFrom(one, OUTSIDE, tcp(40000, 443)));
  await lab.inject(10, frameIn(one, tcp(40000, 81)), frameIn(one, udp(53, 40000), (OUTSIDE + 1) as Ipv4));
  await until('refusals', () => lab.controller.counters().denied === denied + 3);
  await lab.controller.drops();
  expect(lab.everything()).toEqual({});
  expect(await conversations()).toHaveLength(4);
  // A later fragment of UDP is rewritten by the controller in user space; a router on the way tells of what is too large.
  await lab.inject(1, frameFrom(one, OUTSIDE, { ...udp(0, 0), fragment: 2 }));
  await lab.leaving(10, 1);
  const asked = frameFrom({ ...one, ip: one.locator }, OUTSIDE, udp(40000, 53));
  await lab.inject(10, frameIn(one, icmpError(3, 4, asked), (OUTSIDE + 9) as Ipv4));
  await lab.leaving(1, 1);
});

test('a change of policy takes exactly what it refuses, within three seconds', async () => {
  await passes(one, other, tcp(40000, 80));
  await passes(one, other, udp(40000, 53));
  await passes(two, other, tcp(40000, 80));
  const before = await conversations();
  const began = Date.now();
  await setPolicy([WEB, PING]);
  await until('end of the refused one', async () => (await conversations()).length === 4);
  expect(Date.now() - began).toBeLessThan(3000);
  expect(await conversations()).toEqual(before.filter((line) => !line.includes('udp')));
  await nothingPasses(other, one, udp(53, 40000));
  await passes(other, one, tcp(80, 40000));
});

test('an endpoint that becomes another subject loses what it may not have, and others nothing', async () => {
  await passes(one, other, tcp(40000, 80));
  await passes(two, other, tcp(40000, 80));
  const before = await conversations();
  policy.subjects.set('e2', 99);
  try {
    lab.controller.refreshSubjects(['e1', 'e2']);
    await until('end of its conversation', async () => (await conversations()).length === 2);
    await lab.settled();
    expect(await conversations()).toEqual(before.filter((line) => !line.includes('10.1.0.3')));
    await nothingPasses(two, other, tcp(40001, 80));
  } finally {
    policy.subjects.delete('e2');
    lab.controller.refreshSubjects(['e2']);
    await lab.settled();
  }
  await passes(two, other, tcp(40001, 80));
});

test('a restarted controller changes no flow, and knows whose answers are answers', async () => {
  await passes(one, other, tcp(40000, 80));
  await passes(one, other, echo(8));
  await lab.inject(1, frameFrom(one, OUTSIDE, udp(40000, 53)), frameFrom(one, farOther.ip, tcp(40000, 80)));
  await lab.leaving(10, 1);
  await lab.leaving(11, 1);
  const before = await lab.flows();
  await lab.controller.stop();
  await lab.startController([...endpoints, far, farOther]);
  await lab.reconnect();
  expect(lab.controller.counters()).toMatchObject({ flowsRepaired: 0, routes: 4 });
  expect(await lab.flows()).toEqual(before);
  await passes(other, one, tcp(80, 40000));
  await nothingPasses(other, one, tcp(80, 40001));
});

test('after ovs-vswitchd has lost its flows, an answer sets its conversation up again', async () => {
  await passes(one, other, tcp(40000, 80));
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'del-flows', 'br0');
  await lab.reconnect();
  await until('static flows', async () => (await lab.flows('table=2')).length > 0);
  await lab.settled();
  expect(await conversations()).toEqual([]);
  await passes(other, one, tcp(80, 40000));
  expect(await conversations()).toHaveLength(2);
});

describe('after a pause', () => {
  let brief: Lab;
  beforeAll(async () => {
    brief = await Lab.start({ idleTimeoutSeconds: 1 }, endpoints, policy);
  });
  afterAll(() => brief?.stop());

  test('an answer is an answer still, and a forged one is not', async () => {
    await brief.inject(1, frameFrom(one, other.ip, tcp(40000, 80)));
    await brief.leaving(4, 1);
    await until('end of the flows', async () => (await brief.reactiveFlows()).length === 0);
    await until('word of it', () => brief.controller.counters().routes === 0);
    await brief.settled();
    await brief.inject(4, frameFrom(other, one.ip, tcp(80, 40001)), frameFrom(other, one.ip, tcp(80, 40000)));
    const [answer] = await brief.leaving(1, 1);
    expect(answer!.readUInt16BE(36)).toBe(40000);
    expect(brief.everything()).toEqual({});
  });
});
