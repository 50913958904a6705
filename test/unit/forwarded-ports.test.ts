// A host follows its firewall rules: what is bound, where the packet filter leads it, and what the rows are told.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import { deleteFirewallRule, insertFirewallRule, type NewFirewallRule } from '../../src/directory/control-operations';
import { deleteEndpoint, updateEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointRow } from '../../src/directory/rows';
import { ForwardedPorts } from '../../src/driver/forwarded-ports';
import { ManualClock } from '../fakes/manual-clock';
import { contractConfig } from '../fakes/host-contract';
import { RecordingHost } from '../fakes/recording-host';
import { addContainer, addNetwork, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

let cluster: SmallCluster;
let host: RecordingHost;
let clock: ManualClock;
let agents: ForwardedPorts[] = [];

function startAgent(): ForwardedPorts {
  const { firewall, ports } = host;
  const agent = new ForwardedPorts({ store: cluster.h1, firewall, ports, clock, logger: silentLogger });
  agents.push(agent);
  agent.start();
  return agent;
}

beforeEach(async () => {
  cluster = await createSmallCluster();
  host = new RecordingHost();
  await host.firewall.apply(contractConfig, []);
  clock = new ManualClock();
  startAgent();
});
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  agents = [];
  expect(clock.waiting).toBe(0);
});

const rule = (changes: Partial<NewFirewallRule> = {}): NewFirewallRule => ({
  ...{ name: 'ssh', host: 'h1', protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 20022 },
  ...{ container: 'container:ann', containerPort: 22, from: [] },
  ...changes,
});
const create = (changes: Partial<NewFirewallRule> = {}) =>
  change(cluster.h1, (context) => insertFirewallRule(context, rule(changes)));
const remove = (name: string) =>
  change(cluster.h1, ({ view }) => {
    const row = [...view.firewallRules()].find((each) => each.name === name);
    return row === undefined ? [] : deleteFirewallRule(row);
  });
const status = (name = 'ssh') => [...cluster.h1.view.firewallRules()].find((row) => row.name === name)?.status;
const held = () => host.ports.list().map(({ endpointId, hostIp, hostPort }) => `${endpointId} ${hostIp}:${hostPort}`);
const leadsTo = (name = 'ssh') => host.firewall.forwarded.get(name)?.target?.locator;
const endpointOf = (name: string) =>
  [...cluster.h1.view.endpoints()].find((row) => row.containerName === name) as EndpointRow;

/** Everything that was set going has come to its end. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('a port is bound, led to the container, and its row says so', async () => {
  await create({ from: [parseCidr('192.0.2.0/24')] });
  await settled();
  expect(held()).toEqual(['rule:ssh :20022']);
  expect(host.firewall.forwarded.get('ssh')).toEqual({
    name: 'ssh',
    protocol: 'tcp',
    hostPort: 20022,
    from: [parseCidr('192.0.2.0/24')],
    target: {
      locator: endpointOf('ann').locator,
      port: 22,
      tenantPools: [parseCidr('10.1.0.0/24'), parseCidr('10.2.0.0/24')],
    },
  });
  expect(status()).toBe('open');
});

test('rules of other hosts are theirs', async () => {
  await create({ host: 'h2' });
  await settled();
  expect([held(), status()]).toEqual([[], undefined]);
});

test('on one address of the host', async () => {
  await create({ hostIp: parseIpv4('192.0.2.1') });
  await settled();
  expect(held()).toEqual(['rule:ssh 192.0.2.1:20022']);
  expect(host.firewall.forwarded.get('ssh')?.hostIp).toBe(parseIpv4('192.0.2.1'));
});

test('a container of another host is led to as well', async () => {
  await create({ container: 'container:dan' });
  await settled();
  expect(leadsTo()).toBe(endpointOf('dan').locator);
});

test('the port stays, and leads nowhere, while its container is away; it follows the container to another host', async () => {
  await create();
  await settled();
  await change(cluster.h1, (context) => deleteEndpoint(context, endpointOf('ann').id));
  await settled();
  expect([held(), leadsTo()]).toEqual([['rule:ssh :20022'], undefined]);
  expect(host.firewall.forwarded.has('ssh')).toBe(true);
  expect(status()).toBe('container ann does not run');
  const { locator } = await addContainer(cluster.h2, 'ann', 'red', '10.1.0.9');
  await settled();
  expect([leadsTo(), status(), held()]).toEqual([locator, 'open', ['rule:ssh :20022']]);
});

test('a container that has left its sandbox is away', async () => {
  await create();
  await settled();
  await change(cluster.h1, (context) => updateEndpoint(context, endpointOf('ann').id, { sandbox: undefined }));
  await settled();
  expect([leadsTo(), status()]).toEqual([undefined, 'container ann does not run']);
});

test('of two containers of one name, the one that was there first; with its host, that one', async () => {
  await addContainer(cluster.h2, 'ann', 'red', '10.1.0.9');
  const second = [...cluster.h1.view.endpointsOn('h2')].find(({ containerName }) => containerName === 'ann')!;
  await create();
  await create({ name: 'far', hostPort: 1, container: 'container:h2/ann' });
  await create({ name: 'none', hostPort: 2, container: 'container:h2/bob' });
  await settled();
  expect([leadsTo() === second.locator, leadsTo('far'), leadsTo('none')]).toEqual([false, second.locator, undefined]);
  expect(status('none')).toBe('container h2/bob does not run');
});

test('a container in internal networks alone is not led to', async () => {
  await addNetwork(cluster.h1, 'inside', '10.5.0.0/24', { internal: true });
  await addContainer(cluster.h1, 'eve', 'inside', '10.5.0.2');
  await create({ container: 'container:eve' });
  await settled();
  expect([leadsTo(), status()]).toEqual([
    undefined,
    'container eve is in internal networks alone: docker network connect it to another',
  ]);
  await addContainer(cluster.h1, 'eve', 'red', '10.1.0.7');
  await settled();
  expect(status()).toBe('open');
});

describe('what is in the way is said, and looked at again', () => {
  test('another program', async () => {
    host.ports.takenByOthers.add('tcp 20022');
    await create();
    await settled();
    expect(status()).toBe('port 20022/tcp of host h1 is in use by another program: choose another');
    expect(host.firewall.forwarded.has('ssh')).toBe(false);
    host.ports.takenByOthers.clear();
    clock.advance(5_000);
    await settled();
    expect([status(), held()]).toEqual(['open', ['rule:ssh :20022']]);
  });

  test('a container’s published port', async () => {
    const { id: endpointId, locator } = endpointOf('bob');
    const port = { firstPort: 20022, lastPort: 20022, hostIp: '', protocol: 'tcp', containerPort: 80 } as const;
    await host.ports.reserve({ ...port, endpointId, locator });
    await create();
    await settled();
    expect(status()).toBe('port 20022/tcp of host h1 is published by container bob in network red: choose another');
    await remove('ssh');
    await settled();
    clock.advance(5_000);
    await settled();
  });

  test('the packet filter', async () => {
    host.fail('firewall.forward', new DaoliError('internal', 'nft refused the rules of DaoliNet: no'));
    await create();
    await settled();
    expect(status()).toBe('nft refused the rules of DaoliNet: no');
    await create({ name: 'other', hostPort: 1 });
    host.fail('firewall.forward', new DaoliError('internal', 'no'));
    await remove('other');
    await settled();
    expect(held()).toEqual(['rule:ssh :20022']);
    clock.advance(5_000);
    await settled();
    expect(status()).toBe('open');
  });
});

test('a rule that goes takes its port along, and one that takes its name has it at once', async () => {
  await create();
  await settled();
  await remove('ssh');
  await create({ hostPort: 20022, container: 'container:bob' });
  await settled();
  expect([held(), leadsTo()]).toEqual([['rule:ssh :20022'], endpointOf('bob').locator]);
  await remove('ssh');
  await settled();
  expect([held(), host.firewall.forwarded.size]).toEqual([[], 0]);
});

test('an agent that starts anew opens what was open, and closes nothing', async () => {
  await create();
  await settled();
  for (const agent of agents.splice(0)) await agent.stop();
  host = new RecordingHost();
  await host.firewall.apply(contractConfig, []);
  startAgent();
  await settled();
  expect([held(), leadsTo(), status()]).toEqual([['rule:ssh :20022'], endpointOf('ann').locator, 'open']);
});

test('new pools of the tenant are told', async () => {
  await create();
  await settled();
  await addNetwork(cluster.h1, 'more', '10.9.0.0/24');
  await settled();
  expect(host.firewall.forwarded.get('ssh')?.target?.tenantPools).toHaveLength(3);
});

test('containers that no rule names cost nothing', async () => {
  await create();
  await settled();
  const calls = host.calls.length;
  await addContainer(cluster.h1, 'zoe', 'red', '10.1.0.50');
  await settled();
  expect(host.calls.slice(calls)).toEqual([]);
});
