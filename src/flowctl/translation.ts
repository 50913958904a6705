// What the slow paths share: an ICMP error is rewritten with the packet that it quotes, and a rewritten frame is sent.

import type { Mac } from '../base/addresses';
import type { MessageWriter } from '../openflow/message-writer';
import { setMac } from '../packet/bytes';
import { readQuote, rewriteQuote } from '../packet/icmp-quote';
import { rewriteAddresses, type Addresses } from '../packet/ipv4-rewrite';
import type { PacketView } from '../packet/packet-view';
import type { RouteWriter } from './route-writer';

/** What the addresses of a quoted packet become; undefined where the error is a lie and goes nowhere. */
export type QuoteRule = (quote: Addresses) => Addresses | undefined;

/** Rewrites an ICMP error in place. False: it quotes no packet, or one that the rule refuses; then nothing is changed. */
export function translateError(packet: PacketView, outer: Addresses, rule: QuoteRule): boolean {
  const quote = readQuote(packet);
  const inner = quote && rule({ src: quote.ipSrc, dst: quote.ipDst });
  if (quote === undefined || inner === undefined) return false;
  rewriteQuote(packet, quote, inner);
  rewriteAddresses(packet, outer);
  return true;
}

/** Gives the frame its MACs and sends it out of a port. */
export function deliver(
  routeWriter: RouteWriter,
  writer: MessageWriter,
  frame: Pick<PacketView, 'buffer' | 'offset' | 'length'>,
  to: { mac: Mac; portNo: number },
  routerMac: Mac,
): void {
  setMac(frame.buffer, frame.offset, to.mac);
  setMac(frame.buffer, frame.offset + 6, routerMac);
  routeWriter.plainPacket(writer, to.portNo, frame);
}
