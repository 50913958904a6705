// The client against a scripted server: what a real one does rarely, or never.
import fc from 'fast-check';
import { once } from 'node:events';
import { OvsdbClient, type ClientOptions } from '../../src/ovsdb/client';
import * as errors from '../../src/ovsdb/errors';
import { insert, remove } from '../../src/ovsdb/operations';
import { Replica } from '../../src/ovsdb/replica';
import { LITTLE_SCHEMA, type LittleTables } from '../ovs/little-schema';
import {
  databaseRow,
  NO_TXN,
  Refusal,
  SILENCE,
  startScriptedOvsdb,
  type Peer,
  type ScriptedOvsdb,
} from './scripted-ovsdb';

type Tables = Pick<LittleTables, 'Item'>;
const A = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa';
const B = 'bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb';
const TXN = 'cccccccc-cccc-4ccc-8ccc-cccccccccccc';

let server: ScriptedOvsdb;
let clients: OvsdbClient[];

beforeEach(async () => {
  clients = [];
  server = await startScriptedOvsdb(LITTLE_SCHEMA);
});
afterEach(async () => {
  for (const client of clients) client.stop();
  await server.stop();
});

function clientOf(options: Partial<ClientOptions> = {}): OvsdbClient {
  const client = new OvsdbClient({
    remotes: [server.remote],
    database: 'Little',
    backoff: { minMs: 5, maxMs: 10 },
    ...options,
  });
  clients.push(client);
  return client;
}

function replicaOf(client: OvsdbClient): { replica: Replica<Tables>; changes: string[] } {
  const replica = new Replica<Tables>(client, { Item: { columns: ['name', 'tags'] } });
  const changes: string[] = [];
  replica.onChange((batch) =>
    changes.push(batch.map(({ old, row }) => `${old?.name ?? '-'}>${row?.name ?? '-'}`).join(' ')),
  );
  replica.start();
  return { replica, changes };
}

const lastPeer = () => server.peers.at(-1) as Peer;
const disconnected = (client: OvsdbClient) => once(client, 'disconnected') as Promise<[string, errors.OvsdbError]>;

test('the states are those of ovsdb-cs, in their order', async () => {
  const client = clientOf();
  const states: string[] = [];
  client.on('state', (state) => states.push(state));
  client.start();
  client.start();
  await client.whenReady();
  client.stop();
  client.stop();
  expect(states).toEqual([
    'connecting',
    'server-schema-requested',
    'server-monitor-requested',
    'data-monitor-requested',
    'monitoring',
    'stopped',
  ]);
  await expect(client.transact([])).rejects.toThrow(errors.NotConnected);
});

test('another connection is made where it is asked for; without one there is nothing to do', async () => {
  const client = clientOf();
  client.reconnect();
  client.start();
  await client.whenReady();
  const [ended, ready] = [disconnected(client), once(client, 'ready')];
  client.reconnect();
  expect((await ended)[1]).toBeInstanceOf(errors.ConnectionLost);
  await client.whenReady();
  await ready;
  expect(server.peers).toHaveLength(2);
});

test('a listener may stop and start the client, and waits for the next connection', async () => {
  const client = clientOf();
  client.start();
  await client.whenReady();
  const again = new Promise((resolve) => {
    client.once('disconnected', () => {
      client.stop();
      client.start();
      void client
        .whenReady()
        .then(() => client.request('echo', [7]))
        .then(resolve);
    });
  });
  lastPeer().socket.destroy();
  expect(await again).toEqual([7]);
  expect(server.peers).toHaveLength(2);
});

test('whenReady rejects when the client is stopped', async () => {
  const client = clientOf({ remotes: ['unix:/nowhere'] });
  client.start();
  const ready = client.whenReady();
  client.stop();
  await expect(ready).rejects.toThrow(errors.NotConnected);
});

test('a server without _Server, and one that knows only the monitor of RFC 7047, will do', async () => {
  server.answers['get_schema'] = ([name]) =>
    name === '_Server' ? new Refusal({ error: 'unknown database', details: '_Server' }) : LITTLE_SCHEMA;
  delete server.answers['monitor_cond_since'];
  delete server.answers['monitor_cond'];
  server.answers['monitor'] = () => ({ Item: { [A]: { new: { name: 'a', tags: 'x' } } } });
  const client = clientOf();
  const { replica, changes } = replicaOf(client);
  client.start();
  await replica.whenSynced();
  expect(replica.table('Item').get(A)).toEqual({ _uuid: A, name: 'a', tags: ['x'] });
  const [, id] = (lastPeer().received.at(-1)?.['params'] ?? []) as string[];
  const update = {
    Item: {
      [A]: { old: { name: 'a' }, new: { name: 'A', tags: 'x' } },
      [B]: { new: { name: 'b', tags: ['set', []] } },
    },
  };
  lastPeer().send({ id: null, method: 'update', params: [id, update] });
  lastPeer().send({ id: null, method: 'update', params: [id, { Item: { [A]: { old: { name: 'A' } } } }] });
  await client.request('echo', []);
  expect(changes).toEqual(['->a', 'a>A ->b', 'A>-']);
});

test('updates that come before the answer to the monitor wait for it', async () => {
  server.answers['monitor_cond_since'] = ([, id], peer) => {
    peer.send({ id: null, method: 'update3', params: [id, TXN, { Item: { [A]: { modify: { tags: 'y' } } } }] });
    return [false, NO_TXN, { Item: { [A]: { initial: { name: 'a', tags: 'x' } } } }];
  };
  const client = clientOf();
  const { replica } = replicaOf(client);
  client.start();
  await replica.whenSynced();
  expect(replica.table('Item').get(A)?.tags).toEqual(['x', 'y']);
});

test('after a reconnection the last transaction is asked for, and a snapshot is told as differences', async () => {
  const asked: unknown[] = [];
  server.answers['monitor_cond_since'] = ([, , , since]) => {
    asked.push(since);
    if (asked.length === 1)
      return [false, TXN, { Item: { [A]: { initial: { name: 'a' } }, [B]: { initial: { name: 'b' } } } }];
    if (asked.length === 2) return [true, TXN, { Item: { [A]: { modify: { name: 'aa' } } } }];
    return [false, TXN, { Item: { [A]: { initial: { name: 'aaa' } } } }];
  };
  const client = clientOf();
  const { replica, changes } = replicaOf(client);
  client.start();
  for (let round = 0; round < 3; round += 1) {
    await client.whenReady();
    expect(replica.synced).toBe(true);
    const lost = disconnected(client);
    lastPeer().socket.destroy();
    await lost;
    expect(replica.synced).toBe(false);
  }
  expect(asked.slice(0, 3)).toEqual([NO_TXN, TXN, TXN]);
  expect(changes.slice(0, 3)).toEqual(['->a ->b', 'a>aa', 'b>- aa>aaa']);
});

test.each<[string, string | Buffer]>([
  ['no JSON', '{"id":1,}'],
  ['no object', '[]'],
  ['an answer to nothing', '{"id":"x","result":[],"error":null}'],
  ['a notification without params', '{"id":null,"method":"update3"}'],
  ['bytes that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
])('%s ends the connection with a ProtocolError, and the next one works', async (_what, bytes) => {
  server.answers['transact'] = () => SILENCE;
  const client = clientOf();
  client.start();
  await client.whenReady();
  const lost = disconnected(client);
  const pending = client.transact([]);
  lastPeer().send(bytes);
  const [, reason] = await lost;
  expect(reason).toBeInstanceOf(errors.ProtocolError);
  await expect(pending).rejects.toThrow(errors.ConnectionLost);
  await client.whenReady();
});

test('an update that makes no sense changes nothing, and leads to a whole snapshot', async () => {
  const asked: unknown[] = [];
  server.answers['monitor_cond_since'] = ([, id, , since], peer) => {
    asked.push(since);
    const bad = { Item: { [A]: { modify: { name: 'changed' } }, [B]: { modify: { name: 'b' } } } };
    if (asked.length === 1) setImmediate(() => peer.send({ id: null, method: 'update3', params: [id, TXN, bad] }));
    return [false, TXN, { Item: { [A]: { initial: { name: 'a' } } } }];
  };
  const client = clientOf();
  const { changes } = replicaOf(client);
  client.start();
  const [, reason] = await disconnected(client);
  expect(reason).toBeInstanceOf(errors.ProtocolError);
  await client.whenReady();
  expect(asked).toEqual([NO_TXN, NO_TXN]);
  expect(changes).toEqual(['->a']);
});

test('whatever JSON comes as an update, the process lives and the replica stays whole', async () => {
  const client = clientOf();
  const { replica } = replicaOf(client);
  server.answers['monitor_cond_since'] = () => [false, TXN, { Item: { [A]: { initial: { name: 'a' } } } }];
  client.start();
  const names = fc.constantFrom('update', 'update2', 'update3', 'monitor_canceled', 'locked', 'stolen', 'other');
  await fc.assert(
    fc.asyncProperty(names, fc.array(fc.jsonValue(), { maxLength: 3 }), async (method, params) => {
      await client.whenReady();
      const id = (
        lastPeer().received.find((message) => message['method'] === 'monitor_cond_since')?.['params'] as string[]
      )[1];
      lastPeer().send({ id: null, method, params: [id, ...params] });
      // Answered, or failed with its connection: either way the update is through.
      await client.request('echo', [1]).catch(() => {});
      expect([...replica.table('Item').rows()].map(({ name }) => name)).toEqual(['a']);
    }),
    { numRuns: 60 },
  );
});

test('whatever bytes come, the connection ends with one ProtocolError or is merely closed', async () => {
  const client = clientOf();
  client.start();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 60 }), async (bytes) => {
      await client.whenReady();
      const lost = disconnected(client);
      lastPeer().socket.end(bytes);
      const [, reason] = await lost;
      expect(['ProtocolError', 'ConnectionLost']).toContain(reason.name);
    }),
    { numRuns: 60 },
  );
});

test("the server's echo is answered, and its other requests refused", async () => {
  const client = clientOf();
  client.start();
  await client.whenReady();
  lastPeer().send({ id: 'e', method: 'echo', params: ['x', 1] });
  lastPeer().send({ id: 7, method: 'format_disk', params: [] });
  await client.request('echo', []);
  expect(lastPeer().received).toContainEqual({ id: 'e', result: ['x', 1], error: null });
  expect(lastPeer().received).toContainEqual({ id: 7, result: null, error: 'unknown method' });
});

test('the error that counts is found in any place of the result', async () => {
  const client = clientOf();
  client.start();
  await client.whenReady();
  const failed = async (...result: unknown[]) => {
    server.answers['transact'] = () => result;
    return client.transact([remove('Item', []), insert('Item', { name: 'x' })]).catch((error: unknown) => error);
  };
  expect(await failed({ error: 'range error', details: 'd' }, null)).toMatchObject({
    name: 'NumberRangeError',
    code: 'range error',
    details: 'd',
    message: 'delete Item (operation 0): range error: d',
  });
  expect(await failed({ count: 1 }, { error: 'timed out' })).toMatchObject({
    operation: { index: 1, what: 'insert Item' },
  });
  expect(await failed({}, {}, { error: 'constraint violation' })).toMatchObject({
    operation: { index: 2, what: 'commit' },
  });
  expect(await failed({}, { error: 'something new' })).toMatchObject({ name: 'OvsdbError', code: 'something new' });
  expect(await failed({})).toBeInstanceOf(errors.ProtocolError);
  expect(await failed({}, {})).toBeInstanceOf(errors.ProtocolError);
  expect(await failed({ count: 2 }, { uuid: ['uuid', A] })).toEqual([{ count: 2 }, { uuid: A }]);
});

test('requests beyond the bound are refused, and all of one turn go out in one piece', async () => {
  const client = clientOf({ maxPending: 3 });
  client.start();
  await client.whenReady();
  const chunks: Buffer[] = [];
  lastPeer().socket.on('data', (chunk) => chunks.push(chunk));
  const results = await Promise.allSettled(Array.from({ length: 5 }, () => client.transact([])));
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected', 'rejected']);
  expect(results[4]).toMatchObject({ reason: { name: 'TooManyRequests' } });
  expect(chunks).toHaveLength(1);
});

test('aborting asks the server to cancel, and the answer decides', async () => {
  const client = clientOf();
  client.start();
  await client.whenReady();
  server.answers['transact'] = () => SILENCE;
  const abort = new AbortController();
  const pending = client.transact([], { signal: abort.signal });
  await client.request('echo', []);
  abort.abort();
  await client.request('echo', []);
  const [request, cancel] = lastPeer().received.filter(({ method }) => method === 'transact' || method === 'cancel');
  expect(cancel).toEqual({ id: null, method: 'cancel', params: [request?.['id']] });
  lastPeer().send({ id: request?.['id'], result: null, error: 'canceled' });
  await expect(pending).rejects.toThrow(errors.Canceled);
  await expect(client.transact([], { signal: abort.signal })).rejects.toThrow('aborted');
});

test.each<[string, object, string, Partial<ClientOptions>]>([
  ['is not the leader', { leader: false }, 'not the leader', { leaderOnly: true }],
  ['is a relay', { model: 'relay' }, 'not the leader', { leaderOnly: true }],
  ['has lost its cluster', { connected: false }, 'lost the rest', {}],
  ['has not joined yet', { schema: ['set', []] }, 'not joined', {}],
  ['serves another cluster', { cid: ['uuid', A] }, 'another one', { clusterId: B }],
  ['serves another database', { name: 'Other' }, 'does not have', {}],
])('a server that %s is left for the next one', async (_what, row, reason, options) => {
  const good = await startScriptedOvsdb(LITTLE_SCHEMA);
  good.answers['monitor_cond'] = () => databaseRow(LITTLE_SCHEMA, { cid: ['uuid', B] });
  server.answers['monitor_cond'] = () => databaseRow(LITTLE_SCHEMA, row);
  // The shuffle is one that leaves the order.
  const client = clientOf({ remotes: [server.remote, good.remote], random: () => 0.999, ...options });
  client.start();
  const [remote, error] = await disconnected(client);
  expect([remote, error.message]).toEqual([server.remote, expect.stringContaining(reason)]);
  await client.whenReady();
  expect(client.remote).toBe(good.remote);
  client.stop();
  await good.stop();
});

test('a server that falls behind, or steps down, is left at once', async () => {
  const stale = await startScriptedOvsdb(LITTLE_SCHEMA);
  const member = (index: number) => databaseRow(LITTLE_SCHEMA, { model: 'clustered', cid: ['uuid', A], index });
  server.answers['monitor_cond'] = () => member(10);
  stale.answers['monitor_cond'] = () => member(9);
  const client = clientOf({ remotes: [server.remote, stale.remote], random: () => 0.999, leaderOnly: true });
  client.start();
  await client.whenReady();
  const reasons: string[] = [];
  client.on('disconnected', (_remote, error) => reasons.push(error.message));
  const update = { Database: { '11111111-1111-4111-8111-111111111111': { modify: { leader: false } } } };
  lastPeer().send({ id: null, method: 'update2', params: ['_Server', update] });
  await disconnected(client);
  await client.whenReady();
  expect(reasons.slice(0, 2)).toEqual([
    expect.stringContaining('not the leader'),
    expect.stringContaining('index 9 below 10'),
  ]);
  client.stop();
  await stale.stop();
});

test('a database that is removed and added again (a new generation of its row) is read anew', async () => {
  let rows: object = { [A]: { initial: { name: 'a' } } };
  const asked: unknown[] = [];
  server.answers['monitor_cond_since'] = ([, , , since]) => {
    asked.push(since);
    return [false, TXN, { Item: rows }];
  };
  const client = clientOf();
  const { changes } = replicaOf(client);
  client.start();
  await client.whenReady();
  rows = { [B]: { initial: { name: 'b' } } };
  const again = once(client, 'ready');
  const update = databaseRow(LITTLE_SCHEMA) as { Database: Record<string, { initial: object }> };
  const [[old, { initial }]] = Object.entries(update.Database) as [[string, { initial: object }]];
  lastPeer().send({
    id: null,
    method: 'update2',
    params: ['_Server', { Database: { [old]: { delete: null }, [B]: { insert: initial } } }],
  });
  await again;
  expect(asked).toEqual([NO_TXN, NO_TXN]);
  expect(changes).toEqual(['->a', 'a>- ->b']);
});

test('a listener that throws is told of and breaks nothing', async () => {
  server.answers['monitor_cond_since'] = () => [false, TXN, { Item: { [A]: { initial: { name: 'a' } } } }];
  const client = clientOf();
  const { replica } = replicaOf(client);
  const failures: unknown[] = [];
  client.on('listenerFailed', (error) => failures.push(error));
  replica.onChange(() => {
    throw new Error('mine');
  });
  client.start();
  await client.whenReady();
  expect(failures).toEqual([new Error('mine')]);
});

test('a remote that is none, and ssl: without TLS options, are refused at once', () => {
  for (const remote of [
    '',
    'unix:',
    'tcp:host',
    'tcp:host:0',
    'tcp:host:65536',
    'ftp:host:1',
    'tcp:::1:6640',
    'ssl:host:6640',
  ]) {
    expect(() => clientOf({ remotes: [remote] })).toThrow(errors.InvalidValue);
  }
  expect(() => clientOf({ remotes: [] })).toThrow(errors.InvalidValue);
});

test('a server that is long about the rows is waited for, and left as ever when they are there', async () => {
  server.answers['echo'] = () => SILENCE;
  server.answers['monitor_cond_since'] = () => SILENCE;
  const client = clientOf({ probeMs: 30 });
  replicaOf(client).replica.start();
  const ends: string[] = [];
  client.on('disconnected', (_remote, { message }) => ends.push(message));
  client.start();
  const ready = client.whenReady();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(ends).toEqual([]);
  const peer = server.peers[0]!;
  const { id } = peer.received.find(({ method }) => method === 'monitor_cond_since')!;
  peer.send({ id, result: [false, NO_TXN, {}], error: null });
  await ready;
  await once(client, 'disconnected');
  expect(ends).toEqual([expect.stringContaining('no answer to the probe in 30 ms')]);
});
