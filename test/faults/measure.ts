// What a load's records say about a stretch of time. Pure.

import { GIVE_UP_MS, type LoadRecord } from './load-program';

/** Two containers, and the hosts that they are on. */
export interface Pairing {
  readonly from: string;
  readonly to: string;
  readonly hosts: readonly [string, string];
}

export interface Measured {
  /** Datagrams that were not answered, of so many. */
  readonly lost: number;
  readonly sent: number;
  /** The longest time without an answer to a datagram, or that a line of a stream waited for its echo. */
  readonly silenceMs: number;
  /** Streams that broke. */
  readonly resets: number;
  /** New connections, and the longest wait for one; those that were never made count with all that they waited. */
  readonly opened: number;
  readonly longestNewMs: number;
  /** Answers from somebody else than who was meant. */
  readonly wrong: number;
  /** When something was lost or late for the last time; 0 where nothing was. */
  readonly troubleAt: number;
}

export interface Stretch {
  readonly from: number;
  readonly to: number;
}

/** What one container tried with one peer, in the order of the beginnings. */
export type Records = ReadonlyMap<string, readonly LoadRecord[]>;

/** Longer than an answer takes on a busy machine, a new route included. */
const LATE_MS = 500;

const NOTHING: Measured = {
  lost: 0,
  sent: 0,
  silenceMs: 0,
  resets: 0,
  opened: 0,
  longestNewMs: 0,
  wrong: 0,
  troubleAt: 0,
};

export const pairKey = ({ from, to }: Pick<Pairing, 'from' | 'to'>): string => `${from}>${to}`;

/** Adds up several pairs: sums of counts, and the longest of times. */
export function measure(records: Records, pairings: readonly Pairing[], stretch: Stretch): Measured {
  return pairings
    .map((pairing) => measureOne(records.get(pairKey(pairing)) ?? [], stretch))
    .reduce(
      (sum, each) => ({
        lost: sum.lost + each.lost,
        sent: sum.sent + each.sent,
        silenceMs: Math.max(sum.silenceMs, each.silenceMs),
        resets: sum.resets + each.resets,
        opened: sum.opened + each.opened,
        longestNewMs: Math.max(sum.longestNewMs, each.longestNewMs),
        wrong: sum.wrong + each.wrong,
        troubleAt: Math.max(sum.troubleAt, each.troubleAt),
      }),
      NOTHING,
    );
}

function measureOne(all: readonly LoadRecord[], { from, to }: Stretch): Measured {
  const inside = all.filter(
    ([kind, , at, ms]) => at <= to && at + (kind === 'new' && ms < 0 ? GIVE_UP_MS : ms) >= from,
  );
  const of = (kind: LoadRecord[0]) => inside.filter(([each]) => each === kind);
  const datagrams = of('udp').filter(([, , at]) => at >= from);
  const connections = of('new');
  const waits = connections.map(([, , , ms]) => (ms < 0 ? GIVE_UP_MS : ms));
  const echoes = of('tcp').map(([, , , ms]) => ms);
  return {
    lost: datagrams.filter(([, , , ms]) => ms < 0).length,
    sent: datagrams.length,
    silenceMs: Math.round(Math.max(longestSilence(datagrams), ...echoes, 0)),
    resets: of('reset').length,
    opened: connections.length,
    longestNewMs: Math.round(Math.max(...waits, 0)),
    wrong: of('wrong').length,
    troubleAt: Math.max(0, ...inside.map(troubleOf)),
  };
}

/** When a datagram was lost, or a late answer came. */
function troubleOf([kind, , at, ms]: LoadRecord): number {
  if (kind === 'reset' || ms < 0) return at;
  return ms > LATE_MS ? at + ms : 0;
}

/** From the sending of the first datagram that was lost to that of the next that was answered; or how long one answer took. */
function longestSilence(datagrams: readonly LoadRecord[]): number {
  let longest = 0;
  let since: number | undefined;
  for (const [, , at, ms] of [...datagrams].sort((one, other) => one[2] - other[2])) {
    if (ms < 0) since ??= at;
    else {
      longest = Math.max(longest, ms, since === undefined ? 0 : at - since);
      since = undefined;
    }
  }
  const last = datagrams.at(-1);
  return since === undefined || last === undefined ? longest : Math.max(longest, last[2] - since);
}
