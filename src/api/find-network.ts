// Which network somebody means: by its name, its id, or the beginning of that (four digits at least).

import { DaoliError } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import type { NetworkRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

const ID_PREFIX = /^[0-9a-z]{4,64}$/;
const SHOWN_ID = 12;

/** The network that is meant. Throws `not-found`, with names that are like it, and `conflict` where there are several. */
export function findNetwork(view: DirectoryView, text: string): NetworkRow {
  const all = [...view.networks()];
  const named = all.filter(({ name }) => name === text);
  const found = named.length > 0 || !ID_PREFIX.test(text) ? named : all.filter(({ id }) => id.startsWith(text));
  const [network, ...others] = found;
  if (network === undefined) {
    const hint = didYouMean(
      text,
      all.flatMap(({ name }) => name ?? []),
    );
    throw new DaoliError('not-found', `network ${text} does not exist, or is none of DaoliNet${hint}`, text);
  }
  if (others.length === 0) return network;
  const shown = found.map(({ name, id, tenant }) => `${name ?? '-'} (${id.slice(0, SHOWN_ID)}, tenant ${tenant})`);
  throw new DaoliError(
    'conflict',
    `${text} is ${found.length} networks: ${shown.sort().join(', ')}; give its id`,
    text,
  );
}

/** How a network is called in answers: by its name, where that is known by now. */
export function networkLabel({ name, id }: NetworkRow): string {
  return name ?? id.slice(0, SHOWN_ID);
}
