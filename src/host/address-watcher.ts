// Notices that the host's own interfaces have other addresses, another MTU, or are gone, and says so once things have settled;
// says it now and then in any case.

import type { Clock } from '../base/clock';
import type { Logger } from '../base/logger';
import type { Runner } from './runner';
import { SettledMonitor } from './settled-monitor';

export interface AddressWatcherOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

/** An interface loses its address and gets another one in several steps. */
const SETTLE_MS = 300;
const FULL_MS = 30_000;
/** Of containers, ours and Docker's, and our own. They come and go with every container. */
const NOT_THE_HOSTS = /^(?:d[lc][0-9a-f]{11}|veth[0-9a-f]{7}|daoli\S*)$/;
/** Interfaces whose MTU is remembered. */
const MAX_KNOWN = 256;

/** What a line of `ip -o monitor link address` is about; undefined for interfaces that are not the host's own. */
export function changeIn(line: string): { readonly device: string; readonly mtu?: number } | undefined {
  const [, device = '', rest = ''] = /^(?:Deleted )?\d+: ([^\s:@]+)(?:@\S+?)?:?\s+(.*)/.exec(line) ?? [];
  if (device === '' || NOT_THE_HOSTS.test(device)) return undefined;
  if (/^inet /.test(rest)) return { device };
  const mtu = /\bmtu (\d+)/.exec(rest)?.[1];
  return mtu === undefined ? undefined : { device, mtu: Number(mtu) };
}

export class AddressWatcher {
  private readonly monitor: SettledMonitor;
  private readonly listeners = new Set<() => void>();
  private readonly mtus = new Map<string, number>();

  constructor(options: AddressWatcherOptions) {
    this.monitor = new SettledMonitor({
      ...options,
      command: 'ip -o monitor link address',
      fullMs: FULL_MS,
      pauseMs: () => SETTLE_MS,
      onLines: (lines) => this.read(lines),
      look: () => this.tell(),
    });
  }

  /** Calls back after changes, and now and then without one. Returns what ends it. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Idempotent. */
  start(): void {
    this.monitor.start();
  }

  /** Idempotent. */
  stop(): Promise<void> {
    return this.monitor.stop();
  }

  private read(lines: readonly string[]): void {
    for (const line of lines) {
      const change = changeIn(line);
      if (change === undefined) continue;
      const { device, mtu } = change;
      // A link is told of for many reasons that are none of ours.
      if (mtu !== undefined && this.mtus.get(device) === mtu) continue;
      if (mtu !== undefined) this.remember(device, mtu);
      this.monitor.soon();
    }
  }

  private remember(device: string, mtu: number): void {
    if (this.mtus.size >= MAX_KNOWN) this.mtus.clear();
    this.mtus.set(device, mtu);
  }

  private tell(): void {
    for (const listener of [...this.listeners]) listener();
  }
}
