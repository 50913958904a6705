// The time that one plugin call may take. Docker waits without limit and holds the container's and the network's locks
// meanwhile, so every call ends by itself, with an error that names the part that did not answer.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';

/** Who has to answer; or, asked when the time is over, who had to by then, or what to end with instead. */
export type WaitedFor = string | (() => string | DaoliError);

/**
 * Ends every wait of one call when its time is over. A call that waits through its deadline stops where it stands:
 * what it had not begun is never begun, and what it had begun is for the reconciler to finish.
 */
export class Deadline {
  private readonly pending = new Set<{ readonly part: WaitedFor; expire: (error: DaoliError) => void }>();
  private readonly cancelTimer: () => void;
  private expired: DaoliError | undefined;

  constructor(
    clock: Clock,
    private readonly limitMs: number,
  ) {
    this.cancelTimer = clock.after(limitMs, () => this.expire());
  }

  /** Waits for `promise`. `part` names who has to answer, as in "the directory". Throws `unavailable` when time is over. */
  wait<T>(part: WaitedFor, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const wait = { part, expire: reject };
      this.pending.add(wait);
      if (this.expired !== undefined) wait.expire(this.expired);
      const settle = (): boolean => this.pending.delete(wait);
      promise.then(
        (value) => (settle(), resolve(value)),
        (error: unknown) => (settle(), reject(error instanceof Error ? error : new Error(String(error)))),
      );
    });
  }

  /** Throws `unavailable` where the time is over already: before a step that must not be begun late. */
  check(): void {
    if (this.expired !== undefined) throw this.expired;
  }

  /** The call has been answered: no timer remains. */
  end(): void {
    this.cancelTimer();
  }

  private expire(): void {
    // The innermost wait, registered last, is the one that holds up the others.
    const part = [...this.pending].at(-1)?.part ?? 'DaoliNet';
    const why = typeof part === 'string' ? part : part();
    this.expired = typeof why === 'string' ? noAnswer(why, this.limitMs) : why;
    for (const wait of this.pending) wait.expire(this.expired);
  }
}

function noAnswer(part: string, limitMs: number): DaoliError {
  const text = `${part} did not answer within ${limitMs / 1000} s: the call was given up, try it again`;
  return new DaoliError('unavailable', text);
}
