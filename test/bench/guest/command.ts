// Commands in the guest, in the network namespace that stands for a host or a container.

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What stands before a command that is to run in a network namespace. */
export const inside = (namespace: string): string[] => ['nsenter', `--net=/run/netns/${namespace}`];

/** Runs a command to its end. Throws with what it said. */
export async function command(...argv: readonly string[]): Promise<string> {
  const [file = '', ...args] = argv;
  try {
    return (await run(file, args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${argv.join(' ')}: ${stderr}${stdout}`, { cause: error });
  }
}

/** Runs `ip` once for each line. */
export async function ip(lines: string): Promise<void> {
  for (const line of lines.split('\n').map((each) => each.trim())) {
    if (line !== '') await command('ip', ...line.split(' '));
  }
}

/** Starts what runs for as long as the guest does. */
export function background(...argv: readonly string[]): ChildProcess {
  const [file = '', ...args] = argv;
  const child = spawn(file, args, { stdio: 'ignore' });
  return child.on('error', (error) => console.error(`${argv.join(' ')}: ${error.message}`));
}
