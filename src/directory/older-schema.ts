// Operations for a database that may be of an older version than this agent: its servers' plugins have not been upgraded yet.
// What such a database cannot hold is left out where nothing is lost by that, and refused where something would be. Pure.

import { DaoliError } from '../base/errors';
import type { Operation } from '../ovsdb/notation';
import { comment } from '../ovsdb/operations';
import type { DatabaseSchema, TableSchema } from '../ovsdb/schema';
import type { Ops } from './store';

/** Columns that only describe: a row without them is right, and its host writes them when the database has them. */
const DESCRIPTIONS: Readonly<Record<string, readonly string[]>> = {
  Host: ['version'],
  Endpoint: ['service', 'labels'],
};

/**
 * The operations as a database of this schema can carry them out. Left out are columns that it has not got, where they say
 * what every row says that has no such column, or only describe, and deletes in tables that it has not got. Throws `unavailable` where more would be lost.
 */
export function fitTo(schema: DatabaseSchema | undefined, ops: Ops): Ops {
  return schema === undefined ? ops : ops.map((op) => fitOne(schema, op));
}

function fitOne(schema: DatabaseSchema, op: Operation): Operation {
  if (!('table' in op)) return op;
  const table = schema.tables.get(op.table);
  // Its rows are gone already. The number of operations stays: the server's answers go by their places.
  if (table === undefined && op.op === 'delete') return comment(`no ${op.table} yet`);
  if (table === undefined) throw tooOld(schema, op.table);
  if (op.op === 'insert' || op.op === 'update') {
    const row = fitRow(schema, table, op.row);
    return row === op.row ? op : { ...op, row };
  }
  const columns = op.op === 'mutate' ? op.mutations.map(([column]) => column) : op.op === 'wait' ? op.columns : [];
  const missing = columns.find((column) => !table.columns.has(column));
  if (missing !== undefined) throw tooOld(schema, `${table.name}.${missing}`);
  return op;
}

function fitRow(schema: DatabaseSchema, table: TableSchema, row: object): object {
  const entries = Object.entries(row);
  if (entries.every(([column]) => table.columns.has(column))) return row;
  const kept = entries.filter(([column, value]) => {
    if (table.columns.has(column)) return true;
    if (isDefault(value) || DESCRIPTIONS[table.name]?.includes(column) === true) return false;
    throw tooOld(schema, `${table.name}.${column}`);
  });
  return Object.fromEntries(kept);
}

/** What a new column has in all rows that are there already (RFC 7047 §5.2.1). */
function isDefault(value: unknown): boolean {
  if (value instanceof Map) return value.size === 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === undefined || value === false || value === '' || value === 0;
}

function tooOld({ version }: DatabaseSchema, what: string): DaoliError {
  const message = `the directory is of version ${version}, and has no ${what} yet: upgrade the plugin on the servers`;
  return new DaoliError('unavailable', message, version);
}
