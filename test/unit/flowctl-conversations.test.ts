// Where the policy looks at protocol and port: what may be opened, what is an answer, what passes with it, and what is
// forgotten when. A controller without sockets and a datapath in memory.
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import type { FlowEndpoint, FlowHost, FlowNetwork } from '../../src/flowctl/model';
import { IP_PROTO } from '../../src/packet/protocol-numbers';
import { setMac } from '../../src/packet/bytes';
import { FlowWorld } from '../fakes/flow-world';
import { PortPolicy, type OutsideRule, type PairRule } from '../fakes/port-policy';
import { buildFrame, naiveChecksum } from './packet/frames';

const { TCP, UDP, SCTP, ICMP } = IP_PROTO;
const GRE = 47;
const dnsAddress = parseIpv4('100.127.255.254');
const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  serverAddress: parseIpv4('192.0.2.1'),
  fabric: { portNo: 11, mtu: 1500, isNarrow: false },
  dnsAddress,
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: true,
};
const networks: readonly FlowNetwork[] = [
  { id: 'a', key: 1, tenant: 7, pools: [parseCidr('10.1.0.0/24')], internal: false },
  { id: 'b', key: 2, tenant: 7, pools: [parseCidr('10.2.0.0/24')], internal: false },
];
const PEER = parseMac('02:da:00:00:01:fe');

function endpoint(portNo: number, networkKey: number, ip: string): FlowEndpoint & { portNo: number } {
  const locator = (host.hostAddress + portNo) as Ipv4;
  const mac = (0x020000000000 + portNo) as Mac;
  const location = { kind: 'local', portNo } as const;
  return { id: `e${portNo}`, networkKey, mac, ip: parseIpv4(ip), locator, location, portNo };
}
const one = endpoint(1, 1, '10.1.0.2');
const two = endpoint(2, 2, '10.2.0.2');
const far: FlowEndpoint = {
  ...endpoint(3, 2, '10.2.0.3'),
  locator: parseIpv4('100.64.1.3'),
  location: { kind: 'remote', routerMac: PEER },
};
const OUT = parseIpv4('198.51.100.7');

function start(pairs: readonly PairRule[], outside: readonly OutsideRule[] = [], settings = {}) {
  const policy = new PortPolicy(pairs, outside);
  const world = new FlowWorld({ host, networks, policy, settings });
  for (const each of [one, two, far]) world.add(each);
  return { world, policy };
}

/** The head of a TCP, UDP or SCTP message. */
function l4(proto: number, source: number, destination: number): Buffer {
  const payload = Buffer.alloc(proto === TCP ? 20 : 16);
  payload.writeUInt16BE(source, 0);
  payload.writeUInt16BE(destination, 2);
  if (proto === UDP) payload.writeUInt16BE(16, 4);
  if (proto === TCP) payload[12] = 0x50;
  return payload;
}

interface Rest {
  readonly proto: number;
  readonly payload: Buffer;
  readonly fragment?: number;
}
const tcp = (source: number, destination: number): Rest => ({ proto: TCP, payload: l4(TCP, source, destination) });
const udp = (source: number, destination: number): Rest => ({ proto: UDP, payload: l4(UDP, source, destination) });
function icmp(type: number, quoted: Buffer = Buffer.alloc(0)): Rest {
  const payload = Buffer.concat([Buffer.from([type, 0, 0, 0, 0, 1, 0, 1]), quoted]);
  payload.writeUInt16BE(naiveChecksum(payload), 2);
  return { proto: ICMP, payload };
}

function frameOf(from: { mac: Mac; ip: Ipv4 }, dst: number, rest: Rest): Buffer {
  const frame = buildFrame({ src: from.ip, dst, ...rest });
  setMac(frame, 0, host.routerMac);
  setMac(frame, 6, from.mac);
  return frame;
}

/** Where what an endpoint sends to another comes out: port numbers. */
const send = (world: FlowWorld, from: typeof one, to: { ip: Ipv4 }, rest: Rest) =>
  world.packet(from.portNo, frameOf(from, to.ip, rest)).map((output) => output.portNo);
const sendOut = (world: FlowWorld, from: typeof one, address: Ipv4, rest: Rest) =>
  send(world, from, { ip: address }, rest);
const sendIn = (world: FlowWorld, to: typeof one, rest: Rest, from = OUT) =>
  world.packet(10, frameOf({ mac: host.hostPort!.mac, ip: from }, to.locator, rest)).map((output) => output.portNo);
const sendOver = (world: FlowWorld, to: typeof one, rest: Rest, mac = PEER) =>
  world.packet(11, frameOf({ mac, ip: far.locator }, to.locator, rest)).map((output) => output.portNo);

const lines = (world: FlowWorld) => world.routes.map((line) => line.replace(/cookie=0x\w+, /, ''));
const WEB: PairRule = { from: 1, to: 2, protocol: TCP, port: 80 };
const NAMES: PairRule = { from: 1, to: 2, protocol: UDP, port: 53 };

describe('between two endpoints', () => {
  test('a conversation has two exact flows, and only its first packet comes to the controller', () => {
    const { world } = start([WEB]);
    expect(send(world, one, two, tcp(40000, 80))).toEqual([2]);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    expect(send(world, one, two, tcp(40000, 80))).toEqual([2]);
    expect(world.counters).toMatchObject({ packetIns: 1, routesInstalled: 2 });
    expect(lines(world)).toEqual([
      'table=2, idle_timeout=60, send_flow_rem priority=620,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2,' +
        'tp_src=40000,tp_dst=80 actions=set_field:02:da:00:00:00:fe->eth_src,' +
        'set_field:02:00:00:00:00:02->eth_dst,output:2',
      'table=2, idle_timeout=60, send_flow_rem priority=620,tcp,in_port=2,nw_src=10.2.0.2,nw_dst=10.1.0.2,' +
        'tp_src=80,tp_dst=40000 actions=set_field:02:da:00:00:00:fe->eth_src,' +
        'set_field:02:00:00:00:00:01->eth_dst,output:1',
    ]);
  });

  test.each([
    ['another port', one, two, tcp(40000, 81)],
    ['another protocol', one, two, udp(40000, 80)],
    ['what would be an answer, if something had been asked', two, one, tcp(80, 40000)],
    ['the other direction', two, one, tcp(40000, 80)],
    ['port 0, which later fragments seem to have', one, two, tcp(0, 0)],
    ['a protocol without ports', one, two, { proto: GRE, payload: Buffer.alloc(16) }],
    ['a ping', one, two, icmp(8)],
    ['an answer to a ping', one, two, icmp(0)],
    ['a later fragment', one, two, { ...tcp(40000, 80), fragment: 5 }],
    [
      'a first fragment without a whole header',
      one,
      two,
      { proto: TCP, payload: l4(TCP, 40000, 80).subarray(0, 8), fragment: 0x2000 },
    ],
  ])('%s goes nowhere', (_, from, to, rest: Rest) => {
    const { world } = start([WEB]);
    expect(send(world, from, to, rest)).toEqual([]);
    expect(send(world, from, to, rest)).toEqual([]);
    expect(world.remembered).toEqual([]);
  });

  test('what is refused is dropped for five seconds, whatever port it comes from, and told of', () => {
    const { world } = start([WEB]);
    for (const source of [1, 2, 3]) expect(send(world, one, two, tcp(source, 22))).toEqual([]);
    expect(lines(world)).toEqual([
      'table=2, hard_timeout=5, priority=550,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2,tp_dst=22 actions=drop',
    ]);
    expect(world.counters).toMatchObject({ packetIns: 1, denied: 1 });
    expect(send(world, one, two, tcp(1, 80))).toEqual([2]);
    expect(world.denials.list()).toEqual([
      { source: 'e1', destination: 'e2', protocol: TCP, port: 22, packets: 1, lastMs: 0 },
    ]);
    world.advance(5);
    expect(lines(world)).toHaveLength(2);
  });

  test('an answer after a pause is an answer still: of TCP for hours, of UDP for minutes', () => {
    const { world } = start([WEB, NAMES]);
    send(world, one, two, tcp(40000, 80));
    send(world, one, two, udp(40000, 53));
    world.advance(60);
    expect(world.remembered).toEqual([]);
    expect(lines(world)).toEqual([]);
    world.advance(4 * 60 + 59);
    expect(send(world, two, one, udp(53, 40000))).toEqual([1]);
    expect(lines(world)).toHaveLength(2);
    world.advance(60);
    world.advance(5 * 60);
    expect(send(world, two, one, udp(53, 40000))).toEqual([]);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    world.advance(60);
    world.advance(124 * 60 - 1);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    world.advance(60);
    world.advance(124 * 60);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([]);
  });

  test('a long conversation is remembered from its end, and so is one of which one side alone speaks', () => {
    const { world } = start([WEB]);
    send(world, one, two, tcp(40000, 80));
    for (let minutes = 0; minutes < 200; minutes += 1) {
      world.advance(59);
      expect(send(world, one, two, tcp(40000, 80))).toEqual([2]);
    }
    expect(world.counters.packetIns).toBe(1);
    expect(world.remembered).toEqual(['e1>e2 6']);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    expect(world.remembered).toEqual(['e1>e2 6', 'e2<e1 6']);
  });

  test('what a policy refuses later has no answers, and is forgotten', () => {
    const { world } = start([WEB, NAMES]);
    send(world, one, two, tcp(40000, 80));
    send(world, one, two, udp(40000, 53));
    const kept = lines(world).filter((line) => line.includes('udp'));
    world.setPolicy(new PortPolicy([NAMES]));
    expect(lines(world)).toEqual(kept);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([]);
    world.setPolicy(new PortPolicy([WEB, NAMES]));
    expect(send(world, two, one, tcp(80, 40000))).toEqual([]);
    expect(send(world, two, one, udp(53, 40000))).toEqual([1]);
  });

  test('when the policy lets both do what they like, one route serves all, and back', () => {
    const { world } = start([WEB]);
    send(world, one, two, tcp(40000, 80));
    world.setPolicy(
      new PortPolicy([
        { from: 1, to: 2 },
        { from: 2, to: 1 },
      ]),
    );
    expect(send(world, two, one, udp(1, 2))).toEqual([1]);
    expect(world.remembered).toEqual(['e1>e2', 'e1>e2 6', 'e2<e1 6', 'e2>e1']);
    world.setPolicy(new PortPolicy([WEB]));
    expect(world.remembered).toEqual(['e1>e2 6', 'e2<e1 6']);
    expect(send(world, two, one, udp(1, 2))).toEqual([]);
  });

  test('where one may open whatever it likes and the other nothing, answers pass and nothing else', () => {
    const { world } = start([{ from: 1, to: 2 }]);
    expect(send(world, two, one, udp(7, 9))).toEqual([]);
    world.advance(5);
    expect(send(world, one, two, udp(9, 7))).toEqual([2]);
    expect(send(world, two, one, udp(7, 9))).toEqual([1]);
    expect(send(world, two, one, udp(7, 10))).toEqual([]);
  });

  test('both with the same ports, each of which may open: the first is the opener, until it may not', () => {
    const time = { protocol: UDP, port: 123 };
    const { world } = start([
      { from: 1, to: 2, ...time },
      { from: 2, to: 1, ...time },
    ]);
    expect(send(world, one, two, udp(123, 123))).toEqual([2]);
    expect(send(world, two, one, udp(123, 123))).toEqual([1]);
    expect(world.remembered).toEqual(['e1>e2 17', 'e2<e1 17']);
    world.setPolicy(new PortPolicy([{ from: 2, to: 1, ...time }]));
    expect(send(world, one, two, udp(123, 123))).toEqual([]);
    expect(send(world, two, one, udp(123, 123))).toEqual([1]);
    expect(send(world, one, two, udp(123, 123))).toEqual([2]);
    expect(world.remembered).toEqual(['e1<e2 17', 'e2>e1 17']);
  });

  test('SCTP has ports; of other protocols either may open where one may', () => {
    const { world } = start([
      { from: 1, to: 2, protocol: SCTP, port: 9 },
      { from: 1, to: 2, protocol: GRE },
    ]);
    expect(send(world, one, two, { proto: SCTP, payload: l4(SCTP, 5, 9) })).toEqual([2]);
    expect(send(world, two, one, { proto: SCTP, payload: l4(SCTP, 9, 5) })).toEqual([1]);
    expect(send(world, two, one, { proto: SCTP, payload: l4(SCTP, 9, 6) })).toEqual([]);
    expect(send(world, two, one, { proto: GRE, payload: Buffer.alloc(8) })).toEqual([1]);
    expect(send(world, one, two, { proto: GRE, payload: Buffer.alloc(8) })).toEqual([2]);
    expect(world.remembered).toEqual(['e1>e2 132', 'e1>e2 47', 'e2<e1 132', 'e2<e1 47']);
  });

  test('a ping opens, and is answered; other questions of ICMP are refused', () => {
    const { world } = start([{ from: 1, to: 2, protocol: ICMP }]);
    expect(send(world, two, one, icmp(0))).toEqual([]);
    world.advance(5);
    expect(send(world, one, two, icmp(8))).toEqual([2]);
    expect(send(world, two, one, icmp(0))).toEqual([1]);
    expect(send(world, two, one, icmp(8))).toEqual([]);
    expect(send(world, one, two, icmp(13))).toEqual([]);
  });

  test('ICMP errors pass about packets of a conversation alone, to who sent them', () => {
    const { world } = start([NAMES]);
    const asked = frameOf(one, two.ip, udp(40000, 53)).subarray(14, 42);
    expect(send(world, two, one, icmp(3, asked))).toEqual([]);
    send(world, one, two, udp(40000, 53));
    expect(send(world, two, one, icmp(3, asked))).toEqual([1]);
    expect(send(world, one, two, icmp(3, asked))).toEqual([]);
    expect(send(world, two, one, icmp(5, asked))).toEqual([]);
    const elsewhere = frameOf(one, far.ip, udp(40000, 53)).subarray(14, 42);
    expect(send(world, two, one, icmp(3, elsewhere))).toEqual([]);
  });

  test('later fragments pass between the two while they have a conversation, by a flow that is asked for again', () => {
    const { world } = start([NAMES]);
    const later = { ...udp(0, 0), fragment: 5 };
    expect(send(world, one, two, { ...udp(40000, 53), fragment: 0x2000 })).toEqual([2]);
    expect(send(world, one, two, later)).toEqual([2]);
    expect(send(world, one, two, later)).toEqual([2]);
    expect(world.counters.packetIns).toBe(2);
    expect(lines(world).filter((line) => line.includes('frag'))).toEqual([
      'table=2, hard_timeout=30, send_flow_rem priority=620,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.2,' +
        'nw_frag=later actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:02->eth_dst,output:2',
    ]);
    world.setPolicy(new PortPolicy([WEB]));
    expect(send(world, one, two, later)).toEqual([]);
  });

  test('over the cap, packets and their answers go one by one', () => {
    const { world } = start([NAMES], [], { maxRoutesPerEndpoint: 1 });
    for (const source of [1, 2, 3, 4, 5, 6]) {
      expect(send(world, one, two, udp(source, 53))).toEqual([2]);
      expect(send(world, two, one, udp(53, source))).toEqual([1]);
    }
    expect(lines(world)).toHaveLength(8);
    expect(world.counters).toMatchObject({ routesInstalled: 8, routesCapped: 4 });
    world.advance(60);
    expect(send(world, two, one, udp(53, 4))).toEqual([1]);
    expect(lines(world)).toHaveLength(2);
  });

  test('what an endpoint may have asked is bounded: the oldest is forgotten first', () => {
    const { world } = start([NAMES], [], { maxRoutesPerEndpoint: 1 });
    for (let source = 1; source <= 10; source += 1) send(world, one, two, udp(source, 53));
    world.advance(60);
    const answered = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].filter(
      (source) => send(world, two, one, udp(53, source)).length > 0,
    );
    expect(answered).toHaveLength(8);
    expect(answered).toContain(10);
  });

  test('a restarted controller learns who opened, and changes nothing', () => {
    const { world } = start([WEB, NAMES]);
    send(world, one, two, tcp(40000, 80));
    send(world, one, two, udp(40000, 53));
    const { routes, remembered } = world;
    world.restart(world.endpoints, networks);
    expect(world.resync()).toBe(0);
    expect([world.routes, world.remembered]).toEqual([routes, remembered]);
    world.advance(60);
    expect(world.remembered).toEqual([]);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    expect(send(world, two, one, tcp(80, 40001))).toEqual([]);
  });

  test('after the datapath has lost everything, the next packet of either side puts a conversation back', () => {
    const { world } = start([WEB]);
    send(world, one, two, tcp(40000, 80));
    world.fake.wipe();
    world.resync();
    expect(lines(world)).toEqual([]);
    expect(world.remembered).toEqual([]);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([1]);
    expect(lines(world)).toHaveLength(2);
    expect(world.state.routes.size).toBe(1);
  });

  test('nothing is left of an endpoint that goes, and who comes at its port has no answers', () => {
    const { world } = start([WEB]);
    send(world, one, two, tcp(40000, 80));
    send(world, one, two, tcp(40000, 22));
    world.remove('e1');
    expect(lines(world)).toEqual([]);
    expect([world.state.conversations.size, world.state.routes.size]).toEqual([0, 0]);
    world.add(one);
    expect(send(world, two, one, tcp(80, 40000))).toEqual([]);
  });
});

describe('with an endpoint on another host', () => {
  test('what leaves has its locators in registers; what answers is known by the peer’s MAC, locators and ports', () => {
    const { world } = start([WEB]);
    expect(send(world, one, far, tcp(40000, 80))).toEqual([11]);
    expect(sendOver(world, one, tcp(80, 40000))).toEqual([1]);
    expect(send(world, one, far, tcp(40000, 80))).toEqual([11]);
    expect(world.counters).toMatchObject({ packetIns: 1, wordsTold: 0 });
    expect(lines(world)).toEqual([
      'table=2, idle_timeout=60, send_flow_rem priority=620,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=10.2.0.3,' +
        'tp_src=40000,tp_dst=80 actions=set_field:02:da:00:00:01:fe->eth_dst,set_field:0x64400002->reg4,' +
        'set_field:0x64400103->reg5,goto_table:4',
      'table=6, idle_timeout=60, send_flow_rem priority=300,tcp,in_port=11,dl_src=02:da:00:00:01:fe,' +
        'nw_src=100.64.1.3,nw_dst=100.64.0.2,tp_src=80,tp_dst=40000 actions=' +
        'set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:01->eth_dst,set_field:10.2.0.3->ip_src,' +
        'set_field:10.1.0.2->ip_dst,dec_ttl,output:1',
    ]);
    expect(sendOver(world, one, tcp(80, 40001))).toEqual([]);
    expect(sendOver(world, one, tcp(80, 40000), (PEER + 1) as Mac)).toEqual([]);
  });

  test('what arrives is judged here, whatever the other host thinks; a word makes nothing', () => {
    const { world } = start([{ from: 2, to: 1, protocol: UDP, port: 7 }]);
    expect(world.word(PEER, far.locator, one.locator)).toEqual([]);
    expect(world.counters).toMatchObject({ wordsRefused: 1, wordsFollowed: 0 });
    expect(sendOver(world, one, udp(9, 8))).toEqual([]);
    expect(lines(world)).toEqual([
      'table=6, hard_timeout=5, priority=100,udp,in_port=11,dl_src=02:da:00:00:01:fe,nw_src=100.64.1.3,' +
        'nw_dst=100.64.0.2,tp_dst=8 actions=drop',
    ]);
    expect(sendOver(world, one, udp(9, 7))).toEqual([1]);
    expect(send(world, one, far, udp(7, 9))).toEqual([11]);
    expect(send(world, one, far, udp(7, 10))).toEqual([]);
    const said = frameOf({ mac: PEER, ip: far.locator }, one.locator, udp(9, 7)).subarray(14, 42);
    expect(sendOver(world, one, icmp(3, said))).toEqual([]);
    const heard = frameOf({ mac: PEER, ip: one.locator }, far.locator, udp(7, 9)).subarray(14, 42);
    expect(sendOver(world, one, icmp(3, heard))).toEqual([1]);
    expect(sendOver(world, one, { ...udp(0, 0), fragment: 5 })).toEqual([1]);
    world.remove('e3');
    expect(lines(world).filter((line) => line.includes('actions=set_field'))).toEqual([]);
  });
});

describe('with the outside', () => {
  test('out: each conversation with its address, and its answers', () => {
    const { world } = start([], [{ subject: 1, direction: 'out', protocol: TCP, port: 443 }]);
    expect(sendOut(world, one, OUT, tcp(40000, 443))).toEqual([10]);
    expect(sendIn(world, one, tcp(443, 40000))).toEqual([1]);
    expect(world.counters.packetIns).toBe(1);
    expect(lines(world)).toEqual([
      'table=3, idle_timeout=60, send_flow_rem priority=300,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=198.51.100.7,' +
        'tp_src=40000,tp_dst=443 actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:da:00:00:00:10->eth_dst,' +
        'set_field:100.64.0.2->ip_src,output:10',
      'table=3, idle_timeout=60, send_flow_rem priority=300,tcp,in_port=10,nw_src=198.51.100.7,nw_dst=100.64.0.2,' +
        'tp_src=443,tp_dst=40000 actions=set_field:02:da:00:00:00:fe->eth_src,' +
        'set_field:02:00:00:00:00:01->eth_dst,set_field:10.1.0.2->ip_dst,output:1',
    ]);
    expect(sendIn(world, one, tcp(443, 40000), (OUT + 1) as Ipv4)).toEqual([]);
    expect(sendOut(world, one, OUT, tcp(40000, 80))).toEqual([]);
    expect(sendIn(world, one, tcp(40000, 443))).toEqual([]);
    expect(lines(world).filter((line) => line.includes('drop'))).toEqual([
      'table=3, hard_timeout=5, priority=100,tcp,in_port=1,nw_src=10.1.0.2,nw_dst=198.51.100.7,tp_dst=80 actions=drop',
      'table=3, hard_timeout=5, priority=100,tcp,in_port=10,nw_src=198.51.100.7,nw_dst=100.64.0.2,tp_dst=443 actions=drop',
      'table=3, hard_timeout=5, priority=100,tcp,in_port=10,nw_src=198.51.100.8,nw_dst=100.64.0.2,tp_dst=40000 actions=drop',
    ]);
    expect(world.denials.list().map(({ source, destination, port }) => [source, destination, port])).toEqual([
      ['198.51.100.7', 'e1', 443],
      ['e1', '198.51.100.7', 80],
      ['198.51.100.8', 'e1', 40000],
    ]);
  });

  test('in: a published port from one address, and an ICMP error of a router on the way', () => {
    const { world } = start([], [{ subject: 1, direction: 'in', protocol: UDP, port: 53, address: OUT }]);
    expect(sendIn(world, one, udp(9, 53))).toEqual([1]);
    expect(sendOut(world, one, OUT, udp(53, 9))).toEqual([10]);
    expect(sendIn(world, one, udp(9, 53), (OUT + 1) as Ipv4)).toEqual([]);
    const router = (OUT + 9) as Ipv4;
    const quote = (address: number) => frameOf({ ...one, ip: one.locator }, address, udp(53, 9)).subarray(14, 42);
    expect(sendIn(world, one, icmp(3, quote(OUT)), router)).toEqual([1]);
    expect(sendIn(world, one, icmp(3, quote(OUT + 1)), router)).toEqual([]);
    expect(sendIn(world, one, { ...udp(0, 0), fragment: 5 })).toEqual([1]);
    expect(sendIn(world, one, { ...udp(0, 0), fragment: 5 }, router)).toEqual([]);
  });

  test('names are answered whatever the policy says; the host’s own address is an address like others', () => {
    const { world } = start([]);
    for (let i = 0; i < 2; i += 1) {
      expect(sendOut(world, one, OUT, udp(9, 53))).toEqual([]);
      expect(sendOut(world, one, dnsAddress, udp(9, 53))).toEqual([10]);
      expect(sendIn(world, one, udp(9, 53))).toEqual([]);
      expect(sendIn(world, one, udp(53, 9), dnsAddress)).toEqual([1]);
    }
    expect(sendOut(world, one, host.hostAddress, udp(9, 53))).toEqual([]);
    expect(lines(world).every((line) => line.endsWith('actions=drop'))).toBe(true);
    world.setPolicy(new PortPolicy([], [{ subject: 1, direction: 'out', address: host.hostAddress }]));
    expect(sendOut(world, one, host.hostAddress, udp(9, 53))).toEqual([10]);
    expect(sendOut(world, one, OUT, udp(9, 53))).toEqual([]);
    expect(sendOut(world, one, dnsAddress, udp(9, 53))).toEqual([10]);
  });

  test('where both may do what they like, the wide route serves all; else it goes', () => {
    const wide: OutsideRule[] = [
      { subject: 1, direction: 'out' },
      { subject: 1, direction: 'in' },
    ];
    const { world } = start([], wide);
    expect(sendOut(world, one, OUT, udp(9, 53))).toEqual([10]);
    expect(world.remembered).toEqual(['e1>outside', 'outside>e1']);
    world.setPolicy(new PortPolicy([], wide.slice(0, 1)));
    expect(world.remembered).toEqual([]);
    expect(sendIn(world, one, udp(53, 9))).toEqual([]);
    expect(sendOut(world, one, OUT, udp(9, 53))).toEqual([10]);
    expect(sendIn(world, one, udp(53, 9))).toEqual([1]);
  });
});
