// Several emulated hosts in one DaoliNet cluster, on one L2 or at several sites, as a user would make it: `daolictl cluster init` on the
// first, `daolictl cluster join` on the others.

import { isDeepStrictEqual } from 'node:util';
import type { ClusterStatus } from '../src/cluster/cluster-status';
import { startHost, waitFor, type Host, type HostOptions } from './host';
import { Internet } from './internet';
import { Site } from './site';
import { siteRequests, type SiteTraits } from './site-requests';
import type { Wiring } from './wiring';

/** Agents that become servers start anew, one after another. */
const SERVERS_MS = 60_000;

export interface LabCluster {
  readonly site: Wiring;
  readonly hosts: readonly Host[];
}

/** Hosts at several sites: those of site "dc" are called dc1, dc2, and so on. */
export interface LabSites extends LabCluster {
  /** The same as `site`, with all that it can. */
  readonly internet: Internet;
  /** A host by name. */
  host(name: string): Host;
}

export interface JoinOptions {
  /** Names of the hosts that others are reached through. */
  readonly hubs?: readonly string[];
}

/** Starts hosts h1 to hN, with the plugin, each alone. Nothing stays behind when that fails. */
export async function startHosts(count: number, options: HostOptions = {}): Promise<LabCluster> {
  const site = await Site.start();
  const names = Array.from({ length: count }, (_, index) => `h${index + 1}`);
  // Addresses go by the order of asking.
  names.forEach((name) => site.addressOf(name));
  return { site, hosts: await startAll(names, site, options) };
}

/** Starts so many hosts at each site, such as `{ dc: 2, home: 1 }`, with the plugin, each alone. Nothing stays behind when that fails. */
export async function startSites(
  counts: Readonly<Record<string, number>>,
  { nat = [], noL2 = [], dropMacs = [], ...options }: SiteTraits & HostOptions = {},
): Promise<LabSites> {
  const internet = await Internet.start(siteRequests(counts, { nat, noL2, dropMacs }));
  const hosts = await startAll(internet.hosts, internet, options);
  const host = (name: string): Host => {
    const found = hosts.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new Error(`there is no host ${name}; there are ${internet.hosts.join(', ')}`);
  };
  return { site: internet, internet, hosts, host };
}

async function startAll(names: readonly string[], site: Wiring, options: HostOptions): Promise<Host[]> {
  const started = await Promise.allSettled(names.map((name) => startHost({ ...options, name, site })));
  const hosts = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed === undefined) return hosts;
  await stopCluster({ site, hosts });
  throw failed.reason;
}

/** Makes one cluster of them, whose agents are ready. */
export async function joinAll(hosts: readonly Host[]): Promise<void> {
  await allReady(hosts);
  const [first, ...others] = hosts as [Host, ...Host[]];
  let token = tokenIn(await first.daolictl('cluster', 'init'));
  for (const host of others) {
    await host.daolictl('cluster', 'join', token);
    token = tokenIn(await first.daolictl('cluster', 'token'));
  }
  if (hosts.length >= 3) {
    await untilServers(
      first,
      hosts.slice(0, 3).map(({ name }) => name),
    );
  }
  await allReady(hosts);
}

/**
 * Makes one cluster of hosts at sites, whose agents are ready. Those behind NAT come last, so that the first three others are its
 * servers.
 */
export async function joinSites(lab: LabSites, options: JoinOptions = {}): Promise<void> {
  const { internet, hosts } = lab;
  await allReady(hosts);
  const isHidden = (host: Host) => internet.isBehindNat(host.name);
  const open = hosts.filter((host) => !isHidden(host));
  const [first, ...others] = [...open, ...hosts.filter(isHidden)] as [Host, ...Host[]];
  const words = (host: Host) => siteWords(internet, host, options);
  let token = tokenIn(await first.daolictl('cluster', 'init', ...words(first)));
  for (const host of others) {
    await host.daolictl('cluster', 'join', ...words(host), token);
    token = tokenIn(await first.daolictl('cluster', 'token'));
  }
  const servers = open.slice(0, 3).map(({ name }) => name);
  if (servers.length === 3) await untilServers(first, servers);
  await allReady(hosts);
}

const allReady = (hosts: readonly Host[]) => Promise.all(hosts.map((host) => host.untilReady()));

/** What a host says of itself as it comes into the cluster. */
function siteWords(internet: Internet, { name }: Host, { hubs = [] }: JoinOptions): string[] {
  return [
    ...['--site', internet.siteOf(name)],
    ...(hubs.includes(name) ? ['--hub'] : []),
    ...(internet.isToldOfL2(name) ? ['--no-l2'] : []),
  ];
}

/** Waits until these hosts serve the directory, as one of them sees it. */
export async function untilServers(seenFrom: Host, names: readonly string[]): Promise<void> {
  await waitFor(
    `the servers ${names.join(', ')}`,
    async () => {
      // An agent that becomes one starts anew.
      const { code, stdout } = await seenFrom.tryDaolictl('--output', 'json', 'cluster', 'status');
      if (code !== 0) return false;
      const { hosts } = JSON.parse(stdout) as ClusterStatus;
      const serving = hosts.filter(({ member }) => member === 'leader' || member === 'follower');
      return isDeepStrictEqual(serving.map(({ name }) => name).sort(), [...names].sort());
    },
    SERVERS_MS,
  );
}

/** Waits until a host has its directory, and is ready, or has lost it. */
export async function untilConnected(host: Host, isConnected = true): Promise<void> {
  await waitFor(`${host.name} to be ${isConnected ? 'with' : 'without'} its directory`, async () => {
    const { code, stdout } = await host.tryDaolictl('--output', 'json', 'cluster', 'status');
    return code === 0 && (JSON.parse(stdout) as ClusterStatus).connected === isConnected;
  });
  if (isConnected) await host.untilReady();
}

/** Waits until Docker of each of these hosts has a network. */
export async function untilNetwork(name: string, hosts: readonly Host[]): Promise<void> {
  const hasIt = async (host: Host) => (await host.networks()).includes(name);
  await Promise.all(hosts.map((host) => waitFor(`the network ${name} on ${host.name}`, () => hasIt(host), 60_000)));
}

/** Makes a network on the first of these hosts, with addresses of DaoliNet's, and waits until Docker of each has it. */
export async function makeNetwork(name: string, subnet: string, hosts: readonly Host[]): Promise<void> {
  const words = ['-d', 'daolinet', '--ipam-driver', 'daolinet', '--subnet', subnet];
  await hosts[0]?.docker('network', 'create', ...words, name);
  await untilNetwork(name, hosts);
}

/** The token in what `cluster init` and `cluster token` print. */
export function tokenIn(text: string): string {
  const token = /daolinet-[\w-]+/.exec(text)?.[0];
  if (token === undefined) throw new Error(`there is no token in: ${text}`);
  return token;
}

export async function stopCluster({ site, hosts }: LabCluster): Promise<void> {
  await Promise.all(hosts.map((host) => host.stop()));
  await site.stop();
}
