// Faults by chance, one after another, for as long as is asked, with the load all along: nothing of what must not be, and nothing grows.

import type { Fault } from './fault';
import { FAULTS } from './faults/all';
import type { Stage } from './stage';
import type { Outcome, Trial } from './trial';
import { growth, vitalsOf, type Vitals } from './vitals';

export interface Soaked {
  readonly outcomes: readonly Outcome[];
  readonly vitals: readonly Vitals[];
  /** What must not be. */
  readonly broken: readonly string[];
}

/** Those that a stage can have any number of times. */
const REPEATABLE = FAULTS.filter(({ isLast, prepare }) => isLast !== true && prepare === undefined);

/** Goes on until the time is over or something is broken. `say` hears of each fault. */
export async function soak(
  stage: Stage,
  trial: Trial,
  ms: number,
  say: (outcome: Outcome, vitals: Vitals) => void = () => undefined,
): Promise<Soaked> {
  const end = Date.now() + ms;
  const outcomes: Outcome[] = [];
  const vitals: Vitals[] = [];
  while (Date.now() < end && outcomes.every(({ broken }) => broken.length === 0)) {
    const outcome = await trial.run(REPEATABLE[Math.floor(stage.random() * REPEATABLE.length)] as Fault);
    outcomes.push(outcome);
    vitals.push(vitalsOf(stage));
    say(outcome, vitals.at(-1) ?? {});
  }
  const broken = outcomes.flatMap((outcome) => outcome.broken.map((each) => `${outcome.fault.name}: ${each}`));
  return { outcomes, vitals, broken: [...broken, ...growth(vitals)] };
}
