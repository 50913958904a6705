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

/** On another host, which is known by its router MAC: the one MAC that it uses on the fabric. */
export interface RemoteLocation {
  readonly kind: 'remote';
  readonly routerMac: Mac;
  /** Reached by the tunnel behind the host port, and not by the fabric. */
  readonly isTunnelled?: boolean;
}

/** Another host, as its ICMP errors name it. */
export interface FlowPeer {
  readonly routerMac: Mac;
  /** Its own locator, the first of its blocks. */
  readonly locator: Ipv4;
  /** The server's own address, which users know it by. */
  readonly address: Ipv4;
  /** Reached by the tunnel: what comes from the fabric is none of its. */
  readonly isTunnelled?: boolean;
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

/** What a port of a host leads to. Every port of one address is two of these where both protocols are meant. */
export interface RelayService {
  readonly protocol: 'TCP' | 'UDP';
  /** The endpoint's port: 1 to 65535. */
  readonly port: number;
}

/** Ports of this host lead to an endpoint on another. */
export interface RelayAway {
  readonly kind: 'away';
  /** The endpoint's. */
  readonly locator: Ipv4;
  /** Of the host where it is. Where that is reached by the tunnel, the kernel leads there without us. */
  readonly routerMac: Mac;
  readonly isTunnelled?: boolean;
  readonly services: readonly RelayService[];
}

/** Ports of another host lead to an endpoint here. */
export interface RelayHere {
  readonly kind: 'here';
  /** The host that has the ports, by its own locator. */
  readonly peer: { readonly locator: Ipv4; readonly routerMac: Mac; readonly isTunnelled?: boolean };
  readonly endpoint: { readonly portNo: number; readonly mac: Mac; readonly ip: Ipv4; readonly locator: Ipv4 };
  readonly services: readonly RelayService[];
}

export type FlowRelay = RelayAway | RelayHere;

export interface FlowFabric {
  readonly portNo: number;
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
  /** The server's own address: what its ICMP errors to its own endpoints come from, where there are other hosts. */
  readonly serverAddress?: Ipv4;
  /** The port onto the L2 that the hosts of the site share. Without it endpoints on hosts there are out of reach. */
  readonly fabric?: FlowFabric;
  /**
   * Whether the kernel behind the host port has tunnels to other hosts. It proves whose locators what comes from there
   * has, takes one from the TTL on either side, and says itself what is too large.
   */
  readonly hasTunnels?: boolean;
  /** Where the agent answers for names of containers on other hosts, inside `locatorRange`; endpoints reach it, too. */
  readonly dnsAddress?: Ipv4;
  /** All locators of the cluster, a /10 at most. Endpoints reach none of them but these two. */
  readonly locatorRange: Cidr;
  /** False: userspace datapath, where one-sided rewriting of later fragments goes through the controller. */
  readonly kernelDatapath: boolean;
}

/** How far a policy decides without looking at the packet. */
export type Judgement = 'allow' | 'deny' | 'depends';

/** Of a conversation with the outside: whether the endpoint opens it, or what is behind the host port does. */
export type OutsideDirection = 'out' | 'in';

/**
 * Who may open conversations with whom. It knows endpoints by subjects: those of one subject are treated alike. A
 * subject is asked for when an endpoint is entered, and again by `Controller.setPolicy` and `refreshSubjects`; all else
 * is asked on the packet path: no I/O, no allocation, microseconds matter.
 */
export interface Policy {
  /** What the policy knows an endpoint as, 0 to 2^32-1. */
  subjectOf(endpointId: string, networkKey: number): number;
  /** May `source` open conversations with `destination`, subjects of one tenant? */
  judge(source: number, destination: number): Judgement;
  /**
   * Where `judge` says 'depends'. `protocol` is the number that IP has for it; `port` is the destination's, 0 for
   * protocols without ports. ICMP is asked with port 0.
   */
  permits(source: number, destination: number, protocol: number, port: number): boolean;
  /** The same between an endpoint and what is behind the host port. */
  judgeOutside(subject: number, direction: OutsideDirection): Judgement;
  /** `address` is the outside one. */
  permitsOutside(subject: number, direction: OutsideDirection, address: Ipv4, protocol: number, port: number): boolean;
}

/** Endpoints of one network talk, others do not. All talk to the outside. */
export const sameNetworkPolicy: Policy = {
  subjectOf: (_, networkKey) => networkKey,
  judge: (source, destination) => (source === destination ? 'allow' : 'deny'),
  permits: () => false,
  judgeOutside: () => 'allow',
  permitsOutside: () => false,
};

export interface FlowSettings {
  /** A route that carried nothing for this long goes. 1 to 65535. */
  readonly idleTimeoutSeconds: number;
  /** Packet-ins a second that one port may cause, and as many at once. 1 to 1,000,000. */
  readonly packetInRate: number;
  readonly packetInBurst: number;
  /** Peers with routes that one endpoint may have before its packets go on one by one; of conversations, four times as many. */
  readonly maxRoutesPerEndpoint: number;
  /** Pairs of endpoints with routes on one datapath, likewise. */
  readonly maxRoutesPerDatapath: number;
  /** A denied pair is dropped in the datapath for this long before the policy is asked again. */
  readonly denyTimeoutSeconds: number;
  /** The same for packets to a port that the policy refuses, where it allows others. */
  readonly refusalTimeoutSeconds: number;
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
  refusalTimeoutSeconds: 5,
  negativeTimeoutSeconds: 1,
  installTimeoutMs: 4000,
  inactivityProbeMs: 5000,
};

/** A live route: one direction of one pair or of one conversation, as one flow in the datapath. */
export interface LiveRoute {
  readonly kind: 'pair' | 'egress' | 'conversation';
  /** Endpoint ids. A route to or from the outside has one of them: `source` outward, `destination` inward. */
  readonly source?: string;
  readonly destination?: string;
  /** What tells a conversation from others between the same two. */
  readonly conversation?: LiveConversation;
  /** Not one conversation's own packets, but the later fragments of all between these two. */
  readonly isFragments?: boolean;
  readonly ageSeconds: number;
  /** Since the last packet. Only where the datapath could say. */
  readonly idleSeconds?: number;
  /** Only where the datapath was asked. */
  readonly packets?: number;
  readonly bytes?: number;
}

/** One direction of a conversation, as its packets have it. */
export interface LiveConversation {
  /** Is this the direction of who opened it? The other one takes answers alone. */
  readonly isOpening: boolean;
  /** The number that IP has for the protocol. */
  readonly protocol: number;
  /** Of TCP, UDP and SCTP. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Of ICMP: 8 where somebody pings, 0 where that is answered. */
  readonly icmpType?: number;
  /** The address outside, where one end is there. */
  readonly outsideAddress?: Ipv4;
}

/** Packets that the policy refused, alike in all this. */
export interface Denial {
  /** An endpoint's id, or the address of what is behind the host port. */
  readonly source: string;
  readonly destination: string;
  /** The number that IP has for the protocol. */
  readonly protocol: number;
  /** The destination's, 0 for protocols without ports. */
  readonly port: number;
  /** Those that the controller saw: while a drop for them stands in the datapath, it sees none. */
  readonly packets: number;
  /** When the last one came, on the controller's clock. */
  readonly lastMs: number;
}
