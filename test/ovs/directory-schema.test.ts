// A directory of an older version, as the plugin converts it at its start: what was in it has the new columns' defaults.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/base/logger';
import { parseCidr } from '../../src/base/addresses';
import { Directory } from '../../src/directory/directory';
import { SCHEMA_VERSION } from '../../src/directory/schema-version';
import { planTunnel } from '../../src/directory/tunnel-operations';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { runTool } from './process';
import { startOvsdbServer } from './ovsdb-server';

interface Schema {
  version: string;
  tables: Record<string, { columns: Record<string, object> }>;
}

/** As it was before sites. */
function schemaBefore(): Schema {
  const schema = JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as Schema;
  schema.version = '1.3.0';
  delete schema.tables['Tunnel'];
  delete schema.tables['JoinRequest'];
  delete schema.tables['JoinToken']?.columns['needs_approval'];
  for (const column of ['site', 'is_hub', 'encrypt']) delete schema.tables['Host']?.columns[column];
  return schema;
}

const HOST = { name: 'h1', router_mac: '02:00:00:00:00:01', datapath_id: '0000020000000001', address: '192.0.2.1' };

test('a database of 1.3.0: its hosts are in the default site, no hubs, and without a tunnel', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'directory-'));
  const [file, schema] = [join(folder, 'db'), join(folder, 'schema')];
  const server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
  try {
    writeFileSync(schema, JSON.stringify(schemaBefore()));
    await runTool(['ovsdb-tool', 'create', file, schema]);
    await runTool([
      'ovsdb-tool',
      'transact',
      file,
      JSON.stringify(['DaoliNet', { op: 'insert', table: 'Host', row: HOST }]),
    ]);
    await runTool(['ovsdb-tool', 'convert', file, DIRECTORY_SCHEMA_FILE]);
    await server.appctl('ovsdb-server/remove-db', 'DaoliNet');
    await server.appctl('ovsdb-server/add-db', file);
    const locatorRange = parseCidr('100.64.0.0/10');
    const directory = new Directory({ remotes: [server.remote], host: 'h1', locatorRange, logger: silentLogger });
    directory.start();
    try {
      await directory.whenReady();
      expect(directory.view.host('h1')).toMatchObject({ site: 'default', isHub: false, encrypts: false });
      expect([...directory.view.tunnels()]).toEqual([]);
      const own = { key: `${'a'.repeat(42)}A=`, port: 7471, endpoint: undefined, noL2: false } as const;
      await directory.transact((context) => ({ ops: planTunnel(context, own), result: undefined }));
      expect(directory.view.tunnel('h1')).toMatchObject(own);
    } finally {
      directory.stop();
    }
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

describe('the file of a host that is alone, as the supervisor prepares it', () => {
  const PUBLISHED_FIRST = join(__dirname, '../golden/directory-1.2.0.ovsschema');
  const supervisor = readFileSync(join(__dirname, '../../plugin/supervisor.sh'), 'utf8');
  /** What it defines, without what it does. */
  const functions = supervisor.slice(0, supervisor.indexOf("agent='' servers=''"));
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'directory-'));
    file = join(folder, 'db');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const prepare = (schema: string) => runTool(['sh', '-c', `${functions}\nprepare_database ${file} ${schema}`]);
  const versionOf = async () => (await runTool(['ovsdb-tool', 'db-version', file])).trim();
  const ask = (operation: object) => JSON.stringify(['DaoliNet', operation]);

  test('comes along with an upgrade, and what it was is kept', async () => {
    await runTool(['ovsdb-tool', 'create', file, PUBLISHED_FIRST]);
    await prepare(DIRECTORY_SCHEMA_FILE);
    expect(await versionOf()).toBe(SCHEMA_VERSION);
    expect((await runTool(['ovsdb-tool', 'db-version', `${file}.before-1.2.0`])).trim()).toBe('1.2.0');
  });

  test('stays as it is where the plugin goes back: what only the later version knows is not lost', async () => {
    await runTool(['ovsdb-tool', 'create', file, DIRECTORY_SCHEMA_FILE]);
    const row = { name: 'g', created: 1 };
    await runTool(['ovsdb-tool', 'transact', file, ask({ op: 'insert', table: 'Group', row })]);
    await prepare(PUBLISHED_FIRST);
    expect(await versionOf()).toBe(SCHEMA_VERSION);
    const select = { op: 'select', table: 'Group', where: [], columns: ['name'] };
    expect(await runTool(['ovsdb-tool', 'query', file, ask(select)])).toContain('"g"');
  });
});
