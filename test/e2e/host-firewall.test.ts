// The packet filter, for real: published ports, egress, and the doors that must stay shut, each in network namespaces, with the
// FORWARD policy that Docker sets, in both flavours of iptables. Needs root.
import { parseIpv4 } from '../../src/base/addresses';
import { config, FirewallStage, probe, published, type IptablesFlavour } from './support/firewall-stage';

// Blocked probes wait for their whole time.
jest.setTimeout(60_000);

const stage = new FirewallStage();
const web = published('web', 2, { protocol: 'tcp', hostPort: 8080, containerPort: 80 });
const dns = published('dns', 3, { protocol: 'udp', hostPort: 5353, containerPort: 9000 });
const local = published(
  'local',
  3,
  { protocol: 'tcp', hostPort: 9000, containerPort: 9000, hostIp: parseIpv4('127.0.0.1') },
  { protocol: 'udp', hostPort: 9000, containerPort: 9000, hostIp: parseIpv4('127.0.0.1') },
  { protocol: 'tcp', hostPort: 9001, containerPort: 9000, hostIp: parseIpv4('192.0.2.2') },
);

beforeAll(() => stage.start());
afterAll(() => stage.end());

/** What several probes hear, side by side. */
async function hear(probes: Record<string, Promise<string>>): Promise<Record<string, string>> {
  const entries = Object.entries(probes).map(async ([key, heard]) => [key, await heard] as const);
  return Object.fromEntries(await Promise.all(entries));
}

async function until(what: () => boolean, withinMs: number): Promise<void> {
  const end = Date.now() + withinMs;
  while (!what()) {
    if (Date.now() > end) throw new Error(`not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe.each<IptablesFlavour>(['iptables-nft', 'iptables-legacy'])('with FORWARD set to DROP by %s', (iptables) => {
  const { host, client, a, bridged } = stage;

  beforeAll(async () => {
    stage.playDocker(iptables);
    await stage.agent.host.firewall.apply(config, [web, dns]);
    await stage.agent.host.firewall.publish(local);
  });

  afterAll(async () => {
    await stage.agent.host.firewall.remove();
    stage.forgetDocker(iptables);
  });

  test('a published port is reached by the host address, and the service sees who comes', async () => {
    expect(
      await hear({
        tcp: probe(client, 'tcp', '192.0.2.2', 8080),
        udp: probe(client, 'udp', '192.0.2.2', 5353),
        'tcp on udp only': probe(client, 'tcp', '192.0.2.2', 5353),
        'by the other binding': probe(client, 'tcp', '192.0.2.2', 9001),
      }),
    ).toEqual({
      tcp: 'a 192.0.2.9',
      udp: 'b 192.0.2.9',
      'tcp on udp only': 'ECONNREFUSED',
      'by the other binding': 'b 192.0.2.9',
    });
  });

  test('a published port is reached by the host itself, by localhost and by its addresses', async () => {
    expect(
      await hear({
        localhost: probe(host, 'tcp', '127.0.0.1', 8080),
        another: probe(host, 'tcp', '127.8.8.8', 8080),
        'udp localhost': probe(host, 'udp', '127.0.0.1', 5353),
        uplink: probe(host, 'tcp', '192.0.2.2', 8080),
        daoli0: probe(host, 'tcp', '100.64.7.1', 8080),
        'bound to localhost': probe(host, 'tcp', '127.0.0.1', 9000),
        'bound to localhost, udp': probe(host, 'udp', '127.0.0.1', 9000),
        'a locator': probe(host, 'tcp', '100.64.7.2', 80),
      }),
    ).toEqual({
      localhost: 'a 100.64.7.1',
      another: 'a 100.64.7.1',
      'udp localhost': 'b 100.64.7.1',
      uplink: 'a 192.0.2.2',
      daoli0: 'a 100.64.7.1',
      'bound to localhost': 'b 100.64.7.1',
      'bound to localhost, udp': 'b 100.64.7.1',
      'a locator': 'a 100.64.7.1',
    });
  });

  test('a published port is reached by containers, their own included, and by those of a Docker bridge', async () => {
    expect(
      await hear({
        other: probe(stage.b, 'tcp', '192.0.2.2', 8080),
        own: probe(a, 'tcp', '192.0.2.2', 8080),
        udp: probe(a, 'udp', '192.0.2.2', 5353),
        bridged: probe(bridged, 'tcp', '172.30.0.1', 8080),
      }),
    ).toEqual({ other: 'a 100.64.7.1', own: 'a 100.64.7.1', udp: 'b 100.64.7.1', bridged: 'a 172.30.0.2' });
  });

  test('a client with an address of the tenant is masqueraded', async () => {
    client.run('ip route add 192.0.2.77 via 192.0.2.2 src 10.1.0.9');
    host.run('ip addr add 192.0.2.77/32 dev uplink');
    expect(await probe(client, 'tcp', '192.0.2.77', 8080)).toBe('a 100.64.7.1');
    client.run('ip route delete 192.0.2.77');
    host.run('ip addr delete 192.0.2.77/32 dev uplink');
  });

  test('what is bound to localhost is out of reach for neighbours and containers', async () => {
    client.run('sysctl -qw net.ipv4.conf.eth0.route_localnet=1; ip route add 127.9.9.9 via 192.0.2.2 src 192.0.2.9');
    a.run('sysctl -qw net.ipv4.conf.eth0.route_localnet=1; ip route add 127.9.9.9 via 100.64.7.1 src 100.64.7.2');
    await stage.agent.host.firewall.publish(
      published('loop', 3, {
        protocol: 'tcp',
        hostPort: 9009,
        containerPort: 80,
        hostIp: parseIpv4('127.9.9.9'),
      }),
    );
    expect(
      await hear({
        host: probe(host, 'tcp', '127.9.9.9', 9009),
        'by address': probe(client, 'tcp', '192.0.2.2', 9009),
        'by loopback address': probe(client, 'tcp', '127.9.9.9', 9009),
        'any port by loopback address': probe(client, 'tcp', '127.9.9.9', 8080),
        'from a container': probe(a, 'tcp', '127.9.9.9', 9009),
        'a service of the host from a container': probe(a, 'tcp', '127.9.9.9', 7000),
      }),
    ).toEqual({
      host: 'b 100.64.7.1',
      'by address': 'ECONNREFUSED',
      'by loopback address': 'timeout',
      'any port by loopback address': 'timeout',
      'from a container': 'timeout',
      'a service of the host from a container': 'timeout',
    });
    client.run('ip route delete 127.9.9.9');
    a.run('ip route delete 127.9.9.9');
    await stage.agent.host.firewall.withdraw('loop');
  });

  test('egress is masqueraded; answers come back', async () => {
    expect(
      await hear({ tcp: probe(a, 'tcp', '192.0.2.9', 80), udp: probe(stage.b, 'udp', '192.0.2.9', 9000) }),
    ).toEqual({ tcp: 'client 192.0.2.2', udp: 'client 192.0.2.2' });
    expect(a.run('busybox ping -c 1 -W 1 192.0.2.9')).toContain('1 packets received');
  });

  test('a container reaches services of the host, but none of the agent', async () => {
    expect(
      await hear({
        uplink: probe(a, 'tcp', '192.0.2.2', 7000),
        daoli0: probe(a, 'tcp', '100.64.7.1', 7000),
        closed: probe(a, 'tcp', '192.0.2.2', 7654),
        'closed, by daoli0': probe(a, 'tcp', '100.64.7.1', 7654),
        'open to others': probe(client, 'tcp', '192.0.2.2', 7654),
      }),
    ).toEqual({
      uplink: 'host 100.64.7.2',
      daoli0: 'host 100.64.7.2',
      closed: 'timeout',
      'closed, by daoli0': 'timeout',
      'open to others': 'host 192.0.2.9',
    });
  });

  test('locators are no back door: not from outside, not between containers, not to a bridge or from it', async () => {
    expect(
      await hear({
        'from outside': probe(client, 'tcp', '100.64.7.2', 80),
        'from outside, udp': probe(client, 'udp', '100.64.7.2', 9000),
        'by way of the host': probe(a, 'tcp', '100.64.7.3', 80),
        'to a bridge': probe(a, 'tcp', '172.30.0.2', 80),
        'from a bridge': probe(bridged, 'tcp', '100.64.7.2', 80),
      }),
    ).toEqual({
      'from outside': 'timeout',
      'from outside, udp': 'timeout',
      'by way of the host': 'timeout',
      'to a bridge': 'timeout',
      'from a bridge': 'timeout',
    });
    expect(host.run('nft list counter inet daolinet locator_back_door')).not.toContain('packets 0 ');
    expect(host.run('nft list counter inet daolinet docker_bridge_refused')).not.toContain('packets 0 ');
  });

  test('what leaves with another source than a locator is dropped', async () => {
    a.run('ip addr add 10.77.0.9/32 dev lo');
    expect(a.run('busybox ping -c 1 -W 1 -I 10.77.0.9 192.0.2.9 || true')).toContain(' 0 packets received');
    a.run('ip addr delete 10.77.0.9/32 dev lo');
    expect(host.run('nft list counter inet daolinet locator_forged')).not.toContain('packets 0 ');
  });

  test('a withdrawn port ends its connections, at once and for good', async () => {
    const { firewall } = stage.agent.host;
    const hostPort = iptables === 'iptables-nft' ? 6000 : 6001;
    const tracked = (): string => host.run('conntrack -L -p udp 2>/dev/null');
    await firewall.publish(published('short', 2, { protocol: 'udp', hostPort, containerPort: 9000 }));
    expect(await probe(client, 'udp', '192.0.2.2', hostPort)).toBe('a 192.0.2.9');
    expect(tracked()).toContain(`dport=${hostPort}`);
    await firewall.withdraw('short');
    expect(tracked()).not.toContain(`dport=${hostPort}`);
    expect(await probe(client, 'udp', '192.0.2.2', hostPort)).toBe('ECONNREFUSED');
  });

  test('sockets of the agent serve IPv6 clients, and show the port as taken', async () => {
    const { ports } = stage.agent.host;
    const request = { endpointId: 'web', hostIp: '', containerPort: 80, locator: web.locator };
    await ports.reserve({ ...request, protocol: 'tcp', firstPort: 8080, lastPort: 8080 });
    await ports.reserve({ ...request, protocol: 'udp', firstPort: 8080, lastPort: 8080 });
    expect(
      await hear({
        tcp: probe(client, 'tcp', '2001:db8::2', 8080),
        udp: probe(client, 'udp', '2001:db8::2', 8080),
        localhost: probe(host, 'tcp', '::1', 8080),
        'IPv4, by the rules': probe(client, 'tcp', '192.0.2.2', 8080),
        'IPv4, by no rule': probe(client, 'udp', '192.0.2.2', 8080),
      }),
    ).toEqual({
      tcp: 'a 100.64.7.1',
      udp: 'a 100.64.7.1',
      localhost: 'a 100.64.7.1',
      'IPv4, by the rules': 'a 192.0.2.9',
      'IPv4, by no rule': 'a 100.64.7.1',
    });
    await expect(ports.reserve({ ...request, protocol: 'tcp', firstPort: 7000, lastPort: 7000 })).rejects.toThrow(
      'port 7000/tcp on 0.0.0.0 is already in use by another program',
    );
    await ports.release('web');
  });

  test('rules that somebody takes away are back within a second', async () => {
    const reload: Record<string, string> = {
      'our table': 'nft delete table inet daolinet',
      'one rule': 'nft flush chain inet daolinet postrouting_nat',
      'one port': 'nft delete element inet daolinet published "{ tcp . 8080 }"',
      "Docker's chain": `${iptables} -F DOCKER-USER; ${iptables} -A DOCKER-USER -j RETURN`,
    };
    if (iptables === 'iptables-nft') reload['everything'] = 'nft flush ruleset';
    for (const [what, command] of Object.entries(reload)) {
      const before = stage.agent.logs.length;
      host.run(command);
      if (what === 'everything') stage.playDocker(iptables);
      await until(() => stage.agent.logs.length > before, 5000);
      expect([what, await probe(client, 'tcp', '192.0.2.2', 8080)]).toEqual([what, 'a 192.0.2.9']);
    }
  });
});
