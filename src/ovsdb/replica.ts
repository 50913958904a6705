// A copy of tables of a database in memory, kept by a monitor: typed rows by uuid and by declared indexes, and change
// events. While the connection is away the rows stay as they were; when it is back the differences come as one change.
// Rows are immutable and keep their identity while they do not change.

import type { OvsdbClient } from './client';
import type { Monitor, MonitoredTable } from './monitor';
import type { Uuid } from './notation';
import type { Change } from './row-cache';
import { RowIndex } from './row-index';
import type { StoredRow } from './rows';

/** What to hold of a table; see MonitoredTable for `columns` and `where`. */
export interface ReplicaTable extends MonitoredTable {
  /** Indexes by name: the columns whose values make the key. One column that is a set indexes each element. */
  readonly indexes?: Readonly<Record<string, readonly string[]>>;
}

export type ReplicaTables<Tables> = { readonly [Table in keyof Tables & string]: ReplicaTable };

/** The rows of one table. */
export interface TableView<Row extends object> {
  readonly size: number;
  get(uuid: string): StoredRow<Row> | undefined;
  rows(): Iterable<StoredRow<Row>>;
  /** The rows whose indexed columns have these values, in no order. Throws RangeError if no such index is declared. */
  find(index: string, ...key: readonly unknown[]): ReadonlyArray<StoredRow<Row>>;
  /** One of them. */
  findOne(index: string, ...key: readonly unknown[]): StoredRow<Row> | undefined;
}

type RowOf<Tables, Table extends keyof Tables> = Tables[Table] & object;
/** A change of a table of `Tables`; `change.table` tells which, and so which rows. */
export type ReplicaChange<Tables> = {
  [Table in keyof Tables & string]: Change<Table, RowOf<Tables, Table>>;
}[keyof Tables & string];
export type ChangeListener<Tables> = (changes: ReadonlyArray<ReplicaChange<Tables>>) => void;

/**
 * A replica over a client. `Tables` is an interface of row types by table: an optional column (min 0, max 1) is
 * `T | undefined`, a set `readonly T[]`, a map `ReadonlyMap<K, V>`, a reference a Uuid.
 */
export class Replica<Tables> {
  private monitor: Monitor | undefined;
  private readonly indexes: ReadonlyMap<string, ReadonlyMap<string, RowIndex>>;
  private readonly changeListeners = new Set<ChangeListener<Tables>>();
  private readonly syncListeners = new Set<() => void>();
  private syncWaiters: Array<() => void> = [];

  constructor(
    private readonly client: OvsdbClient,
    private readonly tables: ReplicaTables<Tables>,
  ) {
    const entries = Object.entries<ReplicaTable>(tables);
    this.indexes = new Map(
      entries.map(([table, { indexes = {} }]) => [
        table,
        new Map(Object.entries(indexes).map(([name, columns]) => [name, new RowIndex(columns)])),
      ]),
    );
  }

  /** Begins to follow. Idempotent. The client is started and stopped by whoever owns it. */
  start(): void {
    this.monitor ??= this.client.monitor(this.tables, {
      onChanges: (changes) => this.handleChanges(changes),
      onSynced: () => this.handleSynced(),
    });
  }

  /** Follows no more, for good. The rows stay as they are. Idempotent. */
  stop(): void {
    if (this.monitor !== undefined) this.client.cancelMonitor(this.monitor);
  }

  /** Whether the rows follow the server at present. */
  get synced(): boolean {
    return this.monitor?.synced ?? false;
  }

  /** Resolves when the rows are those of the server: at once, or after the next (re)connection. */
  whenSynced(): Promise<void> {
    return this.synced ? Promise.resolve() : new Promise((resolve) => this.syncWaiters.push(resolve));
  }

  /** A live view of a table. */
  table<Table extends keyof Tables & string>(name: Table): TableView<RowOf<Tables, Table>> {
    type Row = StoredRow<RowOf<Tables, Table>>;
    const rows = () => (this.monitor?.rows(name) ?? new Map()) as ReadonlyMap<Uuid, Row>;
    const find = (index: string, key: readonly unknown[]) => {
      const found = this.indexes.get(name)?.get(index);
      if (found === undefined) throw new RangeError(`no index ${index} is declared on ${name}`);
      return found.find(key) as readonly Row[];
    };
    return {
      get size() {
        return rows().size;
      },
      get: (uuid) => rows().get(uuid as Uuid),
      rows: () => rows().values(),
      find: (index, ...key) => find(index, key),
      findOne: (index, ...key) => find(index, key)[0],
    };
  }

  /** Calls back with the changes of each update, after rows and indexes have them. Returns what ends it. */
  onChange(listener: ChangeListener<Tables>): () => void {
    this.changeListeners.add(listener);
    return () => void this.changeListeners.delete(listener);
  }

  /** Calls back each time the rows are those of the server again: after the first snapshot and each reconnection. */
  onSynced(listener: () => void): () => void {
    this.syncListeners.add(listener);
    return () => void this.syncListeners.delete(listener);
  }

  private handleChanges(changes: readonly Change[]): void {
    for (const { table, old, row } of changes) {
      for (const index of this.indexes.get(table)?.values() ?? []) index.replace(old, row);
    }
    for (const listener of [...this.changeListeners]) {
      this.client.guard(() => listener(changes as unknown as ReadonlyArray<ReplicaChange<Tables>>));
    }
  }

  private handleSynced(): void {
    const waiters = this.syncWaiters;
    this.syncWaiters = [];
    for (const resolve of waiters) resolve();
    for (const listener of [...this.syncListeners]) this.client.guard(listener);
  }
}
