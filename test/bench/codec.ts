// What one packet-in costs the codec: read, two flow mods and the packet-out written, and each of these alone.
import { parseIpv4, parseMac } from '../../src/base/addresses';
import { output, setField } from '../../src/openflow/action';
import { OFPP, type PortNo } from '../../src/openflow/constants';
import { encodeFlowMod, type FlowMod } from '../../src/openflow/flow-mod';
import { decodeMessage } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import { encodePacketIn2 } from '../../src/openflow/packet-in';
import { PacketInView } from '../../src/openflow/packet-in-view';
import { encodePacketOut } from '../../src/openflow/packet-out';
import { compileTemplate } from '../../src/openflow/template';
import { PacketView } from '../../src/packet/packet-view';
import { median, printTable, writeJson } from './support/report';

// Many short rounds: on a machine with other work, the shortest of them are those that nothing interrupted.
const ROUNDS = 60;
const BATCH = 20_000;

interface RouteValues {
  readonly cookieHi: number;
  readonly cookieLo: number;
  readonly inPort: number;
  readonly nwSrc: number;
  readonly nwDst: number;
  readonly ethSrc: number;
  readonly ethDst: number;
  readonly outPort: number;
}

function routeFlow(values: RouteValues): FlowMod {
  return {
    type: 'flowMod',
    command: 'add',
    table: 2,
    priority: 100,
    cookie: (BigInt(values.cookieHi) << 32n) | BigInt(values.cookieLo),
    idleTimeoutSeconds: 60,
    flags: 1,
    match: {
      inPort: values.inPort as PortNo,
      ethType: 0x0800,
      ipv4Src: values.nwSrc as never,
      ipv4Dst: values.nwDst as never,
    },
    actions: [
      setField('ethSrc', values.ethSrc as never),
      setField('ethDst', values.ethDst as never),
      output(values.outPort as PortNo),
    ],
  };
}

const route = compileTemplate(
  { cookieHi: 4, cookieLo: 4, inPort: 4, nwSrc: 4, nwDst: 4, ethSrc: 6, ethDst: 6, outPort: 4 },
  (writer, values) => encodeFlowMod(writer, 0, routeFlow(values)),
);
const packetOut = compileTemplate({ inPort: 4, ethSrc: 6, ethDst: 6, outPort: 4 }, (writer, values) =>
  encodePacketOut(writer, 0, {
    type: 'packetOut',
    inPort: values.inPort as PortNo,
    actions: [
      setField('ethSrc', values.ethSrc as never),
      setField('ethDst', values.ethDst as never),
      output(values.outPort as PortNo),
    ],
    data: Buffer.alloc(0),
  }),
);

const values: RouteValues = {
  cookieHi: 0xda010203,
  cookieLo: 0x04050607,
  inPort: 3,
  nwSrc: parseIpv4('10.1.0.2'),
  nwDst: parseIpv4('10.1.0.3'),
  ethSrc: parseMac('02:42:0a:00:00:01'),
  ethDst: parseMac('02:42:0a:01:00:03'),
  outPort: 4,
};

// A SYN with its options: 74 bytes.
const frame = Buffer.from(
  '02420a01000102420a01000208004500003cfabd400040062bf80a0100020a020002927e1f90340a2607000000' +
    '00a002faf0163c0000020405b40402080a1111111100000000010303070000',
  'hex',
).subarray(0, 74);

function packetInBytes(): Buffer {
  const writer = new MessageWriter();
  encodePacketIn2(writer, 0, {
    type: 'packetIn2',
    reason: 1,
    tableId: 2,
    cookie: 0xda01020304050607n,
    fullLength: frame.length,
    fields: { inPort: 3 as PortNo, reg0: 1, reg1: 2, metadata: 7n },
    userdata: Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]),
    data: frame,
  });
  return Buffer.from(writer.take());
}

const packetIn = packetInBytes();
const view = new PacketInView();
const packet = new PacketView();
const writer = new MessageWriter(1024 * 1024);

/** Every so often what was written is taken and given back, as after a write(). */
function flush(): void {
  if (writer.pending > 256 * 1024) writer.release(writer.take());
}

function appendRoute(): void {
  const at = route.append(writer);
  const { place } = route;
  place.cookieHi.put(writer, at, values.cookieHi);
  place.cookieLo.put(writer, at, values.cookieLo);
  place.inPort.put(writer, at, values.inPort);
  place.nwSrc.put(writer, at, values.nwSrc);
  place.nwDst.put(writer, at, values.nwDst);
  place.ethSrc.put(writer, at, values.ethSrc);
  place.ethDst.put(writer, at, values.ethDst);
  place.outPort.put(writer, at, values.outPort);
}

function appendPacketOut(source: Buffer, offset: number, length: number): void {
  const at = packetOut.appendWith(writer, source, offset, length);
  const { place } = packetOut;
  place.inPort.put(writer, at, values.inPort);
  place.ethSrc.put(writer, at, values.ethSrc);
  place.ethDst.put(writer, at, values.ethDst);
  place.outPort.put(writer, at, OFPP.LOCAL);
}

function decide(buffer: Buffer, offset: number, length: number): void {
  view.decode(buffer, offset, length);
  packet.parse(buffer, view.packetOffset, view.packetLength, view.fullLength);
  appendRoute();
  appendRoute();
  appendPacketOut(buffer, view.packetOffset, view.packetLength);
  flush();
}

const framer = new MessageFramer(decide);
// As a socket gives them: 64 kB chunks that cut messages anywhere.
const stream = Buffer.concat(Array<Buffer>(Math.ceil((64 * 1024 * 8) / packetIn.length)).fill(packetIn));
const chunks = Array.from({ length: Math.ceil(stream.length / 65536) }, (_, i) =>
  stream.subarray(i * 65536, (i + 1) * 65536),
);
const perStream = stream.length / packetIn.length;

const flow = routeFlow(values);
const flowBytes = (() => {
  const own = new MessageWriter();
  encodeFlowMod(own, 0, flow);
  return Buffer.from(own.take());
})();

/** Each measure: how often its body does the thing in one call. */
const measures: readonly [string, number, () => void][] = [
  ['packet-in decoded', 1, () => view.decode(packetIn, 0, packetIn.length)],
  ['packet parsed', 1, () => packet.parse(frame, 0, frame.length)],
  ['flow mod from template', 1, () => (appendRoute(), flush())],
  ['packet-out of 74 bytes from template', 1, () => (appendPacketOut(frame, 0, frame.length), flush())],
  ['flow mod encoded from its model', 1, () => (encodeFlowMod(writer, 0, flow), flush())],
  ['flow mod decoded to its model', 1, () => void decodeMessage(flowBytes, 0, flowBytes.length)],
  ['packet-in decoded to its model', 1, () => void decodeMessage(packetIn, 0, packetIn.length)],
  [
    'decision: framed, decoded, parsed, two flow mods, packet-out',
    perStream,
    () => chunks.forEach((chunk) => framer.push(chunk)),
  ],
];

function nanosecondsOf(times: number, body: () => void): number {
  const calls = Math.max(1, Math.round(BATCH / times));
  const start = process.hrtime.bigint();
  for (let i = 0; i < calls; i++) body();
  return Number(process.hrtime.bigint() - start) / (calls * times);
}

const results = measures.map(() => [] as number[]);
for (let round = 0; round < ROUNDS; round++) {
  measures.forEach(([, times, body], i) => results[i]?.push(nanosecondsOf(times, body)));
}
const rows = measures.map(([measure], i) => ({
  measure,
  'best, ns': Math.min(...(results[i] ?? [])),
  'median, ns': median(results[i] ?? []),
}));
printTable(`codec: a flow mod of ${route.bytes.length} bytes, a packet-in of ${packetIn.length}`, rows);
writeJson({ rows });
