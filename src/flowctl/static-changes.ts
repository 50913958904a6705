// What to send when a thing comes or goes while the datapath is connected. Additions and removals are appended whole, so
// that they reach the datapath in one write and nothing comes between their messages.

import type { Ipv4 } from '../base/addresses';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import { OFPTT_ALL } from '../openflow/constants';
import { formatFlow } from '../openflow/flow-text';
import type { MessageWriter } from '../openflow/message-writer';
import { encodeMeterMod } from '../openflow/meter';
import type { EndpointIndex } from './endpoint-index';
import { appendFreshMeter, meterOf } from './meter-plan';
import type { FlowSettings } from './model';
import { fromPlace, KIND, ofKind, TABLE, toPlace, type Kind } from './pipeline';
import { forgetDrops } from './route-flows';
import { ENDPOINT_FLOWS, type StaticWriter } from './static-writer';

/** Appends an endpoint's meter and flows, and takes away what said that its addresses are nobody's. */
export function appendEndpoint(
  writer: MessageWriter,
  xid: number,
  slot: number,
  tools: { endpoints: EndpointIndex; staticWriter: StaticWriter; settings: FlowSettings },
): void {
  const { endpoints, staticWriter, settings } = tools;
  appendFreshMeter(writer, xid, endpoints.portNoOf(slot), settings);
  for (const which of ENDPOINT_FLOWS) staticWriter.endpointFlow(writer, xid, slot, which);
  encodeFlowMod(writer, xid, forgetDrops(KIND.NEGATIVE, endpoints.ipOf(slot), TABLE.ROUTE));
  encodeFlowMod(writer, xid, forgetDrops(KIND.NEGATIVE, endpoints.locatorOf(slot), TABLE.OUTSIDE));
  encodeFlowMod(writer, xid, forgetDrops(KIND.NEGATIVE, endpoints.locatorOf(slot), TABLE.FABRIC_IN));
}

/** Appends the end of everything that has to do with a port: its flows, its routes both ways, its meter. */
export function appendPortRemoval(writer: MessageWriter, xid: number, portNo: number, settings: FlowSettings): void {
  appendPlaceRemoval(writer, xid, portNo);
  encodeMeterMod(writer, xid, meterOf(portNo, 'delete', settings));
}

/** Appends the end of every flow from and to a place. */
export function appendPlaceRemoval(writer: MessageWriter, xid: number, place: number): void {
  encodeFlowMod(writer, xid, deletion(fromPlace(place)));
  encodeFlowMod(writer, xid, deletion(toPlace(place)));
}

/** Appends the end of the drops towards an address and its locator: somebody new has them. */
export function appendForgetDrops(writer: MessageWriter, xid: number, address: Ipv4, locator: Ipv4): void {
  for (const kind of [KIND.NEGATIVE, KIND.DENY]) {
    encodeFlowMod(writer, xid, forgetDrops(kind, address, TABLE.ROUTE));
    encodeFlowMod(writer, xid, forgetDrops(kind, locator, TABLE.FABRIC_IN));
  }
}

/** Appends the end of every flow of a kind. */
export function appendKindRemoval(writer: MessageWriter, xid: number, kind: Kind): void {
  encodeFlowMod(writer, xid, deletion(ofKind(kind)));
}

/** No way outside any more, or one that was not there before: what was decided about it is decided anew. */
export function appendOutsideReset(writer: MessageWriter, xid: number): void {
  appendKindRemoval(writer, xid, KIND.EGRESS);
  for (const kind of [KIND.OPENING, KIND.ANSWER, KIND.DENY, KIND.NEGATIVE]) {
    encodeFlowMod(writer, xid, { ...deletion(ofKind(kind)), table: TABLE.OUTSIDE });
  }
}

function deletion(by: { cookie: bigint; cookieMask: bigint }): FlowMod {
  return { type: 'flowMod', command: 'delete', table: OFPTT_ALL, priority: 0, match: {}, ...by };
}

/** Appends what leads from some flows to others: the new ones first, then those that are no more. */
export function appendReplacement(
  writer: MessageWriter,
  xid: number,
  before: readonly FlowMod[],
  after: readonly FlowMod[],
): void {
  const kept = new Set(after.map(keyOf));
  const same = new Set(before.map(formatFlow));
  for (const flow of after) if (!same.has(formatFlow(flow))) encodeFlowMod(writer, xid, flow);
  for (const flow of before) {
    if (kept.has(keyOf(flow))) continue;
    const { table, priority, match, cookie = 0n } = flow;
    const cookieMask = 0xffff_ffff_ffff_ffffn;
    const command = 'delete_strict';
    encodeFlowMod(writer, xid, { type: 'flowMod', command, table, priority, match, cookie, cookieMask });
  }
}

/** What makes a flow this one and no other: adding another with the same replaces it. */
function keyOf({ table, priority, match }: FlowMod): string {
  return formatFlow({ command: 'add', table, priority, match });
}
