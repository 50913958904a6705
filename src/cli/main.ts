// daolictl: the command line of DaoliNet. Ends with 0, with 1 where the agent refuses or cannot be reached, and with 2 where the
// command itself is wrong.

import { CommanderError } from 'commander';
import { printable } from './printable';
import { createProgram } from './program';

async function main(): Promise<number> {
  try {
    await createProgram((text) => void process.stdout.write(text)).parseAsync();
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`daolictl: ${printable(error instanceof Error ? error.message : String(error))}\n`);
    return 1;
  }
}

void main().then((status) => (process.exitCode = status));
