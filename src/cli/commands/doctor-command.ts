// daolictl doctor: whether hosts are as they should be, and what to do where they are not.

import type { Command } from 'commander';
import { existsSync, readFileSync } from 'node:fs';
import type { ClusterStatus } from '../../api/operations/cluster';
import type { ShownDiagnosis, ShownFinding } from '../../api/operations/doctor';
import { askAllHosts } from '../all-hosts';
import { ApiError } from '../api-client';
import { withExamples, type CommandContext } from '../command-context';
import { DAEMON_JSON, withDns } from '../daemon-json';

const MARKS: Readonly<Record<ShownFinding['level'], string>> = { ok: 'ok', warning: 'warning', error: 'ERROR' };

export function doctorCommand(daolictl: Command, context: CommandContext): void {
  withExamples(daolictl.command('doctor'), 'daolictl doctor', 'daolictl doctor --all')
    .description(
      'look for what is wrong: kernel, Open vSwitch, Docker, directory, fabric, clocks, leaks; 1 where an error is',
    )
    .option('--all', 'every host of the cluster; on a server')
    .action(async ({ all = false }: { all?: boolean }) => {
      const { answers, missing } = all
        ? await askAllHosts<ShownDiagnosis>(context, '/v1/doctor')
        : { answers: [await context.client().get<ShownDiagnosis>('/v1/doctor')], missing: [] };
      const names = context.isOwnAgent() ? await namesFinding(context) : undefined;
      const [first, ...others] = answers;
      const seen =
        first === undefined || names === undefined
          ? answers
          : [{ ...first, findings: [...first.findings, names] }, ...others];
      const away = missing.map((what) => ({ check: 'host', level: 'error', what, remedy: 'is it up?' }) as const);
      const text = [...seen.map(describe), ...(away.length === 0 ? [] : [away.map(line).join('\n')])].join('\n\n');
      context.show({ value: all ? seen : seen[0], text });
      const errors = [...seen.flatMap(({ findings }) => findings), ...away].filter(({ level }) => level === 'error');
      if (errors.length > 0) throw new ApiError(`${errors.length} ${errors.length === 1 ? 'error' : 'errors'}`);
    });
}

/** Docker's settings are this machine's, which the agent does not see. */
async function namesFinding(context: CommandContext): Promise<ShownFinding | undefined> {
  const { cluster } = await context.client().get<ClusterStatus>('/v1/cluster');
  if (cluster === null) return undefined;
  const remedy = `"dns": ["${cluster.dns}", …the servers that you use] in ${DAEMON_JSON}, or dockerd --dns ${cluster.dns}`;
  try {
    const text = existsSync(DAEMON_JSON) ? readFileSync(DAEMON_JSON, 'utf8') : '';
    if (withDns(text, cluster.dns, []) === undefined) {
      return { check: 'Docker', level: 'ok', what: 'it asks the agent for names of containers', remedy: null };
    }
  } catch {
    // One that cannot be read says nothing, either.
  }
  const what = `${DAEMON_JSON} does not name the agent as a DNS server: names of containers on other hosts are not found`;
  return { check: 'Docker', level: 'warning', what, remedy };
}

function describe({ host, findings }: ShownDiagnosis): string {
  return [`${host}:`, ...findings.map(line)].join('\n');
}

function line({ level, check, what, remedy }: ShownFinding): string {
  const head = `  ${MARKS[level].padEnd(7)}  ${check}: ${what}`;
  return remedy === null ? head : `${head}\n           → ${remedy}`;
}
