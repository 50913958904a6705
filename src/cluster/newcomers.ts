// What hosts ask a server besides the directory: a newcomer to be let in, a host for its next certificate, or for what it takes
// to be a server itself. And the asking side of it.

import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { request as httpRequest } from 'node:http';
import { connect, type TLSSocket } from 'node:tls';
import { z } from 'zod';
import { parseAddressPort, type AddressPort } from '../base/address-port';
import { formatIpv4, parseCidr, parseIpv4, parseMac, type Cidr, type Ipv4 } from '../base/addresses';
import { parsed, parserOf } from '../base/body-schema';
import { DaoliError, messageOf, type ErrorCode } from '../base/errors';
import { DEFAULT_SITE, SITE_NAME } from '../directory/rows';
import { fingerprintOf, type Identity } from '../pki/authority';
import { SERVERS, type ClusterFacts, type KnownServer } from './files';
import { certificateOf, FRONT_PORT, HTTP_PROTOCOL, provenNameOf } from './front';
import type { Newcomer } from './membership';
import { seenFrom } from './sites';
import { doorsOf, type Token } from './token';

const MAX_BODY_BYTES = 64 * 1024;
/** A server writes twice, and may have to wait for an election. */
const ANSWER_MS = 20_000;
/** Where the server has another address yet. */
const FIRST_DOOR_MS = 5_000;

const text = z.string({ error: 'is not text' }).min(1, 'is empty').max(16_384, 'is too long');
const HOST_NAME = z
  .string({ error: 'is not text' })
  .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/, 'is not a host name');
const JOIN = z.object({
  name: HOST_NAME,
  address: parsed(parseIpv4),
  routerMac: parsed(parseMac),
  datapathId: z.string({ error: 'is not text' }).regex(/^[0-9a-f]{16}$/, 'is not 16 hex digits'),
  site: z.string({ error: 'is not text' }).regex(SITE_NAME, 'is no name of a site').default(DEFAULT_SITE),
  isHub: z.boolean().default(false),
  encrypts: z.boolean().optional(),
  endpoint: parsed((value) => parseAddressPort(value)).optional(),
  local: parsed(parseIpv4).optional(),
  secret: text,
  now: z.number({ error: 'is not a number' }),
  request: text,
});

/** What a newcomer says, with the request for its certificate. */
export interface JoinRequest extends Omit<Newcomer, 'digest'> {
  readonly request: string;
  /** Its address on the way to the server: where that is not the one that it comes from, NAT is in between. */
  readonly local: Ipv4 | undefined;
}

/** What it takes to be a server. */
export interface ServerSecrets {
  /** The authority's, as PEM. */
  readonly authorityKey: string;
  /** Raft's name of the servers' database. */
  readonly clusterId: string;
}

/** What it is told: all that it needs to be one of the cluster. */
export interface JoinAnswer {
  readonly certificate: string;
  readonly authority: string;
  readonly locatorRange: Cidr;
  readonly servers: readonly KnownServer[];
  readonly site: string;
  /** Where other sites reach it; undefined behind NAT. */
  readonly endpoint: AddressPort | undefined;
  /** Where it is to be a server. */
  readonly secrets: ServerSecrets | undefined;
}

const SECRETS = z.object({ authorityKey: text, clusterId: z.uuid() });
const WAITING = z.object({ isWaiting: z.literal(true) });
const ANSWER = z.object({
  certificate: text,
  authority: text,
  locators: parsed(parseCidr),
  servers: SERVERS,
  site: JOIN.shape.site,
  endpoint: JOIN.shape.endpoint,
  secrets: SECRETS.optional(),
});
const RENEWED = z.object({ certificate: text });
const parseRenew = parserOf(z.object({ request: text }));
const parseJoin = parserOf(JOIN);

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = { invalid: 400, 'not-found': 404, conflict: 409 };

/** What a server does about each. `fingerprint` is of the certificate that the host came in with. */
export interface FrontDesk {
  /** `seen`: the address that the newcomer comes from; `proven`: the name that a certificate of this cluster gives it. */
  letIn(request: JoinRequest, seen: Ipv4, proven: string | undefined): Promise<object>;
  /** The host's next certificate, beside the one that it has. */
  renew(fingerprint: string, request: string): Promise<object>;
  /** The one that the host came in with, alone. */
  settle(fingerprint: string): Promise<object>;
  /** For a host that is to be a server. */
  secrets(fingerprint: string): Promise<ServerSecrets>;
}

/** The Express application behind a server's front. */
export function frontDeskApp(desk: FrontDesk): Express {
  const app = express();
  app.disable('x-powered-by');
  app.use(express.json({ limit: MAX_BODY_BYTES }));
  app.post('/v1/join', async (request, response) => {
    const { encrypts, endpoint, local, ...newcomer } = parseJoin(request.body);
    const seen = addressOf(request.socket.remoteAddress);
    const proven = provenNameOf(request.socket as TLSSocket);
    response.json(await desk.letIn({ ...newcomer, encrypts, endpoint, local }, seen, proven));
  });
  const forHosts = (path: string, answer: (fingerprint: string, body: unknown) => Promise<object>) =>
    app.post(path, async (request, response) => {
      const fingerprint = certificateOf(request.socket as TLSSocket);
      if (fingerprint === undefined) throw new DaoliError('invalid', 'hosts ask that, with their certificate');
      response.json(await answer(fingerprint, request.body));
    });
  forHosts('/v1/renew', (fingerprint, body) => desk.renew(fingerprint, parseRenew(body).request));
  forHosts('/v1/settle', (fingerprint) => desk.settle(fingerprint));
  forHosts('/v1/secrets', (fingerprint) => desk.secrets(fingerprint));
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
 * Asks the server that the token names, once it has proved to be the one that made it. `site` is this host's; `ask` is given
 * its address on the way there. With an identity of this cluster it may come again. `waiting`: somebody has to say yes first; the same is to be asked again. Throws what the server says, `unavailable` where none answers, and `conflict` where somebody else does.
 */
export async function askToJoin(
  token: Token,
  site: string,
  ask: (ownAddress: Ipv4) => object,
  identity?: Identity,
): Promise<JoinAnswer | 'waiting'> {
  const socket = await connectToFirst(doorsOf(token, site), [token.certificate], identity);
  try {
    const said = await post(socket, '/v1/join', ask(addressOf(socket.localAddress)));
    if (WAITING.safeParse(said).success) return 'waiting';
    const answer = ANSWER.parse(said);
    const { locators: locatorRange, secrets, endpoint, ...rest } = answer;
    return { ...rest, locatorRange, secrets, endpoint };
  } finally {
    socket.destroy();
  }
}

/** The first of a server's addresses at which it answers, and proves to be it. Throws what is in the way of the first. */
async function connectToFirst(
  doors: readonly string[],
  certificates: readonly string[],
  identity: Identity | undefined,
): Promise<TLSSocket> {
  let problem: unknown;
  for (const [index, door] of doors.entries()) {
    const isLast = index === doors.length - 1;
    try {
      return await connectTo(door, certificates, { identity, withinMs: isLast ? ANSWER_MS : FIRST_DOOR_MS });
    } catch (error) {
      problem ??= error;
    }
  }
  throw problem;
}

/** Node.js spells IPv4 addresses as IPv6 ones on some sockets. */
function addressOf(text: string | undefined): Ipv4 {
  return parseIpv4((text ?? '').replace(/^::ffff:/, ''));
}

/** A host that asks the servers, with what it knows of them. */
type Asking = Pick<ClusterFacts, 'servers' | 'identity' | 'datapathId' | 'site'>;

/** Asks a server for this host's next certificate. Throws what it says, and `unavailable` where none answers. */
export async function askToRenew(asking: Asking, request: string): Promise<string> {
  return RENEWED.parse(await askServers(asking, '/v1/renew', { request })).certificate;
}

/** Tells a server that this host has come with its next certificate. Throws as `askToRenew`. */
export async function askToSettle(asking: Asking): Promise<void> {
  await askServers(asking, '/v1/settle', {});
}

/** Asks a server for what it takes to be one. Throws as `askToRenew`. */
export async function askForSecrets(asking: Asking): Promise<ServerSecrets> {
  return SECRETS.parse(await askServers(asking, '/v1/secrets', {}));
}

/** The first of the other servers that answers. */
async function askServers(
  { servers, identity, datapathId, site }: Asking,
  path: string,
  body: object,
): Promise<unknown> {
  let problem: unknown = new DaoliError('unavailable', 'there is no other server in the cluster');
  for (const server of seenFrom(site, servers).filter((each) => each.datapathId !== datapathId)) {
    const socket = await connectTo(formatIpv4(server.address), server.certificates, { identity }).catch(
      (error: unknown) => void (problem = error),
    );
    if (socket === undefined) continue;
    try {
      return await post(socket, path, body);
    } catch (error) {
      // Another may be with most of the servers where this one is not.
      if (!(error instanceof DaoliError) || error.code === 'conflict' || error.code === 'invalid') throw error;
      problem = error;
    } finally {
      socket.destroy();
    }
  }
  throw problem;
}

interface Connecting {
  readonly identity?: Identity | undefined;
  /** Default ANSWER_MS. */
  readonly withinMs?: number;
}

/** `certificates` are the fingerprints that the server may show. */
function connectTo(server: string, certificates: readonly string[], how: Connecting): Promise<TLSSocket> {
  const { identity, withinMs = ANSWER_MS } = how;
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
    socket.setTimeout(withinMs, () => unavailable('no answer in time'));
    socket.once('error', (error) => unavailable(messageOf(error)));
    socket.once('secureConnect', () => {
      if (certificates.includes(fingerprintOf(socket.getPeerCertificate().raw))) {
        socket.setTimeout(ANSWER_MS);
        return resolve(socket);
      }
      const message = `${where} is not the server that is meant: somebody else answers there, or its certificate is another by now`;
      reject(new DaoliError('conflict', message, server));
      socket.destroy();
    });
  });
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
