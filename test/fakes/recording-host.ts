// A host in memory with the behaviour of the real one as far as callers can tell: links come in pairs, ports conflict, rules are
// what was last wanted. It keeps a list of calls, and can be told to fail. The contract test holds it against the kernel.

import { PassThrough } from 'node:stream';
import { DaoliError } from '../../src/base/errors';
import type { Cidr, Ipv4, Mac } from '../../src/base/addresses';
import { cidrOf, formatCidr, formatIpv4 } from '../../src/base/addresses';
import type {
  Captures,
  CaptureSpec,
  CaptureSummary,
  FabricSpec,
  FilterCounts,
  FilterState,
  Firewall,
  FirewallConfig,
  ForwardedPort,
  Host,
  HostAddress,
  HostRoute,
  InterfaceAddress,
  InterfaceSpec,
  KernelSettings,
  Link,
  Links,
  PortRequest,
  PortReservations,
  PublishedEndpoint,
  ProbeSpec,
  ReservedPort,
  RouteSpec,
  RunningCapture,
  TunnelDeviceState,
  TunnelPeerState,
  Tunnels,
  TunnelsSpec,
  VethSpec,
} from '../../src/host/host';
import { publishedKeys, type Publisher } from '../../src/host/firewall-rules';
import { keyOf } from '../../src/host/publishers';
import { publicKeyOf } from '../../src/host/tunnel-keys';
import { checkTunnels } from '../../src/host/tunnel-plan';

interface FakeLink {
  link: Link;
  peer?: string;
  checksumOffload: boolean;
  addresses: InterfaceAddress[];
}

/** Calls are recorded as "links.createVeth dn1"; `fail` makes the next call of that name throw. */
class Recorder {
  readonly calls: string[] = [];
  private readonly failures = new Map<string, Error>();

  fail(call: string, error: Error): void {
    this.failures.set(call, error);
  }

  async record(call: string, subject: unknown = ''): Promise<void> {
    this.calls.push(`${call} ${String(subject)}`.trim());
    // As the real one, it never answers within the same turn of the event loop.
    await Promise.resolve();
    const error = this.failures.get(call);
    this.failures.delete(call);
    if (error !== undefined) throw error;
  }
}

export class RecordingLinks implements Links {
  readonly table = new Map<string, FakeLink>();
  readonly routes: HostRoute[] = [];
  defaultMtu = 1500;
  uplinkAddress = 0xc0000201 as Ipv4;
  private index = 1;

  constructor(private readonly recorder: Recorder) {}

  /** An interface that exists already: the uplink, or the host port that OVS makes. */
  addLink(name: string, link: Partial<Link> = {}): void {
    const made = { name, index: this.index++, mac: 0x020000000000 as Mac, mtu: 1500, up: false, kind: '', ...link };
    this.table.set(name, { link: made, checksumOffload: true, addresses: [] });
  }

  defaultAddress(): Promise<Ipv4> {
    return Promise.resolve(this.uplinkAddress);
  }

  /** Beside the uplink's. */
  foreign: { readonly device: string; readonly address: Ipv4 }[] = [];

  async hostAddresses(): Promise<HostAddress[]> {
    await this.recorder.record('links.hostAddresses');
    const address = this.uplinkAddress;
    const others = this.foreign.map((one) => ({ ...one, network: cidrOf(one.address, 32), isUplink: false }));
    return [{ address, network: cidrOf(address, 24), device: 'eth0', isUplink: true }, ...others];
  }

  async ensureFabric({ name, mac, address }: FabricSpec): Promise<{ mtu: number; isNew: boolean }> {
    await this.recorder.record('links.ensureFabric', name);
    if (address !== this.uplinkAddress) {
      const text = formatIpv4(address);
      throw new DaoliError(
        'not-found',
        `no interface of this host has the address ${text} that the directory has of it`,
        text,
      );
    }
    const isNew = !this.table.has(name);
    if (isNew) this.addLink(name, { kind: 'macvlan', mac, mtu: this.defaultMtu, up: true });
    return { mtu: this.defaultMtu, isNew };
  }

  async removeFabric(name: string): Promise<void> {
    await this.recorder.record('links.removeFabric', name);
    this.table.delete(name);
  }

  async createVeth(spec: VethSpec): Promise<void> {
    await this.recorder.record('links.createVeth', spec.name);
    if (spec.name.length > 15 || spec.peer.length > 15) {
      throw new DaoliError('invalid', `"${spec.name}" cannot be the name of an interface`, spec.name);
    }
    this.addLink(spec.name, { kind: 'veth', mtu: spec.mtu, up: true });
    this.addLink(spec.peer, {
      kind: 'veth',
      mtu: spec.mtu,
      ...(spec.peerMac === undefined ? {} : { mac: spec.peerMac }),
    });
    const [end, peer] = [this.table.get(spec.name), this.table.get(spec.peer)];
    if (end !== undefined) end.peer = spec.peer;
    if (peer !== undefined) Object.assign(peer, { peer: spec.name, checksumOffload: spec.checksumOffload });
  }

  deleteLink(name: string): void {
    this.recorder.calls.push(`links.deleteLink ${name}`);
    const peer = this.table.get(name)?.peer;
    this.table.delete(name);
    if (peer !== undefined) this.table.delete(peer);
  }

  async deletionsDone(): Promise<void> {
    await this.recorder.record('links.deletionsDone');
  }

  async listLinks(): Promise<Link[]> {
    await this.recorder.record('links.listLinks');
    return [...this.table.values()].map(({ link }) => link);
  }

  async configureInterface(spec: InterfaceSpec): Promise<void> {
    await this.recorder.record('links.configureInterface', spec.name);
    const entry = this.table.get(spec.name);
    if (entry === undefined) throw new DaoliError('not-found', `the host has no interface ${spec.name}`, spec.name);
    const { mac = entry.link.mac, mtu = entry.link.mtu } = spec;
    entry.link = { ...entry.link, mtu, up: true, ...(mac === undefined ? {} : { mac }) };
    entry.checksumOffload = spec.checksumOffload ?? entry.checksumOffload;
    if (spec.addresses === undefined) return;
    entry.addresses = [...spec.addresses];
    this.dropRoutes(({ device }) => device === spec.name);
    for (const { address, prefix } of spec.addresses) {
      this.routes.push({ destination: cidrOf(address, prefix), device: spec.name, type: 'unicast', table: 'main' });
    }
  }

  async addRoute({ destination, device }: RouteSpec): Promise<void> {
    await this.recorder.record('links.addRoute', formatCidr(destination));
    const text = formatCidr(destination);
    this.dropRoutes(({ type, ...route }) => type === 'unicast' && formatCidr(route.destination) === text);
    this.routes.push({ destination, device, type: 'unicast', table: 'main' });
  }

  async deleteRoute({ destination, device }: RouteSpec): Promise<void> {
    await this.recorder.record('links.deleteRoute', formatCidr(destination));
    this.dropRoutes((route) => route.device === device && formatCidr(route.destination) === formatCidr(destination));
  }

  async refuseUnrouted(destination: Cidr): Promise<void> {
    await this.recorder.record('links.refuseUnrouted', formatCidr(destination));
    const text = formatCidr(destination);
    this.dropRoutes(({ type, ...route }) => type === 'unreachable' && formatCidr(route.destination) === text);
    this.routes.push({ destination, type: 'unreachable', table: 'main' });
  }

  async hostRoutes(): Promise<HostRoute[]> {
    await this.recorder.record('links.hostRoutes');
    return [...this.routes];
  }

  async defaultRouteMtu(): Promise<number> {
    await this.recorder.record('links.defaultRouteMtu');
    return this.defaultMtu;
  }

  private dropRoutes(which: (route: HostRoute) => boolean): void {
    const kept = this.routes.filter((route) => !which(route));
    this.routes.splice(0, this.routes.length, ...kept);
  }
}

export class RecordingKernelSettings implements KernelSettings {
  forwarding = false;
  readonly prepared = new Set<string>();

  constructor(private readonly recorder: Recorder) {}

  async makeWritable(): Promise<void> {
    await this.recorder.record('kernel.makeWritable');
  }

  async enableForwarding(): Promise<boolean> {
    await this.recorder.record('kernel.enableForwarding');
    const wasOff = !this.forwarding;
    this.forwarding = true;
    return wasOff;
  }

  /** What read() gives. */
  readonly settings = new Map<string, string>();

  async read(path: string): Promise<string | undefined> {
    await this.recorder.record('kernel.read', path);
    return path === 'net/ipv4/ip_forward' ? String(Number(this.forwarding)) : this.settings.get(path);
  }

  async prepareHostInterface(name: string): Promise<void> {
    await this.recorder.record('kernel.prepareHostInterface', name);
    this.prepared.add(name);
  }
}

export class RecordingFirewall implements Firewall {
  config: FirewallConfig | undefined;
  readonly published = new Map<string, PublishedEndpoint>();
  /** Ports of firewall rules, by name. */
  readonly forwarded = new Map<string, ForwardedPort>();
  readonly flushed: string[] = [];

  constructor(private readonly recorder: Recorder) {}

  async apply(config: FirewallConfig, published: readonly PublishedEndpoint[]): Promise<void> {
    await this.recorder.record('firewall.apply');
    this.config = config;
    this.published.clear();
    for (const endpoint of published) this.claim(endpoint);
  }

  async setDockerBridges(names: readonly string[]): Promise<void> {
    await this.recorder.record('firewall.setDockerBridges', names.join(','));
    this.config = { ...this.requireConfig(), dockerBridges: names };
  }

  async publish(endpoint: PublishedEndpoint): Promise<void> {
    await this.recorder.record('firewall.publish', endpoint.endpointId);
    this.requireConfig();
    this.claim(endpoint);
  }

  async withdraw(endpointId: string): Promise<void> {
    await this.recorder.record('firewall.withdraw', endpointId);
    this.published.delete(endpointId);
  }

  async forward(port: ForwardedPort): Promise<void> {
    await this.recorder.record('firewall.forward', port.name);
    this.requireConfig();
    this.refuseTaken(port, `firewall rule ${port.name}`);
    this.forwarded.set(port.name, port);
  }

  async stopForwarding(name: string): Promise<void> {
    await this.recorder.record('firewall.stopForwarding', name);
    this.forwarded.delete(name);
  }

  async flushConnections(locator: Ipv4): Promise<void> {
    await this.recorder.record('firewall.flushConnections', formatIpv4(locator));
    this.flushed.push(formatIpv4(locator));
  }

  async assertForwarding(): Promise<void> {
    await this.recorder.record('firewall.assertForwarding');
  }

  /** What counters() gives. */
  counts: FilterCounts = {};

  async counters(): Promise<FilterCounts> {
    await this.recorder.record('firewall.counters');
    if (this.config === undefined) throw new DaoliError('internal', 'the counters of the packet filter cannot be read');
    return this.counts;
  }

  async inspect(): Promise<FilterState> {
    await this.recorder.record('firewall.inspect');
    return { missingForward: 0, isTableRight: this.config !== undefined };
  }

  async remove(): Promise<void> {
    await this.recorder.record('firewall.remove');
    this.config = undefined;
    this.published.clear();
    this.forwarded.clear();
  }

  private requireConfig(): FirewallConfig {
    if (this.config !== undefined) return this.config;
    throw new DaoliError('unavailable', 'the packet filter is not set up yet: try again');
  }

  private claim(endpoint: PublishedEndpoint): void {
    this.refuseTaken(endpoint, `endpoint ${endpoint.endpointId}`);
    this.published.set(endpoint.endpointId, endpoint);
  }

  private refuseTaken(publisher: Publisher, title: string): void {
    const wanted = new Set(publishedKeys(publisher));
    const all = [...this.published.values(), ...this.forwarded.values()];
    const other = all.find(
      (each) => keyOf(each) !== keyOf(publisher) && publishedKeys(each).some((key) => wanted.has(key)),
    );
    if (other !== undefined) {
      throw new DaoliError('conflict', `${title} cannot publish: ${keyOf(other)} does`);
    }
  }
}

export class RecordingPorts implements PortReservations {
  /** Ports that other programs of the host have, as "tcp 8080". */
  readonly takenByOthers = new Set<string>();
  private readonly held: { request: PortRequest; reserved: ReservedPort }[] = [];
  private nextPort = 49_152;

  constructor(private readonly recorder: Recorder) {}

  async reserve(request: PortRequest): Promise<ReservedPort> {
    await this.recorder.record('ports.reserve', `${request.firstPort}-${request.lastPort}/${request.protocol}`);
    const { rebind: _rebind, firstPort, lastPort, ...rest } = request;
    const same = this.held.find((held) =>
      (['endpointId', 'protocol', 'hostIp', 'firstPort', 'lastPort', 'containerPort'] as const).every(
        (key) => held.request[key] === request[key],
      ),
    );
    if (same !== undefined) return (same.reserved = { ...same.reserved, locator: request.locator });
    const hostPort = firstPort === 0 ? this.nextPort++ : this.firstFree(request);
    if (hostPort === undefined) {
      throw firstPort === lastPort
        ? new DaoliError(
            'conflict',
            `port ${firstPort}/${request.protocol} on 0.0.0.0 is already in use`,
            `${firstPort}`,
          )
        : new DaoliError(
            'exhausted',
            `no port of ${firstPort}-${lastPort}/${request.protocol} is free`,
            `${firstPort}`,
          );
    }
    const reserved = { ...rest, hostPort };
    this.held.push({ request, reserved });
    return reserved;
  }

  async release(endpointId: string): Promise<void> {
    await this.recorder.record('ports.release', endpointId);
    const kept = this.held.filter(({ request }) => request.endpointId !== endpointId);
    this.held.splice(0, this.held.length, ...kept);
  }

  list(): readonly ReservedPort[] {
    return this.held.map(({ reserved }) => reserved);
  }

  private firstFree({ protocol, hostIp, firstPort, lastPort }: PortRequest): number | undefined {
    for (let port = firstPort; port <= lastPort; port += 1) {
      const mine = this.held.some(
        ({ reserved }) =>
          reserved.protocol === protocol &&
          reserved.hostPort === port &&
          (reserved.hostIp === hostIp || reserved.hostIp === '' || hostIp === ''),
      );
      if (!mine && !this.takenByOthers.has(`${protocol} ${port}`)) return port;
    }
    return undefined;
  }
}

export class RecordingCaptures implements Captures {
  /** Those that run. */
  readonly running: (RunningCapture & { readonly spec: CaptureSpec; readonly output: PassThrough })[] = [];

  constructor(private readonly recorder: Recorder) {}

  async start(spec: CaptureSpec): Promise<RunningCapture> {
    await this.recorder.record('captures.start', spec.interfaceName);
    const output = new PassThrough();
    let end: (summary: CaptureSummary) => void = () => undefined;
    const ended = new Promise<CaptureSummary>((resolve) => (end = resolve));
    const capture = { spec, output, ended, stop: () => void output.end(() => end({ packets: 0, dropped: 0 })) };
    this.running.push(capture);
    return capture;
  }
}

/** Peers are there as they were told; what they say and hear is for the test to set. */
export class RecordingTunnels implements Tunnels {
  spec: TunnelsSpec | undefined;
  kindFound: 'kernel' | 'userspace' = 'kernel';
  /** By public key: what state() gives besides. */
  readonly seen = new Map<string, Partial<TunnelPeerState>>();
  /** By "DEVICE ADDRESS": what probe() gives. */
  readonly answers = new Map<string, number>();
  /** What an earlier agent has left: there until something else is applied. */
  left: TunnelDeviceState[] = [];
  private readonly listeners = new Set<(device: string) => void>();

  constructor(private readonly recorder: Recorder) {}

  async apply(spec: TunnelsSpec): Promise<void> {
    await this.recorder.record('tunnels.apply', spec.devices.map(({ name }) => name).join(','));
    checkTunnels(spec.devices, spec.routes);
    this.spec = spec;
  }

  async renew(device: string, publicKey: string): Promise<void> {
    await this.recorder.record('tunnels.renew', `${device} ${publicKey}`);
  }

  async state(): Promise<TunnelDeviceState[]> {
    await this.recorder.record('tunnels.state');
    if (this.spec === undefined) return this.left;
    const { devices, privateKey } = this.spec;
    return devices.map(({ name, listenPort, peers }) => ({
      name,
      publicKey: publicKeyOf(privateKey),
      listenPort: listenPort === 0 ? 49_152 : listenPort,
      peers: peers.map((peer) => ({ ...peer, bytesReceived: 0, bytesSent: 0, ...this.seen.get(peer.publicKey) })),
    }));
  }

  async kind(): Promise<'kernel' | 'userspace'> {
    await this.recorder.record('tunnels.kind');
    return this.kindFound;
  }

  async probe({ address, device = '' }: ProbeSpec): Promise<number | undefined> {
    await this.recorder.record('tunnels.probe', `${device} ${formatIpv4(address)}`.trim());
    return this.answers.get(`${device} ${formatIpv4(address)}`.trim());
  }

  onLost(listener: (device: string) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** As when a device goes away. */
  lose(device: string): void {
    for (const listener of this.listeners) listener(device);
  }
}

export class RecordingHost implements Host {
  private readonly recorder = new Recorder();
  readonly calls = this.recorder.calls;
  readonly links = new RecordingLinks(this.recorder);
  readonly kernel = new RecordingKernelSettings(this.recorder);
  readonly firewall = new RecordingFirewall(this.recorder);
  readonly ports = new RecordingPorts(this.recorder);
  readonly captures = new RecordingCaptures(this.recorder);
  readonly tunnels = new RecordingTunnels(this.recorder);

  /** The next call of that name ("links.createVeth") throws `error`, once. */
  fail(call: string, error: Error): void {
    this.recorder.fail(call, error);
  }

  private readonly listeners = new Set<() => void>();

  /** Nothing changes by itself. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  start(): Promise<void> {
    return this.recorder.record('start');
  }

  stop(): Promise<void> {
    return this.recorder.record('stop');
  }
}
