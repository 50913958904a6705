// A cluster that has lost most of its servers for good goes on with one that is left; and one that has lost all begins anew
// with a backup. Containers that run go on meanwhile.
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  joinAll,
  makeNetwork,
  startHosts,
  stopCluster,
  tokenIn,
  untilConnected,
  type LabCluster,
} from '../../lab/cluster';
import { PLUGIN, waitFor, type Host } from '../../lab/host';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { addressOf, ask, getApi, lendPrograms, startServer } from './support/peers';

jest.setTimeout(120_000);

const DATA = '/var/lib/docker/plugins/*/propagated-mount';

let lab: LabCluster;
let folder: string;
let h1: Host;
let h2: Host;
let h3: Host;
let h4: Host;
const backup = () => join(folder, 'cluster.backup');

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'recovery-'));
  lab = await startHosts(4);
  [h1, h2, h3, h4] = lab.hosts as [Host, Host, Host, Host];
  [h1, h4].forEach(lendPrograms);
  await joinAll(lab.hosts);
  await makeNetwork('demo', '10.9.0.0/24', [h4, h1]);
  await startServer(h1, 'one', ['80/tcp'], ['--network', 'demo', '--ip', '10.9.0.11']);
  await startServer(h4, 'web', ['80/tcp'], ['--network', 'demo', '--ip', '10.9.0.80']);
}, 900_000);
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  if (lab !== undefined) await stopCluster(lab);
}, 60_000);

const statusOn = async (host: Host) =>
  JSON.parse(await host.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus;
const serversOn = async (host: Host) =>
  (await statusOn(host)).hosts.filter(({ isServer }) => isServer).map(({ name }) => name);

/** Those that ran go on, and others start. */
async function expectWorking(): Promise<void> {
  expect(await ask(h1, 'one', '10.9.0.80:80')).toBe('web 10.9.0.11');
  expect(await ask(h4, 'web', '10.9.0.11:80')).toBe('one 10.9.0.80');
  for (const host of [h1, h4]) {
    expect(await host.docker('run', '--rm', '--network', 'demo', 'busybox', 'echo', 'well')).toBe('well');
  }
}

test('a backup is made while the cluster runs, for root alone, on a server', async () => {
  expect(await h1.daolictl('cluster', 'backup', backup())).toContain('Keep it secret: it has the keys of the cluster.');
  expect(statSync(backup()).mode & 0o777).toBe(0o600);
  const { stderr } = await h4.tryDaolictl('cluster', 'backup', join(folder, 'other'));
  expect(stderr).toContain('only servers of the cluster make backups: do it on ');
  const restored = await h2.tryDaolictl('cluster', 'restore', backup());
  expect(restored.stderr).toContain('the directory of this host’s cluster is there: nothing is to be restored');
  const recovered = await h1.tryDaolictl('cluster', 'recover', '--without', 'h2,h3');
  expect(recovered.stderr).toContain('most of the servers are there, and serve the directory');
});

test('most of the servers are lost for good: one that is left goes on with all that it knew', async () => {
  await Promise.all([h2.stop(), h3.stop()]);
  await untilConnected(h1, false);
  expect(await ask(h1, 'one', '10.9.0.80:80')).toBe('web 10.9.0.11');
  const { stderr } = await h1.tryDaolictl('cluster', 'recover', '--without', 'h2');
  expect(stderr).toContain('the other servers are h2, h3: where they are lost for good, say --without h2,h3');
  expect(await h1.daolictl('cluster', 'recover', '--without', 'h2,h3')).toContain('daolictl host rm h3');
  expect(await serversOn(h1)).toEqual(['h1']);
  await untilConnected(h4);
  await expectWorking();
  for (const lost of ['h2', 'h3']) await h1.daolictl('host', 'rm', lost);
  expect((await statusOn(h4)).hosts.map(({ name }) => name)).toEqual(['h1', 'h4']);
});

test('the last server loses its disk: its cluster begins anew with the backup, and containers go on', async () => {
  await startServer(h4, 'later', ['80/tcp'], ['--network', 'demo', '--ip', '10.9.0.90']);
  await h1.docker('plugin', 'disable', '-f', PLUGIN);
  await h1.exec('sh', ['-c', `rm -rf ${DATA}/* ${DATA}/.[a-z]*`]);
  await h1.docker('plugin', 'enable', PLUGIN);
  await untilConnected(h1);
  expect(await h1.daolictl('cluster', 'status')).toContain('This host is in no cluster.');
  expect(await h1.daolictl('cluster', 'restore', backup())).toContain(
    'This host alone serves the directory of 4 hosts',
  );
  expect(await serversOn(h1)).toEqual(['h1']);
  // It has the certificate of the backup, which h4 knows.
  await untilConnected(h4);
  await expectWorking();
  // The backup does not know it: its host does, which looks every 30 seconds.
  await waitFor(
    'what is younger than the backup',
    async () => JSON.stringify(await getApi<object[]>(h1, '/v1/endpoints')).includes('10.9.0.90'),
    60_000,
  );
  expect(await ask(h1, 'one', '10.9.0.90:80')).toBe('later 10.9.0.11');
  expect([await addressOf(h1, 'one', 'demo'), await addressOf(h4, 'web', 'demo')]).toEqual(['10.9.0.11', '10.9.0.80']);
});

test('a host that does not find its cluster comes back with a token, with its containers', async () => {
  await h4.daolictl('cluster', 'rejoin', tokenIn(await h1.daolictl('cluster', 'token')));
  await untilConnected(h4);
  expect(await statusOn(h4)).toMatchObject({ cluster: { isServer: false, servers: ['192.0.2.1'] } });
  await expectWorking();
});
