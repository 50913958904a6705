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
/** Until the directory, or a datapath that has seen a later generation, is tried again. */
export const RETRY_MS = 250;
/** The directory may name another master for so long while this host is: then that one has not come. */
export const DISPUTE_MS = 3_000;

/** What is so at this moment. */
export interface Facts {
  /** This host's place among the backups, 0 for the first; undefined: it is none (any more). */
  readonly rank: number | undefined;
  /** The datapath is connected here, and has been for a moment. */
  readonly isConnected: boolean;
  /** The other host's own controller is in charge, or may be. */
  readonly isServed: boolean;
  /** The directory's, as far as this host knows. */
  readonly generation: number;
  /** `rival`: another backup that is there. */
  readonly master: 'owner' | 'self' | 'rival' | 'nobody';
}

export type State =
  | { readonly kind: 'standing-by' }
  /** Until its time has come. */
  | { readonly kind: 'waiting' }
  /** The directory is being written. */
  | { readonly kind: 'claiming' }
  /** The datapath is being asked. */
  | { readonly kind: 'taking' }
  | { readonly kind: 'master'; readonly isDisputed: boolean };

export type Event =
  /** Facts may have changed. */
  | { readonly kind: 'look' }
  /** The time that was asked for is over. */
  | { readonly kind: 'due' }
  /** `lost`: somebody else was faster. `failed`: the directory could not be had. */
  | { readonly kind: 'claimed'; readonly outcome: 'done' | 'lost' | 'failed'; readonly generation: number }
  | { readonly kind: 'taken'; readonly outcome: Taken }
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

/** What an event does, with the facts after it. */
export function step(state: State, event: Event, facts: Facts): Step {
  if (event.kind === 'demoted') return demoted(state);
  switch (state.kind) {
    case 'standing-by':
      return standing(event, facts);
    case 'waiting':
      return wait(state, event, facts);
    case 'claiming':
      return event.kind === 'claimed' ? claimed(event, facts) : stay(state);
    case 'taking':
      return event.kind === 'taken' ? taken(event.outcome, facts) : stay(state);
    case 'master':
      return reign(state, event, facts);
  }
}

/** Whether nobody serves the datapath who has a better right to it. */
function isWanted({ rank, isConnected, isServed, master }: Facts): boolean {
  return rank !== undefined && isConnected && !isServed && master !== 'rival';
}

function stay(state: State): Step {
  return { state, effects: [] };
}

/** What was under way when the datapath said that another is master is undone. */
function standing(event: Event, facts: Facts): Step {
  if (event.kind === 'look') return standBy(facts);
  if (event.kind === 'claimed' && event.outcome === 'done')
    return { state: STANDING_BY, effects: [{ kind: 'resign' }] };
  if (event.kind !== 'taken' || event.outcome !== 'master') return stay(STANDING_BY);
  return { state: STANDING_BY, effects: [{ kind: 'release' }, { kind: 'resign' }] };
}

/** One that was master before, as before its agent's restart, has no turn to wait for. */
function standBy(facts: Facts): Step {
  const { rank = 0, master } = facts;
  if (!isWanted(facts)) return stay(STANDING_BY);
  if (rank === 0 || master === 'self') return claim(facts);
  return { state: { kind: 'waiting' }, effects: [{ kind: 'wait', ms: rank * RANK_MS }] };
}

function wait(state: State, event: Event, facts: Facts): Step {
  if (!isWanted(facts)) return stay(STANDING_BY);
  return event.kind === 'due' ? claim(facts) : stay(state);
}

/** A generation that is this host's in the directory is nobody else's: also where the answer to its claim was lost. */
function claim({ master, generation }: Facts): Step {
  if (master === 'self') return { state: { kind: 'taking' }, effects: [{ kind: 'take', generation }] };
  return { state: { kind: 'claiming' }, effects: [{ kind: 'claim', generation }] };
}

function claimed({ outcome, generation }: Event & { readonly kind: 'claimed' }, facts: Facts): Step {
  if (outcome === 'failed') return retry();
  if (outcome === 'lost') return standBy(facts);
  const isStill = isWanted({ ...facts, master: 'self' });
  if (isStill) return { state: { kind: 'taking' }, effects: [{ kind: 'take', generation }] };
  return { state: STANDING_BY, effects: [{ kind: 'resign' }] };
}

function retry(): Step {
  return { state: { kind: 'waiting' }, effects: [{ kind: 'wait', ms: RETRY_MS }] };
}

function taken(outcome: Taken, facts: Facts): Step {
  if (outcome === 'master') return reign({ kind: 'master', isDisputed: false }, { kind: 'look' }, facts);
  const effects: Effect[] = [{ kind: 'release' }, { kind: 'resign' }];
  if (outcome === 'away') return { state: STANDING_BY, effects };
  // Its own controller was there without the directory. Should it be gone again, the next generation may be enough.
  return { state: { kind: 'waiting' }, effects: [...effects, { kind: 'wait', ms: RETRY_MS }] };
}

function reign(state: State & { readonly kind: 'master' }, event: Event, facts: Facts): Step {
  const { rank, isConnected, master } = facts;
  if (rank === undefined || !isConnected) {
    return { state: STANDING_BY, effects: [{ kind: 'release' }, { kind: 'resign' }] };
  }
  // It reigns until the datapath says otherwise: who comes after it writes into the directory first.
  if (master === 'self') return stay({ kind: 'master', isDisputed: false });
  if (!state.isDisputed) {
    return { state: { kind: 'master', isDisputed: true }, effects: [{ kind: 'wait', ms: DISPUTE_MS }] };
  }
  return event.kind === 'due' ? claim(facts) : stay(state);
}

function demoted(state: State): Step {
  if (state.kind === 'standing-by') return stay(state);
  return { state: STANDING_BY, effects: [{ kind: 'release' }, { kind: 'presume' }] };
}
