// Two hosts, each a bridge of a real Open vSwitch with a controller of its own, and a wire between their fabric ports: a route
// between them, whatever comes first, the packet or the word of the source's controller.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatMac, parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Controller } from '../../src/flowctl/controller';
import type { FlowEndpoint, FlowNetwork } from '../../src/flowctl/model';
import { frameFrom, udp, until } from './flowctl-lab';
import { startOvs, type Ovs } from './ovs';

const FABRIC = 11;
const RANGE = parseCidr('100.64.0.0/10');
const networks: FlowNetwork[] = [1, 2].map((key) => ({
  id: `n${key}`,
  key,
  tenant: 7,
  pools: [parseCidr(`10.${key}.0.0/24`)],
  internal: false,
}));

interface Word {
  readonly to: Mac;
  readonly source: Ipv4;
  readonly destination: Ipv4;
}

/** A host: its bridge, its controller, and endpoint 1 at port 1. */
class Side {
  readonly bridge: string;
  readonly routerMac: Mac;
  readonly endpoint: FlowEndpoint;
  readonly said: Word[] = [];
  /** What happens to a word. */
  onTell: (word: Word) => void = () => undefined;
  controller!: Controller;
  private seen = 0;

  constructor(
    private readonly ovs: Ovs,
    readonly number: number,
  ) {
    this.bridge = `br${number}`;
    this.routerMac = parseMac(`02:da:00:00:0${number}:fe`);
    this.endpoint = {
      id: `e${number}`,
      networkKey: 1,
      mac: parseMac(`02:00:00:00:0${number}:01`),
      ip: parseIpv4(`10.1.0.${number + 1}`),
      locator: parseIpv4(`100.64.${number}.2`),
      location: { kind: 'local', portNo: 1 },
    };
  }

  async start(other: Side): Promise<void> {
    const { ovs, bridge, number } = this;
    const path = join(ovs.rundir, `c${number}.sock`);
    const tellPeer = (to: Mac, source: Ipv4, destination: Ipv4) => {
      const word = { to, source, destination };
      this.said.push(word);
      this.onTell(word);
    };
    const world = { clock: systemClock, logger: silentLogger };
    this.controller = new Controller({ ...world, path, tellPeer, settings: { denyTimeoutSeconds: 1 } });
    this.controller.setHost({
      routerMac: this.routerMac,
      hostAddress: parseIpv4(`100.64.${number}.1`),
      serverAddress: parseIpv4(`192.0.2.${number}`),
      fabric: { portNo: FABRIC, mtu: 1500, isNarrow: false },
      locatorRange: RANGE,
      kernelDatapath: false,
    });
    for (const network of networks) this.controller.setNetwork(network);
    this.controller.addEndpoint(this.endpoint).catch(() => undefined);
    await this.controller.addEndpoint(other.abroad());
    await this.controller.start();
    const wire = number === 1 ? `pstream=punix:${ovs.rundir}/wire` : `stream=unix:${ovs.rundir}/wire`;
    const words = ['add-br', bridge, '--', 'set', 'bridge', bridge, 'datapath_type=dummy', 'fail_mode=secure'];
    words.push('protocols=OpenFlow14', 'other-config:disable-in-band=true', '--', 'set-controller', bridge);
    words.push(`unix:${path}`, '--', 'set', 'controller', bridge, 'connection_mode=out-of-band');
    for (const [portNo, options] of [
      [1, `tx_pcap=${this.capture}`],
      [FABRIC, wire],
    ] as const) {
      words.push('--', 'add-port', bridge, `p${number}-${portNo}`, '--', 'set', 'interface', `p${number}-${portNo}`);
      words.push('type=dummy', `ofport_request=${portNo}`, `options:${options}`);
    }
    await ovs.vsctl(...words);
    await until('connection', () => this.controller.counters().datapaths === 1);
  }

  private get capture(): string {
    return join(this.ovs.rundir, `out${this.number}.pcap`);
  }

  /** This side's endpoint as the other host knows it. */
  abroad(): FlowEndpoint {
    return { ...this.endpoint, location: { kind: 'remote', routerMac: this.routerMac } };
  }

  /** The endpoint sends a datagram to that of the other side. */
  async send(to: Side, text: string): Promise<void> {
    const frame = frameFrom(this.endpoint, to.endpoint.ip, udp(text), this.routerMac);
    await this.ovs.appctl('netdev-dummy/receive', `p${this.number}-1`, frame.toString('hex'));
  }

  /** What the endpoint has received since the last call; waits for as many. */
  async received(count: number): Promise<string[]> {
    const texts = () => textsIn(this.capture).slice(this.seen);
    await until(`${count}. datagram at ${this.bridge}`, () => texts().length >= count);
    const found = texts();
    this.seen += found.length;
    return found;
  }

  async routes(...options: string[]): Promise<string[]> {
    const text = await this.ovs.ofctl('-O', 'OpenFlow14', '--no-names', ...options, 'dump-flows', this.bridge);
    return text.split('\n').filter((line) => line.includes('idle_timeout'));
  }

  get counters() {
    return this.controller.counters();
  }
}

function textsIn(path: string): string[] {
  const bytes = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
  const texts: string[] = [];
  for (let at = 24; at + 16 <= bytes.length;) {
    const length = bytes.readUInt32LE(at + 8);
    if (at + 16 + length > bytes.length) break;
    texts.push(bytes.subarray(at + 16 + 42, at + 16 + length).toString());
    at += 16 + length;
  }
  return texts;
}

let ovs: Ovs;
let ann: Side;
let bob: Side;

beforeAll(async () => {
  ovs = await startOvs();
  [ann, bob] = [new Side(ovs, 1), new Side(ovs, 2)];
  await ann.start(bob);
  await bob.start(ann);
});
afterAll(async () => {
  await Promise.all([ann, bob].map((side) => side?.controller.stop()));
  await ovs?.stop();
});

/** No packet goes by what OVS decided before. */
const settled = () => ovs.appctl('revalidator/wait');

/** As if the two had never talked. OVS's word about the end of a route may come when the pair has the next one. */
async function separate(): Promise<void> {
  for (const [side, other] of [
    [ann, bob],
    [bob, ann],
  ] as const) {
    await side.controller.removeEndpoint(other.endpoint.id);
    await side.controller.addEndpoint(other.abroad());
    await until('end of the routes', async () => (await side.routes()).length === 0);
  }
  await settled();
}

beforeEach(async () => {
  await separate();
  for (const side of [ann, bob]) {
    side.onTell = () => undefined;
    side.said.length = 0;
  }
});

/** Says to Bob's controller what Ann's would. */
const tellBob = () => bob.controller.takeWord(ann.routerMac, ann.endpoint.locator, bob.endpoint.locator);
async function hasRoute(side: Side): Promise<void> {
  await until(`route at ${side.bridge}`, async () => (await side.routes()).length === 2);
  await settled();
}

test('a word alone makes the half of the destination, without a packet', async () => {
  const before = bob.counters;
  tellBob();
  await hasRoute(bob);
  const { packetIns, packetOuts, wordsFollowed, routesInstalled } = bob.counters;
  expect([packetIns, packetOuts, wordsFollowed]).toEqual([
    before.packetIns,
    before.packetOuts,
    before.wordsFollowed + 1,
  ]);
  expect(routesInstalled).toBe(before.routesInstalled + 2);
  const [out, into] = (await bob.routes('--no-stats')).sort();
  expect(out).toContain(
    `in_port=1,nw_src=10.1.0.3,nw_dst=10.1.0.2 actions=set_field:${formatMac(ann.routerMac)}->eth_dst`,
  );
  expect(into).toContain(`in_port=11,dl_src=${formatMac(ann.routerMac)},nw_src=100.64.1.2,nw_dst=100.64.2.2`);
  expect(bob.said).toEqual([]);
});

test('the word first: the packet finds its route', async () => {
  tellBob();
  await hasRoute(bob);
  const { packetIns } = bob.counters;
  await ann.send(bob, 'one');
  expect(await bob.received(1)).toEqual(['one']);
  await bob.send(ann, 'back');
  expect(await ann.received(1)).toEqual(['back']);
  expect(bob.counters.packetIns).toBe(packetIns);
  expect(await bob.routes()).toHaveLength(2);
  expect(ann.said).toEqual([{ to: bob.routerMac, source: ann.endpoint.locator, destination: bob.endpoint.locator }]);
  expect(bob.said).toEqual([]);
});

test('the packet first: the word changes nothing', async () => {
  const { packetIns } = bob.counters;
  await ann.send(bob, 'first');
  expect(await bob.received(1)).toEqual(['first']);
  await hasRoute(bob);
  expect(bob.counters.packetIns).toBeGreaterThan(packetIns);
  const { wordsFollowed, wordsRefused, routesInstalled } = bob.counters;
  // Nothing is sent to the datapath: the flows go on as they are.
  tellBob();
  expect(bob.counters).toMatchObject({ wordsFollowed, wordsRefused, routesInstalled });
  await ann.send(bob, 'next');
  expect(await bob.received(1)).toEqual(['next']);
  expect(await bob.routes()).toHaveLength(2);
  expect(bob.said).toEqual([]);
});

test('both at once, again and again: each packet arrives once, and nobody tells back', async () => {
  ann.onTell = ({ source, destination }) => bob.controller.takeWord(ann.routerMac, source, destination);
  bob.onTell = ({ source, destination }) => ann.controller.takeWord(bob.routerMac, source, destination);
  for (let round = 0; round < 12; round += 1) {
    await ann.send(bob, `there ${round}`);
    expect(await bob.received(1)).toEqual([`there ${round}`]);
    await bob.send(ann, `back ${round}`);
    expect(await ann.received(1)).toEqual([`back ${round}`]);
    expect([ann, bob].map(({ said }) => said.length)).toEqual([round + 1, 0]);
    for (const side of [ann, bob]) await hasRoute(side);
    await separate();
  }
});

test('both begin at the same moment', async () => {
  ann.onTell = ({ source, destination }) => bob.controller.takeWord(ann.routerMac, source, destination);
  bob.onTell = ({ source, destination }) => ann.controller.takeWord(bob.routerMac, source, destination);
  await Promise.all([ann.send(bob, 'there'), bob.send(ann, 'back')]);
  expect(await Promise.all([ann.received(1), bob.received(1)])).toEqual([['back'], ['there']]);
  for (const side of [ann, bob]) await hasRoute(side);
});

describe('a word about what may not be makes nothing', () => {
  const elsewhere = (n: number, networkKey: number, routerMac: Mac): FlowEndpoint => ({
    id: `x${n}`,
    networkKey,
    mac: parseMac(`02:00:00:00:09:0${n}`),
    ip: parseIpv4(`10.${networkKey}.0.${100 + n}`),
    locator: parseIpv4(`100.64.9.${n}`),
    location: { kind: 'remote', routerMac },
  });
  const third = parseMac('02:da:00:00:09:fe');
  const [stranger, other] = [elsewhere(2, 1, third), elsewhere(3, 2, parseMac('02:da:00:00:01:fe'))];

  beforeAll(async () => {
    for (const each of [stranger, other]) await bob.controller.addEndpoint(each);
  });
  afterAll(async () => {
    for (const each of [stranger, other]) await bob.controller.removeEndpoint(each.id);
  });

  test.each<[string, () => [Mac, Ipv4, Ipv4]]>([
    ['a source that is on another host than the sender', () => [ann.routerMac, stranger.locator, bob.endpoint.locator]],
    ['a source of this very host', () => [bob.routerMac, bob.endpoint.locator, bob.endpoint.locator]],
    ['a source that nobody has', () => [ann.routerMac, parseIpv4('100.64.1.99'), bob.endpoint.locator]],
    ['a destination on another host', () => [ann.routerMac, ann.endpoint.locator, stranger.locator]],
    ['a destination that nobody has', () => [ann.routerMac, ann.endpoint.locator, parseIpv4('100.64.2.99')]],
    ['a source that the policy refuses', () => [ann.routerMac, other.locator, bob.endpoint.locator]],
  ])('%s', async (_, words) => {
    const { wordsRefused } = bob.counters;
    bob.controller.takeWord(...words());
    tellBob();
    await hasRoute(bob);
    expect(bob.counters.wordsRefused).toBe(wordsRefused + 1);
    expect((await bob.routes()).join()).not.toMatch(/100\.64\.9\.|10\.[12]\.0\.10\d/);
    expect(bob.said).toEqual([]);
  });
});
