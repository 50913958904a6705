// The client against a real ovsdb-server: transactions and their errors, the replica, locks, reconnection.
import { OvsdbClient } from '../../src/ovsdb/client';
import * as errors from '../../src/ovsdb/errors';
import { named, type Uuid } from '../../src/ovsdb/notation';
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

test('a failed operation rejects with its class, place and details', async () => {
  await client.transact([ops.insert('Item', { name: 'same' })]);
  const failure = client.transact([ops.comment('x'), ops.insert('Item', { name: 'same' })]);
  await expect(failure).rejects.toThrow(errors.ConstraintViolation);
  await expect(failure).rejects.toMatchObject({ operation: { index: 2, what: 'commit' } });
  await expect(client.transact([ops.wait('Item', [['name', '==', 'same']], [{ size: 3 }])])).rejects.toMatchObject({
    name: 'TimedOut',
    operation: { index: 0, what: 'wait Item' },
  });
});
