// JSON-RPC 1.0 over one connection (RFC 7047 §4): requests and their answers, notifications, echo in both directions and
// the inactivity probe. It knows nothing of databases, never reconnects, and reports its end exactly once.
//
// Answers are handed on as they are read, in the order of the stream, since OVSDB gives that order a meaning: the update
// that a transaction causes stands before the transaction's answer. All requests of one event-loop turn go out in one
// write. A very long message blocks the process while it is parsed (about 10 ns a byte), echo included.

import { connect as connectNet, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls';
import { ConnectionLost, errorFromWire, NotConnected, OvsdbError, ProtocolError, TooManyRequests } from './errors';
import { DEFAULT_MAX_MESSAGE_BYTES, JsonSplitter } from './framing';
import type { Remote } from './remotes';
import type { Clock, Random } from './timing';

export type { TlsOptions };

export interface ConnectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** TLS options of `ssl:` remotes, as node:tls has them. OVS's certificates carry no host name. */
  readonly tls?: TlsOptions | undefined;
  /** After so long without a byte the peer is asked for an echo, after as long again it is dead. 0 never asks. */
  readonly probeMs: number;
  readonly connectTimeoutMs: number;
  readonly maxMessageBytes: number;
  /** Requests that may wait for an answer. */
  readonly maxPending: number;
}

export const CONNECTION_DEFAULTS = {
  probeMs: 5_000,
  connectTimeoutMs: 5_000,
  maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES,
  maxPending: 16_384,
} as const;

export interface ConnectionListener {
  onOpen(): void;
  onNotification(method: string, params: readonly unknown[]): void;
  /** Once, after all pending requests were told. */
  onClose(error: OvsdbError): void;
}

/** Called once with an error or a result. */
export type ReplyHandler = (error: OvsdbError | undefined, result?: unknown) => void;

/** Bytes that a peer may leave unread before it counts as dead. */
const MAX_UNSENT_BYTES = 64 * 1024 * 1024;

/** A server composes the rows of a whole database in one go, for several clients one after another, and is silent meanwhile. */
const LONG_ANSWER_MS = 60_000;

/** A full listen queue of a unix socket refuses with EAGAIN; it is tried again after about this long. */
const AGAIN_MS = 20;

export class Connection {
  private socket: Socket | undefined;
  private state: 'new' | 'connecting' | 'open' | 'closed' = 'new';
  private readonly splitter: JsonSplitter;
  private readonly pending = new Map<unknown, ReplyHandler>();
  private nextId = 1;
  private outbox: string[] = [];
  private lastHeard = 0;
  private isProbing = false;
  /** How many requests wait whose answers may take long. */
  private longRequests = 0;
  private cancelTimer = () => {};
  private cancelRetry = () => {};

  constructor(
    private readonly remote: Remote,
    private readonly options: ConnectionOptions,
    private readonly listener: ConnectionListener,
  ) {
    this.splitter = new JsonSplitter((text) => this.handleText(text), options.maxMessageBytes);
  }

  /** Starts connecting. To be called once. */
  open(): void {
    if (this.state !== 'new') return;
    this.state = 'connecting';
    const { clock, connectTimeoutMs } = this.options;
    this.cancelTimer = clock.after(connectTimeoutMs, () => this.close(new NotConnected('no answer in time')));
    this.connect();
  }

  /** Ends the connection and fails what is pending with ConnectionLost. Idempotent. */
  close(error: OvsdbError): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.cancelTimer();
    this.cancelRetry();
    this.socket?.destroy();
    const waiting = [...this.pending.values()];
    this.pending.clear();
    this.outbox = [];
    for (const handler of waiting) handler(new ConnectionLost(error.message, { cause: error }));
    this.listener.onClose(error);
  }

  /** Sends a request. Returns its id, or undefined if it was not sent: the handler has been told why. */
  request(method: string, params: readonly unknown[], handler: ReplyHandler): number | undefined {
    if (this.state !== 'open') {
      handler(new NotConnected('the connection is not open'));
      return undefined;
    }
    if (this.pending.size >= this.options.maxPending || this.unsentBytes() > MAX_UNSENT_BYTES) {
      handler(new TooManyRequests(`${this.pending.size} wait for an answer`));
      return undefined;
    }
    const text = JSON.stringify(params);
    const id = this.nextId++;
    this.pending.set(id, handler);
    this.send(`{"id":${id},"method":"${method}","params":${text}}`);
    return id;
  }

  /** Sends a notification. */
  notify(method: string, params: readonly unknown[]): void {
    if (this.state === 'open') this.send(`{"id":null,"method":"${method}","params":${JSON.stringify(params)}}`);
  }

  private connect(): void {
    try {
      this.socket = this.createSocket();
    } catch (error) {
      this.close(new NotConnected(String(error), { cause: error }));
      return;
    }
    const { socket, remote } = this;
    socket.once(remote.kind === 'ssl' ? 'secureConnect' : 'connect', () => this.handleOpen());
    socket.on('data', (chunk: Buffer) => this.handleChunk(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (socket === this.socket) this.handleError(error);
    });
    socket.on('close', () => {
      if (socket === this.socket) this.close(new ConnectionLost('closed by the server'));
    });
  }

  private createSocket(): Socket {
    const { remote } = this;
    if (remote.kind === 'unix') return connectNet({ path: remote.path });
    const { host, port } = remote;
    if (remote.kind === 'tcp') return connectNet({ host, port, noDelay: true });
    return connectTls({ ...this.options.tls, host, port }).setNoDelay(true);
  }

  private handleError(error: NodeJS.ErrnoException): void {
    if (error.code === 'EAGAIN' && this.state === 'connecting') {
      this.socket = undefined;
      this.cancelRetry = this.options.clock.after(AGAIN_MS * (0.5 + this.options.random()), () => this.connect());
      return;
    }
    const options = { cause: error };
    this.close(this.state === 'open' ? new ConnectionLost(error.message, options) : notConnected(error));
  }

  private handleOpen(): void {
    if (this.state !== 'connecting') return;
    this.state = 'open';
    this.cancelTimer();
    this.lastHeard = this.options.clock.now();
    this.armProbe(this.options.probeMs);
    this.listener.onOpen();
  }

  private handleChunk(chunk: Buffer): void {
    this.lastHeard = this.options.clock.now();
    this.isProbing = false;
    try {
      this.splitter.push(chunk);
    } catch (error) {
      this.close(error instanceof OvsdbError ? error : new ProtocolError('unreadable', { cause: error }));
    }
  }

  private handleText(text: string): void {
    if (this.state !== 'open') return;
    const message = parseMessage(text);
    const { id, method, params } = message;
    if (typeof method !== 'string') {
      this.handleReply(id, message);
      return;
    }
    if (!Array.isArray(params)) throw new ProtocolError(`"${method}" came without params`);
    if (id === null || id === undefined) this.listener.onNotification(method, params);
    else if (method === 'echo') this.answer({ id, result: params as unknown[], error: null });
    else this.answer({ id, result: null, error: 'unknown method' });
  }

  private handleReply(id: unknown, reply: JsonObject): void {
    const handler = this.pending.get(id);
    if (handler === undefined) throw new ProtocolError(`an answer to no request (id ${JSON.stringify(id)})`);
    this.pending.delete(id);
    const { error, result } = reply;
    if (error === null || error === undefined) handler(undefined, result);
    else handler(errorFromWire(error));
  }

  private answer(reply: object): void {
    if (this.unsentBytes() > MAX_UNSENT_BYTES) throw new ProtocolError('the peer asks but does not read the answers');
    this.send(JSON.stringify(reply));
  }

  private unsentBytes(): number {
    return this.socket?.writableLength ?? 0;
  }

  /** The same, where a server that answers nothing at all meanwhile may be at work: it is left only after a minute. */
  requestLong(method: string, params: readonly unknown[], handler: ReplyHandler): number | undefined {
    this.longRequests += 1;
    return this.request(method, params, (error, result) => {
      this.longRequests -= 1;
      handler(error, result);
    });
  }

  private send(text: string): void {
    if (this.outbox.push(text) === 1) process.nextTick(this.flush);
  }

  private readonly flush = (): void => {
    if (this.outbox.length === 0) return;
    const text = this.outbox.length === 1 ? (this.outbox[0] as string) : this.outbox.join('');
    this.outbox = [];
    this.socket?.write(text);
  };

  private armProbe(ms: number): void {
    if (this.options.probeMs > 0) this.cancelTimer = this.options.clock.after(ms, () => this.probe());
  }

  /** The one timer of the connection: asks for an echo when nothing was heard, and gives up when nothing came. */
  private probe(): void {
    const { clock, probeMs } = this.options;
    const leftMs = this.lastHeard + probeMs - clock.now();
    if (this.longRequests > 0 && clock.now() - this.lastHeard < LONG_ANSWER_MS) {
      this.armProbe(probeMs);
    } else if (leftMs > 0) {
      this.armProbe(leftMs);
    } else if (!this.isProbing) {
      this.isProbing = true;
      this.request('echo', [], () => {});
      this.armProbe(probeMs);
    } else {
      // After a halt of this process the answer may lie unread in the socket: look once before giving up.
      this.cancelTimer = clock.after(1, () => {
        if (this.isProbing) this.close(new ConnectionLost(`no answer to the probe in ${probeMs} ms`));
        else this.armProbe(probeMs);
      });
    }
  }
}

type JsonObject = Readonly<Record<string, unknown>>;

function parseMessage(text: string): JsonObject {
  try {
    return JSON.parse(text) as JsonObject;
  } catch (error) {
    throw new ProtocolError('a message is not JSON', { cause: error });
  }
}

function notConnected(error: Error): NotConnected {
  // With several addresses of a host (`tcp:` by name) the message is empty and the errors stand inside.
  const inner: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return new NotConnected(inner.map((one) => (one as Error).message).join('; '), { cause: error });
}
