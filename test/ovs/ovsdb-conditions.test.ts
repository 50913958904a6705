// Conditions of a monitor that change while it runs, over real servers: what is there when a change is done, and that a
// connection which breaks at any moment of it leaves neither too much nor too little.
import { once } from 'node:events';
import { OvsdbClient } from '../../src/ovsdb/client';
import type { Condition } from '../../src/ovsdb/notation';
import { insert, remove } from '../../src/ovsdb/operations';
import type { Monitor } from '../../src/ovsdb/monitor';
import { LITTLE_SCHEMA } from './little-schema';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

let server: OvsdbServer;
let clients: OvsdbClient[] = [];
afterEach(async () => {
  for (const client of clients) client.stop();
  clients = [];
  await server.stop();
});

const items = (...names: string[]) => names.map((name, size) => insert('Item', { name, size }));
const named = (...names: string[]): Condition[] => names.map((name) => ['name', '==', name]);

async function connect(): Promise<OvsdbClient> {
  const client = new OvsdbClient({
    remotes: [server.remote],
    database: 'Little',
    backoff: { minMs: 20, maxMs: 100 },
  });
  clients.push(client);
  client.start();
  await client.whenReady();
  return client;
}

/** A monitor of items, with what it tells. */
async function follow(client: OvsdbClient, where: readonly Condition[]) {
  const told: string[] = [];
  const synced = new Promise<Monitor>((resolve) => {
    const monitor = client.monitor(
      { Item: { columns: ['name'], where } },
      {
        onChanges: (changes) => {
          for (const { old, row } of changes)
            told.push(`${row ? (old ? '~' : '+') : '-'}${String((row ?? old)?.['name'])}`);
        },
        onSynced: () => resolve(monitor),
      },
    );
  });
  const monitor = await synced;
  const names = () => [...monitor.rows('Item').values()].map((row) => row['name']).sort();
  return { monitor, told, names };
}

describe.each([false, true])('clustered: %s', (clustered) => {
  let writer: OvsdbClient;
  let reader: OvsdbClient;
  beforeEach(async () => {
    server = await startOvsdbServer({ schema: LITTLE_SCHEMA, clustered });
    writer = await connect();
    reader = await connect();
    await writer.transact(items('a', 'b', 'c', 'd'));
  });

  test('the rows are there when the change is done, and those of no condition are gone', async () => {
    const { monitor, told, names } = await follow(reader, []);
    expect(names()).toEqual([]);
    await reader.setConditions(monitor, { Item: named('a', 'b') });
    expect(told.sort()).toEqual(['+a', '+b']);
    await reader.setConditions(monitor, { Item: named('b', 'c') });
    expect(told.slice(2).sort()).toEqual(['+c', '-a']);
    expect(names()).toEqual(['b', 'c']);
    await reader.setConditions(monitor, { Item: [] });
    expect(names()).toEqual([]);
  });

  test('of changes at once each is done with the last one, in one or two requests', async () => {
    const { monitor, names } = await follow(reader, named('a'));
    await Promise.all([named('b'), named('c'), named('c', 'd')].map((Item) => reader.setConditions(monitor, { Item })));
    expect(names()).toEqual(['c', 'd']);
  });

  test('a new connection asks for the conditions of this moment', async () => {
    const { monitor, names } = await follow(reader, named('a'));
    await reader.setConditions(monitor, { Item: named('b', 'e') });
    const lost = once(reader, 'disconnected');
    await server.kill('SIGKILL');
    await lost;
    await server.restart();
    await writer.whenReady();
    await writer.transact([...items('e', 'f'), remove('Item', named('b'))]);
    await reader.whenReady();
    const marker = await follow(reader, named('e'));
    expect(marker.names()).toEqual(['e']);
    expect(names()).toEqual(['e']);
  });

  test('a connection that is resumed, too', async () => {
    const { monitor, names, told } = await follow(reader, named('a'));
    await reader.setConditions(monitor, { Item: named('b', 'e') });
    const lost = once(reader, 'disconnected');
    await server.appctl('ovsdb-server/reconnect');
    await lost;
    await reader.whenReady();
    await writer.whenReady();
    await reader.transact([...items('e', 'f'), remove('Item', named('b'))]);
    expect(names()).toEqual(['e']);
    expect(told.slice(1).sort()).toEqual(['+b', '+e', '-a', '-b']);
  });

  test('a change while the connection is away, or on its way when it breaks, is done by the next one', async () => {
    const { monitor, names } = await follow(reader, named('a'));
    const onItsWay = reader.setConditions(monitor, { Item: named('a', 'b') });
    const lost = once(reader, 'disconnected');
    await server.kill('SIGKILL');
    await lost;
    const away = reader.setConditions(monitor, { Item: named('c') });
    await server.restart();
    await Promise.all([onItsWay, away]);
    expect(names()).toEqual(['c']);
  });
});
