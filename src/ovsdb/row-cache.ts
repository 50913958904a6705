// The rows of a monitor, decoded, and what the server's updates change in them. One cache serves all three dialects of
// updates (RFC 7047 §4.1.6; ovsdb-server(7) for update2 and update3). No I/O.

import { ProtocolError } from './errors';
import { isUuid, type Uuid } from './notation';
import type { StoredRow } from './rows';
import type { ColumnType, DatabaseSchema, TableSchema } from './schema';
import { applyDiff, decodeValue, defaultValue, sameValue } from './values';

/** A row that came (no `old`), changed, or went (no `row`). */
export interface Change<Table extends string = string, Row extends object = Readonly<Record<string, unknown>>> {
  readonly table: Table;
  readonly uuid: Uuid;
  readonly old?: StoredRow<Row>;
  readonly row?: StoredRow<Row>;
}

/** `1` is the RFC's update; `2` that of update2 and update3. */
export type UpdateDialect = 1 | 2;

/** The columns to keep, by table. */
export type CacheShape = ReadonlyMap<string, readonly string[]>;

/**
 * Makes what the rows of a table are kept in, anew for each snapshot. One of the caller's own may keep them in another
 * form, as long as it gives back what was put in.
 */
export type RowKeeper = (table: string) => Map<Uuid, StoredRow>;

interface CachedTable {
  readonly name: string;
  readonly columns: ReadonlyArray<readonly [string, ColumnType]>;
  rows: Map<Uuid, StoredRow>;
}

type JsonObject = Readonly<Record<string, unknown>>;

function asObject(json: unknown, what: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ProtocolError(`${what} is no object`);
  return json as JsonObject;
}

export class RowCache {
  private readonly tables: ReadonlyMap<string, CachedTable>;

  /** Throws where the schema lacks a table or column of the shape: trim it first. */
  constructor(
    schema: DatabaseSchema,
    shape: CacheShape,
    private readonly keeper: RowKeeper = () => new Map(),
  ) {
    this.tables = new Map(
      [...shape].map(([name, columns]) => {
        const table = schema.tables.get(name) as TableSchema;
        const typed = columns.map((column) => [column, table.columns.get(column) as ColumnType] as const);
        return [name, { name, columns: typed, rows: keeper(name) }];
      }),
    );
  }

  /** The rows of a table, live. */
  rows(table: string): ReadonlyMap<Uuid, StoredRow> {
    return this.tables.get(table)?.rows ?? new Map<Uuid, StoredRow>();
  }

  /** Carries an update out, all of it or nothing, and returns what it changed, in the order of the update. */
  apply(dialect: UpdateDialect, update: unknown): Change[] {
    const changes: Change[] = [];
    try {
      for (const [name, rows] of Object.entries(asObject(update, 'an update'))) {
        const table = this.tables.get(name);
        if (table === undefined) throw new ProtocolError(`an update of table ${name}, which is not monitored`);
        this.applyToTable(dialect, table, asObject(rows, `an update of ${name}`), changes);
      }
    } catch (error) {
      for (const change of changes.reverse()) this.revert(change);
      throw error;
    }
    return changes;
  }

  /** Makes the cache equal to a complete snapshot, and returns the difference. */
  replace(dialect: UpdateDialect, snapshot: unknown): Change[] {
    const before = [...this.tables.values()].map((table) => ({ table, rows: table.rows }));
    for (const table of this.tables.values()) table.rows = this.keeper(table.name);
    try {
      this.apply(dialect, snapshot);
    } catch (error) {
      for (const { table, rows } of before) table.rows = rows;
      throw error;
    }
    return before.flatMap(({ table, rows }) => difference(table, rows));
  }

  /** Takes over the rows of another cache, which is not used any more, as what `replace` compares with. */
  adopt(other: RowCache): void {
    for (const table of this.tables.values()) table.rows = other.tables.get(table.name)?.rows ?? table.rows;
  }

  /** The same, of rows by table. They are not used any more by whoever had them. */
  adoptRows(rows: ReadonlyMap<string, Map<Uuid, StoredRow>>): void {
    for (const table of this.tables.values()) table.rows = rows.get(table.name) ?? table.rows;
  }

  private applyToTable(dialect: UpdateDialect, table: CachedTable, rows: JsonObject, changes: Change[]): void {
    for (const [uuid, json] of Object.entries(rows)) {
      if (!isUuid(uuid)) throw new ProtocolError(`an update of ${table.name} names a row that is no uuid`);
      const row = this.rowAfter(dialect, table, uuid, asObject(json, `an update of a row of ${table.name}`));
      const change = store(table, uuid, row);
      if (change !== undefined) changes.push(change);
    }
  }

  private revert({ table, uuid, old }: Change): void {
    const rows = this.tables.get(table)?.rows;
    if (old === undefined) rows?.delete(uuid);
    else rows?.set(uuid, old);
  }

  private rowAfter(dialect: UpdateDialect, table: CachedTable, uuid: Uuid, change: JsonObject): StoredRow | undefined {
    if (dialect === 1) {
      const { new: after } = change;
      return after === undefined ? undefined : newRow(table, uuid, asObject(after, 'a row'));
    }
    const after = change['insert'] ?? change['initial'];
    if (after !== undefined) return newRow(table, uuid, asObject(after, 'a row'));
    if (change['modify'] !== undefined) return modifiedRow(table, uuid, asObject(change['modify'], 'a row'));
    if (!('delete' in change)) throw new ProtocolError(`an update of a row of ${table.name} that says nothing`);
    return undefined;
  }
}

/** Columns that the server leaves out have their default. */
function newRow(table: CachedTable, uuid: Uuid, wire: JsonObject): StoredRow {
  const row: Record<string, unknown> = { _uuid: uuid };
  for (const [column, type] of table.columns) {
    row[column] = Object.hasOwn(wire, column) ? decodeValue(type, wire[column]) : defaultValue(type);
  }
  return row as StoredRow;
}

function modifiedRow(table: CachedTable, uuid: Uuid, wire: JsonObject): StoredRow {
  const old = table.rows.get(uuid);
  if (old === undefined) throw new ProtocolError(`a change of row ${uuid} of ${table.name}, which is not there`);
  const row: Record<string, unknown> = { ...old };
  for (const [column, type] of table.columns) {
    if (!Object.hasOwn(wire, column)) continue;
    // A difference may have fewer elements than the column needs.
    const diff = type.max > 1 ? { ...type, min: 0 } : type;
    row[column] = applyDiff(type, old[column], decodeValue(diff, wire[column]));
  }
  return row as StoredRow;
}

function store(table: CachedTable, uuid: Uuid, row: StoredRow | undefined): Change | undefined {
  const old = table.rows.get(uuid);
  if (row !== undefined) table.rows.set(uuid, row);
  else if (!table.rows.delete(uuid)) return undefined;
  return { table: table.name, uuid, ...(old && { old }), ...(row && { row }) };
}

/** What leads from the rows before to those that the table has now; equal rows keep their identity. */
function difference(table: CachedTable, before: ReadonlyMap<Uuid, StoredRow>): Change[] {
  const changes: Change[] = [];
  for (const [uuid, old] of before) {
    if (!table.rows.has(uuid)) changes.push({ table: table.name, uuid, old });
  }
  for (const [uuid, row] of table.rows) {
    const old = before.get(uuid);
    if (old === undefined) changes.push({ table: table.name, uuid, row });
    else if (table.columns.every(([column]) => sameValue(old[column], row[column]))) table.rows.set(uuid, old);
    else changes.push({ table: table.name, uuid, old, row });
  }
  return changes;
}
