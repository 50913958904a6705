// One call at a time for each endpoint, calls for different endpoints side by side, and each within its deadline. The
// reconciler goes through the same queue, so it never works on an endpoint that a call of Docker is working on.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import { Deadline } from './deadline';

/** Below the 10 s after which a plugin that is stopping is killed, and the 15 s after which a dockerd that ends waits for no call. */
export const CALL_LIMIT_MS = 8_000;

/** How long it is remembered that Docker called for something. */
const REMEMBERED_MS = 120_000;

export class CallQueue {
  private readonly queue = new KeyedQueue();
  /** When Docker's last call for each key ended (or began, while it lasts): the oldest first. */
  private readonly lastCalls = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  /** `key` is an endpoint's or a network's id. The task is not begun where its deadline is over by then. */
  async run<T>(key: string, deadline: Deadline, task: () => Promise<T>): Promise<T> {
    this.remember(key);
    try {
      return await this.enqueue(key, deadline, task);
    } finally {
      this.remember(key);
    }
  }

  /** Calls that run or wait. */
  get size(): number {
    return this.queue.size;
  }

  /** Whether Docker called for `key` within the last `ms`, at most REMEMBERED_MS. */
  wasCalled(key: string, ms: number): boolean {
    const last = this.lastCalls.get(key);
    return last !== undefined && this.clock.now() - last < ms;
  }

  /** Runs what is no call of Docker's in the turn of `key`, with a deadline of its own. */
  async runOnOwn<T>(key: string, task: (deadline: Deadline) => Promise<T>): Promise<T> {
    const deadline = new Deadline(this.clock, CALL_LIMIT_MS);
    try {
      return await this.enqueue(key, deadline, () => task(deadline));
    } finally {
      deadline.end();
    }
  }

  private enqueue<T>(key: string, deadline: Deadline, task: () => Promise<T>): Promise<T> {
    const turn = this.queue.run(key, () => {
      deadline.check();
      return task();
    });
    return deadline.wait('an earlier call for the same thing', turn);
  }

  private remember(key: string): void {
    const now = this.clock.now();
    this.lastCalls.delete(key);
    this.lastCalls.set(key, now);
    for (const [oldest, at] of this.lastCalls) {
      if (now - at < REMEMBERED_MS) return;
      this.lastCalls.delete(oldest);
    }
  }
}

/**
 * Begins all of them and waits for all, also where one fails, so that nothing goes on behind the back of the next call.
 * Throws the first failure.
 */
export async function settleAll(tasks: ReadonlyArray<() => Promise<unknown>>): Promise<void> {
  // An async function each: one that throws before it gives a promise must not leave the others unwatched.
  const results = await Promise.allSettled(tasks.map(async (task) => task()));
  for (const result of results) {
    if (result.status === 'rejected') throw asError(result.reason);
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new DaoliError('internal', String(reason));
}
