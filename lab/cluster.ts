// Several emulated hosts on one L2, in one DaoliNet cluster, as a user would make it: `daolictl cluster init` on the first,
// `daolictl cluster join` on the others.

import type { ClusterStatus } from '../src/cluster/cluster';
import { startHost, waitFor, type Host, type HostOptions } from './host';
import { Site } from './site';

export interface LabCluster {
  readonly site: Site;
  readonly hosts: readonly Host[];
}

/** Starts hosts h1 to hN, with the plugin, each alone. Nothing stays behind when that fails. */
export async function startHosts(count: number, options: HostOptions = {}): Promise<LabCluster> {
  const site = await Site.start();
  const names = Array.from({ length: count }, (_, index) => `h${index + 1}`);
  // Addresses go by the order of asking.
  names.forEach((name) => site.addressOf(name));
  const started = await Promise.allSettled(names.map((name) => startHost({ ...options, name, site })));
  const hosts = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = started.find((result) => result.status === 'rejected');
  if (failed === undefined) return { site, hosts };
  await stopCluster({ site, hosts });
  throw failed.reason;
}

/** Makes one cluster of them. */
export async function joinAll(hosts: readonly Host[]): Promise<void> {
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
}

/** Waits until these hosts serve the directory, as one of them sees it. */
export async function untilServers(seenFrom: Host, names: readonly string[]): Promise<void> {
  await waitFor(`the servers ${names.join(', ')}`, async () => {
    // An agent that becomes one starts anew.
    const { code, stdout } = await seenFrom.tryDaolictl('--output', 'json', 'cluster', 'status');
    if (code !== 0) return false;
    const { hosts } = JSON.parse(stdout) as ClusterStatus;
    const serving = hosts.filter(({ member }) => member === 'leader' || member === 'follower');
    return serving.map(({ name }) => name).join() === names.join();
  });
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
