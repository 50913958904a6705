// The conversations of one datapath: who opened them, and which of their flows are believed to be installed. It outlives
// the flows: an answer after a pause is still an answer. Rows of a typed array, found by all that names a conversation;
// the oldest goes where an endpoint or the datapath has its fill, or when nobody has to wait for it any longer.

import { IP_PROTO } from '../packet/protocol-numbers';
import type { Conversation } from './conversation';
import { LinkedRows } from './linked-rows';
import { ABSENT, PairMap } from './pair-map';
import { OUTSIDE, TICK_MS, type RouteLimits, type RouteTable } from './route-table';

/** How long a conversation is remembered without flows: TCP by RFC 5382 REQ-5, others by RFC 4787 REQ-5. */
const TCP_TICKS = (124 * 60 * 1000) / TICK_MS;
const OTHER_TICKS = (5 * 60 * 1000) / TICK_MS;
/** An endpoint may have opened so many times as many conversations as may have flows: those that rest are among them. */
const REMEMBERED_PER_LIVE = 2;
/** How many of the oldest are looked at, at most, for one that may go. */
const LOOK_AT = 8;

const WORDS = 7;
const OPENER = 0;
const ANSWERER = 1;
const ADDRESS = 2;
const PORTS = 3;
/** The protocol, and the bits below. */
const STATE = 4;
/** While a flow is there, when it was installed; else, when the last one went. */
const TICKS = 5;
/** The next row of the same hash, plus 1. */
const CHAIN = 6;

const OPENING_LIVE = 0x100;
const ANSWER_LIVE = 0x200;
const LIVE = OPENING_LIVE | ANSWER_LIVE;
/** Each of the two, not found yet by the listing that goes on. */
const UNSEEN_SHIFT = 2;
const UNSEEN = LIVE << UNSEEN_SHIFT;

const NO_ROW = -1;

export class ConversationMemory {
  private words = new Uint32Array(16 * WORDS);
  /** By hash: row + 1. */
  private heads = new Uint32Array(16);
  private rows = 0;
  private readonly free: number[] = [];
  /** All of TCP, and all others: each list is over in the order of its rows. */
  private readonly byAge = new LinkedRows();
  /** By the endpoint that opened them, or that was opened to from outside. */
  private readonly byOwner = new LinkedRows();
  /** How many there are between two ends. */
  private readonly between = new PairMap();
  private readonly outside = new PairMap();

  /** `routes` counts those that have flows. */
  constructor(
    private readonly routes: RouteTable,
    private readonly limits: RouteLimits,
  ) {}

  get size(): number {
    return this.rows - this.free.length;
  }

  /** Was this conversation opened, and not too long ago? */
  has(conversation: Conversation, ticks: number): boolean {
    const row = this.find(conversation);
    return row !== NO_ROW && !this.isOver(row, ticks);
  }

  /** Is there a conversation between these two ends, whoever opened it? */
  hasBetween(a: number, b: number, outsideAddress: number, ticks: number): boolean {
    this.forgetOld(ticks);
    return this.countBetween(a, b, outsideAddress) > 0;
  }

  /**
   * Enters a conversation whose flows are to be installed, both. As in RouteTable: `false` where they must not be, since
   * one end or the datapath has its fill, and `undefined` where they were in this very tick. It is remembered anyway.
   */
  claim(conversation: Conversation, ticks: number): boolean | undefined {
    this.forgetOld(ticks);
    const row = this.enter(conversation, ticks);
    const state = this.state(row);
    if ((state & LIVE) === LIVE && this.words[row * WORDS + TICKS] === ticks) return undefined;
    if ((state & LIVE) === 0 && !this.routes.take(conversation.opener, conversation.answerer)) {
      this.touch(row, ticks);
      return false;
    }
    this.setState(row, (state | LIVE) & ~UNSEEN);
    this.touch(row, ticks);
    return true;
  }

  /** Enters a conversation of which the datapath was seen to have a flow, whatever the caps. */
  adopt(conversation: Conversation, isOpening: boolean, ticks: number): void {
    const row = this.enter(conversation, ticks);
    const state = this.state(row);
    if ((state & LIVE) === 0) {
      this.routes.take(conversation.opener, conversation.answerer, true);
      this.words[row * WORDS + TICKS] = ticks;
    }
    this.setState(row, (state | bitOf(isOpening)) & ~(bitOf(isOpening) << UNSEEN_SHIFT));
  }

  /** A listing of all flows begins: those that it does not bring are not there. */
  beginListing(): void {
    this.forEachRow((row) => {
      const state = this.state(row) & ~UNSEEN;
      this.setState(row, state | ((state & LIVE) << UNSEEN_SHIFT));
    });
  }

  endListing(ticks: number): void {
    this.forEachRow((row) => {
      const state = this.state(row);
      const unseen = (state & UNSEEN) >>> UNSEEN_SHIFT;
      if (unseen !== 0) this.end(row, unseen, ticks);
    });
  }

  /**
   * A flow of a conversation, installed before the ticks `before`, ended since it carried nothing. True where that was
   * news. One that is not known is remembered from now on: its flow was allowed.
   */
  ended(conversation: Conversation, isOpening: boolean, before: number, ticks: number): boolean {
    const row = this.enter(conversation, ticks);
    const bit = bitOf(isOpening);
    if ((this.state(row) & bit) === 0 || this.ticksOf(row) >= before) return false;
    this.end(row, bit, ticks);
    return true;
  }

  /** Forgets one conversation. An unknown one is fine. */
  forget(conversation: Conversation): void {
    const row = this.find(conversation);
    if (row !== NO_ROW) this.vacate(row);
  }

  /** Forgets the conversations that `isMeant` picks, and returns them. */
  take(isMeant: (conversation: Conversation) => boolean): Conversation[] {
    const taken: Conversation[] = [];
    this.forEachRow((row) => {
      const conversation = this.read(row);
      if (!isMeant(conversation)) return;
      taken.push(conversation);
      this.vacate(row);
    });
    return taken;
  }

  /** Forgets every conversation of a slot. True where there was one. */
  deleteSlot(slot: number): boolean {
    const before = this.size;
    this.forEachRow((row) => {
      const at = row * WORDS;
      if (this.words[at + OPENER] === slot || this.words[at + ANSWERER] === slot) this.vacate(row);
    });
    return this.size < before;
  }

  /** Calls back with each direction that is believed to have a flow, and when that was installed. */
  forEachLive(visit: (conversation: Conversation, isOpening: boolean, ticks: number) => void): void {
    this.forEachRow((row) => {
      const ticks = this.words[row * WORDS + TICKS]!;
      if ((this.state(row) & OPENING_LIVE) !== 0) visit(this.read(row), true, ticks);
      if ((this.state(row) & ANSWER_LIVE) !== 0) visit(this.read(row), false, ticks);
    });
  }

  private find(conversation: Conversation): number {
    const { words } = this;
    const ports = portsOf(conversation);
    for (let link = this.heads[this.hash(conversation)]!; link !== 0;) {
      const at = (link - 1) * WORDS;
      const isIt =
        words[at + OPENER] === conversation.opener &&
        words[at + ANSWERER] === conversation.answerer &&
        words[at + PORTS] === ports &&
        words[at + ADDRESS] === conversation.outsideAddress &&
        (words[at + STATE]! & 0xff) === conversation.protocol;
      if (isIt) return link - 1;
      link = words[at + CHAIN]!;
    }
    return NO_ROW;
  }

  /** The row of a conversation, which is made where there is none. */
  private enter(conversation: Conversation, ticks: number): number {
    const found = this.find(conversation);
    if (found !== NO_ROW) {
      // What was over begins anew.
      if (this.isOver(found, ticks)) this.touch(found, ticks);
      return found;
    }
    this.makeRoom(ownerOf(conversation.opener, conversation.answerer));
    if (this.free.length === 0 && (this.rows + 1) * WORDS > this.words.length) this.grow();
    const row = this.free.pop() ?? this.rows++;
    const { opener, answerer, outsideAddress, protocol } = conversation;
    const hash = this.hash(conversation);
    const chain = this.heads[hash]!;
    this.words.set([opener, answerer, outsideAddress, portsOf(conversation), protocol, ticks, chain], row * WORDS);
    this.heads[hash] = row + 1;
    this.byAge.push(this.ageListOf(row), row);
    this.byOwner.push(ownerOf(opener, answerer), row);
    this.addBetween(conversation, 1);
    return row;
  }

  private makeRoom(owner: number): void {
    if (this.byOwner.sizeOf(owner) >= this.limits.conversationsPerEndpoint * REMEMBERED_PER_LIVE) {
      this.vacateOldest(this.byOwner, owner);
    }
    if (this.size < this.limits.total * REMEMBERED_PER_LIVE) return;
    const [tcp, other] = [this.byAge.first(IP_PROTO.TCP), this.byAge.first(0)];
    const isTcpOlder = other === undefined || (tcp !== undefined && this.ticksOf(tcp) <= this.ticksOf(other));
    this.vacateOldest(this.byAge, isTcpOlder ? IP_PROTO.TCP : 0);
  }

  /** One without flows, where there is one among the oldest. */
  private vacateOldest(rows: LinkedRows, list: number): void {
    const oldest = rows.first(list);
    let row = oldest;
    for (let i = 0; i < LOOK_AT && row !== undefined && this.isLive(row); i += 1) row = rows.after(row);
    const gone = row !== undefined && !this.isLive(row) ? row : oldest;
    if (gone !== undefined) this.vacate(gone);
  }

  /** Forgets those at the head of the lists that nobody has to remember; what has flows goes to the end. */
  private forgetOld(ticks: number): void {
    for (const list of [IP_PROTO.TCP, 0]) {
      for (let i = 0; i < LOOK_AT; i += 1) {
        const row = this.byAge.first(list);
        if (row === undefined || ticks - this.ticksOf(row) < lifetimeOf(list)) break;
        if (!this.isLive(row)) this.vacate(row);
        else this.moveToEnd(row);
      }
    }
  }

  private vacate(row: number): void {
    const conversation = this.read(row);
    const { opener, answerer } = conversation;
    if (this.isLive(row)) this.routes.release(opener, answerer);
    this.byAge.remove(this.ageListOf(row), row);
    this.byOwner.remove(ownerOf(opener, answerer), row);
    this.addBetween(conversation, -1);
    this.unchain(row, this.hash(conversation));
    this.words[row * WORDS + STATE] = 0;
    this.words[row * WORDS + OPENER] = ABSENT;
    this.free.push(row);
  }

  private unchain(row: number, hash: number): void {
    const { words, heads } = this;
    const next = words[row * WORDS + CHAIN]!;
    if (heads[hash] === row + 1) {
      heads[hash] = next;
      return;
    }
    let at = (heads[hash]! - 1) * WORDS;
    while (words[at + CHAIN] !== row + 1) at = (words[at + CHAIN]! - 1) * WORDS;
    words[at + CHAIN] = next;
  }

  /** One of its flows is gone, or both. From the last one on, it is remembered for a while. */
  private end(row: number, bits: number, ticks: number): void {
    this.setState(row, this.state(row) & ~(bits | (bits << UNSEEN_SHIFT)));
    if (this.isLive(row)) return;
    this.routes.release(this.words[row * WORDS + OPENER]!, this.words[row * WORDS + ANSWERER]!);
    this.touch(row, ticks);
  }

  private touch(row: number, ticks: number): void {
    this.words[row * WORDS + TICKS] = ticks;
    this.moveToEnd(row);
  }

  private moveToEnd(row: number): void {
    const owner = ownerOf(this.words[row * WORDS + OPENER]!, this.words[row * WORDS + ANSWERER]!);
    this.byAge.remove(this.ageListOf(row), row);
    this.byAge.push(this.ageListOf(row), row);
    this.byOwner.remove(owner, row);
    this.byOwner.push(owner, row);
  }

  private isOver(row: number, ticks: number): boolean {
    return !this.isLive(row) && ticks - this.ticksOf(row) >= lifetimeOf(this.ageListOf(row));
  }

  private isLive(row: number): boolean {
    return (this.state(row) & LIVE) !== 0;
  }

  private state(row: number): number {
    return this.words[row * WORDS + STATE]!;
  }

  private setState(row: number, state: number): void {
    this.words[row * WORDS + STATE] = state;
  }

  private ticksOf(row: number): number {
    return this.words[row * WORDS + TICKS]!;
  }

  /** TCP's number, or 0 for all others. */
  private ageListOf(row: number): number {
    return (this.state(row) & 0xff) === IP_PROTO.TCP ? IP_PROTO.TCP : 0;
  }

  private read(row: number): Conversation {
    const at = row * WORDS;
    const { words } = this;
    const ports = words[at + PORTS]!;
    return {
      opener: words[at + OPENER]!,
      answerer: words[at + ANSWERER]!,
      outsideAddress: words[at + ADDRESS]!,
      protocol: words[at + STATE]! & 0xff,
      openerPort: ports >>> 16,
      answererPort: ports & 0xffff,
    };
  }

  /** `visit` may vacate the row that it is called with. */
  private forEachRow(visit: (row: number) => void): void {
    for (let row = 0; row < this.rows; row += 1) if (this.words[row * WORDS + OPENER] !== ABSENT) visit(row);
  }

  private countBetween(a: number, b: number, outsideAddress: number): number {
    const isOutside = a === OUTSIDE || b === OUTSIDE;
    const count = isOutside
      ? this.outside.get(a === OUTSIDE ? b : a, outsideAddress)
      : this.between.get(Math.min(a, b), Math.max(a, b));
    return count === ABSENT ? 0 : count;
  }

  private addBetween({ opener, answerer, outsideAddress }: Conversation, by: number): void {
    const isOutside = opener === OUTSIDE || answerer === OUTSIDE;
    const map = isOutside ? this.outside : this.between;
    const low = isOutside ? ownerOf(opener, answerer) : Math.min(opener, answerer);
    const high = isOutside ? outsideAddress : Math.max(opener, answerer);
    const count = this.countBetween(opener, answerer, outsideAddress) + by;
    if (count === 0) map.delete(low, high);
    else map.set(low, high, count);
  }

  private hash({ opener, answerer, outsideAddress, protocol, openerPort, answererPort }: Conversation): number {
    let h = Math.imul(opener, 0x9e3779b1) ^ Math.imul(answerer, 0x85ebca6b) ^ Math.imul(outsideAddress, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) ^ Math.imul((openerPort << 16) | answererPort, 0x27d4eb2f) ^ protocol;
    h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
    return (h ^ (h >>> 15)) & (this.heads.length - 1);
  }

  private grow(): void {
    const words = new Uint32Array(Math.ceil(this.words.length * 1.5));
    words.set(this.words);
    this.words = words;
    if (this.rows < this.heads.length) return;
    this.heads = new Uint32Array(this.heads.length * 2);
    this.forEachRow((row) => {
      const hash = this.hash(this.read(row));
      words[row * WORDS + CHAIN] = this.heads[hash]!;
      this.heads[hash] = row + 1;
    });
  }
}

function bitOf(isOpening: boolean): number {
  return isOpening ? OPENING_LIVE : ANSWER_LIVE;
}

function lifetimeOf(list: number): number {
  return list === IP_PROTO.TCP ? TCP_TICKS : OTHER_TICKS;
}

function portsOf({ openerPort, answererPort }: Conversation): number {
  return ((openerPort << 16) | answererPort) >>> 0;
}

function ownerOf(opener: number, answerer: number): number {
  return opener === OUTSIDE ? answerer : opener;
}
