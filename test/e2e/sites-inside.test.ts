// Hosts that share no L2 with their site, and hosts that encrypt inside of it: both go through tunnels there. And who comes into
// the cluster at all: with a yes, and not with a token that was used.
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { joinSites, makeNetwork, startSites, stopCluster, tokenIn, type LabSites } from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';

jest.setTimeout(120_000);

const IMAGE = 'busybox';
let lab: LabSites;
let dc1: Host;
let dc2: Host;
let cloud1: Host;
let cloud2: Host;
let late: Host;

const ADDRESSES: Readonly<Record<string, string>> = {
  dc1: '10.9.0.2',
  dc2: '10.9.0.3',
  cloud1: '10.9.0.4',
  cloud2: '10.9.0.5',
};

beforeAll(async () => {
  lab = await startSites({ dc: 2, cloud: 2, late: 1 }, { dropMacs: ['cloud'] });
  [dc1, dc2, cloud1, cloud2, late] = lab.hosts as [Host, Host, Host, Host, Host];
  await joinSites({ ...lab, hosts: [dc1, dc2, cloud1, cloud2] });
  await makeNetwork('demo', '10.9.0.0/24', [dc1, dc2, cloud1, cloud2]);
  for (const host of [dc1, dc2, cloud1, cloud2]) {
    const words = ['-d', '--name', 'box', '--network', 'demo', '--ip', addressOf(host), '--stop-timeout', '0'];
    await host.docker('run', ...words, IMAGE, 'sleep', '3600');
  }
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

const addressOf = ({ name }: Host) => ADDRESSES[name] ?? '';
const MARKER = Buffer.alloc(64, 0xab);

/** Pings with a payload that can be told on the wire. Fails where there is no answer. */
const ping = (from: Host, to: Host) =>
  from.docker('exec', 'box', 'ping', '-c', '2', '-i', '0.3', '-W', '2', '-s', '400', '-p', 'ab', addressOf(to));
const answers = (from: Host, to: Host) =>
  ping(from, to).then(
    () => true,
    () => false,
  );

/** How many frames of a ping can be read on the L2 of a site. */
async function readable(site: string, from: Host, to: Host): Promise<number> {
  const capture = await lab.internet.captureWithin(site);
  await ping(from, to);
  await capture.stop();
  return capture.count(MARKER);
}

async function wayTo(from: Host, to: Host): Promise<string | null | undefined> {
  const { hosts } = JSON.parse(await from.daolictl('--output', 'json', 'cluster', 'status')) as {
    hosts: readonly { name: string; way: string | null }[];
  };
  return hosts.find(({ name }) => name === to.name)?.way;
}

/** An agent that looks as soon as it is there takes six seconds to be sure. */
const DETECTION_MS = 10_000;

test('in a cloud that passes no strange MAC addresses, hosts find that out, and reach one another through tunnels', async () => {
  await waitFor(
    'the tunnel',
    async () => (await wayTo(cloud1, cloud2)) === 'tunnel' && (await answers(cloud1, cloud2)),
    3 * DETECTION_MS,
  );
  expect(await dc1.daolictl('host', 'ls')).toMatch(/without an L2 in common with their site: cloud\d \(detected\)/);
  // Nobody is to look: the fabric it is, and nothing gets through.
  for (const host of [cloud1, cloud2]) await host.daolictl('cluster', 'set', '--l2', 'yes');
  await waitFor('the fabric', async () => (await wayTo(cloud1, cloud2)) === 'fabric');
  expect(await answers(cloud1, cloud2)).toBe(false);
  for (const host of [cloud1, cloud2]) await host.daolictl('cluster', 'set', '--l2', 'auto');
  await waitFor('the tunnel', () => answers(cloud1, cloud2), 3 * DETECTION_MS);
  expect(await wayTo(cloud1, cloud2)).toBe('tunnel');
  expect(await dc1.daolictl('host', 'ls')).toMatch(/without an L2 in common with their site: cloud\d \(detected\)/);
  const { stdout } = await dc1.tryDaolictl('--host', 'cloud1', 'trace', 'cloud1/box', 'cloud2/box');
  expect(stdout).toMatch(/by the tunnel, as there is no L2 in common with cloud\d \(detected\)/);
  expect(await readable('cloud', cloud1, cloud2)).toBe(0);
  await ping(cloud2, cloud1);
  await ping(cloud2, dc1);
});

test('a host that is to encrypt does so inside of its site, from the next packet on', async () => {
  expect(await wayTo(dc1, dc2)).toBe('fabric');
  expect(await readable('dc', dc1, dc2)).toBeGreaterThan(0);
  await dc1.daolictl('host', 'set', 'dc2', '--encrypt');
  await waitFor('the tunnel', async () => (await wayTo(dc2, dc1)) === 'tunnel' && (await answers(dc1, dc2)));
  expect(await readable('dc', dc1, dc2)).toBe(0);
  await dc1.daolictl('host', 'set', 'dc2', '--no-encrypt');
  await waitFor('the fabric', async () => (await wayTo(dc2, dc1)) === 'fabric' && (await answers(dc2, dc1)));
});

test('a host of a site, and a server, that gets another address is found there by the fabric', async () => {
  const address = await lab.internet.changeAddress('dc2');
  const start = Date.now();
  await waitFor('the way to it', () => answers(dc1, dc2));
  await waitFor('the way from it', () => answers(dc2, cloud2));
  await waitFor('its address', async () => (await dc1.daolictl('host', 'ls')).includes(` ${address} `));
  expect(Date.now() - start).toBeLessThan(30_000);
  expect(await wayTo(dc1, dc2)).toBe('fabric');
  expect(await readable('dc', dc1, dc2)).toBeGreaterThan(0);
  await waitFor('the servers', async () => {
    const { hosts } = JSON.parse(await dc2.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus;
    return hosts.filter(({ member }) => member === 'leader' || member === 'follower').length === 3;
  });
  await dc2.docker('network', 'create', '-d', 'daolinet', 'again');
  await dc2.docker('network', 'rm', 'again');
});

test('a host that comes onto another L2 while the directory is away sends nothing over that', async () => {
  const hasFabric = async () => {
    const { stdout } = await dc2.tryDaolictl('--output', 'json', 'doctor');
    const { findings } = JSON.parse(stdout) as { findings: readonly { what: string }[] };
    return !findings.some(({ what }) => what.includes('the port onto the fabric is not there'));
  };
  expect(await hasFabric()).toBe(true);
  const rules = ['input', 'output'].flatMap((hook) => [
    `add chain ip cut ${hook} { type filter hook ${hook} priority -300; }`,
    ...['dport', 'sport'].map((which) => `add rule ip cut ${hook} tcp ${which} 7470 drop`),
  ]);
  await dc2.exec('nft', [['add table ip cut', ...rules].join('; ')]);
  await waitFor('the directory to be away', async () => {
    return !(JSON.parse(await dc2.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus).connected;
  });
  await lab.internet.moveHost('dc2', 'late');
  await waitFor('the end of the fabric', async () => !(await hasFabric()));
  await lab.internet.moveHost('dc2', 'dc');
  await dc2.exec('nft', ['delete table ip cut']);
  await waitFor('the way to it', () => answers(dc1, dc2));
  await waitFor('the way from it', () => answers(dc2, cloud2));
  await waitFor('the way from another site', () => answers(cloud1, dc2));
  expect(await wayTo(dc1, dc2)).toBe('fabric');
});

test('the doctor has nothing to say against tunnels', async () => {
  const { stdout } = await cloud1.tryDaolictl('--output', 'json', 'doctor');
  const { findings } = JSON.parse(stdout) as { findings: readonly { check: string; level: string; what: string }[] };
  const tunnels = findings.filter(({ check }) => check === 'tunnels');
  expect(tunnels.map(({ level }) => level)).toEqual(['ok', 'ok', 'ok']);
  expect(tunnels[0]?.what).toContain('packets of 1420 bytes too');
});

test('a token that is over, or that nobody says yes to, lets nobody in', async () => {
  const join = (token: string) => late.tryDaolictl('cluster', 'join', '--site', 'late', token);
  const over = tokenIn(await dc1.daolictl('cluster', 'token'));
  // A day is long: on the server, its token is given another end.
  const database = `unix:/proc/${dc1.agentPid()}/root/run/daolinet/directory.sock`;
  const directory = (...operations: object[]) =>
    dc1.exec('ovsdb-client', ['transact', database, JSON.stringify(['DaoliNet', ...operations])]);
  const rows = JSON.parse(await directory({ op: 'select', table: 'JoinToken', where: [] })) as [
    { rows: { hash: string; needs_approval: boolean }[] },
  ];
  const [{ hash, needs_approval }] = rows[0].rows as [{ hash: string; needs_approval: boolean }];
  await directory(
    { op: 'delete', table: 'JoinToken', where: [] },
    { op: 'insert', table: 'JoinToken', row: { hash, needs_approval, expires: Date.now() - 1 } },
  );
  await waitFor('the end of the token', async () => (await join(over)).stderr.includes('the token expired'));

  const unanswered = tokenIn(await dc1.daolictl('cluster', 'token', '--approve'));
  const waiting = join(unanswered);
  await waitFor('the newcomer', async () => (await dc1.daolictl('host', 'ls')).includes('waits to be let in'));
  expect(await dc1.daolictl('host', 'ls')).not.toMatch(/^late1 +198/m);
  expect(await late.daolictl('cluster', 'status')).toContain('no cluster');
  await dc1.daolictl('cluster', 'token');
  expect(await waiting).toMatchObject({ code: 1, stderr: expect.stringContaining('another was made since') as string });
  expect(await dc1.daolictl('host', 'ls')).not.toContain('late1');
});

test('who comes with a token that needs a yes waits for it, is refused, and comes in', async () => {
  const refusedToken = tokenIn(await dc1.daolictl('cluster', 'token', '--approve'));
  const join = (token: string) => late.tryDaolictl('cluster', 'join', '--site', 'late', token);
  const isWaiting = async () => (await dc1.daolictl('host', 'ls')).includes('waits to be let in');
  const refused = join(refusedToken);
  await waitFor('the newcomer', isWaiting);
  expect(await dc1.daolictl('host', 'ls')).not.toMatch(/^late1 +198/m);
  await dc1.daolictl('host', 'refuse', 'late1');
  expect(await refused).toMatchObject({ code: 1, stderr: expect.stringContaining('refused') as string });

  const token = tokenIn(await dc1.daolictl('cluster', 'token', '--approve'));
  const joining = join(token);
  await waitFor('the newcomer again', isWaiting);
  await dc1.daolictl('host', 'approve', 'late1');
  expect(await joining).toMatchObject({ code: 0, stdout: expect.stringContaining('one of a cluster of 5') as string });

  await dc1.daolictl('host', 'rm', 'late1');
  await waitFor('the end of its cluster', async () => (await late.tryDaolictl('host', 'ls')).code !== null);
  expect((await join(token)).code).not.toBe(0);
});
