// daolictl host …: the hosts of the cluster.

import type { Command } from 'commander';
import type { ClusterStatus, ShownHost } from '../../api/operations/cluster';
import { table } from '../table';
import { tableOf, withExamples, type CommandContext, type Table } from '../command-context';

interface SetOptions {
  readonly site?: string;
  readonly hub?: boolean;
  readonly encrypt?: boolean;
}

export function hostCommands(daolictl: Command, context: CommandContext): void {
  const host = daolictl.command('host').description('the hosts of the cluster');
  withExamples(host.command('ls'), 'daolictl host ls')
    .description('list them')
    .action(
      context.action(async () => {
        const status = await context.client().get<ClusterStatus>('/v1/cluster');
        const { head, rows } = hostTable(status.hosts);
        return { value: status.hosts, text: [table(head, rows), ...linesBelow(status)].join('\n') };
      }),
    );
  withExamples(
    host.command('set <name>'),
    'daolictl host set h3 --site cloud',
    'daolictl host set h1 --hub',
    'daolictl host set h2 --no-encrypt',
  )
    .description('say where a host is, whether it is a hub, and whether it encrypts inside of its site')
    .option('--site <name>', 'its site: between two sites packets are encrypted')
    .option('--hub', 'it passes packets on between hosts that cannot reach each other')
    .option('--no-hub', 'it does not')
    .option('--encrypt', 'its packets are encrypted inside of its site, too')
    .option('--no-encrypt', 'they are not')
    .action(
      context.action(async (name: string, { site, hub, encrypt }: SetOptions) => {
        const body = { site, isHub: hub, encrypts: encrypt };
        const value = await context.client().put(`/v1/cluster/hosts/${encodeURIComponent(name)}`, body);
        return { value, text: `Host ${name} is so now.` };
      }),
    );
  for (const [word, done] of [
    ['approve', 'may come in'],
    ['refuse', 'does not come in'],
  ] as const) {
    withExamples(host.command(`${word} <name>`), `daolictl host ${word} laptop`)
      .description(`say ${word === 'approve' ? 'yes' : 'no'} to a host that waits to be let in`)
      .action(
        context.action(async (name: string) => {
          const value = await context.client().put(`/v1/cluster/waiting/${encodeURIComponent(name)}/${word}`);
          return { value, text: `Host ${name} ${done}.` };
        }),
      );
  }
  withExamples(host.command('rm <name>'), 'daolictl host rm h3')
    .description('put a host out of the cluster, with its containers’ endpoints and addresses')
    .action(
      context.action(async (name: string) => {
        const value = await context.client().delete(`/v1/cluster/hosts/${encodeURIComponent(name)}`);
        const remedy = 'On it, `daolictl cluster leave` makes it one of its own.';
        return { value, text: `Host ${name} is out of the cluster. ${remedy}` };
      }),
    );
}

/** What stands below the table of hosts. */
export function linesBelow(status: ClusterStatus): string[] {
  return [...noL2Line(status), ...versionLine(status), ...chargeLines(status), ...waitingLines(status)];
}

function noL2Line({ hosts }: ClusterStatus): string[] {
  const named = hosts.flatMap(({ name, noL2 }) =>
    noL2 === null ? [] : [noL2 === 'detected' ? `${name} (detected)` : name],
  );
  return named.length === 0 ? [] : [`without an L2 in common with their site: ${named.join(', ')}`];
}

/** Where not all are alike, as in the middle of an upgrade. */
function versionLine({ hosts }: ClusterStatus): string[] {
  const versions = [...new Set(hosts.map(({ version }) => version))];
  if (versions.length < 2) return [];
  const each = versions.map((version) => {
    const names = hosts.filter((host) => host.version === version).map(({ name }) => name);
    return `${version ?? 'an older one'} on ${names.join(', ')}`;
  });
  return [`versions of the plugin: ${each.join('; ')}`];
}

/** Hosts whose own agent is not in charge of their datapath. */
function chargeLines({ hosts }: ClusterStatus): string[] {
  const foreign = hosts.filter(({ name, master }) => master !== null && master !== name);
  return foreign.map(({ name, master }) => `${master} is in charge of the datapath of ${name}, whose agent is away`);
}

/** Hosts that somebody has to let in, and how. */
function waitingLines({ waiting }: ClusterStatus): string[] {
  return waiting.map(({ name, address, from, site, isHub }) => {
    const where = from === address ? address : `${address}, behind ${from}`;
    const what = `${name} (${where}; site ${site}${isHub ? ', as a hub' : ''}) waits to be let in`;
    return `${what}: daolictl host approve ${name}, or host refuse ${name}`;
  });
}

export function hostTable(hosts: readonly ShownHost[]): Table {
  return tableOf<ShownHost>(
    {
      HOST: ({ name, isThis }) => (isThis ? `${name} (this)` : name),
      ADDRESS: ({ address }) => address ?? '-',
      SITE: ({ site }) => site,
      ROLE: ({ isServer, member, isHub }) => {
        const role = isServer ? `server${member === null || member === 'follower' ? '' : ` (${member})`}` : 'client';
        return isHub ? `${role}, hub` : role;
      },
      WAY: ({ way, hubs }) => (way === 'hub' ? `through ${hubs.join(' or ')}` : (way ?? '-')),
      LOCATORS: ({ locators }) => locators.join(' '),
      ENDPOINTS: ({ endpoints }) => String(endpoints ?? '-'),
    },
    hosts,
  );
}
