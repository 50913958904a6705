// A host's agent goes away, in every way that it can: a host that stands by is master of its datapath soon, and serves it from the
// same directory, until the agent is back. What talks already notices nothing of either.
import { joinAll, makeNetwork, startHosts, stopCluster, type LabCluster } from '../../lab/cluster';
import { PLUGIN, waitFor, type Host } from '../../lab/host';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { chargesOf, killForLong, untilGuarded } from './support/standby';
import { steadyPing } from './support/steady-ping';

jest.setTimeout(180_000);

/** Two seconds are meant. */
const TAKEN_OVER_WITHIN_MS = 6_000;
/** Five seconds are meant: with another leader of the directory first, or another backup. */
const TAKEN_OVER_LATE_WITHIN_MS = 15_000;
const ADDRESS = {
  ann: '10.1.0.2',
  bob: '10.1.0.3',
  cat: '10.1.0.4',
  dan: '10.1.0.5',
  eve: '10.1.0.6',
  fay: '10.1.0.7',
} as const;
type Name = keyof typeof ADDRESS;

let lab: LabCluster;
/** Whose agent goes away: no leader of the directory's servers, whose election is another story. */
let host: Host;
let others: readonly Host[];

beforeAll(async () => {
  lab = await startHosts(3, { settings: { DAOLINET_IDLE_TIMEOUT: '3' } });
  await joinAll(lab.hosts);
  const [first] = lab.hosts as [Host];
  const leader = await leaderSeenFrom(first);
  host = lab.hosts.find((each) => each !== leader)!;
  others = lab.hosts.filter((each) => each !== host);
  await makeNetwork('demo', '10.1.0.0/24', [host, ...others]);
  for (const name of ['ann', 'bob', 'cat'] as const) await run(host, name);
  await run(others[0]!, 'dan');
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

/** Whose server of the directory leads. */
async function leaderSeenFrom(seenFrom: Host): Promise<Host> {
  const status = JSON.parse(await seenFrom.daolictl('--output', 'json', 'cluster', 'status')) as ClusterStatus;
  const { name } = status.hosts.find(({ member }) => member === 'leader')!;
  return lab.hosts.find((each) => each.name === name)!;
}

function run(where: Host, name: Name): Promise<string> {
  const lasting = ['-d', '--init', '--name', name, '--network', 'demo', '--ip', ADDRESS[name]];
  return where.docker('run', ...lasting, 'busybox', 'sleep', '100000');
}

/** The host that serves the datapath in the other's place. */
const untilTakenOver = () =>
  waitFor('somebody in its place', async () => {
    for (const each of others) {
      const { standsBy } = await chargesOf(each);
      if (standsBy.some(({ host: of, isMaster }) => of === host.name && isMaster)) return each;
    }
    return undefined;
  });
/** As Open vSwitch says itself, every five seconds: one master, at this address. */
const untilRoleIs = (pattern: RegExp) =>
  waitFor('Open vSwitch to say who is master', async () => {
    const rows = await host.ovs(
      'ovs-vsctl',
      '--columns=target,role',
      '--format=csv',
      '--no-headings',
      'list',
      'controller',
    );
    const masters = rows.split('\n').filter((row) => row.endsWith(',master'));
    return masters.length === 1 && pattern.test(masters[0]!);
  });

/** Milliseconds until the first answer, to pings five times a second, which end with it. */
async function untilAnswer(from: Name, to: Name, where = host): Promise<number> {
  const startedAt = Date.now();
  const pings = `ping -i 0.2 ${ADDRESS[to]} | grep -m 1 seq=`;
  const command = where.background(['docker', 'exec', from, 'sh', '-c', pings]);
  await waitFor(`an answer of ${to} to ${from}`, () => command.text().includes(' seq='));
  const ms = Date.now() - startedAt;
  await command.ended;
  return ms;
}

/** Fifty pings a second, whose losses are counted. */
const fastPing = (from: Name, to: Name) => steadyPing(host, from, ADDRESS[to], 50);

/** Those that the host's datapath has. Packets keep them. */
async function routesTo(name: Name): Promise<number> {
  const flows = await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int');
  return flows
    .split('\n')
    .filter((flow) => flow.includes('idle_timeout=3,') && flow.includes(`nw_dst=${ADDRESS[name]}`)).length;
}

const kill = (where: Host, signal: string, pid: number) => where.exec('kill', [`-${signal}`, String(pid)]);

interface Absence {
  readonly leave: () => Promise<unknown>;
  readonly comeBack: () => Promise<unknown>;
}

let revive = (): Promise<unknown> => Promise.resolve();
const ABSENCES: Readonly<Record<string, Absence>> = {
  'is killed, and stays away': {
    leave: async () => (revive = await killForLong(host)),
    comeBack: () => revive(),
  },
  'hangs, and goes on': {
    leave: () => kill(host, 'STOP', host.agentPid()!),
    comeBack: () => kill(host, 'CONT', host.agentPid()!),
  },
  'ends with the plugin, as in an upgrade': {
    leave: () => host.docker('plugin', 'disable', '-f', PLUGIN),
    comeBack: () => host.docker('plugin', 'enable', PLUGIN),
  },
};

test.each(Object.keys(ABSENCES))('the agent %s: another host serves in its place, until it is back', async (what) => {
  const { leave, comeBack } = ABSENCES[what]!;
  const [elsewhere] = others as [Host];
  await untilGuarded(host);
  await untilRoleIs(/unix:/);
  await run(elsewhere, 'eve');
  const pings = [fastPing('ann', 'bob'), fastPing('ann', 'dan')];
  for (const ping of pings) await ping.started();

  await leave();
  expect(await untilAnswer('bob', 'cat')).toBeLessThan(TAKEN_OVER_WITHIN_MS);
  const deputy = await untilTakenOver();
  await untilRoleIs(new RegExp(`ssl:${deputy.address}:`));

  // What the policy says, and who is gone.
  await deputy.daolictl('disconnect', 'bob:cat');
  const isDenied = async () => {
    const { code } = await host.tryDocker('exec', 'bob', 'ping', '-c', '1', '-W', '1', ADDRESS.cat);
    return code !== 0;
  };
  await waitFor('the end of what is denied', isDenied);
  await deputy.daolictl('connect', 'bob:cat');
  await untilAnswer('bob', 'cat');
  expect(await untilAnswer('cat', 'dan')).toBeLessThan(TAKEN_OVER_WITHIN_MS);
  expect(await untilAnswer('dan', 'bob', elsewhere)).toBeLessThan(TAKEN_OVER_WITHIN_MS);

  const toEve = fastPing('cat', 'eve');
  await toEve.started();
  expect(await routesTo('eve')).toBeGreaterThan(0);
  await elsewhere.docker('rm', '-f', 'eve');
  await waitFor('the end of routes to who is gone', async () => (await routesTo('eve')) === 0);

  await comeBack();
  await untilGuarded(host);
  await untilRoleIs(/unix:/);
  for (const each of others) {
    expect((await chargesOf(each)).standsBy).toContainEqual({ host: host.name, isConnected: true, isMaster: false });
  }
  expect(await untilAnswer('cat', 'ann')).toBeLessThan(TAKEN_OVER_WITHIN_MS);
  expect(await Promise.all(pings.map((ping) => ping.lost()))).toEqual([0, 0]);
  // Those that are left in the containers, with the terminal that they had.
  for (const name of ['ann', 'cat']) await host.docker('exec', name, 'busybox', 'killall', 'ping');
});

test('where the agent that is gone is of the leader’s host, the directory has another leader first', async () => {
  const leader = await leaderSeenFrom(host);
  await run(leader, 'eve');
  await run(leader, 'fay');
  await untilGuarded(leader);
  const reviveLeader = await killForLong(leader);
  try {
    expect(await untilAnswer('eve', 'fay', leader)).toBeLessThan(TAKEN_OVER_LATE_WITHIN_MS);
  } finally {
    await reviveLeader();
  }
  await untilGuarded(leader);
  for (const name of ['eve', 'fay']) await leader.docker('rm', '-f', name);
});

test('where a backup cannot reach the host either, the other one serves, whichever of them it is', async () => {
  for (const away of others) {
    await untilGuarded(host);
    await waitFor('the end of its routes', async () => (await routesTo('cat')) === 0);
    await lab.site.cut(host.name, away.name);
    const reviveIt = await killForLong(host);
    try {
      expect(await untilAnswer('bob', 'cat')).toBeLessThan(TAKEN_OVER_LATE_WITHIN_MS);
    } finally {
      await lab.site.heal();
      await reviveIt();
    }
  }
  await untilGuarded(host);
});
