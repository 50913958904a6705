// A directory of another version than the agent's, over a real ovsdb-server: older, until it is converted under way, and later.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCidr, parseIpv4, type Mac } from '../../src/base/addresses';
import { silentLogger, type Logger } from '../../src/base/logger';
import { insertPolicy, setDefaultDeny } from '../../src/directory/control-operations';
import { Directory, DIRECTORY_DATABASE } from '../../src/directory/directory';
import { insertEndpoint, updateEndpoint } from '../../src/directory/endpoint-operations';
import { insertNetwork, insertPool, poolIdOf } from '../../src/directory/operations';
import type { EndpointId, NetworkId } from '../../src/directory/rows';
import { planSwitch } from '../../src/directory/switch-operations';
import { OvsdbClient } from '../../src/ovsdb/client';
import { isRow, select, update } from '../../src/ovsdb/operations';
import { run } from '../fakes/directory-contract';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';
import { runTool } from './process';

interface Schema {
  version: string;
  tables: Record<string, { columns: Record<string, object>; isRoot?: boolean }>;
}

const PUBLISHED_FIRST = join(__dirname, '../golden/directory-1.2.0.ovsschema');
const NETWORK = 'a'.repeat(64) as NetworkId;
const ENDPOINT = 'e'.repeat(64) as EndpointId;
const LABELS = new Map([['tier', 'web']]);
const POOL = { tenant: 'default', cidr: parseCidr('10.0.0.0/24') };

let server: OvsdbServer;
let directory: Directory;
let errors: string[];

async function begin(schema: string | object, extent: 'everything' | 'needed', clustered = false): Promise<void> {
  server = await startOvsdbServer({ schema, clustered });
  errors = [];
  const logger: Logger = { ...silentLogger, error: (message: string) => void errors.push(message) };
  const locatorRange = parseCidr('100.64.0.0/10');
  const options = { remotes: [server.remote], host: 'h1', version: '0.2.0', locatorRange, logger };
  directory = new Directory({ ...options, extent });
  directory.start();
  await directory.whenReady();
}
afterEach(async () => {
  directory?.stop();
  await server?.stop();
});

/** As the driver does it, and whoever describes what Docker says of the container. */
async function startContainer(): Promise<void> {
  await run(directory, (context) => insertPool(context, POOL));
  const poolIds = [poolIdOf(POOL.tenant, POOL.cidr)];
  const plain = {
    tenant: 'default',
    internal: false,
    gateway: undefined,
    ipam: 'docker',
    mtu: 1500,
    options: {},
  } as const;
  await run(directory, (context) => insertNetwork(context, { id: NETWORK, ...plain, poolIds }));
  await directory.follow({ network: NETWORK });
  const [address, mac] = [parseIpv4('10.0.0.2'), 0x024200000002 as Mac];
  await run(directory, (context) =>
    insertEndpoint(context, { id: ENDPOINT, networkId: NETWORK, address, mac, interfaceName: 'eth' }),
  );
}
const describeContainer = () =>
  run(directory, (context) => updateEndpoint(context, ENDPOINT, { containerName: 'web', labels: LABELS }));
const tellSwitch = () => run(directory, (context) => planSwitch(context, { generation: 1, backups: [], profile: 'p' }));

async function seen(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries === 1_000) throw new Error(`after five seconds it is not so that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.each(['everything', 'needed'] as const)(
  'an older one (followed: %s) is used with what it has, and with the rest once it is converted',
  async (extent) => {
    await begin(PUBLISHED_FIRST, extent);
    await startContainer();
    await describeContainer();
    expect(directory.view.endpoint(ENDPOINT)).toMatchObject({ containerName: 'web', labels: new Map() });
    expect(directory.view.host('h1')?.version).toBeUndefined();
    // What it cannot hold, and what is more than a description, is refused: nobody is to believe that it is so.
    await expect(tellSwitch()).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the directory is of version 1.2.0, and has no Switch yet: upgrade the plugin on the servers',
    });
    await expect(run(directory, (context) => setDefaultDeny(context, NETWORK, true))).rejects.toThrow(
      'has no Network.default_deny yet',
    );

    const connected = jest.fn();
    directory.onConnected(connected);
    await runTool(['ovsdb-client', 'convert', server.remote, DIRECTORY_SCHEMA_FILE]);
    await seen('the directory is there again', () => directory.connected && connected.mock.calls.length > 0);
    await seen('the host tells its version', () => directory.view.host('h1')?.version === '0.2.0');
    await describeContainer();
    await tellSwitch();
    await run(directory, (context) => setDefaultDeny(context, NETWORK, true));
    const policy = { name: 'p', action: 'deny', from: 'a', to: 'b', protocol: undefined, ports: [] } as const;
    await run(directory, (context) => insertPolicy(context, policy, undefined));
    expect(directory.view.endpoint(ENDPOINT)?.labels).toEqual(LABELS);
    expect(directory.view.switchOf('h1')?.profile).toBe('p');
    expect(directory.view.network(NETWORK)?.isDefaultDeny).toBe(true);
    expect(directory.view.policies()).toHaveLength(1);
    expect(errors).toEqual([]);
  },
);

test('what is written while the database is converted is written, and once', async () => {
  // A member of a cluster cancels what is under way.
  await begin(PUBLISHED_FIRST, 'everything', true);
  let isConverted = false;
  let count = 0;
  const write = async () => {
    while (!isConverted) {
      const cidr = parseCidr(`10.${Math.floor(count / 256)}.${count % 256}.0/24`);
      count += 1;
      await run(directory, (context) => insertPool(context, { ...POOL, cidr }));
    }
  };
  const writers = Array.from({ length: 16 }, write);
  await runTool(['ovsdb-client', 'convert', server.remote, DIRECTORY_SCHEMA_FILE]);
  isConverted = true;
  await Promise.all(writers);
  await seen('the directory is there again', () => directory.connected);
  expect([...directory.view.pools()]).toHaveLength(count);
  expect(errors).toEqual([]);
});

test.each(['everything', 'needed'] as const)(
  'a later one (followed: %s) is used without what is new in it, which stays',
  async (extent) => {
    const later = JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as Schema;
    later.version = '1.99.0';
    later.tables['Endpoint']!.columns['mood'] = { type: { key: 'string', min: 0, max: 1 } };
    later.tables['Planet'] = { columns: { name: { type: 'string' } }, isRoot: true };
    await begin(later, extent);
    await startContainer();
    const client = new OvsdbClient({ remotes: [server.remote], database: DIRECTORY_DATABASE });
    client.start();
    try {
      await client.whenReady();
      const { uuid } = directory.view.endpoint(ENDPOINT)!;
      await client.transact([update('Endpoint', isRow(uuid), { mood: 'good' })]);
      await describeContainer();
      await tellSwitch();
      const [{ rows } = {}] = await client.transact([select('Endpoint', isRow(uuid), ['mood', 'container_name'])]);
      expect(rows).toEqual([{ mood: 'good', container_name: 'web' }]);
      expect(errors).toEqual([]);
    } finally {
      client.stop();
    }
  },
);
