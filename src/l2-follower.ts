// Finds out for this host whether it shares the L2 of its site, and tells the others of it: ties the watch to the directory, to
// the controller and to the doors of other hosts.

import type { Cidr } from './base/addresses';
import type { Clock } from './base/clock';
import type { Logger } from './base/logger';
import { FABRIC } from './api/operations/fabric';
import type { Cluster } from './cluster/cluster';
import { OPEN_CALL } from './cluster/front';
import type { RemoteAgents } from './cluster/remote-agents';
import { hostLocator } from './directory/allocation';
import { mayShareL2 } from './directory/reach';
import type { DirectoryStore } from './directory/store';
import type { Controller } from './flowctl/controller';
import { chosenPeers, L2Watch } from './tunnel/l2-watch';
import type { TunnelFollower } from './tunnel/tunnels';

const ANSWER_MS = 2_000;

export interface L2FollowerParts {
  readonly store: DirectoryStore;
  readonly cluster: Pick<Cluster, 'tunnel' | 'agents'>;
  readonly controller: Pick<Controller, 'probeFabric' | 'fabricStandsMs'>;
  readonly tunnels: Pick<TunnelFollower, 'isL2Missing' | 'judgeL2'>;
  readonly locatorRange: Cidr;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class L2Follower {
  private readonly watch: L2Watch;
  private endFollowing = (): void => undefined;

  constructor(private readonly parts: L2FollowerParts) {
    const { controller, tunnels, clock, random } = parts;
    this.watch = new L2Watch({
      clock,
      random,
      peers: () => this.peers(),
      probe: async (host, timeoutMs) => {
        const locator = this.locatorOf(host);
        return locator !== undefined && controller.probeFabric(locator, timeoutMs);
      },
      standsMs: (host) => (host === undefined ? controller.fabricStandsMs() : standsMsOf(parts.cluster.agents, host)),
      isMissing: () => tunnels.isL2Missing,
      onJudged: (isMissing, asked) => this.judged(isMissing, asked),
    });
  }

  /** The datapath is there. Idempotent. */
  start(): void {
    this.endFollowing();
    this.endFollowing = this.parts.store.onChange((changes) => {
      if (changes.some(({ table }) => table === 'Host' || table === 'Tunnel')) this.watch.hostsChanged();
    });
    this.watch.start();
  }

  /** Idempotent. */
  stop(): void {
    this.endFollowing();
    this.watch.stop();
  }

  private peers(): string[] {
    const { view, host } = this.parts.store;
    if (this.parts.cluster.tunnel?.l2 !== 'auto') return [];
    const others = [...view.hosts()].filter((other) => mayShareL2(view, host, other));
    return chosenPeers(
      host,
      others.map(({ name }) => name),
    );
  }

  private locatorOf(name: string) {
    const row = this.parts.store.view.host(name);
    return row && hostLocator(row, this.parts.locatorRange);
  }

  private judged(isMissing: boolean, asked: readonly string[]): void {
    const { logger, tunnels } = this.parts;
    if (isMissing) logger.warn('this host shares no L2 with its site: its packets go through tunnels there', { asked });
    else logger.info('this host shares the L2 of its site, after all', { asked });
    tunnels.judgeL2(isMissing);
  }
}

/**
 * For how long another host's datapath has answered over the fabric, as its agent says; undefined where it does not, or cannot be
 * asked. One whose agent is older does not know the question.
 */
export async function standsMsOf(agents: RemoteAgents, name: string): Promise<number | undefined> {
  try {
    const { standsMs } = await agents.openAt(name).get(OPEN_CALL, FABRIC, { timeoutMs: ANSWER_MS });
    return standsMs ?? undefined;
  } catch {
    return undefined;
  }
}
