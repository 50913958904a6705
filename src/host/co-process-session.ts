// A conversation with one long-lived helper process: one command at a time, each with its reply. Starting a process costs
// 2 to 10 ms, a command to one that runs 0.3 ms, so nothing on the path of a container's start is started per call.
// What a command and the end of its reply look like is the business of a Dialogue (`ip -batch`, `sh`).

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { CoProcess, Runner } from './runner';

export interface Reply {
  readonly stdout: string;
  readonly stderr: string;
  /** The exit status, for a process that has such a thing per command; 0 is success. */
  readonly status: number;
}

/** How one kind of helper process speaks. */
export interface Dialogue {
  readonly file: string;
  readonly args: readonly string[];
  /** A command that does nothing. */
  readonly nothing: string;
  /** The bytes that make it run `command` and then say that it is done with the command of this serial number. */
  request(command: string, serial: number): string;
  /** The reply to that command, once all of it is there. */
  parse(serial: number, stdout: string, stderr: string): Reply | undefined;
}

export interface SessionOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly dialogue: Dialogue;
  /** After this long a command counts as failed and the process is ended. */
  readonly timeoutMs?: number;
}

interface Waiting {
  readonly command: string;
  resolve(reply: Reply): void;
  reject(error: DaoliError): void;
}

const TIMEOUT_MS = 5000;
const MAX_WAITING = 4096;
const MAX_REPLY = 64 * 2 ** 20;
const END_MS = 1000;

export class CoProcessSession {
  private process: CoProcess | undefined;
  private exited: Promise<void> = Promise.resolve();
  private readonly waiting: Waiting[] = [];
  private current: Waiting | undefined;
  private cancelTimeout: () => void = () => undefined;
  private serial = 0;
  private stdout = '';
  private stderr = '';
  private closed = false;

  constructor(private readonly options: SessionOptions) {}

  /** Runs after all earlier commands. Rejects with `unavailable` where the process cannot be started, ends meanwhile, or
   * does not answer in time: then nobody knows whether the command was carried out. */
  run(command: string): Promise<Reply> {
    if (this.closed || this.waiting.length >= MAX_WAITING) {
      const why = this.closed ? 'has been stopped' : 'has too many commands waiting';
      return Promise.reject(new DaoliError('unavailable', `the helper process ${this.name} ${why}`, this.name));
    }
    return new Promise((resolve, reject) => {
      this.waiting.push({ command, resolve, reject });
      this.next();
    });
  }

  /** Starts the process ahead of its first command. Rejects like run(). Idempotent. */
  async start(): Promise<void> {
    await this.run(this.options.dialogue.nothing);
  }

  /** Lets what runs come to its end, refuses what waits, and ends the process. Idempotent. */
  async stop(): Promise<void> {
    this.closed = true;
    for (const waiting of this.waiting.splice(0)) waiting.reject(this.failure('has been stopped'));
    this.process?.end();
    const process = this.process;
    const cancel = this.options.clock.after(END_MS, () => process?.kill());
    await this.exited;
    cancel();
  }

  private get name(): string {
    return this.options.dialogue.file;
  }

  private failure(why: string): DaoliError {
    return new DaoliError('unavailable', `the helper process ${this.name} ${why}`, this.name);
  }

  private next(): void {
    if (this.current !== undefined) return;
    this.current = this.waiting.shift();
    if (this.current === undefined) return;
    this.process ??= this.startProcess();
    this.serial += 1;
    this.stdout = '';
    this.stderr = '';
    const { timeoutMs = TIMEOUT_MS, clock, dialogue } = this.options;
    this.cancelTimeout = clock.after(timeoutMs, () => this.abandon(`did not answer within ${timeoutMs / 1000} s`));
    this.process.write(dialogue.request(this.current.command, this.serial));
  }

  private startProcess(): CoProcess {
    const { runner, dialogue } = this.options;
    let gone = (): void => undefined;
    this.exited = new Promise((resolve) => (gone = resolve));
    const process: CoProcess = runner.spawn(dialogue.file, dialogue.args, {
      onStdout: (text) => this.take(process, text, ''),
      onStderr: (text) => this.take(process, '', text),
      onExit: (reason) => {
        gone();
        if (this.process !== process) return;
        const words = this.stderr.trim();
        this.process = undefined;
        this.finish((current) => current.reject(this.failure(`failed: ${words === '' ? reason : words}`)));
      },
    });
    return process;
  }

  private take(process: CoProcess, stdout: string, stderr: string): void {
    if (process !== this.process || this.current === undefined) return;
    this.stdout += stdout;
    this.stderr += stderr;
    if (this.stdout.length + this.stderr.length > MAX_REPLY) return this.abandon('answers without an end');
    const reply = this.options.dialogue.parse(this.serial, this.stdout, this.stderr);
    if (reply !== undefined) this.finish((current) => current.resolve(reply));
  }

  private abandon(why: string): void {
    this.process?.kill();
    this.process = undefined;
    this.finish((current) => current.reject(this.failure(why)));
  }

  private finish(settle: (current: Waiting) => void): void {
    this.cancelTimeout();
    const { current } = this;
    this.current = undefined;
    if (current !== undefined) settle(current);
    this.next();
  }
}
