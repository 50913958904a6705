// What DaoliNet asks of the Docker engine: names, containers and aliases, which Docker does not send to network drivers, and which
// endpoints live. Never to be asked while a call of Docker's plugin protocol is being answered: Docker may wait for that answer.

/** A network of one of our drivers. */
export interface DockerNetwork {
  readonly id: string;
  readonly name: string;
  /** "daolinet" or "daolinet/daolinet:latest". */
  readonly driver: string;
  /** "local" or "swarm". */
  readonly scope: string;
  readonly internal: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** An endpoint that Docker knows, with the container that has it. */
export interface DockerEndpoint {
  readonly endpointId: string;
  readonly networkId: string;
  /** Absent while no container has taken it (yet, or any more). */
  readonly containerId?: string;
  readonly containerName?: string;
  /** Names that Docker's DNS has for it on this network besides the container's. */
  readonly aliases: readonly string[];
  /** The swarm service that it is a task of, or "project_service" of compose. */
  readonly service?: string;
  /** The container's labels, but for Docker's own. */
  readonly labels: ReadonlyMap<string, string>;
  /** What its container has, where that runs. */
  readonly interface?: DockerInterface;
}

export interface DockerInterface {
  /** "10.1.0.2" */
  readonly address: string;
  /** "02:42:0a:01:00:02" */
  readonly mac: string;
  /** As Join said it. */
  readonly sandbox: string;
}

/** A network to be made, with addresses by our IPAM. Prefixes as text: "10.1.0.0/24". */
export interface NetworkSpec {
  readonly name: string;
  readonly internal: boolean;
  readonly options: Readonly<Record<string, string>>;
  readonly ipamOptions: Readonly<Record<string, string>>;
  readonly subnets: readonly { readonly subnet: string; readonly gateway?: string }[];
  /** It is none yet, but what a swarm's network is made from on its nodes ("config-only"). */
  readonly isConfiguration?: boolean;
}

/** A network of any driver, or of none. */
export interface ListedNetwork {
  readonly id: string;
  readonly name: string;
  readonly options: Readonly<Record<string, string>>;
}

export interface ContainerEvent {
  readonly action: 'start' | 'die' | 'rename' | 'destroy';
  readonly containerId: string;
  /** The name that it has now. */
  readonly containerName: string;
}

export interface NetworkEvent {
  /** "remove" is of a swarm's network, on its managers. */
  readonly action: 'create' | 'connect' | 'disconnect' | 'destroy' | 'remove';
  readonly networkId: string;
  readonly networkName: string;
  /** Of any driver: Docker's bridges are of interest too. */
  readonly driver: string;
  /** With connect and disconnect. */
  readonly containerId?: string;
}

export interface DockerHandlers {
  /** After every connection, the first one included: anything may have happened before, so list again. */
  onConnected(): void;
  /** The engine is away; it is being tried again. */
  onDisconnected(reason: string): void;
  onContainer(event: ContainerEvent): void;
  onNetwork(event: NetworkEvent): void;
}

/**
 * Every call ends within 5 s, those that make or remove something within 30 s. Each throws `unavailable` where the engine is away or did not say everything: an empty list always means that
 * there is nothing, so that whoever compares may delete by it.
 */
export interface Docker {
  /** "20.10.24". */
  readVersion(): Promise<string>;
  /** Networks of our drivers. */
  listNetworks(): Promise<DockerNetwork[]>;
  /** Subnets ("10.1.0.0/24") of all networks, of whatever driver, that have our IPAM. */
  listOwnSubnets(): Promise<string[]>;
  /** Every endpoint on networks of our drivers that the engine knows, those of containers that are just starting included. */
  listEndpoints(): Promise<DockerEndpoint[]>;
  /** The endpoints of one container on networks of any driver; none where it does not exist or run. */
  listContainerEndpoints(containerId: string): Promise<DockerEndpoint[]>;
  /** Names of the host's interfaces that are Docker's own bridges ("br-…", "docker0"), sorted. */
  listBridges(): Promise<string[]>;
  /** Every network, of whatever driver. */
  listAllNetworks(): Promise<ListedNetwork[]>;
  /** Makes a network of our driver; resolves with its id. Throws `conflict` where the engine refuses it, saying why. */
  createNetwork(spec: NetworkSpec): Promise<string>;
  /** One that does not exist is fine. Throws `conflict` while containers are in it. */
  removeNetwork(id: string): Promise<void>;
  /** Follows the engine's events until stop(). Nothing is ever thrown out of it. */
  watch(handlers: DockerHandlers): DockerWatch;
}

export interface DockerWatch {
  /** No handler is called afterwards. Idempotent. */
  stop(): void;
}
