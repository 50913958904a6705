// Starts the helper processes that src/host talks to. The only file of the product that imports child_process; everything
// behind it takes a `Runner`, so that tests can give a scripted one, or one that enters a network namespace first.

import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface CoProcessHandlers {
  onStdout(text: string): void;
  onStderr(text: string): void;
  /** Called once, after all output, also where the program could not be started. */
  onExit(reason: string): void;
}

/** A running program that is spoken to by its standard input. */
export interface CoProcess {
  write(text: string): void;
  /** Closes its standard input, at which a well-behaved one ends. */
  end(): void;
  /** SIGKILL, to it and to whatever it started. */
  kill(): void;
}

/** A running program whose output is bytes for somebody else: as they are read, and no faster. */
export interface ByteProcess {
  readonly output: Readable;
  /** Closes its standard input, at which a well-behaved one ends. */
  end(): void;
  /** SIGKILL, to it and to whatever it started. */
  kill(): void;
}

export interface ByteProcessHandlers {
  onStderr(text: string): void;
  /** Called once, also where the program could not be started; its output may be still to be read. */
  onExit(reason: string): void;
}

export interface Runner {
  spawn(file: string, args: readonly string[], handlers: CoProcessHandlers): CoProcess;
  stream(file: string, args: readonly string[], handlers: ByteProcessHandlers): ByteProcess;
}

// The words of these programs are read, so they are asked for in the one language that all hosts have.
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
};

/** Runs programs for real. `prefix` stands before every command line: `['nsenter', '--net=…']`. */
export function createRunner(prefix: readonly string[] = []): Runner {
  const start = (event: 'close' | 'exit', file: string, args: readonly string[], handlers: ByteProcessHandlers) => {
    const [command = file, ...rest] = [...prefix, file, ...args];
    // Detached makes it the leader of a process group, which kill() can end as a whole.
    const child = spawn(command, rest, { stdio: 'pipe', env: ENVIRONMENT, detached: true });
    let ended = false;
    const exit = (reason: string): void => {
      if (ended) return;
      ended = true;
      handlers.onExit(reason);
    };
    child.stderr.setEncoding('utf8').on('data', (text: string) => handlers.onStderr(text));
    child.on('error', (error: NodeJS.ErrnoException) =>
      exit(error.code === 'ENOENT' ? `${command} is not installed` : error.message),
    );
    child.on(event, (code: number | null, signal: string | null) =>
      exit(`${file} ended ${signal === null ? `with ${code}` : `by ${signal}`}`),
    );
    // A write that meets a process on its way out: onExit tells.
    child.stdin.on('error', () => undefined);
    const end = (): void => void child.stdin.end();
    const kill = (): void => {
      if (child.pid === undefined || ended) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    };
    return { child, end, kill };
  };
  return {
    spawn(file, args, handlers) {
      const { child, end, kill } = start('close', file, args, handlers);
      child.stdout.setEncoding('utf8').on('data', (text: string) => handlers.onStdout(text));
      return { write: (text) => void child.stdin.write(text), end, kill };
    },
    stream(file, args, handlers) {
      // Not 'close', which waits until all of its output was read.
      const { child, end, kill } = start('exit', file, args, handlers);
      return { output: child.stdout, end, kill };
    },
  };
}
