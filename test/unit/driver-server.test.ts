// The plugin's HTTP edge, as Docker meets it: what it answers, what it refuses, and how its sockets live and end.
import { Agent, request as httpRequest } from 'node:http';
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer as createNetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../src/base/clock';
import { DaoliError } from '../../src/base/errors';
import type { Logger } from '../../src/base/logger';
import { EarlyServer } from '../../src/driver/early-server';
import type { PluginHandlers } from '../../src/driver/plugin-app';
import { PluginServer } from '../../src/driver/server';

let folder: string;
let servers: PluginServer[];
let lines: string[];

const record =
  (level: string) =>
  (message: string, fields: Record<string, unknown> = {}): void => {
    lines.push(`${level} ${message} ${JSON.stringify({ ...fields, stack: undefined })}`);
  };
const logger: Logger = {
  debug: record('debug'),
  info: record('info'),
  warn: record('warn'),
  error: record('error'),
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daoli-driver-'));
  servers = [];
  lines = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

interface Reply {
  status: number;
  body: Record<string, unknown>;
  headers: Record<string, unknown>;
}

function call(path: string, method: string, body?: string | Buffer, options: object = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { 'User-Agent': 'Go-http-client/1.1', 'Content-Length': Buffer.byteLength(body ?? '') };
    const request = httpRequest(
      { socketPath: path, path: `/${method}`, method: 'POST', agent: false, headers, ...options },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text), headers: response.headers });
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

async function serve(handlers: PluginHandlers, more: object = {}): Promise<string> {
  const path = join(folder, 'plugin.sock');
  const server = new PluginServer({ paths: [path], handlers, logger, clock: systemClock, ...more });
  servers.push(server);
  await server.start();
  return path;
}

test('a socket that was opened early keeps what came until it is served, and is the server’s from then on', async () => {
  const path = join(folder, 'early.sock');
  const early = new EarlyServer(path);
  await early.open();
  const first = call(path, 'Plugin.Activate');
  await new Promise((resolve) => early.server.once('connection', resolve));
  const server = new PluginServer({ paths: [path], early, handlers: {}, logger, clock: systemClock });
  servers.push(server);
  await server.start();
  expect((await first).status).toBe(200);
  expect((await call(path, 'Plugin.Activate')).status).toBe(200);
  await server.stop();
  expect(early.server.listening).toBe(false);
  expect(existsSync(path)).toBe(false);
  expect(warnings()).toEqual([]);
});

test('what kept a socket from being opened early does not keep it from being opened later', async () => {
  const path = join(folder, 'early.sock');
  writeFileSync(path, '');
  const early = new EarlyServer(path);
  await expect(early.open()).rejects.toThrow('is not a socket');
  rmSync(path);
  const server = new PluginServer({ paths: [path], early, handlers: {}, logger, clock: systemClock });
  servers.push(server);
  await server.start();
  expect((await call(path, 'Plugin.Activate')).status).toBe(200);
});

const warnings = () => lines.filter((line) => !line.startsWith('info'));

test('answers Plugin.Activate and calls handlers with the decoded body', async () => {
  const path = await serve({ 'NetworkDriver.Join': (body) => ({ got: body }) });
  expect((await call(path, 'Plugin.Activate')).body).toEqual({ Implements: ['NetworkDriver', 'IpamDriver'] });
  const reply = await call(path, 'NetworkDriver.Join', '{"NetworkID":"n"}\n');
  expect(reply).toMatchObject({ status: 200, body: { got: { NetworkID: 'n' } } });
  expect(reply.headers['content-type']).toBe('application/vnd.docker.plugins.v1.2+json');
  expect(warnings()).toEqual([]);
});

test.each([
  [{}],
  [{ 'Content-Type': 'application/x-www-form-urlencoded' }],
  [{ 'Content-Type': 'nonsense;;' }],
  [{ Host: '' }],
])('depends on no header: %j', async (headers) => {
  const path = await serve({ 'NetworkDriver.Join': (body) => ({ got: body }) });
  const body = '{"a":1}';
  const reply = await call(path, 'NetworkDriver.Join', body, {
    headers: { 'Content-Length': body.length, ...headers },
  });
  expect(reply.body).toEqual({ got: { a: 1 } });
});

test('works without any Host header, as HTTP/1.1 text', async () => {
  const path = await serve({ 'NetworkDriver.Leave': () => ({}) });
  const socket = createConnection(path);
  socket.end('POST /NetworkDriver.Leave HTTP/1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}');
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 200 OK/);
});

describe('refuses, in a body that both of Docker’s interfaces read,', () => {
  const handlers: PluginHandlers = {
    'NetworkDriver.Join': () => ({}),
    'NetworkDriver.Leave': () => {
      throw new DaoliError('conflict', 'address 10.0.0.5 belongs to container web');
    },
    'NetworkDriver.CreateNetwork': () => Promise.reject(new Error('bug')),
  };

  test.each([
    ['an unknown method', 'NetworkDriver.Nothing', '{}', 404, /no method NetworkDriver\.Nothing/],
    ['a method of Object', '__proto__', '{}', 404, /no method/],
    ['another one', 'constructor', '{}', 404, /no method/],
    ['an empty body', 'NetworkDriver.Join', '', 400, /empty body/],
    ['bad JSON', 'NetworkDriver.Join', '{"NetworkID":', 400, /not JSON/],
    ['a body over 1 MiB', 'NetworkDriver.Join', JSON.stringify('x'.repeat(1024 * 1024)), 413, /too large/],
    ['an error of a handler', 'NetworkDriver.Leave', '{"NetworkID":"n1"}', 500, /belongs to container web/],
    ['a bug', 'NetworkDriver.CreateNetwork', '{"NetworkID":"n1"}', 500, /bug/],
  ])('%s', async (_what, method, body, status, message) => {
    const path = await serve(handlers);
    const reply = await call(path, method, body);
    expect(reply.status).toBe(status);
    expect(reply.body['Err']).toMatch(message);
    expect(reply.body['Error']).toBe(reply.body['Err']);
    expect(warnings()).toHaveLength(1);
  });

  test('a GET', async () => {
    const path = await serve(handlers);
    expect((await call(path, 'NetworkDriver.Join', undefined, { method: 'GET' })).status).toBe(404);
  });

  test('and logs a failed call once, with its ids', async () => {
    const path = await serve(handlers);
    await call(path, 'NetworkDriver.Leave', '{"NetworkID":"n1","EndpointID":"e1"}');
    expect(warnings()).toEqual([
      'warn NetworkDriver.Leave failed: address 10.0.0.5 belongs to container web {"NetworkID":"n1","EndpointID":"e1"}',
    ]);
  });
});

/** A clock whose timers fire when the test says so. */
class ManualClock implements Clock {
  timers: { ms: number; callback: () => void }[] = [];
  now = () => 0;
  after(ms: number, callback: () => void): () => void {
    const timer = { ms, callback };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((other) => other !== timer));
  }
  fire(ms: number): void {
    const due = this.timers.filter((timer) => timer.ms === ms);
    this.timers = this.timers.filter((timer) => timer.ms !== ms);
    for (const timer of due) timer.callback();
  }
}

test('a call that takes longer than 8 s ends with an error that names the part it waits for', async () => {
  const clock = new ManualClock();
  let begun = () => {};
  const beginning = new Promise<void>((resolve) => (begun = resolve));
  const handlers: PluginHandlers = {
    'NetworkDriver.Join': async (_body, deadline) => {
      const pending = deadline.wait('the directory', new Promise(() => {}));
      begun();
      await pending;
      return {};
    },
  };
  const path = await serve(handlers, { clock });
  const reply = call(path, 'NetworkDriver.Join', '{}');
  await beginning;
  clock.fire(8_000);
  expect((await reply).body['Err']).toMatch(/^the directory did not answer within 8 s/);
  expect(warnings()).toHaveLength(1);
});

test('every call is reported with its duration and error', async () => {
  const calls: { method: string; error?: string }[] = [];
  const path = await serve(
    { 'NetworkDriver.Join': () => ({}) },
    {
      onCall: ({ method, error }: { method: string; error?: string }) =>
        calls.push({ method, ...(error ? { error } : {}) }),
    },
  );
  await call(path, 'NetworkDriver.Join', '{}');
  await call(path, 'NetworkDriver.Join', 'x');
  expect(calls).toEqual([
    { method: 'NetworkDriver.Join' },
    { method: 'NetworkDriver.Join', error: expect.stringMatching(/not JSON/) },
  ]);
});

describe('sockets', () => {
  test('have mode 0600, and their folder is made', async () => {
    const path = join(folder, 'deep', 'er', 'plugin.sock');
    const server = new PluginServer({ paths: [path], handlers: {}, logger, clock: systemClock });
    servers.push(server);
    await server.start();
    await server.start();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect((await call(path, 'Plugin.Activate')).status).toBe(200);
    await server.stop();
    await server.stop();
    expect(existsSync(path)).toBe(false);
    await server.start();
    expect((await call(path, 'Plugin.Activate')).status).toBe(200);
  });

  test('replace the stale file of a dead process', async () => {
    const path = join(folder, 'plugin.sock');
    const dead = createNetServer();
    await new Promise<void>((resolve) => dead.listen(`${path}.x`, resolve));
    const { renameSync } = await import('node:fs');
    renameSync(`${path}.x`, path); // closing removes only the first name: what stays is what a killed process leaves
    await new Promise((resolve) => dead.close(resolve));
    expect(lstatSync(path).isSocket()).toBe(true);
    await serve({});
    expect((await call(path, 'Plugin.Activate')).status).toBe(200);
  });

  test('refuse a name that is a file, or that another process answers', async () => {
    const path = join(folder, 'plugin.sock');
    writeFileSync(path, 'precious');
    await expect(serve({})).rejects.toThrow(/is not a socket/);
    rmSync(path);
    const other = createNetServer();
    await new Promise<void>((resolve) => other.listen(path, resolve));
    await expect(serve({})).rejects.toThrow(/another process listens/);
    await new Promise((resolve) => other.close(resolve));
  });

  test('refuse a path that the kernel would cut', async () => {
    const server = new PluginServer({
      paths: [join(folder, 'x'.repeat(100))],
      handlers: {},
      logger,
      clock: systemClock,
    });
    await expect(server.start()).rejects.toThrow(/too long/);
  });

  test('one that cannot be opened does not hold up the other, and is opened as soon as it can be', async () => {
    const clock = new ManualClock();
    const blocked = join(folder, 'blocked.sock');
    const free = join(folder, 'free.sock');
    writeFileSync(blocked, '');
    const server = new PluginServer({ paths: [blocked, free], handlers: {}, logger, clock });
    servers.push(server);
    await server.start();
    expect((await call(free, 'Plugin.Activate')).status).toBe(200);
    expect(warnings()).toHaveLength(1);
    clock.fire(1_000);
    await eventually(() => clock.timers.length > 0);
    expect(warnings()).toHaveLength(1); // said once
    rmSync(blocked);
    clock.fire(1_000);
    await eventually(() => clock.timers.length > 0);
    expect((await call(blocked, 'Plugin.Activate')).status).toBe(200);
  });

  test('are there again when their folder was made anew', async () => {
    const clock = new ManualClock();
    const path = join(folder, 'plugins', 'daolinet.sock');
    const server = new PluginServer({ paths: [path], handlers: {}, logger, clock });
    servers.push(server);
    await server.start();
    rmSync(join(folder, 'plugins'), { recursive: true });
    mkdirSync(join(folder, 'plugins'));
    clock.fire(1_000);
    await eventually(() => clock.timers.length > 0);
    expect((await call(path, 'Plugin.Activate')).status).toBe(200);
  });

  test('a name that a successor took is left to it', async () => {
    const path = await serve({});
    rmSync(path);
    const successor = createNetServer();
    await new Promise<void>((resolve) => successor.listen(path, resolve));
    chmodSync(path, 0o600);
    await servers[0]?.stop();
    expect(existsSync(path)).toBe(true);
    await new Promise((resolve) => successor.close(resolve));
  });
});

async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

describe('stopping', () => {
  test('answers the calls under way, then closes their connections', async () => {
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    let calls = 0;
    const path = await serve({
      'NetworkDriver.Join': async () => {
        calls += 1;
        await gate;
        return { done: true };
      },
    });
    const agent = new Agent({ keepAlive: true });
    const reply = call(path, 'NetworkDriver.Join', '{}', { agent });
    await eventually(() => calls === 1);
    const stopped = servers[0]?.stop();
    setTimeout(release, 80);
    expect(await reply).toMatchObject({ status: 200, body: { done: true }, headers: { connection: 'close' } });
    await stopped;
    agent.destroy();
    await expect(call(path, 'Plugin.Activate')).rejects.toThrow(/ENOENT/);
  });

  test('answers a request of which only a part has come', async () => {
    const path = await serve({ 'NetworkDriver.Join': (body) => ({ got: body }) });
    const socket: Socket = createConnection(path);
    const chunks: Buffer[] = [];
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.write('POST /NetworkDriver.Join HTTP/1.1\r\nHost:\r\nContent-Length: 7\r\n\r\n{"a"');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const stopped = servers[0]?.stop();
    await new Promise((resolve) => setTimeout(resolve, 80));
    socket.write(':1}');
    await ended;
    await stopped;
    expect(Buffer.concat(chunks).toString()).toMatch(/200 OK[^]*\{"got":\{"a":1\}\}$/);
  });
});

test('idle connections are kept', async () => {
  const path = await serve({ 'NetworkDriver.Join': () => ({}) });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const first = await call(path, 'NetworkDriver.Join', '{}', { agent });
  expect(first.headers['connection']).toBe('keep-alive');
  expect(first.headers['keep-alive']).toBeUndefined();
  agent.destroy();
});
