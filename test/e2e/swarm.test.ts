// Docker's swarm mode on the hosts of a cluster: one command makes a network on every node; services and containers on both
// nodes talk, by address and by name; addresses come and go with what runs, and removal leaves nothing. Without virtual
// addresses (VIPs) and ingress, which need IPVS in the kernel.
import { copyFileSync } from 'node:fs';
import { joinAll, startHosts, stopCluster, tokenIn, type LabCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import {
  addressOf,
  ask,
  lendPrograms,
  ON_HOST,
  ping,
  PROGRAMS_OF_TASKS,
  remove,
  startClient,
  TASK,
} from './support/peers';

jest.setTimeout(180_000);

let lab: LabCluster;
let h1: Host;
let h2: Host;
let h3: Host;
/** The id of the image, the same on every host: swarm looks for an image of another name in a registry first. */
let image: string;
/** What nodes make network "shop" from. */
let configuration: string;

beforeAll(async () => {
  lab = await startHosts(3, { settings: { DAOLINET_IDLE_TIMEOUT: '5' } });
  [h1, h2, h3] = lab.hosts as [Host, Host, Host];
  lab.hosts.forEach(lendPrograms);
  await joinAll([h1, h2]);
  await h1.docker('save', '-o', '/tmp/image.tar', IMAGE);
  for (const host of [h2, h3]) {
    copyFileSync(h1.path('/tmp/image.tar'), host.path('/tmp/image.tar'));
    await host.docker('load', '-i', '/tmp/image.tar');
  }
  image = await h1.docker('image', 'inspect', '--format', '{{.Id}}', IMAGE);
}, 900_000);
afterAll(() => lab && stopCluster(lab), 60_000);

const inspect = (host: Host, network: string, format: string) =>
  host.docker('network', 'inspect', '--format', format, network);

async function refused(host: Host, ...args: string[]): Promise<string> {
  const { code, stderr } = await host.tryDaolictl(...args);
  expect(code).toBe(1);
  return stderr;
}

/** A table of the directory, as its database has it: rows of columns. */
async function table(name: string, ...columns: string[]): Promise<unknown[][]> {
  const socket = `unix:/proc/${h1.agentPid()}/root/run/daolinet/directory.sock`;
  const text = await h1.exec('ovsdb-client', ['--format=json', 'dump', socket, 'DaoliNet', name, ...columns]);
  return (JSON.parse(text) as { data: unknown[][] }).data;
}

const takenAddresses = async () => (await table('Address', 'address')).flat().sort();

/** Addresses of running containers in a network, on the hosts of the swarm. */
async function runningAddresses(network: string): Promise<string[]> {
  const lists = await Promise.all(
    lab.hosts.map(async (host) => {
      const containers = (await host.docker('ps', '-q')).split('\n').filter(Boolean);
      const format = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
      return Promise.all(containers.map((container) => host.tryDocker('inspect', '--format', format, container)));
    }),
  );
  // Those that have gone meanwhile fail.
  const addresses = lists
    .flat()
    .filter(({ code }) => code === 0)
    .map(({ stdout }) => stdout.trim());
  return addresses.filter((address) => address !== '<no value>' && address !== '');
}

/** Tasks of a service that run on a host, by the names of their containers. */
async function tasksOn(host: Host, service: string): Promise<string[]> {
  const filter = `label=com.docker.swarm.service.name=${service}`;
  return (await host.docker('ps', '--filter', filter, '--format', '{{.Names}}')).split('\n').filter(Boolean);
}

/** A task of a service, on whatever host it runs. */
async function taskOf(service: string): Promise<[Host, string]> {
  for (const host of lab.hosts) {
    const [task] = await tasksOn(host, service);
    if (task !== undefined) return [host, task];
  }
  throw new Error(`no task of ${service} runs`);
}

/** A service whose tasks serve, on port 80, the name of their host. */
async function createService(name: string, replicas: number, ...args: string[]): Promise<void> {
  const options = ['--detach', '--no-resolve-image', '--endpoint-mode', 'dnsrr', '--stop-grace-period', '1s'];
  const task = ['--hostname', '{{.Node.Hostname}}', ...PROGRAMS_OF_TASKS, ...args, image, ...TASK];
  await h1.docker('service', 'create', '--name', name, '--replicas', `${replicas}`, ...options, ...task);
  await settled(name, replicas);
}

/** Waits until exactly so many tasks of a service run. */
function settled(service: string, count: number): Promise<unknown> {
  const isSo = async () => (await Promise.all(lab.hosts.map((host) => tasksOn(host, service)))).flat().length === count;
  return waitFor(`${count} tasks of ${service}`, isSo, 60_000);
}

/** Removes a network of the swarm, as soon as swarm has let go of what was in it, and says what daolictl did. */
function removal(host: Host, network: string): Promise<string> {
  return waitFor(
    `the removal of ${network}`,
    async () => {
      const { code, stdout, stderr } = await host.tryDaolictl('swarm', 'network', 'rm', network);
      if (code === 0) return stdout;
      if (stderr.includes('in use')) return undefined;
      throw new Error(stderr);
    },
    30_000,
  );
}

/** The name that a server says to a container. */
async function hear(host: Host, from: string, to: string): Promise<string> {
  return (await ask(host, from, `${to}:80`)).split(' ')[0] ?? '';
}

/** The addresses of a name, as a container resolves it. */
async function resolve(host: Host, from: string, name: string): Promise<string[]> {
  const { stdout } = await host.tryDocker('exec', from, 'nslookup', name);
  const answer = stdout.slice(stdout.indexOf('answer:'));
  return [...new Set(answer.match(/\d+\.\d+\.\d+\.\d+/g) ?? [])].sort();
}

/** Nothing of any network is left, on any host and in the directory. */
async function nothingLeft(kept: Readonly<Record<string, string>> = {}): Promise<void> {
  const tables = ['Network', 'NetworkReplica', 'Pool', 'Address', 'Endpoint', 'Tenant'];
  const isEmpty = async () => (await Promise.all(tables.map((name) => table(name)))).flat().length === 0;
  await waitFor('an empty directory', isEmpty, 30_000);
  const dockers = ['bridge', 'docker_gwbridge', 'host', 'ingress', 'none'];
  for (const host of lab.hosts) {
    const names = (await host.networks()).filter((name) => !dockers.includes(name) && name !== kept[host.name]);
    expect([host.name, names]).toEqual([host.name, []]);
    expect(await host.ovs('ovs-vsctl', 'list-ports', 'br-int')).not.toMatch(/^dl/m);
  }
}

describe('one command', () => {
  test('says where it has to be run', async () => {
    const create = ['swarm', 'network', 'create', '--subnet', '10.9.0.0/24', 'shop'];
    expect(await refused(h1, ...create)).toContain(
      'Docker of this host is in no swarm: `docker swarm init` begins one',
    );
    await h1.docker('swarm', 'init', '--advertise-addr', h1.address);
    const token = await h1.docker('swarm', 'join-token', '-q', 'worker');
    await h2.docker('swarm', 'join', '--token', token, `${h1.address}:2377`);
    expect(await refused(h2, ...create)).toContain('no manager of its swarm: run it on one that is (192.0.2.1)');
  });

  test('says on which node a name is taken, and leaves nothing then', async () => {
    await h2.docker('network', 'create', 'shop');
    const said = await refused(h1, 'swarm', 'network', 'create', '--subnet', '10.9.0.0/24', 'shop');
    expect(said).toContain('host h2 says: this host has another network shop: remove or rename one of the two');
    await h2.docker('network', 'rm', 'shop');
    await nothingLeft();
  });

  test('makes the network on the swarm, and what it is made from on every node', async () => {
    const options = ['--subnet', '10.9.0.0/24', '-o', 'mtu=1400'];
    const said = await h1.daolictl('swarm', 'network', 'create', ...options, 'shop');
    expect(said).toContain('Network shop (10.9.0.0/24) is on h1, h2.');
    expect(await inspect(h1, 'shop', '{{.Scope}} {{.Driver}} {{.Attachable}}')).toBe(
      'swarm daolinet/daolinet:latest true',
    );
    configuration = await inspect(h1, 'shop', '{{.ConfigFrom.Network}}');
    expect(configuration).toMatch(/^shop-config-[0-9a-f]{4}$/);
    const format = '{{.ConfigOnly}} {{.IPAM.Driver}} {{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}';
    for (const host of [h1, h2]) {
      expect(await inspect(host, configuration, format)).toBe('true daolinet/daolinet:latest 10.9.0.0/24 10.9.0.1');
    }
    // A network of a swarm is no network to be made on other hosts.
    expect(await h2.networks()).not.toContain('shop');
    expect(await takenAddresses()).toEqual([]);
    expect(await refused(h1, 'swarm', 'network', 'create', 'shop')).toContain('network shop is there already');
  });
});

describe('a service with tasks on both nodes', () => {
  let tasks: { host: Host; name: string; address: string }[];

  beforeAll(async () => {
    await createService('web', 4, '--network', 'shop');
    const found = [h1, h2].map(async (host) => {
      const names = await tasksOn(host, 'web');
      return Promise.all(names.map(async (name) => ({ host, name, address: await addressOf(host, name, 'shop') })));
    });
    tasks = (await Promise.all(found)).flat();
    await startClient(h1, 'ann', ['--network', 'shop', '--network-alias', 'anna']);
    await startClient(h2, 'bob', ['--network', 'shop']);
  });

  test('has addresses of one pool, each once; no other is taken', async () => {
    expect(new Set(tasks.map(({ host }) => host.name))).toEqual(new Set(['h1', 'h2']));
    const running = await runningAddresses('shop');
    expect(new Set(running).size).toBe(6);
    expect(await takenAddresses()).toEqual(['10.9.0.1', ...running].sort());
  });

  test('each task reaches each, and attachable containers of both nodes reach them, by address', async () => {
    const clients = [...tasks, { host: h1, name: 'ann' }, { host: h2, name: 'bob' }];
    for (const from of clients) {
      for (const to of tasks) expect(await hear(from.host, from.name, to.address)).toBe(to.host.name);
    }
    expect(await ping(h1, 'ann', await addressOf(h2, 'bob', 'shop'))).toBe(1);
    // As between any hosts: the two servers are routers, and nothing is encapsulated.
    const far = tasks.find(({ host }) => host === h2)?.address ?? '';
    expect(await h1.docker('exec', 'ann', 'busybox', 'ping', '-c', '1', far)).toContain('ttl=62');
  });

  test('names: of the service, its tasks, containers and aliases, on both nodes', async () => {
    const all = tasks.map(({ address }) => address).sort();
    const anns = [await addressOf(h1, 'ann', 'shop')];
    const bobs = [await addressOf(h2, 'bob', 'shop')];
    for (const [host, from] of [[h1, 'ann'], [h2, 'bob'], ...tasks.map(({ host, name }) => [host, name])] as [
      Host,
      string,
    ][]) {
      expect(await resolve(host, from, 'web')).toEqual(all);
      expect(await resolve(host, from, 'tasks.web')).toEqual(all);
      for (const { name, address } of tasks) expect(await resolve(host, from, name)).toEqual([address]);
      expect([await resolve(host, from, 'anna'), await resolve(host, from, 'bob')]).toEqual([anns, bobs]);
      expect(await hear(host, from, 'web')).toMatch(/^h[12]$/);
    }
  });

  test('another network of the swarm is apart', async () => {
    // By a manager that does not serve the directory, and knows of itself alone who has a network.
    await h1.docker('node', 'promote', 'h2');
    const create = ['swarm', 'network', 'create', '--subnet', '10.10.0.0/24', '--internal', 'other'];
    await waitFor('its management', async () => (await h2.tryDaolictl(...create)).code === 0, 30_000);
    expect((await h1.networks()).filter((name) => name.startsWith('other'))).toHaveLength(2);
    await startClient(h1, 'eve', ['--network', 'other']);
    expect(await ping(h1, 'eve', tasks[0]!.address, '-W', '1')).toBe(0);
    expect(await resolve(h1, 'eve', 'web')).toEqual([]);
    expect(await ping(h1, 'eve', '203.0.113.7', '-W', '1')).toBe(0);
    expect(await ping(h1, 'ann', '203.0.113.7')).toBe(1);
    await remove(h1, ['eve'], []);
    expect(await removal(h2, 'other')).toContain('Network other is gone.');
    await h1.docker('node', 'demote', 'h2');
  });
});

describe('addresses', () => {
  /** Exactly those that run are taken, and the gateway's, which is the network's. */
  async function none(): Promise<void> {
    const isSo = async () => {
      const wanted = ['10.9.0.1', ...(await runningAddresses('shop'))].sort();
      return JSON.stringify(await takenAddresses()) === JSON.stringify(wanted);
    };
    await waitFor('addresses of what runs, and no other', isSo, 20_000);
  }

  test('scaling up and down leaks none, to nothing and back', async () => {
    for (const count of [7, 1, 6, 2, 5]) {
      await h1.docker('service', 'scale', '--detach', `web=${count}`);
      await settled('web', count);
      await none();
    }
    await remove(h1, ['ann'], []);
    await remove(h2, ['bob'], []);
    await h1.docker('service', 'scale', '--detach', 'web=0');
    await settled('web', 0);
    await none();
    expect(await takenAddresses()).toEqual(['10.9.0.1']);
    // On a worker the network has gone with its last task; what it is made from stays.
    await waitFor('its end on h2', async () => !(await h2.networks()).includes('shop'));
    expect(await h2.networks()).toContain(configuration);
    await h1.docker('service', 'scale', '--detach', 'web=4');
    await settled('web', 4);
    await none();
  });

  test('none is lost with an agent, an engine or a host that dies', async () => {
    await h2.replaceAgent();
    await h1.docker('service', 'scale', '--detach', 'web=6');
    await settled('web', 6);
    await none();
    await h2.restartDockerd({ signal: 'SIGKILL' });
    await settled('web', 6);
    await none();
    await h2.reboot();
    await settled('web', 6);
    await none();
    const [on, from] = await taskOf('web');
    const names = async () => (await resolve(on, from, 'web')).length === 6;
    await waitFor('names of all', names, 30_000);
    const addresses = await resolve(on, from, 'web');
    for (const address of addresses) expect(await hear(on, from, address)).toMatch(/^h[12]$/);
  });
});

describe('a node that comes later', () => {
  test('has to be a host of the cluster, and has then what networks are made from', async () => {
    const token = await h1.docker('swarm', 'join-token', '-q', 'worker');
    await h3.docker('swarm', 'join', '--token', token, `${h1.address}:2377`);
    const said = await refused(h1, 'swarm', 'network', 'create', 'later');
    expect(said).toContain('swarm node h3 (192.0.2.3) is no host of this DaoliNet cluster');
    await h3.daolictl('cluster', 'join', tokenIn(await h1.daolictl('cluster', 'token')));
    await waitFor('its configuration on h3', async () => (await h3.networks()).includes(configuration), 20_000);
    const published = ['--publish', 'mode=host,target=80,published=8088'];
    await createService('third', 1, '--network', 'shop', '--constraint', 'node.hostname==h3', ...published);
    const [task = ''] = await tasksOn(h3, 'third');
    const [on, from] = await taskOf('web');
    expect(await hear(on, from, await addressOf(h3, task, 'shop'))).toBe('h3');
    // A port of that node alone; the routing mesh is for Docker's own networks.
    expect(await ask(h1, ON_HOST, `${h3.address}:8088`)).toBe('h3 192.0.2.1');
  });
});

describe('removal', () => {
  test('is refused while a service uses it', async () => {
    expect(await refused(h1, 'swarm', 'network', 'rm', 'shop')).toMatch(/Docker refuses it: .*in use/);
    expect(await refused(h1, 'swarm', 'network', 'rm', 'nothing')).toContain('there are shop');
    expect(await refused(h2, 'swarm', 'network', 'rm', 'shop')).toContain('no manager of its swarm');
  });

  test('leaves nothing, also where tasks are still ending', async () => {
    await h1.docker('service', 'rm', 'web', 'third');
    await removal(h1, 'shop');
    // An engine that died with tasks in it counts wrong, and does not let go of it.
    await nothingLeft({ h2: configuration });
  });

  test('so does `docker network rm`', async () => {
    await h1.daolictl('swarm', 'network', 'create', 'plain');
    await createService('short', 3, '--network', 'plain');
    await h1.docker('service', 'rm', 'short');
    await waitFor('the removal', async () => (await h1.tryDocker('network', 'rm', 'plain')).code === 0, 30_000);
    await nothingLeft({ h2: configuration });
  });
});
