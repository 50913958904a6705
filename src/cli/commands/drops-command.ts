// daolictl drops: what was dropped, where, why and how often.

import type { Command } from 'commander';
import { formatEnd } from '../../api/ends';
import type { ShownDenial, ShownDrop, ShownDrops } from '../../api/operations/drops';
import { askAllHosts, missingLines } from '../all-hosts';
import { tableOf, withExamples, type CommandContext } from '../command-context';
import { formatAge } from '../formats';
import { table } from '../table';

type OnHost<T> = T & { readonly onHost: string };

const DROPS = {
  HOST: ({ onHost }: OnHost<ShownDrop>) => onHost,
  WHERE: ({ where }: OnHost<ShownDrop>) => where,
  WHY: ({ why }: OnHost<ShownDrop>) => why,
  PACKETS: ({ packets }: OnHost<ShownDrop>) => String(packets),
  FROM: ({ from }: OnHost<ShownDrop>) => (from === null ? '-' : formatEnd(from)),
  TO: ({ to }: OnHost<ShownDrop>) => (to === null ? '-' : formatEnd(to)),
  MEANING: ({ meaning }: OnHost<ShownDrop>) => meaning,
};
const DENIALS = {
  HOST: ({ onHost }: OnHost<ShownDenial>) => onHost,
  'REFUSED BY THE POLICY': ({ from, to }: OnHost<ShownDenial>) => `${formatEnd(from)} → ${formatEnd(to)}`,
  PROTOCOL: ({ protocol }: OnHost<ShownDenial>) => protocol,
  PACKETS: ({ packets }: OnHost<ShownDenial>) => String(packets),
  LAST: ({ secondsAgo }: OnHost<ShownDenial>) => `${formatAge(secondsAgo)} ago`,
};

export function dropsCommand(daolictl: Command, context: CommandContext): void {
  withExamples(daolictl.command('drops'), 'daolictl drops', 'daolictl drops --all')
    .description('show what was dropped, where, why and how often, and what the policy refused of late')
    .option('--all', 'on all hosts of the cluster; on a server')
    .action(
      context.action(async ({ all = false }: { all?: boolean }) => {
        const { answers, missing } = all
          ? await askAllHosts<ShownDrops>(context, '/v1/drops')
          : { answers: [await context.client().get<ShownDrops>('/v1/drops')], missing: [] };
        return { value: all ? answers : answers[0], text: tables(answers) + missingLines(missing) };
      }),
    );
}

function tables(answers: readonly ShownDrops[]): string {
  const drops = answers.flatMap(({ host, drops: all }) => all.map((drop) => ({ ...drop, onHost: host })));
  const denials = answers.flatMap(({ host, denials: all }) => all.map((denial) => ({ ...denial, onHost: host })));
  const parts = [
    ...(drops.length === 0 ? [] : [tableOf(DROPS, drops)]),
    ...(denials.length === 0 ? [] : [tableOf(DENIALS, denials)]),
  ];
  if (parts.length === 0) return 'Nothing was dropped.';
  return parts.map(({ head, rows }) => table(head, rows)).join('\n\n');
}
