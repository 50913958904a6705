// What the controller is told: the host, its networks, its endpoints, the policy and the settings. Addresses are
// numbers (src/base/addresses.ts), keys are small persistent numbers chosen by whoever keeps the state, ids are text.
// Nothing here knows of OpenFlow messages or sockets.

import type { Cidr, Ipv4, Mac } from '../base/addresses';

/** A network as the datapath sees it. `key` and `tenant` are persistent numbers, 1 to 2^32-1. */
export interface FlowNetwork {
  readonly id: string;
  /** Unique over all networks; register `network` carries it. */
  readonly key: number;
  /** Networks of one tenant share one address space; register `tenant` carries it. */
  readonly tenant: number;
  /** The address that answers ping and sends ICMP errors. Without one, neither happens. */
  readonly gateway?: Ipv4;
  /** Every prefix of the network. A destination inside any pool of the tenant never leaves through the host. */
  readonly pools: readonly Cidr[];
  /** No way out through the host and none in (`docker network create --internal`). */
  readonly internal: boolean;
}

/** On a datapath that this controller programs. `portNo` is the OpenFlow port, 1 to 65279. */
export interface LocalLocation {
  readonly kind: 'local';
  readonly portNo: number;
  /** 16 hex digits, where several datapaths are served. Without it: the one datapath that no endpoint names. */
  readonly datapathId?: string;
}

/** On another host of the site, which is known by its router MAC: the one MAC that it uses on the fabric. */
export interface RemoteLocation {
  readonly kind: 'remote';
  readonly routerMac: Mac;
}

/** Another host of the site, as its ICMP errors name it. */
export interface FlowPeer {
  readonly routerMac: Mac;
  /** Its own locator, the first of its blocks. */
  readonly locator: Ipv4;
  /** The server's own address, which users know it by. */
  readonly address: Ipv4;
}

/**
 * Says to the host with that router MAC that a route to an endpoint of its own was made here, so that it makes its half
 * before the packet is there; both ends by their locators. Called on the packet path: it does not wait, and may be lost.
 */
export type TellPeer = (routerMac: Mac, source: Ipv4, destination: Ipv4) => void;

export interface FlowEndpoint {
  readonly id: string;
  /** The network's key; the network is set before its endpoints are. */
  readonly networkKey: number;
  readonly mac: Mac;
  /** The logical address, unique in its tenant. */
  readonly ip: Ipv4;
  /** The address towards the host and the fabric, unique everywhere. */
  readonly locator: Ipv4;
  readonly location: LocalLocation | RemoteLocation;
}

export interface FlowFabric {
  readonly portNo: number;
  /** The server's own address: what its ICMP errors to its own endpoints come from. */
  readonly serverAddress: Ipv4;
  /** Bytes of IPv4 packet that it takes. */
  readonly mtu: number;
  /** Whether an endpoint may send more than that: then every packet is measured. */
  readonly isNarrow: boolean;
}

/** The host around the datapath. */
export interface FlowHost {
  /** The MAC that every endpoint has for every destination. */
  readonly routerMac: Mac;
  /** The internal port into the host's IP stack (daoli0). Without it there is no egress. */
  readonly hostPort?: { readonly portNo: number; readonly mac: Mac };
  /** The host's own address on `hostPort`, inside `locatorRange`. */
  readonly hostAddress: Ipv4;
  /** The port onto the L2 that the hosts of the site share. Without it endpoints on other hosts are out of reach. */
  readonly fabric?: FlowFabric;
  /** Where the agent answers for names of containers on other hosts, inside `locatorRange`; endpoints reach it, too. */
  readonly dnsAddress?: Ipv4;
  /** All locators of the cluster, a /10 at most. Endpoints reach none of them but these two. */
  readonly locatorRange: Cidr;
  /** False: userspace datapath, where one-sided rewriting of later fragments goes through the controller. */
  readonly kernelDatapath: boolean;
}

/** What a policy sees of an endpoint. A view that is only valid during the call: copy, do not keep. */
export interface PolicyEndpoint {
  readonly networkKey: number;
  readonly tenant: number;
  readonly ip: Ipv4;
}

/** Who may talk to whom. Asked on the packet path: no I/O, no allocation, microseconds matter. */
export interface Policy {
  /** May `source` open a conversation with `destination`? Answers flow back on the same route. */
  allows(source: PolicyEndpoint, destination: PolicyEndpoint): boolean;
}

/** Endpoints of one network talk, others do not. */
export const sameNetworkPolicy: Policy = {
  allows: (source, destination) => source.networkKey === destination.networkKey,
};

export interface FlowSettings {
  /** A route that carried nothing for this long goes. 1 to 65535. */
  readonly idleTimeoutSeconds: number;
  /** Packet-ins a second that one port may cause, and as many at once. 1 to 1,000,000. */
  readonly packetInRate: number;
  readonly packetInBurst: number;
  /** Routes that one endpoint may have, to and from others, before its packets go on one by one. */
  readonly maxRoutesPerEndpoint: number;
  /** Pairs of endpoints with routes on one datapath, likewise. */
  readonly maxRoutesPerDatapath: number;
  /** A denied pair is dropped in the datapath for this long before the policy is asked again. */
  readonly denyTimeoutSeconds: number;
  /** An address that nobody has is dropped in the datapath for this long before the next ICMP error. */
  readonly negativeTimeoutSeconds: number;
  /** How long `addEndpoint` waits for the datapath to confirm. */
  readonly installTimeoutMs: number;
  /** A silent datapath is asked after this long, and given up after as long again. */
  readonly inactivityProbeMs: number;
}

export const DEFAULT_FLOW_SETTINGS: FlowSettings = {
  idleTimeoutSeconds: 60,
  packetInRate: 1000,
  packetInBurst: 1000,
  maxRoutesPerEndpoint: 4096,
  maxRoutesPerDatapath: 262_144,
  denyTimeoutSeconds: 30,
  negativeTimeoutSeconds: 1,
  installTimeoutMs: 4000,
  inactivityProbeMs: 5000,
};

/** A live route: one direction of one pair, as one flow in the datapath. */
export interface LiveRoute {
  readonly kind: 'pair' | 'egress';
  /** Endpoint ids. An egress route has one of them: `source` outward, `destination` inward. */
  readonly source?: string;
  readonly destination?: string;
  readonly ageSeconds: number;
  /** Only where the datapath was asked. */
  readonly packets?: number;
  readonly bytes?: number;
}
