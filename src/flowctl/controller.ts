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
import { newCounters, type FlowCounters } from './counters';
import { DatapathState } from './datapath-state';
import { NO_SLOT } from './endpoint-index';
import { Inventory } from './inventory';
import {
  DEFAULT_FLOW_SETTINGS,
  sameNetworkPolicy,
  type FlowEndpoint,
  type FlowHost,
  type FlowNetwork,
  type FlowPeer,
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
import { StaticWriter } from './static-writer';
import { UnixListener } from './unix-listener';

export interface ControllerOptions {
  /** The Unix socket to listen on, in Open vSwitch's run directory. */
  readonly path: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings?: Partial<FlowSettings>;
  readonly policy?: Policy;
  /** Called where a route to another host is made, before its flows are sent. */
  readonly tellPeer?: TellPeer;
  /** 16 hex digits: the datapath of endpoints that name none. Without it, the one that connected last. */
  readonly datapathId?: string;
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
  private readonly routeWriter: RouteWriter;
  private readonly staticWriter: StaticWriter;
  private readonly rules: RouteRules;
  private readonly listener: UnixListener;
  private readonly sessionParts: SessionParts;
  private readonly sessions = new Set<Session>();
  private readonly datapaths = new Map<number, DatapathState>();
  private readonly waits = new Set<Wait>();

  constructor(private readonly options: ControllerOptions) {
    this.settings = { ...DEFAULT_FLOW_SETTINGS, ...options.settings };
    this.inventory = new Inventory(options.policy ?? sameNetworkPolicy, options.datapathId);
    this.routeWriter = new RouteWriter(this.inventory.endpoints, this.settings.idleTimeoutSeconds);
    this.staticWriter = new StaticWriter(this.inventory.endpoints);
    this.rules = new RouteRules(this.inventory, this.routeWriter);
    this.listener = new UnixListener(options.path, options.clock, (socket) => this.accept(socket));
    this.sessionParts = this.makeSessionParts();
  }

  private makeSessionParts(): SessionParts {
    const { inventory, settings, routeWriter, staticWriter, rules: routes, counts: counters } = this;
    const { clock, logger } = this.options;
    const { tellPeer = () => undefined } = this.options;
    const problems = new ProblemLog(clock, logger);
    return {
      inventory,
      settings,
      counters,
      clock,
      staticWriter,
      routes,
      packetPath: new PacketPath({ inventory, settings, counters, routeWriter, rules: routes, tellPeer }),
      claim: (session, datapathId) => this.claim(session, datapathId),
      ready: (session) => this.becomeReady(session),
      closed: (session, reason) => this.forget(session, reason),
      report: (session, problem) => problems.report(problem, { datapathId: session.datapathId }),
    };
  }

  /** Listens for datapaths. Idempotent. Throws where no host was set, and what UnixListener throws. */
  async start(): Promise<void> {
    if (!this.inventory.hasHost)
      throw new DaoliError('invalid', 'the controller needs to know its host before it starts');
    await this.listener.start();
  }

  /** Ends every connection. The flows stay in the datapaths. Idempotent. */
  async stop(): Promise<void> {
    for (const session of [...this.sessions]) session.close('the controller stops');
    await this.listener.stop();
  }

  /** Tells what is around the datapath. Called before `start`, and again when it changes. */
  setHost(host: FlowHost): void {
    if (this.inventory.hasHost && isDeepStrictEqual(this.inventory.host, host)) return;
    this.inventory.host = host;
    this.routeWriter.setHost(host);
    this.staticWriter.setRouterMac(host.routerMac);
    for (const session of this.sessions) session.resynchronise();
  }

  /** Replaces the policy. Routes that it refuses go, and what was denied is asked anew. */
  setPolicy(policy: Policy): void {
    this.inventory.policy = policy;
    for (const session of this.sessions) session.resynchronise();
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
    for (const datapath of this.datapaths.values()) {
      const session = this.sessionOf(datapath.number);
      const { endpoints } = this.inventory;
      if (session === undefined) routes.push(...rememberedRoutes(datapath, endpoints, this.options.clock.now()));
      else routes.push(...(await listRoutes(session, datapath.number, this.rules, endpoints)));
    }
    return routes;
  }

  /** What the datapaths have dropped, by reason, as they count it. */
  async drops(): Promise<DropCounts> {
    return listDrops([...this.sessions].filter((session) => session.isIdentified));
  }

  /** Monotonic counters by name, and a few that tell how many there are now. */
  counters(): Readonly<FlowCounters & { endpoints: number; routes: number; datapaths: number }> {
    const { counts, inventory, datapaths, sessions } = this;
    const routes = [...datapaths.values()].reduce((sum, datapath) => sum + datapath.routes.size, 0);
    const ready = [...sessions].filter((session) => session.isReady).length;
    return { ...counts, endpoints: inventory.endpoints.size, routes, datapaths: ready };
  }

  private accept(socket: Socket): void {
    this.counts.connections += 1;
    this.sessions.add(new Session(socket, this.sessionParts));
  }

  /** Which datapath this is. One that connects anew takes the place of its former connection. */
  private claim(session: Session, datapathId: string): DatapathState | undefined {
    const number = this.inventory.endpoints.datapathOf(datapathId);
    const { datapathId: expected } = this.options;
    if (number === 0 && expected !== undefined && datapathId !== expected) return undefined;
    for (const other of this.sessions) {
      if (other !== session && other.datapath?.number === number) other.close(`datapath ${datapathId} connected anew`);
    }
    const state = this.datapaths.get(number) ?? new DatapathState(number, this.settings);
    this.datapaths.set(number, state);
    return state;
  }

  private becomeReady(session: Session): void {
    this.options.logger.info('datapath connected', { datapathId: session.datapathId });
    for (const wait of [...this.waits]) {
      if (wait.datapathNo === session.datapath?.number) wait.resolve();
    }
    this.options.onConnected?.(session.datapathId);
  }

  private forget(session: Session, reason: string): void {
    this.sessions.delete(session);
    this.options.logger.info('datapath disconnected', { datapathId: session.datapathId, reason });
    if (session.datapathId !== '') this.options.onDisconnected?.(session.datapathId, reason);
  }

  /** The connection of a datapath, if it is there. */
  private sessionOf(datapathNo: number): Session | undefined {
    for (const session of this.sessions) {
      if (session.isIdentified && session.datapath?.number === datapathNo) return session;
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
        const problem = `no datapath is connected to ${this.options.path}: is ovs-vswitchd running?`;
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
      (datapath) => datapath.routes.deleteSlot(slot) || this.sessionOf(datapath.number)?.isReady === false,
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
    for (const datapath of this.datapaths.values()) datapath.routes.deleteSlot(OUTSIDE);
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
