// How the management API says no.

import { DaoliError, messageOf, type ErrorCode } from '../base/errors';

/** The HTTP status of each error. */
export const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid: 400,
  'not-found': 404,
  conflict: 409,
  exhausted: 409,
  unsupported: 501,
  unavailable: 503,
  internal: 500,
};

/** Of the body of a request. */
export const MAX_BODY_BYTES = 64 * 1024;

/** The body of an answer that is no success. */
export interface Refusal {
  /** What is wrong, with which thing, and how to mend it. */
  readonly message: string;
  readonly code: ErrorCode;
}

/** A request that does not come as far as an operation. `status` is HTTP's. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

/** What Express's own parts throw, body-parser among them (https://github.com/jshttp/http-errors). */
interface HttpError {
  readonly status: number;
  readonly type?: string;
  readonly message: string;
  /** Of a body, bytes. */
  readonly limit?: number;
}

export function refusalOf(error: unknown): Refusal {
  return { message: messageOf(error), code: error instanceof DaoliError ? error.code : 'internal' };
}

/** The answer to a request that failed. */
export function answerOf(error: unknown): { readonly status: number; readonly refusal: Refusal } {
  if (isHttpError(error)) return { status: error.status, refusal: { message: meaningOf(error), code: 'invalid' } };
  const refusal = refusalOf(error);
  return { status: STATUS[refusal.code], refusal };
}

function isHttpError(error: unknown): error is HttpError {
  const status: unknown = error instanceof Error && 'status' in error ? error.status : undefined;
  return typeof status === 'number' && status >= 400 && status < 500;
}

function meaningOf({ type, message, limit = MAX_BODY_BYTES }: HttpError): string {
  if (type === 'entity.too.large') return `the body is larger than ${limit} bytes, which is the limit`;
  if (type === 'entity.parse.failed') return `the body is no JSON: ${message}`;
  return message;
}
