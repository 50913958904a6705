// daolictl firewall …: ports of hosts that lead to containers, wherever these run.

import { InvalidArgumentError, type Command } from 'commander';
import type { ShownFirewallRule } from '../../api/operations/firewall';
import { tableOf, withExamples, type CommandContext } from '../command-context';

/** What --rule says. */
interface Ports {
  readonly hostPort: number;
  readonly hostIp?: string;
  readonly containerPort: number;
  readonly protocol?: 'tcp' | 'udp';
}

interface CreateOptions {
  readonly container: string;
  readonly rule: Ports;
  readonly from?: readonly string[];
}

const ABOUT_HOSTS = `
HOST-IP is the address of a host of the cluster (daolictl host ls), or one of this host: the port is there, on that address
alone. Without it the port is on every address of the host where the container runs now. It stays there, and leads to the
container wherever it runs. With its host in front, as in h1/web, the rule is for the container of that name there alone.`;

export function firewallCommands(daolictl: Command, context: CommandContext): void {
  const firewall = daolictl
    .command('firewall')
    .description('ports of hosts that lead to containers, wherever they run');
  for (const add of [createCommand, listCommand, showCommand, deleteCommand]) add(firewall, context);
}

function createCommand(firewall: Command, { action, client }: CommandContext): void {
  withExamples(
    firewall.command('create').addHelpText('after', ABOUT_HOSTS),
    'daolictl firewall create --container web --rule 20022:22 web-ssh',
    'daolictl firewall create --container web --rule 443:192.0.2.1:8443 --from 198.51.100.0/24 web-tls',
    'daolictl firewall create --container dns --rule 5353:53/udp names',
  )
    .description('open a port of a host to a container')
    .argument('<name>', 'what the rule is called')
    .requiredOption('--container <container>', 'whom it leads to: a name or id')
    .requiredOption(
      '--rule <rule>',
      'PORT:CONTAINER-PORT or PORT:HOST-IP:CONTAINER-PORT, with /udp behind it for UDP',
      parseRule,
    )
    .option('--from <prefix>', 'who may come, again for more (default: everybody)', collect)
    .action(
      action(async (name: string, { container, rule, from }: CreateOptions) => {
        const body = { name, container, ...rule, ...(from !== undefined && { from }) };
        const value = await client().post<ShownFirewallRule>('/v1/firewall', body);
        return { value, text: `${portOf(value)} of ${hostOf(value)} leads to ${targetOf(value)}.` };
      }),
    );
}

function listCommand(firewall: Command, { action, client }: CommandContext): void {
  withExamples(firewall.command('list').alias('ls'), 'daolictl firewall list')
    .description('list all rules')
    .action(
      action(async () => {
        const value = await client().get<ShownFirewallRule[]>('/v1/firewall');
        return { value, text: tableOf(COLUMNS, value) };
      }),
    );
}

function showCommand(firewall: Command, { action, client }: CommandContext): void {
  withExamples(firewall.command('show <container>'), 'daolictl firewall show web')
    .description('show the rules that lead to a container')
    .action(
      action(async (container: string) => {
        const value = await client().get<ShownFirewallRule[]>(
          `/v1/containers/${encodeURIComponent(container)}/firewall`,
        );
        return { value, text: tableOf(COLUMNS, value) };
      }),
    );
}

function deleteCommand(firewall: Command, { action, client }: CommandContext): void {
  withExamples(firewall.command('delete <name...>').alias('rm'), 'daolictl firewall delete web-ssh web-tls')
    .description('delete rules: their ports are closed, with the connections that came by them')
    .action(
      action(async (names: string[]) => {
        const value = await client().delete<object>(`/v1/firewall/${names.map(encodeURIComponent).join(',')}`);
        return { value, text: `${names.length === 1 ? 'Rule' : 'Rules'} ${names.join(', ')} deleted.` };
      }),
    );
}

const COLUMNS: Readonly<Record<string, (rule: ShownFirewallRule) => string>> = {
  RULE: ({ name }) => name,
  HOST: ({ host }) => host,
  PORT: ({ hostIp, hostPort, protocol }) => `${hostIp === null ? '' : `${hostIp}:`}${hostPort}/${protocol}`,
  CONTAINER: ({ container, containerPort }) => `${container}:${containerPort}`,
  'RUNS ON': ({ runsOn }) => runsOn ?? '-',
  FROM: ({ from }) => (from.length === 0 ? 'everybody' : from.join(', ')),
  STATUS: ({ status }) => status ?? 'not known yet',
};

const portOf = ({ hostPort, protocol }: ShownFirewallRule): string => `Port ${hostPort}/${protocol}`;
const hostOf = ({ host, hostIp }: ShownFirewallRule): string => `host ${host}${hostIp === null ? '' : ` (${hostIp})`}`;
const targetOf = ({ container, containerPort }: ShownFirewallRule): string =>
  `port ${containerPort} of container ${container}`;

function parseRule(text: string): Ports {
  const [, hostPort, hostIp, containerPort, protocol] =
    /^(\d+):(?:(\d+\.\d+\.\d+\.\d+):)?(\d+)(?:\/(tcp|udp))?$/.exec(text) ?? [];
  if (hostPort === undefined || containerPort === undefined) {
    throw new InvalidArgumentError('It has to be like 20022:22, 20022:192.0.2.1:22 or 5353:53/udp.');
  }
  return {
    hostPort: parsePort(hostPort),
    containerPort: parsePort(containerPort),
    ...(hostIp !== undefined && { hostIp }),
    ...(protocol !== undefined && { protocol: protocol as 'tcp' | 'udp' }),
  };
}

function parsePort(text: string): number {
  const port = Number(text);
  if (port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError(`${text} is no port: give 1 to 65535.`);
}

function collect(prefix: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...prefix.split(',')];
}
