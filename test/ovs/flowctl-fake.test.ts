// The fake datapath of the model tests against Open vSwitch: the same controller programs both, the same frames come in,
// and the same leave by the same ports.
import { tmpdir } from 'node:os';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Controller } from '../../src/flowctl/controller';
import { attach, FakeDatapath } from '../fakes/fake-datapath';
import { PortPolicy } from '../fakes/port-policy';
import {
  blue,
  endpoints,
  frameFrom,
  frameIn,
  host,
  HOST_ADDRESS,
  HOST_MAC,
  Lab,
  networks,
  one,
  OUTSIDE,
  other,
  two,
  udp,
  until,
} from './flowctl-lab';

/** Within a network and with the outside, everything; from the first network to the third, one port. */
const KEYS = [1, 2, 3, 4];
const policy = new PortPolicy(
  [...KEYS.map((key) => ({ from: key, to: key })), { from: 1, to: 3, protocol: 6, port: 80 }],
  KEYS.flatMap((subject) => [
    { subject, direction: 'out' },
    { subject, direction: 'in' },
  ]),
);

let lab: Lab;
let fake: FakeDatapath;
let controller: Controller;
let folder: string;
let tell: (bytes: Buffer) => void;
let hangUp: () => void;

beforeAll(async () => {
  lab = await Lab.start({}, endpoints, policy);
  folder = mkdtempSync(join(tmpdir(), 'flowctl-'));
  controller = new Controller({ path: join(folder, 's'), clock: systemClock, logger: silentLogger, policy });
  controller.setHost(host);
  for (const network of networks) controller.setNetwork(network);
  for (const endpoint of endpoints) controller.addEndpoint(endpoint).catch(() => undefined);
  await controller.start();
  fake = new FakeDatapath();
  const attached = await attach(join(folder, 's'), fake);
  tell = attached.tell;
  hangUp = () => attached.socket.destroy();
  await until('connection', () => controller.counters().datapaths === 1);
});

afterAll(async () => {
  hangUp?.();
  await controller?.stop();
  await lab?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** The head of TCP: from port 40000 to 80, or less of it. */
const tcp = (hex = '9c4000500000000000000000500200000000ffff') => ({ proto: 6, payload: Buffer.from(hex, 'hex') });
const ping = { proto: 1, payload: Buffer.from('0800f7fd00010001', 'hex') };

test.each<[string, number, Buffer]>([
  ['a first packet', 1, frameFrom(one, two.ip, udp('a'))],
  ['a second packet', 1, frameFrom(one, two.ip, udp('b'))],
  ['an answer', 2, frameFrom(two, one.ip, udp('c'))],
  ['another tenant', 3, frameFrom(blue, one.ip, udp('d'))],
  ['another network', 1, frameFrom(one, other.ip, udp('e'))],
  ['out', 1, frameFrom(one, OUTSIDE, udp('f'))],
  ['out again', 1, frameFrom(one, OUTSIDE + 1, udp('g'))],
  ['in', 10, frameIn(one, udp('h'))],
  ['in to one that did not speak', 10, frameIn(two, udp('i'))],
  ['to the host', 1, frameFrom(one, HOST_ADDRESS, udp('j'))],
  ['to a locator', 1, frameFrom(one, two.locator, udp('k'))],
  ['to nobody', 1, frameFrom(one, parseIpv4('10.1.0.77'), udp('l'))],
  ['to loopback', 1, frameFrom(one, parseIpv4('127.0.0.1'), udp('m'))],
  ['a ping of the gateway', 1, frameFrom(one, parseIpv4('10.1.0.1'), ping)],
  ['a forged address', 1, frameFrom({ ...one, ip: two.ip }, two.ip, udp('n'))],
  ['a forged MAC', 1, frameFrom({ ...one, mac: two.mac }, two.ip, udp('o'))],
  ['an ARP request', 1, arpQuestion(one.mac, one.ip, two.ip)],
  ['a forged ARP request', 1, arpQuestion(two.mac, one.ip, two.ip)],
  ['a conversation', 1, frameFrom(one, other.ip, tcp())],
  ['an answer in it', 4, frameFrom(other, one.ip, tcp('00509c400000000000000000501200000000ffff'))],
  ['no answer in it', 4, frameFrom(other, one.ip, tcp('00509c410000000000000000501200000000ffff'))],
  ['another port', 1, frameFrom(one, other.ip, tcp('9c4000510000000000000000500200000000ffff'))],
  ['a later fragment of it', 1, frameFrom(one, other.ip, { ...tcp(), fragment: 5 })],
  ['a later fragment back', 4, frameFrom(other, one.ip, { ...tcp(), fragment: 5 })],
  ['a first fragment that is too short', 1, frameFrom(one, other.ip, { ...tcp('9c40005000000000'), fragment: 0x2000 })],
  ['port 0', 1, frameFrom(one, other.ip, tcp('000000000000000000000000500200000000ffff'))],
  ['a later fragment after that', 1, frameFrom(one, other.ip, { ...tcp(), fragment: 6 })],
  ['a later fragment out', 1, frameFrom(one, OUTSIDE, { ...udp('pppppppp'), fragment: 5 })],
])('%s', async (_, portNo, frame) => {
  const before = controller.counters().packetIns;
  fake.sent.length = 0;
  const { outputs, toController } = fake.receive(portNo, frame);
  if (toController.length > 0) {
    tell(toController);
    await until('decision', () => controller.counters().packetIns > before);
    // What was decided is sent at the end of the turn, and answered to before what follows.
    await controller.drops();
  }
  const expected = [...outputs, ...fake.sent].map(show);
  lab.forget();
  await lab.inject(portNo, frame, question(portNo));
  await until('answer to ARP', () => (seen = seen.concat(lab.captured(portNo))).some(isAnswerTo(question(portNo))));
  // The first turn brings the packet-in to the controller, the second what it said about it to the datapath.
  for (let turn = 0; turn < 2; turn += 1) await lab.controller.drops();
  const here = [...seen, ...lab.captured(portNo)].filter((left) => !isAnswerTo(question(portNo))(left));
  const left = PORTS.flatMap((port) =>
    (port === portNo ? here : lab.captured(port)).map((each) => show({ portNo: port, frame: each })),
  );
  expect(left).toEqual(expected);
});

let seen: Buffer[] = [];
beforeEach(() => (seen = []));

const PORTS = [1, 2, 3, 4, 5, 10];
const show = ({ portNo, frame }: { portNo: number; frame: Buffer }) => `${portNo} ${frame.toString('hex')}`;

/** An ARP question that comes after a frame on its port: once it is answered, the frame has been dealt with. */
function question(portNo: number): Buffer {
  const asker = endpoints.find(({ location }) => location.portNo === portNo) ?? { mac: HOST_MAC, ip: HOST_ADDRESS };
  return arpQuestion(asker.mac, asker.ip, parseIpv4('100.64.9.9'));
}

function arpQuestion(sha: number, spa: number, tpa: number): Buffer {
  const hex = (value: number, bytes: number) => value.toString(16).padStart(2 * bytes, '0');
  const head = `ffffffffffff${hex(sha, 6)}08060001080006040001`;
  return Buffer.from(`${head}${hex(sha, 6)}${hex(spa, 4)}000000000000${hex(tpa, 4)}`, 'hex');
}

/** The answer has the asked address as its sender. */
const isAnswerTo = (asked: Buffer) => (frame: Buffer) =>
  frame.readUInt16BE(12) === 0x0806 &&
  frame.readUInt16BE(20) === 2 &&
  frame.readUInt32BE(28) === asked.readUInt32BE(38);
