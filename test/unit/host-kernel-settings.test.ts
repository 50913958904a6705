// Kernel settings in a folder that plays /proc/sys. The read-only /proc/sys of a managed plugin is tried in test/e2e.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { CoProcessSession } from '../../src/host/co-process-session';
import { shellDialogue } from '../../src/host/dialogues';
import { HOST_INTERFACE_SETTINGS, ProcKernelSettings } from '../../src/host/kernel-settings';
import { createSysctlFiles, type SysctlFiles } from '../../src/host/sysctl-files';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner } from '../fakes/scripted-runner';

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'daolinet-sysctl-'))));
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, value: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), value);
}

function settings(files: SysctlFiles = createSysctlFiles(root)): {
  kernel: ProcKernelSettings;
  runner: ScriptedRunner;
} {
  const runner = new ScriptedRunner();
  const shell = new CoProcessSession({ runner, clock: new ManualClock(), dialogue: shellDialogue });
  return { kernel: new ProcKernelSettings(shell, files), runner };
}

test('forwarding is switched on only where it is off', async () => {
  put('net/ipv4/ip_forward', '0\n');
  const { kernel } = settings();
  expect(await kernel.enableForwarding()).toBe(true);
  expect(readFileSync(join(root, 'net/ipv4/ip_forward'), 'utf8').trim()).toBe('1');
  expect(await kernel.enableForwarding()).toBe(false);
});

test('the host interface gets its settings, IPv6 or not', async () => {
  for (const key of Object.keys(HOST_INTERFACE_SETTINGS)) put(`net/ipv4/conf/daoli0/${key}`, '9');
  const { kernel } = settings();
  await kernel.prepareHostInterface('daoli0');
  for (const [key, value] of Object.entries(HOST_INTERFACE_SETTINGS)) {
    expect([key, readFileSync(join(root, `net/ipv4/conf/daoli0/${key}`), 'utf8')]).toEqual([key, value]);
  }
  put('net/ipv6/conf/daoli0/disable_ipv6', '0');
  put('net/ipv6/conf/daoli0/accept_ra', '1');
  await kernel.prepareHostInterface('daoli0');
  expect(readFileSync(join(root, 'net/ipv6/conf/daoli0/disable_ipv6'), 'utf8')).toBe('1');
});

test('an interface that is not there is an error with the name of the setting', async () => {
  await expect(settings().kernel.prepareHostInterface('daoli0')).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringMatching(/^cannot set net\.ipv4\.conf\.daoli0\.route_localnet=1: .*ENOENT/) as string,
  });
});

describe('a read-only /proc/sys', () => {
  function readOnlyUntil(runner: { mounted: () => boolean }): SysctlFiles {
    return { ...createSysctlFiles(root), isWritable: () => Promise.resolve(runner.mounted()) };
  }

  test('is mounted for writing once', async () => {
    const mounts: string[] = [];
    const { kernel, runner } = settings(readOnlyUntil({ mounted: () => mounts.length > 0 }));
    runner.script = (command) => void mounts.push(command);
    await kernel.makeWritable();
    await kernel.makeWritable();
    expect(mounts).toEqual(['mount -o remount,bind,rw /proc/sys']);
  });

  test('that stays so is an error that says what is needed', async () => {
    const { kernel, runner } = settings(readOnlyUntil({ mounted: () => false }));
    runner.script = () => ({ status: 32, stderr: 'mount: permission denied\n' });
    await expect(kernel.makeWritable()).rejects.toMatchObject({
      code: 'unsupported',
      message:
        '/proc/sys is read-only and cannot be mounted for writing (mount: permission denied): the agent needs CAP_SYS_ADMIN',
    });
  });
});
