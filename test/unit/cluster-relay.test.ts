// Between a host and ovsdb-server: what passes, and what is answered in the server's place.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair, type Duplex } from 'node:stream';
import { systemClock } from '../../src/base/clock';
import { OvsdbRelay } from '../../src/cluster/ovsdb-relay';

let folder: string;
let server: Server;
let database: Socket;
let host: Duplex;
let relay: OvsdbRelay;
let reached: string;
let answered: string;
const refused: string[] = [];
let isClosed: boolean;
/** How often an operation that is early is refused before it is not. */
let early = 0;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'relay-'));
  const socketPath = join(folder, 'directory.sock');
  [reached, answered, isClosed] = ['', '', false];
  refused.length = 0;
  const connected = new Promise<void>((resolve) => {
    server = createServer((socket) => {
      database = socket.on('error', () => undefined);
      socket.setEncoding('utf8').on('data', (text: string) => (reached += text));
      resolve();
    }).listen(socketPath);
  });
  const [near, far] = duplexPair();
  host = near.on('error', () => undefined);
  near.setEncoding('utf8').on('data', (text: string) => (answered += text));
  relay = new OvsdbRelay(far, {
    socketPath,
    database: 'DaoliNet',
    inspect: (operations) => {
      if (JSON.stringify(operations).includes('early') && (early -= 1) >= 0) return 'that is not known';
      return JSON.stringify(operations).includes('bad') ? 'that is bad' : undefined;
    },
    onRefused: (problem) => void refused.push(problem),
    onClosed: () => (isClosed = true),
    clock: systemClock,
  });
  await connected;
});

afterEach(() => {
  relay.close();
  server.close();
  rmSync(folder, { recursive: true });
});

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn += 1) {
    if (turn > 2000) throw new Error(`it is not so that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const call = (method: string, params: unknown, id: unknown = 7) => host.write(JSON.stringify({ id, method, params }));

test.each([
  ['monitor_cond_since', ['DaoliNet', null, {}]],
  ['get_schema', ['DaoliNet']],
  ['echo', []],
  ['transact', ['DaoliNet', { op: 'select' }]],
])('%s passes, and so does its answer', async (method, params) => {
  call(method, params);
  await until('it reached the database', () => reached.includes(method));
  database.write('{"id":7,"result":[],"error":null}');
  await until('the answer is there', () => answered !== '');
  expect([answered, refused]).toEqual(['{"id":7,"result":[],"error":null}', []]);
});

test.each([
  ['transact', ['DaoliNet', { op: 'select' }, { op: 'bad' }], 'that is bad'],
  ['transact', ['_Server', { op: 'select' }], 'hosts write to DaoliNet alone'],
  ['transact', null, 'hosts write to DaoliNet alone'],
  ['lock', ['x'], 'hosts do not ask for lock'],
  ['steal', ['x'], 'hosts do not ask for steal'],
  ['convert', ['DaoliNet', {}], 'hosts do not ask for convert'],
])('%s %j is answered with a refusal, and the connection goes on', async (method, params, problem) => {
  call(method, params);
  await until('the answer is there', () => answered.includes('}'));
  expect(JSON.parse(answered)).toEqual({ id: 7, result: null, error: { error: 'permission error', details: problem } });
  expect(refused).toEqual([problem]);
  call('echo', []);
  await until('the next one passes', () => reached.includes('echo'));
  expect(reached).not.toContain(method === 'transact' ? 'op' : method);
});

test('what is refused only because the view is late passes a moment after, and nothing overtakes it', async () => {
  early = 3;
  call('transact', ['DaoliNet', { op: 'early' }]);
  call('echo', [], 8);
  await until('both passed', () => reached.includes('echo'));
  expect(reached.indexOf('early')).toBeLessThan(reached.indexOf('echo'));
  expect([early, refused, answered]).toEqual([-1, [], '']);
});

test('answers to the database’s own questions pass', async () => {
  host.write('{"id":"echo","result":[],"error":null}');
  await until('it reached the database', () => reached.includes('"result"'));
});

test.each([
  ['no JSON', '[]'],
  ['no JSON at all', 'GET / HTTP/1.1'],
  ['JSON that is cut', '{"a":}'],
])('%s ends the connection', async (_, text) => {
  host.write(text);
  await until('it is closed', () => isClosed);
});

test('so it does behind something that waits', async () => {
  early = Infinity;
  host.write('{"id":1,"method":"transact","params":["DaoliNet",{"op":"early"}]} {"a":}');
  await until('it is closed', () => isClosed);
  expect(reached).toBe('');
  early = 0;
});

test('a host that asks what it may not, and reads no answer, is not read any more', async () => {
  host.pause();
  const request = `{"id":"${'x'.repeat(10_000)}","method":"lock","params":[]}`;
  let asked = 0;
  const ask = () => {
    for (let isTaken = true; isTaken && asked < 2000; asked += 1) isTaken = host.write(request);
  };
  host.on('drain', ask);
  ask();
  // No more of it is taken: not a turn later, nor the next.
  let last = -1;
  await until('it stands still', () => {
    const stands = refused.length === last && last > 0;
    last = refused.length;
    return stands;
  });
  expect(refused.length).toBeLessThan(1000);
  host.resume();
  await until('all are answered', () => refused.length === 2000);
});

test('a request larger than any that hosts send ends the connection', async () => {
  host.write(`{"id":1,"method":"transact","params":["${'x'.repeat(5 * 1024 * 1024)}`);
  await until('it is closed', () => isClosed);
  expect(reached).toBe('');
});

test('when one side goes the other goes', async () => {
  database.destroy();
  await until('it is closed', () => isClosed);
});
