// A pause that ends sooner where nobody waits any more.

import { systemClock, type Clock } from './clock';

/** Resolves after `ms`, or when the signal comes: then with false. */
export function pause(ms: number, signal: AbortSignal, clock: Pick<Clock, 'after'> = systemClock): Promise<boolean> {
  return new Promise((resolve) => {
    if (signal.aborted || ms <= 0) return resolve(!signal.aborted);
    const end = () => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve(!signal.aborted);
    };
    const cancel = clock.after(ms, end);
    signal.addEventListener('abort', end);
  });
}
