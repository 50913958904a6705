// The controller without I/O under policies with ports: a packet is delivered where the policy lets its sender open such a
// conversation, or where it answers in one that the other end opened and may open still; else it is not. Whoever opened
// is told from who did not by a plain list, which is unsure where it depends on when a timeout is noticed.
import fc from 'fast-check';
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import type { FlowEndpoint, FlowHost, FlowNetwork } from '../../src/flowctl/model';
import { setMac } from '../../src/packet/bytes';
import { FlowWorld } from '../fakes/flow-world';
import { PortPolicy, type PairRule } from '../fakes/port-policy';
import { buildFrame } from '../unit/packet/frames';

const [ICMP, TCP, UDP] = [1, 6, 17];
const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: true,
};
const NETWORKS: readonly FlowNetwork[] = [1, 2, 3].map((key) => ({
  id: `n${key}`,
  key,
  tenant: 7,
  pools: [parseCidr(`10.${key}.0.0/24`)],
  internal: false,
}));
const PORTS = [1, 2, 3];

function endpointAt(portNo: number): FlowEndpoint {
  return {
    id: `e${portNo}`,
    networkKey: portNo,
    mac: (0x020000000000 + portNo) as Mac,
    ip: (parseIpv4('10.0.0.2') + portNo * 0x10000) as Ipv4,
    locator: (host.hostAddress + portNo) as Ipv4,
    location: { kind: 'local', portNo },
  };
}

interface Packet {
  readonly from: number;
  readonly to: number;
  readonly protocol: number;
  readonly source: number;
  readonly destination: number;
}

function frameOf({ from, to, protocol, source, destination }: Packet): Buffer {
  const [sender, receiver] = [endpointAt(from), endpointAt(to)];
  const payload = Buffer.alloc(protocol === TCP ? 20 : 8);
  if (protocol === ICMP) payload[0] = source === 0 ? 8 : 0;
  else {
    payload.writeUInt16BE(source, 0);
    payload.writeUInt16BE(destination, 2);
    if (protocol === UDP) payload[5] = 8;
  }
  const frame = buildFrame({ src: sender.ip, dst: receiver.ip, proto: protocol, payload });
  setMac(frame, 0, host.routerMac);
  setMac(frame, 6, sender.mac);
  return frame;
}

/** `source` 0 of ICMP is a question, 1 an answer; both ports of what they are part of are 0. */
const keyOf = (opener: number, answerer: number, protocol: number, openerPort: number, answererPort: number) =>
  protocol === ICMP ? `${opener}>${answerer} icmp` : `${opener}>${answerer} ${protocol} ${openerPort} ${answererPort}`;

interface Opened {
  readonly opening: Omit<Packet, 'source'>;
  /** When it was certainly used, and when it may have been. */
  sure: number;
  maybe: number;
}

/** Within these seconds after its last packet a conversation is known; after those it is not. */
const KNOWN = 300;
const FORGOTTEN = { [TCP]: 124 * 60 + 700, [UDP]: 1000, [ICMP]: 1000 } as Readonly<Record<number, number>>;
const IDLE = 60;
const REFUSED_SECONDS = 5;

class Oracle {
  private readonly opened = new Map<string, Opened>();
  private readonly refusedAt = new Map<string, number>();
  private wipedAt = -Infinity;
  constructor(private policy: PortPolicy) {}

  /** Is the packet delivered? Undefined: either is right. */
  expects(packet: Packet, now: number): boolean | undefined {
    const answered = this.answered(packet, now);
    const opens = this.opens(packet);
    if (this.isRoute(packet.from, packet.to)) return true;
    const may = opens || answered === true ? true : answered === undefined ? undefined : false;
    const refused = this.refusedAt.get(this.refusalOf(packet));
    return may === true && refused !== undefined && now - refused <= REFUSED_SECONDS ? undefined : may;
  }

  /** The packet was sent, and delivered or not. */
  happened(packet: Packet, isDelivered: boolean, now: number): void {
    if (!isDelivered) {
      this.refusedAt.set(this.refusalOf(packet), now);
      return;
    }
    const isRoute = this.isRoute(packet.from, packet.to);
    const before = this.answered(packet, now);
    const { from, to, protocol, source, destination } = packet;
    const answer = this.opened.get(keyOf(to, from, protocol, destination, source));
    const canOpen = this.opens(packet);
    if (answer !== undefined && before !== false) {
      answer.maybe = now;
      if (!isRoute && (before === true || !canOpen)) answer.sure = now;
    }
    if (!canOpen || before === true) return;
    const key = keyOf(from, to, protocol, source, destination);
    const known = this.opened.get(key) ?? { opening: packet, sure: -Infinity, maybe: -Infinity };
    if (!isRoute || this.opened.has(key)) this.opened.set(key, known);
    known.maybe = now;
    if (!isRoute && before === false) known.sure = now;
  }

  setPolicy(policy: PortPolicy): void {
    this.policy = policy;
    this.refusedAt.clear();
    for (const [key, { opening }] of this.opened) if (!this.permits(opening)) this.opened.delete(key);
  }

  /** The controller knows those that have flows. */
  restarted(now: number): void {
    this.refusedAt.clear();
    for (const each of this.opened.values()) {
      if (now - each.sure >= IDLE || each.sure <= this.wipedAt) each.sure = -Infinity;
    }
  }

  wiped(now: number): void {
    this.wipedAt = now;
    this.refusedAt.clear();
  }

  removed(portNo: number): void {
    for (const [key, { opening }] of this.opened) {
      if (opening.from === portNo || opening.to === portNo) this.opened.delete(key);
    }
    this.refusedAt.clear();
  }

  private answered({ from, to, protocol, source, destination }: Packet, now: number): boolean | undefined {
    if (protocol === ICMP && source === 0) return false;
    const known = this.opened.get(keyOf(to, from, protocol, destination, source));
    if (known === undefined || now - known.maybe > FORGOTTEN[protocol]!) return false;
    return now - known.sure <= KNOWN ? true : undefined;
  }

  private opens(packet: Packet): boolean {
    return (packet.protocol !== ICMP || packet.source === 0) && this.permits(packet);
  }

  private permits({ from, to, protocol, destination }: Omit<Packet, 'source'>): boolean {
    const judgement = this.policy.judge(from, to);
    if (judgement !== 'depends') return judgement === 'allow';
    return this.policy.permits(from, to, protocol, protocol === ICMP ? 0 : destination);
  }

  private isRoute(a: number, b: number): boolean {
    return this.policy.judge(a, b) === 'allow' && this.policy.judge(b, a) === 'allow';
  }

  private refusalOf({ from, to, protocol, source, destination }: Packet): string {
    return `${from}>${to} ${protocol} ${protocol === ICMP ? source : destination}`;
  }
}

const port = fc.constantFrom(1, 2);
const pair = fc
  .record({ from: fc.constantFrom(...PORTS), by: fc.constantFrom(1, 2) })
  .map(({ from, by }) => ({ from, to: ((from - 1 + by) % 3) + 1 }));
const packet = fc
  .record({ pair, protocol: fc.constantFrom(TCP, UDP, UDP, ICMP), source: port, destination: port })
  .map(({ pair: ends, protocol, source, destination }): Packet => {
    if (protocol === ICMP) return { ...ends, protocol, source: source - 1, destination: source - 1 };
    return { ...ends, protocol, source, destination };
  });
const rule = fc
  .record({ pair, protocol: fc.option(fc.constantFrom(TCP, UDP, ICMP), { freq: 3 }), port: fc.option(port) })
  .map(({ pair: ends, protocol, port: only }): PairRule => {
    if (protocol === null) return ends;
    return { ...ends, protocol, ...(only !== null && protocol !== ICMP && { port: only }) };
  });
const policy = fc.array(rule, { maxLength: 8 });
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ do: fc.constant('packet' as const), packet, answer: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.constantFrom(1, 6, 61, 600) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('policy' as const), policy }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('restart' as const, 'wipe' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('replace' as const), portNo: fc.constantFrom(...PORTS) }) },
);

function send(world: FlowWorld, oracle: Oracle, each: Packet): void {
  const { now } = world.fake;
  const expected = oracle.expects(each, now);
  const outputs = world.packet(each.from, frameOf(each)).map(({ portNo }) => portNo);
  expect(outputs.filter((portNo) => portNo !== each.to)).toEqual([]);
  expect(outputs.length).toBeLessThanOrEqual(1);
  const isDelivered = outputs.length === 1;
  if (expected !== undefined) expect(isDelivered).toBe(expected);
  oracle.happened(each, isDelivered, now);
}

function answerTo({ from, to, protocol, source, destination }: Packet): Packet {
  if (protocol === ICMP) return { from: to, to: from, protocol, source: 1, destination: 1 };
  return { from: to, to: from, protocol, source: destination, destination: source };
}

function perform(world: FlowWorld, oracle: Oracle, each: typeof step extends fc.Arbitrary<infer T> ? T : never): void {
  switch (each.do) {
    case 'packet':
      send(world, oracle, each.packet);
      if (each.answer) send(world, oracle, answerTo(each.packet));
      return;
    case 'wait':
      return world.advance(each.seconds);
    case 'policy': {
      const next = new PortPolicy(each.policy);
      world.setPolicy(next);
      return oracle.setPolicy(next);
    }
    case 'restart':
      world.restart(world.endpoints, NETWORKS);
      world.resync();
      return oracle.restarted(world.fake.now);
    case 'wipe':
      world.fake.wipe();
      world.resync();
      return oracle.wiped(world.fake.now);
    case 'replace':
      world.remove(`e${each.portNo}`);
      world.add(endpointAt(each.portNo));
      return oracle.removed(each.portNo);
  }
}

test('what the policy permits is delivered, and what answers it, and nothing else', () => {
  fc.assert(
    fc.property(policy, fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (rules, steps) => {
      const first = new PortPolicy(rules);
      const world = new FlowWorld({ host, networks: NETWORKS, policy: first });
      const oracle = new Oracle(first);
      for (const portNo of PORTS) world.add(endpointAt(portNo));
      for (const each of steps) perform(world, oracle, each);
      // The tables are right, and what is believed of them too: nothing but drops is there to be changed.
      const before = world.remembered;
      const drops = world.routes.filter((line) => line.includes('hard_timeout')).length;
      expect([world.resync(), world.resync()]).toEqual([drops, 0]);
      expect(world.remembered).toEqual(before);
    }),
    { numRuns: 80 },
  );
});
