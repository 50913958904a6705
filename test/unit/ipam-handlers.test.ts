// IpamDriver.* as Docker calls it: bodies as captured from Docker 20.10, answers and errors as it gets them.
import { formatIpv4, parseCidr, parseIpv4, parseMac, type Ipv4 } from '../../src/base/addresses';
import { RoundRobinAllocator } from '../../src/directory/allocation';
import { deleteEndpoint, insertEndpoint, updateEndpoint } from '../../src/directory/endpoint-operations';
import { insertNetwork } from '../../src/directory/operations';
import type { EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import { DirectoryTables } from '../../src/directory/tables';
import { AddressCursors, planAddress } from '../../src/ipam/addresses';
import { ipamHandlers } from '../../src/ipam/handlers';
import { Ipam } from '../../src/ipam/ipam';
import type { Uuid } from '../../src/ovsdb/notation';
import { run } from '../fakes/directory-contract';
import { createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const NETWORK = 'a'.repeat(64) as NetworkId;
const GATEWAY_OPTION = { RequestAddressType: 'com.docker.network.gateway' };
const macOption = (last: number) => ({
  'com.docker.network.endpoint.macaddress': `02:42:00:00:00:${last.toString(16).padStart(2, '0')}`,
});

let directory: MemoryDirectory;
let call: (method: string, body?: unknown) => Promise<Record<string, unknown>>;
let routes: string[];
let now: number;

beforeEach(() => {
  now = 1_700_000_000_000;
  routes = [];
  directory = createMemoryDirectory({ wallClock: () => now });
  const ipam = new Ipam({
    store: directory,
    host: { hostRoutes: () => Promise.resolve(routes.map((text) => ({ destination: parseCidr(text) }))) },
    defaultPools: parseCidr('10.128.0.0/9'),
    locatorRange: parseCidr('100.64.0.0/10'),
  });
  const handlers = ipamHandlers(ipam);
  call = async (method, body) => (await handlers[`IpamDriver.${method}`]?.(body)) as Promise<Record<string, unknown>>;
});

const requestPool = (changes: object = {}) =>
  call('RequestPool', { AddressSpace: 'daolinet', Pool: '', SubPool: '', Options: null, V6: false, ...changes });
const requestAddress = (PoolID: unknown, Address: string, Options: object | null) =>
  call('RequestAddress', { PoolID, Address, Options });
const container = (PoolID: unknown, mac: number, Address = '') => requestAddress(PoolID, Address, macOption(mac));

/** What Docker does for `docker network create --subnet … --ipam-opt tenant=red`. */
async function createNetwork(id = NETWORK, tenant = 'red', Pool = '10.1.0.0/24', SubPool = ''): Promise<PoolId> {
  const { PoolID } = await requestPool({ Pool, SubPool, Options: { tenant } });
  await requestAddress(PoolID, '', GATEWAY_OPTION);
  await run(directory, (c) =>
    insertNetwork(c, {
      id,
      tenant,
      internal: false,
      gateway: parseIpv4('10.1.0.1'),
      ipam: 'daolinet',
      mtu: 1500,
      options: {},
      poolIds: [PoolID as PoolId],
    }),
  );
  return PoolID as PoolId;
}

/** What the network driver does in CreateEndpoint. */
function createEndpoint(id: string, address: string, mac: number): Promise<void> {
  const endpoint = {
    networkId: NETWORK,
    interfaceName: 'dn',
    mac: parseMac(macOption(mac)[`com.docker.network.endpoint.macaddress`]),
  };
  return run(directory, (c) => insertEndpoint(c, { ...endpoint, id: id as EndpointId, address: parseIpv4(address) }));
}

describe('what Docker learns of us', () => {
  test('capabilities and address spaces need no body', async () => {
    expect(await call('GetCapabilities')).toEqual({ RequiresMACAddress: true, RequiresRequestReplay: false });
    expect(await call('GetDefaultAddressSpaces')).toEqual({
      LocalDefaultAddressSpace: 'daolinet',
      GlobalDefaultAddressSpace: 'daolinet',
    });
  });
});

describe('RequestPool', () => {
  test('the id tells tenant, CIDR and range', async () => {
    const answer = { PoolID: 'default/10.77.0.0/24', Pool: '10.77.0.0/24', Data: {} };
    expect(await requestPool({ Pool: '10.77.0.0/24' })).toEqual(answer);
    expect(
      await requestPool({ Pool: '10.1.0.0/16', SubPool: '10.1.5.0/24', Options: { tenant: 'red' } }),
    ).toMatchObject({ PoolID: 'red/10.1.0.0/16/10.1.5.0/24', Pool: '10.1.0.0/16' });
  });

  test('the same CIDR in two tenants; an overlap within one is refused, by name', async () => {
    await createNetwork();
    const other = await requestPool({ Pool: '10.1.0.0/24', Options: { tenant: 'blue' } });
    expect(other['PoolID']).toBe('blue/10.1.0.0/24');
    const message =
      'overlaps pool red/10.1.0.0/24 (network aaaaaaaaaaaa) in tenant red: choose another subnet or tenant';
    for (const Pool of ['10.1.0.0/24', '10.1.0.128/25', '10.0.0.0/8']) {
      await expect(requestPool({ Pool, Options: { tenant: 'red' } })).rejects.toThrow(`${Pool} ${message}`);
    }
  });

  test('without a CIDR: a free one each time, clear of the tenant, of routes, and of what is held', async () => {
    routes = ['0.0.0.0/0', '10.128.1.0/24', '10.128.4.0/22', '192.168.0.0/16'];
    await requestPool({ Pool: '10.128.2.128/25' });
    const given = [];
    for (let n = 0; n < 4; n += 1) given.push((await requestPool())['Pool']);
    expect(given).toEqual(['10.128.0.0/24', '10.128.3.0/24', '10.128.8.0/24', '10.128.9.0/24']);
    expect((await requestPool({ Options: { tenant: 'red' } }))['Pool']).toBe('10.128.0.0/24');
    await call('ReleasePool', { PoolID: 'default/10.128.3.0/24' });
    expect((await requestPool())['Pool']).toBe('10.128.3.0/24');
  });

  test('many at once all differ', async () => {
    const pools = await Promise.all(Array.from({ length: 20 }, () => requestPool()));
    expect(new Set(pools.map((pool) => pool['Pool'])).size).toBe(20);
  });

  test('no default pool left', async () => {
    routes = ['10.128.0.0/9'];
    await expect(requestPool()).rejects.toMatchObject({ code: 'exhausted' });
    await expect(requestPool()).rejects.toThrow('no subnet is free in the default pools 10.128.0.0/9');
  });

  test.each([
    [{ Pool: '10.1.0.0/31' }, '10.1.0.0/31 cannot be a subnet: it is smaller than a /30'],
    [{ Pool: '10.0.0.0/7' }, '10.0.0.0/7 cannot be a subnet: it is larger than a /8'],
    [{ Pool: '127.1.0.0/24' }, '127.1.0.0/24 cannot be a subnet: it overlaps 127.0.0.0/8 (loopback)'],
    [{ Pool: '169.254.1.0/24' }, 'it overlaps 169.254.0.0/16 (link-local)'],
    [{ Pool: '224.0.0.0/24' }, 'it overlaps 224.0.0.0/4 (multicast)'],
    [{ Pool: '100.100.0.0/16' }, 'it overlaps the locator range 100.64.0.0/10 (DAOLINET_LOCATORS)'],
    [{ Pool: '10.1.0.5/24' }, 'Pool: "10.1.0.5/24" has bits set below its prefix: did you mean 10.1.0.0/24?'],
    [{ Pool: '10.1.0.0' }, 'Pool: "10.1.0.0" is not an IPv4 address with a prefix length'],
    [{ Pool: 7 }, 'Pool: 7 is not text'],
    [{ Pool: '10.1.0.0/24', SubPool: '10.2.0.0/25' }, '--ip-range 10.2.0.0/25 does not lie inside subnet 10.1.0.0/24'],
    [{ Pool: '10.1.0.0/24', SubPool: '10.1.0.0/16' }, '--ip-range 10.1.0.0/16 does not lie inside subnet 10.1.0.0/24'],
    [{ Pool: '10.1.0.0/24', SubPool: '10.1.0.255/32' }, 'has no address that a container could have'],
    [{ SubPool: '10.1.0.0/25' }, '--ip-range needs a --subnet around it'],
    [{ Options: { tenent: 'red' } }, 'no option --ipam-opt tenent; it has tenant'],
    [{ Options: { tenant: 'a/b' } }, '--ipam-opt tenant=a/b: is not a name of up to 63 letters'],
    [{ Options: { tenant: '' } }, '--ipam-opt tenant=: is not a name'],
    [{ Options: 'red' }, 'Options: "red" is not an object'],
    [{ AddressSpace: 'other' }, 'there is no address space "other": it is "daolinet"'],
    [{ V6: true, Pool: 'fd00::/64' }, 'IPv6 is not supported yet'],
  ])('%j is refused: %s', async (changes, message) => {
    await expect(requestPool(changes)).rejects.toThrow(message);
    expect([...directory.view.pools()]).toEqual([]);
  });

  test.each([undefined, null, '', [], 'text'])('a body that is %j is refused', async (body) => {
    for (const method of ['RequestPool', 'ReleasePool', 'RequestAddress', 'ReleaseAddress']) {
      await expect(call(method, body)).rejects.toMatchObject({ code: 'invalid' });
    }
  });
});

describe('RequestAddress', () => {
  test('the gateway: the first address wherever the range is, or the one asked for', async () => {
    const pool = (await requestPool({ Pool: '10.1.0.0/24', SubPool: '10.1.0.128/25' }))['PoolID'];
    expect(await requestAddress(pool, '', GATEWAY_OPTION)).toEqual({ Address: '10.1.0.1/24', Data: {} });
    const other = (await requestPool({ Pool: '10.2.0.0/16' }))['PoolID'];
    expect(await requestAddress(other, '10.2.0.254', GATEWAY_OPTION)).toMatchObject({ Address: '10.2.0.254/16' });
    expect(await requestAddress(other, '10.2.0.254', GATEWAY_OPTION)).toMatchObject({ Address: '10.2.0.254/16' });
  });

  test('the gateway is one: whoever asks again, or twice at once, gets it again', async () => {
    const pool = (await requestPool({ Pool: '10.1.0.0/24' }))['PoolID'];
    const asked = [1, 2].map(() => requestAddress(pool, '', GATEWAY_OPTION));
    for (const each of [...asked, requestAddress(pool, '', GATEWAY_OPTION)]) {
      expect(await each).toMatchObject({ Address: '10.1.0.1/24' });
    }
    expect(directory.view.addressCount(pool as PoolId)).toBe(1);
  });

  test('dynamic addresses come from the range, in turn, and not again soon', async () => {
    const pool = await createNetwork(NETWORK, 'red', '10.1.0.0/24', '10.1.0.4/30');
    const given = [];
    for (let mac = 1; mac <= 3; mac += 1) given.push((await container(pool, mac))['Address']);
    await call('ReleaseAddress', { PoolID: pool, Address: '10.1.0.4' });
    given.push((await container(pool, 4))['Address'], (await container(pool, 5))['Address']);
    expect(given).toEqual(['10.1.0.4/24', '10.1.0.5/24', '10.1.0.6/24', '10.1.0.7/24', '10.1.0.4/24']);
    const full =
      'pool red/10.1.0.0/24/10.1.0.4/30 (network aaaaaaaaaaaa) is exhausted: all 4 addresses of its range 10.1.0.4/30 are taken';
    await expect(container(pool, 6)).rejects.toThrow(full);
    await expect(container(pool, 6)).rejects.toMatchObject({ code: 'exhausted' });
    expect(await container(pool, 6, '10.1.0.9')).toMatchObject({ Address: '10.1.0.9/24' });
  });

  test('after a restart they go on behind the newest', async () => {
    const pool = await createNetwork();
    for (let mac = 1; mac <= 3; mac += 1) {
      now += 1;
      await container(pool, mac);
    }
    await call('ReleaseAddress', { PoolID: pool, Address: '10.1.0.2' });
    const restarted = ipamHandlers(
      new Ipam({
        store: directory,
        host: { hostRoutes: () => Promise.resolve([]) },
        defaultPools: parseCidr('10.128.0.0/9'),
        locatorRange: parseCidr('100.64.0.0/10'),
      }),
    );
    const answer = await restarted['IpamDriver.RequestAddress']?.({ PoolID: pool, Address: '', Options: macOption(9) });
    expect(answer).toMatchObject({ Address: '10.1.0.5/24' });
  });

  test('the same MAC address gets the same address until an endpoint has it', async () => {
    const pool = await createNetwork();
    const both = await Promise.all([container(pool, 1), container(pool, 1)]);
    expect(both.map((answer) => answer['Address'])).toEqual(['10.1.0.2/24', '10.1.0.2/24']);
    await createEndpoint('e1', '10.1.0.2', 1);
    expect(await container(pool, 1)).toMatchObject({ Address: '10.1.0.3/24' });
  });

  test('an address that is asked for: again by the same, but by nobody else', async () => {
    const pool = await createNetwork();
    expect(await container(pool, 1, '10.1.0.50')).toMatchObject({ Address: '10.1.0.50/24' });
    expect(await container(pool, 1, '10.1.0.50')).toMatchObject({ Address: '10.1.0.50/24' });
    await expect(container(pool, 2, '10.1.0.50')).rejects.toThrow(
      '10.1.0.50 is reserved in pool red/10.1.0.0/24 (network aaaaaaaaaaaa) for a container that is just starting or was just removed',
    );
    await createEndpoint('e1', '10.1.0.50', 1);
    await expect(container(pool, 2, '10.1.0.50')).rejects.toThrow(
      '10.1.0.50 is in use by endpoint e1 in network aaaaaaaaaaaa',
    );
    await run(directory, (c) => updateEndpoint(c, 'e1' as EndpointId, { containerName: 'web' }));
    await expect(container(pool, 1, '10.1.0.50')).rejects.toThrow('10.1.0.50 is in use by container web in network');
  });

  test('a reservation whose ReleaseAddress was lost is taken over after 10 s', async () => {
    const pool = await createNetwork();
    await container(pool, 1, '10.1.0.50');
    await createEndpoint('e1', '10.1.0.50', 1);
    await run(directory, (c) => deleteEndpoint(c, 'e1' as EndpointId));
    now += 9_999;
    await expect(container(pool, 2, '10.1.0.50')).rejects.toMatchObject({ code: 'conflict' });
    now += 1;
    expect(await container(pool, 2, '10.1.0.50')).toMatchObject({ Address: '10.1.0.50/24' });
    await createEndpoint('e2', '10.1.0.50', 2);
  });

  test('auxiliary addresses, outside the range too; never given to a container', async () => {
    const pool = (await requestPool({ Pool: '10.1.0.0/29', SubPool: '10.1.0.4/30' }))['PoolID'];
    await requestAddress(pool, '10.1.0.1', GATEWAY_OPTION);
    expect(await requestAddress(pool, '10.1.0.2', null)).toMatchObject({ Address: '10.1.0.2/29' });
    expect(await requestAddress(pool, '10.1.0.5', null)).toMatchObject({ Address: '10.1.0.5/29' });
    expect(await requestAddress(pool, '10.1.0.5', null)).toMatchObject({ Address: '10.1.0.5/29' });
    const given = [await container(pool, 1), await container(pool, 2)].map((answer) => answer['Address']);
    expect(given).toEqual(['10.1.0.4/29', '10.1.0.6/29']);
    await expect(container(pool, 3)).rejects.toMatchObject({ code: 'exhausted' });
    await expect(container(pool, 3, '10.1.0.2')).rejects.toThrow('10.1.0.2 is an auxiliary address of pool');
    await expect(requestAddress(pool, '10.1.0.1', null)).rejects.toThrow(
      '10.1.0.1 is the gateway of pool default/10.1.0.0/29/10.1.0.4/30 (no network yet)',
    );
    await expect(requestAddress(pool, '10.1.0.2', GATEWAY_OPTION)).rejects.toThrow('is an auxiliary address of');
  });

  test.each([
    ['10.1.0.0', '10.1.0.0 is the network address of pool red/10.1.0.0/24 (network aaaaaaaaaaaa)'],
    ['10.1.0.255', '10.1.0.255 is the broadcast address of pool red/10.1.0.0/24'],
    ['10.2.0.5', '10.2.0.5 is not in pool red/10.1.0.0/24'],
    ['10.1.0.1', '10.1.0.1 is the gateway of pool red/10.1.0.0/24'],
    ['10.1.0.300', 'Address: "10.1.0.300" is not an IPv4 address'],
    ['10.1.0.5/24', 'Address: "10.1.0.5/24" is not an IPv4 address'],
  ])('--ip %s is refused: %s', async (address, message) => {
    const pool = await createNetwork();
    await expect(container(pool, 1, address)).rejects.toThrow(message);
  });

  test('an unknown pool, a missing one, and wrong options are refused', async () => {
    await expect(container('red/10.1.0.0/24', 1)).rejects.toThrow(
      'pool red/10.1.0.0/24 does not exist: create the network again',
    );
    await expect(container(undefined, 1)).rejects.toThrow('PoolID is missing');
    await expect(container('', 1)).rejects.toThrow('PoolID: "" is empty');
    const bad = { 'com.docker.network.endpoint.macaddress': '02:42' };
    await expect(requestAddress('p', '', bad)).rejects.toThrow(
      'Options["com.docker.network.endpoint.macaddress"]: "02:42" is not',
    );
    await expect(requestAddress('p', '', { RequestAddressType: 'x' })).rejects.toThrow(
      'Options.RequestAddressType: "x" is not "com.docker.network.gateway"',
    );
  });

  test('options of swarm managers and newer versions are let through', async () => {
    const pool = await createNetwork();
    const serial = { 'com.docker.network.ipam.serial': 'true', tenant: 'red' };
    expect(await requestAddress(pool, '', serial)).toMatchObject({ Address: '10.1.0.2/24' });
    expect(await requestAddress(pool, '10.1.0.9', serial)).toMatchObject({ Address: '10.1.0.9/24' });
    expect(directory.view.addressHolder('red', parseIpv4('10.1.0.9'))?.use).toBe('endpoint');
    const named = { ...macOption(3), 'com.docker.network.endpoint.name': 'web' };
    expect(await requestAddress(pool, '', named)).toMatchObject({ Address: '10.1.0.3/24' });
  });
});

describe('releasing', () => {
  test('is idempotent, and unknown things are fine', async () => {
    const pool = await createNetwork();
    await container(pool, 1);
    for (let n = 0; n < 2; n += 1) {
      expect(await call('ReleaseAddress', { PoolID: pool, Address: '10.1.0.2' })).toEqual({});
      expect(await call('ReleaseAddress', { PoolID: pool, Address: '10.1.0.1' })).toEqual({});
      expect(await call('ReleasePool', { PoolID: pool })).toEqual({});
    }
    expect([...directory.view.pools()]).toEqual([]);
    await expect(call('ReleaseAddress', { PoolID: pool, Address: '' })).rejects.toThrow('Address: "" is not an IPv4');
  });

  test('a pool that was given back gives out no more, even while an endpoint is left in it', async () => {
    const pool = await createNetwork();
    await container(pool, 1);
    await createEndpoint('e1', '10.1.0.2', 1);
    await call('ReleasePool', { PoolID: pool });
    expect(directory.view.pool(pool)).toBeDefined();
    await expect(container(pool, 2)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('an address in use stays with its endpoint', async () => {
    const pool = await createNetwork();
    await container(pool, 1);
    await createEndpoint('e1', '10.1.0.2', 1);
    await call('ReleaseAddress', { PoolID: pool, Address: '10.1.0.2' });
    await expect(container(pool, 2, '10.1.0.2')).rejects.toThrow(
      '10.1.0.2 is in use by endpoint e1 in network aaaaaaaaaaaa, which is being cleaned up: try again in a moment',
    );
    await run(directory, (c) => deleteEndpoint(c, 'e1' as EndpointId));
    expect(await container(pool, 2, '10.1.0.2')).toMatchObject({ Address: '10.1.0.2/24' });
  });
});

test('a /8 with a hundred thousand addresses gives out one in well under a millisecond', () => {
  const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as Uuid;
  const [host, tenant, pool] = [uuid(1), uuid(2), uuid(3)];
  const tables = new DirectoryTables('host1');
  const hostRow = { name: 'host1', router_mac: '02:00:00:00:00:01', datapath_id: '1', locator_blocks: [] };
  const id = 'red/10.0.0.0/8' as PoolId;
  tables.apply([
    { table: 'Host', uuid: host, row: hostRow },
    { table: 'Tenant', uuid: tenant, row: { name: 'red', number: 1, revision: 0 } },
    { table: 'Pool', uuid: pool, row: { id, tenant, cidr: '10.0.0.0/8', holders: [host], created: 1 } },
  ]);
  const base = parseIpv4('10.0.0.0');
  const takenRow = (n: number, since: number) => ({
    table: 'Address',
    uuid: uuid(n + 100),
    row: { address: formatIpv4((base + n) as Ipv4), pool, use: 'endpoint', holders: [host], since },
  });
  tables.apply(Array.from({ length: 100_000 }, (_, n) => takenRow(n + 1, n)));
  const allocate = new RoundRobinAllocator(tables, 'host1', parseCidr('100.64.0.0/10'));
  const context = { view: tables, host: 'host1', allocate, nowMs: 0, attempt: 0 };
  const cursors = new AddressCursors();
  const next = () => planAddress(context, { poolId: id, address: undefined, use: 'endpoint', mac: undefined }, cursors);
  expect(next().result).toEqual({ address: base + 100_001, prefix: 8 });
  const start = performance.now();
  for (let n = 0; n < 1000; n += 1) next();
  expect((performance.now() - start) / 1000).toBeLessThan(0.5);
  expect(next().result).toEqual({ address: base + 101_002, prefix: 8 });
});
