// Which routes of one datapath are believed to be installed: two slots of the endpoint index, which directions, and when,
// nothing more. It is a hint for the cap, for listing and for putting routes back after ovs-vswitchd restarted; the
// datapath decides. Bounded by the caps. Both directions share one entry, since both are asked for at once.

import { ABSENT, PairMap } from './pair-map';

/** Stands for everything beyond the host port, as a slot. */
export const OUTSIDE = 0xfffffffe;

/** The time unit of entries: 100 ms, so that the 30 bits they have last over three years. */
export const TICK_MS = 100;
const TICKS = 2 ** 30;
/** Bits of an entry's value below its time: the direction from the lower slot to the higher, and the other. */
const UPWARD = 1;
const DOWNWARD = 2;
const BOTH = UPWARD | DOWNWARD;

export function ticksOf(nowMs: number): number {
  return Math.floor(nowMs / TICK_MS) % TICKS;
}

export interface RouteLimits {
  /** Peers of one endpoint. */
  readonly perEndpoint: number;
  /** Conversations of one endpoint: there are many between two that talk a lot, most of them over and not yet idle for long. */
  readonly conversationsPerEndpoint: number;
  /** Both together. */
  readonly total: number;
}

/** How many times something is of each slot. What is outside has no slot. */
class SlotCounts {
  private counts = new Uint32Array(16);

  of(slot: number): number {
    return slot < this.counts.length ? this.counts[slot]! : 0;
  }

  add(slot: number, by: number): void {
    if (slot === OUTSIDE) return;
    if (slot >= this.counts.length) {
      const grown = new Uint32Array(Math.max(slot + 1, this.counts.length * 2));
      grown.set(this.counts);
      this.counts = grown;
    }
    this.counts[slot]! += by;
  }
}

export class RouteTable {
  private readonly entries = new PairMap();
  /** Entries that a slot is part of. */
  private readonly peers = new SlotCounts();
  private readonly conversationsOf = new SlotCounts();
  private conversations = 0;

  constructor(private readonly limits: RouteLimits) {}

  /** How many pairs and conversations have a route, in one direction or both. */
  get size(): number {
    return this.entries.size + this.conversations;
  }

  /** Counts the routes of a conversation, which ConversationMemory keeps. False: there is no room; `always` makes it. */
  take(a: number, b: number, always = false): boolean {
    const { conversationsOf, limits } = this;
    if (!always && !this.fits(a, b, conversationsOf, limits.conversationsPerEndpoint)) return false;
    this.conversations += 1;
    conversationsOf.add(a, 1);
    conversationsOf.add(b, 1);
    return true;
  }

  /** The end of what was taken. */
  release(a: number, b: number): void {
    this.conversations -= 1;
    this.conversationsOf.add(a, -1);
    this.conversationsOf.add(b, -1);
  }

  /** Is there a route in this direction? */
  has(from: number, to: number): boolean {
    const entry = from < to ? this.entries.get(from, to) : this.entries.get(to, from);
    return entry !== ABSENT && (entry & directionOf(from, to)) !== 0;
  }

  /**
   * Enters both directions. `false` where they must not be installed, since one of the two or the datapath has its fill,
   * and `undefined` where they need not be, since they were in this very tick.
   */
  claim(a: number, b: number, ticks: number): boolean | undefined {
    const low = a < b ? a : b;
    const high = a < b ? b : a;
    const entry = this.entries.get(low, high);
    if (entry === ABSENT) {
      if (!this.fits(a, b, this.peers, this.limits.perEndpoint)) return false;
      this.peers.add(a, 1);
      this.peers.add(b, 1);
    } else if ((entry & BOTH) === BOTH && entry >>> 2 === ticks) {
      return undefined;
    }
    this.entries.set(low, high, ticks * 4 + BOTH);
    return true;
  }

  /** Enters one direction that the datapath was seen to have, whatever the caps. */
  set(from: number, to: number, ticks: number): void {
    const [low, high] = from < to ? [from, to] : [to, from];
    const entry = this.entries.get(low, high);
    if (entry === ABSENT) {
      this.peers.add(from, 1);
      this.peers.add(to, 1);
    }
    const directions = (entry === ABSENT ? 0 : entry & BOTH) | directionOf(from, to);
    this.entries.set(low, high, ticks * 4 + directions);
  }

  /** Forgets one direction, where it was entered before `ticks`. True where it was. */
  delete(from: number, to: number, before = TICKS): boolean {
    const [low, high] = from < to ? [from, to] : [to, from];
    const entry = this.entries.get(low, high);
    const direction = directionOf(from, to);
    if (entry === ABSENT || (entry & direction) === 0 || entry >>> 2 >= before) return false;
    if ((entry & BOTH) === direction) this.forget(low, high);
    else this.entries.set(low, high, (entry & ~direction) >>> 0);
    return true;
  }

  /** Forgets every route from and to a slot. True where there was one. */
  deleteSlot(slot: number): boolean {
    if (slot !== OUTSIDE && this.peers.of(slot) === 0) return false;
    const gone: number[] = [];
    this.entries.forEach((low, high) => {
      if (low === slot || high === slot) gone.push(low, high);
    });
    for (let i = 0; i < gone.length; i += 2) this.forget(gone[i]!, gone[i + 1]!);
    return gone.length > 0;
  }

  /** Calls back with every direction. The table must not change meanwhile. */
  forEach(visit: (from: number, to: number, ticks: number) => void): void {
    this.entries.forEach((low, high, entry) => {
      if (entry & UPWARD) visit(low, high, entry >>> 2);
      if (entry & DOWNWARD) visit(high, low, entry >>> 2);
    });
  }

  private fits(a: number, b: number, counts: SlotCounts, most: number): boolean {
    return counts.of(a) < most && counts.of(b) < most && this.size < this.limits.total;
  }

  private forget(low: number, high: number): void {
    if (!this.entries.delete(low, high)) return;
    this.peers.add(low, -1);
    this.peers.add(high, -1);
  }
}

function directionOf(from: number, to: number): number {
  return from < to ? UPWARD : DOWNWARD;
}
