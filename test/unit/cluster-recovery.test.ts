// What is decided before a cluster begins anew: what a backup has to be, whose it is, and when there is nothing to recover.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { showBackup, type ShownBackup } from '../../src/cluster/backup';
import type { DirectoryServer, MemberStatus } from '../../src/cluster/directory-server';
import { readCluster, type ClusterFacts } from '../../src/cluster/files';
import { Recovery } from '../../src/cluster/recovery';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const RANGE = parseCidr('100.64.0.0/10');
const ADDRESS = parseIpv4('192.0.2.1');
const OWN = '0000020000000001';
const UUID = 'aaaaaaaa-0000-0000-0000-000000000001';
const DAY_MS = 24 * 60 * 60 * 1000;

let authority: Identity;
let identity: Identity;
let folder: string;
let store: MemoryDirectory;
let facts: ClusterFacts | undefined;
let status: MemberStatus | undefined;
let present: string;
let recoverError: Error | undefined;
let done: string[];
let now: number;
let recovery: Recovery;

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  const { request, key } = await createRequest('host1');
  identity = { certificate: await issue(authority, request, 'host1', Date.now()), key };
});

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'recovery-')), 'cluster');
  store = createMemoryDirectory({ database: createMemoryDatabase() });
  facts = undefined;
  status = undefined;
  present = 'the-id';
  recoverError = undefined;
  done = [];
  now = Date.now();
  const server = {
    status: () => Promise.resolve(status),
    restore: (content: string, own: string) => Promise.resolve(void done.push(`restore ${own}`, content)),
    clusterId: () => Promise.resolve(present),
    whenLed: () => Promise.resolve(void done.push('led')),
    recover: (own: string) => {
      done.push(`recover ${own}`);
      return recoverError === undefined ? Promise.resolve() : Promise.reject(recoverError);
    },
  } as unknown as DirectoryServer;
  recovery = new Recovery({
    folder,
    facts: () => facts,
    writeFacts: (next) => void (facts = next),
    store,
    server,
    socketPath: join(folder, 'none'),
    refuseNetworks: () => void done.push('looked for networks'),
    now: () => now,
    restart: () => void done.push('restart'),
    logger: silentLogger,
  });
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

const certificates = () => fingerprintOf(identity.certificate);

function backup(row: object = {}, changes: object = {}, version = '1.0.0'): ShownBackup {
  const host = {
    name: 'host1',
    datapath_id: OWN,
    address: '192.0.2.1',
    certificates: certificates(),
    site: '',
    ...row,
  };
  const directory = {
    schema: { name: 'DaoliNet', version, tables: { Host: { columns: {} } } },
    tables: { Host: { [UUID]: host } },
  };
  const made = { host: 'host1', made: '2026-11-28T12:00:00.000Z', directory: directory as never };
  return { ...showBackup({ locatorRange: RANGE, authority, identity }, made), ...changes };
}

function factsOf(servers: readonly string[]): ClusterFacts {
  return {
    address: ADDRESS,
    site: 'default',
    tunnel: { endpoint: undefined, l2: 'auto' },
    datapathId: OWN,
    locatorRange: RANGE,
    clusterId: 'the-id',
    servers: servers.map((datapathId, index) => {
      return { address: parseIpv4(`192.0.2.${index + 1}`), datapathId, certificates: [], site: 'default' };
    }),
    authority,
    identity,
  };
}

describe('a backup', () => {
  test('is taken up by the host that it is of: with its certificate, alone, as another cluster', async () => {
    await recovery.restore(backup(), undefined);
    expect([done[0], done[1], done.at(-1)]).toEqual(['looked for networks', `restore ${OWN}`, 'restart']);
    expect(done[2]).toMatch(/^OVSDB JSON \d+ [0-9a-f]{40}\n\{"name":"DaoliNet"/);
    expect(readCluster(folder)).toMatchObject({
      address: ADDRESS,
      datapathId: OWN,
      clusterId: undefined,
      servers: [{ address: ADDRESS, datapathId: OWN, certificates: [certificates()] }],
      authority,
      identity,
    });
  });

  test('of another host gives it a certificate of the cluster', async () => {
    await recovery.restore(backup({ address: ['set', []] }, { host: 'h2' }), parseIpv4('192.0.2.9'));
    const written = readCluster(folder)!;
    expect(written.identity.certificate).not.toBe(identity.certificate);
    expect(written.servers).toMatchObject([
      { address: parseIpv4('192.0.2.9'), certificates: [fingerprintOf(written.identity.certificate)] },
    ]);
    expect(done[2]).toContain(fingerprintOf(written.identity.certificate));
  });

  test('that is old has a certificate that is over: another is made', async () => {
    now += 40 * DAY_MS;
    await recovery.restore(backup(), undefined);
    expect(readCluster(folder)?.identity.certificate).not.toBe(identity.certificate);
  });

  test.each(['1.2.0', '1.99.0'])('of version %s, as its cluster has it, is restored as it is', async (version) => {
    await recovery.restore(backup({}, {}, version), undefined);
    expect(done[2]).toContain(`"version":"${version}"`);
  });

  test.each<[string, () => ShownBackup, RegExp]>([
    ['of something else', () => ({ ...backup(), format: 'x' as never }), /format: "x" is not "daolinet-backup-1"/],
    ['of another major version', () => backup({}, {}, '2.0.0'), /another major version .*2\.0\.0.*: restore it with/],
    ['without this host', () => backup({ name: 'h7' }), /no host host1; it has h7: give this host the name/],
    ['without an address', () => backup({ address: ['set', []] }), /does not know its address: say it with --address/],
  ])('%s is refused', async (_what, make, message) => {
    await expect(recovery.restore(make(), undefined)).rejects.toThrow(message);
    expect(done.filter((each) => each.startsWith('restore'))).toEqual([]);
    expect(readCluster(folder)).toBeUndefined();
  });

  test.each(['127.0.0.1', '100.64.7.7', '224.0.0.1'])(
    'is not taken up at %s, where no other host reaches it',
    async (text) => {
      const said = recovery.restore(backup(), parseIpv4(text));
      await expect(said).rejects.toThrow(`no other host could reach this one at ${text}`);
      expect([done.filter((each) => each.startsWith('restore')), readCluster(folder)]).toEqual([[], undefined]);
    },
  );

  test('is not taken up while the directory is there, nor made while it is away, or by a client', async () => {
    facts = factsOf([OWN]);
    await expect(recovery.restore(backup(), undefined)).rejects.toThrow('nothing is to be restored');
    store.setAway(true);
    await expect(recovery.backup()).rejects.toThrow('the directory is away');
    facts = { ...facts, authority: { ...authority, key: undefined } };
    await expect(recovery.backup()).rejects.toThrow('only servers of the cluster make backups');
  });
});

describe('one server that is left', () => {
  test('does not go on alone while most of them are there, nor without naming the others', async () => {
    facts = factsOf([OWN, '0000020000000002', '0000020000000003']);
    status = { isMember: true, members: [], leader: OWN };
    await expect(recovery.recover(['x'])).rejects.toThrow('most of the servers are there');
    status = { ...status, leader: undefined };
    const message = 'the other servers are 192.0.2.2, 192.0.2.3: where they are lost for good, say --without';
    await expect(recovery.recover(['192.0.2.2'])).rejects.toThrow(message);
    expect([done, facts.clusterId]).toEqual([[], 'the-id']);
  });

  test('forgets the cluster that was before anything else, and the other servers with it', async () => {
    facts = factsOf([OWN, '0000020000000002']);
    await expect(recovery.recover(['192.0.2.2'])).rejects.toThrow('not connected'); // there is no server here
    // Its agent starts anew all the same: the database is another.
    expect(done).toEqual([`recover ${OWN}`, 'led', 'restart']);
    expect(facts).toMatchObject({ clusterId: undefined, servers: [{ datapathId: OWN }] });
    expect(facts.servers).toHaveLength(1);
  });

  test('that cannot go on alone knows the others still, where its database is what it was', async () => {
    const before = factsOf([OWN, '0000020000000002']);
    facts = before;
    recoverError = new Error('the database of the directory did not come back');
    await expect(recovery.recover(['192.0.2.2'])).rejects.toThrow('did not come back');
    expect(facts).toEqual(before);
    present = 'another-id';
    await expect(recovery.recover(['192.0.2.2'])).rejects.toThrow('did not come back');
    expect(facts.servers).toHaveLength(1);
    expect(done).not.toContain('restart');
  });
});
