// Learns from Docker's events what Docker does not tell network drivers: names of networks, containers and aliases, and
// which bridges are Docker's own. Writes them into the directory and tells the packet filter. Late by nature: nothing that
// forwards packets waits for a name.

import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import { RetriedWork } from '../base/retried-work';
import { updateEndpoint } from '../directory/endpoint-operations';
import { renameNetwork } from '../directory/operations';
import type { EndpointId, NetworkId } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type {
  ContainerEvent,
  Docker,
  DockerEndpoint,
  DockerHandlers,
  DockerWatch,
  NetworkEvent,
} from '../docker/docker';

/** Containers that wait to be looked up; beyond that everything is listed once instead. */
const MAX_WAITING = 64;

export interface NameFollowerParts {
  readonly docker: Docker;
  readonly store: DirectoryStore;
  /** Told which interfaces are Docker's bridges, whenever Docker came back or made one. */
  readonly setDockerBridges: (names: readonly string[]) => Promise<void>;
  readonly logger: Logger;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Docker answers again: time to compare everything. */
  readonly onDockerBack: () => void;
  /** Somebody has removed a network of the swarm that this host is a manager of. */
  readonly onSwarmNetworkGone: (networkId: string) => void;
}

export class NameFollower implements DockerHandlers {
  private watch: DockerWatch | undefined;
  private readonly containers = new Set<string>();
  private listEverything = false;
  private listBridges = false;
  private readonly work: RetriedWork;

  constructor(private readonly parts: NameFollowerParts) {
    const { logger } = parts;
    this.work = new RetriedWork({
      ...parts,
      work: () => this.drainOrListAgain(),
      onProblem: (error) => logger.warn('names of containers could not be learned', { error }),
      onMended: () => logger.info('names of containers are learned again'),
    });
  }

  /** Idempotent. */
  start(): void {
    this.watch ??= this.parts.docker.watch(this);
  }

  /** For good. Resolves when nothing is under way any more. Idempotent. */
  async stop(): Promise<void> {
    this.watch?.stop();
    this.watch = undefined;
    this.work.stop();
    await this.work.idle();
  }

  onConnected(): void {
    this.listEverything = true;
    this.listBridges = true;
    this.work.ask();
    this.parts.onDockerBack();
  }

  /** The directory is back: it may be of a later version, which holds of containers what it could not hold before. */
  onDirectoryBack(): void {
    this.listEverything = true;
    this.work.ask();
  }

  onDisconnected(reason: string): void {
    this.parts.logger.warn('the Docker engine is away', { reason });
  }

  onContainer(event: ContainerEvent): void {
    if (event.action === 'start' || event.action === 'rename') this.lookUp(event.containerId);
  }

  onNetwork(event: NetworkEvent): void {
    if (event.action === 'connect' && event.containerId !== undefined) return this.lookUp(event.containerId);
    if (event.action === 'remove') return this.parts.onSwarmNetworkGone(event.networkId);
    if (event.action !== 'create' && event.action !== 'destroy') return;
    if (event.driver === 'bridge') this.listBridges = true;
    else if (event.action === 'create') this.listEverything = true;
    this.work.ask();
  }

  private lookUp(containerId: string): void {
    if (this.containers.size < MAX_WAITING) this.containers.add(containerId);
    else this.listEverything = true;
    this.work.ask();
  }

  /** What was under way when it failed, as while the directory elects a leader, is not said again by Docker. */
  private async drainOrListAgain(): Promise<void> {
    try {
      await this.drain();
    } catch (error) {
      this.listEverything = true;
      this.listBridges = true;
      throw error;
    }
  }

  private async drain(): Promise<void> {
    for (;;) {
      if (this.listBridges) {
        this.listBridges = false;
        await this.parts.setDockerBridges(await this.parts.docker.listBridges());
      } else if (this.listEverything) {
        this.listEverything = false;
        this.containers.clear();
        await this.nameNetworks();
        await this.nameEndpoints(await this.parts.docker.listEndpoints());
      } else {
        const [containerId] = this.containers;
        if (containerId === undefined || this.watch === undefined) return;
        this.containers.delete(containerId);
        await this.nameEndpoints(await this.parts.docker.listContainerEndpoints(containerId));
      }
    }
  }

  private async nameNetworks(): Promise<void> {
    for (const { id, name } of await this.parts.docker.listNetworks()) {
      await this.write((context) =>
        context.view.network(id as NetworkId) === undefined ? [] : renameNetwork(context, id as NetworkId, name),
      );
    }
  }

  private async nameEndpoints(endpoints: readonly DockerEndpoint[]): Promise<void> {
    for (const { endpointId, containerId, containerName, aliases, service, labels } of endpoints) {
      if (containerId === undefined) continue;
      await this.write((context) => {
        if (context.view.endpoint(endpointId as EndpointId) === undefined) return [];
        return updateEndpoint(context, endpointId as EndpointId, {
          containerId,
          containerName,
          aliases,
          service,
          labels,
        });
      });
    }
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
