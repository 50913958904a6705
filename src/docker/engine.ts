// The Docker engine by its API on a unix socket, through dockerode: networks and events. What it does with
// containers is engine-containers.ts; nothing else in the product uses dockerode.

import Dockerode from 'dockerode';
import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import {
  bridgeInterface,
  containerShape,
  endpointsOfContainer,
  endpointsOfNetwork,
  labelsOf,
  listedOf,
  MAX_LABEL_LENGTH,
  MAX_LABELS,
  networkOf,
  networkShape,
  subnetsOf,
  type EngineNetwork,
} from './answers';
import type {
  Docker,
  DockerEndpoint,
  DockerHandlers,
  DockerNetwork,
  DockerWatch,
  ListedNetwork,
  NetworkSpec,
} from './docker';
import { bounded, orGone, orRefused } from './engine-calls';
import { EngineEvents } from './engine-events';
import { parseInfo, parseNode, type Swarm, type SwarmNetworkSpec, type SwarmNode, type SwarmState } from './swarm';

export interface EngineOptions {
  /** "/run/docker.sock". */
  readonly socketPath: string;
  /**
   * Names under which our driver and our IPAM are known, each as Docker shows it: the shortest first, the plugin's own, which
   * alone is good in swarm mode, last.
   */
  readonly drivers: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

const TIMEOUT_MS = 5000;
/** To make a network the engine calls the driver, which answers within 8 s, several times. */
const CHANGE_TIMEOUT_MS = 30_000;
/** The engine answers an inspection in about a millisecond, and has others to serve. */
const CONCURRENT = 8;

export class Engine implements Docker, Swarm {
  private readonly api: Dockerode;
  /** Without a time limit, which would end a stream that has nothing to say. */
  private readonly streams: Dockerode;
  private readonly problems: ProblemLog;

  constructor(private readonly options: EngineOptions) {
    const { socketPath, clock, logger } = options;
    this.problems = new ProblemLog(clock, logger);
    this.api = new Dockerode({ socketPath, timeout: TIMEOUT_MS });
    this.streams = new Dockerode({ socketPath });
  }

  readVersion(): Promise<string> {
    return this.bounded(async () => (await this.api.version()).Version);
  }

  async listNetworks(): Promise<DockerNetwork[]> {
    return this.bounded(async (signal) => (await this.ourNetworks(signal)).map(networkOf));
  }

  listOwnSubnets(): Promise<string[]> {
    return this.bounded(async (signal) => {
      const list: unknown[] = await this.api.listNetworks({ abortSignal: signal });
      return list.flatMap((each) => subnetsOf(networkShape.parse(each), this.options.drivers));
    });
  }

  listEndpoints(): Promise<DockerEndpoint[]> {
    return this.bounded(async (signal) => {
      const networks = await this.ourNetworks(signal);
      const listed = await inParallel(networks, (network) => this.networkEndpoints(network.Id));
      const endpoints = listed.flat();
      const containers = [...new Set(endpoints.flatMap(({ containerId }) => containerId ?? []))];
      const named = (await inParallel(containers, (id) => this.containerEndpoints(id, signal))).flat();
      const byId = new Map(named.map((endpoint) => [endpoint.endpointId, endpoint]));
      return endpoints.map((endpoint) => byId.get(endpoint.endpointId) ?? endpoint);
    });
  }

  listContainerEndpoints(containerId: string): Promise<DockerEndpoint[]> {
    return this.bounded((signal) => this.containerEndpoints(containerId, signal));
  }

  listBridges(): Promise<string[]> {
    return this.bounded(async (signal) => (await this.networksOf(['bridge'], signal)).map(bridgeInterface).sort());
  }

  listAllNetworks(): Promise<ListedNetwork[]> {
    return this.bounded(async (signal) => {
      const list: unknown[] = await this.api.listNetworks({ abortSignal: signal });
      return list.map((each) => networkShape.parse(each)).map(listedOf);
    });
  }

  readSwarm(): Promise<SwarmState> {
    return this.bounded(async () => parseInfo(await this.api.info()));
  }

  listNodes(): Promise<SwarmNode[]> {
    return this.bounded(async () => {
      const list: unknown[] = await orRefused(this.api.listNodes());
      return list.map(parseNode);
    });
  }

  createSwarmNetwork(spec: SwarmNetworkSpec): Promise<string> {
    const { name: Name, configuration, internal: Internal, attachable: Attachable } = spec;
    const Driver = this.options.drivers.at(-1) ?? '';
    const request = { Name, Driver, Internal, Attachable, Scope: 'swarm', ConfigFrom: { Network: configuration } };
    return this.makeNetwork({ ...request, CheckDuplicate: true });
  }

  async listSwarmNetworks(): Promise<string[]> {
    // While the managers are not in agreement, the engine leaves their networks out and says nothing.
    await this.listNodes();
    const ids = (await this.listNetworks()).filter(({ scope }) => scope === 'swarm').map(({ id }) => id);
    await this.listNodes();
    return ids;
  }

  createNetwork(spec: NetworkSpec): Promise<string> {
    const { isConfiguration = false } = spec;
    const driver = this.options.drivers.at(isConfiguration ? -1 : 0) ?? '';
    return this.makeNetwork({
      Name: spec.name,
      CheckDuplicate: true,
      // What networks are made from is of no driver yet, and says nothing of what a way out they have.
      ...(isConfiguration ? { ConfigOnly: true } : { Driver: driver, Internal: spec.internal }),
      Options: { ...spec.options },
      IPAM: {
        Driver: driver,
        Options: { ...spec.ipamOptions },
        Config: spec.subnets.map(({ subnet, gateway }) => ({
          Subnet: subnet,
          ...(gateway === undefined ? {} : { Gateway: gateway }),
        })),
      },
    });
  }

  private makeNetwork(request: Dockerode.NetworkCreateOptions): Promise<string> {
    return this.bounded(async (abortSignal) => {
      const network = await orRefused(this.streams.createNetwork({ ...request, abortSignal }));
      return network.id;
    }, CHANGE_TIMEOUT_MS);
  }

  async removeNetwork(id: string): Promise<void> {
    await this.bounded(() => orRefused(orGone(this.streams.getNetwork(id).remove())), CHANGE_TIMEOUT_MS);
  }

  watch(handlers: DockerHandlers): DockerWatch {
    const events = new EngineEvents(this.streams, this.options, handlers);
    events.start();
    return events;
  }

  private ourNetworks(signal: AbortSignal): Promise<EngineNetwork[]> {
    return this.networksOf(this.options.drivers, signal);
  }

  private async networksOf(drivers: readonly string[], signal: AbortSignal): Promise<EngineNetwork[]> {
    const filters = JSON.stringify({ driver: drivers });
    const list: unknown[] = await this.api.listNetworks({ filters, abortSignal: signal });
    // An engine that does not know the filter gives all.
    return list.map((each) => networkShape.parse(each)).filter(({ Driver }) => drivers.includes(Driver));
  }

  private async networkEndpoints(id: string): Promise<DockerEndpoint[]> {
    const answer = await orGone<unknown>(this.api.getNetwork(id).inspect());
    return answer === undefined ? [] : endpointsOfNetwork(networkShape.parse(answer));
  }

  private async containerEndpoints(id: string, signal: AbortSignal): Promise<DockerEndpoint[]> {
    const answer = await orGone<unknown>(this.api.getContainer(id).inspect({ abortSignal: signal }));
    if (answer === undefined) return [];
    const container = containerShape.parse(answer);
    const { leftOut } = labelsOf(container);
    if (leftOut > 0) {
      const limits = `${MAX_LABELS} labels of ${MAX_LABEL_LENGTH} characters`;
      this.problems.report(`a container has labels beyond ${limits}: no rule knows them`, { container: id, leftOut });
    }
    return endpointsOfContainer(container);
  }

  private bounded<T>(call: (signal: AbortSignal) => Promise<T>, limitMs = TIMEOUT_MS): Promise<T> {
    return bounded(this.options, limitMs, call);
  }
}

async function inParallel<T, R>(items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  const left = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of left) results[index] = await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT, items.length) }, work));
  return results;
}
