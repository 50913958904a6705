// daolictl container …: how containers are connected, and their move to another host.

import type { Command } from 'commander';
import type { ContainerNetwork, ShownMoveStep } from '../../api/operations/containers';
import type { MovedContainer } from '../../move/mover';
import { ApiError } from '../api-client';
import { tableOf, withExamples, type CommandContext } from '../command-context';
import { table } from '../table';

interface MoveOptions {
  readonly node?: string;
  readonly force?: boolean;
  readonly keep?: boolean;
}

export function containerCommands(daolictl: Command, context: CommandContext): void {
  const container = daolictl.command('container').description('how containers are connected; moving them');
  withExamples(
    container.command('shownet <container>'),
    'daolictl container shownet web',
    'daolictl container shownet h2/web',
  )
    .description('show a container’s networks, addresses, gateways, host and locators')
    .action(
      context.action(async (name: string) => {
        const value = await context.client().get<ContainerNetwork>(`${pathOf(name)}/network`);
        return { value, text: networkText(value) };
      }),
    );
  withExamples(
    container.command('move <container>'),
    'daolictl container move --node h2 web',
    'daolictl container move --keep h1/web',
  )
    .description('make a container anew on another host, with its configuration, addresses and MAC; on a server')
    .option('--node <host>', 'to this host (default: the one with the fewest endpoints that can have it)')
    .option('--keep', 'keep the old one, stopped, under another name')
    .option('--force', 'in spite of bind mounts, --rm, or power over its host')
    .action(
      context.action(async (name: string, options: MoveOptions) => {
        const moved = await move(context, name, options);
        return { value: moved, text: movedText(moved) };
      }),
    );
}

async function move(context: CommandContext, name: string, options: MoveOptions): Promise<MovedContainer> {
  let moved: MovedContainer | undefined;
  for await (const step of context.client().lines<ShownMoveStep>(`${pathOf(name)}/move`, { body: options })) {
    if (step.kind === 'moved') moved = step.moved;
    else context.say(step.kind === 'warning' ? `warning: ${step.message}` : `${step.message} …`);
  }
  if (moved === undefined)
    throw new ApiError('the agent did not say how it ended: daolictl container shownet shows it');
  return moved;
}

function movedText({ name, from, to, state, addresses, awayMs, kept }: MovedContainer): string {
  const where = addresses.map(({ network, address, mac }) => `${address} (${mac}) in ${network}`).join(', ');
  const has = where === '' ? '' : `, with ${where}`;
  const old = kept === null ? '' : `\nThe old one is ${kept} on ${from}, stopped.`;
  const away = state === 'running' ? `\nIt was away for ${(awayMs / 1000).toFixed(1)} s.` : '';
  return `${name} is on ${to}, ${state}${has}.${away}${old}`;
}

function networkText({ name, id, host, networks }: ContainerNetwork): string {
  const columns = {
    NETWORK: ({ network }: ContainerNetwork['networks'][number]) => network,
    ADDRESS: ({ address }) => address,
    MAC: ({ mac }) => mac,
    GATEWAY: ({ gateway }) => gateway ?? '-',
    LOCATOR: ({ locator }) => locator,
    PORTS: ({ ports }) =>
      ports.map(({ hostIp, hostPort, port, protocol }) => `${hostIp}:${hostPort}->${port}/${protocol}`).join(' ') ||
      '-',
  } satisfies Record<string, (row: ContainerNetwork['networks'][number]) => string>;
  const { head, rows } = tableOf(columns, networks);
  return `${name ?? id.slice(0, 12)} (${id.slice(0, 12)}) on host ${host}\n\n${table(head, rows)}`;
}

const pathOf = (container: string) => `/v1/containers/${encodeURIComponent(container)}`;
