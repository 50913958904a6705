// A Docker engine in memory: networks and endpoints that a test puts there, events that it sends, and absence.

import { DaoliError } from '../../src/base/errors';
import type {
  ContainerEvent,
  Docker,
  DockerEndpoint,
  DockerHandlers,
  DockerNetwork,
  DockerWatch,
  ListedNetwork,
  NetworkEvent,
  NetworkSpec,
} from '../../src/docker/docker';

export class MemoryDocker implements Docker {
  networks: DockerNetwork[] = [];
  endpoints: DockerEndpoint[] = [];
  ownSubnets: string[] = [];
  bridges: string[] = ['docker0'];
  /** What the driver says to a network that Docker makes, or gives back. */
  onCreate: (id: string, spec: NetworkSpec) => Promise<void> = () => Promise.resolve();
  onRemove: (id: string) => Promise<void> = () => Promise.resolve();
  /** How each network that was made here was asked for. */
  readonly specs = new Map<string, NetworkSpec>();
  private created = 0;
  private available = true;
  private readonly watchers = new Set<DockerHandlers>();

  /** The ids of networks begin with `prefix`: no two engines give the same. */
  constructor(private readonly prefix = 'd') {}

  /** Takes the engine away, or brings it back: watchers hear of it, calls throw `unavailable` meanwhile. */
  setAvailable(available: boolean): void {
    if (available === this.available) return;
    this.available = available;
    for (const watcher of [...this.watchers]) {
      if (available) watcher.onConnected();
      else watcher.onDisconnected('taken away by the test');
    }
  }

  sendContainer(event: ContainerEvent): void {
    for (const watcher of [...this.watchers]) watcher.onContainer(event);
  }

  sendNetwork(event: NetworkEvent): void {
    for (const watcher of [...this.watchers]) watcher.onNetwork(event);
  }

  readVersion(): Promise<string> {
    return this.answer(() => '20.10.24');
  }

  listNetworks(): Promise<DockerNetwork[]> {
    return this.answer(() => [...this.networks]);
  }

  listOwnSubnets(): Promise<string[]> {
    return this.answer(() => [...this.ownSubnets]);
  }

  listEndpoints(): Promise<DockerEndpoint[]> {
    return this.answer(() => [...this.endpoints]);
  }

  listContainerEndpoints(containerId: string): Promise<DockerEndpoint[]> {
    return this.answer(() => this.endpoints.filter((endpoint) => endpoint.containerId === containerId));
  }

  listBridges(): Promise<string[]> {
    return this.answer(() => [...this.bridges]);
  }

  listAllNetworks(): Promise<ListedNetwork[]> {
    const optionsOf = (id: string) => this.specs.get(id)?.options ?? {};
    return this.answer(() => this.networks.map(({ id, name }) => ({ id, name, options: optionsOf(id) })));
  }

  async createNetwork(spec: NetworkSpec): Promise<string> {
    const id = await this.answer(() => `${this.prefix}${(this.created += 1)}`.padEnd(64, '0'));
    // What networks are made from is kept by Docker alone.
    if (spec.isConfiguration !== true) await this.onCreate(id, spec);
    this.specs.set(id, spec);
    this.networks.push({
      id,
      name: spec.name,
      driver: spec.isConfiguration === true ? 'null' : 'daolinet',
      scope: 'local',
      internal: spec.internal,
      labels: {},
    });
    return id;
  }

  async removeNetwork(id: string): Promise<void> {
    await this.answer(() => undefined);
    if (this.specs.get(id)?.isConfiguration !== true) await this.onRemove(id);
    this.networks = this.networks.filter((network) => network.id !== id);
  }

  watch(handlers: DockerHandlers): DockerWatch {
    this.watchers.add(handlers);
    // As the real one: never within the call.
    queueMicrotask(() => {
      if (this.available && this.watchers.has(handlers)) handlers.onConnected();
    });
    return { stop: () => void this.watchers.delete(handlers) };
  }

  private async answer<T>(list: () => T): Promise<T> {
    await Promise.resolve();
    if (!this.available) throw new DaoliError('unavailable', 'the Docker engine: taken away by the test');
    return list();
  }
}
