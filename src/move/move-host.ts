// What a move asks of the two hosts that a container goes between. Each step is one call, which the agent of that host does with its
// own Docker: local-host.ts for this host, remote-host.ts for another. All that goes through here is plain JSON.

import type { ContainerDescription } from '../docker/container-description';
import type { DockerImage } from '../docker/containers';

/** A container that is to go to another host. */
export interface MovingContainer {
  readonly container: ContainerDescription;
  /** The directory's ids of its networks that are DaoliNet's, by their names. */
  readonly networks: Readonly<Record<string, string>>;
  /** What it was made from, as far as its host still has it. */
  readonly image?: DockerImage | undefined;
  /** Bytes that it has in memory. */
  readonly memory: number;
  /** Files of its own that it has made, changed or removed: they are no part of what it was made from. */
  readonly changedFiles: number;
}

/** What a host says to a container that is to come. */
export interface Findings {
  /** What makes it impossible there. */
  readonly obstacles: readonly string[];
  /** What somebody may want nevertheless. */
  readonly objections: readonly string[];
  readonly warnings: readonly string[];
}

/** What was made for a container that is to come. */
export interface MadeContainer {
  readonly id: string;
  /** The networks in which it will have the MAC address that it has now. */
  readonly networksWithMac: readonly string[];
}

/** Where a container stands that was to start. */
export interface Standing {
  readonly isRunning: boolean;
  readonly exitCode: number;
  /** The last that it said, where it does not run. */
  readonly output: string;
}

/**
 * Each step throws `unavailable` where the host or its Docker cannot be asked, and `conflict` with Docker's words where that refuses;
 * then nothing of it was done, but for `stop`. All may be done twice.
 */
export interface MoveHost {
  readonly name: string;
  /** The container that this host's Docker has by this name, id or beginning of an id. Undefined where it has none. */
  describe(container: string): Promise<MovingContainer | undefined>;
  /** Whether it could come here. */
  check(moving: MovingContainer): Promise<Findings>;
  /** Makes it here under a name of its own, without starting it. */
  make(moving: MovingContainer): Promise<MadeContainer>;
  /** Gives it its name. */
  rename(id: string, name: string): Promise<void>;
  start(id: string): Promise<void>;
  look(id: string): Promise<Standing>;
  stop(id: string, stopSeconds: number): Promise<void>;
  /** Starts the container that was stopped here, with the addresses that it had. Resolves with those it has, by network. */
  revive(moving: MovingContainer): Promise<Readonly<Record<string, string>>>;
  remove(id: string): Promise<void>;
  /** The old one stays, stopped for good, under another name. Resolves with that. */
  keep(id: string, name: string): Promise<string>;
}

/** Of what is made for a move, until it has its own name: so it is known when a move was cut off. */
export function interimName({ id }: ContainerDescription): string {
  return `daolinet-move-${id.slice(0, 12)}`;
}
