// An OVSDB database in memory: it carries out transactions (RFC 7047 §5.2) with the constraints of a real server, as far
// as the directory's operations use them: unique indexes, strong and weak references, collection of non-root rows, wait,
// chosen and named uuids. test/ovs/directory-memory.test.ts holds it against the real ovsdb-server.

import { randomUUID } from 'node:crypto';
import { errorFromWire, OvsdbError } from '../../src/ovsdb/errors';
import { NamedUuid, type Condition, type Operation, type OperationResult, type Uuid } from '../../src/ovsdb/notation';
import { encodeOperation } from '../../src/ovsdb/rows';
import type { DatabaseSchema } from '../../src/ovsdb/schema';
import { defaultValue, sameValue } from '../../src/ovsdb/values';
import { atomsOf, checkAtoms, readTables, type Column, type Table } from './memory-schema';

export type MemoryRow = Readonly<Record<string, unknown>>;
/** A row that a transaction inserted (no `old`), changed, or deleted (no `row`). */
export interface MemoryChange {
  readonly table: string;
  readonly uuid: Uuid;
  readonly old?: MemoryRow;
  readonly row?: MemoryRow;
}

function failure(error: string, details: string): OvsdbError {
  return errorFromWire({ error, details });
}

export class MemoryDatabase {
  readonly schema: DatabaseSchema;
  private readonly tables: ReadonlyMap<string, Table>;
  private readonly rows = new Map<string, Map<Uuid, MemoryRow>>();
  private readonly indexes = new Map<string, Map<string, Uuid>>();
  private readonly strongCounts = new Map<Uuid, number>();
  private readonly listeners = new Set<(changes: readonly MemoryChange[]) => void>();

  constructor(schemaJson: object) {
    const { schema, tables } = readTables(schemaJson);
    this.schema = schema;
    this.tables = tables;
    for (const [name, { indexes }] of tables) {
      this.rows.set(name, new Map());
      indexes.forEach((_, number) => this.indexes.set(`${name} ${number}`, new Map()));
    }
  }

  /** All rows of a table. */
  table(name: string): ReadonlyMap<Uuid, MemoryRow> {
    return this.rows.get(name) ?? new Map<Uuid, MemoryRow>();
  }

  onChange(listener: (changes: readonly MemoryChange[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** All or nothing. Throws what OvsdbClient.transact rejects with; tells the listeners before it returns. */
  transact(operations: readonly Operation[]): OperationResult[] {
    operations.forEach((operation) => encodeOperation(this.schema, operation));
    const transaction = new Transaction(this.tables, this.rows);
    const results = operations.map((operation, index) => {
      try {
        return transaction.execute(operation);
      } catch (error) {
        throw at(error, index, `${operation.op} ${'table' in operation ? operation.table : ''}`);
      }
    });
    try {
      const changes = transaction.finish(this.strongCounts, this.indexes);
      for (const listener of [...this.listeners]) if (changes.length > 0) listener(changes);
    } catch (error) {
      throw at(error, operations.length, 'commit');
    }
    return results;
  }
}

/** The error with its place in the transaction. */
function at(error: unknown, index: number, what: string): unknown {
  if (!(error instanceof OvsdbError) || error.operation !== undefined) return error;
  return errorFromWire({ error: error.code, details: error.details }, { index, what });
}

type Rows = Map<string, Map<Uuid, MemoryRow>>;

/** One transaction: an overlay over the rows, and the checks of its commit. */
class Transaction {
  private readonly changed = new Map<string, Map<Uuid, MemoryRow | undefined>>();
  private readonly names = new Map<string, Uuid>();
  private readonly created = new Set<string>();

  constructor(
    private readonly tables: ReadonlyMap<string, Table>,
    private readonly base: Rows,
  ) {}

  execute(operation: Operation): OperationResult {
    switch (operation.op) {
      case 'insert':
        return this.insert(operation);
      case 'update': {
        const values = this.written(operation.table, operation.row);
        return this.change(operation.table, operation.where, (row) => ({ ...row, ...values }));
      }
      case 'mutate': {
        const columns = this.tableOf(operation.table).columns;
        const steps = operation.mutations.map(([name, mutator, value]) => {
          const column = mutable(columns.get(name) as Column);
          const given = this.resolve(value);
          return (row: MemoryRow) => ({ ...row, [name]: checked(column, mutated(mutator, row[name], given)) });
        });
        return this.change(operation.table, operation.where, (row) => steps.reduce((now, step) => step(now), row));
      }
      case 'delete':
        return this.change(operation.table, operation.where, () => undefined);
      case 'wait':
        return this.wait(operation);
      case 'select':
        return {
          rows: this.matching(operation.table, operation.where).map(([uuid, row]) => ({ _uuid: uuid, ...row })),
        };
      case 'abort':
        throw failure('aborted', 'aborted by request');
      case 'comment':
      case 'commit':
        return {};
      default:
        throw failure('not supported', operation.op);
    }
  }

  private insert(operation: Extract<Operation, { op: 'insert' }>): OperationResult {
    const table = this.tableOf(operation.table);
    const { uuidName } = operation;
    const uuid = operation.uuid ?? (uuidName === undefined ? (randomUUID() as Uuid) : this.named(uuidName));
    if (this.isKnown(table.name, uuid)) throw failure('duplicate uuid', uuid);
    if (uuidName !== undefined) {
      if (this.created.has(uuidName)) throw failure('duplicate uuid-name', uuidName);
      this.created.add(uuidName);
      // As in ovsdb-server 3.1: what named the row before its insert chose a uuid refers to no row.
      this.names.set(uuidName, uuid);
    }
    const row: Record<string, unknown> = {};
    for (const [column, { type }] of table.columns) row[column] = defaultValue(type);
    Object.assign(row, this.valuesOf(table, operation.row));
    this.set(table.name, uuid, row);
    return { uuid };
  }

  private change(
    table: string,
    where: readonly Condition[],
    make: (row: MemoryRow) => MemoryRow | undefined,
  ): OperationResult {
    const found = this.matching(table, where);
    for (const [uuid, row] of found) this.set(table, uuid, make(row));
    return { count: found.length };
  }

  /** The values of a row as it is given, checked. */
  private valuesOf(table: Table, row: object): MemoryRow {
    const entries = Object.entries(row) as Array<[string, unknown]>;
    return Object.fromEntries(
      entries.map(([name, value]) => [name, checked(table.columns.get(name) as Column, this.resolve(value))]),
    );
  }

  /** The values for rows that are there: their columns must be mutable, whether any row is found or not. */
  private written(name: string, row: object): MemoryRow {
    const table = this.tableOf(name);
    for (const column of Object.keys(row)) mutable(table.columns.get(column) as Column);
    return this.valuesOf(table, row);
  }

  private wait({ table, where, columns, rows, until }: Extract<Operation, { op: 'wait' }>): OperationResult {
    const types = this.tableOf(table).columns;
    const found = this.matching(table, where).map(([, row]) => row);
    const isSame = (a: MemoryRow, b: MemoryRow) =>
      columns.every((name) => {
        const { type } = types.get(name) as Column;
        return sameValue(a[name], name in b ? normal(type, this.resolve(b[name])) : defaultValue(type));
      });
    const expected = rows as readonly MemoryRow[];
    const isEqual =
      found.every((row) => expected.some((one) => isSame(row, one))) &&
      expected.every((one) => found.some((row) => isSame(row, one)));
    if (isEqual !== (until === '==')) throw failure('timed out', '"where" clause test failed');
    return {};
  }

  private matching(name: string, where: readonly Condition[]): Array<[Uuid, MemoryRow]> {
    const [only] = where;
    if (where.length === 1 && only?.[0] === '_uuid' && only[1] === '==') {
      const uuid = this.resolve(only[2]) as Uuid;
      const row = this.row(name, uuid);
      return row === undefined ? [] : [[uuid, row]];
    }
    const columns = this.tableOf(name).columns;
    return this.all(name).filter(([uuid, row]) =>
      where.every(([column, fn, value]) => {
        const asked = this.resolve(value);
        if (column === '_uuid') return holds(fn, uuid, asked);
        return holds(fn, row[column], normal((columns.get(column) as Column).type, asked));
      }),
    );
  }

  /** Checks the whole, in the order of ovsdb/transaction.c, and makes it so. Returns the changes. */
  finish(strongCounts: Map<Uuid, number>, indexes: Map<string, Map<string, Uuid>>): MemoryChange[] {
    const counts = this.countStrong();
    this.checkStrong(counts, strongCounts);
    this.collectGarbage(counts, strongCounts);
    this.dropWeak();
    const keys = this.checkIndexes(indexes);
    for (const [uuid, delta] of counts) bump(strongCounts, uuid, delta);
    for (const store of keys) store();
    return this.store();
  }

  private countStrong(): Map<Uuid, number> {
    const counts = new Map<Uuid, number>();
    for (const [table, uuid, row] of this.changes()) {
      for (const ref of strongRefs(table, this.base.get(table.name)?.get(uuid))) bump(counts, ref, -1);
      for (const ref of strongRefs(table, row)) bump(counts, ref, 1);
    }
    return counts;
  }

  private collectGarbage(counts: Map<Uuid, number>, before: ReadonlyMap<Uuid, number>): void {
    const isUnused = (uuid: Uuid) => (counts.get(uuid) ?? 0) + (before.get(uuid) ?? 0) === 0;
    for (let found = true; found;) {
      found = false;
      for (const table of this.tables.values()) {
        if (table.isRoot) continue;
        const touched = new Set([...counts.keys(), ...(this.changed.get(table.name)?.keys() ?? [])]);
        for (const uuid of touched) {
          const row = this.row(table.name, uuid);
          if (row === undefined || !isUnused(uuid)) continue;
          this.set(table.name, uuid, undefined);
          for (const ref of strongRefs(table, row)) bump(counts, ref, -1);
          found = true;
        }
      }
    }
  }

  private dropWeak(): void {
    const gone = [...this.changes()].filter(([, , row]) => row === undefined).map(([table]) => table.name);
    for (const table of this.tables.values()) {
      for (const column of table.weak) {
        const target = column.base.refTable as string;
        const candidates = gone.includes(target) ? this.all(table.name) : this.changedRows(table.name);
        for (const [uuid, row] of candidates) this.dropWeakOf(table, column, uuid, row);
      }
    }
  }

  private dropWeakOf(table: Table, column: Column, uuid: Uuid, row: MemoryRow): void {
    const refs = atomsOf(row[column.name]) as readonly Uuid[];
    const alive = refs.filter((ref) => this.row(column.base.refTable as string, ref) !== undefined);
    if (alive.length === refs.length) return;
    if (alive.length < column.type.min) throw failure('constraint violation', `${table.name}.${column.name}`);
    this.set(table.name, uuid, { ...row, [column.name]: column.type.max > 1 ? alive : alive[0] });
  }

  private checkStrong(counts: ReadonlyMap<Uuid, number>, before: ReadonlyMap<Uuid, number>): void {
    for (const [table, uuid, row] of this.changes()) {
      const left = (counts.get(uuid) ?? 0) + (before.get(uuid) ?? 0);
      if (row === undefined && left > 0) {
        throw failure('referential integrity violation', `cannot delete ${table.name} row ${uuid}: it is referred to`);
      }
      for (const column of table.strong) {
        for (const ref of atomsOf(row?.[column.name]) as readonly Uuid[]) {
          if (this.row(column.base.refTable as string, ref) !== undefined) continue;
          throw failure('referential integrity violation', `${table.name}.${column.name} refers to ${ref}`);
        }
      }
    }
  }

  /** Throws at the first key that two rows would have; else gives what writes the new keys. */
  private checkIndexes(indexes: ReadonlyMap<string, Map<string, Uuid>>): Array<() => void> {
    const writes: Array<() => void> = [];
    for (const table of this.tables.values()) {
      const changed = this.changed.get(table.name) ?? new Map<Uuid, MemoryRow | undefined>();
      table.indexes.forEach((columns, number) => {
        const index = indexes.get(`${table.name} ${number}`) as Map<string, Uuid>;
        const now = new Map<string, Uuid>();
        for (const [uuid, row] of changed) {
          if (row === undefined) continue;
          const key = keyOf(columns, row);
          const owner = now.get(key) ?? index.get(key);
          if (owner !== undefined && owner !== uuid && (now.has(key) || !changed.has(owner))) {
            throw failure('constraint violation', `two rows of ${table.name} have the same ${columns.join(', ')}`);
          }
          now.set(key, uuid);
        }
        const old = [...changed.keys()].map((uuid) => this.base.get(table.name)?.get(uuid));
        writes.push(() => {
          for (const row of old) if (row !== undefined) index.delete(keyOf(columns, row));
          for (const [key, uuid] of now) index.set(key, uuid);
        });
      });
    }
    return writes;
  }

  private store(): MemoryChange[] {
    const result: MemoryChange[] = [];
    for (const [table, uuid, row] of [...this.changes()]) {
      const rows = this.base.get(table.name) as Map<Uuid, MemoryRow>;
      const old = rows.get(uuid);
      if (row === undefined) rows.delete(uuid);
      else rows.set(uuid, row);
      const isSame = old && row && [...table.columns.keys()].every((name) => sameValue(old[name], row[name]));
      if (isSame || (!old && !row)) continue;
      result.push({ table: table.name, uuid, ...(old && { old }), ...(row && { row }) });
    }
    return result;
  }

  private tableOf(name: string): Table {
    return this.tables.get(name) as Table;
  }

  private row(table: string, uuid: Uuid): MemoryRow | undefined {
    const changed = this.changed.get(table);
    return changed?.has(uuid) ? changed.get(uuid) : this.base.get(table)?.get(uuid);
  }

  /** Whether the row is there, or was before this transaction. */
  private isKnown(table: string, uuid: Uuid): boolean {
    return this.base.get(table)?.has(uuid) === true || this.changed.get(table)?.has(uuid) === true;
  }

  private set(table: string, uuid: Uuid, row: MemoryRow | undefined): void {
    if (!this.changed.has(table)) this.changed.set(table, new Map());
    this.changed.get(table)?.set(uuid, row);
  }

  private all(table: string): Array<[Uuid, MemoryRow]> {
    const unchanged = [...(this.base.get(table) ?? [])].filter(([uuid]) => !this.changed.get(table)?.has(uuid));
    return [...unchanged, ...this.changedRows(table)];
  }

  private changedRows(table: string): Array<[Uuid, MemoryRow]> {
    return [...(this.changed.get(table) ?? [])].filter((pair): pair is [Uuid, MemoryRow] => pair[1] !== undefined);
  }

  private *changes(): Generator<[Table, Uuid, MemoryRow | undefined]> {
    for (const [name, rows] of this.changed) {
      for (const [uuid, row] of rows) yield [this.tableOf(name), uuid, row];
    }
  }

  private named(name: string): Uuid {
    const uuid = this.names.get(name) ?? (randomUUID() as Uuid);
    this.names.set(name, uuid);
    return uuid;
  }

  /** A value with its names resolved; an undefined name is a uuid that no row has. */
  private resolve(value: unknown): unknown {
    if (value instanceof NamedUuid) return this.named(value.name);
    if (!Array.isArray(value)) return value;
    const atoms = value.map((atom) => this.resolve(atom));
    if (new Set(atoms).size < atoms.length) throw failure('ovsdb error', 'set contains duplicate');
    return atoms;
  }
}

function bump(counts: Map<Uuid, number>, uuid: Uuid, delta: number): void {
  const count = (counts.get(uuid) ?? 0) + delta;
  if (count === 0) counts.delete(uuid);
  else counts.set(uuid, count);
}

function strongRefs(table: Table, row: MemoryRow | undefined): readonly Uuid[] {
  return row === undefined ? [] : table.strong.flatMap((column) => atomsOf(row[column.name]) as readonly Uuid[]);
}

/** A value in the form in which it is read: sets are arrays, maps are Maps. */
function normal(type: Column['type'], value: unknown): unknown {
  if (value === undefined || value === null) return defaultOfEmpty(type);
  if (type.value !== undefined) return value instanceof Map ? value : new Map(Object.entries(value));
  if (type.max > 1) return Array.isArray(value) ? value : [value];
  return Array.isArray(value) ? value[0] : value;
}

function defaultOfEmpty(type: Column['type']): unknown {
  if (type.value !== undefined) return new Map();
  return type.max > 1 ? [] : undefined;
}

function checked(column: Column, value: unknown): unknown {
  const result = normal(column.type, value);
  checkAtoms(column, result);
  return result;
}

function mutable(column: Column): Column {
  if (column.isMutable) return column;
  throw failure('constraint violation', `cannot update immutable column ${column.name}`);
}

function mutated(mutator: string, old: unknown, value: unknown): unknown {
  if (mutator === '+=' && typeof old === 'number' && typeof value === 'number') return old + value;
  if (mutator === '-=' && typeof old === 'number' && typeof value === 'number') return old - value;
  if (old instanceof Map) return mutatedMap(mutator, old, value);
  const given = atomsOf(value);
  if (mutator === 'insert') return [...new Set([...atomsOf(old), ...given])];
  if (mutator === 'delete') return atomsOf(old).filter((atom) => !given.includes(atom));
  throw failure('not supported', mutator);
}

/** RFC 7047 §5.1: an insertion of pairs leaves the keys that are there; a deletion is by keys here. */
function mutatedMap(mutator: string, old: ReadonlyMap<unknown, unknown>, value: unknown): unknown {
  if (mutator === 'insert') return new Map([...Object.entries(value as object), ...old]);
  if (mutator === 'delete') return new Map([...old].filter(([key]) => !(value as readonly unknown[]).includes(key)));
  throw failure('not supported', mutator);
}

function holds(fn: string, value: unknown, asked: unknown): boolean {
  if (fn === '==') return sameValue(value, asked);
  if (fn === '!=') return !sameValue(value, asked);
  const atoms = atomsOf(value);
  if (fn === 'includes') return atomsOf(asked).every((atom) => atoms.includes(atom));
  if (fn === 'excludes') return !atomsOf(asked).some((atom) => atoms.includes(atom));
  throw failure('not supported', fn);
}

function keyOf(columns: readonly string[], row: MemoryRow): string {
  return JSON.stringify(columns.map((name) => [...atomsOf(row[name])].sort()));
}
