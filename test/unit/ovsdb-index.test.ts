// The index of a replica against a plain search through all rows.
import fc from 'fast-check';
import type { Uuid } from '../../src/ovsdb/notation';
import { RowIndex } from '../../src/ovsdb/row-index';
import type { StoredRow } from '../../src/ovsdb/rows';

const few = fc.constantFrom('', 'a', 'b', '1:a', 'undefined;');
const optional = fc.constantFrom(undefined, '', 'a', 'undefined');
const row = fc.record({ id: fc.nat(4), name: few, alias: optional, tags: fc.uniqueArray(few), gone: fc.boolean() });

function holds(value: unknown, wanted: unknown): boolean {
  return Array.isArray(value) ? value.includes(wanted) : value === wanted;
}

test.each([[['name']], [['alias']], [['tags']], [['name', 'alias']], [['alias', 'name']]])(
  'by %j: rows that come, change and go are found as a search finds them',
  (columns) => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 30 }), (steps) => {
        const rows = new Map<number, StoredRow>();
        const index = new RowIndex(columns);
        for (const { id, gone, ...values } of steps) {
          const next = gone ? undefined : ({ _uuid: `uuid-${id}` as Uuid, ...values } as StoredRow);
          index.replace(rows.get(id), next);
          if (next === undefined) rows.delete(id);
          else rows.set(id, next);
        }
        for (const a of ['', 'a', 'b', '1:a', 'undefined;', undefined]) {
          for (const b of ['', 'a', 'undefined', undefined]) {
            const key = [a, b].slice(0, columns.length);
            const expected = [...rows.values()].filter((one) =>
              columns.every((column, at) => holds(one[column], key[at])),
            );
            const byId = (one: StoredRow, other: StoredRow) => one._uuid.localeCompare(other._uuid);
            expect([...index.find(key)].sort(byId)).toEqual(expected.sort(byId));
          }
        }
      }),
    );
  },
);
