// This host among those that stand by for one another: its own datapath, those of others at its door, and who is in charge of
// which. Put together here from the datapaths (datapath-standbys.ts, own-datapath.ts) and the decisions (src/backup).

import type { Charges } from './api/operations/status';
import { Backups } from './backup/backups';
import type { NextGeneration, OwnSwitch } from './backup/ports';
import type { Cidr } from './base/addresses';
import { systemClock } from './base/clock';
import type { Logger } from './base/logger';
import type { PulseLinksParts } from './cluster/pulse-links';
import { DatapathStandbys } from './datapath-standbys';
import type { SwitchRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';

export interface StandingByParts {
  readonly store: DirectoryStore;
  readonly locatorRange: Cidr;
  /** See StandbyController. */
  readonly settings: { readonly packetInRate: number };
  /** Whom this host asks whether they are there. */
  readonly setPeers: (hosts: ReadonlySet<string>) => void;
  readonly logger: Logger;
}

export class StandingBy {
  readonly standbys: DatapathStandbys;
  private readonly backups: Backups;
  private own: OwnSwitch | undefined;

  constructor(private readonly parts: StandingByParts) {
    const world = { clock: systemClock, random: Math.random };
    this.standbys = new DatapathStandbys({ ...parts, ...world });
    this.backups = new Backups({ ...parts, ...world, standbys: this.standbys });
  }

  readonly nextGeneration: NextGeneration = (seen) => this.backups.nextGeneration(seen);

  /** What other hosts are told of this one, and tell it. */
  readonly pulse: Pick<PulseLinksParts, 'isServing' | 'onPulse'> = {
    isServing: () => this.own?.isMaster === true,
    onPulse: (host, state) => this.backups.hear(host, state),
  };

  /** In a cluster, when the own datapath is up. Idempotent. */
  start(own: OwnSwitch): void {
    if (this.own !== undefined) return;
    this.own = own;
    this.backups.start(own);
  }

  /** See Backups: before the others are told that this agent ends. */
  leave(): Promise<void> {
    return this.backups.leave();
  }

  /** After leave(). The flows of all datapaths stay. */
  stop(): void {
    this.backups.stop();
    this.standbys.stop();
  }

  /** How often this host has become master of another's datapath. */
  get takeovers(): number {
    return this.backups.takeovers;
  }

  /** Who is in charge of what, as people see it. */
  charges(): Charges {
    const { store } = this.parts;
    const links = new Map((this.own?.links ?? []).map((link) => [link.host, link]));
    const row = store.view.switchOf(store.host);
    const isConnected = (host: string) => links.get(host)?.isConnected === true;
    return {
      master: this.master(row),
      obstacle: this.own?.obstacle ?? null,
      backups: [...(row?.backups ?? [])].sort().map((host) => ({ host, isConnected: isConnected(host) })),
      standsBy: this.backups.standingBy(),
    };
  }

  /** The directory says that this host is in charge before it is, and may not know for a while that it is. */
  private master(row: SwitchRow | undefined): string | null {
    const { host } = this.parts.store;
    const isAlone = this.own === undefined && row === undefined;
    if (isAlone || this.own?.isMaster === true) return host;
    return row?.master === host ? null : (row?.master ?? null);
  }
}
