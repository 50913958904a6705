// Groups, pairs, policies and firewall rules as they are written: what is refused, and what it says.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import {
  addMember,
  clearPair,
  deletePolicy,
  insertFirewallRule,
  insertGroup,
  insertPolicy,
  removeMember,
  setDefaultDeny,
  setPair,
  tellFirewallStatus,
  type NewFirewallRule,
  type NewPolicy,
} from '../../src/directory/control-operations';
import { deleteNetwork, insertNetwork, renameNetwork } from '../../src/directory/operations';
import type { GroupRow, NetworkId, NetworkRow } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const SHOP = 'a'.repeat(64) as NetworkId;
const DATA = 'b'.repeat(64) as NetworkId;
const RED = 'c'.repeat(64) as NetworkId;

let directory: MemoryDirectory;
const write = (make: (context: PlanContext) => Ops) =>
  directory.transact((context) => ({ ops: make(context), result: undefined }));
const group = (name = 'g') => directory.view.group(name) as GroupRow;
const network = (id: NetworkId) => directory.view.network(id) as NetworkRow;

beforeEach(async () => {
  directory = createMemoryDirectory();
  for (const [id, name, tenant, subnet] of [
    [SHOP, 'shop', 'default', '10.1.0.0/24'],
    [DATA, 'data', 'default', '10.2.0.0/24'],
    [RED, 'red', 'red', '10.1.0.0/24'],
  ] as const) {
    const newPools = [{ cidr: parseCidr(subnet) }];
    const rest = { internal: false, gateway: undefined, ipam: 'docker', mtu: 1500, options: {}, newPools } as const;
    await write((c) => insertNetwork(c, { id, tenant, ...rest }));
    await write((c) => renameNetwork(c, id, name));
  }
});

describe('groups', () => {
  test('a network comes, is there once, and goes', async () => {
    await write((c) => insertGroup(c, 'g'));
    await write((c) => addMember(c, group(), network(SHOP)));
    await write((c) => addMember(c, group(), network(SHOP)));
    expect(group().networkIds).toEqual([SHOP]);
    await write((c) => removeMember(c, group(), network(SHOP)));
    await expect(write((c) => removeMember(c, group(), network(SHOP)))).rejects.toThrow(
      'network shop is not in group g',
    );
  });

  test('one that is there, and a name that is none', async () => {
    await write((c) => insertGroup(c, 'g'));
    await expect(write((c) => insertGroup(c, 'g'))).rejects.toThrow('group g exists already');
    await expect(write((c) => insertGroup(c, '-g'))).rejects.toThrow('"-g" is no name of a group');
  });

  test('networks of two tenants, whose addresses may be the same, are not grouped', async () => {
    await write((c) => insertGroup(c, 'g'));
    await write((c) => addMember(c, group(), network(SHOP)));
    await expect(write((c) => addMember(c, group(), network(RED)))).rejects.toThrow(
      'network red is of tenant red, and group g has network shop of tenant default: ' +
        'addresses of two tenants may be the same, so their networks cannot be connected',
    );
  });

  test('a network that goes leaves its groups', async () => {
    await write((c) => insertGroup(c, 'g'));
    await write((c) => addMember(c, group(), network(SHOP)));
    await write((c) => deleteNetwork(c, SHOP));
    expect(group().networkIds).toEqual([]);
  });
});

test('a pair is one, whoever is named first', async () => {
  await write((c) => setPair(c, 'container:b', 'container:a', true));
  await write((c) => setPair(c, 'container:a', 'container:b', false));
  expect([...directory.view.pairs()].map(({ a, b, isConnected }) => [a, b, isConnected])).toEqual([
    ['container:a', 'container:b', false],
  ]);
  await write((c) => clearPair(c, 'container:b', 'container:a'));
  expect([...directory.view.pairs()]).toEqual([]);
});

describe('policies', () => {
  const policy = (name: string): NewPolicy => ({
    name,
    action: 'allow',
    from: 'network:shop',
    to: 'network:data',
    protocol: 'tcp',
    ports: ['80'],
  });
  const names = () => directory.view.policies().map(({ name }) => name);

  test('stand in the order in which they are put', async () => {
    await write((c) => insertPolicy(c, policy('one'), undefined));
    await write((c) => insertPolicy(c, policy('three'), undefined));
    await write((c) => insertPolicy(c, policy('two'), 'three'));
    await write((c) => insertPolicy(c, policy('zero'), 'one'));
    expect(names()).toEqual(['zero', 'one', 'two', 'three']);
    await write(() => deletePolicy(directory.view.policies()[1]!));
    await write((c) => insertPolicy(c, policy('four'), undefined));
    expect(names()).toEqual(['zero', 'two', 'three', 'four']);
  });

  test('two that are put in at once are both there', async () => {
    const other = createMemoryDirectory({ database: directory.database, host: 'host2' });
    await Promise.all([
      write((c) => insertPolicy(c, policy('mine'), undefined)),
      other.transact((c) => ({ ops: insertPolicy(c, policy('theirs'), undefined), result: undefined })),
    ]);
    expect(names().sort()).toEqual(['mine', 'theirs']);
  });

  test('a name that is taken, and a place that is not there', async () => {
    await write((c) => insertPolicy(c, policy('one'), undefined));
    await expect(write((c) => insertPolicy(c, policy('one'), undefined))).rejects.toThrow('policy one exists already');
    await expect(write((c) => insertPolicy(c, policy('two'), 'none'))).rejects.toThrow('policy none does not exist');
  });
});

test('a network is default deny, or not', async () => {
  await write((c) => setDefaultDeny(c, SHOP, true));
  expect(network(SHOP).isDefaultDeny).toBe(true);
  await write((c) => setDefaultDeny(c, SHOP, false));
  expect(network(SHOP).isDefaultDeny).toBe(false);
});

describe('firewall rules', () => {
  const rule = (changes: Partial<NewFirewallRule> = {}): NewFirewallRule => ({
    name: 'ssh',
    host: 'host1',
    protocol: 'tcp',
    hostIp: parseIpv4('0.0.0.0'),
    hostPort: 20022,
    container: 'container:web',
    containerPort: 22,
    from: [parseCidr('192.0.2.0/24')],
    ...changes,
  });

  test('stand with all that they say', async () => {
    await write((c) => insertFirewallRule(c, rule()));
    const [row] = directory.view.firewallRules();
    expect(row).toMatchObject({ ...rule(), status: undefined });
    await write((c) => tellFirewallStatus(c, 'ssh', 'open'));
    expect([...directory.view.firewallRules()][0]?.status).toBe('open');
  });

  test('a port is one rule’s, on one address or all', async () => {
    await write((c) => insertFirewallRule(c, rule()));
    const other = rule({ name: 'other', hostIp: parseIpv4('192.0.2.1') });
    await expect(write((c) => insertFirewallRule(c, other))).rejects.toThrow(
      'port 20022/tcp of host host1 is taken by firewall rule ssh, which leads to container:web: ' +
        'choose another port, or delete that rule',
    );
    await write((c) => insertFirewallRule(c, { ...other, protocol: 'udp' }));
    await expect(write((c) => insertFirewallRule(c, rule({ hostPort: 1 })))).rejects.toThrow(
      'firewall rule ssh exists already',
    );
  });
});
