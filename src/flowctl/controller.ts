// The controller as others see it: told what exists, it listens for datapaths and keeps their flows as they should be.
// State lives in the inventory, decisions in packet-path.ts and resync.ts; this ties them to connections.

import type { Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { Ipv4, Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import type { FlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import { ConversationRules } from './conversation-rules';
import { newCounters, type FlowCounters } from './counters';
import { DatapathLink, type LinkUser, type LinkWorker } from './datapath-link';
import { listDropFlows, type DropFlow } from './drop-report';
import { DatapathState } from './datapath-state';
import { Denials } from './denials';
import { NO_SLOT } from './endpoint-index';
import { FabricProbes } from './fabric-probes';
import type { IdleTimes } from './idle-query';
import { Inventory } from './inventory';
import {
  DEFAULT_FLOW_SETTINGS,
  sameNetworkPolicy,
  type Denial,
  type FlowEndpoint,
  type FlowHost,
  type FlowNetwork,
  type FlowPeer,
  type FlowRelay,
  type FlowSettings,
  type LiveRoute,
  type Policy,
  type TellPeer,
} from './model';
import { PacketPath } from './packet-path';
import { listDrops, listRoutes, rememberedRoutes, type DropCounts } from './reports';
import { RouteRules } from './route-rules';
import { OUTSIDE } from './route-table';
import { RouteWriter } from './route-writer';
import { Session, type SessionParts } from './session';
import {
  appendEndpoint,
  appendForgetDrops,
  appendOutsideReset,
  appendPlaceRemoval,
  appendPortRemoval,
  appendReplacement,
} from './static-changes';
import { networkFlows } from './static-flows';
import {
  appendConversationRemoval,
  appendForgetDenials,
  appendRouteRemoval,
  takeStaleConversations,
  takeStaleRoutes,
} from './subject-change';
import { StaticWriter } from './static-writer';
import { UnixListener } from './unix-listener';

export interface ControllerOptions {
  /** The Unix socket to listen on, in Open vSwitch's run directory. Without it: datapaths are brought by `adopt` alone. */
  readonly path?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings?: Partial<FlowSettings>;
  readonly policy?: Policy;
  /** Called where a route to another host is made, before its flows are sent. */
  readonly tellPeer?: TellPeer;
  /** 16 hex digits: the datapath of endpoints that name none. Without it, the one that connected last. */
  readonly datapathId?: string;
  /**
   * How many packets a second each datapath may ask about, where it is another host's, whose meters may let through what they
   * like. Those above are dropped.
   */
  readonly packetInsPerSecond?: number;
  /** How long flows were idle, where that can be asked: see idle-query.ts. Routes are listed without it where it fails. */
  readonly fetchIdleTimes?: () => Promise<IdleTimes>;
  /**
   * With which generation to become master of a datapath that has connected, or says that another controller is master now.
   * `seen` is the highest that it has seen, 0 for none. Asked again where it has seen a higher one meanwhile. Never
   * rejects. Default: the next one.
   */
  readonly nextGeneration?: (seen: bigint) => Promise<bigint>;
  /** A datapath has connected and has all that it should have. */
  readonly onConnected?: (datapathId: string) => void;
  readonly onDisconnected?: (datapathId: string, reason: string) => void;
}

/** Somebody who waits for a datapath to connect. */
interface Wait {
  readonly datapathNo: number;
  readonly resolve: () => void;
}

type Write = (writer: MessageWriter, xid: number) => void;

export class Controller {
  private readonly settings: FlowSettings;
  private readonly inventory: Inventory;
  private readonly counts = newCounters();
  private readonly denied: Denials;
  private readonly routeWriter: RouteWriter;
  private readonly staticWriter: StaticWriter;
  private readonly rules: RouteRules;
  private readonly conversations: ConversationRules;
  private readonly listener: UnixListener | undefined;
  private readonly sessionParts: SessionParts;
  private readonly problems: ProblemLog;
  private readonly links = new Set<DatapathLink>();
  private readonly sessions = new Set<Session>();
  private readonly datapaths = new Map<number, DatapathState>();
  private readonly waits = new Set<Wait>();
  private readonly probes: FabricProbes;
  /** When the fabric port was told that there is now. */
  private fabricToldAt = 0;

  constructor(private readonly options: ControllerOptions) {
    this.settings = { ...DEFAULT_FLOW_SETTINGS, ...options.settings };
    this.inventory = new Inventory(options.policy ?? sameNetworkPolicy, options.datapathId);
    this.denied = new Denials(this.inventory.endpoints);
    this.routeWriter = new RouteWriter(this.inventory.endpoints, this.settings.idleTimeoutSeconds);
    this.staticWriter = new StaticWriter(this.inventory.endpoints);
    this.rules = new RouteRules(this.inventory, this.routeWriter);
    this.conversations = new ConversationRules(this.inventory, this.rules, this.routeWriter);
    const { path, clock, logger } = options;
    this.probes = new FabricProbes(clock);
    this.listener = path === undefined ? undefined : new UnixListener(path, clock, (socket) => this.accept(socket));
    this.problems = new ProblemLog(clock, logger);
    this.sessionParts = this.makeSessionParts();
  }

  private makeSessionParts(): SessionParts {
    const { inventory, settings, routeWriter, staticWriter, conversations, probes } = this;
    const { rules: routes, counts: counters, denied: denials } = this;
    const { clock, tellPeer = () => undefined, packetInsPerSecond } = this.options;
    return {
      ...(packetInsPerSecond === undefined ? {} : { packetInsPerSecond }),
      inventory,
      settings,
      counters,
      clock,
      staticWriter,
      routes,
      conversations,
      packetPath: new PacketPath({
        inventory,
        settings,
        counters,
        routeWriter,
        rules: routes,
        conversations,
        denials,
        tellPeer,
        probes,
      }),
      ready: (session) => this.becomeReady(session),
      ended: (session) => void this.sessions.delete(session),
      report: (session, problem) => this.problems.report(problem, { datapathId: session.datapathId }),
    };
  }

  /** Listens for datapaths. Idempotent. Throws where no host was set, and what UnixListener throws. */
  async start(): Promise<void> {
    if (!this.inventory.hasHost)
      throw new DaoliError('invalid', 'the controller needs to know its host before it starts');
    await this.listener?.start();
  }

  /** Ends every connection. The flows stay in the datapaths. Idempotent. */
  async stop(): Promise<void> {
    for (const link of [...this.links]) link.close('the controller stops');
    await this.listener?.stop();
  }

  /** Tells what is around the datapath. Called before `start`, and again when it changes. */
  setHost(host: FlowHost): void {
    if (this.inventory.hasHost && isDeepStrictEqual(this.inventory.host, host)) return;
    const before = this.flowHost?.fabric?.portNo;
    if (host.fabric?.portNo !== before) this.fabricToldAt = this.options.clock.now();
    this.inventory.host = host;
    this.routeWriter.setHost(host);
    this.staticWriter.setRouterMac(host.routerMac);
    for (const session of this.sessions) session.resynchronise();
  }

  /**
   * Replaces the policy, or says that it decides otherwise than before. Routes that it refuses go, what was denied is
   * asked anew, and all else stays as it is.
   */
  setPolicy(policy: Policy): void {
    const { inventory, datapaths, conversations } = this;
    inventory.policy = policy;
    for (const datapath of datapaths.values()) datapath.conversations.take((each) => !conversations.isPermitted(each));
    for (const session of this.sessions) session.resynchronise();
  }

  /**
   * Says that the policy may know these endpoints as something else now: a name or label of theirs became known. Where it
   * does, their routes are judged again, and what was denied of them is asked anew. Unknown ids are fine.
   */
  refreshSubjects(endpointIds: Iterable<string>): void {
    const { inventory, rules, conversations } = this;
    const changed = new Set<number>();
    for (const id of endpointIds) {
      const slot = inventory.endpoints.slotOfId(id);
      if (slot !== NO_SLOT && inventory.refreshSubject(slot)) changed.add(slot);
    }
    if (changed.size === 0) return;
    for (const datapath of this.datapaths.values()) {
      const stale = takeStaleRoutes(datapath, changed, rules);
      const over = takeStaleConversations(datapath, changed, conversations);
      const hasDrops = datapath.drops.mayHaveSome(this.options.clock.now());
      this.programLater(datapath.number, (writer, xid) => {
        appendRouteRemoval(writer, xid, stale, rules);
        appendConversationRemoval(writer, xid, over, conversations);
        if (hasDrops) appendForgetDenials(writer, xid, changed, inventory.endpoints);
      });
    }
  }

  /** Enters a network or replaces the one of its id. Idempotent. Throws `invalid` and `conflict`: see Inventory. */
  setNetwork(network: FlowNetwork): void {
    const before = this.inventory.networkOfId(network.id);
    if (isDeepStrictEqual(before, network)) return;
    this.inventory.setNetwork(network);
    this.replaceFlows(before, network);
    if (before !== undefined && before.internal !== network.internal) this.resetOutside();
  }

  /** Takes a network away. An unknown id is fine. Throws `conflict` where it has endpoints. */
  removeNetwork(id: string): void {
    const before = this.inventory.removeNetwork(id);
    if (before !== undefined) this.replaceFlows(before, undefined);
  }

  hasNetwork(id: string): boolean {
    return this.inventory.networkOfId(id) !== undefined;
  }

  /** Enters another host of the site, or replaces the one of its locator: its ICMP errors are told by its address. */
  setPeer(peer: FlowPeer): void {
    this.inventory.setPeer(peer);
  }

  /** An unknown locator is fine. */
  removePeer(locator: Ipv4): void {
    this.inventory.removePeer(locator);
  }

  /** Replaces the relays: those that are no more let nothing through any more. Idempotent. */
  setRelays(relays: readonly FlowRelay[]): void {
    const { inventory } = this;
    const flows = (): FlowMod[] => (inventory.hasHost ? inventory.relays.flows(inventory.host) : []);
    const before = flows();
    inventory.relays.set(relays);
    const after = flows();
    if (before.length + after.length > 0) {
      this.programAll((writer, xid) => appendReplacement(writer, xid, before, after));
    }
  }

  /**
   * The host with this router MAC says that it has made a route from an endpoint of its own to one here, by their
   * locators. Makes the other half where a packet of that route would; else, nothing happens: the packet decides.
   */
  takeWord(routerMac: Mac, source: Ipv4, destination: Ipv4): void {
    const { endpoints } = this.inventory;
    const to = endpoints.slotOfLocator(destination);
    const session = to === NO_SLOT ? undefined : this.sessionOf(endpoints.datapathNoOf(to));
    if (session === undefined) this.counts.wordsRefused += 1;
    else session.takeWord(routerMac, source, destination);
  }

  /**
   * Enters an endpoint, or replaces the one of its id. Idempotent. Resolves when the datapath has confirmed its flows; one
   * on another host has none before somebody talks to it. Rejects with `conflict`, `invalid` and `not-found` where it
   * cannot be entered, with `internal` where the datapath refuses its flows, which takes it out again, and with
   * `unavailable` where no datapath confirms it in time: then it stays, and its flows are installed when one connects.
   */
  async addEndpoint(endpoint: FlowEndpoint): Promise<void> {
    const { inventory } = this;
    const { endpoints } = inventory;
    const same = inventory.slotOfSame(endpoint);
    if (same !== NO_SLOT) return this.confirm(same);
    inventory.checkEndpoint(endpoint);
    const before = endpoints.slotOfId(endpoint.id);
    if (before !== NO_SLOT) this.removeSlot(before);
    const slot = inventory.addEndpoint(endpoint);
    if (endpoint.location.kind === 'remote') return this.forgetDropsTowards(slot);
    await this.install(slot, endpoint);
  }

  /** Resolves when the datapath of an endpoint has done everything that it was sent. */
  private async confirm(slot: number): Promise<void> {
    const { endpoints } = this.inventory;
    if (!endpoints.isElsewhere(slot)) await this.program(endpoints.datapathNoOf(slot), () => undefined);
  }

  private async install(slot: number, endpoint: FlowEndpoint): Promise<void> {
    const { inventory, settings, staticWriter } = this;
    const { endpoints } = inventory;
    try {
      await this.program(endpoints.datapathNoOf(slot), (writer, xid) => {
        appendEndpoint(writer, xid, slot, { endpoints, staticWriter, settings });
      });
    } catch (error) {
      const isRefused = error instanceof DaoliError && error.code === 'internal';
      if (isRefused && inventory.slotOfSame(endpoint) === slot) this.removeSlot(slot);
      throw error;
    }
  }

  /** Resolves when no flow of the endpoint is left where a datapath is connected. An unknown id is fine. */
  async removeEndpoint(id: string): Promise<void> {
    const slot = this.inventory.endpoints.slotOfId(id);
    if (slot === NO_SLOT) return;
    const removals = this.takeOut(slot).map(async ({ datapathNo, write }) =>
      this.sessionOf(datapathNo)?.program(write),
    );
    await Promise.all(removals);
  }

  hasEndpoint(id: string): boolean {
    return this.inventory.endpoints.slotOfId(id) !== NO_SLOT;
  }

  /** The ids of all endpoints. */
  endpointIds(): Iterable<string> {
    return this.inventory.endpoints.allIds();
  }

  /** The routes that there are, with packet counts where a datapath is connected; else those that are remembered. */
  async routes(): Promise<readonly LiveRoute[]> {
    const routes: LiveRoute[] = [];
    const idleTimes = await this.options.fetchIdleTimes?.().catch(() => undefined);
    for (const datapath of this.datapaths.values()) {
      const session = this.sessionOf(datapath.number);
      const { endpoints } = this.inventory;
      const { rules, conversations } = this;
      if (session === undefined) routes.push(...rememberedRoutes(datapath, endpoints, this.options.clock.now()));
      else {
        const readers = { routes: rules, conversations, endpoints, idleTimes };
        routes.push(...(await listRoutes(session, datapath.number, readers)));
      }
    }
    return routes;
  }

  /** What the datapaths have dropped, by reason, as they count it. */
  async drops(): Promise<DropCounts> {
    return listDrops([...this.sessions]);
  }

  /** What the policy refused of late, the latest first: at most 256 kinds of packets. */
  denials(): readonly Denial[] {
    return this.denied.list();
  }

  /** What is around the datapath; undefined until it was told. */
  get flowHost(): FlowHost | undefined {
    return this.inventory.hasHost ? this.inventory.host : undefined;
  }

  /**
   * Whether the datapath of the host with this locator answers over the fabric. False where it does not within the time, and
   * where nothing can be asked: no fabric port, no datapath, no such host.
   */
  async probeFabric(locator: Ipv4, timeoutMs: number): Promise<boolean> {
    const { flowHost, readySession: session } = this;
    const peer = this.inventory.peerAt(locator);
    if (session === undefined || flowHost?.fabric === undefined || peer === undefined) return false;
    const question = this.probes.ask(flowHost, peer, timeoutMs);
    if (question === undefined) return false;
    const { frame: buffer, answered } = question;
    const { portNo } = flowHost.fabric;
    const frame = { buffer, offset: 0, length: buffer.length };
    session.program((writer) => this.routeWriter.plainPacket(writer, portNo, frame)).catch(() => undefined);
    return answered;
  }

  /**
   * For how many milliseconds the datapath has been one that answers others over the fabric; undefined where it is none at
   * this moment. It is asked, so one that hangs is none.
   */
  async fabricStandsMs(): Promise<number | undefined> {
    const { readySession: session } = this;
    if (session === undefined || this.flowHost?.fabric === undefined) return undefined;
    try {
      await session.program(() => undefined);
    } catch {
      return undefined;
    }
    const { isReady, readyAt } = session;
    if (!isReady || readyAt === undefined || this.flowHost?.fabric === undefined) return undefined;
    return this.options.clock.now() - Math.max(readyAt, this.fabricToldAt);
  }

  private get readySession(): Session | undefined {
    return [...this.sessions].find(({ isReady }) => isReady);
  }

  /** Whether it serves a datapath: also while that is compared again with what it should have, as after a change of policy. */
  get isServing(): boolean {
    return [...this.sessions].some(({ readyAt }) => readyAt !== undefined);
  }

  /** Every flow that drops, most packets first; see drop-report.ts. */
  async dropFlows(): Promise<DropFlow[]> {
    return listDropFlows([...this.sessions], this.inventory.endpoints);
  }

  /** Bytes that datapaths have not taken yet. */
  get queuedBytes(): number {
    return [...this.sessions].reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  }

  /** Monotonic counters by name, and a few that tell how many there are now. */
  counters(): Readonly<FlowCounters & { endpoints: number; routes: number; datapaths: number }> {
    const { counts, inventory, datapaths, sessions } = this;
    const routes = [...datapaths.values()].reduce((sum, datapath) => sum + datapath.routes.size, 0);
    const ready = [...sessions].filter((session) => session.isReady).length;
    return { ...counts, endpoints: inventory.endpoints.size, routes, datapaths: ready };
  }

  /**
   * Works on a datapath of which this controller is master from now on; see DatapathLink.take. Whoever brings the link
   * looks after it.
   */
  adopt(link: DatapathLink): LinkWorker {
    const number = this.inventory.endpoints.datapathOf(link.datapathId);
    const datapath = this.datapaths.get(number) ?? new DatapathState(number, this.settings);
    this.datapaths.set(number, datapath);
    const session = new Session(link, datapath, this.sessionParts);
    this.sessions.add(session);
    return session;
  }

  private accept(socket: Socket): void {
    const { inactivityProbeMs, installTimeoutMs: answerWithinMs } = this.settings;
    const user: LinkUser = {
      identified: (link) => this.claim(link),
      demoted: (link) => this.takeBack(link),
      closed: (link, reason, isViolation) => this.forget(link, reason, isViolation),
    };
    this.counts.connections += 1;
    this.links.add(new DatapathLink(socket, user, { clock: this.options.clock, inactivityProbeMs, answerWithinMs }));
  }

  /** One that connects anew takes the place of its former connection. False: it is none of ours. */
  private claim(link: DatapathLink): boolean {
    const { datapathId } = link;
    const { endpoints } = this.inventory;
    const number = endpoints.datapathOf(datapathId);
    const { datapathId: expected } = this.options;
    if (number === 0 && expected !== undefined && datapathId !== expected) return false;
    for (const other of this.links) {
      const isSame = other !== link && other.isIdentified && endpoints.datapathOf(other.datapathId) === number;
      if (isSame) other.close(`datapath ${datapathId} connected anew`);
    }
    void this.becomeMaster(link);
    return true;
  }

  private takeBack(link: DatapathLink): void {
    this.options.logger.warn('another controller became master of the datapath', { datapathId: link.datapathId });
    void this.becomeMaster(link);
  }

  /** Of a datapath of this host's own, whoever is its master now. */
  private async becomeMaster(link: DatapathLink): Promise<void> {
    const { nextGeneration = (seen: bigint) => Promise.resolve(seen + 1n) } = this.options;
    for (;;) {
      const seen = await link.generation();
      if (seen === 'away') return;
      const outcome = await link.take(await nextGeneration(seen), () => this.adopt(link));
      if (outcome !== 'stale') return;
    }
  }

  private becomeReady(session: Session): void {
    this.options.logger.info('datapath connected', { datapathId: session.datapathId });
    for (const wait of [...this.waits]) {
      if (wait.datapathNo === session.datapath.number) wait.resolve();
    }
    this.options.onConnected?.(session.datapathId);
  }

  private forget(link: DatapathLink, reason: string, isViolation: boolean): void {
    const { datapathId } = link;
    this.links.delete(link);
    if (isViolation) this.counts.protocolErrors += 1;
    this.options.logger.info('datapath disconnected', { datapathId, reason });
    if (datapathId !== '') this.options.onDisconnected?.(datapathId, reason);
  }

  /** The connection of a datapath, if it is there. */
  private sessionOf(datapathNo: number): Session | undefined {
    for (const session of this.sessions) {
      if (session.datapath.number === datapathNo) return session;
    }
    return undefined;
  }

  /** Programs a datapath, or waits for one that connects and so gets everything that is in the inventory. */
  private program(datapathNo: number, write: Write): Promise<void> {
    return this.sessionOf(datapathNo)?.program(write) ?? this.waitFor(datapathNo);
  }

  private waitFor(datapathNo: number): Promise<void> {
    const { installTimeoutMs } = this.settings;
    return new Promise((resolve, reject) => {
      const wait: Wait = {
        datapathNo,
        resolve: () => {
          cancel();
          this.waits.delete(wait);
          resolve();
        },
      };
      const cancel = this.options.clock.after(installTimeoutMs, () => {
        this.waits.delete(wait);
        const problem = `no datapath is connected to ${this.options.path ?? 'this controller'}: is ovs-vswitchd running?`;
        reject(new DaoliError('unavailable', problem));
      });
      this.waits.add(wait);
    });
  }

  /** Takes an endpoint out of the inventory; returns what takes it out of the datapaths that have flows of it. */
  private takeOut(slot: number): { datapathNo: number; write: Write }[] {
    const { endpoints } = this.inventory;
    const place = endpoints.portNoOf(slot);
    const home = endpoints.datapathNoOf(slot);
    const isLocal = !endpoints.isElsewhere(slot);
    // While a datapath is being compared it may have routes that are not known yet.
    const talkers = [...this.datapaths.values()].filter(
      (datapath) => datapath.deleteSlot(slot) || this.sessionOf(datapath.number)?.isReady === false,
    );
    endpoints.remove(slot);
    if (isLocal)
      return [{ datapathNo: home, write: (writer, xid) => appendPortRemoval(writer, xid, place, this.settings) }];
    return talkers.map(({ number }) => ({
      datapathNo: number,
      write: (writer, xid) => appendPlaceRemoval(writer, xid, place),
    }));
  }

  private removeSlot(slot: number): void {
    for (const { datapathNo, write } of this.takeOut(slot)) this.programLater(datapathNo, write);
  }

  /** Somebody new on another host: datapaths that dropped what went to nobody, or to its predecessor, ask again. */
  private forgetDropsTowards(slot: number): void {
    const { endpoints } = this.inventory;
    const [ip, locator] = [endpoints.ipOf(slot), endpoints.locatorOf(slot)];
    for (const { number, drops } of this.datapaths.values()) {
      if (!drops.mayHaveSome(this.options.clock.now())) continue;
      this.programLater(number, (writer, xid) => appendForgetDrops(writer, xid, ip, locator));
    }
  }

  private replaceFlows(before: FlowNetwork | undefined, after: FlowNetwork | undefined): void {
    if (!this.inventory.hasHost) return;
    const { host } = this.inventory;
    const flowsOf = (network: FlowNetwork | undefined): FlowMod[] => (network ? networkFlows(network, host) : []);
    this.programAll((writer, xid) => appendReplacement(writer, xid, flowsOf(before), flowsOf(after)));
  }

  private resetOutside(): void {
    for (const datapath of this.datapaths.values()) datapath.deleteSlot(OUTSIDE);
    this.programAll(appendOutsideReset);
  }

  /** Programs every datapath. Errors are reported, not thrown; a datapath that goes away gets it all when it is back. */
  private programAll(write: Write): void {
    for (const datapathNo of this.datapaths.keys()) this.programLater(datapathNo, write);
  }

  /** The same for one. */
  private programLater(datapathNo: number, write: Write): void {
    const session = this.sessionOf(datapathNo);
    if (session === undefined) return;
    session.program(write).catch((error: unknown) => this.sessionParts.report(session, messageOf(error)));
    // What is being compared was planned before.
    if (!session.isReady) session.resynchronise();
  }
}
