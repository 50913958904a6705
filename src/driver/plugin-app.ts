// HTTP in, HTTP out: one POST of Docker's plugin protocol becomes one call of a handler, and its result or error one
// answer. Knows neither what the methods do nor which sockets they came through.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { Deadline } from './deadline';

/** Takes the decoded body (undefined where the method has none) and gives the object to answer with. */
export type PluginHandler = (body: unknown, deadline: Deadline) => object | Promise<object>;
/** By method, as in `NetworkDriver.Join`. */
export type PluginHandlers = Readonly<Record<string, PluginHandler>>;

/** One answered call, for metrics. `error` is the message that Docker got. */
export interface PluginCall {
  readonly method: string;
  readonly durationMs: number;
  readonly error?: string;
}

export interface PluginAppOptions {
  readonly handlers: PluginHandlers;
  readonly logger: Logger;
  readonly clock: Clock;
  /** A call that takes longer is answered with an error. */
  readonly callLimitMs: number;
  /** More calls at the same time are refused. */
  readonly maxCalls: number;
  readonly onCall?: (call: PluginCall) => void;
}

const CONTENT_TYPE = 'application/vnd.docker.plugins.v1.2+json';
const MAX_BODY_BYTES = 1024 * 1024;
/** Docker sends these without a body; any other method without one is a repetition that lost it. */
const WITHOUT_BODY = /^(Plugin\.Activate|.+\.(GetCapabilities|GetDefaultAddressSpaces))$/;
const LOGGED_IDS = ['NetworkID', 'EndpointID', 'PoolID', 'Address'] as const;

const STATUS: Readonly<Partial<Record<DaoliError['code'], number>>> = { invalid: 400 };

function decodeBody(method: string, raw: unknown): unknown {
  if (WITHOUT_BODY.test(method)) return undefined;
  if (!Buffer.isBuffer(raw) || raw.length === 0) {
    // Docker repeats a call whose connection broke, and sends nothing the second time (moby, pkg/plugins/client.go).
    throw new DaoliError(
      'invalid',
      'the request has an empty body, as Docker repeats a call that broke off: try again',
    );
  }
  try {
    return JSON.parse(raw.toString('utf8'));
  } catch (error) {
    throw new DaoliError('invalid', `the request is not JSON: ${messageOf(error)}`, undefined, { cause: error });
  }
}

/** Lets the caller's wait be registered before the first one of the handler. */
async function run(handler: PluginHandler, body: unknown, deadline: Deadline): Promise<object> {
  await Promise.resolve();
  return handler(body, deadline);
}

function idsOf(body: unknown): Record<string, string> {
  const ids: Record<string, string> = {};
  for (const key of LOGGED_IDS) {
    const value = (body as Record<string, unknown> | null | undefined)?.[key];
    if (typeof value === 'string' && value !== '') ids[key] = value.slice(0, 64);
  }
  return ids;
}

/** What went wrong before a handler was reached: express's own errors carry a status. */
function statusOf(error: unknown): number {
  if (error instanceof DaoliError) return STATUS[error.code] ?? 500;
  const status = (error as { status?: unknown }).status;
  return typeof status === 'number' && status >= 400 && status < 600 ? status : 500;
}

/** The calls of one process. */
export class PluginApp {
  readonly express: Express = express();
  /** Once set, every answer ends its connection. */
  closing = false;
  private calls = 0;
  private idle: (() => void)[] = [];
  private readonly handlers: ReadonlyMap<string, PluginHandler>;

  constructor(private readonly options: PluginAppOptions) {
    this.handlers = new Map(Object.entries(options.handlers)); // a Map: "__proto__" is not a method
    this.express.disable('x-powered-by').disable('etag').set('query parser', false);
    this.express.use((_request, response, next) => this.count(response, next));
    // Every type: Docker sends no Content-Type.
    this.express.use(express.raw({ type: () => true, limit: MAX_BODY_BYTES, inflate: false }));
    this.express.use((request, response) => this.handle(request, response));
    this.express.use((error: unknown, request: Request, response: Response, _next: NextFunction) =>
      this.refuse(request.path.slice(1), error, response),
    );
  }

  /** Resolves as soon as no request is being read or answered. */
  onIdle(): Promise<void> {
    if (this.calls === 0) return Promise.resolve();
    return new Promise((resolve) => this.idle.push(resolve));
  }

  private async handle(request: Request, response: Response): Promise<void> {
    const method = request.path.slice(1);
    const handler = request.method === 'POST' ? this.handlers.get(method) : undefined;
    if (handler === undefined) {
      return this.refuse(method, { status: 404, message: `DaoliNet has no method ${method.slice(0, 100)}` }, response);
    }
    await this.call(method, handler, request, response);
  }

  private count(response: Response, next: NextFunction): void {
    this.calls += 1;
    response.once('close', () => {
      this.calls -= 1;
      if (this.calls === 0) for (const resolve of this.idle.splice(0)) resolve();
    });
    next();
  }

  private async call(method: string, handler: PluginHandler, request: Request, response: Response): Promise<void> {
    const { clock, callLimitMs, maxCalls, onCall } = this.options;
    const start = clock.now();
    const deadline = new Deadline(clock, callLimitMs);
    let body: unknown;
    try {
      if (this.calls > maxCalls) throw new DaoliError('unavailable', `more than ${maxCalls} calls at once: try again`);
      body = decodeBody(method, request.body);
      const answer = await deadline.wait('DaoliNet', run(handler, body, deadline));
      this.answer(response, 200, answer);
      onCall?.({ method, durationMs: clock.now() - start });
    } catch (error) {
      this.refuse(method, error, response, idsOf(body));
      onCall?.({ method, durationMs: clock.now() - start, error: messageOf(error) });
    } finally {
      deadline.end();
    }
  }

  private refuse(method: string, error: unknown, response: Response, ids: Record<string, string> = {}): void {
    const status = statusOf(error);
    const message = error instanceof Error ? error.message : (error as { message: string }).message;
    const isBug = status === 500 && (!(error instanceof DaoliError) || error.code === 'internal');
    const stack = isBug && error instanceof Error ? { stack: error.stack } : {};
    this.options.logger[isBug ? 'error' : 'warn'](`${method.slice(0, 100)} failed: ${message}`, { ...ids, ...stack });
    this.answer(response, status, { Err: message, Error: message });
  }

  private answer(response: Response, status: number, body: object): void {
    if (response.headersSent || response.destroyed) return;
    const text = JSON.stringify(body);
    const head: Record<string, string | number> = {
      'Content-Type': CONTENT_TYPE,
      'Content-Length': Buffer.byteLength(text),
    };
    if (this.closing) head['Connection'] = 'close';
    response.writeHead(status, head).end(text);
  }
}
