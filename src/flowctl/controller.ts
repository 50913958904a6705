// The controller as others see it: told what exists, it listens for datapaths and keeps their flows as they should be.
// State lives in the inventory, decisions in packet-path.ts and resync.ts, connections in datapaths.ts; this ties them together.

import { isDeepStrictEqual } from 'node:util';
import type { Ipv4, Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { FlowMod } from '../openflow/flow-mod';
import { ConversationRules } from './conversation-rules';
import { newCounters, type FlowCounters } from './counters';
import type { DatapathLink, LinkWorker } from './datapath-link';
import { Datapaths, type DatapathsOptions, type Write } from './datapaths';
import { listDropFlows, type DropFlow } from './drop-report';
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

export interface ControllerOptions extends DatapathsOptions {
  readonly settings?: Partial<FlowSettings>;
  readonly policy?: Policy;
  /** Called where a route to another host is made, before its flows are sent. */
  readonly tellPeer?: TellPeer;
  /**
   * How many packets a second each datapath may ask about, where it is another host's, whose meters may let through what they
   * like. Those above are dropped.
   */
  readonly packetInsPerSecond?: number;
  /** How long flows were idle, where that can be asked: see idle-query.ts. Routes are listed without it where it fails. */
  readonly fetchIdleTimes?: () => Promise<IdleTimes>;
}

export class Controller {
  private readonly settings: FlowSettings;
  private readonly inventory: Inventory;
  private readonly counts = newCounters();
  private readonly denied: Denials;
  private readonly routeWriter: RouteWriter;
  private readonly staticWriter: StaticWriter;
  private readonly rules: RouteRules;
  private readonly conversations: ConversationRules;
  private readonly datapaths: Datapaths;
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
    this.probes = new FabricProbes(options.clock);
    this.datapaths = this.makeDatapaths();
  }

  private makeDatapaths(): Datapaths {
    const { inventory, settings, routeWriter, staticWriter, conversations, probes } = this;
    const { options, rules: routes, counts: counters, denied: denials } = this;
    const { clock, tellPeer = () => undefined, packetInsPerSecond } = options;
    const packetPath = new PacketPath({
      inventory,
      settings,
      counters,
      routeWriter,
      rules: routes,
      conversations,
      denials,
      tellPeer,
      probes,
    });
    const session = {
      ...(packetInsPerSecond === undefined ? {} : { packetInsPerSecond }),
      inventory,
      settings,
      counters,
      clock,
      staticWriter,
      routes,
      conversations,
      packetPath,
    };
    return new Datapaths({ options, settings, endpoints: inventory.endpoints, counts: counters, session });
  }

  /** Listens for datapaths. Idempotent. Throws where no host was set, and what UnixListener throws. */
  async start(): Promise<void> {
    if (!this.inventory.hasHost)
      throw new DaoliError('invalid', 'the controller needs to know its host before it starts');
    await this.datapaths.start();
  }

  /** Ends every connection. The flows stay in the datapaths. Idempotent. */
  stop(): Promise<void> {
    return this.datapaths.stop();
  }

  /** Tells what is around the datapath. Called before `start`, and again when it changes. */
  setHost(host: FlowHost): void {
    if (this.inventory.hasHost && isDeepStrictEqual(this.inventory.host, host)) return;
    const before = this.flowHost?.fabric?.portNo;
    if (host.fabric?.portNo !== before) this.fabricToldAt = this.options.clock.now();
    this.inventory.host = host;
    this.routeWriter.setHost(host);
    this.staticWriter.setRouterMac(host.routerMac);
    this.datapaths.resynchronise();
  }

  /**
   * Replaces the policy, or says that it decides otherwise than before. Routes that it refuses go, what was denied is
   * asked anew, and all else stays as it is.
   */
  setPolicy(policy: Policy): void {
    const { inventory, datapaths, conversations } = this;
    inventory.policy = policy;
    for (const datapath of datapaths.all()) datapath.conversations.take((each) => !conversations.isPermitted(each));
    this.datapaths.resynchronise();
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
    for (const datapath of this.datapaths.all()) {
      const stale = takeStaleRoutes(datapath, changed, rules);
      const over = takeStaleConversations(datapath, changed, conversations);
      const hasDrops = datapath.drops.mayHaveSome(this.options.clock.now());
      this.datapaths.programLater(datapath.number, (writer, xid) => {
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
      this.datapaths.programAll((writer, xid) => appendReplacement(writer, xid, before, after));
    }
  }

  /**
   * The host with this router MAC says that it has made a route from an endpoint of its own to one here, by their
   * locators. Makes the other half where a packet of that route would; else, nothing happens: the packet decides.
   */
  takeWord(routerMac: Mac, source: Ipv4, destination: Ipv4): void {
    const { endpoints } = this.inventory;
    const to = endpoints.slotOfLocator(destination);
    const session = to === NO_SLOT ? undefined : this.datapaths.sessionOf(endpoints.datapathNoOf(to));
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
    if (!endpoints.isElsewhere(slot)) await this.datapaths.program(endpoints.datapathNoOf(slot), () => undefined);
  }

  private async install(slot: number, endpoint: FlowEndpoint): Promise<void> {
    const { inventory, settings, staticWriter } = this;
    const { endpoints } = inventory;
    try {
      await this.datapaths.program(endpoints.datapathNoOf(slot), (writer, xid) => {
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
      this.datapaths.sessionOf(datapathNo)?.program(write),
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
    for (const datapath of this.datapaths.all()) {
      const session = this.datapaths.sessionOf(datapath.number);
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
    return listDrops([...this.datapaths.sessions]);
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
    const { flowHost } = this;
    const session = this.datapaths.readySession;
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
    const session = this.datapaths.readySession;
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

  /** Whether it serves a datapath: also while that is compared again with what it should have, as after a change of policy. */
  get isServing(): boolean {
    return [...this.datapaths.sessions].some(({ readyAt }) => readyAt !== undefined);
  }

  /** Every flow that drops, most packets first; see drop-report.ts. */
  async dropFlows(): Promise<DropFlow[]> {
    return listDropFlows([...this.datapaths.sessions], this.inventory.endpoints);
  }

  /** Bytes that datapaths have not taken yet. */
  get queuedBytes(): number {
    return [...this.datapaths.sessions].reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  }

  /** Monotonic counters by name, and a few that tell how many there are now. */
  counters(): Readonly<FlowCounters & { endpoints: number; routes: number; datapaths: number }> {
    const { counts, inventory, datapaths } = this;
    const routes = [...datapaths.all()].reduce((sum, datapath) => sum + datapath.routes.size, 0);
    const ready = [...datapaths.sessions].filter((session) => session.isReady).length;
    return { ...counts, endpoints: inventory.endpoints.size, routes, datapaths: ready };
  }

  /**
   * Works on a datapath of which this controller is master from now on; see DatapathLink.take. Whoever brings the link
   * looks after it.
   */
  adopt(link: DatapathLink): LinkWorker {
    return this.datapaths.adopt(link);
  }

  /** Takes an endpoint out of the inventory; returns what takes it out of the datapaths that have flows of it. */
  private takeOut(slot: number): { datapathNo: number; write: Write }[] {
    const { endpoints } = this.inventory;
    const place = endpoints.portNoOf(slot);
    const home = endpoints.datapathNoOf(slot);
    const isLocal = !endpoints.isElsewhere(slot);
    // While a datapath is being compared it may have routes that are not known yet.
    const talkers = [...this.datapaths.all()].filter(
      (datapath) => datapath.deleteSlot(slot) || this.datapaths.sessionOf(datapath.number)?.isReady === false,
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
    for (const { datapathNo, write } of this.takeOut(slot)) this.datapaths.programLater(datapathNo, write);
  }

  /** Somebody new on another host: datapaths that dropped what went to nobody, or to its predecessor, ask again. */
  private forgetDropsTowards(slot: number): void {
    const { endpoints } = this.inventory;
    const [ip, locator] = [endpoints.ipOf(slot), endpoints.locatorOf(slot)];
    for (const { number, drops } of this.datapaths.all()) {
      if (!drops.mayHaveSome(this.options.clock.now())) continue;
      this.datapaths.programLater(number, (writer, xid) => appendForgetDrops(writer, xid, ip, locator));
    }
  }

  private replaceFlows(before: FlowNetwork | undefined, after: FlowNetwork | undefined): void {
    if (!this.inventory.hasHost) return;
    const { host } = this.inventory;
    const flowsOf = (network: FlowNetwork | undefined): FlowMod[] => (network ? networkFlows(network, host) : []);
    this.datapaths.programAll((writer, xid) => appendReplacement(writer, xid, flowsOf(before), flowsOf(after)));
  }

  private resetOutside(): void {
    for (const datapath of this.datapaths.all()) datapath.deleteSlot(OUTSIDE);
    this.datapaths.programAll(appendOutsideReset);
  }
}
