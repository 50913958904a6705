// JSON over HTTP, as daolictl and other agents ask an agent: single answers, answers that go on a line at a time, and bytes.
// How the connection is made is the caller's. What comes back is bounded, since it may come from a host that was broken into.

import type { ClientRequest, IncomingMessage } from 'node:http';
import { StringDecoder } from 'node:string_decoder';
import type { ErrorCode } from './errors';

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly signal?: AbortSignal;
}

export interface JsonClientParts {
  /** Connects. What it rejects with is passed on as it is. */
  readonly open: (head: RequestHead) => ClientRequest | Promise<ClientRequest>;
  /** The error where there was no answer, or the end of none. */
  readonly away: (why: string, cause?: unknown) => Error;
  /** The error where the answer is a refusal. */
  readonly refused: (message: string, code: ErrorCode) => Error;
}

export interface CallOptions {
  /** For the whole of an answer; of one that goes on, for its beginning. Default 60 s. */
  readonly timeoutMs?: number;
  /** Ends the call. */
  readonly signal?: AbortSignal;
  /** Of what goes on: with a body it is a POST. */
  readonly body?: object;
}

const ANSWER_MS = 60_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_LINE_CHARACTERS = 1024 * 1024;

export class JsonClient {
  constructor(private readonly parts: JsonClientParts) {}

  /** Resolves with the value that was answered, whatever it is. */
  async call(method: string, path: string, body?: object, options: CallOptions = {}): Promise<unknown> {
    const deadline = new Deadline(options);
    try {
      const response = await this.send(method, path, body, deadline);
      return this.parse(await this.wholeOf(response, deadline));
    } finally {
      deadline.cancel();
    }
  }

  /** An answer as it comes, for as long as it does. Destroying it ends it. */
  async content(path: string, options: CallOptions = {}): Promise<IncomingMessage> {
    const deadline = new Deadline(options);
    try {
      const { body } = options;
      return await this.send(body === undefined ? 'GET' : 'POST', path, body, deadline);
    } finally {
      deadline.cancel();
    }
  }

  /** The values of an answer that goes on, as they come. Leaving the loop ends it. */
  async *lines(path: string, options: CallOptions = {}): AsyncGenerator<unknown, void, undefined> {
    const response = await this.content(path, options);
    try {
      for await (const line of this.linesOf(response)) {
        const value = this.parse(line);
        const error = refusalIn((value as { readonly error?: unknown } | null)?.error);
        if (error !== undefined) throw this.parts.refused(error.message, error.code);
        yield value;
      }
    } finally {
      response.destroy();
    }
  }

  private async send(method: string, path: string, body: object | undefined, deadline: Deadline) {
    const { open, away, refused } = this.parts;
    const content = body === undefined ? undefined : JSON.stringify(body);
    const headers =
      content === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(content) };
    const request = await open({ method, path, headers, signal: deadline.signal });
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve);
      request.on('error', (error) => reject(away(deadline.reason ?? error.message, error)));
      request.end(content);
    });
    if (response.statusCode === 200) return response;
    const refusal = refusalIn(valueOf(await this.wholeOf(response, deadline)));
    throw refused(refusal?.message ?? `status ${response.statusCode}`, refusal?.code ?? 'internal');
  }

  private async wholeOf(response: IncomingMessage, deadline: Deadline): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) throw new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`);
        chunks.push(chunk);
      }
    } catch (error) {
      throw this.parts.away(deadline.reason ?? (error as Error).message, error);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  private async *linesOf(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        const lines = (rest + decoder.write(chunk)).split('\n');
        rest = lines.pop() ?? '';
        if (rest.length > MAX_LINE_CHARACTERS) throw new Error('a line of the answer is too long');
        yield* lines;
      }
    } catch (error) {
      throw this.parts.away((error as Error).message, error);
    }
    if (rest !== '') throw this.parts.away('the answer ended in the middle of a line');
  }

  private parse(text: string): unknown {
    const value = valueOf(text);
    if (value === undefined) throw this.parts.away(`the answer is no JSON: ${text.slice(0, 100)}`);
    return value;
  }
}

/** The time that a call may take, and who gives it up before. */
class Deadline {
  readonly signal: AbortSignal;
  /** Why it was ended from this side. */
  reason: string | undefined;
  private readonly timer: NodeJS.Timeout;

  constructor({ timeoutMs = ANSWER_MS, signal }: CallOptions) {
    const tooLate = new AbortController();
    this.timer = setTimeout(() => {
      this.reason = `no answer within ${timeoutMs / 1000} s`;
      tooLate.abort();
    }, timeoutMs);
    this.signal = signal === undefined ? tooLate.signal : AbortSignal.any([tooLate.signal, signal]);
  }

  cancel(): void {
    clearTimeout(this.timer);
  }
}

function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function refusalIn(value: unknown): { readonly message: string; readonly code: ErrorCode } | undefined {
  const { message, code } = (value ?? {}) as { readonly message?: unknown; readonly code?: unknown };
  if (typeof message !== 'string') return undefined;
  return { message, code: isErrorCode(code) ? code : 'internal' };
}

const CODES: Readonly<Record<ErrorCode, true>> = {
  invalid: true,
  'not-found': true,
  conflict: true,
  exhausted: true,
  unsupported: true,
  unavailable: true,
  internal: true,
};

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(CODES, code);
}
