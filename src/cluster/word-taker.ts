// The words of other hosts, as they come in: a connection a host, and no more of its words than the packets of a port may
// cause. What is more stays unread for a while, so that no host takes this one's time.

import type { TLSSocket } from 'node:tls';
import type { Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import { TokenBucket } from '../base/token-bucket';
import type { HostRow } from '../directory/rows';
import { WordReader, type RouteWord } from './words';

/** How long a host is not read that has said too much. */
const PAUSE_MS = 200;
/** A sender ends a connection that it does not use long before. */
export const SILENCE_MS = 10 * 60_000;

export interface WordTakerParts {
  /** Does what a host says, which has this router MAC at this moment. */
  readonly take: (routerMac: Mac, word: RouteWord) => void;
  /** Undefined: it is no host of the cluster any more. */
  readonly hostRow: (name: string) => HostRow | undefined;
  /** Of one host, and as many at once. */
  readonly wordsPerSecond: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A host that talks, or did a moment ago. */
interface Talker {
  readonly bucket: TokenBucket;
  socket: TLSSocket | undefined;
}

export class WordTaker {
  private readonly talkers = new Map<string, Talker>();
  /** Of hosts that have sent what is no word. */
  private readonly problems = new Map<string, ProblemLog>();
  /** Words that were too many. */
  dropped = 0;

  constructor(private readonly parts: WordTakerParts) {}

  /** A host came in, and who it is was checked. Its connection before this one ends. */
  accept(socket: TLSSocket, host: string): void {
    const talker = this.talkerOf(host);
    talker.socket?.destroy();
    talker.socket = socket;
    const reader = new WordReader((word) => this.hear(host, talker, word));
    socket.setNoDelay(true);
    socket.setTimeout(SILENCE_MS, () => socket.destroy());
    socket.on('data', (chunk: Buffer) => this.read(socket, reader, host, chunk));
    socket.on('close', () => this.forget(host, talker, socket));
  }

  private talkerOf(host: string): Talker {
    const { wordsPerSecond: rate, clock } = this.parts;
    const talker = this.talkers.get(host) ?? { bucket: new TokenBucket(rate, rate, clock.now()), socket: undefined };
    this.talkers.set(host, talker);
    return talker;
  }

  private read(socket: TLSSocket, reader: WordReader, host: string, chunk: Buffer): void {
    const { dropped } = this;
    try {
      reader.push(chunk);
    } catch (error) {
      this.complain(host, messageOf(error));
      socket.destroy();
      return;
    }
    if (this.dropped === dropped) return;
    socket.pause();
    this.parts.clock.after(PAUSE_MS, () => socket.resume());
  }

  /** What only a later version knows counts as well. */
  private hear(host: string, { bucket }: Talker, word: RouteWord | undefined): void {
    const { clock, hostRow, take } = this.parts;
    const row = bucket.take(clock.now()) ? hostRow(host) : undefined;
    if (row === undefined) this.dropped += 1;
    else if (word !== undefined) take(row.routerMac, word);
  }

  /** Once its bucket is full again nothing is left of it. Until then, coming anew fills none. */
  private forget(host: string, talker: Talker, socket: TLSSocket): void {
    if (talker.socket !== socket) return;
    talker.socket = undefined;
    this.parts.clock.after(1_000, () => {
      if (talker.socket === undefined && this.talkers.get(host) === talker) this.talkers.delete(host);
    });
  }

  private complain(host: string, problem: string): void {
    const { clock, logger, hostRow } = this.parts;
    for (const name of this.problems.keys()) if (hostRow(name) === undefined) this.problems.delete(name);
    const log = this.problems.get(host) ?? new ProblemLog(clock, logger);
    this.problems.set(host, log);
    log.report('a host sends what is no word', { host, problem });
  }
}
