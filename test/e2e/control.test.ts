// Who may talk to whom, as people say it: the walk of the first DaoliNet's user guide (groups, pairs) on three servers, then
// policies with ports; each change holds for conversations that run already, on every host, and leaves others alone.
import { joinAll, startHosts, stopCluster, untilNetwork, type LabCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import { addressOf, ask, lendPrograms, ping, remove, startClient, startServer, type Question } from './support/peers';
import { steadyPing } from './support/steady-ping';

jest.setTimeout(120_000);

let lab: LabCluster;
let h1: Host;
let h2: Host;
let h3: Host;
/** Addresses of containers by their names. */
const at: Record<string, string> = {};

const NETWORKS = ['dnet1', 'dnet2'];
const SERVED = ['80/tcp', '81/tcp', '53/udp'];
/** A change holds within a second; here, three. */
const SOON_MS = 3_000;

beforeAll(async () => {
  lab = await startHosts(3, { settings: { DAOLINET_IDLE_TIMEOUT: '5' } });
  [h1, h2, h3] = lab.hosts as [Host, Host, Host];
  await joinAll(lab.hosts);
  lab.hosts.forEach(lendPrograms);
  await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.1.0.0/24', 'dnet1');
  await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', '192.168.77.0/24', 'dnet2');
  for (const host of [h2, h3]) await waitForNetworks(host);
  await startServer(h1, 'test1', SERVED, ['--network', 'dnet1', '--label', 'app=one']);
  await startServer(h2, 'test2', SERVED, ['--network', 'dnet1', '--label', 'app=two']);
  await startServer(h3, 'test3', SERVED, ['--network', 'dnet2']);
  await startServer(h1, 'test4', SERVED, ['--network', 'dnet2']);
  const places = [
    [h1, 'test1', 'dnet1'],
    [h2, 'test2', 'dnet1'],
    [h3, 'test3', 'dnet2'],
    [h1, 'test4', 'dnet2'],
  ] as const;
  for (const [host, name, network] of places) at[name] = await addressOf(host, name, network);
}, 900_000);

afterAll(async () => {
  if (lab === undefined) return;
  for (const host of lab.hosts) await remove(host, ['test1', 'test2', 'test3', 'test4', 'test5'], []);
  await remove(h1, [], NETWORKS);
  await stopCluster(lab);
}, 120_000);

function waitForNetworks(host: Host): Promise<unknown> {
  return Promise.all(NETWORKS.map((name) => untilNetwork(name, [host])));
}

/** Short where nothing is to come. */
const SILENT = { timeoutMs: 1_500 };
const reaches = async (host: Host, from: string, to: string, ...args: string[]) =>
  (await ping(host, from, at[to]!, ...args)) === 1;
const fetches = (host: Host, from: string, to: string, port: number, question?: Question) =>
  ask(host, from, `${at[to]}:${port}`, question);

/** Holds at once, or a moment later where another host has to hear of it first. */
function soon(host: Host, from: string, to: string, isReached: boolean): Promise<unknown> {
  const what = `${from} ${isReached ? 'reaches' : 'does not reach'} ${to}`;
  return waitFor(what, async () => (await reaches(host, from, to, '-W', '1')) === isReached, SOON_MS + 3_000);
}

/** As soon, of what a port answers. */
function soonFetches(host: Host, from: string, to: string, port: number, question?: Question): Promise<unknown> {
  const answered = async () =>
    (await fetches(host, from, to, port, { ...question, ...SILENT })) === `${to} ${at[from]}`;
  return waitFor(`port ${port} of ${to}`, answered, SOON_MS + 3_000);
}

/** Pings five times a second, until it is ended; tells for how long no answer has come. */
function pinging(host: Host, from: string, to: string) {
  const running = steadyPing(host, from, at[to]!, 5);
  let seen = 0;
  let lastMs = Date.now();
  const timer = setInterval(() => {
    const answers = running.answers();
    if (answers > seen) [seen, lastMs] = [answers, Date.now()];
  }, 50);
  return {
    ...running,
    silentMs: () => Date.now() - lastMs,
    stop: async () => {
      clearInterval(timer);
      await running.stop();
    },
  };
}

async function refused(host: Host, ...args: string[]): Promise<string> {
  const { code, stderr } = await host.tryDaolictl(...args);
  expect(code).toBe(1);
  return stderr.trim();
}

describe('the user guide of the first DaoliNet', () => {
  test('containers of one subnet are connected, those of two are not', async () => {
    expect(await reaches(h1, 'test1', 'test2')).toBe(true);
    expect(await reaches(h1, 'test1', 'test3', '-W', '1')).toBe(false);
    expect(await reaches(h1, 'test1', 'test4', '-W', '1')).toBe(false);
  });

  test('group create, member add: those of a group are; member rm: not any more', async () => {
    expect(await h1.daolictl('group', 'create', 'G1')).toContain('Group G1 is there');
    await h1.daolictl('member', 'add', '--group', 'G1', 'dnet1');
    expect(await h2.daolictl('member', 'add', '--group', 'G1', 'dnet2')).toBe('Group G1 connects dnet1, dnet2.');
    expect(await h3.daolictl('group', 'show', 'G1')).toMatch(/GROUP\s+NETWORKS\nG1\s+dnet1 dnet2/);
    await soon(h1, 'test1', 'test3', true);
    await soon(h1, 'test1', 'test4', true);
    await soon(h2, 'test2', 'test3', true);
    const running = pinging(h1, 'test1', 'test3');
    const other = steadyPing(h1, 'test1', at['test2']!, 5);
    await Promise.all([running.started(), other.started()]);
    await h1.daolictl('member', 'rm', '--group', 'G1', 'dnet2');
    await waitFor('silence', () => running.silentMs() > 1_000, SOON_MS + 1_000);
    expect(await other.lost()).toBe(0);
    await running.stop();
    await soon(h1, 'test1', 'test4', false);
    expect(await refused(h1, 'group', 'create', 'G1')).toBe('daolictl: group G1 exists already');
    expect(await h1.daolictl('group', 'delete', 'G1')).toBe('Group G1 is gone.');
    expect(await h3.daolictl('--output', 'json', 'group', 'list')).toBe('[]');
  });

  test('disconnect and connect two containers, in both directions, while they talk; show and clear', async () => {
    const running = pinging(h1, 'test1', 'test2');
    await running.started();
    expect(await h3.daolictl('disconnect', 'test1:test2')).toContain('test1:test2: disconnected.');
    await waitFor('silence', () => running.silentMs() > 1_000, SOON_MS + 1_000);
    await soon(h2, 'test2', 'test1', false);
    expect(await h2.daolictl('show', 'test1:test2')).toMatch(
      /^test1:test2: disconnected\n {2}h1\/test1 \(10\.1\.0\.\d+\) → h2\/test2 \(10\.1\.0\.\d+\): denied; pair test1:test2/,
    );
    const before = running.answers();
    await h1.daolictl('connect', 'test1:test2');
    await waitFor('answers again', () => running.answers() > before, SOON_MS);
    await running.stop();
    expect(await h1.daolictl('clear', 'test1:test2')).toContain('as networks and policies say');
    expect(await reaches(h1, 'test1', 'test2')).toBe(true);
    await h1.daolictl('connect', 'test2:test3');
    await soon(h2, 'test2', 'test3', true);
    await soon(h3, 'test3', 'test2', true);
    await h1.daolictl('clear', 'test3:test2');
    await soon(h2, 'test2', 'test3', false);
  });

  test('what is said of a pair holds for a container that is made again, from its first packet on', async () => {
    const address = '10.1.0.200';
    at['test5'] = address;
    const create = (...command: string[]) =>
      h2.tryDocker('run', '--name', 'test5', '--network', 'dnet1', '--ip', address, IMAGE, ...command);
    await startClient(h2, 'test5', ['--network', 'dnet1', '--ip', address]);
    await soon(h1, 'test1', 'test5', true);
    expect(await h1.daolictl('disconnect', 'test1:test5')).toContain(
      'it holds for whatever is made again as test1 or test5',
    );
    await soon(h1, 'test1', 'test5', false);
    await remove(h2, ['test5'], []);
    // Its first packets leave before Docker has told anybody its name.
    const { stdout } = await create('busybox', 'ping', '-c', '10', '-i', '0.1', '-W', '1', at['test1']!);
    expect(stdout).toContain('10 packets transmitted, 0 packets received');
    await remove(h2, ['test5'], []);
    await h1.daolictl('clear', 'test1:test5');
    const again = await create('busybox', 'ping', '-c', '1', '-W', '5', at['test1']!);
    expect(again.stdout).toContain('1 packets received');
    await remove(h2, ['test5'], []);
  });
});

describe('policies', () => {
  const policies = async () => JSON.parse(await h1.daolictl('--output', 'json', 'policy', 'list')) as Policies;
  interface Policies {
    readonly policies: readonly { readonly name: string }[];
  }

  afterEach(async () => {
    for (const { name } of (await policies()).policies) await h1.daolictl('policy', 'rm', name);
    await h1.daolictl('policy', 'default', 'dnet1', 'allow');
  });

  test('allow a port between networks: answers pass, other ports and the other direction do not', async () => {
    expect(await h1.daolictl('policy', 'add', 'allow', 'tcp/80', '--from', 'dnet1', '--to', 'test3')).toBe(
      'Policy p1: allow from network:dnet1 to container:test3 tcp/80.',
    );
    await soonFetches(h1, 'test1', 'test3', 80);
    await soonFetches(h2, 'test2', 'test3', 80);
    expect(await fetches(h1, 'test1', 'test3', 81, SILENT)).toBe('timeout');
    expect(await fetches(h1, 'test1', 'test3', 53, { ...SILENT, protocol: 'udp' })).toBe('timeout');
    expect(await fetches(h3, 'test3', 'test1', 80, SILENT)).toBe('timeout');
    expect(await reaches(h1, 'test1', 'test3', '-W', '1')).toBe(false);
    expect(await h2.daolictl('policy', 'check', 'test1', 'test3', 'tcp/80')).toMatch(
      /^h1\/test1 \(\S+\) → h3\/test3 \(\S+\): allowed; policy p1: allow from network:dnet1 to container:test3 tcp\/80$/,
    );
    expect(await h2.daolictl('policy', 'check', 'test3', 'test1', 'tcp/80')).toContain(
      'denied; no rule allows it, and network dnet2 and network dnet1 are in no group together',
    );
  });

  test('a network that is default deny: rules by label, on one host and over two', async () => {
    await startServer(h1, 'test5', SERVED, ['--network', 'dnet1', '--label', 'app=two']);
    at['test5'] = await addressOf(h1, 'test5', 'dnet1');
    await h1.daolictl('policy', 'default', 'dnet1', 'deny');
    await soon(h1, 'test1', 'test2', false);
    await soon(h1, 'test1', 'test5', false);
    await h1.daolictl('policy', 'add', 'allow', 'udp/53', '--from', 'label:app=one', '--to', 'label:app=two');
    await soonFetches(h1, 'test1', 'test2', 53, { protocol: 'udp' });
    expect(await fetches(h1, 'test1', 'test5', 53, { protocol: 'udp' })).toBe(`test5 ${at['test1']}`);
    expect(await fetches(h2, 'test2', 'test1', 53, { ...SILENT, protocol: 'udp' })).toBe('timeout');
    expect(await fetches(h2, 'test2', 'test5', 53, { ...SILENT, protocol: 'udp' })).toBe('timeout');
    await remove(h1, ['test5'], []);
  });

  test('the order decides; a change ends conversations that run', async () => {
    const running = pinging(h1, 'test1', 'test2');
    await running.started();
    await h1.daolictl('policy', 'add', 'deny', '--from', 'test1', '--to', 'test2', '--name', 'closed');
    await waitFor('silence', () => running.silentMs() > 1_000, SOON_MS + 1_000);
    const before = running.answers();
    await h2.daolictl('policy', 'add', 'allow', 'icmp', '--from', 'test1', '--to', 'any', '--before', 'closed');
    await waitFor('answers again', () => running.answers() > before, SOON_MS);
    await running.stop();
    expect(await fetches(h1, 'test1', 'test2', 80, SILENT)).toBe('timeout');
    expect(await h3.daolictl('policy', 'list')).toMatch(
      /p1\s+allow from container:test1 to any icmp\nclosed\s+deny from/,
    );
  });

  test('to the outside', async () => {
    const outside = '192.0.2.2'; // the other server, as anything that is no container
    const out = async () => (await ping(h1, 'test1', outside, '-W', '1')) === 1;
    expect(await ping(h1, 'test1', outside)).toBe(1);
    await h1.daolictl('policy', 'add', 'deny', '--from', 'dnet1', '--to', `${outside}/32`);
    await waitFor('no way out', async () => !(await out()), SOON_MS + 1_000);
    expect(await ping(h1, 'test4', outside)).toBe(1);
    expect(await h1.daolictl('policy', 'check', 'test1', outside)).toContain(
      `deny from network:dnet1 to ${outside}/32`,
    );
  });

  test('wrong words change nothing, and say how to mend it', async () => {
    expect(await refused(h1, 'policy', 'add', 'allow', '--from', 'test11', '--to', 'test2')).toBe(
      'daolictl: there is no container, service or network test11; did you mean test1 or test2 or test3?',
    );
    expect(await refused(h1, 'connect', 'test1:dnet1')).toContain('pairs are of containers');
    expect(await refused(h1, 'member', 'add', '--group', 'G9', 'dnet1')).toContain('group G9 does not exist');
    const { code } = await h1.tryDaolictl('connect', 'test1');
    expect(code).toBe(2);
    expect((await policies()).policies).toEqual([]);
  });
});
