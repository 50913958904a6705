// What is looked at before an operation: where a request comes from, and what its body is.

import type { Request } from 'express';
import { RequestError } from './refusal';

/**
 * Throws RequestError. A page of another place in somebody's browser cannot change anything here: a browser says where a request
 * comes from, and asks first before it sends JSON there.
 */
export function checkRequest(request: Request): void {
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const { origin, host } = request.headers;
  if (origin !== undefined && hostOf(origin) !== host) {
    throw new RequestError(403, `a page of ${origin} may not change anything here`);
  }
  const hasBody = 'transfer-encoding' in request.headers || Number(request.headers['content-length'] ?? 0) > 0;
  if (hasBody && request.is('application/json') === false) {
    throw new RequestError(415, `the body has to be JSON, with "Content-Type: application/json"`);
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
