// Names of things that there are, for who is typing one.

import { z } from 'zod';
import type { DirectoryView } from '../../directory/view';
import { text } from '../fields';
import { directoryOf, operation, type ApiAgent } from '../operation';

export const NAME_KINDS = ['container', 'group', 'host', 'network', 'policy'] as const;
export type NameKind = (typeof NAME_KINDS)[number];

/** Nobody chooses among more. */
const MAX_NAMES = 200;

export const nameOperations = [
  operation({
    id: 'listNames',
    method: 'get',
    path: '/v1/names/{kind}',
    tag: 'names',
    summary: `The names of containers, networks and so on that begin with a text, ${MAX_NAMES} at most`,
    parameters: z.strictObject({ kind: z.enum(NAME_KINDS, { error: `is none of ${NAME_KINDS.join(', ')}` }) }),
    query: z.strictObject({
      prefix: text.optional().meta({ description: 'of containers also HOST/NAME, or its beginning' }),
    }),
    answer: z.array(z.string()),
    needsDirectory: true,
    handle: (agent: ApiAgent, { parameters: { kind }, query: { prefix = '' } }) => {
      const names = new Set<string>();
      for (const name of namesOf(directoryOf(agent), kind, prefix.includes('/'))) {
        if (name.startsWith(prefix)) names.add(name);
        if (names.size >= MAX_NAMES) break;
      }
      return [...names].sort();
    },
  }),
];

function* namesOf(view: DirectoryView, kind: NameKind, isWithHost: boolean): Iterable<string> {
  switch (kind) {
    case 'container':
      for (const { containerName, host } of view.endpoints()) {
        if (containerName !== undefined) yield isWithHost ? `${host}/${containerName}` : containerName;
      }
      return;
    case 'network':
      for (const { name } of view.networks()) if (name !== undefined) yield name;
      return;
    case 'host':
      for (const { name } of view.hosts()) yield name;
      return;
    case 'group':
      for (const { name } of view.groups()) yield name;
      return;
    case 'policy':
      for (const { name } of view.policies()) yield name;
  }
}
