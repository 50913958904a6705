// All faults, in the order in which they are made: those that leave a host as it was come first.

import type { Fault } from '../fault';
import { databaseFaults } from './database';
import { hostFaults } from './hosts';
import { networkFaults } from './network';
import { processFaults } from './processes';

export const FAULTS: readonly Fault[] = [...processFaults, ...networkFaults, ...databaseFaults, ...hostFaults];

/** Throws, naming what there is, where there is none of that name. */
export function faultCalled(name: string): Fault {
  const found = FAULTS.find((fault) => fault.name === name);
  if (found !== undefined) return found;
  throw new Error(`there is no fault ${name}; there are ${FAULTS.map((fault) => fault.name).join(', ')}`);
}
