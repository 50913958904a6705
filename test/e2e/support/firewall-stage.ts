// The stage for the packet filter: a host with its uplink, `daoli0` and Docker's FORWARD policy; two "containers" that are behind
// daoli0 by their locators, where the datapath would be, and one of another host; a client outside; a container of a Docker
// bridge.
//
//   client 192.0.2.9 ── uplink 192.0.2.2 [host] 100.64.7.1 daoli0 ── wire ── a 100.64.7.2, b 100.64.7.3, far 100.64.8.2
//                                        [host] 172.30.0.1 docker0 ── bridged 172.30.0.2

import { parseCidr, parseIpv4 } from '../../../src/base/addresses';
import type { FirewallConfig, PublishedEndpoint, PublishedPort } from '../../../src/host/host';
import { NetworkNamespace, wire } from './network-namespace';
import { NamespacedHost } from './namespaced-host';

export const config: FirewallConfig = {
  hostInterface: 'daoli0',
  hostAddress: parseIpv4('100.64.7.1'),
  locatorBlocks: [parseCidr('100.64.7.0/24')],
  locatorRange: parseCidr('100.64.0.0/10'),
  doors: [],
  closedPorts: [{ protocol: 'tcp', port: 7654 }],
  dockerBridges: ['docker0'],
};

const SERVER = `
const [name, ...ports] = process.argv.slice(1);
let left = 2 * ports.length;
const ready = () => { if (--left === 0) console.log('ready'); };
for (const port of ports.map(Number)) {
  require('net').createServer((c) => c.on('error', () => {}).end(name + ' ' + c.remoteAddress)).listen(port, '0.0.0.0', ready);
  const udp = require('dgram').createSocket('udp4').bind(port, '0.0.0.0', ready);
  udp.on('message', (_, from) => udp.send(name + ' ' + from.address, from.port, from.address));
}`;

// Prints what the server says, or the error's code, or "timeout".
const CLIENT = `
const [protocol, host, port] = process.argv.slice(1);
const end = (text) => { console.log(text); process.exit(); };
setTimeout(end, 1500, 'timeout');
if (protocol === 'tcp') {
  const socket = require('net').connect({ host, port });
  socket.on('data', (data) => end(String(data))).on('error', (e) => end(e.code)).on('end', () => end('closed'));
} else {
  const socket = require('dgram').createSocket(require('net').isIPv6(host) ? 'udp6' : 'udp4');
  socket.on('message', (data) => end(String(data))).on('error', (e) => end(e.code));
  socket.connect(Number(port), host, () => socket.send('hello'));
}`;

/** What one namespace hears from a server: "a 192.0.2.9" (the server's name and the address it sees), or an error. */
export function probe(from: NetworkNamespace, protocol: 'tcp' | 'udp', host: string, port: number): Promise<string> {
  return from.runScript(CLIENT, protocol, host, String(port));
}

/** Answers on these ports, by TCP and UDP, with its name and whom it sees. */
export async function serve(namespace: NetworkNamespace, name: string, ...ports: string[]): Promise<void> {
  await namespace.startScript(SERVER, name, ...ports);
}

export type IptablesFlavour = 'iptables-nft' | 'iptables-legacy';

export class FirewallStage {
  readonly host = new NetworkNamespace('host');
  readonly client = new NetworkNamespace('client');
  readonly a = new NetworkNamespace('a');
  readonly b = new NetworkNamespace('b');
  readonly far = new NetworkNamespace('far');
  readonly bridged = new NetworkNamespace('bridged');
  private readonly hub = new NetworkNamespace('hub');
  agent!: NamespacedHost;

  private get namespaces(): NetworkNamespace[] {
    return [this.host, this.client, this.a, this.b, this.far, this.bridged, this.hub];
  }

  async start(): Promise<void> {
    for (const namespace of this.namespaces) namespace.create();
    this.connect();
    for (const [name, namespace] of Object.entries({
      a: this.a,
      b: this.b,
      far: this.far,
      bridged: this.bridged,
    })) {
      await serve(namespace, name, '80', '9000');
    }
    await serve(this.client, 'client', '80', '9000');
    await serve(this.host, 'host', '7000', '7654');
    this.agent = await NamespacedHost.start(this.host);
    await this.agent.host.start();
    await this.agent.host.kernel.enableForwarding();
    await this.agent.host.kernel.prepareHostInterface('daoli0');
    await this.agent.host.links.configureInterface({
      name: 'daoli0',
      addresses: [{ address: config.hostAddress, prefix: 24 }],
    });
  }

  async end(): Promise<void> {
    // Whatever start() came to before it failed.
    await (this.agent as NamespacedHost | undefined)?.stop();
    for (const namespace of this.namespaces) await namespace.remove();
  }

  private connect(): void {
    this.hub.run('ip link add wire type bridge; ip link set wire up');
    wire(this.hub, 'port-h', this.host, 'daoli0');
    wire(this.hub, 'port-a', this.a, 'eth0');
    wire(this.hub, 'port-b', this.b, 'eth0');
    wire(this.hub, 'port-f', this.far, 'eth0');
    this.hub.run('for end in port-h port-a port-b port-f; do ip link set $end master wire; done');
    this.a.run(
      'ip addr add 100.64.7.2/32 dev eth0; ip route add 100.64.7.1 dev eth0; ip route add default via 100.64.7.1',
    );
    this.b.run(
      'ip addr add 100.64.7.3/32 dev eth0; ip route add 100.64.7.1 dev eth0; ip route add default via 100.64.7.1',
    );
    this.far.run(
      'ip addr add 100.64.8.2/32 dev eth0; ip route add 100.64.7.1 dev eth0; ip route add default via 100.64.7.1',
    );
    wire(this.host, 'uplink', this.client, 'eth0');
    this.host.run('ip addr add 192.0.2.2/24 dev uplink; ip -6 addr add 2001:db8::2/64 dev uplink nodad');
    // The client knows the way to the locators and to Docker's bridge, and tries it. 10.1.0.9 lies in the tenant's pool.
    this.client.run(`ip addr add 192.0.2.9/24 dev eth0; ip -6 addr add 2001:db8::9/64 dev eth0 nodad
      ip addr add 10.1.0.9/32 dev lo; ip route add 100.64.0.0/10 via 192.0.2.2; ip route add 10.77.0.0/16 via 192.0.2.2`);
    this.host.run('ip route add 10.1.0.9 via 192.0.2.9; ip route add 10.77.0.0/16 via 192.0.2.9');
    wire(this.host, 'port0', this.bridged, 'eth0');
    this.host.run('ip link add docker0 type bridge; ip link set docker0 up; ip link set port0 master docker0');
    this.host.run('ip addr add 172.30.0.1/16 dev docker0');
    this.bridged.run('ip addr add 172.30.0.2/16 dev eth0; ip route add default via 172.30.0.1');
  }

  /** As dockerd leaves it: FORWARD drops, but for its own bridge and what the user says. */
  playDocker(iptables: IptablesFlavour): void {
    this.host.run(`${iptables} -P FORWARD DROP
      ${iptables} -N DOCKER-USER 2>/dev/null || true
      ${iptables} -F; ${iptables} -A DOCKER-USER -j RETURN; ${iptables} -A FORWARD -j DOCKER-USER
      ${iptables} -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
      ${iptables} -A FORWARD -i docker0 ! -o docker0 -j ACCEPT`);
  }

  forgetDocker(iptables: IptablesFlavour): void {
    this.host.run(`${iptables} -P FORWARD ACCEPT; ${iptables} -F; ${iptables} -X`);
  }
}

export const tenantPools = [parseCidr('10.1.0.0/16')];

/** An endpoint behind locator 100.64.7.`last`, whose tenant has the pool 10.1.0.0/16. */
export function published(endpointId: string, last: number, ...ports: PublishedPort[]): PublishedEndpoint {
  return { endpointId, locator: parseIpv4(`100.64.7.${last}`), ports, tenantPools };
}
