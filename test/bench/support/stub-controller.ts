// The least that a controller can do: it greets, and answers every packet-in with the same bytes, as many as ours sends,
// without looking at it. What it reaches is what sockets and Node allow.

import { createServer, type Server, type Socket } from 'node:net';
import { OFPT, OFP_VERSION } from '../../../src/openflow/constants';
import { encodeMessage, messageType } from '../../../src/openflow/message';
import { MessageFramer } from '../../../src/openflow/message-framer';
import { MessageWriter } from '../../../src/openflow/message-writer';

export function startStub(path: string, answer: Buffer): Server {
  return createServer((socket) => serve(socket, answer)).listen(path);
}

function serve(socket: Socket, answer: Buffer): void {
  const writer = new MessageWriter(1024 * 1024);
  let isScheduled = false;
  const flush = () => {
    isScheduled = false;
    const bytes = writer.take();
    socket.write(bytes, () => writer.release(bytes));
  };
  const framer = new MessageFramer((buffer, offset) => {
    const type = messageType(buffer, offset);
    if (type === OFPT.EXPERIMENTER) {
      writer.reserve(answer.length);
      writer.bytes.set(answer, writer.position);
      writer.position += answer.length;
    } else if (type === OFPT.HELLO) {
      encodeMessage(writer, 0, { type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
      encodeMessage(writer, 1, { type: 'barrierRequest' });
    }
  });
  socket.on('data', (chunk) => {
    framer.push(chunk);
    if (writer.pending === 0 || isScheduled) return;
    isScheduled = true;
    setImmediate(flush);
  });
  socket.on('error', () => undefined);
}
