// What comes back to a client of JSON over HTTP, from a server that does as it likes.
import { once } from 'node:events';
import { createServer, request, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DaoliError } from '../../src/base/errors';
import { JsonClient } from '../../src/base/json-client';

let server: Server;
let answer: RequestListener;
let client: JsonClient;

beforeAll(async () => {
  server = createServer((asked, response) => answer(asked, response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  client = new JsonClient({
    open: (head) => request({ ...head, port, agent: false }),
    away: (why) => new DaoliError('unavailable', why),
    refused: (message, code) => new DaoliError(code, message),
  });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

async function linesOf(): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const value of client.lines('/v1/lines', { timeoutMs: 5_000 })) values.push(value);
  return values;
}

test('sends JSON, and gets any value', async () => {
  let sent = '';
  answer = (asked, response) => {
    asked.setEncoding('utf8').on('data', (chunk: string) => (sent += chunk));
    asked.on('end', () => response.end('[null]'));
  };
  expect(await client.call('POST', '/v1/things', { name: 'ä' })).toEqual([null]);
  expect(sent).toBe('{"name":"ä"}');
});

test.each<[string, number, string, object]>([
  ['a refusal', 409, '{"message":"no","code":"conflict"}', { code: 'conflict', message: 'no' }],
  ['a refusal of a kind that is none', 409, '{"message":"no","code":"toString"}', { code: 'internal', message: 'no' }],
  ['a refusal in other words', 502, '<html>', { code: 'internal', message: 'status 502' }],
  ['a redirection', 302, '', { code: 'internal', message: 'status 302' }],
  ['no JSON', 200, '<html>', { code: 'unavailable', message: 'the answer is no JSON: <html>' }],
])('%s is an error', async (_, status, said, error) => {
  answer = (_request, response) => response.writeHead(status).end(said);
  await expect(client.call('GET', '/v1/things')).rejects.toMatchObject(error);
});

test('an answer that is cut off is an error', async () => {
  answer = (_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{"a":', () => response.destroy());
  };
  await expect(client.call('GET', '/v1/things')).rejects.toMatchObject({ code: 'unavailable' });
});

test('an answer that trickles is given up in time, and so is one that nobody waits for', async () => {
  answer = (_request, response) => {
    const trickle = setInterval(() => response.write(' '), 10);
    response.on('close', () => clearInterval(trickle));
  };
  await expect(client.call('GET', '/v1/things', undefined, { timeoutMs: 100 })).rejects.toMatchObject({
    message: 'no answer within 0.1 s',
  });
  const signal = AbortSignal.timeout(50);
  await expect(client.call('GET', '/v1/things', undefined, { signal })).rejects.toMatchObject({ code: 'unavailable' });
});

test('an answer without end is given up', async () => {
  answer = (_request, response) => {
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    const more = () => void (response.destroyed || response.write(chunk, more));
    more();
  };
  await expect(client.call('GET', '/v1/things')).rejects.toMatchObject({
    message: 'the answer is larger than 67108864 bytes',
  });
});

describe('lines', () => {
  const say = (...pieces: (string | Buffer)[]) => {
    answer = (_request, response) => {
      void (async () => {
        for (const piece of pieces) await new Promise((resolve) => response.write(piece, resolve));
        response.end();
      })();
    };
  };

  test('come whole, wherever they were cut', async () => {
    const bytes = Buffer.from('{"name":"ä"}\n{"name":"b"}\n');
    say(...Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)));
    expect(await linesOf()).toEqual([{ name: 'ä' }, { name: 'b' }]);
  });

  test('end with the error that is the last of them', async () => {
    say('1\n', '{"error":{"message":"gone","code":"not-found"}}\n');
    const lines = client.lines('/v1/lines');
    expect((await lines.next()).value).toBe(1);
    await expect(lines.next()).rejects.toMatchObject({ code: 'not-found', message: 'gone' });
  });

  test.each([
    ['that is no JSON', '{"a"\n', 'the answer is no JSON: {"a"'],
    ['that is not ended', '{"a":', 'the answer ended in the middle of a line'],
    ['without end', 'x'.repeat(1024 * 1024 + 1), 'a line of the answer is too long'],
  ])('one %s is an error', async (_, text, message) => {
    say(text);
    await expect(linesOf()).rejects.toMatchObject({ message });
  });

  test('of a server that goes away are an error', async () => {
    answer = (_request, response) => response.write('1\n', () => response.destroy());
    await expect(linesOf()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
