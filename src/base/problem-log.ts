// Problems that somebody outside (a datapath, a host) may cause as often as it likes, logged at most once a minute with how many there were.

import type { Clock } from './clock';
import type { Logger } from './logger';

const INTERVAL_MS = 60_000;

export class ProblemLog {
  private silentUntil = -Infinity;
  private untold = 0;

  constructor(
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** `ids` says with whom or what it is. */
  report(problem: string, ids: Readonly<Record<string, unknown>>): void {
    const now = this.clock.now();
    if (now < this.silentUntil) {
      this.untold += 1;
      return;
    }
    this.logger.warn(problem, { ...ids, ...(this.untold > 0 ? { othersSinceLast: this.untold } : {}) });
    this.silentUntil = now + INTERVAL_MS;
    this.untold = 0;
  }
}
