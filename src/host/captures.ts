// What passes an interface, recorded by tcpdump, as bytes of a capture file for whoever asked. Each ends by itself; a few at a
// time. tcpdump ends with the agent, whatever becomes of that: a shell beside it waits for the end of its standard input.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { Captures, CaptureSpec, CaptureSummary, RunningCapture } from './host';
import { checkInterfaceName } from './links';
import type { ByteProcess, Runner } from './runner';

export const MAX_CAPTURES = 4;
const START_MS = 5_000;
/** For tcpdump to say what it has seen, after it was told to end. */
const END_MS = 2_000;
const MAX_WORDS = 4_096;
/** KiB for packets that tcpdump has not read yet: some 250, where its own 2 MiB hold 30, as each may be a segment of 64 kB. */
const BUFFER_KIB = 16_384;
/** Words of pcap-filter(7): no option, no quote, nothing for a shell, though none reads it. */
const FILTER = /^[\w.:/[\]()&|!=<>+* -]{0,1000}$/;

/** Its output is the capture's alone, and ends with tcpdump. */
const SCRIPT = `exec 3>&1 >/dev/null
tcpdump "$@" >&3 3>&- &
exec 3>&-
read -r end
kill -TERM $! 2>/dev/null
wait $!`;

export class TcpdumpCaptures implements Captures {
  private readonly running = new Set<{ stop(): void; readonly ended: Promise<unknown> }>();

  constructor(
    private readonly runner: Runner,
    private readonly clock: Clock,
  ) {}

  async start(spec: CaptureSpec): Promise<RunningCapture> {
    const args = tcpdumpArguments(spec);
    if (this.running.size >= MAX_CAPTURES) {
      const message = `${MAX_CAPTURES} captures run on this host already: wait for one to end`;
      throw new DaoliError('exhausted', message);
    }
    const capture = new Capture(this.runner, this.clock, args, spec.seconds);
    this.running.add(capture);
    void capture.ended.finally(() => this.running.delete(capture));
    await capture.started;
    return capture;
  }

  /** Ends all of them; resolves when they have. */
  async stop(): Promise<void> {
    const running = [...this.running];
    for (const capture of running) capture.stop();
    await Promise.all(running.map(({ ended }) => ended));
  }
}

class Capture implements RunningCapture {
  readonly started: Promise<void>;
  readonly ended: Promise<CaptureSummary>;
  private readonly process: ByteProcess;
  private words = '';
  private isStopping = false;
  private isListening!: () => void;
  private hasFailed!: (error: DaoliError) => void;
  private hasEnded!: (summary: CaptureSummary) => void;
  private cancel: () => void;

  constructor(
    runner: Runner,
    private readonly clock: Clock,
    args: readonly string[],
    seconds: number,
  ) {
    this.started = new Promise((resolve, reject) => {
      this.isListening = resolve;
      this.hasFailed = reject;
    });
    this.ended = new Promise((resolve) => (this.hasEnded = resolve));
    this.process = runner.stream('sh', ['-c', SCRIPT, 'sh', ...args], {
      onStderr: (text) => this.hear(text, seconds),
      onExit: (reason) => this.exit(reason),
    });
    // It has ended by itself, or whoever read has left.
    this.process.output.on('error', () => this.stop());
    this.process.output.on('close', () => this.stop());
    this.cancel = clock.after(START_MS, () => this.stop());
  }

  get output(): RunningCapture['output'] {
    return this.process.output;
  }

  /** Idempotent. */
  stop(): void {
    if (this.isStopping) return;
    this.isStopping = true;
    this.cancel();
    this.process.end();
    this.cancel = this.clock.after(END_MS, () => this.process.kill());
  }

  private hear(text: string, seconds: number): void {
    const wasListening = this.words.includes('listening on');
    this.words = (this.words + text).slice(-MAX_WORDS);
    if (wasListening || !this.words.includes('listening on') || this.isStopping) return;
    this.cancel();
    this.cancel = this.clock.after(seconds * 1000, () => this.stop());
    this.isListening();
  }

  private exit(reason: string): void {
    this.cancel();
    this.hasFailed(refusal(this.words, reason));
    this.hasEnded(summaryOf(this.words));
  }
}

/** Throws `invalid` for what tcpdump would take for something else. */
function tcpdumpArguments({ interfaceName, filter, count }: CaptureSpec): string[] {
  checkInterfaceName(interfaceName);
  if (!FILTER.test(filter)) {
    throw new DaoliError('invalid', `the filter "${filter}" has signs that pcap-filter(7) does not know`, filter);
  }
  const options = ['-i', interfaceName, '-n', '-U', '--immediate-mode', '-s', '0', '-B', String(BUFFER_KIB), '-w', '-'];
  return [...options, ...(count === undefined ? [] : ['-c', String(count)]), '--', ...(filter === '' ? [] : [filter])];
}

/** A filter that is none is the caller's fault; anything else is not. */
function refusal(words: string, reason: string): DaoliError {
  const said = words
    .split('\n')
    .map((line) => line.replace(/^tcpdump: /, '').trim())
    .filter((line) => line !== '' && !/^(listening on|verbose output|\d+ packets?) /.test(line))
    .join('; ');
  const text = said === '' ? reason : said;
  if (/syntax error|expression|parse/i.test(text)) return new DaoliError('invalid', `tcpdump: ${text}`);
  return new DaoliError('internal', `the capture cannot begin: ${text}`);
}

export function summaryOf(words: string): CaptureSummary {
  const number = (pattern: RegExp) => Number(pattern.exec(words)?.[1] ?? 0);
  return { packets: number(/(\d+) packets? captured/), dropped: number(/(\d+) packets? dropped by kernel/) };
}
