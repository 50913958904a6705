// What was promised about the directory's schema: within a major version it only grows, by tables and columns that an agent which
// does not know them need not write. Each version that was published is recorded here; nothing of it goes, or becomes narrower.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';

interface Base {
  readonly type: string;
  readonly enum?: unknown;
  readonly [limit: string]: unknown;
}
interface Column {
  readonly type:
    string | { readonly key: string | Base; readonly value?: string | Base; min?: number; max?: number | 'unlimited' };
  readonly mutable?: boolean;
  readonly ephemeral?: boolean;
}
interface Table {
  readonly columns: Readonly<Record<string, Column>>;
  readonly indexes?: readonly (readonly string[])[];
  readonly isRoot?: boolean;
  readonly maxRows?: number;
}
interface Schema {
  readonly version: string;
  readonly tables: Readonly<Record<string, Table>>;
}

const read = (path: string): Schema => JSON.parse(readFileSync(path, 'utf8')) as Schema;
const present = read(DIRECTORY_SCHEMA_FILE);
const recorded = readdirSync(__dirname)
  .filter((name) => name.endsWith('.ovsschema'))
  .map((name) => read(join(__dirname, name)));

const baseOf = (base: string | Base): Base => (typeof base === 'string' ? { type: base } : base);
function typeOf({ type }: Column) {
  const { key, value, min = 1, max = 1 } = typeof type === 'string' ? { key: type } : type;
  return { key: baseOf(key), value: value === undefined ? undefined : baseOf(value), min, max };
}

/**
 * What was allowed before and is not now, or the other way round: a newer agent would write what an older one does not expect, and
 * going back would not fit.
 */
function problemsOfColumn(name: string, before: Column, now: Column | undefined): string[] {
  if (now === undefined) return [`${name} is gone`];
  const [one, other] = [before, now].map((column) => ({ ...column, type: typeOf(column) }));
  return isDeepStrictEqual(one, other) ? [] : [`${name} is another`];
}

/** Whether rows of an agent that does not know this column can be written: the default has to be a value of it. */
function isOptional(column: Column): boolean {
  const { key, min } = typeOf(column);
  if (min === 0) return true;
  if (key.enum !== undefined) return false;
  if (key.type === 'boolean') return true;
  if (key.type === 'string') return ((key['minLength'] as number | undefined) ?? 0) === 0;
  const { minInteger = 0, maxInteger = 0 } = key as { minInteger?: number; maxInteger?: number };
  return key.type === 'integer' && minInteger <= 0 && maxInteger >= 0;
}

function problemsOfTable(name: string, before: Table, now: Table | undefined): string[] {
  if (now === undefined) return [`table ${name} is gone`];
  const { columns: old, ...rest } = before;
  const { columns, ...others } = now;
  const added = Object.entries(columns).filter(([column]) => !(column in old));
  return [
    ...Object.entries(old).flatMap(([column, was]) => problemsOfColumn(`${name}.${column}`, was, columns[column])),
    ...added.filter(([, column]) => !isOptional(column)).map(([column]) => `${name}.${column} is new and not optional`),
    // An older agent's rows have the same default in each new column: an index over it lets one of them in.
    ...(isDeepStrictEqual(rest, others) ? [] : [`${name} has other indexes, or is another kind of table`]),
  ];
}

const problems = (before: Schema, now: Schema) =>
  Object.entries(before.tables).flatMap(([name, table]) => problemsOfTable(name, table, now.tables[name]));

test('the published versions are recorded, up to the one before this or this itself', () => {
  expect(recorded.map(({ version }) => version)).toEqual(expect.arrayContaining(['1.2.0', '1.5.0']));
});

test.each(recorded.map((schema) => [schema.version, schema] as const))(
  'all that a database of %s has is there as it was, and what came since is optional',
  (version, schema) => {
    expect(present.version.localeCompare(version, 'en', { numeric: true })).toBeGreaterThanOrEqual(0);
    expect(problems(schema, present)).toEqual([]);
    // Another schema has another version.
    if (version === present.version) expect(present).toEqual(schema);
  },
);

describe('what would break the promise is seen', () => {
  const host = present.tables['Host']!;
  const withHost = (table: Table): Schema => ({ ...present, tables: { ...present.tables, Host: table } });
  const withColumn = (name: string, column: Column) =>
    withHost({ ...host, columns: { ...host.columns, [name]: column } });

  test.each<[string, Schema]>([
    ['a table that is gone', { ...present, tables: {} }],
    ['a column that is gone', withHost({ ...host, columns: {} })],
    ['a column that is narrower', withColumn('address', { type: { key: 'string', min: 1, max: 1 } })],
    ['a column that is wider', withColumn('address', { type: { key: 'string', min: 0, max: 2 } })],
    [
      'a column that cannot be changed any more',
      withColumn('router_mac', { ...host.columns['router_mac']!, mutable: false }),
    ],
    ['a new column that has to be set', withColumn('colour', { type: { key: { type: 'string', minLength: 1 } } })],
    [
      'a new column of some values',
      withColumn('colour', { type: { key: { type: 'string', enum: ['set', ['red']] } } }),
    ],
    ['a new column that refers to a row', withColumn('twin', { type: { key: { type: 'uuid', refTable: 'Host' } } })],
    ['another index', withHost({ ...host, indexes: [...(host.indexes ?? []), ['address']] })],
  ])('%s', (_, changed) => expect(problems(present, changed)).not.toEqual([]));

  test.each<[string, Column]>([
    ['that may be empty', { type: { key: { type: 'string', minLength: 1 }, min: 0, max: 1 } }],
    ['that is a flag', { type: 'boolean' }],
    ['that is a text', { type: 'string' }],
    ['that is a number', { type: { key: { type: 'integer', minInteger: 0 } } }],
  ])('but not a new column %s', (_, column) => expect(problems(present, withColumn('colour', column))).toEqual([]));
});
