// The management API: what the agent knows and does, as JSON over HTTP. Makes a route of each operation: what came in is
// parsed, the handler does it, the answer goes out. The shapes are ours, in Docker's words where Docker has one; addresses
// are text here.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeApi } from './open-api';
import { LINES_TYPE, type ApiAgent, type Operation, type Outgoing } from './operation';
import { servePage } from './page';
import { answerOf, MAX_BODY_BYTES, refusalOf, type Refusal } from './refusal';
import { checkRequest } from './request-checks';

export const DESCRIPTION_PATH = '/v1/openapi.json';
const EVENTS_TYPE = 'text/event-stream';

/** The agents of the other hosts: see RemoteAgents. */
export interface OtherAgents {
  /** Whether a name is this host's own. */
  isThis(host: string): boolean;
  at(host: string): {
    forward(request: IncomingMessage, path: string, response: ServerResponse): Promise<void>;
  };
}

/**
 * The Express application; the caller listens. With `others`, what is asked at `/v1/at/HOST/…` is asked of that host's agent
 * at `/v1/…`.
 */
export function createManagementApi<Agent extends ApiAgent>(
  agent: Agent,
  operations: readonly Operation<Agent>[],
  others?: OtherAgents,
): Express {
  const app = express();
  app.disable('x-powered-by');
  app.set('query parser', 'simple');
  app.set('etag', false); // of lists that are made anew each time
  app.use((request: Request, _response: Response, next: NextFunction) => {
    checkRequest(request);
    next();
  });
  if (others !== undefined) {
    app.all('/v1/at/:host/*rest', (request, response, next) => {
      const { host } = request.params;
      const path = request.url.replace(/^\/v1\/at\/[^/]+/, '/v1');
      if (!others.isThis(host)) return others.at(host).forward(request, path, response);
      request.url = path;
      next();
    });
  }
  for (const { path, maxBodyBytes } of operations) {
    if (maxBodyBytes !== undefined) app.use(path, express.json({ limit: maxBodyBytes }));
  }
  app.use(express.json({ limit: MAX_BODY_BYTES }));
  app.use(servePage());
  app.get(DESCRIPTION_PATH, (_request, response) => void response.json(describeApi(operations)));
  for (const operation of operations) {
    app[operation.method](operation.path.replace(/\{(\w+)\}/g, ':$1'), async (request, response) => {
      const gone = new AbortController();
      response.on('close', () => gone.abort());
      const { params: parameters, query } = request;
      const body: unknown = request.body;
      send(request, response, await operation.run(agent, { parameters, query, body, signal: gone.signal }));
    });
  }
  app.use((request: Request, response: Response) => {
    const refusal: Refusal = { message: `there is no ${request.method} ${request.path}`, code: 'not-found' };
    response.status(404).json(refusal);
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const { status, refusal } = answerOf(error);
    response.status(status).json(refusal);
  });
  return app;
}

function send(request: Request, response: Response, outgoing: Outgoing): void {
  switch (outgoing.kind) {
    case 'json':
      response.json(outgoing.value);
      return;
    case 'stream': {
      const isEvents = request.accepts([LINES_TYPE, EVENTS_TYPE]) === EVENTS_TYPE;
      response.type(isEvents ? EVENTS_TYPE : LINES_TYPE).flushHeaders();
      const [before, after] = isEvents ? ['data: ', '\n\n'] : ['', '\n'];
      return stream(response, lines(outgoing.items, before, after));
    }
    case 'content':
      response.type(outgoing.type);
      if (typeof outgoing.content === 'string') response.send(outgoing.content);
      else stream(response, outgoing.content);
  }
}

/** Reads no faster than it is read; ends with whoever reads. */
function stream(response: Response, content: AsyncIterable<string | Uint8Array>): void {
  response.flushHeaders();
  // What breaks a stream is seen by its reader: it ends without its end.
  pipeline(Readable.from(content), response).catch(() => undefined);
}

async function* lines(items: AsyncIterable<unknown>, before: string, after: string): AsyncGenerator<string> {
  try {
    for await (const item of items) yield `${before}${JSON.stringify(item)}${after}`;
  } catch (error) {
    yield `${before}${JSON.stringify({ error: refusalOf(error) })}${after}`;
  }
}
