// The work for one datapath, from becoming its master on: set-up, resynchronisation, and then packet-ins to decisions. A
// thin shell: what to send is decided by packet-path.ts and resync.ts. States go one way, but for resynchronisation, which
// may come again:
//   listing → repairing → ready, and ended from anywhere.

import type { Ipv4, Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import { TokenBucket } from '../base/token-bucket';
import { NXPIF, OFPM_ALL, OFPMP, OFPR, OFPT } from '../openflow/constants';
import { decodeError, errorName, type ErrorMessage } from '../openflow/error';
import { decodeFlowRemoved } from '../openflow/flow-removed';
import { encodeFlowStatsRequest, forEachFlowStats } from '../openflow/flow-stats';
import { encodeMessage, messageType, messageXid } from '../openflow/message';
import type { MessageWriter } from '../openflow/message-writer';
import {
  decodeMeterConfigReply,
  decodeMeterStatsReply,
  encodeMeterRequest,
  type MeterStats,
} from '../openflow/meter-stats';
import { hasMore, multipartType } from '../openflow/multipart';
import { isPacketIn2, PacketInView } from '../openflow/packet-in-view';
import type { FlowCounters } from './counters';
import type { DatapathLink, LinkWorker } from './datapath-link';
import type { DatapathState, Turn } from './datapath-state';
import { takeFlowEnd } from './flow-end';
import type { FlowSettings } from './model';
import type { PacketPath } from './packet-path';
import { PendingRequests } from './pending-requests';
import { readCookieWords } from './pipeline';
import { Repair, type RepairParts } from './repair';
import { PACKET_PATH_XID } from './route-templates';

/** Unsent bytes over which packet-outs, and then whole packet-ins, are given up. Flow mods always go out. */
const CONGESTED_BYTES = 1024 * 1024;
const OVERWHELMED_BYTES = 8 * 1024 * 1024;
const OFPT_SET_CONFIG = 9;
/** OFPC_FRAG_NX_MATCH of OVS: first fragments keep their L4 fields. And no bytes of packets that miss. */
const SET_CONFIG_BODY = Buffer.from([0, 3, 0, 0]);

export interface SessionParts extends Omit<RepairParts, 'datapath'> {
  readonly packetPath: PacketPath;
  readonly counters: FlowCounters;
  readonly settings: FlowSettings;
  readonly clock: Clock;
  /** See ControllerOptions. */
  readonly packetInsPerSecond?: number;
  /** The datapath has everything that it should have, for the first time in this session. */
  ready(session: Session): void;
  ended(session: Session): void;
  /** Something that somebody should read, at most once a minute. */
  report(session: Session, problem: string): void;
}

type State = 'listing' | 'repairing' | 'ready' | 'ended';

export class Session implements LinkWorker {
  private state: State = 'listing';
  /** When it was ready for the first time, on the clock: it serves since then, also while all is compared again. */
  readyAt: number | undefined;
  private readonly requests: PendingRequests;
  private readonly packetIn = new PacketInView();
  private readonly turnNow: Turn;
  private isOverwhelmed = false;
  private readonly packetIns: TokenBucket | undefined;
  private repair: Repair | undefined;
  private repairAgain = false;

  /** Begins at once: this controller has just become master. */
  constructor(
    private readonly link: DatapathLink,
    readonly datapath: DatapathState,
    private readonly parts: SessionParts,
  ) {
    const { clock, settings, packetInsPerSecond: rate } = parts;
    this.packetIns = rate === undefined ? undefined : new TokenBucket(rate, rate, clock.now());
    const { writer } = link.connection;
    this.requests = new PendingRequests(clock, settings.installTimeoutMs);
    this.turnNow = { datapath, writer, nowMs: clock.now() };
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

  /** 16 hex digits. */
  get datapathId(): string {
    return this.link.datapathId;
  }

  get isReady(): boolean {
    return this.state === 'ready';
  }

  /** Bytes that the datapath has not taken yet. */
  get queuedBytes(): number {
    return this.link.connection.queuedBytes;
  }

  /**
   * Sends what `write` appends, with a barrier after it. Resolves when the datapath has done it all; throws `internal`
   * with the name of the first error that it answered, and `unavailable` where it does not answer in time.
   */
  program(write: (writer: MessageWriter, xid: number) => void): Promise<void> {
    this.requireActive();
    const { xid, done } = this.requests.open();
    write(this.link.connection.writer, xid);
    this.send({ type: 'barrierRequest' }, xid);
    this.link.connection.send();
    return done;
  }

  /** Calls back with each struct ofp_flow_stats of the flows that a cookie picks; valid during the call. */
  listFlows(
    by: { cookie: bigint; cookieMask: bigint },
    visit: (buffer: Buffer, at: number, length: number) => void,
  ): Promise<void> {
    this.requireActive();
    const { xid, done } = this.requests.open(visit);
    encodeFlowStatsRequest(this.link.connection.writer, xid, { type: 'flowStatsRequest', match: {}, ...by });
    this.link.connection.send();
    return done;
  }

  /** Calls back with each meter, and what it has stopped. */
  listMeters(visit: (meter: MeterStats) => void): Promise<void> {
    this.requireActive();
    const { xid, done } = this.requests.open((buffer, at, length) => {
      for (const meter of decodeMeterStatsReply(buffer, at, at + length).meters) visit(meter);
    });
    encodeMeterRequest(this.link.connection.writer, xid, { type: 'meterStatsRequest', meterId: OFPM_ALL });
    this.link.connection.send();
    return done;
  }

  /** Another host's controller has made a route; see PacketPath. */
  takeWord(routerMac: Mac, source: Ipv4, destination: Ipv4): void {
    this.turn();
    this.parts.packetPath.takeWord(routerMac, source, destination, this.turnNow);
    if (this.link.connection.writer.pending > 0) this.link.connection.send();
  }

  /** Compares everything that the datapath has with what it should have, and repairs it. */
  resynchronise(): void {
    if (this.state === 'ready') this.beginRepair(true);
    else this.repairAgain = true;
  }

  turn(): void {
    const { queuedBytes } = this.link.connection;
    this.isOverwhelmed = queuedBytes > OVERWHELMED_BYTES;
    this.turnNow.nowMs = this.parts.clock.now();
    this.datapath.congested = queuedBytes > CONGESTED_BYTES;
  }

  message(buffer: Buffer, offset: number, length: number): void {
    if (isPacketIn2(buffer, offset, length)) return this.takePacketIn(buffer, offset, length);
    const end = offset + length;
    switch (messageType(buffer, offset)) {
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

  end(reason: string): void {
    this.state = 'ended';
    this.repair = undefined;
    this.requests.close(new DaoliError('unavailable', `the datapath went away: ${reason}`, this.datapathId));
    this.parts.ended(this);
  }

  private requireActive(): void {
    if (this.state === 'ended') {
      throw new DaoliError('unavailable', 'the datapath is not connected', this.datapathId);
    }
  }

  private send(message: Parameters<typeof encodeMessage>[2], xid = this.requests.nextXid()): void {
    encodeMessage(this.link.connection.writer, xid, message);
  }

  private takePacketIn(buffer: Buffer, offset: number, length: number): void {
    const { packetIn, parts, turnNow: turn } = this;
    if (this.isOverwhelmed || this.packetIns?.take(turn.nowMs) === false) {
      parts.counters.packetInsDropped += 1;
      return;
    }
    packetIn.decode(buffer, offset, length);
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
    this.state = 'listing';
    this.repairAgain = false;
    const options = { xid: this.requests.nextXid(), atomic, nowMs: this.parts.clock.now() };
    this.repair = new Repair({ ...this.parts, datapath: this.datapath }, this.link.connection, options);
    this.repair.begin();
    this.link.connection.send();
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
    } else if (type === OFPMP.METER && repair?.xid !== xid && visit !== undefined) {
      visit(buffer, offset, end - offset);
      if (last) this.requests.resolve(xid);
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
    if (this.readyAt === undefined) {
      this.readyAt = this.parts.clock.now();
      this.parts.ready(this);
    }
    if (this.repairAgain) this.beginRepair(true);
  }

  private takeFlowRemoved(buffer: Buffer, offset: number, end: number): void {
    const { datapath, parts, turnNow } = this;
    const removed = decodeFlowRemoved(buffer, offset, end);
    if (takeFlowEnd(removed, datapath, parts, turnNow.nowMs)) parts.counters.routesRemoved += 1;
  }

  private routeOf(cookieHigh: number, cookieLow: number) {
    const cookie = readCookieWords(cookieHigh, cookieLow);
    return cookie && this.parts.routes.routeOf(this.datapath.number, cookie);
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
    if (route !== undefined) this.datapath.routes.delete(route.from, route.to);
  }
}
