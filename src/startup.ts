// How far the agent has come up, and what Docker's calls wait for meanwhile. A call that waits in vain ends with what stands
// in the way by then, not with what was waited for when it came.

import type { Clock } from './base/clock';
import { DaoliError } from './base/errors';
import type { PluginHandler, PluginHandlers } from './driver/plugin-app';

/** In this order. */
const PARTS = ['the DaoliNet database', 'Open vSwitch'] as const;
type Part = (typeof PARTS)[number];

/** Answered at once, whatever state the rest is in: Docker disables a plugin that does not. */
const ALWAYS_ANSWERED = /\.(GetCapabilities|GetDefaultAddressSpaces)$/;
/** What gives an endpoint or an address back does without Open vSwitch: while it waited, the address would stay in use. */
const GIVES_BACK = /\.(Leave|DeleteEndpoint|RevokeExternalConnectivity|ReleaseAddress|ReleasePool)$/;

export class Startup {
  private part: Part = PARTS[0];
  /** What failed last, while the part that it was about is not up. */
  private obstacle: { readonly part: Part; readonly message: string } | undefined;
  private rowsAreReady!: () => void;
  /** The directory is known and the host can be worked on. */
  private readonly rowsReady = new Promise<void>((resolve) => (this.rowsAreReady = resolve));
  private becomeReady!: () => void;
  /** All is up. */
  private readonly ready = new Promise<void>((resolve) => (this.becomeReady = resolve));
  private end!: (error: Error) => void;
  /** Rejects when the agent stops. */
  private readonly ended = new Promise<never>((_resolve, reject) => (this.end = reject));
  isReady = false;
  private readonly waiters = new Set<() => void>();

  /** As in "waiting for Open vSwitch". */
  get waitingFor(): string {
    return this.obstacle === undefined ? this.part : `a remedy: ${this.obstacle.message}`;
  }

  constructor() {
    // Nobody need wait for it.
    this.ended.catch(() => undefined);
  }

  /** The agent stops: nobody waits for it any longer, and Docker can end, or ask its successor. */
  stop(): void {
    this.end(new DaoliError('unavailable', 'DaoliNet is stopping: try it again'));
    this.wake();
  }

  /** From the beginning, for the first time or once more. */
  begin(): void {
    this.part = PARTS[0];
  }

  /** The directory was read: now Open vSwitch. */
  haveRows(): void {
    this.part = PARTS[1];
    if (this.obstacle?.part === PARTS[0]) this.obstacle = undefined;
    this.rowsAreReady();
  }

  haveAll(): void {
    this.obstacle = undefined;
    this.isReady = true;
    this.becomeReady();
    this.wake();
  }

  /** It will be tried again. Returns whether that is news. */
  fail(message: string): boolean {
    const isNews = message !== this.obstacle?.message;
    this.obstacle = { part: this.part, message };
    this.wake();
    return isNews;
  }

  /** Resolves when all is up, or something is in the way of that, at the latest after so many milliseconds. */
  settled(clock: Clock, limitMs: number): Promise<void> {
    if (this.isReady || this.obstacle !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel();
        this.waiters.delete(wake);
        resolve();
      };
      const cancel = clock.after(limitMs, wake);
      this.waiters.add(wake);
    });
  }

  private wake(): void {
    for (const wake of [...this.waiters]) wake();
  }

  /** Each call waits until what it needs is up, or ends with why it is not. With `error`, all end with it. */
  guard(handlers: PluginHandlers, error: Error | undefined): PluginHandlers {
    return Object.fromEntries(
      Object.entries(handlers).map(([name, handler]) => [name, this.guardOne(name, handler, error)]),
    );
  }

  private guardOne(name: string, handler: PluginHandler, error: Error | undefined): PluginHandler {
    if (ALWAYS_ANSWERED.test(name)) return handler;
    const needed = GIVES_BACK.test(name) ? this.rowsReady : this.ready;
    return async (body, deadline) => {
      if (error !== undefined) throw error;
      if (!this.isReady) await deadline.wait(() => this.whyNot(), Promise.race([needed, this.ended]));
      return handler(body, deadline);
    };
  }

  private whyNot(): string | DaoliError {
    const { obstacle } = this;
    if (obstacle === undefined) return this.part;
    return new DaoliError('unavailable', `DaoliNet cannot start yet: ${obstacle.message}`);
  }
}
