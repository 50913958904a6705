// Whether this host can take a container: what it needs is looked for before anything is done.

import { didYouMean } from '../base/similar-names';
import type { NetworkId } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { Containers, DockerImage } from '../docker/containers';
import type { Findings, MovingContainer } from './move-host';
import { objectionsOf } from './host-powers';

/** The host itself, as far as containers need it. */
export interface Premises {
  /** Bytes of memory: all, and what could be had at this moment. */
  memory(): { readonly total: number; readonly available: number };
  /** Undefined where the port is free, else the system's word: see probePort. */
  probePort(protocol: 'tcp' | 'udp' | 'sctp', hostIp: string, port: number): Promise<string | undefined>;
}

export interface InspectorParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  readonly docker: Containers;
  readonly premises: Premises;
}

const MEBIBYTE = 2 ** 20;

export class Inspector {
  constructor(private readonly parts: InspectorParts) {}

  async inspect(moving: MovingContainer): Promise<Findings> {
    const { container } = moving;
    const image = await this.inspectImage(moving);
    const obstacles = [
      ...(await this.inspectName(moving)),
      ...image.obstacles,
      ...(await this.inspectNetworks(moving)),
      ...(container.state === 'running' ? await this.inspectPorts(moving) : []),
      ...this.inspectMemory(moving),
    ];
    const objections = objectionsOf(container.hostConfig, this.parts.store.host);
    return { obstacles, objections, warnings: [...image.warnings, ...(await this.inspectVolumes(moving))] };
  }

  private async inspectName({ container }: MovingContainer): Promise<string[]> {
    const { docker, store } = this.parts;
    const { name } = container;
    const isTaken = (await docker.readContainer(name))?.name === name;
    return isTaken ? [`host ${store.host} has another container ${name}: rename or remove one of the two`] : [];
  }

  private async inspectImage({
    container,
    image: source,
  }: MovingContainer): Promise<{ obstacles: string[]; warnings: string[] }> {
    const { docker, store } = this.parts;
    const { image, imageId } = container;
    const found = await docker.readImage(image);
    if (found === undefined) {
      const remedy = `docker pull ${image} there, or docker save and docker load`;
      return { obstacles: [`host ${store.host} has no image ${image}: ${remedy}`], warnings: [] };
    }
    if (found.id === imageId || isSame(found, source)) return { obstacles: [], warnings: [] };
    const ids = `${shortImage(found.id)}, not ${shortImage(imageId)}`;
    return { obstacles: [], warnings: [`image ${image} on host ${store.host} is another one (${ids}): it runs that`] };
  }

  private async inspectNetworks({ container, networks }: MovingContainer): Promise<string[]> {
    const { store } = this.parts;
    const { view, host } = store;
    const obstacles: string[] = [];
    for (const { network } of container.attachments) {
      const id = networks[network] as NetworkId | undefined;
      if (id === undefined) {
        obstacles.push(...(await this.inspectForeign(network)));
      } else if (view.network(id)?.swarmId !== undefined) {
        const remedy = 'Docker may place it anywhere: remove it here and run it there';
        obstacles.push(
          `network ${network} is of Docker’s swarm mode, where Docker lets no container keep an address; ${remedy}`,
        );
      } else if (view.replicaOn(host, id) === undefined) {
        const why = view.network(id)?.problems.get(host);
        obstacles.push(`host ${host} does not have network ${network} yet${why === undefined ? '' : `: ${why}`}`);
      }
    }
    return obstacles;
  }

  /** A network that is not DaoliNet's: one of that name will do. */
  private async inspectForeign(network: string): Promise<string[]> {
    const { docker, store } = this.parts;
    if (await docker.hasNetwork(network)) return [];
    const names = [...store.view.networks()].flatMap(({ name }) => name ?? []);
    return [`host ${store.host} has no network ${network}: make it there${didYouMean(network, names)}`];
  }

  private async inspectPorts({ container }: MovingContainer): Promise<string[]> {
    const { premises, store } = this.parts;
    const obstacles: string[] = [];
    for (const { protocol, hostIp, hostPort } of container.ports) {
      const problem = await premises.probePort(protocol, hostIp, hostPort);
      const port = `port ${hostPort}/${protocol}`;
      if (problem === 'EADDRINUSE') obstacles.push(`${port} is taken on host ${store.host}`);
      else if (problem === 'EADDRNOTAVAIL') obstacles.push(`host ${store.host} has no address ${hostIp} for ${port}`);
      else if (problem !== undefined) obstacles.push(`${port} cannot be had on host ${store.host} (${problem})`);
    }
    return obstacles;
  }

  private inspectMemory({ container, memory }: MovingContainer): string[] {
    const { total, available } = this.parts.premises.memory();
    const { host } = this.parts.store;
    const inMebibytes = (bytes: number) => `${Math.ceil(bytes / MEBIBYTE)} MiB`;
    const limit = Number(container.hostConfig['Memory'] ?? 0);
    if (limit > total) {
      return [`host ${host} has ${inMebibytes(total)} of memory, the container may have ${inMebibytes(limit)}`];
    }
    if (memory <= available) return [];
    return [`host ${host} has room for ${inMebibytes(available)} in memory, the container has ${inMebibytes(memory)}`];
  }

  private async inspectVolumes({ container }: MovingContainer): Promise<string[]> {
    const { docker, store } = this.parts;
    const warnings: string[] = [];
    for (const { type, source, isAnonymous, driver } of container.mounts) {
      if (type !== 'volume' || isAnonymous || driver !== 'local') continue;
      const isThere = await docker.hasVolume(source);
      const state = isThere ? 'there is one of that name already, which it gets' : 'it begins empty';
      warnings.push(`volume ${source} on host ${store.host}: ${state}`);
    }
    return warnings;
  }
}

/** Ids differ with the store that an engine keeps its images in. */
function isSame(one: DockerImage, other: DockerImage | undefined): boolean {
  if (other === undefined) return false;
  const isSameDigest = one.digests.some((digest) => other.digests.includes(digest));
  return isSameDigest || (one.layers.length > 0 && one.layers.join() === other.layers.join());
}

/** As `docker image ls` shows it. */
function shortImage(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}
