// What ovs-vswitchd is to read, in a folder whose neighbours others may make.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keyFilesIn, removeKeyFiles, writeKeyFiles } from '../../src/switch/key-files';

let run: string;
let folder: string;
let elsewhere: string;
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'keys-'));
  folder = join(run, 'daolinet');
  elsewhere = join(run, 'elsewhere');
  mkdirSync(elsewhere, { mode: 0o755 });
});
afterEach(() => rmSync(run, { recursive: true }));

const keys = { certificate: 'a certificate', key: 'a key', authority: 'an authority' };
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('its owner alone can read them; they are written anew as often as one likes, and go', () => {
  writeKeyFiles(folder, keys);
  writeFileSync(`${keyFilesIn(folder).privateKey}.new`, 'half of');
  writeKeyFiles(folder, { ...keys, key: 'another key' });
  expect(readdirSync(folder).sort()).toEqual(['ca.crt', 'switch.crt', 'switch.key']);
  const { privateKey, certificate, authority } = keyFilesIn(folder);
  const read = [authority, certificate, privateKey].map((path) => readFileSync(path, 'utf8'));
  expect(read).toEqual(['an authority', 'a certificate', 'another key']);
  expect([folder, privateKey, certificate, authority].map(mode)).toEqual(['700', '600', '600', '600']);
  removeKeyFiles(folder);
  removeKeyFiles(folder);
  expect(existsSync(folder)).toBe(false);
});

test('a folder that is a link is not followed', () => {
  symlinkSync(elsewhere, folder);
  expect(() => writeKeyFiles(folder, keys)).toThrow(/ENOTDIR|ELOOP/);
  expect([readdirSync(elsewhere), mode(elsewhere)]).toEqual([[], '755']);
  removeKeyFiles(folder);
  expect(existsSync(elsewhere)).toBe(true);
});

test('a file that is a link is replaced, and what it leads to stays as it is', () => {
  const theirs = join(elsewhere, 'theirs');
  writeFileSync(theirs, 'theirs');
  mkdirSync(folder);
  const { privateKey, certificate } = keyFilesIn(folder);
  symlinkSync(theirs, `${privateKey}.new`);
  symlinkSync(theirs, certificate);
  writeKeyFiles(folder, keys);
  expect(readFileSync(theirs, 'utf8')).toBe('theirs');
  expect(readFileSync(privateKey, 'utf8')).toBe('a key');
  expect(readFileSync(certificate, 'utf8')).toBe('a certificate');
});
