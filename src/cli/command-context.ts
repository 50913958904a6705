// What every command of daolictl has, and how it says what it has to say. An action returns what it found or did, as a value
// for programs and as text for people; which of them is printed is decided here, once, by --output.

import type { Command } from 'commander';
import type { ApiClient } from './api-client';
import { printable } from './printable';
import { table } from './table';

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The outcome of a command. */
export interface Shown {
  /** What --output json prints. */
  readonly value: unknown;
  /** What a person reads. */
  readonly text: string | Table;
}

export interface CommandContext {
  /** The API of the agent that the command is for. */
  readonly client: () => ApiClient;
  readonly isJson: () => boolean;
  /** Whether that agent is the one that Docker of this machine uses. */
  readonly isOwnAgent: () => boolean;
  /** Whether it is that of this host; another may be meant by --host. */
  readonly isThisHost: () => boolean;
  /** Prints a line as it comes, for what goes on: JSON lines, or text. */
  readonly show: (shown: Shown) => void;
  /** A remark for people; programs do not get it. */
  readonly say: (text: string) => void;
  /** For `Command.action`: prints what the action returns. */
  readonly action: <A extends unknown[]>(act: (...given: A) => Promise<Shown>) => (...given: A) => Promise<void>;
}

export interface ContextOptions {
  readonly client: () => ApiClient;
  readonly isJson: () => boolean;
  readonly isOwnAgent: () => boolean;
  readonly isThisHost: () => boolean;
  /** Writes text as it is. */
  readonly write: (text: string) => void;
}

export function createContext({ client, isJson, isOwnAgent, isThisHost, write }: ContextOptions): CommandContext {
  const print = (text: string) => write(`${printable(text)}\n`);
  const asText = ({ text }: Shown) => (typeof text === 'string' ? text : table(text.head, text.rows));
  return {
    client,
    isJson,
    isOwnAgent,
    isThisHost,
    show: (shown) => print(isJson() ? JSON.stringify(shown.value) : asText(shown)),
    say: (text) => {
      if (!isJson()) print(text);
    },
    action:
      (act) =>
      async (...given) => {
        const shown = await act(...given);
        print(isJson() ? JSON.stringify(shown.value, null, 2) : asText(shown));
      },
  };
}

/** Rows for a table, a column each; a cell without a word is one that an agent of another version does not fill. */
export function tableOf<T>(
  columns: Readonly<Record<string, (row: T) => string | undefined>>,
  rows: readonly T[],
): Table {
  return {
    head: Object.keys(columns),
    rows: rows.map((row) => Object.values(columns).map((cell) => cell(row) ?? '-')),
  };
}

/** Puts examples behind the help of a command: each a whole line as it is typed. */
export function withExamples(command: Command, ...lines: readonly string[]): Command {
  const title = lines.length === 1 ? 'Example' : 'Examples';
  return command.addHelpText('after', `\n${title}:\n${lines.map((line) => `  ${line}`).join('\n')}`);
}
