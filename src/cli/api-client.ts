// The API of an agent, as daolictl uses it: of this host on its unix socket, of another host of the cluster through that, or
// over TCP with certificates. See target.ts for how it is said which.

import { existsSync } from 'node:fs';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { JsonClient, type CallOptions, type RequestHead } from '../base/json-client';
import type { Target } from './target';

/** What the agent refused, in its words, or why it cannot be asked. */
export class ApiError extends Error {}

const LOOK_MS = 100;

export class ApiClient {
  private readonly client: JsonClient;

  /** `patienceMs`: how long a socket is waited for that is away, as that of an agent that starts anew. Default: not at all. */
  constructor(
    private readonly target: Target,
    private readonly patienceMs = 0,
  ) {
    this.client = new JsonClient({
      open: async (head) => {
        await this.whenThere(head);
        return this.open(head);
      },
      away: (why, cause) => this.away(why, cause),
      refused: (message) => new ApiError(message),
    });
  }

  get<T>(path: string, options?: CallOptions): Promise<T> {
    return this.client.call('GET', path, undefined, options) as Promise<T>;
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.client.call('POST', path, body) as Promise<T>;
  }

  put<T>(path: string, body?: object): Promise<T> {
    return this.client.call('PUT', path, body) as Promise<T>;
  }

  delete<T>(path: string): Promise<T> {
    return this.client.call('DELETE', path) as Promise<T>;
  }

  /** The values of an answer that goes on, as they come. Leaving the loop ends it. */
  lines<T>(path: string, options?: CallOptions): AsyncGenerator<T, void, undefined> {
    return this.client.lines(path, options) as AsyncGenerator<T, void, undefined>;
  }

  /** An answer that is no JSON, as it comes. It goes on for as long as it does; destroying it ends it. */
  content(path: string, options?: CallOptions): Promise<IncomingMessage> {
    return this.client.content(path, options);
  }

  /** Begins a request, whose body, errors and answer are the caller's concern. */
  open({ path, ...head }: RequestHead): ClientRequest {
    const { target } = this;
    const options = { ...head, path: pathAt(target, path) };
    if (target.kind === 'unix') return request({ ...options, socketPath: target.path });
    const { address: host, port, ca, certificate: cert, key } = target;
    return requestTls({ ...options, host, port, ca, cert, key, minVersion: 'TLSv1.3' });
  }

  /** Where no agent has ever been, none is waited for. */
  private async whenThere({ signal }: RequestHead): Promise<void> {
    const { target } = this;
    if (target.kind !== 'unix' || this.patienceMs === 0 || !existsSync(dirname(target.path))) return;
    const end = performance.now() + this.patienceMs;
    while (signal?.aborted !== true && performance.now() < end && (await isAway(target.path))) await sleep(LOOK_MS);
  }

  private away(why: string, cause: unknown): ApiError {
    const { target } = this;
    if (target.kind === 'unix') {
      const hint = 'is the plugin enabled (docker plugin ls), and are you root?';
      return new ApiError(`the agent cannot be reached at ${target.path} (${why}): ${hint}`, { cause });
    }
    const where = `${target.address}:${target.port}`;
    const hint = 'is DAOLINET_API set there (`daolictl api status`), and has its authority signed your certificate?';
    return new ApiError(`the agent cannot be reached at ${where} (${why}): ${hint}`, { cause });
  }
}

/** The same path, of the host that is meant. */
function pathAt({ host }: Target, path: string): string {
  return host === undefined ? path : path.replace('/v1/', `/v1/at/${encodeURIComponent(host)}/`);
}

/** Whether nobody listens there. */
function isAway(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.once('connect', () => end(false));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => end(code === 'ENOENT' || code === 'ECONNREFUSED'));
  });
}
