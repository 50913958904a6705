// The connection to OVS's own database: its replica, transactions that outlive a restart of ovsdb-server, and waiting for
// what ovs-vswitchd writes back. Nothing here polls: every wait ends by a change of the replica or by its deadline.

import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import { OvsdbClient } from '../ovsdb/client';
import { ConnectionLost, ConstraintViolation, NotConnected, OvsdbError } from '../ovsdb/errors';
import type { Operation, OperationResult } from '../ovsdb/notation';
import { isRow, mutate } from '../ovsdb/operations';
import { Replica, type ReplicaChange } from '../ovsdb/replica';
import type { StoredRow } from '../ovsdb/rows';
import { OVS_TABLES, type OvsRow, type OvsTables } from './ovs-tables';

export interface OvsDatabaseOptions {
  /** Where ovsdb-server is, as `unix:/run/openvswitch/db.sock`. */
  readonly remote: string;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** ovsdb-server is on this machine: no need for the slow back-off of distant ones. */
const BACKOFF = { minMs: 100, maxMs: 1_000 };

/** The key of those who wait for ovs-vswitchd to have carried out a configuration; no interface has this name. */
const CONFIGURATION = '';

export class OvsDatabase {
  /** For its events; see ClientEvents. */
  readonly client: OvsdbClient;
  readonly replica: Replica<OvsTables>;
  private isStopped = false;
  private readonly waiters = new Map<string, Set<() => void>>();

  constructor(private readonly options: OvsDatabaseOptions) {
    const { remote, clock, random } = options;
    this.client = new OvsdbClient({ remotes: [remote], database: 'Open_vSwitch', clock, random, backoff: BACKOFF });
    this.replica = new Replica<OvsTables>(this.client, OVS_TABLES);
    this.replica.onChange((changes) => changes.forEach((change) => this.wake(change)));
  }

  /** Idempotent. */
  start(): void {
    this.isStopped = false;
    this.replica.start();
    this.client.start();
  }

  /** Idempotent. Transactions that are under way reject; waits for ovs-vswitchd end at their deadlines. */
  stop(): void {
    this.isStopped = true;
    this.client.stop();
  }

  /** The one row of table Open_vSwitch. Throws `unavailable` if it was not read yet. */
  root(): StoredRow<OvsRow> {
    const [row] = this.replica.table('Open_vSwitch').rows();
    if (row === undefined) throw new DaoliError('unavailable', `${this.options.remote} has not been read yet`);
    return row;
  }

  /** `ms` from now, as the deadline of all that a call does. */
  deadlineIn(ms: number): number {
    return this.options.clock.now() + ms;
  }

  /** Resolves when the replica follows the database and transactions can be sent. Throws `unavailable`. */
  async whenReady(deadline: number): Promise<void> {
    if (this.replica.synced && this.client.state === 'monitoring') return;
    if (this.isStopped) throw this.noAnswer();
    const ready = Promise.all([this.client.whenReady(), this.replica.whenSynced()]).catch(() => {
      throw this.noAnswer(); // stopped meanwhile
    });
    await this.before(deadline, ready, () => this.noAnswer());
  }

  /**
   * Runs an action that reads the replica and transacts, and once more on a new connection if it lost its own: it sees
   * then whether the lost transaction was carried out. Throws `conflict` for a broken constraint, `internal` for
   * another refusal of the database, `unavailable` after the deadline.
   */
  async whileConnected<T>(deadline: number, action: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.whenReady(deadline);
      try {
        return await this.before(deadline, action(), () => this.noAnswer());
      } catch (error) {
        if (error instanceof ConnectionLost || error instanceof NotConnected) continue;
        throw error instanceof OvsdbError ? asDaoliError(error) : error;
      }
    }
  }

  transact(operations: readonly Operation[]): Promise<OperationResult[]> {
    return this.client.transact(operations);
  }

  /** Transacts and resolves with the number of the new configuration, for whenConfigured. */
  async configure(operations: readonly Operation[]): Promise<number> {
    await this.transact([...operations, mutate('Open_vSwitch', isRow(this.root()._uuid), [['next_cfg', '+=', 1]])]);
    return this.root().next_cfg;
  }

  /** Resolves when ovs-vswitchd has carried out a configuration. Throws `unavailable` after the deadline. */
  async whenConfigured(configuration: number, deadline: number): Promise<void> {
    const isDone = () => (this.root().cur_cfg >= configuration ? true : undefined);
    await this.waitFor(CONFIGURATION, isDone, deadline);
  }

  /** Resolves with what `check` gives as soon as it gives something; it is asked when the interface's row changes. */
  async waitForInterface<T>(name: string, check: () => T | undefined, deadline: number): Promise<T> {
    return this.waitFor(name, check, deadline);
  }

  private noAnswer(): DaoliError {
    const { remote } = this.options;
    return new DaoliError(
      'unavailable',
      `no answer from the OVS database at ${remote}: is ovsdb-server running?`,
      remote,
    );
  }

  private async waitFor<T>(key: string, check: () => T | undefined, deadline: number): Promise<T> {
    const now = check();
    if (now !== undefined) return now;
    const waiters = this.waiters.get(key) ?? new Set();
    this.waiters.set(key, waiters);
    let waiter = () => {};
    const found = new Promise<T>((resolve, reject) => {
      waiter = () => {
        try {
          const value = check();
          if (value !== undefined) resolve(value);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(messageOf(error)));
        }
      };
    });
    waiters.add(waiter);
    const late = () => new DaoliError('unavailable', 'ovs-vswitchd does not answer in time: is it running?', key);
    try {
      return await this.before(deadline, found, late);
    } finally {
      waiters.delete(waiter);
      if (waiters.size === 0) this.waiters.delete(key);
    }
  }

  private async before<T>(deadline: number, result: Promise<T>, late: () => DaoliError): Promise<T> {
    let cancel = () => {};
    const timeout = new Promise<never>((_, reject) => {
      const { clock } = this.options;
      cancel = clock.after(Math.max(0, deadline - clock.now()), () => reject(late()));
    });
    try {
      return await Promise.race([result, timeout]);
    } finally {
      cancel();
    }
  }

  private wake(change: ReplicaChange<OvsTables>): void {
    const key =
      change.table === 'Interface'
        ? (change.row ?? change.old)?.name
        : change.table === 'Open_vSwitch'
          ? CONFIGURATION
          : undefined;
    if (key === undefined) return;
    for (const waiter of [...(this.waiters.get(key) ?? [])]) waiter();
  }
}

function asDaoliError(error: OvsdbError): DaoliError {
  const code = error instanceof ConstraintViolation ? 'conflict' : 'internal';
  return new DaoliError(code, `the OVS database refused: ${error.message}`, undefined, { cause: error });
}
