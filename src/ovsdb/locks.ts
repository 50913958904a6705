// The locks that a client wants (RFC 7047 §4.1.8–4.1.10). A lock lives on one server and dies with the connection, so it
// is asked for anew on each; in a cluster every server grants it on its own, so there it excludes nobody by itself.

import { InvalidValue, type OvsdbError } from './errors';

/** <id> of RFC 7047 §3.1. */
const LOCK_NAME = /^[A-Za-z_]\w*$/;

export type LockRequest = 'lock' | 'steal';

export interface LockListener {
  onLocked(name: string): void;
  /** It was stolen, or the connection was lost. */
  onLost(name: string): void;
}

/** Sends a request; the handler gets the answer. */
export type SendLock = (method: LockRequest | 'unlock', name: string, handler: LockReply) => void;
type LockReply = (error: OvsdbError | undefined, result?: unknown) => void;

export class Locks {
  private readonly wanted = new Map<string, { held: boolean }>();

  constructor(private readonly listener: LockListener) {}

  holds(name: string): boolean {
    return this.wanted.get(name)?.held ?? false;
  }

  /** Wants a lock from now on, over all connections. Throws InvalidValue for a name that is no <id>. */
  want(name: string, method: LockRequest, send: SendLock | undefined): void {
    if (!LOCK_NAME.test(name)) throw new InvalidValue(`"${name}" is no name for a lock (letters, digits and _)`);
    const lock = this.wanted.get(name) ?? { held: false };
    this.wanted.set(name, lock);
    if (send !== undefined && !lock.held) this.ask(name, method, send);
  }

  /** Wants it no more. */
  release(name: string, send: SendLock | undefined): void {
    if (this.wanted.delete(name)) send?.('unlock', name, () => {});
  }

  /** A connection is ready: asks for all. */
  handleReady(send: SendLock): void {
    for (const name of this.wanted.keys()) this.ask(name, 'lock', send);
  }

  /** The connection is gone. */
  handleLost(): void {
    for (const name of this.wanted.keys()) this.set(name, false);
  }

  /** A notification: `locked` or `stolen`. */
  handleNotification(method: string, name: unknown): void {
    if (typeof name === 'string') this.set(name, method === 'locked');
  }

  private ask(name: string, method: LockRequest, send: SendLock): void {
    send(method, name, (_error, result) => {
      if ((result as { locked?: unknown } | undefined)?.locked === true) this.set(name, true);
    });
  }

  private set(name: string, held: boolean): void {
    const lock = this.wanted.get(name);
    if (lock === undefined || lock.held === held) return;
    lock.held = held;
    if (held) this.listener.onLocked(name);
    else this.listener.onLost(name);
  }
}
