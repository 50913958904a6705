// Passes what a browser asks on to the agent's API, which a browser cannot reach: it is on a unix socket, or wants certificates.
// Whoever is on this machine can connect to 127.0.0.1, and so can every page in the browser, so each request has to show that it is
// the one browser's for which the address was printed: the address holds a secret that is good once, for a cookie.

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type ClientRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Refusal } from '../api/refusal';
import type { RequestHead } from '../base/json-client';

/** Begins a request to the agent; its body is sent by the caller. */
export type OpenAgent = (head: RequestHead) => ClientRequest;

const LOOPBACK = '127.0.0.1';
const HOSTS = [LOOPBACK, 'localhost'];
const HTTP_PORT = 80;
const SECRET_BYTES = 32;
const MAX_CONNECTIONS = 64;
const READS = new Set(['GET', 'HEAD']);
/** What is passed on of a request. Of an answer all is, but for what is of the connection alone. */
const PASSED = ['accept', 'content-type', 'content-length', 'if-none-match'];
const OF_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'set-cookie']);
/** Goes on to the page by itself: a browser that follows a link from elsewhere would not show the cookie at once. */
const WELCOME =
  '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/"><title>DaoliNet</title>';
const WELCOME_HEADERS = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
};

export class WebProxy {
  private readonly server: Server;
  /** Good for one request; undefined when it was used. */
  private secret: string | undefined = randomBytes(SECRET_BYTES).toString('base64url');
  private readonly session = randomBytes(SECRET_BYTES).toString('base64url');

  constructor(private readonly openAgent: OpenAgent) {
    this.server = createServer((request, response) => this.take(request, response));
    this.server.maxConnections = MAX_CONNECTIONS;
  }

  /** Listens; 0 is any port that is free. Resolves with the address for the browser. */
  async start(port: number): Promise<string> {
    await new Promise<void>((resolve, reject) => {
      const failed = ({ code, message }: NodeJS.ErrnoException) => {
        const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be had (${message})`;
        reject(new Error(`port ${port} of ${LOOPBACK} ${why}: choose another one, or none`));
      };
      this.server.once('error', failed);
      this.server.listen(port, LOOPBACK, resolve);
    });
    return `http://${LOOPBACK}:${this.port}/?secret=${this.secret}`;
  }

  /** Ends what is under way, too. Idempotent. */
  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Cookies know no ports: another proxy of this machine has its own by its name. */
  private get cookie(): string {
    return `daolinet-${this.port}`;
  }

  private take(request: IncomingMessage, response: ServerResponse): void {
    const problem = this.problemOf(request);
    if (problem !== undefined) return refuse(response, 403, problem);
    const secret = new URLSearchParams(/\?(.*)/s.exec(request.url ?? '')?.[1]).get('secret');
    if (secret !== null) return this.welcome(request, response, secret);
    if (!isFromOurs(request)) return refuse(response, 403, 'a page of another place has no business here');
    if (!this.hasCookie(request)) {
      return refuse(response, 403, 'open the address that daolictl web has printed; it is good once, for one browser');
    }
    this.pass(request, response);
  }

  /** Why it cannot be of our page, whatever it shows. */
  private problemOf({ method = '', headers }: IncomingMessage): string | undefined {
    const hosts = HOSTS.map((name) => (this.port === HTTP_PORT ? name : `${name}:${this.port}`));
    const { host = '', origin } = headers;
    // A name that was made to lead here is none of these.
    if (!hosts.includes(host)) return `this is ${hosts.join(' or ')}, not ${host}`;
    const isOurs = origin === `http://${host}`;
    if (origin !== undefined && !isOurs) return `a page of ${origin} has no business here`;
    // Browsers say it of every request that is no reading one.
    if (!READS.has(method) && !isOurs) return 'what changes something says which page it comes from';
    return undefined;
  }

  private welcome({ method }: IncomingMessage, response: ServerResponse, secret: string): void {
    if (method !== 'GET' || this.secret === undefined || !isSame(secret, this.secret)) {
      return refuse(response, 403, 'this address was used already, or never held: run daolictl web again');
    }
    this.secret = undefined;
    const cookie = `${this.cookie}=${this.session}; HttpOnly; SameSite=Strict; Path=/`;
    response.writeHead(200, { ...WELCOME_HEADERS, 'Set-Cookie': cookie }).end(WELCOME);
  }

  private hasCookie({ headers }: IncomingMessage): boolean {
    const cookies = (headers.cookie ?? '').split(/;\s*/);
    const name = `${this.cookie}=`;
    return cookies.some((each) => each.startsWith(name) && isSame(each.slice(name.length), this.session));
  }

  private pass(request: IncomingMessage, response: ServerResponse): void {
    const { method = 'GET', url = '/' } = request;
    const headers = Object.fromEntries(
      PASSED.flatMap((name) => {
        const value = request.headers[name];
        return typeof value === 'string' ? [[name, value]] : [];
      }),
    );
    const call = this.openAgent({ method, path: url, headers });
    call.on('error', (error) => {
      if (response.headersSent) return void response.destroy();
      refuse(response, 502, `the agent cannot be reached: ${error.message}`);
    });
    call.on('response', (answer) => void this.answer(answer, response));
    response.on('close', () => call.destroy());
    // An agent may refuse before it has read all; that shows in its answer.
    pipeline(request, call).catch(() => undefined);
  }

  private async answer(answer: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = Object.entries(answer.headers).filter(([name]) => !OF_CONNECTION.has(name));
    response.writeHead(answer.statusCode ?? 502, Object.fromEntries(headers)).flushHeaders();
    // What ends in the middle is seen by the page.
    await pipeline(answer, response).catch(() => undefined);
  }
}

/** Another port of this machine is the same site to a browser, which would show the cookie; but it says where it comes from. */
function isFromOurs({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site'];
  return site === undefined || site === 'same-origin' || site === 'none';
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function refuse(response: ServerResponse, status: number, message: string): void {
  const refusal: Refusal = { message, code: status === 502 ? 'unavailable' : 'invalid' };
  const headers = { 'Content-Type': 'application/json; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };
  response.writeHead(status, headers).end(JSON.stringify(refusal));
}
