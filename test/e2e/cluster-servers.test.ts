// Several servers serve one directory: three of four hosts, whichever of them is away; and who becomes one, or is one no more.
import { readFileSync } from 'node:fs';
import {
  joinAll,
  makeNetwork,
  startHosts,
  stopCluster,
  tokenIn,
  untilConnected,
  untilNetwork,
  untilServers,
  type LabCluster,
} from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { ask, getApi, lendPrograms, remove, startServer } from './support/peers';

jest.setTimeout(180_000);

let lab: LabCluster;
let h1: Host;
let h2: Host;
let h3: Host;
let h4: Host;

beforeAll(async () => {
  lab = await startHosts(4);
  [h1, h2, h3, h4] = lab.hosts as [Host, Host, Host, Host];
  lab.hosts.forEach(lendPrograms);
  await joinAll(lab.hosts);
}, 900_000);
afterEach(() => lab.site.heal());
afterAll(() => lab && stopCluster(lab), 60_000);

const statusOn = async (host: Host) =>
  JSON.parse(await host.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus;
const leaderOf = async (host: Host) => (await statusOn(host)).hosts.find(({ member }) => member === 'leader')?.name;

/** Starts a container with an address of its own, and takes it away again. */
async function runOn(host: Host): Promise<void> {
  expect(await host.docker('run', '--rm', '--network', 'demo', 'busybox', 'echo', 'well')).toBe('well');
}

test('of four hosts three are servers; each says so', async () => {
  await makeNetwork('demo', '10.9.0.0/24', [h4, h1, h2, h3]);
  for (const host of lab.hosts) {
    const { hosts, cluster } = await statusOn(host);
    expect(hosts.filter(({ isServer }) => isServer).map(({ name }) => name)).toEqual(['h1', 'h2', 'h3']);
    expect(cluster?.servers).toHaveLength(3);
    await runOn(host);
  }
  expect(await h2.daolictl('cluster', 'status')).toContain('servers: h1, h2, h3 (1 can be lost)');
});

test.each(['the leader', 'another'])(
  '%s is cut off: containers start on all others, and on it again when it is back',
  async (who) => {
    await remove(h4, ['web'], []);
    await startServer(h4, 'web', ['80/tcp'], ['--network', 'demo', '--ip', '10.9.0.80']);
    const leader = await leaderOf(h1);
    const lost = [h1, h2, h3].find(({ name }) => (name === leader) === (who === 'the leader'))!;
    const others = lab.hosts.filter((host) => host !== lost);
    await startServer(lost, 'lost', ['80/tcp'], ['--network', 'demo', '--ip', '10.9.0.81']);
    for (const other of others) await lab.site.cut(lost.name, other.name);
    // Calls of Docker's wait for the election.
    for (const other of others) await runOn(other);
    await untilConnected(lost, false);
    await lab.site.heal();
    await untilConnected(lost);
    await runOn(lost);
    expect(await ask(lost, 'lost', '10.9.0.80:80')).toBe('web 10.9.0.81');
    await remove(h4, ['web'], []);
    await remove(lost, ['lost'], []);
  },
);

test('all servers’ Docker engines, and with them the plugins, are killed at once: nothing is lost', async () => {
  const before = await getApi<{ endpoints: number }[]>(h4, '/v1/networks');
  expect(before).toMatchObject([{ name: 'demo', endpoints: 0 }]);
  await Promise.all([h1, h2, h3].map((host) => host.restartDockerd({ signal: 'SIGKILL' })));
  for (const host of lab.hosts) await untilConnected(host);
  expect(await getApi<{ id: string }[]>(h2, '/v1/networks')).toEqual(before);
  for (const host of lab.hosts) await runOn(host);
});

test('a client is promoted, a server is demoted: both go on, and the rest', async () => {
  expect(await h1.daolictl('cluster', 'promote', 'h4')).toContain('Host h4 serves the directory, too.');
  await untilServers(h4, ['h1', 'h2', 'h3', 'h4']);
  const leader = (await leaderOf(h1))!;
  const by = lab.hosts.find(({ name }) => name !== leader)!;
  expect(await by.daolictl('cluster', 'demote', leader)).toContain('1 can be lost');
  const demoted = lab.hosts.find(({ name }) => name === leader)!;
  // Its agent starts anew, as a client.
  await waitFor(`${leader} to be a client`, async () => {
    const { code, stdout } = await demoted.tryDaolictl('--output', 'json', 'cluster', 'status');
    return code === 0 && (JSON.parse(stdout) as ClusterStatus).cluster?.isServer === false;
  });
  await untilConnected(demoted);
  for (const host of lab.hosts) await runOn(host);
  const said = await demoted.tryDaolictl('cluster', 'demote', by.name);
  expect([said.code, said.stderr]).toEqual([1, expect.stringContaining('only servers of the cluster demote hosts')]);
  await by.daolictl('cluster', 'promote', leader);
  await by.daolictl('cluster', 'demote', 'h4' === by.name ? 'h1' : 'h4');
});

test('between databases nobody comes in but servers', async () => {
  const { hosts } = await statusOn(h1);
  const client = lab.hosts.find(({ name }) => hosts.some((row) => row.name === name && !row.isServer))!;
  const server = lab.hosts.find(({ name }) => hosts.some((row) => row.name === name && row.isServer))!;
  const folder = await client.exec('sh', ['-c', 'echo /var/lib/docker/plugins/*/propagated-mount/cluster']);
  const [ca, cert, key] = ['ca.crt', 'host.crt', 'host.key'].map((name) =>
    readFileSync(client.path(`${folder}/${name}`), 'utf8'),
  );
  const program = `
    const [ca, cert, key] = JSON.parse(require('fs').readFileSync(0));
    const socket = require('tls').connect({ host: '${server.address}', port: 7470, ALPNProtocols: ['daolinet-member'], ca, cert,
      key, rejectUnauthorized: false });
    socket.on('secureConnect', () => console.log(socket.alpnProtocol));
    socket.on('error', () => undefined).on('close', () => { console.log('closed'); process.exit(); });
    setTimeout(() => { console.log('open'); process.exit(); }, 3000);`;
  const { stdout } = await client.tryExec(
    '/var/lib/peers/loader',
    ['--library-path', '/var/lib/peers', '/var/lib/peers/node', '-e', program],
    { input: JSON.stringify([ca, cert, key]) },
  );
  expect(stdout.trim().split('\n')).toEqual(['daolinet-member', 'closed']);
});

test('a server that is gone for good is removed; it cannot come back with what it has', async () => {
  const gone = [h1, h2, h3, h4].find(({ name }) => name === 'h2')!;
  for (const other of lab.hosts) if (other !== gone) await lab.site.cut(gone.name, other.name);
  const by = lab.hosts.find((host) => host !== gone)!;
  const servers = (await statusOn(by)).hosts.filter(({ isServer }) => isServer).map(({ name }) => name);
  const doer = lab.hosts.find(({ name }) => name !== 'h2' && servers.includes(name))!;
  await waitFor('another leader', async () => ![undefined, 'h2'].includes(await leaderOf(doer)), 20_000);
  expect(await doer.daolictl('host', 'rm', 'h2')).toContain('Host h2 is out of the cluster');
  await lab.site.heal();
  await runOn(doer);
  expect((await doer.daolictl('host', 'ls')).includes('h2')).toBe(false);
  await untilConnected(gone, false);
  await gone.daolictl('cluster', 'leave');
  await waitFor('h2 to be alone', async () =>
    (await gone.tryDaolictl('cluster', 'status')).stdout.includes('in no cluster'),
  );
  await gone.docker('network', 'rm', 'demo');
  await waitFor('no network of its own', async () => (await getApi<unknown[]>(gone, '/v1/networks')).length === 0);
  await gone.daolictl('cluster', 'join', tokenIn(await doer.daolictl('cluster', 'token')));
  await untilConnected(gone);
  await untilNetwork('demo', [gone]);
  await runOn(gone);
});
