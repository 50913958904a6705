// Keeps what a host follows in step with what it has: conditions.ts says what that is. Widened at once, as soon as something
// is needed, and before whoever needs it goes on; narrowed when nothing of a network was needed for a while, since every
// change of conditions makes ovsdb-server look at whole tables, and containers that go often come back.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { OvsdbClient } from '../ovsdb/client';
import type { TableConditions } from '../ovsdb/monitor';
import type { Operation, Uuid } from '../ovsdb/notation';
import { select } from '../ovsdb/operations';
import { conditionsOf, neededBy, needsOf, NO_NEEDS, wholeOf, type Needs, type OwnView } from './conditions';
import { namedBy } from './rule-containers';
import type { DirectoryChange, NetworkRow, PoolRow } from './rows';
import type { Followed } from './store';
import { TRANSACTION_TIMEOUT_MS } from './transactor';

/** Longer than a deployment takes, or a host's restart. */
export const LINGER_MS = 10 * 60_000;

export interface InterestParts {
  readonly host: string;
  readonly view: OwnView;
  /** The networks of own endpoints that cannot be shown yet, as their addresses are not followed. */
  readonly waiting: () => Iterable<NetworkRow>;
  /** Follows the rows of these conditions from now on. Resolves when the view has them. */
  readonly apply: (conditions: TableConditions) => Promise<void>;
  readonly clock: Clock;
}

/**
 * What a host needs, by asking: before it follows anything, its view cannot tell. Of tables that the database has not got yet,
 * as its servers are older, it needs nothing.
 */
export async function fetchNeeds(client: Pick<OvsdbClient, 'transact' | 'schema'>, host: string): Promise<Needs> {
  const isThere = (table: string) => client.schema?.tables.has(table) !== false;
  const fetch = async (...operations: Operation[]) => {
    const results = await client.transact(operations, { isLong: true });
    return results.map(({ rows = [] }) => rows as ReadonlyArray<Readonly<Record<string, Uuid | undefined>>>);
  };
  const [own = [], pools = []] = await fetch(
    select('Host', [['name', '==', host]], ['_uuid']),
    select('Pool', [], ['_uuid', 'network']),
  );
  const uuid = own[0]?.['_uuid'];
  if (uuid === undefined) return NO_NEEDS;
  const ofBacked = select('Switch', [['backups', 'includes', [uuid]]], ['host']);
  const [switches = []] = isThere('Switch') ? await fetch(ofBacked) : [];
  const backed = switches.flatMap(({ host: other }) => other ?? []);
  const ofEach = (table: string, column: string) =>
    isThere(table) ? [uuid, ...backed].map((each) => select(table, [['host', '==', each]], [column])) : [];
  const rows = (await fetch(...ofEach('Endpoint', 'network'), ...ofEach('FirewallRule', 'container'))).flat();
  const networks = new Set(rows.flatMap(({ network }) => network ?? []));
  const isOfThem = ({ network }: (typeof pools)[number]) => network !== undefined && networks.has(network);
  const followed = new Set(pools.filter(isOfThem).flatMap(({ _uuid }) => _uuid ?? []));
  const containers = rows.flatMap(({ container = '' }) => namedBy({ container })?.name ?? []);
  return { host: uuid, backed: new Set(backed), networks, pools: followed, containers: new Set(containers) };
}

/** The uuids of the hosts that have a network, by asking: who else has one is not followed. Throws `unavailable`. */
export async function fetchHosts(client: Pick<OvsdbClient, 'transact'>, network: Uuid): Promise<Uuid[]> {
  try {
    const question = select('NetworkReplica', [['network', '==', network]], ['host']);
    const signal = AbortSignal.timeout(TRANSACTION_TIMEOUT_MS);
    const [{ rows = [] } = {}] = await client.transact([question], { signal });
    return rows.map(({ host }) => host as Uuid);
  } catch (error) {
    throw new DaoliError('unavailable', 'the DaoliNet database is away: try again', undefined, { cause: error });
  }
}

export class Interest {
  /** When each network, or pool without one, was needed last: monotonic milliseconds by its row's uuid. */
  private readonly neededAt = new Map<Uuid, number>();
  private applied: string;
  private settling: Promise<void> = Promise.resolve();
  private cancelNarrowing = (): void => undefined;

  /** `followed`: the conditions that the view has from the beginning, and the networks that they are for. */
  constructor(
    private readonly parts: InterestParts,
    followed: { readonly conditions: TableConditions; readonly networks: Iterable<Uuid> },
  ) {
    this.applied = JSON.stringify(followed.conditions);
    for (const uuid of followed.networks) this.neededAt.set(uuid, parts.clock.now());
  }

  /** Whether every endpoint and address of a network is in the view, or on its way there. */
  follows(network: NetworkRow): boolean {
    return this.neededAt.has(network.uuid);
  }

  /**
   * Resolves when every endpoint and address of the network, or of the pool and its network, is in the view. Throws
   * `unavailable` if that takes longer than a transaction may.
   */
  follow({ network, pool }: Followed): Promise<void> {
    const { view, clock } = this.parts;
    const networkRow = network === undefined ? undefined : view.network(network);
    const poolRow = pool === undefined ? undefined : view.pool(pool);
    const rows = [networkRow, poolRow && wholeOf(view, poolRow)].filter((row) => row !== undefined);
    const isFollowed = rows.every(({ uuid }) => this.neededAt.has(uuid));
    for (const { uuid } of rows) this.neededAt.set(uuid, clock.now());
    return this.inTime(isFollowed ? this.settling : this.adjust());
  }

  private inTime(promise: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const message = `the DaoliNet database did not answer within ${TRANSACTION_TIMEOUT_MS / 1000} s: try again`;
      const expire = () => reject(new DaoliError('unavailable', message));
      const cancel = this.parts.clock.after(TRANSACTION_TIMEOUT_MS, expire);
      void promise.then(resolve).finally(cancel);
    });
  }

  /** The view has changed. */
  take(changes: readonly DirectoryChange[]): void {
    const [waiting] = this.parts.waiting();
    if (waiting !== undefined || changes.some((change) => this.matters(change))) void this.adjust();
  }

  /** Resolves when the view has all that this host needs. */
  async settle(): Promise<void> {
    for (let settling = this.adjust(); ; settling = this.settling) {
      await settling;
      if (settling === this.settling) return;
    }
  }

  /** The same, within the time that a transaction may take: throws `unavailable` after it. */
  whenSettled(): Promise<void> {
    return this.inTime(this.settle());
  }

  stop(): void {
    this.cancelNarrowing();
  }

  private matters(change: DirectoryChange): boolean {
    const { host } = this.parts;
    const row = change.kind === 'delete' ? change.previous : change.row;
    switch (change.table) {
      case 'Host':
        return (row as { name: string }).name === host;
      case 'Pool':
      case 'Network':
      case 'Group':
      case 'Pair':
      case 'Policy':
      case 'FirewallRule':
        return true;
      case 'Address':
        return (row as { holders: readonly string[] }).holders.includes(host);
      case 'Endpoint':
        return this.isInCharge((row as { host: string }).host);
      case 'Switch':
        return standsBy(change, host);
      default:
        return false;
    }
  }

  private isInCharge(of: string): boolean {
    const { host, view } = this.parts;
    return of === host || view.switchOf(of)?.backups.includes(host) === true;
  }

  /** Resolves when the view is what it should be as things are now. */
  private adjust(): Promise<void> {
    const { host, view, clock, waiting, apply } = this.parts;
    const now = clock.now();
    const needed: ReadonlySet<NetworkRow | PoolRow> = new Set([...neededBy(view, host), ...waiting()]);
    for (const { uuid } of needed) this.neededAt.set(uuid, now);
    for (const [uuid, at] of this.neededAt) if (now - at >= LINGER_MS) this.neededAt.delete(uuid);
    this.narrowLater(now);
    const conditions = conditionsOf(needsOf(view, host, new Set(this.neededAt.keys())));
    const text = JSON.stringify(conditions);
    if (text !== this.applied) {
      this.applied = text;
      this.settling = apply(conditions);
    }
    return this.settling;
  }

  private narrowLater(now: number): void {
    this.cancelNarrowing();
    const oldest = Math.min(...this.neededAt.values());
    if (oldest === Infinity) return;
    this.cancelNarrowing = this.parts.clock.after(Math.max(oldest + LINGER_MS - now, 0), () => void this.adjust());
  }
}

/** Whether the host stands by, or did before the change. */
function standsBy(change: DirectoryChange & { readonly table: 'Switch' }, host: string): boolean {
  const now = change.kind === 'delete' ? undefined : change.row;
  const before = change.kind === 'insert' ? undefined : change.previous;
  return now?.backups.includes(host) !== before?.backups.includes(host);
}
