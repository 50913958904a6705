// Completion of daolictl's words: from the tree of commands, with names that the agent knows, in the shells that are here.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Argument, Command, Option } from 'commander';
import { complete } from '../../src/cli/completion';
import { COMPLETION_SCRIPTS } from '../../src/cli/completion-scripts';
import { createProgram } from '../../src/cli/program';

const program = new Command('daolictl')
  .option('--host <host>', 'whose agent')
  .addOption(new Option('--output <form>', 'how to print').choices(['table', 'json']));
const group = program.command('group').description('groups of networks');
group.command('create <name>').description('make one');
group.command('show <name>').alias('look').description('show one');
program.command('connect <a:b>').description('connect two');
program
  .command('capture')
  .description('record')
  .argument('<container>')
  .option('-o, --file <file>', 'where to')
  .option('--network <name>', 'which')
  .option('--all', 'everywhere');
program.command('completion').addArgument(new Argument('<shell>').choices(['bash', 'zsh']));
program.command('secret', { hidden: true });

const wordsOf = (...typed: string[]) => complete(program, typed).words.map(({ word }) => word);

test.each<[string[], string[]]>([
  [[''], ['group', 'connect', 'capture', 'completion', 'help']],
  [['co'], ['connect', 'completion']],
  [
    ['group', ''],
    ['create', 'show', 'help'],
  ],
  [['group', 'sh'], ['show']],
  [['--output', 'json', 'group', 'sh'], ['show']],
  [['--output=json', 'group', 'sh'], ['show']],
  [
    ['--output', ''],
    ['table', 'json'],
  ],
  [['--output=j'], ['--output=json']],
  [['group', 'show', '--output', 't'], ['table']],
  [['capture', '--a'], ['--all']],
  [
    ['capture', '--h'],
    ['--help', '--host'],
  ],
  [['completion', 'z'], ['zsh']],
  [['completion', 'zsh', ''], []],
  [
    ['nothing', ''],
    ['group', 'connect', 'capture', 'completion', 'help'],
  ],
])('%j is completed to %j', (typed, words) => {
  expect(wordsOf(...typed)).toEqual(words);
});

test('commands come with what they do', () => {
  expect(complete(program, ['gr']).words).toEqual([{ word: 'group', description: 'groups of networks' }]);
});

test.each<[string[], object[]]>([
  [['--host', 'h'], [{ kind: 'host', before: '', prefix: 'h' }]],
  [['--host=h'], [{ kind: 'host', before: '--host=', prefix: 'h' }]],
  [['group', 'show', 'g'], [{ kind: 'group', before: '', prefix: 'g' }]],
  [['group', 'look', 'g'], [{ kind: 'group', before: '', prefix: 'g' }]],
  [['group', 'create', 'g'], []],
  [['group', 'show', 'g1', ''], []],
  [['capture', '--all', 'we'], [{ kind: 'container', before: '', prefix: 'we' }]],
  [['capture', 'h1/we'], [{ kind: 'container', before: '', prefix: 'h1/we' }]],
  [['capture', 'web', '--network', ''], [{ kind: 'network', before: '', prefix: '' }]],
  [['connect', 'we'], [{ kind: 'container', before: '', prefix: 'we' }]],
  [['connect', 'web:d'], [{ kind: 'container', before: 'web:', prefix: 'd' }]],
])('%j asks for names: %j', (typed, names) => {
  expect(complete(program, typed).names).toEqual(names);
});

test('where files are meant, the shell has them', () => {
  expect(complete(program, ['capture', '-o', '']).files).toBe(true);
});

test('what was typed for all commands is known', () => {
  expect(complete(program, ['--host', 'h2', 'group', 'show', '']).globals).toEqual({ host: 'h2' });
});

test('every command of daolictl can be completed', () => {
  const visit = (command: Command, path: string[]): void => {
    for (const each of command.commands) {
      if (each.name() === 'complete') continue;
      expect(
        complete(
          createProgram(() => undefined),
          [...path, each.name()],
        ).words,
      ).toContainEqual({
        word: each.name(),
        description: each.description(),
      });
      visit(each, [...path, each.name()]);
    }
  };
  visit(
    createProgram(() => undefined),
    [],
  );
});

test('daolictl complete prints words with what they are, and nothing where the agent is away', async () => {
  const printed = async (...args: string[]) => {
    let said = '';
    await createProgram((text) => (said += text)).parseAsync(args, { from: 'user' });
    return said;
  };
  expect(await printed('complete', '--', 'host', 'rm')).toBe(
    'rm\tput a host out of the cluster, with its containers’ endpoints and addresses\n',
  );
  expect(await printed('complete', '--', '--output', 'j')).toBe('json\n');
  expect(await printed('complete', '--', '--socket', '/nowhere', 'host', 'rm', '')).toBe('\n');
  expect(await printed('completion', 'bash')).toBe(COMPLETION_SCRIPTS.bash);
});

describe('bash', () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'completion-'));
    // Says what it was asked, and two candidates.
    const stub = `#!/bin/bash\nprintf '%s\\n' "$@" > '${folder}/asked'\nprintf 'web:db\\tcontainer\\nweb:dns\\n'\n`;
    writeFileSync(join(folder, 'daolictl'), stub);
    writeFileSync(join(folder, 'completion'), COMPLETION_SCRIPTS.bash);
    chmodSync(join(folder, 'daolictl'), 0o755);
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  const lastOff = (lines: string) => lines.replace(/\n$/, '').replaceAll('\n', ' ');

  function completed(line: string): { asked: string; reply: string } {
    const script = `PATH=${folder}:$PATH; source ${folder}/completion
      COMP_LINE=$1 COMP_POINT=\${#1}; _daolictl; printf '%s\\n' "\${COMPREPLY[@]}"; cat ${folder}/asked >&2`;
    const { stdout, stderr } = spawnSync('bash', ['-c', script, 'bash', line], { encoding: 'utf8' });
    return { asked: lastOff(stderr), reply: lastOff(stdout) };
  }

  test('asks with the words as they stand there, and completes the last', () => {
    expect(completed('daolictl connect w')).toEqual({ asked: 'complete -- connect w', reply: 'web:db web:dns' });
    expect(completed('daolictl --host h2 connect ').asked).toBe('complete -- --host h2 connect ');
  });

  test('gives what stands behind a colon alone, as bash wants it', () => {
    expect(completed('daolictl connect web:d')).toEqual({ asked: 'complete -- connect web:d', reply: 'db dns' });
  });
});
