// The commands of daolictl: what holds for all of them.
import { CommanderError, type Command } from 'commander';
import { createProgram } from '../../src/cli/program';

function leavesOf(command: Command): Command[] {
  return command.commands.length === 0 ? [command] : command.commands.flatMap(leavesOf);
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}

/** The help as it is printed, with what stands behind it. */
function helpOf(command: Command): string {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  return help;
}

const leaves = leavesOf(createProgram(() => undefined)).map((command) => [nameOf(command), command] as const);

test.each(leaves)('%s says what it does, with an example that begins with it', (name, command) => {
  expect(command.description()).not.toBe('');
  const [, examples = ''] = helpOf(command).split(/\nExamples?:\n/);
  const lines = examples.trimEnd().split('\n');
  const words = (line: string) => line.split(' ').filter((word) => !/^(--output|json)$/.test(word));
  for (const line of lines) expect(words(line.trim()).join(' ')).toMatch(new RegExp(`^${name}( |$)`));
});

test('the help of all says the exit codes', () => {
  expect(helpOf(createProgram(() => undefined))).toMatch(/Exit codes:\n {2}0 {3}done/);
});

test.each([
  [['clsuter', 'status'], 'unknown command'],
  [['cluster', 'promote'], 'missing required argument'],
  [['--output', 'xml', 'host', 'ls'], 'Allowed choices are table, json'],
])('%j is refused as wrong: %s', async (args, problem) => {
  let said = '';
  const program = createProgram(() => undefined);
  const all = [program, ...program.commands.flatMap((each) => [each, ...each.commands])];
  for (const command of all) command.configureOutput({ writeErr: (text) => (said += text) });
  await expect(program.parseAsync(args, { from: 'user' })).rejects.toThrow(CommanderError);
  expect(said).toContain(problem);
});
