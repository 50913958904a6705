// What `daolictl cluster join` does to Docker's settings, after asking.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { editDaemonJson, resolversIn, withDns } from '../../src/cli/daemon-json';

const DNS = '100.127.255.254';
const dnsOf = (text: string | undefined) => (JSON.parse(text ?? '') as { dns: string[] }).dns;

test('the agent is asked first, then the servers that were asked before', () => {
  expect(dnsOf(withDns('', DNS, ['192.0.2.53']))).toEqual([DNS, '192.0.2.53']);
  expect(dnsOf(withDns('{"dns":["192.0.2.9"]}', DNS, ['192.0.2.53']))).toEqual([DNS, '192.0.2.9']);
  expect(dnsOf(withDns(`{"dns":["192.0.2.9","${DNS}"]}`, DNS, []))).toEqual([DNS, '192.0.2.9']);
  expect(withDns(`{"dns":["${DNS}"]}`, DNS, ['192.0.2.53'])).toBeUndefined();
});

test('all else stays as it is', () => {
  const settings = { 'live-restore': true, 'log-opts': { 'max-size': '10m' } };
  expect(JSON.parse(withDns(JSON.stringify(settings), DNS, []) ?? '')).toEqual({ ...settings, dns: [DNS] });
});

test('servers that only the machine itself reaches are none for containers', () => {
  const text = '# made by hand\nnameserver 127.0.0.53\n nameserver 192.0.2.53\nsearch example.org\nnameserver ::1\n';
  expect(resolversIn(text)).toEqual(['192.0.2.53']);
});

test('the file is replaced whole, and kept; one that cannot be read is left alone', () => {
  const folder = mkdtempSync(join(tmpdir(), 'daemon-json-'));
  const path = join(folder, 'docker/daemon.json');
  try {
    expect(editDaemonJson(DNS, path)).toBe(true);
    expect(editDaemonJson(DNS, path)).toBe(false);
    writeFileSync(path, '{"debug":true}');
    expect(editDaemonJson(DNS, path)).toBe(true);
    expect(readFileSync(`${path}.before`, 'utf8')).toBe('{"debug":true}');
    for (const text of ['{', '[]']) {
      writeFileSync(path, text);
      expect(() => editDaemonJson(DNS, path)).toThrow(`${path} was left as it is`);
      expect(readFileSync(path, 'utf8')).toBe(text);
    }
    expect(readdirSync(join(folder, 'docker')).sort()).toEqual(['daemon.json', 'daemon.json.before']);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
