// The rows of the DaoliNet database as the rest of the code sees them: addresses are numbers, references are the ids that
// Docker or the user knows, ids are branded. Rows are immutable: a change is a new object. How they look in OVSDB is
// directory.ovsschema; row-decoding.ts turns the one into the other.

import type { AddressPort } from '../base/address-port';
import type { Cidr, Ipv4, Mac } from '../base/addresses';
import type { Uuid } from '../ovsdb/notation';

declare const brand: unique symbol;
/** Docker's NetworkID: 64 hex digits, or 25 characters in swarm mode. */
export type NetworkId = string & { readonly [brand]: 'NetworkId' };
/** Docker's EndpointID: 64 hex digits. */
export type EndpointId = string & { readonly [brand]: 'EndpointId' };
/** Our PoolID: tenant, CIDR and, of a sub-pool, its range: "red/10.1.0.0/24", "red/10.1.0.0/16/10.1.5.0/24". */
export type PoolId = string & { readonly [brand]: 'PoolId' };

/** The tenant of a network that names none. */
export const DEFAULT_TENANT = 'default';
/** The site of a host that names none. */
export const DEFAULT_SITE = 'default';
export const SITE_NAME = /^[a-z0-9][a-z0-9-]{0,30}$/;
/** Of a plugin, as semver.org has it. */
export const PLUGIN_VERSION = /^\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,20}$/;
/** 32 octets in base64, as WireGuard spells keys (the last character has two bits that are 0). */
export const TUNNEL_KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
/** A tenant's name stands in PoolIDs, in front of a slash. */
export const TENANT_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/**
 * `-o` and `--ipam-opt` of a network that agents make on the other hosts of a cluster: the id of the one that it is. Docker
 * sends drivers no names, and gives each host's network an id of its own.
 */
export const NETWORK_OPTION = 'daolinet.network';

/** What every row has: its `_uuid`. */
interface Row {
  readonly uuid: Uuid;
}

/** A prefix that locators of one host come from. */
export interface LocatorBlock extends Cidr {
  readonly uuid: Uuid;
}

/** A Docker server with an agent of ours. */
export interface HostRow extends Row {
  readonly name: string;
  /** The one MAC address of this host that the fabric and its own endpoints see. */
  readonly routerMac: Mac;
  /** 16 hex digits, OpenFlow's datapath_id of its br-int. */
  readonly datapathId: string;
  /** The server's own address, by which the hosts of its site reach it. Only hosts of a cluster have one. */
  readonly address: Ipv4 | undefined;
  /** Fingerprints (SHA-256, hex) of the certificates that it may come in with: two while it changes to the next one. */
  readonly certificates: readonly string[];
  /** Whether it serves the database to the others. */
  readonly isServer: boolean;
  /** Where it stands. Packets of containers go between two sites through tunnels alone. */
  readonly site: string;
  /** Whether it passes packets on between tunnels, for hosts that reach each other in no other way. */
  readonly isHub: boolean;
  /** Whether they go through tunnels inside of its site, too. */
  readonly encrypts: boolean;
  /** Of its plugin, as it has told last; undefined where that was before agents told it. */
  readonly version: string | undefined;
  /** The prefixes that its endpoints' locators come from, ascending; see hostLocator of allocation.ts. */
  readonly locatorBlocks: readonly LocatorBlock[];
}

/** How the tunnel of a host is reached: WireGuard's words, written by that host itself. */
export interface TunnelRow extends Row {
  readonly host: string;
  /** Its public key, in base64. No two hosts have the same one. */
  readonly key: string;
  /** The UDP port that it listens at. */
  readonly port: number;
  /** Where other sites reach it; undefined behind NAT, from where it reaches others. */
  readonly endpoint: AddressPort | undefined;
  /**
   * No packets but its own get through to it in its site, as in clouds that drop MAC addresses which they do not know:
   * somebody has said so, or it has found that out itself.
   */
  readonly noL2: NoL2;
  /** Its hubs that do not answer it, by name: what others send it through one of them is lost. Nearly always none. */
  readonly unheard: readonly string[];
}

export type NoL2 = false | 'said' | 'detected';

/** Who is in charge of the datapath of a host: OpenFlow's word is controller role. */
export interface SwitchRow extends Row {
  readonly host: string;
  /** OpenFlow's generation_id of the last change of masters. It only rises. */
  readonly generation: number;
  /** The host whose controller is master: `host` itself, or one of `backups`; undefined while it is nobody's. */
  readonly master: string | undefined;
  /** The hosts that stand by, at most two; see backupsInOrder of src/backup/choose.ts. */
  readonly backups: readonly string[];
  /** What a controller of this datapath must know that is in no other row, as JSON; see src/backup/ports.ts. */
  readonly profile: string;
}

/** What lets one host join, once. */
export interface JoinTokenRow extends Row {
  /** SHA-256 (hex) of the secret: everybody in the cluster can read the directory. */
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
  /** Whether who comes with it waits until somebody says yes. */
  readonly needsApproval: boolean;
}

/** A host that wants to come in with such a token. It is none of the cluster. */
export interface JoinRequestRow extends Row {
  /** The hash of the token. */
  readonly token: string;
  /** SHA-256 (hex) of all that it asks for; see src/cluster/approval.ts. */
  readonly digest: string;
  readonly name: string;
  readonly address: Ipv4;
  /** Where its connection came from: another one behind NAT. */
  readonly from: Ipv4;
  readonly site: string;
  readonly isHub: boolean;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** Undefined while nobody has said anything. */
  readonly verdict: 'approved' | 'refused' | undefined;
}

/** A name space of addresses. It exists as long as a network, pool or address refers to it. */
export interface TenantRow extends Row {
  readonly name: string;
  /** What stands for the tenant in the datapath: 1 to 2^31-1. */
  readonly number: number;
  /** Changes with every pool that is added: what the check against overlap compares and swaps. */
  readonly revision: number;
}

export interface NetworkRow extends Row {
  readonly id: NetworkId;
  /** What stands for the network in the datapath: 1 to 2^31-1, never changed. */
  readonly key: number;
  /** Docker's name of it: learned later than the network. */
  readonly name: string | undefined;
  /** The tenant's name. */
  readonly tenant: string;
  readonly internal: boolean;
  readonly gateway: Ipv4 | undefined;
  /** Who gives out its addresses: our IPAM, or Docker's own. */
  readonly ipam: 'daolinet' | 'docker';
  readonly mtu: number;
  /** `docker network create -o`, as given. */
  readonly options: Readonly<Record<string, string>>;
  /** Somebody has removed it on one of the hosts: it goes from each of the others when it is unused there. */
  readonly isRemoved: boolean;
  /** Its containers are connected by rules alone, and not because they are in one network or group. */
  readonly isDefaultDeny: boolean;
  /**
   * The id of the swarm that it is a network of, in Docker's swarm mode; its own id is swarm's. Each host's Docker has the
   * configuration that it is made from, and the network itself as long as a task of that host is in it. It is there until
   * somebody removes it, used or not.
   */
  readonly swarmId: string | undefined;
  /** The name of that configuration, the same on every host. */
  readonly configuration: string | undefined;
  /** Why hosts have not got it that should, by their names. */
  readonly problems: ReadonlyMap<string, string>;
  /** Milliseconds since 1970. */
  readonly created: number;
}

/** A network as the Docker of one host has it, under an id of its own; of a swarm's, the configuration of it. */
export interface NetworkReplicaRow extends Row {
  readonly host: string;
  readonly networkId: NetworkId;
  readonly dockerId: string;
}

/** A prefix that a tenant uses. Pools of one tenant never overlap. */
export interface PoolRow extends Row {
  readonly id: PoolId;
  readonly tenant: string;
  readonly cidr: Cidr;
  /** The part that dynamic addresses come from (`--ip-range`), inside `cidr`. */
  readonly range: Cidr | undefined;
  /** The network that uses it; undefined between RequestPool and CreateNetwork. */
  readonly networkId: NetworkId | undefined;
  /** The hosts whose Docker requested this pool and has not released it. None for a pool of Docker's own IPAM. */
  readonly holders: readonly string[];
  readonly created: number;
}

/** An address that must not be given to anybody else. It exists as long as a Docker holds it or an endpoint has it. */
export interface AddressRow extends Row {
  readonly tenant: string;
  readonly address: Ipv4;
  readonly poolId: PoolId;
  readonly use: 'gateway' | 'auxiliary' | 'endpoint';
  /** The MAC address that Docker asked with: the key under which a repeated request finds it. */
  readonly mac: Mac | undefined;
  /** The hosts whose Docker requested this address and has not released it. */
  readonly holders: readonly string[];
  /** When it was requested, or lost its endpoint: milliseconds since 1970. */
  readonly since: number;
}

export interface PublishedPortRow extends Row {
  /** The host whose port it is. */
  readonly host: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** 0.0.0.0 is every address of the host. */
  readonly hostIp: Ipv4;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** One interface of one container in one network. */
export interface EndpointRow extends Row {
  readonly id: EndpointId;
  readonly networkId: NetworkId;
  /** The tenant's name, from its network. */
  readonly tenant: string;
  /** The logical address, unique in the tenant. */
  readonly address: Ipv4;
  /** The prefix length of its pool. */
  readonly prefix: number;
  readonly poolId: PoolId;
  /** The Address row that keeps the address from being given to anybody else. */
  readonly addressUuid: Uuid;
  readonly mac: Mac;
  /** The name of the host where it is. */
  readonly host: string;
  /** The address on the fabric, unique in the cluster. */
  readonly locator: Ipv4;
  /** The OpenFlow port of br-int, unique on the host. */
  readonly portNo: number;
  /** The interface on br-int. */
  readonly interfaceName: string;
  /** Docker's SandboxKey, from Join to Leave. */
  readonly sandbox: string | undefined;
  readonly containerId: string | undefined;
  readonly containerName: string | undefined;
  readonly aliases: readonly string[];
  /** The swarm service, or "project_service" of compose, that the container is one of. */
  readonly service: string | undefined;
  /** The container's labels, but for Docker's own; learned with its name. */
  readonly labels: ReadonlyMap<string, string>;
  readonly publishedPorts: readonly PublishedPortRow[];
  readonly created: number;
}

/** Networks whose containers are connected, as if they were in one. All are of one tenant. */
export interface GroupRow extends Row {
  readonly name: string;
  readonly networkIds: readonly NetworkId[];
  readonly created: number;
}

/** Two containers that somebody has connected, or disconnected, whatever networks and policies say. */
export interface PairRow extends Row {
  /** Selectors of src/policy, "container:web"; the one that sorts first is `a`. */
  readonly a: string;
  readonly b: string;
  readonly isConnected: boolean;
  readonly created: number;
}

/** A rule about who may open conversations with whom. The first that fits decides. */
export interface PolicyRow extends Row {
  readonly name: string;
  /** Ascending, without two that are the same. */
  readonly position: number;
  readonly action: 'allow' | 'deny';
  /** Selectors of src/policy. */
  readonly from: string;
  readonly to: string;
  /** Undefined: any, and then there are no ports. */
  readonly protocol: 'tcp' | 'udp' | 'sctp' | 'icmp' | undefined;
  /** "80", "8000-8010"; none: all. */
  readonly ports: readonly string[];
  readonly created: number;
}

/** A port of a host that leads to a container, wherever that runs. */
export interface FirewallRuleRow extends Row {
  readonly name: string;
  /** The host whose port it is. */
  readonly host: string;
  readonly protocol: 'tcp' | 'udp';
  /** 0.0.0.0 is every address of the host. */
  readonly hostIp: Ipv4;
  readonly hostPort: number;
  /** A selector of src/policy, "container:web". */
  readonly container: string;
  readonly containerPort: number;
  /** Who may come; none: everybody. */
  readonly from: readonly Cidr[];
  /** Written by the port's host: "open", or what is in the way; undefined where it has not seen it yet. */
  readonly status: string | undefined;
  readonly created: number;
}

/** `created` until Join and after Leave, `joined` between them. */
export function endpointState(endpoint: EndpointRow): 'created' | 'joined' {
  return endpoint.sandbox === undefined ? 'created' : 'joined';
}

/** The tables by their names. PublishedPort and LocatorBlock are not here: they are parts of the rows that own them. */
export interface DirectoryRows {
  Host: HostRow;
  Tunnel: TunnelRow;
  Switch: SwitchRow;
  JoinToken: JoinTokenRow;
  JoinRequest: JoinRequestRow;
  Tenant: TenantRow;
  Network: NetworkRow;
  NetworkReplica: NetworkReplicaRow;
  Pool: PoolRow;
  Address: AddressRow;
  Endpoint: EndpointRow;
  Group: GroupRow;
  Pair: PairRow;
  Policy: PolicyRow;
  FirewallRule: FirewallRuleRow;
}
export type DirectoryTable = keyof DirectoryRows;

/** One row of one table that came, changed or went. `previous` and `row` are never the same object. */
export type DirectoryChange = {
  [T in DirectoryTable]:
    | { readonly table: T; readonly kind: 'insert'; readonly row: DirectoryRows[T] }
    | {
        readonly table: T;
        readonly kind: 'modify';
        readonly row: DirectoryRows[T];
        readonly previous: DirectoryRows[T];
      }
    | { readonly table: T; readonly kind: 'delete'; readonly previous: DirectoryRows[T] };
}[DirectoryTable];
