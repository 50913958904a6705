// What moving containers asks of the Docker engine. As with all of Docker: never to be asked while a call of Docker's plugin protocol
// is being answered.

import type { ContainerDescription } from './container-description';

/** However long a container may take for its end. */
export const MAX_STOP_SECONDS = 600;

export interface DockerImage {
  readonly id: string;
  /** By which registries know it: the same wherever it was pulled. */
  readonly digests: readonly string[];
  /** What it is made of. */
  readonly layers: readonly string[];
}

/**
 * Calls end within 5 s, those that make, start or remove something within 30 s. Each throws `unavailable` where the engine is away,
 * and `conflict` with the engine's words where it refuses.
 */
export interface Containers {
  /** The version of the engine's API: "1.41". */
  apiVersion(): Promise<string>;
  /** By its name, its id or the beginning of that. Undefined where there is none. */
  readContainer(idOrName: string): Promise<ContainerDescription | undefined>;
  readImage(reference: string): Promise<DockerImage | undefined>;
  hasVolume(name: string): Promise<boolean>;
  /** Whether there is a network of this name, of whatever driver. */
  hasNetwork(name: string): Promise<boolean>;
  /** Bytes that a running container has in memory, without what the kernel could drop; 0 where that is not known. */
  memoryInUse(id: string): Promise<number>;
  /** What was made, changed or removed in its own file system, by Docker as well: see ownChanges. */
  changedFiles(id: string): Promise<string[]>;
  /** The last lines that it wrote, or the beginning of them; "" where nothing is kept of it. */
  lastOutput(id: string): Promise<string>;
  /** Makes a container, without starting it. Resolves with its id. */
  createContainer(name: string, request: Readonly<Record<string, unknown>>): Promise<string>;
  connect(network: string, container: string, request: { readonly EndpointConfig: object }): Promise<void>;
  disconnect(network: string, container: string): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  /** One that runs is fine. */
  start(id: string): Promise<void>;
  /** As `docker stop`, with the container's own time to end; `stopSeconds` is that. One that does not run is fine, or is gone. */
  stop(id: string, stopSeconds: number): Promise<void>;
  /** Whatever its state, and not its volumes. One that is gone is fine. */
  remove(id: string): Promise<void>;
  /** It does not start by itself any more, as it would after a restart of the engine. */
  forgetRestartPolicy(id: string): Promise<void>;
}
