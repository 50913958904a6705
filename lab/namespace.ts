// A namespace of its own for an emulated host: starts namespace.sh, runs commands and daemons inside, and ends it. It
// knows nothing of Docker or Open vSwitch; that is host.ts.

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

/** What a command said and how it ended. `code` is null when a signal ended it. */
export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of one command. */
export interface CommandOptions {
  /** Written to the command's standard input, which is empty otherwise. */
  readonly input?: string | Buffer;
  /** After this long the command is killed and the call fails. Default 60,000. */
  readonly timeoutMs?: number;
  /** A network namespace made by `ip netns add` inside, in place of the host's own. */
  readonly netns?: string;
}

/** Programs of the distribution come first: what stands in /usr/local may be another version. */
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', HOME: '/root' };
const PID_NAMESPACE = '/proc/self/ns/pid';
const FOLDER_PREFIX = 'daolinet-e2e-';
const DEFAULT_TIMEOUT_MS = 60_000;

/** Waits until `check` gives something other than undefined or false, asking every 20 ms; fails naming `what`. */
export async function waitFor<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 30_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A command that runs beside the test, until it ends or `stop()` is called. */
export class BackgroundCommand {
  private output = '';
  readonly ended: Promise<number | null>;

  constructor(
    private readonly child: ChildProcess,
    private readonly terminate: (pid: number) => Promise<unknown>,
  ) {
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (this.output += chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.output += chunk));
    this.ended = new Promise((resolve) => child.on('close', resolve));
  }

  /** Everything said so far, on either stream. The first line is the process id inside the namespace. */
  text(): string {
    return this.output.slice(this.output.indexOf('\n') + 1);
  }

  /** Ends the command; does nothing when it has ended. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const pid = await waitFor('the process id', () => /^(\d+)\n/.exec(this.output)?.[1]);
      await this.terminate(Number(pid));
    }
    await this.ended;
  }
}

/** The result of a command whose exit code is 0. Throws what the command complained of otherwise. */
export function checked(result: CommandResult): CommandResult {
  if (result.code === 0) return result;
  throw new Error(`exit code ${result.code}: ${result.stderr || result.stdout}`);
}

/** The namespaces of one emulated host. Made by `Namespace.create`, running between `start()` and `end()`. */
export class Namespace {
  private shell: ChildProcess | undefined;
  private complaints = '';
  /** The host's process 1, as this machine numbers it. */
  private pid = 0;

  private constructor(
    readonly folder: string,
    private readonly name: string,
    private readonly root: string | undefined,
  ) {}

  /** A new host's folder. `root` is a file system to run in, in place of this machine's own. */
  static create(name: string, root?: string): Namespace {
    sweep();
    const folder = mkdtempSync(path.join(os.tmpdir(), FOLDER_PREFIX));
    writeFileSync(path.join(folder, 'owner'), `${process.pid} ${readlinkSync(PID_NAMESPACE)}`);
    return new Namespace(folder, name, root);
  }

  /** Starts the namespaces. They end with `end()`, or with this process, however it ends. */
  async start(): Promise<void> {
    const pidFile = path.join(this.folder, 'pid');
    rmSync(pidFile, { force: true });
    const root = this.root === undefined ? [] : ['--root', this.root];
    // Its standard input is a pipe from this process: at its end the shell ends, and with it all that runs inside.
    this.shell = spawn(
      'sh',
      [path.join(__dirname, 'namespace.sh'), '--net', ...root, this.folder, this.name, 'sh', '-s'],
      { detached: true, env: ENVIRONMENT, stdio: ['pipe', 'ignore', 'pipe'] },
    );
    this.shell.stderr?.setEncoding('utf8').on('data', (chunk: string) => (this.complaints += chunk));
    this.shell.stdin?.on('error', () => undefined); // it may have ended; `start` and `exec` say so
    const { shell } = this;
    const pid = await waitFor('the namespace', () => {
      if (shell.exitCode !== null) throw new Error(`namespace.sh ended: ${this.complaints}`);
      return read(pidFile) || undefined;
    });
    this.pid = Number(pid);
  }

  /** Ends everything inside at once, as a power failure would, and waits until it is gone. Idempotent. */
  async end(): Promise<void> {
    const { shell } = this;
    if (shell === undefined) return;
    this.shell = undefined;
    const ended = new Promise((resolve) => (shell.exitCode === null ? shell.once('exit', resolve) : resolve(null)));
    shell.stdin?.end();
    if (this.pid !== 0) kill(this.pid);
    this.pid = 0;
    await ended;
  }

  /** Removes what the host had on its disk. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  /** The host's process 1, as this machine numbers it; 0 while it does not run. */
  get init(): number {
    return this.pid;
  }

  /** A folder of the host's own disk (namespace.sh's `plain`), also before its start and after its end. */
  onDisk(inside: string): string {
    return path.join(this.folder, 'disk/plain', inside);
  }

  /** The host's network, or one made by `ip netns add` inside, as a file for this machine's `ip`. */
  networkPath(netns?: string): string {
    return netns === undefined ? `/proc/${this.pid}/ns/net` : this.path(`/run/netns/${netns}`);
  }

  /** A path inside, as this process can open it; sockets too. */
  path(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  /** Starts a daemon inside, its output appended to /var/log/daolinet/NAME.log. It outlives this call, not the host. */
  startDaemon(name: string, command: readonly string[]): void {
    const line = command.map(quote).join(' ');
    // In a subshell that ends at once, so that process 1 is its parent and reaps it.
    this.shell?.stdin?.write(
      `rm -f /run/${name}.daemon; (setsid sh -c 'echo $$ >/run/${name}.daemon; exec "$@"' sh ${line} ` +
        `>>/var/log/daolinet/${name}.log 2>&1 </dev/null &)\n`,
    );
  }

  /** Process id of a daemon, as the host numbers it; undefined until it was started, and once it has ended. */
  daemonPid(name: string): number | undefined {
    const pid = Number(read(this.path(`/run/${name}.daemon`)));
    return pid !== 0 && this.processExists(pid) ? pid : undefined;
  }

  /** Ends a daemon and waits until it is gone; does nothing when it does not run. */
  async stopDaemon(name: string, signal: NodeJS.Signals): Promise<void> {
    const pid = this.daemonPid(name);
    if (pid === undefined) return;
    await this.run(['kill', `-${signal.slice(3)}`, String(pid)]);
    await waitFor(`${name} to end`, () => !existsSync(this.path(`/proc/${pid}`)), 30_000);
  }

  /** Process ids, as the host numbers them, of the processes called `name`. */
  processes(name: string): number[] {
    return readdirSync(this.path('/proc'))
      .filter((entry) => /^\d+$/.test(entry) && read(this.path(`/proc/${entry}/comm`)).trim() === name)
      .map(Number)
      .filter((pid) => this.processExists(pid));
  }

  /** Whether a process runs inside; one that has ended and was not waited for does not. */
  processExists(pid: number): boolean {
    return /^State:\s+[^ZX]/m.test(read(this.path(`/proc/${pid}/status`)));
  }

  /** Runs a command inside to its end, whatever its result. */
  run(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const child = this.spawn(command, options.netns);
    return new Promise((resolve, reject) => {
      let stdout = '';
      let stderr = '';
      const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(new Error(`${command.join(' ')} took longer than ${timeoutMs} ms\n${stdout}${stderr}`));
      }, timeoutMs);
      child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
      child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
      child.stdin?.on('error', () => undefined); // a command need not read its input
      child.stdin?.end(options.input ?? '');
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Starts a command inside that runs beside the test. */
  background(command: readonly string[], netns?: string): BackgroundCommand {
    const child = this.spawn(['sh', '-c', 'echo $$; exec "$@"', 'sh', ...command], netns);
    return new BackgroundCommand(child, (pid) => this.run(['kill', '-KILL', String(pid)]));
  }

  /** What stands before a command that is to run inside, and its environment. */
  entry(): { enter: string[]; environment: Record<string, string> } {
    return { enter: ['nsenter', ...this.entering('--net')], environment: ENVIRONMENT };
  }

  private entering(net: string): string[] {
    return ['--target', String(this.pid), '--mount', '--uts', '--ipc', '--pid', '--cgroup', net, '--'];
  }

  private spawn(command: readonly string[], netns?: string): ChildProcess {
    if (this.pid === 0 || this.shell?.exitCode !== null) {
      throw new Error(`the host ${this.name} does not run; ${this.complaints}`);
    }
    const net = netns === undefined ? '--net' : `--net=${this.networkPath(netns)}`;
    return spawn('nsenter', [...this.entering(net), ...command], { env: ENVIRONMENT, cwd: '/', stdio: 'pipe' });
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // the process is gone
  }
}

/** Removes the folders of test runs that were killed; what ran in them ended with them. */
function sweep(): void {
  for (const name of readdirSync(os.tmpdir())) {
    if (!name.startsWith(FOLDER_PREFIX)) continue;
    const folder = path.join(os.tmpdir(), name);
    const [pid, namespace] = read(path.join(folder, 'owner')).split(' ');
    // Of a process in another namespace this one cannot say whether it still runs.
    if (namespace !== readlinkSync(PID_NAMESPACE) || existsSync(`/proc/${pid}`)) continue;
    rmSync(folder, { recursive: true, force: true });
  }
}
