// Where servers are: the text of a remote, and which one to try next and when. Pure.

import { InvalidValue } from './errors';
import type { Random } from './timing';

export type Remote =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp' | 'ssl'; readonly host: string; readonly port: number };

const HOST_AND_PORT = /^(tcp|ssl):(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/;

/** Parses `unix:/path`, `tcp:host:port`, `ssl:host:port`; an IPv6 address in brackets. Throws InvalidValue. */
export function parseRemote(text: string): Remote {
  if (text.startsWith('unix:') && text.length > 5) return { kind: 'unix', path: text.slice(5) };
  const [, kind, ipv6, host = ipv6, digits] = HOST_AND_PORT.exec(text) ?? [];
  const port = Number(digits);
  if (kind === undefined || host === undefined || port < 1 || port > 65535) {
    throw new InvalidValue(`"${text}" is not a remote (unix:/path, tcp:host:port or ssl:host:port)`);
  }
  return { kind: kind as 'tcp' | 'ssl', host, port };
}

export interface BackoffOptions {
  /** Default 1,000, as in OVS. */
  readonly minMs: number;
  /** Default 8,000, as in OVS. */
  readonly maxMs: number;
}

/**
 * The order of trying: each remote once without delay, in an order shuffled once, unix sockets first, since they are this
 * machine's own; then the whole round again after a delay that doubles from round to round, between half and all of it by
 * chance.
 */
export class RemoteRotation {
  private readonly order: string[];
  private at = -1;
  private triesLeft: number;
  private rounds = 0;

  constructor(
    remotes: readonly string[],
    private readonly backoff: BackoffOptions,
    private readonly random: Random,
  ) {
    if (remotes.length === 0) throw new InvalidValue('no remote is given');
    const isLocal = (remote: string) => remote.startsWith('unix:');
    this.order = [
      ...remotes.filter(isLocal),
      ...shuffle(
        remotes.filter((remote) => !isLocal(remote)),
        random,
      ),
    ];
    this.triesLeft = remotes.length;
  }

  /** The next remote, and how long to wait before trying it. */
  next(): { remote: string; delayMs: number } {
    let delayMs = 0;
    if (this.triesLeft === 0) {
      const full = Math.min(this.backoff.maxMs, this.backoff.minMs * 2 ** this.rounds);
      delayMs = full / 2 + (full / 2) * this.random();
      this.rounds += 1;
      this.triesLeft = this.order.length;
    }
    this.triesLeft -= 1;
    this.at = (this.at + 1) % this.order.length;
    return { remote: this.order[this.at] as string, delayMs };
  }

  /** A connection served for a while: after its end every remote may be tried at once again. */
  succeeded(): void {
    this.rounds = 0;
    this.triesLeft = this.order.length;
  }
}

/** Fisher and Yates' shuffle of a copy. */
function shuffle<T>(items: readonly T[], random: Random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}
