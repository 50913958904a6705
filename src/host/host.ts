// What DaoliNet asks of the host it runs on: links, addresses, routes, kernel settings, packet filter, published ports.
// This file is the face and its types; the parts behind it are the only users of child processes in the product.
// Open vSwitch is not here (src/switch speaks to it by sockets), nor is anything of Docker.

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
  hostRoutes(): Promise<HostRoute[]>;
  /** The address of this host on the interface with the IPv4 default route. Throws `not-found` where there is none. */
  defaultAddress(): Promise<Ipv4>;
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
  /** Where the agent answers for names, on `hostInterface`: nothing else is reached there. Absent outside of a cluster. */
  readonly dnsAddress?: Ipv4;
  /** Ports of the agent itself (and its database): closed to containers. */
  readonly closedPorts: readonly { readonly protocol: TransportProtocol; readonly port: number }[];
  /** TCP ports of other hosts of the cluster that are for hosts alone: containers do not reach them. */
  readonly doors: readonly { readonly address: Ipv4; readonly port: number }[];
  /** Docker's bridges: reached from our containers by their published ports only, as between Docker's own networks. */
  readonly dockerBridges: readonly string[];
}

/** nftables rules of our own, and the accept rules in Docker's. Calls are served in order. */
export interface Firewall {
  /** Replaces everything in one transaction: nothing of an older state is left. The watcher keeps it so from then on. */
  apply(config: FirewallConfig, published: readonly PublishedEndpoint[]): Promise<void>;
  /** Docker made or removed a bridge network. */
  setDockerBridges(names: readonly string[]): Promise<void>;
  /** Adds or replaces the ports of one endpoint. Throws `conflict` where a port belongs to another endpoint. */
  publish(endpoint: PublishedEndpoint): Promise<void>;
  /** Removes the ports of one endpoint and ends the connections that came by them. Unknown ids are fine. */
  withdraw(endpointId: string): Promise<void>;
  /** Forgets every tracked connection from and to a locator (endpoint gone or moved), so that its next owner gets none. */
  flushConnections(locator: Ipv4): Promise<void>;
  /** Docker sets FORWARD to DROP: puts our accept rules before that, where they are missing. Idempotent. */
  assertForwarding(): Promise<void>;
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
  /** Where the IPv6 proxy (and whoever reaches the socket itself) is sent. */
  readonly locator: Ipv4;
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
  readonly locator: Ipv4;
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

export interface Host {
  readonly links: Links;
  readonly kernel: KernelSettings;
  readonly firewall: Firewall;
  readonly ports: PortReservations;
  /** Starts the helper processes. Changes nothing in the kernel. Idempotent. */
  start(): Promise<void>;
  /** Ends helper processes and sockets; links, routes and rules stay. Idempotent. */
  stop(): Promise<void>;
}
