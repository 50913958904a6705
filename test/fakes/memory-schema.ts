// What a <database-schema> (RFC 7047 §3.2) demands of values, read from its JSON: bounds, enums, references, mutability.

import { ConstraintViolation } from '../../src/ovsdb/errors';
import { parseSchema, type ColumnType, type DatabaseSchema } from '../../src/ovsdb/schema';

interface BaseType {
  readonly enum?: readonly ['set', readonly unknown[]];
  readonly minInteger?: number;
  readonly maxInteger?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly refTable?: string;
  readonly refType?: 'strong' | 'weak';
}

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly base: BaseType;
  readonly isMutable: boolean;
}

export interface Table {
  readonly name: string;
  readonly isRoot: boolean;
  readonly indexes: ReadonlyArray<readonly string[]>;
  readonly columns: ReadonlyMap<string, Column>;
  readonly strong: readonly Column[];
  readonly weak: readonly Column[];
}

interface ColumnJson {
  readonly type: string | { readonly key: string | BaseType };
  readonly mutable?: boolean;
}
type SchemaJson = { readonly tables: Record<string, { readonly columns: Record<string, ColumnJson> }> };

export function readTables(json: object): { schema: DatabaseSchema; tables: ReadonlyMap<string, Table> } {
  const schema = parseSchema(json);
  const tables = new Map<string, Table>();
  for (const [name, { columns, isRoot, indexes }] of schema.tables) {
    const parsed = new Map(
      [...columns]
        .filter(([column]) => !column.startsWith('_'))
        .map(([column, type]) => [
          column,
          readColumn(column, type, (json as SchemaJson).tables[name]?.columns[column]),
        ]),
    );
    const refs = (refType: string) =>
      [...parsed.values()].filter(({ base }) => base.refTable !== undefined && (base.refType ?? 'strong') === refType);
    tables.set(name, { name, isRoot, indexes, columns: parsed, strong: refs('strong'), weak: refs('weak') });
  }
  return { schema, tables };
}

function readColumn(name: string, type: ColumnType, json: ColumnJson | undefined): Column {
  const key = typeof json?.type === 'object' ? json.type.key : {};
  return { name, type, base: typeof key === 'object' ? key : {}, isMutable: json?.mutable !== false };
}

/** A value as a list of its atoms; of a map, its keys. */
export function atomsOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  if (value instanceof Map) return [...value.keys()];
  return Array.isArray(value) ? value : [value];
}

/** Throws ConstraintViolation where an atom is against its base type (RFC 7047 §3.2). */
export function checkAtoms({ name, base }: Column, value: unknown): void {
  for (const atom of atomsOf(value)) {
    const isListed = base.enum === undefined || base.enum[1].includes(atom);
    const size = typeof atom === 'string' ? [...atom].length : 0;
    const isLong = typeof atom !== 'string' || (size >= (base.minLength ?? 0) && size <= (base.maxLength ?? Infinity));
    const isIn =
      typeof atom !== 'number' || (atom >= (base.minInteger ?? -Infinity) && atom <= (base.maxInteger ?? Infinity));
    if (!isListed || !isLong || !isIn) {
      throw new ConstraintViolation('constraint violation', { details: `${name}: ${String(atom)} is not allowed` });
    }
  }
}
