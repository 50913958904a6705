// The slab: what is written comes out once, in order, and stays as it is until it is released.
import { OFPT, type PortNo } from '../../../src/openflow/constants';
import { decodeMessage, encodeMessage, type Message } from '../../../src/openflow/message';
import { MessageWriter } from '../../../src/openflow/message-writer';

const echo = (size: number, fill = 1): Message => ({ type: 'echoRequest', data: Buffer.alloc(size, fill) });

test('takes what was written since the last time', () => {
  const writer = new MessageWriter();
  expect(writer.take()).toHaveLength(0);
  encodeMessage(writer, 7, { type: 'barrierRequest' });
  expect(writer.pending).toBe(8);
  const first = writer.take();
  encodeMessage(writer, 8, echo(3));
  expect(first.toString('hex')).toBe('0514000800000007');
  expect(writer.take().toString('hex')).toBe('0502000b00000008010101');
  expect(writer.pending).toBe(0);
});

test('uses the slab again once everything that it lent is released', () => {
  const writer = new MessageWriter();
  const slab = writer.bytes;
  for (let i = 0; i < 1000; i++) {
    encodeMessage(writer, i, echo(1000));
    const one = writer.take();
    encodeMessage(writer, i, echo(1000));
    const two = writer.take();
    writer.release(one);
    writer.release(two);
  }
  expect(writer.bytes).toBe(slab);
  expect(writer.position).toBe(0);
});

test('never writes over what was lent and not released', () => {
  const writer = new MessageWriter();
  const lent = Array.from({ length: 200 }, (_, i) => {
    encodeMessage(writer, i, echo(4000, i));
    return writer.take();
  });
  lent.forEach((bytes, i) => expect(decodeMessage(bytes, 0, bytes.length)).toEqual(echo(4000, i)));
  // Of a slab that has been replaced: says nothing about the present one.
  encodeMessage(writer, 0, echo(9));
  lent.forEach((bytes) => writer.release(bytes));
  expect(writer.pending).toBe(17);
});

test('grows for what waits', () => {
  const writer = new MessageWriter();
  for (let i = 0; i < 50; i++) encodeMessage(writer, i, echo(60_000, i));
  const bytes = writer.take();
  expect(bytes).toHaveLength(50 * 60_008);
  expect(decodeMessage(bytes, 49 * 60_008, 60_008)).toEqual(echo(60_000, 49));
});

test('a message inside another stays with it when the slab is replaced', () => {
  const writer = new MessageWriter(1);
  const inner = echo(60_000);
  for (let i = 0; i < 5; i++) encodeMessage(writer, i, { type: 'bundleAdd', bundleId: i, flags: 3, message: inner });
  const bytes = writer.take();
  for (let i = 0; i < 5; i++) {
    const message = decodeMessage(bytes, i * 60_024, 60_024);
    expect(message).toEqual({ type: 'bundleAdd', bundleId: i, flags: 3, message: inner });
  }
});

test('refuses a message over 65,535 bytes, and the one around it', () => {
  const writer = new MessageWriter();
  encodeMessage(writer, 1, { type: 'barrierRequest' });
  expect(() => encodeMessage(writer, 2, echo(65_528))).toThrow(/65536 bytes/);
  expect(() => encodeMessage(writer, 2, echo(400_000))).toThrow(RangeError);
  const bundle: Message = { type: 'bundleAdd', bundleId: 1, flags: 3, message: echo(65_520) };
  expect(() => encodeMessage(writer, 3, bundle)).toThrow(RangeError);
  encodeMessage(writer, 4, echo(65_527));
  expect(writer.take()).toHaveLength(8 + 65_535);
});

test('drops a message whose encoder threw', () => {
  const writer = new MessageWriter();
  encodeMessage(writer, 1, { type: 'barrierRequest' });
  const flow: Message = { type: 'flowMod', command: 'add', table: 0, priority: 1, match: { inPort: -1 as PortNo } };
  expect(() => encodeMessage(writer, 2, flow)).toThrow('inPort: -1 does not fit 32 bits');
  expect(writer.take().toString('hex')).toBe('0514000800000001');
});

test.each([
  [{ nwTtl: 256 }, 'nwTtl: 256 does not fit 8 bits'],
  [{ ipDscp: 64 }, 'ipDscp: 64 does not fit 6 bits'],
  [{ ethSrc: 2 ** 48 }, 'ethSrc: 281474976710656 does not fit 48 bits'],
  [{ metadata: 1n << 64n }, 'metadata: 18446744073709551616 does not fit 64 bits'],
  [{ metadata: 5 }, 'metadata is a bigint, not a number'],
  [{ reg0: 5n }, 'reg0 is a number, not a bigint'],
])('refuses a value that does not fit its field: %p', (match, problem) => {
  const writer = new MessageWriter();
  const flow = { type: 'flowMod', command: 'add', table: 0, priority: 1, match } as unknown as Message;
  expect(() => encodeMessage(writer, 2, flow)).toThrow(problem);
});

test('counters and wide values keep every bit', () => {
  const writer = new MessageWriter();
  const start = writer.begin(OFPT.EXPERIMENTER, 0);
  writer.counter(2 ** 52 + 1);
  writer.counter(2 ** 64);
  writer.u48(0xa1b2c3d4e5f6);
  writer.u64(0x8102030405060708n);
  writer.u128(0xf0e0d0c0b0a090807060504030201001n);
  writer.end(start);
  expect(writer.take().subarray(8).toString('hex')).toBe(
    '0010000000000001' + 'ffffffffffffffff' + 'a1b2c3d4e5f6' + '8102030405060708' + 'f0e0d0c0b0a090807060504030201001',
  );
});
