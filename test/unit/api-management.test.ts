// The management API over HTTP: how operations become routes, what comes in, and what goes out.
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { z } from 'zod';
import { createManagementApi } from '../../src/api/management-api';
import { byName, queryFlag } from '../../src/api/fields';
import { contentOperation, operation, streamOperation, type ApiAgent } from '../../src/api/operation';
import { OPERATIONS, type ShownAgent } from '../../src/api/operations';
import { DaoliError } from '../../src/base/errors';
import { createMemoryDirectory } from '../fakes/memory-directory';

const store = createMemoryDirectory({ host: 'h1' });
let view: ApiAgent['view'];
let settled: Promise<void>;
let server: Server;
let gone: Promise<unknown>;

const facts = { tag: 'things', summary: 'does it' };
const item = z.object({ number: z.number() });

const THINGS = [
  operation({
    ...facts,
    id: 'changeThing',
    method: 'put',
    path: '/v1/things/{name}',
    parameters: byName,
    query: z.strictObject({ force: queryFlag.optional() }),
    body: z.strictObject({ size: z.number({ error: 'is not a number' }) }),
    answer: z.object({ name: z.string(), size: z.number(), force: z.boolean() }),
    handle: (_agent: ApiAgent, { parameters, query, body }) => {
      if (body.size > 9) throw new DaoliError('conflict', `thing ${parameters.name} cannot be that large`);
      if (body.size < 0) throw new TypeError('a bug');
      return { name: parameters.name, size: body.size, force: query.force ?? false };
    },
  }),
  operation({
    ...facts,
    id: 'listThings',
    method: 'get',
    path: '/v1/things',
    needsDirectory: true,
    answer: z.array(z.string()),
    handle: () => ['one'],
  }),
  streamOperation({
    ...facts,
    id: 'watchThings',
    method: 'get',
    path: '/v1/things/watch',
    query: z.strictObject({ until: z.enum(['end', 'error', 'never', 'nothing']) }),
    item,
    handle: (_agent: ApiAgent, { query: { until }, signal }) => {
      if (until === 'nothing') return Promise.reject(new DaoliError('not-found', 'there is nothing to watch'));
      gone = once(signal, 'abort');
      async function* numbers() {
        yield { number: 1 };
        if (until === 'error') throw new DaoliError('unavailable', 'the datapath went away');
        if (until === 'never') await gone;
        yield { number: 2 };
      }
      return Promise.resolve(numbers());
    },
  }),
  contentOperation({
    ...facts,
    id: 'captureThings',
    method: 'get',
    path: '/v1/things/capture',
    contentType: 'application/vnd.tcpdump.pcap',
    handle: () => Promise.resolve(bytes()),
  }),
];

async function* bytes() {
  yield Buffer.from([0, 1]);
  yield Buffer.from([2, 255]);
}

beforeAll(async () => {
  const agent = {
    get view() {
      return view;
    },
    settled: () => settled,
    status: () => ({ state: 'waiting for the DaoliNet database' }),
  };
  server = createServer((request, response) => void app(request, response)).listen(0, '127.0.0.1');
  const app = createManagementApi(agent, THINGS);
  await once(server, 'listening');
});

beforeEach(() => {
  view = store.view;
  settled = Promise.resolve();
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function open(method: string, path: string, body?: string, headers: object = {}): Promise<IncomingMessage> {
  const { port } = server.address() as AddressInfo;
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const options = { port, method, path, headers: { ...type, ...headers }, agent: false };
    request(options, resolve).on('error', reject).end(body);
  });
}

async function ask(method: string, path: string, body?: string): Promise<{ status: number | undefined; said: object }> {
  const response = await open(method, path, body);
  return { status: response.statusCode, said: JSON.parse(await textOf(response)) };
}

describe('an operation', () => {
  test('gets what stands in path, query and body, and answers', async () => {
    expect(await ask('PUT', '/v1/things/a%2Fb?force=true', '{"size":3}')).toEqual({
      status: 200,
      said: { name: 'a/b', size: 3, force: true },
    });
  });

  test.each([
    ['/v1/things/a', '{"size":"big"}', 'size: "big" is not a number'],
    ['/v1/things/a', '{}', 'size is missing'],
    ['/v1/things/a', '[]', 'the request is not a JSON object'],
    ['/v1/things/a', '{"size":1,"colour":"red"}', 'there is no field colour'],
    ['/v1/things/a?force=yes', '{"size":1}', 'force: "yes" is not true or false'],
    ['/v1/things/a?froce=true', '{"size":1}', 'there is no field froce'],
  ])('refuses %s %s: %s', async (path, body, message) => {
    expect(await ask('PUT', path, body)).toEqual({ status: 400, said: { message, code: 'invalid' } });
  });

  test('is answered with what its handler throws', async () => {
    expect(await ask('PUT', '/v1/things/a', '{"size":10}')).toEqual({
      status: 409,
      said: { message: 'thing a cannot be that large', code: 'conflict' },
    });
    expect(await ask('PUT', '/v1/things/a', '{"size":-1}')).toEqual({
      status: 500,
      said: { message: 'a bug', code: 'internal' },
    });
  });

  test('that needs the directory is refused until there is one', async () => {
    expect((await ask('GET', '/v1/things')).said).toEqual(['one']);
    view = undefined;
    expect(await ask('GET', '/v1/things')).toEqual({
      status: 503,
      said: { message: 'waiting for the DaoliNet database', code: 'unavailable' },
    });
  });

  test('that needs the directory waits for an agent that comes up', async () => {
    view = undefined;
    let comeUp = (): void => {};
    settled = new Promise((resolve) => (comeUp = resolve));
    const asked = ask('GET', '/v1/things');
    view = store.view;
    comeUp();
    expect((await asked).status).toBe(200);
  });

  test('that is not there is named', async () => {
    expect(await ask('POST', '/v1/thing')).toEqual({
      status: 404,
      said: { message: 'there is no POST /v1/thing', code: 'not-found' },
    });
  });
});

describe('a stream', () => {
  test('is a value a line', async () => {
    const response = await open('GET', '/v1/things/watch?until=end');
    expect(response.headers['content-type']).toBe('application/jsonl');
    expect(await textOf(response)).toBe('{"number":1}\n{"number":2}\n');
  });

  test('is server-sent events for who accepts those', async () => {
    const response = await open('GET', '/v1/things/watch?until=end', undefined, { accept: 'text/event-stream' });
    expect(response.headers['content-type']).toMatch('text/event-stream');
    expect(await textOf(response)).toBe('data: {"number":1}\n\ndata: {"number":2}\n\n');
  });

  test('ends with what broke it', async () => {
    expect(await textOf(await open('GET', '/v1/things/watch?until=error'))).toBe(
      '{"number":1}\n{"error":{"message":"the datapath went away","code":"unavailable"}}\n',
    );
  });

  test('that cannot begin is refused', async () => {
    expect((await ask('GET', '/v1/things/watch?until=nothing')).status).toBe(404);
  });

  test('says the first value before there is a second, and ends with its reader', async () => {
    const response = await open('GET', '/v1/things/watch?until=never');
    const [first] = (await once(response, 'data')) as [Buffer];
    expect(String(first)).toBe('{"number":1}\n');
    response.destroy();
    await gone;
  });

  test('of bytes comes as they are', async () => {
    const response = await open('GET', '/v1/things/capture');
    expect(response.headers['content-type']).toBe('application/vnd.tcpdump.pcap');
    expect(Buffer.concat(await response.toArray())).toEqual(Buffer.from([0, 1, 2, 255]));
  });
});

test('the description of the API is served', async () => {
  expect((await ask('GET', '/v1/openapi.json')).said).toMatchObject({
    openapi: '3.1.1',
    paths: { '/v1/things/{name}': { put: { operationId: 'changeThing' } } },
  });
});

test('the operations of the agent are all routes', () => {
  expect(() => createManagementApi({} as ShownAgent, OPERATIONS)).not.toThrow();
});
