// KeyedRows against a Map: the same answers after any sequence of calls, and an iteration that survives changes.
import fc from 'fast-check';
import { KeyedRows } from '../../src/directory/keyed-rows';

interface Row {
  readonly key: string;
  readonly n: number;
}
const make = () => new KeyedRows<string, Row>((row) => row.key);

test('answers as a Map does', () => {
  const key = fc.integer({ min: 0, max: 60 }).map((n) => `row-${n}`);
  const step = fc.oneof(
    fc.record({ verb: fc.constant('set' as const), key }),
    fc.record({ verb: fc.constant('delete' as const), key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const rows = make();
      const map = new Map<string, Row>();
      steps.forEach(({ verb, key }, n) => {
        if (verb === 'delete') expect(rows.delete(key)).toBe(map.delete(key));
        else {
          rows.set({ key, n });
          map.set(key, { key, n });
        }
        expect(rows.get(key)).toEqual(map.get(key));
        expect(rows.has(key)).toBe(map.has(key));
        expect(rows.size).toBe(map.size);
      });
      expect([...rows.keys()].sort()).toEqual([...map.keys()].sort());
      expect(new Set(rows.values())).toEqual(new Set(map.values()));
    }),
  );
});

test('numbers are keys, too, however they are spread', () => {
  const rows = new KeyedRows<number, { key: number }>((row) => row.key);
  const keys = Array.from({ length: 5000 }, (_, i) => (0x64400000 + i * 256) >>> 0);
  for (const key of keys) rows.set({ key });
  expect(keys.every((key) => rows.get(key)?.key === key)).toBe(true);
  expect(rows.get(7)).toBeUndefined();
});

test('who comes and goes without end takes no more room', () => {
  const rows = make();
  for (let n = 0; n < 10_000; n += 1) {
    rows.set({ key: `row-${n}`, n });
    if (n >= 5) rows.delete(`row-${n - 5}`);
  }
  expect(rows.size).toBe(5);
  expect((rows as unknown as { slots: unknown[] }).slots.length).toBe(16);
});

test('rows that stay are seen once, whatever happens during the iteration', () => {
  const rows = make();
  for (let n = 0; n < 100; n += 1) rows.set({ key: `row-${n}`, n });
  const seen: number[] = [];
  for (const { n } of rows.values()) {
    seen.push(n);
    if (n % 2 === 1) rows.delete(`row-${n}`);
    rows.set({ key: `new-${n}`, n: -1 });
  }
  const stayed = seen.filter((n) => n >= 0 && n % 2 === 0).sort((a, b) => a - b);
  expect(stayed).toEqual(Array.from({ length: 50 }, (_, i) => 2 * i));
});
