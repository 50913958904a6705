// Packets between an endpoint here and one on another host that no flow takes, or that take more than one can do: a TTL
// that runs out, ICMP errors, later fragments in user space, what is larger than the fabric. All come through a port's
// meter, so their rate is bounded. Who may talk to whom was decided before.

import type { Ipv4, Mac } from '../base/addresses';
import { buildIcmpError, fragmentationNeeded, TTL_EXCEEDED, type IcmpErrorKind } from '../packet/icmp-build';
import { cutIntoFragments } from '../packet/ipv4-fragment';
import { decrementTtl, rewriteAddresses, type Addresses } from '../packet/ipv4-rewrite';
import type { PacketView } from '../packet/packet-view';
import { IP_PROTO, isIcmpError } from '../packet/protocol-numbers';
import type { FlowCounters } from './counters';
import { maySendPacket, type Turn } from './datapath-state';
import { NO_SLOT } from './endpoint-index';
import type { Inventory } from './inventory';
import type { FlowPeer, RelayHere } from './model';
import type { RouteWriter } from './route-writer';
import { deliver, translateError, type QuoteRule } from './translation';

/** An end on another host, and what it is reached by. */
interface FarEnd {
  readonly ip: Ipv4;
  readonly locator: Ipv4;
  readonly mac: Mac;
  readonly isTunnelled: boolean;
}

/** Another host, and how its packet came. */
interface Arrival {
  readonly peer: FlowPeer;
  readonly isTunnel: boolean;
}

export class FabricPath {
  constructor(
    private readonly inventory: Inventory,
    private readonly routeWriter: RouteWriter,
    private readonly counters: FlowCounters,
  ) {}

  /** Sends the packet of the endpoint at `from`, here, to the one at `to`, on another host. */
  depart(packet: PacketView, from: number, to: number, turn: Turn): void {
    const { endpoints } = this.inventory;
    const isTunnelled = endpoints.isTunnelled(to);
    if (this.isRefused(packet, from, isTunnelled, turn)) return;
    if (!isErrorMessage(packet) && !this.isTooLarge(packet, isTunnelled) && !this.isLaterFragment(packet)) {
      if (maySendPacket(turn, this.counters)) this.routeWriter.remote.outPacket(turn.writer, from, to, packet);
      return;
    }
    const there = { ip: endpoints.ipOf(to), locator: endpoints.locatorOf(to), mac: endpoints.hopTo(to), isTunnelled };
    this.send(packet, from, there, turn);
  }

  /**
   * Sends the packet of the endpoint at `from`, here, to a host whose ports lead to it: an answer, or an error about what came
   * from there. False: no ports of that host do.
   */
  departByRelay(packet: PacketView, from: number, turn: Turn): boolean {
    const { endpoints, relays } = this.inventory;
    const peer = relays.here(packet.ipDst, endpoints.locatorOf(from))?.peer;
    if (peer === undefined) return false;
    const isTunnelled = peer.isTunnelled === true;
    if (this.isRefused(packet, from, isTunnelled, turn)) return true;
    const mac = isTunnelled ? (this.inventory.host.hostPort?.mac ?? peer.routerMac) : peer.routerMac;
    this.send(packet, from, { ip: peer.locator, locator: peer.locator, mac, isTunnelled }, turn);
    return true;
  }

  /** Tells the endpoint at `from` what keeps its packet from going on: its TTL, or its size. True: it goes nowhere. */
  private isRefused(packet: PacketView, from: number, isTunnelled: boolean, turn: Turn): boolean {
    const isOver = packet.ipTtl <= 1;
    if (!isOver && !(this.isTooLarge(packet, isTunnelled) && packet.ipDontFragment)) return false;
    this.answerLocal(packet, from, isOver ? TTL_EXCEEDED : fragmentationNeeded(this.fabricMtu), turn);
    return true;
  }

  private get fabricMtu(): number {
    return this.inventory.host.fabric?.mtu ?? 0;
  }

  /** Of what is too large for a tunnel, the kernel tells. */
  private isTooLarge(packet: PacketView, isTunnelled: boolean): boolean {
    return !isTunnelled && packet.ipTotalLength > this.fabricMtu;
  }

  /** On its way to another host, with what takes more than a flow can do. */
  private send(packet: PacketView, from: number, there: FarEnd, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    const { isTunnelled } = there;
    const port = isTunnelled ? host.hostPort : host.fabric;
    if (port === undefined) return;
    const here = { ip: endpoints.ipOf(from), locator: endpoints.locatorOf(from) };
    // The error is about a packet that came from there.
    const rule: QuoteRule = ({ src, dst }) =>
      src === there.ip && dst === here.ip ? { src: there.locator, dst: here.locator } : undefined;
    const outer = { src: here.locator, dst: there.locator };
    if (!this.translate(packet, outer, isErrorMessage(packet) ? rule : undefined)) return;
    if (!isTunnelled) decrementTtl(packet);
    const out = { portNo: port.portNo, mac: there.mac };
    const isCut = this.isTooLarge(packet, isTunnelled);
    for (const frame of isCut ? cutIntoFragments(packet, this.fabricMtu) : [packet]) {
      if (maySendPacket(turn, this.counters)) deliver(this.routeWriter, turn.writer, frame, out, host.routerMac);
    }
  }

  /** Sends a packet that came from the endpoint at `from`, on another host, to the one at `to`, here. */
  arrive(packet: PacketView, from: number, to: number, turn: Turn): void {
    const { endpoints } = this.inventory;
    const isTunnelled = endpoints.isTunnelled(from);
    if (packet.ipTtl <= 1 && !isTunnelled) return this.answerPeer(packet, turn);
    const isError = isErrorMessage(packet);
    if (!isError && !this.isLaterFragment(packet)) {
      if (maySendPacket(turn, this.counters)) this.routeWriter.remote.inPacket(turn.writer, from, to, packet);
      return;
    }
    const here = { ip: endpoints.ipOf(to), locator: endpoints.locatorOf(to) };
    const there = { ip: endpoints.ipOf(from), locator: endpoints.locatorOf(from) };
    const rule: QuoteRule = ({ src, dst }) =>
      src === here.locator && dst === there.locator ? { src: here.ip, dst: there.ip } : undefined;
    if (!this.translate(packet, { src: there.ip, dst: here.ip }, isError ? rule : undefined)) return;
    this.hand(packet, to, isTunnelled, turn);
  }

  /**
   * Sends what another host itself says about a packet of the endpoint at `to`: that its TTL ran out there. The endpoint
   * sees that server's own address. It may speak of packets to its own endpoints alone, and of answers to its ports.
   */
  arriveFromPeer(packet: PacketView, { peer, isTunnel }: Arrival, to: number, turn: Turn): void {
    const { endpoints, relays } = this.inventory;
    const ip = endpoints.ipOf(to);
    const locator = endpoints.locatorOf(to);
    const relay = relays.here(peer.locator, locator);
    if (relay !== undefined && this.isFragmentFor(relay, packet, isTunnel)) {
      if (this.translate(packet, { src: packet.ipSrc, dst: ip }, undefined)) this.hand(packet, to, isTunnel, turn);
      return;
    }
    const rule: QuoteRule = ({ src, dst }) => {
      if (src === locator && dst === peer.locator && relay !== undefined) return { src: ip, dst };
      const about = endpoints.slotOfLocator(dst);
      if (src !== locator || about === NO_SLOT || !endpoints.isElsewhere(about)) return undefined;
      // Through a tunnel a hub speaks, too, of what it passes on.
      const isOnItsWay = isTunnel ? endpoints.isTunnelled(about) : endpoints.macOf(about) === peer.routerMac;
      if (!isOnItsWay || endpoints.tenantOf(about) !== endpoints.tenantOf(to)) return undefined;
      return { src: ip, dst: endpoints.ipOf(about) };
    };
    if (!this.translate(packet, { src: peer.address, dst: ip }, rule)) return;
    this.hand(packet, to, isTunnel, turn);
  }

  /** Whether it is a later fragment of what the relay's services get, which this datapath cannot rewrite. */
  private isFragmentFor({ services }: RelayHere, packet: PacketView, isTunnel: boolean): boolean {
    if (!this.isLaterFragment(packet) || (packet.ipTtl <= 1 && !isTunnel)) return false;
    return services.some(({ protocol }) => IP_PROTO[protocol] === packet.ipProto);
  }

  /** Rewrites the packet in place. With a rule, it is an ICMP error. False: it goes nowhere. */
  private translate(packet: PacketView, outer: Addresses, rule: QuoteRule | undefined): boolean {
    if (rule === undefined) {
      rewriteAddresses(packet, outer);
      this.counters.fragmentsRewritten += 1;
    } else if (translateError(packet, outer, rule)) {
      this.counters.icmpErrorsRewritten += 1;
    } else {
      this.counters.malformed += 1;
      return false;
    }
    return true;
  }

  private hand(packet: PacketView, to: number, isTunnelled: boolean, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    if (!isTunnelled) decrementTtl(packet);
    if (!maySendPacket(turn, this.counters)) return;
    const out = { portNo: endpoints.portNoOf(to), mac: endpoints.macOf(to) };
    deliver(this.routeWriter, turn.writer, packet, out, host.routerMac);
  }

  private isLaterFragment(packet: PacketView): boolean {
    return packet.ipFragOffset > 0 && !this.inventory.host.kernelDatapath;
  }

  /** An error from this server to the endpoint at `slot` about its packet. */
  private answerLocal(packet: PacketView, slot: number, kind: IcmpErrorKind, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    if (host.serverAddress !== undefined) this.answer(packet, host.serverAddress, kind, endpoints.portNoOf(slot), turn);
  }

  /** Back to the host that the packet came from, as locators say it. */
  private answerPeer(packet: PacketView, turn: Turn): void {
    const { hostAddress, fabric } = this.inventory.host;
    if (fabric !== undefined) this.answer(packet, hostAddress, TTL_EXCEEDED, fabric.portNo, turn);
  }

  private answer(packet: PacketView, from: Ipv4, kind: IcmpErrorKind, portNo: number, turn: Turn): void {
    const buffer = buildIcmpError(packet, { mac: this.inventory.host.routerMac, address: from }, kind);
    if (buffer === undefined || !maySendPacket(turn, this.counters)) return;
    if (kind === TTL_EXCEEDED) this.counters.timeExceeded += 1;
    else this.counters.tooLarge += 1;
    this.routeWriter.plainPacket(turn.writer, portNo, { buffer, offset: 0, length: buffer.length });
  }
}

function isErrorMessage(packet: PacketView): boolean {
  return packet.ipProto === IP_PROTO.ICMP && packet.ipFragOffset === 0 && isIcmpError(packet.icmpType);
}
