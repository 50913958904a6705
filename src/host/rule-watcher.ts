// Notices within a second that somebody took our rules away (a firewall reload, a restart of dockerd) and has them put back.
// `nft monitor` tells of every change to nftables, iptables' nft flavour included; the legacy flavour has to be looked at.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { MonitorProcess } from './monitor-process';
import type { Runner } from './runner';

/** What the watcher watches over. */
export interface WatchedRules {
  /** Puts back what is missing; how many things that were. */
  repair(): Promise<number>;
  /** The same for what `nft monitor` does not see, cheap enough for every second. */
  repairLegacy(): Promise<number>;
}

export interface RuleWatcherOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  readonly rules: WatchedRules;
}

const SETTLE_MS = 50;
const LEGACY_MS = 1000;
const FULL_MS = 60_000;
/** For so long somebody who fights with us can have the rules away; longer than it calm has to last. */
const MAX_PAUSE_MS = 5000;
const CALM_MS = 10_000;

/** Whether a line of `nft monitor` can mean that a rule of ours is gone, or that a chain appeared that needs one. */
export function concernsUs(line: string): boolean {
  if (/^delete (table|chain|rule|set|map|element|counter) inet daolinet(?![\w-])/.test(line)) return true;
  if (/^delete (table|chain|rule) ip filter\b/.test(line)) return /table|DOCKER-USER|FORWARD/.test(line);
  return /^(add|create|insert|replace) (chain|rule) ip filter (FORWARD|DOCKER-USER)(?![\w-])/.test(line);
}

export class RuleWatcher {
  private readonly monitor: MonitorProcess;
  private readonly cancels = new Map<string, () => void>();
  private readonly repairs: Backoff;
  private running = false;
  private repairing: Promise<void> | undefined;
  /** Somebody who takes our rules away again and again is met ever more slowly, never in a busy loop. */
  private pauseMs = SETTLE_MS;

  constructor(private readonly options: RuleWatcherOptions) {
    this.repairs = new Backoff(SETTLE_MS, MAX_PAUSE_MS, options.random);
    const onLines = (lines: readonly string[]) => lines.some(concernsUs) && this.wake();
    const onGap = () => this.wake();
    const { runner, clock, logger, random } = options;
    this.monitor = new MonitorProcess({ runner, clock, logger, random, command: 'nft monitor', onLines, onGap });
  }

  /** Idempotent. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.monitor.start();
    this.schedule('legacy', LEGACY_MS, () => this.checkLegacy());
    this.schedule('full', FULL_MS, () => this.checkFully());
  }

  /** Idempotent; resolves when no repair is under way. */
  async stop(): Promise<void> {
    this.running = false;
    for (const cancel of this.cancels.values()) cancel();
    this.cancels.clear();
    await this.monitor.stop();
    await this.repairing;
  }

  /** Many events come together: one check serves all of them. */
  private wake(): void {
    if (!this.cancels.has('repair')) this.schedule('repair', this.pauseMs, () => this.check('repair'));
  }

  private checkLegacy(): void {
    this.schedule('legacy', LEGACY_MS, () => this.checkLegacy());
    this.check('repairLegacy');
  }

  private checkFully(): void {
    this.schedule('full', FULL_MS, () => this.checkFully());
    this.monitor.steady();
    this.check('repair');
  }

  /** Nothing to put back for a while: whoever fought with us has ended. */
  private calm(): void {
    this.repairs.succeeded();
    this.pauseMs = SETTLE_MS;
  }

  private check(how: keyof WatchedRules): void {
    if (this.repairing !== undefined) {
      if (how === 'repair') this.wake();
      return;
    }
    this.repairing = this.repair(how).finally(() => (this.repairing = undefined));
  }

  private async repair(how: keyof WatchedRules): Promise<void> {
    const { rules, logger } = this.options;
    try {
      const count = await rules[how]();
      if (count === 0) return;
      this.pauseMs = this.repairs.nextMs();
      this.cancels.get('calm')?.();
      this.schedule('calm', CALM_MS, () => this.calm());
      logger.warn('rules of the packet filter had been removed by another program: put back', { count });
    } catch (error) {
      logger.error('the rules of the packet filter cannot be put back', { reason: messageOf(error) });
    }
  }

  private schedule(key: string, ms: number, callback: () => void): void {
    if (!this.running) return;
    const cancel = this.options.clock.after(ms, () => {
      this.cancels.delete(key);
      callback();
    });
    this.cancels.set(key, cancel);
  }
}
