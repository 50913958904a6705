// The stage for tunnels: hosts on one wire, each with its own locator on `daoli0` and a "container" behind it by its locator, where
// the datapath would be.
//
//   inside 100.64.N.2 ── daoli0 100.64.N.1 [host N] uplink 192.0.2.N ── wire

import { closeSync, openSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { waitFor } from '../../../lab/namespace';
import { ROOMY } from '../../../lab/recording';
import { parseCidr, parseIpv4 } from '../../../src/base/addresses';
import type { FirewallConfig, TunnelPeer, TunnelsSpec } from '../../../src/host/host';
import { createTunnelKey, publicKeyOf } from '../../../src/host/tunnel-keys';
import { serve } from './firewall-stage';
import { NamespacedHost } from './namespaced-host';
import { NetworkNamespace, wire } from './network-namespace';

// Sockets of wireguard-go are found by the name of the device, which here all hosts share.
const OWN_RUN = ['unshare', '-m', 'sh', '-ec', 'mount -t tmpfs none /run; exec "$@"', 'sh'];

export const PORT = 7471;
export const MTU = 1420;
const locatorRange = parseCidr('100.64.0.0/10');

/** What passes an interface of a namespace, as tcpdump's lines. */
export class Wiretap {
  private text = '';

  private constructor(private readonly tcpdump: ChildProcess) {}

  static async start(space: NetworkNamespace, name: string, filter: string): Promise<Wiretap> {
    const tcpdump = space.spawn('tcpdump', '-n', '-v', '-l', '--immediate-mode', ...ROOMY, '-i', name, filter);
    const tap = new Wiretap(tcpdump);
    tcpdump.stdout.on('data', (data: Buffer) => (tap.text += data.toString()));
    await new Promise<void>((resolve, reject) => {
      tcpdump.stderr.on('data', (data: Buffer) => data.toString().includes('listening on') && resolve());
      tcpdump.once('exit', (code) => reject(new Error(`tcpdump ended with ${code}`)));
    });
    return tap;
  }

  /** Waits until it has seen so many packets: each is two of tcpdump's lines, the second of which is indented. */
  async until(count: number): Promise<void> {
    await waitFor(`${count} packets`, () => (this.text.match(/^ .*\n/gm) ?? []).length >= count);
  }

  /** Ends it and gives what it saw, one line a packet. */
  async end(): Promise<string[]> {
    // What has passed already comes within this time.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const gone = new Promise((resolve) => this.tcpdump.once('close', resolve));
    this.tcpdump.kill('SIGKILL');
    await gone;
    return this.text.split(/\n(?=\d\d:)/).filter(Boolean);
  }
}

export class TunnelHost {
  readonly space: NetworkNamespace;
  readonly inside: NetworkNamespace;
  privateKey = createTunnelKey();
  agent!: NamespacedHost;

  constructor(readonly number: number) {
    this.space = new NetworkNamespace(`host${number}`);
    this.inside = new NetworkNamespace(`inside${number}`);
  }

  get own(): string {
    return `100.64.${this.number}.1`;
  }

  get container(): string {
    return `100.64.${this.number}.2`;
  }

  get block(): ReturnType<typeof parseCidr> {
    return parseCidr(`100.64.${this.number}.0/24`);
  }

  /** How others see it. */
  asPeer(rest: Partial<TunnelPeer> = {}): TunnelPeer {
    return {
      publicKey: publicKeyOf(this.privateKey),
      endpoint: { address: parseIpv4(`192.0.2.${this.number}`), port: PORT },
      allowed: [this.block],
      keepaliveSeconds: 0,
      ...rest,
    };
  }

  /** One device, with a route to all that its peers may be. */
  spec(...peers: TunnelPeer[]): TunnelsSpec {
    return {
      privateKey: this.privateKey,
      source: parseIpv4(this.own),
      devices: [{ name: 'daoli-wg', listenPort: PORT, mtu: MTU, peers }],
      routes: peers.flatMap(({ allowed }) => allowed.map((destination) => ({ destination, device: 'daoli-wg' }))),
    };
  }

  filter(isHub = false): FirewallConfig {
    return {
      hostInterface: 'daoli0',
      hostAddress: parseIpv4(this.own),
      locatorBlocks: [this.block],
      locatorRange,
      doors: [],
      closedPorts: [{ protocol: 'tcp', port: 7470 }],
      dockerBridges: [],
      tunnels: { isHub, doorPort: 7470 },
    };
  }

  /** Kills the agent, and starts another in the same mount namespace, as the plugin's supervisor does. */
  async restartAgent(meanwhile: () => void = () => undefined): Promise<void> {
    const [daemon] = this.daemons();
    const mounts = `/proc/${daemon}/ns/mnt`;
    // Held open: the process may be gone by then.
    const file = openSync(mounts, 'r');
    const gone = new Promise((resolve) => this.agent.child.once('exit', resolve));
    this.agent.child.kill('SIGKILL');
    await gone;
    await this.agent.stop();
    meanwhile();
    this.agent = await NamespacedHost.start(this.space, ['nsenter', `--mount=/proc/${process.pid}/fd/${file}`]);
    closeSync(file);
    await this.agent.host.start();
  }

  /** It has no address for so many seconds, and then 192.0.2.`last`. */
  moveTo(last: number, afterSeconds = 0): void {
    this.space.run(`ip addr flush dev uplink; sleep ${afterSeconds}
      ip addr add 192.0.2.${last}/24 dev uplink; ip route replace default via 192.0.2.254`);
  }

  /** One echo from the container. */
  pings(to: string): boolean {
    return this.inside.run(`ping -n -c 1 -W 0.4 ${to} || true`).includes(' 1 received');
  }

  /** What the packet filter dropped for that reason since the rules were made. */
  async dropped(counter: string): Promise<number> {
    return (await this.agent.host.firewall.counters())[counter]?.packets ?? 0;
  }

  /** The processes of wireguard-go. */
  daemons(): number[] {
    const pids = this.space.run(`ip netns pids ${this.space.name}`).split('\n').filter(Boolean);
    return pids
      .filter((pid) => this.space.run(`cat /proc/${pid}/comm 2>/dev/null || true`).trim() === 'wireguard-go')
      .map(Number);
  }

  async start(hub: NetworkNamespace): Promise<void> {
    this.space.create();
    this.inside.create();
    wire(hub, `port${this.number}`, this.space, 'uplink');
    hub.run(`ip link set port${this.number} master wire`);
    wire(this.space, 'daoli0', this.inside, 'eth0');
    this.space.run(`ip addr add ${this.own}/24 dev daoli0; echo 1 >/proc/sys/net/ipv4/ip_forward`);
    this.moveTo(this.number);
    this.inside.run(`ip addr add ${this.container}/32 dev eth0; ip route add ${this.own} dev eth0
      ip route add default via ${this.own}`);
    this.agent = await NamespacedHost.start(this.space, OWN_RUN);
    await this.agent.host.start();
    await this.agent.host.links.refuseUnrouted(locatorRange);
    this.space.run(`iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN
      iptables-nft -A FORWARD -j DOCKER-USER`);
    await this.agent.host.kernel.prepareHostInterface('daoli0');
    await this.agent.host.firewall.apply(this.filter(), []);
    await serve(this.space, `host${this.number}`, '7000', '7470');
    await serve(this.inside, `container${this.number}`, '80');
  }

  async end(): Promise<void> {
    // Whatever start() came to before it failed.
    await (this.agent as NamespacedHost | undefined)?.stop();
    for (const pid of this.daemons()) process.kill(pid, 'SIGKILL');
    await this.inside.remove();
    await this.space.remove();
  }
}

export class TunnelStage {
  readonly hub = new NetworkNamespace('wire');
  readonly hosts: TunnelHost[];

  constructor(count: number) {
    this.hosts = Array.from({ length: count }, (_, index) => new TunnelHost(index + 1));
  }

  async start(): Promise<void> {
    this.hub.create();
    this.hub.run('ip link add wire type bridge; ip link set wire up; ip addr add 192.0.2.254/24 dev wire');
    for (const host of this.hosts) await host.start(this.hub);
  }

  async end(): Promise<void> {
    for (const host of this.hosts) await host.end();
    await this.hub.remove();
  }
}
