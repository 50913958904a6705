// Out of the container, through the host, to a server in a namespace that stands for the internet and knows no way back to
// any container: what comes back proves that the host's address was the source. FORWARD is set to DROP, as Docker does it
// on most hosts.
import { HOST_ADDRESS, INTERNET_ADDRESS, OUTSIDE_ADDRESS, waitFor, type Host } from '../../lab/host';
import {
  answers,
  ask,
  getApi,
  NODE,
  ON_HOST,
  OUTSIDE,
  ping,
  run,
  serveAt,
  startClient,
  startHostWithPeers,
  startServer,
} from './support/peers';

const UDP = { protocol: 'udp' } as const;
const NOTHING_COMES = { timeoutMs: 1500 };

// Answers every question with its own address.
const DNS_SERVER = `
const [address] = process.argv.slice(1);
const socket = require('dgram').createSocket('udp4');
socket.bind(53, address, () => console.log('ready'));
socket.on('message', (query, from) => {
  const end = query.indexOf(0, 12) + 5;
  const isA = query.readUInt16BE(end - 4) === 1;
  const head = Buffer.from(query.subarray(0, end));
  head.writeUInt16BE(0x8580, 2);
  head.writeUInt16BE(isA ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address.split('.').map(Number)]);
  socket.send(isA ? Buffer.concat([head, answer]) : head, from.port, from.address);
});`;

let host: Host;

beforeAll(async () => {
  host = await startHostWithPeers();
  await host.exec('iptables', ['-P', 'FORWARD', 'DROP']);
  await serveAt(host, OUTSIDE, ['80/tcp', `5000/udp/${OUTSIDE_ADDRESS}`, `5000/udp/${INTERNET_ADDRESS}`]);
  await serveAt(host, ON_HOST, ['8000/tcp', `8000/udp/${HOST_ADDRESS}`]);
  await host.docker('network', 'create', '-d', 'daolinet', '--subnet', '10.90.0.0/24', 'demo');
  await startClient(host, 'app', ['--network', 'demo']);
}, 900_000);

afterAll(() => host?.stop(), 60_000);

test.each([
  ['a neighbour of the host', OUTSIDE_ADDRESS],
  ['the internet', INTERNET_ADDRESS],
])(
  'TCP, UDP and ICMP reach %s, which sees the address of the host',
  async (_, address) => {
    expect(
      await answers({ tcp: ask(host, 'app', `${address}:80`), udp: ask(host, 'app', `${address}:5000`, UDP) }),
    ).toEqual({ tcp: `outside ${HOST_ADDRESS}`, udp: `outside ${HOST_ADDRESS}` });
    expect(await ping(host, 'app', address)).toBe(1);
  },
  60_000,
);

test('datagrams and pings in fragments cross, there and back', async () => {
  for (const bytes of [1473, 4000, 60_000]) {
    expect([bytes, await ask(host, 'app', `${INTERNET_ADDRESS}:5000`, { ...UDP, bytes })]).toEqual([
      bytes,
      `outside ${HOST_ADDRESS}`,
    ]);
    expect([bytes, await ping(host, 'app', INTERNET_ADDRESS, '-s', String(bytes))]).toEqual([bytes, 1]);
  }
}, 60_000);

test('megabytes cross', async () => {
  const bulk = { bytes: 8_000_000, timeoutMs: 30_000 };
  expect(await ask(host, 'app', `${INTERNET_ADDRESS}:80`, bulk)).toBe(`outside ${HOST_ADDRESS}`);
}, 60_000);

test('one wide route serves all addresses outside', async () => {
  await ping(host, 'app', OUTSIDE_ADDRESS);
  await host.outside('ip', 'addr', 'add', '203.0.113.8/29', 'dev', 'lo');
  await ping(host, 'app', '203.0.113.8');
  const routes = await getApi<{ kind: string }[]>(host, '/v1/routes');
  expect(routes.filter(({ kind }) => kind === 'egress')).toHaveLength(2); // outward and inward
}, 60_000);

test('errors of the outside come back: a closed port, an address that is not there', async () => {
  expect(
    await answers({
      'closed TCP port': ask(host, 'app', `${INTERNET_ADDRESS}:81`, NOTHING_COMES),
      'closed UDP port': ask(host, 'app', `${INTERNET_ADDRESS}:5001`, { ...UDP, ...NOTHING_COMES }),
    }),
  ).toEqual({ 'closed TCP port': 'ECONNREFUSED', 'closed UDP port': 'ECONNREFUSED' });
  await host.outside('ip', 'route', 'add', 'unreachable', '192.0.2.0/24');
  await host.outside('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  expect(await ask(host, 'app', '192.0.2.1:80')).toBe('EHOSTUNREACH');
}, 60_000);

test('a hop with a smaller MTU is found out', async () => {
  await host.exec('ip', ['route', 'add', `${INTERNET_ADDRESS}/32`, 'via', OUTSIDE_ADDRESS, 'mtu', 'lock', '1300']);
  const bulk = { bytes: 500_000, timeoutMs: 30_000 };
  expect(await ask(host, 'app', `${INTERNET_ADDRESS}:80`, bulk)).toBe(`outside ${HOST_ADDRESS}`);
  await host.exec('ip', ['route', 'del', `${INTERNET_ADDRESS}/32`]);
}, 60_000);

test('traceroute names the host, then the destination', async () => {
  const trace = await run(host, 'app', [
    'busybox',
    'traceroute',
    '-n',
    '-w',
    '3',
    '-q',
    '1',
    '-m',
    '4',
    INTERNET_ADDRESS,
  ]);
  const hops = trace
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/)[1]);
  expect(hops).toHaveLength(2);
  expect(hops[1]).toBe(INTERNET_ADDRESS);
  expect([HOST_ADDRESS, '10.90.0.1', '100.64.0.1']).toContain(hops[0]);
}, 60_000);

test("a container reaches the host's own services, as with Docker's bridge", async () => {
  const heard = await answers({
    tcp: ask(host, 'app', `${HOST_ADDRESS}:8000`),
    udp: ask(host, 'app', `${HOST_ADDRESS}:8000`, UDP),
    'large udp': ask(host, 'app', `${HOST_ADDRESS}:8000`, { ...UDP, bytes: 8000 }),
  });
  for (const answer of Object.values(heard)) expect(answer).toMatch(/^host /);
  expect(await ping(host, 'app', HOST_ADDRESS)).toBe(1);
}, 60_000);

test('host.docker.internal is the host', async () => {
  await startClient(host, 'inner', ['--network', 'demo', '--add-host', 'host.docker.internal:host-gateway']);
  expect(await ask(host, 'inner', 'host.docker.internal:8000')).toMatch(/^host /);
}, 60_000);

test('the host reaches a container by its locator', async () => {
  await startServer(host, 'web', ['80/tcp', '5000/udp'], ['--network', 'demo']);
  const shown = await waitFor('the name of the endpoint', async () =>
    (await getApi<{ container: string; locator: string }[]>(host, '/v1/endpoints')).find(
      ({ container }) => container === 'web',
    ),
  );
  expect(
    await answers({
      tcp: ask(host, ON_HOST, `${shown.locator}:80`),
      udp: ask(host, ON_HOST, `${shown.locator}:5000`, UDP),
      'much udp': ask(host, ON_HOST, `${shown.locator}:5000`, { ...UDP, bytes: 20_000 }),
    }),
  ).toEqual({ tcp: 'web 100.64.0.1', udp: 'web 100.64.0.1', 'much udp': 'web 100.64.0.1' });
  expect(await ping(host, ON_HOST, shown.locator, '-s', '3000')).toBe(1);
}, 60_000);

test("a container reaches what a container of Docker's bridge publishes", async () => {
  await startServer(host, 'bridged', ['80/tcp'], ['-p', '8070:80']);
  expect(await ask(host, 'app', `${HOST_ADDRESS}:8070`)).toMatch(/^bridged /);
}, 60_000);

test('names of the outside are asked from a server outside', async () => {
  const server = host.background([...NODE, '-e', DNS_SERVER, INTERNET_ADDRESS], 'outside');
  await waitFor('the DNS server', () => server.text().includes('ready'));
  await startClient(host, 'asker', ['--network', 'demo', '--dns', INTERNET_ADDRESS]);
  expect(await ask(host, 'asker', 'www.example.com:80')).toBe(`outside ${HOST_ADDRESS}`);
  await server.stop();
}, 60_000);

test('tenants with the same addresses go out side by side, and each gets its own answers', async () => {
  for (const tenant of ['red', 'blue']) {
    const ipam = ['--ipam-driver', 'daolinet', '--ipam-opt', `tenant=${tenant}`];
    await host.docker('network', 'create', '-d', 'daolinet', ...ipam, '--subnet', '10.1.0.0/24', tenant);
    await startClient(host, `in-${tenant}`, ['--network', tenant, '--ip', '10.1.0.10']);
  }
  expect(
    await answers({
      red: ask(host, 'in-red', `${INTERNET_ADDRESS}:5000`, UDP),
      blue: ask(host, 'in-blue', `${INTERNET_ADDRESS}:5000`, UDP),
      'red, much': ask(host, 'in-red', `${INTERNET_ADDRESS}:80`, { bytes: 300_000 }),
      'blue, much': ask(host, 'in-blue', `${INTERNET_ADDRESS}:80`, { bytes: 300_000 }),
    }),
  ).toEqual({
    red: `outside ${HOST_ADDRESS}`,
    blue: `outside ${HOST_ADDRESS}`,
    'red, much': `outside ${HOST_ADDRESS}`,
    'blue, much': `outside ${HOST_ADDRESS}`,
  });
}, 60_000);

test('--internal has no way out, whatever route the container makes for itself', async () => {
  await host.docker('network', 'create', '-d', 'daolinet', '--internal', '--subnet', '10.91.0.0/24', 'inner');
  await startClient(host, 'shut', ['--network', 'inner', '--cap-add', 'NET_ADMIN']);
  expect(await ask(host, 'shut', `${INTERNET_ADDRESS}:80`)).toBe('ENETUNREACH');
  await run(host, 'shut', ['busybox', 'ip', 'route', 'add', 'default', 'dev', 'eth0']);
  const heard = await answers({
    outside: ask(host, 'shut', `${INTERNET_ADDRESS}:80`, NOTHING_COMES),
    udp: ask(host, 'shut', `${INTERNET_ADDRESS}:5000`, { ...UDP, ...NOTHING_COMES }),
    host: ask(host, 'shut', `${HOST_ADDRESS}:8000`, NOTHING_COMES),
    'host by its locator': ask(host, 'shut', '100.64.0.1:8000', NOTHING_COMES),
  });
  for (const answer of Object.values(heard)) expect(answer).toMatch(/^(timeout|EHOSTUNREACH|ENETUNREACH)$/);
}, 60_000);

test('an address of the subnet that nobody has is unreachable at once', async () => {
  const before = Date.now();
  expect(await ask(host, 'app', '10.90.0.200:80')).toBe('EHOSTUNREACH');
  expect(Date.now() - before).toBeLessThan(5000);
}, 60_000);

test("egress survives a new list of rules in Docker's chain", async () => {
  await host.exec('iptables', ['-F', 'DOCKER-USER']);
  await host.exec('iptables', ['-A', 'DOCKER-USER', '-j', 'RETURN']);
  await waitFor('the accepting rules', async () =>
    (await host.exec('iptables', ['-S', 'DOCKER-USER'])).includes('daoli0'),
  );
  expect(await ask(host, 'app', `${INTERNET_ADDRESS}:80`)).toBe(`outside ${HOST_ADDRESS}`);
}, 60_000);

test("the host's own nft reads the rules, and FORWARD still drops", async () => {
  expect(await host.exec('nft', ['list', 'ruleset'])).toContain('table inet daolinet');
  expect(await host.exec('iptables', ['-S', 'FORWARD'])).toContain('-P FORWARD DROP');
  expect(await host.docker('network', 'ls', '--format', '{{.Name}}')).not.toContain('docker_gwbridge');
}, 60_000);
