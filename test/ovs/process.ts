// A daemon that a test owns: a plain child process, ready when it logs the line that says so, ended by its own pid, and
// killed by the kernel when the test process dies, in whatever way. Nothing is polled.

import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const TAIL_BYTES = 16_384;
const READY_WITHIN_MS = 10_000;

/** Of util-linux: gives the program it becomes a signal for the death of its parent. */
const WITH_PARENT = ['--pdeathsig', 'KILL'];

const alive = new Set<ChildProcess>();

export interface Daemon {
  readonly pid: number;
  /** The last 16 kB that it wrote to its standard error: its log. */
  log(): string;
  /** Sends the signal (SIGTERM if none is given) and resolves when the process is gone. Idempotent. */
  end(signal?: NodeJS.Signals): Promise<void>;
  /** Sends a signal without waiting, as SIGSTOP and SIGCONT. */
  signal(signal: NodeJS.Signals): void;
}

/** Starts `argv` and waits until its log has a line that matches `ready`. Throws with the log if it ends before. */
export async function startDaemon(argv: readonly string[], env: NodeJS.ProcessEnv, ready: RegExp): Promise<Daemon> {
  const [file = '', ...args] = argv;
  const child = spawn('setpriv', [...WITH_PARENT, file, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  alive.add(child);
  const exited = new Promise<void>((resolve) => {
    child.once('close', () => {
      alive.delete(child);
      resolve();
    });
  });
  let tail = '';
  const end = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (alive.has(child)) child.kill(signal);
    await exited;
  };
  try {
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${file} is not ready in time:\n${tail}`)), READY_WITHIN_MS);
      child.once('error', reject);
      void exited.then(() => reject(new Error(`${file} ended:\n${tail}`))).finally(() => clearTimeout(late));
      child.stderr.on('data', (chunk: Buffer) => {
        tail = (tail + chunk.toString()).slice(-TAIL_BYTES);
        if (!ready.test(tail)) return;
        clearTimeout(late);
        resolve();
      });
    });
  } catch (error) {
    await end('SIGKILL');
    throw error;
  }
  return { pid: child.pid ?? -1, log: () => tail, end, signal: (signal) => void child.kill(signal) };
}

/** Runs a program to its end and returns its standard output, trimmed. Throws with its standard error. */
export async function runTool(argv: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const [file = '', ...args] = argv;
  const { stdout } = await run(file, args, {
    env: { ...process.env, ...env },
    timeout: 20_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}
