// What the management API bears: large, slow, broken and foreign requests, on its unix socket and over TCP alike.
import { mkdtempSync, rmSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { z } from 'zod';
import { ApiServer } from '../../src/api/api-server';
import { createManagementApi } from '../../src/api/management-api';
import { operation, type ApiAgent } from '../../src/api/operation';
import { TcpAccess } from '../../src/api/tcp-access';
import { parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import type { Identity } from '../../src/pki/authority';
import { createTestAuthority, issueFor } from '../fakes/certificates';
import { freePort } from '../fakes/free-port';

const LIMITS = { headersMs: 300, requestMs: 600, lookMs: 50, connections: 64 };
let folder: string;
let port: number;
let authority: Identity;
let client: Identity;
let unix: ApiServer;
let tcp: TcpAccess;
let handled: unknown[] = [];

const operations = [
  operation({
    id: 'postLarge',
    method: 'post',
    path: '/v1/large',
    tag: 'things',
    summary: 'takes much text',
    maxBodyBytes: 200_000,
    body: z.strictObject({ text: z.string() }),
    answer: z.object({ length: z.number() }),
    handle: (_agent: ApiAgent, { body }) => ({ length: body.text.length }),
  }),
  operation({
    id: 'post',
    method: 'post',
    path: '/v1/things',
    tag: 'things',
    summary: 'takes text',
    body: z.strictObject({ text: z.string() }),
    answer: z.object({ length: z.number() }),
    handle: (_agent: ApiAgent, { body }) => {
      handled.push(body);
      return { length: body.text.length };
    },
  }),
];

beforeAll(async () => {
  authority = await createTestAuthority();
  const own = await issueFor(authority, 'h1');
  client = await issueFor(authority, 'ann');
  folder = mkdtempSync(join(tmpdir(), 'api-limits-'));
  port = await freePort();
  const app = createManagementApi(
    { view: undefined, settled: () => Promise.resolve(), status: () => ({ state: 'ready' }) },
    operations,
  );
  unix = new ApiServer(folder, app, silentLogger, LIMITS);
  unix.start();
  tcp = new TcpAccess({
    address: { ip: parseIpv4('127.0.0.1'), port },
    folder: join(folder, 'api'),
    app,
    logger: silentLogger,
    now: Date.now,
    limits: LIMITS,
  });
  await tcp.install({ ca: authority.certificate, ...own });
  expect(tcp.status().problem).toBe(null);
});

afterAll(() => {
  unix.stop();
  tcp.stop();
  rmSync(folder, { recursive: true });
});

beforeEach(() => (handled = []));

const tls = () => ({ host: '127.0.0.1', port, ca: authority.certificate, cert: client.certificate, key: client.key });

describe.each(['unix socket', 'TCP'])('on the %s', (way) => {
  const socketPath = () => join(folder, 'api.sock');

  function ask(
    body: string | undefined,
    headers: Record<string, string> = {},
    path = '/v1/things',
  ): Promise<{ status: number; said: string }> {
    const options: RequestOptions = {
      method: 'POST',
      path,
      headers: { 'content-type': 'application/json', ...headers },
      agent: false,
    };
    return new Promise((resolve, reject) => {
      const take = (response: IncomingMessage) =>
        void textOf(response).then((said) => resolve({ status: response.statusCode ?? 0, said }), reject);
      const call =
        way === 'TCP'
          ? httpsRequest({ ...options, ...tls() }, take)
          : httpRequest({ ...options, socketPath: socketPath() }, take);
      call.on('error', reject);
      // In two parts, so that it comes without a length where none is given.
      if (body !== undefined) call.write(body.slice(0, 10));
      call.end(body?.slice(10));
    });
  }

  async function open(): Promise<Duplex> {
    const socket = way === 'TCP' ? connect(tls()) : createConnection(socketPath());
    await new Promise((resolve, reject) => {
      socket.once(way === 'TCP' ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
    return socket.on('error', () => undefined);
  }

  /** All that comes until the other side closes, and how long that took. */
  async function untilClosed(socket: Duplex): Promise<{ said: string; ms: number }> {
    const begun = performance.now();
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await new Promise((resolve) => socket.once('close', resolve));
    return { said, ms: performance.now() - begun };
  }

  test('a body of 64 KiB is taken', async () => {
    const text = 'x'.repeat(64 * 1024 - '{"text":""}'.length);
    expect(await ask(JSON.stringify({ text }))).toEqual({ status: 200, said: `{"length":${text.length}}` });
  });

  test('where an operation takes more, more is taken, and no more than that', async () => {
    const large = (length: number) => ask(JSON.stringify({ text: 'x'.repeat(length) }), {}, '/v1/large');
    expect(await large(199_000)).toEqual({ status: 200, said: '{"length":199000}' });
    expect(await large(200_000)).toMatchObject({
      status: 413,
      said: expect.stringContaining('than 200000 bytes') as string,
    });
  });

  test.each([
    ['with its length', { 'content-length': String(64 * 1024 + 1) }],
    ['in pieces', {}],
  ])('one byte more is refused, %s', async (_, headers) => {
    const body = JSON.stringify({ text: 'x'.repeat(64 * 1024 + 1 - '{"text":""}'.length) });
    expect(await ask(body, headers)).toEqual({
      status: 413,
      said: '{"message":"the body is larger than 65536 bytes, which is the limit","code":"invalid"}',
    });
    expect(handled).toEqual([]);
  });

  test.each<[string, string, Record<string, string>, number, string]>([
    ['that is no JSON', '{"text":}', {}, 400, 'the body is no JSON: Unexpected token'],
    ['that is cut off', '{"text":"a', {}, 400, 'position 10'],
    ['that is a number', '5', {}, 400, 'the body is no JSON'],
    ['that lacks a field', '{}', {}, 400, 'text is missing'],
    ['that has a field too many', '{"text":"a","texd":"b"}', {}, 400, 'there is no field texd'],
    ['of a form', 'text=a', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'has to be JSON'],
    ['of a page elsewhere', '{"text":"a"}', { origin: 'https://evil.example' }, 403, 'a page of https://evil.example'],
    ['of a page without a place', '{"text":"a"}', { origin: 'null' }, 403, 'may not change anything here'],
    ['in another encoding', '{"text":"a"}', { 'content-encoding': 'rot13' }, 415, 'unsupported content encoding'],
  ])('a body %s is refused', async (_, body, headers, status, message) => {
    const answer = await ask(body, headers);
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.said).message).toContain(message);
    expect(handled).toEqual([]);
  });

  test('a page of its own may', async () => {
    expect((await ask('{"text":"a"}', { host: 'h1:7480', origin: 'https://h1:7480' })).status).toBe(200);
  });

  test.each([
    ['a head', 'POST /v1/things HTTP/1.1\r\nhost: h1\r\nx-a: '],
    [
      'a body',
      'POST /v1/things HTTP/1.1\r\nhost: h1\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{',
    ],
  ])('who sends %s letter by letter is put out, and told', async (_, beginning) => {
    const socket = await open();
    socket.write(beginning);
    const trickle = setInterval(() => socket.write('x'), 20);
    const { said, ms } = await untilClosed(socket);
    clearInterval(trickle);
    expect(said).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n[^]*"message":"the request took too long to come/);
    expect(ms).toBeLessThan(5_000);
    expect(handled).toEqual([]);
  });

  test('who says nothing is put out', async () => {
    expect((await untilClosed(await open())).ms).toBeLessThan(5_000);
  });

  test.each([
    ['no HTTP', 'hello\r\n\r\n', '400 Bad Request', 'this is no HTTP request'],
    ['a head without end', `GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}`, '431 Request Header', 'too large'],
  ])('%s is answered', async (_, bytes, status, message) => {
    const socket = await open();
    socket.write(bytes);
    const { said } = await untilClosed(socket);
    expect(said).toContain(status);
    expect(JSON.parse(said.slice(said.indexOf('{'))).message).toContain(message);
  });
});

test('only so many come in at a time, and one that leaves makes room', async () => {
  const small = mkdtempSync(join(tmpdir(), 'api-limits-'));
  const limits = { ...LIMITS, headersMs: 60_000, requestMs: 60_000, connections: 2 };
  const server = new ApiServer(small, (_request, response) => response.end('hello'), silentLogger, limits);
  server.start();
  const socketPath = join(small, 'api.sock');
  /** Undefined where the door is shut. */
  const greeting = () =>
    new Promise<string | undefined>((resolve) => {
      httpRequest({ socketPath, agent: false }, (response) => void textOf(response).then(resolve))
        .on('error', () => resolve(undefined))
        .end();
    });
  const guests = [createConnection(socketPath), createConnection(socketPath)];
  await Promise.all(guests.map((guest) => new Promise((resolve) => guest.once('connect', resolve))));
  expect(await greeting()).toBe(undefined);
  guests[0]?.end();
  let said: string | undefined;
  while (said === undefined) said = await greeting();
  expect(said).toBe('hello');
  server.stop();
  rmSync(small, { recursive: true });
});
