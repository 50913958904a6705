// The time that one plugin call may take. Docker waits without limit and holds the container's and the network's locks
// meanwhile, so every call ends by itself, with an error that names the part that did not answer.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';

/**
 * Ends every wait of one call when its time is over. A call that waits through its deadline stops where it stands:
 * what it had not begun is never begun, and what it had begun is for the reconciler to finish.
 */
export class Deadline {
  private readonly pending = new Set<{ readonly part: string; expire: () => void }>();
  private readonly cancelTimer: () => void;
  private expiredPart: string | undefined;

  constructor(
    clock: Clock,
    private readonly limitMs: number,
  ) {
    this.cancelTimer = clock.after(limitMs, () => this.expire());
  }

  /** Waits for `promise`. `part` names who has to answer, as in "the directory". Throws `unavailable` when time is over. */
  wait<T>(part: string, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const wait = { part, expire: () => reject(this.error()) };
      this.pending.add(wait);
      if (this.expiredPart !== undefined) wait.expire();
      const settle = (): boolean => this.pending.delete(wait);
      promise.then(
        (value) => (settle(), resolve(value)),
        (error: unknown) => (settle(), reject(error instanceof Error ? error : new Error(String(error)))),
      );
    });
  }

  /** Throws `unavailable` where the time is over already: before a step that must not be begun late. */
  check(): void {
    if (this.expiredPart !== undefined) throw this.error();
  }

  /** The call has been answered: no timer remains. */
  end(): void {
    this.cancelTimer();
  }

  private expire(): void {
    // The innermost wait, registered last, is the one that holds up the others.
    this.expiredPart = [...this.pending].at(-1)?.part ?? 'DaoliNet';
    for (const wait of this.pending) wait.expire();
  }

  private error(): DaoliError {
    const part = this.expiredPart ?? 'DaoliNet';
    const seconds = this.limitMs / 1000;
    return new DaoliError(
      'unavailable',
      `${part} did not answer within ${seconds} s: the call was given up, try it again`,
    );
  }
}
