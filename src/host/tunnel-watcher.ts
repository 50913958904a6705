// Notices at once that a device of a tunnel has gone or was taken down, or that the host has another address, and has it put
// right; looks at everything now and then.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OneAtATime } from '../base/one-at-a-time';
import type { Runner } from './runner';
import { SettledMonitor } from './settled-monitor';
import type { AddressChange } from './tunnel-plan';

export interface TunnelWatcherOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Makes everything as it is to be; `change` is what became of the host's addresses since the last time. */
  check(change: AddressChange | undefined): Promise<void>;
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

/** What a line of `ip monitor address` says of an address of the host that others may reach it at. */
export function addressChange(line: string): AddressChange | undefined {
  const [, deleted] = /^(Deleted )?\d+: (?!daoli)\S+ +inet .* scope global /.exec(`${line} `) ?? ['', 'none'];
  if (deleted === 'none') return undefined;
  return deleted === undefined ? 'new' : 'gone';
}

/** One that has gone is more: see TunnelPlanInput. */
const both = (a: AddressChange | undefined, b: AddressChange | undefined): AddressChange | undefined =>
  a === 'gone' || b === 'gone' ? 'gone' : (a ?? b);

export class TunnelWatcher {
  private readonly monitor: SettledMonitor;
  private readonly pauses: Backoff;
  private readonly checks = new OneAtATime(() => this.check());
  private running = false;
  private problem = '';
  private change: AddressChange | undefined;
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
    const change = lines.map(addressChange).reduce(both, undefined);
    this.change = both(this.change, change);
    if (change !== undefined || lines.some(isLoss)) this.monitor.soon();
  }

  private pause(): number {
    this.cancelCalm();
    this.cancelCalm = this.options.clock.after(CALM_MS, () => this.pauses.succeeded());
    return this.pauses.nextMs();
  }

  private async check(): Promise<void> {
    if (!this.running) return;
    const { change } = this;
    this.change = undefined;
    try {
      await this.options.check(change);
      this.problem = '';
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== this.problem) this.options.logger.error('the tunnels cannot be put back', { reason });
      this.problem = reason;
      this.change = both(this.change, change);
      this.monitor.soon();
    }
  }
}
