// What there is against what there should be: from one look at the directory, Docker, kernel links, OVS ports, flows and
// published ports to the actions that bring them together. Pure. reconciler.ts looks and acts.
//
// The directory says what should be: what it has and the host lacks is repaired at once, without asking Docker. What
// Docker has forgotten goes from the directory, but only if it was unknown to Docker for the whole grace time, which is
// short for endpoints: one whose DeleteEndpoint was lost keeps its address from its own container. What is in neither
// goes from the host, as soon. While Docker does not answer, nothing is taken away; and whatever it answers, nothing is
// taken from a container whose interface is in its namespace, because that is one which runs.

import type { Ipv4 } from '../base/addresses';
import { formatCidr } from '../base/addresses';
import type { AddressRow, EndpointId, EndpointRow, NetworkId, NetworkRow, PoolId, PoolRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { DockerEndpoint, DockerInterface } from '../docker/docker';
import type { SwitchPort } from '../switch/ports';
import { LINK_NAME, linkNamesOf } from './link-names';
import { ENDPOINT_KEY } from './ports';

/** What Docker has of ours. */
export interface DockerState {
  /** Of all its networks: the configurations of a swarm's are of no driver. */
  readonly networkIds: ReadonlySet<string>;
  readonly endpoints: readonly Pick<DockerEndpoint, 'endpointId' | 'networkId' | 'interface'>[];
  /** Subnets of networks of any driver that have our IPAM. */
  readonly ownSubnets: ReadonlySet<string>;
}

/** One look at everything. Links and ports were listed before the view is read, so a new one's row is in the view. */
export interface Observation {
  readonly view: DirectoryView;
  readonly host: string;
  /** Names of all links of the host. */
  readonly links: ReadonlySet<string>;
  /** Our ports in OVS. */
  readonly ports: readonly SwitchPort[] | 'unavailable';
  readonly flows: {
    hasNetwork(networkId: string): boolean;
    hasEndpoint(endpointId: string): boolean;
    endpointIds(): Iterable<string>;
  };
  /** Whether all published ports of the endpoint are open. */
  readonly isPublished: (endpoint: EndpointRow) => boolean;
  /** The endpoints for which host ports are bound. */
  readonly reservedFor: ReadonlySet<string>;
}

/** Takes away flows, OVS port and published ports of an endpoint that is not joined (any more). */
interface Disconnect {
  readonly kind: 'disconnect';
  readonly endpointId: string;
}

/** What is made (again), or belongs to nobody that is joined. */
export type Repair =
  | { readonly kind: 'set-network'; readonly networkId: NetworkId }
  /** OVS port and flows of a joined endpoint. */
  | { readonly kind: 'attach'; readonly endpointId: EndpointId }
  | { readonly kind: 'restore-ports'; readonly endpointId: EndpointId }
  /** One of a running container, which the directory has lost: it was made after the backup that it comes from. */
  | {
      readonly kind: 'adopt-endpoint';
      readonly endpointId: EndpointId;
      readonly networkId: NetworkId;
      readonly interface: DockerInterface;
    }
  | Disconnect;

/** What nobody wants any more. */
export type Removal =
  | Disconnect
  | { readonly kind: 'forget-endpoint'; readonly endpointId: EndpointId }
  | { readonly kind: 'remove-port'; readonly name: string }
  | { readonly kind: 'delete-link'; readonly name: string }
  | { readonly kind: 'release-address'; readonly poolId: PoolId; readonly address: Ipv4 }
  | { readonly kind: 'forget-network'; readonly networkId: NetworkId }
  | { readonly kind: 'release-pool'; readonly poolId: PoolId };

export type Action = Repair | Removal;

/** What is wrong and cannot be mended from here. */
export interface Complaint {
  readonly endpointId: string;
  readonly problem: string;
}

/** Since when each thing has looked as if nobody wants it: monotonic milliseconds by its key. */
export type Suspects = ReadonlyMap<string, number>;

export interface RemovalPlan {
  /** What Docker has and the directory has lost. */
  readonly adoptions: readonly Repair[];
  /** In the order in which they are to be done. */
  readonly removals: readonly Removal[];
  readonly complaints: readonly Complaint[];
  /** For the next plan. */
  readonly suspects: Suspects;
  /** When the first of the suspects is to go, ms from now. Infinity where there is none. */
  readonly dueInMs: number;
}

/**
 * Of endpoints, and of what no endpoint explains. One that Docker is just making is protected by its row and by the calls
 * that it came with (ReconcileActions), not by this.
 */
export const ENDPOINT_GRACE_MS = 3_000;
/** What Docker asks for some time before it lists what it is for. */
const ASKED_BEFORE: ReadonlySet<Removal['kind']> = new Set(['release-address', 'forget-network', 'release-pool']);

/** Something that nobody wants, under a key that another thing of the same name does not have. */
interface Unwanted {
  readonly key: string;
  readonly removal: Removal;
}

/** What to repair, in the order in which it is to be done. */
export function planRepairs(seen: Observation): Repair[] {
  return [...planNetworks(seen), ...planEndpoints(seen), ...planStrays(seen)];
}

/**
 * What to take away. `suspects` is what the last plan gave, or nothing if Docker has not answered since; a thing goes
 * when it was unwanted at every look for `graceMs`, an endpoint and what belongs to one for 3 s. `now` is monotonic
 * milliseconds.
 */
export function planRemovals(
  seen: Observation,
  docker: DockerState,
  suspects: Suspects,
  { now, graceMs }: { readonly now: number; readonly graceMs: number },
): RemovalPlan {
  const unwanted = findUnwanted(seen, docker);
  const since = new Map(unwanted.map(({ key }) => [key, suspects.get(key) ?? now]));
  const dueIn = ({ key, removal }: Unwanted): number => {
    const grace = ASKED_BEFORE.has(removal.kind) ? graceMs : Math.min(graceMs, ENDPOINT_GRACE_MS);
    return since.get(key)! + grace - now;
  };
  const [due, later] = [unwanted.filter((it) => dueIn(it) <= 0), unwanted.filter((it) => dueIn(it) > 0)];
  return {
    adoptions: findAdoptions(seen, docker),
    removals: due.map(({ removal }) => removal),
    complaints: findComplaints(seen, docker),
    suspects: since,
    dueInMs: later.reduce((soonest, it) => Math.min(soonest, dueIn(it)), Infinity),
  };
}

function planNetworks({ view, flows }: Observation): Repair[] {
  return [...view.networks()]
    .filter((network) => !flows.hasNetwork(network.id))
    .map((network) => ({ kind: 'set-network', networkId: network.id }));
}

/** Joined endpoints of this host that lack something. */
function planEndpoints(seen: Observation): Repair[] {
  const { view, host } = seen;
  const ports = seen.ports === 'unavailable' ? undefined : new Map(seen.ports.map((port) => [port.name, port]));
  const repairs: Repair[] = [];
  for (const endpoint of view.endpointsOn(host)) {
    if (endpoint.sandbox === undefined) continue;
    const isAttached =
      seen.flows.hasEndpoint(endpoint.id) && ports?.get(endpoint.interfaceName)?.portNo === endpoint.portNo;
    const { id: endpointId } = endpoint;
    if (ports !== undefined && !isAttached && seen.links.has(endpoint.interfaceName)) {
      repairs.push({ kind: 'attach', endpointId });
    }
    if (!seen.isPublished(endpoint)) repairs.push({ kind: 'restore-ports', endpointId });
  }
  return sorted(repairs);
}

/** Attaching comes first: it carries traffic. */
function sorted(repairs: readonly Repair[]): Repair[] {
  return [...repairs].sort((a, b) => Number(a.kind !== 'attach') - Number(b.kind !== 'attach'));
}

/** Whether an endpoint is to have neither flows nor ports here: one that is nobody's, or has left. */
export function isStray(view: DirectoryView, host: string, endpointId: string): boolean {
  const endpoint = view.endpoint(endpointId as EndpointId);
  return endpoint === undefined || (endpoint.host === host && endpoint.sandbox === undefined);
}

/** What this process, or OVS, has of endpoints that left. What no row explains is not touched before Docker was asked. */
function planStrays(seen: Observation): Repair[] {
  const { view, host, ports } = seen;
  const portsOf = ports === 'unavailable' ? [] : ports.flatMap((port) => port.externalIds.get(ENDPOINT_KEY) ?? []);
  const ids = new Set([...connectedIds(seen), ...portsOf]);
  return [...ids]
    .filter((id) => view.endpoint(id as EndpointId) !== undefined && isStray(view, host, id))
    .map((endpointId) => ({ kind: 'disconnect', endpointId }));
}

function connectedIds({ flows, reservedFor }: Observation): ReadonlySet<string> {
  return new Set([...flows.endpointIds(), ...reservedFor]);
}

function findUnwanted(seen: Observation, docker: DockerState): Unwanted[] {
  return [
    ...unwantedEndpoints(seen, docker),
    ...unwantedConnections(seen, docker),
    ...unwantedPorts(seen, docker),
    ...unwantedLinks(seen, docker),
    ...unwantedAddresses(seen, docker),
    ...unwantedNetworks(seen, docker),
    ...unwantedPools(seen, docker),
  ];
}

function endpointIdsOf(docker: DockerState): ReadonlySet<string> {
  return new Set(docker.endpoints.map(({ endpointId }) => endpointId));
}

/**
 * Whether the other end of a veth pair is in a container. When a container ends, the pair goes with its namespace, or
 * Docker gives the end back to the host.
 */
function isInContainer(links: ReadonlySet<string>, endpointId: string): boolean {
  const { host, container } = linkNamesOf(endpointId);
  return links.has(host) && !links.has(container);
}

function unwantedEndpoints({ view, host, links }: Observation, docker: DockerState): Unwanted[] {
  const known = endpointIdsOf(docker);
  return [...view.endpointsOn(host)]
    .filter(({ id }) => !known.has(id) && !isInContainer(links, id))
    .map(({ uuid, id }) => ({ key: `endpoint ${uuid}`, removal: { kind: 'forget-endpoint', endpointId: id } }));
}

/** Flows and bound ports of endpoints that neither the directory nor Docker knows. */
function unwantedConnections(seen: Observation, docker: DockerState): Unwanted[] {
  const known = endpointIdsOf(docker);
  return [...connectedIds(seen)]
    .filter(
      (id) => seen.view.endpoint(id as EndpointId) === undefined && !known.has(id) && !isInContainer(seen.links, id),
    )
    .map((id) => ({ key: `connection ${id}`, removal: { kind: 'disconnect', endpointId: id } }));
}

/** Ports and links are kept where the directory or Docker knows their endpoint: the directory may have been lost. */
function wantedLinkNames({ view, host, links }: Observation, docker: DockerState): ReadonlySet<string> {
  const known = [...[...view.endpointsOn(host)].map(({ id }) => id), ...endpointIdsOf(docker)];
  const namesOf = (id: string): string[] => Object.values(linkNamesOf(id));
  const inContainers = [...links].filter((name) => LINK_NAME.test(name) && isInContainer(links, name.slice(2)));
  return new Set([...known.flatMap(namesOf), ...inContainers]);
}

function unwantedPorts(seen: Observation, docker: DockerState): Unwanted[] {
  if (seen.ports === 'unavailable') return [];
  const wanted = wantedLinkNames(seen, docker);
  return seen.ports
    .filter((port) => port.externalIds.has(ENDPOINT_KEY) && !wanted.has(port.name))
    .map(({ name }) => ({ key: `port ${name}`, removal: { kind: 'remove-port', name } }));
}

function unwantedLinks(seen: Observation, docker: DockerState): Unwanted[] {
  const wanted = wantedLinkNames(seen, docker);
  return [...seen.links]
    .filter((name) => LINK_NAME.test(name) && !wanted.has(name))
    .map((name) => ({ key: `link ${name}`, removal: { kind: 'delete-link', name } }));
}

/** Addresses that this host's Docker asked for and whose endpoint never came, or went without ReleaseAddress. */
function unwantedAddresses(seen: Observation, docker: DockerState): Unwanted[] {
  const { view, host } = seen;
  const isOurs = (row: AddressRow): boolean => row.holders.every((holder) => holder === host);
  return (
    [...view.pools()]
      // Another driver's network may use our IPAM: then its endpoints are none of ours.
      .filter((pool) => pool.networkId !== undefined && isInDocker(seen, docker, pool.networkId))
      .flatMap((pool) => [...view.reservedOf(pool.id)].filter(isOurs))
      .map(({ uuid, since, poolId, address }) => ({
        key: `address ${uuid} ${since}`,
        removal: { kind: 'release-address', poolId, address },
      }))
  );
}

function isHeldOnlyBy(pool: PoolRow, host: string): boolean {
  return pool.holders.length === 1 && pool.holders[0] === host;
}

/** Whether this host's Docker has the network, under whatever id. */
function isInDocker({ view, host }: Observation, docker: DockerState, id: NetworkId): boolean {
  return docker.networkIds.has(view.replicaOn(host, id)?.dockerId ?? id);
}

/** Networks that this host's Docker had. One that no host has was made before hosts were written down. */
function unwantedNetworks(seen: Observation, docker: DockerState): Unwanted[] {
  const { view, host } = seen;
  const isAlone = [...view.hosts()].length === 1;
  const isOurs = ({ id, swarmId }: NetworkRow): boolean =>
    (isAlone && swarmId === undefined) || view.replicaOn(host, id) !== undefined;
  return [...view.networks()]
    .filter((network) => isOurs(network) && !isInDocker(seen, docker, network.id))
    .map(({ uuid, id }) => ({ key: `network ${uuid}`, removal: { kind: 'forget-network', networkId: id } }));
}

/** Pools that wait for a network which Docker does not have. */
function unwantedPools({ view, host }: Observation, docker: DockerState): Unwanted[] {
  const { ownSubnets } = docker;
  return [...view.pools()]
    .filter(
      (pool) => pool.networkId === undefined && isHeldOnlyBy(pool, host) && !ownSubnets.has(formatCidr(pool.cidr)),
    )
    .map(({ uuid, id }) => ({ key: `pool ${uuid}`, removal: { kind: 'release-pool', poolId: id } }));
}

/** Only with both ends of its veth pair where they belong: what Docker says may be a moment old. */
function findAdoptions({ view, links }: Observation, docker: DockerState): Repair[] {
  return docker.endpoints.flatMap(({ endpointId, networkId: dockerId, interface: given }): Repair[] => {
    const network = view.networkOfDocker(dockerId);
    const id = endpointId as EndpointId;
    if (network === undefined || given === undefined || view.endpoint(id) !== undefined) return [];
    if (!isInContainer(links, endpointId)) return [];
    return [{ kind: 'adopt-endpoint', endpointId: id, networkId: network.id, interface: given }];
  });
}

function findComplaints(seen: Observation, docker: DockerState): Complaint[] {
  const { view, host, links } = seen;
  const complaints: Complaint[] = [];
  for (const { endpointId, networkId } of docker.endpoints) {
    if (view.networkOfDocker(networkId) === undefined) continue; // another driver's
    const endpoint = view.endpoint(endpointId as EndpointId);
    if (endpoint === undefined) {
      complaints.push({ endpointId, problem: 'Docker has an endpoint that DaoliNet has not: restart its container' });
    } else if (endpoint.host === host && endpoint.sandbox !== undefined && !links.has(endpoint.interfaceName)) {
      const problem = `the link ${endpoint.interfaceName} of a running container was deleted: restart the container`;
      complaints.push({ endpointId, problem });
    }
  }
  const known = endpointIdsOf(docker);
  for (const { id } of view.endpointsOn(host)) {
    if (known.has(id) || !isInContainer(links, id)) continue;
    const problem =
      'Docker does not list the endpoint of a running container: is the plugin installed by another name?';
    complaints.push({ endpointId: id, problem });
  }
  return complaints;
}
