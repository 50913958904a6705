// A template with its places put is what the encoder writes for the same values.
import fc from 'fast-check';
import type { Ipv4, Mac } from '../../../src/base/addresses';
import { output, setField } from '../../../src/openflow/action';
import type { PortNo } from '../../../src/openflow/constants';
import { encodeFlowMod, type FlowMod } from '../../../src/openflow/flow-mod';
import { decodeMessage } from '../../../src/openflow/message';
import { MessageWriter } from '../../../src/openflow/message-writer';
import { encodePacketOut } from '../../../src/openflow/packet-out';
import { compileTemplate } from '../../../src/openflow/template';

const PLACES = { xid: 4, table: 1, idle: 2, cookieHi: 4, cookieLo: 4, inPort: 4, src: 4, mac: 6 } as const;
type Values = Record<keyof typeof PLACES, number>;

const flow = (values: Values): FlowMod => ({
  type: 'flowMod',
  command: 'add',
  table: values.table,
  priority: 7,
  cookie: (BigInt(values.cookieHi) << 32n) | BigInt(values.cookieLo),
  idleTimeoutSeconds: values.idle,
  match: { inPort: values.inPort as PortNo, ethType: 0x0800, ipv4Src: values.src as Ipv4 },
  // The source stands in two fields.
  actions: [setField('ethDst', values.mac as Mac), setField('ipv4Dst', values.src as Ipv4), output(4 as PortNo)],
});

const compiled = compileTemplate(PLACES, (writer, values) => encodeFlowMod(writer, values.xid, flow(values)));

const u32 = fc.nat(0xffffffff);
const anyValues = fc.record({
  xid: u32,
  table: fc.nat(255),
  idle: fc.nat(65535),
  cookieHi: u32,
  cookieLo: u32,
  inPort: u32,
  src: u32,
  mac: fc.nat(2 ** 48 - 1),
});

test('patched, it is what the encoder writes', () => {
  fc.assert(
    fc.property(fc.array(anyValues, { minLength: 1, maxLength: 4 }), (list) => {
      const [patched, encoded] = [new MessageWriter(), new MessageWriter()];
      for (const values of list) {
        const at = compiled.append(patched);
        for (const name of Object.keys(PLACES) as (keyof Values)[]) {
          compiled.place[name].put(patched, at, values[name]);
        }
        encodeFlowMod(encoded, values.xid, flow(values));
      }
      expect(patched.take().toString('hex')).toBe(encoded.take().toString('hex'));
    }),
  );
  expect(compiled.place.src.offsets).toHaveLength(2);
});

test('two messages in one template', () => {
  const both = compileTemplate({ a: 4, b: 4 }, (writer, { a, b }) => {
    encodeFlowMod(writer, 1, { type: 'flowMod', command: 'add', table: 0, priority: 1, match: { reg0: a, reg1: b } });
    encodeFlowMod(writer, 1, { type: 'flowMod', command: 'add', table: 0, priority: 1, match: { reg0: b, reg1: a } });
  });
  expect(both.place.a.offsets).toHaveLength(2);
  const writer = new MessageWriter();
  const at = both.append(writer);
  both.place.a.put(writer, at, 5);
  both.place.b.put(writer, at, 6);
  const bytes = writer.take();
  const length = bytes.length / 2;
  const matches = [0, length]
    .map((offset) => decodeMessage(bytes, offset, length))
    .map((each) => (each as FlowMod).match);
  expect(matches).toEqual([
    { reg0: 5, reg1: 6 },
    { reg0: 6, reg1: 5 },
  ]);
});

test('a packet follows a packet-out, short and long', () => {
  const encode = (inPort: number, data: Buffer) => (writer: MessageWriter) =>
    encodePacketOut(writer, 9, { type: 'packetOut', inPort: inPort as PortNo, actions: [output(4 as PortNo)], data });
  const template = compileTemplate({ inPort: 4 }, (writer, { inPort }) => encode(inPort, Buffer.alloc(0))(writer));
  for (const size of [0, 1, 47, 48, 49, 1514]) {
    const frame = Buffer.from(Array.from({ length: size }, (_, i) => i & 255));
    const chunk = Buffer.concat([Buffer.alloc(5), frame, Buffer.alloc(5)]);
    const [patched, encoded] = [new MessageWriter(), new MessageWriter()];
    template.place.inPort.put(patched, template.appendWith(patched, chunk, 5, size), 3);
    encode(3, frame)(encoded);
    expect(patched.take().toString('hex')).toBe(encoded.take().toString('hex'));
  }
});

test.each<[string, (writer: MessageWriter, values: { x: number }) => void, string]>([
  ['stands nowhere', (writer) => writer.u32(5), 'place x stands nowhere in the message'],
  ['is cut', (writer, { x }) => writer.u16(x), 'is not stored as 4 bytes at offset 0'],
  ['is computed with', (writer, { x }) => writer.u32(x + 1), 'is not stored as 4 bytes'],
  ['changes the length', (writer, { x }) => writer.zeros(x === 0 ? 4 : 5), 'changes the length'],
])('a place that %s is refused', (_name, write, problem) => {
  expect(() => compileTemplate({ x: 4 }, write)).toThrow(problem);
});
