// Makes docs/page.png, the picture of the page in the README: three emulated hosts, some twenty containers in three networks, and
// traffic between them. See picture.sh.

import { startHosts, joinAll, stopCluster } from '../lab/cluster';
import { IMAGE, waitFor, type Host } from '../lab/host';
import { PageView, WebCommand } from './e2e/support/browser';

const FILE = process.argv[2] ?? 'docs/page.png';
const SHARPNESS = 1.5;

/** Where each runs, and in which network. */
const CONTAINERS: readonly (readonly [name: string, host: number, network: string])[] = [
  ['web-1', 0, 'shop'], ['web-2', 1, 'shop'], ['web-3', 2, 'shop'], ['cart', 0, 'shop'],
  ['search', 1, 'shop'], ['mail', 2, 'shop'], ['pay', 1, 'shop'], ['auth', 2, 'shop'],
  ['db-1', 0, 'data'], ['db-2', 1, 'data'], ['cache', 2, 'data'], ['queue', 0, 'data'],
  ['backup', 2, 'data'], ['reports', 1, 'data'], ['proxy-1', 0, 'edge'], ['proxy-2', 2, 'edge'],
  ['dns', 1, 'edge'], ['metrics', 0, 'edge'], ['logs', 1, 'edge'], ['ci', 2, 'edge'],
]; // prettier-ignore
const SUBNETS: Readonly<Record<string, string>> = { shop: '10.1.0', data: '10.2.0', edge: '10.3.0' };
/** Who talks to whom, with a packet every so many seconds. */
const TALKS: readonly (readonly [from: string, to: string, seconds: string])[] = [
  ['web-1', 'cart', '0.01'], ['web-1', 'search', '0.1'], ['web-2', 'cart', '0.05'], ['web-2', 'pay', '0.5'],
  ['web-3', 'auth', '1'], ['web-3', 'search', '0.02'], ['pay', 'mail', '1'], ['db-1', 'db-2', '0.005'],
  ['queue', 'cache', '0.1'], ['reports', 'db-2', '0.5'], ['backup', 'db-1', '0.02'], ['proxy-1', 'dns', '1'],
  ['proxy-2', 'metrics', '0.5'], ['logs', 'metrics', '0.05'],
]; // prettier-ignore

const addresses = new Map(CONTAINERS.map(([name, , network], index) => [name, `${SUBNETS[network]}.${index + 10}`]));

async function fill(hosts: readonly Host[]): Promise<void> {
  const [first] = hosts as [Host];
  for (const [name, subnet] of Object.entries(SUBNETS)) {
    const options = ['-d', 'daolinet', '--ipam-driver', 'daolinet', '--subnet', `${subnet}.0/24`];
    await first.docker('network', 'create', ...options, name);
  }
  for (const host of hosts) {
    await waitFor(`the networks on ${host.name}`, async () => {
      const known = (await host.docker('network', 'ls', '--format', '{{.Name}}')).split('\n');
      return Object.keys(SUBNETS).every((name) => known.includes(name));
    });
  }
  for (const [name, place, network] of CONTAINERS) {
    const published = name.startsWith('proxy') ? ['-p', '443:443'] : [];
    const options = ['-d', '--name', name, '--network', network, '--ip', addresses.get(name)!, ...published];
    await hosts[place]!.docker('run', ...options, '--label', `app=${name.replace(/-.*/, '')}`, IMAGE, 'sleep', '3600');
  }
  await first.daolictl('policy', 'add', 'allow', '--from', 'label:app=proxy', '--to', 'label:app=web', 'tcp/80');
}

async function talk(hosts: readonly Host[]): Promise<void> {
  for (const [from, to, seconds] of TALKS) {
    const host = hosts[CONTAINERS.find(([name]) => name === from)![1]]!;
    await host.docker('exec', '-d', from, 'busybox', 'ping', '-i', seconds, addresses.get(to)!);
  }
}

async function main(): Promise<void> {
  const cluster = await startHosts(3, { settings: { DAOLINET_IDLE_TIMEOUT: '20' } });
  let web: WebCommand | undefined;
  let view: PageView | undefined;
  try {
    await joinAll(cluster.hosts);
    await fill(cluster.hosts);
    web = await WebCommand.start(cluster.hosts[0]!);
    const shown = await PageView.open(web.url);
    view = shown;
    await shown.page.setViewport({ width: 1280, height: 800, deviceScaleFactor: SHARPNESS });
    await waitFor('the containers', async () => (await shown.containers()).size === CONTAINERS.length, 60_000);
    await talk(cluster.hosts);
    await waitFor('the lines', async () => (await shown.connections()).length >= TALKS.length, 60_000);
    await shown.click('db-1');
    // Until no line is new any more, and rates are known.
    await new Promise((resolve) => setTimeout(resolve, 6_000));
    await shown.page.screenshot({ path: FILE });
    process.stdout.write(
      `${FILE}: ${(await shown.connections()).length} lines, ${shown.complaints.join() || 'no complaints'}\n`,
    );
  } finally {
    await view?.close();
    await web?.stop();
    await stopCluster(cluster);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
