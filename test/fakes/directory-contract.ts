// What a directory does, over the real database and over the one in memory: run against both, so that tests with the
// fake mean something.

import { parseCidr, parseIpv4, parseMac, type Cidr } from '../../src/base/addresses';
import * as endpoints from '../../src/directory/endpoint-operations';
import * as networks from '../../src/directory/operations';
import type { EndpointId, NetworkId, NetworkRow, PoolId, PoolRow } from '../../src/directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../../src/directory/store';
import { addressState } from '../../src/directory/view';
import { isRow, mutate } from '../../src/ovsdb/operations';

/** One database and the hosts that join it. */
export interface TestCluster {
  /** A directory that is ready. Locators are from 100.64.0.0/10 if no range is given. */
  join(host: string, locatorRange?: Cidr): Promise<DirectoryStore>;
  /** The rows of a table, as the database itself counts them. */
  rowCount(table: string): Promise<number>;
  close(): Promise<void>;
}

export const NETWORK = 'n'.repeat(64) as NetworkId;
export const ENDPOINT = 'e'.repeat(64) as EndpointId;
export const MAC = parseMac('02:42:0a:01:00:05');
export const ADDRESS = parseIpv4('10.1.0.5');
export const GATEWAY = parseIpv4('10.1.0.1');
export const POOL = 'red/10.1.0.0/24' as PoolId;
const TABLES = [
  'LocatorBlock',
  'Host',
  'Tenant',
  'Network',
  'NetworkReplica',
  'Pool',
  'Address',
  'Endpoint',
  'PublishedPort',
];

export const network = {
  id: NETWORK,
  tenant: 'red',
  internal: false,
  gateway: GATEWAY,
  mtu: 1500,
  options: { a: 'b' },
};
export const endpoint = { id: ENDPOINT, networkId: NETWORK, address: ADDRESS, mac: MAC, interfaceName: 'dn1' };
const pool = { tenant: 'red', cidr: parseCidr('10.1.0.0/24') };
const ownPools = { ipam: 'docker', newPools: [{ cidr: parseCidr('10.1.0.0/16') }] } as const;

/** Writes what a function of the operations files plans. */
export function run(store: DirectoryStore, make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

/** Another host's view follows a moment later. Throws after two seconds, saying what is not so. */
async function seen(what: string, isSo: () => boolean): Promise<void> {
  for (let tries = 0; !isSo(); tries += 1) {
    if (tries === 400) throw new Error(`after two seconds it is not so that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Another host's Docker has a pool, too. */
export function holdPool({ view, host }: PlanContext, { uuid }: PoolRow): Ops {
  return [mutate('Pool', isRow(uuid), [['holders', 'insert', [view.host(host)!.uuid]]])];
}

/** A network on our IPAM with one reserved address. */
export async function addNetwork(store: DirectoryStore): Promise<void> {
  await run(store, (c) => networks.insertPool(c, pool));
  await run(store, (c) => endpoints.insertAddress(c, { poolId: POOL, address: GATEWAY, use: 'gateway' }));
  await run(store, (c) => networks.insertNetwork(c, { ...network, ipam: 'daolinet', poolIds: [POOL] }));
  await run(store, (c) => endpoints.insertAddress(c, { poolId: POOL, address: ADDRESS, use: 'endpoint', mac: MAC }));
}

/** The n-th endpoint: id "e<n>", address ADDRESS + n, MAC address n. */
function addNth(store: DirectoryStore, n: number): Promise<void> {
  const address = (ADDRESS + n) as typeof ADDRESS;
  const nth = { ...endpoint, id: `e${n}` as EndpointId, address, mac: n as typeof MAC };
  return run(store, (c) => endpoints.insertEndpoint(c, nth));
}

export function directoryContract(open: () => Promise<TestCluster>): void {
  let cluster: TestCluster;
  let store: DirectoryStore;
  beforeEach(async () => {
    cluster = await open();
    store = await cluster.join('host1');
  });
  afterEach(() => cluster.close());

  const withEndpoint = async () => {
    await addNetwork(store);
    await run(store, (c) => endpoints.insertEndpoint(c, endpoint));
  };
  const addressStateNow = () => {
    const row = store.view.addressHolder('red', ADDRESS);
    return row && addressState(store.view, row);
  };
  const counts = () => Promise.all(TABLES.map((table) => cluster.rowCount(table)));
  const onlyHosts = [1, 1, 0, 0, 0, 0, 0, 0, 0];

  describe('the life of a network', () => {
    test('everything is there as typed rows when a transaction resolves', async () => {
      await withEndpoint();
      const { view } = store;
      expect(view.network(NETWORK)).toMatchObject({ ...network, key: 1, ipam: 'daolinet', name: undefined });
      expect(view.networkByKey(1)?.id).toBe(NETWORK);
      expect(view.tenant('red')).toMatchObject({ number: 1 });
      expect([...view.poolsOfNetwork(NETWORK)]).toMatchObject([{ id: POOL, networkId: NETWORK, holders: ['host1'] }]);
      const place = { tenant: 'red', prefix: 24, poolId: POOL, host: 'host1', locator: parseIpv4('100.64.0.2') };
      const row = view.endpoint(ENDPOINT);
      expect(row).toMatchObject({ ...endpoint, ...place, portNo: 1, sandbox: undefined, aliases: [] });
      expect(view.endpointAt('red', ADDRESS)).toBe(row);
      expect(view.endpointByLocator(parseIpv4('100.64.0.2'))).toBe(row);
      expect(view.endpointByPort('host1', 1)).toBe(row);
      expect([...view.endpointsOf(NETWORK)]).toEqual([row]);
      expect([...view.endpointsOn('host1')]).toEqual([row]);
      expect(await counts()).toEqual([1, 1, 1, 1, 1, 1, 2, 1, 0]);
    });

    test("Docker's order of removal leaves nothing, not even the tenant", async () => {
      await withEndpoint();
      await run(store, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
      expect(addressStateNow()).toBe('reserved');
      await run(store, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
      expect(addressStateNow()).toBeUndefined();
      await run(store, (c) => endpoints.releaseAddress(c, POOL, GATEWAY));
      await run(store, (c) => networks.releasePool(c, POOL));
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      expect(await counts()).toEqual(onlyHosts);
    });

    test('ReleaseAddress before DeleteEndpoint keeps the address until the endpoint is gone', async () => {
      await withEndpoint();
      await run(store, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
      expect(addressStateNow()).toBe('bound');
      await run(store, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
      expect(addressStateNow()).toBeUndefined();
    });

    test('ReleasePool with an endpoint left keeps the pool until the network is gone', async () => {
      await withEndpoint();
      await run(store, (c) => networks.releasePool(c, POOL));
      expect(store.view.pool(POOL)?.holders).toEqual([]);
      await expect(run(store, (c) => networks.deleteNetwork(c, NETWORK))).rejects.toThrow('still has endpoints');
      await run(store, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      expect(await counts()).toEqual(onlyHosts);
    });

    test("a network on Docker's own IPAM brings its pools and addresses, and takes them along", async () => {
      await run(store, (c) => networks.insertNetwork(c, { ...network, ...ownPools }));
      await run(store, (c) => endpoints.insertEndpoint(c, endpoint));
      expect(addressStateNow()).toBe('bound');
      await run(store, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
      expect(addressStateNow()).toBeUndefined();
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      expect(await counts()).toEqual(onlyHosts);
    });

    test('every call a second time changes nothing', async () => {
      await withEndpoint();
      const changes = { sandbox: '/run/netns/1', aliases: ['a', 'b'] };
      await run(store, (c) => endpoints.updateEndpoint(c, ENDPOINT, changes));
      expect(store.view.endpoint(ENDPOINT)?.sandbox).toBe('/run/netns/1');
      let written = 0;
      const end = store.onChange(() => (written += 1));
      const row = store.view.addressHolder('red', ADDRESS);
      await run(store, (c) => endpoints.updateEndpoint(c, ENDPOINT, { ...changes, aliases: ['b', 'a'] }));
      await run(store, (c) => endpoints.holdAddress(c, row as NonNullable<typeof row>));
      await run(store, (c) => endpoints.releaseAddress(c, POOL, parseIpv4('10.1.0.77')));
      await run(store, (c) => networks.releasePool(c, 'red/10.9.0.0/24' as PoolId));
      await run(store, (c) => networks.deleteNetwork(c, 'other' as NetworkId));
      await run(store, (c) => endpoints.deleteEndpoint(c, 'other' as EndpointId));
      expect(written).toBe(0);
      await run(store, (c) => endpoints.updateEndpoint(c, ENDPOINT, { sandbox: undefined }));
      expect(store.view.endpoint(ENDPOINT)?.sandbox).toBeUndefined();
      await run(store, (c) => endpoints.updateEndpoint(c, ENDPOINT, { aliases: ['c', 'b'] }));
      expect([...(store.view.endpoint(ENDPOINT)?.aliases ?? [])].sort()).toEqual(['b', 'c']);
      end();
    });
  });

  describe('a network on several hosts', () => {
    const dockerId = 'b'.repeat(64);
    let other: DirectoryStore;
    const replicate = (id = dockerId) =>
      run(other, (c) => networks.insertReplica(c, c.view.network(NETWORK) as NonNullable<NetworkRow>, id));
    const isGone = () => [store, other].every(({ view }) => [...view.networks()].length === 0);
    beforeEach(async () => {
      other = await cluster.join('host2');
      await addNetwork(store);
      await seen('host2 sees the network', () => other.view.network(NETWORK) !== undefined);
      await replicate();
    });

    test('is found by the id that either Docker has for it', async () => {
      for (const id of [NETWORK, dockerId]) expect(other.view.networkOfDocker(id)?.id).toBe(NETWORK);
      expect(other.view.networkOfDocker('other')).toBeUndefined();
      expect([...other.view.replicasOf(NETWORK)].map(({ host }) => host).sort()).toEqual(['host1', 'host2']);
      await replicate();
      await expect(replicate('c'.repeat(64))).rejects.toThrow('network nnnnnnnnnnnn is on host host2 already');
    });

    test('goes when the last host has given it back; a pool that one host gives back stays for the other', async () => {
      await run(other, (c) => holdPool(c, c.view.pool(POOL) as NonNullable<PoolRow>));
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      await run(store, (c) => networks.releasePool(c, POOL));
      await seen('only host2 holds the pool', () => other.view.pool(POOL)?.holders.join() === 'host2');
      expect(other.view.network(NETWORK)?.isRemoved).toBe(true);
      await run(other, (c) => networks.deleteNetwork(c, NETWORK));
      await run(other, (c) => networks.releasePool(c, POOL));
      expect([...other.view.networks(), ...other.view.pools(), ...other.view.tenants()]).toEqual([]);
      expect(await cluster.rowCount('NetworkReplica')).toBe(0);
    });

    test('goes as well when both give it back at once, and nobody takes it up while it goes', async () => {
      const giveBack = () =>
        Promise.all([store, other].map((each) => run(each, (c) => networks.deleteNetwork(c, NETWORK))));
      await giveBack();
      await seen('it is gone everywhere', isGone);
      await giveBack();
      await run(store, (c) => networks.releasePool(c, POOL));
      await addNetwork(store);
      await seen('host2 sees the next one', () => other.view.network(NETWORK) !== undefined);
      await replicate();
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      await seen('it is being removed', () => other.view.network(NETWORK)?.isRemoved === true);
      await expect(
        run(store, (c) => networks.insertReplica(c, c.view.network(NETWORK)!, 'd'.repeat(64))),
      ).rejects.toThrow('is being removed');
    });

    test('stays while a host has endpoints in it, on that host', async () => {
      await run(other, (c) => endpoints.insertEndpoint(c, endpoint));
      await run(store, (c) => networks.deleteNetwork(c, NETWORK));
      await expect(run(other, (c) => networks.deleteNetwork(c, NETWORK))).rejects.toThrow('still has endpoints');
      await expect(replicate('c'.repeat(64))).rejects.toThrow('host2 already');
      await run(other, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
      await run(other, (c) => networks.deleteNetwork(c, NETWORK));
      await seen('it is gone everywhere', isGone);
    });
  });

  describe('what is refused, and in which words', () => {
    test('a pool that overlaps in the tenant; not in another one', async () => {
      await addNetwork(store);
      await run(store, (c) => networks.renameNetwork(c, NETWORK, 'demo'));
      const cidr = parseCidr('10.0.0.0/8');
      await expect(run(store, (c) => networks.insertPool(c, { tenant: 'red', cidr }))).rejects.toThrow(
        '10.0.0.0/8 overlaps pool red/10.1.0.0/24 (network demo) in tenant red: choose another subnet or tenant',
      );
      await run(store, (c) => networks.insertPool(c, { tenant: 'blue', cidr }));
      expect(store.view.tenant('blue')?.number).toBe(2);
    });

    test('an endpoint with an address in use, of the gateway, outside, or a MAC address in use', async () => {
      await withEndpoint();
      await run(store, (c) => endpoints.updateEndpoint(c, ENDPOINT, { containerName: 'web' }));
      const second = { ...endpoint, id: 'f'.repeat(64) as EndpointId, mac: parseMac('02:42:0a:01:00:06') };
      const insert = (changes: object) => run(store, (c) => endpoints.insertEndpoint(c, { ...second, ...changes }));
      await expect(insert({})).rejects.toThrow('10.1.0.5 is in use by container web in network nnnnnnnnnnnn');
      await expect(insert({ address: GATEWAY })).rejects.toThrow('10.1.0.1 is the gateway of pool red/10.1.0.0/24');
      await expect(insert({ address: parseIpv4('10.2.0.1') })).rejects.toThrow('10.2.0.1 is in no subnet of network n');
      await expect(insert({ address: parseIpv4('10.1.0.7'), mac: MAC })).rejects.toThrow(
        'MAC address 02:42:0a:01:00:05 is in use by container web',
      );
      await expect(insert({ id: ENDPOINT })).rejects.toThrow('exists already');
      await expect(insert({ networkId: 'x' as NetworkId })).rejects.toMatchObject({ code: 'not-found' });
    });

    test('a host port that somebody else publishes, also by another address', async () => {
      await withEndpoint();
      await addNth(store, 1);
      const other = 'e1' as EndpointId;
      const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 8080, containerPort: 80 } as const;
      const publish = (id: EndpointId, ...ports: endpoints.NewPublishedPort[]) =>
        run(store, (c) => endpoints.publishPorts(c, id, ports));
      await publish(ENDPOINT, port);
      expect(store.view.endpoint(ENDPOINT)?.publishedPorts).toMatchObject([{ ...port, host: 'host1' }]);
      await expect(publish(other, { ...port, hostIp: parseIpv4('192.0.2.1') })).rejects.toThrow(
        'host port 8080/tcp is published by endpoint eeeeeeeeeeee in network nnnnnnnnnnnn already: choose another',
      );
      await publish(other, { ...port, protocol: 'udp' });
      expect([...store.view.publishedPorts()]).toHaveLength(2);
      await publish(ENDPOINT, { ...port, containerPort: 81 });
      expect(store.view.endpoint(ENDPOINT)?.publishedPorts).toMatchObject([{ containerPort: 81 }]);
      await publish(ENDPOINT);
      expect(await cluster.rowCount('PublishedPort')).toBe(1);
      await run(store, (c) => endpoints.deleteEndpoint(c, other));
      expect(await cluster.rowCount('PublishedPort')).toBe(0);
    });
  });

  describe('locators and port numbers', () => {
    test('go round, skip what is in use, and end', async () => {
      const small = await cluster.join('host2', parseCidr('100.65.0.0/28'));
      await run(small, (c) => networks.insertNetwork(c, { ...network, ...ownPools }));
      await addNth(small, 1);
      await run(small, (c) => endpoints.deleteEndpoint(c, 'e1' as EndpointId));
      for (let n = 2; n <= 13; n += 1) await addNth(small, n);
      const lasts = [...small.view.endpoints()].map((row) => row.locator & 255).sort((a, b) => a - b);
      expect(lasts).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
      await addNth(small, 14);
      const locator = parseIpv4('100.65.0.2');
      expect(small.view.endpoint('e14' as EndpointId)).toMatchObject({ locator, portNo: 14 });
      await expect(addNth(small, 15)).rejects.toMatchObject({ code: 'exhausted' });
    });

    test('a second block comes in the same transaction, and no two hosts share one', async () => {
      const other = await cluster.join('host2');
      await run(store, (c) => networks.insertNetwork(c, { ...network, ...ownPools }));
      for (let n = 1; n <= 254; n += 1) await addNth(store, n);
      const blocks = (one: DirectoryStore) => one.view.host(one.host)?.locatorBlocks;
      const [first, second, third] = ['100.64.0.0/24', '100.64.1.0/24', '100.64.2.0/24'].map(parseCidr);
      expect(blocks(store)).toMatchObject([first, third]);
      expect(blocks(other)).toMatchObject([second]);
      expect(store.view.endpoint('e254' as EndpointId)?.locator).toBe(parseIpv4('100.64.2.2'));
    });
  });

  describe('several at once', () => {
    test('two hosts that race for overlapping pools: one gets its own, the other hears why not', async () => {
      const other = await cluster.join('host2');
      const wider = { tenant: 'red', cidr: parseCidr('10.1.0.0/16') };
      const results = await Promise.allSettled([
        run(store, (c) => networks.insertPool(c, pool)),
        run(other, (c) => networks.insertPool(c, wider)),
      ]);
      const refused = results.filter((result) => result.status === 'rejected');
      expect(refused).toMatchObject([{ reason: { code: 'conflict' } }]);
      expect(await cluster.rowCount('Pool')).toBe(1);
    });

    test('fifty pools of one tenant at the same moment all come to be', async () => {
      const cidrs = Array.from({ length: 50 }, (_, n) => parseCidr(`10.2.${n}.0/24`));
      await Promise.all(cidrs.map((cidr) => run(store, (c) => networks.insertPool(c, { tenant: 'red', cidr }))));
      expect([...store.view.poolsOfTenant('red')]).toHaveLength(50);
    });

    test('fifty endpoints at the same moment all get numbers of their own', async () => {
      await run(store, (c) => networks.insertNetwork(c, { ...network, ...ownPools }));
      await Promise.all(Array.from({ length: 50 }, (_, n) => addNth(store, n)));
      const rows = [...store.view.endpoints()];
      expect(new Set(rows.map((row) => row.locator)).size).toBe(50);
      expect(new Set(rows.map((row) => row.portNo)).size).toBe(50);
    });
  });

  test('changes: referenced rows come first, and go last', async () => {
    await addNetwork(store);
    const seen: string[] = [];
    const end = store.onChange((changes) => {
      seen.push(changes.map(({ table, kind }) => `${kind} ${table}`).join(', '));
    });
    await run(store, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    await run(store, (c) => endpoints.insertEndpoint(c, endpoint));
    await run(store, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    await run(store, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    end();
    await run(store, (c) => networks.deleteNetwork(c, NETWORK));
    expect(seen).toEqual([
      'delete Address',
      'insert Address, insert Endpoint',
      'modify Address',
      'delete Endpoint, delete Address',
    ]);
  });
}
