// A host's tunnels as the directory changes, as hubs die, as keys change, and after agents that have died.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatCidr, formatIpv4, parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import { planTunnel } from '../../src/directory/tunnel-operations';
import type { TunnelDeviceState } from '../../src/host/host';
import { isRow, remove, update } from '../../src/ovsdb/operations';
import { generateTunnelKey, KeyFile } from '../../src/tunnel/key-file';
import { LINGER_MS } from '../../src/tunnel/recently';
import { TunnelFollower } from '../../src/tunnel/tunnels';
import { VERDICT_MS } from '../../src/tunnel/verdicts';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';
import { RecordingHost } from '../fakes/recording-host';
import { addContainer, addNetwork, change } from '../fakes/small-cluster';

const endpoint = (text: string) => ({ address: parseIpv4(text), port: 7471 });
const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

class World {
  readonly folder = mkdtempSync(join(tmpdir(), `daolinet-follower-${process.pid}-`));
  readonly database = createMemoryDatabase();
  readonly own = this.directory('own', 'home');
  readonly clock = new ManualClock();
  readonly keys = new KeyFile(join(this.folder, 'tunnel.key'));
  readonly log: string[] = [];
  host = new RecordingHost();
  follower = this.newFollower();
  isInCluster = true;
  l2: 'auto' | 'yes' | 'no' = 'auto';
  private isFollowed = false;

  directory(host: string, site: string): MemoryDirectory {
    const store = createMemoryDirectory({ host, database: this.database, address: parseIpv4('192.0.2.1') });
    const { uuid } = store.view.host(host)!;
    this.database.transact([update('Host', isRow(uuid), { site })]);
    return store;
  }

  /** Another host, with a tunnel; without an address it is behind NAT. */
  async add(name: string, address?: string, isHub = false): Promise<MemoryDirectory> {
    const store = this.directory(name, name);
    await this.tell(store, generateTunnelKey().publicKey, address);
    await change(store, ({ view }) => [update('Host', isRow(view.host(name)!.uuid), { is_hub: isHub })]);
    return store;
  }

  tell(store: MemoryDirectory, key: string, address?: string): Promise<void> {
    const told = {
      key,
      port: 7471,
      endpoint: address === undefined ? undefined : endpoint(address),
      noL2: false,
    } as const;
    return change(store, (context) => planTunnel(context, told));
  }

  newFollower(): TunnelFollower {
    const say = (message: string) => void this.log.push(message);
    return new TunnelFollower({
      store: this.own,
      tunnels: this.host.tunnels,
      keys: this.keys,
      locatorRange: parseCidr('100.64.0.0/10'),
      facts: () => (this.isInCluster ? { endpoint: undefined, l2: this.l2 } : undefined),
      interfaceMtu: () => Promise.resolve(1_500),
      clock: this.clock,
      random: () => 0,
      logger: { debug: say, info: say, warn: say, error: say },
    });
  }

  async start(): Promise<void> {
    if (!this.isFollowed) this.own.onChange((changes) => this.follower.take(changes));
    this.isFollowed = true;
    await this.follower.load();
    await this.idle();
  }

  /** Another agent; devices are as the last one left them. */
  async restart(left: readonly TunnelDeviceState[] = []): Promise<void> {
    this.follower.stop();
    this.host = new RecordingHost();
    this.host.tunnels.left = [...left];
    this.follower = this.newFollower();
    await this.start();
  }

  async idle(): Promise<void> {
    await settle();
    await this.follower.idle();
  }

  async seconds(count: number): Promise<void> {
    for (let second = 0; second < count; second += 1) {
      await settle();
      this.clock.advance(1_000);
    }
    await this.idle();
  }

  get applied(): number {
    return this.host.calls.filter((call) => call.startsWith('tunnels.apply')).length;
  }

  /** The names of hosts by device, and where routes lead to. */
  get peers(): Record<string, string[]> {
    const names = new Map([...this.own.view.tunnels()].map(({ key, host }) => [key, host]));
    const devices = this.host.tunnels.spec?.devices ?? [];
    return Object.fromEntries(
      devices.map(({ name, peers }) => [name, peers.map(({ publicKey }) => names.get(publicKey) ?? '?')]),
    );
  }

  routeTo(store: MemoryDirectory): string | undefined {
    const [block] = this.own.view.host(store.host)!.locatorBlocks;
    return this.host.tunnels.spec?.routes.find((each) => formatCidr(each.destination) === formatCidr(block!))?.device;
  }

  peerOf(store: MemoryDirectory) {
    const key = this.own.view.tunnel(store.host)?.key;
    return this.host.tunnels.spec?.devices.flatMap(({ peers }) => peers).find(({ publicKey }) => publicKey === key);
  }
}

let world: World;
beforeEach(async () => {
  world = new World();
  await addNetwork(world.own, 'red', '10.1.0.0/24');
  await addContainer(world.own, 'ann', 'red', '10.1.0.2');
});
afterEach(() => {
  world.follower.stop();
  expect(world.clock.waiting).toBe(0);
  rmSync(world.folder, { recursive: true });
});

test('tells of its key, and has devices as soon as there is a host to reach by one', async () => {
  await world.start();
  expect(world.own.view.tunnel('own')?.key).toBe(world.keys.current!.publicKey);
  expect(world.peers).toEqual({});
  const cloud = await world.add('cloud', '198.51.100.1');
  await world.idle();
  expect(world.peers).toEqual({ 'daoli-wg': [] });
  await addContainer(cloud, 'bob', 'red', '10.1.0.3');
  await world.idle();
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud'] });
  expect(world.routeTo(cloud)).toBe('daoli-wg');
  expect(world.host.tunnels.spec!.privateKey).toBe(world.keys.current!.privateKey);
});

test('a change that changes nothing asks nothing of the host', async () => {
  const cloud = await world.add('cloud', '198.51.100.1');
  await addContainer(cloud, 'bob', 'red', '10.1.0.3');
  await world.start();
  const { applied } = world;
  await change(cloud, ({ view }) => [update('Host', isRow(view.host('cloud')!.uuid), { certificates: [] })]);
  await world.add('other', '198.51.100.9');
  await world.idle();
  expect(world.applied).toBe(applied);
});

test('a host stays a peer for a while after its last container has gone; one that was removed does not', async () => {
  const [cloud, gone] = [await world.add('cloud', '198.51.100.1'), await world.add('gone', '198.51.100.2')];
  const bob = await addContainer(cloud, 'bob', 'red', '10.1.0.3');
  const cat = await addContainer(gone, 'cat', 'red', '10.1.0.4');
  await world.start();
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud', 'gone'] });
  await change(cloud, (context) => deleteEndpoint(context, bob.id));
  await change(gone, (context) => deleteEndpoint(context, cat.id));
  await change(gone, ({ view }) => [remove('Tunnel', isRow(view.tunnel('gone')!.uuid))]);
  await world.idle();
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud'] });
  world.clock.advance(LINGER_MS);
  await world.idle();
  expect(world.peers).toEqual({ 'daoli-wg': [] });
});

test('another hub takes over within four seconds, also while the directory is away', async () => {
  const cafe = await world.add('cafe');
  const [a, b] = [await world.add('a', '198.51.100.1', true), await world.add('b', '198.51.100.2', true)];
  await addContainer(cafe, 'bob', 'red', '10.1.0.3');
  const locator = ({ host }: MemoryDirectory) => {
    const [block] = world.own.view.host(host)!.locatorBlocks;
    return formatIpv4((block!.base + 1) as Ipv4);
  };
  world.host.tunnels.answers.set(`daoli-wg1 ${locator(a)}`, 1).set(`daoli-wg2 ${locator(b)}`, 1);
  await world.start();
  expect([world.peers, world.routeTo(cafe)]).toEqual([
    { 'daoli-wg': [], 'daoli-wg1': ['a'], 'daoli-wg2': ['b'] },
    'daoli-wg1',
  ]);
  await world.seconds(3);
  world.own.setAway(true);
  world.host.tunnels.answers.delete(`daoli-wg1 ${locator(a)}`);
  await world.seconds(4);
  expect(world.routeTo(cafe)).toBe('daoli-wg2');
  expect(world.host.calls.some((call) => call.startsWith('tunnels.renew daoli-wg1'))).toBe(true);
  world.host.tunnels.answers.set(`daoli-wg1 ${locator(a)}`, 1);
  await world.seconds(4);
  expect(world.routeTo(cafe)).toBe('daoli-wg1');
  expect(world.log.filter((line) => line.includes('hub'))).toEqual(['a hub does not answer', 'a hub answers again']);
});

describe('a hub that only one of two hosts hears', () => {
  let cafe: MemoryDirectory;
  let hubs: MemoryDirectory[];
  const answering = async (names: readonly string[]) => {
    const { answers } = world.host.tunnels;
    answers.clear();
    for (const [index, store] of hubs.entries()) {
      const [block] = world.own.view.host(store.host)!.locatorBlocks;
      if (names.includes(store.host)) answers.set(`daoli-wg${index + 1} ${formatIpv4((block!.base + 1) as Ipv4)}`, 1);
    }
    await world.seconds(5);
  };
  const told = () => world.own.view.tunnel('own')!.unheard;
  const writes = () => world.own.committed.filter((ops) => JSON.stringify(ops).includes('unheard')).length;
  beforeEach(async () => {
    cafe = await world.add('cafe');
    hubs = [await world.add('a', '198.51.100.1', true), await world.add('b', '198.51.100.2', true)];
    await addContainer(cafe, 'bob', 'red', '10.1.0.3');
    await world.start();
    await answering(['a', 'b']);
  });

  test('the other tells that it does not, and is sent to through another', async () => {
    expect(world.routeTo(cafe)).toBe('daoli-wg1');
    await change(cafe, ({ view }) => [
      update('Tunnel', isRow(view.tunnel('cafe')!.uuid), { unheard: [view.host('a')!.uuid] }),
    ]);
    await world.idle();
    expect(world.routeTo(cafe)).toBe('daoli-wg2');
    await change(cafe, ({ view }) => [update('Tunnel', isRow(view.tunnel('cafe')!.uuid), { unheard: [] })]);
    await world.idle();
    expect(world.routeTo(cafe)).toBe('daoli-wg1');
  });

  test('this host tells which ones it does not hear, once for each change; not where it hears none', async () => {
    expect([told(), writes()]).toEqual([[], 0]);
    await answering(['b']);
    expect(told()).toEqual(['a']);
    await answering(['b']);
    expect(writes()).toBe(1);
    await answering([]);
    expect([told(), writes()]).toEqual([['a'], 1]);
    await answering(['a', 'b']);
    expect([told(), writes()]).toEqual([[], 2]);
  });

  test('one that comes and goes is told of a few times, and then now and then; the last word is right', async () => {
    for (let turn = 0; turn < 10; turn += 1) await answering(turn % 2 === 0 ? ['b'] : ['a', 'b']);
    // In 50 seconds, in which it was another ten times.
    expect(writes()).toBeLessThanOrEqual(7);
    await answering(['b']);
    await world.seconds(VERDICT_MS / 1_000);
    expect(told()).toEqual(['a']);
  });

  test('another agent goes on with what was told, and tells nothing anew', async () => {
    await answering(['b']);
    await world.restart();
    expect(world.routeTo(cafe)).toBe('daoli-wg2');
    await answering(['b']);
    expect([told(), writes()]).toEqual([['a'], 1]);
  });

  test('a host that has nobody to reach through hubs takes its word back', async () => {
    await answering(['b']);
    await change(cafe, ({ view }) => [remove('Tunnel', isRow(view.tunnel('cafe')!.uuid))]);
    await world.idle();
    expect(told()).toEqual([]);
  });
});

test('nothing is taken away before the directory is heard; what is there already stays', async () => {
  const cloud = await world.add('cloud', '198.51.100.1');
  await addContainer(cloud, 'bob', 'red', '10.1.0.3');
  await world.start();
  const stranger = {
    publicKey: generateTunnelKey().publicKey,
    endpoint: endpoint('203.0.113.5'),
    allowed: [parseCidr('100.64.77.0/24')],
    keepaliveSeconds: 0,
    bytesReceived: 0,
    bytesSent: 0,
  };
  const state = await world.host.tunnels.state();
  const left = state.map((device) => ({ ...device, peers: [...device.peers, stranger] }));
  world.own.setAway(true);
  await world.restart(left);
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud', '?'] });
  expect(world.host.tunnels.spec!.routes).toContainEqual({ destination: stranger.allowed[0], device: 'daoli-wg' });
  world.own.setAway(false);
  await world.idle();
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud'] });
});

test('a peer that an earlier agent has left stays for a while, though no container needs it', async () => {
  const cloud = await world.add('cloud', '198.51.100.1');
  const bob = await addContainer(cloud, 'bob', 'red', '10.1.0.3');
  await world.start();
  const left = await world.host.tunnels.state();
  await change(cloud, (context) => deleteEndpoint(context, bob.id));
  await world.restart(left);
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud'] });
});

test('a host with another key is a new peer with the endpoint that was learned from the old one, in one step', async () => {
  const cafe = await world.add('cafe');
  await world.own.commit([update('Host', isRow(world.own.view.host('cafe')!.uuid), { site: 'home', encrypt: true })]);
  await world.own.commit([update('Host', isRow(world.own.view.host('cafe')!.uuid), { address: '192.0.2.9' })]);
  await addContainer(cafe, 'bob', 'red', '10.1.0.3');
  await world.start();
  const before = world.peerOf(cafe)!;
  const learned = endpoint('203.0.113.77');
  world.host.tunnels.seen.set(before.publicKey, { endpoint: learned });
  const { applied } = world;
  await world.tell(cafe, generateTunnelKey().publicKey);
  await world.idle();
  expect(world.applied).toBe(applied + 1);
  expect(world.peers).toEqual({ 'daoli-wg': ['cafe'] });
  expect(world.peerOf(cafe)).toMatchObject({ endpoint: learned, allowed: before.allowed });
});

describe('another key of its own', () => {
  const usedKey = () => world.host.tunnels.spec?.privateKey;
  beforeEach(async () => {
    await addContainer(await world.add('cloud', '198.51.100.1'), 'bob', 'red', '10.1.0.3');
    await world.start();
  });

  test('is on disk before others know it, known before it is used, and used at once', async () => {
    const old = world.keys.current!;
    const seen: unknown[] = [];
    world.own.onTransact = () => void seen.push([usedKey() === old.privateKey, world.keys.next !== undefined]);
    const both = [world.follower.rotate(), world.follower.rotate()];
    await Promise.all(both);
    await world.idle();
    expect(seen).toEqual([[true, true]]);
    expect(world.keys.next).toBeUndefined();
    expect(world.keys.current).not.toEqual(old);
    expect(usedKey()).toBe(world.keys.current!.privateKey);
    expect(world.own.view.tunnel('own')!.key).toBe(world.keys.current!.publicKey);
  });

  test('that the agent has died over: the row says which one is used', async () => {
    const old = world.keys.current!;
    const next = world.keys.prepare();
    await world.restart();
    expect([usedKey(), world.own.view.tunnel('own')!.key]).toEqual([old.privateKey, old.publicKey]);
    await world.tell(world.own, next.publicKey);
    await world.restart();
    expect([usedKey(), world.own.view.tunnel('own')!.key]).toEqual([next.privateKey, next.publicKey]);
    expect(world.keys.next).toBeUndefined();
  });

  test('that the directory refuses: the old one stays', async () => {
    const old = world.keys.current!;
    world.own.onTransact = () => {
      world.own.onTransact = () => undefined;
      throw new DaoliError('conflict', 'no');
    };
    await expect(world.follower.rotate()).rejects.toThrow('no');
    await world.idle();
    expect([usedKey(), world.own.view.tunnel('own')!.key]).toEqual([old.privateKey, old.publicKey]);
    await world.follower.rotate();
    expect(usedKey()).not.toBe(old.privateKey);
  });

  test('a row with a key that this host has not is written anew', async () => {
    await world.tell(world.own, generateTunnelKey().publicKey);
    await world.idle();
    expect(world.own.view.tunnel('own')!.key).toBe(world.keys.current!.publicKey);
  });
});

test('what fails is tried again, and logged once', async () => {
  await addContainer(await world.add('cloud', '198.51.100.1'), 'bob', 'red', '10.1.0.3');
  world.host.fail('tunnels.apply', new Error('no module'));
  await world.start();
  world.host.fail('tunnels.apply', new Error('no module'));
  await world.seconds(1);
  await world.seconds(2);
  expect(world.peers).toEqual({ 'daoli-wg': ['cloud'] });
  expect(world.log).toEqual([
    'tunnels to other hosts cannot be set up',
    'the tunnels to other hosts are as they should be again',
  ]);
});

test('a host that has left its cluster has no devices any more; one that was in none makes no key', async () => {
  world.isInCluster = false;
  await world.start();
  expect([world.keys.current, world.applied]).toEqual([undefined, 0]);
  world.isInCluster = true;
  await addContainer(await world.add('cloud', '198.51.100.1'), 'bob', 'red', '10.1.0.3');
  await world.idle();
  const left = await world.host.tunnels.state();
  expect(left).toHaveLength(1);
  world.isInCluster = false;
  await world.restart(left);
  expect(world.host.tunnels.spec).toMatchObject({ devices: [], routes: [] });
});

test('what was found out of the L2 is told, stays over restarts, and yields to what is said', async () => {
  await world.start();
  expect([world.follower.isL2Missing, world.own.view.tunnel('own')?.noL2]).toEqual([false, false]);
  world.follower.judgeL2(true);
  await world.idle();
  expect(world.own.view.tunnel('own')?.noL2).toBe('detected');
  await world.restart();
  expect([world.follower.isL2Missing, world.own.view.tunnel('own')?.noL2]).toEqual([true, 'detected']);
  world.follower.judgeL2(false);
  await world.idle();
  expect(world.own.view.tunnel('own')?.noL2).toBe(false);
  world.follower.judgeL2(true);
  for (const [said, told] of [
    ['yes', false],
    ['no', 'said'],
  ] as const) {
    world.l2 = said;
    await world.restart();
    expect(world.own.view.tunnel('own')?.noL2).toBe(told);
  }
});
