// What DaoliNet asks of the host it runs on: links, addresses, routes, kernel settings, packet filter, published ports.
// This file is the face and its types; the parts behind it are the only users of child processes in the product.
// Open vSwitch is not here (src/switch speaks to it by sockets), nor is anything of Docker.

import type { Readable } from 'node:stream';
import type { Cidr, Ipv4, Mac } from '../base/addresses';

export type TransportProtocol = 'tcp' | 'udp' | 'sctp';

/** A veth pair. `name` stays on the host (the OVS port), `peer` is what Docker moves into the container. */
export interface VethSpec {
  /** At most 15 characters of [a-zA-Z0-9._-]. */
  readonly name: string;
  readonly peer: string;
  /** Bytes, set on both ends. */
  readonly mtu: number;
  readonly peerMac?: Mac;
  /** False for OVS's userspace datapath without TSO, which cannot take packets whose checksum is still to be filled in. */
  readonly checksumOffload: boolean;
}

/** A network interface of the host, as the kernel has it now. */
export interface Link {
  readonly name: string;
  readonly index: number;
  /** Absent where the kind has none (tun). */
  readonly mac?: Mac;
  readonly mtu: number;
  readonly up: boolean;
  /** The kernel's word: "veth", "macvlan", "bridge", "tun", …; empty for a physical interface. */
  readonly kind: string;
}

export interface InterfaceAddress {
  readonly address: Ipv4;
  readonly prefix: number;
}

/** How an existing interface is to be. What is absent is left as it is; addresses that are not named are removed. */
export interface InterfaceSpec {
  readonly name: string;
  readonly mac?: Mac;
  readonly mtu?: number;
  readonly addresses?: readonly InterfaceAddress[];
  readonly checksumOffload?: boolean;
}

/** An IPv4 route of any table of the host. */
export interface HostRoute {
  readonly destination: Cidr;
  /** Absent for blackhole, unreachable and prohibit routes. */
  readonly device?: string;
  /** "unicast", "local", "broadcast", "blackhole", … */
  readonly type: string;
  /** "main", "local", "default", or a number in decimal. */
  readonly table: string;
}

export interface RouteSpec {
  readonly destination: Cidr;
  readonly device: string;
  /** The address that the host's own packets by this route carry. */
  readonly source?: Ipv4;
  /** The largest packet that it takes, in bytes, whatever its interface does. */
  readonly mtu?: number;
}

/** An IPv4 address of the host. */
export interface HostAddress {
  readonly address: Ipv4;
  /** The prefix of its interface. */
  readonly network: Cidr;
  readonly device: string;
  /** Whether its interface has the IPv4 default route. */
  readonly isUplink: boolean;
}

/** The port onto the L2 that the hosts of a site share: a macvlan, so that its NIC keeps its address and its traffic. */
export interface FabricSpec {
  readonly name: string;
  readonly mac: Mac;
  /** It is made on the interface that has this address. */
  readonly address: Ipv4;
  /** Whether the kernel's own IP stack must not see what comes in there, as beside OVS's userspace datapath. */
  readonly hideFromStack: boolean;
}

/** Interfaces, addresses and routes. Calls are served in order; one that takes 5 s after its turn throws `unavailable`. */
export interface Links {
  /** Makes the pair, host end up, IPv6 off on the host end. Idempotent: a pair of that name is taken over as far as it fits,
   * else made anew. Throws `internal` with the kernel's words. */
  createVeth(spec: VethSpec): Promise<void>;
  /** Deletes in the background, later: the kernel takes up to 20 ms. A name that does not exist is fine. A link that is
   * made again under that name before its turn is not deleted. */
  deleteLink(name: string): void;
  /** Resolves when all deletions asked for so far are done. */
  deletionsDone(): Promise<void>;
  listLinks(): Promise<Link[]>;
  /** Makes the fabric interface, IPv6 and ARP off, and takes it up. Idempotent; one that is on another interface is made
   * anew. Resolves with its MTU, and whether it was made now. Throws `not-found` where no interface has the address. */
  ensureFabric(spec: FabricSpec): Promise<{ readonly mtu: number; readonly isNew: boolean }>;
  /** Takes it away. A name that does not exist is fine. */
  removeFabric(name: string): Promise<void>;
  /** Sets address, MAC, MTU, and takes the interface up. Idempotent. Throws `not-found` where it does not exist. */
  configureInterface(spec: InterfaceSpec): Promise<void>;
  /** Adds or replaces. */
  addRoute(route: RouteSpec): Promise<void>;
  /** A route that does not exist is fine. */
  deleteRoute(route: RouteSpec): Promise<void>;
  /** What no other route takes of `range` is answered with "unreachable", not sent along the default route. It outlives the
   * agent. Idempotent. */
  refuseUnrouted(range: Cidr): Promise<void>;
  hostRoutes(): Promise<HostRoute[]>;
  /** The address of this host on the interface with the IPv4 default route. Throws `not-found` where there is none. */
  defaultAddress(): Promise<Ipv4>;
  /** In the kernel's order, without those that reach this host alone (127.0.0.0/8) or its link (169.254.0.0/16), and of daoli0. */
  hostAddresses(): Promise<HostAddress[]>;
  /** MTU of the interface with the IPv4 default route (lowest metric); 1500 where there is none. */
  defaultRouteMtu(): Promise<number>;
}

/** Kernel settings (sysctl). */
export interface KernelSettings {
  /** Makes /proc/sys writable where it is mounted read-only, as in a managed plugin. Throws `unsupported`, saying what the
   * process lacks. */
  makeWritable(): Promise<void>;
  /** Sets net.ipv4.ip_forward=1. True where it was off before. */
  enableForwarding(): Promise<boolean>;
  /** A setting by its path, "net/ipv4/ip_forward"; undefined where this kernel has none of that name. */
  read(path: string): Promise<string | undefined>;
  /** What `daoli0` needs: route_localnet, no redirects, loose reverse path filter, no IPv6. */
  prepareHostInterface(name: string): Promise<void>;
}

/** One published port: what comes to `hostPort` goes to `containerPort` of the endpoint. */
export interface PublishedPort {
  readonly protocol: TransportProtocol;
  /** The host address that it is bound to; absent: all of them. */
  readonly hostIp?: Ipv4;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** All published ports of one endpoint. */
export interface PublishedEndpoint {
  readonly endpointId: string;
  readonly locator: Ipv4;
  readonly ports: readonly PublishedPort[];
  /** The pools of its tenant: a client with an address in one of them is masqueraded, as the endpoint could not answer. */
  readonly tenantPools: readonly Cidr[];
}

/** The port of a firewall rule: it may lead to a container of another host, and may be for some clients alone. */
export interface ForwardedPort {
  /** The rule's name. */
  readonly name: string;
  readonly protocol: TransportProtocol;
  /** The host address that it is bound to; absent: all of them. */
  readonly hostIp?: Ipv4;
  readonly hostPort: number;
  /** Who may come; none: everybody. Others are refused, as by a port that is closed. */
  readonly from: readonly Cidr[];
  /** Absent where the container is not there (yet): everybody is refused then. */
  readonly target?: ForwardTarget;
}

export interface ForwardTarget {
  /** Outside the blocks of this host, clients are masqueraded: the answers have to come back here. */
  readonly locator: Ipv4;
  readonly port: number;
  /** As with PublishedEndpoint. */
  readonly tenantPools: readonly Cidr[];
}

/** What the packet filter is to be like, but for the published ports. */
export interface FirewallConfig {
  /** "daoli0". */
  readonly hostInterface: string;
  /** The host's own locator, the address of `hostInterface`. */
  readonly hostAddress: Ipv4;
  /** Blocks of this host. */
  readonly locatorBlocks: readonly Cidr[];
  /** The cluster's range, all hosts' blocks in it. */
  readonly locatorRange: Cidr;
  /** Interfaces that are none of ours and have addresses of that range, as of another VPN. Absent where there are none. */
  readonly foreign?: ForeignAddresses;
  /** Where the agent answers for names, on `hostInterface`: nothing else is reached there. Absent outside of a cluster. */
  readonly dnsAddress?: Ipv4;
  /** Ports of the agent itself (and its database): closed to containers. */
  readonly closedPorts: readonly { readonly protocol: TransportProtocol; readonly port: number }[];
  /** TCP ports of other hosts of the cluster that are for hosts alone: containers do not reach them. */
  readonly doors: readonly { readonly address: Ipv4; readonly port: number }[];
  /** Docker's bridges: reached from our containers by their published ports only, as between Docker's own networks. */
  readonly dockerBridges: readonly string[];
  /** Absent: nothing comes in by a tunnel, and nothing leaves by one. */
  readonly tunnels?: TunnelFilter;
}

/** What of the range may leave by other interfaces: what is no host's, and does not come from containers. */
export interface ForeignAddresses {
  readonly devices: readonly string[];
  /** Blocks of all hosts of the cluster. */
  readonly usedBlocks: readonly Cidr[];
}

/** What may pass by the devices of `Tunnels`. */
export interface TunnelFilter {
  /** Whether others may reach one another through this host. */
  readonly isHub: boolean;
  /** The TCP port of this host's own locator that other hosts reach. */
  readonly doorPort: number;
}

/** What the packet filter has dropped, by the name of its counter. */
export type FilterCounts = Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>;

export interface FilterState {
  /** Accept rules that are missing in Docker's chains. */
  readonly missingForward: number;
  /** Whether our own table is as it was left. */
  readonly isTableRight: boolean;
}

/** nftables rules of our own, and the accept rules in Docker's. Calls are served in order. */
export interface Firewall {
  /** Replaces everything in one transaction: nothing of an older state is left but the ports of firewall rules. The watcher
   * keeps it so from then on. */
  apply(config: FirewallConfig, published: readonly PublishedEndpoint[]): Promise<void>;
  /** Docker made or removed a bridge network. */
  setDockerBridges(names: readonly string[]): Promise<void>;
  /** Adds or replaces the ports of one endpoint. Throws `conflict` where a port belongs to another endpoint. */
  publish(endpoint: PublishedEndpoint): Promise<void>;
  /** Removes the ports of one endpoint and ends the connections that came by them. Unknown ids are fine. */
  withdraw(endpointId: string): Promise<void>;
  /** Adds or replaces the port of a firewall rule, and ends the connections that came by it to another target. Throws
   * `conflict` where the port belongs to somebody else. */
  forward(port: ForwardedPort): Promise<void>;
  /** Removes the port of a firewall rule and ends the connections that came by it. Unknown names are fine. */
  stopForwarding(name: string): Promise<void>;
  /** Forgets every tracked connection from and to a locator (endpoint gone or moved), so that its next owner gets none. */
  flushConnections(locator: Ipv4): Promise<void>;
  /** Docker sets FORWARD to DROP: puts our accept rules before that, where they are missing. Idempotent. */
  assertForwarding(): Promise<void>;
  /** What was dropped since the rules were made. Throws `internal` where they are not there. */
  counters(): Promise<FilterCounts>;
  /** How far the rules are as they should be. Changes nothing. */
  inspect(): Promise<FilterState>;
  /** Removes every rule of ours. For uninstalling: stop() leaves rules in place, so that traffic goes on. */
  remove(): Promise<void>;
}

/** A port that is wanted on the host. */
export interface PortRequest {
  readonly endpointId: string;
  readonly protocol: TransportProtocol;
  /** "" for all addresses of both families, or one IPv4 or IPv6 address of the host. */
  readonly hostIp: string;
  /** Inclusive. 0 and 0: any free port. */
  readonly firstPort: number;
  readonly lastPort: number;
  readonly containerPort: number;
  /** Where the IPv6 proxy (and whoever reaches the socket itself) is sent. Undefined: nowhere, the port is only held. */
  readonly locator: Ipv4 | undefined;
  /** True where it was published before and is bound again after a restart: one that is still held is waited for (2 s). */
  readonly rebind?: boolean;
}

/** A port that the agent holds by having bound it. */
export interface ReservedPort {
  readonly endpointId: string;
  readonly protocol: TransportProtocol;
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly locator: Ipv4 | undefined;
}

/** Published ports as sockets: bound, so that no other program takes them, and proxying what does not come by DNAT. */
export interface PortReservations {
  /** Binds the first free port of the range. Idempotent: the same request gets the port that it has. Throws `conflict` (one
   * port, taken, by whom), `exhausted` (a range without a free port), `invalid` (hostIp is no address of this host). */
  reserve(request: PortRequest): Promise<ReservedPort>;
  /** Closes all sockets of one endpoint, proxied connections with them. Unknown ids are fine. */
  release(endpointId: string): Promise<void>;
  list(): readonly ReservedPort[];
}

/** What is to be recorded. */
export interface CaptureSpec {
  readonly interfaceName: string;
  /** In words of pcap-filter(7); empty: everything. */
  readonly filter: string;
  /** Ends after so many packets. */
  readonly count?: number;
  /** Ends after that at the latest. */
  readonly seconds: number;
}

export interface CaptureSummary {
  readonly packets: number;
  /** Not recorded, because they were not taken fast enough. */
  readonly dropped: number;
}

export interface RunningCapture {
  /** A capture file (pcap), as it grows. Where nobody reads, packets are left out of it. */
  readonly output: Readable;
  /** Idempotent; the output ends when what was seen is in it. */
  stop(): void;
  /** Resolves when it is over. */
  readonly ended: Promise<CaptureSummary>;
}

/** Records what passes interfaces, both ways. */
export interface Captures {
  /**
   * Resolves when everything from now on is seen. Throws `exhausted` where too many run, `invalid` for a filter that is none,
   * `internal` with tcpdump's words.
   */
  start(spec: CaptureSpec): Promise<RunningCapture>;
}

/** Where packets of a tunnel are sent to. */
export interface TunnelEndpoint {
  readonly address: Ipv4;
  readonly port: number;
}

export interface TunnelPeer {
  /** Base64, 44 characters. */
  readonly publicKey: string;
  /** Absent: it has to call first. */
  readonly endpoint?: TunnelEndpoint;
  /** What it may send from, and what is sent to it: its locator blocks, and those of hosts that are reached through it. */
  readonly allowed: readonly Cidr[];
  /** 0: off. */
  readonly keepaliveSeconds: number;
}

export interface TunnelDevice {
  /** "daoli-wg", or "daoli-wg1" to "daoli-wg9". */
  readonly name: string;
  /** UDP; 0: any that is free. */
  readonly listenPort: number;
  readonly mtu: number;
  readonly peers: readonly TunnelPeer[];
}

export interface TunnelRoute {
  readonly destination: Cidr;
  /** One of the devices. */
  readonly device: string;
}

/** All tunnels of this host. */
export interface TunnelsSpec {
  /** Base64, 44 characters; the same on all devices. */
  readonly privateKey: string;
  /** The host's own locator: what its own packets by these routes come from. */
  readonly source: Ipv4;
  readonly devices: readonly TunnelDevice[];
  readonly routes: readonly TunnelRoute[];
}

export interface TunnelPeerState {
  readonly publicKey: string;
  /** As told or, since then, learned from its packets. */
  readonly endpoint?: TunnelEndpoint;
  readonly allowed: readonly Cidr[];
  readonly keepaliveSeconds: number;
  /** Milliseconds since 1970; absent where there was none. */
  readonly lastHandshakeMs?: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
}

export interface TunnelDeviceState {
  readonly name: string;
  /** Absent where it has no key yet. */
  readonly publicKey?: string;
  readonly listenPort: number;
  readonly peers: readonly TunnelPeerState[];
}

export interface ProbeSpec {
  readonly address: Ipv4;
  /** The device to send by, whatever the routes say. */
  readonly device?: string;
  /** What it is sent from. */
  readonly source?: Ipv4;
  readonly timeoutMs: number;
  /** The size of the packet in bytes of IPv4, which then no router may divide. */
  readonly packetBytes?: number;
}

/**
 * WireGuard devices and their routes. The kernel's own, or else wireguard-go, one process a device, which goes on when the
 * agent ends. apply() and renew() are served in order.
 */
export interface Tunnels {
  /**
   * Makes devices and routes what they are to be, by differences, and takes away those of ours that are not named. A peer that
   * stays keeps its session, and the endpoint that was learned from it until another one is told. Idempotent. It is kept so
   * from then on: what somebody takes away, or what dies, is made again. Throws `unsupported` where this host can have no
   * tunnels, `internal` with the words of ip or wg.
   */
  apply(spec: TunnelsSpec): Promise<void>;
  /** Begins a new session with a peer that does not answer any more, now: it may have lost its own. Unknown ones are fine. */
  renew(device: string, publicKey: string): Promise<void>;
  /** The devices that are there, those among them that an earlier agent has made. */
  state(): Promise<TunnelDeviceState[]>;
  /** Found out once, by making one. */
  kind(): Promise<'kernel' | 'userspace'>;
  /** Milliseconds until the answer to an ICMP echo; undefined where there was none in time. */
  probe(spec: ProbeSpec): Promise<number | undefined>;
  /** Calls back with its name when a device that is wanted has gone, which is then made again. Returns what ends that. */
  onLost(listener: (device: string) => void): () => void;
}

export interface Host {
  readonly links: Links;
  readonly kernel: KernelSettings;
  readonly firewall: Firewall;
  readonly ports: PortReservations;
  readonly captures: Captures;
  readonly tunnels: Tunnels;
  /** Calls back soon after interfaces of the host got other addresses or another MTU, and now and then without that. Returns what
   * ends it. */
  onChange(listener: () => void): () => void;
  /** Starts the helper processes. Changes nothing in the kernel. Idempotent. */
  start(): Promise<void>;
  /** Ends helper processes and sockets; links, routes and rules stay. Idempotent. */
  stop(): Promise<void>;
}
