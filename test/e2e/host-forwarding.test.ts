// Ports of firewall rules in the packet filter, for real: who gets in and who does not, by whichever door, containers of
// another host, and what these must not reach. In network namespaces, with the FORWARD policy that Docker sets. Needs root.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import type { ForwardedPort } from '../../src/host/host';
import { config, FirewallStage, probe, published, tenantPools } from './support/firewall-stage';

// Blocked probes wait for their whole time.
jest.setTimeout(60_000);

const stage = new FirewallStage();
const { host, client, a, b, far } = stage;
const near = { locator: parseIpv4('100.64.7.2'), port: 80, tenantPools };
const away = { locator: parseIpv4('100.64.8.2'), port: 80, tenantPools };
const clientOnly = [parseCidr('192.0.2.9/32'), parseCidr('192.0.2.0/28')];
const other = [parseCidr('198.51.100.0/24')];

function rule(name: string, hostPort: number, rest: Partial<ForwardedPort>): ForwardedPort {
  return { name, protocol: 'tcp', hostPort, from: [], target: near, ...rest };
}

/** As the agent does: holds the port, and leads packets on. */
async function open(port: ForwardedPort): Promise<void> {
  const { ports, firewall } = stage.agent.host;
  const { name: endpointId, protocol, hostPort, hostIp, target } = port;
  await ports.reserve({
    ...{ endpointId, protocol, firstPort: hostPort, lastPort: hostPort, containerPort: 80 },
    ...{ hostIp: hostIp === undefined ? '' : '192.0.2.2', locator: target?.locator },
  });
  await firewall.forward(port);
}

async function close({ name }: ForwardedPort): Promise<void> {
  await stage.agent.host.firewall.stopForwarding(name);
  await stage.agent.host.ports.release(name);
}

/** What several probes hear, side by side. */
async function hear(probes: Record<string, Promise<string>>): Promise<Record<string, string>> {
  const entries = Object.entries(probes).map(async ([key, heard]) => [key, await heard] as const);
  return Object.fromEntries(await Promise.all(entries));
}

beforeAll(async () => {
  await stage.start();
  stage.playDocker('iptables-nft');
  await stage.agent.host.firewall.apply(config, [
    published('web', 2, { protocol: 'tcp', hostPort: 8080, containerPort: 80 }),
  ]);
  const route = { destination: parseCidr('100.64.8.2/32'), device: 'daoli0', source: config.hostAddress, mtu: 1300 };
  await stage.agent.host.links.addRoute(route);
});
afterAll(() => stage.end());

test('for everybody: reached from wherever a published port is, and the client’s address is seen', async () => {
  await open(rule('all', 2001, {}));
  await open(rule('udp', 2001, { protocol: 'udp', target: { ...near, port: 9000 } }));
  await open(rule('bound', 2002, { hostIp: parseIpv4('192.0.2.2') }));
  expect(
    await hear({
      client: probe(client, 'tcp', '192.0.2.2', 2001),
      udp: probe(client, 'udp', '192.0.2.2', 2001),
      IPv6: probe(client, 'tcp', '2001:db8::2', 2001),
      localhost: probe(host, 'tcp', '127.0.0.1', 2001),
      container: probe(b, 'tcp', '192.0.2.2', 2001),
      bound: probe(client, 'tcp', '192.0.2.2', 2002),
      'bound, by another address': probe(host, 'tcp', '127.0.0.1', 2002),
    }),
  ).toEqual({
    client: 'a 192.0.2.9',
    udp: 'a 192.0.2.9',
    IPv6: 'a 100.64.7.1',
    localhost: 'a 100.64.7.1',
    container: 'a 100.64.7.1',
    bound: 'a 192.0.2.9',
    'bound, by another address': 'ECONNREFUSED',
  });
});

test('for some: others are refused, by DNAT and by the agent’s own socket', async () => {
  await open(rule('mine', 2010, { from: clientOnly }));
  await open(rule('mine-bound', 2011, { from: clientOnly, hostIp: parseIpv4('192.0.2.2') }));
  await open(rule('everybody', 2012, { from: [parseCidr('0.0.0.0/0')] }));
  await open(rule('others', 2013, { from: other }));
  await open(rule('others-udp', 2013, { from: other, protocol: 'udp' }));
  await open(rule('others-bound', 2014, { from: other, hostIp: parseIpv4('192.0.2.2') }));
  expect(
    await hear({
      mine: probe(client, 'tcp', '192.0.2.2', 2010),
      'mine, bound': probe(client, 'tcp', '192.0.2.2', 2011),
      'a prefix of everybody': probe(client, 'tcp', '192.0.2.2', 2012),
      'the host itself': probe(host, 'tcp', '127.0.0.1', 2010),
      'the host itself, bound': probe(host, 'tcp', '192.0.2.2', 2014),
      'a container': probe(b, 'tcp', '192.0.2.2', 2010),
      'not from there': probe(client, 'tcp', '192.0.2.2', 2013),
      'not from there, udp': probe(client, 'udp', '192.0.2.2', 2013),
      'not from there, bound': probe(client, 'tcp', '192.0.2.2', 2014),
      'not by IPv6': probe(client, 'tcp', '2001:db8::2', 2013),
      'not by IPv6, udp': probe(client, 'udp', '2001:db8::2', 2013),
    }),
  ).toEqual({
    mine: 'a 192.0.2.9',
    'mine, bound': 'a 192.0.2.9',
    'a prefix of everybody': 'a 192.0.2.9',
    // Bound to 192.0.2.2, the host comes from there.
    'the host itself': 'ECONNREFUSED',
    'the host itself, bound': 'ECONNREFUSED',
    'a container': 'ECONNREFUSED',
    'not from there': 'ECONNREFUSED',
    'not from there, udp': 'ECONNREFUSED',
    'not from there, bound': 'ECONNREFUSED',
    'not by IPv6': 'ECONNREFUSED',
    'not by IPv6, udp': 'ECONNREFUSED',
  });
});

test('a port whose container is not there is refused, and led on when it is', async () => {
  const held = rule('held', 2020, {});
  await open({ name: 'held', protocol: 'tcp', hostPort: 2020, from: [] });
  expect(await probe(client, 'tcp', '192.0.2.2', 2020)).toBe('ECONNREFUSED');
  await open(held);
  expect(await probe(client, 'tcp', '192.0.2.2', 2020)).toBe('a 192.0.2.9');
  await open({ name: 'held', protocol: 'tcp', hostPort: 2020, from: [] });
  expect(await probe(client, 'tcp', '192.0.2.2', 2020)).toBe('ECONNREFUSED');
  await close(held);
  expect(await probe(client, 'tcp', '192.0.2.2', 2020)).toBe('ECONNREFUSED');
});

test('a container of another host sees this host, whoever comes', async () => {
  await open(rule('far', 2030, { target: away }));
  await open(rule('far-udp', 2030, { target: { ...away, port: 9000 }, protocol: 'udp' }));
  await open(rule('far-mine', 2031, { target: away, from: clientOnly }));
  await open(rule('far-others', 2032, { target: away, from: other }));
  expect(
    await hear({
      client: probe(client, 'tcp', '192.0.2.2', 2030),
      udp: probe(client, 'udp', '192.0.2.2', 2030),
      IPv6: probe(client, 'tcp', '2001:db8::2', 2030),
      localhost: probe(host, 'tcp', '127.0.0.1', 2030),
      container: probe(a, 'tcp', '192.0.2.2', 2030),
      'from there': probe(client, 'tcp', '192.0.2.2', 2031),
      'not from there': probe(client, 'tcp', '192.0.2.2', 2032),
    }),
  ).toEqual({
    client: 'far 100.64.7.1',
    udp: 'far 100.64.7.1',
    IPv6: 'far 100.64.7.1',
    localhost: 'far 100.64.7.1',
    container: 'far 100.64.7.1',
    'from there': 'far 100.64.7.1',
    'not from there': 'ECONNREFUSED',
  });
});

test('a container of another host answers, and reaches nothing: not this host, not its containers, not beyond', async () => {
  expect(
    await hear({
      'a service of the host': probe(far, 'tcp', '100.64.7.1', 7000),
      'a service of the host, udp': probe(far, 'udp', '100.64.7.1', 7000),
      'by another address': probe(far, 'tcp', '192.0.2.2', 7000),
      'a published port': probe(far, 'tcp', '192.0.2.2', 8080),
      'a port of a rule': probe(far, 'tcp', '100.64.7.1', 2001),
      'beyond the host': probe(far, 'tcp', '192.0.2.9', 80),
      'from outside, by its locator': probe(client, 'tcp', '100.64.8.2', 80),
      'from a container, by its locator': probe(a, 'tcp', '100.64.8.2', 80),
    }),
  ).toEqual({
    'a service of the host': 'timeout',
    'a service of the host, udp': 'timeout',
    'by another address': 'timeout',
    'a published port': 'timeout',
    'a port of a rule': 'timeout',
    'beyond the host': 'timeout',
    'from outside, by its locator': 'timeout',
    'from a container, by its locator': 'timeout',
  });
});

test('what is too large for the way to the other host is told to the client', async () => {
  client.run('busybox ping -c 1 -W 1 192.0.2.2');
  const large = `require('dgram').createSocket('udp4').on('error', (e) => (console.log(e.code), process.exit()))
    .connect(2030, '192.0.2.2', function () { this.send(Buffer.alloc(1350)); setTimeout(() => this.send(Buffer.alloc(1350)), 300); setTimeout(() => process.exit(), 600) })`;
  await client.runScript(large);
  expect(client.run('ip route get 192.0.2.2')).toContain('mtu 1300');
});

test('pools of a locator stay while somebody leads there; nothing of a rule stays behind it', async () => {
  const listed = (object: string): string => host.run(`nft list ${object}`);
  await open(rule('guest', 2040, {}));
  await close(rule('guest', 2040, {}));
  expect(listed('set inet daolinet pool_clients')).toContain('100.64.7.2 . 10.1.0.0/16');
  const restricted = [
    'mine',
    'mine-bound',
    'everybody',
    'others',
    'others-udp',
    'others-bound',
    'far-mine',
    'far-others',
  ];
  for (const name of restricted) await close(rule(name, 0, {}));
  for (const object of ['map inet daolinet published_from', 'map inet daolinet published_from_at']) {
    expect(listed(object)).not.toContain('elements');
  }
  expect(listed('set inet daolinet refused_ports')).not.toContain('elements');
});

test('another target, or none, ends the connections that came by the rule, and no others', async () => {
  const tracked = (): string[] =>
    host
      .run('conntrack -L -p udp 2>/dev/null')
      .split('\n')
      .flatMap((line) => /dport=(2050|2051)/.exec(line)?.[1] ?? []);
  const moving = rule('moving', 2050, { protocol: 'udp', target: { ...near, port: 9000 } });
  const staying = rule('staying', 2051, { protocol: 'udp', target: { ...near, port: 9000 } });
  await open(moving);
  await open(staying);
  expect(await probe(client, 'udp', '192.0.2.2', 2050)).toBe('a 192.0.2.9');
  expect(await probe(client, 'udp', '192.0.2.2', 2051)).toBe('a 192.0.2.9');
  expect(tracked().sort()).toEqual(['2050', '2051']);
  await open({ ...moving, target: { ...away, port: 9000 } });
  expect(tracked()).toEqual(['2051']);
  expect(await probe(client, 'udp', '192.0.2.2', 2050)).toBe('far 100.64.7.1');
  await close(moving);
  expect(tracked()).toEqual(['2051']);
  expect(await probe(client, 'udp', '192.0.2.2', 2050)).toBe('ECONNREFUSED');
});

test('the whole table is put back with the ports of rules, and rules of an older state outlive it', async () => {
  await open(rule('kept', 2060, { from: clientOnly }));
  await stage.agent.host.firewall.apply(config, []);
  expect(await probe(client, 'tcp', '192.0.2.2', 2060)).toBe('a 192.0.2.9');
  const before = stage.agent.logs.length;
  host.run('nft delete table inet daolinet');
  const end = Date.now() + 5000;
  while (stage.agent.logs.length === before && Date.now() < end) await new Promise((done) => setTimeout(done, 20));
  expect(await probe(client, 'tcp', '192.0.2.2', 2060)).toBe('a 192.0.2.9');
  expect(await probe(b, 'tcp', '192.0.2.2', 2060)).toBe('ECONNREFUSED');
});
