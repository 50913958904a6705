// What to do about a packet between two ends of which one may not open whatever it likes with the other: each conversation
// has a route of its own, and what is refused is dropped. Answers are told from what would open by who opened, which is
// remembered; a source port says nothing. Whoever asks sends the packet on.

import type { Ipv4 } from '../base/addresses';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import { readQuote } from '../packet/icmp-quote';
import type { PacketView } from '../packet/packet-view';
import { IP_PROTO } from '../packet/protocol-numbers';
import { answeredBy, hasPorts, openedBy, type Conversation, type PacketEnds } from './conversation';
import { fragmentFlow, refusalFlow, type PacketClass } from './conversation-flows';
import type { ConversationRules } from './conversation-rules';
import type { FlowCounters } from './counters';
import type { Turn } from './datapath-state';
import type { Denials } from './denials';
import { ICMP_ERRORS } from './flow-parts';
import type { Inventory } from './inventory';
import type { FlowSettings } from './model';
import { OUTSIDE, ticksOf } from './route-table';
import { PACKET_PATH_XID } from './route-templates';

export interface ConversationPathParts {
  readonly inventory: Inventory;
  readonly conversations: ConversationRules;
  readonly settings: FlowSettings;
  readonly counters: FlowCounters;
  readonly denials: Denials;
}

/** Whether the packet came since it found no flow, so that one helps; or since it needs more than a flow can do. */
export type Cause = 'first' | 'special';

export class ConversationPath {
  constructor(private readonly parts: ConversationPathParts) {}

  /** May the packet pass? Where it may, what it belongs to has its flows then; else it is dropped for a while. */
  mayPass(packet: PacketView, ends: PacketEnds, cause: Cause, turn: Turn): boolean {
    if (packet.ipFragOffset > 0) return this.mayFragmentPass(ends, cause, turn);
    if (isWantedError(packet)) return this.mayErrorPass(packet, ends, turn);
    const conversation = this.conversationOf(packet, ends, turn);
    if (conversation === undefined) return this.refuse(packet, ends, turn);
    this.setUp(conversation, turn);
    return true;
  }

  /** The conversation that the packet is part of, or opens. Undefined where it may not be. */
  private conversationOf(packet: PacketView, ends: PacketEnds, turn: Turn): Conversation | undefined {
    const { conversations: rules } = this.parts;
    const { conversations: memory } = turn.datapath;
    const opening = openedBy(packet, ends);
    const answered = answeredBy(packet, ends);
    // What is an answer opens nothing, even where it could: both would have the same flows.
    if (answered !== undefined && memory.has(answered, ticksOf(turn.nowMs)) && rules.isPermitted(answered)) {
      return answered;
    }
    if (opening !== undefined && rules.isPermitted(opening)) {
      if (answered !== undefined) memory.forget(answered);
      return opening;
    }
    // Without ports nobody knows an answer: whoever may open lets the other answer.
    const isOneForAll = answered !== undefined && opening !== undefined && !hasPorts(packet.ipProto);
    return isOneForAll && rules.isPermitted(answered) ? answered : undefined;
  }

  /** Both directions, the answer's first: OVS takes messages of one connection in order. */
  private setUp(conversation: Conversation, turn: Turn): void {
    const { counters, conversations } = this.parts;
    const claimed = turn.datapath.conversations.claim(conversation, ticksOf(turn.nowMs));
    if (claimed === false) counters.routesCapped += 1;
    if (claimed !== true) return;
    counters.routesInstalled += 2;
    conversations.append(turn.writer, conversation, false);
    conversations.append(turn.writer, conversation, true);
  }

  /** Later fragments carry no ports: they pass between ends that have a conversation, and are nothing without their first. */
  private mayFragmentPass(ends: PacketEnds, cause: Cause, turn: Turn): boolean {
    const { counters, conversations, settings } = this.parts;
    const { from, to, outsideAddress } = ends;
    if (!turn.datapath.conversations.hasBetween(from, to, outsideAddress, ticksOf(turn.nowMs))) {
      counters.denied += 1;
      return false;
    }
    const way = conversations.wayOf(ends, outsideAddress as Ipv4);
    if (cause === 'first' && way !== undefined) {
      this.install(ends, turn, fragmentFlow(way, settings.denyTimeoutSeconds));
    }
    return true;
  }

  /** ICMP errors pass between ends that have a conversation, where they quote a packet of the one that they go to. */
  private mayErrorPass(packet: PacketView, ends: PacketEnds, turn: Turn): boolean {
    const { from, to } = ends;
    const quote = readQuote(packet);
    const address = quote === undefined ? undefined : this.quotedOutside(quote.ipSrc, quote.ipDst, ends);
    const { conversations: memory } = turn.datapath;
    if (address !== undefined && memory.hasBetween(from, to, address, ticksOf(turn.nowMs))) return true;
    this.parts.counters.denied += 1;
    return false;
  }

  /** The outside address of what is quoted, 0 between endpoints. Undefined where it did not go from `to` to `from`. */
  private quotedOutside(source: Ipv4, destination: Ipv4, { from, to, outsideAddress }: PacketEnds): number | undefined {
    const { endpoints } = this.parts.inventory;
    // A router on the way may say it, too.
    if (from === OUTSIDE) return source === endpoints.locatorOf(to) ? destination : undefined;
    if (to === OUTSIDE) return destination === endpoints.ipOf(from) && source === outsideAddress ? source : undefined;
    const isArriving = endpoints.isElsewhere(from);
    const addressOf = (slot: number) => (isArriving ? endpoints.locatorOf(slot) : endpoints.ipOf(slot));
    return source === addressOf(to) && destination === addressOf(from) ? 0 : undefined;
  }

  private refuse(packet: PacketView, ends: PacketEnds, turn: Turn): false {
    const { counters, denials, conversations, settings } = this.parts;
    counters.denied += 1;
    denials.take(packet, ends, turn.nowMs);
    const way = conversations.wayOf(ends, ends.outsideAddress as Ipv4);
    if (way === undefined) return false;
    this.install(ends, turn, refusalFlow(way, refusedClass(packet), settings.refusalTimeoutSeconds));
    return false;
  }

  /** Installs a flow that ends by itself, as far as the budget of the port that the packet came from goes. */
  private install({ from }: PacketEnds, turn: Turn, flow: FlowMod): void {
    const { inventory, counters } = this.parts;
    const isInBudget = turn.datapath.drops.take(inventory.portNoFrom(from), turn.nowMs);
    if (isInBudget) encodeFlowMod(turn.writer, PACKET_PATH_XID, flow);
    else counters.dropsCapped += 1;
  }
}

/** Redirects and source quenches are refused, as between hosts and with the outside. */
function isWantedError({ ipProto, icmpType }: PacketView): boolean {
  return ipProto === IP_PROTO.ICMP && ICMP_ERRORS.some(([type, isWanted]) => isWanted && type === icmpType);
}

/** Packets to the same port are refused together, from whatever port. */
function refusedClass({ ipProto: protocol, l4Dst: destinationPort, icmpType }: PacketView): PacketClass {
  if (protocol === IP_PROTO.ICMP) return { protocol, icmpType };
  return hasPorts(protocol) ? { protocol, destinationPort } : { protocol };
}
