// Rows and operations between JavaScript and wire, by the schema. Encoding throws InvalidValue before anything is sent;
// decoding throws ProtocolError.

import { InvalidValue, ProtocolError } from './errors';
import type { Condition, Mutation, Operation, Uuid, Value, WireRow, WireValue } from './notation';
import type { ColumnType, DatabaseSchema, TableSchema } from './schema';
import { decodeValue, encodeAtom, encodeValue } from './values';

/** A row as it is read: values by column, and its uuid. Immutable: a change makes a new one. */
export type StoredRow<Row extends object = Readonly<Record<string, unknown>>> = Row & { readonly _uuid: Uuid };

/** The table's schema. Throws InvalidValue if there is none. */
export function tableOf(schema: DatabaseSchema, table: string): TableSchema {
  const found = schema.tables.get(table);
  if (found === undefined) throw new InvalidValue(`${schema.name} has no table ${table}`);
  return found;
}

function columnOf(table: TableSchema, column: string): ColumnType {
  const found = table.columns.get(column);
  if (found === undefined) throw new InvalidValue(`table ${table.name} has no column ${column}`);
  return found;
}

/** A row's values to wire; columns that are not given keep their value, or get the default in an insert. */
export function encodeRow(table: TableSchema, row: object): WireRow {
  const wire: Record<string, WireValue> = {};
  for (const [column, value] of Object.entries(row) as Array<[string, Value]>) {
    wire[column] = encodeValue(columnOf(table, column), value, `${table.name}.${column}`);
  }
  return wire;
}

/** A wire row to values, of the columns that it has. */
export function decodeRow(table: TableSchema, wire: unknown): Record<string, unknown> {
  if (typeof wire !== 'object' || wire === null) throw new ProtocolError(`a row of ${table.name} is not an object`);
  const row: Record<string, unknown> = {};
  for (const [column, value] of Object.entries(wire)) {
    const type = table.columns.get(column);
    if (type === undefined) throw new ProtocolError(`the server sent ${table.name}.${column}, which the schema lacks`);
    row[column] = decodeValue(type, value);
  }
  return row;
}

export function encodeConditions(table: TableSchema, where: readonly Condition[]): unknown[] {
  return where.map(([column, fn, value]) => {
    const type = columnOf(table, column);
    // `includes` and `excludes` take any number of a set's elements.
    const isPart = fn === 'includes' || fn === 'excludes';
    const asked = isPart ? { ...type, min: 0, max: Infinity } : type;
    return [column, fn, encodeValue(asked, value, `${table.name}.${column}`)];
  });
}

function encodeMutation(table: TableSchema, [column, mutator, value]: Mutation): unknown[] {
  const type = columnOf(table, column);
  const where = `${table.name}.${column}`;
  if (mutator !== 'insert' && mutator !== 'delete') return [column, mutator, encodeAtom(type.key, value, where)];
  // A map's pairs can be deleted by their keys alone.
  const isKeys = mutator === 'delete' && Array.isArray(value);
  const part = { ...type, value: isKeys ? undefined : type.value, min: 0, max: Infinity };
  return [column, mutator, encodeValue(part, value, where)];
}

/** An operation to wire. Throws InvalidValue where table, column or value do not fit the schema. */
export function encodeOperation(schema: DatabaseSchema, operation: Operation): object {
  if (!('table' in operation)) return operation;
  const table = tableOf(schema, operation.table);
  if (operation.op === 'insert') {
    const { uuidName, uuid, op } = operation;
    const names = { ...(uuidName !== undefined && { 'uuid-name': uuidName }), ...(uuid !== undefined && { uuid }) };
    return { op, table: table.name, row: encodeRow(table, operation.row), ...names };
  }
  const where = encodeConditions(table, operation.where);
  switch (operation.op) {
    case 'update':
      return { ...operation, where, row: encodeRow(table, operation.row) };
    case 'mutate':
      return { ...operation, where, mutations: operation.mutations.map((one) => encodeMutation(table, one)) };
    case 'wait':
      return { ...operation, where, rows: operation.rows.map((row) => encodeRow(table, row)) };
    default:
      return { ...operation, where };
  }
}
