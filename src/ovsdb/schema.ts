// <database-schema> of RFC 7047 §3.2, parsed into what the conversion of rows needs. It comes from a server that may be
// newer than us, so members that we do not know are passed over; what does not have the RFC's shape is a ProtocolError.

import { ProtocolError } from './errors';

export type AtomicType = 'integer' | 'real' | 'boolean' | 'string' | 'uuid';

/** <type>: one atom (min 1, max 1), an optional one (min 0, max 1), a set, or with `value` a map. */
export interface ColumnType {
  readonly key: AtomicType;
  readonly value: AtomicType | undefined;
  readonly min: number;
  /** Infinity for "unlimited". */
  readonly max: number;
}

export interface TableSchema {
  readonly name: string;
  /** With `_uuid` and `_version`, which every table has. */
  readonly columns: ReadonlyMap<string, ColumnType>;
  readonly isRoot: boolean;
  readonly indexes: ReadonlyArray<readonly string[]>;
}

export interface DatabaseSchema {
  readonly name: string;
  readonly version: string;
  readonly tables: ReadonlyMap<string, TableSchema>;
}

const ATOMIC_TYPES: ReadonlySet<unknown> = new Set(['integer', 'real', 'boolean', 'string', 'uuid']);
const ROW_ID: ColumnType = { key: 'uuid', value: undefined, min: 1, max: 1 };
/** <id>, but for the names with a leading underscore, which RFC 7047 reserves. */
const NAME = /^[A-Za-z]\w*$/;

type JsonObject = Readonly<Record<string, unknown>>;

function asObject(json: unknown, what: string): JsonObject {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ProtocolError(`${what} in the schema is not an object`);
  }
  return json as JsonObject;
}

/** Parses the answer to `get_schema`. Throws ProtocolError where it has not the RFC's shape. */
export function parseSchema(json: unknown): DatabaseSchema {
  const { name, version, tables } = asObject(json, 'the database');
  if (typeof name !== 'string') throw new ProtocolError('the schema has no name');
  const entries = Object.entries(asObject(tables, 'tables'));
  return {
    name,
    version: typeof version === 'string' ? version : '',
    tables: new Map(entries.map(([table, schema]) => [table, parseTable(table, schema)])),
  };
}

/** Parses schemas from their text, and gives the same object as long as the text is the same. */
export class SchemaParser {
  private last: { readonly text: string; readonly schema: DatabaseSchema } | undefined;

  /** Throws ProtocolError. */
  parse(text: string): DatabaseSchema {
    if (this.last?.text !== text) this.last = { text, schema: parseSchema(parseJson(text)) };
    return this.last.schema;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ProtocolError('the schema is not JSON', { cause: error });
  }
}

function parseTable(name: string, json: unknown): TableSchema {
  const { columns, isRoot, indexes } = asObject(json, `table ${name}`);
  const entries = Object.entries(asObject(columns, `columns of ${name}`));
  return {
    name,
    columns: new Map([
      ['_uuid', ROW_ID],
      ['_version', ROW_ID],
      ...entries.map(([column, schema]) => [column, parseColumn(`${name}.${column}`, schema)] as const),
    ]),
    isRoot: isRoot === true,
    indexes: Array.isArray(indexes) ? (indexes as string[][]) : [],
  };
}

function parseColumn(name: string, json: unknown): ColumnType {
  if (!NAME.test(name.slice(name.indexOf('.') + 1))) throw new ProtocolError(`${name} is no name for a column`);
  const { type } = asObject(json, name);
  if (typeof type === 'string') return { ...ROW_ID, key: parseBaseType(name, type) };
  const { key, value, min = 1, max = 1 } = asObject(type, `the type of ${name}`);
  const most = max === 'unlimited' ? Infinity : max;
  if (typeof min !== 'number' || typeof most !== 'number') throw new ProtocolError(`${name} has a bad min or max`);
  const valueType = value === undefined ? undefined : parseBaseType(name, value);
  return { key: parseBaseType(name, key), value: valueType, min, max: most };
}

function parseBaseType(name: string, json: unknown): AtomicType {
  const type = typeof json === 'string' ? json : asObject(json, name)['type'];
  if (!ATOMIC_TYPES.has(type)) throw new ProtocolError(`${name} has a type that RFC 7047 does not know`);
  return type as AtomicType;
}
