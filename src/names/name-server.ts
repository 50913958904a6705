// DNS (RFC 1035) for containers of this host: over UDP and TCP, on an address of daoli0 that only they reach. Who asks is known by
// the locator that the question comes from, which the datapath does not let anybody forge.

import { decode, encode, type Packet, type Question } from 'dns-packet';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import { formatIpv4, parseIpv4, type Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import type { DirectoryStore } from '../directory/store';
import { resolve } from './resolver';

const PORT = 53;
/** What changes is known within milliseconds, and a container that moved is elsewhere at once. */
const TTL_SECONDS = 1;
const RCODE = { SUCCESS: 0, FORMAT_ERROR: 1, NO_SUCH_NAME: 3, NOT_IMPLEMENTED: 4, REFUSED: 5 } as const;
const AUTHORITATIVE = 1 << 10;
const RECURSION_DESIRED = 1 << 8;
const RETRY_MS = 10_000;
const MAX_CONNECTIONS = 256;
const IDLE_MS = 5_000;

export interface NameServerOptions {
  readonly address: Ipv4;
  readonly port?: number;
  readonly store: DirectoryStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class NameServer {
  private udp: UdpSocket | undefined;
  private tcp: Server | undefined;
  private cancelRetry = (): void => undefined;
  private isStopped = false;
  private reported = '';

  constructor(private readonly options: NameServerOptions) {}

  /** Listens, again and again until it can: another program may have the port. Idempotent. */
  async start(): Promise<void> {
    if (this.udp !== undefined || this.isStopped) return;
    try {
      await Promise.all([this.listenUdp(), this.listenTcp()]);
    } catch (error) {
      this.close();
      if (messageOf(error) !== this.reported) {
        this.reported = messageOf(error);
        const problem = 'names of containers on other hosts cannot be answered yet';
        this.options.logger.error(problem, { address: formatIpv4(this.options.address), error: this.reported });
      }
      this.cancelRetry = this.options.clock.after(RETRY_MS, () => void this.start());
    }
  }

  stop(): void {
    this.isStopped = true;
    this.cancelRetry();
    this.close();
  }

  private close(): void {
    this.udp?.close();
    this.tcp?.close();
    this.udp = undefined;
    this.tcp = undefined;
  }

  private listenUdp(): Promise<void> {
    const { address, port = PORT } = this.options;
    const socket = createSocket('udp4');
    this.udp = socket;
    socket.on('message', (message, from) => {
      const answer = this.answer(message, parseIpv4(from.address));
      if (answer !== undefined) socket.send(answer, from.port, from.address, () => undefined);
    });
    return new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.bind(port, formatIpv4(address), () => resolve());
    });
  }

  private listenTcp(): Promise<void> {
    const { address, port = PORT } = this.options;
    const server = createServer((socket) => this.serve(socket));
    server.maxConnections = MAX_CONNECTIONS;
    this.tcp = server;
    return new Promise((resolve, reject) => {
      server.on('error', reject);
      server.listen(port, formatIpv4(address), () => resolve());
    });
  }

  /** One question after another, each behind its length (RFC 1035, 4.2.2). */
  private serve(socket: Socket): void {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined) return void socket.destroy(); // it has gone already
    const from = parseIpv4(remoteAddress);
    let pending = Buffer.alloc(0);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
        const end = 2 + pending.readUInt16BE(0);
        const answer = this.answer(pending.subarray(2, end), from);
        pending = pending.subarray(end);
        if (answer === undefined) return void socket.destroy();
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([length, answer]));
      }
    });
  }

  /** Undefined for what is no question at all. */
  private answer(message: Buffer, from: Ipv4): Buffer | undefined {
    try {
      return this.answerQuestion(decode(message), from);
    } catch {
      return undefined;
    }
  }

  private answerQuestion(packet: Packet & { opcode?: string }, from: Ipv4): Buffer | undefined {
    if (packet.type !== 'query') return undefined;
    const [question, more] = packet.questions ?? [];
    if (question === undefined || more !== undefined) return reply(packet, RCODE.FORMAT_ERROR);
    if (packet.opcode !== 'QUERY') return reply(packet, RCODE.NOT_IMPLEMENTED);
    return this.resolve(packet, question, from);
  }

  private resolve(packet: Packet, { name, type, class: family }: Question, from: Ipv4): Buffer {
    const { view, host } = this.options.store;
    if (family !== undefined && family !== 'IN') return reply(packet, RCODE.REFUSED);
    const answer = resolve(view, host, from, name);
    if (answer.kind === 'not-ours') return reply(packet, RCODE.REFUSED);
    if (answer.kind === 'no-such-name') return reply(packet, RCODE.NO_SUCH_NAME);
    // The name is there, but has nothing of another type: IPv6 addresses, say.
    const addresses = type === 'A' || String(type) === 'ANY' ? answer.addresses : [];
    return reply(
      packet,
      RCODE.SUCCESS,
      addresses.map((address) => ({ type: 'A', name, ttl: TTL_SECONDS, data: formatIpv4(address) })),
    );
  }
}

function reply(query: Packet, code: number, answers: NonNullable<Packet['answers']> = []): Buffer {
  const { id, questions, flags = 0 } = query;
  return encode({
    type: 'response',
    id: id ?? 0,
    flags: AUTHORITATIVE | (flags & RECURSION_DESIRED) | code,
    questions: questions ?? [],
    answers,
  });
}
