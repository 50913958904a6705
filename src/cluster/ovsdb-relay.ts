// One host's connection to the directory, through a server: JSON-RPC of RFC 7047 between it and ovsdb-server's unix socket,
// looked at on the way. Requests that only read pass; a transaction is inspected, and answered here where it may not be.

import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock';
import { JsonSplitter } from '../ovsdb/framing';

/** What a host may ask for besides transactions. No locks: nobody here uses them, and one could be held for ever. */
const READING = new Set([
  'list_dbs',
  'get_schema',
  'monitor',
  'monitor_cond',
  'monitor_cond_since',
  'monitor_cond_change',
  'monitor_cancel',
  'set_db_change_aware',
  'cancel',
  'echo',
]);
/** A host's transactions are small; what is read is not limited by this. */
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;
/** Bytes that one side may leave unread before the other is not read any more. */
const CONGESTED_BYTES = 1024 * 1024;
/** The view follows the database within milliseconds. */
const TRY_MS = 20;
const TRIES = 25;

export interface RelayOptions {
  readonly socketPath: string;
  readonly database: string;
  /** Why the host may not send these operations, or undefined. `isLast`: it is not looked at again after this. */
  readonly inspect: (operations: readonly unknown[], isLast: boolean) => string | undefined;
  /** Somebody should read this: what was refused, and to whom. */
  readonly onRefused: (problem: string) => void;
  readonly onClosed: () => void;
  readonly clock: Clock;
}

interface Message {
  readonly text: string;
  readonly method?: unknown;
  readonly params?: unknown;
  readonly id?: unknown;
}

export class OvsdbRelay {
  private readonly server: Socket;
  private isClosed = false;
  /** In order; as many as one chunk of the host's has, since the host is not read while something waits. */
  private readonly waiting: Message[] = [];
  /** How often the first that waits was looked at in vain. */
  private tries = 0;

  constructor(
    private readonly client: Duplex,
    private readonly options: RelayOptions,
  ) {
    this.server = connect(options.socketPath);
    const splitter = new JsonSplitter((text) => this.take(text), MAX_REQUEST_BYTES);
    client.on('data', (chunk: Buffer) => this.attempt(() => splitter.push(chunk)));
    client.on('drain', () => {
      this.server.resume();
      this.readOn();
    });
    this.server.on('data', (chunk: Buffer) => {
      client.write(chunk);
      if (isCongested(client)) this.server.pause();
    });
    this.server.on('drain', () => this.readOn());
    for (const end of [client, this.server]) {
      end.on('error', () => this.close());
      end.on('close', () => this.close());
    }
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.client.destroy();
    this.server.destroy();
    this.options.onClosed();
  }

  /** Bytes that are no JSON object end the connection. */
  private attempt(push: () => void): void {
    try {
      push();
    } catch {
      this.close();
    }
  }

  /** In order: nothing of the host's overtakes what waits. */
  private take(text: string): void {
    const { method, params, id } = JSON.parse(text) as Omit<Message, 'text'>;
    this.waiting.push({ text, method, params, id });
    if (this.tries === 0) this.work();
  }

  /**
   * What is refused is looked at again for a moment: the host may have been told of its own last transaction before the view
   * that is asked here was.
   */
  private work(): void {
    for (let first = this.waiting[0]; first !== undefined && !this.isClosed; first = this.waiting[0]) {
      if (!this.decide(first, this.tries >= TRIES)) {
        this.tries += 1;
        this.client.pause();
        this.options.clock.after(TRY_MS, () => this.attempt(() => this.work()));
        return;
      }
      this.tries = 0;
      this.waiting.shift();
    }
    this.readOn();
  }

  /** The host is read as long as nothing of it waits, ovsdb-server takes it, and it takes its answers. */
  private readOn(): void {
    if (this.tries > 0 || isCongested(this.server) || isCongested(this.client)) this.client.pause();
    else this.client.resume();
  }

  /** False: not yet. */
  private decide({ text, method, params, id }: Message, isLast: boolean): boolean {
    // An answer (to ovsdb-server's echo) has no method.
    const problem = typeof method === 'string' ? this.problemOf(method, params, isLast) : undefined;
    if (problem === undefined) {
      this.server.write(text);
      return true;
    }
    if (method === 'transact' && !isLast) return false;
    this.options.onRefused(problem);
    if (id === null || id === undefined) return true;
    const error = { error: 'permission error', details: problem };
    this.client.write(JSON.stringify({ id, result: null, error }));
    return true;
  }

  private problemOf(method: string, params: unknown, isLast: boolean): string | undefined {
    if (READING.has(method)) return undefined;
    if (method !== 'transact') return `hosts do not ask for ${method.slice(0, 100)}`;
    const [database, ...operations] = Array.isArray(params) ? (params as unknown[]) : [];
    if (database !== this.options.database) return `hosts write to ${this.options.database} alone`;
    return this.options.inspect(operations, isLast);
  }
}

function isCongested(to: Duplex): boolean {
  return to.writableLength >= CONGESTED_BYTES;
}
