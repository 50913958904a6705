// Where a container can go: to the host that somebody names, or to the one with the fewest endpoints of those that can have it.

import { DaoliError, messageOf } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import type { DirectoryStore } from '../directory/store';
import { objectionsOf } from './movability';
import type { Findings, MoveHost, MovingContainer } from './move-host';

export interface Destination {
  readonly target: MoveHost;
  readonly findings: Findings;
}

export interface DestinationParts {
  readonly store: Pick<DirectoryStore, 'view'>;
  readonly hostOf: (name: string) => MoveHost;
}

export interface Wishes {
  readonly node: string | undefined;
  readonly force: boolean;
}

/** More are not asked. */
const MAX_ASKED = 16;

export class Destinations {
  constructor(private readonly parts: DestinationParts) {}

  /** Throws `not-found` for a host that is none, `conflict` where it, or all, cannot have the container: with every reason. */
  async choose(source: string, moving: MovingContainer, { node, force }: Wishes): Promise<Destination> {
    const { name } = moving.container;
    const ownObjections = force ? [] : objectionsOf(moving);
    if (node !== undefined) {
      this.checkNamed(node, source, name);
      const destination = await this.ask(node, moving);
      const reasons = [...ownObjections, ...reasonsOf(destination.findings, force)];
      if (reasons.length === 0) return destination;
      throw new DaoliError(
        'conflict',
        `${name} cannot move to ${node}: ${withHint(reasons, destination.findings, ownObjections)}`,
        node,
      );
    }
    if (ownObjections.length > 0) {
      throw new DaoliError(
        'conflict',
        `${name} is not moved: ${ownObjections.join('; ')}; --force moves it nevertheless`,
        name,
      );
    }
    return this.firstOf(this.candidates(source), moving, force);
  }

  private checkNamed(node: string, source: string, container: string): void {
    const { view } = this.parts.store;
    if (view.host(node) === undefined) {
      const names = [...view.hosts()].map((host) => host.name);
      const known = `its hosts are ${names.sort().slice(0, MAX_ASKED).join(', ')}`;
      const hint = didYouMean(node, names);
      throw new DaoliError(
        'not-found',
        `there is no host ${node} in the cluster${hint === '' ? `: ${known}` : hint}`,
        node,
      );
    }
    if (node === source) throw new DaoliError('conflict', `${container} is on host ${node} already`, node);
  }

  /** The emptiest first. */
  private candidates(source: string): string[] {
    const { view } = this.parts.store;
    return [...view.hosts()]
      .filter(({ name }) => name !== source)
      .map(({ name }) => ({ name, load: [...view.endpointsOn(name)].length }))
      .sort((a, b) => a.load - b.load || (a.name < b.name ? -1 : 1))
      .slice(0, MAX_ASKED)
      .map(({ name }) => name);
  }

  private async firstOf(names: readonly string[], moving: MovingContainer, force: boolean): Promise<Destination> {
    const { name } = moving.container;
    const refusals: string[] = [];
    for (const node of names) {
      try {
        const destination = await this.ask(node, moving);
        const reasons = reasonsOf(destination.findings, force);
        if (reasons.length === 0) return destination;
        refusals.push(`${node}: ${withHint(reasons, destination.findings, [])}`);
      } catch (error) {
        if (error instanceof DaoliError && error.code === 'unavailable') refusals.push(`${node}: ${messageOf(error)}`);
        else throw error;
      }
    }
    const why = refusals.length === 0 ? 'the cluster has no other host' : refusals.join('. ');
    throw new DaoliError('conflict', `no other host can have ${name}: ${why}`, name);
  }

  private async ask(node: string, moving: MovingContainer): Promise<Destination> {
    const target = this.parts.hostOf(node);
    return { target, findings: await target.check(moving) };
  }
}

function reasonsOf({ obstacles, objections }: Findings, force: boolean): readonly string[] {
  return force ? obstacles : [...obstacles, ...objections];
}

/** Says that it can be insisted on, where that would help. */
function withHint(reasons: readonly string[], { obstacles, objections }: Findings, own: readonly string[]): string {
  const helps = obstacles.length === 0 && objections.length + own.length > 0;
  return `${reasons.join('; ')}${helps ? '; --force moves it nevertheless' : ''}`;
}
