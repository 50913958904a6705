// What a host follows: which networks and pools it needs, as which conditions, and when these change.
import { parseCidr, parseIpv4, type Mac } from '../../src/base/addresses';
import { conditionsOf, neededBy, needsOf } from '../../src/directory/conditions';
import {
  addMember,
  insertFirewallRule,
  insertGroup,
  insertPolicy,
  removeMember,
  setPair,
} from '../../src/directory/control-operations';
import { deleteEndpoint, insertAddress, insertEndpoint, updateEndpoint } from '../../src/directory/endpoint-operations';
import { planSwitch } from '../../src/directory/switch-operations';
import { fetchNeeds, Interest, LINGER_MS } from '../../src/directory/interest';
import { insertNetwork, insertPool, poolIdOf, renameNetwork } from '../../src/directory/operations';
import type { EndpointId, GroupRow, NetworkId, NetworkRow, PoolId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { DirectoryTables } from '../../src/directory/tables';
import type { TableConditions } from '../../src/ovsdb/monitor';
import type { Operation, Uuid } from '../../src/ovsdb/notation';
import { encodeOperation } from '../../src/ovsdb/rows';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const A = 'a'.repeat(64) as NetworkId;
const B = 'b'.repeat(64) as NetworkId;
const C = 'c'.repeat(64) as NetworkId;
const NUMBERS: Readonly<Record<string, number>> = { [A]: 1, [B]: 2, [C]: 3 };
const poolOf = (id: NetworkId) => poolIdOf('default', parseCidr(`10.${NUMBERS[id]}.0.0/24`));
const addressOf = (id: NetworkId, number: number) => parseIpv4(`10.${NUMBERS[id]}.0.${number}`);

let directory: MemoryDirectory;
let other: MemoryDirectory;
beforeEach(async () => {
  directory = createMemoryDirectory();
  other = createMemoryDirectory({ database: directory.database, host: 'host2' });
  for (const id of [A, B, C]) {
    const cidr = parseCidr(`10.${NUMBERS[id]}.0.0/24`);
    await write(directory, (c) => insertPool(c, { tenant: 'default', cidr }));
    await write(directory, (c) =>
      insertNetwork(c, {
        id,
        tenant: 'default',
        internal: false,
        gateway: undefined,
        ipam: 'daolinet',
        mtu: 1500,
        options: {},
        poolIds: [poolOf(id)],
      }),
    );
  }
});

const write = (store: MemoryDirectory, make: (context: PlanContext) => Ops) =>
  store.transact((context) => ({ ops: make(context), result: undefined }));
const endpointId = (name: string) => name.padEnd(64, '0') as EndpointId;
const start = (store: MemoryDirectory, name: string, networkId: NetworkId, number: number) =>
  write(store, (c) =>
    insertEndpoint(c, {
      id: endpointId(name),
      networkId,
      address: addressOf(networkId, number),
      mac: (0x024200000000 + number) as Mac,
      interfaceName: name,
    }),
  );
const stop = (store: MemoryDirectory, name: string) => write(store, (c) => deleteEndpoint(c, endpointId(name)));
const reserve = (store: MemoryDirectory, poolId: PoolId, id: NetworkId, number: number) =>
  write(store, (c) => insertAddress(c, { poolId, address: addressOf(id, number), use: 'endpoint' }));
const needed = (store: MemoryDirectory) => [...neededBy(store.view, store.host)].map(({ id }) => id).sort();

describe('what a host needs', () => {
  test('the networks of its own endpoints, however many there are of others', async () => {
    await start(directory, 'e1', A, 5);
    await start(directory, 'e2', A, 6);
    await start(other, 'e3', B, 5);
    expect(needed(directory)).toEqual([A]);
    expect(needed(other)).toEqual([B]);
    await stop(directory, 'e1');
    expect(needed(directory)).toEqual([A]);
    await stop(directory, 'e2');
    // Their addresses are held until Docker gives them back.
    expect(needed(directory)).toEqual([A]);
    expect(needed(other)).toEqual([B]);
  });

  test('the networks of endpoints of hosts that it stands by for', async () => {
    await write(directory, () => []);
    await start(other, 'e1', B, 5);
    expect(needed(directory)).toEqual([]);
    const before = directory.view.endpointsOn('host2');
    await write(other, (c) => planSwitch(c, { generation: 1, backups: ['host1'], profile: '' }));
    expect(needed(directory)).toEqual([B]);
    expect([...directory.view.endpointsOn('host2')]).toEqual([...before]);
    await start(other, 'e2', C, 5);
    expect(needed(directory)).toEqual([B, C]);
    const { portNo } = directory.view.endpoint(endpointId('e2'))!;
    expect(directory.view.endpointByPort('host2', portNo)?.id).toBe(endpointId('e2'));
    await stop(other, 'e2');
    expect(directory.view.endpointByPort('host2', portNo)).toBeUndefined();
    // What its Docker only asked for is no controller's business.
    await reserve(other, poolOf(A), A, 9);
    const conditions = conditionsOf(needsOf(directory.view, 'host1', new Set()));
    const [own, of] = ['host1', 'host2'].map((name) => directory.view.host(name)!.uuid);
    expect(conditions).toMatchObject({
      Endpoint: [
        ['host', '==', own],
        ['host', '==', of],
      ],
      NetworkReplica: [['host', '==', own]],
      PublishedPort: [['host', '==', own]],
    });
    await write(other, (c) => planSwitch(c, { generation: 1, backups: [], profile: '' }));
    expect(needed(directory)).toEqual([]);
  });

  test('networks where its Docker has asked for an address; a pool alone that is of no network', async () => {
    await reserve(directory, poolOf(C), C, 9);
    const cidr = parseCidr('10.9.0.0/24');
    await write(directory, (c) => insertPool(c, { tenant: 'default', cidr }));
    const loose = poolIdOf('default', cidr);
    await write(directory, (c) => insertAddress(c, { poolId: loose, address: parseIpv4('10.9.0.1'), use: 'gateway' }));
    expect(needed(directory)).toEqual([C]);
    await write(directory, (c) => insertAddress(c, { poolId: loose, address: parseIpv4('10.9.0.2'), use: 'endpoint' }));
    expect(needed(directory)).toEqual([C, loose]);
  });
});

describe('what a host needs, by asking', () => {
  const rule = { protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 1, containerPort: 80, from: [] } as const;
  /** A database as one that has these tables alone, and what it was asked. */
  function clientOf(has: (table: string) => boolean) {
    const { schema } = directory.database;
    const older = { ...schema, tables: new Map([...schema.tables].filter(([table]) => has(table))) };
    const asked: string[][] = [];
    const transact = (operations: readonly Operation[]) => {
      for (const operation of operations) encodeOperation(older, operation);
      asked.push(operations.map((operation) => ('table' in operation ? operation.table : '')));
      return Promise.resolve(directory.database.transact(operations));
    };
    return { schema: older, transact, asked };
  }

  beforeEach(async () => {
    await start(directory, 'e1', A, 5);
    await start(other, 'e2', B, 5);
    await write(directory, (c) =>
      insertFirewallRule(c, { ...rule, name: 'a', host: 'host1', container: 'container:web' }),
    );
    await write(other, (c) => planSwitch(c, { generation: 1, backups: ['host1'], profile: '' }));
  });
  const uuidsOf = (...ids: readonly NetworkId[]) => new Set(ids.map((id) => directory.view.network(id)!.uuid));

  test('is what it and the hosts that it stands by for have', async () => {
    const client = clientOf(() => true);
    expect(await fetchNeeds(client, 'host1')).toMatchObject({
      host: directory.view.host('host1')!.uuid,
      backed: new Set([directory.view.host('host2')!.uuid]),
      networks: uuidsOf(A, B),
      pools: new Set([A, B].map((id) => directory.view.pool(poolOf(id))!.uuid)),
      containers: new Set(['web']),
    });
    const ofEach = ['Endpoint', 'Endpoint', 'FirewallRule', 'FirewallRule'];
    expect(client.asked).toEqual([['Host', 'Pool'], ['Switch'], ofEach]);
  });

  test('in a database of before there were backups: what it has itself', async () => {
    const client = clientOf((table) => table !== 'Switch');
    expect(await fetchNeeds(client, 'host1')).toMatchObject({ backed: new Set(), networks: uuidsOf(A) });
  });
});

describe('conditions', () => {
  test('are by network and pool, and by host for its own', () => {
    const { view } = directory;
    const host = view.host('host1')!.uuid;
    const [a, b] = [view.network(A)!.uuid, view.network(B)!.uuid];
    const pools = [view.pool(poolOf(A))!.uuid, view.pool(poolOf(B))!.uuid];
    const conditions = conditionsOf(needsOf(view, 'host1', new Set([a, b])));
    expect(conditions['Endpoint']).toEqual([['host', '==', host], ...[a, b].sort().map((n) => ['network', '==', n])]);
    expect(conditions['Address']).toEqual([
      ['use', '==', 'gateway'],
      ['use', '==', 'auxiliary'],
      ...pools.sort().map((pool) => ['pool', '==', pool]),
      ['holders', 'includes', [host]],
    ]);
    expect(conditions['PublishedPort']).toEqual([['host', '==', host]]);
    expect(conditions['NetworkReplica']).toEqual([['host', '==', host]]);
  });

  test('of a host that has no row yet are none but gateways', () => {
    const conditions = conditionsOf(needsOf(directory.view, 'nobody', new Set()));
    expect(conditions).toMatchObject({ Endpoint: [], PublishedPort: [], NetworkReplica: [] });
    expect(conditions['Address']).toHaveLength(2);
  });
});

describe('interest', () => {
  let clock: ManualClock;
  let interest: Interest;
  let applied: { conditions: TableConditions; done: () => void }[];
  const networks = () =>
    (applied.at(-1)?.conditions['Endpoint'] ?? [])
      .filter(([column]) => column === 'network')
      .map(([, , uuid]) => (directory.view.row('Network', uuid as string)?.id ?? 'gone') as string)
      .sort();
  const isDone = async (promise: Promise<unknown>) => {
    const nothing = Symbol('nothing');
    await new Promise((resolve) => setImmediate(resolve));
    return (await Promise.race([promise, Promise.resolve(nothing)])) !== nothing;
  };

  beforeEach(() => {
    clock = new ManualClock();
    applied = [];
    interest = new Interest(
      {
        host: 'host1',
        view: directory.view,
        waiting: () => [],
        apply: (conditions) => new Promise((done) => applied.push({ conditions, done })),
        clock,
      },
      { conditions: {}, networks: [] },
    );
    directory.onChange((changes) => interest.take(changes));
  });

  test('is widened before whoever needs it goes on, once', async () => {
    const first = interest.follow({ network: A });
    const second = interest.follow({ pool: poolOf(A) });
    expect(applied).toHaveLength(1);
    expect(await isDone(first)).toBe(false);
    applied[0]!.done();
    expect([await isDone(first), await isDone(second)]).toEqual([true, true]);
    expect(networks()).toEqual([A]);
    expect(await isDone(interest.follow({ network: A }))).toBe(true);
    expect(applied).toHaveLength(1);
    expect(interest.follows(directory.view.network(A)!)).toBe(true);
    expect(interest.follows(directory.view.network(B)!)).toBe(false);
  });

  test('what is not there is passed over', async () => {
    const nothing = interest.follow({ network: 'x' as NetworkId, pool: 'y' as PoolId });
    applied.at(-1)?.done();
    await nothing;
    expect(networks()).toEqual([]);
  });

  test('follows what the host has, and for a while what it had', async () => {
    await start(directory, 'e1', A, 5);
    await start(directory, 'e2', B, 5);
    expect(networks()).toEqual([A, B]);
    await stop(directory, 'e1');
    await write(directory, () => [{ op: 'delete', table: 'Address', where: [['address', '==', '10.1.0.5']] }]);
    clock.advance(LINGER_MS - 1);
    expect(networks()).toEqual([A, B]);
    clock.advance(1);
    expect(networks()).toEqual([B]);
    const before = applied.length;
    clock.advance(10 * LINGER_MS);
    expect(applied).toHaveLength(before);
    interest.stop();
    expect(clock.waiting).toBe(0);
  });

  test('a container that comes back in time costs the database nothing', async () => {
    await start(directory, 'e1', A, 5);
    const before = applied.length;
    await stop(directory, 'e1');
    clock.advance(LINGER_MS / 2);
    await start(directory, 'e1', A, 5);
    clock.advance(LINGER_MS);
    expect(applied).toHaveLength(before);
  });

  test('follows from one moment to the next a host that it stands by for, and what that has later', async () => {
    await write(other, (c) => planSwitch(c, { generation: 1, backups: [], profile: 'a' }));
    await start(other, 'e1', B, 5);
    expect(networks()).toEqual([]);
    await write(other, (c) => planSwitch(c, { generation: 1, backups: ['host1'], profile: 'a' }));
    expect(networks()).toEqual([B]);
    const before = applied.length;
    await write(other, (c) => planSwitch(c, { generation: 1, backups: ['host1'], profile: 'b' }));
    expect(applied).toHaveLength(before);
    await start(other, 'e2', C, 5);
    expect(networks()).toEqual([B, C]);
  });

  test('the database may be away, but whoever waits is told', async () => {
    const followed = interest.follow({ network: A }).catch((error: unknown) => error);
    clock.advance(7_000);
    expect(await followed).toMatchObject({ code: 'unavailable' });
    expect(clock.waiting).toBe(1);
  });
});

test('an endpoint without its address waits for it, where not everything is followed', () => {
  const uuid = (n: number) => `00000000-0000-4000-8000-00000000000${n}` as Uuid;
  const bad: string[] = [];
  const tables = new DirectoryTables(
    'host1',
    ({ message }) => void bad.push(message),
    () => true,
  );
  const address = {
    table: 'Address',
    uuid: uuid(5),
    row: { tenant: uuid(2), address: '10.0.0.5', pool: uuid(4), use: 'endpoint', holders: [], since: 1 },
  };
  const endpoint = {
    table: 'Endpoint',
    uuid: uuid(6),
    row: {
      id: endpointId('e'),
      network: uuid(3),
      address: uuid(5),
      mac: '02:00:00:00:00:01',
      host: uuid(1),
      locator: '100.64.0.2',
      port_no: 1,
      interface: 'dle',
      aliases: [],
      published_ports: [uuid(7)],
      created: 1,
    },
  };
  const host = { name: 'host1', router_mac: '02:00:00:00:00:02', datapath_id: '1', locator_blocks: [] };
  const network = { id: A, key: 1, tenant: uuid(2), ipam: 'docker', mtu: 1500, created: 1 };
  const pool = { id: 'default/10.0.0.0/24', tenant: uuid(2), cidr: '10.0.0.0/24', network: uuid(3), created: 1 };
  const told = tables.apply([
    { table: 'Host', uuid: uuid(1), row: host },
    { table: 'Tenant', uuid: uuid(2), row: { name: 'default', number: 1, revision: 0 } },
    { table: 'Network', uuid: uuid(3), row: network },
    { table: 'Pool', uuid: uuid(4), row: pool },
    endpoint,
  ]);
  expect(told.map(({ table }) => table)).toEqual(['Host', 'Tenant', 'Network', 'Pool']);
  expect([...tables.waitingNetworks()].map(({ id }) => id)).toEqual([A]);
  expect(tables.apply([address]).map(({ table, kind }) => `${kind} ${table}`)).toEqual([
    'insert Address',
    'insert Endpoint',
  ]);
  expect([...tables.waitingNetworks()]).toEqual([]);
  expect(tables.endpoint(endpointId('e'))).toMatchObject({ networkId: A, address: parseIpv4('10.0.0.5') });
  // The port's row is another host's affair; what OVSDB sends differences to is the column as it is.
  expect(tables.endpoint(endpointId('e'))!.publishedPorts).toEqual([]);
  expect(tables.typedRows('Endpoint').raw(uuid(6))!['published_ports']).toEqual([uuid(7)]);
  tables.apply([{ table: 'Address', uuid: uuid(5) }, { table: 'Endpoint', uuid: uuid(6) }, endpoint]);
  tables.apply([{ table: 'Endpoint', uuid: uuid(6) }]);
  expect([...tables.waitingNetworks()]).toEqual([]);
  expect(bad).toEqual([]);
});

describe('what rules connect', () => {
  const everything = () => ({ ops: [], result: undefined });
  const groupOf = (store: MemoryDirectory, name: string) => store.view.group(name) as GroupRow;
  const networkOf = (store: MemoryDirectory, id: NetworkId) => store.view.network(id) as NetworkRow;
  const allow = (from: string, to: string) => (c: PlanContext) =>
    insertPolicy(c, { name: 'p', action: 'allow', from, to, protocol: undefined, ports: [] }, undefined);

  beforeEach(async () => {
    await directory.transact(everything);
    for (const [id, name] of [
      [A, 'a'],
      [B, 'b'],
      [C, 'c'],
    ] as const) {
      await write(directory, (c) => renameNetwork(c, id, name));
    }
    await start(directory, 'e1', A, 5);
  });

  test('networks of one group', async () => {
    await write(directory, (c) => insertGroup(c, 'g'));
    await write(directory, (c) => addMember(c, groupOf(directory, 'g'), networkOf(directory, A)));
    await write(directory, (c) => addMember(c, groupOf(directory, 'g'), networkOf(directory, C)));
    expect(needed(directory)).toEqual([A, C]);
    await write(directory, (c) => removeMember(c, groupOf(directory, 'g'), networkOf(directory, C)));
    expect(needed(directory)).toEqual([A]);
  });

  test('a pair that is connected may be in any network of the tenant, one that is not in none', async () => {
    await write(directory, (c) => setPair(c, 'container:x', 'container:y', false));
    expect(needed(directory)).toEqual([A]);
    await write(directory, (c) => setPair(c, 'container:y', 'container:x', true));
    expect(needed(directory)).toEqual([A, B, C]);
  });

  test.each([
    ['network:a', 'network:c', [A, C]],
    ['network:b', 'network:a', [A, B]],
    ['network:b', 'network:c', [A]],
    ['label:app=web', 'network:b', [A, B]],
    ['network:b', 'label:app=web', [A, B]],
  ])('a policy that allows %s to %s', async (from, to, networks) => {
    await write(directory, allow(from, to));
    expect(needed(directory)).toEqual(networks);
  });
});

describe('firewall rules', () => {
  const rule = {
    name: 'ssh',
    protocol: 'tcp',
    hostIp: parseIpv4('0.0.0.0'),
    hostPort: 1,
    containerPort: 22,
    from: [],
  } as const;
  const containers = (store: MemoryDirectory) =>
    (conditionsOf(needsOf(store.view, store.host, new Set()))['Endpoint'] ?? [])
      .filter(([column]) => column === 'container_name')
      .map(([, , name]) => name);

  test('the port’s host follows the container by its name, and its network when it is there', async () => {
    await write(directory, (c) => insertFirewallRule(c, { ...rule, host: 'host1', container: 'container:web' }));
    await write(directory, (c) =>
      insertFirewallRule(c, { ...rule, name: 'b', hostPort: 2, host: 'host1', container: 'container:host2/db' }),
    );
    expect([containers(directory), containers(other), needed(directory)]).toEqual([['db', 'web'], [], []]);
    await start(other, 'e1', B, 5);
    expect(needed(directory)).toEqual([]);
    await write(other, (c) => updateEndpoint(c, endpointId('e1'), { containerName: 'web' }));
    expect([needed(directory), needed(other)]).toEqual([[B], [B]]);
    await stop(other, 'e1');
    expect(needed(directory)).toEqual([]);
  });
});
