// Whether the hosts of a site share an L2 with this one. Clouds drop frames of MAC addresses that they have not given out; then
// packets go through tunnels inside the site, too. This host asks over the fabric as packets of containers go, which the other's
// datapath answers alone. An answer speaks for the L2. Silence speaks against it only where the other's agent says, by its
// door, that its datapath has been there to answer the whole time: of a host that is down, that starts, that is cut off, or
// whose Open vSwitch is away, nothing is known.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';

/** Of one round: questions to each host, one after the other. */
const TRIES = 2;
export const PROBE_MS = 1_000;
/** How long a datapath has to have been there for its silence to count, in milliseconds. */
const ROUND_MS = TRIES * PROBE_MS;
/** All of so many rounds in a row have to say the other before a verdict changes. */
export const ROUNDS = 3;
/** Whom one round goes to, at most. */
export const MAX_ASKED = 8;
export const LOOK_INTERVAL_MS = 60_000;
/** Where nothing could be said. */
const AGAIN = { minMs: 5_000, maxMs: 60_000 } as const;

/** What one round says of one host. */
export interface Answer {
  /** Over the fabric. */
  readonly answers: boolean;
  /** For how long its datapath has been there to answer, in milliseconds; undefined: it is not, or is not known to be. */
  readonly standsMs: number | undefined;
}

/** What one round says: that an L2 is shared, that none is, or nothing. `ownMs`: as `standsMs`, of this host. */
export function findingOf(answers: readonly Answer[], ownMs: number | undefined): 'shared' | 'missing' | 'unknown' {
  if (answers.some((one) => one.answers)) return 'shared';
  const hasStood = (ms: number | undefined) => ms !== undefined && ms >= ROUND_MS;
  return hasStood(ownMs) && answers.some(({ standsMs }) => hasStood(standsMs)) ? 'missing' : 'unknown';
}

/** Asks one host, for one round. */
export async function askHost(
  host: string,
  { probe, standsMs }: Pick<L2WatchParts, 'probe' | 'standsMs'>,
): Promise<Answer> {
  for (let attempt = 0; attempt < TRIES; attempt += 1) {
    if (await probe(host, PROBE_MS)) return { answers: true, standsMs: undefined };
  }
  return { answers: false, standsMs: await standsMs(host) };
}

/** Those of a site that a host asks: the next ones by name, so that each host is asked by as many. */
export function chosenPeers(own: string, peers: readonly string[]): string[] {
  const sorted = [...peers].sort();
  const next = sorted.findIndex((name) => name > own);
  const from = next === -1 ? 0 : next;
  return [...sorted.slice(from), ...sorted.slice(0, from)].slice(0, MAX_ASKED);
}

export interface L2WatchParts {
  /** Hosts that may share this one's L2, by name; none where it is not to be found out. See chosenPeers. */
  readonly peers: () => readonly string[];
  /** Whether a host answers over the fabric. Does not reject. */
  readonly probe: (host: string, timeoutMs: number) => Promise<boolean>;
  /** See Answer; of this host where none is named. Does not reject. */
  readonly standsMs: (host?: string) => Promise<number | undefined>;
  /** The verdict that stands. */
  readonly isMissing: () => boolean;
  /** There is another verdict now; `asked`: the hosts that it comes from. */
  readonly onJudged: (isMissing: boolean, asked: readonly string[]) => void;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class L2Watch {
  private cancel = (): void => undefined;
  private known = '';
  private isLooking = false;
  private isStopped = true;
  private readonly backoff: Backoff;

  constructor(private readonly parts: L2WatchParts) {
    this.backoff = new Backoff(AGAIN.minMs, AGAIN.maxMs, parts.random);
  }

  /** Looks at once, and every minute. Idempotent. */
  start(): void {
    if (!this.isStopped) return;
    this.isStopped = false;
    void this.look();
  }

  /** Hosts or their tunnels have changed: looks where there are others to be asked than before. */
  hostsChanged(): void {
    if (this.isStopped || this.parts.peers().join() === this.known) return;
    this.backoff.succeeded();
    void this.look();
  }

  /** Idempotent; start() may follow. What is being asked is not told any more. */
  stop(): void {
    this.isStopped = true;
    this.cancel();
  }

  private async look(): Promise<void> {
    this.cancel();
    if (this.isLooking) return;
    this.isLooking = true;
    const peers = this.parts.peers();
    this.known = peers.join();
    const isDecided = peers.length === 0 || (await this.decide(peers));
    this.isLooking = false;
    if (this.isStopped) return;
    if (isDecided) this.backoff.succeeded();
    this.cancel = this.parts.clock.after(isDecided ? LOOK_INTERVAL_MS : this.backoff.nextMs(), () => void this.look());
    this.hostsChanged();
  }

  /** False where a round said nothing. */
  private async decide(peers: readonly string[]): Promise<boolean> {
    const { isMissing, onJudged } = this.parts;
    for (let round = 0; round < ROUNDS; round += 1) {
      const finding = await this.ask(peers);
      if (finding === 'unknown' || this.isStopped) return false;
      if ((finding === 'missing') === isMissing()) return true;
    }
    onJudged(!isMissing(), peers);
    return true;
  }

  private async ask(peers: readonly string[]): Promise<ReturnType<typeof findingOf>> {
    const answers = await Promise.all(peers.map((peer) => askHost(peer, this.parts)));
    return findingOf(answers, await this.parts.standsMs());
  }
}
