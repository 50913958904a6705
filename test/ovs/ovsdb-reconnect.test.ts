// Connections to real servers that die, freeze, come back, are full, want TLS, or are not the leader.
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OvsdbClient, type ClientOptions } from '../../src/ovsdb/client';
import { ConnectionLost, OvsdbError } from '../../src/ovsdb/errors';
import type { Operation } from '../../src/ovsdb/notation';
import * as ops from '../../src/ovsdb/operations';
import { Replica } from '../../src/ovsdb/replica';
import { LITTLE_SCHEMA, type LittleTables } from './little-schema';
import { startOvsdbCluster, startOvsdbServer } from './ovsdb-server';
import { runTool } from './process';

type Tables = Pick<LittleTables, 'Item'>;

/** What each test has to end, last first. */
let cleanups: Array<() => unknown> = [];
afterEach(async () => {
  for (const clean of cleanups.reverse()) await clean();
  cleanups = [];
});

async function serverOf(options: { clustered?: boolean; args?: string[] } = {}) {
  const server = await startOvsdbServer({ schema: LITTLE_SCHEMA, ...options });
  cleanups.push(() => server.stop());
  return server;
}

function clientOf(remotes: readonly string[], options: Partial<ClientOptions> = {}) {
  const client = new OvsdbClient({ remotes, database: 'Little', backoff: { minMs: 20, maxMs: 100 }, ...options });
  cleanups.push(() => client.stop());
  const replica = new Replica<Tables>(client, { Item: { columns: ['name', 'size'], indexes: { name: ['name'] } } });
  const changes: string[] = [];
  replica.onChange((batch) => changes.push(`${batch.length}`));
  replica.start();
  client.start();
  const names = () => [...replica.table('Item').rows()].map(({ name }) => name).sort();
  return { client, replica, changes, names };
}

const item = (name: string) => ops.insert('Item', { name });
const disconnected = async (client: OvsdbClient) => (await once(client, 'disconnected')) as [string, OvsdbError];

test('a standalone server that restarts: rows stay readable, then only the differences are told', async () => {
  const server = await serverOf();
  const { client, replica, changes, names } = clientOf([server.remote]);
  await client.whenReady();
  await client.transact([item('a'), item('b')]);
  const lost = disconnected(client);
  await server.kill('SIGKILL');
  await lost;
  expect([replica.synced, ...names()]).toEqual([false, 'a', 'b']);
  await server.restart();
  await replica.whenSynced();
  expect(changes).toEqual(['2']);
  await client.whenReady();
  await client.transact([item('c')]);
  expect(names()).toEqual(['a', 'b', 'c']);
});

test('what is in flight when the server dies is ConnectionLost: nobody knows whether it was done', async () => {
  const server = await serverOf();
  const { client } = clientOf([server.remote]);
  await client.whenReady();
  server.daemon().signal('SIGSTOP');
  const pending = Array.from({ length: 10 }, (_, index) => client.transact([item(`i${index}`)]));
  const results = Promise.allSettled(pending);
  await server.kill('SIGKILL');
  for (const result of await results) {
    expect(result).toMatchObject({ status: 'rejected', reason: { name: 'ConnectionLost' } });
  }
});

/** A way to the server that counts what comes from it. */
async function meteredWay(remote: string) {
  const dir = mkdtempSync(join(tmpdir(), 'way-'));
  const meter = { remote: `unix:${join(dir, 's')}`, bytes: 0 };
  const way = createServer((inner) => {
    const outer = connect(remote.slice('unix:'.length));
    outer.on('data', (chunk) => (meter.bytes += chunk.length));
    outer.pipe(inner).pipe(outer);
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      one.on('error', () => {}).on('close', () => other.destroy());
    }
  });
  way.listen(join(dir, 's'));
  await once(way, 'listening');
  cleanups.push(() => {
    way.close();
    rmSync(dir, { recursive: true });
  });
  return meter;
}

test('a clustered server remembers 100 transactions: within them only what was missed comes, beyond them all', async () => {
  const server = await serverOf({ clustered: true });
  const meter = await meteredWay(server.remote);
  const { client: writer } = clientOf([server.remote]);
  const { client, replica, changes } = clientOf([meter.remote]);
  await Promise.all([client.whenReady(), writer.whenReady()]);
  await writer.transact(Array.from({ length: 2_000 }, (_, index) => item(`item number ${index}`)));
  await client.request('echo', []);
  const missed = async (count: number, what: (index: number) => Operation[]) => {
    client.stop();
    for (let index = 0; index < count; index += 1) await writer.transact(what(index));
    meter.bytes = 0;
    client.start();
    await replica.whenSynced();
    return meter.bytes;
  };
  const overhead = 20_000;
  expect(await missed(90, (index) => [item(`few ${index}`)])).toBeLessThan(overhead);
  expect(replica.table('Item').size).toBe(2_090);
  const grow = (index: number) => [ops.update('Item', [['name', '==', 'few 0']], { size: index })];
  expect(await missed(130, grow)).toBeGreaterThan(100_000);
  expect(replica.table('Item').findOne('name', 'few 0')?.size).toBe(129);
  expect(changes).toEqual(['2000', '90', '1']);
});

test('a schema that is converted, and a database that is removed and added, are followed on the fly', async () => {
  const server = await serverOf();
  const { client, replica, names } = clientOf([server.remote]);
  await client.whenReady();
  await client.transact([item('a')]);
  const { tables, ...rest } = LITTLE_SCHEMA;
  const columns = { ...tables.Item.columns, extra: { type: 'string' } };
  const converted = { ...rest, version: '1.1.0', tables: { ...tables, Item: { ...tables.Item, columns } } };
  const again = once(client, 'ready');
  await client.request('convert', ['Little', converted]);
  await again;
  await client.transact([ops.insert('Item', { name: 'b', extra: 'new' })]);
  expect([client.schema?.version, ...names()]).toEqual(['1.1.0', 'a', 'b']);
  const lost = disconnected(client);
  await server.appctl('ovsdb-server/remove-db', 'Little');
  await lost;
  expect(names()).toEqual(['a', 'b']);
  await server.appctl('ovsdb-server/add-db', join(server.dir, 'db'));
  await replica.whenSynced();
  await client.whenReady();
  await client.transact([item('c')]);
  expect(names()).toEqual(['a', 'b', 'c']);
});

test('several remotes: a dead one is passed over, and when one dies the next takes over, locks and all', async () => {
  const first = await serverOf();
  const second = await serverOf();
  const { client } = clientOf(['unix:/nowhere', first.remote, second.remote], { random: () => 0.999 });
  client.lock('L');
  await once(client, 'locked');
  expect(client.remote).toBe(first.remote);
  const events: string[] = [];
  client.on('lockLost', () => events.push('lost')).on('locked', () => events.push('locked'));
  const again = once(client, 'locked');
  await first.kill('SIGKILL');
  await again;
  expect([client.remote, ...events]).toEqual([second.remote, 'lost', 'locked']);
});

test('a frozen server is found out by the probe, and one that merely says nothing is not', async () => {
  const server = await serverOf();
  const { client } = clientOf([server.remote], { probeMs: 500 });
  await client.whenReady();
  const failures: string[] = [];
  client.on('disconnected', (_remote, error) => failures.push(error.message));
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  expect(failures).toEqual([]);
  server.daemon().signal('SIGSTOP');
  const pending = client.transact([item('a')]);
  await expect(pending).rejects.toThrow(ConnectionLost);
  await expect(pending).rejects.toThrow('no answer to the probe in 500 ms');
  server.daemon().signal('SIGCONT');
  await client.whenReady();
});

test('a full listen queue (EAGAIN) is waited out', async () => {
  const server = await serverOf();
  server.daemon().signal('SIGSTOP');
  const clients = Array.from({ length: 100 }, () => clientOf([server.remote]).client);
  const failures: string[] = [];
  for (const client of clients) client.on('disconnected', (_remote, error) => failures.push(error.message));
  // Long enough for the connections that the queue has no place for to be refused.
  await new Promise((resolve) => setTimeout(resolve, 50));
  server.daemon().signal('SIGCONT');
  await Promise.all(clients.map((client) => client.whenReady()));
  expect(failures).toEqual([]);
});

test('ssl: both sides show certificates of one authority; a client of another is refused', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tls-'));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  const file = (name: string) => join(dir, name);
  for (const ca of ['ca', 'other-ca']) {
    await openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      `/CN=${ca}`,
      '-days',
      '2',
      '-keyout',
      file(`${ca}.key`),
      '-out',
      file(`${ca}.pem`),
    );
  }
  for (const [name, ca] of [
    ['server', 'ca'],
    ['client', 'ca'],
    ['stranger', 'other-ca'],
  ] as const) {
    await openssl(
      'req',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.csr`),
    );
    await openssl(
      'x509',
      '-req',
      '-in',
      file(`${name}.csr`),
      '-CA',
      file(`${ca}.pem`),
      '-CAkey',
      file(`${ca}.key`),
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      file(`${name}.pem`),
    );
  }
  const tls = [
    `--private-key=${file('server.key')}`,
    `--certificate=${file('server.pem')}`,
    `--ca-cert=${file('ca.pem')}`,
  ];
  const server = await serverOf({ args: ['--remote=pssl:0:127.0.0.1', ...tls] });
  const [, port] = /listening on port (\d+)/.exec(server.daemon().log()) ?? [];
  const optionsOf = (name: string, ca: string) => ({
    key: readFileSync(file(`${name}.key`)),
    cert: readFileSync(file(`${name}.pem`)),
    ca: readFileSync(file(`${ca}.pem`)),
    checkServerIdentity: () => undefined,
  });
  expect(port).toBeDefined();
  const remote = `ssl:127.0.0.1:${port}`;
  const { client, names } = clientOf([remote], { tls: optionsOf('client', 'ca') });
  await client.whenReady();
  await client.transact([item('over TLS')]);
  expect(names()).toEqual(['over TLS']);
  const [, refused] = await disconnected(clientOf([remote], { tls: optionsOf('stranger', 'ca') }).client);
  expect(refused).toBeInstanceOf(OvsdbError);
  const [, distrusted] = await disconnected(clientOf([remote], { tls: optionsOf('client', 'other-ca') }).client);
  expect(distrusted.message).toMatch(/certificate|self.signed/i);
});

const openssl = (...args: string[]) => runTool(['openssl', ...args]);

test('leader only: in a cluster of three the leader is found, and the next one when it dies; nothing is lost', async () => {
  const cluster = await startOvsdbCluster(LITTLE_SCHEMA, 3);
  cleanups.push(() => cluster.stop());
  const leaderOnly = clientOf(cluster.remotes, { leaderOnly: true });
  const any = clientOf(cluster.remotes);
  await Promise.all([leaderOnly.client.whenReady(), any.client.whenReady()]);
  const isLeader = async (remote: string | undefined) => {
    const member = cluster.members.find((one) => one.remote === remote);
    return (await member?.appctl('cluster/status', 'Little'))?.includes('Role: leader');
  };
  expect(await isLeader(leaderOnly.client.remote)).toBe(true);
  await leaderOnly.client.transact([item('a')]);
  const lost = disconnected(leaderOnly.client);
  const dead = cluster.members.find(({ remote }) => remote === leaderOnly.client.remote);
  await dead?.kill('SIGKILL');
  await lost;
  await leaderOnly.client.whenReady();
  expect(leaderOnly.client.remote).not.toBe(dead?.remote);
  expect(await isLeader(leaderOnly.client.remote)).toBe(true);
  await leaderOnly.client.transact([item('b')]);
  expect(leaderOnly.names()).toEqual(['a', 'b']);
  await any.client.whenReady();
  await any.client.transact([item('c')]);
  expect(any.names()).toEqual(['a', 'b', 'c']);
});
