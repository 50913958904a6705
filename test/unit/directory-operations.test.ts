// What the operations do to the directory, and how the transactor heals races and lost answers, over the database in
// memory (which test/ovs/directory-memory.test.ts holds against the real server).
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import * as endpoints from '../../src/directory/endpoint-operations';
import * as networks from '../../src/directory/operations';
import type { DirectoryChange, EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { addressState } from '../../src/directory/view';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const NETWORK = 'n'.repeat(64) as NetworkId;
const ENDPOINT = 'e'.repeat(64) as EndpointId;
const MAC = parseMac('02:42:0a:01:00:05');
const ADDRESS = parseIpv4('10.1.0.5');
const POOL = 'red/10.1.0.0/24' as PoolId;

function run(directory: MemoryDirectory, make: (context: PlanContext) => Ops): Promise<void> {
  return directory.transact((context) => ({ ops: make(context), result: undefined }));
}

const network = {
  id: NETWORK,
  tenant: 'red',
  internal: false,
  gateway: parseIpv4('10.1.0.1'),
  mtu: 1500,
  options: { a: 'b' },
} as const;
const endpoint = { id: ENDPOINT, networkId: NETWORK, address: ADDRESS, mac: MAC, interfaceName: 'dn1' } as const;
const pool = { tenant: 'red', cidr: parseCidr('10.1.0.0/24') } as const;

/** A network on our IPAM with one reserved address. */
async function withNetwork(directory = createMemoryDirectory()): Promise<MemoryDirectory> {
  await run(directory, (c) => networks.insertPool(c, pool));
  await run(directory, (c) =>
    endpoints.insertAddress(c, { poolId: POOL, address: parseIpv4('10.1.0.1'), use: 'gateway' }),
  );
  await run(directory, (c) => networks.insertNetwork(c, { ...network, ipam: 'daolinet', poolIds: [POOL] }));
  await run(directory, (c) =>
    endpoints.insertAddress(c, { poolId: POOL, address: ADDRESS, use: 'endpoint', mac: MAC }),
  );
  return directory;
}

async function withEndpoint(): Promise<MemoryDirectory> {
  const directory = await withNetwork();
  await run(directory, (c) => endpoints.insertEndpoint(c, endpoint));
  return directory;
}

function stateOf(directory: MemoryDirectory): string | undefined {
  const row = directory.view.addressHolder('red', ADDRESS);
  return row && addressState(directory.view, row);
}

function rowCounts(directory: MemoryDirectory): Record<string, number> {
  const tables = ['Tenant', 'Network', 'Pool', 'Address', 'Endpoint', 'PublishedPort'];
  return Object.fromEntries(tables.map((table) => [table, directory.database.table(table).size]));
}

describe('the life of a network', () => {
  test('everything is there as typed rows', async () => {
    const { view } = await withEndpoint();
    expect(view.network(NETWORK)).toMatchObject({ ...network, key: 1, ipam: 'daolinet', name: undefined });
    expect(view.networkByKey(1)?.id).toBe(NETWORK);
    expect(view.tenant('red')).toMatchObject({ number: 1 });
    expect([...view.poolsOfNetwork(NETWORK)]).toMatchObject([{ id: POOL, networkId: NETWORK, holders: ['host1'] }]);
    expect(view.endpoint(ENDPOINT)).toMatchObject({
      ...endpoint,
      tenant: 'red',
      prefix: 24,
      poolId: POOL,
      host: 'host1',
      locator: parseIpv4('100.64.0.2'),
      portNo: 1,
      sandbox: undefined,
      aliases: [],
    });
    expect(view.endpointAt('red', ADDRESS)).toBe(view.endpoint(ENDPOINT));
    expect(view.endpointByLocator(parseIpv4('100.64.0.2'))).toBe(view.endpoint(ENDPOINT));
    expect(view.endpointByPort('host1', 1)).toBe(view.endpoint(ENDPOINT));
    expect([...view.endpointsOf(NETWORK)]).toEqual([view.endpoint(ENDPOINT)]);
    expect([...view.endpointsOn('host1')]).toEqual([view.endpoint(ENDPOINT)]);
  });

  test("Docker's order of removal leaves nothing, not even the tenant", async () => {
    const directory = await withEndpoint();
    await run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    expect(stateOf(directory)).toBe('reserved');
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    expect(stateOf(directory)).toBeUndefined();
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, parseIpv4('10.1.0.1')));
    await run(directory, (c) => networks.releasePool(c, POOL));
    await run(directory, (c) => networks.deleteNetwork(c, NETWORK));
    expect(Object.values(rowCounts(directory))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('ReleaseAddress before DeleteEndpoint keeps the address until the endpoint is gone', async () => {
    const directory = await withEndpoint();
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    expect(stateOf(directory)).toBe('bound');
    await run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    expect(stateOf(directory)).toBeUndefined();
  });

  test('ReleasePool with an endpoint left keeps the pool until the network is gone', async () => {
    const directory = await withEndpoint();
    await run(directory, (c) => networks.releasePool(c, POOL));
    expect(directory.view.pool(POOL)?.holders).toEqual([]);
    await expect(run(directory, (c) => networks.deleteNetwork(c, NETWORK))).rejects.toThrow('still has endpoints');
    await run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    await run(directory, (c) => networks.deleteNetwork(c, NETWORK));
    expect(Object.values(rowCounts(directory))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test("a network on Docker's own IPAM brings its pools and addresses, and takes them along", async () => {
    const directory = createMemoryDirectory();
    const newPools = [{ cidr: parseCidr('10.1.0.0/24') }];
    await run(directory, (c) => networks.insertNetwork(c, { ...network, ipam: 'docker', newPools }));
    await run(directory, (c) => endpoints.insertEndpoint(c, endpoint));
    expect(stateOf(directory)).toBe('bound');
    await run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    expect(stateOf(directory)).toBeUndefined();
    await run(directory, (c) => networks.deleteNetwork(c, NETWORK));
    expect(Object.values(rowCounts(directory))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  test('every call a second time changes nothing', async () => {
    const directory = await withEndpoint();
    await run(directory, (c) =>
      endpoints.updateEndpoint(c, ENDPOINT, { sandbox: '/run/netns/1', aliases: ['a', 'b'] }),
    );
    const written = directory.committed.length;
    await run(directory, (c) =>
      endpoints.updateEndpoint(c, ENDPOINT, { sandbox: '/run/netns/1', aliases: ['b', 'a'] }),
    );
    const row = directory.view.addressHolder('red', ADDRESS);
    await run(directory, (c) => endpoints.holdAddress(c, row as NonNullable<typeof row>));
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, parseIpv4('10.1.0.77')));
    await run(directory, (c) => networks.releasePool(c, 'red/10.9.0.0/24' as PoolId));
    await run(directory, (c) => networks.deleteNetwork(c, 'other' as NetworkId));
    await run(directory, (c) => endpoints.deleteEndpoint(c, 'other' as EndpointId));
    expect(directory.committed.length).toBe(written);
  });
});

describe('what is refused, and in which words', () => {
  test('a pool that overlaps in the tenant; not in another one', async () => {
    const directory = await withNetwork();
    await run(directory, (c) => networks.renameNetwork(c, NETWORK, 'demo'));
    const wider = parseCidr('10.0.0.0/8');
    await expect(run(directory, (c) => networks.insertPool(c, { tenant: 'red', cidr: wider }))).rejects.toThrow(
      '10.0.0.0/8 overlaps pool red/10.1.0.0/24 of network demo, in tenant red: choose another subnet or tenant',
    );
    await run(directory, (c) => networks.insertPool(c, { tenant: 'blue', cidr: wider }));
    expect(directory.view.tenant('blue')?.number).toBe(2);
  });

  test('an endpoint with an address in use, of the gateway, outside, or a MAC address in use', async () => {
    const directory = await withEndpoint();
    const name = { containerName: 'web' };
    await run(directory, (c) => endpoints.updateEndpoint(c, ENDPOINT, name));
    const second = { ...endpoint, id: 'f'.repeat(64) as EndpointId, mac: parseMac('02:42:0a:01:00:06') };
    const insert = (changes: object) => run(directory, (c) => endpoints.insertEndpoint(c, { ...second, ...changes }));
    await expect(insert({})).rejects.toThrow('10.1.0.5 is in use by container web in network nnnnnnnnnnnn');
    await expect(insert({ address: parseIpv4('10.1.0.1') })).rejects.toThrow('10.1.0.1 is the gateway of pool red/');
    await expect(insert({ address: parseIpv4('10.2.0.1') })).rejects.toThrow('10.2.0.1 is in no subnet of network n');
    await expect(insert({ address: parseIpv4('10.1.0.7'), mac: MAC })).rejects.toThrow(
      'MAC address 02:42:0a:01:00:05 is in use by container web',
    );
    await expect(insert({ id: ENDPOINT })).rejects.toThrow('exists already');
    await expect(insert({ networkId: 'x' as NetworkId })).rejects.toMatchObject({ code: 'not-found' });
  });

  test('a host port that somebody else publishes, also by another address', async () => {
    const directory = await withEndpoint();
    const port = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 8080, containerPort: 80 } as const;
    await run(directory, (c) => endpoints.publishPorts(c, ENDPOINT, [port]));
    expect(directory.view.endpoint(ENDPOINT)?.publishedPorts).toMatchObject([{ ...port, host: 'host1' }]);
    const other = {
      ...endpoint,
      id: 'f'.repeat(64) as EndpointId,
      address: parseIpv4('10.1.0.6'),
      mac: 5 as typeof MAC,
    };
    await run(directory, (c) => endpoints.insertEndpoint(c, other));
    const clash = { ...port, hostIp: parseIpv4('192.0.2.1') };
    await expect(run(directory, (c) => endpoints.publishPorts(c, other.id, [clash]))).rejects.toThrow(
      'host port 8080/tcp is published by endpoint eeeeeeeeeeee',
    );
    await run(directory, (c) => endpoints.publishPorts(c, other.id, [{ ...port, protocol: 'udp' }]));
    expect([...directory.view.publishedPorts()]).toHaveLength(2);
    await run(directory, (c) => endpoints.publishPorts(c, ENDPOINT, [{ ...port, containerPort: 81 }]));
    expect(directory.view.endpoint(ENDPOINT)?.publishedPorts).toMatchObject([{ containerPort: 81 }]);
    await run(directory, (c) => endpoints.publishPorts(c, ENDPOINT, []));
    expect(rowCounts(directory)['PublishedPort']).toBe(1);
    await run(directory, (c) => endpoints.deleteEndpoint(c, other.id));
    expect(rowCounts(directory)['PublishedPort']).toBe(0);
  });
});

describe('locators and port numbers', () => {
  test('go round, skip what is in use, and take a new block when full', async () => {
    const directory = createMemoryDirectory({ locatorRange: parseCidr('100.64.0.0/28') });
    const newPools = [{ cidr: parseCidr('10.1.0.0/24') }];
    await run(directory, (c) => networks.insertNetwork(c, { ...network, ipam: 'docker', newPools }));
    const add = (n: number) =>
      run(directory, (c) =>
        endpoints.insertEndpoint(c, {
          ...endpoint,
          id: `e${n}` as EndpointId,
          address: (ADDRESS + n) as typeof ADDRESS,
          mac: n as typeof MAC,
        }),
      );
    await add(1);
    await run(directory, (c) => endpoints.deleteEndpoint(c, 'e1' as EndpointId));
    for (let n = 2; n <= 13; n += 1) await add(n);
    const locators = [...directory.view.endpoints()].map((row) => row.locator - parseIpv4('100.64.0.0'));
    expect(locators).toEqual([3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    await add(14);
    expect(directory.view.endpoint('e14' as EndpointId)).toMatchObject({
      locator: parseIpv4('100.64.0.2'),
      portNo: 14,
    });
    await expect(add(15)).rejects.toMatchObject({ code: 'exhausted' });
  });

  test('a second block is added in the same transaction, and no two hosts share one', async () => {
    const database = createMemoryDatabase();
    const directory = createMemoryDirectory({ database });
    const other = createMemoryDirectory({ database, host: 'host2' });
    const newPools = [{ cidr: parseCidr('10.0.0.0/8') }];
    await run(directory, (c) => networks.insertNetwork(c, { ...network, ipam: 'docker', newPools }));
    for (let n = 1; n <= 254; n += 1) {
      const one = {
        ...endpoint,
        id: `e${n}` as EndpointId,
        address: (ADDRESS + n) as typeof ADDRESS,
        mac: n as typeof MAC,
      };
      await run(directory, (c) => endpoints.insertEndpoint(c, one));
    }
    expect(directory.view.host('host1')?.locatorBlocks).toEqual([
      parseCidr('100.64.0.0/24'),
      parseCidr('100.64.2.0/24'),
    ]);
    expect(other.view.host('host2')?.locatorBlocks).toEqual([parseCidr('100.64.1.0/24')]);
    expect(directory.view.endpoint('e254' as EndpointId)?.locator).toBe(parseIpv4('100.64.2.2'));
  });
});

describe('the transactor', () => {
  test('two hosts that race for a pool, an address or a locator both get an answer that holds', async () => {
    const database = createMemoryDatabase();
    const [a, b] = [createMemoryDirectory({ database }), createMemoryDirectory({ database, host: 'host2' })];
    const results = await Promise.allSettled([
      run(a, (c) => networks.insertPool(c, pool)),
      run(b, (c) => networks.insertPool(c, { tenant: 'red', cidr: parseCidr('10.1.0.0/16') })),
    ]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected']);
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({ code: 'conflict' });
  });

  test.each(['lost-before', 'lost-after'] as const)(
    'an answer that is %s being carried out is made good',
    async (accident) => {
      const directory = await withNetwork();
      directory.schedule(accident);
      await run(directory, (c) => endpoints.insertEndpoint(c, endpoint));
      expect(rowCounts(directory)).toMatchObject({ Endpoint: 1, Address: 2 });
      directory.schedule(accident);
      await directory.commit([{ op: 'insert', table: 'LocatorBlock', row: { cidr: '100.65.0.0/24' } }]);
    },
  );

  test('what never fits is a conflict, what is wrong is internal, and neither changes anything', async () => {
    const directory = await withNetwork();
    const id = directory.view.network(NETWORK)?.uuid as string;
    const swap = { op: 'wait', table: 'Network', where: [['_uuid', '==', id]], until: '==', timeout: 0 } as const;
    const stale = { ...swap, columns: ['mtu'], rows: [{ mtu: 9 }] };
    await expect(directory.commit([stale])).rejects.toMatchObject({ code: 'conflict' });
    let plans = 0;
    const plan = () => {
      plans += 1;
      return { ops: [stale], result: 1 };
    };
    await expect(directory.transact(plan)).rejects.toMatchObject({ code: 'conflict' });
    expect(plans).toBe(16);
    const bad = { op: 'insert', table: 'Endpoint', row: { id: 'e', port_no: 0 } } as const;
    await expect(directory.commit([bad])).rejects.toMatchObject({ code: 'internal' });
  });

  test('a database that is away is waited for, but not for ever', async () => {
    jest.useFakeTimers();
    try {
      const directory = await withNetwork();
      directory.setAway(true);
      const soon = run(directory, (c) => endpoints.insertEndpoint(c, endpoint));
      await jest.advanceTimersByTimeAsync(4000);
      directory.setAway(false);
      await soon;
      directory.setAway(true);
      const never = run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT)).catch((error: unknown) => error);
      await jest.advanceTimersByTimeAsync(5000);
      const error = await never;
      expect(error).toBeInstanceOf(DaoliError);
      expect(error).toMatchObject({ code: 'unavailable' });
      expect((error as Error).message).toContain('within 5 s');
      expect(jest.getTimerCount()).toBe(0);
    } finally {
      jest.useRealTimers();
    }
  });
});

describe('changes and bad rows', () => {
  test('referenced rows come first, and go last', async () => {
    const directory = await withNetwork();
    const seen: string[] = [];
    const end = directory.onChange((changes: readonly DirectoryChange[]) => {
      seen.push(changes.map(({ table, kind }) => `${kind} ${table}`).join(', '));
    });
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    await run(directory, (c) => endpoints.insertEndpoint(c, endpoint));
    await run(directory, (c) => endpoints.releaseAddress(c, POOL, ADDRESS));
    await run(directory, (c) => endpoints.deleteEndpoint(c, ENDPOINT));
    end();
    await run(directory, (c) => networks.deleteNetwork(c, NETWORK));
    expect(seen).toEqual([
      'delete Address',
      'insert Address, insert Endpoint',
      'modify Address',
      'delete Endpoint, delete Address',
    ]);
  });
});
