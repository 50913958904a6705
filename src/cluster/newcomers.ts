// What hosts ask a server besides the directory: a newcomer to be let in, a member for its next certificate. And the asking
// side of both.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { request as httpRequest } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { z } from 'zod';
import { parseCidr, parseIpv4, parseMac, type Cidr, type Ipv4 } from '../base/addresses';
import { parsed, parserOf } from '../base/body-schema';
import { DaoliError, messageOf, type ErrorCode } from '../base/errors';
import { fingerprintOf, isSignedBy, type Identity } from '../pki/authority';
import { FRONT_PORT, HTTP_PROTOCOL } from './front';
import type { Newcomer } from './membership';
import type { Token } from './token';

const MAX_BODY_BYTES = 64 * 1024;
const ANSWER_MS = 10_000;

const text = z.string({ error: 'is not text' }).min(1, 'is empty').max(16_384, 'is too long');
const HOST_NAME = z
  .string({ error: 'is not text' })
  .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'is not a host name');
const JOIN = z.object({
  name: HOST_NAME,
  address: parsed(parseIpv4),
  routerMac: parsed(parseMac),
  datapathId: z.string({ error: 'is not text' }).regex(/^[0-9a-f]{16}$/, 'is not 16 hex digits'),
  secret: text,
  now: z.number({ error: 'is not a number' }),
  request: text,
});

/** What a newcomer says, with the request for its certificate. */
export type JoinRequest = Newcomer & { readonly request: string };

/** What it is told: all that it needs to be one of the cluster. */
export interface JoinAnswer {
  readonly certificate: string;
  readonly authority: string;
  readonly locatorRange: Cidr;
  readonly servers: readonly Ipv4[];
}

const ANSWER = z.object({
  certificate: text,
  authority: text,
  locators: parsed(parseCidr),
  servers: z.array(parsed(parseIpv4)).min(1),
});
const RENEWED = z.object({ certificate: text });
const parseRenew = parserOf(z.object({ request: text }));
const parseJoin: (body: unknown) => JoinRequest = parserOf(JOIN);

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = { invalid: 400, 'not-found': 404, conflict: 409 };

/** What a server does about each. */
export interface FrontDesk {
  letIn(request: JoinRequest): Promise<object>;
  /** `fingerprint` is of the certificate that the host came in with. */
  renew(fingerprint: string, request: string): Promise<object>;
}

/** The Express application behind a server's front. */
export function frontDeskApp(desk: FrontDesk): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ limit: MAX_BODY_BYTES }));
  app.post('/v1/join', async (request, response) => {
    response.json(await desk.letIn(parseJoin(request.body)));
  });
  app.post('/v1/renew', async (request, response) => {
    const socket = request.socket as TLSSocket;
    if (!socket.authorized) throw new DaoliError('invalid', 'a host renews the certificate that it comes in with');
    const fingerprint = fingerprintOf(socket.getPeerCertificate().raw);
    response.json(await desk.renew(fingerprint, parseRenew(request.body).request));
  });
  app.use((request: Request, response: Response) => {
    response.status(404).json({ message: `there is no ${request.method} ${request.path}`, code: 'not-found' });
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const code = error instanceof DaoliError ? error.code : 'invalid';
    response.status(STATUS[code] ?? 500).json({ message: messageOf(error), code });
  });
  return app;
}

/**
 * Asks the server that the token names, once it has proved to be of the cluster that the token is of. `ask` is given this
 * host's address on the way there. Throws what the server says, `unavailable` where none answers, and `conflict` where
 * somebody else does.
 */
export async function askToJoin(token: Token, ask: (ownAddress: Ipv4) => object): Promise<JoinAnswer> {
  const socket = await connectTo(token);
  try {
    const own = parseIpv4((socket.localAddress ?? '').replace(/^::ffff:/, ''));
    const answer = ANSWER.parse(await post(socket, '/v1/join', ask(own)));
    const { certificate, authority, locators: locatorRange, servers } = answer;
    return { certificate, authority, locatorRange, servers };
  } finally {
    socket.destroy();
  }
}

/** Asks a server for this host's next certificate. Throws as `askToJoin`. */
export async function askToRenew(
  server: Pick<Token, 'server' | 'authority'>,
  identity: Identity,
  request: string,
): Promise<string> {
  const socket = await connectTo(server, identity);
  try {
    return RENEWED.parse(await post(socket, '/v1/renew', { request })).certificate;
  } finally {
    socket.destroy();
  }
}

function connectTo(
  { server, authority }: Pick<Token, 'server' | 'authority'>,
  identity?: Identity,
): Promise<TLSSocket> {
  const where = `${server}:${FRONT_PORT}`;
  return new Promise((resolve, reject) => {
    const unavailable = (why: string) => {
      const message = `no server of the cluster answers at ${where} (${why}): is it up, and is the port open?`;
      reject(new DaoliError('unavailable', message, server));
      socket.destroy();
    };
    const socket = connect({
      host: server,
      port: FRONT_PORT,
      ALPNProtocols: [HTTP_PROTOCOL],
      minVersion: 'TLSv1.3',
      ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
      // By fingerprint, below: before this host has the authority's certificate there is nothing else to go by.
      rejectUnauthorized: false,
    });
    socket.setTimeout(ANSWER_MS, () => unavailable('no answer in time'));
    socket.once('error', (error) => unavailable(messageOf(error)));
    socket.once('secureConnect', () => {
      if (isOfCluster(socket, authority)) return resolve(socket);
      const message = `${where} is not the cluster that the token is of: somebody else answers there`;
      reject(new DaoliError('conflict', message, server));
      socket.destroy();
    });
  });
}

/** The server shows its certificate, and the authority's behind it. */
function isOfCluster(socket: TLSSocket, authority: string): boolean {
  const own = socket.getPeerX509Certificate();
  const issuer = own?.issuerCertificate;
  if (own === undefined || issuer === undefined) return false;
  return fingerprintOf(issuer.raw) === authority && isSignedBy(own.raw, issuer.raw);
}

function post(socket: TLSSocket, path: string, body: object): Promise<unknown> {
  const content = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(content),
      host: 'cluster',
    };
    const request = httpRequest({ method: 'POST', path, headers, createConnection: () => socket }, (response) => {
      let answer = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
      response.on('end', () => {
        try {
          const value = JSON.parse(answer) as { message?: string; code?: ErrorCode };
          if (response.statusCode === 200) resolve(value);
          else reject(new DaoliError(value.code ?? 'internal', value.message ?? `status ${response.statusCode}`));
        } catch (error) {
          reject(
            new DaoliError('internal', 'the server answered with something that is no JSON', path, { cause: error }),
          );
        }
      });
    });
    request.on('error', (error) => reject(new DaoliError('unavailable', `the server went away: ${messageOf(error)}`)));
    request.end(content);
  });
}
