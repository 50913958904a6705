// The door of a server, over TLS on loopback: who comes in, by what protocol, and who is put out.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { DIRECTORY_PROTOCOLS, Front } from '../../src/cluster/front';
import { frontDeskApp, type JoinRequest } from '../../src/cluster/newcomers';
import { planCertificates, planRemoval } from '../../src/cluster/membership';
import { isRow, update } from '../../src/ovsdb/operations';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const LOOPBACK = parseIpv4('127.0.0.1');
let authority: Identity;
let own: Identity;
let folder: string;
let database: Server;
let store: MemoryDirectory;
let front: Front;
let port: number;
const asked: ((JoinRequest & { seen: Ipv4 }) | string)[] = [];
const members: (string | undefined)[] = [];
const warned: string[] = [];
const sockets: TLSSocket[] = [];

async function identity(name: string, by = authority): Promise<Identity> {
  const { request, key } = await createRequest(name);
  return { certificate: await issue(by, request, name, Date.now()), key };
}

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  own = await identity('h1');
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'front-'));
  const socketPath = join(folder, 'directory.sock');
  database = createServer((socket) =>
    socket.on('error', () => undefined).on('data', () => socket.write('{"id":1,"result":["DaoliNet"]}')),
  );
  await new Promise<void>((resolve) => database.listen(socketPath, resolve));
  const memory = createMemoryDatabase();
  store = createMemoryDirectory({ host: 'h1', database: memory });
  createMemoryDirectory({ host: 'h2', database: memory });
  port = await freePort();
  const desk = {
    letIn: (request: JoinRequest, seen: Ipv4) => (asked.push({ ...request, seen }), Promise.resolve({ ok: true })),
    renew: (fingerprint: string) => (asked.push(fingerprint), Promise.resolve({ certificate: 'next' })),
    settle: (fingerprint: string) => (asked.push(`settle ${fingerprint}`), Promise.resolve({})),
    secrets: (fingerprint: string) => (
      asked.push(`secrets ${fingerprint}`),
      Promise.resolve({ authorityKey: 'key', clusterId: 'id' })
    ),
  };
  front = new Front({
    address: () => LOOPBACK,
    port,
    authority: authority.certificate,
    identity: own,
    store,
    socketPath,
    locatorRange: parseCidr('100.64.0.0/10'),
    app: frontDeskApp(desk),
    api: () => undefined,
    acceptMember: (socket, fingerprint) => {
      members.push(fingerprint);
      socket.destroy();
    },
    acceptWords: (socket) => void socket.destroy(),
    acceptPulse: (socket) => void socket.destroy(),
    acceptOpenFlow: (socket, { name }) => void socket.write(`OpenFlow of ${name}`),
    logger: { ...silentLogger, warn: (message) => void warned.push(message) },
    clock: systemClock,
  });
  await front.start();
  asked.length = 0;
  members.length = 0;
  warned.length = 0;
});

afterEach(() => {
  sockets.splice(0).forEach((socket) => socket.destroy());
  front.stop();
  database.close();
  rmSync(folder, { recursive: true });
});

function certify(name: string, ...certificates: string[]): Promise<void> {
  const fingerprints = certificates.map((certificate) => fingerprintOf(certificate));
  return store.transact((context) => ({ ops: planCertificates(context, name, fingerprints), result: undefined }));
}

function open(protocol: string | undefined, who?: Identity): TLSSocket {
  const socket = connect({
    host: '127.0.0.1',
    port,
    ca: authority.certificate,
    checkServerIdentity: () => undefined,
    ...(protocol === undefined ? {} : { ALPNProtocols: [protocol] }),
    ...(who === undefined ? {} : { cert: who.certificate, key: who.key }),
  }).on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

/** What is said to some bytes; "closed" where the door shuts. */
function say(socket: TLSSocket, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    socket.on('data', (data: Buffer) => resolve(String(data)));
    socket.on('close', () => resolve('closed'));
    socket.write(bytes);
  });
}

const LIST = '{"id":1,"method":"list_dbs","params":[]}';
const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

describe('to the directory', () => {
  test('a host comes in with the certificate that its row has', async () => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    expect(await say(open('daolinet-directory/2', host), LIST)).toContain('DaoliNet');
  });

  test('nobody else does: without one, with one of the authority that is no row’s, of another authority', async () => {
    const strange = await identity('h2', await createAuthority(Date.now()));
    await certify('h2', strange.certificate);
    expect(await say(open('daolinet-directory/2'), LIST)).toBe('closed');
    expect(warned).toEqual(['a connection of another host was refused']);
    expect(await say(open('daolinet-directory/2', await identity('h2')), LIST)).toBe('closed');
    expect(await say(open('daolinet-directory/2', strange), LIST)).toBe('closed');
    // Nobody fills the log from outside.
    expect(warned).toHaveLength(1);
  });

  test('a connection ends when its certificate is no more the host’s, and when the host is put out', async () => {
    const [one, two] = [await identity('h2'), await identity('h2')];
    await certify('h2', one.certificate, two.certificate);
    const both = [open('daolinet-directory/2', one), open('daolinet-directory/2', two)];
    for (const socket of both) expect(await say(socket, LIST)).toContain('DaoliNet');
    const [first, second] = both.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    await certify('h2', two.certificate);
    await first;
    await store.transact((context) => ({ ops: planRemoval(context, 'h2'), result: undefined }));
    await second;
    expect(await say(open('daolinet-directory/2', two), LIST)).toBe('closed');
  });

  test('what it may not ask is answered so', async () => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    const refused = await say(
      open('daolinet-directory/2', host),
      '{"id":1,"method":"transact","params":["DaoliNet",{"op":"delete","table":"Host","where":[]}]}',
    );
    expect(refused).toContain('permission error');
  });

  test('of its tunnel it says something new so often, and then not, whatever connections it has', async () => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    const { uuid } = store.view.host('h2')!;
    const row = { host: ['uuid', uuid], key: `${'a'.repeat(42)}A=`, port: 7471, no_l2: false };
    const tell = { op: 'insert', table: 'Tunnel', row };
    const request = (id: number) => JSON.stringify({ id, method: 'transact', params: ['DaoliNet', tell] });
    const first = open('ovsdb', host);
    for (let id = 0; id < 30; id += 1) first.write(request(id));
    const refused = JSON.parse(await say(open('ovsdb', host), request(30))) as { error: { details: string } };
    expect(refused.error.details).toBe('a host changes its tunnel less often');
    expect(await say(open('ovsdb', host), LIST)).toContain('DaoliNet');
  });
});

describe('an agent from before there were sites, which asks for the directory by its old name', () => {
  const change = (name: string, facts: Record<string, string | boolean>) =>
    store.transact(({ view }) => ({ ops: [update('Host', isRow(view.host(name)!.uuid), facts)], result: undefined }));

  beforeEach(async () => {
    await change('h1', { address: '192.0.2.1' });
    await change('h2', { address: '192.0.2.2' });
  });

  test.each<[string, Record<string, string | boolean>]>([
    ['there are two sites', { site: 'home' }],
    ['a host encrypts inside of its site', { encrypt: true }],
  ])('is shut out where %s, at that moment, and later', async (_, facts) => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    const [old, newer] = [open('ovsdb', host), open('daolinet-directory/2', host)];
    for (const socket of [old, newer]) expect(await say(socket, LIST)).toContain('DaoliNet');
    const end = new Promise((resolve) => old.once('close', resolve));
    await change('h2', facts);
    await end;
    expect(warned).toEqual(['a host has an agent that is too old for this cluster']);
    expect(newer.closed).toBe(false);
    expect(await say(open('ovsdb', host), LIST)).toBe('closed');
    expect(await say(open('daolinet-directory/2', host), LIST)).toContain('DaoliNet');
  });

  test('its successor asks for both, and an older server takes the one that it knows', () => {
    expect(DIRECTORY_PROTOCOLS).toEqual(['daolinet-directory/2', 'ovsdb']);
  });

  test('of two that are asked for, this one takes the newer', async () => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ALPNProtocols: [...DIRECTORY_PROTOCOLS].reverse(),
    });
    sockets.push(socket.on('error', () => undefined));
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    expect(socket.alpnProtocol).toBe('daolinet-directory/2');
  });
});

describe('strangers', () => {
  /** A ticket of a session in which no certificate was shown. */
  async function ticket(): Promise<Buffer> {
    const socket = open('http/1.1');
    socket.resume();
    return new Promise((resolve) => socket.once('session', resolve));
  }

  test.each([
    'ovsdb',
    'daolinet-directory/2',
    'daolinet-member',
    'daolinet-words/1',
    'daolinet-api/1',
    'http/1.1',
    undefined,
  ])(
    'a session that is resumed without a certificate opens no door, and ends nobody’s agent (%s)',
    async (protocol) => {
      const session = await ticket();
      const protocols = protocol === undefined ? {} : { ALPNProtocols: [protocol] };
      const options = { host: '127.0.0.1', port, rejectUnauthorized: false, ...protocols, session };
      const socket = connect(options).on('error', () => undefined);
      sockets.push(socket);
      const said = await say(socket, protocol === 'http/1.1' ? post('/v1/secrets', '{}') : LIST);
      expect(said).toMatch(protocol === 'http/1.1' ? /400 Bad Request/ : /^closed$/);
      expect(members.filter((each) => each !== undefined)).toEqual([]);
      expect(asked).toEqual([]);
    },
  );

  test('few can ask at a time, and one that leaves makes room', async () => {
    const waiting = Array.from({ length: 64 }, () => open('http/1.1'));
    await Promise.all(waiting.map((socket) => new Promise((resolve) => socket.once('secureConnect', resolve))));
    expect(await say(open('http/1.1'), post('/v1/settle', '{}'))).toBe('closed');
    const host = await identity('h2');
    await certify('h2', host.certificate);
    expect(await say(open('daolinet-directory/2', host), LIST)).toContain('DaoliNet');
    waiting[0]!.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await say(open('http/1.1'), post('/v1/settle', '{}'))).toContain('400 Bad Request');
  });

  test('one host has a few connections at a time', async () => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    const many = Array.from({ length: 8 }, () => open('daolinet-directory/2', host));
    await Promise.all(many.map((socket) => say(socket, LIST)));
    expect(await say(open('daolinet-directory/2', host), LIST)).toBe('closed');
  });
});

test('who names no protocol is the Open vSwitch of a host with its certificate, and else is shut out', async () => {
  const host = await identity('h2');
  await certify('h2', host.certificate);
  expect(await say(open(undefined, host), 'hello')).toBe('OpenFlow of h2');
  expect(await say(open(undefined, await identity('h2')), 'hello')).toBe('closed');
  expect(await say(open(undefined), 'hello')).toBe('closed');
  // Neither it nor its agent takes the other's place.
  for (let n = 1; n < 8; n += 1) expect(await say(open(undefined, host), 'hello')).toBe('OpenFlow of h2');
  expect(await say(open(undefined, host), 'hello')).toBe('closed');
  expect(await say(open('ovsdb', host), LIST)).toContain('DaoliNet');
});

describe('between databases', () => {
  test('whoever comes is handed on with the certificate that it has shown, if it is of the authority', async () => {
    const host = await identity('h2');
    const strange = await identity('h2', await createAuthority(Date.now()));
    for (const who of [host, strange, undefined]) expect(await say(open('daolinet-member', who), 'x')).toBe('closed');
    expect(members).toEqual([fingerprintOf(host.certificate), undefined, undefined]);
  });
});

describe('to the desk', () => {
  const join = {
    name: 'h3',
    address: '192.0.2.3',
    routerMac: '02:00:00:00:00:03',
    datapathId: '0000020000000003',
    secret: 's'.repeat(24),
    now: 1,
    request: 'pem',
  };

  test('a newcomer asks without a certificate', async () => {
    expect(await say(open('http/1.1'), post('/v1/join', JSON.stringify(join)))).toContain('200 OK');
    expect(asked).toMatchObject([{ name: 'h3', address: parseIpv4('192.0.2.3') }]);
    expect(asked).toMatchObject([{ site: 'default', isHub: false, endpoint: undefined, seen: LOOPBACK }]);
  });

  test('and says where it is, and how it is reached', async () => {
    const more = { site: 'home', isHub: true, encrypts: true, endpoint: '203.0.113.7:7000', local: '192.168.1.10' };
    expect(await say(open('http/1.1'), post('/v1/join', JSON.stringify({ ...join, ...more })))).toContain('200 OK');
    const endpoint = { address: parseIpv4('203.0.113.7'), port: 7000 };
    expect(asked).toMatchObject([{ ...more, endpoint, local: parseIpv4('192.168.1.10') }]);
  });

  test.each<[string, object | string, string]>([
    ['no JSON', '{', '400'],
    ['no name', { ...join, name: undefined }, 'name is missing'],
    ['a name that is none', { ...join, name: 'a b' }, 'is not a host name'],
    ['an address that is none', { ...join, address: '192.0.2' }, 'is not an IPv4 address'],
    ['a site that is none', { ...join, site: 'My Home' }, 'is no name of a site'],
    ['an endpoint that is none', { ...join, endpoint: '203.0.113.7' }, 'is no ADDRESS:PORT'],
    ['a datapath id that is none', { ...join, datapathId: 'x' }, 'is not 16 hex digits'],
    ['more than it would ever be', { ...join, request: 'x'.repeat(80_000) }, '400'],
  ])('%s is refused', async (_, body, said) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    expect(await say(open('http/1.1'), post('/v1/join', text))).toContain(said);
    expect(asked).toEqual([]);
  });

  test('a host renews the certificate that it comes in with, and nobody another’s', async () => {
    const host = await identity('h2');
    const body = JSON.stringify({ request: 'pem' });
    expect(await say(open('http/1.1', host), post('/v1/renew', body))).toContain('next');
    expect(asked).toEqual([fingerprintOf(host.certificate)]);
    expect(await say(open('http/1.1'), post('/v1/renew', body))).toContain('hosts ask that, with their certificate');
  });

  test('a host that has come with its next certificate, or is to be a server, says so with its certificate', async () => {
    const host = await identity('h2');
    await certify('h2', host.certificate);
    expect(await say(open('http/1.1', host), post('/v1/settle', '{}'))).toContain('200 OK');
    expect(await say(open('http/1.1', host), post('/v1/secrets', '{}'))).toContain('"authorityKey":"key"');
    const fingerprint = fingerprintOf(host.certificate);
    expect(asked).toEqual([`settle ${fingerprint}`, `secrets ${fingerprint}`]);
    expect(await say(open('http/1.1'), post('/v1/secrets', '{}'))).toContain('400 Bad Request');
    expect(asked).toHaveLength(2);
  });

  test('anything else is not there', async () => {
    expect(await say(open('http/1.1'), post('/v1/hosts', '{}'))).toContain('404');
  });
});

test.each([undefined, 'h2', 'spdy/3'])('another protocol (%s) is shut out', async (protocol) => {
  expect(await say(open(protocol), LIST)).toBe('closed');
});

test('an address or port that cannot be had is said', async () => {
  const again = new Front({ ...(front as unknown as { options: object }).options } as never);
  await expect(again.start()).rejects.toThrow('EADDRINUSE');
  again.stop();
});
