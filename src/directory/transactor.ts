// The one place where the directory is written: plans, sends, and decides what an error means. It works over any link to a
// database, the real one or one in memory.
//
// Two kinds of failure are healed here. A lost race (somebody else's transaction came first, and the server refused ours
// by an index, a reference or a wait): the plan is made again on the newer view. An unknown outcome (the connection broke
// while the answer was awaited): after the reconnection the rows that it would have inserted, whose uuids we chose, say
// whether it was carried out; if not, the plan is made again. Should the lost one be carried out even later, then an
// index or a wait refuses one of the two, or what is left over is an unused reservation, which expires.

import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { OvsdbError } from '../ovsdb/errors';
import { KeyedQueue } from '../base/keyed-queue';
import {
  Canceled,
  ClusterError,
  ConnectionLost,
  ConstraintViolation,
  DuplicateUuid,
  NotConnected,
  ReferentialIntegrityViolation,
  TimedOut,
  TooManyRequests,
} from '../ovsdb/errors';
import type { Operation, Uuid } from '../ovsdb/notation';
import type { Ops, Plan, PlanContext } from './store';

/** A connection to the database, as far as writing needs it. */
export interface DatabaseLink {
  /** Carries out a transaction; rejects with OvsdbErrors. When it resolves, the view has it. */
  transact(ops: Ops, options: { signal: AbortSignal }): Promise<unknown>;
  /** Whether the view follows the database at present. */
  readonly synced: boolean;
  /** Resolves when it does (again). */
  whenSynced(): Promise<void>;
}

export interface TransactorParts {
  readonly link: DatabaseLink;
  readonly context: () => Omit<PlanContext, 'attempt'>;
  /** Whether the view has a row. */
  readonly hasRow: (table: string, uuid: Uuid) => boolean;
  readonly clock: Clock;
  readonly newUuid: () => Uuid;
}

/**
 * A transaction takes no longer than this, all waiting and trying again included: long enough for a cluster to elect another
 * leader, shorter than what Docker's calls have.
 */
export const TRANSACTION_TIMEOUT_MS = 7_000;
/** More lost races than this are none. */
const MAX_ATTEMPTS = 16;
/** More of them waiting at the same time are refused. */
const MAX_LOSERS = 4_096;

class DeadlinePassed extends Error {}

/** The error is that of a lost race. `unknown` was not carried out, as far as can be seen: try again. */
type Outcome = 'done' | 'unknown' | OvsdbError;

/** What became of transactions so far; monotonic, but for those that are under way. */
export interface TransactionCounts {
  committed: number;
  failed: number;
  /** Lost races and unknown outcomes, after each of which it was tried again. */
  repeated: number;
  /** All of them together. */
  tookMs: number;
  underWay: number;
}

export class Transactor {
  private readonly losers = new KeyedQueue(MAX_LOSERS);
  readonly counts: TransactionCounts = { committed: 0, failed: 0, repeated: 0, tookMs: 0, underWay: 0 };

  constructor(private readonly parts: TransactorParts) {}

  /** See DirectoryStore.transact. */
  transact<T>(plan: Plan<T>): Promise<T> {
    return this.counted(this.transactNow(plan));
  }

  /** See DirectoryStore.commit. */
  commit(ops: Ops): Promise<void> {
    return this.counted(this.commitNow(ops));
  }

  private async counted<T>(transaction: Promise<T>): Promise<T> {
    const { counts, parts } = this;
    const start = parts.clock.now();
    counts.underWay += 1;
    try {
      const result = await transaction;
      counts.committed += 1;
      return result;
    } catch (error) {
      counts.failed += 1;
      throw error;
    } finally {
      counts.underWay -= 1;
      counts.tookMs += parts.clock.now() - start;
    }
  }

  private async transactNow<T>(plan: Plan<T>): Promise<T> {
    const deadline = this.parts.clock.now() + TRANSACTION_TIMEOUT_MS;
    for (let attempt = 0; ;) {
      await this.synced(deadline);
      const number = attempt;
      const once = () => this.planOnce(plan, number, deadline);
      // Those that lost to one another would lose again if they went on side by side.
      const { outcome, result } = await (number === 0 ? once() : this.losers.run('losers', once));
      if (outcome === 'done') return result;
      this.counts.repeated += 1;
      if (outcome === 'unknown') continue;
      attempt += 1;
      if (attempt === MAX_ATTEMPTS) throw asConflict(outcome);
    }
  }

  private async planOnce<T>(
    plan: Plan<T>,
    attempt: number,
    deadline: number,
  ): Promise<{ outcome: Outcome; result: T }> {
    const { ops, result } = plan({ ...this.parts.context(), attempt });
    return { outcome: await this.tryOnce(this.withUuids(ops), deadline), result };
  }

  private async commitNow(ops: Ops): Promise<void> {
    const deadline = this.parts.clock.now() + TRANSACTION_TIMEOUT_MS;
    const fixed = this.withUuids(ops);
    for (let isRepeated = false; ; isRepeated = true) {
      await this.synced(deadline);
      const outcome = await this.tryOnce(fixed, deadline);
      if (outcome === 'done' || (isRepeated && outcome instanceof DuplicateUuid)) return;
      if (outcome !== 'unknown') throw asConflict(outcome);
    }
  }

  /** Sends once. Throws what is neither a lost race nor an unknown outcome. */
  private async tryOnce(ops: Ops, deadline: number): Promise<Outcome> {
    if (ops.length === 0) return 'done';
    const abort = new AbortController();
    try {
      await this.before(deadline, this.parts.link.transact(ops, { signal: abort.signal }));
      return 'done';
    } catch (error) {
      if (error instanceof DeadlinePassed) abort.abort();
      if (isRace(error, ops)) return error;
      if (!isUnknown(error)) throw asDaoliError(error);
    }
    await this.synced(deadline);
    return this.wasCarriedOut(ops) ? 'done' : 'unknown';
  }

  private wasCarriedOut(ops: Ops): boolean {
    return ops.some((op) => op.op === 'insert' && op.uuid !== undefined && this.parts.hasRow(op.table, op.uuid));
  }

  /** Chooses the uuids of the rows to insert. */
  private withUuids(ops: Ops): Ops {
    return ops.map((op): Operation => (op.op === 'insert' ? { uuid: this.parts.newUuid(), ...op } : op));
  }

  private async synced(deadline: number): Promise<void> {
    if (this.parts.link.synced) return;
    await this.before(deadline, this.parts.link.whenSynced()).catch((error: unknown) => {
      throw asDaoliError(error);
    });
  }

  private before<T>(deadline: number, promise: Promise<T>): Promise<T> {
    const { clock } = this.parts;
    return new Promise((resolve, reject) => {
      const cancel = clock.after(Math.max(0, deadline - clock.now()), () => reject(new DeadlinePassed()));
      promise.then(resolve, reject).finally(cancel);
    });
  }
}

/** A commit, or a wait, that somebody else's transaction made fail. A bad value in an operation is not one. */
function isRace(error: unknown, ops: Ops): error is OvsdbError {
  if (error instanceof TimedOut || error instanceof DuplicateUuid) return true;
  if (error instanceof ReferentialIntegrityViolation) return true;
  return error instanceof ConstraintViolation && error.operation?.index === ops.length;
}

/** Nobody knows whether it was carried out: the way to the server went, or that took the database's schema to be another. */
function isUnknown(error: unknown): boolean {
  return error instanceof ConnectionLost || error instanceof NotConnected || error instanceof Canceled;
}

function asConflict(race: OvsdbError): DaoliError {
  const message = `somebody else changed the same thing in the DaoliNet database: ${race.message}`;
  return new DaoliError('conflict', message, undefined, { cause: race });
}

/** What another error of the database means to whoever asked for something. */
function asDaoliError(error: unknown): DaoliError {
  const options = { cause: error };
  if (error instanceof DaoliError) return error;
  if (error instanceof DeadlinePassed) {
    const message = `the DaoliNet database did not answer within ${TRANSACTION_TIMEOUT_MS / 1000} s: try again`;
    return new DaoliError('unavailable', message, undefined, options);
  }
  if (error instanceof TooManyRequests || error instanceof ClusterError || error instanceof NotConnected) {
    return new DaoliError('unavailable', `the DaoliNet database is busy or away: try again`, undefined, options);
  }
  return new DaoliError('internal', `the DaoliNet database refused: ${messageOf(error)}`, undefined, options);
}
