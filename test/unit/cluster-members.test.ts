// The servers' databases: what this host's own ovsdb-server says and is told, and the way from one to another.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { ALONE, DirectoryServer, parseMemberStatus, PUT_OUT } from '../../src/cluster/directory-server';
import type { KnownServer } from '../../src/cluster/files';
import { certificateOf, Front } from '../../src/cluster/front';
import { MemberLinks } from '../../src/cluster/member-links';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { createMemoryDirectory } from '../fakes/memory-directory';

let folder: string;
const servers: Server[] = [];
const sockets: Socket[] = [];

beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'members-'))));
afterEach(() => {
  sockets.splice(0).forEach((socket) => socket.destroy());
  servers.splice(0).forEach((server) => server.close());
  rmSync(folder, { recursive: true });
});

function listen(path: string, onConnection: (socket: Socket) => void): Promise<void> {
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    onConnection(socket);
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(path, resolve));
}

describe('what a member says of itself', () => {
  // As ovsdb-server 3.5 prints it.
  const STATUS = (role: string) => `0000020000000001
Name: DaoliNet
Cluster ID: 18a2 (18a24e8b-76b5-4f7e-8511-66010ac4206c)
Server ID: 9b97 (9b97e2a7-d711-44c8-8dec-1acb2145f487)
Address: unix:/run/daolinet/members/0000020000000001
Status: cluster member
${role}
Election timer: 2000
Log: [2, 5]
Connections: <-0000020000000002 ->0000020000000002
Servers:
    0000020000000002 (b897 at unix:/run/daolinet/members/0000020000000002) next_index=5 match_index=4 last msg 11 ms ago
    0000020000000001 (9b97 at unix:/run/daolinet/members/0000020000000001) (self) next_index=3 match_index=4
`;
  const members = ['0000020000000002', '0000020000000001'];

  test.each([
    ['it is the leader', 'Role: leader\nTerm: 2\nLeader: self\nVote: self', '0000020000000001'],
    ['another is', 'Role: follower\nTerm: 2\nLeader: 0000020000000002\nVote: unknown', '0000020000000002'],
    ['none is known', 'Role: candidate\nTerm: 3\nLeader: unknown\nVote: self', undefined],
  ])('%s', (_, role, leader) => {
    expect(parseMemberStatus(STATUS(role))).toEqual({ isMember: true, members, leader });
  });

  test('it was put out', () => {
    const text = STATUS('Role: follower\nTerm: 2\nLeader: unknown').replace('cluster member', 'left cluster');
    expect(parseMemberStatus(text).isMember).toBe(false);
  });
});

describe('this host’s own ovsdb-server', () => {
  const asked: string[] = [];
  let clusterId: string | undefined;
  let databases: string;
  let server: DirectoryServer;

  beforeEach(async () => {
    asked.length = 0;
    clusterId = undefined;
    databases = 'DaoliNet\n_Server';
    const paths = {
      control: join(folder, 'ctl'),
      plan: join(folder, 'plan'),
      members: '/m',
      restored: join(folder, 'restored'),
    };
    server = new DirectoryServer(paths, systemClock);
    await listen(paths.control, (socket) =>
      socket.on('data', (data: Buffer) => {
        const { id, method, params } = JSON.parse(String(data)) as { id: unknown; method: string; params: string[] };
        asked.push([method, ...params].join(' '));
        // The supervisor does what is written down when the server has ended.
        if (method === 'exit') clusterId = readFileSync(paths.plan, 'utf8').startsWith('new') ? undefined : 'the-id';
        if (method === 'exit') return void socket.destroy();
        if (method === 'ovsdb-server/list-dbs')
          return void socket.write(JSON.stringify({ id, result: databases, error: null }));
        const line = (member: string, host: number) =>
          `    000002000000000${host} (${member} at unix:/m/000002000000000${host})\n`;
        const status = `Status: cluster member\nServers:\n${line('aaaa', 1)}${line('bbbb', 2)}${line('cccc', 2)}`;
        const answer = method === 'cluster/cid' ? clusterId : status;
        const error = clusterId === undefined ? 'not a valid clustered database' : null;
        socket.write(JSON.stringify({ id, result: error === null ? answer : null, error }));
      }),
    );
  });

  test('alone, then the first of a cluster, then alone again', async () => {
    expect([await server.clusterId(), await server.status()]).toEqual([ALONE, undefined]);
    await server.create('0000020000000001');
    expect(readFileSync(join(folder, 'plan'), 'utf8')).toBe('create - unix:/m/0000020000000001\n');
    expect(await server.clusterId()).toBe('the-id');
    await server.clear();
    expect(readFileSync(join(folder, 'plan'), 'utf8')).toBe('new\n');
    expect(asked.filter((each) => each.startsWith('exit'))).toEqual(['exit', 'exit']);
  });

  test('one more of a cluster; another is put out', async () => {
    await server.join('the-id', '0000020000000003', ['0000020000000001', '0000020000000002']);
    expect(readFileSync(join(folder, 'plan'), 'utf8')).toBe(
      'join the-id unix:/m/0000020000000003 unix:/m/0000020000000001 unix:/m/0000020000000002\n',
    );
    await server.kick('0000020000000002');
    // One that lost its file, and came anew, is there twice.
    expect(asked.slice(-2)).toEqual(['cluster/kick DaoliNet bbbb', 'cluster/kick DaoliNet cccc']);
  });

  test('that was put out serves the database no more', async () => {
    databases = '_Server';
    expect(await server.clusterId()).toBe(PUT_OUT);
  });

  test('that does not answer is told as what it is', async () => {
    const away = new DirectoryServer(
      { control: join(folder, 'none'), plan: '/none', members: '/m', restored: '/none' },
      systemClock,
    );
    await expect(away.clusterId()).rejects.toMatchObject({ code: 'unavailable' });
    await expect(away.status()).rejects.toThrow('the directory’s ovsdb-server does not answer'.replace('’', "'"));
  });
});

describe('from one database to another', () => {
  const OWN = '0000020000000001';
  const OTHER = '0000020000000002';
  let authority: Identity;
  let near: Identity;
  let far: Identity;
  let port: number;
  let front: Front;
  let links: { near: MemberLinks; far: MemberLinks };
  let there: KnownServer;
  let here: KnownServer;

  async function identity(name: string): Promise<Identity> {
    const { request, key } = await createRequest(name);
    return { certificate: await issue(authority, request, name, Date.now()), key };
  }

  beforeEach(async () => {
    authority = await createAuthority(Date.now());
    [near, far] = [await identity('h1'), await identity('h2')];
    port = await freePort();
    const address = parseIpv4('127.0.0.1');
    here = { address, datapathId: OWN, certificates: [fingerprintOf(near.certificate)], site: 'default' };
    there = { address, datapathId: OTHER, certificates: [fingerprintOf(far.certificate)], site: 'default' };
    const common = { authority: authority.certificate, logger: silentLogger, port };
    links = {
      near: new MemberLinks({ ...common, folder: join(folder, 'near'), own: OWN, identity: near }),
      far: new MemberLinks({ ...common, folder: join(folder, 'far'), own: OTHER, identity: far }),
    };
    links.near.setMembers([here, there]);
    links.far.setMembers([here, there]);
    // The other's ovsdb-server says back what it hears.
    await listen(join(folder, 'far', OTHER), (socket) =>
      socket.on('data', (data) => socket.write(`far: ${String(data)}`)),
    );
    front = new Front({
      address: () => address,
      port,
      authority: authority.certificate,
      identity: far,
      store: createMemoryDirectory({ host: 'h2' }),
      socketPath: join(folder, 'none'),
      locatorRange: { base: parseIpv4('100.64.0.0'), prefix: 10 },
      app: (_request, response) => void response.end(),
      api: () => undefined,
      acceptMember: (socket) => {
        const isHere = here.certificates.includes(certificateOf(socket) ?? '');
        if (isHere) links.far.accept(socket, OWN);
        else socket.destroy();
      },
      acceptWords: (socket) => void socket.destroy(),
      acceptPulse: (socket) => void socket.destroy(),
      acceptOpenFlow: (socket) => void socket.destroy(),
      logger: silentLogger,
      clock: systemClock,
    });
    await front.start();
  });
  afterEach(() => {
    links.near.stop();
    links.far.stop();
    front.stop();
  });

  function say(text: string): Promise<string> {
    const socket = connect(join(folder, 'near', OTHER)).on('error', () => undefined);
    sockets.push(socket);
    return new Promise((resolve) => {
      socket.on('data', (data: Buffer) => resolve(String(data)));
      socket.on('close', () => resolve('closed'));
      socket.write(text);
    });
  }

  test('bytes go there and back, over one TLS connection each', async () => {
    expect(await say('hello')).toBe('far: hello');
  });

  test('not to somebody else at that address', async () => {
    links.near.setMembers([here, { ...there, certificates: ['f'.repeat(64)] }]);
    expect(await say('hello')).toBe('closed');
  });

  test('not from one that is no server any more; what was open ends at once', async () => {
    const open = connect(join(folder, 'near', OTHER)).on('error', () => undefined);
    sockets.push(open);
    await new Promise((resolve) => open.once('data', resolve).write('hello'));
    const ended = new Promise((resolve) => open.once('close', resolve));
    links.far.setMembers([there]);
    await ended;
    expect(await say('hello')).toBe('closed');
  });

  test('what leads to one that has another address ends, and so does all where this host has; then it goes on there', async () => {
    const opened = async () => {
      const open = connect(join(folder, 'near', OTHER)).on('error', () => undefined);
      sockets.push(open);
      await new Promise((resolve) => open.once('data', resolve).write('hello'));
      return { ended: new Promise((resolve) => open.once('close', resolve)) };
    };
    const [first, moved] = [await opened(), { ...there, address: parseIpv4('127.0.0.9') }];
    links.near.setMembers([here, moved]);
    await first.ended;
    expect(await say('hello')).toBe('closed');
    links.near.setMembers([here, there]);
    const second = await opened();
    links.near.reconnect();
    await second.ended;
    expect(await say('hello')).toBe('far: hello');
  });

  test('the way to one that is no server any more is gone, with what was on it', async () => {
    const open = connect(join(folder, 'near', OTHER)).on('error', () => undefined);
    sockets.push(open);
    await new Promise((resolve) => open.once('data', resolve).write('hello'));
    const ended = new Promise((resolve) => open.once('close', resolve));
    links.near.setMembers([here]);
    await ended;
    expect(existsSync(join(folder, 'near', OTHER))).toBe(false);
  });
});
