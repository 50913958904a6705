// What to do about a packet that no route took: the decision on a packet-in, from bytes to bytes. Pure: state, event and
// time go in, messages are appended to a writer. Nothing is allocated on the way of a packet that gets its route.
// Answers and translations, which take more than that, stand in slow-path.ts and fabric-path.ts, what may not pass in
// refusals.ts, and what the policy looks at more closely in conversation-path.ts.

import type { Ipv4, Mac } from '../base/addresses';
import type { PacketInView } from '../openflow/packet-in-view';
import { PacketView } from '../packet/packet-view';
import { ETH_TYPE, ICMP } from '../packet/protocol-numbers';
import type { PacketEnds } from './conversation';
import { ConversationPath, type Cause } from './conversation-path';
import type { ConversationRules } from './conversation-rules';
import type { FlowCounters } from './counters';
import type { Denials } from './denials';
import { maySendPacket, type Turn } from './datapath-state';
import { NO_SLOT, type EndpointIndex } from './endpoint-index';
import { FabricPath } from './fabric-path';
import type { FabricProbes } from './fabric-probes';
import type { Inventory } from './inventory';
import type { FlowSettings, TellPeer } from './model';
import { PUNT_REASON, PUNT_REASON_INDEX, TENANT_INDEX, USERDATA } from './pipeline';
import { Refusals } from './refusals';
import type { Passage, RouteRules } from './route-rules';
import { OUTSIDE, ticksOf } from './route-table';
import type { RouteWriter } from './route-writer';
import { SlowPath } from './slow-path';

export interface PacketPathParts {
  readonly inventory: Inventory;
  readonly routeWriter: RouteWriter;
  readonly rules: RouteRules;
  readonly conversations: ConversationRules;
  readonly settings: FlowSettings;
  readonly counters: FlowCounters;
  readonly denials: Denials;
  readonly tellPeer: TellPeer;
  readonly probes: Pick<FabricProbes, 'take'>;
}

export class PacketPath {
  private readonly inventory: Inventory;
  private readonly endpoints: EndpointIndex;
  private readonly routeWriter: RouteWriter;
  private readonly rules: RouteRules;
  private readonly counters: FlowCounters;
  private readonly tellPeer: TellPeer;
  private readonly probes: PacketPathParts['probes'];
  private readonly packet = new PacketView();
  private readonly conversation: ConversationPath;
  private readonly refusals: Refusals;
  private readonly slow: SlowPath;
  private readonly fabric: FabricPath;

  constructor(parts: PacketPathParts) {
    const { inventory, routeWriter, counters } = parts;
    this.inventory = inventory;
    this.endpoints = inventory.endpoints;
    this.routeWriter = routeWriter;
    this.rules = parts.rules;
    this.counters = counters;
    this.tellPeer = parts.tellPeer;
    this.probes = parts.probes;
    this.slow = new SlowPath(inventory, routeWriter, counters);
    this.conversation = new ConversationPath(parts);
    this.refusals = new Refusals({ ...parts, slow: this.slow });
    this.fabric = new FabricPath(inventory, routeWriter, counters);
  }

  /** Decides about the packet in `view` and appends what is to be sent to the datapath that it came from. */
  handle(view: PacketInView, turn: Turn): void {
    const { counters, packet } = this;
    counters.packetIns += 1;
    if (!carriesOurUserdata(view)) {
      counters.foreign += 1;
      return;
    }
    const { buffer, packetOffset, packetLength, fullLength } = view;
    const parsed = packet.parse(buffer, packetOffset, packetLength, fullLength);
    if (parsed !== 'ok' || packet.ethType !== ETH_TYPE.IPV4 || packet.hasVlan || packetLength !== fullLength) {
      counters.malformed += 1;
      return;
    }
    const reason = view.regs[PUNT_REASON_INDEX]!;
    if (reason === PUNT_REASON.PAIR) this.pair(view.inPort, view.regs[TENANT_INDEX]!, turn);
    else this.rarely(reason, view, turn);
  }

  /** Whatever is not a first packet between endpoints. */
  private rarely(reason: number, view: PacketInView, turn: Turn): void {
    const { hostPort, fabric } = this.inventory.host;
    if (view.inPort === fabric?.portNo || isFromTunnel(view.inPort, hostPort?.portNo, reason)) {
      return this.arriving(reason, view.inPort, turn);
    }
    if (reason === PUNT_REASON.FABRIC) this.departing(view.inPort, view.regs[TENANT_INDEX]!, turn);
    else if (view.inPort === hostPort?.portNo) this.inward(reason, turn);
    else this.outward(reason, view.inPort, turn);
  }

  /** The endpoint that may have sent the packet, or NO_SLOT and counted. */
  private sender(portNo: number, turn: Turn): number {
    const slot = this.endpoints.slotOfPort(turn.datapath.number, portNo);
    if (slot !== NO_SLOT && this.endpoints.ipOf(slot) === this.packet.ipSrc) return slot;
    this.stale();
    return NO_SLOT;
  }

  private pair(inPort: number, tenant: number, turn: Turn): void {
    const { endpoints, packet, routeWriter } = this;
    const { datapath, writer } = turn;
    // By the tenant that the datapath says, not the sender's: the two look-ups do not wait for one another.
    const to = endpoints.slotOfAddress(tenant, packet.ipDst);
    const from = this.sender(inPort, turn);
    if (from === NO_SLOT) return;
    if (endpoints.tenantOf(from) !== tenant) return this.stale();
    if (to === NO_SLOT || endpoints.datapathNoOf(to) !== datapath.number) return this.pairApart(from, to, turn);
    const passage = this.rules.passage(from, to);
    if (passage !== 'route') {
      if (!this.mayPass(passage, from, to, 'first', turn)) return;
    } else if (this.claim(from, to, turn)) routeWriter.pairFlows(writer, from, to);
    if (maySendPacket(turn, this.counters)) routeWriter.pairPacket(writer, from, to, packet);
  }

  /** To an endpoint on another host, or to nobody. */
  private pairApart(from: number, to: number, turn: Turn): void {
    const { remote } = this.routeWriter;
    if (to === NO_SLOT || !this.endpoints.isElsewhere(to) || !remote.hasWayTo(to))
      return this.refusals.nobody(this.packet, from, turn);
    const passage = this.rules.passage(from, to);
    if (passage === 'route') this.openApart(from, to, turn);
    else if (!this.mayPass(passage, from, to, 'first', turn)) return;
    this.fabric.depart(this.packet, from, to, turn);
  }

  private openApart(from: number, to: number, turn: Turn): void {
    const { remote } = this.routeWriter;
    const isNew = !turn.datapath.routes.has(from, to);
    if (!this.claim(from, to, turn)) return;
    if (isNew) this.tell(from, to);
    remote.inFlow(turn.writer, to, from);
    remote.outFlow(turn.writer, from, to);
  }

  /** Where one route for all will not do: may this packet pass? One that may not is dropped for a while. */
  private mayPass(passage: Passage, from: number, to: number, cause: Cause, turn: Turn): boolean {
    const { packet } = this;
    if (passage === 'route') return true;
    if (passage === 'conversations') {
      return this.conversation.mayPass(packet, { from, to, outsideAddress: 0 }, cause, turn);
    }
    this.refusals.deny(packet, from, to, turn);
    return false;
  }

  private tell(from: number, to: number): void {
    const { endpoints, counters } = this;
    counters.wordsTold += 1;
    this.tellPeer(endpoints.macOf(to), endpoints.locatorOf(from), endpoints.locatorOf(to));
  }

  /**
   * The host with this router MAC says that it has made a route from `source`, one of its own, to `destination`. Makes
   * the other half, where a packet of that route would, and tells nobody. A route that is there is left as it is. Where
   * each conversation has its own, nothing is told.
   */
  takeWord(routerMac: Mac, source: Ipv4, destination: Ipv4, turn: Turn): void {
    const { endpoints, counters } = this;
    const { remote } = this.routeWriter;
    const { routes, congested } = turn.datapath;
    const from = endpoints.slotOfLocator(source);
    const to = endpoints.slotOfLocator(destination);
    const isTheirs = from !== NO_SLOT && endpoints.isElsewhere(from) && endpoints.macOf(from) === routerMac;
    const isOurs = to !== NO_SLOT && endpoints.datapathNoOf(to) === turn.datapath.number;
    const isOneTenant = isTheirs && isOurs && endpoints.tenantOf(from) === endpoints.tenantOf(to);
    if (!isOneTenant || congested || !remote.hasWayTo(from) || this.rules.passage(from, to) !== 'route') {
      counters.wordsRefused += 1;
      return;
    }
    if ((routes.has(from, to) && routes.has(to, from)) || !this.claim(from, to, turn)) return;
    counters.wordsFollowed += 1;
    remote.outFlow(turn.writer, to, from);
    remote.inFlow(turn.writer, from, to);
  }

  /** On its route to another host, but with more than a flow can do. */
  private departing(inPort: number, tenant: number, turn: Turn): void {
    const { endpoints, packet } = this;
    const from = this.sender(inPort, turn);
    if (from === NO_SLOT) return;
    const to = endpoints.slotOfAddress(tenant, packet.ipDst);
    if (to === NO_SLOT && this.fabric.departByRelay(packet, from, turn)) return;
    if (to === NO_SLOT || !endpoints.isElsewhere(to) || endpoints.tenantOf(from) !== tenant) return this.stale();
    if (!this.mayPass(this.rules.passage(from, to), from, to, 'special', turn)) return;
    this.fabric.depart(packet, from, to, turn);
  }

  /** From another host, in locators. On the fabric its endpoints speak with its router MAC alone, and so does it itself. */
  private arriving(reason: number, inPort: number, turn: Turn): void {
    const { endpoints, packet } = this;
    const { fabric, hostAddress } = this.inventory.host;
    if (packet.ipDst === hostAddress && packet.icmpType === ICMP.ECHO_REPLY && inPort === fabric?.portNo) {
      if (!this.probes.take(packet)) this.stale();
      return;
    }
    const from = endpoints.slotOfLocator(packet.ipSrc);
    const to = endpoints.slotOfLocator(packet.ipDst);
    if (to === NO_SLOT || endpoints.datapathNoOf(to) !== turn.datapath.number) {
      return this.refusals.nobodyHere(packet, inPort, turn);
    }
    if (from === NO_SLOT) return this.arrivingFromPeer(to, inPort, turn);
    const isItsWay = endpoints.isElsewhere(from) && this.inventory.portNoFrom(from) === inPort;
    if (!isItsWay || endpoints.hopTo(from) !== packet.ethSrc) return this.stale();
    const isOneTenant = endpoints.tenantOf(from) === endpoints.tenantOf(to);
    const passage = isOneTenant ? this.rules.passage(from, to) : 'refused';
    // What comes from its route with more than a flow can do has that route already.
    const isFirst = reason === PUNT_REASON.ARRIVAL;
    if (!this.mayPass(passage, from, to, isFirst ? 'first' : 'special', turn)) return;
    if (passage === 'route' && isFirst && this.claim(from, to, turn)) {
      this.routeWriter.remote.outFlow(turn.writer, to, from);
      this.routeWriter.remote.inFlow(turn.writer, from, to);
    }
    this.fabric.arrive(packet, from, to, turn);
  }

  private arrivingFromPeer(to: number, inPort: number, turn: Turn): void {
    const { inventory, packet } = this;
    const peer = inventory.peerAt(packet.ipSrc);
    // A hub may be of this site, and speak of what it passed on: whose locator it is, the tunnel proves.
    const isTunnel = inPort === inventory.host.hostPort?.portNo;
    const isTheirs = isTunnel || (peer?.isTunnelled !== true && peer?.routerMac === packet.ethSrc);
    if (peer === undefined || !isTheirs) return this.stale();
    this.fabric.arriveFromPeer(packet, { peer, isTunnel }, to, turn);
  }

  private stale(): void {
    this.counters.stale += 1;
  }

  /**
   * Enters both directions in the route table. True: they are to be sent now, the reverse one first. OVS takes messages
   * of one connection in order, so the answer to the first packet finds its route and no barrier is waited for. A route
   * that was sent just now is not sent again: until OVS has revalidated its datapath flows (some milliseconds), further
   * packets of a burst still come here.
   */
  private claim(a: number, b: number, turn: Turn): boolean {
    const claimed = turn.datapath.routes.claim(a, b, ticksOf(turn.nowMs));
    if (claimed === true) this.counters.routesInstalled += 2;
    else if (claimed === false) this.counters.routesCapped += 1;
    return claimed === true;
  }

  private outward(reason: number, inPort: number, turn: Turn): void {
    const { packet } = this;
    const from = this.sender(inPort, turn);
    if (from === NO_SLOT) return;
    const passage = this.rules.passageOutside(from);
    if (passage !== 'route') {
      if (this.isForNames(packet.ipDst)) return this.passOut(from, turn);
      if (!this.rules.hasWay(from, OUTSIDE)) return this.refusals.noWayOut(packet, from, turn);
      if (!this.mayPassOutside(passage, { from, to: OUTSIDE, outsideAddress: packet.ipDst }, reason, turn)) return;
    }
    if (reason !== PUNT_REASON.OUTSIDE) return this.slow.translateOutward(reason, packet, from, turn);
    if (passage === 'route') this.openOutside(from, turn);
    this.passOut(from, turn);
  }

  /** As `mayPass`, between an endpoint and the outside. */
  private mayPassOutside(passage: Passage, ends: PacketEnds, reason: number, turn: Turn): boolean {
    const cause = reason === PUNT_REASON.OUTSIDE ? 'first' : 'special';
    if (passage === 'conversations') return this.conversation.mayPass(this.packet, ends, cause, turn);
    this.refusals.denyOutside(this.packet, ends, turn);
    return false;
  }

  private passOut(from: number, turn: Turn): void {
    if (maySendPacket(turn, this.counters)) this.routeWriter.outwardPacket(turn.writer, from, this.packet);
  }

  /**
   * Questions for names, and their answers: these pass packet by packet, whatever the policy says, and are all that an
   * internal network has.
   */
  private isForNames(address: number): boolean {
    return this.routeWriter.hasOutside && address === this.inventory.host.dnsAddress;
  }

  private inward(reason: number, turn: Turn): void {
    const { endpoints, packet } = this;
    const to = endpoints.slotOfLocator(packet.ipDst);
    if (to === NO_SLOT || endpoints.datapathNoOf(to) !== turn.datapath.number) {
      return this.refusals.noWayIn(packet, turn);
    }
    const passage = this.rules.passageOutside(to);
    if (passage !== 'route') {
      if (this.isForNames(packet.ipSrc)) return this.passIn(to, turn);
      if (!this.rules.hasWay(OUTSIDE, to)) return this.refusals.noWayIn(packet, turn);
      if (!this.mayPassOutside(passage, { from: OUTSIDE, to, outsideAddress: packet.ipSrc }, reason, turn)) return;
    }
    if (reason !== PUNT_REASON.OUTSIDE) return this.slow.translateInward(reason, packet, to, turn);
    if (passage === 'route') this.openOutside(to, turn);
    this.passIn(to, turn);
  }

  private passIn(to: number, turn: Turn): void {
    if (maySendPacket(turn, this.counters)) this.routeWriter.inwardPacket(turn.writer, to, this.packet);
  }

  /** One pair of routes serves all outside addresses, whichever side began. */
  private openOutside(slot: number, turn: Turn): void {
    if (!this.claim(slot, OUTSIDE, turn)) return;
    this.routeWriter.inwardFlow(turn.writer, slot);
    this.routeWriter.outwardFlow(turn.writer, slot);
  }
}

/** The kernel has taken it out of a tunnel, if it is no packet of the outside: see CLASSIFY. */
function isFromTunnel(inPort: number, hostPortNo: number | undefined, reason: number): boolean {
  return inPort === hostPortNo && (reason === PUNT_REASON.ARRIVAL || reason === PUNT_REASON.FABRIC);
}

function carriesOurUserdata(view: PacketInView): boolean {
  const { buffer, userdataOffset: at } = view;
  return view.userdataLength === USERDATA.length && buffer[at] === USERDATA[0] && buffer[at + 1] === USERDATA[1];
}
