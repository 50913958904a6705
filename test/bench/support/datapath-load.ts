// Datapaths as a controller sees them, many in one process: they greet, have no flows, take whatever they are sent, and
// keep a window of packet-ins outstanding. A packet-out is the end of one decision.

import { connect, type Socket } from 'node:net';
import { OFPMP, OFPT, OFP_VERSION } from '../../../src/openflow/constants';
import { encodeMessage, messageType, messageXid } from '../../../src/openflow/message';
import { MessageFramer } from '../../../src/openflow/message-framer';
import { MessageWriter } from '../../../src/openflow/message-writer';

export interface LoadOptions {
  readonly path: string;
  readonly datapathId: string;
  readonly packetIns: { readonly bytes: Buffer; readonly length: number };
  readonly window: number;
}

export class DatapathLoad {
  packetOuts = 0;
  flowMods = 0;
  /** Nanoseconds of each decision, where the window is one. */
  readonly latencies: number[] = [];
  isMeasuringLatency = false;
  private readonly socket: Socket;
  private readonly writer = new MessageWriter();
  private isRunning = false;
  private next = 0;
  private due = 0;
  private sentAt = 0n;
  private becomeReady: () => void = () => undefined;
  /** Resolves when the controller has programmed the datapath. */
  readonly ready = new Promise<void>((resolve) => (this.becomeReady = resolve));

  constructor(private readonly options: LoadOptions) {
    this.socket = connect(options.path);
    const framer = new MessageFramer((buffer, offset) => this.take(buffer, offset));
    this.socket.on('data', (chunk) => {
      framer.push(chunk);
      if (this.due > 0) this.send();
      this.flush();
    });
    encodeMessage(this.writer, 0, { type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
    this.flush();
  }

  /** Fills the window. */
  run(): void {
    this.isRunning = true;
    this.due = this.options.window;
    this.send();
  }

  stop(): void {
    this.isRunning = false;
    this.socket.destroy();
  }

  private flush(): void {
    if (this.writer.pending > 0) this.socket.write(Buffer.from(this.writer.take()));
  }

  private take(buffer: Buffer, offset: number): void {
    const type = messageType(buffer, offset);
    if (type === OFPT.PACKET_OUT) {
      this.packetOuts += 1;
      if (this.isRunning) this.due += 1;
      if (this.isMeasuringLatency) this.latencies.push(Number(process.hrtime.bigint() - this.sentAt));
    } else if (type === OFPT.FLOW_MOD) this.flowMods += 1;
    else this.answer(type, buffer, offset);
  }

  private answer(type: number, buffer: Buffer, offset: number): void {
    const xid = messageXid(buffer, offset);
    const reply = (message: Parameters<typeof encodeMessage>[2]) => encodeMessage(this.writer, xid, message);
    if (type === OFPT.FEATURES_REQUEST) {
      const datapathId = BigInt(`0x${this.options.datapathId}`);
      reply({ type: 'featuresReply', datapathId, bufferCount: 0, tableCount: 254, auxiliaryId: 0, capabilities: 0 });
    } else if (type === OFPT.MULTIPART_REQUEST) {
      const isFlows = buffer.readUInt16BE(offset + 8) === OFPMP.FLOW;
      reply(
        isFlows
          ? { type: 'flowStatsReply', more: false, flows: [] }
          : { type: 'meterConfigReply', more: false, meters: [] },
      );
    } else if (type === OFPT.BARRIER_REQUEST) {
      reply({ type: 'barrierReply' });
      this.becomeReady();
    } else if (type === OFPT.ECHO_REQUEST) reply({ type: 'echoReply', data: Buffer.alloc(0) });
  }

  /** Sends as many packet-ins as have come to their end, in one piece of what was made before. */
  private send(): void {
    const { bytes, length } = this.options.packetIns;
    while (this.due > 0) {
      const count = Math.min(this.due, (bytes.length - this.next) / length);
      const from = this.next;
      this.due -= count;
      this.next = (from + count * length) % bytes.length;
      this.sentAt = process.hrtime.bigint();
      this.socket.write(bytes.subarray(from, from + count * length));
    }
  }
}
