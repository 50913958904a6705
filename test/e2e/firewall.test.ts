// Ports of chosen hosts that lead to containers wherever these run, by daolictl on three emulated hosts: who is seen by whom, who
// may come, what follows a container, what is refused, and that nothing stays behind.
import { joinAll, makeNetwork, startHosts, stopCluster, type LabCluster } from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';
import { answers, ask, lendPrograms, NODE, ON_HOST, refusal, remove, startServer, untilNamed } from './support/peers';

jest.setTimeout(120_000);

const NET = ['--network', 'demo'];
const PORTS = ['80/tcp', '53/udp'];
/** The locators of the hosts themselves. */
const H1_LOCATOR = '100.64.0.1';
const H2_LOCATOR = '100.64.1.1';

let lab: LabCluster;
let h1: Host;
let h2: Host;
let h3: Host;

beforeAll(async () => {
  lab = await startHosts(3);
  [h1, h2, h3] = lab.hosts as [Host, Host, Host];
  lab.hosts.forEach(lendPrograms);
  await joinAll(lab.hosts);
  await makeNetwork('demo', '10.9.0.0/24', lab.hosts);
  await startServer(h1, 'web', PORTS, NET);
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

interface ShownRule {
  readonly name: string;
  readonly status: string | null;
  readonly runsOn: string | null;
}

const create = (...args: string[]) => h1.daolictl('firewall', 'create', ...args);
const rules = async () => JSON.parse(await h1.daolictl('--output', 'json', 'firewall', 'list')) as ShownRule[];
const names = async () => (await rules()).map(({ name }) => name);
const untilStatus = (name: string, status: string) =>
  waitFor(`${name} to be ${status}`, async () => (await rules()).find((rule) => rule.name === name)?.status === status);

/** What daolictl refuses, with its exit code. */
async function refused(host: Host, ...args: string[]): Promise<string> {
  const before = await names();
  const { code, stderr } = await host.tryDaolictl('firewall', ...args);
  expect(await names()).toEqual(before);
  return `${code} ${stderr.trim()}`;
}

test('a port of the container’s host: the client is seen, over TCP and UDP, from where everybody may come', async () => {
  await untilNamed(h1, 'web');
  expect(await create('--container', 'web', '--rule', '20080:80', 'web-http')).toBe(
    'Port 20080/tcp of host h1 leads to port 80 of container web.',
  );
  await create('--container', 'web', '--rule', '20053:53/udp', 'web-names');
  expect(
    await answers({
      tcp: ask(h3, ON_HOST, '192.0.2.1:20080', { bytes: 300_000 }),
      udp: ask(h3, ON_HOST, '192.0.2.1:20053', { protocol: 'udp', bytes: 4_000 }),
      'the host itself': ask(h1, ON_HOST, '127.0.0.1:20080'),
    }),
  ).toEqual({ tcp: 'web 192.0.2.3', udp: 'web 192.0.2.3', 'the host itself': `web ${H1_LOCATOR}` });
});

test('a port of another host: the container sees that host, over TCP and UDP, small and large', async () => {
  expect(await create('--container', 'web', '--rule', '21080:192.0.2.2:80', 'web-far')).toBe(
    'Port 21080/tcp of host h2 (192.0.2.2) leads to port 80 of container web.',
  );
  await create('--container', 'web', '--rule', '21053:192.0.2.2:53/udp', 'names-far');
  expect(
    await answers({
      tcp: ask(h3, ON_HOST, '192.0.2.2:21080', { bytes: 300_000 }),
      udp: ask(h3, ON_HOST, '192.0.2.2:21053', { protocol: 'udp' }),
      'large udp': ask(h3, ON_HOST, '192.0.2.2:21053', { protocol: 'udp', bytes: 4_000 }),
      'the port’s host itself': ask(h2, ON_HOST, '192.0.2.2:21080'),
      'the container’s host': ask(h1, ON_HOST, '192.0.2.2:21080'),
      'another address of the port’s host': ask(h2, ON_HOST, '127.0.0.1:21080'),
    }),
  ).toEqual({
    tcp: `web ${H2_LOCATOR}`,
    udp: `web ${H2_LOCATOR}`,
    'large udp': `web ${H2_LOCATOR}`,
    'the port’s host itself': `web ${H2_LOCATOR}`,
    'the container’s host': `web ${H2_LOCATOR}`,
    'another address of the port’s host': 'ECONNREFUSED',
  });
});

test('all rules, and those of a container', async () => {
  const list = await h2.daolictl('firewall', 'list');
  expect(list.split('\n').map((line) => line.trim().split(/ {2,}/))).toEqual([
    ['RULE', 'HOST', 'PORT', 'CONTAINER', 'RUNS ON', 'FROM', 'STATUS'],
    ['names-far', 'h2', '192.0.2.2:21053/udp', 'web:53', 'h1', 'everybody', 'open'],
    ['web-far', 'h2', '192.0.2.2:21080/tcp', 'web:80', 'h1', 'everybody', 'open'],
    ['web-http', 'h1', '20080/tcp', 'web:80', 'h1', 'everybody', 'open'],
    ['web-names', 'h1', '20053/udp', 'web:53', 'h1', 'everybody', 'open'],
  ]);
  expect(await h3.daolictl('firewall', 'show', 'web')).toBe(list);
});

test('--from: those get in, and nobody else', async () => {
  await create('--container', 'web', '--rule', '20081:80', '--from', '192.0.2.3,198.51.100.0/24', 'some-near');
  await create('--container', 'web', '--rule', '21081:192.0.2.2:80', '--from', '192.0.2.3/32', 'some-far');
  expect(
    await answers({
      near: ask(h3, ON_HOST, '192.0.2.1:20081'),
      far: ask(h3, ON_HOST, '192.0.2.2:21081'),
      'another, near': ask(h2, ON_HOST, '192.0.2.1:20081'),
      'another, far': ask(h1, ON_HOST, '192.0.2.2:21081'),
      'the host itself': ask(h1, ON_HOST, '127.0.0.1:20081'),
      'the port’s host itself': ask(h2, ON_HOST, '192.0.2.2:21081'),
    }),
  ).toEqual({
    near: 'web 192.0.2.3',
    far: `web ${H2_LOCATOR}`,
    'another, near': 'ECONNREFUSED',
    'another, far': 'ECONNREFUSED',
    'the host itself': 'ECONNREFUSED',
    'the port’s host itself': 'ECONNREFUSED',
  });
});

test('the container reaches nothing of the port’s host but those who came by its port', async () => {
  expect(
    await answers({
      'a port of the host': ask(h1, 'web', `${H2_LOCATOR}:7470`, { timeoutMs: 1_500 }),
      'the port of the rule': ask(h1, 'web', `${H2_LOCATOR}:21080`, { timeoutMs: 1_500 }),
    }),
  ).toEqual({ 'a port of the host': 'timeout', 'the port of the rule': 'timeout' });
});

test('what is wrong is said, with exit code 1 or 2, and changes nothing', async () => {
  const web = ['--container', 'web', '--rule'];
  const taken = await h2.docker('run', '-d', '--name', 'docker-p', ...NET, '-p', '8080:80', 'busybox', 'sleep', '3600');
  expect(taken).not.toBe('');
  await untilNamed(h2, 'docker-p');
  const other = h2.background([
    ...NODE,
    '-e',
    'require("net").createServer().listen(9090, () => console.log("ready"))',
  ]);
  await waitFor('the other program', () => other.text().includes('ready'));
  try {
    expect(await refused(h1, 'create', ...web, '8080:192.0.2.2:80', 'x')).toBe(
      '1 daolictl: port 8080/tcp of host h2 is published by container docker-p in network demo: choose another',
    );
    expect(await refused(h1, 'create', ...web, '9090:192.0.2.2:80', 'x')).toBe(
      '1 daolictl: port 9090/tcp of host h2 is in use by another program: choose another',
    );
  } finally {
    await other.stop();
    await remove(h2, ['docker-p'], []);
  }
  expect(await refused(h1, 'create', ...web, '20080:80', 'x')).toContain(
    '1 daolictl: port 20080/tcp of host h1 is taken by firewall rule web-http, which leads to container:web',
  );
  expect(await refused(h1, 'create', ...web, '1:80', 'web-far')).toContain('1 daolictl: firewall rule web-far exists');
  expect(await refused(h1, 'create', '--container', 'wbe', '--rule', '1:80', 'x')).toContain(
    '1 daolictl: no container wbe is in a DaoliNet network; did you mean web?',
  );
  expect(await refused(h1, 'create', ...web, '1:203.0.113.9:80', 'x')).toContain(
    '1 daolictl: 203.0.113.9 is no address of host h1',
  );
  expect(await refused(h1, 'create', ...web, '1:80', '--from', '192.0.2.1/24', 'x')).toContain(
    'did you mean 192.0.2.0/24',
  );
  expect(await refused(h1, 'create', ...web, '70000:80', 'x')).toMatch(/^2 [\s\S]*70000 is no port: give 1 to 65535/);
  expect(await refused(h1, 'create', ...web, '80', 'x')).toMatch(/^2 [\s\S]*It has to be like 20022:22/);
  expect(await refused(h1, 'create', '--container', 'web', 'x')).toMatch(/^2 [\s\S]*--rule/);
  expect(await refused(h1, 'delete', 'web-far', 'web-htp')).toContain('did you mean web-http?');
  expect(await refusal(h1, 'run', '--rm', ...NET, '-p', '20080:80', 'busybox', 'true')).toContain(
    'host port 20080/tcp is that of firewall rule web-http already: choose another',
  );
});

test('the port leads to the container when it is made anew on another host, and on this one again', async () => {
  await remove(h1, ['web'], []);
  for (const name of ['web-http', 'web-far']) await untilStatus(name, 'container web does not run');
  expect(await ask(h3, ON_HOST, '192.0.2.1:20080')).toBe('ECONNREFUSED');
  await startServer(h2, 'web', PORTS, NET);
  for (const name of ['web-http', 'web-far', 'web-names']) await untilStatus(name, 'open');
  expect(
    await answers({
      'now on another': ask(h3, ON_HOST, '192.0.2.1:20080', { bytes: 100_000 }),
      'now on the same': ask(h3, ON_HOST, '192.0.2.2:21080'),
      udp: ask(h3, ON_HOST, '192.0.2.1:20053', { protocol: 'udp' }),
    }),
  ).toEqual({ 'now on another': `web ${H1_LOCATOR}`, 'now on the same': 'web 192.0.2.3', udp: `web ${H1_LOCATOR}` });
});

// Opens a connection, says so, and what becomes of it when it is written to from then on.
const HOLD = `
const [address, port] = process.argv.slice(1);
const socket = require('net').connect({ host: address, port: Number(port) }, () => console.log('connected'));
socket.on('error', (error) => (console.log(error.code), process.exit())).on('close', () => console.log('closed'));
setInterval(() => socket.write('x'), 100);`;

test('an agent that is killed keeps connections, and opens its ports again; a rule that goes ends them', async () => {
  const hold = h3.background([...NODE, '-e', HOLD, '192.0.2.1', '20080']);
  try {
    await waitFor('the connection', () => hold.text().includes('connected'));
    await h1.killAgent();
    await h2.killAgent();
    await waitFor('the port', async () => (await ask(h3, ON_HOST, '192.0.2.1:20080')) === `web ${H1_LOCATOR}`);
    expect(hold.text()).toBe('connected\n');
    expect(await h1.daolictl('firewall', 'delete', 'web-http')).toBe('Rule web-http deleted.');
    await waitFor('the end of the connection', () => hold.text().includes('ECONNRESET'));
  } finally {
    await hold.stop();
  }
  expect(await ask(h3, ON_HOST, '192.0.2.1:20080')).toBe('ECONNREFUSED');
});

test('nothing stays behind', async () => {
  await h1.daolictl('firewall', 'delete', ...(await names()));
  const relays = ['-O', 'OpenFlow14', 'dump-flows', 'br-int', 'cookie=0xda24000000000000/0xff0f000000000000'];
  for (const host of [h1, h2]) {
    await waitFor(`nothing on ${host.name}`, async () => {
      const flows = await host.ovs('ovs-ofctl', ...relays);
      const table = await host.exec('nft', ['list', 'table', 'inet', 'daolinet']);
      const routes = await host.exec('ip', ['route', 'show', 'dev', 'daoli0']);
      const isClean = !flows.includes('actions=') && !/\. 2[01]0\d\d/.test(table);
      return isClean && !routes.includes('mtu');
    });
  }
  await remove(h2, ['web'], []);
});
