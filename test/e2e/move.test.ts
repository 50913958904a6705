// A container that moves between two servers: it is there as it was, with its addresses; who talks to it goes on talking; and what
// cannot be leaves all as it was.
import { chosenEngine, waitFor, type Host } from '../../lab/host';
import { joinAll, makeNetwork, startHosts, stopCluster, untilNetwork, type LabCluster } from '../../lab/cluster';
import { addressOf, ping, remove } from './support/peers';

jest.setTimeout(60_000);

let lab: LabCluster | undefined;
let h1: Host;
let h2: Host;
const isOld = chosenEngine() === '20.10';

beforeAll(async () => {
  lab = await startHosts(2);
  [h1, h2] = lab.hosts as [Host, Host];
  await joinAll(lab.hosts);
  await makeNetwork('demo', '10.9.0.0/24', lab.hosts);
  await h1.docker('network', 'create', '-d', 'daolinet', '--ipam-driver', 'daolinet', 'back');
  await untilNetwork('back', [h2]);
}, 900_000);
afterAll(async () => {
  if (lab === undefined) return;
  // What is frozen does not end with its host.
  await h1.tryDocker('unpause', 'frozen');
  await stopCluster(lab);
}, 60_000);

const SLEEP = ['--stop-timeout', '0', 'busybox', 'sleep', '3600'];
const runOn = (host: Host, name: string, ...args: string[]) => host.docker('run', '-d', '--name', name, ...args);

interface Moved {
  readonly from: string;
  readonly to: string;
  readonly warnings: readonly string[];
  readonly kept: string | null;
  readonly state: string;
}

/** Moves it, seen from the server. */
async function move(...args: string[]): Promise<Moved> {
  return JSON.parse(await h1.daolictl('--output', 'json', 'container', 'move', ...args)) as Moved;
}

/** What a move refuses with. */
async function refused(...args: string[]): Promise<string> {
  const { code, stderr } = await h1.tryDaolictl('container', 'move', ...args);
  expect(code).toBe(1);
  return stderr.trim().replace('daolictl: ', '');
}

interface Inspected extends Record<string, unknown> {
  Id: string;
  Config: Record<string, unknown>;
  NetworkSettings: { Networks: Record<string, Record<string, unknown>> };
}
const inspect = async (host: Host, name: string) => (JSON.parse(await host.docker('inspect', name)) as [Inspected])[0];

/** What is another for every container, and for every start of one. */
const OWN = [
  'Id',
  'Created',
  'State',
  'Image',
  'ResolvConfPath',
  'HostnamePath',
  'HostsPath',
  'LogPath',
  'GraphDriver',
  'ExecIDs',
];
const OF_START = ['NetworkID', 'EndpointID', 'DNSNames', 'Aliases', 'IPAMConfig', 'DriverOpts'];

/** What `docker inspect` says, without that. Addresses are chosen afterwards, and looked at by themselves. */
function comparable(inspected: Inspected) {
  const { NetworkSettings, Mounts, Config, ...rest } = inspected;
  const without = (object: object, keys: readonly string[]) =>
    Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)));
  const networks = Object.entries(NetworkSettings.Networks).map(([name, settings]) => {
    // Before version 25 Docker keeps the MAC address of one network alone.
    const keys = isOld && name !== 'demo' ? [...OF_START, 'MacAddress'] : OF_START;
    return [name, without(settings, keys)];
  });
  const mounts = (Mounts as { Destination: string }[]).map((mount) => without(mount, ['Name', 'Source']));
  return {
    ...without(rest, OWN),
    Config,
    Mounts: mounts.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    Networks: Object.fromEntries(networks) as Record<string, unknown>,
  };
}

test('all that docker inspect says of it is the same, and it is reached at its names, addresses and ports', async () => {
  await h1.docker('volume', 'create', 'data');
  await runOn(
    h1,
    'web',
    ...['--hostname', 'shop', '--network', 'demo', '--ip', '10.9.0.20', '--network-alias', 'www'],
    ...['--mac-address', '02:42:0a:09:00:14', '-p', '8080:80', '-p', '127.0.0.1:5353:53/udp', '-e', 'MODE=production'],
    ...['-v', 'data:/data', '-v', '/anonymous', '--tmpfs', '/scratch', '--read-only', '--user', '1000', '-w', '/tmp'],
    ...['-l', 'com.docker.compose.project=shop', '-l', 'com.docker.compose.service=web', '--restart', 'unless-stopped'],
    ...['--memory', '64m', '--cpus', '0.5', '--pids-limit', '100', '--ulimit', 'nofile=1024:2048', '--shm-size', '32m'],
    ...['--cap-add', 'NET_ADMIN', '--cap-drop', 'MKNOD', '--security-opt', 'no-new-privileges', '--init'],
    ...['--health-cmd', 'true', '--health-interval', '5s', '--stop-signal', 'SIGKILL', '--log-opt', 'max-size=1m'],
    ...[
      '--dns',
      '9.9.9.9',
      '--add-host',
      'db:10.9.0.9',
      '--sysctl',
      'net.ipv4.ip_default_ttl=60',
      '--entrypoint',
      'sh',
    ],
    ...['busybox', '-c', 'httpd -f -p 8000 & sleep 3600'],
  );
  await h1.docker('network', 'connect', '--alias', 'backend', 'back', 'web');
  await runOn(h1, 'peer', '--network', 'demo', ...SLEEP);
  const before = await inspect(h1, 'web');

  const moved = await move('--node', 'h2', 'web');
  expect(moved).toMatchObject({ from: 'h1', to: 'h2', state: 'running' });
  expect(moved.warnings).toEqual(
    expect.arrayContaining([
      'volume data stays on h1 with what is in it',
      'volume data on host h2: it begins empty',
      'what is in its unnamed volumes (/anonymous) stays on h1',
      'it is of compose project shop: docker compose up on h1 would make another',
    ]),
  );

  const after = await inspect(h2, 'web');
  expect(after.Id).not.toBe(before.Id);
  expect(comparable(after)).toEqual(comparable(before));
  for (const network of ['demo', 'back']) {
    const [one, other] = [before, after].map((each) => each.NetworkSettings.Networks[network]!);
    expect(other).toMatchObject({ IPAddress: one!['IPAddress'], IPAMConfig: { IPv4Address: one!['IPAddress'] } });
    const aliases = (each: Inspected) =>
      ((each.NetworkSettings.Networks[network]!['Aliases'] ?? []) as string[])
        .filter((alias) => alias !== each.Id.slice(0, 12))
        .sort();
    expect(aliases(after)).toEqual(aliases(before));
  }
  expect((await h1.tryDocker('inspect', 'web')).code).not.toBe(0);
  expect(await h1.docker('volume', 'inspect', '--format', '{{.Name}}', 'data')).toBe('data');

  for (const name of ['10.9.0.20', 'www', 'web']) expect([name, await ping(h1, 'peer', name)]).toEqual([name, 1]);
  const shown = await h1.daolictl('container', 'shownet', 'web');
  expect(shown).toMatch(/^web \([0-9a-f]{12}\) on host h2\n/);
  expect(shown).toMatch(/demo +10\.9\.0\.20\/24 +02:42:0a:09:00:14 +10\.9\.0\.1 +100\.64\.1\.\d+/);
  expect(shown).toMatch(/0\.0\.0\.0:8080->80\/tcp/);
  await remove(h1, ['peer'], []);
  await remove(h2, ['web'], []);
});

test('who talks to it goes on: pings on either host, begun before, go on afterwards; there and back', async () => {
  await runOn(h1, 'roamer', '--network', 'demo', ...SLEEP);
  const address = await addressOf(h1, 'roamer', 'demo');
  const lines = async (host: Host, name: string) =>
    (await host.docker('logs', name)).split('\n').filter((line) => line.includes('seq='));
  for (const [host, name] of [
    [h1, 'caller1'],
    [h2, 'caller2'],
  ] as const) {
    await runOn(host, name, '--network', 'demo', '--stop-timeout', '0', 'busybox', 'ping', address);
    await waitFor(`answers to ${name}`, async () => (await lines(host, name)).length > 0);
  }
  for (const [target, to, from] of [
    ['h2', h2, h1],
    ['h1', h1, h2],
  ] as const) {
    await move('--node', target, 'roamer');
    expect([await addressOf(to, 'roamer', 'demo'), (await from.tryDocker('inspect', 'roamer')).code]).toEqual([
      address,
      1,
    ]);
    for (const [host, name] of [
      [h1, 'caller1'],
      [h2, 'caller2'],
    ] as const) {
      const heard = (await lines(host, name)).length;
      await waitFor(`more answers to ${name}`, async () => (await lines(host, name)).length > heard + 1);
    }
  }
  await remove(h1, ['roamer', 'caller1'], []);
  await remove(h2, ['caller2'], []);
});

test('a network that was made without --subnet: its address is kept where DaoliNet gives it, and else it does not move', async () => {
  await h1.docker('network', 'create', '-d', 'daolinet', 'plain');
  await runOn(h1, 'ours', '--network', 'back', ...SLEEP);
  await runOn(h1, 'dockers', '--network', 'plain', ...SLEEP);
  await untilNetwork('plain', [h2]);
  const address = await addressOf(h1, 'ours', 'back');
  await move('--node', 'h2', 'ours');
  await move('--node', 'h1', 'ours');
  expect(await addressOf(h1, 'ours', 'back')).toBe(address);

  const other = await addressOf(h1, 'dockers', 'plain');
  expect((await move('--node', 'h2', 'dockers')).warnings).toContain(
    `Docker of host h1 gives out the addresses of network plain by itself, and may refuse a docker run without --ip there, as it does not know that ${other} is taken (networks with --ipam-driver daolinet do not have this)`,
  );
  expect(await addressOf(h2, 'dockers', 'plain')).toBe(other);
  expect(await refused('--node', 'h1', 'dockers')).toContain('network plain was made on host h1 without --subnet');
  expect(await addressOf(h2, 'dockers', 'plain')).toBe(other);
  await remove(h1, ['ours'], []);
  await remove(h2, ['dockers'], []);
  await remove(h1, [], ['plain']);
});

test('one that cannot run there goes back, with the address that it had', async () => {
  // The hosts of a lab share their files, but not /run.
  await h1.exec('mkdir', ['-p', '/run/only-here']);
  await h1.exec('touch', ['/run/only-here/flag']);
  const bind = ['-v', '/run/only-here:/x:ro'];
  const command = 'test -e /x/flag || { echo no flag here; exit 3; }; exec sleep 3600';
  await runOn(h1, 'homely', '--network', 'demo', '--stop-timeout', '0', ...bind, 'busybox', 'sh', '-c', command);
  const address = await addressOf(h1, 'homely', 'demo');
  const { Id } = await inspect(h1, 'homely');
  expect(await refused('homely')).toBe(
    'no other host can have homely: h2: /x is /run/only-here of its host: on host h2 it would be what is there, or an empty folder; --force moves it nevertheless',
  );
  expect(await refused('--force', 'homely')).toBe(
    'homely was not moved to h2: it ended at once on host h2, with exit code 3, saying "no flag here"; it is on h1 as before',
  );
  expect(await inspect(h1, 'homely')).toMatchObject({ Id, State: { Running: true } });
  expect(await addressOf(h1, 'homely', 'demo')).toBe(address);
  expect((await h2.docker('ps', '-aq')).split('\n').filter(Boolean)).toEqual([]);
  await remove(h1, ['homely'], []);
});

test('stopped, kept, and --rm', async () => {
  await h1.docker('create', '--name', 'idle', '--network', 'demo', '--ip', '10.9.0.77', ...SLEEP);
  expect(await move('--node', 'h2', 'idle')).toMatchObject({ state: 'stopped' });
  await h2.docker('start', 'idle');
  expect(await addressOf(h2, 'idle', 'demo')).toBe('10.9.0.77');

  await runOn(h1, 'double', '--network', 'demo', '--restart', 'always', ...SLEEP);
  expect(await move('--keep', 'double')).toMatchObject({ to: 'h2', kept: 'double-moved-to-h2' });
  expect(await inspect(h1, 'double-moved-to-h2')).toMatchObject({
    State: { Running: false },
    HostConfig: { RestartPolicy: { Name: 'no' } },
  });
  expect(await inspect(h2, 'double')).toMatchObject({ HostConfig: { RestartPolicy: { Name: 'always' } } });

  await runOn(h1, 'passing', '--rm', '--network', 'demo', ...SLEEP);
  expect(await refused('passing')).toContain('it was started with --rm');
  expect(await move('--force', 'passing')).toMatchObject({ to: 'h2', kept: null });
  await remove(h1, ['double-moved-to-h2'], []);
  await remove(h2, ['idle', 'double', 'passing'], []);
});

test('what is wrong is said, and changes nothing', async () => {
  await runOn(h1, 'web', '--network', 'demo', '-p', '8080:80', ...SLEEP);
  await runOn(h1, 'sharing', '--network', 'container:web', ...SLEEP);
  await runOn(h1, 'bridged', ...SLEEP);
  await h1.docker('tag', 'busybox', 'only-here');
  await runOn(h1, 'foreign', '--network', 'demo', '--stop-timeout', '0', 'only-here', 'sleep', '3600');
  await runOn(h1, 'frozen', '--network', 'demo', ...SLEEP);
  await h1.docker('pause', 'frozen');
  await runOn(h2, 'occupant', '--network', 'demo', '-p', '8080:80', ...SLEEP);
  const both = async () =>
    Promise.all([h1, h2].map((host) => host.docker('ps', '-a', '--format', '{{.ID}} {{.Names}} {{.State}}')));
  const before = await both();

  expect(await refused('--node', 'h3', 'web')).toBe('there is no host h3 in the cluster; did you mean h1 or h2?');
  expect(await refused('--node', 'h1', 'web')).toBe('web is on host h1 already');
  expect(await refused('wbe')).toBe('no container wbe is in a DaoliNet network; did you mean web?');
  expect(await refused('--node', 'h2', 'web')).toBe('web cannot move to h2: port 8080/tcp is taken on host h2');
  expect(await refused('foreign')).toContain('h2: host h2 has no image only-here: docker pull only-here there');
  expect(await refused('sharing')).toMatch(
    /^container h1\/sharing has the network of another container, [0-9a-f]{12},/,
  );
  expect(await refused('bridged')).toContain('is in no DaoliNet network, but in bridge');
  expect(await refused('frozen')).toBe('container h1/frozen is paused: docker unpause frozen, then move it');
  // A client must not make containers elsewhere.
  const { code, stderr } = await h2.tryDaolictl('container', 'move', 'occupant');
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/^daolictl: only servers of the cluster .*: do it on 192\.0\.2\.1\n$/),
  ]);
  expect((await h1.tryDaolictl('container', 'move')).code).toBe(2);
  expect(await both()).toEqual(before);

  await remove(h1, ['sharing', 'web', 'bridged', 'foreign', 'frozen'], []);
  await remove(h2, ['occupant'], []);
});
