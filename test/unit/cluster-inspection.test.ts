// What a host may write: everything that an agent does in its life passes as its own, and nothing that is another's.
import { readFileSync } from 'node:fs';
import { formatCidr, parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { inspectTransaction } from '../../src/cluster/inspection';
import * as endpoints from '../../src/directory/endpoint-operations';
import { holdPool } from '../fakes/directory-contract';
import * as networks from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { named, type Mutation } from '../../src/ovsdb/notation';
import { insert, isRow, mutate, remove, update } from '../../src/ovsdb/operations';
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
  first = createMemoryDirectory({ host: 'h1', database });
  second = createMemoryDirectory({ host: 'h2', database });
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

  test('more endpoints than a block has locators', async () => {
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
  };
  beforeEach(async () => {
    await makeNetwork(first);
    await takeUp(second);
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
    };
  });

  const u = (key: keyof typeof theirs) => theirs[key] as never;
  const block = formatCidr(parseCidr('100.64.0.0/24')); // h1's
  /** An endpoint of h2 that nothing is wrong with but its address. */
  const goodEndpoint = () => ({ id: 'x', host: u('own'), locator: '100.64.1.99', network: u('network') });
  const endpointWith = (address: unknown, rest: object = {}) =>
    insert('Endpoint', { ...goodEndpoint(), address, ...rest } as never);
  const newEndpoint = (rest: object) => [newAddress('pool'), endpointWith(named('address'), rest)];
  const newAddress = (pool: keyof typeof theirs, address = '10.1.0.9') =>
    insert('Address', { tenant: u('tenant'), pool: u(pool), address, holders: [u('own')] }, { uuidName: 'address' });

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
    ['its own certificates', () => [update('Host', isRow(u('own')), { certificates: [] })]],
    ['its own MAC', () => [update('Host', isRow(u('own')), { router_mac: '02:00:00:00:00:01' })]],
    ['a host', () => [insert('Host', { name: 'h3' })]],
    ['the end of a host', () => [remove('Host', isRow(u('host')))]],
    ['a token', () => [insert('JoinToken', { hash: 'x' })]],
    ['the end of a tenant', () => [remove('Tenant', isRow(u('tenant')))]],
    ['all rows of a table', () => [remove('Endpoint', [])]],
    ['rows by another column', () => [remove('Endpoint', [['id', '==', 'e5']])]],
    ['rows that are not it', () => [remove('Endpoint', [['_uuid', '!=', u('own')]])]],
    ['a block of another host', () => [insert('LocatorBlock', { cidr: block })]],
    ['a part of such a block', () => [insert('LocatorBlock', { cidr: '100.64.0.128/25' })]],
    ['a block that is all', () => [insert('LocatorBlock', { cidr: '100.64.0.0/10' })]],
    ['a block outside of the range', () => [insert('LocatorBlock', { cidr: '10.0.0.0/24' })]],
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
