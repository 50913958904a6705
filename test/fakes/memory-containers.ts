// The containers of a Docker engine in memory, as far as a move asks for them. What is asked is written down.

import { DaoliError } from '../../src/base/errors';
import type { ContainerDescription } from '../../src/docker/container-description';
import type { Containers, DockerImage } from '../../src/docker/containers';

interface Settings {
  readonly IPAMConfig?: { readonly IPv4Address?: string };
}

export class MemoryContainers implements Containers {
  version = '1.41';
  readonly containers = new Map<string, ContainerDescription>();
  readonly images = new Map<string, DockerImage>();
  readonly volumes = new Set<string>();
  readonly networks = new Set<string>(['bridge']);
  /** Networks that were made without --subnet: Docker lets nobody choose an address. */
  readonly withoutChoice = new Set<string>();
  /** Those that a container cannot be connected to. */
  readonly broken = new Set<string>();
  readonly asked: unknown[][] = [];
  private made = 0;

  async apiVersion(): Promise<string> {
    return this.version;
  }

  async readContainer(idOrName: string): Promise<ContainerDescription | undefined> {
    return [...this.containers.values()].find(({ id, name }) => name === idOrName || id.startsWith(idOrName));
  }

  async readImage(reference: string): Promise<DockerImage | undefined> {
    return this.images.get(reference);
  }

  async hasVolume(name: string): Promise<boolean> {
    return this.volumes.has(name);
  }

  async hasNetwork(name: string): Promise<boolean> {
    return this.networks.has(name);
  }

  async memoryInUse(): Promise<number> {
    return 1000;
  }

  async changedFiles(): Promise<string[]> {
    return ['/data', '/tmp', '/tmp/file'];
  }

  async lastOutput(): Promise<string> {
    return 'bye';
  }

  async createContainer(name: string, request: Readonly<Record<string, unknown>>): Promise<string> {
    this.asked.push(['create', name, request]);
    const { NetworkingConfig } = request as { NetworkingConfig?: { EndpointsConfig: Record<string, Settings> } };
    for (const [network, settings] of Object.entries(NetworkingConfig?.EndpointsConfig ?? {})) {
      this.checkChoice(network, settings, `invalid config for network ${network}: invalid endpoint settings:\n`);
    }
    const id = String((this.made += 1)).padStart(64, '0');
    this.containers.set(id, { ...EMPTY, id, name });
    return id;
  }

  async connect(network: string, container: string, request: { readonly EndpointConfig: object }): Promise<void> {
    this.asked.push(['connect', network, container.slice(-4), request.EndpointConfig]);
    if (this.broken.has(network)) throw new DaoliError('conflict', `Docker refuses it: network ${network} is broken`);
    this.checkChoice(network, request.EndpointConfig, '');
  }

  private checkChoice(network: string, { IPAMConfig }: Settings, place: string): void {
    if (IPAMConfig?.IPv4Address === undefined || !this.withoutChoice.has(network)) return;
    const why = 'user specified IP address is supported only when connecting to networks with user configured subnets';
    throw new DaoliError('conflict', `Docker refuses it: ${place}${why}`);
  }

  async disconnect(network: string, container: string): Promise<void> {
    this.asked.push(['disconnect', network, container.slice(-4)]);
  }

  async rename(id: string, name: string): Promise<void> {
    this.asked.push(['rename', id.slice(-4), name]);
    this.change(id, { name });
  }

  async start(id: string): Promise<void> {
    this.asked.push(['start', id.slice(-4)]);
    this.change(id, { state: 'running' });
  }

  async stop(id: string): Promise<void> {
    this.asked.push(['stop', id.slice(-4)]);
    this.change(id, { state: 'exited' });
  }

  async remove(id: string): Promise<void> {
    this.asked.push(['remove', id.slice(-4)]);
    this.containers.delete(id);
  }

  async forgetRestartPolicy(id: string): Promise<void> {
    this.asked.push(['forget restart policy', id.slice(-4)]);
  }

  private change(id: string, changes: Partial<ContainerDescription>): void {
    const container = this.containers.get(id);
    if (container !== undefined) this.containers.set(id, { ...container, ...changes });
  }
}

const EMPTY: ContainerDescription = {
  id: '',
  name: '',
  state: 'created',
  exitCode: 0,
  image: 'busybox',
  imageId: '',
  config: {},
  hostConfig: {},
  attachments: [],
  mounts: [],
  ports: [],
  labels: {},
  autoRemove: false,
  stopSeconds: 10,
};
