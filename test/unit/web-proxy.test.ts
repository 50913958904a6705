// daolictl web: who gets in, and what is passed on. The agent is a server that tells what it was asked.
import { createServer, request, type IncomingMessage, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text as textOf } from 'node:stream/consumers';
import { WebProxy } from '../../src/cli/web-proxy';

interface Answer {
  readonly status: number | undefined;
  readonly said: string;
  readonly headers: IncomingMessage['headers'];
}

let agent: Server;
let proxy: WebProxy;
let url: URL;
let cookie: string;
let isAway: boolean;

beforeEach(async () => {
  isAway = false;
  agent = createServer((asked, response) => {
    if (asked.url === '/v1/watch') return void response.write('{"first":true}\n');
    void textOf(asked).then((body) => {
      const { method, url: path, headers } = asked;
      response.writeHead(201, { 'Content-Security-Policy': "default-src 'none'", 'Set-Cookie': 'a=b' });
      response.end(JSON.stringify({ method, path, headers, body }));
    });
  }).listen(0, '127.0.0.1');
  await once(agent, 'listening');
  const { port } = agent.address() as AddressInfo;
  proxy = new WebProxy((head) => request({ ...head, port: isAway ? 1 : port, host: '127.0.0.1', agent: false }));
  url = new URL(await proxy.start(0));
  const welcome = await ask('GET', url.pathname + url.search);
  cookie = welcome.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
});

afterEach(() => {
  proxy.stop();
  agent.closeAllConnections();
  agent.close();
});

function open(method: string, path: string, headers: Record<string, string>, body?: string): Promise<IncomingMessage> {
  const options = { host: '127.0.0.1', port: url.port, method, path, headers, agent: false };
  return new Promise((resolve, reject) => request(options, resolve).on('error', reject).end(body));
}

async function ask(method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Answer> {
  const answer = await open(method, path, headers, body);
  return { status: answer.statusCode, said: await textOf(answer), headers: answer.headers };
}

const origin = () => `http://127.0.0.1:${url.port}`;
const known = (more: Record<string, string> = {}) => ({ cookie, ...more });

describe('the address that is printed', () => {
  test('is of this machine alone, and its secret is long', () => {
    expect(url.hostname).toBe('127.0.0.1');
    expect(url.searchParams.get('secret')).toMatch(/^[\w-]{43}$/);
  });

  test('gives a cookie that scripts cannot read and other sites do not send, and leads to the page', async () => {
    const other = new WebProxy(() => request({ port: 1 }));
    const address = new URL(await other.start(0));
    const answer = await fetch(address);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('set-cookie')).toMatch(
      new RegExp(`^daolinet-${address.port}=[\\w-]{43}; HttpOnly; SameSite=Strict; Path=/$`),
    );
    expect(await answer.text()).toContain('content="0;url=/"');
    other.stop();
  });

  test('is good once', async () => {
    expect(await ask('GET', url.pathname + url.search)).toMatchObject({
      status: 403,
      said: expect.stringContaining('used already'),
    });
  });

  test('is not good with another secret', async () => {
    expect(await ask('GET', '/?secret=guess', known())).toMatchObject({ status: 403 });
  });
});

describe('a request', () => {
  test('with the cookie reaches the agent; of its head only what the agent needs', async () => {
    const headers = known({ origin: origin(), 'content-type': 'application/json', 'x-other': '1' });
    const { status, said, headers: answered } = await ask('POST', '/v1/policies?a=b', headers, '{"action":"allow"}');
    expect(status).toBe(201);
    expect(JSON.parse(said)).toMatchObject({ method: 'POST', path: '/v1/policies?a=b', body: '{"action":"allow"}' });
    const passed = JSON.parse(said).headers;
    expect(passed).toMatchObject({ 'content-type': 'application/json' });
    expect(passed).not.toHaveProperty('cookie');
    expect(passed).not.toHaveProperty('origin');
    expect(passed).not.toHaveProperty('x-other');
    expect(answered).toMatchObject({ 'content-security-policy': "default-src 'none'" });
    expect(answered).not.toHaveProperty('set-cookie');
  });

  test('whose answer goes on is passed on as it comes, and ends at the agent with its reader', async () => {
    const asked = once(agent, 'request') as Promise<[IncomingMessage]>;
    const answer = await open('GET', '/v1/watch', known());
    const [chunk] = (await once(answer, 'data')) as [Buffer];
    expect(String(chunk)).toBe('{"first":true}\n');
    const [request] = await asked;
    const ended = once(request.socket, 'close');
    answer.destroy();
    await ended;
  });

  test('while the agent is away says so', async () => {
    isAway = true;
    expect(await ask('GET', '/v1/status', known())).toMatchObject({
      status: 502,
      said: expect.stringContaining('the agent cannot be reached'),
    });
  });

  test.each(['//', '/a?%', 'http://evil.example/v1/x'])('for %s does no harm', async (path) => {
    expect(await ask('GET', path, known())).toMatchObject({ status: 201 });
    expect(await ask('GET', path)).toMatchObject({ status: 403 });
  });

  const refused: [string, string, () => Record<string, string>][] = [
    ['without the cookie', 'GET', () => ({})],
    ['with another cookie', 'GET', () => ({ cookie: cookie.replace(/.$/, '') })],
    ['under a name that leads here', 'GET', () => known({ host: `evil.example:${url.port}` })],
    ['without a port in its name', 'GET', () => known({ host: '127.0.0.1' })],
    ['of another page, which reads', 'GET', () => known({ origin: 'http://evil.example' })],
    ['of another port of this machine, which reads', 'GET', () => known({ 'sec-fetch-site': 'same-site' })],
    ['of another page, which writes', 'POST', () => known({ origin: 'http://evil.example' })],
    ['of another port of this machine, which writes', 'PUT', () => known({ origin: 'http://127.0.0.1:1' })],
    ['of no page', 'POST', () => known({ origin: 'null' })],
    ['that writes and does not say where it comes from', 'DELETE', () => known()],
  ];
  test.each(refused)('%s is refused, and the agent does not hear of it', async (_, method, headers) => {
    const heard = jest.fn();
    agent.on('request', heard);
    const { status, said } = await ask(method, '/v1/policies', headers());
    expect(status).toBe(403);
    expect(JSON.parse(said)).toEqual({ message: expect.any(String), code: 'invalid' });
    expect(heard).not.toHaveBeenCalled();
  });

  test('to localhost, of the page there, is one of ours', async () => {
    const host = `localhost:${url.port}`;
    expect(await ask('PUT', '/v1/x', known({ host, origin: `http://${host}` }))).toMatchObject({ status: 201 });
  });
});

test('a port that somebody has is refused by its number', async () => {
  const other = new WebProxy(() => request({ port: 1 }));
  await expect(other.start(Number(url.port))).rejects.toThrow(`port ${url.port} of 127.0.0.1 is in use`);
});
