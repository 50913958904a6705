// Hosts that stand by for one another: that they do, and an agent that stays away.
import { waitFor, type Host } from '../../../lab/host';
import type { AgentStatus } from '../../../src/api/operations/status';

/** Who is in charge of what, as a host says it. */
export async function chargesOf(host: Host): Promise<AgentStatus['charges']> {
  return (JSON.parse(await host.daolictl('--output', 'json', 'status')) as AgentStatus).charges;
}

/** Until a host's own agent is master of its datapath, and two others stand by. Resolves with their names. */
export function untilGuarded(host: Host): Promise<string[]> {
  return waitFor(
    `${host.name} to be guarded`,
    async () => {
      const { stdout, code } = await host.tryDaolictl('--output', 'json', 'status');
      if (code !== 0) return undefined;
      const { master, backups } = (JSON.parse(stdout) as AgentStatus).charges;
      const isGuarded = master === host.name && backups.length === 2 && backups.every(({ isConnected }) => isConnected);
      return isGuarded ? backups.map((backup) => backup.host) : undefined;
    },
    60_000,
  );
}

/** The agent is killed, and what would start it anew stands still: until what this resolves with is called. */
export async function killForLong(host: Host): Promise<() => Promise<unknown>> {
  const pid = host.agentPid()!;
  const supervisor = (await host.exec('ps', ['-o', 'ppid=', '-p', String(pid)])).trim();
  await host.exec('kill', ['-STOP', supervisor]);
  await host.exec('kill', ['-KILL', String(pid)]);
  return () => host.exec('kill', ['-CONT', supervisor]);
}
