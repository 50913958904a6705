// When this host takes over the datapath of another one that it stands by for, and when it lets go: a state machine, pure. What
// happens goes in as events, with the facts as they are at that moment; what is to be done comes out as effects. Two things keep
// two masters apart: the generation in the directory, which one host alone can raise by one, and the datapath itself, which
// refuses an older generation and takes the role from whoever had it.
//
//   standing by ──► waiting ──► claiming ──► taking ──► master
//        ▲  (rank)      │ (directory)  │ (datapath)  │
//        └──────────────┴──────────────┴─────────────┘  the other is back, was faster, or the datapath is away

import type { Taken } from './ports';

/** The second backup gives the first this time. */
export const RANK_MS = 700;
/** Until it is tried again: each time twice as long where the directory was written, or another was faster, and it failed. */
export const RETRY_MS = 250;
export const MAX_RETRY_MS = 8_000;
/** The directory may name another master for so long while this host is: then that one has not come. */
export const DISPUTE_MS = 3_000;

/** What is so at this moment. */
export interface Facts {
  /** This host's place among the backups, 0 for the first; undefined: it is none (any more). */
  readonly rank: number | undefined;
  /** The datapath is connected here, and has been for a moment. */
  readonly isConnected: boolean;
  /** What the other host has told of its datapath can be read: nothing is claimed that cannot be served then. */
  readonly isDescribed: boolean;
  /** The other host's own controller is in charge, or may be. */
  readonly isServed: boolean;
  /** The directory's, as far as this host knows. */
  readonly generation: number;
  /** `rival`: another backup that is there. */
  readonly master: 'owner' | 'self' | 'rival' | 'nobody';
}

/** `tries`: how often it has failed since it stood by. */
export type State =
  | { readonly kind: 'standing-by' }
  /** Until its time has come. */
  | { readonly kind: 'waiting'; readonly tries: number }
  /** The directory is being written. */
  | { readonly kind: 'claiming'; readonly tries: number }
  /** The datapath is being asked. */
  | { readonly kind: 'taking'; readonly tries: number }
  | { readonly kind: 'master'; readonly isDisputed: boolean };

export type Event =
  /** Facts may have changed. */
  | { readonly kind: 'look' }
  /** The time that was asked for is over. */
  | { readonly kind: 'due' }
  /** `lost`: somebody else was faster. `failed`: the directory could not be had. */
  | { readonly kind: 'claimed'; readonly outcome: 'done' | 'lost' | 'failed'; readonly generation: number }
  /** `unready`: the directory could not be had, and nothing was asked of the datapath. */
  | { readonly kind: 'taken'; readonly outcome: Taken | 'unready' }
  /** The datapath has said that another is master. */
  | { readonly kind: 'demoted' };

export type Effect =
  /** Sends `due` then, instead of one that is under way. */
  | { readonly kind: 'wait'; readonly ms: number }
  /** This host becomes master in the directory, of the generation after this one. */
  | { readonly kind: 'claim'; readonly generation: number }
  | { readonly kind: 'take'; readonly generation: number }
  | { readonly kind: 'release' }
  /** Nobody is master in the directory, if it was this host. */
  | { readonly kind: 'resign' }
  /** The other host is there: it counts as serving until it had time to say so. */
  | { readonly kind: 'presume' };

export interface Step {
  readonly state: State;
  readonly effects: readonly Effect[];
}

export const STANDING_BY: State = { kind: 'standing-by' };

const RELEASE: Effect = { kind: 'release' };

/** What an event does, with the facts after it. Whatever it was on the way to, a host that stands by has let go. */
export function step(state: State, event: Event, facts: Facts): Step {
  const next = advance(state, event, facts);
  const isBack = next.state.kind === 'standing-by' && state.kind !== 'standing-by';
  return isBack ? { state: next.state, effects: [RELEASE, ...next.effects] } : next;
}

function advance(state: State, event: Event, facts: Facts): Step {
  if (event.kind === 'demoted') return demoted(state);
  switch (state.kind) {
    case 'standing-by':
      return standing(event, facts);
    case 'waiting':
      return wait(state, event, facts);
    case 'claiming':
      return event.kind === 'claimed' ? claimed(state, event, facts) : stay(state);
    case 'taking':
      return event.kind === 'taken' ? taken(state, event.outcome, facts) : stay(state);
    case 'master':
      return reign(state, event, facts);
  }
}

/** Whether nobody serves the datapath who has a better right to it. */
function isWanted({ rank, isConnected, isDescribed, isServed, master }: Facts): boolean {
  return rank !== undefined && isConnected && isDescribed && !isServed && master !== 'rival';
}

function stay(state: State): Step {
  return { state, effects: [] };
}

function standBy(...effects: Effect[]): Step {
  return { state: STANDING_BY, effects };
}

/** What was under way when the datapath said that another is master is undone. */
function standing(event: Event, facts: Facts): Step {
  if (event.kind === 'look') return begin(facts);
  if (event.kind === 'claimed' && event.outcome === 'done') return standBy({ kind: 'resign' });
  if (event.kind !== 'taken' || event.outcome !== 'master') return stay(STANDING_BY);
  return standBy(RELEASE, { kind: 'resign' });
}

/** One that was master before, as before its agent's restart, has no turn to wait for. */
function begin(facts: Facts): Step {
  const { rank = 0, master } = facts;
  if (!isWanted(facts)) return stay(STANDING_BY);
  if (rank === 0 || master === 'self') return claim(facts, 0);
  return { state: { kind: 'waiting', tries: 0 }, effects: [{ kind: 'wait', ms: rank * RANK_MS }] };
}

function wait(state: State & { readonly kind: 'waiting' }, event: Event, facts: Facts): Step {
  if (!isWanted(facts)) return standBy();
  return event.kind === 'due' ? claim(facts, state.tries) : stay(state);
}

/** A generation that is this host's in the directory is nobody else's: also where the answer to its claim was lost. */
function claim({ master, generation }: Facts, tries: number): Step {
  if (master === 'self') return { state: { kind: 'taking', tries }, effects: [{ kind: 'take', generation }] };
  return { state: { kind: 'claiming', tries }, effects: [{ kind: 'claim', generation }] };
}

type Claimed = Event & { readonly kind: 'claimed' };

function claimed(
  { tries }: State & { readonly kind: 'claiming' },
  { outcome, generation }: Claimed,
  facts: Facts,
): Step {
  if (outcome === 'failed') return again(tries);
  if (outcome === 'lost') return isWanted(facts) ? again(tries + 1) : standBy();
  const isStill = isWanted({ ...facts, master: 'self' });
  if (isStill) return { state: { kind: 'taking', tries }, effects: [{ kind: 'take', generation }] };
  return standBy({ kind: 'resign' });
}

/** Later, and later still the more often it has failed: each time it writes into the directory, for all to read. */
function again(tries: number, ...before: Effect[]): Step {
  const ms = Math.min(RETRY_MS * 2 ** Math.max(0, tries - 1), MAX_RETRY_MS);
  return { state: { kind: 'waiting', tries }, effects: [...before, { kind: 'wait', ms }] };
}

function taken({ tries }: State & { readonly kind: 'taking' }, outcome: Taken | 'unready', facts: Facts): Step {
  if (outcome === 'master') return reign({ kind: 'master', isDisputed: false }, { kind: 'look' }, facts);
  if (outcome === 'unready') return again(tries);
  // Its own controller was there without the directory (should it be gone again, the next generation may be enough), or the
  // datapath went, or cannot be served for a reason of this host's.
  if (!isWanted({ ...facts, master: 'self' })) return standBy({ kind: 'resign' });
  return again(tries + 1, RELEASE, { kind: 'resign' });
}

function reign(state: State & { readonly kind: 'master' }, event: Event, facts: Facts): Step {
  const { rank, isConnected, master } = facts;
  if (rank === undefined || !isConnected) return standBy({ kind: 'resign' });
  // It reigns until the datapath says otherwise: who comes after it writes into the directory first.
  if (master === 'self') return stay({ kind: 'master', isDisputed: false });
  if (!state.isDisputed) {
    return { state: { kind: 'master', isDisputed: true }, effects: [{ kind: 'wait', ms: DISPUTE_MS }] };
  }
  return event.kind === 'due' ? claim(facts, 0) : stay(state);
}

function demoted(state: State): Step {
  return state.kind === 'standing-by' ? stay(state) : standBy({ kind: 'presume' });
}
