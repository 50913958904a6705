// Brings a datapath from what it has to what it should have. Each flow of ours that it lists is held against the one
// that belongs to its cookie: what is right stays untouched, what is missing or changed is added, what is too much is
// deleted; in bundles, adds before deletes, so that nothing that is alive is away for a moment. Pure: the session feeds
// and sends. Flows that are not ours are never listed.

import { MessageWriter } from '../openflow/message-writer';
import { decodeMatch } from '../openflow/match';
import { BundleWriter } from './bundle-writer';
import type { ConversationRules, ConversationSide } from './conversation-rules';
import type { DatapathState } from './datapath-state';
import { keyOfCookie, type DesiredFlows } from './desired-flows';
import type { EndpointIndex } from './endpoint-index';
import {
  appendDelete,
  compareListed,
  copyListed,
  listedAgeMs,
  listedCookieHigh,
  listedCookieLow,
  LISTED_MATCH,
  type ListedFlow,
} from './flow-listing';
import { ABSENT, PairMap } from './pair-map';
import { isOfConversation, KIND, PORT_FLOW, readCookieWords, VARIANT, type Cookie } from './pipeline';
import type { RouteRules, RouteSlots } from './route-rules';
import { ticksOf } from './route-table';
import { ENDPOINT_FLOWS } from './static-writer';

type Append = () => void;

/** Whose flows have a way to the controller. */
const PORT_KINDS: readonly number[] = [KIND.ENDPOINT, KIND.HOST, KIND.FABRIC];

/** What a datapath should have. */
export interface Desired {
  readonly endpoints: EndpointIndex;
  readonly datapath: DatapathState;
  readonly flows: DesiredFlows;
  readonly routes: RouteRules;
  readonly conversations: ConversationRules;
}

export interface ResyncOptions {
  /** The xid of everything that it sends, so that errors find their way back. */
  readonly xid: number;
  /** False: flow mods one by one, where a bundle was refused. */
  readonly atomic: boolean;
  readonly nowMs: number;
}

export class Resync {
  private readonly scratch = new MessageWriter(1);
  private readonly surplus: ListedFlow[] = [];
  private readonly fewSeen = new Set<number>();
  /** Bit n: flow n of the endpoint at this slot is there. */
  private readonly endpointSeen: Uint8Array;
  private readonly routesSeen = new PairMap();
  /** Routes that should be there: those remembered, and those found with other actions than they should have. */
  private readonly routes: RouteSlots[] = [];
  /** Flows of conversations with other actions than they should have. */
  private readonly outdated: ConversationSide[] = [];
  private changes = 0;

  constructor(
    private readonly desired: Desired,
    private readonly options: ResyncOptions,
  ) {
    this.endpointSeen = new Uint8Array(desired.endpoints.slotLimit);
    desired.datapath.routes.forEach((from, to) => this.routes.push({ from, to }));
    desired.datapath.conversations.beginListing();
  }

  /** Flow mods that the plan had, so far. */
  get repaired(): number {
    return this.changes;
  }

  /** Ports whose way to the controller was surplus and is nobody's now: their meters go, too. */
  portsGone(): number[] {
    return this.surplus
      .map((flow) => readCookieWords(flow.cookieHigh, flow.cookieLow))
      .filter((cookie) => cookie !== undefined)
      .filter(({ kind, b }) => PORT_KINDS.includes(kind) && b === (VARIANT | PORT_FLOW.PUNT))
      .map(({ a }) => a)
      .filter((portNo) => !this.desired.flows.hasPort(portNo));
  }

  /** Takes one struct ofp_flow_stats of `length` bytes at `at`, which is whole, of a flow that is ours. */
  takeFlow(buffer: Buffer, at: number, length: number): void {
    const cookie = readCookieWords(listedCookieHigh(buffer, at), listedCookieLow(buffer, at));
    if (cookie !== undefined && this.keep(cookie, buffer, at, length)) return;
    const listed = copyListed(buffer, at, length);
    if (listed !== undefined) this.surplus.push(listed);
  }

  /** False: no such flow is wanted. */
  private keep(cookie: Cookie, buffer: Buffer, at: number, length: number): boolean {
    const { scratch, desired } = this;
    scratch.discard(0);
    if (isOfConversation(cookie.kind)) return this.keepConversation(cookie, buffer, at, length);
    const route = desired.routes.routeOf(desired.datapath.number, cookie);
    if (route !== undefined && !desired.routes.mayStay(route)) return false;
    if (route !== undefined) desired.routes.append(scratch, route);
    else if (!desired.flows.append(scratch, 0, cookie)) return false;
    const flowMod = { bytes: scratch.bytes, at: 0, length: scratch.position };
    const comparison = compareListed({ buffer, at, length }, flowMod);
    if (comparison === 'other') return false;
    if (route !== undefined) this.adopt(route, listedAgeMs(buffer, at), comparison === 'same');
    else if (comparison === 'same') this.markStatic(cookie);
    return true;
  }

  /**
   * Conversations are learned from what is listed, and not put back: their next packets do that. Flows of fragments are
   * not kept, as drops are not.
   */
  private keepConversation(cookie: Cookie, buffer: Buffer, at: number, length: number): boolean {
    const { scratch, desired, options } = this;
    const { datapath, conversations } = desired;
    const match = decodeMatch(buffer, at + LISTED_MATCH, at + length);
    const side = conversations.read(datapath.number, cookie, match);
    if (side === undefined || !conversations.isPermitted(side.conversation)) return false;
    conversations.append(scratch, side.conversation, side.isOpening);
    const comparison = compareListed({ buffer, at, length }, { bytes: scratch.bytes, at: 0, length: scratch.position });
    if (comparison === 'other') return false;
    if (comparison === 'changed') this.outdated.push(side);
    const installedAt = Math.max(0, options.nowMs - listedAgeMs(buffer, at));
    datapath.conversations.adopt(side.conversation, side.isOpening, ticksOf(installedAt));
    return true;
  }

  private adopt(route: RouteSlots, ageMs: number, isRight: boolean): void {
    const installedAt = Math.max(0, this.options.nowMs - ageMs);
    this.desired.datapath.routes.set(route.from, route.to, ticksOf(installedAt));
    if (isRight) this.routesSeen.set(route.from, route.to, 1);
    else this.routes.push(route);
  }

  private markStatic(cookie: Cookie): void {
    if (cookie.kind !== KIND.ENDPOINT) {
      this.fewSeen.add(keyOfCookie(cookie));
      return;
    }
    const { endpoints, datapath } = this.desired;
    const slot = endpoints.slotOfPort(datapath.number, cookie.a);
    if (slot < this.endpointSeen.length) this.endpointSeen[slot]! |= 1 << (cookie.b - VARIANT);
  }

  /**
   * Appends what has to change, once every flow was taken. After each step the writer is to be sent. A step ends with
   * its bundle committed, so what others send between steps is never undone by what was begun before.
   */
  *plan(writer: MessageWriter): Generator<void> {
    this.desired.datapath.conversations.endListing(ticksOf(this.options.nowMs));
    const bundle = new BundleWriter(writer, this.options.xid, this.options.atomic);
    for (const append of this.missing(writer)) {
      bundle.add(append);
      if (!bundle.isFull) continue;
      bundle.end();
      this.changes = bundle.added;
      yield;
    }
    bundle.end();
    this.changes = bundle.added;
  }

  private *missing(writer: MessageWriter): Generator<Append> {
    const { flows } = this.desired;
    const { xid } = this.options;
    for (const key of flows.fewKeys()) {
      if (!this.fewSeen.has(key)) yield () => flows.appendFew(writer, xid, key);
    }
    yield* this.missingOfEndpoints(writer);
    yield* this.missingRoutes(writer);
    for (const { conversation, isOpening } of this.outdated) {
      yield () => this.desired.conversations.append(writer, conversation, isOpening);
    }
    for (const flow of this.surplus) yield () => appendDelete(writer, xid, flow);
  }

  private *missingOfEndpoints(writer: MessageWriter): Generator<Append> {
    const { endpoints, flows, datapath } = this.desired;
    // Endpoints may come and go between steps: those that came have written their flows themselves.
    for (let slot = 0; slot < Math.min(endpoints.slotLimit, this.endpointSeen.length); slot += 1) {
      if (!endpoints.isTaken(slot) || endpoints.datapathNoOf(slot) !== datapath.number) continue;
      const seen = this.endpointSeen[slot]!;
      for (const which of ENDPOINT_FLOWS) {
        if ((seen & (1 << which)) !== 0) continue;
        yield () => flows.appendEndpointFlow(writer, this.options.xid, slot, which);
      }
    }
  }

  private *missingRoutes(writer: MessageWriter): Generator<Append> {
    const { routes, datapath } = this.desired;
    for (const route of this.routes) {
      const { from, to } = route;
      if (this.routesSeen.get(from, to) !== ABSENT || !datapath.routes.has(from, to)) continue;
      if (routes.mayStay(route)) yield () => routes.append(writer, route);
      else datapath.routes.delete(from, to);
    }
  }
}
