// One OpenFlow connection as a stream: frames in, one write for each event-loop turn out, echoes, and an end when the
// peer says nothing or breaks the protocol. It knows nothing of what the messages mean.

import type { Socket } from 'node:net';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import { OFPT } from '../openflow/constants';
import { encodeEcho } from '../openflow/echo';
import { MessageFramer } from '../openflow/message-framer';
import { MessageWriter } from '../openflow/message-writer';
import { ProtocolError } from '../openflow/protocol-error';

const SLAB_BYTES = 1024 * 1024;
/** Written at once, before the turn ends: larger slabs only make memory. */
const FLUSH_BYTES = 512 * 1024;
/** Over so much that the peer has not read its echoes go unanswered: it has enough to read to know that somebody is there. */
const MAX_UNREAD_BYTES = 1024 * 1024;
const LINGER_MS = 500;
const NO_DATA = Buffer.alloc(0);

/** Who takes what comes in. `message` may throw ProtocolError, which ends the connection. */
export interface ConnectionUser {
  /** A message of `length` bytes at `offset`, whole, valid during the call. Echoes are not handed on. */
  message(buffer: Buffer, offset: number, length: number): void;
  /** Before the messages of a chunk. */
  turn(): void;
  /** What was written has left the process. */
  drained(): void;
  /** Called once. `isViolation`: the peer broke the protocol. */
  closed(reason: string, isViolation: boolean): void;
}

export class Connection {
  /** Messages to send are appended here; `send` sees to the rest. */
  readonly writer = new MessageWriter(SLAB_BYTES);
  private readonly framer: MessageFramer;
  private isScheduled = false;
  private isClosed = false;
  private heardSinceProbe = true;
  private cancelProbe: () => void;

  constructor(
    private readonly socket: Socket,
    private readonly user: ConnectionUser,
    private readonly clock: Clock,
    private readonly inactivityProbeMs: number,
  ) {
    this.framer = new MessageFramer((buffer, offset, length) => this.receive(buffer, offset, length));
    socket.on('data', (chunk) => this.takeChunk(chunk));
    socket.on('drain', () => user.drained());
    socket.on('error', (error) => this.close(messageOf(error)));
    socket.on('close', () => this.close('the datapath closed the connection'));
    this.cancelProbe = this.armProbe();
  }

  /** Bytes that the datapath has not taken yet. */
  get queuedBytes(): number {
    return this.socket.writableLength + this.writer.pending;
  }

  /** Sends what was appended, at the end of this event-loop turn. */
  send(): void {
    if (this.writer.pending >= FLUSH_BYTES) return this.flush();
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush();
    });
  }

  /** Sends what was appended, now. */
  flush(): void {
    if (this.writer.pending === 0 || this.isClosed) return;
    const bytes = this.writer.take();
    this.socket.write(bytes, () => this.writer.release(bytes));
  }

  /** Ends the connection. Idempotent. */
  close(reason: string, isViolation = false): void {
    if (this.isClosed) return;
    this.flush();
    this.isClosed = true;
    this.cancelProbe();
    this.socket.destroySoon();
    // One that does not read what it is still sent would never end.
    this.clock.after(LINGER_MS, () => this.socket.destroy());
    this.user.closed(reason, isViolation);
  }

  private takeChunk(chunk: Buffer): void {
    if (this.isClosed) return;
    this.heardSinceProbe = true;
    this.user.turn();
    try {
      this.framer.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.close(error.message, true);
    }
    if (this.writer.pending > 0) this.send();
  }

  private receive(buffer: Buffer, offset: number, length: number): void {
    // What follows a message that ended the connection is not looked at.
    if (this.isClosed) return;
    const type = buffer[offset + 1];
    if (type === OFPT.ECHO_REQUEST) this.answerEcho(buffer, offset, length);
    else if (type !== OFPT.ECHO_REPLY) this.user.message(buffer, offset, length);
    if (this.writer.pending >= FLUSH_BYTES) this.flush();
  }

  private answerEcho(buffer: Buffer, offset: number, length: number): void {
    // Nobody stops reading of it, as Open vSwitch stops, too, while a hundred of its answers are unread.
    if (this.queuedBytes >= MAX_UNREAD_BYTES) return;
    const data = buffer.subarray(offset + 8, offset + length);
    encodeEcho(this.writer, buffer.readUInt32BE(offset + 4), { type: 'echoReply', data });
  }

  private armProbe(): () => void {
    return this.clock.after(this.inactivityProbeMs, () => this.probe());
  }

  private probe(): void {
    if (!this.heardSinceProbe) {
      return this.close(`the datapath said nothing for ${(2 * this.inactivityProbeMs) / 1000} s`);
    }
    this.heardSinceProbe = false;
    encodeEcho(this.writer, 0, { type: 'echoRequest', data: NO_DATA });
    this.flush();
    this.cancelProbe = this.armProbe();
  }
}
