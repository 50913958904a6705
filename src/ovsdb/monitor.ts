// One monitor over all its connections: what to ask for, the rows it has, and the transaction up to which it has them.
// It takes the server's answers and says what changed; session.ts does the asking.

import { ProtocolError } from './errors';
import { isUuid, ZERO_UUID, type Condition, type Uuid } from './notation';
import { RowCache, type Change, type UpdateDialect } from './row-cache';
import { encodeConditions, tableOf, type StoredRow } from './rows';
import type { DatabaseSchema } from './schema';

/** What to monitor of a table. */
export interface MonitoredTable {
  /** All columns if none are named. A column that the server's schema lacks reads as undefined. */
  readonly columns?: readonly string[];
  /**
   * Rows that fulfil one of these: none where the list is empty, all where it is not given. Servers without monitor_cond
   * send all rows. It can be changed: see OvsdbClient.setConditions.
   */
  readonly where?: readonly Condition[];
  /** Makes what the rows are kept in; see RowKeeper. By default a plain Map. */
  readonly keeper?: () => Map<Uuid, StoredRow>;
}

export type MonitoredTables = Readonly<Record<string, MonitoredTable>>;
/** Conditions by table; those that are not named stay as they are. */
export type TableConditions = Readonly<Record<string, readonly Condition[]>>;

/** The methods to try, the best first; an older server knows only the later ones. */
export const MONITOR_METHODS = ['monitor_cond_since', 'monitor_cond', 'monitor'] as const;
export type MonitorMethod = (typeof MONITOR_METHODS)[number];

/** Updates that may come before the answer to the monitor's request; more is a server gone wrong. */
const MAX_DEFERRED = 10_000;

export interface MonitorListener {
  /** Rows changed: once per update of the server, and once per (re)connection if anything is different then. */
  onChanges(changes: readonly Change[]): void;
  /** The rows are those of the server now, after the changes were told. */
  onSynced(): void;
}

export class Monitor {
  private cache: RowCache | undefined;
  private schema: DatabaseSchema | undefined;
  private lastTxnId = ZERO_UUID;
  private generation = 0;
  private method: MonitorMethod = 'monitor_cond_since';
  private deferred: Array<readonly unknown[]> | undefined;
  private isSynced = false;
  private wasAnswered = false;
  /** Rows that are not from a server, until one answers. */
  private restored: ReadonlyMap<string, Map<Uuid, StoredRow>> | undefined;
  private readonly conditions: Map<string, readonly Condition[]>;
  /** Counts the changes of `conditions`: those that were made, sent, and answered. The rows are those of `answered`. */
  private readonly revision = { wanted: 0, sent: 0, answered: 0 };
  private waiters: Array<{ readonly revision: number; readonly resolve: () => void }> = [];

  constructor(
    private readonly name: string,
    private readonly tables: MonitoredTables,
    private readonly listener: MonitorListener,
  ) {
    const limited = Object.entries(tables).flatMap(([table, { where }]) => (where ? [[table, where] as const] : []));
    this.conditions = new Map(limited);
  }

  /** Whether the rows follow the server at present. */
  get synced(): boolean {
    return this.isSynced;
  }

  /** The <json-value> that names the present request; a new one for each, so that late updates cannot be confused. */
  get id(): string {
    return `${this.name}.${this.generation}`;
  }

  rows(table: string): ReadonlyMap<Uuid, StoredRow> {
    return this.cache?.rows(table) ?? this.restored?.get(table) ?? new Map<Uuid, StoredRow>();
  }

  /**
   * Begins with rows that an earlier process had, as if they were from a connection that is gone: they are told as changes,
   * and of the first answer of a server what is different. Does nothing, and says false, where one has answered or is about to.
   */
  restore(rows: Iterable<readonly [table: string, row: StoredRow]>): boolean {
    if (this.wasAnswered || this.deferred !== undefined) return false;
    const tables = new Map(
      Object.entries(this.tables).map(([table, { keeper }]) => [table, keeper?.() ?? new Map<Uuid, StoredRow>()]),
    );
    const changes: Change[] = [];
    for (const [table, row] of rows) {
      tables.get(table)?.set(row._uuid, row);
      if (tables.has(table)) changes.push({ table, uuid: row._uuid, row });
    }
    this.restored = tables;
    this.cache?.adoptRows(tables);
    this.listener.onChanges(changes);
    return true;
  }

  /** The parameters of the request that starts or resumes this monitor on a connection. */
  begin(method: MonitorMethod, schema: DatabaseSchema): unknown[] {
    this.end();
    this.generation += 1;
    this.method = method;
    this.deferred = [];
    if (schema !== this.schema) this.adoptSchema(schema);
    // What was missed can be told only of the rows that are here: for others a whole snapshot is needed.
    if (this.revision.answered !== this.revision.wanted) this.forget();
    this.revision.sent = this.revision.wanted;
    const requests = Object.fromEntries(
      Object.keys(this.tables)
        .filter((table) => schema.tables.has(table))
        .map((table) => [table, [this.requestOf(schema, table)]]),
    );
    const parameters = [schema.name, this.id, requests];
    return method === 'monitor_cond_since' ? [...parameters, this.lastTxnId] : parameters;
  }

  /** The answer to the request of `begin`. */
  handleReply(result: unknown): void {
    const cache = this.cacheOrThrow();
    const since = this.method === 'monitor_cond_since';
    const [found, txnId, updates] = since ? asReply(result) : [false, ZERO_UUID, result];
    const changes = found ? cache.apply(2, updates) : cache.replace(this.dialect, updates);
    this.lastTxnId = txnId;
    const deferred = this.deferred ?? [];
    this.deferred = undefined;
    this.isSynced = true;
    this.wasAnswered = true;
    this.restored = undefined;
    // Before the listener, which may want others at once.
    this.handleConditionsAnswered();
    if (changes.length > 0) this.listener.onChanges(changes);
    for (const params of deferred) this.handleUpdate(params);
    this.listener.onSynced();
  }

  /** Wants the rows of other conditions from now on. Resolves when it has them; the session asks for them. */
  want(where: TableConditions): Promise<void> {
    for (const [table, conditions] of Object.entries(where)) this.conditions.set(table, conditions);
    const revision = (this.revision.wanted += 1);
    return new Promise((resolve) => this.waiters.push({ revision, resolve }));
  }

  /**
   * The parameters of the request for the conditions that are wanted (monitor_cond_change), if there is anything to ask
   * for now. The update that it causes comes before its answer.
   */
  beginConditions(): unknown[] | undefined {
    const { schema, revision } = this;
    if (!this.isSynced || schema === undefined || revision.sent === revision.wanted) return undefined;
    // A second request waits for the answer to the first.
    if (revision.sent !== revision.answered) return undefined;
    revision.sent = revision.wanted;
    // A server that knows no conditions sends all rows anyway.
    if (this.method === 'monitor') {
      this.handleConditionsAnswered();
      return undefined;
    }
    const tables = [...this.conditions.keys()].filter((table) => schema.tables.has(table));
    const requests = tables.map((table) => [table, [{ where: this.whereOf(schema, table) }]] as const);
    return [this.id, this.id, Object.fromEntries(requests)];
  }

  /** The answer to the request of `beginConditions`, or to that of `begin`, has come. */
  handleConditionsAnswered(): void {
    this.revision.answered = this.revision.sent;
    const done = this.waiters.filter(({ revision }) => revision <= this.revision.answered);
    this.waiters = this.waiters.filter(({ revision }) => revision > this.revision.answered);
    for (const { resolve } of done) resolve();
  }

  /** The parameters of an update notification of this monitor, its id included. */
  handleUpdate(params: readonly unknown[]): void {
    if (this.deferred !== undefined) {
      if (this.deferred.length === MAX_DEFERRED) throw new ProtocolError('updates without an answer to the monitor');
      this.deferred.push(params);
      return;
    }
    const since = this.method === 'monitor_cond_since';
    const changes = this.cacheOrThrow().apply(this.dialect, params[since ? 2 : 1]);
    if (since) this.lastTxnId = asTxnId(params[1]);
    if (changes.length > 0) this.listener.onChanges(changes);
  }

  /** The connection is gone. The rows stay as they are. */
  end(): void {
    this.isSynced = false;
    this.deferred = undefined;
    // Which of the conditions the rows are of is not known.
    if (this.revision.sent !== this.revision.answered) this.forget();
  }

  /** Nobody wants it any more: a late answer finds another id. */
  cancel(): void {
    this.end();
    this.generation += 1;
  }

  /** The next connection starts from a whole snapshot: the database is another one, or our rows cannot be trusted. */
  forget(): void {
    this.lastTxnId = ZERO_UUID;
  }

  private get dialect(): UpdateDialect {
    return this.method === 'monitor' ? 1 : 2;
  }

  private cacheOrThrow(): RowCache {
    if (this.cache === undefined) throw new ProtocolError('an update of a monitor that was not begun');
    return this.cache;
  }

  private adoptSchema(schema: DatabaseSchema): void {
    const tables = Object.keys(this.tables).filter((table) => schema.tables.has(table));
    const shape = new Map(tables.map((table) => [table, this.columnsOf(schema, table)]));
    const cache = new RowCache(schema, shape, (table) => this.tables[table]?.keeper?.() ?? new Map<Uuid, StoredRow>());
    if (this.cache !== undefined) cache.adopt(this.cache);
    else if (this.restored !== undefined) cache.adoptRows(this.restored);
    this.cache = cache;
    this.schema = schema;
    this.forget();
  }

  private columnsOf(schema: DatabaseSchema, table: string): string[] {
    const known = schema.tables.get(table)?.columns ?? new Map<string, unknown>();
    const all = [...known.keys()].filter((column) => !column.startsWith('_'));
    return this.tables[table]?.columns?.filter((column) => known.has(column)) ?? all;
  }

  private requestOf(schema: DatabaseSchema, name: string): object {
    const columns = this.columnsOf(schema, name);
    if (!this.conditions.has(name) || this.method === 'monitor') return { columns };
    return { columns, where: this.whereOf(schema, name) };
  }

  private whereOf(schema: DatabaseSchema, name: string): unknown[] {
    const where = this.conditions.get(name) ?? [];
    // On the wire an empty list is all rows.
    return where.length === 0 ? [false] : encodeConditions(tableOf(schema, name), where);
  }
}

function asReply(result: unknown): [found: boolean, txnId: Uuid, updates: unknown] {
  if (!Array.isArray(result) || result.length !== 3 || typeof result[0] !== 'boolean') {
    throw new ProtocolError('the answer to monitor_cond_since is not [found, last-txn-id, updates]');
  }
  return [result[0], asTxnId(result[1]), result[2]];
}

function asTxnId(json: unknown): Uuid {
  if (!isUuid(json)) throw new ProtocolError('a last-txn-id is not a uuid');
  return json;
}
