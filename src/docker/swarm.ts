// What DaoliNet asks of Docker's swarm mode, and what the engine's API answers, as our types. As with all of Docker: never to be
// asked while a call of Docker's plugin protocol is being answered.

import { z } from 'zod';

/** Where this host's Docker stands. */
export interface SwarmState {
  readonly isNode: boolean;
  /** The swarm's id, on its managers alone. */
  readonly managed: string | undefined;
  /** The managers' addresses ("192.0.2.1"), as far as this one knows them. */
  readonly managers: readonly string[];
}

export interface SwarmNode {
  readonly name: string;
  /** The address by which the managers know it: "192.0.2.1". */
  readonly address: string;
  /** Whether its Docker is in touch with the managers. */
  readonly isReady: boolean;
  /** Whether tasks are placed on it. */
  readonly isDrained: boolean;
}

export interface SwarmNetworkSpec {
  readonly name: string;
  /** The name of the network, on each node, that has its subnets and options. */
  readonly configuration: string;
  readonly internal: boolean;
  /** Whether `docker run --network` may use it, and not services alone. */
  readonly attachable: boolean;
}

/** Limits of time and errors are those of Docker. */
export interface Swarm {
  readSwarm(): Promise<SwarmState>;
  /** On a manager. Throws `conflict` elsewhere, and while the managers are not in agreement. */
  listNodes(): Promise<SwarmNode[]>;
  /** On a manager. Makes a network of our driver on the whole swarm; resolves with its id. Throws `conflict`. */
  createSwarmNetwork(spec: SwarmNetworkSpec): Promise<string>;
  /** The ids of all swarm networks of our driver, used on this node or not. On a manager. Throws as listNodes. */
  listSwarmNetworks(): Promise<string[]>;
}

/** GET /info. */
const INFO = z.object({
  Swarm: z
    .object({
      LocalNodeState: z.string(),
      ControlAvailable: z.boolean(),
      Cluster: z.object({ ID: z.string() }).nullish(),
      RemoteManagers: z.array(z.object({ Addr: z.string() })).nullish(),
    })
    .nullish(),
});

/** A node of GET /nodes. */
const NODE = z.object({
  Spec: z.object({ Availability: z.string().nullish() }).nullish(),
  Description: z.object({ Hostname: z.string().nullish() }).nullish(),
  Status: z.object({ State: z.string(), Addr: z.string().nullish() }),
  ManagerStatus: z.object({ Addr: z.string().nullish() }).nullish(),
});

/** "192.0.2.1:2377" without its port. */
const withoutPort = (address: string): string => address.replace(/:\d+$/, '');

export function parseInfo(answer: unknown): SwarmState {
  const { Swarm } = INFO.parse(answer);
  const isNode = Swarm != null && Swarm.LocalNodeState !== 'inactive';
  const managers = (Swarm?.RemoteManagers ?? []).map(({ Addr }) => withoutPort(Addr));
  return { isNode, managed: isNode && Swarm.ControlAvailable ? Swarm.Cluster?.ID : undefined, managers };
}

export function parseNode(answer: unknown): SwarmNode {
  const { Spec, Description, Status, ManagerStatus } = NODE.parse(answer);
  // A manager that was never told its address has 0.0.0.0 for itself.
  const known = [Status.Addr, withoutPort(ManagerStatus?.Addr ?? '')];
  const address = known.find((each) => each != null && each !== '' && each !== '0.0.0.0');
  return {
    name: Description?.Hostname ?? '',
    address: address ?? '',
    isReady: Status.State === 'ready',
    isDrained: Spec?.Availability === 'drain',
  };
}
