// A directory without a server, for tests of what stands on it: the same face, the same transactor and the same tables as
// Directory, over a MemoryDatabase. Several hosts can share one database. It can be taken away, and it can lose the
// answer to a transaction, before or after it was carried out.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { parseCidr, type Cidr, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock, type Clock } from '../../src/base/clock';
import { RoundRobinAllocator, nextLocatorBlock } from '../../src/directory/allocation';
import { insertHost } from '../../src/directory/operations';
import { TABLES_IN_ORDER } from '../../src/directory/row-decoding';
import type { DirectoryChange, NetworkId } from '../../src/directory/rows';
import type { DirectoryStore, Followed, Ops, Plan } from '../../src/directory/store';
import { DirectoryTables } from '../../src/directory/tables';
import { Transactor, type DatabaseLink } from '../../src/directory/transactor';
import { ConnectionLost, NotConnected } from '../../src/ovsdb/errors';
import type { Uuid } from '../../src/ovsdb/notation';
import { MemoryDatabase } from './memory-database';

export const DIRECTORY_SCHEMA_FILE = join(__dirname, '../../src/directory/directory.ovsschema');

/** An empty DaoliNet database in memory. */
export function createMemoryDatabase(): MemoryDatabase {
  return new MemoryDatabase(JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as object);
}

export interface MemoryDirectoryOptions {
  /** Shared by several hosts of one cluster. Default: one of its own. */
  readonly database?: MemoryDatabase;
  /** Default "host1". */
  readonly host?: string;
  /** Default 100.64.0.0/10. */
  readonly locatorRange?: Cidr;
  /** The server's own address in its cluster. */
  readonly address?: Ipv4;
  /** `needed`: it does as if it did not know everything, and does. */
  readonly extent?: 'everything' | 'needed';
  readonly clock?: Clock;
  /** Milliseconds since 1970. Default Date.now. */
  readonly wallClock?: () => number;
}

/** What happens to one transaction: its answer is lost before or after it was carried out. */
export type Accident = 'lost-before' | 'lost-after';

export class MemoryDirectory implements DirectoryStore {
  readonly host: string;
  readonly database: MemoryDatabase;
  /** Looks at each transaction before it is carried out, and may keep it waiting. */
  onTransact: (ops: Ops) => void | Promise<void> = () => undefined;
  /** Every transaction that was carried out, the newest last. */
  readonly committed: Ops[] = [];
  /** What was asked to be followed, the last one last. */
  readonly followed: Followed[] = [];
  private readonly tables: DirectoryTables;
  private readonly transactor: Transactor;
  private readonly connectionListeners = new Set<(isConnected: boolean) => void>();
  private readonly listeners = new Set<(changes: readonly DirectoryChange[]) => void>();
  private readonly accidents: Accident[] = [];
  private isAway = false;
  private waiters: Array<() => void> = [];

  constructor(options: MemoryDirectoryOptions = {}) {
    const { host = 'host1', database = createMemoryDatabase(), wallClock = Date.now } = options;
    const range = options.locatorRange ?? parseCidr('100.64.0.0/10');
    this.host = host;
    const throwIt = (error: Error): never => {
      throw error;
    };
    this.tables = new DirectoryTables(host, throwIt, options.extent === 'needed' ? () => true : undefined);
    this.database = database;
    const allocate = new RoundRobinAllocator(this.tables, host, range);
    this.transactor = new Transactor({
      link: this.createLink(),
      context: () => ({ view: this.tables, host, allocate, nowMs: wallClock() }),
      hasRow: (table, uuid) => this.tables.hasRow(table, uuid),
      clock: options.clock ?? systemClock,
      newUuid: () => randomUUID() as Uuid,
    });
    this.load();
    this.insertOwnHost(range, options.address);
  }

  get view(): DirectoryTables {
    return this.tables;
  }

  get connected(): boolean {
    return !this.isAway;
  }

  whenReady(): Promise<void> {
    return Promise.resolve();
  }

  /** It follows everything; what was asked for is noted. */
  follow(what: Followed): Promise<void> {
    this.followed.push(what);
    return Promise.resolve();
  }

  whenFollowed(): Promise<void> {
    return Promise.resolve();
  }

  hostsOf(id: NetworkId): Promise<string[]> {
    return Promise.resolve([...this.tables.replicasOf(id)].map(({ host }) => host));
  }

  transact<T>(plan: Plan<T>): Promise<T> {
    return this.transactor.transact(plan);
  }

  commit(ops: Ops): Promise<void> {
    return this.transactor.commit(ops);
  }

  onChange(listener: (changes: readonly DirectoryChange[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  onConnected(listener: (isConnected: boolean) => void): () => void {
    this.connectionListeners.add(listener);
    return () => void this.connectionListeners.delete(listener);
  }

  /** Takes the database away, or brings it back. */
  setAway(isAway: boolean): void {
    this.isAway = isAway;
    for (const listener of [...this.connectionListeners]) listener(!isAway);
    if (isAway) return;
    const waiters = this.waiters;
    this.waiters = [];
    for (const resolve of waiters) resolve();
  }

  /** The next transaction meets this accident. */
  schedule(accident: Accident): void {
    this.accidents.push(accident);
  }

  private createLink(): DatabaseLink {
    const isSynced = () => !this.isAway;
    return {
      get synced() {
        return isSynced();
      },
      whenSynced: () => (isSynced() ? Promise.resolve() : new Promise((resolve) => this.waiters.push(resolve))),
      transact: async (ops) => {
        await Promise.resolve();
        if (this.isAway) throw new NotConnected('taken away');
        const accident = this.accidents.shift();
        if (accident === 'lost-before') throw new ConnectionLost('an accident');
        const wait = this.onTransact(ops);
        if (wait !== undefined) await wait;
        this.database.transact(ops);
        this.committed.push(ops);
        if (accident === 'lost-after') throw new ConnectionLost('an accident');
      },
    };
  }

  private load(): void {
    for (const table of TABLES_IN_ORDER) {
      this.tables.apply([...this.database.table(table)].map(([uuid, row]) => ({ table, uuid, row })));
    }
    this.database.onChange((changes) => {
      const typed = this.tables.apply(changes);
      for (const listener of [...this.listeners]) listener(typed);
    });
  }

  private insertOwnHost(range: Cidr, address: Ipv4 | undefined): void {
    if (this.tables.host(this.host) !== undefined) return;
    const block = nextLocatorBlock(this.tables, range);
    if (block === undefined) throw new Error('no locator block is left');
    const number = [...this.tables.hosts()].length + 1;
    const routerMac = (0x02_da_00_00_00_00 + number) as Mac;
    const datapathId = routerMac.toString(16).padStart(16, '0');
    this.database.transact(insertHost({ name: this.host, routerMac, datapathId, address, block }));
  }
}

/** A directory in memory whose Host row is there. */
export function createMemoryDirectory(options: MemoryDirectoryOptions = {}): MemoryDirectory {
  return new MemoryDirectory(options);
}
