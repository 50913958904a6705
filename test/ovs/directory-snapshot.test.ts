// An agent that starts while the directory's server is away: it begins with what the host knew last, says that it is not
// connected, and is told of the differences when the server is back.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { Directory } from '../../src/directory/directory';
import { deleteEndpoint, insertEndpoint } from '../../src/directory/endpoint-operations';
import type { DirectoryChange, EndpointId } from '../../src/directory/rows';
import { addNetwork, ENDPOINT, endpoint, NETWORK, run } from '../fakes/directory-contract';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { until } from './flowctl-lab';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

const OTHER = 'f'.repeat(64) as EndpointId;

let server: OvsdbServer;
let folder: string;
let snapshotPath: string;
const open: Directory[] = [];
const said: string[] = [];

function create(host: string, isKept = true): Directory {
  const say = (message: string) => void said.push(message);
  const directory = new Directory({
    remotes: [server.remote],
    host,
    locatorRange: parseCidr('100.64.0.0/10'),
    logger: { ...silentLogger, warn: say, error: say },
    ...(isKept ? { snapshotPath } : {}),
  });
  open.push(directory);
  directory.start();
  return directory;
}

beforeEach(async () => {
  said.length = 0;
  folder = mkdtempSync(join(tmpdir(), 'snapshot-'));
  snapshotPath = join(folder, 'directory.snapshot');
  server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
});
afterEach(async () => {
  open.splice(0).forEach((directory) => directory.stop());
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A host with a network and an endpoint, and its file with both. */
async function known(): Promise<Directory> {
  const directory = create('host1');
  await directory.whenReady();
  await addNetwork(directory);
  await run(directory, (context) => insertEndpoint(context, endpoint));
  await until(
    'endpoint in the file',
    () => existsSync(snapshotPath) && readFileSync(snapshotPath, 'utf8').includes(ENDPOINT),
  );
  return directory;
}

test('it begins with what was known last, not as one that is connected, and writes wait', async () => {
  const before = await known();
  const was = before.view.endpoint(ENDPOINT);
  before.stop();
  await server.kill();
  const after = create('host1');
  await after.whenReady();
  expect(after.connected).toBe(false);
  expect(after.view.endpoint(ENDPOINT)).toEqual(was);
  expect([...after.view.networks()]).toEqual([...before.view.networks()]);
  expect(after.view.host('host1')).toEqual(before.view.host('host1'));
  expect([...after.view.addressesOf(was!.poolId)]).toEqual([...before.view.addressesOf(was!.poolId)]);
  expect(said).toContain('the DaoliNet database does not answer: this host goes on with what it knew last');
  const begin = performance.now();
  await expect(run(after, (context) => deleteEndpoint(context, ENDPOINT))).rejects.toMatchObject({
    code: 'unavailable',
  });
  expect(performance.now() - begin).toBeLessThan(8_500);
  expect(after.view.endpoint(ENDPOINT)).toEqual(was);
});

test('when the server is back, what is different is told once, and nothing else', async () => {
  (await known()).stop();
  const other = create('host2', false);
  await other.whenReady();
  await run(other, (context) => deleteEndpoint(context, ENDPOINT));
  await run(other, (context) => insertEndpoint(context, { ...endpoint, id: OTHER }));
  other.stop();
  await server.kill();
  const after = create('host1');
  await after.whenReady();
  expect(after.view.endpoint(ENDPOINT)).toBeDefined();
  const told: DirectoryChange[][] = [];
  after.onChange((changes) => void told.push([...changes]));
  await server.restart();
  await until('connection', () => after.connected);
  expect(told).toHaveLength(1);
  const kinds = told[0]!.filter(({ table }) => table !== 'Address').map(({ kind, table }) => `${kind} ${table}`);
  expect(kinds.sort()).toEqual(['delete Endpoint', 'insert Endpoint', 'insert Host']);
  expect([after.view.endpoint(ENDPOINT), after.view.endpoint(OTHER)?.host]).toEqual([undefined, 'host2']);
  expect(after.view.network(NETWORK)).toBeDefined();
  // And goes on from there: changes of sets come as differences to rows that are not kept beside the typed ones.
  await run(after, (context) => deleteEndpoint(context, OTHER));
  await until('the next file', () => !readFileSync(snapshotPath, 'utf8').includes(OTHER));
});

test('where the server answers, the file is not looked at', async () => {
  (await known()).stop();
  writeFileSync(snapshotPath, 'nothing of use');
  const after = create('host1');
  await after.whenReady();
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect([after.connected, said]).toEqual([true, []]);
});

test('a file that cannot be used is said once, and the server is waited for', async () => {
  (await known()).stop();
  writeFileSync(snapshotPath, readFileSync(snapshotPath, 'utf8').slice(0, -20));
  await server.kill();
  const after = create('host1');
  await until('word about it', () => said.some((text) => text.startsWith('what this host knew last cannot be read')));
  expect([...after.view.hosts()]).toEqual([]);
  await server.restart();
  await after.whenReady();
  expect(after.view.endpoint(ENDPOINT)).toBeDefined();
});
