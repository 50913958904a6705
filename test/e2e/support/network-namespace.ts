// Network namespaces for tests: each has a name of its own, and goes with everything in it at the end.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

let count = 0;

export class NetworkNamespace {
  readonly name: string;
  private readonly children = new Set<ChildProcess>();

  private created = false;

  /** Makes nothing yet: that is create(). */
  constructor(label: string) {
    count += 1;
    this.name = `dnt-${process.pid}-${count}-${label}`;
  }

  create(): void {
    execFileSync('ip', ['netns', 'add', this.name]);
    this.created = true;
    // A new namespace has the settings of this machine; here it is a host as it is installed.
    this.run('ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward');
  }

  get prefix(): string[] {
    return ['nsenter', `--net=/run/netns/${this.name}`];
  }

  /** Runs a shell command line inside and returns what it prints. Throws where it fails. */
  run(command: string): string {
    return execFileSync('nsenter', [...this.prefix.slice(1), 'sh', '-ec', command], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Starts a script of Node inside; resolves with the process when the script has printed its first line. */
  startScript(script: string, ...args: string[]): Promise<ChildProcess> {
    const child = spawn('nsenter', [...this.prefix.slice(1), process.execPath, '-e', script, '--', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.children.add(child);
    return new Promise((resolve, reject) => {
      child.stdout.once('data', () => resolve(child));
      child.once('exit', (code) => reject(new Error(`the script ended with ${code}`)));
    });
  }

  /** Runs a script of Node inside and resolves with what it printed. */
  runScript(script: string, ...args: string[]): Promise<string> {
    const child = spawn('nsenter', [...this.prefix.slice(1), process.execPath, '-e', script, '--', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    return new Promise((resolve) => child.once('close', () => resolve(output.trim())));
  }

  /** Starts a program inside, which ends with the namespace at the latest. */
  spawn(...command: string[]): ChildProcess & { stdout: Readable; stderr: Readable } {
    const child = spawn('nsenter', [...this.prefix.slice(1), ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.children.add(child);
    return child;
  }

  /** Sends so many echoes, 50 ms apart; resolves with ping's words. */
  startPings(to: string, count: number): Promise<string> {
    const child = this.spawn('ping', '-n', '-q', '-i', '0.05', '-W', '0.5', '-c', String(count), to);
    let output = '';
    child.stdout.on('data', (text: Buffer) => (output += text.toString()));
    return new Promise((resolve) => child.once('close', () => resolve(output)));
  }

  /** Ends the scripts and removes the namespace, with its interfaces. Does nothing where it was not made. */
  async remove(): Promise<void> {
    await Promise.all(
      [...this.children].map(async (child) => {
        const gone = new Promise((resolve) => child.once('exit', resolve));
        if (child.exitCode !== null || child.signalCode !== null) return;
        child.kill('SIGKILL');
        await gone;
      }),
    );
    if (this.created) execFileSync('ip', ['netns', 'delete', this.name]);
    this.created = false;
  }
}

/** A veth pair between two namespaces: `a`'s end is called `nameA`. */
export function wire(a: NetworkNamespace, nameA: string, b: NetworkNamespace, nameB: string): void {
  a.run(`ip link add name ${nameA} type veth peer name ${nameB} netns ${b.name}`);
  a.run(`ip link set ${nameA} up`);
  b.run(`ip link set ${nameB} up`);
}
