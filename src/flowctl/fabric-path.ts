// Packets between an endpoint here and one on another host that no flow takes, or that take more than one can do: a TTL
// that runs out, ICMP errors, later fragments in user space, what is larger than the fabric. All come through a port's
// meter, so their rate is bounded. Who may talk to whom was decided before.

import type { Ipv4 } from '../base/addresses';
import { buildIcmpError, fragmentationNeeded, TTL_EXCEEDED, type IcmpErrorKind } from '../packet/icmp-build';
import { cutIntoFragments } from '../packet/ipv4-fragment';
import { decrementTtl, rewriteAddresses, type Addresses } from '../packet/ipv4-rewrite';
import type { PacketView } from '../packet/packet-view';
import { IP_PROTO, isIcmpError } from '../packet/protocol-numbers';
import type { FlowCounters } from './counters';
import { maySendPacket, type Turn } from './datapath-state';
import { NO_SLOT } from './endpoint-index';
import type { Inventory } from './inventory';
import type { FlowFabric, FlowPeer } from './model';
import type { RouteWriter } from './route-writer';
import { deliver, translateError, type QuoteRule } from './translation';

export class FabricPath {
  constructor(
    private readonly inventory: Inventory,
    private readonly routeWriter: RouteWriter,
    private readonly counters: FlowCounters,
  ) {}

  /** Sends the packet of the endpoint at `from`, here, to the one at `to`, on another host. */
  depart(packet: PacketView, from: number, to: number, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    const { fabric } = host;
    if (fabric === undefined) return;
    if (packet.ipTtl <= 1) return this.answerLocal(packet, from, TTL_EXCEEDED, fabric, turn);
    const isTooLarge = packet.ipTotalLength > fabric.mtu;
    if (isTooLarge && packet.ipDontFragment) {
      return this.answerLocal(packet, from, fragmentationNeeded(fabric.mtu), fabric, turn);
    }
    const isError = isErrorMessage(packet);
    if (!isError && !isTooLarge && !this.isLaterFragment(packet)) {
      if (maySendPacket(turn, this.counters)) this.routeWriter.remote.outPacket(turn.writer, from, to, packet);
      return;
    }
    const here = { ip: endpoints.ipOf(from), locator: endpoints.locatorOf(from) };
    const there = { ip: endpoints.ipOf(to), locator: endpoints.locatorOf(to) };
    // The error is about a packet that came from there.
    const rule: QuoteRule = ({ src, dst }) =>
      src === there.ip && dst === here.ip ? { src: there.locator, dst: here.locator } : undefined;
    if (!this.translate(packet, { src: here.locator, dst: there.locator }, isError ? rule : undefined)) return;
    const out = { portNo: fabric.portNo, mac: endpoints.macOf(to) };
    for (const frame of isTooLarge ? cutIntoFragments(packet, fabric.mtu) : [packet]) {
      if (maySendPacket(turn, this.counters)) deliver(this.routeWriter, turn.writer, frame, out, host.routerMac);
    }
  }

  /** Sends a packet that came from the endpoint at `from`, on another host, to the one at `to`, here. */
  arrive(packet: PacketView, from: number, to: number, turn: Turn): void {
    const { endpoints } = this.inventory;
    if (packet.ipTtl <= 1) return this.answerPeer(packet, turn);
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
    this.hand(packet, to, turn);
  }

  /**
   * Sends what another host itself says about a packet of the endpoint at `to`: that its TTL ran out there. The endpoint
   * sees that server's own address. It may speak of packets to its own endpoints alone.
   */
  arriveFromPeer(packet: PacketView, peer: FlowPeer, to: number, turn: Turn): void {
    const { endpoints } = this.inventory;
    const ip = endpoints.ipOf(to);
    const locator = endpoints.locatorOf(to);
    const rule: QuoteRule = ({ src, dst }) => {
      const about = endpoints.slotOfLocator(dst);
      if (src !== locator || about === NO_SLOT || !endpoints.isElsewhere(about)) return undefined;
      if (endpoints.macOf(about) !== peer.routerMac || endpoints.tenantOf(about) !== endpoints.tenantOf(to))
        return undefined;
      return { src: ip, dst: endpoints.ipOf(about) };
    };
    if (!this.translate(packet, { src: peer.address, dst: ip }, rule)) return;
    this.hand(packet, to, turn);
  }

  /** Rewrites the packet in place, one hop further. With a rule, it is an ICMP error. False: it goes nowhere. */
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
    decrementTtl(packet);
    return true;
  }

  private hand(packet: PacketView, to: number, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    if (!maySendPacket(turn, this.counters)) return;
    const out = { portNo: endpoints.portNoOf(to), mac: endpoints.macOf(to) };
    deliver(this.routeWriter, turn.writer, packet, out, host.routerMac);
  }

  private isLaterFragment(packet: PacketView): boolean {
    return packet.ipFragOffset > 0 && !this.inventory.host.kernelDatapath;
  }

  /** An error from this server to the endpoint at `slot` about its packet. */
  private answerLocal(packet: PacketView, slot: number, kind: IcmpErrorKind, fabric: FlowFabric, turn: Turn): void {
    this.answer(packet, fabric.serverAddress, kind, this.inventory.endpoints.portNoOf(slot), turn);
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
