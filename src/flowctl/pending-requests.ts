// Requests that wait for the datapath: by xid, until a barrier reply or the last part of a reply, an error, or too long.
// Bounded, since callers retry.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';

/** Below are the xids of what nobody waits for. */
const FIRST_XID = 0x100;
const LAST_XID = 0x7fff_ffff;
const MAX_PENDING = 100_000;

type Visit = (buffer: Buffer, at: number, length: number) => void;

interface Request {
  readonly visit: Visit | undefined;
  readonly resolve: () => void;
  readonly reject: (error: DaoliError) => void;
  readonly cancel: () => void;
  failure?: string;
}

export class PendingRequests {
  private readonly requests = new Map<number, Request>();
  private lastXid = FIRST_XID;

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
  ) {}

  nextXid(): number {
    this.lastXid = this.lastXid >= LAST_XID ? FIRST_XID : this.lastXid + 1;
    return this.lastXid;
  }

  /** Begins to wait. `done` throws `unavailable` where no answer comes in time. `visit` takes what a listing brings. */
  open(visit?: Visit): { xid: number; done: Promise<void> } {
    if (this.requests.size >= MAX_PENDING) {
      throw new DaoliError('unavailable', `${MAX_PENDING} requests wait for the datapath: try again`);
    }
    const xid = this.nextXid();
    const done = new Promise<void>((resolve, reject) => {
      const cancel = this.clock.after(this.timeoutMs, () => {
        this.requests.delete(xid);
        reject(new DaoliError('unavailable', `the datapath did not answer within ${this.timeoutMs} ms: try again`));
      });
      this.requests.set(xid, { visit, resolve, reject, cancel });
    });
    return { xid, done };
  }

  visitor(xid: number): Visit | undefined {
    return this.requests.get(xid)?.visit;
  }

  /** The answer is there, and whole. */
  resolve(xid: number): void {
    const request = this.take(xid);
    if (request === undefined) return;
    if (request.failure === undefined) request.resolve();
    else request.reject(new DaoliError('internal', `the datapath refused flows: ${request.failure}`));
  }

  /** Remembers the first error about a request until its barrier. False: nobody waits for this one. */
  fail(xid: number, errorName: string): boolean {
    const request = this.requests.get(xid);
    if (request === undefined) return false;
    request.failure ??= errorName;
    // A refused listing has no barrier after it.
    if (request.visit !== undefined) this.resolve(xid);
    return true;
  }

  /** Nothing more will come. */
  close(error: DaoliError): void {
    for (const xid of [...this.requests.keys()]) this.take(xid)?.reject(error);
  }

  private take(xid: number): Request | undefined {
    const request = this.requests.get(xid);
    request?.cancel();
    this.requests.delete(xid);
    return request;
  }
}
