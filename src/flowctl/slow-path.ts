// Packets that the controller makes or rewrites itself: ICMP unreachable, errors whose quoted packet has to be translated
// too, and later fragments where the datapath cannot. All come through a port's meter, so their rate is bounded.

import type { Mac } from '../base/addresses';
import { setMac } from '../packet/bytes';
import { buildIcmpError, unreachable } from '../packet/icmp-build';
import { readQuote, rewriteQuote } from '../packet/icmp-quote';
import { rewriteAddresses, type Addresses } from '../packet/ipv4-rewrite';
import type { PacketView } from '../packet/packet-view';
import type { FlowCounters } from './counters';
import { maySendPacket, type Turn } from './datapath-state';
import type { Inventory } from './inventory';
import { PUNT_REASON } from './pipeline';
import type { RouteWriter } from './route-writer';

/** What the addresses of a quoted packet become; undefined where the error is a lie and goes nowhere. */
type QuoteRule = (quote: Addresses) => Addresses | undefined;

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
    const quote = reason === PUNT_REASON.ICMP_ERROR ? readQuote(packet) : undefined;
    const inner = quote && rule({ src: quote.ipSrc, dst: quote.ipDst });
    if (quote === undefined || inner === undefined) {
      this.counters.malformed += 1;
      return false;
    }
    rewriteQuote(packet, quote, inner);
    rewriteAddresses(packet, outer);
    this.counters.icmpErrorsRewritten += 1;
    return true;
  }

  private forward(packet: PacketView, to: { mac: Mac; portNo: number }, turn: Turn): void {
    if (!maySendPacket(turn, this.counters)) return;
    setMac(packet.buffer, packet.offset, to.mac);
    setMac(packet.buffer, packet.offset + 6, this.inventory.host.routerMac);
    this.routeWriter.plainPacket(turn.writer, to.portNo, packet);
  }
}
