// The directory over a real ovsdb-server, and what only a real one does: go away and come back.
import { parseCidr } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { Directory } from '../../src/directory/directory';
import { deleteEndpoint, insertEndpoint } from '../../src/directory/endpoint-operations';
import type { DirectoryStore } from '../../src/directory/store';
import { OvsdbClient } from '../../src/ovsdb/client';
import { select } from '../../src/ovsdb/operations';
import { addNetwork, directoryContract, ENDPOINT, endpoint, run, type TestCluster } from '../fakes/directory-contract';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

const RANGE = parseCidr('100.64.0.0/10');

async function join(server: OvsdbServer, host: string, locatorRange = RANGE): Promise<Directory> {
  const directory = new Directory({ remotes: [server.remote], host, locatorRange, logger: silentLogger });
  directory.start();
  await directory.whenReady();
  return directory;
}

async function openCluster(): Promise<TestCluster> {
  const server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
  const client = new OvsdbClient({ remotes: [server.remote], database: 'DaoliNet' });
  client.start();
  await client.whenReady();
  const directories: Directory[] = [];
  return {
    async join(host, range): Promise<DirectoryStore> {
      const directory = await join(server, host, range);
      directories.push(directory);
      return directory;
    },
    async rowCount(table) {
      const [result] = await client.transact([select(table, [], ['_uuid'])]);
      return result?.rows?.length ?? -1;
    },
    async close() {
      for (const directory of directories) directory.stop();
      client.stop();
      await server.stop();
    },
  };
}

directoryContract(openCluster);

describe('a server that goes away', () => {
  let server: OvsdbServer;
  let directory: Directory;
  beforeEach(async () => {
    server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
    directory = await join(server, 'host1');
  });
  afterEach(async () => {
    directory.stop();
    await server.stop();
  });

  test('reads go on, writes wait for it, and nothing that was written is lost', async () => {
    await addNetwork(directory);
    const disconnected = new Promise((resolve) => directory.onConnected(resolve));
    await server.kill('SIGKILL');
    expect(await disconnected).toBe(false);
    expect(directory.connected).toBe(false);
    expect([...directory.view.networks()]).toHaveLength(1);
    const changes: string[] = [];
    directory.onChange((all) => changes.push(...all.map(({ kind, table }) => `${kind} ${table}`)));
    const written = run(directory, (c) => insertEndpoint(c, endpoint));
    await server.restart();
    await written;
    expect(directory.view.endpoint(ENDPOINT)).toBeDefined();
    expect(changes).toEqual(['insert Endpoint']);
  });

  test('an agent that starts anew finds its own row and goes on from there', async () => {
    await addNetwork(directory);
    await run(directory, (c) => insertEndpoint(c, endpoint));
    const before = directory.view.host('host1');
    await run(directory, (c) => deleteEndpoint(c, ENDPOINT));
    directory.stop();
    directory = await join(server, 'host1');
    expect(directory.view.host('host1')).toEqual(before);
    expect([...directory.view.networks()]).toHaveLength(1);
  });

  test('another locator range: a new block, and the old one goes when nobody uses it', async () => {
    await addNetwork(directory);
    await run(directory, (c) => insertEndpoint(c, endpoint));
    directory.stop();
    const blocks = () => directory.view.host('host1')?.locatorBlocks;
    directory = await join(server, 'host1', parseCidr('100.96.0.0/16'));
    expect(blocks()).toMatchObject([parseCidr('100.64.0.0/24'), parseCidr('100.96.0.0/24')]);
    await run(directory, (c) => deleteEndpoint(c, ENDPOINT));
    directory.stop();
    directory = await join(server, 'host1', parseCidr('100.96.0.0/16'));
    expect(blocks()).toMatchObject([parseCidr('100.96.0.0/24')]);
  });

  test('an agent that is there before the database waits for it, says so once, and can be stopped at any time', async () => {
    const said: string[] = [];
    const say = (message: string) => void said.push(message);
    await server.kill();
    const options = { remotes: [server.remote], host: 'host2', locatorRange: RANGE };
    const early = new Directory({ ...options, logger: { ...silentLogger, warn: say, error: say, info: say } });
    early.start();
    early.start();
    await new Promise<void>((resolve) => early.onConnected(() => resolve()));
    const ready = early.whenReady();
    await server.restart();
    await ready;
    expect(early.view.host('host2')).toBeDefined();
    const last = addNetwork(early).catch((error: unknown) => error);
    early.stop();
    early.stop();
    expect(await last).toMatchObject({ code: 'unavailable' });
    expect(said).toEqual(['the DaoliNet database is away', 'connected to the DaoliNet database']);
  });

  test('a row that somebody wrote by hand and that makes no sense is left out, and said', async () => {
    const errors: string[] = [];
    const logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
    const client = new OvsdbClient({ remotes: [server.remote], database: 'DaoliNet' });
    client.start();
    await client.whenReady();
    const other = new Directory({ remotes: [server.remote], host: 'host1', locatorRange: RANGE, logger });
    try {
      const row = { name: 'bad', router_mac: 'not an address...', datapath_id: '0'.repeat(16) };
      await client.transact([{ op: 'insert', table: 'Host', row }]);
      other.start();
      await other.whenReady();
      expect([...other.view.hosts()].map((host) => host.name)).toEqual(['host1']);
      expect(errors).toEqual([expect.stringMatching(/^row .* of Host is left out: "not an address..." is not a MAC/)]);
    } finally {
      other.stop();
      client.stop();
    }
  });
});
