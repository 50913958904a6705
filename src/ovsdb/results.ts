// The answer to a transaction (RFC 7047 §4.1.3): one result an operation, or somewhere among them what went wrong.

import { errorFromWire, ProtocolError } from './errors';
import { isUuid, type Operation, type OperationResult } from './notation';
import { decodeRow, tableOf } from './rows';
import type { DatabaseSchema } from './schema';

/** The results by operation. Throws the error of the operation, or of the commit (one more element), that failed. */
export function decodeResults(
  schema: DatabaseSchema,
  operations: readonly Operation[],
  results: unknown,
): OperationResult[] {
  if (!Array.isArray(results)) throw new ProtocolError('the answer to a transaction is no array');
  results.forEach((result: unknown, index) => {
    if (typeof result !== 'object' || result === null || !('error' in result) || result.error === null) return;
    throw errorFromWire(result, { index, what: describe(operations[index]) });
  });
  if (results.length !== operations.length) throw new ProtocolError('a transaction with too few or too many results');
  return operations.map((operation, index) => decodeResult(schema, operation, results[index]));
}

function describe(operation: Operation | undefined): string {
  if (operation === undefined) return 'commit';
  return 'table' in operation ? `${operation.op} ${operation.table}` : operation.op;
}

function decodeResult(schema: DatabaseSchema, operation: Operation, json: unknown): OperationResult {
  const { uuid, count, rows } = (json ?? {}) as { uuid?: unknown; count?: unknown; rows?: unknown };
  if (operation.op === 'insert') {
    const id: unknown = Array.isArray(uuid) ? uuid[1] : undefined;
    if (!isUuid(id)) throw new ProtocolError('an insert without its uuid');
    return { uuid: id };
  }
  if (operation.op === 'select' && Array.isArray(rows)) {
    return { rows: rows.map((row) => decodeRow(tableOf(schema, operation.table), row)) };
  }
  return typeof count === 'number' ? { count } : {};
}
