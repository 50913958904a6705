// Hosts that were needed a short while ago, which are kept as peers: containers that go often come back, and the two hosts of a
// tunnel do not learn of the last one's end at the same moment.

import type { Clock } from '../base/clock';

export const LINGER_MS = 5 * 60_000;

export class RecentlyNeeded {
  private readonly neededAt = new Map<string, number>();
  private cancel = (): void => undefined;

  /** `onExpired`: one of them is not needed any more. */
  constructor(
    private readonly clock: Clock,
    private readonly onExpired: () => void,
  ) {}

  /** These hosts are needed now; gives them and those that were needed lately. */
  with(hosts: Iterable<string>): ReadonlySet<string> {
    const now = this.clock.now();
    const current = new Set(hosts);
    for (const host of current) this.neededAt.set(host, now);
    let oldest = Infinity;
    for (const [host, at] of this.neededAt) {
      if (now - at >= LINGER_MS) this.neededAt.delete(host);
      else if (!current.has(host)) oldest = Math.min(oldest, at);
    }
    this.cancel();
    if (oldest < Infinity) this.cancel = this.clock.after(oldest + LINGER_MS - now, this.onExpired);
    return new Set(this.neededAt.keys());
  }

  /** Idempotent. */
  stop(): void {
    this.cancel();
  }
}
