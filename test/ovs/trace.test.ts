// What is foretold of packets, held against a real Open vSwitch with the controller's flows: to whom they go, with and without a
// route, and what is said where the datapath does something else.
import { formatIpv4, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import type { EndpointRow } from '../../src/directory/rows';
import type { DirectoryView } from '../../src/directory/view';
import { sameNetworkPolicy } from '../../src/flowctl/model';
import { openingOf, type ExplainPolicy } from '../../src/observe/explain';
import { parseTransport } from '../../src/observe/packet';
import { predictArrival, predictDeparture, type TraceSite } from '../../src/observe/prediction';
import { traceOn, type AskOvs, type HostTrace } from '../../src/observe/trace';
import {
  away,
  AWAY,
  blue,
  endpoints,
  far,
  farOther,
  frameFrom,
  hostWithTunnels,
  internal,
  Lab,
  networks,
  one,
  other,
  OUTSIDE,
  PEER,
  two,
  udp,
  until,
} from './flowctl-lab';

let lab: Lab;
let site: TraceSite;
let ovs: AskOvs;
const everyone = [...endpoints, far, farOther, away];

/** The directory as the lab's endpoints would be in it. */
function rowOf(endpoint: (typeof everyone)[number]): EndpointRow {
  const { id, networkKey, mac, ip, locator, location } = endpoint;
  const network = networks.find(({ key }) => key === networkKey)!;
  const isHere = location.kind === 'local';
  const elsewhere = endpoint === away ? 'h3' : 'h2';
  const rest = { containerName: id, host: isHere ? 'h1' : elsewhere, portNo: isHere ? location.portNo : 1 };
  return {
    id,
    networkId: network.id,
    tenant: String(network.tenant),
    mac,
    address: ip,
    locator,
    ...rest,
  } as EndpointRow;
}

function viewOf(): DirectoryView {
  const hosts = [
    { name: 'h1', site: 'dc', address: 1, encrypts: false, routerMac: hostWithTunnels.routerMac },
    { name: 'h2', site: 'dc', address: 2, encrypts: false, routerMac: PEER.routerMac },
    { name: 'h3', site: 'home', address: 3, encrypts: false, routerMac: AWAY.routerMac },
  ];
  return {
    host: (name: string) => hosts.find((each) => each.name === name),
    tunnel: () => ({ noL2: false }),
    network: (id: string) => {
      const network = networks.find((each) => each.id === id)!;
      return { ...network, name: id, internal: network.internal };
    },
    poolsOfTenant: (tenant: string) =>
      networks
        .filter((network) => String(network.tenant) === tenant)
        .flatMap(({ id, pools }) => pools.map((cidr) => ({ cidr, networkId: id }))),
    knowsAllOf: () => true,
  } as unknown as DirectoryView;
}

beforeAll(async () => {
  lab = await Lab.start({}, everyone, sameNetworkPolicy, hostWithTunnels);
  site = { view: viewOf(), flowHost: hostWithTunnels, idleTimeoutSeconds: 60 };
  ovs = {
    trace: (flow) => lab.ovs.appctl('ofproto/trace', 'br0', flow),
    traceActions: (flow, actions) => lab.ovs.appctl('ofproto/trace-packet-out', 'br0', flow, actions),
  };
});
afterAll(() => lab.stop());

/** That of a controller which was told of none. */
const policy: ExplainPolicy = {
  between: (source, destination) => {
    const isAllowed = source.networkId === destination.networkId;
    return {
      isAllowed,
      isWide: isAllowed,
      reason: isAllowed ? `both are in ${source.networkId}` : 'they have no network in common',
    };
  },
  outward: () => ({ isAllowed: true, isWide: true, reason: 'all talk to the outside' }),
};

function depart(from: (typeof everyone)[number], address: Ipv4, transport = 'tcp/80'): Promise<HostTrace> {
  const source = rowOf(from);
  const target = everyone.map(rowOf).find((row) => row.tenant === source.tenant && row.address === address);
  const packet = parseTransport(transport);
  const explained =
    target === undefined
      ? policy.outward(source, address, openingOf(packet))
      : policy.between(source, target, openingOf(packet));
  const prediction = predictDeparture(site, source, { address, endpoint: target }, packet, explained);
  return traceOn('h1', ovs, prediction, explained.reason);
}

const names = ({ steps }: HostTrace) => steps.map(({ name }) => name ?? '(route)').join(' ');

describe('nothing is changed by it', () => {
  test('no route, no flow, no packet-in', async () => {
    await depart(one, two.ip);
    await depart(one, OUTSIDE);
    await depart(one, other.ip);
    expect(await lab.reactiveFlows()).toEqual([]);
    expect(lab.controller.counters().packetIns).toBe(0);
  });
});

describe('on one host', () => {
  test('without a route, the one that would be made does what it should', async () => {
    const trace = await depart(one, two.ip);
    expect(trace).toMatchObject({ outcome: 'here', fate: 'delivered to e2, on this host', differences: [] });
    expect(names(trace)).toBe('CLASSIFY ROUTE PUNT (route)');
    expect(trace.route).toHaveLength(2);
    expect(trace.steps[1]?.what).toContain('no route is there');
    expect(trace.policy).toBe('both are in red');
  });

  test('its flows are those that the controller then makes', async () => {
    const { route } = await depart(one, two.ip);
    await lab.inject(1, frameFrom(one, two.ip, udp('x')));
    await until('routes', async () => (await lab.reactiveFlows()).length === 2);
    const strip = (flow: string) => flow.replace(/^cookie=\w+, /, '');
    expect((await lab.reactiveFlows()).sort()).toEqual(route.map(strip).sort());
    const trace = await depart(one, two.ip, 'icmp');
    expect(trace).toMatchObject({ route: [], differences: [] });
    expect(names(trace)).toBe('CLASSIFY ROUTE');
    expect(trace.steps[1]).toMatchObject({ table: 2, what: 'the hot-plug route between the two' });
  });

  test('a pair that the policy refuses, before and after it was tried', async () => {
    const before = await depart(one, other.ip);
    expect(before).toMatchObject({ outcome: 'refused', route: [], differences: [] });
    await lab.inject(1, frameFrom(one, other.ip, udp('x')));
    await until('a drop', async () => (await lab.reactiveFlows()).some((flow) => flow.includes('hard_timeout')));
    const after = await depart(one, other.ip);
    expect(after).toMatchObject({ outcome: 'refused', differences: [] });
    expect(after.steps.at(-1)?.what).toBe('refused by the policy a moment ago: dropped');
  });

  test('the gateway, an address that nobody has, itself', async () => {
    const gateway = parseIpv4('10.1.0.1');
    expect(await depart(one, gateway, 'icmp')).toMatchObject({ outcome: 'answered', differences: [] });
    expect(await depart(one, gateway, 'tcp/22')).toMatchObject({ outcome: 'nobody', differences: [] });
    expect(await depart(one, parseIpv4('10.1.0.77'))).toMatchObject({ outcome: 'nobody', differences: [] });
    expect(await depart(one, one.ip)).toMatchObject({ outcome: 'refused', differences: [] });
  });

  test('the same address is another container in another tenant', async () => {
    expect(await depart(blue, two.ip, 'icmp')).toMatchObject({ outcome: 'refused', differences: [] });
    expect((await depart(one, blue.ip)).fate).toBe('delivered to e2, on this host');
  });

  test.each(['127.0.0.1', '169.254.169.254', '224.0.0.5', '0.0.0.1', '255.255.255.255', '100.64.0.3', '100.65.0.1'])(
    '%s goes nowhere',
    async (address) => {
      expect(await depart(one, parseIpv4(address))).toMatchObject({ outcome: 'dropped', differences: [] });
    },
  );
});

describe('to the outside', () => {
  test('without a route, and with one', async () => {
    const before = await depart(two, OUTSIDE);
    expect(before).toMatchObject({ outcome: 'outside', differences: [] });
    expect(names(before)).toBe('CLASSIFY ROUTE OUTSIDE PUNT (route)');
    expect(before.route).toHaveLength(2);
    await lab.inject(2, frameFrom(two, OUTSIDE, udp('x')));
    await until('routes', async () => (await lab.reactiveFlows()).some((flow) => flow.includes('in_port=2,nw_src')));
    expect(await depart(two, OUTSIDE)).toMatchObject({ outcome: 'outside', route: [], differences: [] });
  });

  test('the host’s own address; an internal network', async () => {
    expect(await depart(one, hostWithTunnels.hostAddress)).toMatchObject({ outcome: 'outside', differences: [] });
    expect(await depart(internal, OUTSIDE)).toMatchObject({ outcome: 'nobody', differences: [] });
  });
});

describe('between hosts', () => {
  test('leaving: locators, router MACs, one less of the TTL', async () => {
    const before = await depart(one, far.ip);
    expect(before).toMatchObject({ outcome: 'other-host', fate: 'sent to host h2, for far1', differences: [] });
    expect(names(before)).toBe('CLASSIFY ROUTE PUNT (route) FABRIC_OUT FABRIC_SEND');
    await lab.inject(1, frameFrom(one, far.ip, udp('x')));
    await until('routes', async () => (await lab.reactiveFlows()).some((flow) => flow.includes('table=6')));
    const after = await depart(one, far.ip);
    expect(after).toMatchObject({ route: [], differences: [] });
    expect(names(after)).toBe('CLASSIFY ROUTE FABRIC_OUT FABRIC_SEND');
  });

  test('arriving, without a route and with one, and refused', async () => {
    const arrive = (from: typeof far, to: typeof two) => {
      const [source, destination] = [rowOf(from), rowOf(to)];
      const transport = parseTransport('udp/53');
      const explained = policy.between(source, destination, openingOf(transport));
      return traceOn('h1', ovs, predictArrival(site, { source, destination }, transport, explained), explained.reason);
    };
    const before = await arrive(far, two);
    expect(before).toMatchObject({ outcome: 'here', fate: 'delivered to e2', differences: [] });
    expect(names(before)).toBe('CLASSIFY FABRIC_IN PUNT (route)');
    expect(await arrive(far, one)).toMatchObject({ outcome: 'here', route: [], differences: [] });
    expect(await arrive(farOther, two)).toMatchObject({ outcome: 'refused', differences: [] });
  });
});

test('by a tunnel: handed to the kernel with the TTL as it is, and taken from there', async () => {
  const trace = await depart(one, away.ip);
  expect(trace).toMatchObject({
    outcome: 'other-host',
    fate: 'sent to host h3 by the tunnel, for away',
    differences: [],
  });
  const ends = { source: rowOf(away), destination: rowOf(one) };
  const explained = policy.between(ends.source, ends.destination, openingOf(parseTransport('tcp/80')));
  const prediction = predictArrival(site, ends, parseTransport('tcp/80'), explained);
  const arrival = await traceOn('h1', ovs, prediction, explained.reason);
  expect(arrival).toMatchObject({ outcome: 'here', fate: 'delivered to e1', differences: [] });
  expect(arrival.packet).toContain('nw_ttl=62');
});

test('a datapath that does something else is found out', async () => {
  const rogue = (actions: string) =>
    lab.ovs.ofctl('add-flow', 'br0', `table=2,priority=601,ip,in_port=1,nw_dst=10.1.0.3,actions=${actions}`);
  await rogue('output:4');
  expect((await depart(one, two.ip)).differences).toEqual([
    'it is to leave by port 2, and OVS sends it to port 4',
    'dl_src is to be 02:da:00:00:00:fe, and OVS makes it 02:00:00:00:00:01',
    'dl_dst is to be 02:00:00:00:00:02, and OVS makes it 02:da:00:00:00:fe',
  ]);
  await rogue('drop');
  const trace = await depart(one, two.ip);
  expect(trace.differences).toEqual(['it is to leave by port 2, and OVS drops it']);
  expect(trace.steps.at(-1)?.what).toBe('no flow matches');
  await rogue(`set_field:${formatIpv4(OUTSIDE)}->ip_src,output:2`);
  expect((await depart(one, two.ip)).differences).toContain('nw_src is to be 10.1.0.2, and OVS makes it 198.51.100.7');
  await lab.ovs.ofctl('--strict', 'del-flows', 'br0', 'table=2,priority=601,ip,in_port=1,nw_dst=10.1.0.3');
  expect((await depart(one, two.ip)).differences).toEqual([]);
});
