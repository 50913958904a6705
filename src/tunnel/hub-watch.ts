// Which hubs answer: each is pinged through its own device every second, as long as a host is reached through hubs. One that
// misses three pings in a row is dead, one that then answers three in a row is back, so a lost packet changes nothing and the
// next hub has the routes within four seconds.

import type { Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import type { PlannedHub } from './plan';

export const PING_INTERVAL_MS = 1_000;
/** A ping ends before the next one is due. */
export const PING_TIMEOUT_MS = 900;
/** In a row, before a hub is taken for something else than before. */
const PINGS_TO_TURN = 3;

/** Whether something answers at an address, asked through a device. Does not reject. */
export type Probe = (address: Ipv4, device: string, timeoutMs: number) => Promise<boolean>;

export interface HubWatchParts {
  readonly probe: Probe;
  readonly clock: Clock;
  /** What is known of a hub that is not watched (yet): an earlier agent may have found it dead. */
  readonly wasDead: (hub: string) => boolean;
  /** A hub has died, or is back. */
  readonly onChange: (hub: string, isAlive: boolean) => void;
  /** `unheard` is another. */
  readonly onVerdict: () => void;
}

interface Watched {
  readonly hub: PlannedHub;
  isAlive: boolean;
  /** Pings in a row that say the other. */
  against: number;
  isAsking: boolean;
}

export class HubWatch {
  private watched: readonly Watched[] = [];
  private cancel: (() => void) | undefined;
  private verdict: readonly string[] | undefined = [];

  constructor(private readonly parts: HubWatchParts) {}

  /** Watches these from now on; none: nothing is pinged. Of a hub that stays as it was, what is known stays, too. */
  watch(hubs: readonly PlannedHub[]): void {
    this.watched = hubs.map(
      (hub) =>
        this.watched.find((one) => isSame(one.hub, hub)) ?? {
          hub,
          isAlive: !this.parts.wasDead(hub.host),
          against: 0,
          isAsking: false,
        },
    );
    if (this.watched.length > 0) return this.cancel === undefined ? this.ping() : undefined;
    this.stop();
    this.say();
  }

  /** One that is not watched counts as alive, where nothing is known against it. */
  isAlive(host: string): boolean {
    return this.watched.find(({ hub }) => hub.host === host)?.isAlive ?? !this.parts.wasDead(host);
  }

  /**
   * The hubs that are dead after the last round of pings; undefined where all are: it may be this host's own connection, which says
   * nothing of them.
   */
  get unheard(): readonly string[] | undefined {
    return this.verdict;
  }

  /** Idempotent; watch() may follow. */
  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
    this.watched = [];
  }

  private ping(): void {
    this.cancel = this.parts.clock.after(PING_INTERVAL_MS, () => this.ping());
    this.say();
    for (const one of this.watched) {
      // One that hangs is a miss each second, and nothing else is asked meanwhile.
      if (one.isAsking) this.take(one, false);
      else void this.ask(one);
    }
  }

  /** Once a round: hubs that come back together are back together. */
  private say(): void {
    const dead = this.watched.filter(({ isAlive }) => !isAlive).map(({ hub }) => hub.host);
    const verdict = dead.length > 0 && dead.length === this.watched.length ? undefined : dead;
    if (verdict?.join() === this.verdict?.join()) return;
    this.verdict = verdict;
    this.parts.onVerdict();
  }

  private async ask(one: Watched): Promise<void> {
    const { locator, device } = one.hub;
    const { clock, probe } = this.parts;
    const start = clock.now();
    one.isAsking = true;
    const answers = locator !== undefined && (await probe(locator, device, PING_TIMEOUT_MS).catch(() => false));
    one.isAsking = false;
    // What came later was a miss already.
    if (clock.now() - start < PING_INTERVAL_MS) this.take(one, answers);
  }

  private take(one: Watched, answers: boolean): void {
    one.against = answers === one.isAlive ? 0 : one.against + 1;
    if (one.against < PINGS_TO_TURN || !this.watched.includes(one)) return;
    one.isAlive = answers;
    one.against = 0;
    this.parts.onChange(one.hub.host, answers);
  }
}

function isSame(a: PlannedHub, b: PlannedHub): boolean {
  return a.host === b.host && a.device === b.device && a.locator === b.locator;
}
