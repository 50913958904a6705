// Which static flow belongs to a cookie, now: asked for each flow that a datapath lists, so that what is right stays, and
// gone through for those that it lacks. Flows are appended as flow mods; only those that exist a few times are kept.

import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import { NO_SLOT } from './endpoint-index';
import type { Inventory } from './inventory';
import { KIND, readCookie, VARIANT, type Cookie } from './pipeline';
import { fabricFlows } from './fabric-flows';
import { baseFlows, hostFlows, networkFlows } from './static-flows';
import { ENDPOINT_FLOWS, type EndpointFlow, type StaticWriter } from './static-writer';

/** The cookie without what all of ours have in common: a number, exact, and so a key. */
export function keyOfCookie(cookie: Cookie): number {
  return (cookie.kind * 0x1000000 + cookie.a) * 0x1000000 + cookie.b;
}

export class DesiredFlows {
  /** Flows of the pipeline, the host port and the networks, as they are when this is made. */
  private readonly few = new Map<number, FlowMod>();

  constructor(
    private readonly inventory: Inventory,
    private readonly datapathNo: number,
    private readonly staticWriter: StaticWriter,
  ) {
    const { host } = inventory;
    const networks = [...inventory.allNetworks()].flatMap((network) => networkFlows(network, host));
    for (const flow of [
      ...baseFlows(host),
      ...hostFlows(host),
      ...fabricFlows(host),
      ...networks,
      ...inventory.relays.flows(host),
    ]) {
      const cookie = readCookie(flow.cookie ?? 0n);
      if (cookie !== undefined) this.few.set(keyOfCookie(cookie), flow);
    }
  }

  /** Flows that exist a few times, by `keyOfCookie`; `appendFew` appends one. */
  fewKeys(): Iterable<number> {
    return this.few.keys();
  }

  appendFew(writer: MessageWriter, xid: number, key: number): boolean {
    const flow = this.few.get(key);
    if (flow !== undefined) encodeFlowMod(writer, xid, flow);
    return flow !== undefined;
  }

  appendEndpointFlow(writer: MessageWriter, xid: number, slot: number, which: EndpointFlow): void {
    this.staticWriter.endpointFlow(writer, xid, slot, which);
  }

  /** Appends the flow mod of a static flow. False: no flow is wanted under this cookie. */
  append(writer: MessageWriter, xid: number, cookie: Cookie): boolean {
    if (cookie.kind !== KIND.ENDPOINT) return this.appendFew(writer, xid, keyOfCookie(cookie));
    const slot = this.slotOf(cookie.a);
    const which = ENDPOINT_FLOWS.find((flow) => (VARIANT | flow) === cookie.b);
    if (slot === NO_SLOT || which === undefined) return false;
    this.appendEndpointFlow(writer, xid, slot, which);
    return true;
  }

  /** Is this port an endpoint's, the host port or the fabric port? */
  hasPort(portNo: number): boolean {
    return this.slotOf(portNo) !== NO_SLOT || this.inventory.ownPorts().includes(portNo);
  }

  private slotOf(portNo: number): number {
    return this.inventory.endpoints.slotOfPort(this.datapathNo, portNo);
  }
}
