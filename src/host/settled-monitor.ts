// A program that tells of changes, which come in bursts: one look follows when they have settled, and now and then one without.

import { MonitorProcess, type MonitorOptions } from './monitor-process';

export interface SettledMonitorOptions extends Omit<MonitorOptions, 'onGap'> {
  /** Between looks that nothing has asked for. */
  readonly fullMs: number;
  /** How long from the first word of a change to the look. */
  pauseMs(): number;
  look(): void;
}

export class SettledMonitor {
  private readonly monitor: MonitorProcess;
  private running = false;
  private cancelFull = (): void => undefined;
  private cancelSoon: (() => void) | undefined;

  constructor(private readonly options: SettledMonitorOptions) {
    this.monitor = new MonitorProcess({ ...options, onGap: () => this.soon() });
  }

  /** Idempotent. */
  start(): void {
    if (this.running) return;
    this.running = true;
    this.monitor.start();
    this.scheduleFull();
  }

  /** Resolves when the program is gone. Idempotent. */
  stop(): Promise<void> {
    this.running = false;
    this.cancelFull();
    this.cancelSoon?.();
    this.cancelSoon = undefined;
    return this.monitor.stop();
  }

  /** Something has changed: what is told before the look is part of it. */
  soon(): void {
    if (!this.running || this.cancelSoon !== undefined) return;
    const { options } = this;
    this.cancelSoon = options.clock.after(options.pauseMs(), () => {
      this.cancelSoon = undefined;
      options.look();
    });
  }

  private scheduleFull(): void {
    this.cancelFull = this.options.clock.after(this.options.fullMs, () => {
      this.scheduleFull();
      this.monitor.steady();
      this.options.look();
    });
  }
}
