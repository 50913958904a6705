// daolictl trace: what would become of a packet, step by step and host by host.

import type { Command } from 'commander';
import { formatEnd } from '../../api/ends';
import type { ShownHostTrace, ShownTrace } from '../../api/operations/trace';
import { withExamples, type CommandContext } from '../command-context';
import { queryOf } from '../formats';

export function traceCommand(daolictl: Command, context: CommandContext): void {
  withExamples(
    daolictl.command('trace'),
    'daolictl trace web db tcp/5432',
    'daolictl trace web h2/db',
    'daolictl trace web 198.51.100.7 udp/53',
  )
    .description('show what would become of a packet from a container to another, or to an address; sends nothing')
    .argument('<from>', 'a container, by name, id or host/name')
    .argument('<to>', 'likewise, or an IPv4 address')
    .argument('[transport]', 'tcp/PORT, udp/PORT, or icmp: an echo request, which is the default')
    .option('--network <name>', 'that of the source, where it is in several')
    .action(
      context.action(async (from: string, to: string, transport: string | undefined, rest: { network?: string }) => {
        const value = await context.client().get<ShownTrace>(`/v1/trace${queryOf({ from, to, transport, ...rest })}`);
        return { value, text: describe(value) };
      }),
    );
}

function describe({ from, to, transport, fate, agrees, hosts, unknown }: ShownTrace): string {
  const head = `${transport} from ${formatEnd(from)} to ${formatEnd(to)}: ${fate}`;
  const verdict = agrees ? 'Open vSwitch agrees.' : 'Open vSwitch differs:';
  const differences = hosts.flatMap(({ host, differences: all }) => all.map((each) => `  ${host}: ${each}`));
  const missing = unknown.map((each) => `not known of ${each}`);
  return [head, ...hosts.flatMap(describeHost), '', ...missing, [verdict, ...differences].join('\n')].join('\n');
}

function describeHost({ host, packet, policy, steps, route, fate }: ShownHostTrace): string[] {
  const width = Math.max(...steps.map(({ name }) => (name ?? '').length));
  const lines = steps.flatMap(({ table, name, what, actions }) => [
    `  ${table === null ? '+' : table} ${(name ?? '').padEnd(width)}  ${what}`,
    ...(actions.length === 0 ? [] : [`    ${' '.repeat(width)}    ${actions.join(', ')}`]),
  ]);
  return [
    '',
    `${host}: ${packet}`,
    ...(policy === null ? [] : [`  policy: ${policy}`]),
    ...lines,
    ...(route.length === 0
      ? []
      : ['  no route is there; the controller would install', ...route.map((flow) => `    ${flow}`)]),
    `  → ${fate}`,
  ];
}
