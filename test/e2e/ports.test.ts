// Published ports: `docker run -p` and -P, reached by the host, by its neighbours, and by containers; what is refused, and
// what is left when it was. FORWARD is set to DROP, as Docker does it on most hosts.
import { HOST_ADDRESS, IMAGE, INTERNET_ADDRESS, OUTSIDE_ADDRESS, waitFor, type Host } from '../../lab/host';
import {
  addressOf,
  answers,
  ask,
  getApi,
  leftovers,
  listens,
  NODE,
  ON_HOST,
  OUTSIDE,
  portsOf,
  refusal,
  remove,
  run,
  serverCommand,
  startClient,
  startHostWithPeers,
  startServer,
  waitForServer,
} from './support/peers';

const NOTHING_COMES = { timeoutMs: 1500 };
const UDP = { protocol: 'udp' } as const;
/** daoli0's address: who the host's own connections come from. */
const HOST_LOCATOR = '100.64.0.1';

// usage: ADDRESS PORT. Sends a datagram every 50 ms from one socket, and prints at which address each was seen, or the error.
const PERSISTENT = `
const [address, port] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp4');
socket.on('message', (message) => console.log(JSON.parse(String(message)).from));
socket.on('error', (error) => console.log(error.code));
socket.connect(Number(port), address, () => setInterval(() => socket.send('.'), 50));`;

let host: Host;
let containers: string[] = [];

beforeAll(async () => {
  host = await startHostWithPeers();
  await host.exec('iptables', ['-P', 'FORWARD', 'DROP']);
  await host.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.80.0.0/24', 'demo');
}, 900_000);

afterAll(() => host?.stop(), 60_000);

afterEach(async () => {
  await remove(host, containers, []);
  containers = [];
}, 120_000);

async function server(name: string, ports: readonly string[], ...args: string[]): Promise<void> {
  containers.push(name);
  await startServer(host, name, ports, ['--network', 'demo', ...args]);
}

async function client(name: string, ...args: string[]): Promise<void> {
  containers.push(name);
  await startClient(host, name, ['--network', 'demo', ...args]);
}

describe('-p 8080:80', () => {
  test('is reached from everywhere, and the service sees who comes', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    await client('app');
    expect(
      await answers({
        'the host by localhost': ask(host, ON_HOST, '127.0.0.1:8080'),
        'the host by another loopback address': ask(host, ON_HOST, '127.8.8.8:8080'),
        'the host by its address': ask(host, ON_HOST, `${HOST_ADDRESS}:8080`),
        'the host by IPv6': ask(host, ON_HOST, '::1:8080'),
        'a neighbour': ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`),
        'another container': ask(host, 'app', `${HOST_ADDRESS}:8080`),
        'the container itself': ask(host, 'web', `${HOST_ADDRESS}:8080`),
      }),
    ).toEqual({
      'the host by localhost': `web ${HOST_LOCATOR}`,
      'the host by another loopback address': `web ${HOST_LOCATOR}`,
      'the host by its address': `web ${HOST_ADDRESS}`,
      'the host by IPv6': `web ${HOST_LOCATOR}`,
      'a neighbour': `web ${OUTSIDE_ADDRESS}`,
      'another container': `web ${HOST_LOCATOR}`,
      'the container itself': `web ${HOST_LOCATOR}`,
    });
  }, 120_000);

  test('keeps the address of a client from far away', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    await host.outside('ip', 'route', 'add', `${HOST_ADDRESS}/32`, 'dev', 'uplink', 'src', INTERNET_ADDRESS);
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${INTERNET_ADDRESS}`);
    await host.outside('ip', 'route', 'del', `${HOST_ADDRESS}/32`, 'dev', 'uplink');
  }, 120_000);

  test('carries megabytes in both directions', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    await client('app');
    const bulk = { bytes: 4_000_000, timeoutMs: 30_000 };
    expect(
      await answers({
        neighbour: ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`, bulk),
        localhost: ask(host, ON_HOST, '127.0.0.1:8080', bulk),
        container: ask(host, 'app', `${HOST_ADDRESS}:8080`, bulk),
      }),
    ).toEqual({
      neighbour: `web ${OUTSIDE_ADDRESS}`,
      localhost: `web ${HOST_LOCATOR}`,
      container: `web ${HOST_LOCATOR}`,
    });
  }, 120_000);

  test('opens no other port, and no locator', async () => {
    await server('web', ['80/tcp', '81/tcp'], '-p', '8080:80');
    const [endpoint] = await getApi<{ locator: string }[]>(host, '/v1/endpoints');
    await host.outside('ip', 'route', 'replace', '100.64.0.0/10', 'via', HOST_ADDRESS);
    expect(
      await answers({
        'another port': ask(host, OUTSIDE, `${HOST_ADDRESS}:81`, NOTHING_COMES),
        'the other protocol': ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`, { ...UDP, ...NOTHING_COMES }),
        'the locator': ask(host, OUTSIDE, `${endpoint?.locator}:80`, NOTHING_COMES),
      }),
    ).toEqual({ 'another port': 'ECONNREFUSED', 'the other protocol': 'ECONNREFUSED', 'the locator': 'timeout' });
  }, 120_000);

  test('ends with the container, comes back with it, and is free for another', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    await host.docker('stop', '-t', '5', 'web');
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`, NOTHING_COMES)).toBe('ECONNREFUSED');
    await host.docker('start', 'web');
    await waitForServer(host, 'web', 2);
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${OUTSIDE_ADDRESS}`);
    await host.docker('restart', '-t', '5', 'web');
    await waitForServer(host, 'web', 3);
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${OUTSIDE_ADDRESS}`);
    await host.docker('rm', '-f', 'web');
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`, NOTHING_COMES)).toBe('ECONNREFUSED');
    await server('next', ['80/tcp'], '-p', '8080:80');
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`next ${OUTSIDE_ADDRESS}`);
  }, 120_000);
});

test('the same port of both protocols, and both from one container', async () => {
  await server('web', ['80/tcp', '80/udp'], '-p', '8080:80', '-p', '8080:80/udp');
  expect(
    await answers({
      tcp: ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`),
      udp: ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`, UDP),
    }),
  ).toEqual({ tcp: `web ${OUTSIDE_ADDRESS}`, udp: `web ${OUTSIDE_ADDRESS}` });
}, 60_000);

test('a way to the client with a smaller MTU is found out', async () => {
  containers.push('mirror');
  await host.docker('run', '-d', '--name', 'mirror', '--network', 'demo', '-p', '5201:5201', IMAGE, 'iperf3', '-s');
  await waitFor('iperf3', () => listens(host, 'mirror', 5201));
  await host.exec('ip', ['route', 'add', `${INTERNET_ADDRESS}/32`, 'via', OUTSIDE_ADDRESS, 'mtu', 'lock', '1300']);
  const args = ['-c', HOST_ADDRESS, '-B', INTERNET_ADDRESS, '-R', '-n', '2M', '--json', '--connect-timeout', '5000'];
  const report = JSON.parse(await host.outside('iperf3', ...args)) as { end: { sum_received: { bytes: number } } };
  expect(report.end.sum_received.bytes).toBeGreaterThanOrEqual(2 * 1024 * 1024);
  await host.exec('ip', ['route', 'del', `${INTERNET_ADDRESS}/32`]);
}, 60_000);

test("containers of other tenants and of Docker's bridge reach it, too", async () => {
  const ipam = ['--ipam-driver', 'daolinet', '--ipam-opt', 'tenant=red'];
  await host.docker('network', 'create', '-d', 'daolinet', ...ipam, '--subnet', '10.80.0.0/24', 'red');
  await server('web', ['80/tcp', '53/udp'], '--ip', '10.80.0.10', '-p', '8080:80', '-p', '5353:53/udp');
  containers.push('same', 'bridged');
  await startClient(host, 'same', ['--network', 'red', '--ip', '10.80.0.10']);
  await startClient(host, 'bridged', []);
  expect(
    await answers({
      'another tenant, with the very address': ask(host, 'same', `${HOST_ADDRESS}:8080`),
      'the same by UDP': ask(host, 'same', `${HOST_ADDRESS}:5353`, UDP),
      "Docker's bridge": ask(host, 'bridged', `${HOST_ADDRESS}:8080`),
      "Docker's bridge by UDP": ask(host, 'bridged', `${HOST_ADDRESS}:5353`, UDP),
    }),
  ).toEqual({
    'another tenant, with the very address': `web ${HOST_LOCATOR}`,
    'the same by UDP': `web ${HOST_LOCATOR}`,
    "Docker's bridge": `web ${HOST_LOCATOR}`,
    "Docker's bridge by UDP": `web ${HOST_LOCATOR}`,
  });
  await host.docker('rm', '-f', 'same');
  await host.docker('network', 'rm', 'red');
}, 60_000);

describe('UDP', () => {
  test('-p 5353:53/udp is reached from everywhere, and the service sees who comes', async () => {
    await server('dns', ['53/udp'], '-p', '5353:53/udp');
    await client('app');
    expect(
      await answers({
        localhost: ask(host, ON_HOST, '127.0.0.1:5353', UDP),
        'the host by its address': ask(host, ON_HOST, `${HOST_ADDRESS}:5353`, UDP),
        'a neighbour': ask(host, OUTSIDE, `${HOST_ADDRESS}:5353`, UDP),
        'another container': ask(host, 'app', `${HOST_ADDRESS}:5353`, UDP),
        'the container itself': ask(host, 'dns', `${HOST_ADDRESS}:5353`, UDP),
      }),
    ).toEqual({
      localhost: `dns ${HOST_LOCATOR}`,
      'the host by its address': `dns ${HOST_ADDRESS}`,
      'a neighbour': `dns ${OUTSIDE_ADDRESS}`,
      'another container': `dns ${HOST_LOCATOR}`,
      'the container itself': `dns ${HOST_LOCATOR}`,
    });
  }, 120_000);

  test('datagrams in fragments cross, there and back', async () => {
    await server('dns', ['53/udp'], '-p', '5353:53/udp');
    await client('app');
    for (const bytes of [1473, 8000, 60_000]) {
      const large = { ...UDP, bytes };
      expect([
        bytes,
        await answers({
          'a neighbour': ask(host, OUTSIDE, `${HOST_ADDRESS}:5353`, large),
          localhost: ask(host, ON_HOST, '127.0.0.1:5353', large),
          'another container': ask(host, 'app', `${HOST_ADDRESS}:5353`, large),
        }),
      ]).toEqual([
        bytes,
        {
          'a neighbour': `dns ${OUTSIDE_ADDRESS}`,
          localhost: `dns ${HOST_LOCATOR}`,
          'another container': `dns ${HOST_LOCATOR}`,
        },
      ]);
    }
  }, 120_000);

  test('a client that goes on sending while the container restarts is led to it again, as itself', async () => {
    await server('dns', ['53/udp'], '-p', '5353:53/udp');
    const client = host.background([...NODE, '-e', PERSISTENT, HOST_ADDRESS, '5353'], 'outside');
    const heard = async (what: string) => {
      const before = client.text().length;
      const lines = () => client.text().slice(before).split('\n').slice(1, -1);
      await waitFor(what, () => lines().length >= 3);
      return new Set(lines());
    };
    expect(await heard('answers')).toEqual(new Set([OUTSIDE_ADDRESS]));
    await host.docker('stop', '-t', '5', 'dns');
    await waitFor('it to be refused', () => client.text().endsWith('ECONNREFUSED\n'));
    await host.docker('start', 'dns');
    await waitForServer(host, 'dns', 2);
    await waitFor('answers again', () => !client.text().endsWith('ECONNREFUSED\n'));
    expect(await heard('more answers')).toEqual(new Set([OUTSIDE_ADDRESS]));
    await client.stop();
  }, 60_000);

  test('-p 127.0.0.1:9000:9000/udp is for the host alone', async () => {
    await server('local', ['9000/udp'], '-p', '127.0.0.1:9000:9000/udp');
    await client('app');
    await host.outside('sysctl', '-qw', 'net.ipv4.conf.uplink.route_localnet=1');
    await host.outside('ip', 'route', 'add', '127.9.9.9/32', 'via', HOST_ADDRESS);
    const none = { ...UDP, ...NOTHING_COMES };
    expect(
      await answers({
        host: ask(host, ON_HOST, '127.0.0.1:9000', UDP),
        'the host by its address': ask(host, ON_HOST, `${HOST_ADDRESS}:9000`, none),
        'a neighbour': ask(host, OUTSIDE, `${HOST_ADDRESS}:9000`, none),
        'another container': ask(host, 'app', `${HOST_ADDRESS}:9000`, none),
      }),
    ).toEqual({
      host: `local ${HOST_LOCATOR}`,
      'the host by its address': 'ECONNREFUSED',
      'a neighbour': 'ECONNREFUSED',
      'another container': 'ECONNREFUSED',
    });
    await host.outside('ip', 'route', 'del', '127.9.9.9/32');
  }, 120_000);
});

describe('ranges and free ports', () => {
  test('-p 7000-7005:70 takes one port of the range, each container another', async () => {
    const taken: number[] = [];
    for (const name of ['first', 'second', 'third']) {
      await server(name, ['70/tcp'], '-p', '7000-7005:70');
      const [port] = await portsOf(host, name, 1);
      taken.push(port?.hostPort ?? 0);
      expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:${port?.hostPort}`)).toBe(`${name} ${OUTSIDE_ADDRESS}`);
    }
    expect(taken).toEqual([7000, 7001, 7002]);
  }, 120_000);

  test('a range that is used up is refused', async () => {
    await server('first', ['70/tcp'], '-p', '7000-7001:70');
    await server('second', ['70/tcp'], '-p', '7000-7001:70');
    containers.push('third');
    const message = await refusal(
      host,
      ...[
        'run',
        '-d',
        '--name',
        'third',
        '--network',
        'demo',
        '-p',
        '7000-7001:70',
        ...serverCommand('third', ['70/tcp']),
      ],
    );
    expect(message).toContain('no port of 7000-7001/tcp is free');
  }, 120_000);

  test('-p 9100-9102:9100-9102 publishes each', async () => {
    await server('many', ['9100/tcp', '9101/tcp', '9102/tcp'], '-p', '9100-9102:9100-9102');
    for (const port of [9100, 9101, 9102]) {
      expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:${port}`)).toBe(`many ${OUTSIDE_ADDRESS}`);
    }
  }, 120_000);

  test('-P publishes what is exposed on free ports, which the management API names', async () => {
    await server('web', ['80/tcp', '53/udp'], '-P', '--expose', '80', '--expose', '53/udp');
    const ports = await portsOf(host, 'web', 2);
    const [tcp, udp] = ['tcp', 'udp'].map((protocol) => ports.find((port) => port.protocol === protocol));
    expect(tcp).toMatchObject({ hostIp: '0.0.0.0', containerPort: 80 });
    expect(udp).toMatchObject({ hostIp: '0.0.0.0', containerPort: 53 });
    expect(
      await answers({
        tcp: ask(host, OUTSIDE, `${HOST_ADDRESS}:${tcp?.hostPort}`),
        udp: ask(host, OUTSIDE, `${HOST_ADDRESS}:${udp?.hostPort}`, UDP),
      }),
    ).toEqual({ tcp: `web ${OUTSIDE_ADDRESS}`, udp: `web ${OUTSIDE_ADDRESS}` });
  }, 120_000);

  test('-p 80 chooses a free port', async () => {
    await server('web', ['80/tcp'], '-p', '80');
    const [port] = await portsOf(host, 'web', 1);
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:${port?.hostPort}`)).toBe(`web ${OUTSIDE_ADDRESS}`);
  }, 120_000);
});

describe('a port that is taken', () => {
  /** Docker refuses to start the container; nothing of it is left, and it starts once the port is free. */
  async function expectRefused(taken: string, port: string, message: RegExp, free: () => Promise<unknown>) {
    containers.push('late');
    const before = await leftovers(host);
    const args = ['run', '-d', '--name', 'late', '--network', 'demo', '-p', port, ...serverCommand('late', ['80/tcp'])];
    expect([taken, await refusal(host, ...args)]).toEqual([taken, expect.stringMatching(message)]);
    expect(await host.docker('inspect', '--format', '{{.State.Running}}', 'late')).toBe('false');
    await waitFor('what was half made to go', async () => {
      const after = await leftovers(host);
      return JSON.stringify(after) === JSON.stringify(before);
    });
    await free();
    await host.docker('start', 'late');
    await waitForServer(host, 'late');
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`late ${OUTSIDE_ADDRESS}`);
  }

  test('by another program of the host', async () => {
    const program = host.background(['busybox', 'nc', '-l', '-p', '8080']);
    await waitFor('the other program', async () => (await host.exec('ss', ['-ltn'])).includes(':8080'));
    await expectRefused('program', '8080:80', /port 8080\/tcp on 0\.0\.0\.0 is already in use by another program/, () =>
      program.stop(),
    );
  }, 120_000);

  test('by another container, which is named', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    await portsOf(host, 'web', 1); // by now its name is known
    await expectRefused(
      'container',
      '8080:80',
      /host port 8080\/tcp is published by container web in network demo already: choose another/,
      () => host.docker('rm', '-f', 'web'),
    );
  }, 120_000);

  test('one of several: none is published', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    containers.push('late');
    await refusal(
      host,
      ...['run', '-d', '--name', 'late', '--network', 'demo', '-p', '8081:80', '-p', '8080:80'],
      ...serverCommand('late', ['80/tcp']),
    );
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8081`, NOTHING_COMES)).toBe('ECONNREFUSED');
    expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${OUTSIDE_ADDRESS}`);
  }, 120_000);

  test('the agent holds what is published, so that no other program gets it', async () => {
    await server('web', ['80/tcp'], '-p', '8080:80');
    const { stderr } = await host.tryExec('timeout', ['5', 'busybox', 'nc', '-l', '-p', '8080']);
    expect(stderr).toContain('Address already in use');
  }, 60_000);

  test('another address of the host is another port', async () => {
    await server('web', ['80/tcp'], '-p', `${HOST_ADDRESS}:8080:80`);
    await server('local', ['80/tcp'], '-p', '127.0.0.1:8080:80');
    expect(
      await answers({
        localhost: ask(host, ON_HOST, '127.0.0.1:8080'),
        neighbour: ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`),
      }),
    ).toEqual({ localhost: `local ${HOST_LOCATOR}`, neighbour: `web ${OUTSIDE_ADDRESS}` });
  }, 60_000);
});

test('an address that the host does not have, and an IPv6 one, are refused', async () => {
  containers.push('late');
  for (const [port, message] of [
    ['192.0.2.99:8080:80', '192.0.2.99 is not an address of this host'],
    ['[::1]:8080:80', 'IPv6 is not supported yet'],
  ]) {
    const args = ['run', '-d', '--name', 'late', '--network', 'demo', '-p', port ?? '', ...serverCommand('late', [])];
    expect(await refusal(host, ...args)).toContain(message);
    await host.docker('rm', 'late');
  }
}, 60_000);

test('a connection ends when its container goes', async () => {
  await server('web', ['80/tcp'], '-p', '8080:80');
  const tracked = async () =>
    (await host.exec('conntrack', ['-L', '-p', 'tcp', '-s', OUTSIDE_ADDRESS, '--dport', '8080'])).includes(
      'ESTABLISHED',
    );
  const connect = `require('net').connect(8080, '${HOST_ADDRESS}').on('error', () => undefined)`;
  const held = host.background([...NODE, '-e', connect], 'outside');
  await waitFor('the connection', tracked);
  await host.docker('rm', '-f', 'web');
  expect(await tracked()).toBe(false);
  await held.stop();
}, 60_000);

test('the ports of a container move with its gateway', async () => {
  // Docker's gateway is on the first network by name.
  await host.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.81.0.0/24', 'another');
  await server('web', ['80/tcp'], '-p', '8080:80');
  const before = (await portsOf(host, 'web', 1))[0]?.endpoint;
  await host.docker('network', 'connect', 'another', 'web');
  const moved = await waitFor('the ports to move', async () => {
    const [port] = await portsOf(host, 'web', 1);
    return port?.endpoint !== before && port;
  });
  expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${OUTSIDE_ADDRESS}`);
  expect(await ask(host, ON_HOST, '127.0.0.1:8080')).toBe(`web ${HOST_LOCATOR}`);
  await host.docker('network', 'disconnect', 'another', 'web');
  await waitFor('the ports to move back', async () => (await portsOf(host, 'web', 1))[0]?.endpoint !== moved.endpoint);
  expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${OUTSIDE_ADDRESS}`);
  await host.docker('rm', '-f', 'web');
  await host.docker('network', 'rm', 'another');
}, 120_000);

test('a neighbour whose address lies in the subnet of the container reaches it all the same', async () => {
  await server('web', ['80/tcp'], '-p', '8080:80');
  await host.outside('ip', 'addr', 'add', '10.80.0.77/32', 'dev', 'lo');
  await host.exec('ip', ['route', 'add', '10.80.0.77/32', 'via', OUTSIDE_ADDRESS]);
  await host.outside('ip', 'route', 'add', `${HOST_ADDRESS}/32`, 'dev', 'uplink', 'src', '10.80.0.77');
  expect(await ask(host, OUTSIDE, `${HOST_ADDRESS}:8080`)).toBe(`web ${HOST_LOCATOR}`);
  await host.outside('ip', 'route', 'del', `${HOST_ADDRESS}/32`, 'dev', 'uplink');
  await host.exec('ip', ['route', 'del', '10.80.0.77/32']);
  await host.outside('ip', 'addr', 'del', '10.80.0.77/32', 'dev', 'lo');
}, 60_000);

test('Docker knows no ports of a remote driver, and no docker_gwbridge appeared', async () => {
  await server('web', ['80/tcp'], '-p', '8080:80');
  expect(await host.docker('ps', '--format', '{{.Ports}}')).toBe('');
  expect(await addressOf(host, 'web', 'demo')).toMatch(/^10\.80\.0\./);
  expect(await run(host, ON_HOST, ['docker', 'network', 'ls', '--format', '{{.Name}}'])).not.toContain('gwbridge');
}, 60_000);
