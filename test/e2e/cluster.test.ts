// Three servers as one network: made by daolictl, with certificates; networks on every host; routes between hosts, without a
// tunnel; addresses that move; and what happens when the directory, or a host, is away.
import { startHosts, stopCluster, tokenIn, untilConnected, untilServers, type LabCluster } from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { formatToken, parseToken } from '../../src/cluster/token';
import { Capture } from './support/capture';
import { askDirectory, identityOf, type HostIdentity } from './support/directory-door';
import {
  addressOf,
  ask,
  getApi,
  lendPrograms,
  ON_HOST,
  ping,
  refusal,
  remove,
  run,
  startClient,
  startServer,
  untilNamed,
} from './support/peers';

jest.setTimeout(180_000);

let lab: LabCluster;
let h1: Host;
let h2: Host;
let h3: Host;

beforeAll(async () => {
  lab = await startHosts(3, { settings: { DAOLINET_IDLE_TIMEOUT: '10' } });
  [h1, h2, h3] = lab.hosts as [Host, Host, Host];
  lab.hosts.forEach(lendPrograms);
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

const flowsOf = (host: Host) => host.ovs('ovs-ofctl', '-O', 'OpenFlow14', 'dump-flows', 'br-int');
const routesOn = async (host: Host) =>
  (await flowsOf(host)).split('\n').filter((line) => line.includes('idle_timeout'));

/** Docker hides a network before it is gone for DaoliNet. */
function onEvery(name: string, isThere = true): Promise<unknown> {
  const check = async (host: Host) => {
    if (isThere) return (await host.networks()).includes(name);
    const ours = await getApi<{ name: string }[]>(host, '/v1/networks');
    return !(await host.networks()).includes(name) && ours.every((network) => network.name !== name);
  };
  return Promise.all(
    lab.hosts.map((host) =>
      waitFor(`network ${name} ${isThere ? 'on' : 'gone from'} ${host.name}`, () => check(host), 20_000),
    ),
  );
}

/** What a command of daolictl refuses with. */
async function refused(host: Host, ...args: string[]): Promise<string> {
  const { code, stderr } = await host.tryDaolictl(...args);
  expect(code).toBe(1);
  return stderr;
}

let secondToken: string;

describe('joining', () => {
  test('a host alone says so, and begins a cluster; its networks stay', async () => {
    expect(await h1.daolictl('cluster', 'status')).toContain('This host is in no cluster');
    await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.40.0.0/24', 'before');
    const said = await h1.daolictl('cluster', 'init');
    expect(said).toMatch(/daolictl cluster join daolinet-[\w-]+/);
    secondToken = tokenIn(said);
    expect(await h1.daolictl('host', 'ls')).toMatch(
      /h1 \(this\)\s+192\.0\.2\.1\s+default\s+server \(leader\)\s+-\s+100\.64\.0\.0\/24\s+0/,
    );
    expect(await h1.networks()).toContain('before');
    expect(await refused(h1, 'cluster', 'init')).toContain('in a cluster already');
  });

  test('a token that is none, of another cluster, with a wrong secret, or of nobody who answers', async () => {
    const token = parseToken(secondToken);
    expect(await refused(h2, 'cluster', 'join', secondToken.slice(0, 30))).toContain('this is no join token');
    const other = formatToken({ ...token, certificate: 'f'.repeat(64) });
    expect(await refused(h2, 'cluster', 'join', other)).toContain('is not the server that is meant');
    const guessed = formatToken({ ...token, secret: 'A'.repeat(24) });
    expect(await refused(h2, 'cluster', 'join', guessed)).toContain('the token is none of this cluster’s');
    const away = formatToken({ ...token, server: '192.0.2.3' });
    expect(await refused(h2, 'cluster', 'join', away)).toContain('no server of the cluster answers at 192.0.2.3:7470');
  });

  test('a host with networks of its own is refused, naming them; so is an address that is another’s', async () => {
    await h2.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.41.0.0/24', 'mine');
    const said = await waitFor('the network’s name', async () => {
      const text = await refused(h2, 'cluster', 'join', secondToken);
      return text.includes('network mine') ? text : undefined;
    });
    expect(said).toContain('this host has networks of its own (network mine): remove them before it joins');
    await h2.docker('network', 'rm', 'mine');
    const stolen = await refused(h2, 'cluster', 'join', secondToken, '--address', '192.0.2.1');
    expect(stolen).toContain('192.0.2.1 is the address of host h1');
  });

  test('with the right token it is in; the token is good for one host', async () => {
    expect(await h2.daolictl('cluster', 'join', secondToken)).toContain('one of a cluster of 2');
    expect(await refused(h3, 'cluster', 'join', secondToken)).toContain('it was used');
    expect(await refused(h2, 'cluster', 'token')).toContain(
      'only servers of the cluster give out tokens: do it on 192.0.2.1',
    );
    const old = tokenIn(await h1.daolictl('cluster', 'token'));
    const fresh = tokenIn(await h1.daolictl('cluster', 'token'));
    expect(await refused(h3, 'cluster', 'join', old)).toContain('another was made since');
    await h3.daolictl('cluster', 'join', fresh);
    // With the third host, three serve.
    await untilServers(h1, ['h1', 'h2', 'h3']);
    for (const host of lab.hosts) {
      const rows = JSON.parse(await host.daolictl('--output', 'json', 'host', 'ls')) as { name: string }[];
      expect(rows.map(({ name }) => name)).toEqual(['h1', 'h2', 'h3']);
    }
    await onEvery('before');
    await h1.docker('network', 'rm', 'before');
    await onEvery('before', false);
  });
});

describe('networks', () => {
  test('one that is made on a host is on every host, the same, and goes from everywhere when it is removed', async () => {
    const options = ['-o', 'mtu=1400', '--subnet', '10.42.0.0/24', '--gateway', '10.42.0.254', '--internal'];
    await h2.docker('network', 'create', '-d', 'daolinet', ...options, 'everywhere');
    await onEvery('everywhere');
    const format = '{{.Internal}} {{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{index .Options "mtu"}}';
    for (const host of lab.hosts) {
      expect(await host.docker('network', 'inspect', '--format', format, 'everywhere')).toBe(
        'true 10.42.0.0/24 10.42.0.254 1400',
      );
    }
    await h3.docker('network', 'rm', 'everywhere');
    await onEvery('everywhere', false);
    expect(await getApi<unknown[]>(h1, '/v1/networks')).toEqual([]);
  });

  test('it stays where it is used until it is not', async () => {
    await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.43.0.0/24', 'used');
    await onEvery('used');
    await startClient(h2, 'user', ['--network', 'used']);
    await h1.docker('network', 'rm', 'used');
    await waitFor('its end on h3', async () => !(await h3.networks()).includes('used'));
    expect(await h2.networks()).toContain('used');
    await remove(h2, ['user'], []);
    await onEvery('used', false);
  });

  test('a name that a host has for something else is left alone; the same subnet is refused, naming its network', async () => {
    await h3.docker('network', 'create', 'taken');
    const before = await h3.docker('network', 'inspect', '--format', '{{.Id}}', 'taken');
    await h1.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.44.0.0/24', 'taken');
    await waitFor('the network on h2', async () => (await h2.networks()).includes('taken'));
    expect(await h3.docker('network', 'inspect', '--format', '{{.Id}} {{.Driver}}', 'taken')).toBe(`${before} bridge`);
    await waitFor('a word about it', () => h3.log().includes('this host has another network taken'));
    const said = await refusal(h3, 'network', 'create', '-d', 'daolinet', '--subnet', '10.44.0.0/25', 'mine');
    expect(said).toContain('overlaps pool default/10.44.0.0/24 (network taken) in tenant default');
    await h3.docker('network', 'rm', 'taken');
    await onEvery('taken');
    await h1.docker('network', 'rm', 'taken');
    await onEvery('taken', false);
  });

  test.each([
    ['Docker’s own IPAM', []],
    ['our IPAM', ['--ipam-driver', 'daolinet']],
  ])('with %s, addresses are unique, whoever starts containers at the same moment', async (_, ipam) => {
    await h1.docker('network', 'create', '-d', 'daolinet', ...ipam, '--subnet', '10.45.0.0/24', 'many');
    await onEvery('many');
    const names = lab.hosts.flatMap((host) => [1, 2, 3].map((n) => [host, `${host.name}-${n}`] as const));
    await Promise.all(names.map(([host, name]) => startClient(host, name, ['--network', 'many'])));
    const given = await Promise.all(names.map(([host, name]) => addressOf(host, name, 'many')));
    expect(new Set(given).size).toBe(9);
    const first = await addressOf(h1, 'h1-1', 'many');
    await untilNamed(h2, 'h1-1');
    const said = await refusal(h2, 'run', '--network', 'many', '--ip', first, 'busybox', 'true');
    expect(said).toMatch(/is in use by container h1-1 in network many/);
    for (const host of lab.hosts)
      await remove(
        host,
        names.map(([, name]) => name),
        [],
      );
    await h2.docker('network', 'rm', 'many');
    await onEvery('many', false);
    expect(await getApi<unknown[]>(h1, '/v1/endpoints')).toEqual([]);
  });
});

describe('routes between hosts', () => {
  const ANN = '10.50.0.10';
  const BOB = '10.50.0.20';

  beforeAll(async () => {
    const create = ['network', 'create', '-d', 'daolinet', '--ipam-driver', 'daolinet', '--subnet', '10.50.0.0/24'];
    await h1.docker(...create, '--ipam-opt', 'tenant=red', 'red');
    await h1.docker(...create, '--ipam-opt', 'tenant=blue', 'blue');
    await onEvery('red');
    await onEvery('blue');
    await startServer(h1, 'ann', ['80/tcp', '53/udp'], ['--network', 'red', '--ip', ANN]);
    await startServer(h2, 'bob', ['80/tcp', '53/udp'], ['--network', 'red', '--ip', BOB]);
    await startServer(h2, 'blue-bob', ['80/tcp', '53/udp'], ['--network', 'blue', '--ip', BOB]);
    await startClient(h1, 'blue-ann', ['--network', 'blue', '--ip', ANN]);
  });

  test('none while nobody talks, and no word of one another in the datapaths of hosts that never talked', async () => {
    await waitFor('silence', async () => (await routesOn(h1)).length + (await routesOn(h2)).length === 0);
    const macs = await Promise.all(lab.hosts.map((host) => host.exec('cat', ['/sys/class/net/daoli-fab/address'])));
    for (const [index, host] of lab.hosts.entries()) {
      const flows = await flowsOf(host);
      for (const [other, mac] of macs.entries()) expect(flows.includes(mac) && index !== other).toBe(false);
    }
  });

  test('the first packet arrives, and both hosts have both directions', async () => {
    expect(await ping(h1, 'ann', BOB)).toBe(1);
    const [here, there] = [await routesOn(h1), await routesOn(h2)];
    expect([here.length, there.length]).toEqual([2, 2]);
    expect(there.join()).toMatch(/dl_src=.*nw_src=100\.64\.0\.\d+,nw_dst=100\.64\.1\.\d+/);
    expect(await routesOn(h3)).toEqual([]);
  });

  test('a host is told of a route: its half is there without a packet', async () => {
    const asked = async (host: Host) => {
      const { packetIns, wordsFollowed } = await getApi<Record<string, number>>(host, '/v1/counters');
      return { packetIns, wordsFollowed: wordsFollowed ?? NaN };
    };
    await waitFor('silence', async () => (await routesOn(h1)).length + (await routesOn(h2)).length === 0);
    const before = await asked(h2);
    // Its TTL ends on h1, so nothing of it leaves.
    expect(await ping(h1, 'ann', BOB, '-t', '1', '-W', '1')).toBe(0);
    await waitFor('the route on h2', async () => (await routesOn(h2)).length === 2, 3000);
    expect(await asked(h2)).toEqual({ packetIns: before.packetIns, wordsFollowed: before.wordsFollowed + 1 });
    expect(await ping(h1, 'ann', BOB)).toBe(1);
    expect((await asked(h2)).packetIns).toBe(before.packetIns);
  });

  test('TCP, UDP and ICMP, in bulk and in fragments, both ways', async () => {
    expect(await ask(h1, 'ann', `${BOB}:80`, { bytes: 3_000_000 })).toBe(`bob ${ANN}`);
    expect(await ask(h2, 'bob', `${ANN}:80`, { bytes: 3_000_000 })).toBe(`ann ${BOB}`);
    for (const bytes of [32, 4000, 20_000]) {
      expect(await ask(h1, 'ann', `${BOB}:53`, { protocol: 'udp', bytes })).toBe(`bob ${ANN}`);
    }
    expect(await ping(h2, 'bob', ANN, '-s', '4000')).toBe(1);
  });

  test('traceroute names the source’s server, the destination’s server, and the destination; on one host the destination', async () => {
    await startClient(h1, 'near', ['--network', 'red', '--ip', '10.50.0.11']);
    const trace = async (to: string) =>
      [
        ...(await run(h1, 'ann', ['traceroute', '-n', '-q', '1', '-w', '3', '-m', '6', to])).matchAll(
          /^ *\d+ +([\d.]+)/gm,
        ),
      ].map(([, address]) => address);
    expect(await trace(BOB)).toEqual(['192.0.2.1', '192.0.2.2', BOB]);
    expect(await trace('10.50.0.11')).toEqual(['10.50.0.11']);
  });

  test('errors come back translated: a closed port', async () => {
    expect(await ask(h1, 'ann', `${BOB}:81`)).toBe('ECONNREFUSED');
    expect(await ask(h1, 'ann', `${BOB}:54`, { protocol: 'udp' })).toBe('ECONNREFUSED');
  });

  test('nothing on the wire shows a container’s MAC or a tenant’s address', async () => {
    const captures = await Promise.all([h1, h2].map((host) => Capture.start(host, ON_HOST)));
    expect(await ask(h1, 'ann', `${BOB}:80`, { bytes: 100_000 })).toBe(`bob ${ANN}`);
    expect(await ask(h1, 'ann', `${BOB}:54`, { protocol: 'udp' })).toBe('ECONNREFUSED');
    expect(await ping(h1, 'ann', BOB, '-t', '1')).toBe(0);
    const mac = (host: Host, name: string) =>
      host.docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}', name);
    const secrets = [...(await Promise.all([mac(h1, 'ann'), mac(h2, 'bob')])).map((text) => text.replaceAll(':', ''))];
    const addresses = [ANN, BOB].map((text) => Buffer.from(text.split('.').map(Number)));
    for (const capture of captures) {
      expect(capture.count(Buffer.from([100, 64, 0]))).toBeGreaterThan(3);
      for (const secret of secrets) expect(capture.count(Buffer.from(secret, 'hex'))).toBe(0);
      for (const address of addresses) expect(capture.count(address)).toBe(0);
      await capture.stop();
    }
  });

  test('overlapping tenants over two hosts do not hear one another', async () => {
    const capture = await Capture.start(h2, 'blue-bob');
    expect(await ask(h1, 'ann', `${BOB}:80`)).toBe(`bob ${ANN}`);
    expect(await ask(h1, 'blue-ann', `${BOB}:80`)).toBe(`blue-bob ${ANN}`);
    const red = (
      await h2.docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}', 'bob')
    ).replaceAll(':', '');
    expect(capture.count(Buffer.from(red, 'hex'))).toBe(0);
    await capture.stop();
    const locators = await getApi<{ container: string; locator: string }[]>(h1, '/v1/endpoints');
    const bobs = locators.find(({ container }) => container === 'bob')!.locator;
    expect(await ask(h1, 'blue-ann', `${bobs}:80`, { timeoutMs: 1500 })).toMatch(/timeout|EHOSTUNREACH|ENETUNREACH/);
  });

  test('names and aliases are found across hosts, each tenant’s own, by internal networks too', async () => {
    // Which address a name has, as the container's own resolver says it.
    const look = async (host: Host, from: string, name: string) => {
      const { stdout } = await host.tryDocker('exec', from, 'busybox', 'ping', '-c', '1', '-W', '3', name);
      return /^PING \S+ \(([\d.]+)\)/.exec(stdout)?.[1];
    };
    await startClient(h2, 'cat', ['--network', 'red', '--ip', '10.50.0.22', '--network-alias', 'pet']);
    await waitFor('the name', async () => (await look(h1, 'ann', 'cat')) === '10.50.0.22', 10_000);
    expect(await look(h1, 'ann', 'bob')).toBe(BOB);
    expect(await look(h1, 'ann', 'pet')).toBe('10.50.0.22');
    expect(await look(h1, 'ann', 'bob.red')).toBe(BOB);
    expect(await look(h2, 'bob', 'ann')).toBe(ANN);
    expect(await look(h1, 'ann', 'blue-bob')).toBeUndefined();
    expect(await look(h1, 'blue-ann', 'blue-bob')).toBe(BOB);
    expect(await look(h1, 'ann', 'nobody')).toBeUndefined();
    await h1.docker('network', 'create', '-d', 'daolinet', '--internal', '--subnet', '10.51.0.0/24', 'inner');
    await onEvery('inner');
    await startClient(h1, 'in-one', ['--network', 'inner']);
    await startClient(h2, 'in-two', ['--network', 'inner', '--ip', '10.51.0.20']);
    await waitFor('the name inside', async () => (await look(h1, 'in-one', 'in-two')) === '10.51.0.20', 10_000);
    expect(await ping(h1, 'in-one', '203.0.113.7')).toBe(0);
    expect(await look(h1, 'in-one', 'in-two')).toBe('10.51.0.20');
    expect(await ping(h1, 'in-one', '100.127.255.254', '-W', '1')).toBe(0);
  });

  test('a path that takes less than containers send: TCP works, UDP is told', async () => {
    for (const host of [h1, h2]) {
      await host.exec('ip', ['link', 'set', 'eth0', 'mtu', '1300']);
      await host.killAgent(); // it looks every half minute, too
      await waitFor('the smaller size', async () => (await flowsOf(host)).includes('check_pkt_larger(1314)'), 20_000);
    }
    expect(await ask(h1, 'ann', `${BOB}:80`, { bytes: 1_000_000 })).toBe(`bob ${ANN}`);
    expect(await ping(h1, 'ann', BOB, '-s', '1400')).toBe(1);
    // Its stack has learned nothing of this path yet: the first datagram is lost, and its sender told; so is the first
    // answer, whose sender does not listen for errors.
    await startClient(h1, 'udp-ann', ['--network', 'red', '--ip', '10.50.0.12']);
    const tooLarge = () =>
      Promise.all([h1, h2].map(async (host) => (await getApi<{ tooLarge: number }>(host, '/v1/counters')).tooLarge));
    const before = await tooLarge();
    const heard: string[] = [];
    while (!heard.includes('bob 10.50.0.12') && heard.length < 4) {
      heard.push(await ask(h1, 'udp-ann', `${BOB}:53`, { protocol: 'udp', bytes: 1350, timeoutMs: 4000 }));
    }
    expect(heard).toEqual(['EMSGSIZE', 'timeout', 'bob 10.50.0.12']);
    expect(await tooLarge()).toEqual(before.map((count) => count + 1));
    await remove(h1, ['udp-ann'], []);
    for (const host of [h1, h2]) {
      await host.exec('ip', ['link', 'set', 'eth0', 'mtu', '1500']);
      await host.killAgent();
      await waitFor('the larger size', async () => !(await flowsOf(host)).includes('check_pkt_larger'), 20_000);
    }
    expect(await ping(h1, 'ann', BOB)).toBe(1);
  });

  test('an address moves to another host: a running ping reaches it again within a second', async () => {
    const pinging = h1.background(['docker', 'exec', 'ann', 'busybox', 'ping', '-i', '0.2', '-W', '1', '10.50.0.30']);
    await startClient(h2, 'mover', ['--network', 'red', '--ip', '10.50.0.30']);
    const heard = () => (pinging.text().match(/bytes from/g) ?? []).length;
    await waitFor('answers', () => heard() > 3, 20_000);
    await h2.docker('rm', '-f', 'mover');
    const isGone = async () => (await routesOn(h1)).every((line) => !line.includes('10.50.0.30'));
    await waitFor('the end of its routes', isGone, 3000);
    const before = heard();
    await startClient(h3, 'mover', ['--network', 'red', '--ip', '10.50.0.30']);
    await waitFor('answers from the other host', () => heard() > before + 1, 3000);
    await pinging.stop();
    await remove(h3, ['mover'], []);
  });
});

/** Nothing passes between a host and the doors of others, nor from them to its own; all else does. */
function shutDoors(host: Host): Promise<string> {
  const rule = (hook: string) =>
    `chain ${hook} { type filter hook ${hook} priority 0; meta l4proto tcp th dport 7470 drop; meta l4proto tcp th sport 7470 drop; }`;
  return host.exec('nft', [`table inet shut {\n${rule('input')}\n${rule('output')}\n}`]);
}

describe('when the directory is out of reach', () => {
  beforeAll(async () => {
    await h1.docker(
      'network',
      'create',
      '-d',
      'daolinet',
      '--ipam-driver',
      'daolinet',
      '--subnet',
      '10.60.0.0/24',
      'cut',
    );
    await onEvery('cut');
    await startServer(h2, 'two', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.2', '--restart', 'always']);
    await startServer(h3, 'three', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.3']);
    await startServer(h3, 'four', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.4']);
  });

  test('routes go on, new ones are made between containers that are known, and no address is given that might be another’s', async () => {
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
    await shutDoors(h2);
    await untilConnected(h2, false);
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
    // Nor do words about routes pass: packets make this one.
    expect(await ask(h2, 'two', '10.60.0.4:80')).toBe('four 10.60.0.2');
    expect(await refusal(h2, 'run', '--network', 'cut', 'busybox', 'true')).toMatch(/directory|database/i);
  });

  test('an agent that starts meanwhile goes on with what it knew last', async () => {
    await waitFor('the end of routes', async () => (await routesOn(h2)).length === 0);
    const asking = h2.background(['docker', 'exec', 'two', 'busybox', 'ping', '-i', '0.2', '-W', '1', '10.60.0.3']);
    const heard = () => (asking.text().match(/bytes from/g) ?? []).length;
    await waitFor('answers', () => heard() > 3, 20_000);
    await h2.killAgent();
    expect(await h2.daolictl('cluster', 'status')).toContain('directory: away');
    const before = heard();
    await waitFor('answers on the route from before', () => heard() > before + 3, 5000);
    // A route that there was none of, and one from the other side.
    expect(await ask(h2, 'two', '10.60.0.4:80')).toBe('four 10.60.0.2');
    // The end of the client alone would leave it running.
    await h2.docker('exec', 'two', 'busybox', 'killall', 'busybox');
    await asking.stop();
    await waitFor('the end of routes', async () => (await routesOn(h2)).length === 0);
    expect(await ask(h3, 'four', '10.60.0.2:80')).toBe('two 10.60.0.4');
    const begin = performance.now();
    const said = await refusal(h2, 'run', '--network', 'cut', 'busybox', 'true');
    expect(said).toMatch(/the DaoliNet database did not answer within 7 s/);
    expect(performance.now() - begin).toBeLessThan(3 * 8_000);
    // What becomes of the cluster meanwhile is learned afterwards.
    await startServer(h3, 'late', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.6']);
    await remove(h3, ['four'], []);
  });

  test('and all is well again when it is back', async () => {
    await h2.exec('nft', ['delete', 'table', 'inet', 'shut']);
    await untilConnected(h2);
    expect(await h2.docker('run', '--rm', '--network', 'cut', 'busybox', 'echo', 'well')).toBe('well');
    await startServer(h3, 'five', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.5']);
    expect(await ask(h2, 'two', '10.60.0.5:80')).toBe('five 10.60.0.2');
    expect(await ask(h2, 'two', '10.60.0.6:80')).toBe('late 10.60.0.2');
    expect(await ask(h2, 'two', '10.60.0.4:80')).toBe('EHOSTUNREACH');
  });
});

describe('when a part is gone and comes back', () => {
  const answersFrom = (host: Host, from: string, to: string, name: string) =>
    waitFor(
      `an answer of ${name}`,
      async () => (await ask(host, from, to, { timeoutMs: 1000 })).startsWith(name),
      60_000,
    );

  test('the server’s agent is killed: traffic goes on, and the others are back with it', async () => {
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
    await h1.replaceAgent();
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
    await untilConnected(h2);
    expect(await h2.docker('run', '--rm', '--network', 'cut', 'busybox', 'echo', 'well')).toBe('well');
  });

  test('Open vSwitch is killed, on both sides', async () => {
    await Promise.all([h2, h3].map((host) => host.restartVswitchd('SIGKILL')));
    await answersFrom(h2, 'two', '10.60.0.3:80', 'three');
    await answersFrom(h3, 'three', '10.60.0.2:80', 'two');
  });

  test('a host reboots: its containers talk to those of other hosts again', async () => {
    await h2.reboot();
    await waitFor('the container', async () => (await h2.tryDocker('exec', 'two', 'true')).code === 0, 60_000);
    await answersFrom(h3, 'three', '10.60.0.2:80', 'two');
    await answersFrom(h2, 'two', '10.60.0.3:80', 'three');
  });
});

describe('who may do what', () => {
  // From h2's network: the test's own has no way there.
  const askServer = (identity: HostIdentity | undefined, request: object) =>
    askDirectory(h2, '192.0.2.1', identity, request);
  const list = { id: 1, method: 'list_dbs', params: [] };

  // A server may write everything: its database is one of those that decide.
  beforeAll(async () => {
    expect(await h1.daolictl('cluster', 'demote', 'h2')).toContain('servers: h1, h3 (none can be lost)');
    // Its agent starts anew, as a client.
    await waitFor('h2 to be a client', async () => {
      const { code, stdout } = await h2.tryDaolictl('--output', 'json', 'cluster', 'status');
      if (code !== 0) return false;
      const { cluster, connected } = JSON.parse(stdout) as ClusterStatus;
      return cluster?.isServer === false && connected;
    });
  });

  test('the door is for hosts: containers do not reach it', async () => {
    for (const [host, name] of [
      [h1, 'ann'],
      [h2, 'two'],
    ] as const) {
      for (const door of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) {
        expect(await ask(host, name, `${door}:7470`, { timeoutMs: 1500 })).toBe('timeout');
      }
    }
  });

  test('a certificate opens the door, none does not', async () => {
    expect(await askServer(await identityOf(h2), list)).toContain('DaoliNet');
    expect(await askServer(undefined, list)).toBe('closed');
  });

  test('a host writes its own rows, and not another’s', async () => {
    // Whatever the hosts have done until here was theirs to do.
    expect(h1.log()).not.toContain('a host may not write that');
    const identity = await identityOf(h2);
    const endpoints = await getApi<{ id: string; host: string }[]>(h1, '/v1/endpoints');
    const theirs = endpoints.find(({ host }) => host === 'h3')!.id;
    const transact = (...operations: object[]) => ({ id: 1, method: 'transact', params: ['DaoliNet', ...operations] });
    const found = JSON.parse(
      await askServer(
        identity,
        transact({ op: 'select', table: 'Endpoint', where: [['id', '==', theirs]], columns: ['_uuid'] }),
      ),
    ) as { result: [{ rows: [{ _uuid: unknown }] }] };
    const { _uuid: uuid } = found.result[0].rows[0];
    const said = await askServer(
      identity,
      transact({ op: 'delete', table: 'Endpoint', where: [['_uuid', '==', uuid]] }),
    );
    expect(said).toContain('permission error');
    expect(said).toContain('that Endpoint is another host’s');
    expect(await askServer(identity, { id: 1, method: 'steal', params: ['x'] })).toContain('permission error');
    expect((await getApi<{ id: string }[]>(h1, '/v1/endpoints')).map(({ id }) => id)).toContain(theirs);
    await waitFor('a word about it', () => h1.log().includes('a host may not write that'));
  });

  test('a host gets its next certificate, and the one before opens no door any more', async () => {
    for (const host of [h2, h1]) {
      const before = await identityOf(host);
      await host.daolictl('cluster', 'rotate');
      await untilConnected(host);
      const after = await identityOf(host);
      expect(after.cert).not.toBe(before.cert);
      await waitFor('the old one to be forgotten', async () => (await askServer(before, list)) === 'closed');
      expect(await askServer(after, list)).toContain('DaoliNet');
    }
    await untilConnected(h2);
  });

  test('a host that is removed is out, at once, with its certificate; what it had is free', async () => {
    const identity = await identityOf(h3);
    expect(await refused(h1, 'host', 'rm', 'h9')).toContain('there is no host h9; there are h1, h2, h3');
    expect(await refused(h1, 'host', 'rm', 'h1')).toContain('host h1 cannot be removed by itself');
    expect(await refused(h2, 'host', 'rm', 'h3')).toContain('only servers of the cluster remove hosts');
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
    await h1.daolictl('host', 'rm', 'h3');
    expect(await askServer(identity, list)).toBe('closed');
    await untilConnected(h3, false);
    expect((await h1.daolictl('host', 'ls')).includes('h3')).toBe(false);
    const isGone = async () => (await routesOn(h2)).every((line) => !line.includes('10.60.0.3'));
    await waitFor('the end of routes to it', isGone, 3000);
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('EHOSTUNREACH');
    await startServer(h1, 'three', ['80/tcp'], ['--network', 'cut', '--ip', '10.60.0.3']);
    expect(await ask(h2, 'two', '10.60.0.3:80')).toBe('three 10.60.0.2');
  });

  test('it cannot come back but by joining anew', async () => {
    await h3.replaceAgent();
    expect((await h1.daolictl('host', 'ls')).includes('h3')).toBe(false);
    await remove(h3, (await h3.docker('ps', '-aq')).split('\n'), []);
    expect(await h3.daolictl('cluster', 'leave')).toContain('in no cluster any more');
    await waitFor(
      'h3 to be alone',
      async () => (await h3.tryDaolictl('cluster', 'status')).stdout.includes('in no cluster'),
      20_000,
    );
    await h3.daolictl('cluster', 'join', tokenIn(await h1.daolictl('cluster', 'token')));
    expect((await h1.daolictl('host', 'ls')).includes('h3')).toBe(true);
  });
});
