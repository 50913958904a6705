// `npm run lab`, as a user who tries a cluster on one machine has it.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { waitFor } from '../../lab/host';

jest.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), 'lab-test-'));
const before = leftBehind();

/** What a lab could leave: interfaces, mounts, folders, and processes by the names of what it starts. */
function leftBehind(): unknown {
  const names = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => {
      const file = `/proc/${pid}/comm`;
      return existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
    });
  return {
    links: readdirSync('/sys/class/net').sort(),
    mounts: readFileSync('/proc/mounts', 'utf8').split('\n').length,
    folders: readdirSync(tmpdir()).filter((name) => name.startsWith('daolinet-')),
    processes: names.filter((name) => /dockerd|containerd|ovs-vswitchd|ovsdb-server|daolinetd|esbuild/.test(name))
      .length,
  };
}

/** `npm run lab -- ARGS`: what it said, and its exit code. */
function lab(...args: string[]): Promise<{ code: number; said: string }> {
  const script = join(__dirname, '../../lab/run.sh');
  return new Promise((resolve) => {
    execFile('bash', [script, ...args], { env: { ...process.env, DAOLINET_LAB: folder } }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, said: stdout + stderr });
    });
  });
}

afterAll(async () => {
  await lab('down');
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test('before it is up, commands say so', async () => {
  expect(await lab('up', '--hosts', 'many')).toMatchObject({ code: 1, said: expect.stringContaining('--hosts many') });
  expect(await lab('status')).toMatchObject({ code: 1, said: expect.stringContaining('no lab is there') });
});

test('up makes one cluster of the hosts', async () => {
  const { code, said } = await lab('up', '--hosts', '2');
  expect([code, said]).toEqual([0, expect.stringMatching(/h1 +192\.0\.2\.1 +up +up +up +up/)]);
  expect((await lab('exec', 'h2', 'daolictl', 'host', 'ls')).said).toMatch(/h1 .*server[^]*h2 \(this\).*client/);
  expect(await lab('up')).toMatchObject({ code: 1, said: expect.stringContaining('a lab is there already') });
});

test('exec runs anything on a host, and ends as it ended', async () => {
  expect(await lab('exec', 'h1', 'sh', '-c', 'hostname; exit 3')).toEqual({ code: 3, said: 'h1\n' });
  expect((await lab('exec', 'h2', 'docker', 'info', '--format', '{{.Name}}')).said).toBe('h2\n');
  expect(await lab('exec', 'h9', 'true')).toMatchObject({ code: 1, said: expect.stringContaining('there are h1, h2') });
});

test('cut and heal', async () => {
  const ping = async () => (await lab('exec', 'h1', 'busybox', 'ping', '-c', '1', '-W', '1', '192.0.2.2')).code;
  expect(await ping()).toBe(0);
  expect((await lab('cut', 'h1', 'h2')).code).toBe(0);
  expect(await ping()).toBe(1);
  expect((await lab('status')).said).toMatch(/h1 .* h2\nh2 .* h1\n/);
  await lab('heal');
  expect(await ping()).toBe(0);
});

test.each(['daolinetd', 'dockerd', 'ovs-vswitchd', 'ovsdb-server'])('kill %s: it runs again', async (daemon) => {
  expect(await lab('kill', 'h2', daemon)).toMatchObject({ code: 0, said: expect.stringContaining('runs again') });
  expect((await lab('status')).said).not.toContain('down');
});

test('what it cannot kill is refused, naming what it can', async () => {
  expect((await lab('kill', 'h1', 'init')).said).toContain(
    'the lab can kill daolinetd, dockerd, ovs-vswitchd, ovsdb-server',
  );
});

test('down leaves nothing behind', async () => {
  expect(await lab('down')).toEqual({ code: 0, said: 'down\n' });
  // Its own process ends a moment after it has said so.
  await waitFor('everything to be gone', () => isDeepStrictEqual(leftBehind(), before), 3000).catch(() => undefined);
  expect(leftBehind()).toEqual(before);
});
