// What the controller believes of one datapath, and what it needs to answer it. It outlives connections: after a restart
// of ovs-vswitchd the routes in it are put back.

import type { MessageWriter } from '../openflow/message-writer';
import type { FlowCounters } from './counters';
import { ConversationMemory } from './conversation-memory';
import { DropBudget } from './drop-budget';
import type { FlowSettings } from './model';
import { RouteTable } from './route-table';

/** Conversations that an endpoint may have for each peer that it may have. */
const CONVERSATIONS_PER_ROUTE = 4;

export class DatapathState {
  readonly routes: RouteTable;
  /** Where the policy looks at ports. */
  readonly conversations: ConversationMemory;
  readonly drops: DropBudget;
  /** The datapath does not read what it is sent: packet-outs are given up before flow mods are. */
  congested = false;

  /** `number` as the endpoint index has it. */
  constructor(
    readonly number: number,
    settings: FlowSettings,
  ) {
    const limits = {
      perEndpoint: settings.maxRoutesPerEndpoint,
      conversationsPerEndpoint: settings.maxRoutesPerEndpoint * CONVERSATIONS_PER_ROUTE,
      total: settings.maxRoutesPerDatapath,
    };
    this.routes = new RouteTable(limits);
    this.conversations = new ConversationMemory(this.routes, limits);
    const { denyTimeoutSeconds, refusalTimeoutSeconds, negativeTimeoutSeconds } = settings;
    const longest = Math.max(denyTimeoutSeconds, refusalTimeoutSeconds, negativeTimeoutSeconds);
    this.drops = new DropBudget(settings.maxRoutesPerEndpoint, longest);
  }

  /** Forgets every route from and to a slot. True where there was one, or might be. */
  deleteSlot(slot: number): boolean {
    const hadConversation = this.conversations.deleteSlot(slot);
    return this.routes.deleteSlot(slot) || hadConversation;
  }
}

/** An event's surroundings: where it came from, when, and where answers are written. One for each connection, reused. */
export interface Turn {
  readonly datapath: DatapathState;
  readonly writer: MessageWriter;
  nowMs: number;
}

/** Counts a packet-out, as one that is sent or as one that is given up. */
export function maySendPacket(turn: Turn, counters: FlowCounters): boolean {
  if (turn.datapath.congested) {
    counters.packetOutsDropped += 1;
    return false;
  }
  counters.packetOuts += 1;
  return true;
}
