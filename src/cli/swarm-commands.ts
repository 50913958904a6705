// daolictl swarm …: networks of Docker's swarm mode.

import { InvalidArgumentError, Option, type Command } from 'commander';
import type { MadeSwarmNetwork, RemovedSwarmNetwork } from '../driver/swarm-networks';
import type { ApiClient } from './api-client';

/** What every command has. */
export interface CommandContext {
  readonly client: () => ApiClient;
  readonly isJson: () => boolean;
  readonly print: (text: string) => void;
}

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
  network
    .command('create <name>')
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
    .addHelpText('after', '\nExample:\n  daolictl swarm network create --subnet 10.9.0.0/24 shop')
    .action(async (name: string, { opt: options, ...rest }: CreateOptions) => {
      const made = await context.client().post<MadeSwarmNetwork>('/v1/swarm/networks', { name, options, ...rest });
      if (context.isJson()) return context.print(JSON.stringify(made, null, 2));
      context.print(`Network ${name} (${made.subnet}) is on ${made.hosts.join(', ')}.`);
      if (made.away.length > 0) context.print(`${made.away.join(', ')} will have it when back.`);
      context.print(`\n  docker service create --network ${name} --endpoint-mode dnsrr …`);
      if (rest.attachable) context.print(`  docker run --network ${name} …`);
    });
  network
    .command('rm <name>')
    .description('remove one from the whole swarm; on a manager of it')
    .option('--force', 'from the hosts of this cluster, though its swarm is there no more')
    .addHelpText('after', '\nExample:\n  daolictl swarm network rm shop')
    .action(async (name: string, { force = false }: { force?: boolean }) => {
      const path = `/v1/swarm/networks/${encodeURIComponent(name)}${force ? '?force=true' : ''}`;
      const { left } = await context.client().delete<RemovedSwarmNetwork>(path);
      if (context.isJson()) return context.print(JSON.stringify({ left }, null, 2));
      if (left.length === 0) return context.print(`Network ${name} is gone.`);
      context.print(`Network ${name} goes from ${left.join(', ')} when nothing uses it there any more.`);
    });
}

/** "key=value", one after another. */
function collect(text: string, before: Readonly<Record<string, string>>): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError('It has to be KEY=VALUE.');
  return { ...before, [key]: value };
}
