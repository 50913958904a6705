// Which routes there may be, and what they look like: asked about routes that a datapath lists, ends or should get back.

import type { MessageWriter } from '../openflow/message-writer';
import { NO_SLOT } from './endpoint-index';
import type { Inventory } from './inventory';
import type { Judgement } from './model';
import { cookieOf, KIND, type Cookie, type Kind } from './pipeline';
import { OUTSIDE } from './route-table';
import type { RouteWriter } from './route-writer';

/** A route by the slots of its ends, of which one may be OUTSIDE. */
export interface RouteSlots {
  readonly from: number;
  readonly to: number;
}

/** How packets between two ends go: all on one route, each conversation on a route of its own, or none at all. */
export type Passage = 'route' | 'conversations' | 'refused';

/** One route serves both ends alike, so both may open whatever they like. */
function passageOf(there: Judgement, back: Judgement): Passage {
  if (there === 'allow' && back === 'allow') return 'route';
  return there === 'deny' && back === 'deny' ? 'refused' : 'conversations';
}

export class RouteRules {
  constructor(
    private readonly inventory: Inventory,
    private readonly routeWriter: RouteWriter,
  ) {}

  /** The ends that a route's cookie names on a datapath. Undefined for other flows, and where an end is gone. */
  routeOf(datapathNo: number, cookie: Cookie): RouteSlots | undefined {
    const { kind } = cookie;
    if (kind !== KIND.PAIR && kind !== KIND.EGRESS && kind !== KIND.REMOTE) return undefined;
    const ends = this.endsOf(datapathNo, cookie);
    return ends !== undefined && this.kindOf(ends.from, ends.to) === kind ? ends : undefined;
  }

  /** The ends that any cookie with two places names. Undefined where one is gone. */
  endsOf(datapathNo: number, cookie: Cookie): RouteSlots | undefined {
    const { endpoints, host } = this.inventory;
    const hostPortNo = host.hostPort?.portNo;
    const slotOf = (place: number) => (place === hostPortNo ? OUTSIDE : endpoints.slotOfPlace(datapathNo, place));
    const from = slotOf(cookie.a);
    const to = slotOf(cookie.b);
    return from === NO_SLOT || to === NO_SLOT || from === to ? undefined : { from, to };
  }

  /** The kind of a route between two slots. */
  private kindOf(from: number, to: number): Kind {
    if (from === OUTSIDE || to === OUTSIDE) return KIND.EGRESS;
    const { endpoints } = this.inventory;
    return endpoints.isElsewhere(from) || endpoints.isElsewhere(to) ? KIND.REMOTE : KIND.PAIR;
  }

  /** The cookie of a route between two slots. */
  cookieOf({ from, to }: RouteSlots): bigint {
    return cookieOf(this.kindOf(from, to), this.placeOf(from), this.placeOf(to));
  }

  private placeOf(slot: number): number {
    const { endpoints, host } = this.inventory;
    return slot === OUTSIDE ? (host.hostPort?.portNo ?? 0) : endpoints.portNoOf(slot);
  }

  /** How packets between two endpoints of one tenant go. Asked on the packet path. */
  passage(a: number, b: number): Passage {
    const { endpoints, policy } = this.inventory;
    if (a === b) return 'refused';
    const [subject, other] = [endpoints.subjectOf(a), endpoints.subjectOf(b)];
    return passageOf(policy.judge(subject, other), policy.judge(other, subject));
  }

  /** How packets between an endpoint and what is behind the host port go. */
  passageOutside(slot: number): Passage {
    const { endpoints, policy } = this.inventory;
    if (!this.hasWayOutside(slot)) return 'refused';
    const subject = endpoints.subjectOf(slot);
    return passageOf(policy.judgeOutside(subject, 'out'), policy.judgeOutside(subject, 'in'));
  }

  /** Is the route one that could be made now? */
  mayStay({ from, to }: RouteSlots): boolean {
    if (!this.hasWay(from, to)) return false;
    if (from === OUTSIDE || to === OUTSIDE) return this.passageOutside(from === OUTSIDE ? to : from) === 'route';
    return this.passage(from, to) === 'route';
  }

  /** Is there a way between the two, whatever the policy says? */
  hasWay(from: number, to: number): boolean {
    const { endpoints } = this.inventory;
    if (from === OUTSIDE || to === OUTSIDE) return this.hasWayOutside(from === OUTSIDE ? to : from);
    if (from === to || endpoints.tenantOf(from) !== endpoints.tenantOf(to)) return false;
    return (
      this.kindOf(from, to) === KIND.PAIR || this.routeWriter.remote.hasWayTo(endpoints.isElsewhere(to) ? to : from)
    );
  }

  /** Is there a way to what is behind the host port, whatever the policy says? */
  private hasWayOutside(slot: number): boolean {
    const { inventory, routeWriter } = this;
    return routeWriter.hasOutside && !inventory.isInternal(inventory.endpoints.networkKeyOf(slot));
  }

  /** Appends the route's flow mod. Its xid is PACKET_PATH_XID. */
  append(writer: MessageWriter, { from, to }: RouteSlots): void {
    const { routeWriter } = this;
    const { endpoints } = this.inventory;
    if (to === OUTSIDE) routeWriter.outwardFlow(writer, from);
    else if (from === OUTSIDE) routeWriter.inwardFlow(writer, to);
    else if (endpoints.isElsewhere(to)) routeWriter.remote.outFlow(writer, from, to);
    else if (endpoints.isElsewhere(from)) routeWriter.remote.inFlow(writer, from, to);
    else routeWriter.pairFlow(writer, from, to);
  }
}
