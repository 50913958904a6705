// The management API of another host, through its door: real TLS on loopback, real certificates. Servers of the cluster come in,
// clients are told where to go, and nobody else does.
import express from 'express';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { createServer as createTlsServer, connect, type TLSSocket } from 'node:tls';
import { z } from 'zod';
import { createManagementApi } from '../../src/api/management-api';
import { contentOperation, operation, streamOperation, type ApiAgent } from '../../src/api/operation';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import type { ClusterFacts } from '../../src/cluster/files';
import { API_PROTOCOL, Front } from '../../src/cluster/front';
import { planCertificates, planDemotion, planFirst, planPromotion, planRemoval } from '../../src/cluster/membership';
import { RemoteAgents } from '../../src/cluster/remote-agents';
import type { Ops, PlanContext } from '../../src/directory/store';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const LOOPBACK = parseIpv4('127.0.0.1');
const THING = z.object({ name: z.string() });

let authority: Identity;
let identities: Record<'h1' | 'h2' | 'stranger', Identity>;
/** The directory as h1 and h2 have it; h2 has the door. */
let store: MemoryDirectory;
let other: MemoryDirectory;
const LOCATORS = parseCidr('100.64.0.0/10');
let front: Front;
let port: number;
let endless: AbortSignal | undefined;
const warned: string[] = [];
const sockets: TLSSocket[] = [];

const facts = { tag: 'things', summary: 'does it', method: 'get' } as const;
const OPERATIONS = [
  operation({
    ...facts,
    id: 'getThing',
    path: '/v1/things/{name}',
    parameters: z.strictObject({ name: z.string() }),
    answer: THING,
    handle: (_agent: ApiAgent, { parameters: { name } }) => {
      if (name === 'none') throw new DaoliError('not-found', 'there is no thing none');
      return { name };
    },
  }),
  operation({
    ...facts,
    id: 'postThing',
    method: 'post',
    path: '/v1/things',
    body: THING,
    answer: THING,
    handle: (_agent: ApiAgent, { body }) => body,
  }),
  operation({
    ...facts,
    id: 'getFabric',
    path: '/v1/fabric',
    answer: THING,
    handle: () => ({ name: 'fabric' }),
  }),
  operation({ ...facts, id: 'wrong', path: '/v1/wrong', answer: z.unknown(), handle: () => ({ name: 5 }) }),
  operation({
    ...facts,
    id: 'never',
    path: '/v1/never',
    answer: THING,
    handle: () => new Promise<{ name: string }>(() => undefined),
  }),
  streamOperation({
    ...facts,
    id: 'watch',
    path: '/v1/watch',
    item: THING,
    handle: (_agent: ApiAgent, { signal }) => {
      endless = signal;
      async function* things() {
        yield { name: 'first' };
        await once(signal, 'abort');
      }
      return Promise.resolve(things());
    },
  }),
  contentOperation({
    ...facts,
    id: 'bytes',
    path: '/v1/bytes',
    contentType: 'application/octet-stream',
    handle: () => Promise.resolve(pieces()),
  }),
];

async function* pieces() {
  yield Promise.resolve(Buffer.from([0, 255]));
}

async function identity(name: string): Promise<Identity> {
  const { request, key } = await createRequest(name);
  return { certificate: await issue(authority, request, name, Date.now()), key };
}

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  const [h1, h2, stranger] = await Promise.all([identity('h1'), identity('h2'), identity('h3')]);
  identities = { h1, h2, stranger };
});

function write(by: MemoryDirectory, plan: (context: PlanContext) => Ops): Promise<void> {
  return by.transact((context) => ({ ops: plan(context), result: undefined }));
}

beforeEach(async () => {
  const database = createMemoryDatabase();
  store = createMemoryDirectory({ host: 'h1', database });
  other = createMemoryDirectory({ host: 'h2', database, address: LOOPBACK });
  await write(store, (context) =>
    planFirst(context, { address: parseIpv4('127.0.0.2'), fingerprint: fingerprintOf(identities.h1.certificate) }),
  );
  await write(store, (context) => planCertificates(context, 'h2', [fingerprintOf(identities.h2.certificate)]));
  port = await freePort();
  warned.length = 0;
  endless = undefined;
  front = new Front({
    address: () => LOOPBACK,
    port,
    authority: authority.certificate,
    identity: identities.h2,
    store: other,
    // A client has a door, too.
    socketPath: undefined,
    locatorRange: parseCidr('100.64.0.0/10'),
    app: express(),
    api: createManagementApi(
      { view: undefined, settled: () => Promise.resolve(), status: () => ({ state: 'ready' }) },
      OPERATIONS,
    ),
    acceptMember: (socket) => void socket.destroy(),
    acceptWords: (socket) => void socket.destroy(),
    acceptPulse: (socket) => void socket.destroy(),
    acceptOpenFlow: (socket) => void socket.destroy(),
    logger: { ...silentLogger, warn: (message) => void warned.push(message) },
    clock: systemClock,
  });
  await front.start();
});

afterEach(() => {
  sockets.splice(0).forEach((socket) => socket.destroy());
  front.stop();
});

/** What h1 knows of its cluster: as a server, or as a client. */
function factsOf(role: 'server' | 'client', as: Identity = identities.h1): ClusterFacts {
  return {
    address: parseIpv4('127.0.0.2'),
    site: 'default',
    tunnel: { endpoint: undefined, l2: 'auto' },
    datapathId: '0'.repeat(16),
    locatorRange: parseCidr('100.64.0.0/10'),
    clusterId: undefined,
    servers: [{ address: parseIpv4('192.0.2.1'), datapathId: '0'.repeat(16), certificates: [], site: 'default' }],
    authority: { certificate: authority.certificate, key: role === 'server' ? authority.key : undefined },
    identity: as,
  };
}

const agents = (known = factsOf('server')) =>
  new RemoteAgents({ store, locatorRange: LOCATORS, facts: () => known, port });

describe('a server', () => {
  test('asks another host, acts on it, and gets what it refuses', async () => {
    const h2 = agents().at('h2');
    expect(await h2.get('/v1/things/a', THING)).toEqual({ name: 'a' });
    expect(await h2.post('/v1/things', { name: 'b' }, THING)).toEqual({ name: 'b' });
    await expect(h2.get('/v1/things/none', THING)).rejects.toMatchObject({
      code: 'not-found',
      message: 'host h2 says: there is no thing none',
    });
    await expect(h2.post('/v1/things', { nmae: 'b' }, THING)).rejects.toMatchObject({ code: 'invalid' });
    await expect(h2.get('/v1/at/h3/things', THING)).rejects.toThrow('host h2 says: there is no GET /v1/at/h3/things');
  });

  test('does not believe what is not as it should be', async () => {
    await expect(agents().at('h2').get('/v1/wrong', THING)).rejects.toThrow(
      'host h2 answers something else than was asked (name: ',
    );
  });

  test('waits no longer than it wants to, for the answer as for the connection', async () => {
    const late = agents().at('h2').get('/v1/never', THING, { timeoutMs: 200 });
    await expect(late).rejects.toMatchObject({
      code: 'unavailable',
      message: `the agent of host h2 cannot be reached at 127.0.0.1:${port} (no answer within 0.2 s): is it up?`,
    });
    front.stop();
    await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toThrow('ECONNREFUSED');
  });

  test('says of an agent from before there were such calls that it is too old', async () => {
    front.stop();
    const { certificate: cert, key } = identities.h2;
    const door = createTlsServer({ cert, key, ca: authority.certificate, ALPNProtocols: ['daolinet-words/1'] });
    door.on('tlsClientError', () => undefined).listen(port, '127.0.0.1');
    await once(door, 'listening');
    try {
      await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toMatchObject({
        code: 'conflict',
        message: 'the agent of host h2 is older, and takes no such calls yet: upgrade the plugin there',
      });
    } finally {
      door.close();
    }
  });

  test('watches, and leaves', async () => {
    for await (const thing of agents().at('h2').lines('/v1/watch', THING)) {
      expect(thing).toEqual({ name: 'first' });
      break;
    }
    const signal = endless;
    if (signal?.aborted !== true) await once(signal!, 'abort');
  });

  test('gets bytes as they are', async () => {
    const content = await agents().at('h2').content('/v1/bytes');
    expect(Buffer.concat(await content.toArray())).toEqual(Buffer.from([0, 255]));
  });

  test('is told of a name that is none', () => {
    expect(() => agents().at('h22')).toThrow('there is no host h22; did you mean h2?');
    const alone = new RemoteAgents({ store, locatorRange: LOCATORS, facts: () => undefined });
    expect(() => alone.at('h2')).toThrow('this host is in no cluster');
  });

  test('believes no host with another certificate than its row has', async () => {
    await write(store, (context) => planCertificates(context, 'h2', ['0'.repeat(64)]));
    await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toThrow('the certificate is not that host’s');
  });

  test('has room for many calls at a time, and beside them for the rest', async () => {
    const watching = Array.from({ length: 64 }, () => agents().at('h2').lines('/v1/watch', THING));
    expect((await Promise.all(watching.map((each) => each.next()))).length).toBe(64);
    await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toMatchObject({ code: 'unavailable' });
    const words = open('daolinet-words/1', identities.h1);
    await once(words, 'secureConnect');
    await Promise.all(watching.map((each) => each.return()));
  });
});

describe('the door', () => {
  test('tells a client of the cluster which hosts may, and does nothing', async () => {
    await write(store, (context) => planCertificates(context, 'h2', [fingerprintOf(identities.h2.certificate)]));
    // h2 is a client, and says that it is a server.
    const liar = agents(factsOf('server', identities.h2)).at('h2');
    await expect(liar.post('/v1/things', { name: 'b' }, THING)).rejects.toMatchObject({
      code: 'conflict',
      message: 'host h2 says: only servers of the cluster reach the agents of other hosts: do it on h1',
    });
    expect(() => agents(factsOf('client')).at('h2')).toThrow(
      'only servers of the cluster reach the agents of other hosts: do it on 192.0.2.1',
    );
  });

  test('answers every host of the cluster one question, and strangers none', async () => {
    const client = agents(factsOf('client', identities.h2));
    expect(await client.openAt('h2').get('/v1/fabric', THING)).toEqual({ name: 'fabric' });
    for (const path of ['/v1/fabric/', '/v1/fabric?x=1', '/v1/things/a']) {
      await expect(client.openAt('h2').get(path, THING)).rejects.toThrow('only servers of the cluster');
    }
    await expect(client.openAt('h2').post('/v1/fabric', {}, THING)).rejects.toThrow('only servers of the cluster');
    const stranger = agents(factsOf('client', identities.stranger));
    await expect(stranger.openAt('h2').get('/v1/fabric', THING)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('is shut for others: without a certificate, with one that no row has', async () => {
    expect(await say(open(API_PROTOCOL))).toBe('closed');
    expect(await say(open(API_PROTOCOL, identities.stranger))).toBe('closed');
    expect(warned).toEqual(['a connection of another host was refused']);
  });

  test('puts out who is a server no more, or no host', async () => {
    await write(other, (context) => planPromotion(context, 'h2'));
    const watching = agents().at('h2').lines('/v1/watch', THING);
    await watching.next();
    const end = expect(watching.next()).rejects.toMatchObject({ code: 'unavailable' });
    await write(other, (context) => planDemotion(context, 'h1'));
    await end;
    await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toThrow('do it on h2');
    await write(other, (context) => planRemoval(context, 'h1'));
    await expect(agents().at('h2').get('/v1/things/a', THING)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('at /v1/at/HOST, the agent of a server', () => {
  let local: Server;

  beforeEach(async () => {
    const agent = { view: undefined, settled: () => Promise.resolve(), status: () => ({ state: 'ready' }) };
    const name = () => Promise.resolve({ name: 'of h1' });
    const own = operation({ ...facts, id: 'own', path: '/v1/own', answer: THING, handle: name });
    const app = createManagementApi(agent, [own], agents());
    local = createServer((request, response) => void app(request, response)).listen(0, '127.0.0.1');
    await once(local, 'listening');
  });

  afterEach(() => {
    local.closeAllConnections();
    local.close();
  });

  async function ask(method: string, path: string, body?: string, headers = {}): Promise<[number, string, string]> {
    const options = { port: (local.address() as AddressInfo).port, method, path, agent: false };
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const call = httpRequest({ ...options, headers: { ...type, ...headers } }).end(body);
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    return [response.statusCode ?? 0, response.headers['content-type'] ?? '', await textOf(response)];
  }

  test('passes on what is asked, and what is answered', async () => {
    expect(await ask('GET', '/v1/at/h2/things/a%2Fb')).toEqual([
      200,
      expect.stringContaining('json'),
      '{"name":"a/b"}',
    ]);
    expect((await ask('POST', '/v1/at/h2/things', '{"name":"b"}'))[2]).toBe('{"name":"b"}');
    expect((await ask('GET', '/v1/at/h2/things/none'))[0]).toBe(404);
    expect((await ask('POST', '/v1/at/h2/things', JSON.stringify({ name: 'x'.repeat(70_000) })))[0]).toBe(413);
    expect((await ask('GET', '/v1/at/h2/bytes'))[1]).toBe('application/octet-stream');
  });

  test('answers itself where it is the one that is meant', async () => {
    expect((await ask('GET', '/v1/at/h1/own?'))[2]).toBe('{"name":"of h1"}');
    expect((await ask('GET', '/v1/at/h1/nothing'))[0]).toBe(404);
  });

  test('says what is in the way', async () => {
    expect(await ask('GET', '/v1/at/h3/own')).toEqual([
      404,
      expect.anything(),
      '{"message":"there is no host h3; did you mean h1 or h2?","code":"not-found"}',
    ]);
    expect((await ask('POST', '/v1/at/h2/things', '{}', { origin: 'https://evil.example' }))[0]).toBe(403);
    front.stop();
    const [status, , said] = await ask('GET', '/v1/at/h2/things/a');
    expect([status, JSON.parse(said).code]).toEqual([503, 'unavailable']);
  });

  test('ends with who asked', async () => {
    const path = '/v1/at/h2/watch';
    const call = httpRequest({ port: (local.address() as AddressInfo).port, path, agent: false }).end();
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    expect(String((await once(response, 'data'))[0])).toBe('{"name":"first"}\n');
    const gone = once(endless!, 'abort');
    response.destroy();
    await gone;
  });
});

function open(protocol: string, who?: Identity): TLSSocket {
  const socket = connect({
    host: '127.0.0.1',
    port,
    ca: authority.certificate,
    checkServerIdentity: () => undefined,
    ALPNProtocols: [protocol],
    ...(who === undefined ? {} : { cert: who.certificate, key: who.key }),
  }).on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

/** What is said to a request; "closed" where the door shuts. */
function say(socket: TLSSocket): Promise<string> {
  return new Promise((resolve) => {
    socket.on('data', (data: Buffer) => resolve(String(data)));
    socket.on('close', () => resolve('closed'));
    socket.write('GET /v1/things/a HTTP/1.1\r\nhost: h2\r\n\r\n');
  });
}
