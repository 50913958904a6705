// What an HTTP server of this API bears: how long a request may take to come, and how many may come at a time. Who sends a
// letter a second is put out (slow loris); what is wrong before there is a request is said as JSON, too.

import { STATUS_CODES, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Refusal } from './refusal';

export interface HttpLimits {
  /** For the head of a request, from its first byte or that of the connection. */
  readonly headersMs: number;
  /** For all of it. */
  readonly requestMs: number;
  /** How often is looked who takes too long. */
  readonly lookMs: number;
  /** At a time. One more is shut out. */
  readonly connections: number;
}

export const HTTP_LIMITS: HttpLimits = { headersMs: 10_000, requestMs: 15_000, lookMs: 1_000, connections: 256 };

/** For `createServer`, of http as of https. */
export function limitedOptions({ headersMs, requestMs, lookMs }: HttpLimits): ServerOptions {
  return {
    headersTimeout: headersMs,
    requestTimeout: requestMs,
    connectionsCheckingInterval: lookMs,
  };
}

/** The rest, on a server that was made with them. */
export function limit(server: Server, limits: HttpLimits): void {
  const answers = new WeakMap<Duplex, ServerResponse>();
  server.maxConnections = limits.connections;
  server.on('request', (request, response) => answers.set(request.socket, response));
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    // Not into the middle of an answer.
    const isAnswered = answers.get(socket)?.headersSent === true && answers.get(socket)?.writableEnded === false;
    if (isAnswered || !socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
    const [status, message] = meaningOf(error, limits);
    const refusal: Refusal = { message, code: 'invalid' };
    const body = JSON.stringify(refusal);
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
      'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  });
}

function meaningOf(error: NodeJS.ErrnoException, { headersMs, requestMs }: HttpLimits): [status: number, text: string] {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return [408, `the request took too long to come: its head has ${headersMs} ms, all of it ${requestMs} ms`];
    case 'HPE_HEADER_OVERFLOW':
      return [431, 'the head of the request is too large'];
    default:
      return [400, `this is no HTTP request: ${error.message}`];
  }
}
