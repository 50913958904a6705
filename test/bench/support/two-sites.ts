// Two hosts at two sites in one cluster, and beside what DaoliNet has between them, on the same two hosts: bare WireGuard, and
// Docker's overlay network with `--opt encrypted` where the kernel has what that takes.

import { joinSites, startSites, stopCluster, type LabSites } from '../../../lab/cluster';
import { IMAGE, waitFor, type Host, type HostOptions } from '../../../lab/host';
import { createTunnelKey, publicKeyOf } from '../../../src/host/tunnel-keys';

export const NETWORK = { daolinet: 'n-daolinet', overlay: 'n-overlay' } as const;
const BARE = 'bare';
const BARE_PORT = '7500';
const TUNNEL = 'daoli-wg';
/** As in the product, with an interface of 1500. */
const MTU = '1420';
/** The cipher of Docker's encrypted networks, tried with addresses for documentation. */
const ESP = 'xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode transport aead rfc4106(gcm(aes))';

export interface TwoSites {
  readonly lab: LabSites;
  readonly near: Host;
  readonly far: Host;
  /** Whether Docker's encrypted overlay network can be there. */
  readonly hasOverlay: boolean;
}

/** Hands two hosts to `work`, a network of DaoliNet on both. Nothing of them stays. */
export async function withTwoSites<T>(options: HostOptions, work: (sites: TwoSites) => Promise<T>): Promise<T> {
  const lab = await startSites({ dc: 1, cloud: 1 }, { docker: '20.10', ...options });
  try {
    const [near, far] = lab.hosts as [Host, Host];
    await joinSites(lab);
    await near.docker('network', 'create', '-d', 'daolinet', NETWORK.daolinet);
    const isThere = async () => (await far.docker('network', 'ls')).includes(NETWORK.daolinet);
    await waitFor('the network on the other host', isThere, 20_000);
    const hasOverlay = await hasEsp(near);
    if (hasOverlay) await makeOverlay(near, far);
    else console.log('this kernel has no ESP: Docker’s encrypted overlay network cannot be here');
    await makeBare(near, far);
    return await work({ lab, near, far, hasOverlay });
  } finally {
    await stopCluster(lab);
  }
}

async function hasEsp(host: Host): Promise<boolean> {
  const { code } = await host.tryExec('ip', [...ESP.split(' '), `0x${'00'.repeat(20)}`, '64']);
  if (code === 0) await host.exec('ip', ['xfrm', 'state', 'flush']);
  return code === 0;
}

async function makeOverlay(near: Host, far: Host): Promise<void> {
  await near.docker('swarm', 'init', '--advertise-addr', near.address);
  const token = await near.docker('swarm', 'join-token', '-q', 'worker');
  await far.docker('swarm', 'join', '--advertise-addr', far.address, '--token', token, `${near.address}:2377`);
  await near.docker('network', 'create', '-d', 'overlay', '--attachable', '--opt', 'encrypted', NETWORK.overlay);
}

/** WireGuard between the hosts, and nothing else: the kernel's where it has one, else that program which the product uses. */
async function makeBare(near: Host, far: Host): Promise<void> {
  const keys = [createTunnelKey(), createTunnelKey()] as const;
  await Promise.all([
    bareEnd(near, keys[0], keys[1], `${far.address}:${BARE_PORT}`, 1),
    bareEnd(far, keys[1], keys[0], `${near.address}:${BARE_PORT}`, 2),
  ]);
}

async function bareEnd(host: Host, key: string, peerKey: string, endpoint: string, number: number): Promise<void> {
  const { code } = await host.tryExec('ip', ['link', 'add', BARE, 'type', 'wireguard']);
  if (code !== 0) await startProgram(host);
  const peer = ['peer', publicKeyOf(peerKey), 'allowed-ips', `${bareAddress(3 - number)}/32`, 'endpoint', endpoint];
  const words = ['set', BARE, 'listen-port', BARE_PORT, 'private-key', '/dev/stdin', ...peer];
  // wg opens its standard input by name, which it can where that is a pipe.
  await host.exec('sh', ['-c', 'cat | wg "$@"', 'sh', ...words], { input: key });
  await host.exec('ip', ['address', 'add', `${bareAddress(number)}/24`, 'dev', BARE]);
  await host.exec('ip', ['link', 'set', BARE, 'mtu', MTU, 'up']);
}

async function startProgram(host: Host): Promise<void> {
  const tunnel = await waitFor('the tunnel’s process', async () => {
    const { stdout } = await host.tryExec('pgrep', ['-f', `^wireguard-go -f ${TUNNEL}$`]);
    return /^\d+/.exec(stdout)?.[0];
  });
  // Its file is the plugin's, with its libraries beside it.
  host.background(['env', 'WG_PROCESS_FOREGROUND=1', 'LOG_LEVEL=error', `/proc/${tunnel}/exe`, '-f', BARE]);
  await waitFor('bare WireGuard', async () => (await host.tryExec('wg', ['show', BARE])).code === 0);
}

/** An end of bare WireGuard: 1 is near, 2 far. */
export const bareAddress = (number: number): string => `10.255.255.${number}`;

/** A container on a network; resolves with its address. */
export async function runContainer(host: Host, name: string, network: string, ...command: string[]): Promise<string> {
  await host.docker('run', '-d', '--name', name, '--network', network, '--stop-timeout', '0', IMAGE, ...command);
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  return host.docker('inspect', '--format', format, name);
}
