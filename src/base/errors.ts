// Errors by meaning. Every error that can reach a user has a stable `code`, the thing it is about in `subject`, and a
// message that says what is wrong, with which thing, and what to do. Whoever throws does not log; the edge logs once.

export type ErrorCode =
  | 'invalid' // the request itself is wrong: a field is missing or out of range
  | 'not-found' // names something that does not exist
  | 'conflict' // exists already, or is in use by somebody else
  | 'exhausted' // a bounded thing is full: a pool, a locator block, a cap
  | 'unsupported' // a thing that DaoliNet does not do (yet)
  | 'unavailable' // a part we need is away: retry later
  | 'internal'; // a bug or a failed system call

/** An error with a meaning. `subject` is the id or value that failed; `cause` is what was caught, if anything was. */
export class DaoliError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly subject?: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'DaoliError';
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
