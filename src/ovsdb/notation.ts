// The notation of RFC 7047 as types: what stands on the wire, and beside it the JavaScript values that this client
// gives and takes instead. Which of them a column has is in schema.ts; rows.ts converts.
//
// Integers are 64 bits wide in OVSDB and doubles in JavaScript: one beyond ±(2^53 − 1) loses its low digits when it is
// read, and is refused when it is written.

declare const brand: unique symbol;
/** A row's uuid, 36 characters in lower case. */
export type Uuid = string & { readonly [brand]: 'Uuid' };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function isUuid(text: unknown): text is Uuid {
  return typeof text === 'string' && UUID.test(text);
}

export const ZERO_UUID = '00000000-0000-0000-0000-000000000000' as Uuid;

// The wire (RFC 7047 §5.1).
export type WireUuid = readonly ['uuid', string];
export type WireNamedUuid = readonly ['named-uuid', string];
export type WireAtom = string | number | boolean | WireUuid | WireNamedUuid;
export type WireSet = readonly ['set', readonly WireAtom[]];
export type WireMap = readonly ['map', ReadonlyArray<readonly [WireAtom, WireAtom]>];
export type WireValue = WireAtom | WireSet | WireMap;
export type WireRow = Readonly<Record<string, WireValue>>;

/** Stands for a row that the same transaction inserts with this name (<named-uuid>). */
export class NamedUuid {
  constructor(readonly name: string) {}
}

/** A reference to the row that an insert of the same transaction with `uuidName: name` makes. */
export function named(name: string): NamedUuid {
  return new NamedUuid(name);
}

/** An <atom>; uuids are strings, told apart by the column's type. */
export type Atom = string | number | boolean | NamedUuid;
/**
 * A <value>. A column of exactly one atom takes that atom; an optional one (min 0, max 1) also undefined; a set an
 * array; a map a Map or a plain object. Read values are the same, with maps as Map.
 */
export type Value = Atom | readonly Atom[] | ReadonlyMap<Atom, Atom> | { readonly [key: string]: Atom } | undefined;

/** <function> of RFC 7047 §5.1. */
export type ConditionFunction = '<' | '<=' | '==' | '!=' | '>=' | '>' | 'includes' | 'excludes';
/** <condition>. The column may be `_uuid` or `_version`. */
export type Condition = readonly [column: string, fn: ConditionFunction, value: Value];
/** <mutator> of RFC 7047 §5.1. */
export type Mutator = '+=' | '-=' | '*=' | '/=' | '%=' | 'insert' | 'delete';
/** <mutation>. `delete` on a map takes a map of pairs, or an array of keys. */
export type Mutation = readonly [column: string, mutator: Mutator, value: Value];

/** A row's values by column, as they are written. Undefined empties an optional column. */
export type RowValues = Readonly<Record<string, Value>>;

/** <operation> (RFC 7047 §5.2) with JavaScript values: plain data, made by the builders of operations.ts. */
export type Operation =
  | {
      readonly op: 'insert';
      readonly table: string;
      readonly row: object;
      readonly uuidName?: string;
      readonly uuid?: Uuid;
    }
  | {
      readonly op: 'select';
      readonly table: string;
      readonly where: readonly Condition[];
      readonly columns?: readonly string[];
    }
  | { readonly op: 'update'; readonly table: string; readonly where: readonly Condition[]; readonly row: object }
  | {
      readonly op: 'mutate';
      readonly table: string;
      readonly where: readonly Condition[];
      readonly mutations: readonly Mutation[];
    }
  | { readonly op: 'delete'; readonly table: string; readonly where: readonly Condition[] }
  | {
      readonly op: 'wait';
      readonly table: string;
      readonly where: readonly Condition[];
      readonly columns: readonly string[];
      readonly until: '==' | '!=';
      readonly rows: readonly object[];
      /** Milliseconds that the server may hold the transaction; 0 makes it a compare-and-swap. */
      readonly timeout: number;
    }
  | { readonly op: 'commit'; readonly durable: boolean }
  | { readonly op: 'abort' }
  | { readonly op: 'comment'; readonly comment: string }
  | { readonly op: 'assert'; readonly lock: string };

/** What one operation gave: `uuid` of an insert, `count` of update, mutate and delete, `rows` of a select. */
export interface OperationResult {
  readonly uuid?: Uuid;
  readonly count?: number;
  readonly rows?: ReadonlyArray<Readonly<Record<string, unknown>>>;
}
