// The management APIs of the other hosts, through their doors: how this host's agent acts on another, or asks what that has.
// Servers of the cluster may, since they have the authority's key and are trusted anyway; a client may not, so that whoever
// takes one over has that host alone. Both sides hold to it: this one, and the door (see front.ts).
//
// Other parts use it as `agent.remote('h2').get('/v1/status', AGENT_STATUS)`. The host that answers may be one that was broken
// into: what it says is bounded, and checked by the schema.

import { request as httpRequest, type ClientRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { connect, type TLSSocket } from 'node:tls';
import type { z } from 'zod';
import { formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import { JsonClient, type CallOptions, type RequestHead } from '../base/json-client';
import { didYouMean } from '../base/similar-names';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { fingerprintOf } from '../pki/authority';
import { factsOfServer } from './desk';
import type { ClusterFacts } from './files';
import { API_PROTOCOL, FRONT_PORT } from './front';
import { doorOf } from './sites';

export interface RemoteAgentsParts {
  readonly store: DirectoryStore;
  readonly locatorRange: Cidr;
  /** What this host knows of its cluster at this moment. */
  readonly facts: () => ClusterFacts | undefined;
  /** Default FRONT_PORT. */
  readonly port?: number;
}

const CONNECT_MS = 5_000;
/** A stream that nobody hears of any more ends some minutes later. */
const KEEP_ALIVE_MS = 30_000;
/** What is passed on of a request, and of its answer. */
const REQUEST_HEADERS = ['accept', 'content-type', 'content-length'] as const;
const ANSWER_HEADERS = ['content-type', 'content-length', 'content-disposition'] as const;

export class RemoteAgents {
  constructor(private readonly parts: RemoteAgentsParts) {}

  isThis(name: string): boolean {
    return name === this.parts.store.host;
  }

  /**
   * Another host's agent. Throws `conflict` where this host may not ask it, saying which hosts may, `not-found` where there is no
   * such host, with names that are like it.
   */
  at(name: string): RemoteAgent {
    return this.agentOf(name, factsOfServer(this.parts.facts(), 'reach the agents of other hosts'));
  }

  /** The same for OPEN_CALL, which any host may make. Throws `conflict` outside of a cluster. */
  openAt(name: string): RemoteAgent {
    const own = this.parts.facts();
    if (own === undefined) throw new DaoliError('conflict', 'this host is in no cluster');
    return this.agentOf(name, own);
  }

  private agentOf(name: string, own: ClusterFacts): RemoteAgent {
    const { store, locatorRange, port = FRONT_PORT } = this.parts;
    const hosts = [...store.view.hosts()].map((row) => row.name);
    const row = store.view.host(name);
    if (row === undefined)
      throw new DaoliError('not-found', `there is no host ${name}${didYouMean(name, hosts)}`, name);
    return new RemoteAgent(row, own, { address: doorOf(store.view, store.host, row, locatorRange), port });
  }
}

/** One of them, as it is known now: not for keeping. */
export class RemoteAgent {
  private readonly client: JsonClient;

  constructor(
    private readonly row: HostRow,
    private readonly facts: Pick<ClusterFacts, 'identity' | 'authority'>,
    private readonly door: { readonly address: Ipv4 | undefined; readonly port: number },
  ) {
    this.client = new JsonClient({
      open: (head) => this.open(head),
      away: (why, cause) => this.away(why, cause),
      refused: (message, code) => new DaoliError(code, `host ${row.name} says: ${message}`, row.name),
    });
  }

  /**
   * Throws what the host says, `unavailable` where it is out of reach or does not answer in time, `conflict` where its agent is too old
   * to be asked.
   */
  async get<S extends z.ZodType>(path: string, schema: S, options?: CallOptions): Promise<z.output<S>> {
    return this.checked(schema, await this.client.call('GET', path, undefined, options));
  }

  async post<S extends z.ZodType>(path: string, body: object, schema: S, options?: CallOptions): Promise<z.output<S>> {
    return this.checked(schema, await this.client.call('POST', path, body, options));
  }

  async put<S extends z.ZodType>(path: string, body: object, schema: S, options?: CallOptions): Promise<z.output<S>> {
    return this.checked(schema, await this.client.call('PUT', path, body, options));
  }

  async delete<S extends z.ZodType>(path: string, schema: S, options?: CallOptions): Promise<z.output<S>> {
    return this.checked(schema, await this.client.call('DELETE', path, undefined, options));
  }

  /** The values of an answer that goes on, as they come. Leaving the loop ends it. */
  async *lines<S extends z.ZodType>(
    path: string,
    schema: S,
    options?: CallOptions,
  ): AsyncGenerator<z.output<S>, void, undefined> {
    for await (const value of this.client.lines(path, options)) yield this.checked(schema, value);
  }

  /** Bytes as they come. Destroying it ends it. */
  content(path: string, options?: CallOptions): Promise<IncomingMessage> {
    return this.client.content(path, options);
  }

  /** Passes a request on, and the answer back, whatever they are. Throws `unavailable` before there is one. */
  async forward(request: IncomingMessage, path: string, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.on('close', () => gone.abort());
    const headers = chosen(request, REQUEST_HEADERS);
    const call = await this.open({ method: request.method ?? 'GET', path, headers, signal: gone.signal });
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      call.on('response', resolve);
      call.on('error', (error) => reject(this.away(error.message, error)));
      // Its own end is the answer's concern: an agent may refuse before it has read all.
      pipeline(request, call).catch(() => undefined);
    });
    response.writeHead(answer.statusCode ?? 502, chosen(answer, ANSWER_HEADERS)).flushHeaders();
    await pipeline(answer, response).catch(() => undefined);
  }

  /** A connection for one request. */
  private async open({ method, path, headers, signal }: RequestHead): Promise<ClientRequest> {
    const socket = await this.connect(signal);
    const options = { method, path, headers: { host: this.row.name, ...headers } };
    const request = httpRequest({ ...options, createConnection: () => socket, ...(signal && { signal }) });
    request.on('close', () => socket.destroy());
    return request;
  }

  private connect(signal: AbortSignal | undefined): Promise<TLSSocket> {
    const { certificates } = this.row;
    const { address, port } = this.door;
    const { identity, authority } = this.facts;
    return new Promise((resolve, reject) => {
      if (address === undefined) return reject(this.away('no way leads there yet'));
      if (signal?.aborted === true) return reject(this.away('nobody waits for the answer'));
      const socket = connect({
        host: formatIpv4(address),
        port,
        ca: authority.certificate,
        cert: identity.certificate,
        key: identity.key,
        minVersion: 'TLSv1.3',
        ALPNProtocols: [API_PROTOCOL],
        // The authority's signature was checked before.
        checkServerIdentity: (_name, { raw }) =>
          certificates.includes(fingerprintOf(raw)) ? undefined : new Error('the certificate is not that host’s'),
      });
      const fail = (why: string, cause?: unknown) => {
        socket.destroy();
        reject(this.away(why, cause));
      };
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      socket.setTimeout(CONNECT_MS, () => fail('no answer in time'));
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (isRefusal(error)) reject(this.older());
        fail(messageOf(error), error);
      });
      socket.once('close', () => fail('it ended the connection'));
      socket.once('secureConnect', () => {
        socket.setTimeout(0);
        if (socket.alpnProtocol === API_PROTOCOL) resolve(socket);
        else {
          reject(this.older());
          socket.destroy();
        }
      });
    });
  }

  private checked<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
    const result = schema.safeParse(value);
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    const place = issue === undefined ? '' : ` (${issue.path.join('.')}: ${issue.message})`;
    throw new DaoliError('internal', `host ${this.row.name} answers something else than was asked${place}`);
  }

  private older(): DaoliError {
    const { name } = this.row;
    const message = `the agent of host ${name} is older, and takes no such calls yet: upgrade the plugin there`;
    return new DaoliError('conflict', message, name);
  }

  private away(why: string, cause?: unknown): DaoliError {
    const { name } = this.row;
    const { address, port } = this.door;
    const where = address === undefined ? '' : ` at ${formatIpv4(address)}:${port}`;
    const message = `the agent of host ${name} cannot be reached${where} (${why}): is it up?`;
    return new DaoliError('unavailable', message, name, { cause });
  }
}

/** By one who does not know the protocol that it was asked for (RFC 7301 §3.2). */
function isRefusal(error: NodeJS.ErrnoException): boolean {
  return error.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL';
}

function chosen({ headers }: IncomingMessage, names: readonly string[]): Record<string, string> {
  const entries = names.map((name) => [name, headers[name]] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
}
