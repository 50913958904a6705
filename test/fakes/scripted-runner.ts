// A runner whose programs are functions: what src/host says to `ip -batch` and to `sh` is given to the test command by command, and
// its answer goes back as the real program would say it. Other programs (the monitor) say what the test makes them say.

import { PassThrough } from 'node:stream';
import type { ByteProcess, ByteProcessHandlers, CoProcess, CoProcessHandlers, Runner } from '../../src/host/runner';

export interface ScriptedAnswer {
  readonly stdout?: string;
  readonly stderr?: string;
  readonly status?: number;
}

/** "hang": it never answers. "die": the program ends in the middle of the command. */
export type Script = (command: string, file: string) => ScriptedAnswer | 'hang' | 'die' | undefined;

export class ScriptedProcess implements CoProcess {
  readonly commands: string[] = [];
  killed = false;
  ended = false;

  constructor(
    readonly file: string,
    readonly args: readonly string[],
    readonly handlers: CoProcessHandlers,
    private readonly script: Script,
  ) {}

  write(text: string): void {
    // Never within the call, as a real one.
    queueMicrotask(() => this.serve(text));
  }

  end(): void {
    this.ended = true;
    queueMicrotask(() => this.exit('ended'));
  }

  kill(): void {
    this.killed = true;
    queueMicrotask(() => this.exit('killed'));
  }

  exit(reason: string): void {
    this.handlers.onExit(reason);
  }

  private serve(text: string): void {
    const shell = /^\{ ([^]*)\n\} <\/dev\/null\nprintf '\\036%d %d\\n' (\d+) /.exec(text);
    const batch = /^([^]*)\nend-(\d+)\n$/.exec(text);
    const [, command = '', serial = ''] = shell ?? batch ?? [];
    if (command !== '' && command !== ':') this.commands.push(command);
    const answer = this.script(command, this.file) ?? {};
    if (answer === 'hang' || this.killed) return;
    if (answer === 'die') return this.exit('died');
    const { stdout = '', stderr = '', status = 0 } = answer;
    if (shell !== null) {
      this.handlers.onStdout(`${stdout}\u001e${serial} ${status}\n`);
      this.handlers.onStderr(`${stderr}\u001e${serial}\n`);
    } else {
      const failures = stderr === '' ? '' : `${stderr}\nCommand failed -:1\n`;
      this.handlers.onStderr(`${failures}Object "end-${serial}" is unknown, try "ip help".\nCommand failed -:2\n`);
    }
  }
}

/** A program with bytes for output, which says and ends what the test makes it. */
export class ScriptedStream implements ByteProcess {
  readonly output = new PassThrough();
  ended = false;
  killed = false;

  constructor(
    readonly file: string,
    readonly args: readonly string[],
    readonly handlers: ByteProcessHandlers,
  ) {}

  end(): void {
    this.ended = true;
  }

  kill(): void {
    this.killed = true;
    queueMicrotask(() => this.exit('killed'));
  }

  exit(reason: string): void {
    this.output.end();
    this.handlers.onExit(reason);
  }
}

export class ScriptedRunner implements Runner {
  readonly processes: ScriptedProcess[] = [];
  readonly streams: ScriptedStream[] = [];

  constructor(public script: Script = () => undefined) {}

  spawn(file: string, args: readonly string[], handlers: CoProcessHandlers): CoProcess {
    const process = new ScriptedProcess(file, args, handlers, (command, of) => this.script(command, of));
    this.processes.push(process);
    return process;
  }

  stream(file: string, args: readonly string[], handlers: ByteProcessHandlers): ByteProcess {
    const stream = new ScriptedStream(file, args, handlers);
    this.streams.push(stream);
    return stream;
  }

  /** Every command given to programs of that name, oldest first. */
  commands(file: string): string[] {
    return this.processes.filter((process) => process.file === file).flatMap(({ commands }) => commands);
  }
}
