// daolictl route: the routes that are plugged in, and as they come and go.

import type { Command } from 'commander';
import { formatEnd } from '../../api/ends';
import type { ShownRoute, ShownRouteChange } from '../../api/operations/routes';
import { askAllHosts, missingLines } from '../all-hosts';
import { tableOf, withExamples, type CommandContext } from '../command-context';
import { formatAge, formatBytes, queryOf } from '../formats';
import { table } from '../table';

interface Ends {
  readonly from?: string;
  readonly to?: string;
}

const COLUMNS = {
  FROM: ({ from }: ShownRoute) => formatEnd(from),
  TO: ({ to }: ShownRoute) => formatEnd(to),
  WHAT: (route: ShownRoute) => whatOf(route),
  'SEEN ON': ({ seenOn }: ShownRoute) => seenOn,
  AGE: ({ ageSeconds }: ShownRoute) => formatAge(ageSeconds),
  IDLE: ({ idleSeconds }: ShownRoute) => formatAge(idleSeconds),
  PACKETS: ({ packets }: ShownRoute) => String(packets ?? '-'),
  BYTES: ({ bytes }: ShownRoute) => formatBytes(bytes),
};

export function routeCommands(daolictl: Command, context: CommandContext): void {
  const route = daolictl.command('route').description('the hot-plug routes between containers');
  withExamples(
    route.command('list').alias('ls'),
    'daolictl route list',
    'daolictl route list --from web',
    'daolictl route list --all',
  )
    .description('list the routes that are plugged in: both ends, hosts, age, idle time, packets and bytes')
    .option('--from <container>', 'those from a container')
    .option('--to <container>', 'those to a container')
    .option('--all', 'of all hosts of the cluster; on a server')
    .action(
      context.action(async ({ all = false, from, to }: Ends & { all?: boolean }) => {
        const path = `/v1/routes${queryOf({ from, to })}`;
        const { answers, missing } = all
          ? await askAllHosts<ShownRoute[]>(context, path)
          : { answers: [await context.client().get<ShownRoute[]>(path)], missing: [] };
        const routes = answers.flat();
        const { head, rows } = tableOf(COLUMNS, routes);
        return { value: routes, text: table(head, rows) + missingLines(missing) };
      }),
    );
  withExamples(route.command('watch'), 'daolictl route watch', 'daolictl --output json route watch --from web')
    .description('show routes as they come and go, until Ctrl-C')
    .option('--from <container>', 'those from a container')
    .option('--to <container>', 'those to a container')
    .action(async ({ from, to }: Ends) => {
      const path = `/v1/routes/watch${queryOf({ from, to })}`;
      for await (const change of context.client().lines<ShownRouteChange>(path)) {
        context.show({ value: change, text: changeLine(change) });
      }
    });
}

/** "14:02:11  came  h1/ann → h1/bob". */
function changeLine({ event, at, route }: ShownRouteChange): string {
  const time = new Date(at).toTimeString().slice(0, 8);
  const packets = event === 'went' && route.packets !== undefined ? `  (${route.packets} packets)` : '';
  const what = route.kind === 'conversation' ? `  ${whatOf(route)}` : '';
  return `${time}  ${event.padEnd(4)}  ${formatEnd(route.from)} → ${formatEnd(route.to)}${what}${packets}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 132: 'sctp' };

/** "all", "tcp 50000 → 80", "outside". */
function whatOf({ kind, conversation }: ShownRoute): string {
  if (conversation === undefined) return kind === 'egress' ? 'outside' : 'all';
  const { protocol, sourcePort, destinationPort, isFragments } = conversation;
  if (isFragments === true) return 'later fragments';
  const name = PROTOCOLS[protocol] ?? `protocol ${protocol}`;
  return sourcePort === undefined ? name : `${name} ${sourcePort} → ${destinationPort}`;
}
