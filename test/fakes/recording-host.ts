// A host in memory with the behaviour of the real one as far as callers can tell: links come in pairs, ports conflict, rules are
// what was last wanted. It keeps a list of calls, and can be told to fail. The contract test holds it against the kernel.

import { DaoliError } from '../../src/base/errors';
import type { Ipv4, Mac } from '../../src/base/addresses';
import { cidrOf, formatCidr, formatIpv4 } from '../../src/base/addresses';
import type {
  FabricSpec,
  Firewall,
  FirewallConfig,
  Host,
  HostRoute,
  InterfaceAddress,
  InterfaceSpec,
  KernelSettings,
  Link,
  Links,
  PortRequest,
  PortReservations,
  PublishedEndpoint,
  ReservedPort,
  RouteSpec,
  VethSpec,
} from '../../src/host/host';
import { publishedKeys } from '../../src/host/firewall-rules';

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

  async ensureFabric({ name, mac, address }: FabricSpec): Promise<{ mtu: number; isNew: boolean }> {
    await this.recorder.record('links.ensureFabric', name);
    if (address !== this.uplinkAddress) {
      const text = formatIpv4(address);
      throw new DaoliError('not-found', `no interface of this host has the address ${text} that it joined with`, text);
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
    this.dropRoutes((route) => formatCidr(route.destination) === formatCidr(destination));
    this.routes.push({ destination, device, type: 'unicast', table: 'main' });
  }

  async deleteRoute({ destination, device }: RouteSpec): Promise<void> {
    await this.recorder.record('links.deleteRoute', formatCidr(destination));
    this.dropRoutes((route) => route.device === device && formatCidr(route.destination) === formatCidr(destination));
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

  async prepareHostInterface(name: string): Promise<void> {
    await this.recorder.record('kernel.prepareHostInterface', name);
    this.prepared.add(name);
  }
}

export class RecordingFirewall implements Firewall {
  config: FirewallConfig | undefined;
  readonly published = new Map<string, PublishedEndpoint>();
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

  async flushConnections(locator: Ipv4): Promise<void> {
    await this.recorder.record('firewall.flushConnections', formatIpv4(locator));
    this.flushed.push(formatIpv4(locator));
  }

  async assertForwarding(): Promise<void> {
    await this.recorder.record('firewall.assertForwarding');
  }

  async remove(): Promise<void> {
    await this.recorder.record('firewall.remove');
    this.config = undefined;
    this.published.clear();
  }

  private requireConfig(): FirewallConfig {
    if (this.config !== undefined) return this.config;
    throw new DaoliError('unavailable', 'the packet filter is not set up yet: try again');
  }

  private claim(endpoint: PublishedEndpoint): void {
    const wanted = new Set(publishedKeys(endpoint));
    const other = [...this.published.values()].find(
      (each) => each.endpointId !== endpoint.endpointId && publishedKeys(each).some((key) => wanted.has(key)),
    );
    if (other !== undefined) {
      throw new DaoliError(
        'conflict',
        `endpoint ${endpoint.endpointId} cannot publish: endpoint ${other.endpointId} does`,
      );
    }
    this.published.set(endpoint.endpointId, endpoint);
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

export class RecordingHost implements Host {
  private readonly recorder = new Recorder();
  readonly calls = this.recorder.calls;
  readonly links = new RecordingLinks(this.recorder);
  readonly kernel = new RecordingKernelSettings(this.recorder);
  readonly firewall = new RecordingFirewall(this.recorder);
  readonly ports = new RecordingPorts(this.recorder);

  /** The next call of that name ("links.createVeth") throws `error`, once. */
  fail(call: string, error: Error): void {
    this.recorder.fail(call, error);
  }

  start(): Promise<void> {
    return this.recorder.record('start');
  }

  stop(): Promise<void> {
    return this.recorder.record('stop');
  }
}
