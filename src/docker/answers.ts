// What the engine's API answers, as our types. Pure. The shapes are the parts that we read, as Docker 20.10 to 29 send them.

import { z } from 'zod';
import type { ContainerEvent, DockerEndpoint, DockerNetwork, ListedNetwork, NetworkEvent } from './docker';

/** GET /networks and GET /networks/{id}; only the second has Containers. */
export const networkShape = z.object({
  Id: z.string(),
  Name: z.string(),
  Driver: z.string(),
  Scope: z.string(),
  Internal: z.boolean().optional(),
  Options: z.record(z.string(), z.string()).nullish(),
  Labels: z.record(z.string(), z.string()).nullish(),
  IPAM: z
    .object({
      Driver: z.string().nullish(),
      Config: z.array(z.object({ Subnet: z.string().nullish() })).nullish(),
    })
    .nullish(),
  Containers: z.record(z.string(), z.object({ Name: z.string(), EndpointID: z.string() })).nullish(),
});
export type EngineNetwork = z.infer<typeof networkShape>;

/** GET /containers/{id}/json. */
export const containerShape = z.object({
  Id: z.string(),
  Name: z.string(),
  Config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).nullish(),
  NetworkSettings: z.object({
    Networks: z
      .record(
        z.string(),
        z.object({
          NetworkID: z.string(),
          EndpointID: z.string(),
          Aliases: z.array(z.string()).nullish(),
          IPAddress: z.string().nullish(),
          MacAddress: z.string().nullish(),
        }),
      )
      .nullish(),
    SandboxKey: z.string().nullish(),
  }),
});
export type EngineContainer = z.infer<typeof containerShape>;

/** A line of GET /events. */
const eventShape = z.object({
  Type: z.string(),
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()).nullish() }),
});

export const CONTAINER_ACTIONS = ['start', 'die', 'rename', 'destroy'] as const;
/** "remove" is of a swarm's network, on its managers. */
export const NETWORK_ACTIONS = ['create', 'connect', 'disconnect', 'destroy', 'remove'] as const;

/** The subnets of a network whose addresses one of these IPAM drivers gives out. */
export function subnetsOf({ IPAM }: EngineNetwork, ipamDrivers: readonly string[]): string[] {
  if (!ipamDrivers.includes(IPAM?.Driver ?? '')) return [];
  return (IPAM?.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []);
}

export function networkOf(network: EngineNetwork): DockerNetwork {
  const { Id: id, Name: name, Driver: driver, Scope: scope, Internal: internal, Labels: labels } = network;
  return { id, name, driver, scope, internal: internal ?? false, labels: labels ?? {} };
}

export function listedOf({ Id: id, Name: name, Options: options }: EngineNetwork): ListedNetwork {
  return { id, name, options: options ?? {} };
}

/** An endpoint without a container stands under "ep-" and its own id. */
export function endpointsOfNetwork({ Id, Containers }: EngineNetwork): DockerEndpoint[] {
  return Object.entries(Containers ?? {}).map(([key, { Name, EndpointID }]) => ({
    endpointId: EndpointID,
    networkId: Id,
    ...(key.startsWith('ep-') ? {} : { containerId: key, containerName: Name }),
    aliases: [],
    labels: NO_LABELS,
  }));
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();
/** What compose and swarm write for themselves, another value for each container. */
const DOCKERS_OWN = /^com\.docker\./;
const SWARM_SERVICE = 'com.docker.swarm.service.name';
const COMPOSE_PROJECT = 'com.docker.compose.project';
const COMPOSE_SERVICE = 'com.docker.compose.service';
/** Labels go to every host that follows the container, and Docker takes any number of any length. */
export const MAX_LABELS = 128;
export const MAX_LABEL_LENGTH = 512;

/** In compose's own words, as `docker stack deploy` names services, too. */
function serviceOf(labels: Readonly<Record<string, string>>): string | undefined {
  const [project, service] = [labels[COMPOSE_PROJECT], labels[COMPOSE_SERVICE]];
  return labels[SWARM_SERVICE] ?? (project && service ? `${project}_${service}` : undefined);
}

export interface KeptLabels {
  readonly labels: ReadonlyMap<string, string>;
  readonly service: string | undefined;
  /** How many labels are too long, or too many: as if they were not there. A cut one would be another one. */
  readonly leftOut: number;
}

export function labelsOf({ Config }: EngineContainer): KeptLabels {
  const all = Config?.Labels ?? {};
  const own = Object.entries(all).filter(([key]) => !DOCKERS_OWN.test(key));
  const short = own.filter(([key, value]) => Math.max(key.length, value.length) <= MAX_LABEL_LENGTH);
  const labels = new Map(short.slice(0, MAX_LABELS));
  const name = serviceOf(all);
  const service = name !== undefined && name.length <= MAX_LABEL_LENGTH ? name : undefined;
  return { labels, service, leftOut: own.length - labels.size + (service === name ? 0 : 1) };
}

/** A container that does not run has its networks, but no endpoint ids. */
export function endpointsOfContainer(container: EngineContainer): DockerEndpoint[] {
  const { Id, Name, NetworkSettings } = container;
  const { labels, service } = labelsOf(container);
  return Object.values(NetworkSettings.Networks ?? {})
    .filter(({ EndpointID }) => EndpointID !== '')
    .map(({ NetworkID, EndpointID, Aliases, IPAddress, MacAddress }) => ({
      endpointId: EndpointID,
      networkId: NetworkID,
      containerId: Id,
      containerName: Name.replace(/^\//, ''),
      aliases: Aliases ?? [],
      ...(service !== undefined && { service }),
      labels,
      ...interfaceOf(IPAddress, MacAddress, NetworkSettings.SandboxKey),
    }));
}

type Text = string | null | undefined;

/** Empty text is none. */
function interfaceOf(address: Text, mac: Text, sandbox: Text): Pick<DockerEndpoint, 'interface'> {
  return address && mac && sandbox ? { interface: { address, mac, sandbox } } : {};
}

/** The interface of a network of Docker's bridge driver. */
export function bridgeInterface({ Id, Options }: EngineNetwork): string {
  return Options?.['com.docker.network.bridge.name'] ?? `br-${Id.slice(0, 12)}`;
}

export type EngineEvent =
  | { readonly type: 'container'; readonly event: ContainerEvent }
  | { readonly type: 'network'; readonly event: NetworkEvent };

/** Reads one event. Undefined where it is none that we follow, or not an event at all. */
export function parseEvent(line: string): EngineEvent | undefined {
  const { success, data } = eventShape.safeParse(parseJson(line));
  if (!success) return undefined;
  const { ID, Attributes } = data.Actor;
  const attributes = Attributes ?? {};
  if (data.Type === 'container') {
    const action = CONTAINER_ACTIONS.find((each) => each === data.Action);
    const event = { containerId: ID, containerName: (attributes['name'] ?? '').replace(/^\//, '') };
    return action === undefined ? undefined : { type: 'container', event: { action, ...event } };
  }
  const action = NETWORK_ACTIONS.find((each) => each === data.Action);
  if (data.Type !== 'network' || action === undefined) return undefined;
  const { name = '', type = '', container } = attributes;
  const event = { action, networkId: ID, networkName: name, driver: type };
  return { type: 'network', event: container === undefined ? event : { ...event, containerId: container } };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
