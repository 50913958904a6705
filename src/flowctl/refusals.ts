// Packets that go nowhere: counted, answered where somebody should know, and dropped in the datapath for a while, so that
// the next ones do not come here. Drops end by themselves, and are as many as their port's budget allows.

import type { Ipv4 } from '../base/addresses';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import type { PacketView } from '../packet/packet-view';
import { ICMP_UNREACHABLE } from '../packet/protocol-numbers';
import type { PacketEnds } from './conversation';
import { refusalFlow } from './conversation-flows';
import type { ConversationRules } from './conversation-rules';
import type { FlowCounters } from './counters';
import type { Turn } from './datapath-state';
import type { Denials } from './denials';
import type { Inventory } from './inventory';
import type { FlowSettings } from './model';
import { denyFlow, denyInFlow, nobodyFlow, nobodyHereFlow, noWayInFlow, noWayOutFlow } from './route-flows';
import { OUTSIDE } from './route-table';
import { PACKET_PATH_XID } from './route-templates';
import type { SlowPath } from './slow-path';

export interface RefusalParts {
  readonly inventory: Inventory;
  readonly conversations: ConversationRules;
  readonly settings: FlowSettings;
  readonly counters: FlowCounters;
  readonly denials: Denials;
  readonly slow: SlowPath;
}

export class Refusals {
  constructor(private readonly parts: RefusalParts) {}

  /** Between endpoints that may not talk at all. */
  deny(packet: PacketView, from: number, to: number, turn: Turn): void {
    const { inventory, settings, counters, denials } = this.parts;
    counters.denied += 1;
    denials.take(packet, { from, to }, turn.nowMs);
    const [source, destination] = [inventory.rowOf(from), inventory.rowOf(to)];
    const portNo = inventory.portNoFrom(from);
    this.drop(portNo, turn, () =>
      inventory.endpoints.isElsewhere(from)
        ? denyInFlow(source, destination, portNo, settings.denyTimeoutSeconds)
        : denyFlow(source, destination, settings.denyTimeoutSeconds),
    );
  }

  /** From an endpoint to an address in a pool that nobody has, or to its gateway. */
  nobody(packet: PacketView, from: number, turn: Turn): void {
    const { inventory, settings, slow } = this.parts;
    const { endpoints } = inventory;
    this.drop(endpoints.portNoOf(from), turn, () =>
      nobodyFlow(inventory.rowOf(from), packet.ipDst, settings.negativeTimeoutSeconds),
    );
    const gateway = inventory.network(endpoints.networkKeyOf(from))?.gateway;
    const code = packet.ipDst === gateway ? ICMP_UNREACHABLE.PORT : ICMP_UNREACHABLE.HOST;
    slow.unreachable(packet, from, code, turn);
  }

  /** From another host to a locator that nobody has here. */
  nobodyHere(packet: PacketView, portNo: number, turn: Turn): void {
    const { counters, settings } = this.parts;
    counters.noWay += 1;
    this.drop(portNo, turn, () => nobodyHereFlow(portNo, packet.ipDst, settings.negativeTimeoutSeconds));
  }

  /** From an endpoint of an internal network to the outside. */
  noWayOut(packet: PacketView, from: number, turn: Turn): void {
    const { inventory, counters, settings, slow } = this.parts;
    counters.noWay += 1;
    this.drop(inventory.endpoints.portNoOf(from), turn, () =>
      noWayOutFlow(inventory.rowOf(from), settings.negativeTimeoutSeconds),
    );
    slow.unreachable(packet, from, ICMP_UNREACHABLE.NET, turn);
  }

  /** From outside to a locator that nobody has, or whose endpoint is not to be reached. */
  noWayIn(packet: PacketView, turn: Turn): void {
    const portNo = this.parts.inventory.host.hostPort?.portNo ?? 0;
    const { counters, settings } = this.parts;
    counters.noWay += 1;
    this.drop(portNo, turn, () => noWayInFlow(portNo, packet.ipDst, settings.negativeTimeoutSeconds));
  }

  /**
   * Between an endpoint and the outside, where the policy lets nothing pass either way. One address at a time: names are
   * answered behind the same port.
   */
  denyOutside(packet: PacketView, ends: PacketEnds, turn: Turn): void {
    const { inventory, conversations, counters, denials, settings, slow } = this.parts;
    counters.denied += 1;
    denials.take(packet, ends, turn.nowMs);
    const way = conversations.wayOf(ends, ends.outsideAddress as Ipv4);
    if (way === undefined) return;
    this.drop(inventory.portNoFrom(ends.from), turn, () => refusalFlow(way, undefined, settings.denyTimeoutSeconds));
    if (ends.to === OUTSIDE) slow.unreachable(packet, ends.from, ICMP_UNREACHABLE.NET_PROHIBITED, turn);
  }

  private drop(portNo: number, turn: Turn, flow: () => FlowMod): void {
    if (turn.datapath.drops.take(portNo, turn.nowMs)) encodeFlowMod(turn.writer, PACKET_PATH_XID, flow());
    else this.parts.counters.dropsCapped += 1;
  }
}
