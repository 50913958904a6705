// When others are told which hubs do not answer this host: at once, but not again and again of a hub that comes and goes, since
// every host of the cluster reads it.

import type { Clock } from '../base/clock';
import { TokenBucket } from '../base/token-bucket';

/** At once, and after as many one in so long. */
const BURST = 5;
export const VERDICT_MS = 20_000;

export class Verdicts {
  private readonly bucket: TokenBucket;
  private cancel = (): void => undefined;

  /** `onDue`: what had to wait can be told now. */
  constructor(
    private readonly clock: Clock,
    private readonly onDue: () => void,
  ) {
    this.bucket = new TokenBucket(1_000 / VERDICT_MS, BURST, clock.now());
  }

  /** What is to be told of these hubs, where others were told of those last; undefined: nothing, or not yet. */
  toTell(unheard: readonly string[] | undefined, told: readonly string[]): readonly string[] | undefined {
    const isTold = unheard?.length === told.length && unheard.every((hub) => told.includes(hub));
    if (unheard === undefined || isTold) return undefined;
    if (this.bucket.take(this.clock.now())) return unheard;
    this.cancel();
    this.cancel = this.clock.after(VERDICT_MS, this.onDue);
    return undefined;
  }

  /** Idempotent. */
  stop(): void {
    this.cancel();
  }
}
