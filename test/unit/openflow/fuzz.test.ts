// Random bytes, and recorded messages with bytes changed, give a message or one ProtocolError, nothing else; and what
// they give survives being encoded and decoded again.
import fc from 'fast-check';
import { bytesOf, vectors } from '../../golden/vectors';
import { decodeMessage, encodeMessage, type Message } from '../../../src/openflow/message';
import { MessageFramer } from '../../../src/openflow/message-framer';
import { MessageWriter } from '../../../src/openflow/message-writer';
import { PacketInView, isPacketIn2 } from '../../../src/openflow/packet-in-view';
import { ProtocolError } from '../../../src/openflow/protocol-error';

const small = vectors.map(bytesOf).filter((bytes) => bytes.length < 2000);
const change = fc.tuple(fc.nat(300), fc.oneof(fc.constantFrom(0, 1, 4, 8, 0x7f, 0x80, 0xff), fc.nat(255)));

/** A recorded message with some bytes changed, cut or made longer; its header's length mostly agrees. */
const mutated = fc
  .tuple(fc.constantFrom(...small), fc.array(change, { maxLength: 5 }), fc.nat(40), fc.nat(16), fc.boolean())
  .map(([bytes, changes, cut, more, honest]) => {
    const length = Math.max(8, bytes.length - (cut % 5 === 0 ? cut : 0));
    const copy = Buffer.concat([bytes.subarray(0, length), Buffer.alloc(more % 3 === 0 ? more : 0, 0xff)]);
    for (const [at, value] of changes) if (at < copy.length && at !== 0) copy[at] = value;
    if (honest) copy.writeUInt16BE(copy.length, 2);
    return copy;
  });
const random = fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const randomBody = fc.tuple(fc.nat(40), fc.uint8Array({ maxLength: 200 })).map(([type, body]) => {
  const bytes = Buffer.concat([Buffer.from([5, type, 0, 0, 0, 0, 0, 0]), body]);
  bytes.writeUInt16BE(bytes.length, 2);
  return bytes;
});

/** The messages of a stream and the error that ended it. Anything but a ProtocolError comes out. */
function decodeAll(bytes: Buffer): Message[] {
  const messages: Message[] = [];
  const view = new PacketInView();
  const framer = new MessageFramer((buffer, offset, length) => {
    messages.push(decodeMessage(buffer, offset, length));
    if (isPacketIn2(buffer, offset, length)) view.decode(buffer, offset, length);
  });
  try {
    framer.push(bytes);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  return messages;
}

test('bytes give messages or a ProtocolError', () => {
  fc.assert(
    fc.property(fc.oneof({ weight: 6, arbitrary: mutated }, random, { weight: 2, arbitrary: randomBody }), (bytes) => {
      for (const message of decodeAll(bytes)) {
        const writer = new MessageWriter();
        encodeMessage(writer, 1, message);
        const again = Buffer.from(writer.take());
        expect(decodeMessage(again, 0, again.length)).toEqual(message);
      }
    }),
    { numRuns: 5_000 },
  );
});

test('the view refuses what the model refuses', () => {
  const packetIns = small.filter((bytes) => isPacketIn2(bytes, 0, bytes.length));
  const view = new PacketInView();
  fc.assert(
    fc.property(fc.constantFrom(...packetIns), fc.array(change, { maxLength: 4 }), (bytes, changes) => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) if (at >= 16 && at < copy.length) copy[at] = value;
      let refused = false;
      try {
        decodeMessage(copy, 0, copy.length);
      } catch {
        refused = true;
      }
      try {
        view.decode(copy, 0, copy.length);
        expect(view.packetOffset + view.packetLength).toBeLessThanOrEqual(copy.length);
        expect(view.userdataOffset + view.userdataLength).toBeLessThanOrEqual(copy.length);
      } catch (error) {
        expect(error).toBeInstanceOf(ProtocolError);
        // The model reads everything, the view only what it needs.
        expect(refused).toBe(true);
      }
    }),
    { numRuns: 5000 },
  );
});
