// What a host does about its part in the cluster, as its own Host row has it.
import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { ALONE, PUT_OUT, type DirectoryServer, type MemberStatus } from '../../src/cluster/directory-server';
import { readCluster, writeCluster, type ClusterFacts } from '../../src/cluster/files';
import type { Front } from '../../src/cluster/front';
import { planFirst, planPromotion } from '../../src/cluster/membership';
import { beAlone, remotesOf, ServerRole } from '../../src/cluster/server-role';
import { DIRECTORY_REMOTE } from '../../src/directory/directory';
import { planOwnHost } from '../../src/directory/own-host';
import type { Ops, PlanContext } from '../../src/directory/store';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const OWN = '0000020000000001';
const OTHER = '0000020000000002';
const RANGE = parseCidr('100.64.0.0/10');

let folder: string;
let store: MemoryDirectory;
let done: string[];
let present: string;
let remote: string | undefined;
let status: MemberStatus | undefined;
let role: ServerRole;
const roles: ServerRole[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'role-'));
  store = createMemoryDirectory({ host: 'h1', database: createMemoryDatabase() });
  done = [];
  present = ALONE;
  remote = DIRECTORY_REMOTE;
  status = undefined;
});
afterEach(() => {
  roles.splice(0).forEach((each) => each.stop());
  rmSync(folder, { recursive: true });
});

const server = {
  whenUp: () => Promise.resolve(),
  clusterId: () => Promise.resolve(present),
  status: () => Promise.resolve(status),
  create: (own: string) => {
    done.push(`create ${own}`);
    present = 'the-id';
    return Promise.resolve();
  },
  join: (clusterId: string, own: string, others: readonly string[]) => {
    done.push(`join ${clusterId} ${own} ${others.join()}`);
    present = clusterId;
    return Promise.resolve();
  },
  clear: () => {
    done.push('clear');
    present = ALONE;
    return Promise.resolve();
  },
} as unknown as DirectoryServer;

function factsOf(changes: Partial<ClusterFacts> & { key?: string } = {}): ClusterFacts {
  const { key, ...rest } = changes;
  return {
    address: parseIpv4('127.0.0.1'),
    site: 'default',
    tunnel: { endpoint: undefined, l2: 'auto' },
    datapathId: OWN,
    locatorRange: RANGE,
    clusterId: undefined,
    servers: [
      { address: parseIpv4('127.0.0.1'), datapathId: OWN, certificates: [], site: 'default' },
      { address: parseIpv4('192.0.2.2'), datapathId: OTHER, certificates: [], site: 'default' },
    ],
    authority: { certificate: 'ca', key },
    identity: { certificate: 'own', key: 'own-key' },
    ...rest,
  };
}

function start(facts: ClusterFacts, clock = systemClock): ServerRole {
  writeCluster(join(folder, 'cluster'), facts);
  role = new ServerRole({
    folder: join(folder, 'cluster'),
    facts,
    store,
    server,
    members: join(folder, 'members'),
    createFront: () => ({ start: () => Promise.resolve(), stop: () => undefined }) as unknown as Front,
    setRemotes: (remotes) => void done.push(remotes.join(' ')),
    remote: () => remote,
    restart: () => void done.push('restart'),
    logger: silentLogger,
    clock,
  });
  roles.push(role);
  return role;
}

const run = (make: (context: PlanContext) => Ops) =>
  store.transact((context) => ({ ops: make(context), result: undefined }));
const onDisk = () => readCluster(join(folder, 'cluster'))!;

describe('before the directory is there', () => {
  test('the first server’s database becomes a member, once', async () => {
    await start(factsOf({ key: 'ca-key' })).prepare();
    expect(done).toEqual([`create ${OWN}`]);
    expect(onDisk().clusterId).toBe('the-id');
    await start(onDisk()).prepare();
    expect(done).toHaveLength(1);
  });

  test.each([
    ['alone', ALONE, []],
    ['of another cluster', 'another-id', ['clear']],
    ['put out while its row is a server’s', PUT_OUT, ['clear']],
  ])('a server whose database is %s joins the others', async (_, before, first) => {
    present = before;
    await start(factsOf({ key: 'ca-key', clusterId: 'the-id' })).prepare();
    expect(done).toEqual([...first, `join the-id ${OWN} ${OTHER}`]);
  });

  test('a database that is gone, with nobody to have it from, is told and not made anew', async () => {
    const [own] = factsOf().servers;
    const only = factsOf({ key: 'ca-key', clusterId: 'the-id', servers: [own!] });
    await expect(start(only).prepare()).rejects.toThrow('the database of the cluster is gone from this host');
    expect(done).toEqual([]);
  });

  test('a client, or a host alone, keeps nothing of a cluster in its own database', async () => {
    present = 'the-id';
    await start(factsOf()).prepare();
    expect(done).toEqual(['clear']);
    await beAlone(server);
    expect(done).toEqual(['clear']);
    await beAlone({ ...server, whenUp: () => Promise.reject(new Error('it does not start')) } as DirectoryServer);
    expect(done).toEqual(['clear', 'clear']);
  });
});

describe('with the directory', () => {
  const turn = () => new Promise((resolve) => setTimeout(resolve, 20));

  beforeEach(async () => {
    await run((c) => planOwnHost(c, { locatorRange: RANGE, address: parseIpv4('127.0.0.1') }, () => 0.1));
    await run((c) => planFirst(c, { address: parseIpv4('127.0.0.1'), fingerprint: 'a'.repeat(64) }));
  });

  test('who the servers are is kept for the next start', async () => {
    start(factsOf({ key: 'ca-key', clusterId: 'the-id' })).follow();
    await turn();
    expect(onDisk().servers).toMatchObject([{ address: parseIpv4('127.0.0.1'), certificates: ['a'.repeat(64)] }]);
    expect(done).toEqual([remotesOf(role.facts).join(' ')]);
  });

  test('its own address, where it was, and its endpoint where that went with it', () => {
    const [before, address] = [parseIpv4('127.0.0.1'), parseIpv4('127.0.0.9')];
    const place = { network: { base: parseIpv4('127.0.0.0'), prefix: 8 }, device: 'eth0', isUplink: true };
    const tunnel = { endpoint: { address: before, port: 7000 }, l2: 'auto' as const };
    start(factsOf({ tunnel })).noteAddress({ address, place });
    expect(onDisk()).toMatchObject({ address, place, tunnel: { endpoint: { address, port: 7000 } } });
    const outside = { endpoint: { address: parseIpv4('203.0.113.1'), port: 7000 }, l2: 'auto' as const };
    start(factsOf({ tunnel: outside })).noteAddress({ address, place: undefined });
    expect(onDisk()).toMatchObject({ address, tunnel: outside });
    start(factsOf()).noteAddress({ address, place: undefined });
    expect(onDisk()).toMatchObject({ address, tunnel: { endpoint: undefined } });
  });

  test('what could not be written is not known either, so that it is noted again', () => {
    const before = parseIpv4('127.0.0.1');
    const next = { address: parseIpv4('127.0.0.9'), place: undefined };
    start(factsOf());
    const [home, away] = [join(folder, 'cluster'), join(folder, 'away')];
    renameSync(home, away);
    expect(() => role.noteAddress(next)).toThrow('ENOENT');
    expect(role.facts.address).toBe(before);
    expect(() => role.follow()).toThrow('ENOENT');
    expect(role.facts.servers).toHaveLength(2);
    renameSync(away, home);
    role.noteAddress(next);
    expect([role.facts.address, onDisk().address]).toEqual([next.address, next.address]);
  });

  test('a server whose row says so is a client with the next start, and has the authority’s key no more', async () => {
    start(factsOf({ key: 'ca-key', clusterId: 'the-id' })).follow();
    const { uuid } = store.view.host('h1')!;
    await run(() => [{ op: 'update', table: 'Host', where: [['_uuid', '==', uuid]], row: { is_server: false } }]);
    await turn();
    expect(done.at(-1)).toBe('restart');
    expect(onDisk()).toMatchObject({ clusterId: undefined, authority: { key: undefined } });
  });

  test('what it knew last is nothing to go by', async () => {
    start(factsOf({ key: 'ca-key', clusterId: 'the-id' }));
    store.setAway(true);
    const before = onDisk();
    role.follow();
    await turn();
    expect([onDisk(), done]).toEqual([before, []]);
    store.setAway(false);
    await turn();
    expect(done).toEqual([remotesOf(role.facts).join(' ')]);
  });

  test('a client that cannot get what a server needs yet tries again', async () => {
    const { uuid } = store.view.host('h1')!;
    await run(() => [{ op: 'update', table: 'Host', where: [['_uuid', '==', uuid]], row: { is_server: false } }]);
    const waits: number[] = [];
    const clock = { ...systemClock, after: (ms: number) => (waits.push(ms), () => undefined) };
    start(factsOf({ servers: [factsOf().servers[0]!] }), clock).follow();
    await run((c) => planPromotion(c, 'h1'));
    await turn();
    expect(waits).toContain(5_000);
    expect(onDisk().authority.key).toBeUndefined();
  });

  test('a server that goes by another’s database goes back to its own when that is well', async () => {
    const timers: (() => void)[] = [];
    const clock = { ...systemClock, after: (_ms: number, call: () => void) => (timers.push(call), () => undefined) };
    remote = 'ssl:192.0.2.2:7470';
    start(factsOf({ key: 'ca-key', clusterId: 'the-id' }), clock).follow();
    await turn();
    done.length = 0;
    status = { isMember: true, members: [OWN], leader: undefined };
    timers.at(-1)!();
    await turn();
    expect(done).toEqual([]);
    status = { isMember: true, members: [OWN], leader: OWN };
    timers.at(-1)!();
    await turn();
    expect(done).toEqual([DIRECTORY_REMOTE, remotesOf(role.facts).join(' ')]);
  });
});
