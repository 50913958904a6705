// daolictl cluster backup, restore, recover and rejoin: see docs/recovery.md.

import { type Command } from 'commander';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { ClusterStatus } from '../../api/operations/cluster';
import { ApiError, type ApiClient } from '../api-client';
import { withExamples, type CommandContext } from '../command-context';

/** Does something after which the agent starts anew, and waits for that: see cluster-commands.ts. */
type StartingAnew = <T>(api: ApiClient, change: () => Promise<T>) => Promise<T>;
/** Asks again and again until somebody has said yes. */
type WhenApproved = (context: CommandContext, ask: () => Promise<{ readonly isWaiting: boolean }>) => Promise<void>;

export function recoveryCommands(
  cluster: Command,
  context: CommandContext,
  { startingAnew, whenApproved }: { readonly startingAnew: StartingAnew; readonly whenApproved: WhenApproved },
): void {
  withExamples(cluster.command('backup <file>'), 'daolictl cluster backup /root/cluster.backup')
    .description('write all that the directory has, and the keys of the cluster, into a file that only root can read')
    .action(
      context.action(async (file: string) => {
        const backup = await context.client().get<{ made: string }>('/v1/cluster/backup');
        const fresh = `${file}.new`;
        writing(file, () => {
          // One that is there keeps its own mode, and another may have it open.
          rmSync(fresh, { force: true });
          writeFileSync(fresh, `${JSON.stringify(backup)}\n`, { mode: 0o600, flag: 'wx', flush: true });
          renameSync(fresh, file);
        });
        const text = `The cluster as it is at ${backup.made} is in ${file}. Keep it secret: it has the keys of the cluster.`;
        return { value: { file, made: backup.made }, text };
      }),
    );
  withExamples(
    cluster.command('restore <file>'),
    'daolictl cluster restore /root/cluster.backup',
    'daolictl cluster restore /root/cluster.backup --address 192.0.2.9',
  )
    .description('begin the cluster of a backup anew, with this host as its only server')
    .option('--address <ip>', 'the address by which the others reach this host (default: as in the backup)')
    .action(
      context.action(async (file: string, { address }: { address?: string }) => {
        const api = context.client();
        const body = { backup: readBackup(file), address };
        await startingAnew(api, () => api.post('/v1/cluster/restore', body));
        const value = await api.get<ClusterStatus>('/v1/cluster');
        const count = value.hosts.length;
        const text = `This host alone serves the directory of ${count} ${count === 1 ? 'host' : 'hosts'}, as it was then.`;
        return { value, text: `${text}\n${nextWords}` };
      }),
    );
  withExamples(cluster.command('recover'), 'daolictl cluster recover --without h2,h3')
    .description('go on with this server alone, where most of the servers are lost for good')
    .requiredOption('--without <hosts>', 'all other servers, with commas between: they are servers no more')
    .action(
      context.action(async ({ without }: { without: string }) => {
        const api = context.client();
        const names = without.split(',').filter((each) => each !== '');
        const value = await startingAnew(api, () => api.post('/v1/cluster/recover', { without: names }));
        const removals = names.map((each) => `\n  daolictl host rm ${each}`).join('');
        const text = `This host alone serves the directory, with all that it knew. For each that is gone for good:\n${removals}`;
        return { value, text: `${text}\n\n${nextWords}` };
      }),
    );
  withExamples(cluster.command('rejoin <token>'), 'daolictl cluster rejoin daolinet-eyJzZXJ…')
    .description('come back, on a host that does not find its cluster any more; its networks and containers stay')
    .action(
      context.action(async (token: string) => {
        const api = context.client();
        await startingAnew(api, () => whenApproved(context, () => api.post('/v1/cluster/rejoin', { token })));
        const value = await api.get<ClusterStatus>('/v1/cluster');
        return { value, text: `This host is one of a cluster of ${value.hosts.length}.` };
      }),
    );
}

const nextWords = [
  'Hosts that knew this one as a server come back by themselves; on each that does not: `daolictl cluster rejoin TOKEN`,',
  'with a token of `daolictl cluster token`. Other servers are made with `daolictl cluster promote`.',
].join('\n');

function readBackup(file: string): object {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ApiError(`${file} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw new ApiError(`${file} is no backup, or a part of one: it is no JSON`, { cause: error });
  }
}

function writing(file: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    throw new ApiError(`${file} cannot be written: ${(error as Error).message}`, { cause: error });
  }
}
