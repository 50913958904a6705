// Packets to and from the outside that the controller rewrites itself, errors whose quoted packet has to be translated too
// and later fragments where the datapath cannot, and ICMP unreachable. All come through a port's meter, so their rate is
// bounded.

import type { Mac } from '../base/addresses';
import { buildIcmpError, unreachable } from '../packet/icmp-build';
import { rewriteAddresses, type Addresses } from '../packet/ipv4-rewrite';
import type { PacketView } from '../packet/packet-view';
import type { FlowCounters } from './counters';
import { maySendPacket, type Turn } from './datapath-state';
import type { Inventory } from './inventory';
import { PUNT_REASON } from './pipeline';
import type { RouteWriter } from './route-writer';
import { deliver, translateError, type QuoteRule } from './translation';

export class SlowPath {
  constructor(
    private readonly inventory: Inventory,
    private readonly routeWriter: RouteWriter,
    private readonly counters: FlowCounters,
  ) {}

  /** Tells the endpoint at `slot`, from its gateway, that its packet goes nowhere. Not where RFC 1812 forbids it. */
  unreachable(packet: PacketView, slot: number, code: number, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    const gateway = this.inventory.network(endpoints.networkKeyOf(slot))?.gateway;
    if (gateway === undefined || packet.isFragment) return;
    const buffer = buildIcmpError(packet, { mac: host.routerMac, address: gateway }, unreachable(code));
    if (buffer === undefined || !maySendPacket(turn, this.counters)) return;
    this.counters.unreachable += 1;
    this.routeWriter.plainPacket(turn.writer, endpoints.portNoOf(slot), { buffer, offset: 0, length: buffer.length });
  }

  /** From an endpoint to the outside: its address becomes its locator, in a quoted packet too. */
  translateOutward(reason: number, packet: PacketView, slot: number, turn: Turn): void {
    const { endpoints, host } = this.inventory;
    const { hostPort } = host;
    if (hostPort === undefined) return;
    const ip = endpoints.ipOf(slot);
    const locator = endpoints.locatorOf(slot);
    const rule: QuoteRule = ({ src, dst }) => (dst === ip ? { src, dst: locator } : undefined);
    if (!this.translate(reason, packet, { src: locator, dst: packet.ipDst }, rule)) return;
    this.forward(packet, hostPort, turn);
  }

  /** From the outside to an endpoint: its locator becomes its address, in a quoted packet too. */
  translateInward(reason: number, packet: PacketView, slot: number, turn: Turn): void {
    const { endpoints } = this.inventory;
    const ip = endpoints.ipOf(slot);
    const locator = endpoints.locatorOf(slot);
    const rule: QuoteRule = ({ src, dst }) => (src === locator ? { src: ip, dst } : undefined);
    if (!this.translate(reason, packet, { src: packet.ipSrc, dst: ip }, rule)) return;
    this.forward(packet, { mac: endpoints.macOf(slot), portNo: endpoints.portNoOf(slot) }, turn);
  }

  /** Rewrites the packet in place. False: it is not to go on, and counted. */
  private translate(reason: number, packet: PacketView, outer: Addresses, rule: QuoteRule): boolean {
    if (reason === PUNT_REASON.FRAGMENT && packet.ipFragOffset > 0) {
      rewriteAddresses(packet, outer);
      this.counters.fragmentsRewritten += 1;
      return true;
    }
    if (reason !== PUNT_REASON.ICMP_ERROR || !translateError(packet, outer, rule)) {
      this.counters.malformed += 1;
      return false;
    }
    this.counters.icmpErrorsRewritten += 1;
    return true;
  }

  private forward(packet: PacketView, to: { mac: Mac; portNo: number }, turn: Turn): void {
    if (!maySendPacket(turn, this.counters)) return;
    deliver(this.routeWriter, turn.writer, packet, to, this.inventory.host.routerMac);
  }
}
