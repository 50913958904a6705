// Cutting a stream: any cut gives the same messages, and a bad header ends it with one error.
import fc from 'fast-check';
import { MessageFramer } from '../../../src/openflow/message-framer';
import { ProtocolError } from '../../../src/openflow/protocol-error';

function message(length: number, fill: number): Buffer {
  const bytes = Buffer.alloc(length, fill);
  bytes.writeUInt32BE(0x05020000 | length, 0);
  return bytes;
}

function framed(chunks: readonly Buffer[]): string[] {
  const seen: string[] = [];
  const framer = new MessageFramer((buffer, offset, length) => {
    seen.push(buffer.subarray(offset, offset + length).toString('hex'));
  });
  for (const chunk of chunks) framer.push(chunk);
  return seen;
}

test('any cut gives the same messages', () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 8, max: 40 }), fc.integer({ min: 4000, max: 9000 })), {
    minLength: 1,
    maxLength: 12,
  });
  fc.assert(
    fc.property(lengths, fc.array(fc.nat(20_000), { maxLength: 20 }), (sizes, cuts) => {
      const messages = sizes.map((size, i) => message(size, i));
      const stream = Buffer.concat(messages);
      const edges = [0, ...cuts.map((cut) => cut % stream.length).sort((a, b) => a - b), stream.length];
      const chunks = edges.slice(1).map((edge, i) => stream.subarray(edges[i], edge));
      expect(framed(chunks)).toEqual(messages.map((each) => each.toString('hex')));
    }),
    { numRuns: 200 },
  );
});

test('the longest message, byte by byte', () => {
  const longest = message(65_535, 3);
  const chunks = Array.from(longest, (_, at) => longest.subarray(at, at + 1));
  expect(framed([...chunks, ...chunks])).toEqual(Array(2).fill(longest.toString('hex')));
});

test('messages inside a chunk are not copied', () => {
  const chunk = Buffer.concat([message(20, 1), message(30, 2)]);
  const buffers: Buffer[] = [];
  new MessageFramer((buffer) => buffers.push(buffer)).push(chunk);
  expect(buffers).toEqual([chunk, chunk]);
  expect(buffers.every((buffer) => buffer === chunk)).toBe(true);
});

test.each([
  ['another version', '04020008', 'version 4 in a connection of version 5'],
  ['no OpenFlow', '47455420', 'version 71'],
  ['a length under 8', '05020007', 'length 7'],
  ['length 0', '05020000', 'length 0'],
])('%s ends the stream, and goes on ending it', (_name, head, problem) => {
  for (const cut of [1, 4, 8]) {
    const seen: number[] = [];
    const framer = new MessageFramer((_buffer, _offset, length) => seen.push(length));
    const bytes = Buffer.concat([message(9, 0), Buffer.from(`${head}00000000`, 'hex')]);
    framer.push(bytes.subarray(0, 9));
    expect(() => {
      for (let at = 9; at < bytes.length; at += cut) framer.push(bytes.subarray(at, at + cut));
    }).toThrow(problem);
    expect(seen).toEqual([9]);
    expect(() => framer.push(message(9, 0))).toThrow(ProtocolError);
    expect(seen).toEqual([9]);
  }
});

test('a hello and an error may be of any version', () => {
  const hello = Buffer.from('0600000800000001', 'hex');
  const error = Buffer.from('0401000c0000000100000000', 'hex');
  expect(framed([hello, error])).toHaveLength(2);
});

test('what the handler throws comes out, once', () => {
  const seen: number[] = [];
  const framer = new MessageFramer((_buffer, _offset, length) => {
    if (length === 10) throw new Error('of the handler');
    seen.push(length);
  });
  expect(() => framer.push(message(10, 0))).toThrow('of the handler');
  const straddling = message(10, 0);
  framer.push(straddling.subarray(0, 5));
  expect(() => framer.push(straddling.subarray(5))).toThrow('of the handler');
  framer.push(message(11, 0));
  expect(seen).toEqual([11]);
});
