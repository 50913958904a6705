// daolictl group …, member …: networks whose containers are connected.

import type { Command } from 'commander';
import type { ShownGroup } from '../../api/operations/groups';
import { tableOf, withExamples, type CommandContext } from '../command-context';

const path = (group: string) => `/v1/groups/${encodeURIComponent(group)}`;
const memberPath = (group: string, network: string) => `${path(group)}/networks/${encodeURIComponent(network)}`;
const COLUMNS = {
  GROUP: ({ name }: ShownGroup) => name,
  NETWORKS: ({ networks }: ShownGroup) => networks.join(' ') || '-',
};

export function groupCommands(daolictl: Command, context: CommandContext): void {
  const { action } = context;
  const group = daolictl.command('group').description('groups of networks: containers of one group are connected');
  withExamples(group.command('create <name>'), 'daolictl group create g1')
    .description('make a group, without networks')
    .action(
      action(async (name: string) => {
        const value = await context.client().post<ShownGroup>('/v1/groups', { name });
        return {
          value,
          text: `Group ${name} is there. \`daolictl member add --group ${name} NETWORK\` puts networks in.`,
        };
      }),
    );
  withExamples(group.command('list').alias('ls'), 'daolictl group list')
    .description('list them')
    .action(
      action(async () => {
        const value = await context.client().get<ShownGroup[]>('/v1/groups');
        return { value, text: tableOf(COLUMNS, value) };
      }),
    );
  withExamples(group.command('show <name>'), 'daolictl group show g1')
    .description('show one')
    .action(
      action(async (name: string) => {
        const value = await context.client().get<ShownGroup>(path(name));
        return { value, text: tableOf(COLUMNS, [value]) };
      }),
    );
  withExamples(group.command('delete <name>').alias('rm'), 'daolictl group delete g1')
    .description('delete one; its networks stay, and are connected no more')
    .action(
      action(async (name: string) => {
        const value = await context.client().delete<object>(path(name));
        return { value, text: `Group ${name} is gone.` };
      }),
    );
  memberCommands(daolictl, context);
}

function memberCommands(daolictl: Command, { action, client }: CommandContext): void {
  const member = daolictl.command('member').description('networks of a group');
  withExamples(member.command('add <network>'), 'daolictl member add --group g1 demo')
    .description('put a network into a group')
    .requiredOption('--group <name>', 'the group')
    .action(
      action(async (network: string, { group }: { group: string }) => {
        const value = await client().put<ShownGroup>(memberPath(group, network));
        return { value, text: `Group ${group} connects ${value.networks.join(', ')}.` };
      }),
    );
  withExamples(member.command('rm <network>'), 'daolictl member rm --group g1 demo')
    .description('take a network out of a group')
    .requiredOption('--group <name>', 'the group')
    .action(
      action(async (network: string, { group }: { group: string }) => {
        const value = await client().delete<ShownGroup>(memberPath(group, network));
        const left = value.networks.length === 0 ? 'no network' : value.networks.join(', ');
        return { value, text: `Group ${group} connects ${left}.` };
      }),
    );
}
