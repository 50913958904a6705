// What a host may write: everything that an agent does in its life passes as its own, and nothing that is another's.
import { readFileSync } from 'node:fs';
import { parseAddressPort } from '../../src/base/address-port';
import { formatCidr, parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { inspectTransaction } from '../../src/cluster/inspection';
import * as control from '../../src/directory/control-operations';
import * as endpoints from '../../src/directory/endpoint-operations';
import { holdPool } from '../fakes/directory-contract';
import { planVersion } from '../../src/directory/own-host';
import * as networks from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { planOwnHost } from '../../src/directory/own-host';
import { planOwnMaster, planResignation, planSwitch, planTakeover } from '../../src/directory/switch-operations';
import { planTunnel } from '../../src/directory/tunnel-operations';
import { named, type Mutation } from '../../src/ovsdb/notation';
import { insert, isRow, mutate, remove, update, wait } from '../../src/ovsdb/operations';
import { encodeOperation } from '../../src/ovsdb/rows';
import { parseSchema } from '../../src/ovsdb/schema';
import {
  createMemoryDatabase,
  createMemoryDirectory,
  DIRECTORY_SCHEMA_FILE,
  type MemoryDirectory,
} from '../fakes/memory-directory';

const schema = parseSchema(JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')));
const locatorRange = parseCidr('100.64.0.0/10');
const POOL = 'red/10.1.0.0/24' as PoolId;
const GATEWAY = parseIpv4('10.1.0.1');
const NETWORK = 'a'.repeat(64) as NetworkId;
const STRANGE = 'c'.repeat(64) as NetworkId;

let first: MemoryDirectory;
let second: MemoryDirectory;
/** What the server said to each transaction of the second host. */
let verdicts: (string | undefined)[];

beforeEach(() => {
  const database = createMemoryDatabase();
  first = createMemoryDirectory({ host: 'h1', database, address: parseIpv4('192.0.2.1') });
  second = createMemoryDirectory({ host: 'h2', database, address: parseIpv4('192.0.2.2') });
  verdicts = [];
  second.onTransact = (ops) => void verdicts.push(verdictOn(ops, 'h2'));
});

/** What h1, a server, says to operations that a host sends. */
function verdictOn(ops: Ops, host: string): string | undefined {
  const wire = ops.map((operation) => encodeOperation(schema, operation));
  const row = first.view.host(host);
  return inspectTransaction(JSON.parse(JSON.stringify(wire)), {
    ...{ view: first.view, host: row!, locatorRange },
    isLast: true,
  });
}

function run(store: MemoryDirectory, make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

async function makeNetwork(store: MemoryDirectory): Promise<void> {
  await run(store, (c) => networks.insertPool(c, { tenant: 'red', cidr: parseCidr('10.1.0.0/24') }));
  await run(store, (c) => endpoints.insertAddress(c, { poolId: POOL, address: GATEWAY, use: 'gateway' }));
  const network = { id: NETWORK, tenant: 'red', internal: false, gateway: GATEWAY, mtu: 1500, options: {} };
  await run(store, (c) => networks.insertNetwork(c, { ...network, ipam: 'daolinet', poolIds: [POOL] }));
  await run(store, (c) => networks.renameNetwork(c, NETWORK, 'demo'));
}

async function takeUp(store: MemoryDirectory): Promise<void> {
  await run(store, (c) => holdPool(c, c.view.pool(POOL)!));
  await run(store, (c) => endpoints.holdAddress(c, c.view.addressHolder('red', GATEWAY)!));
  await run(store, (c) => networks.insertReplica(c, c.view.network(NETWORK)!, store.host.padEnd(64, '0')));
}

async function addEndpoint(store: MemoryDirectory, n: number): Promise<EndpointId> {
  const [id, address, mac] = [`e${n}` as EndpointId, parseIpv4(`10.1.0.${n}`), parseMac(`02:00:00:00:00:0${n}`)];
  await run(store, (c) => endpoints.insertAddress(c, { poolId: POOL, address, use: 'endpoint', mac }));
  await run(store, (c) => endpoints.reserveAgain(c, c.view.addressHolder('red', address)!, mac));
  await run(store, (c) =>
    endpoints.insertEndpoint(c, { id, networkId: NETWORK, address, mac, interfaceName: `dl${n}` }),
  );
  return id;
}

async function liveAndDie(store: MemoryDirectory): Promise<void> {
  const id = await addEndpoint(store, 5);
  await run(store, (c) =>
    endpoints.updateEndpoint(c, id, { sandbox: '/x', containerId: 'c', containerName: 'web', aliases: ['w'] }),
  );
  const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 80, containerPort: 80 } as const;
  await run(store, (c) => endpoints.publishPorts(c, id, [port]));
  await run(store, (c) => endpoints.publishPorts(c, id, []));
  await run(store, (c) => endpoints.updateEndpoint(c, id, { sandbox: undefined }));
  await run(store, (c) => endpoints.deleteEndpoint(c, id));
  await run(store, (c) => endpoints.releaseAddress(c, POOL, parseIpv4('10.1.0.5')));
}

const keyOf = (letter: string) => `${letter.repeat(42)}A=`;
function tellTunnel(store: MemoryDirectory, letter: string): Promise<void> {
  const endpoint = parseAddressPort('192.0.2.1:1');
  return run(store, (c) => planTunnel(c, { key: keyOf(letter), port: 7471, endpoint, noL2: false }));
}

async function giveBack(store: MemoryDirectory): Promise<void> {
  await run(store, (c) => endpoints.releaseAddress(c, POOL, GATEWAY));
  await run(store, (c) => networks.deleteNetwork(c, NETWORK));
  await run(store, (c) => networks.releasePool(c, POOL));
}

describe('passes', () => {
  test('the life of a network of its own, alone', async () => {
    await makeNetwork(second);
    await liveAndDie(second);
    await giveBack(second);
    expect(verdicts.length).toBeGreaterThan(12);
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    expect([...first.view.networks(), ...first.view.pools()]).toEqual([]);
  });

  test('its own version', async () => {
    await run(second, (c) => planVersion(c, '0.2.0'));
    expect(first.view.host('h2')?.version).toBe('0.2.0');
    await run(second, (c) => planVersion(c, '0.2.0'));
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    // It is shown to people on other hosts.
    await run(second, (c) => planVersion(c, '\u001b[31mred'));
    expect(first.view.host('h2')?.version).toBeUndefined();
  });

  test('its own datapath, and to take over and give back one that it stands by for', async () => {
    await run(second, (c) => planSwitch(c, { generation: 1, backups: [], profile: 'a' }));
    await run(second, (c) => planSwitch(c, { generation: 1, backups: ['h1'], profile: 'b' }));
    await run(second, (c) => planOwnMaster(c, 7));
    await run(first, (c) => planSwitch(c, { generation: 1, backups: ['h2'], profile: '' }));
    await run(second, (c) => planTakeover(c, 'h1', 1));
    expect(first.view.switchOf('h1')).toMatchObject({ generation: 2, master: 'h2' });
    await run(second, (c) => planResignation(c, 'h1'));
    await run(second, (c) => planResignation(c, 'h1'));
    expect(first.view.switchOf('h1')).toMatchObject({ generation: 3, master: undefined });
    expect(first.view.switchOf('h2')).toMatchObject({ generation: 7, master: 'h2', profile: 'b', backups: ['h1'] });
    await expect(run(second, (c) => planTakeover(c, 'h1', 1))).rejects.toMatchObject({ code: 'conflict' });
    await expect(run(second, (c) => planOwnMaster(c, 6))).rejects.toMatchObject({ code: 'conflict' });
    await expect(run(first, (c) => planTakeover(c, 'h1', 3))).rejects.toMatchObject({ code: 'conflict' });
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
  });

  test.each([
    ['and it goes first', [0, 1]],
    ['and it goes last', [1, 0]],
  ])('the life of a network that another host has made, %s', async (_, order) => {
    await makeNetwork(first);
    await takeUp(second);
    await liveAndDie(second);
    for (const which of order) await giveBack([second, first][which]!);
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    expect([...first.view.networks(), ...first.view.pools()]).toEqual([]);
  });

  test('the life of a network of a swarm that it is a manager of', async () => {
    const red = { id: NETWORK, tenant: 'red', internal: false, gateway: GATEWAY, mtu: 1500, options: {} };
    const swarm = { id: 'w'.repeat(25), name: 'demo', configuration: 'demo-config' };
    const newPools = [{ cidr: parseCidr('10.1.0.0/24') }];
    await run(second, (c) => networks.insertNetwork(c, { ...red, ipam: 'daolinet', newPools, swarm }));
    await run(second, (c) => networks.tellProblem(c, NETWORK, 'a name is taken'));
    await run(second, (c) => networks.tellProblem(c, NETWORK, 'another name is taken'));
    expect(first.view.network(NETWORK)?.problems).toEqual(new Map([['h2', 'another name is taken']]));
    await run(second, (c) => networks.tellProblem(c, NETWORK, undefined));
    await run(first, (c) => networks.insertReplica(c, c.view.network(NETWORK)!, 'h1-config'));
    // Without a configuration of its own, too.
    await run(second, (c) => networks.markRemoved(c, NETWORK));
    await run(first, (c) => networks.deleteNetwork(c, NETWORK));
    expect([...first.view.networks(), ...first.view.pools()]).toEqual([]);
    await run(second, (c) => networks.insertNetwork(c, { ...red, ipam: 'daolinet', newPools, swarm }));
    await run(second, (c) => networks.insertReplica(c, c.view.network(NETWORK)!, 'h2-config'));
    await run(second, (c) => endpoints.insertAddress(c, { poolId: POOL, address: GATEWAY, use: 'gateway' }));
    await liveAndDie(second);
    await run(second, (c) => networks.releasePool(c, POOL));
    expect(first.view.pool(POOL)?.holders).toEqual([]);
    await run(second, (c) => networks.markRemoved(c, NETWORK));
    await run(second, (c) => networks.deleteNetwork(c, NETWORK));
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    expect([...first.view.networks(), ...first.view.pools()]).toEqual([]);
  });

  test('its own tunnel, with one key and then with another', async () => {
    await tellTunnel(second, 'a');
    await tellTunnel(second, 'b');
    expect(verdicts).toEqual([undefined, undefined]);
    expect(first.view.tunnel('h2')?.key).toBe(keyOf('b'));
  });

  test('its own address, as it changes', async () => {
    const facts = { locatorRange: parseCidr('100.64.0.0/10'), address: parseIpv4('192.0.2.9') };
    await run(second, (c) => planOwnHost(c, facts, () => 0));
    expect(verdicts).toEqual([undefined]);
    expect(first.view.host('h2')?.address).toBe(facts.address);
  });

  test('what has become of a port of its own', async () => {
    const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 80, from: [] } as const;
    const rule = { ...port, name: 'web', host: 'h2', container: 'container:web', containerPort: 80 };
    await run(first, (c) => control.insertFirewallRule(c, rule));
    await run(second, (c) => control.tellFirewallStatus(c, 'web', 'open'));
    expect(verdicts).toEqual([undefined]);
  });

  test('more endpoints than a block has locators, and then one block alone', async () => {
    await makeNetwork(second);
    const cidr = parseCidr('10.9.0.0/16');
    const network = {
      id: 'b'.repeat(64) as NetworkId,
      tenant: 'blue',
      internal: false,
      gateway: undefined,
      mtu: 1500,
      options: {},
    };
    await run(second, (c) => networks.insertNetwork(c, { ...network, ipam: 'docker', newPools: [{ cidr }] }));
    for (let n = 2; n < 300; n += 1) {
      const address = (cidr.base + n) as typeof GATEWAY;
      const endpoint = {
        id: `e${n}` as EndpointId,
        networkId: network.id,
        address,
        mac: (0x020000000000 + n) as never,
      };
      await run(second, (c) => endpoints.insertEndpoint(c, { ...endpoint, interfaceName: `dl${n}` }));
    }
    expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    expect(first.view.host('h2')?.locatorBlocks.length).toBe(2);
    const another = networks.insertLocatorBlock(first.view.host('h2')!, parseCidr('100.64.9.0/24'));
    expect(verdictOn(another, 'h2')).toContain('when those that it has are full');
  });
});

describe('is refused', () => {
  let theirs: {
    endpoint: string;
    address: string;
    pool: string;
    network: string;
    host: string;
    own: string;
    tenant: string;
    replica: string;
    /** Reserved by h1, for no endpoint yet. */
    reserved: string;
    port: string;
    block: string;
    ownEndpoint: string;
    /** Of a network that is only on h1. */
    strangePool: string;
    strangeNetwork: string;
    tunnel: string;
    ownTunnel: string;
    /** The datapaths of h1, which h2 does not stand by for, of h2, and of h3, which it does, with h4. All of generation 1. */
    switch: string;
    ownSwitch: string;
    backed: string;
    /** What people have decided, on servers. */
    group: string;
    pair: string;
    policy: string;
    /** A port of h1, and one of h2. */
    rule: string;
    /** A host that waits to be let in. */
    waiting: string;
    ownRule: string;
  };
  /** A tunnel with which nothing is wrong but whose it is. */
  const tunnel = { key: keyOf('z'), port: 7471, no_l2: false };
  const decided = async () => {
    const any = { from: 'network:demo', to: 'network:demo', protocol: undefined, ports: [] };
    const anywhere = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 90, from: [] } as const;
    const lead = { ...anywhere, container: 'container:web', containerPort: 80 };
    await run(first, (c) => control.insertGroup(c, 'g'));
    await run(first, (c) => control.setPair(c, 'container:a', 'container:b', false));
    await run(first, (c) => control.insertPolicy(c, { name: 'p', action: 'deny', ...any }, undefined));
    for (const host of ['h1', 'h2']) {
      await run(first, (c) => control.insertFirewallRule(c, { ...lead, name: `port-of-${host}`, host }));
    }
    const { view } = first;
    const [rule, ownRule] = ['h1', 'h2'].map(
      (host) => [...view.firewallRules()].find((row) => row.host === host)!.uuid,
    );
    const request = { token: 't'.repeat(64), digest: 'd'.repeat(64), name: 'h3', since: 0 };
    const rest = { address: '192.0.2.3', from: '192.0.2.3', site: '', is_hub: false };
    await run(first, () => [insert('JoinRequest', { ...request, ...rest })]);
    const [waiting] = [...view.joinRequests()];
    const [pair] = [...view.pairs()];
    return {
      group: view.group('g')!.uuid,
      pair: pair!.uuid,
      policy: view.policies()[0]!.uuid,
      rule: rule!,
      ownRule: ownRule!,
      waiting: waiting!.uuid,
    };
  };
  const tellSwitches = async () => {
    const [third] = ['h3', 'h4'].map((host) => createMemoryDirectory({ host, database: first.database }));
    await run(first, (c) => planSwitch(c, { generation: 1, backups: ['h3'], profile: '' }));
    await run(second, (c) => planSwitch(c, { generation: 1, backups: ['h1'], profile: '' }));
    await run(third!, (c) => planSwitch(c, { generation: 1, backups: ['h2', 'h4'], profile: '' }));
  };
  beforeEach(async () => {
    await makeNetwork(first);
    await takeUp(second);
    await tellTunnel(first, 'a');
    await tellTunnel(second, 'b');
    await tellSwitches();
    await addEndpoint(first, 5);
    await addEndpoint(second, 6);
    const reserved = parseIpv4('10.1.0.7');
    await run(first, (c) => endpoints.insertAddress(c, { poolId: POOL, address: reserved, use: 'endpoint' }));
    const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 80, containerPort: 80 } as const;
    await run(first, (c) => endpoints.publishPorts(c, 'e5' as EndpointId, [port]));
    const strange = { id: STRANGE, tenant: 'blue', internal: false, gateway: undefined, mtu: 1500, options: {} };
    const newPools = [{ cidr: parseCidr('10.1.0.0/24') }];
    await run(first, (c) => networks.insertNetwork(c, { ...strange, ipam: 'docker', newPools }));
    const { view } = first;
    theirs = {
      endpoint: view.endpoint('e5' as EndpointId)!.uuid,
      address: view.addressHolder('red', parseIpv4('10.1.0.5'))!.uuid,
      pool: view.pool(POOL)!.uuid,
      network: view.network(NETWORK)!.uuid,
      host: view.host('h1')!.uuid,
      own: view.host('h2')!.uuid,
      tenant: view.tenant('red')!.uuid,
      replica: view.replicaOn('h1', NETWORK)!.uuid,
      reserved: view.addressHolder('red', reserved)!.uuid,
      port: view.endpoint('e5' as EndpointId)!.publishedPorts[0]!.uuid,
      block: view.host('h1')!.locatorBlocks[0]!.uuid,
      ownEndpoint: view.endpoint('e6' as EndpointId)!.uuid,
      strangePool: view.pool('blue/10.1.0.0/24' as PoolId)!.uuid,
      strangeNetwork: view.network(STRANGE)!.uuid,
      ...(await decided()),
      tunnel: view.tunnel('h1')!.uuid,
      ownTunnel: view.tunnel('h2')!.uuid,
      switch: view.switchOf('h1')!.uuid,
      ownSwitch: view.switchOf('h2')!.uuid,
      backed: view.switchOf('h3')!.uuid,
    };
  });

  const u = (key: keyof typeof theirs) => theirs[key] as never;
  interface Step {
    readonly from?: number;
    readonly to?: number;
    readonly master?: keyof typeof theirs;
  }
  /** As who stands by does it, but for what is given. */
  const takeOver = (row: keyof typeof theirs, { from = 1, to = 2, master = 'own' }: Step = {}) => [
    wait('Switch', isRow(u(row)), [{ generation: from }]),
    update('Switch', isRow(u(row)), { generation: to, master: u(master) }),
  ];
  const next = () => takeOver('backed')[1]!;
  const nobody = () => update('Switch', isRow(u('backed')), { generation: 2, master: undefined });
  const block = formatCidr(parseCidr('100.64.0.0/24')); // h1's
  /** An endpoint of h2 that nothing is wrong with but its address. */
  const goodEndpoint = () => {
    return { id: 'x', host: u('own'), locator: '100.64.1.99', network: u('network'), mac: '02:00:00:00:00:99' };
  };
  const endpointWith = (address: unknown, rest: object = {}) =>
    insert('Endpoint', { ...goodEndpoint(), address, ...rest } as never);
  const newEndpoint = (rest: object) => [newAddress('pool'), endpointWith(named('address'), rest)];
  const newAddress = (pool: keyof typeof theirs, address = '10.1.0.9') =>
    insert('Address', { tenant: u('tenant'), pool: u(pool), address, holders: [u('own')] }, { uuidName: 'address' });

  const ownTunnel = (row: { key?: string; endpoint?: string }) => update('Tunnel', isRow(u('ownTunnel')), row);
  const newBlock = (cidr: string): Ops => [
    insert('LocatorBlock', { cidr }, { uuidName: 'block' }),
    mutate('Host', isRow(u('own')), [['locator_blocks', 'insert', [named('block')]]]),
  ];
  const holdOf = (host: keyof typeof theirs): Mutation => ['holders', 'insert', [u(host)]];
  const ports = (port: keyof typeof theirs) => ({ published_ports: [u(port)] });

  test('and an endpoint with which nothing is wrong is not', () => {
    expect(verdictOn(newEndpoint({}), 'h2')).toBeUndefined();
  });

  test.each<[string, () => Ops]>([
    ['the end of another’s endpoint', () => [remove('Endpoint', isRow(u('endpoint')))]],
    ['a change of another’s endpoint', () => [update('Endpoint', isRow(u('endpoint')), { sandbox: undefined })]],
    ['an endpoint for another host', () => newEndpoint({ host: theirs.host })],
    ['an endpoint with a locator of another host', () => newEndpoint({ locator: '100.64.0.9' })],
    ['a locator of its own endpoint', () => [update('Endpoint', isRow(u('ownEndpoint')), { locator: '100.64.1.7' })]],
    ['an address that another holds', () => [remove('Address', isRow(u('address')))]],
    ['a change of it', () => [update('Address', isRow(u('address')), { since: 1 })]],
    ['all addresses of a pool that others have', () => [remove('Address', [['pool', '==', theirs.pool]])]],
    ['a pool that others have', () => [remove('Pool', isRow(u('pool')))]],
    ['an endpoint with an address that another holds', () => [endpointWith(u('reserved'))]],
    [
      'an endpoint with the address of another network',
      () => [endpointWith(u('address'), { network: theirs.strangeNetwork })],
    ],
    ['such an address that is new', () => newEndpoint({ network: theirs.strangeNetwork })],
    ['an endpoint without an address', () => [endpointWith(named('other'))]],
    ['an address in a pool of another tenant', () => [newAddress('strangePool')]],
    ['an address outside of its pool', () => [newAddress('pool', '10.2.0.9')]],
    ['a hold of an address that another has', () => [mutate('Address', isRow(u('reserved')), [holdOf('own')])]],
    ['no holders instead of others', () => [update('Address', isRow(u('reserved')), { holders: [] })]],
    ['itself instead of others', () => [update('Pool', isRow(u('strangePool')), { holders: [theirs.own] })]],
    ['a pool of a network that is there', () => [insert('Pool', { id: 'x', network: u('strangeNetwork') })]],
    ['another network for a pool', () => [update('Pool', isRow(u('pool')), { network: u('strangeNetwork') })]],
    ['a new network for a pool of one', () => [update('Pool', isRow(u('pool')), { network: named('network') })]],
    ['a name of a network that another made', () => [update('Network', isRow(u('network')), { name: 'mine' })]],
    ['a name of one that it has not', () => [update('Network', isRow(u('strangeNetwork')), { name: 'mine' })]],
    ['the removal of one that it has not', () => [update('Network', isRow(u('strangeNetwork')), { removed: true })]],
    [
      'a problem of another',
      () => [mutate('Network', isRow(u('strangeNetwork')), [['problems', 'insert', { h1: 'none' }]])],
    ],
    ['no problem of another', () => [mutate('Network', isRow(u('network')), [['problems', 'delete', ['h1']]])]],
    ['no problems at all', () => [update('Network', isRow(u('network')), { problems: {} })]],
    [
      'its problem and a name',
      () => [
        update('Network', isRow(u('strangeNetwork')), { name: 'mine' }),
        mutate('Network', isRow(u('strangeNetwork')), [['problems', 'insert', { h2: 'none' }]]),
      ],
    ],
    ['a published port of another’s endpoint', () => [update('Endpoint', isRow(u('ownEndpoint')), ports('port'))]],
    [
      'a block of another as its own',
      () => [mutate('Host', isRow(u('own')), [['locator_blocks', 'insert', [u('block')]]])],
    ],
    ['other blocks instead of its own', () => [update('Host', isRow(u('own')), { locator_blocks: [u('block')] })]],
    ['another as a holder', () => [mutate('Pool', isRow(u('pool')), [['holders', 'delete', [theirs.host]]])]],
    ['an address for another', () => [insert('Address', { holders: [theirs.host] })]],
    ['a network that others have', () => [remove('Network', isRow(u('network')))]],
    ['what a network is', () => [update('Network', isRow(u('network')), { internal: true })]],
    ['another’s network replica', () => [remove('NetworkReplica', isRow(u('replica')))]],
    ['a replica for another', () => [insert('NetworkReplica', { host: theirs.host, docker_id: 'x' })]],
    ['a published port of another', () => [insert('PublishedPort', { host: theirs.host })]],
    ['another host’s row', () => [update('Host', isRow(u('host')), { router_mac: '02:00:00:00:00:01' })]],
    ['its own site', () => [update('Host', isRow(u('own')), { site: 'home' })]],
    ['itself as a hub', () => [update('Host', isRow(u('own')), { is_hub: true })]],
    ['that it does not encrypt', () => [update('Host', isRow(u('own')), { encrypt: false })]],
    ['the address of another as its own', () => [update('Host', isRow(u('own')), { address: '192.0.2.1' })]],
    ['the same, spelt otherwise', () => [update('Host', isRow(u('own')), { address: '192.0.2.01' })]],
    ['an address that is none', () => [update('Host', isRow(u('own')), { address: 'x' })]],
    ['no address', () => [mutate('Host', isRow(u('own')), [['address', 'delete', ['192.0.2.2']]])]],
    ['loopback as its own', () => [update('Host', isRow(u('own')), { address: '127.0.0.1' })]],
    ['everybody’s as its own', () => [update('Host', isRow(u('own')), { address: '255.255.255.255' })]],
    ['a locator as its own', () => [update('Host', isRow(u('own')), { address: '100.64.9.9' })]],
    ['the address of another host', () => [update('Host', isRow(u('host')), { address: '192.0.2.9' })]],
    ['itself as a server', () => [update('Host', isRow(u('own')), { is_server: true })]],
    ['a tunnel of another', () => [insert('Tunnel', { ...tunnel, host: u('host') })]],
    ['a tunnel of nobody', () => [insert('Tunnel', tunnel)]],
    ['the key of another’s tunnel', () => [update('Tunnel', isRow(u('tunnel')), { key: tunnel.key })]],
    ['the endpoint of another’s tunnel', () => [update('Tunnel', isRow(u('tunnel')), { endpoint: '192.0.2.9:1' })]],
    ['no endpoint of it', () => [mutate('Tunnel', isRow(u('tunnel')), [['endpoint', 'delete', ['192.0.2.1:1']]])]],
    ['the end of another’s tunnel', () => [remove('Tunnel', isRow(u('tunnel')))]],
    ['its own tunnel as another’s', () => [update('Tunnel', isRow(u('ownTunnel')), { host: u('host') })]],
    ['the end of its own tunnel', () => [remove('Tunnel', isRow(u('ownTunnel')))]],
    ['all tunnels', () => [update('Tunnel', [], { port: 1 })]],
    ['a datapath of another', () => [insert('Switch', { host: u('host'), generation: 1, profile: '' })]],
    ['the end of its own datapath', () => [remove('Switch', isRow(u('ownSwitch')))]],
    ['the end of one that it stands by for', () => [remove('Switch', isRow(u('backed')))]],
    ['itself as a backup', () => [mutate('Switch', isRow(u('switch')), [['backups', 'insert', [u('own')]]])]],
    ['itself as master of any datapath', () => takeOver('switch')],
    ['another as master', () => takeOver('backed', { master: 'host' })],
    ['nobody as master, where it is another', () => [takeOver('backed')[0]!, nobody()]],
    ['a generation too far', () => takeOver('backed', { to: 3 })],
    ['a generation too far, said twice', () => [...takeOver('backed'), ...takeOver('backed', { from: 2, to: 4 })]],
    ['a generation again', () => takeOver('backed', { to: 1 })],
    ['a generation without looking', () => takeOver('backed').slice(1)],
    ['a generation of another row', () => [takeOver('switch')[0]!, takeOver('backed')[1]!]],
    ['a generation of another column', () => [{ ...takeOver('backed')[0]!, columns: ['profile'] } as never, next()]],
    ['a generation that is not that', () => [{ ...takeOver('backed')[0]!, until: '!=' } as never, next()]],
    ['one more', () => [takeOver('backed')[0]!, mutate('Switch', isRow(u('backed')), [['generation', '+=', 1]])]],
    ['what one that it stands by for is', () => [update('Switch', isRow(u('backed')), { profile: 'x' })]],
    ['its backups', () => [update('Switch', isRow(u('backed')), { backups: [u('own')] })]],
    ['its own generation falling', () => takeOver('ownSwitch', { from: 2, to: 1 })],
    ['its own generation without looking', () => takeOver('ownSwitch').slice(1)],
    ['its own datapath as another’s', () => [update('Switch', isRow(u('ownSwitch')), { host: u('host') })]],
    ['a group', () => [insert('Group', { name: 'mine' })]],
    ['a network in a group', () => [mutate('Group', isRow(u('group')), [['networks', 'insert', [u('network')]]])]],
    ['the end of a group', () => [remove('Group', isRow(u('group')))]],
    ['a pair', () => [insert('Pair', { a: 'container:a', b: 'container:b', connected: true })]],
    ['that a pair is connected', () => [update('Pair', isRow(u('pair')), { connected: true })]],
    ['the end of a pair', () => [remove('Pair', isRow(u('pair')))]],
    ['a policy', () => [insert('Policy', { name: 'mine', position: 1, action: 'allow', from: 'any', to: 'any' })]],
    ['the position of a policy', () => [update('Policy', isRow(u('policy')), { position: 7 })]],
    ['the end of a policy', () => [remove('Policy', isRow(u('policy')))]],
    ['a port of its own', () => [insert('FirewallRule', { name: 'mine', host: u('own'), host_port: 81 })]],
    ['the end of its own port', () => [remove('FirewallRule', isRow(u('ownRule')))]],
    ['who may come to its own port', () => [update('FirewallRule', isRow(u('ownRule')), { from: [] })]],
    ['its own port with its status', () => [update('FirewallRule', isRow(u('ownRule')), { status: 'open', from: [] })]],
    ['the status of another’s port', () => [update('FirewallRule', isRow(u('rule')), { status: 'open' })]],
    ['what its network denies', () => [update('Network', isRow(u('network')), { default_deny: false })]],
    ['its own certificates', () => [update('Host', isRow(u('own')), { certificates: [] })]],
    ['its own MAC', () => [update('Host', isRow(u('own')), { router_mac: '02:00:00:00:00:01' })]],
    ['a host', () => [insert('Host', { name: 'h3' })]],
    ['the end of a host', () => [remove('Host', isRow(u('host')))]],
    ['a token', () => [insert('JoinToken', { hash: 'x' })]],
    ['a request to come in', () => [insert('JoinRequest', { name: 'h3' })]],
    ['a yes to one', () => [update('JoinRequest', isRow(u('waiting')), { verdict: 'approved' })]],
    ['the end of a tenant', () => [remove('Tenant', isRow(u('tenant')))]],
    ['all rows of a table', () => [remove('Endpoint', [])]],
    ['rows by another column', () => [remove('Endpoint', [['id', '==', 'e5']])]],
    ['rows that are not it', () => [remove('Endpoint', [['_uuid', '!=', u('own')]])]],
    ['a block of another host', () => [insert('LocatorBlock', { cidr: block })]],
    ['a part of such a block', () => [insert('LocatorBlock', { cidr: '100.64.0.128/25' })]],
    ['a block that is all', () => [insert('LocatorBlock', { cidr: '100.64.0.0/10' })]],
    ['a block outside of the range', () => [insert('LocatorBlock', { cidr: '10.0.0.0/24' })]],
    ['a block of nobody', () => [insert('LocatorBlock', { cidr: '100.64.9.0/24' }, { uuidName: 'block' })]],
    ['a block while its own have room', () => newBlock('100.64.9.0/24')],
    [
      'an endpoint with a locator of a block of nobody',
      () => [insert('LocatorBlock', { cidr: '100.64.9.0/24' }), ...newEndpoint({ locator: '100.64.9.9' })],
    ],
    ['an endpoint with what is no MAC address', () => newEndpoint({ mac: 'x'.repeat(17) })],
    ...['x'.repeat(44), 'a'].map((key): [string, () => Ops] => [`"${key}" as a key`, () => [ownTunnel({ key })]]),
    ['a tunnel that is changed by a sum', () => [mutate('Tunnel', isRow(u('ownTunnel')), [['port', '+=', 1]])]],
    ...['nowhere', '0.0.0.0:1', '127.0.0.1:53', '224.0.0.1:1', '255.255.255.255:9', '100.64.1.1:7471'].map(
      (endpoint): [string, () => Ops] => [`${endpoint} as its endpoint`, () => [ownTunnel({ endpoint })]],
    ),
    [
      'something harmless and something else',
      () => [insert('Tenant', { name: 'x' }), remove('Endpoint', isRow(u('endpoint')))],
    ],
  ])('%s', (_, ops) => {
    expect(verdictOn(ops(), 'h2')).toEqual(expect.any(String));
  });

  test.each([
    [[null]],
    [['x']],
    [[{}]],
    [[{ op: 'destroy' }]],
    [[{ op: 'delete', table: 'Endpoint' }]],
    [[{ op: 'insert', table: '__proto__', row: {} }]],
    [[{ op: 'update', table: 'Host', where: [['_uuid', '==', ['uuid', 1]]], row: {} }]],
  ])('what is no operation: %j', (operations) => {
    const inspection = { view: first.view, host: first.view.host('h2')!, locatorRange, isLast: true };
    expect(inspectTransaction(operations, inspection)).toEqual(expect.any(String));
  });

  test.each(['Endpoint', 'NetworkReplica', 'Address', 'Pool', 'Network'] as const)(
    'a uuid that is spelt as the view does not know it, of another’s %s',
    (table) => {
      const key = { Endpoint: 'endpoint', NetworkReplica: 'replica', Address: 'address' } as const;
      const uuid = table === 'Pool' ? theirs.pool : table === 'Network' ? theirs.network : theirs[key[table]];
      const columns = table === 'Address' ? ['_uuid', 'pool'] : ['_uuid'];
      for (const column of columns) {
        const where = [[column, '==', ['uuid', (column === 'pool' ? theirs.pool : uuid).toUpperCase()]]];
        const inspection = { view: first.view, host: first.view.host('h2')!, locatorRange, isLast: true };
        const said = inspectTransaction([{ op: 'delete', table, where }], inspection);
        expect(said).toBe('a uuid is written in lower case');
      }
    },
  );

  test('the end of a network that no host has yet, as a swarm’s in its first moment, and of its pool', async () => {
    const { uuid: network } = first.view.network(STRANGE)!;
    const [replica] = first.view.replicasOf(STRANGE);
    await run(first, () => [remove('NetworkReplica', isRow(replica!.uuid))]);
    const [pool] = first.view.poolsOfNetwork(STRANGE);
    expect(verdictOn([remove('Network', isRow(network))], 'h2')).toBe('that Network is not this host’s alone');
    expect(verdictOn([remove('Pool', isRow(pool!.uuid))], 'h2')).toBe('that Pool is another host’s, too');
  });

  test('a row that is not there yet, as long as it may come', () => {
    const where = [['_uuid', '==', ['uuid', '00000000-0000-4000-8000-000000000000']]];
    const verdicts = ['Endpoint', 'NetworkReplica', 'Address', 'Pool', 'Network'].map((table) =>
      [false, true].map((isLast) => {
        const inspection = { view: first.view, host: first.view.host('h2')!, locatorRange, isLast };
        return inspectTransaction([{ op: 'delete', table, where }], inspection);
      }),
    );
    for (const verdict of verdicts) expect(verdict).toEqual(['that row is not there (yet)', undefined]);
  });

  test('more operations than anybody needs, at once', () => {
    const inspection = { view: first.view, host: first.view.host('h2')!, locatorRange, isLast: true };
    const operations = Array.from({ length: 2_001 }, () => ({ op: 'insert', table: 'Tenant', row: { name: 'x' } }));
    expect(inspectTransaction(operations, inspection)).toContain('at most 2000 operations');
    expect(inspectTransaction(operations.slice(1), inspection)).toBeUndefined();
  });
});
