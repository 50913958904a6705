// What to do about a packet that no route took: the decision on a packet-in, from bytes to bytes. Pure: state, event and
// time go in, messages are appended to a writer. Nothing is allocated on the way of a packet that gets its route.
// Answers and translations, which take more than that, stand in slow-path.ts and fabric-path.ts.

import type { Ipv4, Mac } from '../base/addresses';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import type { PacketInView } from '../openflow/packet-in-view';
import { PacketView } from '../packet/packet-view';
import { ETH_TYPE, ICMP_UNREACHABLE } from '../packet/protocol-numbers';
import type { FlowCounters } from './counters';
import { maySendPacket, type Turn } from './datapath-state';
import { EndpointView, NO_SLOT, type EndpointIndex } from './endpoint-index';
import { FabricPath } from './fabric-path';
import type { Inventory } from './inventory';
import type { FlowSettings, TellPeer } from './model';
import { PUNT_REASON, PUNT_REASON_INDEX, TENANT_INDEX, USERDATA } from './pipeline';
import { denyFlow, denyInFlow, nobodyFlow, nobodyHereFlow, noWayInFlow, noWayOutFlow } from './route-flows';
import type { RouteRules } from './route-rules';
import { OUTSIDE, ticksOf, type RouteTable } from './route-table';
import { PACKET_PATH_XID } from './route-templates';
import type { RouteWriter } from './route-writer';
import { SlowPath } from './slow-path';

export interface PacketPathParts {
  readonly inventory: Inventory;
  readonly routeWriter: RouteWriter;
  readonly rules: RouteRules;
  readonly settings: FlowSettings;
  readonly counters: FlowCounters;
  readonly tellPeer: TellPeer;
}

export class PacketPath {
  private readonly inventory: Inventory;
  private readonly endpoints: EndpointIndex;
  private readonly routeWriter: RouteWriter;
  private readonly rules: RouteRules;
  private readonly settings: FlowSettings;
  private readonly counters: FlowCounters;
  private readonly tellPeer: TellPeer;
  private readonly packet = new PacketView();
  private readonly source: EndpointView;
  private readonly destination: EndpointView;
  private readonly slow: SlowPath;
  private readonly fabric: FabricPath;

  constructor(parts: PacketPathParts) {
    const { inventory, routeWriter, counters } = parts;
    this.inventory = inventory;
    this.endpoints = inventory.endpoints;
    this.routeWriter = routeWriter;
    this.rules = parts.rules;
    this.settings = parts.settings;
    this.counters = counters;
    this.tellPeer = parts.tellPeer;
    this.source = new EndpointView(this.endpoints);
    this.destination = new EndpointView(this.endpoints);
    this.slow = new SlowPath(inventory, routeWriter, counters);
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
    if (view.inPort === fabric?.portNo) this.arriving(reason, turn);
    else if (reason === PUNT_REASON.FABRIC) this.departing(view.inPort, view.regs[TENANT_INDEX]!, turn);
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
    if (!this.mayTalk(from, to, datapath.routes)) return this.deny(from, to, turn);
    if (this.claim(from, to, turn)) routeWriter.pairFlows(writer, from, to);
    if (maySendPacket(turn, this.counters)) routeWriter.pairPacket(writer, from, to, packet);
  }

  /** To an endpoint on another host, or to nobody. */
  private pairApart(from: number, to: number, turn: Turn): void {
    const { remote } = this.routeWriter;
    if (to === NO_SLOT || !this.endpoints.isElsewhere(to) || !remote.hasFabric) return this.nobody(from, turn);
    if (!this.mayTalk(from, to, turn.datapath.routes)) return this.deny(from, to, turn);
    const isNew = !turn.datapath.routes.has(from, to);
    if (this.claim(from, to, turn)) {
      if (isNew) this.tell(from, to);
      remote.inFlow(turn.writer, to, from);
      remote.outFlow(turn.writer, from, to);
    }
    this.fabric.depart(this.packet, from, to, turn);
  }

  private tell(from: number, to: number): void {
    const { endpoints, counters } = this;
    counters.wordsTold += 1;
    this.tellPeer(endpoints.macOf(to), endpoints.locatorOf(from), endpoints.locatorOf(to));
  }

  /**
   * The host with this router MAC says that it has made a route from `source`, one of its own, to `destination`. Makes
   * the other half, where a packet of that route would, and tells nobody. A route that is there is left as it is.
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
    if (!isOneTenant || congested || !remote.hasFabric || !this.mayTalk(from, to, routes)) {
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
    if (to === NO_SLOT || !endpoints.isElsewhere(to) || endpoints.tenantOf(from) !== tenant) return this.stale();
    this.fabric.depart(packet, from, to, turn);
  }

  /** From another host, in locators: its endpoints speak with its router MAC alone, and so does it itself. */
  private arriving(reason: number, turn: Turn): void {
    const { endpoints, packet } = this;
    const from = endpoints.slotOfLocator(packet.ipSrc);
    const to = endpoints.slotOfLocator(packet.ipDst);
    if (to === NO_SLOT || endpoints.datapathNoOf(to) !== turn.datapath.number) return this.nobodyHere(turn);
    if (from === NO_SLOT) return this.arrivingFromPeer(to, turn);
    if (!endpoints.isElsewhere(from) || endpoints.macOf(from) !== packet.ethSrc) return this.stale();
    if (endpoints.tenantOf(from) !== endpoints.tenantOf(to)) return this.denyIn(from, to, turn);
    if (!this.mayTalk(from, to, turn.datapath.routes)) return this.denyIn(from, to, turn);
    // What comes from its route with more than a flow can do has that route already.
    if (reason === PUNT_REASON.ARRIVAL && this.claim(from, to, turn)) {
      this.routeWriter.remote.outFlow(turn.writer, to, from);
      this.routeWriter.remote.inFlow(turn.writer, from, to);
    }
    this.fabric.arrive(packet, from, to, turn);
  }

  private arrivingFromPeer(to: number, turn: Turn): void {
    const peer = this.inventory.peerAt(this.packet.ipSrc);
    if (peer === undefined || peer.routerMac !== this.packet.ethSrc) return this.stale();
    this.fabric.arriveFromPeer(this.packet, peer, to, turn);
  }

  private stale(): void {
    this.counters.stale += 1;
  }

  private denyIn(from: number, to: number, turn: Turn): void {
    const { inventory, settings } = this;
    this.counters.denied += 1;
    this.dropFromFabric(turn, (portNo) =>
      denyInFlow(inventory.rowOf(from), inventory.rowOf(to), portNo, settings.denyTimeoutSeconds),
    );
  }

  private nobodyHere(turn: Turn): void {
    this.counters.noWay += 1;
    this.dropFromFabric(turn, (portNo) =>
      nobodyHereFlow(portNo, this.packet.ipDst, this.settings.negativeTimeoutSeconds),
    );
  }

  private dropFromFabric(turn: Turn, flow: (fabricPortNo: number) => FlowMod): void {
    const portNo = this.inventory.host.fabric?.portNo ?? 0;
    this.drop(portNo, turn, () => flow(portNo));
  }

  /** Asks the policy. What answers on a route that the other end was allowed is allowed too. */
  private mayTalk(from: number, to: number, routes: RouteTable): boolean {
    const { policy } = this.inventory;
    if (from === to) return false;
    if (policy.allows(this.source.at(from), this.destination.at(to))) return true;
    return routes.has(to, from) && policy.allows(this.source.at(to), this.destination.at(from));
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

  private deny(from: number, to: number, turn: Turn): void {
    const { inventory, settings } = this;
    this.counters.denied += 1;
    this.drop(this.endpoints.portNoOf(from), turn, () =>
      denyFlow(inventory.rowOf(from), inventory.rowOf(to), settings.denyTimeoutSeconds),
    );
  }

  private nobody(from: number, turn: Turn): void {
    const { inventory, settings, packet } = this;
    this.drop(this.endpoints.portNoOf(from), turn, () =>
      nobodyFlow(inventory.rowOf(from), packet.ipDst, settings.negativeTimeoutSeconds),
    );
    const gateway = inventory.network(this.endpoints.networkKeyOf(from))?.gateway;
    const code = packet.ipDst === gateway ? ICMP_UNREACHABLE.PORT : ICMP_UNREACHABLE.HOST;
    this.slow.unreachable(packet, from, code, turn);
  }

  private outward(reason: number, inPort: number, turn: Turn): void {
    const { packet } = this;
    const from = this.sender(inPort, turn);
    if (from === NO_SLOT) return;
    if (!this.rules.hasWayOutside(from)) {
      if (this.isForNames(packet.ipDst)) return this.passOut(from, turn);
      return this.noWayOut(from, turn);
    }
    if (reason !== PUNT_REASON.OUTSIDE) return this.slow.translateOutward(reason, packet, from, turn);
    this.openOutside(from, turn);
    this.passOut(from, turn);
  }

  private passOut(from: number, turn: Turn): void {
    if (maySendPacket(turn, this.counters)) this.routeWriter.outwardPacket(turn.writer, from, this.packet);
  }

  /** Questions for names, and their answers: internal networks have these, packet by packet, and nothing else. */
  private isForNames(address: number): boolean {
    return this.routeWriter.hasOutside && address === this.inventory.host.dnsAddress;
  }

  private inward(reason: number, turn: Turn): void {
    const { endpoints, packet, routeWriter } = this;
    const to = endpoints.slotOfLocator(packet.ipDst);
    if (to === NO_SLOT || endpoints.datapathNoOf(to) !== turn.datapath.number) return this.noWayIn(turn);
    if (!this.rules.hasWayOutside(to)) {
      if (!this.isForNames(packet.ipSrc)) return this.noWayIn(turn);
      if (maySendPacket(turn, this.counters)) routeWriter.inwardPacket(turn.writer, to, packet);
      return;
    }
    if (reason !== PUNT_REASON.OUTSIDE) return this.slow.translateInward(reason, packet, to, turn);
    this.openOutside(to, turn);
    if (maySendPacket(turn, this.counters)) routeWriter.inwardPacket(turn.writer, to, packet);
  }

  /** One pair of routes serves all outside addresses, whichever side began. */
  private openOutside(slot: number, turn: Turn): void {
    if (!this.claim(slot, OUTSIDE, turn)) return;
    this.routeWriter.inwardFlow(turn.writer, slot);
    this.routeWriter.outwardFlow(turn.writer, slot);
  }

  private noWayOut(from: number, turn: Turn): void {
    const { inventory, settings } = this;
    this.counters.noWay += 1;
    this.drop(this.endpoints.portNoOf(from), turn, () =>
      noWayOutFlow(inventory.rowOf(from), settings.negativeTimeoutSeconds),
    );
    this.slow.unreachable(this.packet, from, ICMP_UNREACHABLE.NET, turn);
  }

  private noWayIn(turn: Turn): void {
    const portNo = this.inventory.host.hostPort?.portNo ?? 0;
    this.counters.noWay += 1;
    this.drop(portNo, turn, () => noWayInFlow(portNo, this.packet.ipDst, this.settings.negativeTimeoutSeconds));
  }

  /** Installs a drop that ends by itself, as far as the port's budget goes. */
  private drop(portNo: number, turn: Turn, flow: () => FlowMod): void {
    if (turn.datapath.drops.take(portNo, turn.nowMs)) encodeFlowMod(turn.writer, PACKET_PATH_XID, flow());
    else this.counters.dropsCapped += 1;
  }
}

function carriesOurUserdata(view: PacketInView): boolean {
  const { buffer, userdataOffset: at } = view;
  return view.userdataLength === USERDATA.length && buffer[at] === USERDATA[0] && buffer[at + 1] === USERDATA[1];
}
