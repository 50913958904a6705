// The codec against a real ovs-vswitchd: it takes what we send, answers what we expect, and lists flows in the very bytes
// that we wrote.
import fc from 'fast-check';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseIpv4 } from '../../src/base/addresses';
import { controller, load, output, setField, whole } from '../../src/openflow/action';
import { OFPBCT, OFPP, OFPPR, OFPRR, type PortNo } from '../../src/openflow/constants';
import { errorName, type ErrorMessage } from '../../src/openflow/error';
import { encodeFlowMod, type FlowMod } from '../../src/openflow/flow-mod';
import { forEachFlowStats } from '../../src/openflow/flow-stats';
import { formatFlow, parseFlow } from '../../src/openflow/flow-text';
import { speaksOpenFlow14 } from '../../src/openflow/hello';
import { decodeMessage, encodeMessage, messageXid, type Message } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import { PacketInView, isPacketIn2 } from '../../src/openflow/packet-in-view';
import { anyFlow } from '../unit/openflow/random-flows';
import { startOvs, type Ovs } from './ovs';
import { sensible } from './sensible-flow';

// Some messages share an interface, whose `type` is a union.
type Of<Type extends Message['type']> = Message extends infer Each
  ? Each extends { readonly type: infer Own }
    ? Type extends Own
      ? Each
      : never
    : never
  : never;
const OFPT_SET_CONFIG = 9;

interface Received {
  readonly xid: number;
  readonly message: Message;
  readonly bytes: Buffer;
}

/** A connection to the bridge's own socket. */
class Peer {
  private readonly writer = new MessageWriter();
  private readonly received: Received[] = [];
  private xid = 100;

  private constructor(private readonly socket: Socket) {
    const framer = new MessageFramer((buffer, offset, length) => {
      const bytes = Buffer.from(buffer.subarray(offset, offset + length));
      this.received.push({ xid: messageXid(buffer, offset), message: decodeMessage(buffer, offset, length), bytes });
    });
    socket.on('data', (chunk) => framer.push(chunk));
  }

  static async connect(ovs: Ovs): Promise<Peer> {
    const socket = connect(join(ovs.rundir, 'br0.mgmt'));
    await once(socket, 'connect');
    const peer = new Peer(socket);
    peer.send({ type: 'hello', version: 5, versions: [5] });
    expect(speaksOpenFlow14((await peer.next('hello')).message)).toBe(true);
    // Without miss_send_len such a connection gets nothing unasked.
    peer.send({ type: 'unknown', messageType: OFPT_SET_CONFIG, body: Buffer.from('0000ffff', 'hex') });
    return peer;
  }

  send(message: Message): number {
    encodeMessage(this.writer, ++this.xid, message);
    this.socket.write(this.writer.take());
    return this.xid;
  }

  async next<Type extends Message['type']>(type: Type): Promise<Received & { message: Of<Type> }> {
    for (;;) {
      const at = this.received.findIndex(({ message }) => message.type === type);
      if (at >= 0) return this.received.splice(at, 1)[0] as Received & { message: Of<Type> };
      await once(this.socket, 'data', { signal: AbortSignal.timeout(8000) });
    }
  }

  async ask<Type extends Message['type']>(request: Message, reply: Type): Promise<Of<Type>> {
    const xid = this.send(request);
    const answer = await this.next(reply);
    expect(answer.xid).toBe(xid);
    return answer.message;
  }

  /** Waits until everything sent is done; gives the errors that came meanwhile, by xid. */
  async barrier(): Promise<Map<number, ErrorMessage>> {
    await this.ask({ type: 'barrierRequest' }, 'barrierReply');
    const errors = new Map<number, ErrorMessage>();
    for (let at = this.received.length - 1; at >= 0; at--) {
      const { xid, message } = this.received[at] as Received;
      if (message.type !== 'error') continue;
      errors.set(xid, message);
      this.received.splice(at, 1);
    }
    return errors;
  }

  /** Every part of a flow statistics reply. */
  async listFlows(table?: number): Promise<{ parts: Received[]; flows: Of<'flowStatsReply'>['flows'] }> {
    this.send({ type: 'flowStatsRequest', match: {}, ...(table === undefined ? {} : { table }) });
    const parts = [await this.next('flowStatsReply')];
    while (parts.at(-1)?.message.more) parts.push(await this.next('flowStatsReply'));
    return { parts, flows: parts.flatMap(({ message }) => message.flows) };
  }

  end(): void {
    this.socket.destroy();
  }
}

let ovs: Ovs;
let peer: Peer;
beforeAll(async () => {
  ovs = await startOvs();
  await ovs.vsctl('add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure');
  await ovs.vsctl('set', 'bridge', 'br0', 'protocols=[OpenFlow10,OpenFlow13,OpenFlow14]');
  await ovs.vsctl('set', 'bridge', 'br0', 'other_config:datapath-id=0000da01000000aa');
  await ovs.vsctl('add-port', 'br0', 'p3', '--', 'set', 'interface', 'p3', 'type=dummy', 'ofport_request=3');
  peer = await Peer.connect(ovs);
});
afterAll(async () => {
  peer?.end();
  await ovs?.stop();
});

const port = (portNo: number) => portNo as PortNo;
const add = (flow: Partial<FlowMod>): FlowMod => ({
  type: 'flowMod',
  command: 'add',
  table: 1,
  priority: 9,
  match: {},
  ...flow,
});

test('says who it is and what ports it has', async () => {
  expect((await peer.ask({ type: 'featuresRequest' }, 'featuresReply')).datapathId).toBe(0xda01000000aan);
  const { ports } = await peer.ask({ type: 'portDescRequest' }, 'portDescReply');
  expect(ports.map(({ name, portNo }) => [name, portNo]).sort()).toEqual([
    ['br0', OFPP.LOCAL],
    ['p3', 3],
  ]);
  expect((await peer.ask({ type: 'descRequest' }, 'descReply')).hardware).toBe('Open vSwitch');
  expect((await peer.ask({ type: 'echoRequest', data: Buffer.from('hello') }, 'echoReply')).data.toString()).toBe(
    'hello',
  );
});

test('roles: the newer generation wins, a stale one is refused, the loser is told', async () => {
  const role = (generationId: bigint): Message => ({ type: 'roleRequest', role: 'master', generationId });
  expect(await peer.ask(role(5n), 'roleReply')).toEqual({ type: 'roleReply', role: 'master', generationId: 5n });
  expect(errorName(await peer.ask(role(4n), 'error'))).toBe('OFPRRFC_STALE');
  peer.send({ type: 'setAsync', roleStatusSlave: 3, roleStatusMaster: 3 });
  await peer.barrier();
  const other = await Peer.connect(ovs);
  await other.ask(role(6n), 'roleReply');
  expect((await peer.next('roleStatus')).message).toMatchObject({ role: 'slave', generationId: 6n });
  peer.send(add({}));
  expect([...(await peer.barrier()).values()].map(errorName)).toEqual(['OFPBRC_IS_SLAVE']);
  other.end();
  expect(await peer.ask(role(7n), 'roleReply')).toMatchObject({ role: 'master' });
});

test('asynchronous configuration is kept as it was set', async () => {
  const config = {
    packetInMaster: 0b110,
    packetInSlave: 0,
    portStatusMaster: 7,
    portStatusSlave: 1,
    flowRemovedMaster: 0b100111,
    flowRemovedSlave: 0,
    roleStatusMaster: 3,
    roleStatusSlave: 3,
    tableStatusMaster: 0,
    tableStatusSlave: 0,
    requestForwardMaster: 0,
    requestForwardSlave: 0,
  };
  peer.send({ type: 'setAsync', ...config });
  expect(await peer.ask({ type: 'getAsyncRequest' }, 'getAsyncReply')).toEqual({ type: 'getAsyncReply', ...config });
});

test('meters', async () => {
  const bands = [{ rate: 1000, burst: 250 }];
  peer.send({ type: 'meterMod', command: 'add', meterId: 3, unit: 'pktps', stats: true, bands });
  expect(await peer.barrier()).toEqual(new Map());
  const config = await peer.ask({ type: 'meterConfigRequest', meterId: 3 }, 'meterConfigReply');
  expect(config.meters).toEqual([{ meterId: 3, unit: 'pktps', stats: true, bands }]);
  const { meters } = await peer.ask({ type: 'meterStatsRequest', meterId: 3 }, 'meterStatsReply');
  expect(meters).toMatchObject([{ meterId: 3, bands: [{ packetCount: 0, byteCount: 0 }] }]);
  expect((await peer.ask({ type: 'meterFeaturesRequest' }, 'meterFeaturesReply')).maxMeter).toBeGreaterThan(0);
  peer.send({ type: 'meterMod', command: 'add', meterId: 3, unit: 'pktps', bands });
  expect([...(await peer.barrier()).values()].map(errorName)).toEqual(['OFPMMFC_METER_EXISTS']);
  peer.send({ type: 'meterMod', command: 'delete', meterId: 3, bands: [] });
  expect(await peer.barrier()).toEqual(new Map());
});

describe('bundles', () => {
  const bundle = async (bundleId: number, flows: readonly FlowMod[]): Promise<Message> => {
    const control = (type: number): Message => ({ type: 'bundleControl', bundleId, control: type, flags: 3 });
    await peer.ask(control(OFPBCT.OPEN_REQUEST), 'bundleControl');
    for (const message of flows) peer.send({ type: 'bundleAdd', bundleId, flags: 3, message });
    const xid = peer.send(control(OFPBCT.COMMIT_REQUEST));
    const errors = await peer.barrier();
    const refused = errors.get(xid);
    return refused ?? (await peer.next('bundleControl')).message;
  };

  test('apply all', async () => {
    const done = await bundle(1, [add({ table: 40 }), add({ table: 41 })]);
    expect(done).toMatchObject({ type: 'bundleControl', control: OFPBCT.COMMIT_REPLY });
    expect((await peer.listFlows(41)).flows).toHaveLength(1);
  });

  test('or nothing', async () => {
    const done = await bundle(2, [
      add({ table: 42 }),
      add({ table: 42, actions: [load(whole('reg0'), 5)], meter: 77 }),
    ]);
    expect(done).toMatchObject({ type: 'error' });
    expect((await peer.listFlows(42)).flows).toEqual([]);
  });
});

test('a removed flow is reported with its cookie and reason', async () => {
  peer.send(
    add({ table: 50, cookie: 0xda01000000000007n, flags: 1, idleTimeoutSeconds: 60, match: { ethType: 0x0800 } }),
  );
  peer.send({ ...add({ table: 255 }), command: 'delete', cookie: 7n, cookieMask: 0xffn });
  expect((await peer.next('flowRemoved')).message).toMatchObject({
    cookie: 0xda01000000000007n,
    reason: OFPRR.DELETE,
    table: 50,
    idleTimeoutSeconds: 60,
    match: { ethType: 0x0800 },
  });
});

test('a port that comes and goes is reported', async () => {
  await ovs.vsctl('add-port', 'br0', 'late', '--', 'set', 'interface', 'late', 'type=dummy', 'ofport_request=9');
  expect((await peer.next('portStatus')).message).toMatchObject({ reason: 'add', port: { name: 'late', portNo: 9 } });
  await ovs.vsctl('del-port', 'br0', 'late');
  let status = (await peer.next('portStatus')).message;
  while (status.reason === 'modify') status = (await peer.next('portStatus')).message;
  expect(status).toMatchObject({ reason: 'delete', port: { name: 'late' } });
  expect(OFPPR.DELETE).toBe(1);
});

test('a packet sent to the controller comes back as it was, with userdata, registers and metadata', async () => {
  peer.send({ type: 'setPacketInFormat', format: 2 });
  const userdata = Buffer.from([0xda, 1, 2, 3]);
  peer.send(
    add({
      table: 0,
      cookie: 0xda01020304050607n,
      match: { ethType: 0x0800, ipv4Dst: parseIpv4('10.1.0.3') },
      actions: [
        setField('reg0', 0xfedcba98),
        setField('reg7', 7, 0xff),
        setField('metadata', 0x123456789abcdef0n),
        controller({ userdata }),
      ],
    }),
  );
  const frame = Buffer.from(
    '02420a01000302420a010002080045000020000040004011269a0a0100020a01000300350035000c1234abcdef01',
    'hex',
  );
  peer.send({ type: 'packetOut', inPort: port(3), actions: [output(OFPP.TABLE)], data: frame });
  const { message, bytes } = await peer.next('packetIn2');
  expect(message).toMatchObject({
    cookie: 0xda01020304050607n,
    tableId: 0,
    fields: { inPort: 3, reg0: 0xfedcba98, reg7: 7, metadata: 0x123456789abcdef0n },
    userdata,
    data: frame,
  });
  const view = new PacketInView();
  expect(isPacketIn2(bytes, 0, bytes.length)).toBe(true);
  view.decode(bytes, 0, bytes.length);
  expect([view.inPort, view.regs[0], view.regs[7], view.cookieHi]).toEqual([3, 0xfedcba98, 7, 0xda010203]);
  expect(bytes.subarray(view.packetOffset, view.packetOffset + view.packetLength)).toEqual(frame);
});

test('flows at random: OVS lists them in the bytes that we wrote, and as the text that we print', async () => {
  await ovs.ofctl('del-flows', 'br0');
  // Table 254 is OVS's own, and it lists vlan_tci in other fields than it was told.
  const tame = ({ match: { vlanTci: _, ...match }, ...flow }: FlowMod) =>
    sensible({
      ...flow,
      match,
      table: flow.table % 200,
      ...(flow.gotoTable && { gotoTable: flow.gotoTable % 254 }),
    });
  const flows = fc.sample(anyFlow, { numRuns: 600, seed: 7 }).map((flow, i) => {
    // One of each cookie; no meters, since none is there.
    const { meter: _, flags: __, ...rest } = tame(flow);
    const actions = rest.actions?.map((each) =>
      each.type === 'controller' ? controller({ userdata: Buffer.of(i) }) : each,
    );
    return {
      ...rest,
      ...(actions && { actions }),
      cookie: BigInt(i + 1),
      idleTimeoutSeconds: 0,
      hardTimeoutSeconds: 0,
    };
  });
  const xids = flows.map((flow) => peer.send(flow));
  const errors = await peer.barrier();
  const wrong = xids.filter((xid) => errors.has(xid)).map((xid) => errorName(errors.get(xid) as ErrorMessage));
  expect(wrong).toEqual([]);

  const { parts, flows: listed } = await peer.listFlows();
  const body = (bytes: Buffer, at: number, end: number) => bytes.subarray(at, end).toString('hex');
  const theirs = new Map<number, string>();
  for (const { bytes } of parts) {
    forEachFlowStats(bytes, 0, bytes.length, (at, length) => {
      theirs.set(bytes.readUInt32BE(at + 28), body(bytes, at + 48, at + length));
    });
  }
  const differ: unknown[] = [];
  flows.forEach((flow, i) => {
    const writer = new MessageWriter();
    encodeFlowMod(writer, 0, flow);
    const ours = writer.take();
    const mine = body(ours, 48, ours.length);
    // A later flow of the same table, priority and match has taken the place of an earlier one.
    if (theirs.has(i + 1) && theirs.get(i + 1) !== mine) differ.push([formatFlow(flow), mine, theirs.get(i + 1)]);
  });
  expect(differ.slice(0, 3)).toEqual([]);
  expect(theirs.size).toBeGreaterThan(500);

  const dump = await ovs.ofctl('--no-names', '--no-stats', 'dump-flows', 'br0');
  const lines = dump
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.includes('actions='));
  expect(listed.map((flow) => formatFlow({ command: 'add', ...flow })).sort()).toEqual([...lines].sort());
  expect(lines.map((line) => formatFlow(parseFlow(line)))).toEqual(lines);
}, 60_000);
