// Pairs of containers that are connected or disconnected, whatever networks and policies say.

import { z } from 'zod';
import { DaoliError } from '../../base/errors';
import { findPair } from '../../directory/control-operations';
import type { PairRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import { shownPair } from '../../policy/rule';
import { formatSelector } from '../../policy/selector';
import { flag, name } from '../fields';
import { findContainer } from '../find-container';
import { findPairSide } from '../find-selector';
import { directoryOf, operation } from '../operation';
import { VERDICT, verdictsBetween, type Verdict } from '../verdicts';
import type { RulesAgent } from './groups';

const PAIR = z
  .object({
    a: z.string().meta({ description: 'whom it is about: "container:web", "container:h1/web", "service:web"' }),
    b: z.string(),
    name: z.string().meta({ description: 'as commands take it: "db:web"' }),
    connected: z.boolean().nullable().meta({ description: 'null where nothing is said about the two' }),
    notes: z.array(z.string()).meta({ description: 'for how long it holds' }),
  })
  .meta({ id: 'Pair' });
export type ShownPair = z.infer<typeof PAIR>;

const PAIR_STATE = PAIR.extend({
  verdicts: z.array(VERDICT).meta({ description: 'what holds between them now, in both directions' }),
}).meta({ id: 'PairState' });
export type ShownPairState = z.infer<typeof PAIR_STATE>;

const SHARED = { tag: 'pairs', path: '/v1/pairs/{a}/{b}', needsDirectory: true } as const;
const both = z.strictObject({ a: name, b: name });

export const pairOperations = [
  operation({
    ...SHARED,
    id: 'listPairs',
    method: 'get',
    path: '/v1/pairs',
    summary: 'All pairs about which something is said',
    answer: z.array(PAIR),
    handle: (agent: RulesAgent) => [...directoryOf(agent).pairs()].map((row) => describe(row.a, row.b, row)),
  }),
  operation({
    ...SHARED,
    id: 'showPair',
    method: 'get',
    summary: 'What is said about two containers, and what holds between them',
    parameters: both,
    answer: PAIR_STATE,
    errors: ['not-found', 'conflict'],
    handle: (agent: RulesAgent, { parameters }) => {
      const view = directoryOf(agent);
      const [a, b] = sides(view, parameters);
      return { ...describe(a, b, findPair(view, a, b)), verdicts: verdicts(view, parameters) };
    },
  }),
  operation({
    ...SHARED,
    id: 'setPair',
    method: 'put',
    summary: 'Connects or disconnects two containers, in both directions. On a server of the cluster',
    parameters: both,
    body: z.strictObject({ connected: flag }),
    answer: PAIR,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters, body }) => {
      const view = directoryOf(agent);
      const [a, b] = sides(view, parameters);
      await agent.rules.setPair(a, b, body.connected);
      return describe(a, b, findPair(view, a, b));
    },
  }),
  operation({
    ...SHARED,
    id: 'clearPair',
    method: 'delete',
    summary: 'Lets networks and policies decide again about two containers. On a server of the cluster',
    parameters: both,
    answer: PAIR,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters }) => {
      const view = directoryOf(agent);
      const [a, b] = known(view, parameters) ?? sides(view, parameters);
      await agent.rules.clearPair(a, b);
      return describe(a, b, findPair(view, a, b));
    },
  }),
];

function sides(view: DirectoryView, { a, b }: { readonly a: string; readonly b: string }): [string, string] {
  return [formatSelector(findPairSide(view, a)), formatSelector(findPairSide(view, b))];
}

/** A pair that is there can be cleared when its containers are gone, too. */
function known(
  view: DirectoryView,
  { a, b }: { readonly a: string; readonly b: string },
): [string, string] | undefined {
  const means = (selector: string, text: string) => selector === text || selector.replace(/^[a-z]+:/, '') === text;
  const row = [...view.pairs()].find(
    (pair) => (means(pair.a, a) && means(pair.b, b)) || (means(pair.a, b) && means(pair.b, a)),
  );
  return row && [row.a, row.b];
}

function describe(a: string, b: string, row: PairRow | undefined): ShownPair {
  const names = [a, b].map((each) => each.replace(/^[a-z]+:/, ''));
  const notes = row === undefined ? [] : [`it holds for whatever is made again as ${names.join(' or ')}`];
  return { a, b, name: shownPair(a, b), connected: row?.isConnected ?? null, notes };
}

/** In both directions, where both are there. */
function verdicts(view: DirectoryView, { a, b }: { readonly a: string; readonly b: string }): Verdict[] {
  const [one, other] = [found(view, a), found(view, b)];
  if (one === undefined || other === undefined) return [];
  return [...verdictsBetween(view, one, other), ...verdictsBetween(view, other, one)];
}

function found(view: DirectoryView, text: string) {
  const selector = findPairSide(view, text);
  if (selector.kind !== 'container') return undefined;
  try {
    return findContainer(view, selector.host === undefined ? selector.name : `${selector.host}/${selector.name}`);
  } catch (error) {
    // A rule may be about a container that is not there, or is several.
    if (error instanceof DaoliError && (error.code === 'not-found' || error.code === 'conflict')) return undefined;
    throw error;
  }
}
