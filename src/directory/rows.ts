// The rows of the DaoliNet database as the rest of the code sees them: addresses are numbers, references are the ids that
// Docker or the user knows, ids are branded. Rows are immutable: a change is a new object. How they look in OVSDB is
// directory.ovsschema; row-decoding.ts turns the one into the other.

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
  /** The prefixes that its endpoints' locators come from, ascending; see hostLocator of allocation.ts. */
  readonly locatorBlocks: readonly LocatorBlock[];
}

/** What lets one host join, once. */
export interface JoinTokenRow extends Row {
  /** SHA-256 (hex) of the secret: everybody in the cluster can read the directory. */
  readonly hash: string;
  /** Milliseconds since 1970. */
  readonly expires: number;
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
  readonly publishedPorts: readonly PublishedPortRow[];
  readonly created: number;
}

/** `created` until Join and after Leave, `joined` between them. */
export function endpointState(endpoint: EndpointRow): 'created' | 'joined' {
  return endpoint.sandbox === undefined ? 'created' : 'joined';
}

/** The tables by their names. PublishedPort and LocatorBlock are not here: they are parts of the rows that own them. */
export interface DirectoryRows {
  Host: HostRow;
  JoinToken: JoinTokenRow;
  Tenant: TenantRow;
  Network: NetworkRow;
  NetworkReplica: NetworkReplicaRow;
  Pool: PoolRow;
  Address: AddressRow;
  Endpoint: EndpointRow;
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
