// What the panels are made from.

import type { Colours } from '../colours';
import type { Picture } from '../picture';
import type { World } from '../world';

export interface Scene {
  readonly world: World;
  readonly picture: Picture;
  readonly colours: Colours;
  readonly now: number;
  /** What is chosen: one thing, or two containers. */
  readonly chosen: readonly string[];
  /** The networks that are clear; undefined: all. */
  readonly highlighted: ReadonlySet<string> | undefined;
  /** The text of the search. */
  readonly search: string;
}

/** What somebody does in a panel. */
export interface Deeds {
  readonly choose: (ids: readonly string[]) => void;
  /** Waits for a click on the other container of a pair. */
  readonly choosePartner: () => void;
  readonly highlight: (networks: ReadonlySet<string> | undefined) => void;
  /** Asks the agent; what it refuses is shown in `place`. Draws anew when it is done. */
  readonly change: (place: ErrorPlace, act: () => Promise<unknown>) => void;
  readonly error: (place: ErrorPlace) => string;
}

export type ErrorPlace = 'networks' | 'policy' | 'pair';
