// What the controller believes of one datapath, and what it needs to answer it. It outlives connections: after a restart
// of ovs-vswitchd the routes in it are put back.

import type { MessageWriter } from '../openflow/message-writer';
import type { FlowCounters } from './counters';
import { DropBudget } from './drop-budget';
import type { FlowSettings } from './model';
import { RouteTable } from './route-table';

export class DatapathState {
  readonly routes: RouteTable;
  readonly drops: DropBudget;
  /** The datapath does not read what it is sent: packet-outs are given up before flow mods are. */
  congested = false;

  /** `number` as the endpoint index has it. */
  constructor(
    readonly number: number,
    settings: FlowSettings,
  ) {
    this.routes = new RouteTable({
      perEndpoint: settings.maxRoutesPerEndpoint,
      total: settings.maxRoutesPerDatapath,
    });
    const longest = Math.max(settings.denyTimeoutSeconds, settings.negativeTimeoutSeconds);
    this.drops = new DropBudget(settings.maxRoutesPerEndpoint, longest);
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
