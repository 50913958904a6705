// Messages that Open vSwitch's own programs sent: decoded they are the models written by hand, encoded again they are the
// same bytes, and flows print as OVS prints them. However a stream is cut, the messages are the same.
import { errorName } from '../../src/openflow/error';
import { formatFlow, formatFlowMod, parseFlow } from '../../src/openflow/flow-text';
import { speaksOpenFlow14 } from '../../src/openflow/hello';
import { decodeMessage, encodeMessage, messageXid, type Message } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import { PacketInView, isPacketIn2 } from '../../src/openflow/packet-in-view';
import { models, partialModels } from './openflow-models';
import { bytesOf, vectorNamed, vectors } from './vectors';

const decode = (bytes: Buffer) => decodeMessage(bytes, 0, bytes.length);

function encode(message: Message, xid: number): Buffer {
  const writer = new MessageWriter();
  encodeMessage(writer, xid, message);
  return Buffer.from(writer.take());
}

/** Where ours differs: CONTROLLER2 where OVS still takes NXAST_CONTROLLER, and fields that have no name here come last. */
const NOT_BYTE_FOR_BYTE = ['flow mod add: controller by reason', 'flow mod add: foreign match'];

describe.each(vectors.map((vector) => [vector.name, vector] as const))('%s', (name, vector) => {
  const bytes = bytesOf(vector);

  test('decodes to its model', () => {
    const message = decode(bytes);
    if (models[name] !== undefined) expect(message).toEqual(models[name]);
    else if (partialModels[name] !== undefined) expect(message).toMatchObject(partialModels[name]);
    else expect(name).toMatch(/^flow mod add: /);
  });

  test('encodes to the same bytes', () => {
    const again = encode(decode(bytes), messageXid(bytes, 0));
    if (!NOT_BYTE_FOR_BYTE.includes(name)) expect(again.toString('hex')).toBe(vector.hex);
    expect(decode(again)).toEqual(decode(bytes));
  });

  test('comes whole, byte by byte, and two in a chunk', () => {
    const seen: Message[] = [];
    const framer = new MessageFramer((buffer, offset, length) => seen.push(decodeMessage(buffer, offset, length)));
    framer.push(bytes);
    for (let at = 0; at < bytes.length; at++) framer.push(bytes.subarray(at, at + 1));
    framer.push(Buffer.concat([bytes, bytes]));
    const half = bytes.length >> 1;
    framer.push(Buffer.concat([bytes, bytes.subarray(0, half)]));
    framer.push(Buffer.concat([bytes.subarray(half), bytes]));
    expect(seen).toEqual(Array<Message>(7).fill(decode(bytes)));
  });

  test('keeps no reference to the bytes that it came from', () => {
    const copy = Buffer.from(bytes);
    const message = decode(copy);
    copy.fill(0xee);
    expect(message).toEqual(decode(bytes));
  });
});

describe('text', () => {
  const foreign = /foreign/;
  const flowMods = vectors.filter(({ name }) => name.startsWith('flow mod') && !foreign.test(name));

  test.each(flowMods.map((vector) => [vector.name, vector] as const))('of %s is that of ovs-ofctl', (_name, vector) => {
    const message = decode(bytesOf(vector));
    if (message.type !== 'flowMod') throw new Error('a flow mod');
    expect(`OFPT_FLOW_MOD (OF1.4): ${formatFlowMod(message)}`).toBe(vector.text);
    expect(parseFlow(formatFlow(message))).toEqual(message);
  });

  test("of what other people's flows hold survives", () => {
    for (const { hex } of vectors.filter(({ name }) => foreign.test(name))) {
      const message = decode(Buffer.from(hex, 'hex'));
      if (message.type !== 'flowMod') throw new Error('a flow mod');
      expect(parseFlow(formatFlow(message))).toEqual(message);
    }
  });

  test('of listed flows is that of ovs-ofctl', () => {
    const vector = vectors.find(({ name }) => name === 'flow stats reply');
    const message = decode(vectorNamed('flow stats reply'));
    if (message.type !== 'flowStatsReply') throw new Error('a reply');
    const printed = message.flows.map((flow) => formatFlow({ command: 'add', ...flow }));
    const theirs = (vector?.text ?? '')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().replace(/cookie=0x0, |duration=\S+, |table=0, |n_packets=0, |n_bytes=0, /g, ''));
    // The vector keeps the first 2,000 characters of the text.
    const whole = theirs.slice(0, -1);
    expect(whole.length).toBeGreaterThan(3);
    expect(printed.slice(0, whole.length)).toEqual(whole);
  });

  test('of errors is their name', () => {
    const names = vectors
      .filter(({ name }) => name.startsWith('error'))
      .map(({ hex, text }) => [errorName(decode(Buffer.from(hex, 'hex')) as never), text.split('\n')[0]]);
    for (const [ours, theirs] of names) expect(theirs).toBe(`OFPT_ERROR (OF1.4): ${ours}`);
  });
});

test('both sides of a recorded connection speak OpenFlow 1.4', () => {
  for (const name of ['hello of ovs-ofctl', 'hello of ovs-vswitchd']) {
    expect(speaksOpenFlow14(models[name] as never)).toBe(true);
  }
  expect(speaksOpenFlow14({ type: 'hello', version: 4 })).toBe(false);
  expect(speaksOpenFlow14({ type: 'hello', version: 6 })).toBe(true);
  expect(speaksOpenFlow14({ type: 'hello', version: 6, versions: [1, 4, 6] })).toBe(false);
});

test('the view of a packet-in says what its model says', () => {
  const view = new PacketInView();
  for (const vector of vectors.filter(({ name }) => name.startsWith('packet in 2'))) {
    const bytes = bytesOf(vector);
    // Somewhere inside a larger chunk.
    const chunk = Buffer.concat([Buffer.alloc(13, 0xaa), bytes, Buffer.alloc(7, 0xbb)]);
    const message = decode(bytes);
    if (message.type !== 'packetIn2') throw new Error('a packet-in');
    expect(isPacketIn2(chunk, 13, bytes.length)).toBe(true);
    view.decode(chunk, 13, bytes.length);
    const slice = (offset: number, length: number) => chunk.subarray(offset, offset + length);
    expect({
      type: 'packetIn2',
      reason: view.reason,
      tableId: view.tableId,
      cookie: (BigInt(view.cookieHi) << 32n) | BigInt(view.cookieLo),
      fullLength: view.fullLength,
      fields: {
        inPort: view.inPort,
        ...(view.regs[0] ? { reg0: view.regs[0], reg7: view.regs[7] } : {}),
        ...(view.hasMetadata ? { metadata: (BigInt(view.metadataHi) << 32n) | BigInt(view.metadataLo) } : {}),
      },
      ...(view.userdataLength ? { userdata: slice(view.userdataOffset, view.userdataLength) } : {}),
      ...(view.continuationLength ? { continuation: slice(view.continuationOffset, view.continuationLength) } : {}),
      data: slice(view.packetOffset, view.packetLength),
    }).toEqual(message);
  }
  expect(isPacketIn2(vectorNamed('packet in'), 0, 96)).toBe(false);
});
