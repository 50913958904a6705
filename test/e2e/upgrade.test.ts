// A running cluster comes to another version of the plugin, one host after another, and one host goes back, while a load runs:
// streams and datagrams that go on, new connections, containers that start and stop, pairs that are connected and disconnected.
import type { Host } from '../../lab/host';
import type { AgentStatus } from '../../src/api/operations/status';
import { OFF_THE_WAY, type Fault } from '../faults/fault';
import { seeded } from '../faults/seeded';
import { Stage } from '../faults/stage';
import { misses, Trial, type Outcome } from '../faults/trial';
import { olderPlugin, type OlderPlugin } from './support/older-plugin';

jest.setTimeout(400_000);

/** Of bounds on time, on a machine that has something else to do. */
const TIMES = 3;

let older: OlderPlugin;
let stage: Stage;
let trial: Trial;

beforeAll(async () => {
  older = olderPlugin();
  stage = await Stage.start(3, seeded(1), older.folder);
  trial = new Trial(stage);
  await trial.begin();
}, 900_000);
afterAll(async () => {
  await stage?.stop();
  older?.remove();
}, 60_000);

const versionOf = async (host: Host) => (await stage.api(host).get<AgentStatus>('/v1/status')).version;

/** The plugin of a host becomes that of another version. Its agent is away meanwhile, and others stand by for it. */
const upgrade = (name: string, remote?: string): Fault => ({
  name: `${name}-upgraded`,
  what: `the plugin of ${name} becomes another version`,
  victims: () => Promise.resolve([stage.host(name)]),
  inject: (_stage, hosts) => Promise.all(hosts.map((host) => host.upgradePlugin(remote))),
  lastsMs: 0,
  bounds: OFF_THE_WAY,
});

/**
 * Nothing is lost, new conversations are soon there, and containers start everywhere, but on the host itself while Docker has no
 * plugin there. What has to hold afterwards is Trial's.
 */
function expectNothingLost(outcome: Outcome): void {
  const { beside, through } = outcome;
  expect(misses(outcome, TIMES)).toEqual([]);
  expect({ beside: beside.measured.resets, through: through.measured.resets }).toEqual({ beside: 0, through: 0 });
  expect(beside.starts.failed).toBe(0);
  expect(beside.starts.count).toBeGreaterThan(0);
}

/** A new container of each host reaches those of all by name, whatever the versions are: none of those that the churn disconnects. */
async function expectAllTalk(): Promise<void> {
  const names = stage.hosts.map(({ name }) => `n${name.slice(1)}a`);
  const script = names.map((name) => `ping -c 1 -W 5 ${name} >/dev/null && echo ${name}`).join('; ');
  const run = ['run', '--rm', '--network', 'load', 'busybox', 'sh', '-c', script];
  const heard = await Promise.all(stage.hosts.map((host) => host.docker(...run)));
  expect(heard.map((text) => text.split('\n'))).toEqual(stage.hosts.map(() => names));
}

const agentLog = (host: Host) => host.exec('cat', ['/var/log/daolinet/dockerd.log']);

test.each(['h1', 'h2', 'h3'])(
  'the plugin of %s is upgraded: nothing is lost, whatever the others have',
  async (name) => {
    const host = stage.host(name);
    const before = await versionOf(host);
    expectNothingLost(await trial.run(upgrade(name)));
    expect(await versionOf(host)).not.toBe(before);
    await expectAllTalk();
    const said = await host.daolictl('host', 'ls');
    if (name === 'h1') expect(said).toMatch(/^versions of the plugin: .* on h1; .* on h2, h3$/m);
    if (name === 'h3') expect(said).not.toContain('versions of the plugin');
  },
);

test('the first one has brought the directory along for all', async () => {
  const logs = await Promise.all(stage.hosts.map(agentLog));
  expect(logs.map((log) => log.includes("converting the cluster's database from version"))).toEqual([
    true,
    false,
    false,
  ]);
});

test('one goes back to the version that it had: nothing is lost, and the directory stays as it is', async () => {
  const host = stage.host('h2');
  const remote = await host.publishVersion(older.folder, 'older');
  const present = await versionOf(host);
  expectNothingLost(await trial.run(upgrade('h2', remote)));
  expect(await versionOf(host)).not.toBe(present);
  expect(await agentLog(host)).toMatch(/the cluster's database is of version .*, later than this plugin's/);
  await expectAllTalk();
});
