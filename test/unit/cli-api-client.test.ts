// How daolictl finds the agent of this host: also while that starts anew.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../../src/cli/api-client';

let folder: string;
let path: string;
let agent: Server;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daolictl-'));
  path = join(folder, 'api.sock');
  agent = createServer((_request, response) => response.end('{"state":"ready"}'));
});
afterEach(() => {
  agent.close();
  rmSync(folder, { recursive: true });
});

const clientAt = (at: string, patienceMs?: number) =>
  new ApiClient({ kind: 'unix', path: at, host: undefined }, patienceMs);
const listen = () => new Promise<void>((resolve) => void agent.listen(path, resolve));

test('an agent whose socket is away for a moment is waited for', async () => {
  const answer = clientAt(path, 10_000).get('/v1/status');
  await new Promise((resolve) => setTimeout(resolve, 150));
  await listen();
  expect(await answer).toEqual({ state: 'ready' });
});

test('one that is away for longer is not, nor is one that never was, or by who does not wait', async () => {
  const message = /cannot be reached at .*ENOENT.*is the plugin enabled/;
  await expect(clientAt(path, 150).get('/v1/status')).rejects.toThrow(message);
  const begin = performance.now();
  await expect(clientAt(join(folder, 'none', 'api.sock'), 30_000).get('/v1/status')).rejects.toThrow(message);
  await expect(clientAt(path).get('/v1/status')).rejects.toThrow(message);
  expect(performance.now() - begin).toBeLessThan(3_000);
});
