// An OpenFlow datapath in memory: it keeps flow tables, meters and bundles as OVS does, executes them on frames, expires
// flows by a clock of its own, and speaks the wire protocol. What it is told in bytes it does, what it knows nothing of it
// refuses loudly. test/ovs/flowctl-fake.test.ts holds it against Open vSwitch.

import { connect, type Socket } from 'node:net';
import type { Action } from '../../src/openflow/action';
import type { PortNo } from '../../src/openflow/constants';
import { OFPBCT, OFPCRR, OFPP, OFPR, OFPRR, OFPTT_ALL, OFP_VERSION } from '../../src/openflow/constants';
import type { FlowMod } from '../../src/openflow/flow-mod';
import type { FlowStats } from '../../src/openflow/flow-stats';
import { formatFlow } from '../../src/openflow/flow-text';
import type { Match } from '../../src/openflow/match';
import { decodeMessage, encodeMessage, messageXid, type Message } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import type { MeterMod } from '../../src/openflow/meter';
import type { FieldName } from '../../src/openflow/oxm';
import type { RoleMessage } from '../../src/openflow/role';
import { applyField, readFields, type Fields } from './frame-fields';

export interface Output {
  readonly portNo: number;
  readonly frame: Buffer;
}

interface StoredFlow {
  mod: FlowMod;
  installedAt: number;
  usedAt: number;
  packets: number;
}

/** A frame on its way through the tables. */
interface Journey {
  readonly inPort: number;
  readonly frame: Buffer;
  readonly fields: Fields;
  readonly outputs: Output[];
}

const FIRST_BYTES = 64;

export class FakeDatapath {
  /** Seconds. */
  now = 0;
  /** What packet-outs have sent. */
  readonly sent: Output[] = [];
  /** Looks at every flow before it is added. */
  onAdd: (flow: FlowMod) => void = () => undefined;
  /** The highest generation that a master or slave has shown; undefined where there was none. */
  generation: bigint | undefined;
  private flows: StoredFlow[] = [];
  private readonly meters = new Map<number, MeterMod & { tokens: number }>();
  private readonly bundles = new Map<number, Message[]>();
  private readonly writer = new MessageWriter();

  constructor(readonly datapathId = 0xdan) {}

  /** Does what messages in their bytes say; returns the bytes of its answers. */
  take(bytes: Buffer): Buffer {
    new MessageFramer((buffer, offset, length) => {
      this.perform(
        messageXid(buffer, offset),
        decodeMessage(buffer, offset, length),
        buffer.subarray(offset, offset + FIRST_BYTES),
      );
    }).push(bytes);
    return this.answers();
  }

  /** A frame comes in on a port: what leaves, and what the controller is told. */
  receive(portNo: number, frame: Buffer): { outputs: Output[]; toController: Buffer } {
    const journey: Journey = {
      inPort: portNo,
      frame: Buffer.from(frame),
      fields: { ...readFields(frame), inPort: portNo },
      outputs: [],
    };
    this.lookUp(0, journey);
    return { outputs: journey.outputs, toController: this.answers() };
  }

  /** Lets time pass; returns the bytes that tell of flows that ended. */
  advance(seconds: number): Buffer {
    this.now += seconds;
    for (const meter of this.meters.values()) meter.tokens = meter.bands[0]?.burst ?? 0;
    const isOver = (flow: StoredFlow): number | undefined => {
      const { idleTimeoutSeconds: idle = 0, hardTimeoutSeconds: hard = 0 } = flow.mod;
      if (hard > 0 && this.now >= flow.installedAt + hard) return OFPRR.HARD_TIMEOUT;
      return idle > 0 && this.now >= flow.usedAt + idle ? OFPRR.IDLE_TIMEOUT : undefined;
    };
    for (const flow of [...this.flows]) {
      const reason = isOver(flow);
      if (reason !== undefined) this.remove(flow, reason);
    }
    return this.answers();
  }

  /** Another controller became master with this generation: the bytes that say so. */
  demote(generation: bigint): Buffer {
    this.generation = generation;
    const reason = OFPCRR.MASTER_REQUEST;
    encodeMessage(this.writer, 0, { type: 'roleStatus', role: 'slave', reason, generationId: generation });
    return this.answers();
  }

  /** Forgets everything, as ovs-vswitchd does when it is killed. */
  wipe(): void {
    this.generation = undefined;
    this.flows = [];
    this.meters.clear();
    this.bundles.clear();
  }

  /** Flows as text, sorted. */
  dump(which: (flow: FlowMod) => boolean = () => true): string[] {
    return this.flows
      .filter(({ mod }) => which(mod))
      .map(({ mod }) => formatFlow(mod))
      .sort();
  }

  meterIds(): number[] {
    return [...this.meters.keys()].sort((a, b) => a - b);
  }

  private answers(): Buffer {
    return Buffer.from(this.writer.take());
  }

  private perform(xid: number, message: Message, head: Buffer): void {
    const answer = (reply: Message) => encodeMessage(this.writer, xid, reply);
    switch (message.type) {
      case 'hello':
      case 'setAsync':
      case 'setPacketInFormat':
      case 'echoReply':
        return;
      case 'featuresRequest':
        answer({
          type: 'featuresReply',
          datapathId: this.datapathId,
          bufferCount: 0,
          tableCount: 254,
          auxiliaryId: 0,
          capabilities: 0,
        });
        return;
      case 'roleRequest':
        return this.changeRole(message, xid, head);
      case 'echoRequest':
        return answer({ type: 'echoReply', data: message.data });
      case 'barrierRequest':
        return answer({ type: 'barrierReply' });
      case 'flowMod':
        return this.change(message);
      case 'meterMod':
        return this.changeMeter(message, xid, head);
      case 'flowStatsRequest':
        return answer({ type: 'flowStatsReply', more: false, flows: this.list(message) });
      case 'meterConfigRequest':
        return answer({ type: 'meterConfigReply', more: false, meters: [...this.meters.values()] });
      case 'packetOut':
        return this.sendOut(message.inPort, message.data, message.actions);
      case 'bundleControl':
        return this.controlBundle(message.bundleId, message.control);
      case 'bundleAdd':
        this.bundles.get(message.bundleId)?.push(message.message);
        return;
      case 'unknown':
        // OFPT_SET_CONFIG: later fragments are read as this one reads them.
        if (message.messageType === 9) return;
    }
    throw new Error(`the fake datapath does not know ${message.type}`);
  }

  private changeRole({ role, generationId }: RoleMessage, xid: number, head: Buffer): void {
    const isFenced = role === 'master' || role === 'slave';
    if (isFenced && this.generation !== undefined && generationId < this.generation) {
      // OFPRRFC_STALE.
      return encodeMessage(this.writer, xid, { type: 'error', errorType: 11, code: 0, data: head });
    }
    if (isFenced) this.generation = generationId;
    const seen = this.generation ?? 0xffff_ffff_ffff_ffffn;
    encodeMessage(this.writer, xid, { type: 'roleReply', role, generationId: seen });
  }

  private controlBundle(bundleId: number, control: number): void {
    if (control === OFPBCT.OPEN_REQUEST) this.bundles.set(bundleId, []);
    if (control !== OFPBCT.COMMIT_REQUEST) return;
    for (const message of this.bundles.get(bundleId) ?? []) this.change(message as FlowMod);
    this.bundles.delete(bundleId);
  }

  private change(mod: FlowMod): void {
    if (mod.command === 'add') return this.add(mod);
    const isStrict = mod.command === 'delete_strict';
    if (mod.command !== 'delete' && !isStrict) throw new Error(`the fake datapath does no ${mod.command}`);
    for (const flow of [...this.flows]) {
      const { table, cookie = 0n, priority, match } = flow.mod;
      const { cookie: wanted = 0n, cookieMask = 0n } = mod;
      if (mod.table !== OFPTT_ALL && mod.table !== table) continue;
      if ((cookie & cookieMask) !== (wanted & cookieMask)) continue;
      const isMeant = isStrict ? priority === mod.priority && sameMatch(match, mod.match) : isInside(match, mod.match);
      if (isMeant) this.remove(flow, OFPRR.DELETE);
    }
  }

  private add(mod: FlowMod): void {
    const { command: _, cookieMask: __, ...rest } = mod;
    this.onAdd(mod);
    if (mod.meter !== undefined && !this.meters.has(mod.meter)) throw new Error(`no meter ${mod.meter}`);
    this.flows = this.flows.filter(
      ({ mod: old }) => !(old.table === mod.table && old.priority === mod.priority && sameMatch(old.match, mod.match)),
    );
    this.flows.push({ mod: { ...rest, command: 'add' }, installedAt: this.now, usedAt: this.now, packets: 0 });
  }

  private remove(flow: StoredFlow, reason: number): void {
    this.flows = this.flows.filter((each) => each !== flow);
    if (((flow.mod.flags ?? 0) & 1) === 0) return;
    const { cookie = 0n, priority, table, match, idleTimeoutSeconds = 0 } = flow.mod;
    const counts = { ...durationOf(this.now - flow.installedAt), packetCount: flow.packets, byteCount: 0 };
    encodeMessage(this.writer, 0, {
      type: 'flowRemoved',
      cookie,
      priority,
      table,
      match,
      reason,
      idleTimeoutSeconds,
      ...counts,
    });
  }

  private changeMeter(mod: MeterMod, xid: number, head: Buffer): void {
    const exists = this.meters.has(mod.meterId);
    if (mod.command === 'delete') {
      this.meters.delete(mod.meterId);
      for (const flow of this.flows.filter(({ mod: each }) => each.meter === mod.meterId))
        this.remove(flow, OFPRR.METER_DELETE);
    } else if (exists === (mod.command === 'add')) {
      // OFPMMFC_METER_EXISTS and OFPMMFC_UNKNOWN_METER.
      encodeMessage(this.writer, xid, { type: 'error', errorType: 12, code: exists ? 1 : 2, data: head });
    } else this.meters.set(mod.meterId, { ...mod, tokens: mod.bands[0]?.burst ?? 0 });
  }

  private list({ cookie = 0n, cookieMask = 0n }: { cookie?: bigint; cookieMask?: bigint }): FlowStats[] {
    return this.flows
      .filter(({ mod }) => ((mod.cookie ?? 0n) & cookieMask) === (cookie & cookieMask))
      .map(({ mod, installedAt, packets }) => {
        const { type: _, command: __, cookieMask: ___, outPort: ____, ...flow } = mod;
        const counts = { ...durationOf(this.now - installedAt), packetCount: packets, byteCount: 0 };
        return { ...flow, cookie: mod.cookie ?? 0n, ...counts };
      });
  }

  private sendOut(inPort: number, data: Buffer, actions: readonly Action[]): void {
    const frame = Buffer.from(data);
    const journey: Journey = { inPort, frame, fields: { ...readFields(frame), inPort }, outputs: [] };
    for (const action of actions) this.act(action, journey, undefined);
    this.sent.push(...journey.outputs);
  }

  private lookUp(table: number, journey: Journey): void {
    const [best] = this.flows
      .filter(({ mod }) => mod.table === table && holds(mod.match, journey.fields))
      .sort((a, b) => b.mod.priority - a.mod.priority);
    if (best === undefined) return;
    best.packets += 1;
    best.usedAt = this.now;
    const meter = best.mod.meter === undefined ? undefined : this.meters.get(best.mod.meter);
    if (meter !== undefined && meter.tokens-- <= 0) return;
    for (const action of best.mod.actions ?? []) this.act(action, journey, best);
    if (best.mod.gotoTable !== undefined) this.lookUp(best.mod.gotoTable, journey);
  }

  private act(action: Action, journey: Journey, flow: StoredFlow | undefined): void {
    const { fields, frame, inPort, outputs } = journey;
    switch (action.type) {
      case 'setField':
        return this.set(journey, action.field, Number(action.value));
      case 'move':
        return this.set(journey, action.destination.field, fields[action.source.field] ?? 0);
      case 'output':
        // A packet never leaves by the port that it came in on, unless it is told so by name.
        if (action.portNo === OFPP.IN_PORT) outputs.push({ portNo: inPort, frame: Buffer.from(frame) });
        else if (action.portNo !== inPort) outputs.push({ portNo: action.portNo, frame: Buffer.from(frame) });
        return;
      case 'decTtl':
        return this.set(journey, 'nwTtl', (fields.nwTtl ?? 0) - 1);
      case 'controller':
        return this.punt(journey, action.userdata, flow);
      default:
        throw new Error(`the fake datapath does no ${action.type}`);
    }
  }

  private set({ fields, frame }: Journey, field: FieldName, value: number): void {
    fields[field] = value;
    applyField(frame, field, value);
  }

  private punt({ inPort, frame, fields }: Journey, userdata: Buffer | undefined, flow: StoredFlow | undefined): void {
    const registers = Object.fromEntries(
      Object.entries(fields).filter(([name, value]) => name.startsWith('reg') && value),
    );
    encodeMessage(this.writer, 0, {
      type: 'packetIn2',
      reason: OFPR.ACTION,
      tableId: flow?.mod.table ?? 0,
      cookie: flow?.mod.cookie ?? 0n,
      fullLength: frame.length,
      fields: { inPort: inPort as PortNo, ...registers },
      ...(userdata === undefined ? {} : { userdata }),
      data: frame,
    });
  }
}

/** Is every packet that `inner` takes one that `outer` takes? */
function isInside(inner: Match, outer: Match): boolean {
  return (Object.keys(outer) as FieldName[]).every((field) => {
    const [out, into] = [range(outer, field), range(inner, field)];
    return (into.mask & out.mask) === out.mask && (into.value & out.mask) === out.value;
  });
}

function sameMatch(a: Match, b: Match): boolean {
  return isInside(a, b) && isInside(b, a);
}

const ALL = (1n << 128n) - 1n;

function range(match: Match, field: FieldName): { value: bigint; mask: bigint } {
  const value = match[field];
  if (value === undefined) return { value: 0n, mask: 0n };
  if (typeof value === 'object') return { value: BigInt(value.value), mask: BigInt(value.mask) };
  return { value: BigInt(value), mask: ALL };
}

function holds(match: Match, fields: Fields): boolean {
  return (Object.keys(match) as FieldName[]).every((field) => {
    const { value, mask } = range(match, field);
    const actual = fields[field];
    // A field that the frame has not matches nothing; registers that were not set are 0.
    if (actual === undefined && !field.startsWith('reg')) return false;
    return (BigInt(actual ?? 0) & mask) === value;
  });
}

/** Connects a fake datapath to a controller's socket, as ovs-vswitchd would. */
export async function attach(
  path: string,
  datapath: FakeDatapath,
): Promise<{ socket: Socket; tell: (bytes: Buffer) => void }> {
  const socket = connect(path);
  const writer = new MessageWriter();
  encodeMessage(writer, 0, { type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
  socket.write(Buffer.from(writer.take()));
  const framer = new MessageFramer((buffer, offset, length) => {
    const answers = datapath.take(Buffer.from(buffer.subarray(offset, offset + length)));
    if (answers.length > 0) socket.write(answers);
  });
  socket.on('data', (chunk) => framer.push(chunk));
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  return { socket, tell: (bytes) => void socket.write(bytes) };
}

/** As OpenFlow has it: whole seconds, and what is beyond them. */
function durationOf(seconds: number): { durationSeconds: number; durationNanoseconds: number } {
  const whole = Math.floor(seconds);
  return { durationSeconds: whole, durationNanoseconds: Math.round((seconds - whole) * 1e9) };
}
