// Which routes of one datapath are believed to be installed: two slots of the endpoint index and when, nothing more.
// It is a hint for the cap, for listing and for putting routes back after ovs-vswitchd restarted; the datapath decides.
// Bounded by the caps. One entry is one direction, as one flow is.

import { ABSENT, PairMap } from './pair-map';

/** Stands for everything beyond the host port, as a slot. */
export const OUTSIDE = 0xfffffffe;

/** The time unit of entries: 10 ms, so that 32 bits last 497 days. */
export const TICK_MS = 10;

export function ticksOf(nowMs: number): number {
  return Math.floor(nowMs / TICK_MS) >>> 0;
}

export interface RouteLimits {
  readonly perEndpoint: number;
  readonly total: number;
}

export class RouteTable {
  private readonly installed = new PairMap();
  /** Routes with this slot as their source. Both directions are installed together, so it counts peers. */
  private counts = new Uint32Array(16);

  constructor(private readonly limits: RouteLimits) {}

  get size(): number {
    return this.installed.size;
  }

  /** When the route was installed last, in ticks; `ABSENT` where there is none. */
  installedAt(source: number, destination: number): number {
    return this.installed.get(source, destination);
  }

  /** Is there room for both directions between two slots? */
  fits(a: number, b: number): boolean {
    return (
      this.countOf(a) < this.limits.perEndpoint &&
      this.countOf(b) < this.limits.perEndpoint &&
      this.installed.size + 2 <= this.limits.total
    );
  }

  /** Enters a route, or only its new time. */
  set(source: number, destination: number, ticks: number): void {
    const before = this.installed.size;
    this.installed.set(source, destination, ticks);
    if (this.installed.size !== before) this.count(source, 1);
  }

  delete(source: number, destination: number): boolean {
    const known = this.installed.delete(source, destination);
    if (known) this.count(source, -1);
    return known;
  }

  /** Forgets every route from and to a slot. */
  deleteSlot(slot: number): void {
    const gone: number[] = [];
    this.installed.forEach((source, destination) => {
      if (source === slot || destination === slot) gone.push(source, destination);
    });
    for (let i = 0; i < gone.length; i += 2) this.delete(gone[i]!, gone[i + 1]!);
  }

  clear(): void {
    this.installed.clear();
    this.counts.fill(0);
  }

  /** Calls back with every route. The table must not change meanwhile. */
  forEach(visit: (source: number, destination: number, installedAt: number) => void): void {
    this.installed.forEach(visit);
  }

  private countOf(slot: number): number {
    return slot < this.counts.length ? this.counts[slot]! : 0;
  }

  private count(slot: number, by: number): void {
    if (slot === OUTSIDE) return;
    if (slot >= this.counts.length) {
      const grown = new Uint32Array(Math.max(slot + 1, this.counts.length * 2));
      grown.set(this.counts);
      this.counts = grown;
    }
    this.counts[slot]! += by;
  }
}

export { ABSENT };
