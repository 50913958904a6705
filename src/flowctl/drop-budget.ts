// How many reactive drop flows (denied pairs, addresses that nobody has) a port may cause. They end by a hard timeout
// and are not remembered one by one; a counter for each port and a window as long as the longest timeout bound them to
// twice the budget. Over it, packets are dropped one by one, behind the port's meter.

/** A timeout of the datapath's runs from when it took the message, and is looked at once a second. */
const SLACK_MS = 3000;

export class DropBudget {
  private counts = new Uint32Array(16);
  private windows = new Uint32Array(16);
  private lastTakenMs = -Infinity;

  constructor(
    private readonly perWindow: number,
    private readonly windowSeconds: number,
  ) {}

  /** Takes one from the port's budget. False: none is left in this window. */
  take(portNo: number, nowMs: number): boolean {
    if (portNo >= this.counts.length) this.grow(portNo);
    const window = Math.floor(nowMs / 1000 / this.windowSeconds) >>> 0;
    if (this.windows[portNo] !== window) {
      this.windows[portNo] = window;
      this.counts[portNo] = 0;
    }
    if (this.counts[portNo]! >= this.perWindow) return false;
    this.counts[portNo]! += 1;
    this.lastTakenMs = nowMs;
    return true;
  }

  /** May one that was taken from any port still be there? */
  mayHaveSome(nowMs: number): boolean {
    return nowMs - this.lastTakenMs <= this.windowSeconds * 1000 + SLACK_MS;
  }

  private grow(portNo: number): void {
    const length = Math.max(portNo + 1, this.counts.length * 2);
    const counts = new Uint32Array(length);
    counts.set(this.counts);
    this.counts = counts;
    const windows = new Uint32Array(length);
    windows.set(this.windows);
    this.windows = windows;
  }
}
