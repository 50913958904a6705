// A monitor that begins with rows of an earlier process: what it tells, and what a server's first answer changes in it.
import { Monitor } from '../../src/ovsdb/monitor';
import { ZERO_UUID, type Uuid } from '../../src/ovsdb/notation';
import type { Change } from '../../src/ovsdb/row-cache';
import type { StoredRow } from '../../src/ovsdb/rows';
import { parseSchema } from '../../src/ovsdb/schema';

const schema = (columns = {}) =>
  parseSchema({
    name: 'D',
    version: '1.0.0',
    tables: { T: { columns: { name: { type: 'string' }, ...columns } }, U: { columns: { n: { type: 'integer' } } } },
  });
const uuid = (n: number) => `00000000-0000-0000-0000-00000000000${n}` as Uuid;
const row = (n: number, name: string) => ({ _uuid: uuid(n), name }) as StoredRow;

let told: Change[][];
let monitor: Monitor;
beforeEach(() => {
  told = [];
  monitor = new Monitor(
    'm',
    { T: {}, U: {} },
    { onChanges: (changes) => void told.push([...changes]), onSynced: () => {} },
  );
});

const names = () => [...monitor.rows('T').values()].map((each) => (each as unknown as { name: string }).name);
/** The answer of a server that does not know how far we are: everything it has. */
function answer(rows: object, columns = {}): void {
  const [, , , since] = monitor.begin('monitor_cond_since', schema(columns));
  expect(since).toBe(ZERO_UUID);
  monitor.handleReply([false, uuid(9), rows]);
}

test('the rows are told as new, and are there, but not those of a server', () => {
  const here = monitor.restore([
    ['T', row(1, 'a')],
    ['Gone', row(2, 'b')],
  ]);
  expect([here, monitor.synced, names()]).toEqual([true, false, ['a']]);
  expect(told).toEqual([[{ table: 'T', uuid: uuid(1), row: row(1, 'a') }]]);
});

test('the first answer of a server is told as what is different', () => {
  monitor.restore([
    ['T', row(1, 'same')],
    ['T', row(2, 'before')],
    ['T', row(3, 'gone')],
  ]);
  answer({
    T: {
      [uuid(1)]: { initial: { name: 'same' } },
      [uuid(2)]: { initial: { name: 'after' } },
      [uuid(4)]: { initial: { name: 'new' } },
    },
  });
  expect(told.slice(1)).toEqual([
    [
      { table: 'T', uuid: uuid(3), old: row(3, 'gone') },
      { table: 'T', uuid: uuid(2), old: row(2, 'before'), row: row(2, 'after') },
      { table: 'T', uuid: uuid(4), row: row(4, 'new') },
    ],
  ]);
  expect([monitor.synced, names()]).toEqual([true, ['same', 'after', 'new']]);
});

test('also where a connection broke before it was answered, and where the server has more columns', () => {
  monitor.begin('monitor_cond_since', schema());
  monitor.end();
  expect(monitor.restore([['T', row(1, 'a')]])).toBe(true);
  answer({ T: { [uuid(1)]: { initial: { name: 'a', more: 'x' } } } }, { more: { type: 'string' } });
  expect(told.slice(1)).toEqual([
    [{ table: 'T', uuid: uuid(1), old: row(1, 'a'), row: { ...row(1, 'a'), more: 'x' } }],
  ]);
});

test('not while a server is about to answer, nor after one has', () => {
  monitor.begin('monitor_cond_since', schema());
  expect(monitor.restore([['T', row(1, 'a')]])).toBe(false);
  monitor.handleReply([false, uuid(9), {}]);
  monitor.end();
  expect(monitor.restore([['T', row(1, 'a')]])).toBe(false);
  expect([told, names()]).toEqual([[], []]);
});
