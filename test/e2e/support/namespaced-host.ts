// The real host inside a network namespace, as an object of the same face: its calls travel to a child process. Sockets, /proc/sys and
// helper processes then all belong to that namespace, as they belong to the host in the product.

import { fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { DaoliError, type ErrorCode } from '../../../src/base/errors';
import type { Host } from '../../../src/host/host';
import type { NetworkNamespace } from './network-namespace';

interface LogLine {
  level: string;
  message: string;
  fields?: Record<string, unknown>;
}

interface Answer {
  id?: number;
  result?: unknown;
  ms?: number;
  error?: { code: ErrorCode; message: string };
  log?: LogLine;
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export class NamespacedHost {
  readonly host: Host;
  readonly logs: LogLine[] = [];
  /** How long the last call took inside the child. */
  lastMs = 0;
  private readonly pending = new Map<number, Pending>();
  private nextId = 1;

  private constructor(
    readonly child: ChildProcess,
    private readonly directory: string,
  ) {
    child.on('message', (message: Answer) => this.take(message));
    const part = (name: string): unknown =>
      new Proxy({}, { get: (_, method) => this.method(`${name}.${String(method)}`) });
    this.host = {
      links: part('links'),
      kernel: part('kernel'),
      firewall: part('firewall'),
      ports: part('ports'),
      tunnels: part('tunnels'),
      start: this.method('start'),
      stop: this.method('stop'),
    } as Host;
  }

  /** `wrap` stands before the program, as in ['unshare', '-m']. */
  static async start(namespace: NetworkNamespace, wrap: readonly string[] = []): Promise<NamespacedHost> {
    const directory = mkdtempSync(join(tmpdir(), `daolinet-host-${process.pid}-`));
    const bundle = join(directory, 'host-child.js');
    buildSync({
      entryPoints: [join(__dirname, 'host-child.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      logLevel: 'error',
    });
    const [command = '', ...args] = [...namespace.prefix, ...wrap, process.execPath];
    const child = fork(bundle, [], { execPath: command, execArgv: args });
    await new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`the host process ended with ${code}`)));
    });
    return new NamespacedHost(child, directory);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = new Promise((resolve) => this.child.once('exit', resolve));
      await this.host.stop();
      this.child.disconnect();
      await gone;
    }
    rmSync(this.directory, { recursive: true });
  }

  private method(call: string): (...args: unknown[]) => Promise<unknown> {
    return (...args) =>
      new Promise((resolve, reject) => {
        const id = this.nextId++;
        this.pending.set(id, { resolve, reject });
        this.child.send({ id, call, args });
      });
  }

  private take({ id, result, error, log, ms }: Answer): void {
    if (log !== undefined) this.logs.push(log);
    const pending = this.pending.get(id ?? 0);
    if (id === undefined || pending === undefined) return;
    this.pending.delete(id);
    if (error !== undefined) return pending.reject(new DaoliError(error.code, error.message));
    this.lastMs = ms ?? 0;
    pending.resolve(result);
  }
}
