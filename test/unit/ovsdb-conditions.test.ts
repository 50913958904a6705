// Which conditions a monitor asks for, and when it has them: the parts that a real server shows seldom. The rest is in
// test/ovs/ovsdb-conditions.test.ts.
import { Monitor } from '../../src/ovsdb/monitor';
import { ZERO_UUID, type Condition, type Uuid } from '../../src/ovsdb/notation';
import { parseSchema } from '../../src/ovsdb/schema';
import { LITTLE_SCHEMA } from '../ovs/little-schema';

const SCHEMA = parseSchema(LITTLE_SCHEMA);
const TXN = '00000000-0000-4000-8000-000000000001' as Uuid;
const ROW = '00000000-0000-4000-8000-000000000002';
const named = (name: string): Condition[] => [['name', '==', name]];
const insertion = { Item: { [ROW]: { insert: { name: 'a' } } } };

let onChanges: () => void;
let monitor: Monitor;
let done: string[];
beforeEach(() => {
  onChanges = () => undefined;
  done = [];
  const listener = { onChanges: () => onChanges(), onSynced: () => undefined };
  monitor = new Monitor('m', { Item: { columns: ['name'], where: named('a') } }, listener);
});

const want = (name: string) => void monitor.want({ Item: named(name) }).then(() => done.push(name));
const resolved = async () => {
  await new Promise((resolve) => setImmediate(resolve));
  return done;
};
/** The transaction that the request goes on from. */
const since = (method: 'monitor_cond_since' | 'monitor' = 'monitor_cond_since') => monitor.begin(method, SCHEMA)[3];

test('nothing is asked for before the rows are there, nor twice', async () => {
  expect(since()).toBe(ZERO_UUID);
  want('b');
  expect(monitor.beginConditions()).toBeUndefined();
  monitor.handleReply([false, TXN, {}]);
  const id = monitor.id;
  const where = [['name', '==', 'b']];
  expect(monitor.beginConditions()).toEqual([id, id, { Item: [{ where }] }]);
  expect(monitor.beginConditions()).toBeUndefined();
  want('c');
  expect(monitor.beginConditions()).toBeUndefined();
  monitor.handleConditionsAnswered();
  expect(await resolved()).toEqual(['b']);
  expect(monitor.beginConditions()?.[2]).toEqual({ Item: [{ where: [['name', '==', 'c']] }] });
  monitor.handleConditionsAnswered();
  expect(await resolved()).toEqual(['b', 'c']);
});

test('conditions that are wanted because of what came wait for an answer of their own', async () => {
  since();
  monitor.handleReply([false, TXN, {}]);
  monitor.end();
  expect(since()).toBe(TXN);
  onChanges = () => {
    want('b');
    expect(monitor.beginConditions()).toBeDefined();
  };
  monitor.handleReply([true, TXN, insertion]);
  expect(await resolved()).toEqual([]);
  monitor.handleConditionsAnswered();
  expect(await resolved()).toEqual(['b']);
});

test('a connection goes on where it was, unless its conditions are not those of the rows', () => {
  since();
  monitor.handleReply([false, TXN, {}]);
  monitor.end();
  expect(since()).toBe(TXN);
  monitor.handleReply([true, TXN, {}]);
  monitor.end();
  want('b');
  expect(since()).toBe(ZERO_UUID);
  monitor.handleReply([false, TXN, {}]);
  want('c');
  monitor.beginConditions();
  monitor.end();
  expect(since()).toBe(ZERO_UUID);
});

test('none of the rows is "false" on the wire, where an empty list is all', () => {
  monitor = new Monitor('m', { Item: { where: [] } }, { onChanges: () => undefined, onSynced: () => undefined });
  expect(monitor.begin('monitor_cond', SCHEMA)[2]).toMatchObject({ Item: [{ where: [false] }] });
});

test('a server without conditions sends all rows, and has nothing to be asked', async () => {
  since('monitor');
  monitor.handleReply({});
  want('b');
  expect(monitor.beginConditions()).toBeUndefined();
  expect(await resolved()).toEqual(['b']);
});
