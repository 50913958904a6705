// How calls of the engine end: within a time, and with errors by meaning.

import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';

export interface CallOptions {
  readonly clock: Clock;
  /** "/run/docker.sock". */
  readonly socketPath: string;
}

/** Ends within `limitMs`. Throws `unavailable` for all that is no DaoliError. */
export async function bounded<T>(
  { clock, socketPath }: CallOptions,
  limitMs: number,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const abort = new AbortController();
  let cancel = (): void => undefined;
  // Not every call of dockerode can be aborted: what cannot is no longer waited for, and ends by its own time limit.
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(limitMs, () => {
      abort.abort();
      reject(new Error('late'));
    });
  });
  try {
    return await Promise.race([call(abort.signal), late]);
  } catch (error) {
    if (error instanceof DaoliError) throw error;
    const why = abort.signal.aborted ? `did not answer within ${limitMs / 1000} s` : messageOf(error);
    throw new DaoliError('unavailable', `the Docker engine: ${why}`, socketPath, { cause: error });
  } finally {
    cancel();
    // Ends the calls beside the one that failed.
    abort.abort();
  }
}

/** Undefined where it went away between being listed and being asked for, or is not there at all. */
export async function orGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** What the engine answers with an error is its decision, and not that it is away. */
export async function orRefused<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    const { json, message } = error as { json?: { message?: unknown }; message: string };
    const reason = json?.message;
    throw new DaoliError('conflict', `Docker refuses it: ${typeof reason === 'string' ? reason : message}`);
  }
}

/** Status 304: it is so already. */
export async function orDone<T>(answer: Promise<T>): Promise<void> {
  try {
    await answer;
  } catch (error) {
    if (statusOf(error) !== 304) throw error;
  }
}

function statusOf(error: unknown): number | undefined {
  return error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number'
    ? error.statusCode
    : undefined;
}
