// The agent's process on its host: a read-only /proc/sys, as a managed plugin has it, and a sudden end. Needs root.
import { readdirSync, readFileSync } from 'node:fs';
import { waitFor } from '../../lab/namespace';
import { NetworkNamespace } from './support/network-namespace';
import { NamespacedHost } from './support/namespaced-host';

jest.setTimeout(60_000);

const namespace = new NetworkNamespace('process');
let inside: NamespacedHost | undefined;

beforeEach(() => namespace.create());
afterEach(async () => {
  await inside?.stop();
  inside = undefined;
  await namespace.remove();
});

// What runc does to a container's /proc/sys.
const READ_ONLY = [
  'unshare',
  '-m',
  'sh',
  '-ec',
  'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; exec "$@"',
  'sh',
];

test('a read-only /proc/sys is made writable, for the agent alone', async () => {
  inside = await NamespacedHost.start(namespace, READ_ONLY);
  const { kernel, links } = inside.host;
  await inside.host.start();
  await expect(kernel.enableForwarding()).rejects.toThrow('ip_forward');
  await kernel.makeWritable();
  await kernel.makeWritable();
  expect(await kernel.enableForwarding()).toBe(true);
  await links.createVeth({ name: 'dn1', peer: 'dp1', mtu: 1500, checksumOffload: true });
  expect(namespace.run('cat /proc/sys/net/ipv6/conf/dn1/disable_ipv6').trim()).toBe('1');
});

/** Programs whose network is the namespace's. */
function running(): string[] {
  return namespace
    .run(`ip netns pids ${namespace.name}`)
    .split('\n')
    .filter(Boolean)
    .map((pid) => commandOf(pid))
    .filter((command) => command !== '');
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return '';
  }
}

test('killed, the agent leaves no helper process behind', async () => {
  inside = await NamespacedHost.start(namespace);
  await inside.host.start();
  await inside.host.links.createVeth({ name: 'dn1', peer: 'dp1', mtu: 1500, checksumOffload: false });
  expect(running().some((command) => command.startsWith('nft monitor'))).toBe(true);
  const gone = new Promise((resolve) => inside?.child.once('exit', resolve));
  inside.child.kill('SIGKILL');
  await gone;
  await waitFor('the end of all that it had started', () => running().length === 0);
});

test('stopped, it leaves no helper process and no open file; links and rules stay', async () => {
  inside = await NamespacedHost.start(namespace);
  const files = (): number => readdirSync(`/proc/${inside?.child.pid}/fd`).length;
  const before = files();
  for (let i = 0; i < 3; i += 1) {
    await inside.host.start();
    await inside.host.start();
  }
  await inside.host.links.createVeth({ name: 'dn1', peer: 'dp1', mtu: 1500, checksumOffload: true });
  await inside.host.stop();
  await inside.host.stop();
  expect(running()).toHaveLength(1);
  expect(files()).toBeLessThanOrEqual(before);
  expect(namespace.run('ip link show dn1')).toContain('dn1@dp1');
});
