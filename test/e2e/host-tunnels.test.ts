// Tunnels, for real: devices of WireGuard in network namespaces, what passes by them, and what becomes of it when they go.
// Needs root. Where the kernel has no WireGuard, they are wireguard-go's, as in the product.
import { formatCidr, parseCidr, parseIpv4 } from '../../src/base/addresses';
import { createTunnelKey, publicKeyOf } from '../../src/host/tunnel-keys';
import { probe } from './support/firewall-stage';
import { PORT, TunnelStage, Wiretap, type TunnelHost } from './support/tunnel-stage';

jest.setTimeout(60_000);

const stage = new TunnelStage(3);
const [a, b, c] = stage.hosts as [TunnelHost, TunnelHost, TunnelHost];
const LOCATORS = 'net 100.64.0.0/10';

beforeAll(() => stage.start());
afterAll(() => stage.end());

/** Every host a direct peer of every other. */
async function mesh(): Promise<void> {
  for (const host of stage.hosts) {
    const others = stage.hosts.filter((other) => other !== host);
    await host.agent.host.tunnels.apply(host.spec(...others.map((other) => other.asPeer())));
  }
}

async function until(what: () => boolean | Promise<boolean>, withinMs: number): Promise<number> {
  const start = Date.now();
  while (!(await what())) {
    if (Date.now() - start > withinMs) throw new Error(`not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return Date.now() - start;
}

async function peerOf(host: TunnelHost, other: TunnelHost) {
  const [device] = await host.agent.host.tunnels.state();
  return device?.peers.find(({ publicKey }) => publicKey === publicKeyOf(other.privateKey));
}

describe('two hosts', () => {
  beforeAll(mesh);

  test('their containers reach one another by locators, encrypted alone, and nothing of it is tracked', async () => {
    const plain = await Wiretap.start(stage.hub, 'wire', LOCATORS);
    const sealed = await Wiretap.start(stage.hub, 'wire', `udp port ${PORT}`);
    expect([a.pings(b.container), b.pings(a.container)]).toEqual([true, true]);
    expect(await probe(a.inside, 'tcp', b.container, 80)).toBe(`container2 ${a.container}`);
    expect(await plain.end()).toEqual([]);
    await sealed.until(5);
    await sealed.end();
    expect(a.space.run('conntrack -L 2>/dev/null')).not.toContain(b.container);
  });

  test('the state has who is called where, since when, and how much passed', async () => {
    const [device] = await a.agent.host.tunnels.state();
    expect(device).toMatchObject({ name: 'daoli-wg', publicKey: publicKeyOf(a.privateKey), listenPort: PORT });
    const peer = await peerOf(a, b);
    expect(peer).toMatchObject({ ...b.asPeer(), bytesSent: expect.any(Number) });
    expect(Math.abs(Date.now() - (peer?.lastHandshakeMs ?? 0))).toBeLessThan(30_000);
    expect(peer?.bytesReceived).toBeGreaterThan(100);
    expect(JSON.stringify(device)).not.toContain(a.privateKey);
  });

  test('segments of a stream that come through it are joined', () => {
    const file = '/sys/class/net/daoli-wg/gro_flush_timeout';
    expect(a.space.run(`unshare --mount sh -c 'mount -t sysfs sysfs /sys && cat ${file}'`).trim()).toBe('20000');
  });

  test('an echo goes by the device that is said, whole or not at all', async () => {
    const { tunnels } = a.agent.host;
    const spec = { address: parseIpv4(b.own), device: 'daoli-wg', source: parseIpv4(a.own), timeoutMs: 500 };
    expect(await tunnels.probe(spec)).toBeGreaterThan(0);
    expect(await tunnels.probe({ ...spec, packetBytes: 1420 })).toBeGreaterThan(0);
    expect(await tunnels.probe({ ...spec, packetBytes: 1421 })).toBeUndefined();
    expect(await tunnels.probe({ ...spec, address: parseIpv4('100.64.2.77') })).toBeUndefined();
  });

  test('asked for again, nothing changes: a peer that roams keeps the endpoint that it was learned at', async () => {
    const daemons = a.daemons();
    const specB = b.spec(a.asPeer(), c.asPeer());
    const devices = specB.devices.map((device) => ({ ...device, listenPort: PORT + 1 }));
    await b.agent.host.tunnels.apply({ ...specB, devices });
    await until(() => b.pings(a.container), 3000);
    const learned = { address: parseIpv4('192.0.2.2'), port: PORT + 1 };
    expect((await peerOf(a, b))?.endpoint).toEqual(learned);
    const before = (await peerOf(a, b))?.lastHandshakeMs;
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    expect(await peerOf(a, b)).toMatchObject({ endpoint: learned, lastHandshakeMs: before });
    const another = { address: parseIpv4('192.0.2.23'), port: 1 };
    await a.agent.host.tunnels.apply(a.spec(b.asPeer({ endpoint: another }), c.asPeer()));
    expect((await peerOf(a, b))?.endpoint).toEqual(another);
    await b.agent.host.tunnels.apply(specB);
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    await until(() => a.pings(b.container), 3000);
    expect(a.daemons()).toEqual(daemons);
  });

  test.each([0, 3])(
    'a host that has another address after %s s is found there, without being told of',
    async (after) => {
      b.moveTo(22, after);
      await until(async () => (await peerOf(a, b))?.endpoint?.address === parseIpv4('192.0.2.22'), 2000);
      expect(a.pings(b.container)).toBe(true);
      b.moveTo(2);
      await until(() => a.pings(b.container), 3000);
    },
  );

  test('TCP learns in its first packet, both ways, how large it may send', async () => {
    await b.agent.host.tunnels.apply({
      ...b.spec(a.asPeer()),
      devices: b.spec(a.asPeer()).devices.map((device) => ({ ...device, mtu: 1300 })),
    });
    const heard = await Wiretap.start(a.inside, 'eth0', 'tcp[tcpflags] & tcp-syn != 0');
    const heardThere = await Wiretap.start(b.inside, 'eth0', 'tcp[tcpflags] & tcp-syn != 0');
    expect(await probe(a.inside, 'tcp', b.container, 80)).toContain('container2');
    await Promise.all([heard.until(2), heardThere.until(2)]);
    const sizes = (lines: string[]) => lines.map((line) => /\[mss (\d+)/.exec(line)?.[1]);
    expect(sizes(await heard.end())).toEqual(['1460', '1260']);
    expect(sizes(await heardThere.end())).toEqual(['1260', '1460']);
    await b.agent.host.tunnels.apply(b.spec(a.asPeer(), c.asPeer()));
  });

  test('the port of a firewall rule leads to a container of the other host, from outside and from the host itself', async () => {
    const target = { locator: parseIpv4(b.container), port: 80, tenantPools: [] };
    await a.agent.host.firewall.forward({ name: 'web', protocol: 'tcp', hostPort: 8080, from: [], target });
    expect(await probe(stage.hub, 'tcp', '192.0.2.1', 8080)).toBe(`container2 ${a.own}`);
    expect(await probe(a.space, 'tcp', '127.0.0.1', 8080)).toBe(`container2 ${a.own}`);
    expect(await probe(a.inside, 'tcp', '192.0.2.1', 8080)).toBe(`container2 ${a.own}`);
    // Not by the locator, for other hosts
    expect(await probe(c.space, 'tcp', a.own, 8080)).toBe('timeout');
    await a.agent.host.firewall.stopForwarding('web');
  });

  test('of a host, others reach the door and an echo', async () => {
    expect(await probe(b.space, 'tcp', a.own, 7470)).toBe(`host1 ${b.own}`);
    expect(await probe(b.space, 'tcp', a.own, 7000)).toBe('timeout');
    expect(await probe(b.space, 'udp', a.own, 7470)).toBe('timeout');
    expect(await a.dropped('tunnel_refused')).toBeGreaterThan(0);
  });
});

describe('when the device is away', () => {
  beforeAll(mesh);

  const ways: Record<string, (host: TunnelHost) => void> = {
    'wireguard-go is killed': (host) => host.daemons().forEach((pid) => process.kill(pid, 'SIGKILL')),
    'somebody deletes it': (host) => host.space.run('ip link delete daoli-wg'),
    'somebody takes it down': (host) => host.space.run('ip link set daoli-wg down'),
  };
  test.each(Object.entries(ways))('%s: nothing leaves another way, and it is back at once', async (_, break_) => {
    expect(a.pings(b.container)).toBe(true);
    const plain = await Wiretap.start(stage.hub, 'wire', LOCATORS);
    break_(a);
    const backAfter = await until(() => a.pings(b.container), 5000);
    expect(backAfter).toBeLessThan(3000);
    expect(await plain.end()).toEqual([]);
  });

  test('the other side did not have to wait, although it alone had been called', async () => {
    // b is where it had roamed to: nobody told a.
    const { endpoint: _, ...silent } = b.asPeer();
    await a.agent.host.tunnels.apply(a.spec(silent, c.asPeer()));
    await until(() => b.pings(a.container), 2000);
    for (const pid of a.daemons()) process.kill(pid, 'SIGKILL');
    expect(await until(() => b.pings(a.container), 5000)).toBeLessThan(3000);
    await mesh();
  });

  test('without routes, without an agent: what is for locators is refused by route and by rule', async () => {
    const plain = await Wiretap.start(stage.hub, 'wire', LOCATORS);
    await a.agent.host.tunnels.apply({ ...a.spec(), devices: [], routes: [] });
    expect(a.daemons()).toEqual([]);
    expect(a.inside.run(`ping -n -c 1 -W 0.4 ${b.container} || true`)).toContain('Unreachable');
    expect(a.space.run(`ping -n -c 1 -W 0.4 ${b.container} 2>&1 || true`)).toMatch(/No route to host/);
    a.space.run('ip route delete unreachable 100.64.0.0/10 metric 2147483647');
    expect(a.pings(b.container)).toBe(false);
    a.space.run(`ping -n -c 1 -W 0.4 ${b.container} || true`);
    expect(await a.dropped('locator_back_door')).toBeGreaterThan(0);
    expect(await a.dropped('locator_astray')).toBeGreaterThan(0);
    expect(await plain.end()).toEqual([]);
    await a.agent.host.links.refuseUnrouted(parseCidr('100.64.0.0/10'));
    await mesh();
    await until(() => a.pings(b.container), 2000);
  });

  test('another VPN in the range of locators goes on, and gets nothing that is a host’s or comes from a container', async () => {
    a.space.run(`ip link add vpn0 type veth peer name vpn1; ip link set vpn1 up
      echo 1 >/proc/sys/net/ipv6/conf/vpn0/disable_ipv6; ip addr add 100.101.7.7/32 dev vpn0; ip link set vpn0 arp off up
      ip route add 100.101.0.0/16 dev vpn0`);
    const sent = () =>
      (JSON.parse(a.space.run('ip -s -j link show vpn0')) as [{ stats64: { tx: { packets: number } } }])[0].stats64.tx
        .packets;
    const ping = (to: string) => a.space.run(`ping -n -c 1 -W 0.2 ${to} || true`);
    const { host } = a.agent;
    expect(await host.links.hostAddresses()).toContainEqual({
      ...{ device: 'vpn0', address: parseIpv4('100.101.7.7'), isUplink: false },
      network: parseCidr('100.101.7.7/32'),
    });
    const foreign = { devices: ['vpn0'], usedBlocks: [a.block, b.block, c.block] };
    await host.firewall.apply({ ...a.filter(), foreign }, []);
    const before = sent();
    ping('100.101.7.8');
    expect(sent()).toBe(before + 1);
    await host.tunnels.apply({ ...a.spec(), devices: [], routes: [] });
    a.space.run(`ip route add ${formatCidr(b.block)} dev vpn0`);
    ping(b.own);
    expect(a.pings(b.container)).toBe(false);
    expect(a.inside.run('ping -n -c 1 -W 0.2 100.101.7.8 || true')).not.toContain(' 1 received');
    expect(sent()).toBe(before + 1);
    a.space.run('ip link delete vpn0');
    await host.firewall.apply(a.filter(), []);
    await mesh();
    await until(() => a.pings(b.container), 2000);
  });

  test('an agent that is killed and started again takes the devices over, and no packet is lost', async () => {
    const daemons = a.daemons();
    const pings = a.inside.startPings(b.container, 60);
    await a.restartAgent();
    await a.agent.host.firewall.apply(a.filter(), []);
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    expect(await pings).toContain('60 packets transmitted, 60 received');
    expect(a.daemons()).toEqual(daemons);
  });

  test('wireguard-go killed while there is no agent: nothing leaves, and the next agent makes it again', async () => {
    const plain = await Wiretap.start(stage.hub, 'wire', LOCATORS);
    await a.restartAgent(() => {
      for (const pid of a.daemons()) process.kill(pid, 'SIGKILL');
      expect(a.pings(b.container)).toBe(false);
    });
    await a.agent.host.firewall.apply(a.filter(), []);
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    await until(() => a.pings(b.container), 2000);
    expect(await plain.end()).toEqual([]);
  });
});

describe('keys', () => {
  beforeAll(mesh);

  test('a host with a new key is the same host; its old key is worth nothing', async () => {
    const old = publicKeyOf(b.privateKey);
    b.privateKey = createTunnelKey();
    await b.agent.host.tunnels.apply(b.spec(a.asPeer(), c.asPeer()));
    expect(a.pings(b.container)).toBe(false);
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    await until(() => a.pings(b.container), 3000);
    const [device] = await a.agent.host.tunnels.state();
    expect(device?.peers.map(({ publicKey }) => publicKey)).not.toContain(old);
    await mesh();
  });
});

describe('a host that forges', () => {
  beforeAll(mesh);

  /** c without its own packet filter, sending from `source` by its tunnel to `to`, which it thinks is behind a. */
  function forge(source: string, to: string): string {
    return c.space.run(`ip addr add ${source}/32 dev lo
      ping -n -c 2 -i 0.2 -W 0.4 -I daoli-wg -I ${source} ${to} || true; ip addr del ${source}/32 dev lo`);
  }

  beforeAll(async () => {
    a.space.run('ip addr add 192.0.2.101/24 dev uplink');
    await c.agent.host.firewall.remove();
    const peer = a.asPeer({ allowed: [a.block, b.block, parseCidr('192.0.2.101/32')] });
    await c.agent.host.tunnels.apply({ ...c.spec(peer), routes: c.spec(a.asPeer()).routes });
  });

  test('is heard by its own block, and by no other', async () => {
    expect(forge('100.64.3.9', a.container)).toContain(' 2 received');
    const heard = await Wiretap.start(a.inside, 'eth0', 'icmp');
    forge('100.64.2.9', a.container);
    forge('100.64.1.9', a.container);
    forge('10.9.9.9', a.container);
    expect(await heard.end()).toEqual([]);
  });

  test('gets to locators alone, and not through a host that is no hub', async () => {
    const before = await a.dropped('tunnel_forged');
    forge('100.64.3.9', '192.0.2.101');
    expect((await a.dropped('tunnel_forged')) - before).toBe(2);
    const refused = await a.dropped('tunnel_refused');
    forge('100.64.3.9', b.container);
    expect((await a.dropped('tunnel_refused')) - refused).toBe(2);
  });
});

describe('a peer that says it is reached at a locator', () => {
  beforeAll(async () => {
    await c.agent.host.firewall.apply(c.filter(), []);
    await mesh();
  });

  test('is not heard of any more, and no tunnel goes through itself', async () => {
    await until(() => a.pings(b.container), 3000);
    const sent = async () => (await peerOf(a, b))?.bytesSent ?? 0;
    const refused = await a.dropped('tunnel_refused');
    const before = await sent();
    const endpoint = { address: parseIpv4(b.own), port: PORT };
    await a.agent.host.tunnels.apply(a.spec(b.asPeer({ endpoint }), c.asPeer()));
    expect((await peerOf(a, b))?.endpoint).toEqual(endpoint);
    expect(a.pings(b.container)).toBe(false);
    // Round and round it were 26 MB in this time.
    expect((await sent()) - before).toBeLessThan(2_000);
    expect(await a.dropped('tunnel_refused')).toBeGreaterThan(refused);
    expect(a.pings(c.container)).toBe(true);
    await mesh();
    await until(() => a.pings(b.container), 3000);
  });

  test('by a packet from there, sealed as it should be: neither', async () => {
    // Where nobody looks at what is sent, b may be heard from its own locator outside of any tunnel.
    b.space.run(`nft add table ip forge
      nft 'add chain ip forge post { type nat hook postrouting priority srcnat - 20; }'
      nft add rule ip forge post oifname uplink udp sport ${PORT} snat ip to ${b.own}
      conntrack -F 2>&1 || true`);
    const before = (await peerOf(a, b))?.bytesSent ?? 0;
    expect(b.pings(a.container)).toBe(false);
    await until(async () => (await peerOf(a, b))?.endpoint?.address === parseIpv4(b.own), 3000);
    expect(((await peerOf(a, b))?.bytesSent ?? 0) - before).toBeLessThan(2_000);
    b.space.run('nft delete table ip forge; conntrack -F 2>&1 || true');
    await until(() => b.pings(a.container), 3000);
  });
});

describe('a hub', () => {
  test('leads from one tunnel to the other, and takes part in it as a router', async () => {
    await c.agent.host.firewall.apply(c.filter(), []);
    const byHub = { allowed: [a.block, b.block, c.block] };
    await a.agent.host.firewall.apply(a.filter(true), []);
    await a.agent.host.tunnels.apply(a.spec(b.asPeer(), c.asPeer()));
    const through = (host: TunnelHost, other: TunnelHost) =>
      host.agent.host.tunnels.apply(
        host.spec({
          ...a.asPeer(),
          allowed: byHub.allowed.filter(({ base }) => base === a.block.base || base === other.block.base),
        }),
      );
    await through(b, c);
    await through(c, b);
    const plain = await Wiretap.start(stage.hub, 'wire', LOCATORS);
    await until(() => b.pings(c.container), 2000);
    expect(await probe(c.inside, 'tcp', b.container, 80)).toBe(`container2 ${c.container}`);
    // The last one answers from its own locator, as does the one between.
    expect(b.inside.run(`ping -n -c 1 -t 2 -W 0.5 ${c.container} || true`)).toContain(`From ${a.own} `);
    expect(b.inside.run(`ping -n -c 1 -t 3 -W 0.5 ${c.container} || true`)).toContain(`From ${c.own} `);
    expect(b.inside.run(`ping -n -c 1 -t 4 -W 0.5 ${c.container}`)).toContain(' 1 received');
    await a.agent.host.firewall.apply(a.filter(), []);
    expect(b.pings(c.container)).toBe(false);
    expect(await plain.end()).toEqual([]);
  });

  test('with several devices, a way is changed by its route', async () => {
    const specA = a.spec(b.asPeer(), c.asPeer());
    await a.agent.host.tunnels.apply({
      ...specA,
      devices: [
        { name: 'daoli-wg', listenPort: PORT, mtu: 1420, peers: [c.asPeer({ allowed: [c.block] })] },
        { name: 'daoli-wg1', listenPort: 0, mtu: 1420, peers: [b.asPeer({ keepaliveSeconds: 25 })] },
      ],
      routes: [{ destination: b.block, device: 'daoli-wg1' }],
    });
    await b.agent.host.tunnels.apply(b.spec(a.asPeer(), c.asPeer()));
    expect(a.daemons()).toHaveLength(2);
    await until(() => a.pings(b.container), 2000);
    expect(a.space.run('ip route get 100.64.2.2')).toContain('dev daoli-wg1');
    await a.agent.host.tunnels.renew('daoli-wg1', publicKeyOf(b.privateKey));
    await until(() => a.pings(b.container), 2000);
    await a.agent.host.tunnels.apply(specA);
    expect(a.daemons()).toHaveLength(1);
    expect(a.space.run('ip route get 100.64.2.2')).toContain('dev daoli-wg ');
    await until(() => a.pings(b.container), 2000);
  });
});
