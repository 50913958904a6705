// The splitter finds the same messages however the bytes are cut, in time linear in the bytes, and refuses the rest.
import fc from 'fast-check';
import { ProtocolError } from '../../src/ovsdb/errors';
import { JsonSplitter } from '../../src/ovsdb/framing';

function split(chunks: readonly Buffer[], maxBytes?: number): unknown[] {
  const texts: string[] = [];
  const splitter = new JsonSplitter((text) => texts.push(text), maxBytes);
  for (const chunk of chunks) splitter.push(chunk);
  return texts.map((text) => JSON.parse(text) as unknown);
}

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

const MESSAGES = [
  { id: 1, method: 'echo', params: [] },
  {
    id: null,
    result: [{ text: 'brackets ]}{[ in a string, a \\" quote and a \\ backslash at its end \\' }],
    error: null,
  },
  { id: 2, result: ['é', '€', '😀', '\u0000\n'], error: null },
  {},
];
const BYTES = Buffer.from(MESSAGES.map((message) => JSON.stringify(message)).join(''));

test('whole, byte by byte, two in a chunk, and cut anywhere, characters of several bytes included', () => {
  expect(split([BYTES])).toEqual(MESSAGES);
  expect(split(cut(BYTES, 1))).toEqual(MESSAGES);
  for (let at = 0; at <= BYTES.length; at += 1) {
    expect(split([BYTES.subarray(0, at), BYTES.subarray(at)])).toEqual(MESSAGES);
  }
});

test('white space between messages, and chunks that are empty, mean nothing', () => {
  expect(split([Buffer.from(' {"a":1}\r\n\t'), Buffer.alloc(0), Buffer.from('  {"b":2} ')])).toEqual([
    { a: 1 },
    { b: 2 },
  ]);
});

test('any messages, cut anywhere', () => {
  const messages = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 4 });
  fc.assert(
    fc.property(messages, fc.integer({ min: 1, max: 20 }), (objects, size) => {
      const bytes = Buffer.from(objects.map((object) => JSON.stringify(object)).join(' '));
      expect(split(cut(bytes, size))).toEqual(JSON.parse(JSON.stringify(objects)));
    }),
  );
});

test.each([
  ['no object', '[1]'],
  ['text outside of an object', '{}x'],
  ['nested too deep', '{"a":' + '['.repeat(1000)],
  ['not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])],
])('%s is a ProtocolError', (_name, bytes) => {
  expect(() => split([Buffer.from(bytes as string)])).toThrow(ProtocolError);
});

test('messages before a bad one are handed on', () => {
  const texts: string[] = [];
  const splitter = new JsonSplitter((text) => texts.push(text));
  expect(() => splitter.push(Buffer.from('{"a":1}!'))).toThrow(ProtocolError);
  expect(texts).toEqual(['{"a":1}']);
});

test('a message over the bound is a ProtocolError before it is complete; one of just that size passes', () => {
  const message = Buffer.from(JSON.stringify({ text: 'x'.repeat(100) }));
  expect(split([message], message.length)).toHaveLength(1);
  expect(split(cut(message, 7), message.length)).toHaveLength(1);
  expect(() => split([message], message.length - 1)).toThrow(ProtocolError);
  expect(() => split([Buffer.from('{"'), Buffer.alloc(200, 0x78)], 100)).toThrow(ProtocolError);
});

test('random bytes give messages or one ProtocolError', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (chunks) => {
      try {
        const splitter = new JsonSplitter((text) => expect(text.startsWith('{')).toBe(true));
        for (const chunk of chunks) splitter.push(Buffer.from(chunk));
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
      }
    }),
  );
});

test('6 MB in chunks of a TCP segment cost about what they cost in one', () => {
  const row = { uuid: ['uuid', '550e8400-e29b-41d4-a716-446655440000'], name: 'endpoint ü', ports: ['set', [1, 2, 3]] };
  const bytes = Buffer.from(JSON.stringify({ id: 1, result: Array.from({ length: 60_000 }, () => row), error: null }));
  expect(bytes.length).toBeGreaterThan(6_000_000);
  const whole = [bytes];
  const segments = cut(bytes, 1448);
  const timeOf = (chunks: readonly Buffer[]) => {
    const start = performance.now();
    let texts = 0;
    const splitter = new JsonSplitter(() => (texts += 1));
    for (const chunk of chunks) splitter.push(chunk);
    expect(texts).toBe(1);
    return performance.now() - start;
  };
  // Alternating, and the best of each: what else the machine does only adds to a time. Twice is the aim; copying the rest for
  // each segment would cost a thousand times.
  const best = { whole: Infinity, segments: Infinity };
  for (let round = 0; round < 7; round += 1) {
    best.whole = Math.min(best.whole, timeOf(whole));
    best.segments = Math.min(best.segments, timeOf(segments));
  }
  expect(best.segments / best.whole).toBeLessThan(6);
});
