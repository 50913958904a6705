// daolictl completion …: words of daolictl completed by the shell.

import { Argument, type Command } from 'commander';
import type { NameKind } from '../../api/operations/names';
import { ApiClient } from '../api-client';
import { withExamples, type CommandContext } from '../command-context';
import { complete, type Candidate, type Completion } from '../completion';
import { COMPLETION_SCRIPTS, SHELLS, type Shell } from '../completion-scripts';
import { parseTarget, type TargetOptions } from '../target';

/** Nobody waits longer for a key. */
const NAMES_MS = 1_500;

export function completionCommands(daolictl: Command, { action }: CommandContext): void {
  withExamples(
    daolictl.command('completion'),
    'daolictl completion bash > /etc/bash_completion.d/daolictl',
    'daolictl completion zsh > "${fpath[1]}/_daolictl"',
    'daolictl completion fish > ~/.config/fish/completions/daolictl.fish',
  )
    .description('print what makes a shell complete commands, options and names')
    .addArgument(new Argument('<shell>', 'which').choices(SHELLS))
    .action(
      action((shell: Shell) => {
        const script = COMPLETION_SCRIPTS[shell];
        return Promise.resolve({ value: { script }, text: script.trimEnd() });
      }),
    );
  withExamples(daolictl.command('complete', { hidden: true }), 'daolictl complete -- cluster ""')
    .description('say what could stand for the last of some words; asked by the shell')
    .argument('[words...]', 'as they were typed')
    .action(
      action(async (words: string[]) => {
        const value = await candidatesFor(complete(daolictl, words), daolictl.opts<TargetOptions>());
        const lines = value.map(({ word, description }) => [word, description ?? []].flat().join('\t'));
        return { value, text: lines.join('\n') };
      }),
    );
}

async function candidatesFor(completion: Completion, own: TargetOptions): Promise<Candidate[]> {
  if (completion.files) return [{ word: ':files' }];
  if (completion.names.length === 0) return [...completion.words];
  const names = await Promise.all(
    completion.names.map(async ({ kind, before, prefix }) => {
      const found = await namesFrom({ ...own, ...completion.globals }, kind, prefix);
      return found.map((name) => ({ word: `${before}${name}`, description: kind }));
    }),
  );
  return [...completion.words, ...names.flat()];
}

/** None where the agent is away: the line is for typing. */
async function namesFrom(target: TargetOptions, kind: NameKind, prefix: string): Promise<string[]> {
  try {
    const path = `/v1/names/${kind}?prefix=${encodeURIComponent(prefix)}`;
    return await new ApiClient(parseTarget(target)).get<string[]>(path, { timeoutMs: NAMES_MS });
  } catch {
    return [];
  }
}
