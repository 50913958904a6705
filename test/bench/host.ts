// What the host's part of a container's start costs: a veth pair, the filter's rules for a published port, the port's socket. In a network
// namespace of its own; beside each the same work by starting a program for it, in the same alternating run. Needs root.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import type { FirewallConfig, PublishedEndpoint } from '../../src/host/host';
import { createLinuxHost } from '../../src/host/linux-host';
import { createRunner } from '../../src/host/runner';
import { createSysctlFiles } from '../../src/host/sysctl-files';

const ROUNDS = 200;
const PUBLISHED = 1000;

const config: FirewallConfig = {
  hostInterface: 'daoli0',
  hostAddress: parseIpv4('100.64.7.1'),
  locatorBlocks: [parseCidr('100.64.0.0/16')],
  locatorRange: parseCidr('100.64.0.0/10'),
  doors: [],
  closedPorts: [],
  dockerBridges: [],
};

function endpoint(index: number): PublishedEndpoint {
  const ports = [{ protocol: 'tcp', hostPort: 10_000 + index, containerPort: 80 }] as const;
  const locator = parseIpv4(`100.64.${index >> 8}.${index & 255}`);
  return { endpointId: `e${index}`, locator, ports, tenantPools: [parseCidr('10.1.0.0/16')] };
}

const samples = new Map<string, number[]>();

async function measure(name: string, work: () => unknown): Promise<void> {
  const start = performance.now();
  await work();
  const list = samples.get(name) ?? [];
  list.push(performance.now() - start);
  samples.set(name, list);
}

function report(): Record<string, { p50: number; p99: number }> {
  const results: Record<string, { p50: number; p99: number }> = {};
  for (const [name, list] of samples) {
    list.sort((a, b) => a - b);
    const at = (share: number): number => Number((list[Math.floor(list.length * share)] ?? NaN).toFixed(2));
    results[name] = { p50: at(0.5), p99: at(0.99) };
  }
  return results;
}

async function links(host: ReturnType<typeof createLinuxHost>): Promise<void> {
  const spec = (name: string, checksumOffload: boolean) => ({ name, peer: `${name}p`, mtu: 1450, checksumOffload });
  const create = async (name: string, i: number): Promise<void> => {
    await measure(name, () => host.links.createVeth(spec(`k${i}`, true)));
    await measure(`${name}, userspace datapath`, () => host.links.createVeth(spec(`u${i}`, false)));
  };
  for (let i = 0; i < ROUNDS; i += 1) {
    await create('veth pair', i);
    await measure('veth pair, by starting ip', () =>
      execFileSync('ip', ['link', 'add', 'name', 'x', 'up', 'type', 'veth', 'peer', 'name', 'y']),
    );
    execFileSync('ip', ['link', 'delete', 'x']);
  }
  for (let i = 0; i < ROUNDS; i += 1) for (const kind of ['k', 'u']) host.links.deleteLink(`${kind}${i}`);
  await measure(`${2 * ROUNDS} deletions`, () => host.links.deletionsDone());
  for (let i = 0; i < ROUNDS; i += 1) {
    await create('veth pair, during deletions', i);
    for (const kind of ['k', 'u']) host.links.deleteLink(`${kind}${i}`);
  }
  await host.links.deletionsDone();
}

async function firewall(host: ReturnType<typeof createLinuxHost>): Promise<void> {
  for (const published of [0, PUBLISHED]) {
    const all = Array.from({ length: published }, (_, i) => endpoint(i));
    for (let i = 0; i < 5; i += 1)
      await measure(`all rules, ${published} ports`, () => host.firewall.apply(config, all));
    for (let i = 0; i < ROUNDS / 4; i += 1) {
      await measure(`publish beside ${published}`, () => host.firewall.publish(endpoint(PUBLISHED + i)));
    }
    for (let i = 0; i < ROUNDS / 4; i += 1) {
      await measure(`withdraw beside ${published}`, () => host.firewall.withdraw(`e${PUBLISHED + i}`));
    }
  }
  await host.firewall.remove();
}

async function ports(host: ReturnType<typeof createLinuxHost>): Promise<void> {
  const request = { protocol: 'tcp', hostIp: '', firstPort: 0, lastPort: 0, containerPort: 80 } as const;
  for (let i = 0; i < ROUNDS; i += 1) {
    const locator = parseIpv4('100.64.7.2');
    await measure('a port of any number', () => host.ports.reserve({ ...request, endpointId: `e${i}`, locator }));
  }
}

async function main(): Promise<void> {
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const host = createLinuxHost({
    runner: createRunner(),
    sysctl: createSysctlFiles(),
    clock: systemClock,
    logger: silent,
    random: Math.random,
  });
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  await host.start();
  await links(host);
  await firewall(host);
  await ports(host);
  await host.stop();
  const results = report();
  console.table(results);
  const file = process.argv[process.argv.indexOf('--json') + 1];
  if (file === undefined || !process.argv.includes('--json')) return;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify({ unit: 'ms', results }, null, 2));
}

if (process.env['DAOLINET_BENCH_NAMESPACE'] === undefined) {
  // The same program again, in a network namespace of its own.
  const env = { ...process.env, DAOLINET_BENCH_NAMESPACE: '1' };
  const args = ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.exitCode = spawnSync('unshare', args, { stdio: 'inherit', env }).status ?? 1;
} else {
  void main();
}
