// An OVSDB client (RFC 7047) that stays connected: it goes through its remotes until one will do, resumes its monitors,
// asks for its locks again, and says what it is doing. What was in flight when a connection broke is rejected with
// ConnectionLost, never sent again by itself: it may have been carried out.
//
// Guarantee: when `transact` resolves, every monitor of this client shows what the transaction did.

import { EventEmitter } from 'node:events';
import { Connection, CONNECTION_DEFAULTS, type ReplyHandler, type TlsOptions } from './connection';
import type { OvsdbError } from './errors';
import { ConnectionLost, InvalidValue, NotConnected, ProtocolError } from './errors';
import { Locks, type LockRequest, type SendLock } from './locks';
import { Monitor, type MonitoredTables, type MonitorListener, type TableConditions } from './monitor';
import type { Operation, OperationResult } from './notation';
import { parseRemote, RemoteRotation, type BackoffOptions } from './remotes';
import { decodeResults } from './results';
import { encodeOperation } from './rows';
import { SchemaParser, type DatabaseSchema } from './schema';
import { Session, type SessionState } from './session';
import { systemClock, type Clock, type Random } from './timing';

export type ClientState =
  | 'stopped' // before start() and after stop()
  | 'backoff' // waiting before the next remote is tried
  | 'connecting'
  | SessionState; // 'monitoring' is ready

export interface ClientOptions {
  /** `unix:/path`, `tcp:host:port`, `ssl:host:port`; tried in an order shuffled once, unix sockets first. */
  readonly remotes: readonly string[];
  readonly database: string;
  /** Only the leader of a cluster will do: writes go the short way. Default false. */
  readonly leaderOnly?: boolean;
  /** Only this cluster (cid) will do. */
  readonly clusterId?: string;
  readonly tls?: TlsOptions;
  /** Inactivity probe, ms; 0 is off. Default 5,000. */
  readonly probeMs?: number;
  /** Default 5,000. */
  readonly connectTimeoutMs?: number;
  /** Default 1,000 to 8,000 ms. */
  readonly backoff?: BackoffOptions;
  /** Default 256 MiB. */
  readonly maxMessageBytes?: number;
  /** Requests that may wait for an answer. Default 16,384. */
  readonly maxPending?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

export type ClientEvents = {
  state: [state: ClientState];
  /** Ready for transactions, monitors up to date. */
  ready: [remote: string];
  /** A connection, or an attempt at one, ended. */
  disconnected: [remote: string, reason: OvsdbError];
  locked: [name: string];
  /** A lock was stolen or went with its connection. */
  lockLost: [name: string];
  /** A listener of ours threw; the client goes on. */
  listenerFailed: [error: unknown];
};

const DEFAULT_BACKOFF: BackoffOptions = { minMs: 1_000, maxMs: 8_000 };

interface Live {
  readonly remote: string;
  readonly connection: Connection;
  readonly session: Session;
  readyAt?: number;
}

export class OvsdbClient extends EventEmitter<ClientEvents> {
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly backoff: BackoffOptions;
  private rotation: RemoteRotation;
  private readonly locks: Locks;
  private readonly monitors = new Set<Monitor>();
  private readonly schemas = new SchemaParser();
  private readonly minIndexes = new Map<string, number>();
  private currentState: ClientState = 'stopped';
  private currentSchema: DatabaseSchema | undefined;
  private live: Live | undefined;
  private cancelRetry = () => {};
  private readyWaiters: Array<{ resolve: (schema: DatabaseSchema) => void; reject: (error: Error) => void }> = [];
  private monitorsMade = 0;

  /** Throws InvalidValue for a remote that is none, and for `ssl:` without `tls`. */
  constructor(private readonly options: ClientOptions) {
    super();
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.backoff = options.backoff ?? DEFAULT_BACKOFF;
    this.rotation = this.rotationOf(options.remotes);
    this.locks = new Locks({
      onLocked: (name) => this.tell('locked', name),
      onLost: (name) => this.tell('lockLost', name),
    });
  }

  get state(): ClientState {
    return this.currentState;
  }

  /** The remote that is connected or being tried. */
  get remote(): string | undefined {
    return this.live?.remote;
  }

  /** The schema of the last connection that was ready. */
  get schema(): DatabaseSchema | undefined {
    return this.currentSchema;
  }

  /** Starts connecting. Idempotent. */
  start(): void {
    if (this.currentState === 'stopped') this.tryNext();
  }

  /** Closes the connection; what is in flight is rejected with ConnectionLost. Idempotent; start() may follow. */
  stop(): void {
    if (this.currentState === 'stopped') return;
    this.cancelRetry();
    this.enter('stopped');
    this.live?.connection.close(new ConnectionLost('the client was stopped'));
    const waiters = this.readyWaiters;
    this.readyWaiters = [];
    for (const { reject } of waiters) reject(new NotConnected('the client was stopped'));
  }

  /**
   * Other remotes from now on. A connection to one that is among them stays; any other ends, and the new ones are tried at
   * once. Throws as the constructor.
   */
  setRemotes(remotes: readonly string[]): void {
    this.rotation = this.rotationOf(remotes);
    if (this.live !== undefined && !remotes.includes(this.live.remote)) {
      this.live.connection.close(new ConnectionLost('another remote is to be used'));
    } else if (this.currentState === 'backoff') {
      this.cancelRetry();
      this.tryNext();
    }
  }

  /** Ends the connection, where there is one, and makes another: this machine's address has changed, or its way. */
  reconnect(): void {
    this.live?.connection.close(new ConnectionLost('another connection is to be made'));
  }

  /** Resolves when the client is ready, with the schema. Rejects only when it is stopped. */
  whenReady(): Promise<DatabaseSchema> {
    if (this.currentState === 'monitoring' && this.live && this.currentSchema)
      return Promise.resolve(this.currentSchema);
    return new Promise((resolve, reject) => this.readyWaiters.push({ resolve, reject }));
  }

  /**
   * Carries out the operations, all or none. Rejects with the error of the operation that failed (`error.operation`),
   * with InvalidValue or NotConnected if nothing was sent, with ConnectionLost if the outcome is unknown. Aborting the
   * signal asks the server to cancel: it then rejects with Canceled, or resolves because it was too late. `isLong`: the server
   * may be busy with others for long, and the connection is not given up meanwhile.
   */
  transact(
    operations: readonly Operation[],
    options: { readonly signal?: AbortSignal; readonly isLong?: boolean } = {},
  ): Promise<OperationResult[]> {
    return new Promise((resolve, reject) => {
      const { connection, schema } = this.readyOrThrow();
      const params = [schema.name, ...operations.map((operation) => encodeOperation(schema, operation))];
      const { signal, isLong = false } = options;
      signal?.throwIfAborted();
      const cancel = () => connection.notify('cancel', [id]);
      const request = isLong ? connection.requestLong.bind(connection) : connection.request.bind(connection);
      const id = request('transact', params, (error, results) => {
        signal?.removeEventListener('abort', cancel);
        if (error) reject(error);
        else settle(resolve, reject, () => decodeResults(schema, operations, results));
      });
      signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Any other method, as `list_dbs` or `convert`, with parameters and result as they are on the wire. */
  request(method: string, params: readonly unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.readyOrThrow().connection.request(method, params, (error, result) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
  }

  /** Follows tables from now on, over all connections. Replica (replica.ts) is the comfortable way to use it. */
  monitor(tables: MonitoredTables, listener: MonitorListener): Monitor {
    this.monitorsMade += 1;
    const monitor = new Monitor(`monitor${this.monitorsMade}`, tables, {
      onChanges: (changes) => this.guard(() => listener.onChanges(changes)),
      onSynced: () => this.guard(() => listener.onSynced()),
    });
    this.monitors.add(monitor);
    this.live?.session.addMonitor(monitor);
    return monitor;
  }

  /**
   * Follows the rows of other conditions from now on. Resolves when the monitor has all of them, and has told its listener;
   * rows that no condition holds for any more have gone by then. While the connection is away, that is after the next one.
   */
  setConditions(monitor: Monitor, where: TableConditions): Promise<void> {
    const done = monitor.want(where);
    this.live?.session.changeConditions(monitor);
    return done;
  }

  /** Ends a monitor. Idempotent. */
  cancelMonitor(monitor: Monitor): void {
    if (!this.monitors.delete(monitor)) return;
    const { id } = monitor;
    monitor.cancel();
    this.live?.connection.request('monitor_cancel', [id], () => {});
  }

  /** Wants a lock from now on, over all connections: event `locked` when it is held, `lockLost` when no longer. */
  lock(name: string): void {
    this.locks.want(name, 'lock', this.lockSender());
  }

  /** Like lock(), but takes it from whoever holds it now. */
  steal(name: string): void {
    this.locks.want(name, 'steal', this.lockSender());
  }

  /** Gives a lock back, or waits for it no more. */
  unlock(name: string): void {
    this.locks.release(name, this.lockSender());
  }

  holdsLock(name: string): boolean {
    return this.locks.holds(name);
  }

  /** Runs a listener; what it throws becomes the event `listenerFailed`, so that no listener can break the client. */
  guard(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.emit('listenerFailed', error);
    }
  }

  private tell<K extends keyof ClientEvents>(event: K, ...args: ClientEvents[K]): void {
    this.guard(() => (this.emit as (event: K, ...args: ClientEvents[K]) => boolean).call(this, event, ...args));
  }

  private rotationOf(remotes: readonly string[]): RemoteRotation {
    const kinds = remotes.map((remote) => parseRemote(remote).kind);
    if (kinds.includes('ssl') && this.options.tls === undefined) {
      throw new InvalidValue('an ssl: remote needs TLS options');
    }
    return new RemoteRotation(remotes, this.backoff, this.random);
  }

  private enter(state: ClientState): void {
    if (this.currentState === state) return;
    this.currentState = state;
    this.tell('state', state);
  }

  private readyOrThrow(): { connection: Connection; schema: DatabaseSchema } {
    if (this.currentState !== 'monitoring' || this.live === undefined || this.currentSchema === undefined) {
      throw new NotConnected(`to ${this.options.database} (${this.currentState})`);
    }
    return { connection: this.live.connection, schema: this.currentSchema };
  }

  private lockSender(): SendLock | undefined {
    const connection = this.currentState === 'monitoring' ? this.live?.connection : undefined;
    if (connection === undefined) return undefined;
    return (method: LockRequest | 'unlock', name: string, handler: ReplyHandler) =>
      void connection.request(method, [name], handler);
  }

  private tryNext(): void {
    const { remote, delayMs } = this.rotation.next();
    if (delayMs === 0) {
      this.connect(remote);
      return;
    }
    this.enter('backoff');
    this.cancelRetry = this.clock.after(delayMs, () => this.connect(remote));
  }

  private connect(remote: string): void {
    const { tls, probeMs, connectTimeoutMs, maxMessageBytes, maxPending } = { ...CONNECTION_DEFAULTS, ...this.options };
    const { clock, random } = this;
    const options = { clock, random, tls, probeMs, connectTimeoutMs, maxMessageBytes, maxPending };
    const connection: Connection = new Connection(parseRemote(remote), options, {
      onOpen: () => session.start(),
      onNotification: (method, params) => this.handleNotification(session, method, params),
      onClose: (error) => this.handleClosed(live, error),
    });
    const session: Session = this.createSession(connection);
    const live: Live = { remote, connection, session };
    this.live = live;
    this.enter('connecting');
    connection.open();
  }

  private createSession(connection: Connection): Session {
    const { database, leaderOnly = false, clusterId } = this.options;
    const minIndex = (cid: string) => this.minIndexes.get(cid) ?? 0;
    const demands = { leaderOnly, clusterId, minIndex };
    const options = { database, demands, schemas: this.schemas, monitors: () => this.monitors };
    const isCurrent = () => this.live?.connection === connection;
    return new Session(connection, options, {
      onState: (state) => {
        if (isCurrent()) this.enter(state);
      },
      onServer: ({ cid, index }) => {
        if (cid !== undefined && index !== undefined) this.minIndexes.set(cid, Math.max(index, minIndex(cid)));
      },
      onReady: (schema) => {
        if (isCurrent()) this.handleReady(schema);
      },
      onFailed: (error) => connection.close(error),
    });
  }

  private handleNotification(session: Session, method: string, params: readonly unknown[]): void {
    if (method === 'locked' || method === 'stolen') this.locks.handleNotification(method, params[0]);
    else if (method.startsWith('update') || method === 'monitor_canceled') session.handleUpdate(method, params);
  }

  private handleReady(schema: DatabaseSchema): void {
    if (this.live === undefined) return;
    this.currentSchema = schema;
    const send = this.live.readyAt === undefined ? this.lockSender() : undefined;
    if (send) this.locks.handleReady(send);
    this.live.readyAt ??= this.clock.now();
    const waiters = this.readyWaiters;
    this.readyWaiters = [];
    for (const { resolve } of waiters) resolve(schema);
    this.tell('ready', this.live.remote);
  }

  private handleClosed(live: Live, error: OvsdbError): void {
    this.live = undefined;
    for (const monitor of this.monitors) {
      monitor.end();
      if (error instanceof ProtocolError) monitor.forget();
    }
    // A server that takes us and drops us at once is no success: it gets the back-off.
    const { readyAt } = live;
    if (readyAt !== undefined && this.clock.now() - readyAt >= this.backoff.minMs) this.rotation.succeeded();
    this.locks.handleLost();
    const state = this.currentState;
    this.tell('disconnected', live.remote, error);
    // A listener may have stopped the client, or even started it again.
    if (state !== 'stopped' && this.currentState === state && this.live === undefined) this.tryNext();
  }
}

function settle<T>(resolve: (value: T) => void, reject: (error: unknown) => void, make: () => T): void {
  try {
    resolve(make());
  } catch (error) {
    reject(error);
  }
}
