// What a real ovsdb-server sent to OVS's own client, in each dialect of monitors (see capture-ovsdb.ts), leads our rows
// to what `ovsdb-client dump` shows. None of our encoders has a part in it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { JsonSplitter } from '../../src/ovsdb/framing';
import { Monitor, type MonitorMethod } from '../../src/ovsdb/monitor';
import type { Change } from '../../src/ovsdb/row-cache';
import { decodeRow, tableOf } from '../../src/ovsdb/rows';
import { parseSchema } from '../../src/ovsdb/schema';

interface Message {
  readonly id: unknown;
  readonly method?: string;
  readonly params?: readonly unknown[];
  readonly result?: unknown;
}

function messagesOf(bytes: Buffer, size: number): Message[] {
  const messages: Message[] = [];
  const splitter = new JsonSplitter((text) => messages.push(JSON.parse(text) as Message));
  for (let at = 0; at < bytes.length; at += size) splitter.push(bytes.subarray(at, at + size));
  return messages;
}

const read = (name: string) => readFileSync(join(__dirname, name));

/** The dump's rows by uuid, put together from its columns. */
function dumpedRows(schema: ReturnType<typeof parseSchema>): Map<unknown, unknown> {
  const { headings, data } = JSON.parse(read('ovsdb-dump.json').toString()) as {
    headings: string[];
    data: unknown[][];
  };
  const rows = data.map((values) => Object.fromEntries(headings.map((heading, index) => [heading, values[index]])));
  return new Map(rows.map((row) => decodeRow(tableOf(schema, 'Item'), row)).map((row) => [row['_uuid'], row]));
}

describe.each<[string, MonitorMethod]>([
  ['ovsdb-update.txt', 'monitor'],
  ['ovsdb-update2.txt', 'monitor_cond'],
  ['ovsdb-update3.txt', 'monitor_cond_since'],
])('%s', (file, method) => {
  test.each([1, 7, 1_000_000])('in chunks of %i bytes', (size) => {
    const messages = messagesOf(read(file), size);
    const replies = messages.filter(({ result }) => result !== undefined);
    const schema = parseSchema(replies.find(({ result }) => (result as { name?: string }).name === 'Little')?.result);
    const changes: Change[] = [];
    const monitor = new Monitor(
      'm',
      { Item: {} },
      { onChanges: (batch) => changes.push(...batch), onSynced: () => {} },
    );
    monitor.begin(method, schema);
    monitor.handleReply(replies.at(-1)?.result);
    const updates = messages.filter((message) => message.method?.startsWith('update'));
    for (const { params = [] } of updates) monitor.handleUpdate(params);
    const sorted = (row: object) => ({ ...row, tags: [...(row as { tags: string[] }).tags].sort() });
    const rows = new Map([...monitor.rows('Item')].map(([uuid, row]) => [uuid, sorted(row)]));
    expect(rows).toEqual(dumpedRows(schema));
    const count = (wanted: string) =>
      changes.filter(({ old, row }) => wanted === (old === undefined ? 'new' : row === undefined ? 'gone' : 'changed'));
    expect(['new', 'changed', 'gone'].map((kind) => count(kind).length)).toEqual([5, 6, 1]);
  });
});
