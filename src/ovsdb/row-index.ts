// An index over the rows of a replica: the values of one or more columns to the rows that have them. Nearly all keys
// have one row, so that one stands by itself and only several share an array.

import type { Uuid } from './notation';
import type { StoredRow } from './rows';

type Key = string | number | boolean | undefined;

export class RowIndex {
  private readonly rows = new Map<Key, StoredRow | Map<Uuid, StoredRow>>();

  constructor(private readonly columns: readonly string[]) {}

  find(key: readonly unknown[]): readonly StoredRow[] {
    const found = this.rows.get(joined(key));
    if (found === undefined) return [];
    return found instanceof Map ? [...found.values()] : [found];
  }

  /** Takes the old row out and the new one in; either may be missing. */
  replace(old: StoredRow | undefined, row: StoredRow | undefined): void {
    const keys = row === undefined ? [] : this.keysOf(row);
    if (old !== undefined) this.deleteOthers(old, keys);
    if (row !== undefined) for (const key of keys) this.set(key, row);
  }

  private keysOf(row: StoredRow): readonly Key[] {
    const values = this.columns.map((column) => row[column]);
    const [first] = values;
    return values.length === 1 && Array.isArray(first) ? (first as Key[]) : [joined(values)];
  }

  /** Keys that stay are overwritten: deleted and set again and again they would leave holes that slow down a Map. */
  private deleteOthers(old: StoredRow, keys: readonly Key[]): void {
    const kept = new Set(keys);
    for (const key of this.keysOf(old)) if (!kept.has(key)) this.delete(key, old);
  }

  private set(key: Key, row: StoredRow): void {
    const found = this.rows.get(key);
    if (found instanceof Map) found.set(row._uuid, row);
    else if (found === undefined || found._uuid === row._uuid) this.rows.set(key, row);
    else this.rows.set(key, new Map([found, row].map((one) => [one._uuid, one])));
  }

  private delete(key: Key, row: StoredRow): void {
    const found = this.rows.get(key);
    if (found instanceof Map) {
      found.delete(row._uuid);
      const [last] = found.size === 1 ? found.values() : [];
      if (last !== undefined) this.rows.set(key, last);
    } else if (found?._uuid === row._uuid) {
      this.rows.delete(key);
    }
  }
}

/** One value stands for itself; a tuple becomes a string in which no two tuples are alike. */
function joined(values: readonly unknown[]): Key {
  if (values.length === 1) return values[0] as Key;
  return values.map((value) => (typeof value === 'string' ? `${value.length}:${value}` : `${String(value)};`)).join('');
}
