// daolictl policy …: who may open conversations with whom, by protocol and port.

import { InvalidArgumentError, type Command } from 'commander';
import type { ShownDefault, ShownPolicy } from '../../api/operations/policies';
import type { Verdict } from '../../api/verdicts';
import { tableOf, withExamples, type CommandContext } from '../command-context';
import { verdictLine } from './pair-commands';

interface AddOptions {
  readonly from: string;
  readonly to: string;
  readonly name?: string;
  readonly before?: string;
}

/** What is spoken of: "tcp", "tcp/80", "udp/53,5000-5010". */
interface Spoken {
  readonly protocol?: string;
  readonly ports?: readonly string[];
}

const SELECTORS = `
FROM and TO are a container, service or network by its name, or
  any, container:NAME, container:HOST/NAME, service:NAME, network:NAME, group:NAME,
  label:KEY=VALUE, label:KEY, or a prefix like 10.1.0.0/16; "any" and prefixes mean addresses outside, too.
The first policy that speaks of a conversation decides; its answers pass. Pairs (daolictl connect) go before policies.`;

function parseSpoken(text: string): Spoken {
  const [, protocol, ports] = /^([a-z]+)(?:\/([\d,-]+))?$/.exec(text) ?? [];
  if (protocol === undefined)
    throw new InvalidArgumentError('It has to be a protocol, with ports, as in tcp/80 or icmp.');
  return { protocol, ...(ports !== undefined && { ports: ports.split(',') }) };
}

export function policyCommands(daolictl: Command, context: CommandContext): void {
  const policy = daolictl.command('policy').description('who may open conversations with whom, by protocol and port');
  for (const add of [addCommand, listCommand, removeCommand, checkCommand, defaultCommand]) add(policy, context);
}

function addCommand(policy: Command, { action, client }: CommandContext): void {
  withExamples(
    policy.command('add').addHelpText('after', SELECTORS),
    'daolictl policy add allow --from web --to db tcp/5432',
    'daolictl policy add deny --from network:shop --to any --name shop-closed',
    'daolictl policy add allow --from label:app=web --to 192.0.2.0/24 tcp/443 --before shop-closed',
  )
    .description('add one')
    .argument('<action>', 'allow or deny')
    .argument('[what]', 'protocol and ports: tcp, tcp/80, udp/53,5000-5010, icmp (default: everything)', parseSpoken)
    .requiredOption('--from <who>', 'who opens the conversation')
    .requiredOption('--to <whom>', 'with whom')
    .option('--name <name>', 'what it is called (default: the next of p1, p2, …)')
    .option('--before <policy>', 'the policy that it is to stand in front of (default: last)')
    .action(
      action(async (act: string, spoken: Spoken | undefined, options: AddOptions) => {
        const value = await client().post<ShownPolicy>('/v1/policies', { action: act, ...options, ...spoken });
        return { value, text: `Policy ${value.name}: ${value.rule}.` };
      }),
    );
}

function listCommand(policy: Command, { action, client }: CommandContext): void {
  withExamples(policy.command('list').alias('ls'), 'daolictl policy list')
    .description('list them in the order in which they are asked, and networks that are default deny')
    .action(
      action(async () => {
        const [policies, defaults] = await Promise.all([
          client().get<ShownPolicy[]>('/v1/policies'),
          client().get<ShownDefault[]>('/v1/policies/defaults'),
        ]);
        const denying = defaults.filter((each) => each.default === 'deny');
        const rows = [
          ...policies.map(({ name, rule }) => ({ name, rule })),
          ...denying.map(({ network }) => ({
            name: '(default)',
            rule: `deny between containers of network ${network}`,
          })),
        ];
        const columns = { POLICY: (row: { name: string }) => row.name, RULE: (row: { rule: string }) => row.rule };
        return { value: { policies, defaults }, text: tableOf<{ name: string; rule: string }>(columns, rows) };
      }),
    );
}

function removeCommand(policy: Command, { action, client }: CommandContext): void {
  withExamples(policy.command('rm <name>'), 'daolictl policy rm p1')
    .description('remove one')
    .action(
      action(async (name: string) => {
        const value = await client().delete<object>(`/v1/policies/${encodeURIComponent(name)}`);
        return { value, text: `Policy ${name} is gone.` };
      }),
    );
}

function checkCommand(policy: Command, { action, client }: CommandContext): void {
  withExamples(
    policy.command('check'),
    'daolictl policy check web db tcp/5432',
    'daolictl policy check web 192.0.2.7 tcp/443',
  )
    .description('say whether a container may open a conversation with another, or with an address outside, and why')
    .argument('<from>', 'a container, or an address outside')
    .argument('<to>', 'the other')
    .argument('[what]', 'protocol and port: tcp/80, udp/53, icmp', parseSpoken, { protocol: 'icmp' })
    .action(
      action(async (from: string, to: string, { protocol, ports: [port] = [] }: Spoken) => {
        const query = new URLSearchParams({ from, to, ...(protocol && { protocol }), ...(port && { port }) });
        const value = await client().get<Verdict[]>(`/v1/policies/check?${query.toString()}`);
        return { value, text: value.map(verdictLine).join('\n') };
      }),
    );
}

function defaultCommand(policy: Command, { action, client }: CommandContext): void {
  withExamples(policy.command('default <network> <action>'), 'daolictl policy default shop deny')
    .description('say what holds between containers of a network, and with those of its groups, where no rule does')
    .action(
      action(async (network: string, act: string) => {
        const value = await client().put<ShownDefault>(`/v1/policies/defaults/${encodeURIComponent(network)}`, {
          default: act,
        });
        const text =
          value.default === 'deny'
            ? `Containers of network ${value.network} are connected by pairs and policies alone.`
            : `Containers of network ${value.network} are connected, unless a rule says otherwise.`;
        return { value, text };
      }),
    );
}
