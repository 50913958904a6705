// This host among those that stand by for one another: what the directory, the datapaths and the other agents say goes to a
// state machine for each datapath that it stands by for (takeover.ts), and what that wants is done. Its own datapath is
// own-mastery.ts.

import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import type { PulseState } from '../cluster/pulse-links';
import { companionsOf } from '../directory/companions';
import type { DirectoryChange, SwitchRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { planResignation, planTakeover } from '../directory/switch-operations';
import { backupsInOrder } from './choose';
import { OwnMastery } from './own-mastery';
import type { NextGeneration, OwnSwitch, Standbys, Taken } from './ports';
import { STANDING_BY, step, type Effect, type Event, type Facts, type State } from './takeover';
import { Watch } from './watch';

/** A datapath that has just connected has just begun, mostly: its own controller comes first. */
export const CONNECTED_FOR_MS = 1_000;
const RESIGN_AGAIN_MS = 1_000;
/** An agent that ends does not wait longer for the directory. */
const LEAVE_MS = 1_000;

export interface BackupsParts {
  readonly store: Pick<
    DirectoryStore,
    'view' | 'host' | 'connected' | 'transact' | 'whenFollowed' | 'onChange' | 'onConnected'
  >;
  readonly standbys: Standbys;
  /** Whom this host is to be in touch with; see PulseLinks. */
  readonly setPeers: (hosts: ReadonlySet<string>) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** A datapath that this host stands by for, as people see it. */
export interface StandingBy {
  readonly host: string;
  readonly isConnected: boolean;
  readonly isMaster: boolean;
}

interface Charge {
  state: State;
  isConnected: boolean;
  /** What is written last, so that nothing later comes before it. */
  resigning: Promise<void>;
  cancelConnected: () => void;
  cancelDue: () => void;
}

export class Backups {
  private readonly watch: Watch;
  private readonly mastery: OwnMastery;
  private readonly charges = new Map<string, Charge>();
  private readonly problems: ProblemLog;
  private ends: (() => void)[] = [];
  /** How often this host has become master of another's datapath. */
  takeovers = 0;

  constructor(private readonly parts: BackupsParts) {
    this.problems = new ProblemLog(parts.clock, parts.logger);
    this.mastery = new OwnMastery(parts);
    this.watch = new Watch(parts.clock, (host, life) => {
      this.mastery.setAway(host, life === 'gone');
      this.look();
    });
  }

  /** See NextGeneration of ports.ts; also before start(). */
  readonly nextGeneration: NextGeneration = (seen) => this.mastery.nextGeneration(seen);

  /** Stands by for others, and has others stand by, from now on: in a cluster, when its own datapath is up. */
  start(own: OwnSwitch): void {
    const { store, standbys } = this.parts;
    this.ends = [
      store.onChange((changes) => this.take(changes)),
      standbys.onConnected((host, isConnected) => this.handleConnected(host, isConnected)),
      standbys.onDemoted((host) => this.send(host, { kind: 'demoted' })),
    ];
    this.mastery.start(own);
    this.follow();
  }

  /** Another host's agent has answered. */
  hear(host: string, state: PulseState): void {
    this.watch.hear(host, state);
  }

  /**
   * This host lets go of the datapaths of others, and does not take its own again: before its agent tells the others that it
   * ends. Resolves when the directory knows, or cannot be had.
   */
  async leave(): Promise<void> {
    this.mastery.leave();
    for (const end of this.ends) end();
    this.ends = [];
    this.watch.stop();
    const masters = [...this.charges].filter(([, { state }]) => state.kind === 'master').map(([host]) => host);
    for (const host of [...this.charges.keys()]) this.drop(host);
    const resigned = Promise.all(masters.map((host) => this.resignOnce(host).catch(() => undefined)));
    await Promise.race([resigned, new Promise<void>((resolve) => this.parts.clock.after(LEAVE_MS, resolve))]);
  }

  /** After leave(). Idempotent. */
  stop(): void {
    this.mastery.stop();
  }

  /** The datapaths of others that this host stands by for, by name. */
  standingBy(): StandingBy[] {
    const shown = [...this.charges].map(([host, { state }]) => {
      return { host, isConnected: this.parts.standbys.of(host).isConnected, isMaster: state.kind === 'master' };
    });
    return shown.sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  private take(changes: readonly DirectoryChange[]): void {
    this.mastery.take(changes);
    for (const change of changes) if (hasReturned(change)) this.watch.presume(change.row.host);
    if (changes.some(({ table }) => table === 'Switch' || table === 'Host' || table === 'Tunnel')) this.follow();
  }

  /** Watches whom it has to, and stands by for whom it has to. */
  private follow(): void {
    const { store, setPeers } = this.parts;
    const companions = companionsOf(store.view, store.host);
    this.watch.setHosts(companions);
    setPeers(companions);
    const wanted = new Set<string>();
    for (const row of store.view.switches()) if (row.backups.includes(store.host)) wanted.add(row.host);
    for (const host of [...this.charges.keys()]) if (!wanted.has(host)) this.give(host);
    for (const host of wanted) if (!this.charges.has(host)) this.enter(host);
    this.look();
  }

  private enter(host: string): void {
    const none = (): void => undefined;
    this.charges.set(host, {
      state: STANDING_BY,
      isConnected: false,
      resigning: Promise.resolve(),
      cancelConnected: none,
      cancelDue: none,
    });
    this.handleConnected(host, this.parts.standbys.of(host).isConnected);
  }

  /** It stands by for that host no more: the machine lets go by itself. */
  private give(host: string): void {
    this.send(host, { kind: 'look' });
    this.drop(host);
  }

  private drop(host: string): void {
    const charge = this.charges.get(host);
    charge?.cancelConnected();
    charge?.cancelDue();
    this.charges.delete(host);
    this.parts.standbys.of(host).release();
  }

  private handleConnected(host: string, isConnected: boolean): void {
    const charge = this.charges.get(host);
    if (charge === undefined) return;
    const settle = (is: boolean) => {
      charge.isConnected = is;
      this.send(host, { kind: 'look' });
    };
    charge.cancelConnected();
    if (isConnected) charge.cancelConnected = this.parts.clock.after(CONNECTED_FOR_MS, () => settle(true));
    else settle(false);
  }

  private look(): void {
    for (const host of [...this.charges.keys()]) this.send(host, { kind: 'look' });
  }

  private send(host: string, event: Event): void {
    const charge = this.charges.get(host);
    if (charge === undefined) return;
    const before = charge.state.kind;
    const { state, effects } = step(charge.state, event, this.factsOf(host, charge));
    charge.state = state;
    if (state.kind !== before) this.tellChange(host, before, state.kind);
    if (state.kind !== 'waiting' && state.kind !== 'master') charge.cancelDue();
    for (const effect of effects) this.do(host, charge, effect);
  }

  private factsOf(host: string, { isConnected }: Charge): Facts {
    const { view, host: self } = this.parts.store;
    const row = view.switchOf(host);
    const rank = row === undefined ? -1 : backupsInOrder(view, row).indexOf(self);
    return {
      rank: rank === -1 ? undefined : rank,
      isConnected,
      isDescribed: this.parts.standbys.of(host).isDescribed,
      isServed: this.watch.lifeOf(host) === 'serving',
      generation: row?.generation ?? 0,
      master: this.masterOf(row),
    };
  }

  private masterOf(row: SwitchRow | undefined): Facts['master'] {
    if (row?.master === undefined) return 'nobody';
    if (row.master === row.host) return 'owner';
    if (row.master === this.parts.store.host) return 'self';
    // It was one when it wrote that, and has let go since.
    if (!row.backups.includes(row.master)) return 'nobody';
    return this.watch.lifeOf(row.master) === 'gone' ? 'nobody' : 'rival';
  }

  private do(host: string, charge: Charge, effect: Effect): void {
    switch (effect.kind) {
      case 'wait':
        charge.cancelDue();
        charge.cancelDue = this.parts.clock.after(effect.ms, () => this.send(host, { kind: 'due' }));
        return;
      case 'claim':
        void this.claim(host, effect.generation);
        return;
      case 'take':
        void this.takeDatapath(host, effect.generation);
        return;
      case 'release':
        this.parts.standbys.of(host).release();
        return;
      case 'resign':
        charge.resigning = this.resign(host);
        return;
      case 'presume':
        this.watch.presume(host);
        return;
    }
  }

  private async claim(host: string, generation: number): Promise<void> {
    const { store } = this.parts;
    try {
      // With less than all of what that host has, flows that are right would go.
      await this.charges.get(host)?.resigning;
      await store.whenFollowed();
      await store.transact((context) => ({ ops: planTakeover(context, host, generation), result: undefined }));
      this.send(host, { kind: 'claimed', outcome: 'done', generation: generation + 1 });
    } catch (error) {
      const isLost = error instanceof DaoliError && error.code === 'conflict';
      if (!isLost) this.problems.report('a datapath cannot be taken over yet', { host, error: messageOf(error) });
      this.send(host, { kind: 'claimed', outcome: isLost ? 'lost' : 'failed', generation });
    }
  }

  private async takeDatapath(host: string, generation: number): Promise<void> {
    const outcome = await this.tryToTake(host, generation).catch((error: unknown) => {
      this.problems.report('a datapath cannot be taken over', { host, error: messageOf(error) });
      return 'away' as const;
    });
    if (outcome === 'master') this.takeovers += 1;
    this.send(host, { kind: 'taken', outcome });
  }

  /**
   * Also where the directory has named this host for long: it may have begun just now, with what it knew before. `stale`: the
   * directory does not say so any more.
   */
  private async tryToTake(host: string, generation: number): Promise<Taken | 'unready'> {
    const { store, standbys } = this.parts;
    await this.charges.get(host)?.resigning;
    const isFollowed = await store.whenFollowed().then(
      () => store.connected,
      () => false,
    );
    if (!isFollowed) return 'unready';
    const row = store.view.switchOf(host);
    const isStill = row?.master === store.host && row.generation === generation;
    return isStill ? standbys.of(host).take(BigInt(generation)) : 'stale';
  }

  /** Until it is done, or another is master, or this host is again. */
  private async resign(host: string): Promise<void> {
    try {
      await this.resignOnce(host);
    } catch (error) {
      if (error instanceof DaoliError && error.code === 'conflict') return;
      this.parts.clock.after(RESIGN_AGAIN_MS, () => {
        if (this.charges.get(host)?.state.kind === 'standing-by') void this.resign(host);
      });
    }
  }

  private resignOnce(host: string): Promise<void> {
    return this.parts.store.transact((context) => {
      // It may be master again by now.
      const isMaster = this.charges.get(host)?.state.kind === 'master';
      return { ops: isMaster ? [] : planResignation(context, host), result: undefined };
    });
  }

  private tellChange(host: string, before: State['kind'], now: State['kind']): void {
    const { logger, store } = this.parts;
    const ids = { host, generation: store.view.switchOf(host)?.generation };
    if (now === 'master') logger.warn('this host is in charge of the datapath of another, whose agent is gone', ids);
    else if (before === 'master') logger.info('this host is no more in charge of the datapath of another', ids);
  }
}

/** The host itself has written that it is master again: before it is, and could say so. */
function hasReturned(
  change: DirectoryChange,
): change is DirectoryChange & { readonly table: 'Switch'; kind: 'modify' } {
  if (change.table !== 'Switch' || change.kind !== 'modify') return false;
  const { row, previous } = change;
  return row.master === row.host && row.generation !== previous.generation;
}
