// One request to an ovsdb-server on a unix socket, for what is asked seldom and whole: no session, no replica. Values are in
// the wire's notation.

import { connect } from 'node:net';
import { errorFromWire, NotConnected, ProtocolError } from './errors';
import { JsonSplitter } from './framing';

export interface AskOptions {
  /** Default ten seconds. */
  readonly withinMs?: number;
  /** Default as JsonSplitter. */
  readonly maxBytes?: number;
  /** What the server's `error` member means; default as RFC 7047 says. */
  readonly errorOf?: (error: unknown) => Error;
}

/** Resolves with the result (RFC 7047 §4.1). Rejects with what the server says, and NotConnected where none answers in time. */
export function askServer(
  path: string,
  method: string,
  params: readonly unknown[],
  { withinMs = 10_000, maxBytes, errorOf = errorFromWire }: AskOptions = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const end = (finish: () => void) => {
      clearTimeout(timer);
      finish();
      socket.destroy();
    };
    const timer = setTimeout(() => end(() => reject(new NotConnected(`to ${path} (no answer in time)`))), withinMs);
    const splitter = new JsonSplitter((text) => {
      const { id, result, error } = JSON.parse(text) as { id: unknown; result?: unknown; error?: unknown };
      if (id !== method) return; // the server asks whether this end is there
      if (error === null || error === undefined) end(() => resolve(result));
      else end(() => reject(errorOf(error)));
    }, maxBytes);
    socket.on('error', (error) => end(() => reject(new NotConnected(`to ${path} (${error.message})`))));
    socket.on('close', () => end(() => reject(new NotConnected(`to ${path} (it ended before it answered)`))));
    socket.on('data', (chunk: Buffer) => {
      try {
        splitter.push(chunk);
      } catch {
        end(() => reject(new ProtocolError(`${path} answered with something that is no JSON`)));
      }
    });
    socket.write(JSON.stringify({ id: method, method, params }));
  });
}
