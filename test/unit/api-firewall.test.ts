// Firewall rules by the API, with the hosts that open the ports: what is made of which words, what is refused and how.
import { DaoliError } from '../../src/base/errors';
import { silentLogger } from '../../src/base/logger';
import type { Operation } from '../../src/api/operation';
import { firewallOperations, type FirewallAgent } from '../../src/api/operations/firewall';
import { updateEndpoint } from '../../src/directory/endpoint-operations';
import { ForwardedPorts } from '../../src/driver/forwarded-ports';
import { FirewallWriter } from '../../src/policy/firewall-writer';
import { contractConfig } from '../fakes/host-contract';
import { ManualClock } from '../fakes/manual-clock';
import { RecordingHost } from '../fakes/recording-host';
import { addContainer, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

const OPERATIONS: readonly Operation<FirewallAgent>[] = firewallOperations;

let cluster: SmallCluster;
let clock: ManualClock;
let refusal: DaoliError | undefined;
let hosts: Record<'h1' | 'h2', { host: RecordingHost; agent: ForwardedPorts }>;

async function startHost(name: 'h1' | 'h2') {
  const host = new RecordingHost();
  await host.firewall.apply(contractConfig, []);
  const { firewall, ports } = host;
  const agent = new ForwardedPorts({ store: cluster[name], firewall, ports, clock, logger: silentLogger });
  agent.start();
  return { host, agent };
}

beforeEach(async () => {
  refusal = undefined;
  cluster = await createSmallCluster();
  clock = new ManualClock();
  hosts = { h1: await startHost('h1'), h2: await startHost('h2') };
});
afterEach(async () => {
  for (const { agent } of Object.values(hosts)) await agent.stop();
});

/** Ann and bob are in red on h1, dan in red on h2. */
async function call(id: string, parameters = {}, body?: object): Promise<unknown> {
  const operation = OPERATIONS.find((each) => each.id === id)!;
  const mayWrite = () => {
    if (refusal !== undefined) throw refusal;
  };
  const firewallRules = new FirewallWriter({ store: cluster.h1, clock, mayWrite });
  const agent = {
    view: cluster.h1.view,
    settled: () => Promise.resolve(),
    status: () => ({ state: 'ready', host: 'h1' }),
    firewallRules,
  };
  const outgoing = await operation.run(agent, { parameters, query: {}, body, signal: new AbortController().signal });
  return outgoing.kind === 'json' ? outgoing.value : undefined;
}
const create = (body: object) =>
  call('createFirewallRule', {}, { name: 'ssh', container: 'ann', hostPort: 20022, containerPort: 22, ...body });
const names = async () => ((await call('listFirewallRules')) as { name: string }[]).map(({ name }) => name);

test('a port of the container’s host, for everybody', async () => {
  const rule = {
    ...{ name: 'ssh', host: 'h1', protocol: 'tcp', hostIp: null, hostPort: 20022 },
    ...{ container: 'ann', containerPort: 22, from: [], status: 'open', runsOn: 'h1' },
  };
  expect(await create({})).toEqual(rule);
  expect(await call('listFirewallRules')).toEqual([rule]);
  expect(await call('showFirewall', { name: 'ann' })).toEqual([rule]);
  expect(await call('showFirewall', { name: 'dan' })).toEqual([]);
});

test('a port of another host, by its address, over UDP, for some', async () => {
  const body = { hostIp: '192.0.2.2', protocol: 'udp', from: ['198.51.100.0/24', '203.0.113.7'] };
  expect(await create(body)).toMatchObject({
    ...{ host: 'h2', hostIp: '192.0.2.2', protocol: 'udp', runsOn: 'h1' },
    from: ['198.51.100.0/24', '203.0.113.7/32'],
  });
  expect(hosts.h2.host.ports.list()).toMatchObject([{ hostIp: '192.0.2.2', hostPort: 20022 }]);
});

test('another address is one of this host; the container may be given by its id, and the rule follows its name', async () => {
  const [dan] = cluster.h1.view.endpointsOn('h2');
  const made = await create({ container: dan!.containerId, hostIp: '198.51.100.1' });
  expect(made).toMatchObject({ host: 'h1', hostIp: '198.51.100.1', container: 'dan', runsOn: 'h2' });
});

test('with its host in front the rule is for that one', async () => {
  expect(await create({ container: 'h2/dan' })).toMatchObject({ host: 'h2', container: 'h2/dan' });
  expect(await call('showFirewall', { name: 'dan' })).toHaveLength(1);
});

test('several are deleted, or none', async () => {
  await create({});
  await create({ name: 'b', hostPort: 2 });
  await create({ name: 'c', hostPort: 3 });
  await expect(call('deleteFirewallRules', { name: 'ssh,bb' })).rejects.toThrow(
    'firewall rule bb does not exist; did you mean b?',
  );
  expect(await names()).toEqual(['b', 'c', 'ssh']);
  await call('deleteFirewallRules', { name: 'ssh,b,b' });
  expect(await names()).toEqual(['c']);
});

test.each([
  [{ container: 'anne' }, 'not-found', 'no container anne is in a DaoliNet network; did you mean ann?'],
  [{ container: 'h9/ann' }, 'not-found', 'there is no host h9; did you mean h1 or h2?'],
  [{ name: 'a b' }, 'invalid', '"a b" is no name of a firewall rule: it is made of letters'],
  [{ name: 'taken', hostPort: 9 }, 'conflict', 'firewall rule taken exists already: choose another name'],
  [{ hostPort: 1 }, 'conflict', 'port 1/tcp of host h1 is taken by firewall rule taken, which leads to container:bob'],
  [{ hostPort: 80 }, 'conflict', 'port 80/tcp of host h1 is in use by another program: choose another'],
  [{ hostPort: 0 }, 'invalid', 'hostPort: 0 is no port: give 1 to 65535'],
  [{ containerPort: 65_536 }, 'invalid', 'containerPort: 65536 is no port: give 1 to 65535'],
  [{ hostIp: '1.2.3' }, 'invalid', 'hostIp: "1.2.3" is not an IPv4 address'],
  [
    { from: ['10.0.0.1/8'] },
    'invalid',
    'from[0]: "10.0.0.1/8" has bits set below its prefix: did you mean 10.0.0.0/8?',
  ],
  [{ from: ['ann'] }, 'invalid', 'from[0]: "ann" is not an IPv4 address'],
  [{ protocol: 'sctp' }, 'invalid', 'protocol: "sctp" is neither tcp nor udp'],
  [{ port: 1 }, 'invalid', 'there is no field port'],
])('%j is refused, and nothing is changed', async (body, code, message) => {
  await create({ name: 'taken', container: 'bob', hostPort: 1 });
  hosts.h1.host.ports.takenByOthers.add('tcp 80');
  await expect(create(body)).rejects.toMatchObject({ code, message: expect.stringContaining(message) as string });
  expect(await names()).toEqual(['taken']);
});

test('two containers of one name: it has to be said which', async () => {
  const second = await addContainer(cluster.h2, 'ann', 'red', '10.1.0.9');
  await expect(create({})).rejects.toThrow('ann is 2 containers');
  await expect(create({ container: second.containerId })).rejects.toThrow(
    '2 containers are called ann: h1/ann, h2/ann; name one of them so',
  );
  expect(await create({ container: 'h2/ann' })).toMatchObject({ container: 'h2/ann', runsOn: 'h2' });
});

test('a container without a name has to get one first', async () => {
  const [dan] = cluster.h1.view.endpointsOn('h2');
  await change(cluster.h2, (context) => updateEndpoint(context, dan!.id, { containerName: undefined }));
  await expect(create({ container: dan!.containerId })).rejects.toMatchObject({ code: 'unavailable' });
});

test('a host that does not answer: the rule is taken back', async () => {
  await hosts.h2.agent.stop();
  const created = create({ container: 'dan' }).catch((error: unknown) => error);
  for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(5_000);
  expect(await created).toMatchObject({
    code: 'unavailable',
    message: 'host h2 did not open the port within 5 s: is its agent running?',
  });
  expect(await names()).toEqual([]);
});

test('a client of a cluster opens nothing and deletes nothing, but shows what there is', async () => {
  await create({});
  refusal = new DaoliError('conflict', 'only servers of the cluster open ports of hosts: do it on 192.0.2.1');
  await expect(create({ name: 'b', hostPort: 2 })).rejects.toThrow('do it on 192.0.2.1');
  await expect(call('deleteFirewallRules', { name: 'ssh' })).rejects.toThrow('do it on 192.0.2.1');
  expect(await names()).toEqual(['ssh']);
});
