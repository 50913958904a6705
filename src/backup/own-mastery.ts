// This host as the master of its own datapath, in the directory: which generation its controller takes, and what the row says of
// backups and profile. The datapath is taken with the directory or without it: it is this host's own, and those that stand by
// are demoted by the datapath itself. What the directory missed is written when it is back.

import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import { RetriedWork } from '../base/retried-work';
import type { DirectoryChange } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { planOwnMaster, planSwitch } from '../directory/switch-operations';
import { chooseBackups } from './choose';
import type { OwnSwitch } from './ports';
import { DISPUTE_MS } from './takeover';

/** The datapath does not wait longer for the directory. */
export const DIRECTORY_MS = 1_000;
/** Several hosts often come at once. */
const SETTLE_MS = 1_000;
/** A backup that is away for longer is replaced, and may be one again after AGAIN_MS. */
export const AWAY_MS = 60_000;
const AGAIN_MS = 10 * 60_000;

export interface OwnMasteryParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host' | 'transact' | 'onConnected'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class OwnMastery {
  private readonly telling: RetriedWork;
  private own: OwnSwitch | undefined;
  /** The latest generation that the own controller was told to take. */
  private taken = 0;
  /** The generation of another master that the datapath has not been taken with (yet). */
  private disputed: number | undefined;
  /** Since when, in monotonic milliseconds, others do not answer, and what ends the looks at them. */
  private readonly away = new Map<string, { readonly since: number; readonly cancel: () => void }>();
  /** While it waits for more; more do not make it longer. */
  private cancelSettle: (() => void) | undefined;
  private endConnected = (): void => undefined;
  private isLeaving = false;

  constructor(private readonly parts: OwnMasteryParts) {
    const { clock, random, logger, store } = parts;
    this.telling = new RetriedWork({
      clock,
      random,
      work: () => this.tell(),
      onProblem: (problem) => {
        logger.error('others cannot be told of this host’s datapath', { host: store.host, error: problem });
      },
      onMended: () => logger.info('others were told of this host’s datapath', { host: store.host }),
    });
  }

  /** See NextGeneration of ports.ts. After leave() it never resolves. */
  async nextGeneration(seen: bigint): Promise<bigint> {
    if (this.isLeaving) return new Promise(() => undefined);
    // Somebody who may has taken it far beyond what the directory counts to.
    if (seen >= BigInt(Number.MAX_SAFE_INTEGER)) return seen + 1n;
    const generation = await this.agree(Number(seen));
    this.taken = Math.max(this.taken, generation);
    this.telling.ask();
    return BigInt(generation);
  }

  /** Writes this host's row from now on, in a cluster. */
  start(own: OwnSwitch): void {
    this.own = own;
    own.onChange(() => this.telling.ask());
    this.endConnected = this.parts.store.onConnected(() => this.telling.ask());
    this.telling.ask();
  }

  /** Takes what one transaction changed. */
  take(changes: readonly DirectoryChange[]): void {
    const { store, clock } = this.parts;
    if (changes.some(({ table, kind }) => table === 'Host' && kind === 'delete')) {
      for (const host of [...this.away.keys()]) if (store.view.host(host) === undefined) this.forget(host);
    }
    if (this.cancelSettle !== undefined || !changes.some((change) => this.matters(change))) return;
    this.cancelSettle = clock.after(SETTLE_MS, () => {
      this.cancelSettle = undefined;
      this.telling.ask();
    });
  }

  /** A host was heard, or is heard no more. */
  setAway(host: string, isAway: boolean): void {
    if (isAway === this.away.has(host)) return;
    if (!isAway) {
      this.forget(host);
      // It may have been replaced meanwhile.
      this.telling.ask();
      return;
    }
    const { clock } = this.parts;
    const looks = [AWAY_MS, AGAIN_MS].map((ms) => clock.after(ms, () => this.telling.ask()));
    this.away.set(host, { since: clock.now(), cancel: () => looks.forEach((cancel) => cancel()) });
  }

  /** The own controller is not to take the datapath again: those that stand by are to. */
  leave(): void {
    this.isLeaving = true;
  }

  stop(): void {
    this.leave();
    this.endConnected();
    this.cancelSettle?.();
    for (const host of [...this.away.keys()]) this.forget(host);
    this.telling.stop();
  }

  /** The generation to take, which the directory has, or could not be given in time. */
  private agree(seen: number): Promise<number> {
    const { store, clock } = this.parts;
    const { generation: known, master } = store.view.switchOf(store.host) ?? {};
    const isKnown = known === undefined || (known === this.next(seen) && master === store.host);
    if (isKnown) return Promise.resolve(this.next(seen));
    const written = store.transact((context) => {
      const generation = this.next(seen);
      return { ops: planOwnMaster(context, generation), result: generation };
    });
    return new Promise((resolve) => {
      const cancel = clock.after(DIRECTORY_MS, () => resolve(this.next(seen)));
      written.then(resolve, () => resolve(this.next(seen))).finally(cancel);
    });
  }

  /** One that this host has in the directory is nobody else's: it is taken again. */
  private next(seen: number): number {
    const { store } = this.parts;
    const { generation = 0, master } = store.view.switchOf(store.host) ?? {};
    const isOwn = master === store.host && generation >= Math.max(seen, this.taken);
    return isOwn ? generation : Math.max(generation, seen, this.taken) + 1;
  }

  /** Who can stand by, or that somebody who did is gone. */
  private matters(change: DirectoryChange): boolean {
    if (change.table !== 'Switch') return change.table === 'Host' || change.table === 'Tunnel';
    return change.kind !== 'modify' || change.row.host === this.parts.store.host;
  }

  private async tell(): Promise<void> {
    const { own } = this;
    const { store } = this.parts;
    if (own === undefined || this.isLeaving) return;
    const backups =
      own.obstacle === undefined ? chooseBackups(store.view, store.host, (name) => this.isAway(name)) : [];
    const facts = { backups, profile: own.profile(), generation: Math.max(this.taken, 1) };
    await store.transact((context) => ({ ops: planSwitch(context, facts), result: undefined }));
    if (own.isMaster) await this.claim();
  }

  /**
   * The directory says what is so. A backup that is written there takes the datapath next, and this host is demoted; if it is
   * not, that one has not come.
   */
  private async claim(): Promise<void> {
    const { store, clock } = this.parts;
    const row = store.view.switchOf(store.host);
    if (row === undefined || row.master === store.host) return;
    if (row.generation > this.taken && row.generation !== this.disputed) {
      this.disputed = row.generation;
      clock.after(DISPUTE_MS, () => this.telling.ask());
      return;
    }
    const generation = Math.max(row.generation + 1, this.taken);
    await store.transact((context) => ({ ops: planOwnMaster(context, generation), result: undefined }));
    this.taken = generation;
  }

  private isAway(host: string): boolean {
    const { since = Infinity } = this.away.get(host) ?? {};
    const forMs = this.parts.clock.now() - since;
    // It is not watched any more, so nothing would be heard of its return.
    if (forMs >= AGAIN_MS) this.forget(host);
    return forMs >= AWAY_MS && forMs < AGAIN_MS;
  }

  private forget(host: string): void {
    this.away.get(host)?.cancel();
    this.away.delete(host);
  }
}
