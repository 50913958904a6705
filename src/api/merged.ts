// Several streams of values as one. Each is read no faster than the whole: its next value is asked for when the one before it
// has been taken.

interface Waiting<T> {
  readonly value: T;
  readonly taken: () => void;
}

/** Ends when all have ended, or the signal has come; what one of them throws, this throws. To be read once. */
export class Merged<T> {
  private readonly waiting: Waiting<T>[] = [];
  private running = 0;
  private failure: { readonly error: unknown } | undefined;
  private wake = (): void => undefined;

  constructor(private readonly signal: AbortSignal) {
    signal.addEventListener('abort', () => {
      this.wake();
      for (const { taken } of this.waiting.splice(0)) taken();
    });
  }

  /** Also while it is read. */
  add(items: AsyncIterable<T>): void {
    this.running += 1;
    void this.pass(items)
      .catch((error: unknown) => (this.failure = { error }))
      .finally(() => {
        this.running -= 1;
        this.wake();
      });
  }

  async *values(): AsyncGenerator<T> {
    while (!this.signal.aborted) {
      const next = this.waiting.shift();
      if (next !== undefined) {
        try {
          yield next.value;
        } finally {
          next.taken();
        }
        continue;
      }
      if (this.failure !== undefined) throw this.failure.error;
      if (this.running === 0) return;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  private async pass(items: AsyncIterable<T>): Promise<void> {
    for await (const value of items) {
      if (this.signal.aborted) return;
      await new Promise<void>((taken) => {
        this.waiting.push({ value, taken });
        this.wake();
      });
    }
  }
}
