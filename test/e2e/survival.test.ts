// What a running container notices when a part of DaoliNet, Open vSwitch or Docker dies and comes back: nothing, beside
// new routes that wait while the part is away. And that nothing is left over afterwards.

import { PLUGIN, startHost, waitFor, type Host } from '../../lab/host';

jest.setTimeout(300_000);

let host: Host;

beforeAll(async () => {
  host = await startHost({ settings: { DAOLINET_IDLE_TIMEOUT: '2' } });
  await host.docker('network', 'create', '-d', 'daolinet', 'web');
  await host.docker(
    'network',
    'create',
    '-d',
    'daolinet',
    '--ipam-driver',
    'daolinet',
    '--ipam-opt',
    'tenant=red',
    '--subnet',
    '10.1.0.0/24',
    'red',
  );
  for (const name of ['w1', 'w2']) await run(name, 'web');
  for (const name of ['r1', 'r2']) await run(name, 'red');
});

afterAll(async () => {
  await host?.stop();
});

/** With an init, so that Docker need not wait ten seconds for its end. */
function run(name: string, network: string, ...options: string[]): Promise<string> {
  const lasting = ['-d', '--init', '--restart', 'always', '--name', name, '--network', network];
  return host.docker('run', ...lasting, ...options, 'busybox', 'sleep', '100000');
}

async function reaches(from: string, to: string): Promise<boolean> {
  const { code } = await host.tryDocker('exec', from, 'ping', '-c', '1', '-W', '1', to);
  return code === 0;
}

/** Both pairs talk, at once or as soon as the part that was away is back. */
async function everybodyTalks(): Promise<void> {
  for (const [from, to] of [
    ['w1', 'w2'],
    ['r1', 'r2'],
    ['w2', 'w1'],
  ] as const) {
    await waitFor(`${from} to reach ${to}`, () => reaches(from, to), 20_000);
  }
}

/** Interfaces, OVS ports and rows of ours: what a leak would show in. */
async function inventory() {
  const lines = async (command: string) => (await host.exec('sh', ['-c', command])).split('\n').filter(Boolean).length;
  const api = async (path: string) =>
    (
      JSON.parse(
        await host.exec('curl', ['-s', '--unix-socket', '/run/daolinet/api.sock', `http://agent${path}`]),
      ) as unknown[]
    ).length;
  return {
    links: await lines("ls /sys/class/net | grep '^d[lc]' || true"),
    ovsPorts: await lines('ovs-vsctl list-ports br-int'),
    endpoints: await api('/v1/endpoints'),
    networks: await api('/v1/networks'),
    ports: await api('/v1/ports'),
  };
}

async function settled(expected: object): Promise<void> {
  await host.untilReady();
  await waitFor(
    'what is there to be what should be',
    async () => {
      const now = await inventory();
      return JSON.stringify(now) === JSON.stringify(expected);
    },
    20_000,
  ).catch(async (error: unknown) => {
    expect(await inventory()).toEqual(expected);
    throw error;
  });
}

test('before any fault, everybody talks', async () => {
  await everybodyTalks();
  expect(await inventory()).toEqual({ links: 4, ovsPorts: 5, endpoints: 4, networks: 2, ports: 0 });
});

test('a ping that runs while the agent is killed with SIGKILL loses nothing', async () => {
  const ping = host.background(['docker', 'exec', 'w1', 'ping', '-c', '20', '-i', '0.2', '-W', '2', 'w2']);
  await waitFor('the first answers', () => ping.text().includes('seq=2'));
  await host.killAgent('SIGKILL');
  await ping.ended;
  expect(ping.text()).toContain('20 packets transmitted, 20 packets received');
});

test.each<[string, () => Promise<unknown>]>([
  ['the agent is killed', () => host.killAgent('SIGKILL')],
  [
    'the plugin is disabled and enabled',
    async () => {
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await host.docker('plugin', 'enable', PLUGIN);
    },
  ],
  ['the plugin is upgraded', () => host.upgradePlugin()],
  ['ovsdb-server is killed', () => host.restartOvsdb('SIGKILL')],
  ['ovs-vswitchd is killed', () => host.restartVswitchd('SIGKILL')],
  ['dockerd restarts with live-restore', () => host.restartDockerd({ liveRestore: true })],
  ['dockerd restarts without live-restore', () => host.restartDockerd({ liveRestore: false })],
  ['dockerd is killed', () => host.restartDockerd({ signal: 'SIGKILL' })],
])('%s: the same containers talk, and nothing leaks', async (_what, fault) => {
  await fault();
  await everybodyTalks();
  await settled({ links: 4, ovsPorts: 5, endpoints: 4, networks: 2, ports: 0 });
});

test('a container whose end the agent was not told of starts again with its own address, seconds after', async () => {
  const installWith = async (mtu: string) => {
    await host.docker('plugin', 'disable', '-f', PLUGIN);
    await host.docker('plugin', 'set', PLUGIN, `DAOLINET_MTU=${mtu}`);
    await host.docker('plugin', 'enable', PLUGIN);
  };
  await run('fixed', 'red', '--ip', '10.1.0.77');
  await installWith('wrong'); // now each call of Docker's fails, DeleteEndpoint too
  await host.docker('stop', '-t', '0', 'fixed');
  await installWith('1500');
  await waitFor(
    'the container to start',
    async () => (await host.tryDocker('start', 'fixed')).code === 0,
    30_000, // 3 s after the first look at Docker, three times that on a slow machine, and Docker's own retries
  );
  expect(await reaches('r1', '10.1.0.77')).toBe(true);
  await host.docker('rm', '-f', 'fixed');
  await settled({ links: 4, ovsPorts: 5, endpoints: 4, networks: 2, ports: 0 });
});

test('an agent that is new while Open vSwitch is away takes addresses back all the same', async () => {
  await run('passing', 'red', '--ip', '10.1.0.78');
  await host.stopOvs();
  await host.replaceAgent();
  const startedAt = Date.now();
  await host.docker('rm', '-f', 'passing');
  expect(Date.now() - startedAt).toBeLessThan(3 * 2_000); // Docker alone takes 0.3 s
  const rows = await host.exec('curl', ['-s', '--unix-socket', '/run/daolinet/api.sock', 'http://agent/v1/status']);
  expect(rows).toContain('waiting for');
  await host.startOvs();
  await settled({ links: 4, ovsPorts: 5, endpoints: 4, networks: 2, ports: 0 });
  await everybodyTalks();
  await host.docker('run', '--rm', '--network', 'red', '--ip', '10.1.0.78', 'busybox', 'true');
});

test('the host is rebooted: containers with a restart policy come back on the same networks', async () => {
  await host.reboot();
  await waitFor(
    'containers',
    async () => (await host.docker('ps', '-q')).split('\n').filter(Boolean).length === 4,
    60_000,
  );
  await everybodyTalks();
  await settled({ links: 4, ovsPorts: 5, endpoints: 4, networks: 2, ports: 0 });
});

test('100 containers come and go with faults in between: nothing is left over', async () => {
  const before = await inventory();
  const batch = async (start: number) => {
    const names = Array.from({ length: 10 }, (_, index) => `churn${start + index}`);
    await Promise.all(
      names.map((name, index) =>
        host.docker(
          'run',
          '-d',
          '--name',
          name,
          '--network',
          index % 2 === 0 ? 'web' : 'red',
          'busybox',
          'sleep',
          '1000',
        ),
      ),
    );
    return names;
  };
  for (let start = 0; start < 100; start += 10) {
    const names = await batch(start);
    if (start === 20) await host.killAgent('SIGKILL');
    if (start === 40) await host.restartVswitchd('SIGKILL');
    if (start === 60) await host.restartOvsdb('SIGKILL');
    const removal = host.docker('rm', '-f', ...names);
    if (start === 80) await host.killAgent('SIGKILL');
    await removal;
  }
  await settled(before);
  await everybodyTalks();
});

test('after all that, an idle network holds no route', async () => {
  await waitFor(
    'the routes to go',
    async () => {
      const flows = await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int');
      return !flows.includes('idle_timeout');
    },
    15_000,
  );
});
