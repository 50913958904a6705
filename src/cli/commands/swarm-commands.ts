// daolictl swarm …: networks of Docker's swarm mode.

import { InvalidArgumentError, Option, type Command } from 'commander';
import type { MadeSwarmNetwork, RemovedSwarmNetwork } from '../../api/operations/swarm';
import { withExamples, type CommandContext } from '../command-context';

interface CreateOptions {
  readonly subnet?: string;
  readonly gateway?: string;
  readonly internal?: boolean;
  readonly attachable: boolean;
  readonly opt: Readonly<Record<string, string>>;
}

export function swarmCommands(daolictl: Command, context: CommandContext): void {
  const swarm = daolictl.command('swarm').description('networks of Docker’s swarm mode');
  const network = swarm.command('network').description('make one on the whole swarm, or remove it');
  withExamples(network.command('create <name>'), 'daolictl swarm network create --subnet 10.9.0.0/24 shop')
    .description('make a network on every node; on a manager of the swarm')
    .option('--subnet <cidr>', 'its subnet (default: a free one)')
    .option('--gateway <ip>', 'its gateway (default: the first address of the subnet)')
    .option('--internal', 'without a way out')
    .option('--no-attachable', 'for services alone, not for docker run')
    .addOption(
      new Option('-o, --opt <key=value>', 'an option, as with docker network create; may be repeated')
        .argParser(collect)
        .default({}, 'none'),
    )
    .action(
      context.action(async (name: string, { opt: options, ...rest }: CreateOptions) => {
        const made = await context.client().post<MadeSwarmNetwork>('/v1/swarm/networks', { name, options, ...rest });
        return { value: made, text: madeText(made, rest.attachable) };
      }),
    );
  withExamples(network.command('rm <name>'), 'daolictl swarm network rm shop', 'daolictl swarm network rm --force shop')
    .description('remove one from the whole swarm; on a manager of it')
    .option('--force', 'from the hosts of this cluster, though its swarm is there no more')
    .action(
      context.action(async (name: string, { force = false }: { force?: boolean }) => {
        const path = `/v1/swarm/networks/${encodeURIComponent(name)}${force ? '?force=true' : ''}`;
        const value = await context.client().delete<RemovedSwarmNetwork>(path);
        const { left } = value;
        const text =
          left.length === 0
            ? `Network ${name} is gone.`
            : `Network ${name} goes from ${left.join(', ')} when nothing uses it there any more.`;
        return { value, text };
      }),
    );
}

function madeText({ name, subnet, hosts, away }: MadeSwarmNetwork, isAttachable: boolean): string {
  return [
    `Network ${name} (${subnet}) is on ${hosts.join(', ')}.`,
    ...(away.length > 0 ? [`${away.join(', ')} will have it when back.`] : []),
    `\n  docker service create --network ${name} --endpoint-mode dnsrr …`,
    ...(isAttachable ? [`  docker run --network ${name} …`] : []),
  ].join('\n');
}

/** "key=value", one after another. */
function collect(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError('It has to be KEY=VALUE.');
  return { ...before, [key]: value };
}
