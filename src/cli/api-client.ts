// The API of an agent, as daolictl uses it: of this host on its unix socket, of another host of the cluster through that, or
// over TCP with certificates. See target.ts for how it is said which.

import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { JsonClient, type CallOptions, type RequestHead } from '../base/json-client';
import type { Target } from './target';

/** What the agent refused, in its words, or why it cannot be asked. */
export class ApiError extends Error {}

export class ApiClient {
  private readonly client: JsonClient;

  constructor(private readonly target: Target) {
    this.client = new JsonClient({
      open: (head) => this.open(head),
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
