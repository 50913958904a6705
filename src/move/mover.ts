// Moves a container from one host of the cluster to another: it is made anew there with its full configuration, the old one is
// stopped, the new one starts with the same addresses, and only when it runs is the old one removed. Whatever fails before that, all
// is as before: the new one goes, and the old one runs again. Runs on a server of the cluster, which need be neither of the two hosts.

import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { handOver, settleHandOver, takeBack } from '../directory/hand-over';
import type { DirectoryStore } from '../directory/store';

import { Destinations, type Destination } from './destinations';
import { KeptAddresses, type PlanHandOver } from './kept-addresses';
import { refuseImmovable, warningsOf } from './movability';
import type { MadeContainer, MoveHost, MovingContainer } from './move-host';

export interface MoverParts {
  readonly store: DirectoryStore;
  /** Throws `conflict` on a client of a cluster, naming its servers: whoever takes one over must not make containers elsewhere. */
  readonly refuseClients: () => void;
  /** The hosts' own halves. */
  readonly hostOf: (name: string) => MoveHost;
  /** The container that somebody means, if it has an interface. Throws `not-found`, and `conflict` for several. */
  readonly find: (text: string) => { readonly containerId: string; readonly host: string };
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface MoveRequest {
  /** As somebody names it: see findContainer. */
  readonly container: string;
  /** Undefined: any host that can have it. */
  readonly node: string | undefined;
  /** In spite of what would speak against it. */
  readonly force: boolean;
  /** The old one stays, stopped. */
  readonly keep: boolean;
}

export interface MovedContainer {
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly containerId: string;
  readonly state: 'running' | 'stopped';
  readonly addresses: readonly { readonly network: string; readonly address: string; readonly mac: string }[];
  /** From its stop to the moment when the new one had started; 0 for one that did not run. */
  readonly awayMs: number;
  /** The name of the old one, where it was kept. */
  readonly kept: string | null;
  readonly warnings: readonly string[];
}

/** What is being done, as it goes. */
export type MoveStep =
  | { readonly kind: 'doing'; readonly message: string }
  | { readonly kind: 'warning'; readonly message: string }
  | { readonly kind: 'moved'; readonly moved: MovedContainer };

/** A move under way. */
interface Move {
  readonly moving: MovingContainer;
  readonly source: MoveHost;
  readonly target: MoveHost;
  readonly isRunning: boolean;
  readonly request: MoveRequest;
  readonly tell: (step: MoveStep) => void;
  readonly warn: (message: string) => void;
}

const LOOK_MS = 200;
/** One that ends at once has not been moved. */
const RUNS_FOR_MS = 1_000;
/** For its endpoints to be in the directory. */
const ENDPOINTS_MS = 10_000;

export class Mover {
  private readonly destinations: Destinations;
  private readonly addresses: KeptAddresses;
  /** Ids of containers that are on their way. */
  private readonly moving = new Set<string>();

  constructor(private readonly parts: MoverParts) {
    this.destinations = new Destinations(parts);
    this.addresses = new KeptAddresses(parts.store);
  }

  /**
   * Resolves when it is done; what is done is told meanwhile. Throws, with all as it was, `not-found`, `conflict`, `unavailable`;
   * where not all could be made as it was, the error says what is left to do.
   */
  async move(request: MoveRequest, tell: (step: MoveStep) => void): Promise<MovedContainer> {
    this.parts.refuseClients();
    const { source, moving } = await this.locate(request.container);
    refuseImmovable(moving, source.name);
    const { id } = moving.container;
    if (this.moving.has(id)) {
      throw new DaoliError('conflict', `container ${moving.container.name} is being moved already`, id);
    }
    this.moving.add(id);
    try {
      const destination = await this.destinations.choose(source.name, moving, request);
      return await this.carry(source, destination, { moving, request, tell });
    } finally {
      this.moving.delete(id);
    }
  }

  /** By its interfaces, which the directory knows; one that has none is asked for at the Dockers. */
  private async locate(text: string): Promise<{ source: MoveHost; moving: MovingContainer }> {
    const { find, hostOf, store } = this.parts;
    let unknown: unknown;
    try {
      const { host, containerId } = find(text);
      const source = hostOf(host);
      const moving = await source.describe(containerId);
      if (moving !== undefined) return { source, moving };
      unknown = new DaoliError('not-found', `host ${host} has no container ${text} any more`, text);
    } catch (error) {
      if (!(error instanceof DaoliError) || error.code !== 'not-found') throw error;
      unknown = error;
    }
    const slash = text.indexOf('/');
    const names = slash < 0 ? [...store.view.hosts()].map(({ name }) => name) : [text.slice(0, slash)];
    const found = await this.askAll(names, text.slice(slash + 1));
    const [first, ...others] = found;
    if (first === undefined) throw unknown;
    if (others.length === 0) return first;
    const labels = found.map(({ source, moving }) => `${source.name}/${moving.container.name}`).sort();
    throw new DaoliError('conflict', `${text} is ${found.length} containers: ${labels.join(', ')}; say which`, text);
  }

  /** Those that cannot be asked are passed over. */
  private async askAll(names: readonly string[], container: string) {
    const { hostOf, store } = this.parts;
    const known = names.filter((name) => store.view.host(name) !== undefined);
    const answers = await Promise.all(
      known.map(async (name) => {
        const source = hostOf(name);
        const moving = await source.describe(container).catch(() => undefined);
        return moving === undefined ? [] : [{ source, moving }];
      }),
    );
    return answers.flat();
  }

  private async carry(
    source: MoveHost,
    { target, findings }: Destination,
    { moving, request, tell }: Pick<Move, 'moving' | 'request' | 'tell'>,
  ): Promise<MovedContainer> {
    const warnings: string[] = [];
    const warn = (message: string) => {
      warnings.push(message);
      tell({ kind: 'warning', message });
    };
    [...warningsOf(moving, source.name, request.keep), ...findings.warnings].forEach(warn);
    const move: Move = { moving, source, target, isRunning: moving.container.state === 'running', request, tell, warn };
    const { name } = moving.container;
    tell({ kind: 'doing', message: `making ${name} on ${target.name}` });
    const made = await this.make(move);
    const awayMs = await this.replace(move, made);
    const kept = await this.clearAway(move);
    const moved: MovedContainer = {
      name,
      from: source.name,
      to: target.name,
      containerId: made.id,
      state: move.isRunning ? 'running' : 'stopped',
      addresses: this.addresses.shown(moving, move.isRunning),
      awayMs,
      kept,
      warnings,
    };
    this.parts.logger.info('a container has moved', { container: name, from: source.name, to: target.name });
    tell({ kind: 'moved', moved });
    return moved;
  }

  /** Throws with nothing changed. */
  private async make({ moving, source, target, warn }: Move): Promise<MadeContainer> {
    const { name } = moving.container;
    this.addresses.unknownTo(source.name, moving).forEach(warn);
    const made = await target.make(moving).catch((error: unknown) => {
      const message = `${name} cannot move to ${target.name}: ${messageOf(error)}; it is on ${source.name} as before`;
      throw new DaoliError(error instanceof DaoliError ? error.code : 'internal', message, name, { cause: error });
    });
    for (const network of this.addresses.networksOf(moving)) {
      if (made.networksWithMac.includes(network)) continue;
      warn(
        `in network ${network} it gets another MAC address: before version 25 Docker keeps that of one network alone`,
      );
    }
    return made;
  }

  /** The new one takes the place of the old. Resolves with how long neither was there, in milliseconds. */
  private async replace(move: Move, made: MadeContainer): Promise<number> {
    const { moving, source, target, isRunning, tell } = move;
    const { container } = moving;
    const { id } = made;
    const change = (plan: PlanHandOver) => this.addresses.write(move, made, plan);
    let isStopped = false;
    try {
      if (!isRunning) {
        await target.rename(id, container.name);
        return 0;
      }
      await change(handOver);
      tell({ kind: 'doing', message: `stopping ${container.name} on ${source.name}` });
      const start = this.parts.clock.now();
      isStopped = true;
      await source.stop(container.id, container.stopSeconds);
      await target.rename(id, container.name);
      tell({ kind: 'doing', message: `starting ${container.name} on ${target.name}` });
      await target.start(id);
      const awayMs = Math.round(this.parts.clock.now() - start);
      await this.verify(move, id);
      await change(settleHandOver).catch(() => undefined);
      return awayMs;
    } catch (error) {
      throw await this.goBack(move, made, isStopped, error);
    }
  }

  /** Throws unless it runs, and is in the directory with its addresses. */
  private async verify({ target, moving, tell }: Move, id: string): Promise<void> {
    const { clock } = this.parts;
    const { name } = moving.container;
    tell({ kind: 'doing', message: `looking whether ${name} runs` });
    const begin = clock.now();
    for (;;) {
      const { isRunning, exitCode, output } = await target.look(id);
      if (!isRunning) {
        const said = output === '' ? 'without a word' : `saying ${JSON.stringify(output)}`;
        const why = `it ended at once on host ${target.name}, with exit code ${exitCode}, ${said}`;
        throw new DaoliError('conflict', why);
      }
      const missing = this.addresses.notAt(target.name, moving);
      const ranMs = clock.now() - begin;
      if (missing.length === 0 && ranMs >= RUNS_FOR_MS) return;
      if (missing.length > 0 && ranMs >= ENDPOINTS_MS) {
        const why = `host ${target.name} did not write down that it has ${missing.join(', ')}`;
        throw new DaoliError('unavailable', why);
      }
      await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
    }
  }

  /** All as before, as far as can be. Returns what to throw. */
  private async goBack(move: Move, made: MadeContainer, isStopped: boolean, error: unknown): Promise<DaoliError> {
    const { moving, source, target, tell } = move;
    const { name } = moving.container;
    const code = error instanceof DaoliError ? error.code : 'internal';
    const problems: string[] = [];
    const attempt = async (what: string, step: () => Promise<void>) => {
      await step().catch((problem: unknown) => void problems.push(`${what}: ${messageOf(problem)}`));
    };
    tell({ kind: 'doing', message: `going back: ${messageOf(error)}` });
    await attempt(`the new one on ${target.name} could not be removed`, () => target.remove(made.id));
    if (move.isRunning) {
      await attempt('its addresses are still kept for it there', () => this.addresses.write(move, made, takeBack));
    }
    if (isStopped) await attempt(`it could not be started again on ${source.name}`, () => this.revive(move, problems));
    const state = problems.length === 0 ? `; it is on ${source.name} as before` : `. And then: ${problems.join('; ')}`;
    this.parts.logger.warn('a container was not moved', {
      container: name,
      to: target.name,
      error: messageOf(error),
      problems,
    });
    return new DaoliError(code, `${name} was not moved to ${target.name}: ${messageOf(error)}${state}`, name, {
      cause: error,
    });
  }

  private async revive(move: Move, problems: string[]): Promise<void> {
    const { moving, source } = move;
    const now = await source.revive(moving);
    for (const { network, address } of moving.container.attachments) {
      if (moving.networks[network] === undefined || address === undefined || now[network] === address) continue;
      problems.push(
        `it runs on ${source.name} again, in network ${network} with ${now[network] ?? 'no address'} in place of ${address}`,
      );
    }
  }

  /** It is done; what is left of the old one is no reason to go back. */
  private async clearAway({ moving, source, target, request, warn, tell }: Move): Promise<string | null> {
    const { id, name, autoRemove, state } = moving.container;
    const isGone = autoRemove && state === 'running';
    try {
      if (request.keep && !isGone) return await source.keep(id, `${name}-moved-to-${target.name}`);
      tell({ kind: 'doing', message: `removing the old ${name} from ${source.name}` });
      await source.remove(id);
    } catch (error) {
      warn(`the old one on ${source.name} is stopped, but could not be removed: ${messageOf(error)}`);
    }
    return null;
  }
}
