// What the driver needs of the parts below it, as the narrowest interfaces that do. The composition root gives the real
// parts; tests give fakes. Of the directory and the host it uses their own faces: DirectoryStore, Links, Firewall, Ports.

import type { Cidr } from '../base/addresses';
import type { Docker } from '../docker/docker';
import type { FlowEndpoint, FlowNetwork } from '../flowctl/model';
import type { Firewall, Links, PortReservations } from '../host/host';
import type { DirectoryStore } from '../directory/store';
import type { PortSpec, SwitchPort } from '../switch/ports';

/** The controller: what it is told lasts as long as this process. Every call is idempotent. */
export interface FlowController {
  /** Enters a network or replaces the one of its id. */
  setNetwork(network: FlowNetwork): void | Promise<void>;
  /** An unknown id is fine. */
  removeNetwork(networkId: string): void | Promise<void>;
  hasNetwork(networkId: string): boolean;
  /** Resolves when the datapath has confirmed the endpoint's flows. Its network was set before. */
  addEndpoint(endpoint: FlowEndpoint): Promise<void>;
  /** Resolves when no flow of the endpoint is left. An unknown id is fine. */
  removeEndpoint(endpointId: string): Promise<void>;
  hasEndpoint(endpointId: string): boolean;
  /** The ids of every endpoint that was added and not removed. */
  endpointIds(): Iterable<string>;
}

/** The ports of our bridge in Open vSwitch: see Switch. */
export interface SwitchPorts {
  /** Resolves when OVS's database was read. */
  whenReady(): Promise<void>;
  /** Resolves with the port number that OVS gave. Idempotent. */
  addPort(spec: PortSpec): Promise<number>;
  /** Idempotent. */
  removePort(name: string): Promise<void>;
  /** Every port of ours, the fabric port and the host port among them. */
  ports(): readonly SwitchPort[];
}

/** The key in a port's external_ids that says which endpoint's it is; the other ports of ours do not have it. */
export const ENDPOINT_KEY = 'daolinet-endpoint';

export interface DriverSettings {
  /** Of networks without an -o mtu, bytes. */
  readonly mtu: number;
  /** False for OVS's userspace datapath without TSO. */
  readonly checksumOffload: boolean;
  /** No subnet may overlap it, whoever gives out its addresses. */
  readonly locatorRange: Cidr;
}

/** What every part of the driver works with. */
export interface DriverParts {
  readonly store: DirectoryStore;
  readonly flows: FlowController;
  readonly switch: SwitchPorts;
  readonly links: Pick<Links, 'createVeth' | 'deleteLink' | 'listLinks'>;
  readonly firewall: Pick<Firewall, 'publish' | 'withdraw' | 'flushConnections'>;
  readonly ports: PortReservations;
  /** Read at each use: the datapath is known only when OVS is. */
  readonly settings: DriverSettings;
  /** As many random bytes. */
  readonly randomBytes: (count: number) => Uint8Array;
}

/** Asked by the reconciler alone, never in a call of Docker, which would wait for itself: see src/docker. */
export type DockerInventory = Pick<Docker, 'listAllNetworks' | 'listEndpoints' | 'listOwnSubnets'>;
