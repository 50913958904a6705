// Which routes there may be, and what they look like: asked about routes that a datapath lists, ends or should get back.

import type { MessageWriter } from '../openflow/message-writer';
import { EndpointView, NO_SLOT } from './endpoint-index';
import type { Inventory } from './inventory';
import { KIND, type Cookie, type Kind } from './pipeline';
import { OUTSIDE } from './route-table';
import type { RouteWriter } from './route-writer';

/** A route by the slots of its ends, of which one may be OUTSIDE. */
export interface RouteSlots {
  readonly from: number;
  readonly to: number;
}

export class RouteRules {
  private readonly source: EndpointView;
  private readonly destination: EndpointView;

  constructor(
    private readonly inventory: Inventory,
    private readonly routeWriter: RouteWriter,
  ) {
    this.source = new EndpointView(inventory.endpoints);
    this.destination = new EndpointView(inventory.endpoints);
  }

  /** The ends that a route's cookie names on a datapath. Undefined for other flows, and where an end is gone. */
  routeOf(datapathNo: number, cookie: Cookie): RouteSlots | undefined {
    const { endpoints, host } = this.inventory;
    const { kind } = cookie;
    if (kind !== KIND.PAIR && kind !== KIND.EGRESS && kind !== KIND.REMOTE) return undefined;
    const hostPortNo = kind === KIND.EGRESS ? host.hostPort?.portNo : undefined;
    const slotOf = (place: number) => (place === hostPortNo ? OUTSIDE : endpoints.slotOfPlace(datapathNo, place));
    const from = slotOf(cookie.a);
    const to = slotOf(cookie.b);
    if (from === NO_SLOT || to === NO_SLOT) return undefined;
    return this.kindOf(from, to) === kind ? { from, to } : undefined;
  }

  /** The kind of a route between two slots. */
  private kindOf(from: number, to: number): Kind {
    if (from === OUTSIDE || to === OUTSIDE) return KIND.EGRESS;
    const { endpoints } = this.inventory;
    return endpoints.isElsewhere(from) || endpoints.isElsewhere(to) ? KIND.REMOTE : KIND.PAIR;
  }

  /** Is the route one that could be made now? */
  mayStay({ from, to }: RouteSlots): boolean {
    const { endpoints, policy } = this.inventory;
    if (from === OUTSIDE || to === OUTSIDE) return this.hasWayOutside(from === OUTSIDE ? to : from);
    if (endpoints.tenantOf(from) !== endpoints.tenantOf(to)) return false;
    if (this.kindOf(from, to) === KIND.REMOTE && !this.routeWriter.remote.hasFabric) return false;
    return (
      policy.allows(this.source.at(from), this.destination.at(to)) ||
      policy.allows(this.source.at(to), this.destination.at(from))
    );
  }

  /** May the endpoint talk to what is behind the host port? */
  hasWayOutside(slot: number): boolean {
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
