// Containers that start and stop, and pairs that are connected and disconnected, all the while: what Docker and the agents were asked,
// how that ended, and what of it has to be there afterwards.

import type { Host } from '../../lab/host';
import type { ShownPair } from '../../src/api/operations/pairs';
import type { Stage } from './stage';

/** Two containers of the first host, which is never gone for good, that the load does not connect. */
const PAIR = '/v1/pairs/s1/n1b';
const PAUSE_MS = 1500;
/** So many of a host's containers stay, the newest. */
const KEPT = 2;
const CALL_MS = 60_000;

/** One call, and how it ended. */
export interface Call {
  readonly host: string;
  readonly at: number;
  readonly ms: number;
  /** What it failed with. */
  readonly problem?: string;
}

export class Churn {
  readonly starts: Call[] = [];
  readonly changes: Call[] = [];
  /** Two containers that ran at the same time with one address: what must never be. */
  readonly twice: string[] = [];
  /** What was last answered about each pair; undefined where the answer was lost. */
  readonly pairs = new Map<string, boolean | undefined>();
  private readonly running = new Map<string, { host: Host; address: string }>();
  /** Containers of each host, the oldest first. */
  private readonly started = new Map<string, string[]>();
  private works: Promise<unknown>[] = [];
  private isStopping = false;
  private next = 0;

  constructor(private readonly stage: Stage) {}

  /** Those of the last time are removed meanwhile. */
  start(): void {
    this.isStopping = false;
    this.works = [...this.stage.hosts.map((host) => this.containersOn(host)), this.changePairs()];
  }

  /** Ends when the calls that are under way have. What runs then, runs on. */
  async stop(): Promise<void> {
    this.isStopping = true;
    await Promise.all(this.works);
  }

  private async containersOn(host: Host): Promise<void> {
    const mine = this.started.get(host.name) ?? [];
    this.started.set(host.name, mine);
    while (!this.isStopping && !this.stage.gone.has(host.name)) {
      const name = `c${++this.next}`;
      const call = await timed(host.name, () => this.startOn(host, name));
      this.starts.push(call);
      mine.push(name);
      while (mine.length > KEPT) await this.remove(host, mine.shift() ?? '');
      await pause(PAUSE_MS);
    }
  }

  private async startOn(host: Host, name: string): Promise<void> {
    const run = ['docker', 'run', '-d', '--init', '--name', name, '--network', 'load', 'busybox', 'sleep', '100000'];
    await execOn(host, run);
    const format = '{{.NetworkSettings.Networks.load.IPAddress}}';
    const address = await execOn(host, ['docker', 'inspect', '--format', format, name]);
    for (const [other, container] of this.running) {
      if (container.address === address && (await isUp(container.host, other)) && (await isUp(host, name))) {
        this.twice.push(`${address}: ${other} on ${container.host.name}, and ${name} on ${host.name}`);
      }
    }
    this.running.set(name, { host, address });
  }

  private async remove(host: Host, name: string): Promise<void> {
    this.running.delete(name); // from now on somebody else may have its address
    await execOn(host, ['docker', 'rm', '-f', name]).catch(() => undefined);
  }

  /** Asks whichever server answers. */
  private async changePairs(): Promise<void> {
    for (let connected = false; !this.isStopping; connected = !connected) {
      for (const host of this.stage.hosts) {
        const call = await timed(host.name, async () => {
          await this.stage.api(host).put<ShownPair>(PAIR, { connected });
        });
        this.changes.push(call);
        this.pairs.set(PAIR, call.problem === undefined ? connected : undefined);
        await pause(PAUSE_MS / this.stage.hosts.length);
      }
    }
  }
}

async function execOn(host: Host, [program = '', ...args]: readonly string[]): Promise<string> {
  return host.exec(program, args, { timeoutMs: CALL_MS });
}

async function isUp(host: Host, name: string): Promise<boolean> {
  try {
    return (await execOn(host, ['docker', 'inspect', '--format', '{{.State.Running}}', name])) === 'true';
  } catch {
    return false; // its engine or its host is gone
  }
}

async function timed(host: string, work: () => Promise<void>): Promise<Call> {
  const at = Date.now();
  const problem = await work().then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)).trim().slice(0, 300),
  );
  return { host, at, ms: Date.now() - at, ...(problem !== undefined && { problem }) };
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
