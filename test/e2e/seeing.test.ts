// Seeing what happens, on one host and between two: status, routes, traces held against Open vSwitch, captures that tcpdump reads,
// drops, metrics, and the doctor. h1 serves the directory, h2 is a client.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { joinAll, startHosts, stopCluster, untilNetwork, type LabCluster } from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';
import type { ShownDiagnosis } from '../../src/api/operations/doctor';
import type { ShownDrops } from '../../src/api/operations/drops';
import type { ShownRoute } from '../../src/api/operations/routes';
import type { AgentStatus } from '../../src/api/operations/status';
import type { ShownTrace } from '../../src/api/operations/trace';
import { formatEnd } from '../../src/api/ends';
import { talk } from './support/beside';
import { ping, remove } from './support/peers';

jest.setTimeout(60_000);

let lab: LabCluster;
let h1: Host;
let h2: Host;
const ADDRESS = { ann: '10.9.0.10', bob: '10.9.0.11', dan: '10.9.0.12', eve: '10.8.0.10' } as const;
const NOBODY = '10.9.0.99';

const containerOn = (host: Host, name: keyof typeof ADDRESS, network: string) =>
  host.docker('run', '-d', '--name', name, '--network', network, '--ip', ADDRESS[name], 'busybox', 'sleep', '3600');

beforeAll(async () => {
  lab = await startHosts(2, { settings: { DAOLINET_IDLE_TIMEOUT: '4' } });
  [h1, h2] = lab.hosts as [Host, Host];
  await joinAll(lab.hosts);
  for (const [network, subnet] of [
    ['demo', '10.9.0.0/24'],
    ['other', '10.8.0.0/24'],
  ] as const) {
    await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', subnet, network);
  }
  await containerOn(h1, 'ann', 'demo');
  await containerOn(h1, 'bob', 'demo');
  await containerOn(h1, 'eve', 'other');
  await untilNetwork('demo', [h2]);
  await containerOn(h2, 'dan', 'demo');
  await waitFor('all names', async () => {
    const { code } = await h1.tryDaolictl('trace', 'ann', 'dan');
    const other = await h1.tryDaolictl('trace', 'bob', 'eve');
    return code === 0 && other.code === 0;
  });
}, 900_000);
afterAll(async () => {
  if (lab === undefined) return;
  await remove(h1, ['ann', 'bob', 'eve'], []);
  await stopCluster(lab);
}, 60_000);

async function json<T>(host: Host, ...args: string[]): Promise<T> {
  return JSON.parse(await host.daolictl('--output', 'json', ...args)) as T;
}

const trace = (host: Host, ...args: string[]) => json<ShownTrace>(host, 'trace', ...args);

/** The flows that packets have caused. */
async function reactiveFlows(host: Host): Promise<string[]> {
  const flows = await host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int');
  return flows.split('\n').filter((line) => /_timeout=/.test(line));
}

test('status says how the agent is, on one page', async () => {
  const page = await h1.daolictl('status');
  expect(page).toMatch(/^host: +h1$/m);
  expect(page).toMatch(/^state: +ready$/m);
  expect(page).toMatch(/^Open vSwitch: +\d+\.\d+\.\d+, \S+ datapath$/m);
  expect(page).toMatch(/^networks: +2$/m);
  expect(page).toMatch(/^endpoints: +3 here, 4 known$/m);
  expect(page).toMatch(/^cluster: +server; hosts: 2, servers: 1$/m);
  expect(await json(h2, 'status')).toMatchObject({ host: 'h2', endpointsHere: 1, cluster: { role: 'client' } });
});

describe('a trace', () => {
  test('agrees with Open vSwitch and sends nothing: same host, other host, outside, refused, nobody', async () => {
    await waitFor(
      'silence',
      async () => (await reactiveFlows(h1)).length + (await reactiveFlows(h2)).length === 0,
      20_000,
    );
    const outcomes = {
      same: await trace(h1, 'ann', 'bob', 'tcp/80'),
      other: await trace(h1, 'ann', 'dan', 'udp/53'),
      back: await trace(h1, 'dan', 'ann'),
      outside: await trace(h1, 'ann', '198.51.100.7'),
      refused: await trace(h1, 'ann', 'eve'),
      nobody: await trace(h1, 'ann', NOBODY),
      locator: await trace(h1, 'ann', '100.64.0.77'),
    };
    const shown = Object.entries(outcomes).map(([name, { agrees, isDelivered, hosts }]) => {
      return `${name}: ${hosts.map(({ host, outcome }) => `${host} ${outcome}`).join(', ')}; ${isDelivered} ${agrees}`;
    });
    expect(shown).toEqual([
      'same: h1 here; true true',
      'other: h1 other-host, h2 here; true true',
      'back: h2 other-host, h1 here; true true',
      'outside: h1 outside; true true',
      'refused: h1 refused; false true',
      'nobody: h1 nobody; false true',
      'locator: h1 dropped; false true',
    ]);
    expect(await reactiveFlows(h1)).toEqual([]);
    expect(await reactiveFlows(h2)).toEqual([]);
  });

  test('with routes, its steps are theirs, and its flows were those that came', async () => {
    const before = await trace(h1, 'ann', 'dan');
    const talking = await talk(h1, 'ann', ADDRESS.dan);
    try {
      const after = await trace(h1, 'ann', 'dan');
      expect(after).toMatchObject({ isDelivered: true, agrees: true });
      expect(after.hosts.map(({ route }) => route)).toEqual([[], []]);
      expect(after.hosts.map(({ steps }) => steps.map(({ name }) => name).join(' '))).toEqual([
        'CLASSIFY ROUTE FABRIC_OUT FABRIC_SEND',
        'CLASSIFY FABRIC_IN',
      ]);
      // Both directions on both hosts, foretold to the last bit of the cookie.
      const cookies = (lines: readonly string[]) => lines.map((line) => /cookie=(0x\w+)/.exec(line)?.[1] ?? '').sort();
      const foretold = before.hosts.map(({ route }) => cookies(route));
      expect(foretold).toEqual([cookies(await reactiveFlows(h1)), cookies(await reactiveFlows(h2))]);
    } finally {
      await talking.stop();
    }
  });

  test('a flow that somebody else has put in is found out', async () => {
    const flow = `table=2,priority=999,ip,nw_src=${ADDRESS.ann},nw_dst=${ADDRESS.bob}`;
    await h1.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'add-flow', 'br-int', `${flow},actions=drop`);
    try {
      const text = await h1.daolictl('trace', 'ann', 'bob', 'tcp/80');
      expect(text).toContain('Open vSwitch differs:');
      expect(text).toMatch(/h1: it is to leave by port \d+, and OVS drops it/);
    } finally {
      await h1.ovs('ovs-ofctl', '-O', 'OpenFlow14', '--strict', 'del-flows', 'br-int', flow);
    }
    expect((await trace(h1, 'ann', 'bob', 'tcp/80')).agrees).toBe(true);
  });

  test('on a client says what it cannot know; a wrong name is told with one that is like it', async () => {
    const shown = await trace(h2, 'dan', 'ann');
    expect(shown).toMatchObject({ isDelivered: null, agrees: true });
    expect(shown.unknown[0]).toContain('only servers of the cluster');
    const { code, stderr } = await h1.tryDaolictl('trace', 'anm', 'bob');
    expect([code, stderr]).toEqual([1, expect.stringContaining('did you mean ann?')]);
    expect((await h1.tryDaolictl('trace', 'ann', 'bob', 'tcp/0')).stderr).toContain('"tcp/0" is none of tcp/PORT');
    expect((await h1.tryDaolictl('trace', 'ann')).code).toBe(2);
  });
});

describe('routes', () => {
  test('are listed with names, ages, idle times and packets, of one host and of all', async () => {
    const talking = [await talk(h1, 'ann', ADDRESS.bob)];
    try {
      talking.push(await talk(h1, 'ann', ADDRESS.dan));
      const line = ({ from, to, seenOn }: ShownRoute) => `${formatEnd(from)} > ${formatEnd(to)} on ${seenOn}`;
      const here = await json<ShownRoute[]>(h1, 'route', 'list');
      expect(here.map(line).sort()).toEqual([
        ...['h1/ann > h1/bob on h1', 'h1/ann > h2/dan on h1', 'h1/bob > h1/ann on h1', 'h2/dan > h1/ann on h1'],
      ]);
      for (const { idleSeconds = 9, ageSeconds } of here) expect(idleSeconds).toBeLessThanOrEqual(ageSeconds + 1);
      const all = await json<ShownRoute[]>(h1, 'route', 'list', '--all', '--from', 'dan');
      expect(all.map(line).sort()).toEqual(['h2/dan > h1/ann on h1', 'h2/dan > h1/ann on h2']);
      expect(await h1.daolictl('route', 'list', '--to', 'bob')).toMatch(
        /^h1\/ann +h1\/bob +all +h1 +\d+s +\d+s +\d+ +\d+ B$/m,
      );
    } finally {
      for (const each of talking) await each.stop();
    }
  });

  test('are watched as they come and go', async () => {
    await waitFor('silence', async () => (await reactiveFlows(h1)).length === 0, 20_000);
    const [program = '', ...args] = h1.daolictlCommand();
    const talking = await talk(h1, 'ann', ADDRESS.dan);
    const watch = spawn(program, [...args, 'route', 'watch', '--from', 'ann'], { stdio: 'pipe' });
    let seen = '';
    watch.stdout.setEncoding('utf8').on('data', (text: string) => (seen += text));
    try {
      await waitFor('the one that is there', () => /is +h1\/ann → h2\/dan/.test(seen));
      await talking.stop();
      await ping(h1, 'ann', ADDRESS.bob);
      await waitFor('the route to come', () => /came +h1\/ann → h1\/bob/.test(seen));
      await waitFor('the route to go', () => /went +h1\/ann → h1\/bob {2}\(\d+ packets\)/.test(seen), 20_000);
    } finally {
      await talking.stop();
      const gone = new Promise((resolve) => watch.once('close', resolve));
      watch.kill();
      await gone;
    }
  });
});

describe('a capture', () => {
  const read = (host: Host, file: string) => host.exec('tcpdump', ['-nr', '-'], { input: readFileSync(file) });
  const pathOf = (host: Host, name: string) => host.path(join('/run', name));
  /** How many tcpdumps the agent runs. */
  const tcpdumps = async (host: Host) => (await host.exec('sh', ['-c', 'pgrep -c "^tcpdump$" || true'])).trim();

  /** Starts one and resolves when it sees everything; its end says how many packets. */
  async function start(host: Host, ...args: string[]) {
    const [program = '', ...rest] = host.daolictlCommand();
    const child = spawn(program, [...rest, 'capture', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await waitFor('the capture', () => said.includes('capturing'));
    return { child, ended, said: () => said };
  }

  test('of an endpoint is a file that tcpdump reads, with what passed and nothing else, for root alone', async () => {
    const file = pathOf(h1, 'one.pcap');
    const { ended, said } = await start(h1, 'ann', '-o', file, '--count', '4', '--filter', 'icmp');
    expect(await ping(h1, 'bob', ADDRESS.eve, '-W', '1')).toBe(0);
    expect(await ping(h1, 'ann', ADDRESS.bob)).toBe(1);
    expect(await ping(h1, 'ann', ADDRESS.dan)).toBe(1);
    expect(await ended).toBe(0);
    expect(said()).toContain('4 packets');
    const lines = (await read(h1, file)).split('\n').map((line) => line.replace(/^\S+ /, '').replace(/, .*/, ''));
    expect(lines).toEqual([
      `IP ${ADDRESS.ann} > ${ADDRESS.bob}: ICMP echo request`,
      `IP ${ADDRESS.bob} > ${ADDRESS.ann}: ICMP echo reply`,
      `IP ${ADDRESS.ann} > ${ADDRESS.dan}: ICMP echo request`,
      `IP ${ADDRESS.dan} > ${ADDRESS.ann}: ICMP echo reply`,
    ]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await waitFor('its end on the host', async () => (await tcpdumps(h1)) === '0');
  });

  test('of one on another host comes from there; it ends with its client, and by its time', async () => {
    const file = pathOf(h1, 'two.pcap');
    const { child, ended, said } = await start(h1, 'dan', '-o', file);
    expect(await ping(h1, 'ann', ADDRESS.dan)).toBe(1);
    await waitFor('both packets', () => existsSync(file) && statSync(file).size > 200);
    expect(await tcpdumps(h2)).not.toBe('0');
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    expect(said()).toMatch(/^[2-9] packets$/m);
    await waitFor('its end on h2', async () => (await tcpdumps(h2)) === '0');
    const timed = await start(h1, 'ann', '-o', pathOf(h1, 'three.pcap'), '--seconds', '1', '--filter', 'udp port 9');
    expect(await timed.ended).toBe(0);
    expect(timed.said()).toContain('0 packets');
    for (const name of ['one', 'two', 'three']) rmSync(pathOf(h1, `${name}.pcap`));
  });

  test('is refused in words: a wrong filter, an unknown container, a fifth at once, a client for another host', async () => {
    const refused = async (host: Host, ...args: string[]) => {
      const { code, stderr } = await host.tryDaolictl('capture', ...args, '-o', pathOf(host, 'no.pcap'));
      expect(code).toBe(1);
      return stderr;
    };
    expect(await refused(h1, 'ann', '--filter', 'tcp prot 80')).toContain('syntax error');
    expect(await refused(h1, 'ann', '--filter', 'port 80; id')).toContain(
      'has signs that pcap-filter(7) does not know',
    );
    expect(await refused(h1, 'amn')).toContain('did you mean ann?');
    expect(await refused(h2, 'ann')).toContain('only servers of the cluster');
    expect((await h1.tryDaolictl('capture', 'ann', '--count', '0')).code).toBe(2);
    expect(existsSync(pathOf(h1, 'no.pcap'))).toBe(false);
    const running = [];
    for (let n = 0; n < 4; n += 1) running.push(await start(h1, 'ann', '-o', pathOf(h1, `many${n}.pcap`)));
    expect(await refused(h1, 'ann')).toContain('4 captures run on this host already');
    for (const { child } of running) child.kill('SIGINT');
    expect(await Promise.all(running.map(({ ended }) => ended))).toEqual([0, 0, 0, 0]);
    await waitFor('their end', async () => (await tcpdumps(h1)) === '0');
  });

  test('does not outlive an agent that is killed', async () => {
    const { ended } = await start(h1, 'ann', '-o', pathOf(h1, 'killed.pcap'));
    await h1.killAgent();
    await ended;
    await waitFor('its end', async () => (await tcpdumps(h1)) === '0');
    // Until its datapath has come back to it, what is denied is denied by h2, which stands by for it.
    await waitFor('the agent to be in charge', async () => {
      const { code, stdout } = await h1.tryDaolictl('--output', 'json', 'status');
      if (code !== 0) return false;
      const { state, charges } = JSON.parse(stdout) as AgentStatus;
      return state === 'ready' && charges.master === 'h1';
    });
  });
});

test('drops: where, why, how often, between whom; and what the policy refused', async () => {
  expect(await ping(h1, 'ann', ADDRESS.eve, '-c', '3', '-i', '0.3', '-W', '1')).toBe(0);
  await h1.tryDocker('exec', 'ann', 'ping', '-c', '1', '-W', '1', '169.254.169.254');
  const shown = await waitFor('the drops', async () => {
    const { drops, denials } = await json<ShownDrops>(h1, 'drops');
    const denied = drops.find(({ why }) => why === 'denied');
    const guarded = drops.find(({ why }) => why === 'guarded');
    return denied && guarded && denied.packets > 0 && denials.length > 0 ? { denied, guarded, denials } : undefined;
  });
  expect(shown.denied).toMatchObject({ where: 'ROUTE', from: { container: 'ann' }, to: { container: 'eve' } });
  expect(shown.guarded.where).toBe('ROUTE');
  expect(shown.denials[0]).toMatchObject({ from: { container: 'ann' }, to: { container: 'eve' }, protocol: 'icmp' });
  const table = await h1.daolictl('drops', '--all');
  expect(table).toMatch(/^h1 +ROUTE +denied +\d+ +h1\/ann +h1\/eve +the policy refuses this pair$/m);
  expect(table).toMatch(/^h1 +h1\/ann → h1\/eve +icmp +\d+ +\d+s ago$/m);
});

test('/metrics is what Prometheus reads', async () => {
  const socketPath = h1.path('/run/daolinet/api.sock');
  const response = await new Promise<{ type: string | undefined; text: string }>((resolve, reject) => {
    request({ socketPath, path: '/metrics', agent: false }, (answer) => {
      void textOf(answer).then((text) => resolve({ type: answer.headers['content-type'], text }), reject);
    })
      .on('error', reject)
      .end();
  });
  expect(response.type).toContain('version=0.0.4');
  const series = response.text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  for (const line of series) expect(line).toMatch(/^[a-z_][\w:]*(\{(\w+="[^"]*",?)+\})? (-?[\d.e+-]+|NaN|\+Inf)$/i);
  const value = (name: string) =>
    Number(
      series
        .find((line) => line.startsWith(`${name} `))
        ?.split(' ')
        .at(-1),
    );
  expect(value('daolinet_ready')).toBe(1);
  expect(value('daolinet_datapaths_connected')).toBe(1);
  expect(value('daolinet_endpoints{state="joined"}')).toBe(4);
  expect(value('daolinet_packet_ins_total')).toBeGreaterThan(0);
  expect(value('daolinet_datapath_dropped_packets_total{reason="guarded"}')).toBeGreaterThan(0);
  expect(value('nodejs_eventloop_lag_seconds')).toBeGreaterThanOrEqual(0);
});

describe('the doctor', () => {
  const examine = async (host: Host) => {
    const { code, stdout } = await host.tryDaolictl('--output', 'json', 'doctor');
    return { code, findings: (JSON.parse(stdout) as ShownDiagnosis).findings };
  };

  test('finds no error where there is none, on a server and on a client', async () => {
    for (const host of [h1, h2]) {
      const { code, findings } = await waitFor(`a healthy ${host.name}`, async () => {
        const found = await examine(host);
        return found.code === 0 ? found : undefined;
      });
      expect([code, findings.filter(({ level }) => level === 'error')]).toEqual([0, []]);
      expect(findings.map(({ check }) => check)).toEqual(
        expect.arrayContaining(['kernel', 'Open vSwitch', 'fabric', 'leaks']),
      );
    }
    expect((await examine(h1)).findings.map(({ what }) => what).join()).toContain('reached, with packets of full size');
    const all = await h1.daolictl('doctor', '--all');
    expect(all).toMatch(/^h1:$[^]*^h2:$/m);
  });

  test('finds what was broken, with a remedy, and ends with 1', async () => {
    await h1.exec('ip', ['link', 'add', 'dl0123456789a', 'type', 'veth', 'peer', 'name', 'dc0123456789a']);
    await h1.exec('sysctl', ['-qw', 'net.ipv4.ip_forward=0']);
    try {
      const { code, findings } = await examine(h1);
      expect(code).toBe(1);
      expect(findings.find(({ level }) => level === 'error')).toMatchObject({
        check: 'kernel',
        remedy: 'sysctl -w net.ipv4.ip_forward=1',
      });
      expect(findings.map(({ what }) => what).join()).toContain('dl0123456789a');
    } finally {
      await h1.exec('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
    }
    await h1.tryExec('ip', ['link', 'delete', 'dl0123456789a']);
  });

  test('finds a host that is out of reach', async () => {
    await h2.exec('nft', ['-f', '-'], {
      input: 'table inet cut {\nchain c {\ntype filter hook input priority -300;\ntcp dport 7470 drop\n}\n}\n',
    });
    try {
      const { code, findings } = await examine(h1);
      expect(code).toBe(1);
      expect(findings.find(({ level }) => level === 'error')?.what).toContain('host h2 (192.0.2.2) is out of reach');
    } finally {
      await h2.exec('nft', ['delete', 'table', 'inet', 'cut']);
    }
  });
});
