// Firewall rules between two hosts, as the controllers of both are told: each from its own view of the directory.
import { formatIpv4, parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { hostLocator } from '../../src/directory/allocation';
import { deleteFirewallRule, insertFirewallRule, type NewFirewallRule } from '../../src/directory/control-operations';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointRow } from '../../src/directory/rows';
import type { FlowRelay } from '../../src/flowctl/model';
import { RelayFollower } from '../../src/relay-follower';
import type { MemoryDirectory } from '../fakes/memory-directory';
import { addContainer, addNetwork, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

const RANGE = parseCidr('100.64.0.0/10');
let cluster: SmallCluster;
let told: { relays: readonly FlowRelay[]; relayed: readonly Ipv4[]; count: number }[];

beforeEach(async () => {
  cluster = await createSmallCluster();
  told = [cluster.h1, cluster.h2].map((store) => {
    const heard = { relays: [] as readonly FlowRelay[], relayed: [] as readonly Ipv4[], count: 0 };
    const follower = new RelayFollower({
      store,
      locatorRange: RANGE,
      controller: {
        setRelays: (relays) => {
          heard.relays = relays;
          heard.count += 1;
        },
      },
      setRelayed: (locators) => void (heard.relayed = locators),
    });
    follower.load();
    store.onChange((changes) => follower.take(changes));
    return heard;
  });
});

const rule = (changes: Partial<NewFirewallRule>): NewFirewallRule => ({
  ...{ name: 'ssh', host: 'h1', protocol: 'tcp', hostIp: parseIpv4('0.0.0.0'), hostPort: 20022 },
  ...{ container: 'container:dan', containerPort: 22, from: [] },
  ...changes,
});
const create = (changes: Partial<NewFirewallRule> = {}) =>
  change(cluster.h1, (context) => insertFirewallRule(context, rule(changes)));
const endpointOf = (name: string, host?: string) =>
  [...cluster.h1.view.endpoints()].find(
    (row) => row.containerName === name && (host ?? row.host) === row.host,
  ) as EndpointRow;
const ofHost = (store: MemoryDirectory, name: string) => {
  const row = store.view.host(name)!;
  return { locator: hostLocator(row, RANGE)!, routerMac: row.routerMac, isTunnelled: false };
};

test('the port’s host sends to the endpoint, and the endpoint’s host lets it in', async () => {
  await create();
  await create({ name: 'dns', protocol: 'udp', hostPort: 53, containerPort: 5353 });
  const { locator, portNo, mac, address: ip } = endpointOf('dan');
  const services = [
    { protocol: 'TCP', port: 22 },
    { protocol: 'UDP', port: 5353 },
  ];
  const [h1, h2] = [ofHost(cluster.h1, 'h1'), ofHost(cluster.h1, 'h2')];
  expect(told[0]!.relays).toEqual([{ kind: 'away', ...h2, locator, services }]);
  expect(told[0]!.relayed.map(formatIpv4)).toEqual([formatIpv4(locator)]);
  expect(told[1]!.relays).toEqual([{ kind: 'here', peer: h1, endpoint: { portNo, mac, ip, locator }, services }]);
  expect(told[1]!.relayed).toEqual([]);
});

test('on one host there is no relay', async () => {
  await create({ container: 'container:ann' });
  expect([told[0]!.relays, told[1]!.relays]).toEqual([[], []]);
});

test('it goes with the rule, with the container, and follows it', async () => {
  await create();
  await change(cluster.h2, (context) => deleteEndpoint(context, endpointOf('dan').id));
  expect([told[0]!.relays, told[1]!.relays, told[0]!.relayed]).toEqual([[], [], []]);
  const back = await addContainer(cluster.h2, 'dan', 'red', '10.1.0.9');
  expect(told[0]!.relayed).toEqual([back.locator]);
  await change(cluster.h1, ({ view }) => deleteFirewallRule([...view.firewallRules()][0]!));
  expect([told[0]!.relays, told[1]!.relays, told[0]!.relayed]).toEqual([[], [], []]);
});

test('containers of internal networks have none, nor of other names, nor on a host that was not named', async () => {
  await addNetwork(cluster.h1, 'inside', '10.5.0.0/24', { internal: true });
  await addContainer(cluster.h2, 'eve', 'inside', '10.5.0.2');
  await create({ container: 'container:eve' });
  await create({ name: 'b', hostPort: 2, container: 'container:h1/dan' });
  await create({ name: 'c', hostPort: 3, container: 'service:dan' });
  expect([told[0]!.relays, told[1]!.relays]).toEqual([[], []]);
});

test('the container’s host lets in what a rule may mean, whichever of the same name the port’s host has chosen', async () => {
  await create({ container: 'container:ann' });
  await addContainer(cluster.h2, 'ann', 'red', '10.1.0.9');
  expect(told[0]!.relays).toEqual([]);
  expect(told[1]!.relays).toHaveLength(1);
});

test('what is nobody’s business of rules is not told', async () => {
  await create();
  const { count } = told[0]!;
  await addContainer(cluster.h1, 'zoe', 'red', '10.1.0.50');
  expect(told[0]!.count).toBe(count);
});
