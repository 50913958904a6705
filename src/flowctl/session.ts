// One datapath's connection: greeting, set-up, resynchronisation, and then packet-ins to decisions. A thin shell: what to
// send is decided by packet-path.ts and resync.ts. States go one way, but for resynchronisation, which may come again:
//   greeting → identifying → listing → repairing → ready, and closed from anywhere.

import type { Socket } from 'node:net';
import type { Ipv4, Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import { NXPIF, OFPMP, OFPR, OFPRR, OFPT, OFP_VERSION } from '../openflow/constants';
import { decodeError, encodeError, errorName, type ErrorMessage } from '../openflow/error';
import { decodeFeaturesReply } from '../openflow/features';
import { decodeFlowRemoved } from '../openflow/flow-removed';
import { encodeFlowStatsRequest, forEachFlowStats } from '../openflow/flow-stats';
import { decodeHello, speaksOpenFlow14 } from '../openflow/hello';
import { encodeMessage, messageType, messageXid } from '../openflow/message';
import type { MessageWriter } from '../openflow/message-writer';
import { decodeMeterConfigReply } from '../openflow/meter-stats';
import { hasMore, multipartType } from '../openflow/multipart';
import { isPacketIn2, PacketInView } from '../openflow/packet-in-view';
import { ProtocolError } from '../openflow/protocol-error';
import { Connection, type ConnectionUser } from './connection';
import type { FlowCounters } from './counters';
import type { DatapathState, Turn } from './datapath-state';
import type { FlowSettings } from './model';
import type { PacketPath } from './packet-path';
import { PendingRequests } from './pending-requests';
import { readCookieWords } from './pipeline';
import { Repair, type RepairParts } from './repair';
import { ticksOf } from './route-table';
import { PACKET_PATH_XID } from './route-templates';

/** Unsent bytes over which packet-outs, and then whole packet-ins, are given up. Flow mods always go out. */
const CONGESTED_BYTES = 1024 * 1024;
const OVERWHELMED_BYTES = 8 * 1024 * 1024;
const GREETING_WITHIN_MS = 10_000;
const OFPT_SET_CONFIG = 9;
/** OFPC_FRAG_NX_MATCH of OVS: first fragments keep their L4 fields. And no bytes of packets that miss. */
const SET_CONFIG_BODY = Buffer.from([0, 3, 0, 0]);
/** OFPHFC_INCOMPATIBLE of OFPET_HELLO_FAILED. */
const HELLO_FAILED = { errorType: 0, code: 0 } as const;

export interface SessionParts extends Omit<RepairParts, 'datapath'> {
  readonly packetPath: PacketPath;
  readonly counters: FlowCounters;
  readonly settings: FlowSettings;
  readonly clock: Clock;
  /** Says what is known of a datapath. Undefined: it is none of ours. */
  claim(session: Session, datapathId: string): DatapathState | undefined;
  /** The datapath has everything that it should have, for the first time since it connected. */
  ready(session: Session): void;
  closed(session: Session, reason: string): void;
  /** Something that somebody should read, at most once a minute. */
  report(session: Session, problem: string): void;
}

type State = 'greeting' | 'identifying' | 'listing' | 'repairing' | 'ready' | 'closed';

export class Session implements ConnectionUser {
  /** 16 hex digits, once the datapath has said it. */
  datapathId = '';
  private state: State = 'greeting';
  private hasBeenReady = false;
  private readonly connection: Connection;
  private readonly requests: PendingRequests;
  private readonly packetIn = new PacketInView();
  private turnAt: Turn | undefined;
  private isOverwhelmed = false;
  private repair: Repair | undefined;
  private repairAgain = false;
  private readonly cancelGreeting: () => void;

  constructor(
    socket: Socket,
    private readonly parts: SessionParts,
  ) {
    const { clock, settings } = parts;
    this.connection = new Connection(socket, this, clock, settings.inactivityProbeMs);
    this.requests = new PendingRequests(clock, settings.installTimeoutMs);
    this.cancelGreeting = clock.after(GREETING_WITHIN_MS, () => this.close('the datapath did not say who it is'));
    this.send({ type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
    this.connection.send();
  }

  get isIdentified(): boolean {
    return this.turnAt !== undefined && this.state !== 'closed';
  }

  get isReady(): boolean {
    return this.state === 'ready';
  }

  get datapath(): DatapathState | undefined {
    return this.turnAt?.datapath;
  }

  /**
   * Sends what `write` appends, with a barrier after it. Resolves when the datapath has done it all; throws `internal`
   * with the name of the first error that it answered, and `unavailable` where it does not answer in time.
   */
  program(write: (writer: MessageWriter, xid: number) => void): Promise<void> {
    if (!this.isIdentified) throw new DaoliError('unavailable', 'the datapath is not connected', this.datapathId);
    const { xid, done } = this.requests.open();
    write(this.connection.writer, xid);
    this.send({ type: 'barrierRequest' }, xid);
    this.connection.send();
    return done;
  }

  /** Calls back with each struct ofp_flow_stats of the flows that a cookie picks; valid during the call. */
  listFlows(
    by: { cookie: bigint; cookieMask: bigint },
    visit: (buffer: Buffer, at: number, length: number) => void,
  ): Promise<void> {
    if (!this.isIdentified) throw new DaoliError('unavailable', 'the datapath is not connected', this.datapathId);
    const { xid, done } = this.requests.open(visit);
    encodeFlowStatsRequest(this.connection.writer, xid, { type: 'flowStatsRequest', match: {}, ...by });
    this.connection.send();
    return done;
  }

  /** Another host's controller has made a route; see PacketPath. */
  takeWord(routerMac: Mac, source: Ipv4, destination: Ipv4): void {
    if (!this.isIdentified || this.turnAt === undefined) return;
    this.turn();
    this.parts.packetPath.takeWord(routerMac, source, destination, this.turnAt);
    if (this.connection.writer.pending > 0) this.connection.send();
  }

  /** Compares everything that the datapath has with what it should have, and repairs it. */
  resynchronise(): void {
    if (this.state === 'ready') this.beginRepair(true);
    else this.repairAgain = true;
  }

  close(reason: string): void {
    this.connection.close(reason);
  }

  turn(): void {
    const { queuedBytes } = this.connection;
    this.isOverwhelmed = queuedBytes > OVERWHELMED_BYTES;
    if (this.turnAt === undefined) return;
    this.turnAt.nowMs = this.parts.clock.now();
    this.turnAt.datapath.congested = queuedBytes > CONGESTED_BYTES;
  }

  message(buffer: Buffer, offset: number, length: number): void {
    if (this.turnAt !== undefined && isPacketIn2(buffer, offset, length)) {
      return this.takePacketIn(buffer, offset, length, this.turnAt);
    }
    const end = offset + length;
    switch (messageType(buffer, offset)) {
      case OFPT.HELLO:
        return this.takeHello(buffer, offset, end);
      case OFPT.FEATURES_REPLY:
        return this.takeFeatures(buffer, offset, end);
      case OFPT.MULTIPART_REPLY:
        return this.takeMultipart(buffer, offset, end);
      case OFPT.BARRIER_REPLY:
        return this.takeBarrier(messageXid(buffer, offset));
      case OFPT.FLOW_REMOVED:
        return this.takeFlowRemoved(buffer, offset, end);
      case OFPT.ERROR:
        return this.takeError(messageXid(buffer, offset), decodeError(buffer, offset, end));
      case OFPT.PACKET_IN:
        this.parts.counters.foreign += 1;
        return;
    }
  }

  drained(): void {
    this.repair?.continue();
  }

  closed(reason: string, isViolation: boolean): void {
    this.state = 'closed';
    if (isViolation) this.parts.counters.protocolErrors += 1;
    this.cancelGreeting();
    this.repair = undefined;
    this.requests.close(new DaoliError('unavailable', `the datapath went away: ${reason}`, this.datapathId));
    this.parts.closed(this, reason);
  }

  private send(message: Parameters<typeof encodeMessage>[2], xid = this.requests.nextXid()): void {
    encodeMessage(this.connection.writer, xid, message);
  }

  private takeHello(buffer: Buffer, offset: number, end: number): void {
    if (this.state !== 'greeting') throw new ProtocolError('OFPT_HELLO', 'comes once');
    if (!speaksOpenFlow14(decodeHello(buffer, offset, end))) {
      const data = Buffer.from('this controller speaks OpenFlow 1.4: add OpenFlow14 to the protocols of the bridge');
      encodeError(this.connection.writer, messageXid(buffer, offset), { type: 'error', ...HELLO_FAILED, data });
      throw new ProtocolError('OFPT_HELLO', data.toString());
    }
    this.state = 'identifying';
    this.send({ type: 'featuresRequest' });
  }

  private takeFeatures(buffer: Buffer, offset: number, end: number): void {
    if (this.state !== 'identifying') return;
    const { datapathId, auxiliaryId } = decodeFeaturesReply(buffer, offset, end);
    this.datapathId = datapathId.toString(16).padStart(16, '0');
    const datapath = auxiliaryId === 0 ? this.parts.claim(this, this.datapathId) : undefined;
    if (datapath === undefined) return this.close(`datapath ${this.datapathId} is not one of ours`);
    this.cancelGreeting();
    this.turnAt = { datapath, writer: this.connection.writer, nowMs: this.parts.clock.now() };
    this.send({ type: 'unknown', messageType: OFPT_SET_CONFIG, body: SET_CONFIG_BODY });
    this.send({
      type: 'setAsync',
      packetInMaster: 1 << OFPR.ACTION,
      portStatusMaster: 0,
      flowRemovedMaster: 0b111111,
    });
    this.send({ type: 'setPacketInFormat', format: NXPIF.NXT_PACKET_IN2 });
    this.beginRepair(true);
  }

  private takePacketIn(buffer: Buffer, offset: number, length: number, turn: Turn): void {
    const { packetIn, parts } = this;
    packetIn.decode(buffer, offset, length);
    if (this.isOverwhelmed) {
      parts.counters.packetInsDropped += 1;
      return;
    }
    const { writer } = turn;
    const { pending } = writer;
    try {
      parts.packetPath.handle(packetIn, turn);
    } catch (error) {
      // A packet may end nothing but itself. What it had half written goes with it.
      writer.discard(writer.position - (writer.pending - pending));
      parts.counters.malformed += 1;
      parts.report(this, `a packet was dropped: ${String(error)}`);
    }
  }

  private beginRepair(atomic: boolean): void {
    const { turnAt } = this;
    if (turnAt === undefined) return;
    this.state = 'listing';
    this.repairAgain = false;
    const options = { xid: this.requests.nextXid(), atomic, nowMs: this.parts.clock.now() };
    this.repair = new Repair({ ...this.parts, datapath: turnAt.datapath }, this.connection, options);
    this.repair.begin();
    this.connection.send();
  }

  private takeMultipart(buffer: Buffer, offset: number, end: number): void {
    const xid = messageXid(buffer, offset);
    const type = multipartType(buffer, offset, end);
    const last = !hasMore(buffer, offset);
    const { repair } = this;
    const visit = repair?.xid === xid ? repair.takeFlow : this.requests.visitor(xid);
    if (type === OFPMP.FLOW && visit !== undefined) {
      forEachFlowStats(buffer, offset, end, (at, length) => visit(buffer, at, length));
      if (repair?.xid === xid) repair.flowsListed(last);
      else if (last) this.requests.resolve(xid);
    } else if (type === OFPMP.METER_CONFIG && repair?.xid === xid) {
      repair.takeMeters(decodeMeterConfigReply(buffer, offset, end).meters, last);
    }
    if (this.state === 'listing' && repair?.isRepairing) this.state = 'repairing';
  }

  private takeBarrier(xid: number): void {
    const { repair } = this;
    if (repair?.xid !== xid) return this.requests.resolve(xid);
    this.parts.counters.flowsRepaired += repair.repaired;
    this.repair = undefined;
    if (repair.failure !== undefined && repair.isAtomic) return this.beginRepair(false);
    if (repair.failure !== undefined) this.parts.report(this, `flows cannot be installed: ${repair.failure}`);
    this.state = 'ready';
    if (!this.hasBeenReady) this.parts.ready(this);
    this.hasBeenReady = true;
    if (this.repairAgain) this.beginRepair(true);
  }

  /** The end of a route. A hint: what is missed here is found when flows are listed. */
  private takeFlowRemoved(buffer: Buffer, offset: number, end: number): void {
    const { cookie, reason, durationSeconds, durationNanoseconds } = decodeFlowRemoved(buffer, offset, end);
    // What was deleted was forgotten by whoever deleted it; this word may come when the pair has its next route already.
    if (reason === OFPRR.DELETE) return;
    const route = this.routeOf(Number(cookie >> 32n), Number(cookie & 0xffff_ffffn));
    if (route === undefined || this.turnAt === undefined) return;
    const { datapath, nowMs } = this.turnAt;
    // A route that was installed after this one began lives on. One tick for each side's rounding.
    const durationMs = durationSeconds * 1000 + durationNanoseconds / 1e6;
    const installed = ticksOf(Math.max(0, nowMs - durationMs)) + 2;
    if (datapath.routes.delete(route.from, route.to, installed)) this.parts.counters.routesRemoved += 1;
  }

  private routeOf(cookieHigh: number, cookieLow: number) {
    const cookie = readCookieWords(cookieHigh, cookieLow);
    return cookie && this.turnAt && this.parts.routes.routeOf(this.turnAt.datapath.number, cookie);
  }

  private takeError(xid: number, error: ErrorMessage): void {
    const name = errorName(error);
    this.parts.counters.errors += 1;
    if (this.requests.fail(xid, name)) return;
    if (this.repair?.xid === xid) {
      // An endpoint that was added after the meters were listed has brought its own.
      if (name !== 'OFPMMFC_METER_EXISTS') this.repair.failure = name;
      return;
    }
    this.parts.report(this, `the datapath refused a message: ${name}`);
    const { data } = error;
    if (xid !== PACKET_PATH_XID || data.length < 16 || data[1] !== OFPT.FLOW_MOD) return;
    const route = this.routeOf(data.readUInt32BE(8), data.readUInt32BE(12));
    if (route !== undefined) this.turnAt?.datapath.routes.delete(route.from, route.to);
  }
}
