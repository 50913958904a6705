// What could stand where somebody types: commands, options, their choices, names of things. Read from the tree of commands, so
// that a new command is completed without more; what an argument names is known by what it is called.

import type { Argument, Command, Option } from 'commander';
import type { NameKind } from '../api/operations/names';

export interface Candidate {
  readonly word: string;
  readonly description?: string;
}

/** Words that are known, names that the agent has to be asked for (`before` stands in front of them), or files. */
export interface Completion {
  readonly words: readonly Candidate[];
  readonly names: readonly { readonly kind: NameKind; readonly before: string; readonly prefix: string }[];
  readonly files: boolean;
  /** Of the options of daolictl itself that were typed, what they have. */
  readonly globals: Readonly<Record<string, string>>;
}

/** What arguments and values of options name. */
const KINDS: Readonly<Record<string, readonly (NameKind | 'files')[]>> = {
  host: ['host'],
  network: ['network'],
  container: ['container'],
  group: ['group'],
  policy: ['policy'],
  from: ['container', 'network'],
  to: ['container', 'network'],
  who: ['container', 'network'],
  whom: ['container', 'network'],
  a: ['container'],
  b: ['container'],
  'a:b': ['container'],
  folder: ['files'],
  file: ['files'],
};
/** What these say is new. */
const MAKES = new Set(['create', 'add', 'init']);

/** `words` is what was typed after the program's name; the last is being typed, and may be empty. */
export function complete(program: Command, words: readonly string[]): Completion {
  const place = placeOf(program, words.slice(0, -1));
  const current = words.at(-1) ?? '';
  const { command, awaited } = place;
  const inOption = /^(--[\w-]+)=(.*)$/.exec(current);
  if (awaited !== undefined) return completeValue(place, valueOf(awaited), '', current);
  if (inOption !== null && !place.isOver) {
    const option = optionOf(command, inOption[1] ?? '');
    return option === undefined
      ? nothing(place)
      : completeValue(place, valueOf(option), `${inOption[1]}=`, inOption[2] ?? '');
  }
  if (current.startsWith('-') && !place.isOver)
    return { ...nothing(place), words: matching(optionsOf(command), current) };
  if (command.commands.length > 0) return { ...nothing(place), words: matching(commandsOf(command), current) };
  const argument = argumentAt(command, place.position);
  if (argument === undefined) return nothing(place);
  return completeValue(place, valueOf(argument, command), '', current);
}

/** Where in the tree somebody is after some words. */
interface Place {
  readonly command: Command;
  /** How many arguments of the command stand there. */
  readonly position: number;
  /** The option whose value comes next. */
  readonly awaited: Option | undefined;
  /** Whether `--` was there: what follows is no option. */
  readonly isOver: boolean;
  readonly globals: Readonly<Record<string, string>>;
}

function placeOf(program: Command, words: readonly string[]): Place {
  let place: Place = { command: program, position: 0, awaited: undefined, isOver: false, globals: {} };
  for (const word of words) place = step(place, word);
  return place;
}

function step(place: Place, word: string): Place {
  const { command, awaited, isOver } = place;
  if (awaited !== undefined)
    return { ...place, awaited: undefined, globals: { ...place.globals, [awaited.name()]: word } };
  if (word === '--') return { ...place, isOver: true };
  if (word.startsWith('-') && !isOver) {
    const [, name = word, value] = /^(--[\w-]+)=(.*)$/.exec(word) ?? [];
    const option = optionOf(command, name);
    if (option === undefined || !(option.required || option.optional)) return place;
    if (value === undefined) return { ...place, awaited: option };
    return { ...place, globals: { ...place.globals, [option.name()]: value } };
  }
  const next = command.commands.find((each) => each.name() === word || each.aliases().includes(word));
  if (next !== undefined) return { ...place, command: next, position: 0 };
  return { ...place, position: place.position + 1 };
}

/** Of the command, or of those above it. */
function optionOf(command: Command, flag: string): Option | undefined {
  for (let each: Command | null = command; each !== null; each = each.parent) {
    const found = each.options.find(({ long, short }) => long === flag || short === flag);
    if (found !== undefined) return found;
  }
  return undefined;
}

function argumentAt({ registeredArguments }: Command, position: number): Argument | undefined {
  const last = registeredArguments.at(-1);
  return registeredArguments[position] ?? (last?.variadic === true ? last : undefined);
}

/** What a value may be. */
interface Value {
  readonly choices: readonly string[];
  readonly kinds: readonly (NameKind | 'files')[];
  /** Two of them, with a colon between. */
  readonly isPair: boolean;
}

function valueOf(of: Option | Argument, command?: Command): Value {
  const choices = of.argChoices ?? [];
  const isOption = 'flags' in of;
  const word = isOption ? (/[<[]([\w:-]+)[\]>]/.exec(of.flags)?.[1] ?? '') : of.name();
  // `group show <name>`, `--group <name>`
  const isNew = command !== undefined && MAKES.has(command.name());
  const byPlace = isOption ? of.name() : isNew ? '' : (command?.parent?.name() ?? '');
  const kinds = KINDS[word] ?? (word === 'name' ? KINDS[byPlace] : undefined) ?? [];
  return { choices, kinds, isPair: word === 'a:b' };
}

function completeValue(place: Place, value: Value, before: string, typed: string): Completion {
  const { choices, kinds, isPair } = value;
  const [, first = '', rest = typed] = isPair ? (/^(.*:)(.*)$/.exec(typed) ?? []) : [];
  const names = kinds.filter((kind) => kind !== 'files');
  return {
    words: choices.filter((word) => word.startsWith(typed)).map((word) => ({ word: `${before}${word}` })),
    names: names.map((kind) => ({ kind, before: `${before}${first}`, prefix: rest })),
    files: kinds.includes('files'),
    globals: place.globals,
  };
}

function nothing({ globals }: Place): Completion {
  return { words: [], names: [], files: false, globals };
}

function matching(candidates: readonly Candidate[], current: string): Candidate[] {
  return candidates.filter(({ word }) => word.startsWith(current));
}

function commandsOf(command: Command): Candidate[] {
  const shown = command.createHelp().visibleCommands(command);
  return shown.map((each) => ({ word: each.name(), description: each.description() }));
}

function optionsOf(command: Command): Candidate[] {
  const help = command.createHelp();
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)];
  const withParents = command.parent === null ? options : [...options, ...optionsAbove(command)];
  return withParents.flatMap(({ long, description }) => (long == null ? [] : [{ word: long, description }]));
}

/** Options of daolictl itself may stand anywhere. */
function optionsAbove(command: Command): Option[] {
  const above = command.parent;
  if (above === null) return [];
  return [...above.options.filter(({ hidden }) => !hidden), ...optionsAbove(above)];
}
