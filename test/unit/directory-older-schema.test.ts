// What is written to a database of an older version than the agent's: as much as it can hold, and nothing that is lost unseen.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fitTo } from '../../src/directory/older-schema';
import type { Uuid } from '../../src/ovsdb/notation';
import { comment, insert, isRow, mutate, remove, update, wait } from '../../src/ovsdb/operations';
import { parseSchema } from '../../src/ovsdb/schema';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';

const read = (path: string) => parseSchema(JSON.parse(readFileSync(path, 'utf8')));
const older = read(join(__dirname, '../golden/directory-1.2.0.ovsschema'));
const present = read(DIRECTORY_SCHEMA_FILE);
const ROW = isRow('00000000-0000-0000-0000-000000000001' as Uuid);

test('what fits is left as it is', () => {
  const ops = [update('Host', ROW, { site: 'dc' }), insert('Switch', { generation: 1 }), remove('Policy', ROW)];
  for (const op of ops) expect(fitTo(present, [op])[0]).toBe(op);
  expect(fitTo(undefined, ops)).toBe(ops);
  const fits = [wait('Tenant', ROW, [{ revision: 1 }]), mutate('Pool', ROW, [['holders', 'delete', []]])];
  expect(fitTo(older, fits)).toEqual(fits);
});

test('a new column without a value of its own is left out: all rows without it say the same', () => {
  const plain = { name: 'h1', site: '', is_hub: false, encrypt: false };
  expect(fitTo(older, [insert('Host', plain)])).toEqual([insert('Host', { name: 'h1' })]);
  const described = { aliases: ['a'], labels: new Map(), service: undefined };
  expect(fitTo(older, [update('Endpoint', ROW, described)])).toEqual([update('Endpoint', ROW, { aliases: ['a'] })]);
});

test('so is what only describes', () => {
  const row = { container_name: 'web', labels: new Map([['a', 'b']]), service: 'shop' };
  expect(fitTo(older, [update('Endpoint', ROW, row)])).toEqual([update('Endpoint', ROW, { container_name: 'web' })]);
  expect(fitTo(older, [update('Host', ROW, { version: '0.2.0' })])).toEqual([update('Host', ROW, {})]);
});

test('nothing is to be deleted from a table that is not there', () => {
  const ops = [remove('Policy', ROW), remove('Host', ROW)];
  expect(fitTo(older, ops)).toEqual([comment('no Policy yet'), ops[1]]);
});

test.each([
  ['another site', update('Host', ROW, { site: 'dc' }), 'Host.site'],
  ['encryption', insert('Host', { name: 'h1', encrypt: true }), 'Host.encrypt'],
  ['a rule', update('Network', ROW, { default_deny: true }), 'Network.default_deny'],
  ['a row of a new table', insert('Switch', { generation: 1 }), 'Switch'],
  ['a part of a new column', mutate('Endpoint', ROW, [['labels', 'delete', ['a']]]), 'Endpoint.labels'],
  ['what a new column has to be', wait('Network', ROW, [{ default_deny: false }]), 'Network.default_deny'],
])('%s is refused, and what is missing is said', (_, op, what) => {
  const message = `the directory is of version 1.2.0, and has no ${what} yet: upgrade the plugin on the servers`;
  expect(() => fitTo(older, [op])).toThrow(expect.objectContaining({ code: 'unavailable', message }));
});
