// What every Host does, the real one and the recording one: run against both, so that tests with the fake mean something.

import { cidrOf, formatCidr, parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import type { FirewallConfig, Host, PortRequest, PublishedEndpoint } from '../../src/host/host';

export const contractConfig: FirewallConfig = {
  hostInterface: 'daoli0',
  hostAddress: parseIpv4('100.64.7.1'),
  locatorBlocks: [parseCidr('100.64.7.0/24')],
  locatorRange: parseCidr('100.64.0.0/10'),
  doors: [],
  closedPorts: [{ protocol: 'tcp', port: 7654 }],
  dockerBridges: ['docker0'],
};

/** Of an interface that is there: `uplink`. */
export const UPLINK_ADDRESS = parseIpv4('192.0.2.1');

function endpoint(endpointId: string, last: number, ports: PublishedEndpoint['ports']): PublishedEndpoint {
  const locator = parseIpv4(`100.64.7.${last}`);
  return { endpointId, locator, ports, tenantPools: [parseCidr('10.1.0.0/16'), parseCidr('10.1.2.0/24')] };
}

function portRequest(endpointId: string, first: number, last = first): PortRequest {
  const locator = parseIpv4('100.64.7.2');
  return { endpointId, protocol: 'tcp', hostIp: '', firstPort: first, lastPort: last, containerPort: 80, locator };
}

/** `makeHostInterface` makes an interface called daoli0, as OVS does in the product. */
export function hostContract(of: () => { host: Host; makeHostInterface: () => void }): void {
  const names = async (): Promise<string[]> => (await of().host.links.listLinks()).map(({ name }) => name);

  test('a veth pair is made, made again, and deleted', async () => {
    const { links } = of().host;
    const peerMac = parseMac('02:42:0a:01:00:05');
    const spec = { name: 'dn0123456789a', peer: 'dp0123456789a', mtu: 1400, peerMac, checksumOffload: false };
    await links.createVeth(spec);
    await links.createVeth(spec);
    const made = (await links.listLinks()).filter(({ kind }) => kind === 'veth');
    expect(made.find(({ name }) => name === spec.name)).toMatchObject({ mtu: 1400, up: true });
    expect(made.find(({ name }) => name === spec.peer)).toMatchObject({ mtu: 1400, mac: peerMac });
    links.deleteLink(spec.name);
    links.deleteLink('dn-never-made');
    await links.deletionsDone();
    expect(await names()).not.toContain(spec.name);
    expect(await names()).not.toContain(spec.peer);
  });

  test('a link that is made again while its deletion waits is there afterwards', async () => {
    const { links } = of().host;
    const spec = { name: 'dnagain', peer: 'dpagain', mtu: 1500, checksumOffload: true };
    await links.createVeth(spec);
    links.deleteLink(spec.name);
    await links.createVeth(spec);
    await links.deletionsDone();
    expect(await names()).toEqual(expect.arrayContaining([spec.name, spec.peer]));
    links.deleteLink(spec.name);
    await links.deletionsDone();
  });

  test('a name that the kernel does not take is refused', async () => {
    const spec = { name: 'a-name-that-is-too-long', peer: 'x', mtu: 1500, checksumOffload: true };
    await expect(of().host.links.createVeth(spec)).rejects.toMatchObject({ code: 'invalid' });
  });

  test('the fabric interface is made once on the interface that has the address, and goes', async () => {
    const { links } = of().host;
    const mac = parseMac('02:da:00:00:00:fe');
    const spec = { name: 'daoli-fab', mac, address: UPLINK_ADDRESS, hideFromStack: true };
    expect(await links.ensureFabric(spec)).toEqual({ mtu: 1500, isNew: true });
    expect(await links.ensureFabric(spec)).toEqual({ mtu: 1500, isNew: false });
    const made = (await links.listLinks()).find(({ name }) => name === spec.name);
    expect(made).toMatchObject({ kind: 'macvlan', mac, mtu: 1500, up: true });
    await expect(links.ensureFabric({ ...spec, address: parseIpv4('192.0.2.99') })).rejects.toThrow(
      'no interface of this host has the address 192.0.2.99',
    );
    await links.removeFabric(spec.name);
    await links.removeFabric(spec.name);
    expect(await names()).not.toContain(spec.name);
  });

  test('the host interface gets its address, and routes by it come and go', async () => {
    const { host, makeHostInterface } = of();
    await expect(host.links.configureInterface({ name: 'daoli0' })).rejects.toMatchObject({ code: 'not-found' });
    makeHostInterface();
    await host.kernel.makeWritable();
    await host.kernel.prepareHostInterface('daoli0');
    const mac = parseMac('02:00:00:64:07:01');
    const addresses = [{ address: contractConfig.hostAddress, prefix: 24 }];
    for (let i = 0; i < 2; i += 1) await host.links.configureInterface({ name: 'daoli0', mac, mtu: 1450, addresses });
    expect((await host.links.listLinks()).find(({ name }) => name === 'daoli0')).toMatchObject({
      mac,
      mtu: 1450,
      up: true,
    });

    const second = { destination: parseCidr('100.64.9.0/24'), device: 'daoli0', source: contractConfig.hostAddress };
    const byDaoli0 = async (): Promise<string[]> =>
      (await host.links.hostRoutes())
        .filter(({ device, type }) => device === 'daoli0' && type === 'unicast')
        .map(({ destination }) => formatCidr(destination));
    await host.links.addRoute(second);
    await host.links.addRoute(second);
    expect(new Set(await byDaoli0())).toEqual(new Set(['100.64.7.0/24', '100.64.9.0/24']));
    await host.links.deleteRoute(second);
    await host.links.deleteRoute({ ...second, destination: cidrOf(parseIpv4('10.255.0.0'), 16) });
    expect(await byDaoli0()).not.toContain('100.64.9.0/24');
    expect(await host.links.defaultRouteMtu()).toBe(1500);
  });

  test('what is unrouted of a range is refused, below every other route', async () => {
    const { links } = of().host;
    const { locatorRange } = contractConfig;
    for (let i = 0; i < 2; i += 1) await links.refuseUnrouted(locatorRange);
    const refusing = (await links.hostRoutes()).filter(({ type }) => type === 'unreachable');
    expect(refusing).toEqual([{ destination: locatorRange, type: 'unreachable', table: 'main' }]);
  });

  test('forwarding is switched on once', async () => {
    const { kernel } = of().host;
    expect(await kernel.enableForwarding()).toBe(true);
    expect(await kernel.enableForwarding()).toBe(false);
  });

  test('published ports: nothing before the rules, one owner for each, gone when withdrawn', async () => {
    const { firewall } = of().host;
    const web = endpoint('web', 2, [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }]);
    const other = endpoint('other', 3, [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }]);
    await expect(firewall.publish(web)).rejects.toMatchObject({ code: 'unavailable' });
    await firewall.apply(contractConfig, [web]);
    await expect(firewall.publish(other)).rejects.toMatchObject({ code: 'conflict' });
    await firewall.publish(web);
    await firewall.setDockerBridges(['docker0', 'br-0123456789ab']);
    await firewall.withdraw('web');
    await firewall.withdraw('web');
    await firewall.publish(other);
    await firewall.publish({ ...other, ports: [...other.ports, { protocol: 'udp', hostPort: 53, containerPort: 53 }] });
    await firewall.flushConnections(other.locator);
    await firewall.assertForwarding();
    expect(await firewall.counters()).toEqual(expect.any(Object));
    expect(await firewall.inspect()).toEqual({ missingForward: 0, isTableRight: true });
    await firewall.remove();
    await expect(firewall.counters()).rejects.toMatchObject({ code: 'internal' });
    await expect(firewall.publish(web)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('ports of firewall rules: one owner for each, beside published ones, and they outlive a new state', async () => {
    const { firewall } = of().host;
    const web = endpoint('web', 2, [{ protocol: 'tcp', hostPort: 8080, containerPort: 80 }]);
    const target = { locator: web.locator, port: 22, tenantPools: web.tenantPools };
    const rule = {
      name: 'ssh',
      protocol: 'tcp',
      hostPort: 2222,
      from: [cidrOf(parseIpv4('10.0.0.0'), 8)],
      target,
    } as const;
    await expect(firewall.forward(rule)).rejects.toMatchObject({ code: 'unavailable' });
    await firewall.apply(contractConfig, [web]);
    await firewall.forward(rule);
    await expect(firewall.forward({ ...rule, hostPort: 8080 })).rejects.toMatchObject({ code: 'conflict' });
    await expect(firewall.forward({ ...rule, name: 'other' })).rejects.toMatchObject({ code: 'conflict' });
    await firewall.forward({ ...rule, target: { ...target, port: 23 } });
    await firewall.forward({ name: 'ssh', protocol: 'tcp', hostPort: 2222, from: [] });
    const taken = endpoint('web', 2, [{ protocol: 'tcp', hostPort: 2222, containerPort: 80 }]);
    await expect(firewall.apply(contractConfig, [taken])).rejects.toMatchObject({ code: 'conflict' });
    await firewall.stopForwarding('ssh');
    await firewall.stopForwarding('ssh');
    await firewall.apply(contractConfig, [taken]);
    await firewall.remove();
  });

  test('ports are reserved once, from a range, or any, and released', async () => {
    const { ports } = of().host;
    expect(await ports.reserve(portRequest('a', 7000))).toMatchObject({ endpointId: 'a', hostPort: 7000 });
    expect(await ports.reserve(portRequest('a', 7000))).toMatchObject({ endpointId: 'a', hostPort: 7000 });
    await expect(ports.reserve(portRequest('b', 7000))).rejects.toMatchObject({ code: 'conflict' });
    expect((await ports.reserve(portRequest('b', 7000, 7001))).hostPort).toBe(7001);
    await expect(ports.reserve(portRequest('c', 7000, 7001))).rejects.toMatchObject({ code: 'exhausted' });
    const any = await ports.reserve(portRequest('c', 0));
    expect(any.hostPort).toBeGreaterThan(1023);
    expect(await Promise.resolve(ports.list())).toHaveLength(3);
    for (const id of ['a', 'b', 'c', 'never']) await ports.release(id);
    expect(await Promise.resolve(ports.list())).toHaveLength(0);
  });
}
