// The directory of a running agent: a connection to the DaoliNet database, the replica of it, and this host's own row. It
// starts without the database and outlives its restarts: reads go on from the last state, writes wait a little.

import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Cidr } from '../base/addresses';
import { Backoff } from '../base/backoff';
import { systemClock, type Clock } from '../base/clock';
import type { DaoliError } from '../base/errors';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OvsdbClient } from '../ovsdb/client';
import type { Monitor } from '../ovsdb/monitor';
import type { Uuid } from '../ovsdb/notation';
import { RoundRobinAllocator } from './allocation';
import { planOwnHost } from './own-host';
import { TABLES_IN_ORDER } from './row-decoding';
import type { DirectoryChange } from './rows';
import type { DirectoryStore, Ops, Plan } from './store';
import { DirectoryTables, type RawChange } from './tables';
import { Transactor } from './transactor';
import type { DirectoryView } from './view';

export const DIRECTORY_DATABASE = 'DaoliNet';
export const DIRECTORY_REMOTE = 'unix:/run/daolinet/directory.sock';

export interface DirectoryOptions {
  /** Where the database is. Default DIRECTORY_REMOTE. */
  readonly remotes?: readonly string[];
  /** The name of this host: it has to stay the same over restarts. */
  readonly host: string;
  /** What locator blocks are taken from. */
  readonly locatorRange: Cidr;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Milliseconds since 1970. Default Date.now. */
  readonly wallClock?: () => number;
  /** 0 (included) to 1 (excluded). Default Math.random. */
  readonly random?: () => number;
}

interface DirectoryEvents {
  changes: [changes: readonly DirectoryChange[]];
  /** The view follows the database again, or no longer. */
  connected: [isConnected: boolean];
}

/** The database is on this machine, or its leader is looked for: tried again soon. */
const RECONNECT = { minMs: 100, maxMs: 1_000 } as const;
const OWN_HOST_RETRY = { minMs: 1_000, maxMs: 30_000 } as const;

export class Directory implements DirectoryStore {
  readonly host: string;
  private readonly client: OvsdbClient;
  private readonly tables: DirectoryTables;
  private readonly transactor: Transactor;
  private readonly events = new EventEmitter<DirectoryEvents>();
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly logger: Logger;
  private readonly ownHostBackoff: Backoff;
  private monitor: Monitor | undefined;
  private cancelRetry = () => {};
  private ready!: () => void;
  private readonly whenReadyOnce = new Promise<void>((resolve) => (this.ready = resolve));

  constructor(private readonly options: DirectoryOptions) {
    const { host, logger, clock = systemClock, random = Math.random, wallClock = Date.now } = options;
    this.host = host;
    this.clock = clock;
    this.random = random;
    this.logger = logger;
    this.ownHostBackoff = new Backoff(OWN_HOST_RETRY.minMs, OWN_HOST_RETRY.maxMs, random);
    this.tables = new DirectoryTables((error) => this.reportBadRow(error));
    const remotes = options.remotes ?? [DIRECTORY_REMOTE];
    this.client = new OvsdbClient({ remotes, database: DIRECTORY_DATABASE, backoff: RECONNECT, clock, random });
    const allocate = new RoundRobinAllocator(this.tables, host, options.locatorRange);
    this.transactor = new Transactor({
      link: this.createLink(),
      context: () => ({ view: this.tables, host, allocate, nowMs: wallClock() }),
      hasRow: (table, uuid) => this.tables.hasRow(table, uuid),
      clock,
      newUuid: () => randomUUID() as Uuid,
    });
    this.client.on('ready', (remote) => this.handleReady(remote));
    this.client.on('disconnected', (remote, reason) => this.handleDisconnected(remote, reason));
    this.client.on('listenerFailed', (error) => {
      logger.error('a listener of the directory failed', { error: messageOf(error) });
    });
  }

  /** Starts connecting. Idempotent. */
  start(): void {
    const tables = Object.fromEntries(TABLES_IN_ORDER.map((table) => [table, {}]));
    this.monitor ??= this.client.monitor(tables, {
      onChanges: (changes) => this.handleChanges(changes),
      onSynced: () => undefined,
    });
    this.client.start();
  }

  /** Closes the connection; what is being written fails with `unavailable`. Idempotent; start() may follow. */
  stop(): void {
    this.cancelRetry();
    this.client.stop();
  }

  /** What was last known of the database: empty before the first connection, and it stays while the connection is away. */
  get view(): DirectoryView {
    return this.tables;
  }

  get connected(): boolean {
    return this.client.state === 'monitoring' && this.monitor?.synced === true;
  }

  whenReady(): Promise<void> {
    return this.whenReadyOnce;
  }

  transact<T>(plan: Plan<T>): Promise<T> {
    return this.transactor.transact(plan);
  }

  commit(ops: Ops): Promise<void> {
    return this.transactor.commit(ops);
  }

  onChange(listener: (changes: readonly DirectoryChange[]) => void): () => void {
    this.events.on('changes', listener);
    return () => void this.events.off('changes', listener);
  }

  /** Calls back when the connection comes (with all that was missed already in the view) or goes. */
  onConnected(listener: (isConnected: boolean) => void): () => void {
    this.events.on('connected', listener);
    return () => void this.events.off('connected', listener);
  }

  private createLink(): ConstructorParameters<typeof Transactor>[0]['link'] {
    const isSynced = () => this.connected;
    return {
      get synced() {
        return isSynced();
      },
      whenSynced: () => this.client.whenReady().then(() => undefined),
      transact: (ops, { signal }) => this.client.transact(ops, { signal }),
    };
  }

  private handleChanges(raw: readonly RawChange[]): void {
    const changes = this.tables.apply(raw);
    if (changes.length > 0) this.events.emit('changes', changes);
  }

  private handleReady(remote: string): void {
    this.logger.info('connected to the DaoliNet database', { remote });
    this.events.emit('connected', true);
    void this.ensureOwnHost();
  }

  private handleDisconnected(remote: string, reason: Error): void {
    this.logger.warn('the DaoliNet database is away', { remote, reason: reason.message });
    this.events.emit('connected', false);
  }

  /** Writes this host's row if it is missing, again and again until it is there; then the directory is ready. */
  private async ensureOwnHost(): Promise<void> {
    this.cancelRetry();
    try {
      await this.transact((context) => ({
        ops: planOwnHost(context, this.options.locatorRange, this.random),
        result: undefined,
      }));
      this.ownHostBackoff.succeeded();
      this.ready();
    } catch (error) {
      this.logger.error('this host cannot be written into the directory', { error: messageOf(error) });
      this.cancelRetry = this.clock.after(this.ownHostBackoff.nextMs(), () => void this.ensureOwnHost());
    }
  }

  private reportBadRow(error: DaoliError): void {
    this.logger.error(error.message);
  }
}
