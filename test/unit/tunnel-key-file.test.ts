// Keys of tunnels, and the file that has them.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TUNNEL_KEY } from '../../src/directory/rows';
import { generateTunnelKey, KeyFile, tunnelKeyOf } from '../../src/tunnel/key-file';

let folder: string;
let file: KeyFile;
const path = () => join(folder, 'state', 'tunnel.key');
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daolinet-key-'));
  file = new KeyFile(path());
});
afterEach(() => rmSync(folder, { recursive: true }));

test('the public key is the one that `wg pubkey` gives', () => {
  const key = tunnelKeyOf('AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eH0A=');
  expect(key.publicKey).toBe('1ldxNLbC5RXmefgWV91J53juhIGutuD6gZZMZ5R1gCg=');
});

test('keys are of the form that the directory takes, and no two are the same', () => {
  const keys = Array.from({ length: 20 }, generateTunnelKey);
  for (const { privateKey, publicKey } of keys) {
    expect(publicKey).toMatch(TUNNEL_KEY);
    expect(tunnelKeyOf(privateKey).publicKey).toBe(publicKey);
  }
  expect(new Set(keys.map(({ publicKey }) => publicKey)).size).toBe(20);
});

test('a key is made once, for root alone, and is the same for whoever reads it later', () => {
  expect(file.current).toBeUndefined();
  const key = file.create();
  expect(file.create()).toEqual(key);
  expect(new KeyFile(path()).current).toEqual(key);
  expect(statSync(path()).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder, 'state')).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(folder, 'state'))).toEqual(['tunnel.key']);
  expect(readFileSync(path(), 'utf8')).toBe(`${key.privateKey}\n`);
});

test('the next key lies beside it until it is used or given up; the old one is gone then', () => {
  const old = file.create();
  const next = file.prepare();
  expect([file.prepare(), file.current, new KeyFile(path()).next]).toEqual([next, old, next]);
  expect(statSync(`${path()}.next`).mode & 0o777).toBe(0o600);
  file.promote();
  file.promote();
  expect([file.current, file.next]).toEqual([next, undefined]);
  file.prepare();
  file.drop();
  file.drop();
  expect([file.current, file.next]).toEqual([next, undefined]);
  expect(readdirSync(join(folder, 'state'))).toEqual(['tunnel.key']);
});

test('a file with something else is named, its content is not; what a crash left half written is in nobody’s way', () => {
  file.create();
  writeFileSync(`${path()}.new`, 'hal');
  writeFileSync(path(), 'secret\n');
  expect(() => file.current).toThrow(`${path()} is no key of a tunnel: remove it, and this host makes a new one`);
  rmSync(path());
  expect(file.create().publicKey).toMatch(TUNNEL_KEY);
});
