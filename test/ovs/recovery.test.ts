// The directory of a backup, and of a member that is left, as real servers have them: every row is there again, with its uuid.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { contentFor, hostIn, parseBackup, showBackup } from '../../src/cluster/backup';
import { planFirst, planToken } from '../../src/cluster/membership';
import { Directory } from '../../src/directory/directory';
import { insertEndpoint } from '../../src/directory/endpoint-operations';
import { fileOf, readContent, transactOnce } from '../../src/ovsdb/content';
import { addNetwork, endpoint, run } from '../fakes/directory-contract';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';
import { runTool } from './process';

const RANGE = parseCidr('100.64.0.0/10');
const PEM = { certificate: '-----BEGIN CERTIFICATE-----', key: '-----BEGIN PRIVATE KEY-----' };
const FIRST = { address: parseIpv4('192.0.2.1'), fingerprint: 'a'.repeat(64) };

let server: OvsdbServer;
let folder: string;
const others: OvsdbServer[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'recovery-'));
  server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE, clustered: true });
});
afterEach(async () => {
  await Promise.all([server, ...others.splice(0)].map((each) => each.stop()));
  rmSync(folder, { recursive: true });
});

const socketOf = ({ remote }: OvsdbServer) => remote.replace('unix:', '');
const contentOf = (of: OvsdbServer) => readContent(socketOf(of), 'DaoliNet');

/** Two hosts, with a network, an endpoint and a token. */
async function fill(): Promise<void> {
  for (const host of ['h2', 'h1']) {
    const directory = new Directory({ remotes: [server.remote], host, locatorRange: RANGE, logger: silentLogger });
    directory.start();
    await directory.whenReady();
    if (host === 'h1') {
      await run(directory, (c) => [...planFirst(c, FIRST), ...planToken(c, 'a secret of a token')]);
      await addNetwork(directory);
      await run(directory, (c) => insertEndpoint(c, endpoint));
    }
    directory.stop();
  }
}

async function serve(name: string): Promise<OvsdbServer> {
  const cluster = join(folder, `${name}.cluster`);
  await runTool(['ovsdb-tool', 'create-cluster', cluster, join(folder, name), `unix:${folder}/raft.sock`]);
  const made = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
  others.push(made);
  await made.kill();
  await runTool(['cp', cluster, join(made.dir, 'db')]);
  await made.restart();
  await runTool(['ovsdb-client', '--timeout=15', 'wait', made.remote, 'DaoliNet', 'connected']);
  return made;
}

test('a backup is a directory again: as it was, but for who serves it, and without tokens', async () => {
  await fill();
  const before = await contentOf(server);
  const facts = { locatorRange: RANGE, authority: PEM, identity: PEM };
  const made = '2026-11-28T12:00:00.000Z';
  const shown = JSON.parse(JSON.stringify(showBackup(facts, { host: 'h1', made, directory: before }))) as unknown;
  const backup = parseBackup(shown);
  expect(hostIn(backup, 'h1')).toMatchObject({ address: FIRST.address, certificates: [FIRST.fingerprint] });
  const only = { name: 'h2', address: parseIpv4('192.0.2.2'), certificate: 'b'.repeat(64) };
  writeFileSync(join(folder, 'restored'), fileOf(contentFor(backup, only)));
  const after = await contentOf(await serve('restored'));
  const hosts = Object.values(after.tables['Host'] ?? {});
  expect(hosts).toHaveLength(2);
  expect(hosts).toContainEqual(
    expect.objectContaining({ name: 'h2', is_server: true, address: '192.0.2.2', certificates: only.certificate }),
  );
  expect(hosts).toContainEqual(
    expect.objectContaining({ name: 'h1', is_server: false, certificates: FIRST.fingerprint }),
  );
  expect(Object.keys(before.tables['JoinToken'] ?? {})).toHaveLength(1);
  expect(after.tables).toEqual({ ...before.tables, Host: after.tables['Host'], JoinToken: {} });
  expect(Object.keys(after.tables['Endpoint'] ?? {})).toHaveLength(1);
});

test('a member that is left is the first of another cluster, with all that it knew', async () => {
  await fill();
  const before = await contentOf(server);
  await server.kill();
  // As the plugin's supervisor does it.
  await runTool(['ovsdb-tool', 'cluster-to-standalone', join(folder, 'known'), join(server.dir, 'db')]);
  const recovered = await serve('known');
  expect((await contentOf(recovered)).tables).toEqual(before.tables);
  const demotion = { op: 'update', table: 'Host', where: [['name', '!=', 'h2']], row: { is_server: false } };
  await transactOnce(socketOf(recovered), 'DaoliNet', [demotion]);
  const hosts = Object.values((await contentOf(recovered)).tables['Host'] ?? {});
  expect(hosts.map((row) => row['is_server'])).toEqual([false, false]);
  await expect(transactOnce(socketOf(recovered), 'DaoliNet', [{ ...demotion, table: 'None' }])).rejects.toThrow();
  await expect(readContent(join(folder, 'nobody'), 'DaoliNet')).rejects.toThrow('not connected');
});
