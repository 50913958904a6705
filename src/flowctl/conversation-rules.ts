// Which conversations there may be, and what their flows are: asked for packets, and about flows that a datapath lists or
// ends. Between two ends that the policy lets do whatever they like, route-rules.ts has the word.

import type { Ipv4 } from '../base/addresses';
import type { FlowMod } from '../openflow/flow-mod';
import type { Match } from '../openflow/match';
import type { MessageWriter } from '../openflow/message-writer';
import { hasPorts, type Conversation } from './conversation';
import { conversationFlow, fragmentFlow, readOutsideAddress, readPacketClass, type Way } from './conversation-flows';
import type { Inventory } from './inventory';
import { KIND, type Cookie } from './pipeline';
import { farContextOf, inwardFlow, outwardFlow, pairFlow, remoteInFlow, remoteOutFlow } from './route-flows';
import type { RouteRules, RouteSlots } from './route-rules';
import { OUTSIDE } from './route-table';
import type { RouteWriter } from './route-writer';

/** A direction of a conversation. */
export interface ConversationSide {
  readonly conversation: Conversation;
  readonly isOpening: boolean;
}

export class ConversationRules {
  constructor(
    private readonly inventory: Inventory,
    private readonly routes: RouteRules,
    private readonly routeWriter: RouteWriter,
  ) {}

  /** May this conversation be, as things are now? */
  isPermitted(conversation: Conversation): boolean {
    const { opener, answerer, protocol, answererPort } = conversation;
    // A flow for port 0 would take later fragments, which have no ports.
    if (hasPorts(protocol) && answererPort === 0) return false;
    if (!this.routes.hasWay(opener, answerer)) return false;
    if (opener === OUTSIDE || answerer === OUTSIDE) return this.isPermittedOutside(conversation);
    const { endpoints, policy } = this.inventory;
    const [source, destination] = [endpoints.subjectOf(opener), endpoints.subjectOf(answerer)];
    const judgement = policy.judge(source, destination);
    if (judgement !== 'depends') return judgement === 'allow';
    return policy.permits(source, destination, protocol, answererPort);
  }

  private isPermittedOutside(conversation: Conversation): boolean {
    const { opener, answerer, outsideAddress, protocol, answererPort } = conversation;
    const { endpoints, policy } = this.inventory;
    const direction = opener === OUTSIDE ? 'in' : 'out';
    const subject = endpoints.subjectOf(opener === OUTSIDE ? answerer : opener);
    const judgement = policy.judgeOutside(subject, direction);
    if (judgement !== 'depends') return judgement === 'allow';
    return policy.permitsOutside(subject, direction, outsideAddress as Ipv4, protocol, answererPort);
  }

  /** Appends the flow mod of one direction. Its xid is PACKET_PATH_XID. */
  append(writer: MessageWriter, conversation: Conversation, isOpening: boolean): void {
    this.routeWriter.conversations.append(writer, conversation, isOpening);
  }

  /** The flow of one direction, and that of fragments which there may be with it: others that need it ask again. */
  flowsWith(conversation: Conversation, isOpening: boolean): FlowMod[] {
    const { opener, answerer, outsideAddress } = conversation;
    const ends = isOpening ? { from: opener, to: answerer } : { from: answerer, to: opener };
    const way = this.wayOf(ends, outsideAddress as Ipv4);
    return way === undefined ? [] : [conversationFlow(way, conversation, isOpening), fragmentFlow(way, 0)];
  }

  /** What all flows from one end to another have in common. */
  wayOf({ from, to }: RouteSlots, outsideAddress: Ipv4): Way | undefined {
    const route = this.routeFlow(from, to);
    if (route === undefined) return undefined;
    if (from === OUTSIDE) return { route, outside: { ipv4Src: outsideAddress } };
    return { route, outside: to === OUTSIDE ? { ipv4Dst: outsideAddress } : {} };
  }

  private routeFlow(from: number, to: number): FlowMod | undefined {
    const { inventory, routeWriter } = this;
    const { endpoints, host } = inventory;
    const { routerMac, hostPort } = host;
    const { idleTimeoutSeconds } = routeWriter;
    const context = { routerMac, idleTimeoutSeconds };
    if (to === OUTSIDE) return hostPort && outwardFlow(inventory.rowOf(from), hostPort, context);
    if (from === OUTSIDE) return hostPort && inwardFlow(inventory.rowOf(to), hostPort, context);
    const [source, destination] = [inventory.rowOf(from), inventory.rowOf(to)];
    const isOut = endpoints.isElsewhere(to);
    if (isOut || endpoints.isElsewhere(from)) {
      const far = farContextOf(host, idleTimeoutSeconds, endpoints.isTunnelled(isOut ? to : from));
      return far && (isOut ? remoteOutFlow : remoteInFlow)(source, destination, far);
    }
    return pairFlow(source, destination, context);
  }

  /** What a flow with this cookie and match is part of. Undefined for others, and where an end is gone. */
  read(datapathNo: number, cookie: Cookie, match: Match): ConversationSide | undefined {
    const packets = readPacketClass(cookie.kind, match);
    const ends = packets && this.routes.endsOf(datapathNo, cookie);
    if (packets === undefined || ends === undefined) return undefined;
    const isOpening = cookie.kind === KIND.OPENING;
    const { from, to } = ends;
    const isOutside = from === OUTSIDE || to === OUTSIDE;
    const outsideAddress = isOutside ? (readOutsideAddress(match, from === OUTSIDE) ?? 0) : 0;
    const { protocol, sourcePort = 0, destinationPort = 0 } = packets;
    const [opener, answerer] = isOpening ? [from, to] : [to, from];
    const [openerPort, answererPort] = isOpening ? [sourcePort, destinationPort] : [destinationPort, sourcePort];
    return { conversation: { opener, answerer, outsideAddress, protocol, openerPort, answererPort }, isOpening };
  }
}
