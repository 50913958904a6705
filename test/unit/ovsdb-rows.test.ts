// Values, rows, conditions and mutations between JavaScript and wire.
import fc from 'fast-check';
import { InvalidValue, ProtocolError } from '../../src/ovsdb/errors';
import { named, type Uuid } from '../../src/ovsdb/notation';
import * as ops from '../../src/ovsdb/operations';
import { decodeRow, encodeOperation, encodeRow, tableOf } from '../../src/ovsdb/rows';
import { parseSchema, type ColumnType } from '../../src/ovsdb/schema';
import { applyDiff, decodeValue, defaultValue, encodeValue, sameValue } from '../../src/ovsdb/values';
import { LITTLE_SCHEMA } from '../ovs/little-schema';

const schema = parseSchema(LITTLE_SCHEMA);
const item = tableOf(schema, 'Item');
const UUID = '550e8400-e29b-41d4-a716-446655440000' as Uuid;

test('a row goes to wire by the types of its columns, and comes back', () => {
  const row = {
    name: 'n',
    size: 3,
    weight: 0.25,
    on: true,
    colour: 'red',
    tags: ['a', 'b'],
    labels: new Map([['k', 'v']]),
    counts: new Map([['x', 1]]),
    parent: UUID,
  };
  const wire = encodeRow(item, row);
  expect(wire).toEqual({
    name: 'n',
    size: 3,
    weight: 0.25,
    on: true,
    colour: 'red',
    tags: ['set', ['a', 'b']],
    labels: ['map', [['k', 'v']]],
    counts: ['map', [['x', 1]]],
    parent: ['uuid', UUID],
  });
  expect(decodeRow(item, JSON.parse(JSON.stringify(wire)))).toEqual(row);
});

test('an empty optional column is undefined; one element without its set is a set; an object is a map', () => {
  expect(encodeRow(item, { colour: undefined, parent: null, tags: 'a', labels: { k: 'v' } })).toEqual({
    colour: ['set', []],
    parent: ['set', []],
    tags: 'a',
    labels: ['map', [['k', 'v']]],
  });
  expect(decodeRow(item, { colour: ['set', []], tags: 'a', parent: ['set', [['uuid', UUID]]] })).toEqual({
    colour: undefined,
    tags: ['a'],
    parent: UUID,
  });
});

test.each<[string, object]>([
  ['an unknown column', { nothing: 1 }],
  ['a number for a string', { name: 1 }],
  ['a string for a number', { size: '1' }],
  ['a fraction for an integer', { size: 0.5 }],
  ['an integer that a double cannot hold', { size: 2 ** 53 }],
  ['an infinite real', { weight: Infinity }],
  ['nothing for a column that needs a value', { name: undefined }],
  ['two for an optional column', { colour: ['red', 'green'] }],
  ['no map', { labels: ['k', 'v'] }],
  ['a name where a uuid belongs', { parent: 'up' }],
])('%s is an InvalidValue that names the column', (_what, row) => {
  expect(() => encodeRow(item, row)).toThrow(InvalidValue);
  expect(() => encodeRow(item, row)).toThrow(Object.keys(row)[0]);
});

test.each<[string, unknown]>([
  ['name', 1],
  ['size', 'x'],
  ['size', 1.5],
  ['on', 1],
  ['colour', ['set', ['red', 'green']]],
  ['name', ['set', []]],
  ['tags', ['set']],
  ['labels', ['set', []]],
  ['labels', ['map', [['k']]]],
  ['parent', ['uuid', 'x']],
  ['parent', ['named-uuid', 'x']],
  ['parent', null],
  ['nothing', 1],
])('%s as %j from the server is a ProtocolError', (column, wire) => {
  expect(() => decodeRow(item, { [column]: wire })).toThrow(ProtocolError);
});

test('operations are encoded by the schema, references to rows of the same transaction included', () => {
  const encode = (operation: ReturnType<typeof ops.insert>) => encodeOperation(schema, operation);
  expect(encode(ops.insert('Item', { name: 'i', parent: named('up') }, { uuidName: 'one', uuid: UUID }))).toEqual({
    op: 'insert',
    table: 'Item',
    row: { name: 'i', parent: ['named-uuid', 'up'] },
    'uuid-name': 'one',
    uuid: UUID,
  });
  expect(encode(ops.select('Item', [['tags', 'includes', ['a', 'b']]], ['name']))).toEqual({
    op: 'select',
    table: 'Item',
    where: [['tags', 'includes', ['set', ['a', 'b']]]],
    columns: ['name'],
  });
  expect(encode(ops.select('Item', [['name', 'excludes', ['a', 'b']]]))).toMatchObject({
    where: [['name', 'excludes', ['set', ['a', 'b']]]],
  });
  expect(encode(ops.update('Item', ops.isRow(UUID), { size: 1 }))).toEqual({
    op: 'update',
    table: 'Item',
    where: [['_uuid', '==', ['uuid', UUID]]],
    row: { size: 1 },
  });
  expect(
    encode(
      ops.mutate(
        'Item',
        [],
        [
          ['size', '+=', 1],
          ['tags', 'insert', ['a']],
          ['labels', 'delete', ['k']],
          ['labels', 'delete', { k: 'v' }],
          ['labels', 'insert', new Map([['k', 'v']])],
        ],
      ),
    ),
  ).toMatchObject({
    mutations: [
      ['size', '+=', 1],
      ['tags', 'insert', ['set', ['a']]],
      ['labels', 'delete', ['set', ['k']]],
      ['labels', 'delete', ['map', [['k', 'v']]]],
      ['labels', 'insert', ['map', [['k', 'v']]]],
    ],
  });
  expect(encode(ops.wait('Item', [['name', '==', 'i']], [{ size: 1, parent: undefined }]))).toEqual({
    op: 'wait',
    table: 'Item',
    where: [['name', '==', 'i']],
    columns: ['size', 'parent'],
    until: '==',
    rows: [{ size: 1, parent: ['set', []] }],
    timeout: 0,
  });
  expect(
    [ops.commit(true), ops.abort(), ops.comment('c'), ops.assertLock('l'), ops.remove('Item', [])].map(encode),
  ).toEqual([
    { op: 'commit', durable: true },
    { op: 'abort' },
    { op: 'comment', comment: 'c' },
    { op: 'assert', lock: 'l' },
    { op: 'delete', table: 'Item', where: [] },
  ]);
  expect(() => encode(ops.remove('Nothing', []))).toThrow(InvalidValue);
});

const set = (min: number): ColumnType => ({ key: 'string', value: undefined, min, max: Infinity });
const map: ColumnType = { key: 'string', value: 'integer', min: 0, max: Infinity };

test('defaults are those of RFC 7047 §5.2.1', () => {
  const one = (key: ColumnType['key']): ColumnType => ({ key, value: undefined, min: 1, max: 1 });
  const types = [one('integer'), one('real'), one('boolean'), one('string'), one('uuid')];
  expect(types.map(defaultValue)).toEqual([0, 0, false, '', '00000000-0000-0000-0000-000000000000']);
  expect(defaultValue({ ...one('string'), min: 0 })).toBeUndefined();
  expect([defaultValue(set(0)), defaultValue(set(1)), defaultValue(map)]).toEqual([[], [''], new Map()]);
});

test('a difference leads from any set or map to any other', () => {
  const strings = fc.uniqueArray(fc.string());
  fc.assert(
    fc.property(strings, strings, (old, now) => {
      const diff = [...old.filter((x) => !now.includes(x)), ...now.filter((x) => !old.includes(x))];
      expect(sameValue(applyDiff(set(0), old, diff), now)).toBe(true);
    }),
  );
  const pairs = fc.uniqueArray(fc.tuple(fc.string(), fc.integer()), { selector: ([key]) => key });
  fc.assert(
    fc.property(pairs, pairs, (old, now) => {
      const before = new Map(old);
      const after = new Map(now);
      const gone = old.filter(([key]) => !after.has(key));
      const diff = new Map([...gone, ...now.filter(([key, value]) => before.get(key) !== value)]);
      expect(sameValue(applyDiff(map, before, diff), after)).toBe(true);
    }),
  );
});

test('what is encoded decodes to itself, and any JSON decodes or is a ProtocolError', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string()), (atoms) => {
      const wire: unknown = JSON.parse(JSON.stringify(encodeValue(set(0), atoms, 'x')));
      expect(decodeValue(set(0), wire)).toEqual(atoms);
    }),
  );
  const types = [...item.columns.values()];
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...types), (json, type) => {
      try {
        decodeValue(type, json);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});

test('a schema that has not the shape of RFC 7047 is a ProtocolError', () => {
  const column = (type: unknown) => ({ name: 'x', tables: { T: { columns: { c: { type } } } } });
  const bad = [
    1,
    [],
    {},
    { name: 'x' },
    { name: 'x', tables: { T: {} } },
    column('float'),
    column({ key: 'string', min: 'a' }),
  ];
  for (const json of [...bad, { name: 'x', tables: { T: { columns: { __proto: { type: 'string' } } } } }]) {
    expect(() => parseSchema(json)).toThrow(ProtocolError);
  }
  expect(
    parseSchema(column({ key: 'string', value: 'uuid', min: 0, max: 'unlimited' }))
      .tables.get('T')
      ?.columns.get('c'),
  ).toEqual({ key: 'string', value: 'uuid', min: 0, max: Infinity });
});
