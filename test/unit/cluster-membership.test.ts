// Who comes in, and what is left of who is put out. What stands on disk, and what is typed to join.
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { readCluster, removeCluster, writeCluster, writeFacts, type ClusterFacts } from '../../src/cluster/files';
import {
  planCertificates,
  planDemotion,
  planFirst,
  planJoin,
  planPromotion,
  planRemoval,
  planToken,
  TOKEN_LIFE_MS,
  type Newcomer,
} from '../../src/cluster/membership';
import { formatToken, newSecret, parseToken } from '../../src/cluster/token';
import * as endpoints from '../../src/directory/endpoint-operations';
import { holdPool } from '../fakes/directory-contract';
import * as networks from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { planTunnel } from '../../src/directory/tunnel-operations';
import {
  createMemoryDatabase,
  createMemoryDirectory,
  DIRECTORY_SCHEMA_FILE,
  type MemoryDirectory,
} from '../fakes/memory-directory';

const RANGE = parseCidr('100.64.0.0/10');
let now: number;
let database: ReturnType<typeof createMemoryDatabase>;
let server: MemoryDirectory;
let secret: string;

beforeEach(async () => {
  now = 1_700_000_000_000;
  database = createMemoryDatabase();
  server = createMemoryDirectory({ host: 'h1', database, wallClock: () => now });
  secret = newSecret();
  await run((c) => [
    ...planFirst(c, { address: parseIpv4('192.0.2.1'), fingerprint: 'a'.repeat(64) }),
    ...planToken(c, secret),
  ]);
});

function run(make: (context: PlanContext) => Ops, store = server): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

function newcomer(changes: Partial<Newcomer> = {}): Newcomer {
  const name = changes.name ?? 'h2';
  const number = Number(name.slice(1));
  return {
    name,
    address: parseIpv4(`192.0.2.${number}`),
    site: 'default',
    isHub: false,
    digest: 'd'.repeat(64),
    encrypts: undefined,
    endpoint: { address: parseIpv4(`192.0.2.${number}`), port: 7471 },
    routerMac: parseMac(`02:00:00:00:00:0${number}`),
    datapathId: `000002000000000${number}`,
    secret,
    now,
    ...changes,
  };
}

const letIn = (who: Newcomer) => run((c) => planJoin(c, who, who.name.padEnd(64, 'f'), RANGE));

describe('joining', () => {
  test('a host with the token is in, with a block of its own; the token is used up', async () => {
    await letIn(newcomer());
    expect(server.view.host('h2')).toMatchObject({
      address: parseIpv4('192.0.2.2'),
      certificates: ['h2'.padEnd(64, 'f')],
      isServer: false,
      locatorBlocks: [parseCidr('100.64.1.0/24')],
    });
    await expect(letIn(newcomer({ name: 'h3' }))).rejects.toThrow('it was used, or another was made since');
  });

  test('two hosts with one token at the same moment: one is in', async () => {
    const results = await Promise.allSettled([letIn(newcomer()), letIn(newcomer({ name: 'h3' }))]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect([...server.view.hosts()]).toHaveLength(2);
  });

  test.each<[string, Partial<Newcomer>, string]>([
    ['another secret', { secret: 'x'.repeat(24) }, 'the token is none of this cluster’s'],
    [
      'a clock that is behind',
      { now: 1_700_000_000_000 - 3 * 3_600_000 },
      'the clock of h2 is 180 min behind the cluster’s',
    ],
    ['a clock that is before', { now: 1_700_000_000_000 + 600_000 }, 'the clock of h2 is 10 min before the cluster’s'],
    ['a name that is taken', { name: 'h1', address: parseIpv4('192.0.2.9') }, 'daolictl host rm h1'],
    ['an address that is taken', { address: parseIpv4('192.0.2.1') }, '192.0.2.1 is the address of host h1'],
  ])('%s is refused, and the token stays good', async (_, changes, message) => {
    await expect(letIn(newcomer(changes))).rejects.toThrow(message);
    await letIn(newcomer());
  });

  test('a host of the cluster comes again, with another certificate and address, and keeps what it has', async () => {
    await letIn(newcomer());
    const before = server.view.host('h2');
    secret = newSecret();
    await run((c) => planToken(c, secret));
    const again = { isProven: true, address: parseIpv4('192.0.2.9') };
    const other = newcomer({ ...again, datapathId: '00000200000000ff' });
    await expect(letIn(other)).rejects.toThrow('a host h2 is in the cluster already');
    await run((c) => planJoin(c, newcomer(again), 'e'.repeat(64), RANGE));
    const address = parseIpv4('192.0.2.9');
    expect(server.view.host('h2')).toEqual({ ...before, address, certificates: ['e'.repeat(64)] });
    expect([...server.view.joinTokens()]).toEqual([]);
  });

  test('a server does not come again before it was made a client: it has the directory', async () => {
    const own = server.view.host('h1')!;
    const { routerMac, datapathId } = own;
    const again = newcomer({ name: 'h1', isProven: true, routerMac, datapathId });
    await expect(letIn(again)).rejects.toThrow('demote it first with `daolictl cluster demote h1`');
    expect(server.view.host('h1')).toEqual(own);
    expect([...server.view.joinTokens()]).toHaveLength(1);
  });

  test('a token is good for a day, and until the next one is made', async () => {
    now += TOKEN_LIFE_MS;
    await expect(letIn(newcomer())).rejects.toThrow('the token expired');
    const [old, next] = [secret, newSecret()];
    await run((c) => planToken(c, next));
    await expect(letIn(newcomer({ secret: old }))).rejects.toThrow('the token is none of this cluster’s');
    expect([...server.view.joinTokens()]).toHaveLength(1);
    await letIn(newcomer({ secret: next }));
  });
});

describe('servers', () => {
  const servers = () => [...server.view.hosts()].flatMap(({ name, isServer }) => (isServer ? [name] : [])).sort();
  const join = async (name: string) => {
    secret = newSecret();
    await run((c) => planToken(c, secret));
    await letIn(newcomer({ name, secret }));
  };

  test('one of two hosts, three of three, and three of more; a place that is free is taken by the next that joins', async () => {
    await join('h2');
    expect(servers()).toEqual(['h1']);
    await join('h3');
    expect(servers()).toEqual(['h1', 'h2', 'h3']);
    await join('h4');
    expect(servers()).toEqual(['h1', 'h2', 'h3']);
    await run((c) => planDemotion(c, 'h2'));
    await run((c) => planRemoval(c, 'h4'));
    await run((c) => planRemoval(c, 'h2'));
    expect(servers()).toEqual(['h1', 'h3']);
    await join('h5');
    expect(servers()).toEqual(['h1', 'h3', 'h5']);
  });

  test('who was made a client stays one: the newcomer takes the place', async () => {
    for (const name of ['h2', 'h3', 'h4']) await join(name);
    await run((c) => planDemotion(c, 'h2'));
    await join('h5');
    expect(servers()).toEqual(['h1', 'h3', 'h5']);
  });

  test('more of them by promotion, up to five', async () => {
    for (const name of ['h2', 'h3', 'h4', 'h5', 'h6']) await join(name);
    for (const name of ['h4', 'h5', 'h5']) await run((c) => planPromotion(c, name));
    expect(servers()).toEqual(['h1', 'h2', 'h3', 'h4', 'h5']);
    await expect(run((c) => planPromotion(c, 'h6'))).rejects.toThrow('h1, h2, h3, h4, h5 serve the directory already');
    await expect(run((c) => planPromotion(c, 'h9'))).rejects.toThrow('there is no host h9; there are h1, h2');
  });

  test('not itself, and none that is no server, is made a client', async () => {
    await join('h2');
    await expect(run((c) => planDemotion(c, 'h1'))).rejects.toThrow('promote another first');
    await expect(run((c) => planDemotion(c, 'h2'))).rejects.toThrow('host h2 is no server');
    await join('h3');
    await expect(run((c) => planDemotion(c, 'h1'))).rejects.toThrow('do it on h2 or h3');
  });
});

test('the next certificate stands beside the one that a host has, and then alone', async () => {
  await letIn(newcomer());
  const [one, two] = ['1'.repeat(64), '2'.repeat(64)];
  await run((c) => planCertificates(c, 'h2', [one, two]));
  expect([...(server.view.host('h2')?.certificates ?? [])].sort()).toEqual([one, two]);
  await run((c) => planCertificates(c, 'h2', [two]));
  expect(server.view.host('h2')?.certificates).toEqual([two]);
  await expect(run((c) => planCertificates(c, 'h9', []))).rejects.toMatchObject({ code: 'not-found' });
});

describe('putting a host out', () => {
  const POOL = 'red/10.1.0.0/24' as PoolId;
  const ids = ['a', 'b'].map((digit) => digit.repeat(64) as NetworkId) as [NetworkId, NetworkId];

  /** A network of the other host, which this one has too, one of its own alone, and an endpoint in each. */
  async function fill(other: MemoryDirectory): Promise<void> {
    const base = { internal: false, gateway: undefined, mtu: 1500, options: {} };
    await run((c) => networks.insertPool(c, { tenant: 'red', cidr: parseCidr('10.1.0.0/24') }), other);
    await run(
      (c) => networks.insertNetwork(c, { ...base, id: ids[0], tenant: 'red', ipam: 'daolinet', poolIds: [POOL] }),
      other,
    );
    const newPools = [{ cidr: parseCidr('10.2.0.0/24') }];
    await run(
      (c) => networks.insertNetwork(c, { ...base, id: ids[1], tenant: 'red', ipam: 'docker', newPools }),
      other,
    );
    await run((c) => holdPool(c, c.view.pool(POOL)!));
    await run((c) => networks.insertReplica(c, c.view.network(ids[0])!, 'd'.repeat(64)));
    for (const [n, networkId] of ids.entries()) {
      const [id, address] = [`e${n}` as EndpointId, parseIpv4(`10.${n + 1}.0.5`)];
      const endpoint = { id, networkId, address, mac: parseMac(`02:00:00:00:01:0${n}`), interfaceName: `dl${n}` };
      await run((c) => endpoints.insertEndpoint(c, endpoint), other);
      const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 80 + n, containerPort: 80 } as const;
      await run((c) => endpoints.publishPorts(c, id, [port]), other);
    }
  }

  test('takes all that it had, and leaves what others have', async () => {
    await letIn(newcomer());
    const h2 = createMemoryDirectory({ host: 'h2', database });
    await fill(h2);
    await run((c) => planTunnel(c, { key: `${'a'.repeat(42)}A=`, port: 7471, endpoint: undefined, noL2: false }), h2);
    await run((c) => planRemoval(c, 'h2'));
    const { view } = server;
    expect([...view.tunnels()]).toEqual([]);
    expect([...view.hosts()].map(({ name }) => name)).toEqual(['h1']);
    expect([...view.networks()].map(({ id }) => id)).toEqual([ids[0]]);
    expect([...view.pools()].map(({ id, holders }) => [id, holders])).toEqual([[POOL, ['h1']]]);
    expect([...view.endpoints(), ...view.publishedPorts()]).toEqual([]);
    expect([...database.table('Address')]).toEqual([]);
    expect([...database.table('LocatorBlock')]).toHaveLength(1);
  });

  test('takes what is no row for us, too: nothing of it stands in the way of its end', async () => {
    await letIn(newcomer());
    await fill(createMemoryDirectory({ host: 'h2', database }));
    const host = server.view.host('h2')!.uuid;
    const row = { host, port: 7471, no_l2: false, key: 'x'.repeat(44) };
    expect(() => database.transact([{ op: 'insert', table: 'Tunnel', row } as never])).toThrow('is left out');
    await run((c) => planRemoval(c, 'h2'));
    expect([...database.table('Tunnel')]).toEqual([]);
    expect(server.view.host('h2')).toBeUndefined();
  });

  test('knows every table of the schema that has rows of hosts', async () => {
    await letIn(newcomer());
    let ops: Ops = [];
    await run((c) => ((ops = planRemoval(c, 'h2')), []));
    const { tables } = JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as {
      tables: Record<string, { columns: Record<string, unknown> }>;
    };
    const owned = Object.keys(tables).filter((table) => tables[table]?.columns['host'] !== undefined);
    expect(ops.map(({ op, ...rest }) => [op, 'table' in rest && rest.table])).toEqual(
      expect.arrayContaining(owned.map((table) => ['delete', table])),
    );
  });

  test('leaves a network of a swarm, whose configuration nobody else has yet', async () => {
    await letIn(newcomer());
    const other = createMemoryDirectory({ host: 'h2', database });
    for (const [n, id] of ids.entries()) {
      const base = { id, tenant: 'red', internal: false, gateway: undefined, mtu: 1500, options: {} };
      const newPools = [{ cidr: parseCidr(`10.${n + 1}.0.0/24`) }];
      const swarm = { id: 'swarm', name: `net-${n}`, configuration: `config-${n}` };
      await run((c) => networks.insertNetwork(c, { ...base, ipam: 'daolinet', newPools, swarm }));
      await run((c) => networks.insertReplica(c, c.view.network(id)!, `config-${n}`), other);
    }
    await run((c) => planRemoval(c, 'h2'));
    expect([...server.view.networks()].map(({ id }) => id)).toEqual(ids);
    expect([...server.view.pools()]).toHaveLength(2);
  });

  test('not this host, nor one that is not there', async () => {
    await expect(run((c) => planRemoval(c, 'h1'))).rejects.toThrow('host h1 cannot be removed by itself');
    await expect(run((c) => planRemoval(c, 'h7'))).rejects.toThrow('there is no host h7; there are h1');
  });
});

describe('the token that is typed', () => {
  const token = { server: '192.0.2.1', site: 'default', certificate: 'a'.repeat(64), secret: newSecret() };

  test('is read as it was written, one of before there were sites too', () => {
    expect(parseToken(formatToken(token))).toEqual(token);
    const outside = { ...token, site: 'dc', outside: '203.0.113.9' };
    expect(parseToken(formatToken(outside))).toEqual(outside);
    expect(parseToken(formatToken({ ...token, site: undefined } as never))).toEqual(token);
  });

  test.each([
    '',
    'x',
    'daolinet-',
    'daolinet-e30',
    formatToken(token).slice(0, -20),
    formatToken({ ...token, server: 'h1' }),
  ])('that is none says what to do (%#)', (text) => {
    expect(() => parseToken(text)).toThrow('this is no join token, or a part of one');
  });
});

describe('what stands on disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-'));
  const path = join(folder, 'cluster');
  afterAll(() => rmSync(folder, { recursive: true }));
  const facts: ClusterFacts = {
    address: parseIpv4('192.0.2.2'),
    locatorRange: RANGE,
    site: 'home',
    tunnel: { endpoint: undefined, l2: 'no' },
    datapathId: '0000020000000002',
    clusterId: undefined,
    servers: [
      {
        address: parseIpv4('192.0.2.1'),
        datapathId: '0000020000000001',
        certificates: ['a'.repeat(64), 'b'.repeat(64)],
        site: 'default',
      },
    ],
    authority: { certificate: 'ca', key: undefined },
    identity: { certificate: 'own', key: 'secret' },
  };

  test('is read as it was written, over an older state too, and is nobody else’s', () => {
    expect(readCluster(path)).toBeUndefined();
    const clusterId = 'd7aa5a6a-8b6c-4f6d-8a4e-0d6c5b1f1a11';
    writeCluster(path, { ...facts, clusterId, authority: { certificate: 'ca', key: 'ca-key' } });
    expect(readCluster(path)).toMatchObject({ clusterId, authority: { key: 'ca-key' } });
    writeCluster(path, facts);
    expect(readCluster(path)).toEqual(facts);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(path)) expect(statSync(join(path, name)).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['cluster']);
  });

  test('where a server is seen from outside, and this host’s own endpoint, are read as they were written', () => {
    const servers = [{ ...facts.servers[0]!, site: 'dc', outside: parseIpv4('203.0.113.9') }];
    const tunnel = { endpoint: { address: parseIpv4('203.0.113.7'), port: 7000 }, l2: 'yes' } as const;
    writeFacts(path, { ...facts, servers, tunnel });
    expect(readCluster(path)).toEqual({ ...facts, servers, tunnel });
    writeFacts(path, facts);
  });

  test('a folder of before there were sites is of the default one, and reached at its address', () => {
    const file = join(path, 'cluster.json');
    const old = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown> & {
      servers: Record<string, unknown>[];
    };
    delete old['site'];
    delete old['tunnel'];
    for (const server of old.servers) delete server['site'];
    writeFileSync(file, JSON.stringify(old));
    const tunnel = { endpoint: { address: facts.address, port: 7471 }, l2: 'auto' };
    expect(readCluster(path)).toEqual({ ...facts, site: 'default', tunnel });
    writeFacts(path, facts);
  });

  test('who the servers are can change alone', () => {
    const servers = [{ ...facts.servers[0]!, certificates: ['c'.repeat(64)] }];
    writeFacts(path, { ...facts, servers });
    expect(readCluster(path)).toEqual({ ...facts, servers });
    expect(readdirSync(path)).toHaveLength(4);
  });

  test.each(['.cluster.new', '.cluster.old'])('is found where the end of the process left it (%s)', (name) => {
    writeCluster(path, facts);
    renameSync(path, join(folder, name));
    expect(readCluster(path)).toEqual(facts);
    expect(readdirSync(folder)).toEqual(['cluster']);
  });

  test('that is damaged is told, with what to do', () => {
    writeFileSync(join(path, 'cluster.json'), '{');
    expect(() => readCluster(path)).toThrow('remove it, and let this host join its cluster anew');
    removeCluster(path);
    expect(readCluster(path)).toBeUndefined();
  });
});
