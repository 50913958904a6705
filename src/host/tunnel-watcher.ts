// Notices at once that a device of a tunnel has gone or was taken down, or that the host has another address, and has it put
// right; looks at everything now and then.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OneAtATime } from '../base/one-at-a-time';
import type { Runner } from './runner';
import { SettledMonitor } from './settled-monitor';

export interface TunnelWatcherOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Makes everything as it is to be; an address of the host has gone since the last time, or none has. */
  check(hasMoved: boolean): Promise<void>;
}

/** A device that dies again and again is made ever more slowly. */
const PAUSE = { minMs: 20, maxMs: 5_000 };
const CALM_MS = 10_000;
/** Routes and peers that somebody took away are put back, and endpoints that were learned are remembered. */
const FULL_MS = 20_000;

/** Whether a line of `ip monitor link` says that a device of ours is not there, or not up. */
export function isLoss(line: string): boolean {
  const [, deleted, flags = ''] = /^(Deleted )?\d+: daoli-wg[1-9]?: <([^>]*)>/.exec(line) ?? [];
  if (flags === '') return false;
  return deleted !== undefined || !flags.split(',').includes('UP');
}

/** Whether a line of `ip monitor address` says that the host has an address less. */
export function isMove(line: string): boolean {
  return /^Deleted \d+: (?!daoli)\S+ +inet /.test(line);
}

export class TunnelWatcher {
  private readonly monitor: SettledMonitor;
  private readonly pauses: Backoff;
  private readonly checks = new OneAtATime(() => this.check());
  private running = false;
  private problem = '';
  private hasMoved = false;
  private cancelCalm = (): void => undefined;

  constructor(private readonly options: TunnelWatcherOptions) {
    const { runner, clock, logger, random } = options;
    this.pauses = new Backoff(PAUSE.minMs, PAUSE.maxMs, random);
    this.monitor = new SettledMonitor({
      ...{ runner, clock, logger, random },
      command: 'ip monitor link address',
      fullMs: FULL_MS,
      pauseMs: () => this.pause(),
      onLines: (lines) => this.read(lines),
      look: () => this.checks.ask(),
    });
  }

  /** Idempotent. */
  start(): void {
    this.running = true;
    this.monitor.start();
  }

  /** Idempotent. A check that is under way goes on. */
  stop(): Promise<void> {
    this.running = false;
    this.cancelCalm();
    return this.monitor.stop();
  }

  private read(lines: readonly string[]): void {
    const hasMoved = lines.some(isMove);
    this.hasMoved ||= hasMoved;
    if (hasMoved || lines.some(isLoss)) this.monitor.soon();
  }

  private pause(): number {
    this.cancelCalm();
    this.cancelCalm = this.options.clock.after(CALM_MS, () => this.pauses.succeeded());
    return this.pauses.nextMs();
  }

  private async check(): Promise<void> {
    if (!this.running) return;
    const { hasMoved } = this;
    this.hasMoved = false;
    try {
      await this.options.check(hasMoved);
      this.problem = '';
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== this.problem) this.options.logger.error('the tunnels cannot be put back', { reason });
      this.problem = reason;
      this.hasMoved ||= hasMoved;
      this.monitor.soon();
    }
  }
}
