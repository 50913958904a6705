// Exponential back-off with jitter. `succeeded()` is the only thing that resets it.

export class Backoff {
  private attempts = 0;

  /** `random` returns 0 (included) to 1 (excluded). */
  constructor(
    private readonly minMs: number,
    private readonly maxMs: number,
    private readonly random: () => number,
  ) {}

  /** How long to wait before the next attempt: doubling, and between half and all of that. */
  nextMs(): number {
    const full = Math.min(this.maxMs, this.minMs * 2 ** this.attempts);
    this.attempts += 1;
    return full / 2 + (full / 2) * this.random();
  }

  succeeded(): void {
    this.attempts = 0;
  }
}
