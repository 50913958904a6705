// The management API over TCP: who comes in, with which certificates it begins, and how it gets others.
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { logChanges } from '../../src/api/change-log';
import { TcpAccess, type TcpAccessParts } from '../../src/api/tcp-access';
import { parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { ApiClient } from '../../src/cli/api-client';
import { parseTarget } from '../../src/cli/target';
import type { Identity } from '../../src/pki/authority';
import { createTestAuthority, issueFor } from '../fakes/certificates';
import { freePort } from '../fakes/free-port';

let authority: Identity;
let own: Identity;
let client: Identity;
let folder: string;
let port: number;
let access: TcpAccess;
const logged: object[] = [];

beforeAll(async () => {
  authority = await createTestAuthority();
  [own, client] = await Promise.all([issueFor(authority, 'h1'), issueFor(authority, 'ann')]);
});

function create(parts: Partial<TcpAccessParts> = {}): TcpAccess {
  return new TcpAccess({
    address: { ip: parseIpv4('127.0.0.1'), port },
    folder: join(folder, 'api'),
    app: (_request, response) => void response.end('{"state":"ready"}'),
    logger: { ...silentLogger, error: (message, meta) => void logged.push({ message, ...meta }) },
    now: Date.now,
    ...parts,
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tcp-access-'));
  port = await freePort();
  logged.length = 0;
  access = create();
});

afterEach(() => {
  access.stop();
  rmSync(folder, { recursive: true });
});

const good = () => ({ ca: authority.certificate, ...own });
const as = (who?: Identity) => (who === undefined ? {} : { cert: who.certificate, key: who.key });

/** What the API says, or why it does not. */
function ask(options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...options });
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(said === '' ? 'refused' : said));
    socket.write('GET /v1/status HTTP/1.1\r\nhost: h1\r\nconnection: close\r\n\r\n');
  });
}

test('what is changed is logged with the name in the certificate, what is read is not', async () => {
  const asked: object[] = [];
  const logger = { ...silentLogger, info: (message: string, meta?: object) => void asked.push({ message, ...meta }) };
  const app = logChanges((_request, response) => void response.writeHead(409).end('no'), 'over TCP', logger);
  access = create({ app });
  await access.install(good());
  await ask(as(client));
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...as(client) });
  socket.write('DELETE /v1/cluster/hosts/h2 HTTP/1.1\r\nhost: h1\r\nconnection: close\r\n\r\n');
  await once(socket.resume(), 'close');
  const [path, message] = ['/v1/cluster/hosts/h2', 'asked over TCP'];
  expect(asked).toEqual([{ message, by: 'ann', method: 'DELETE', path, status: 409 }]);
});

test('where no address is set, nothing listens, certificates or not', async () => {
  access = create({ address: undefined });
  await access.install(good());
  expect(access.status()).toMatchObject({ address: null, isListening: false, problem: null });
});

test('without certificates it does not listen, and says in the log what to do', async () => {
  await access.start();
  const problem = 'it has no certificates: give it some with `daolictl api certificates FOLDER`';
  expect(access.status()).toEqual({ address: `127.0.0.1:${port}`, isListening: false, problem, certificate: null });
  const message = 'the management API does not listen on TCP';
  expect(logged).toEqual([{ message, address: `127.0.0.1:${port}`, error: problem }]);
  expect(await ask(as(client))).toBe('refused');
});

test('an address that is taken is said', async () => {
  const other = createServer().listen(port, '127.0.0.1');
  await once(other, 'listening');
  expect((await access.install(good())).problem).toContain('EADDRINUSE');
  other.close();
});

test('with them it listens at once, and again after a restart; the key is for root alone', async () => {
  expect(await access.install(good())).toMatchObject({
    isListening: true,
    problem: null,
    certificate: { subject: 'CN=h1' },
  });
  expect(readdirSync(folder)).toEqual(['api']);
  expect(statSync(join(folder, 'api')).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, 'api/key.pem')).mode & 0o777).toBe(0o600);
  access.stop();
  expect(await ask(as(client))).toBe('refused');
  access = create();
  await access.start();
  await access.start();
  expect(await ask(as(client))).toContain('ready');
});

describe('it listens, and', () => {
  beforeEach(async () => void (await access.install(good())));

  test('who shows a certificate of the authority comes in', async () => {
    expect(await ask(as(client))).toContain('200 OK');
  });

  test.each<[string, () => Promise<ConnectionOptions>]>([
    ['without one', () => Promise.resolve({})],
    ['with one of another authority', async () => as(await issueFor(await createTestAuthority(), 'ann'))],
    ['with one that is over', async () => as(await issueFor(authority, 'ann', -1))],
    ['by TLS 1.2', () => Promise.resolve({ ...as(client), maxVersion: 'TLSv1.2' as const })],
  ])('nobody does %s', async (_, options) => {
    expect(await ask(await options())).toBe('refused');
  });

  test('nobody does without TLS', async () => {
    const call = request({ port, path: '/v1/status', agent: false }).end();
    await expect(once(call, 'response')).rejects.toThrow();
  });

  // Node.js calls a resumed session authorized, also where no certificate was ever shown.
  test('nobody does by resuming a session that was refused', async () => {
    const stranger = as(await issueFor(await createTestAuthority(), 'ann'));
    for (const who of [stranger, {}]) {
      const socket: TLSSocket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...who });
      const sessions: Buffer[] = [];
      socket.on('session', (session: Buffer) => sessions.push(session)).on('error', () => undefined);
      socket.resume();
      await new Promise((resolve) => socket.once('close', resolve));
      for (const session of sessions) expect(await ask({ ...who, session })).toBe('refused');
    }
  });

  test('daolictl does with --host tcp:// and --tls, and without them says what it needs', async () => {
    const files = { 'ca.pem': authority.certificate, 'cert.pem': client.certificate, 'key.pem': client.key };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const host = `tcp://127.0.0.1:${port}`;
    expect(await new ApiClient(parseTarget({ host, tls: folder })).get('/v1/status')).toEqual({ state: 'ready' });
    expect(() => parseTarget({ host })).toThrow('--tls (or DAOLINET_TLS) a folder with ca.pem, cert.pem, key.pem');
    expect(() => parseTarget({ host, tls: '/nowhere' })).toThrow(/ENOENT.*\/nowhere\/ca\.pem/);
    writeFileSync(join(folder, 'ca.pem'), (await createTestAuthority()).certificate);
    const refused = new ApiClient(parseTarget({ host, tls: folder })).get('/v1/status');
    await expect(refused).rejects.toThrow(`the agent cannot be reached at 127.0.0.1:${port}`);
  });

  test.each<[string, () => Promise<object>, string]>([
    ['text', () => Promise.resolve({ certificate: 'hello' }), 'cert.pem is no certificate (PEM)'],
    [
      'an authority that is none',
      async () => ({ ca: (await issueFor(authority, 'x')).certificate }),
      'of an authority',
    ],
    ['a certificate that is over', () => issueFor(authority, 'h1', -1), /cert\.pem was good until .*: renew it/.source],
    [
      'the key of another',
      async () => ({ key: (await issueFor(authority, 'x')).key }),
      'is not that of the certificate',
    ],
    ['no key', () => Promise.resolve({ key: 'hello' }), 'key.pem is no private key without a passphrase (PEM)'],
  ])('%s is refused, and changes nothing', async (_, wrong, message) => {
    const refused = access.install({ ...good(), ...(await wrong()) });
    await expect(refused).rejects.toThrow(message.includes('.*') ? new RegExp(message) : message);
    expect(await ask(as(client))).toContain('200 OK');
    expect(readdirSync(folder)).toEqual(['api']);
  });

  test('with other certificates, who came in with those before is put out', async () => {
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, ...as(client) });
    socket.on('error', () => undefined);
    await once(socket, 'secureConnect');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const next = await createTestAuthority();
    await access.install({ ca: next.certificate, ...(await issueFor(next, 'h1')) });
    await closed;
    expect(await ask(as(client))).toBe('refused');
    const newcomer = await issueFor(next, 'ben');
    expect(await ask({ ...as(newcomer), ca: next.certificate })).toContain('200 OK');
  });
});
