// The end of a flow, as the datapath tells it. A hint: what is missed here is found when flows are listed.

import { OFPRR } from '../openflow/constants';
import type { FlowRemoved } from '../openflow/flow-removed';
import type { ConversationRules } from './conversation-rules';
import type { DatapathState } from './datapath-state';
import { readCookie } from './pipeline';
import type { RouteRules } from './route-rules';
import { ticksOf } from './route-table';

/** Remembers the end of a route. True where that was news. */
export function takeFlowEnd(
  removed: FlowRemoved,
  datapath: DatapathState,
  rules: { readonly routes: RouteRules; readonly conversations: ConversationRules },
  nowMs: number,
): boolean {
  const cookie = readCookie(removed.cookie);
  // What was deleted was forgotten by whoever deleted it; this word may come when the pair has its next route already.
  if (removed.reason === OFPRR.DELETE || cookie === undefined) return false;
  // A route that was installed after this one began lives on. One tick for each side's rounding.
  const durationMs = removed.durationSeconds * 1000 + removed.durationNanoseconds / 1e6;
  const installed = ticksOf(Math.max(0, nowMs - durationMs)) + 2;
  const route = rules.routes.routeOf(datapath.number, cookie);
  if (route !== undefined) return datapath.routes.delete(route.from, route.to, installed);
  const side = rules.conversations.read(datapath.number, cookie, removed.match);
  if (side === undefined) return false;
  return datapath.conversations.ended(side.conversation, side.isOpening, installed, ticksOf(nowMs));
}
