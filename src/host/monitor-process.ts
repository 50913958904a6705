// A program that tells of changes line by line (`nft monitor`, `ip monitor`), kept running.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import type { CoProcess, Runner } from './runner';

export interface MonitorOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** The command line. */
  readonly command: string;
  onLines(lines: readonly string[]): void;
  /** It runs again after it had ended: what happened meanwhile was not told. */
  onGap(): void;
}

// The monitor does not read its standard input, so it would outlive us: a shell beside it does, and ends it.
const script = (command: string): string => `exec 3<&0
${command} </dev/null 3<&- & monitor=$!
{ read -r line <&3; kill $monitor; } >/dev/null 2>&1 & guard=$!
exec 3<&-
wait $monitor
kill $guard 2>/dev/null`;

const MAX_LINE = 65_536;
const END_MS = 1_000;

export class MonitorProcess {
  private process: CoProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private readonly restarts: Backoff;
  private running = false;
  private tail = '';
  private cancel = (): void => undefined;

  constructor(private readonly options: MonitorOptions) {
    this.restarts = new Backoff(1000, 60_000, options.random);
  }

  /** Idempotent. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.spawn();
  }

  /** Resolves when the program is gone. Idempotent. */
  async stop(): Promise<void> {
    const { process, exited } = this;
    this.running = false;
    this.cancel();
    process?.end();
    this.process = undefined;
    const cancelKill = this.options.clock.after(END_MS, () => process?.kill());
    await exited;
    cancelKill();
  }

  /** It has run for long enough to be started again soon when it ends. */
  steady(): void {
    this.restarts.succeeded();
  }

  private spawn(): void {
    this.tail = '';
    let tellExit = (): void => undefined;
    this.exited = new Promise((resolve) => (tellExit = resolve));
    const process: CoProcess = this.options.runner.spawn('sh', ['-c', script(this.options.command)], {
      onStdout: (text) => this.read(text),
      onStderr: () => undefined,
      onExit: (reason) => {
        tellExit();
        this.ended(process, reason);
      },
    });
    this.process = process;
  }

  /** It ends by itself where it cannot keep up with the kernel. */
  private ended(process: CoProcess, reason: string): void {
    if (!this.running || process !== this.process) return;
    const { logger, clock, command } = this.options;
    logger.debug(`${command} ended, starting it again`, { reason });
    this.cancel = clock.after(this.restarts.nextMs(), () => {
      this.spawn();
      this.options.onGap();
    });
  }

  private read(text: string): void {
    if (!this.running) return;
    const lines = (this.tail + text).split('\n');
    this.tail = (lines.pop() ?? '').slice(0, MAX_LINE);
    this.options.onLines(lines);
  }
}
