// Errors by meaning: one class for each error that RFC 7047 and ovsdb-server name, and those of the connection itself.
// All are OvsdbErrors; `code` is the server's own word ("constraint violation") or, for ours, a word of the same kind.

/** Where in a transaction an error stands. */
export interface FailedOperation {
  /** Its place in the transaction; the number of operations if the commit itself failed. */
  readonly index: number;
  /** "insert into Port", "commit". */
  readonly what: string;
}

export interface OvsdbErrorOptions {
  readonly details?: string | undefined;
  readonly operation?: FailedOperation | undefined;
  readonly cause?: unknown;
}

/** Base class, and the class of an error that has no class of its own. */
export class OvsdbError extends Error {
  readonly details: string | undefined;
  readonly operation: FailedOperation | undefined;

  constructor(
    readonly code: string,
    options: OvsdbErrorOptions = {},
  ) {
    const where = options.operation ? `${options.operation.what} (operation ${options.operation.index}): ` : '';
    super(where + code + (options.details ? `: ${options.details}` : ''), { cause: options.cause });
    this.name = new.target.name;
    this.details = options.details;
    this.operation = options.operation;
  }
}

/** A strong reference would point at a row that does not exist, or a referenced row would go. */
export class ReferentialIntegrityViolation extends OvsdbError {}
/** A value, a number of elements, a row count or a unique index is against the schema. */
export class ConstraintViolation extends OvsdbError {}
/** The result of a mutation has no meaning, as a division by zero. */
export class DomainError extends OvsdbError {}
/** The result of a mutation does not fit its type. */
export class NumberRangeError extends OvsdbError {}
/** A `wait` was not fulfilled in its time; with timeout 0: the compare of a compare-and-swap failed. */
export class TimedOut extends OvsdbError {}
/** The server cannot do it, as a durable commit. */
export class NotSupported extends OvsdbError {}
/** An `abort` operation was there. */
export class Aborted extends OvsdbError {}
/** An `assert` found that this client does not hold the lock. */
export class NotOwner extends OvsdbError {}
/** The database takes no such change, as one to _Server. */
export class NotAllowed extends OvsdbError {}
/** The server is out of memory, disk or another resource. */
export class ResourcesExhausted extends OvsdbError {}
/** The server could not write its file. The transaction may or may not be there after a restart. */
export class IoError extends OvsdbError {}
/** Two inserts of a transaction have the same uuid-name. */
export class DuplicateUuidName extends OvsdbError {}
/** An insert with a chosen uuid that is taken already. */
export class DuplicateUuid extends OvsdbError {}
export class UnknownDatabase extends OvsdbError {}
/** The server has the database but cannot serve it now. */
export class DatabaseNotAvailable extends OvsdbError {}
/** The transaction was cancelled before it was done. */
export class Canceled extends OvsdbError {}
/** Access control refused it. */
export class PermissionError extends OvsdbError {}
export class UnknownColumn extends OvsdbError {}
export class UnknownTable extends OvsdbError {}
/** The server could not read the request. */
export class RequestSyntaxError extends OvsdbError {}
/** The cluster could not commit, as after a loss of leadership. */
export class ClusterError extends OvsdbError {}
export class InternalError extends OvsdbError {}
/** The server does not know a method; it is older than the method. */
export class UnknownMethod extends OvsdbError {}

/** The peer sent what is not OVSDB, or not what was asked for. The connection is closed. */
export class ProtocolError extends OvsdbError {
  constructor(details: string, options: { cause?: unknown } = {}) {
    super('protocol error', { details, cause: options.cause });
  }
}
/** The connection was lost with this request in flight: whether it was carried out is unknown. */
export class ConnectionLost extends OvsdbError {
  constructor(details: string, options: { cause?: unknown } = {}) {
    super('connection lost', { details, cause: options.cause });
  }
}
/** There is no connection, so nothing was sent. */
export class NotConnected extends OvsdbError {
  constructor(details: string, options: { cause?: unknown } = {}) {
    super('not connected', { details, cause: options.cause });
  }
}
/** Too many requests are waiting for an answer, so this one was not sent. */
export class TooManyRequests extends OvsdbError {
  constructor(details: string) {
    super('too many requests', { details });
  }
}
/** A value does not fit its column, or the schema has no such table or column, so nothing was sent. */
export class InvalidValue extends OvsdbError {
  constructor(details: string) {
    super('invalid value', { details });
  }
}

type ErrorClass = new (code: string, options?: OvsdbErrorOptions) => OvsdbError;

const CLASSES: ReadonlyMap<string, ErrorClass> = new Map([
  ['referential integrity violation', ReferentialIntegrityViolation],
  ['constraint violation', ConstraintViolation],
  ['domain error', DomainError],
  ['range error', NumberRangeError],
  ['timed out', TimedOut],
  ['not supported', NotSupported],
  ['aborted', Aborted],
  ['not owner', NotOwner],
  ['not allowed', NotAllowed],
  ['resources exhausted', ResourcesExhausted],
  ['I/O error', IoError],
  ['duplicate uuid-name', DuplicateUuidName],
  ['duplicate uuid', DuplicateUuid],
  ['unknown database', UnknownDatabase],
  ['database not available', DatabaseNotAvailable],
  ['canceled', Canceled],
  ['permission error', PermissionError],
  ['unknown column', UnknownColumn],
  ['unknown table', UnknownTable],
  ['syntax error', RequestSyntaxError],
  ['cluster error', ClusterError],
  ['internal error', InternalError],
  ['ovsdb error', InternalError],
  ['unknown method', UnknownMethod],
]);

/**
 * The error that a server's `error` member means: an object `{error, details}` (RFC 7047 §3.1), or a bare string as in
 * the answer to a cancelled transaction.
 */
export function errorFromWire(wire: unknown, operation?: FailedOperation): OvsdbError {
  const members = typeof wire === 'object' && wire !== null ? (wire as Record<string, unknown>) : { error: wire };
  const code = typeof members['error'] === 'string' ? members['error'] : JSON.stringify(wire);
  const parts = [members['details'], members['syntax'] && `syntax ${JSON.stringify(members['syntax'])}`];
  const details = parts.filter((part) => typeof part === 'string').join(': ') || undefined;
  return new (CLASSES.get(code) ?? OvsdbError)(code, { details, operation });
}
