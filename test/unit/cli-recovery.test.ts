// What daolictl writes on this host of what a cluster cannot go on without.
import { Command } from 'commander';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiClient } from '../../src/cli/api-client';
import { createContext } from '../../src/cli/command-context';
import { recoveryCommands } from '../../src/cli/commands/recovery-commands';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'backup-'))));
afterEach(() => rmSync(folder, { recursive: true }));

test('a backup is for its owner alone, whoever could read what stood in its place', async () => {
  const backup = { made: '2026-11-28T12:00:00.000Z' };
  const [yes, no] = [() => true, () => false];
  const client = () => ({ get: () => Promise.resolve(backup) }) as unknown as ApiClient;
  let said = '';
  const write = (text: string) => void (said += text);
  const context = createContext({ client, isJson: no, isOwnAgent: yes, isThisHost: yes, write });
  const cluster = new Command('cluster');
  const doNot = () => Promise.reject(new Error('nothing starts anew'));
  recoveryCommands(cluster, context, { startingAnew: doNot, whenApproved: doNot });
  const file = join(folder, 'cluster.backup');
  for (const name of [file, `${file}.new`]) {
    writeFileSync(name, 'another');
    chmodSync(name, 0o666);
  }
  await cluster.parseAsync(['backup', file], { from: 'user' });
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(backup);
  expect([statSync(file).mode & 0o777, readdirSync(folder)]).toEqual([0o600, ['cluster.backup']]);
  expect(said).toContain('Keep it secret');
});
