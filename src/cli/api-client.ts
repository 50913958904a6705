// The agent's API on its unix socket, as daolictl uses it.

import { request } from 'node:http';

/** What the agent refused, in its words, or why it cannot be asked. */
export class ApiError extends Error {}

const ANSWER_MS = 60_000;

export class ApiClient {
  constructor(private readonly socketPath: string) {}

  get<T>(path: string): Promise<T> {
    return this.call<T>('GET', path);
  }

  post<T>(path: string, body: object): Promise<T> {
    return this.call<T>('POST', path, body);
  }

  put<T>(path: string): Promise<T> {
    return this.call<T>('PUT', path);
  }

  delete<T>(path: string): Promise<T> {
    return this.call<T>('DELETE', path);
  }

  private call<T>(method: string, path: string, body?: object): Promise<T> {
    const content = body === undefined ? undefined : JSON.stringify(body);
    const headers = content === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise<T>((resolve, reject) => {
      const call = request({ socketPath: this.socketPath, method, path, headers, timeout: ANSWER_MS }, (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
        response.on('error', (error) => reject(this.away(error)));
        response.on('end', () => {
          const value = parse(answer);
          if (response.statusCode === 200) resolve(value as T);
          else
            reject(
              new ApiError((value as { message?: string } | undefined)?.message ?? `status ${response.statusCode}`),
            );
        });
      });
      call.on('timeout', () => call.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
      call.on('error', (error) => reject(this.away(error)));
      call.end(content);
    });
  }

  private away(error: Error): ApiError {
    const hint = 'is the plugin enabled (docker plugin ls), and are you root?';
    return new ApiError(`the agent cannot be reached at ${this.socketPath} (${error.message}): ${hint}`, {
      cause: error,
    });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
