// What to send where the policy knows some endpoints as something else than before: their routes are judged again, what was
// denied of them is asked anew, and nothing else is touched.

import { OFPTT_ALL } from '../openflow/constants';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import type { Conversation } from './conversation';
import { withoutFlow } from './conversation-flows';
import type { ConversationRules } from './conversation-rules';
import type { DatapathState } from './datapath-state';
import type { EndpointIndex } from './endpoint-index';
import { KIND, ofKindAt, TABLE } from './pipeline';
import { forgetDrops } from './route-flows';
import type { RouteRules, RouteSlots } from './route-rules';

const EXACT = 0xffff_ffff_ffff_ffffn;

/** Forgets the routes of these slots that may not stay, and returns them. */
export function takeStaleRoutes(
  datapath: DatapathState,
  slots: ReadonlySet<number>,
  rules: RouteRules,
): readonly RouteSlots[] {
  const stale: RouteSlots[] = [];
  datapath.routes.forEach((from, to) => {
    if ((slots.has(from) || slots.has(to)) && !rules.mayStay({ from, to })) stale.push({ from, to });
  });
  for (const { from, to } of stale) datapath.routes.delete(from, to);
  return stale;
}

/** Appends the end of routes. */
export function appendRouteRemoval(
  writer: MessageWriter,
  xid: number,
  routes: readonly RouteSlots[],
  rules: RouteRules,
): void {
  for (const route of routes) {
    encodeFlowMod(writer, xid, deletion({ cookie: rules.cookieOf(route), cookieMask: EXACT }));
  }
}

/** Forgets the conversations of these slots that may not be any more, and returns them. */
export function takeStaleConversations(
  datapath: DatapathState,
  slots: ReadonlySet<number>,
  rules: ConversationRules,
): readonly Conversation[] {
  return datapath.conversations.take((conversation) => {
    const { opener, answerer } = conversation;
    return (slots.has(opener) || slots.has(answerer)) && !rules.isPermitted(conversation);
  });
}

/** Appends the end of conversations and of what passed because of them, whether their flows are there or not. */
export function appendConversationRemoval(
  writer: MessageWriter,
  xid: number,
  conversations: readonly Conversation[],
  rules: ConversationRules,
): void {
  for (const conversation of conversations) {
    for (const isOpening of [false, true]) {
      for (const flow of rules.flowsWith(conversation, isOpening)) encodeFlowMod(writer, xid, withoutFlow(flow));
    }
  }
}

/** Appends the end of the drops of what endpoints were denied, and others with them. */
export function appendForgetDenials(
  writer: MessageWriter,
  xid: number,
  slots: Iterable<number>,
  endpoints: EndpointIndex,
): void {
  for (const slot of slots) {
    const place = endpoints.portNoOf(slot);
    encodeFlowMod(writer, xid, deletion(ofKindAt(KIND.DENY, { from: place })));
    encodeFlowMod(writer, xid, deletion(ofKindAt(KIND.DENY, { to: place })));
    // Those that had no way outside at all.
    encodeFlowMod(writer, xid, { ...deletion(ofKindAt(KIND.NEGATIVE, { from: place })), table: TABLE.OUTSIDE });
    encodeFlowMod(writer, xid, forgetDrops(KIND.NEGATIVE, endpoints.locatorOf(slot), TABLE.OUTSIDE));
  }
}

function deletion(by: { cookie: bigint; cookieMask: bigint }): FlowMod {
  return { type: 'flowMod', command: 'delete', table: OFPTT_ALL, priority: 0, match: {}, ...by };
}
