// Hosts that follow a part of the directory, over a real ovsdb-server: that each has exactly what its containers may talk to,
// whatever happens, and has it before it goes on.
import { existsSync, readFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { parseCidr, parseIpv4, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock, type Clock } from '../../src/base/clock';
import { silentLogger, type Logger } from '../../src/base/logger';
import { Directory, DIRECTORY_DATABASE } from '../../src/directory/directory';
import { deleteFirewallRule, insertFirewallRule } from '../../src/directory/control-operations';
import { deleteEndpoint, insertEndpoint, publishPorts, updateEndpoint } from '../../src/directory/endpoint-operations';
import { LINGER_MS } from '../../src/directory/interest';
import { deleteNetwork, insertNetwork, insertPool, insertReplica, poolIdOf } from '../../src/directory/operations';
import type { EndpointId, EndpointRow, NetworkId } from '../../src/directory/rows';
import { planSwitch } from '../../src/directory/switch-operations';
import { Ipam } from '../../src/ipam/ipam';
import { Neighbours } from '../../src/neighbours';
import { OvsdbClient } from '../../src/ovsdb/client';
import { select, update } from '../../src/ovsdb/operations';
import { run } from '../fakes/directory-contract';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';
import { startOvsdbServer, type OvsdbServer } from './ovsdb-server';

const RANGE = parseCidr('100.64.0.0/10');
const NETWORKS = ['a', 'b', 'c'].map((letter) => letter.repeat(64) as NetworkId);
const [A, B] = NETWORKS as [NetworkId, NetworkId];

/** The machine's clock, but that what is due in minutes comes when the test says so. */
class PatientClock implements Clock {
  private skipped = 0;
  private readonly late = new Set<() => void>();

  now(): number {
    return systemClock.now() + this.skipped;
  }

  after(ms: number, callback: () => void): () => void {
    if (ms < 60_000) return systemClock.after(ms, callback);
    this.late.add(callback);
    return () => void this.late.delete(callback);
  }

  skip(ms: number): void {
    this.skipped += ms;
    const due = [...this.late];
    this.late.clear();
    for (const callback of due) callback();
  }
}

/** What a controller was told of other hosts. */
class ToldController {
  readonly endpoints = new Set<string>();
  readonly networks = new Set<string>();

  addEndpoint({ id }: { readonly id: string }): Promise<void> {
    this.endpoints.add(id);
    return Promise.resolve();
  }
  removeEndpoint(id: string): Promise<void> {
    this.endpoints.delete(id);
    return Promise.resolve();
  }
  removeNetwork(): undefined {
    return undefined;
  }
  setPeer(): void {}
  removePeer(): void {}
}

interface Member {
  readonly directory: Directory;
  readonly clock: PatientClock;
  readonly controller: ToldController;
  readonly problems: string[];
}

let server: OvsdbServer;
let members: Member[] = [];
beforeEach(async () => {
  server = await startOvsdbServer({ schema: DIRECTORY_SCHEMA_FILE });
});
afterEach(async () => {
  for (const { directory } of members) directory.stop();
  expect(members.flatMap(({ problems }) => problems)).toEqual([]);
  members = [];
  await server.stop();
});

async function join(host: string, extent: 'everything' | 'needed' = 'needed', snapshotPath?: string): Promise<Member> {
  const clock = new PatientClock();
  const problems: string[] = [];
  const logger: Logger = { ...silentLogger, error: (message: string) => void problems.push(message) };
  const address = parseIpv4(`192.0.2.${host.slice(1)}`);
  const options = { remotes: [server.remote], host, locatorRange: RANGE, address, extent, clock, logger };
  const directory = new Directory({ ...options, ...(snapshotPath !== undefined && { snapshotPath }) });
  const controller = new ToldController();
  const networks = { tellController: () => Promise.resolve() };
  const neighbours = new Neighbours({
    settings: { locatorRange: RANGE },
    store: directory,
    controller: controller,
    networks,
    logger,
  });
  directory.onChange((changes) => neighbours.take(changes));
  directory.start();
  await directory.whenReady();
  const member = { directory, clock, controller, problems };
  members.push(member);
  return member;
}

function leave(member: Member): void {
  member.directory.stop();
  members = members.filter((other) => other !== member);
}

const cidrOf = (network: NetworkId) => parseCidr(`10.${NETWORKS.indexOf(network)}.0.0/24`);
const poolOf = (network: NetworkId) => poolIdOf('default', cidrOf(network));

async function addNetworks({ directory }: Member): Promise<void> {
  for (const id of NETWORKS) {
    await run(directory, (c) => insertPool(c, { tenant: 'default', cidr: cidrOf(id) }));
    await run(directory, (c) =>
      insertNetwork(c, {
        id,
        tenant: 'default',
        internal: false,
        gateway: undefined,
        ipam: 'docker',
        mtu: 1500,
        options: {},
        poolIds: [poolOf(id)],
      }),
    );
  }
}

const idOf = (name: string) => name.padEnd(64, '0') as EndpointId;

/** As the driver does: CreateEndpoint and Join. */
async function start(
  { directory }: Pick<Member, 'directory'>,
  name: string,
  networkId: NetworkId,
  number: number,
): Promise<void> {
  await directory.follow({ network: networkId });
  const address = (cidrOf(networkId).base + number) as Ipv4;
  const mac = (0x024200000000 + number) as Mac;
  await run(directory, (c) => insertEndpoint(c, { id: idOf(name), networkId, address, mac, interfaceName: name }));
  await run(directory, (c) => updateEndpoint(c, idOf(name), { sandbox: `/var/run/docker/netns/${name}` }));
}
const stop = ({ directory }: Member, name: string) => run(directory, (c) => deleteEndpoint(c, idOf(name)));

const names = (rows: Iterable<EndpointRow>) => [...rows].map(({ id }) => id.replace(/0+$/, '')).sort();
const known = ({ directory }: Member) => names(directory.view.endpoints());
const told = ({ controller }: Member) => [...controller.endpoints].map((id) => id.replace(/0+$/, '')).sort();

async function seen(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries === 1_000) throw new Error(`after five seconds it is not so that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('a host knows all networks, and endpoints and addresses of its own', async () => {
  const [first, second] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(first, 'y', B, 5);
  await seen('h2 knows three networks', () => [...second.directory.view.networks()].length === 3);
  expect(known(second)).toEqual([]);
  expect(second.directory.view.addressCount(poolOf(A))).toBe(0);
  expect(second.directory.view.knowsAllOf(A)).toBe(false);

  const began = start(second, 'z', A, 6);
  await second.directory.follow({ network: A });
  // Before its own is there, the others are, and the controller was told.
  expect(known(second)).toContain('x');
  expect(told(second)).toEqual(['x']);
  await began;
  expect(known(second)).toEqual(['x', 'z']);
  expect(second.directory.view.knowsAllOf(A)).toBe(true);
  expect(second.directory.view.endpointAt('default', parseIpv4('10.0.0.5'))).toBeDefined();
  await seen('h1 knows z', () => known(first).includes('z'));

  await start(first, 'u', B, 7);
  await start(first, 'v', A, 7);
  await seen('h2 knows v', () => known(second).includes('v'));
  expect(known(second)).toEqual(['v', 'x', 'z']);
});

test('a host that stands by for another follows what that one has, also when it starts with it', async () => {
  const [first, second, third] = [await join('h1', 'everything'), await join('h2'), await join('h3')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(second, 'y', A, 6);
  expect(known(third)).toEqual([]);
  await run(second.directory, (c) => planSwitch(c, { generation: 1, backups: ['h3'], profile: '' }));
  await seen('h3 stands by', () => third.directory.view.switchOf('h2')?.backups.includes('h3') === true);
  await third.directory.whenFollowed();
  expect(known(third)).toEqual(['x', 'y']);
  await start(second, 'z', B, 5);
  await seen('h3 knows z', () => known(third).includes('z'));
  expect(names(third.directory.view.endpointsOn('h2'))).toEqual(['y', 'z']);
  leave(third);
  const again = await join('h3');
  expect(known(again)).toEqual(['x', 'y', 'z']);
  expect(names(again.directory.view.endpointsOn('h2'))).toEqual(['y', 'z']);
});

test('when the last container has gone, the others go after a while, and the controller hears of it', async () => {
  const [first, second] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(second, 'z', A, 6);
  await stop(second, 'z');
  second.clock.skip(LINGER_MS / 2);
  await start(first, 'w', A, 8);
  await seen('h2 knows w', () => known(second).includes('w'));
  second.clock.skip(LINGER_MS);
  await seen('h2 knows none', () => known(second).length === 0);
  expect(told(second)).toEqual([]);
  expect(second.directory.view.addressCount(poolOf(A))).toBe(0);
  await start(second, 'z', A, 6);
  expect(told(second)).toEqual(['w', 'x']);
});

test('an agent that starts anew, or is connected anew, has what it had', async () => {
  const [first, before] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(first, 'y', B, 5);
  await start(before, 'z', A, 6);
  leave(before);
  const second = await join('h2');
  expect(known(second)).toEqual(['x', 'z']);
  await server.kill('SIGKILL');
  await seen('h2 is alone', () => !second.directory.connected);
  await server.restart();
  await start(first, 'v', A, 7);
  await start(first, 'w', B, 7);
  await seen('h2 knows v', () => known(second).includes('v'));
  expect(known(second)).toEqual(['v', 'x', 'z']);
  // A container begins while the database is away: it waits for its network, and has it.
  await server.kill('SIGKILL');
  await seen('h2 is alone', () => !second.directory.connected);
  const began = start(second, 'u', B, 8);
  await server.restart();
  await began;
  expect(known(second)).toEqual(['u', 'v', 'w', 'x', 'y', 'z']);
});

test('an agent that starts without the database has what it needs, and goes on from there', async () => {
  const [first, before] = [await join('h1', 'everything'), await join('h2', 'needed', joinPath(server.dir, 'h2'))];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(before, 'z', A, 6);
  const file = joinPath(server.dir, 'h2');
  await seen('it is written', () => existsSync(file) && readFileSync(file, 'utf8').includes(idOf('z')));
  leave(before);
  await start(first, 'y', A, 7);
  await start(first, 'w', B, 8);
  await server.kill('SIGKILL');
  const second = await join('h2', 'needed', joinPath(server.dir, 'h2'));
  expect(known(second)).toEqual(['x', 'z']);
  expect(second.directory.view.knowsAllOf(A)).toBe(true);
  await server.restart();
  await start(second, 'v', A, 9);
  expect(known(second)).toEqual(['v', 'x', 'y', 'z']);
  expect(told(second)).toEqual(['x', 'y']);
});

test('ports of other hosts are not known, and change without a word', async () => {
  const [first, second] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(second, 'z', A, 6);
  const port = (hostPort: number) =>
    ({ protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort, containerPort: 80 }) as const;
  const publish = ({ directory }: Member, name: string, ...ports: number[]) =>
    run(directory, (c) => publishPorts(c, idOf(name), ports.map(port)));
  for (const ports of [[1, 2], [2, 3], [3], [], [4]]) await publish(first, 'x', ...ports);
  await publish(second, 'z', 4);
  const portsOf = ({ directory }: Member, name: string) =>
    directory.view.endpoint(idOf(name))!.publishedPorts.map(({ hostPort }) => hostPort);
  expect(portsOf(second, 'z')).toEqual([4]);
  expect(portsOf(second, 'x')).toEqual([]);
  await seen('h1 knows them', () => portsOf(first, 'z').length === 1);
  expect(portsOf(first, 'x')).toEqual([4]);
  await run(second.directory, (c) => updateEndpoint(c, idOf('z'), { containerName: 'web' }));
  expect([...second.directory.view.publishedPorts()]).toHaveLength(1);
});

test('an endpoint that somebody else gives to a host is known there, with its network', async () => {
  const [first, second] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(first, 'y', A, 6);
  const client = new OvsdbClient({ remotes: [server.remote], database: DIRECTORY_DATABASE });
  client.start();
  await client.whenReady();
  const [{ rows = [] } = {}] = await client.transact([select('Host', [['name', '==', 'h2']], ['_uuid'])]);
  await client.transact([update('Endpoint', [['id', '==', idOf('x')]], { host: rows[0]?.['_uuid'] as string })]);
  client.stop();
  await seen('h2 knows x', () => known(second).includes('x'));
  await seen('h2 knows y', () => known(second).includes('y'));
  expect(names(second.directory.view.endpointsOn('h2'))).toEqual(['x']);
});

test('hosts that begin in one pool at the same time choose different addresses', async () => {
  const first = await join('h1', 'everything');
  await addNetworks(first);
  const others = await Promise.all(['h2', 'h3', 'h4'].map((host) => join(host)));
  const host = { hostRoutes: () => Promise.resolve([]) };
  const given = await Promise.all(
    others.map(async ({ directory }) => {
      const ipam = new Ipam({ store: directory, host, defaultPools: parseCidr('10.128.0.0/9'), locatorRange: RANGE });
      await ipam.requestPool({ tenant: 'default', cidr: cidrOf(A), range: undefined, networkId: A });
      const poolId = poolOf(A);
      const ask = (mac: number) =>
        ipam.requestAddress({ poolId, address: undefined, use: 'endpoint', mac: mac as Mac });
      return Promise.all([1, 2, 3, 4].map((n) => ask(0x024200000000 + n)));
    }),
  );
  expect(new Set(given.flat().map(({ address }) => address)).size).toBe(12);
});

test('a network that is removed everywhere goes, though only a server knows that nobody has it', async () => {
  const [first, second, third] = [await join('h1', 'everything'), await join('h2'), await join('h3')];
  await addNetworks(first);
  for (const { directory } of [second, third]) {
    await seen('the network is known', () => directory.view.network(A) !== undefined);
    await run(directory, (c) => insertReplica(c, c.view.network(A)!, `${c.host}a`.padEnd(64, '0')));
  }
  expect([...second.directory.view.replicasOf(A)].map(({ host }) => host)).toEqual(['h2']);
  await run(second.directory, (c) => deleteNetwork(c, A));
  await run(first.directory, (c) => deleteNetwork(c, A));
  await run(third.directory, (c) => deleteNetwork(c, A));
  await seen('nobody has it', () => [...first.directory.view.replicasOf(A)].length === 0);
  expect(first.directory.view.network(A)?.isRemoved).toBe(true);
  await run(first.directory, (c) => deleteNetwork(c, A));
  expect(first.directory.view.network(A)).toBeUndefined();
  await seen('it is gone everywhere', () => third.directory.view.network(A) === undefined);
});

/**
 * What this proves for the packet path: an address that the controller does not know is nobody's in the networks of its own
 * containers, since every container that they may talk to was told to it.
 */
test('whatever containers come and go, each host has exactly the endpoints of its own networks', async () => {
  const whole = await join('h1', 'everything');
  await addNetworks(whole);
  const hosts = [whole, await join('h2'), await join('h3')];
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const running = new Map<string, { readonly host: Member; readonly network: NetworkId }>();
  for (let round = 0; round < 12; round += 1) {
    const begun = Array.from({ length: 4 }, async (_, k) => {
      const [host, network] = [hosts[random(3)]!, NETWORKS[random(3)]!];
      const name = `e${round}x${k}y`;
      await start(host, name, network, 2 + round * 4 + k);
      running.set(name, { host, network });
      // The moment it has begun, all that it may talk to is known.
      const { view } = host.directory;
      for (const other of names(whole.directory.view.endpointsOf(network))) {
        // Others end meanwhile.
        const isOver = () => whole.directory.view.endpoint(idOf(other)) === undefined;
        await seen(`${other} is known`, () => view.endpoint(idOf(other)) !== undefined || isOver());
      }
    });
    const ended = [...running].filter(() => random(3) === 0);
    for (const [name] of ended) running.delete(name);
    await Promise.all([...begun, ...ended.map(([name, { host }]) => stop(host, name))]);
    if (round % 4 === 3) for (const { clock } of hosts) clock.skip(2 * LINGER_MS);
    for (const host of hosts.slice(1)) {
      const own = new Set([...running.values()].filter((each) => each.host === host).map(({ network }) => network));
      const expected = [...running].filter(([, { network }]) => own.has(network)).map(([name]) => name);
      const isExact = () =>
        expected.every((name) => host.directory.view.endpoint(idOf(name)) !== undefined) &&
        (round % 4 !== 3 || known(host).length === expected.length);
      await seen('a host has what it needs', isExact);
      const apart = expected.filter((name) => running.get(name)!.host !== host);
      await seen('the controller was told', () => apart.every((name) => host.controller.endpoints.has(idOf(name))));
    }
  }
}, 60_000);

test('a host whose port leads to a container elsewhere knows that container, and not the others', async () => {
  const [first, second] = [await join('h1', 'everything'), await join('h2')];
  await addNetworks(first);
  await start(first, 'x', A, 5);
  await start(first, 'y', B, 5);
  await run(first.directory, (c) => updateEndpoint(c, idOf('y'), { containerName: 'web' }));
  const rule = {
    name: 'ssh',
    host: 'h2',
    protocol: 'tcp',
    hostIp: 0 as Ipv4,
    hostPort: 1,
    containerPort: 22,
    from: [],
  } as const;
  await run(first.directory, (c) => insertFirewallRule(c, { ...rule, container: 'container:web' }));
  await seen('h2 knows y', () => known(second).includes('y'));
  expect(told(second)).toEqual(['y']);
  // It stays, as long as there is the rule; an agent that starts anew has it from the beginning.
  second.clock.skip(2 * LINGER_MS);
  second.clock.skip(2 * LINGER_MS);
  await start(first, 'w', B, 6);
  await seen('h2 knows w', () => known(second).includes('w'));
  expect(known(second)).toEqual(['w', 'y']);
  leave(second);
  const again = await join('h2');
  await seen('h2 knows y again', () => known(again).includes('y'));
  await run(first.directory, (c) => deleteFirewallRule([...c.view.firewallRules()][0]!));
  await seen('h2 knows no rule', () => [...again.directory.view.firewallRules()].length === 0);
  again.clock.skip(LINGER_MS);
  await seen('h2 knows none', () => known(again).length === 0);
});
