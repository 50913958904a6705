// The rows of the directory as a file: what a host knew last, for an agent that starts while the database is away. Lines of
// JSON: a head, the rows, and an end that counts them, so that a file is whole or none. Only root reads it.

import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { z } from 'zod';
import { DaoliError, messageOf } from '../base/errors';
import { isUuid, type Uuid } from '../ovsdb/notation';
import type { RawRow } from './row-decoding';
import { isReadable, SCHEMA_VERSION } from './schema-version';

const FORMAT = 1;
/** Written at once; between two, other work is done. */
const SLICE_BYTES = 128 * 1024;

export type SnapshotRow = readonly [table: string, uuid: Uuid, row: RawRow];

const HEAD = z.object({ format: z.literal(FORMAT), schema: z.string().refine(isReadable), host: z.string() });

/**
 * Replaces the file in one step, in slices. `rows` stay as they are meanwhile. Returns for how long the process was kept busy
 * by it, in ms of `now`: without what the disk takes.
 */
export async function writeSnapshot(
  path: string,
  host: string,
  rows: Iterable<SnapshotRow>,
  now: () => number,
): Promise<number> {
  const fresh = `${path}.new`;
  await rm(fresh, { force: true });
  const file = await open(fresh, 'wx', 0o600);
  let busyMs = 0;
  try {
    let begin = now();
    for (const slice of slicesOf(linesOf(host, rows))) {
      busyMs += now() - begin;
      await file.write(slice);
      begin = now();
    }
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  return busyMs;
}

function* linesOf(host: string, rows: Iterable<SnapshotRow>): Iterable<string> {
  yield JSON.stringify({ format: FORMAT, schema: SCHEMA_VERSION, host });
  let count = 0;
  for (const row of rows) {
    count += 1;
    yield JSON.stringify(row, (_key, value: unknown) => (value instanceof Map ? { map: [...value] } : value));
  }
  yield JSON.stringify(['end', count]);
}

function* slicesOf(lines: Iterable<string>): Iterable<string> {
  let slice = '';
  for (const line of lines) {
    slice += `${line}\n`;
    if (slice.length < SLICE_BYTES) continue;
    yield slice;
    slice = '';
  }
  yield slice;
}

/**
 * The rows of a file of this host, which an agent of another version may have written. Undefined where there is none. Throws
 * `internal` where it is another host's, of a schema that cannot be used, or not whole.
 */
export function readSnapshot(path: string, host: string): SnapshotRow[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parse(text, host);
  } catch (error) {
    const problem = error instanceof z.ZodError ? 'it is of another version' : messageOf(error);
    throw new DaoliError('internal', `${path} is not used: ${problem}`, path, { cause: error });
  }
}

function parse(text: string, host: string): SnapshotRow[] {
  const [head = '', ...lines] = text.trimEnd().split('\n');
  if (HEAD.parse(JSON.parse(head)).host !== host) throw new Error('it is another host’s');
  const end = lines.pop() ?? '';
  if (end !== JSON.stringify(['end', lines.length])) throw new Error('it is not whole');
  return lines.map((line) => asRow(JSON.parse(line, revive)));
}

function revive(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'map')) return value;
  return new Map((value as { map: [unknown, unknown][] }).map);
}

function asRow(value: unknown): SnapshotRow {
  const [table, uuid, row] = Array.isArray(value) ? (value as unknown[]) : [];
  if (typeof table === 'string' && isUuid(uuid) && typeof row === 'object' && row !== null) {
    return [table, uuid, row as RawRow];
  }
  throw new Error('a line is no row');
}
