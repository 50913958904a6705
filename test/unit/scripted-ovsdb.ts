// An OVSDB server that a test scripts: JSON-RPC over a unix socket in a temporary folder, with default answers that
// take a client through to `monitoring`. Each method can be answered otherwise. It splits messages on its own, naively.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Gives the result, a Refusal, or SILENCE. */
export type Answer = (params: unknown[], peer: Peer) => unknown;
/** No reply at all. */
export const SILENCE = Symbol('silence');
/** A reply whose `error` member is this. */
export class Refusal {
  constructor(readonly error: unknown) {}
}

export interface Peer {
  /** Sends a message, or bytes as they are. */
  send(message: object | string | Buffer): void;
  /** Messages that were received, in order. */
  readonly received: Array<Record<string, unknown>>;
  readonly socket: Socket;
}

export interface ScriptedOvsdb {
  readonly remote: string;
  readonly peers: Peer[];
  readonly answers: Record<string, Answer>;
  stop(): Promise<void>;
}

const SERVER_SCHEMA = {
  name: '_Server',
  version: '1.2.0',
  tables: {
    Database: {
      columns: {
        name: { type: 'string' },
        model: { type: 'string' },
        connected: { type: 'boolean' },
        leader: { type: 'boolean' },
        schema: { type: { key: 'string', min: 0, max: 1 } },
        cid: { type: { key: 'uuid', min: 0, max: 1 } },
        sid: { type: { key: 'uuid', min: 0, max: 1 } },
        index: { type: { key: 'integer', min: 0, max: 1 } },
      },
    },
  },
};

export const GENERATION = '11111111-1111-4111-8111-111111111111';
export const NO_TXN = '00000000-0000-0000-0000-000000000000';

/** The update that tells of a database; members of `row` in wire notation replace those of a standalone one. */
export function databaseRow(schema: { name: string }, row: object = {}): object {
  const initial = {
    name: schema.name,
    model: 'standalone',
    connected: true,
    leader: true,
    schema: JSON.stringify(schema),
  };
  return { Database: { [GENERATION]: { initial: { ...initial, ...row } } } };
}

export async function startScriptedOvsdb(schema: { name: string }): Promise<ScriptedOvsdb> {
  const dir = mkdtempSync(join(tmpdir(), 'scripted-'));
  const peers: Peer[] = [];
  const answers: Record<string, Answer> = {
    get_schema: ([name]) => (name === '_Server' ? SERVER_SCHEMA : schema),
    set_db_change_aware: () => ({}),
    monitor_cond: () => databaseRow(schema),
    monitor_cond_since: () => [false, NO_TXN, {}],
    monitor_cancel: () => ({}),
    transact: ([, ...operations]) => operations.map(() => ({})),
    echo: (params) => params,
  };
  const server = createServer((socket) => serve(socket, answers, peers));
  await new Promise<void>((resolve) => server.listen(join(dir, 's'), resolve));
  const stop = async () => {
    for (const { socket } of peers) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true });
  };
  return { remote: `unix:${join(dir, 's')}`, peers, answers, stop };
}

function serve(socket: Socket, answers: Record<string, Answer>, peers: Peer[]): void {
  const peer: Peer = {
    received: [],
    socket,
    send: (message) => {
      socket.write(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message));
    },
  };
  peers.push(peer);
  let text = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    text += chunk.toString();
    for (let end = endOfFirst(text); end > 0; end = endOfFirst(text)) {
      const message = JSON.parse(text.slice(0, end)) as Record<string, unknown>;
      text = text.slice(end);
      peer.received.push(message);
      reply(message, answers, peer);
    }
  });
}

/** Where the first message ends: tries every closing brace. */
function endOfFirst(text: string): number {
  for (let at = text.indexOf('}'); at >= 0; at = text.indexOf('}', at + 1)) {
    try {
      JSON.parse(text.slice(0, at + 1));
      return at + 1;
    } catch {
      // not yet
    }
  }
  return 0;
}

function reply(message: Record<string, unknown>, answers: Record<string, Answer>, peer: Peer): void {
  const { id, method, params } = message;
  if (typeof method !== 'string' || id === null) return;
  const result = answers[method]?.(params as unknown[], peer) ?? new Refusal('unknown method');
  if (result instanceof Refusal) peer.send({ id, result: null, error: result.error });
  else if (result !== SILENCE) peer.send({ id, result, error: null });
}
