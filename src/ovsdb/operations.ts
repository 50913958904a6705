// Builders of the operations of RFC 7047 §5.2. They give plain data: build anywhere, look at it in tests, and hand it to
// Client.transact, which checks it against the schema. `Row` makes the compiler check a row's columns as well.

import type { Condition, Mutation, Operation, RowValues, Uuid } from './notation';

/** insert. `uuidName` lets other operations of the transaction name the row; `uuid` chooses it (OVS 2.13 and later). */
export function insert<Row extends object = RowValues>(
  table: string,
  row: Partial<Row>,
  id: { readonly uuidName?: string; readonly uuid?: Uuid } = {},
): Operation {
  return { op: 'insert', table, row, ...id };
}

/** select. All columns if none are named. Reading a replica is far cheaper: a select scans the table. */
export function select(table: string, where: readonly Condition[], columns?: readonly string[]): Operation {
  return { op: 'select', table, where, ...(columns && { columns }) };
}

/** update: sets the given columns of all rows that fulfil all conditions. */
export function update<Row extends object = RowValues>(
  table: string,
  where: readonly Condition[],
  row: Partial<Row>,
): Operation {
  return { op: 'update', table, where, row };
}

/** mutate: changes columns by their present value, as adding to a set. */
export function mutate(table: string, where: readonly Condition[], mutations: readonly Mutation[]): Operation {
  return { op: 'mutate', table, where, mutations };
}

/** delete. */
export function remove(table: string, where: readonly Condition[]): Operation {
  return { op: 'delete', table, where };
}

export interface WaitOptions {
  /** Default '=='. */
  readonly until?: '==' | '!=';
  /** The columns to compare; by default those of the first row. */
  readonly columns?: readonly string[];
  /** How long the server may hold the transaction, ms. Default 0, a compare-and-swap: it fails at once (TimedOut). */
  readonly timeoutMs?: number;
}

/** wait: the transaction goes on only if the rows that fulfil the conditions are (or are not) exactly these. */
export function wait<Row extends object = RowValues>(
  table: string,
  where: readonly Condition[],
  rows: ReadonlyArray<Partial<Row>>,
  options: WaitOptions = {},
): Operation {
  const { until = '==', timeoutMs: timeout = 0, columns = Object.keys(rows[0] ?? {}) } = options;
  return { op: 'wait', table, where, columns, until, rows, timeout };
}

/** commit. `durable` answers only after the data is on disk; in a cluster it always is. */
export function commit(durable: boolean): Operation {
  return { op: 'commit', durable };
}

/** abort: the transaction fails with Aborted. */
export function abort(): Operation {
  return { op: 'abort' };
}

/** comment: a text in the server's log. */
export function comment(text: string): Operation {
  return { op: 'comment', comment: text };
}

/** assert: fails with NotOwner unless this client holds the lock. */
export function assertLock(lock: string): Operation {
  return { op: 'assert', lock };
}

/** The condition that names one row. */
export function isRow(uuid: Uuid): readonly [Condition] {
  return [['_uuid', '==', uuid]];
}
