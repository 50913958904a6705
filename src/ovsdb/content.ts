// A whole database, as it is at one moment: read from a server, and as the file of one that is alone (ovsdb(5)). Rows keep
// their uuids. Values are in the wire's notation, which is the file's.

import { createHash } from 'node:crypto';
import { askServer } from './ask';
import { errorFromWire, ProtocolError } from './errors';
import type { WireRow } from './notation';

export interface DatabaseContent {
  /** As the server has it; RFC 7047 §3.2. */
  readonly schema: {
    readonly name: string;
    readonly version: string;
    readonly tables: Readonly<Record<string, { readonly columns: object }>>;
  };
  /** By table and uuid. */
  readonly tables: Readonly<Record<string, Readonly<Record<string, WireRow>>>>;
}

/** Reads a database in one transaction. Throws as askServer, and what the server refuses. */
export async function readContent(path: string, database: string): Promise<DatabaseContent> {
  const schema = (await askServer(path, 'get_schema', [database])) as DatabaseContent['schema'];
  const names = Object.keys(schema.tables);
  const selects = names.map((table) => {
    const columns = ['_uuid', ...Object.keys(schema.tables[table]?.columns ?? {})];
    return { op: 'select', table, where: [], columns };
  });
  const results = await transactOnce(path, database, selects);
  const tables = names.map((table, index) => [table, byUuid((results[index] as { rows?: unknown } | undefined)?.rows)]);
  return { schema, tables: Object.fromEntries(tables) as DatabaseContent['tables'] };
}

/** One transaction of operations as they are on the wire; resolves with their results. Throws the first that failed. */
export async function transactOnce(
  path: string,
  database: string,
  operations: readonly object[],
): Promise<readonly unknown[]> {
  const results = await askServer(path, 'transact', [database, ...operations]);
  if (!Array.isArray(results)) throw new ProtocolError('the answer to a transaction is no array');
  for (const result of results as readonly unknown[]) {
    const isError = typeof result === 'object' && result !== null && 'error' in result && result.error !== null;
    if (isError) throw errorFromWire(result);
  }
  return results as readonly unknown[];
}

function byUuid(rows: unknown): Record<string, WireRow> {
  if (!Array.isArray(rows)) throw new ProtocolError('a select without rows');
  const entries = (rows as WireRow[]).map(({ _uuid, ...row }) => [String((_uuid as unknown[] | undefined)?.[1]), row]);
  return Object.fromEntries(entries) as Record<string, WireRow>;
}

/** What `ovsdb-tool create-cluster` and ovsdb-server read: two records, the schema and the rows. */
export function fileOf({ schema, tables }: DatabaseContent): string {
  return recordOf(schema) + recordOf(tables);
}

function recordOf(value: object): string {
  const text = `${JSON.stringify(value)}\n`;
  return `OVSDB JSON ${Buffer.byteLength(text)} ${createHash('sha1').update(text).digest('hex')}\n${text}`;
}
