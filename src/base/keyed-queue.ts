// Runs tasks one after another for one key, side by side for different keys. Bounded: a key with too many waiting
// tasks refuses more, so that a stuck call cannot pile up an unlimited queue behind it.

import { DaoliError } from './errors';

export class KeyedQueue {
  private readonly tails = new Map<string, { last: Promise<unknown>; waiting: number }>();

  constructor(private readonly maxWaiting = 64) {}

  /** Tasks that run or wait, of all keys. */
  get size(): number {
    let size = 0;
    for (const { waiting } of this.tails.values()) size += waiting;
    return size;
  }

  /** Runs `task` after all earlier tasks of `key` have settled. Throws `unavailable` where too many wait. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const tail = this.tails.get(key) ?? { last: Promise.resolve(), waiting: 0 };
    if (tail.waiting >= this.maxWaiting) {
      throw new DaoliError('unavailable', `too many requests wait for ${key}: try again`, key);
    }
    this.tails.set(key, tail);
    tail.waiting += 1;
    const result = tail.last.then(task, task);
    tail.last = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      tail.waiting -= 1;
      if (tail.waiting === 0) this.tails.delete(key);
    }
  }
}
