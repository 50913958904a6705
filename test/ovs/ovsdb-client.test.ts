// The client against a real ovsdb-server: transactions and their errors, the replica, locks.
import { OvsdbClient } from '../../src/ovsdb/client';
import { once } from 'node:events';
import { InvalidValue, NotOwner, OvsdbError, UnknownMethod } from '../../src/ovsdb/errors';
import { named, type Operation, type Uuid } from '../../src/ovsdb/notation';
import * as ops from '../../src/ovsdb/operations';
import { Replica } from '../../src/ovsdb/replica';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';
import { LITTLE_SCHEMA, type LittleTables } from './little-schema';

let server: OvsdbServer;
let client: OvsdbClient;
let replica: Replica<LittleTables>;

beforeAll(async () => {
  server = await startOvsdbServer({ schema: LITTLE_SCHEMA });
});
afterAll(() => server.stop());

beforeEach(async () => {
  client = new OvsdbClient({ remotes: [server.remote], database: 'Little', backoff: { minMs: 20, maxMs: 40 } });
  replica = new Replica<LittleTables>(client, {
    Item: { indexes: { name: ['name'], colour: ['colour'], parent: ['parent', 'size'] } },
    Parent: { indexes: { items: ['items'] } },
  });
  replica.start();
  client.start();
  await client.whenReady();
  await client.transact([ops.remove('Parent', []), ops.remove('Item', [])]);
});
afterEach(() => client.stop());

test('an inserted row is in the replica, typed, when transact resolves', async () => {
  const [result] = await client.transact([
    ops.insert<LittleTables['Item']>('Item', {
      name: 'é€😀',
      size: 7,
      weight: 0.5,
      on: true,
      colour: 'red',
      tags: ['a', 'b'],
      labels: new Map([['k', 'v']]),
    }),
  ]);
  expect(replica.table('Item').get(result?.uuid as Uuid)).toEqual({
    _uuid: result?.uuid,
    name: 'é€😀',
    size: 7,
    weight: 0.5,
    on: true,
    colour: 'red',
    tags: ['a', 'b'],
    labels: new Map([['k', 'v']]),
    parent: undefined,
    counts: new Map(),
  });
});

test('named-uuid, references, sets and maps change by differences', async () => {
  const [parent, item] = await client.transact([
    ops.insert('Parent', { name: 'p', items: [named('one')] }, { uuidName: 'up' }),
    ops.insert(
      'Item',
      { name: 'i', parent: named('up'), tags: ['a', 'b', 'c'], labels: { x: '1', y: '2' } },
      { uuidName: 'one' },
    ),
  ]);
  const items = replica.table('Item');
  expect(items.findOne('name', 'i')).toMatchObject({ parent: parent?.uuid });
  expect(items.find('parent', parent?.uuid, 0)).toHaveLength(1);
  expect(replica.table('Parent').findOne('items', item?.uuid)).toMatchObject({ name: 'p' });
  await client.transact([
    ops.mutate('Item', ops.isRow(item?.uuid as Uuid), [
      ['tags', 'delete', ['b']],
      ['tags', 'insert', ['d']],
      ['labels', 'delete', ['x']],
      ['labels', 'insert', { z: '3' }],
      ['size', '+=', 5],
    ]),
  ]);
  await client.transact([ops.update('Item', [['name', '==', 'i']], { labels: { y: '20', z: '3' } })]);
  const row = items.findOne('name', 'i');
  expect(row).toMatchObject({
    size: 5,
    labels: new Map([
      ['y', '20'],
      ['z', '3'],
    ]),
  });
  expect([...(row?.tags ?? [])].sort()).toEqual(['a', 'c', 'd']);
});

const item = (name: string) => ops.insert<LittleTables['Item']>('Item', { name });
const U = '550e8400-e29b-41d4-a716-446655440000' as Uuid;

test.each<[string, string, number, () => Operation[]]>([
  ['ConstraintViolation', 'commit', 2, () => [item('same'), item('same')]],
  ['ConstraintViolation', 'insert Item', 0, () => [ops.insert('Item', { name: 'x', colour: 'blue' })]],
  ['ReferentialIntegrityViolation', 'commit', 1, () => [ops.insert('Parent', { name: 'p', items: [U] })]],
  ['TimedOut', 'wait Item', 1, () => [ops.comment('x'), ops.wait('Item', [['name', '==', 'none']], [{ size: 3 }])]],
  ['Aborted', 'abort', 1, () => [item('x'), ops.abort(), item('y')]],
  ['NotOwner', 'assert', 0, () => [ops.assertLock('nobodys')]],
  [
    'DuplicateUuidName',
    'insert Item',
    1,
    () => [ops.insert('Item', { name: 'a' }, { uuidName: 'n' }), ops.insert('Item', { name: 'b' }, { uuidName: 'n' })],
  ],
  [
    'DuplicateUuid',
    'insert Item',
    1,
    () => [ops.insert('Item', { name: 'a' }, { uuid: U }), ops.insert('Item', { name: 'b' }, { uuid: U })],
  ],
  ['DomainError', 'mutate Item', 1, () => [item('x'), ops.mutate('Item', [], [['size', '/=', 0]])]],
  [
    'NumberRangeError',
    'mutate Item',
    1,
    () => [ops.insert('Item', { name: 'x', weight: 1e300 }), ops.mutate('Item', [], [['weight', '*=', 1e300]])],
  ],
  ['ConstraintViolation', 'mutate Item', 1, () => [item('x'), ops.mutate('Item', [], [['size', '-=', 1]])]],
  ['RequestSyntaxError', 'nonsense', 0, () => [{ op: 'nonsense' } as unknown as Operation]],
])('%s of %s (operation %i)', async (name, what, index, operations) => {
  const error: unknown = await client.transact(operations()).catch((caught: unknown) => caught);
  expect(error).toMatchObject({ name, operation: { what, index } });
  expect(error).toBeInstanceOf(OvsdbError);
  expect((error as Error).message).toMatch(new RegExp(`^${what} \\(operation ${index}\\): `));
  expect(replica.table('Item').size).toBe(0);
});

test('select, counts and chosen uuids come back by operation; an insert can be repeated by its uuid', async () => {
  const results = await client.transact([
    ops.insert('Item', { name: 'a', tags: ['t'] }, { uuid: U }),
    ops.insert('Item', { name: 'b' }),
    ops.update('Item', [], { on: true }),
    ops.select('Item', [['_uuid', '==', U]], ['_uuid', 'name', 'tags', 'parent']),
    ops.remove('Item', [['name', '==', 'b']]),
    ops.commit(true),
  ]);
  expect(results.map(({ uuid, ...rest }) => ({ ...(uuid === U && { uuid }), ...rest }))).toEqual([
    { uuid: U },
    {},
    { count: 2 },
    { rows: [{ _uuid: U, name: 'a', tags: ['t'], parent: undefined }] },
    { count: 1 },
    {},
  ]);
});

test('a replica with conditions and chosen columns holds just those', async () => {
  const reds = new Replica<Pick<LittleTables, 'Item'>>(client, {
    Item: { columns: ['name', 'colour'], where: [['colour', '==', 'red']] },
  });
  reds.start();
  const names = () => [...reds.table('Item').rows()].map(({ name }) => name).sort();
  await client.transact([
    ops.insert('Item', { name: 'a', colour: 'red', size: 1 }),
    ops.insert('Item', { name: 'b', colour: 'green' }),
  ]);
  expect(reds.synced).toBe(true);
  expect([...reds.table('Item').rows()]).toEqual([{ _uuid: expect.any(String), name: 'a', colour: 'red' }]);
  await client.transact([ops.update('Item', [['name', '==', 'b']], { colour: 'red' })]);
  expect(names()).toEqual(['a', 'b']);
  await client.transact([ops.update('Item', [['name', '==', 'a']], { colour: undefined })]);
  expect(names()).toEqual(['b']);
  reds.stop();
  await client.transact([ops.update('Item', [], { colour: 'red' })]);
  expect(names()).toEqual(['b']);
});

test('changes come in one batch for each transaction, with the row before and after', async () => {
  const batches: unknown[] = [];
  replica.onChange((changes) =>
    batches.push(changes.map(({ table, old, row }) => `${table} ${old?.name ?? '-'} ${row?.name ?? '-'}`).sort()),
  );
  await client.transact([item('a'), item('b')]);
  await client.transact([
    ops.update('Item', [['name', '==', 'a']], { name: 'A' }),
    ops.remove('Item', [['name', '==', 'b']]),
  ]);
  await client.transact([ops.comment('nothing')]);
  expect(batches).toEqual([
    ['Item - a', 'Item - b'],
    ['Item a A', 'Item b -'],
  ]);
});

test('a thousand transactions at once all succeed, each in the replica when it resolves', async () => {
  await Promise.all(
    Array.from({ length: 1_000 }, async (_, index) => {
      await client.transact([item(`i${index}`)]);
      expect(replica.table('Item').findOne('name', `i${index}`)).toBeDefined();
    }),
  );
  expect(replica.table('Item').size).toBe(1_000);
});

test('a lock goes to one, then to the next, and can be stolen; the server asserts it', async () => {
  const other = new OvsdbClient({ remotes: [server.remote], database: 'Little' });
  other.lock('L');
  other.start();
  await once(other, 'locked');
  client.lock('L');
  await client.request('echo', []);
  expect([client.holdsLock('L'), other.holdsLock('L')]).toEqual([false, true]);
  const passed = once(client, 'locked');
  other.unlock('L');
  await passed;
  await client.transact([ops.assertLock('L')]);
  const stolen = once(client, 'lockLost');
  other.steal('L');
  await stolen;
  expect(client.holdsLock('L')).toBe(false);
  await expect(client.transact([ops.assertLock('L')])).rejects.toThrow(NotOwner);
  const lost = once(other, 'lockLost');
  other.stop();
  await lost;
  expect(() => client.lock('no name')).toThrow(InvalidValue);
});

test('an unknown database is told, and waited for', async () => {
  const other = new OvsdbClient({ remotes: [server.remote], database: 'Nothing', backoff: { minMs: 10, maxMs: 20 } });
  other.start();
  const [, reason] = (await once(other, 'disconnected')) as [string, Error];
  expect(reason.message).toContain('does not have the database');
  other.stop();
});

test('methods without a wrapper go through request', async () => {
  expect(await client.request('list_dbs', [])).toEqual(['Little', '_Server']);
  await expect(client.request('list_dbss', [])).rejects.toThrow(UnknownMethod);
});
