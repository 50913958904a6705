// The directory of a running agent: a connection to the DaoliNet database, the replica of it, and this host's own row. It
// starts without the database and outlives its restarts: reads go on from the last state, writes wait a little.

import { randomUUID } from 'node:crypto';
import type { Cidr, Ipv4 } from '../base/addresses';
import { Backoff } from '../base/backoff';
import { systemClock, type Clock } from '../base/clock';
import type { DaoliError } from '../base/errors';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OvsdbClient } from '../ovsdb/client';
import type { TlsOptions } from '../ovsdb/connection';
import { NotConnected } from '../ovsdb/errors';
import type { Monitor, MonitoredTable, TableConditions } from '../ovsdb/monitor';
import type { Uuid } from '../ovsdb/notation';
import type { StoredRow } from '../ovsdb/rows';
import { RoundRobinAllocator } from './allocation';
import { conditionsOf, NO_NEEDS, type Needs } from './conditions';
import { fetchHosts, fetchNeeds, Interest } from './interest';
import { fitTo } from './older-schema';
import { planOwnHost, planVersion, type OwnHostFacts } from './own-host';
import { TABLES_IN_ORDER, type StoredTable } from './row-decoding';
import { TypedOnlyRows, type TypedOnlyTable } from './row-encoding';
import type { DirectoryChange, NetworkId, NetworkRow } from './rows';
import type { SnapshotRow } from './snapshot';
import { SnapshotKeeper } from './snapshot-keeper';
import type { DirectoryStore, Followed, Ops, Plan } from './store';
import { DirectoryTables, type RawChange } from './tables';
import { Transactor, type TransactionCounts } from './transactor';
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
  /** This server's own address in its cluster; without one it is alone. */
  readonly address?: Ipv4;
  /**
   * What is followed: by default everything, as servers do, which answer for others; or what this host's own containers may
   * talk to (see conditions.ts).
   */
  readonly extent?: 'everything' | 'needed';
  /** Raft's name of the database, where it is known: another will not do, an empty one that stands in its place neither. */
  readonly clusterId?: string | undefined;
  /** For `ssl:` remotes. */
  readonly tls?: TlsOptions;
  /** Of this host's plugin, to be told. */
  readonly version?: string;
  /** The file of what was known last, to begin with where the database is away. Without it the database is waited for. */
  readonly snapshotPath?: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Milliseconds since 1970. Default Date.now. */
  readonly wallClock?: () => number;
  /** 0 (included) to 1 (excluded). Default Math.random. */
  readonly random?: () => number;
}

/** The database is on this machine, or its leader is looked for: tried again soon. */
const RECONNECT = { minMs: 100, maxMs: 1_000 } as const;
/** A server that is gone without a word is left in twice this. */
const PROBE_MS = 1_500;
/** A database that does not answer for so long is away. New routes wait for it, and are to wait for less than two seconds in all. */
const RESTORE_AFTER_MS = 500;
const OWN_HOST_RETRY = { minMs: 1_000, maxMs: 30_000 } as const;

export class Directory implements DirectoryStore {
  readonly host: string;
  private readonly client: OvsdbClient;
  private readonly tables: DirectoryTables;
  private readonly transactor: Transactor;
  private readonly changeListeners = new Set<(changes: readonly DirectoryChange[]) => void>();
  private readonly connectionListeners = new Set<(isConnected: boolean) => void>();
  private place: Pick<OwnHostFacts, 'address' | 'isElsewhere'>;
  private isStarted = false;
  private isAway = false;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly logger: Logger;
  private readonly ownHostBackoff: Backoff;
  private readonly keptRows = new Map<TypedOnlyTable, TypedOnlyRows>();
  private monitor: Monitor | undefined;
  /** Where not everything is followed. */
  private interest: Interest | undefined;
  private syncWaiters: Array<() => void> = [];
  private cancelRetry = () => {};
  private cancelRestore = () => {};
  private readonly snapshot: SnapshotKeeper | undefined;
  private isRestored = false;
  /** No database has answered yet. */
  private isFirst = true;
  private ready!: () => void;
  private readonly whenReadyOnce = new Promise<void>((resolve) => (this.ready = resolve));

  constructor(private readonly options: DirectoryOptions) {
    const { host, logger, clock = systemClock, random = Math.random, wallClock = Date.now } = options;
    this.host = host;
    this.place = { address: options.address };
    this.clock = clock;
    this.random = random;
    this.logger = logger;
    this.ownHostBackoff = new Backoff(OWN_HOST_RETRY.minMs, OWN_HOST_RETRY.maxMs, random);
    const isFollowed = (network: NetworkRow) => this.interest?.follows(network) === true;
    const follows = options.extent === 'needed' ? isFollowed : undefined;
    this.tables = new DirectoryTables(host, (error) => this.reportBadRow(error), follows);
    const { snapshotPath: path } = options;
    const rows = () => this.snapshotRows();
    this.snapshot = path === undefined ? undefined : new SnapshotKeeper({ path, host, rows, clock, logger });
    const remotes = options.remotes ?? [DIRECTORY_REMOTE];
    const { tls, clusterId } = options;
    const world = { clock, random, ...(tls && { tls }), ...(clusterId !== undefined && { clusterId }) };
    this.client = new OvsdbClient({
      remotes,
      database: DIRECTORY_DATABASE,
      backoff: RECONNECT,
      probeMs: PROBE_MS,
      ...world,
    });
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
    this.isStarted = true;
    if (this.tables.isWhole) this.beginMonitor();
    this.client.start();
    this.restoreLater();
  }

  private beginMonitor(where: TableConditions = {}): void {
    const entry = (table: StoredTable): [string, MonitoredTable] => {
      const conditions = where[table];
      return [table, { ...this.monitored(table), ...(conditions && { where: conditions }) }];
    };
    this.monitor ??= this.client.monitor(Object.fromEntries(TABLES_IN_ORDER.map(entry)), {
      onChanges: (changes) => this.handleChanges(changes),
      onSynced: () => this.handleSynced(),
    });
  }

  /** The first time: what this host has tells what it follows. */
  private async beginInterest(): Promise<void> {
    const needs = await fetchNeeds(this.client, this.host);
    if (this.monitor === undefined) this.beginWith(needs);
  }

  private beginWith(needs: Needs): void {
    const conditions = conditionsOf(needs);
    const { host, tables: view, clock } = this;
    const waiting = () => this.tables.waitingNetworks();
    const apply = async (wanted: TableConditions) => {
      if (this.monitor !== undefined) await this.client.setConditions(this.monitor, wanted);
    };
    this.interest = new Interest({ host, view, waiting, apply, clock }, { conditions, networks: needs.networks });
    this.beginMonitor(conditions);
  }

  /** Closes the connection; what is being written fails with `unavailable`. Idempotent; start() may follow. */
  stop(): void {
    this.isStarted = false;
    this.cancelRetry();
    this.cancelRestore();
    this.snapshot?.stop();
    this.interest?.stop();
    this.client.stop();
  }

  /** Where the database is that is connected, or being tried. */
  get remote(): string | undefined {
    return this.client.remote;
  }

  /** The database is elsewhere from now on; see OvsdbClient.setRemotes. */
  setRemotes(remotes: readonly string[]): void {
    this.client.setRemotes(remotes);
  }

  /** This host has another address from now on. Its row says so as soon as the database is reached from there. See OwnHostFacts. */
  setAddress(address: Ipv4, isElsewhere: boolean): void {
    this.place = { address, isElsewhere };
    // What was connected from the address before hears nothing any more.
    if (this.client.remote?.startsWith('unix:') === true) void this.ensureOwnHost();
    else this.client.reconnect();
  }

  /** What was last known of the database: empty before the first connection, and it stays while the connection is away. */
  get view(): DirectoryView {
    return this.tables;
  }

  get connected(): boolean {
    return this.client.state === 'monitoring' && this.monitor?.synced === true;
  }

  /** Resolves also when the view was restored, with this host's row in it. */
  whenReady(): Promise<void> {
    return this.whenReadyOnce;
  }

  async follow(what: Followed): Promise<void> {
    if (this.tables.isWhole) return;
    await this.whenReadyOnce;
    await this.interest?.follow(what);
  }

  async whenFollowed(): Promise<void> {
    if (this.tables.isWhole) return;
    await this.whenReadyOnce;
    await this.interest?.whenSettled();
  }

  async hostsOf(id: NetworkId): Promise<string[]> {
    const network = this.tables.network(id);
    if (network === undefined) return [];
    if (this.tables.isWhole) return [...this.tables.replicasOf(id)].map(({ host }) => host);
    const hosts = await fetchHosts(this.client, network.uuid);
    return hosts.flatMap((uuid) => this.tables.row('Host', uuid)?.name ?? []);
  }

  /** What became of transactions so far. */
  get transactions(): Readonly<TransactionCounts> {
    return this.transactor.counts;
  }

  transact<T>(plan: Plan<T>): Promise<T> {
    return this.transactor.transact(plan);
  }

  commit(ops: Ops): Promise<void> {
    return this.transactor.commit(ops);
  }

  onChange(listener: (changes: readonly DirectoryChange[]) => void): () => void {
    this.changeListeners.add(listener);
    return () => void this.changeListeners.delete(listener);
  }

  onConnected(listener: (isConnected: boolean) => void): () => void {
    this.connectionListeners.add(listener);
    return () => void this.connectionListeners.delete(listener);
  }

  private createLink(): ConstructorParameters<typeof Transactor>[0]['link'] {
    const isSynced = () => this.connected;
    return {
      get synced() {
        return isSynced();
      },
      whenSynced: () => this.whenSynced(),
      // In a promise: what it refuses is an answer like the server's.
      transact: async (ops, { signal }) => this.client.transact(fitTo(this.client.schema, ops), { signal }),
    };
  }

  private async whenSynced(): Promise<void> {
    if (!this.isStarted) throw new NotConnected('the directory was stopped');
    await this.client.whenReady();
    if (!this.connected) await new Promise<void>((resolve) => this.syncWaiters.push(resolve));
  }

  /** How a table is monitored: rows of some are kept as typed rows alone. */
  private monitored(table: StoredTable): MonitoredTable {
    if (table !== 'Address' && table !== 'Endpoint') return {};
    return {
      keeper: () => {
        const rows = new TypedOnlyRows(this.tables.typedRows(table));
        this.keptRows.set(table, rows);
        return rows;
      },
    };
  }

  /** The typed rows have all that the client's own have. */
  private settle(): void {
    for (const rows of this.keptRows.values()) rows.settle();
  }

  private handleSynced(): void {
    this.cancelRestore();
    this.isFirst = false;
    this.settle();
    this.snapshot?.changed();
    const waiters = this.syncWaiters;
    this.syncWaiters = [];
    for (const resolve of waiters) resolve();
  }

  private handleChanges(raw: readonly RawChange[]): void {
    const changes = this.tables.apply(raw);
    this.settle();
    if (this.monitor?.synced === true) this.snapshot?.changed();
    if (changes.length > 0) this.tell(this.changeListeners, changes);
    this.interest?.take(changes);
  }

  private restoreLater(): void {
    this.cancelRestore();
    this.cancelRestore = this.clock.after(RESTORE_AFTER_MS, () => this.restore());
  }

  /** Begins with what was known last, where no database has answered. One that is just answering is waited for. */
  private restore(): void {
    if (this.snapshot === undefined || !this.isFirst || this.isRestored) return;
    try {
      const rows = this.snapshot.read();
      if (rows === undefined) return;
      const known = rows.map(([table, _uuid, row]) => [table, { ...row, _uuid }] as const);
      // Whoever follows a part begins with what that is: with the rows, or with the database, if that is there by now.
      if (this.monitor === undefined && this.client.state !== 'monitoring') this.beginWith(NO_NEEDS);
      if (this.monitor?.restore(known) !== true) return this.restoreLater();
      this.isRestored = true;
      this.logger.warn('the DaoliNet database does not answer: this host goes on with what it knew last');
      if (this.tables.host(this.host) !== undefined) this.ready();
    } catch (error) {
      this.logger.error('what this host knew last cannot be read: it waits for the DaoliNet database', {
        error: messageOf(error),
      });
    }
  }

  /** Tokens to join with are no business of a host that is cut off. */
  private *snapshotRows(): Iterable<SnapshotRow> {
    const sources = TABLES_IN_ORDER.filter((table) => table !== 'JoinToken').map((table) => {
      if (table === 'Address' || table === 'Endpoint') return [table, this.tables.rawRows(table)] as const;
      const rows = [...(this.monitor?.rows(table).values() ?? [])] as StoredRow[];
      return [table, rows.map(({ _uuid, ...row }) => [_uuid, row] as const)] as const;
    });
    for (const [table, rows] of sources) for (const [uuid, row] of rows) yield [table, uuid, row];
  }

  /** One listener that throws keeps no other from hearing. */
  private tell<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of [...listeners]) this.client.guard(() => listener(value));
  }

  private handleReady(remote: string): void {
    this.isAway = false;
    this.logger.info('connected to the DaoliNet database', { remote });
    this.tell(this.connectionListeners, true);
    void this.ensureOwnHost();
  }

  /** The client tells of every attempt that fails; we tell of the first. */
  private handleDisconnected(remote: string, reason: Error): void {
    if (this.isAway) return;
    this.isAway = true;
    this.snapshot?.hurry();
    if (this.isStarted) this.logger.warn('the DaoliNet database is away', { remote, reason: reason.message });
    this.tell(this.connectionListeners, false);
  }

  /** Writes this host's row if it is missing, again and again until it is there; then the directory is ready. */
  private async ensureOwnHost(): Promise<void> {
    this.cancelRetry();
    try {
      if (!this.tables.isWhole && this.monitor === undefined) await this.beginInterest();
      // What this host has decides about its row.
      await this.settled();
      await this.transact((context) => ({
        ops: planOwnHost(context, this.ownHostFacts(), this.random),
        result: undefined,
      }));
      await this.settled();
      this.ownHostBackoff.succeeded();
      this.ready();
      await this.tellVersion();
    } catch (error) {
      if (!this.isStarted) return;
      this.logger.error('this host cannot be written into the directory', { error: messageOf(error) });
      this.cancelRetry = this.clock.after(this.ownHostBackoff.nextMs(), () => void this.ensureOwnHost());
    }
  }

  /** By itself: a server whose version is from before hosts told theirs refuses it. */
  private async tellVersion(): Promise<void> {
    const { version } = this.options;
    if (version === undefined) return;
    try {
      await this.transact((context) => ({ ops: planVersion(context, version), result: undefined }));
    } catch (error) {
      this.logger.debug('the version of this host cannot be told yet', { error: messageOf(error) });
    }
  }

  private async settled(): Promise<void> {
    if (this.interest === undefined) return;
    await this.whenSynced();
    await this.interest.settle();
  }

  private ownHostFacts() {
    const { locatorRange } = this.options;
    return { locatorRange, ...this.place };
  }

  private reportBadRow(error: DaoliError): void {
    this.logger.error(error.message);
  }
}
