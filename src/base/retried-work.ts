// Work that is asked for again and again and that may fail: one run at a time, tried again by itself after a while that grows. A
// problem is told once, as long as it is the same, and its end too.

import { Backoff } from './backoff';
import type { Clock } from './clock';
import { messageOf } from './errors';
import { OneAtATime } from './one-at-a-time';

const RETRY = { minMs: 500, maxMs: 30_000 } as const;

export interface RetriedWorkParts {
  /** Does all that there is to do. */
  readonly work: () => Promise<void>;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  readonly onProblem: (problem: string) => void;
  /** After a problem that was told. */
  readonly onMended: () => void;
}

export class RetriedWork {
  private readonly runs = new OneAtATime(() => this.run());
  private readonly backoff: Backoff;
  private cancelRetry = (): void => undefined;
  private told = '';
  private isStopped = false;

  constructor(private readonly parts: RetriedWorkParts) {
    this.backoff = new Backoff(RETRY.minMs, RETRY.maxMs, parts.random);
  }

  /** Runs it now, or again when the run that is under way has ended. */
  ask(): void {
    if (!this.isStopped) this.runs.ask();
  }

  /** Resolves when nothing is under way. What failed waits for its time. */
  idle(): Promise<void> {
    return this.runs.idle();
  }

  /** For good; what is under way ends. Idempotent. */
  stop(): void {
    this.isStopped = true;
    this.cancelRetry();
  }

  private async run(): Promise<void> {
    this.cancelRetry();
    if (this.isStopped) return;
    const { work, clock, onProblem, onMended } = this.parts;
    try {
      await work();
      this.backoff.succeeded();
      if (this.told !== '') onMended();
      this.told = '';
    } catch (error) {
      const problem = messageOf(error);
      if (problem !== this.told) onProblem(problem);
      this.told = problem;
      if (!this.isStopped) this.cancelRetry = clock.after(this.backoff.nextMs(), () => this.ask());
    }
  }
}
