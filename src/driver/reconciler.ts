// Looks at everything, plans (reconcile.ts), and acts: at the start, on a timer, and when told that something was lost.
// One run at a time. What an action does is reconcile-actions.ts. Docker is asked on the timer only; repairs do without.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import type { NetworkDriver } from './network-driver';
import { endpointsOf } from './port-holders';
import type { DockerInventory, DriverParts } from './ports';
import {
  type Action,
  type Complaint,
  type DockerState,
  type Observation,
  planRemovals,
  planRepairs,
  type Suspects,
} from './reconcile';
import { ReconcileActions } from './reconcile-actions';

export interface ReconcilerOptions {
  readonly driver: NetworkDriver;
  readonly parts: DriverParts;
  readonly docker: DockerInventory;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Between two runs, ms. Default 30,000. */
  readonly intervalMs?: number;
  /** How long a thing must be unwanted before it is taken away, ms; what belongs to an endpoint at most 3,000. Default 120,000. */
  readonly graceMs?: number;
}

/** What a run did. */
export interface ReconcileResult {
  readonly done: number;
  readonly failed: number;
  /** False: only repairs were made. */
  readonly askedDocker: boolean;
}

const INTERVAL_MS = 30_000;
const GRACE_MS = 120_000;
/** Before a repair that failed is tried again, at first. */
const RETRY_MS = 1_000;
/** After a trigger: whatever else is lost with it is repaired in the same run. */
const TRIGGER_MS = 500;
const CONCURRENT = 16;

export class Reconciler {
  private readonly intervalMs: number;
  private readonly graceMs: number;
  private readonly backoff: Backoff;
  private readonly actions: ReconcileActions;
  private suspects: Suspects = new Map();
  /** When the first suspect is to go, ms after the last full run. */
  private dueInMs = Infinity;
  /** What was said already: a thing that stays wrong is logged once. */
  private readonly reported = { full: new Set<string>(), repair: new Set<string>() };
  /** How often in a row each complaint was found. */
  private complaints: ReadonlyMap<string, number> = new Map();
  private last: Promise<unknown> = Promise.resolve();
  private fullRun: Promise<ReconcileResult> | undefined;
  private isStarted = false;
  private cancelFull: () => void = () => undefined;
  private cancelRepair: (() => void) | undefined;

  constructor(private readonly options: ReconcilerOptions) {
    this.intervalMs = options.intervalMs ?? INTERVAL_MS;
    this.graceMs = options.graceMs ?? GRACE_MS;
    this.backoff = new Backoff(RETRY_MS, this.intervalMs, options.random);
    this.actions = new ReconcileActions(options.driver, options.parts, this.graceMs);
  }

  /** Begins with a run at once. Idempotent. */
  start(): void {
    if (this.isStarted) return;
    this.isStarted = true;
    void this.runOnTimer();
  }

  /** Ends with the run under way. Idempotent. */
  async stop(): Promise<void> {
    this.isStarted = false;
    this.cancelFull();
    this.cancelRepair?.();
    this.cancelRepair = undefined;
    await this.last;
  }

  /** Something was lost, or is there again (a port, the bridge, OVS): repair soon. Cheap; call it as often as you like. */
  trigger(): void {
    if (this.isStarted) this.repairAfter(TRIGGER_MS);
  }

  /**
   * One run with everything; joins the one that is under way. Never throws: what failed is logged, and tried again by
   * the next.
   */
  run(): Promise<ReconcileResult> {
    this.fullRun ??= this.serially('full').finally(() => {
      this.fullRun = undefined;
      this.scheduleNext();
    });
    return this.fullRun;
  }

  private async runOnTimer(): Promise<void> {
    const { failed } = await this.run();
    this.retryIfFailed(failed);
  }

  private scheduleNext(): void {
    if (!this.isStarted) return;
    this.cancelFull();
    const pauseMs = Math.min(this.intervalMs, this.dueInMs);
    this.cancelFull = this.options.clock.after(pauseMs, () => void this.runOnTimer());
  }

  private repairAfter(pauseMs: number): void {
    this.cancelRepair ??= this.options.clock.after(pauseMs, () => {
      this.cancelRepair = undefined;
      void this.serially('repair').then(({ failed }) => this.retryIfFailed(failed));
    });
  }

  private retryIfFailed(failed: number): void {
    if (!this.isStarted) return;
    if (failed === 0) this.backoff.succeeded();
    else this.repairAfter(this.backoff.nextMs());
  }

  private serially(extent: 'full' | 'repair'): Promise<ReconcileResult> {
    const run = this.last.then(() => this.runOnce(extent));
    this.last = run;
    return run;
  }

  private async runOnce(extent: 'full' | 'repair'): Promise<ReconcileResult> {
    const problems: string[] = [];
    const result = { done: 0, failed: 0, askedDocker: false };
    try {
      // Endpoints are repaired before Docker is asked: at a host's start it does not answer for long.
      result.done = await this.perform(planRepairs(await this.observe()), problems);
      if (extent === 'full') {
        const docker = await this.readDocker();
        result.askedDocker = docker !== undefined;
        if (docker === undefined) this.forgetSuspects();
        else result.done += await this.perform(await this.planRemovals(docker), problems);
      }
    } catch (error) {
      problems.push(`reconciling stopped: ${messageOf(error)}`);
    }
    this.report(extent, problems);
    return { ...result, failed: problems.length };
  }

  private forgetSuspects(): void {
    this.suspects = new Map();
    this.dueInMs = Infinity;
  }

  private async planRemovals(docker: DockerState): Promise<readonly Action[]> {
    const seen = await this.observe();
    const time = { now: this.options.clock.now(), graceMs: this.graceMs };
    const plan = planRemovals(seen, docker, this.suspects, time);
    this.suspects = plan.suspects;
    this.dueInMs = plan.dueInMs;
    this.complain(plan.complaints);
    return [...plan.adoptions, ...plan.removals];
  }

  /** Returns how many actions were done; those that failed are added to `problems`. */
  private async perform(actions: readonly Action[], problems: string[]): Promise<number> {
    const done: Action[] = [];
    const act = async (action: Action): Promise<void> => {
      try {
        if (await this.actions.perform(action)) done.push(action);
      } catch (error) {
        problems.push(`${formatAction(action)} failed: ${messageOf(error)}`);
      }
    };
    for (const group of groupsOf(actions)) await inParallel(group, act);
    if (done.length > 0) this.options.logger.info(`reconciled ${done.length} things`, countsOf(done));
    return done.length;
  }

  private async observe(): Promise<Observation> {
    const { driver, parts } = this.options;
    await parts.store.whenReady();
    const [links, ports] = await Promise.all([parts.links.listLinks(), this.listPorts()]);
    return {
      view: parts.store.view,
      host: parts.store.host,
      links: new Set(links.map(({ name }) => name)),
      ports,
      flows: parts.flows,
      isPublished: (endpoint) => driver.publishing.isOpen(endpoint),
      reservedFor: endpointsOf(parts.ports.list()),
    };
  }

  private async listPorts(): Promise<Observation['ports']> {
    try {
      await this.options.parts.switch.whenReady();
      return this.options.parts.switch.ports();
    } catch {
      return 'unavailable'; // what needs it fails by itself, and says so
    }
  }

  /** Undefined while Docker does not answer, as at its start; whoever follows its events says so. */
  private async readDocker(): Promise<DockerState | undefined> {
    const { docker } = this.options;
    try {
      const [networks, endpoints, subnets] = await Promise.all([
        docker.listAllNetworks(),
        docker.listEndpoints(),
        docker.listOwnSubnets(),
      ]);
      return { networkIds: new Set(networks.map(({ id }) => id)), endpoints, ownSubnets: new Set(subnets) };
    } catch {
      return undefined;
    }
  }

  /** Docker was asked a moment before the rest was looked at: only what is found twice in a row is so, and said once. */
  private complain(found: readonly Complaint[]): void {
    const counts = new Map<string, number>();
    for (const { endpointId, problem } of found) {
      const text = `${endpointId} ${problem}`;
      const count = (this.complaints.get(text) ?? 0) + 1;
      counts.set(text, count);
      if (count === 2) this.options.logger.warn(problem, { endpointId });
    }
    this.complaints = counts;
  }

  private report(extent: 'full' | 'repair', problems: readonly string[]): void {
    for (const problem of problems) {
      if (!this.reported[extent].has(problem)) this.options.logger.warn(problem);
    }
    this.reported[extent] = new Set(problems);
  }
}

/** Runs of actions of one kind: those of one run do not depend on each other. */
function groupsOf(actions: readonly Action[]): Action[][] {
  const groups: Action[][] = [];
  for (const action of actions) {
    const group = groups.at(-1);
    if (group?.[0]?.kind === action.kind) group.push(action);
    else groups.push([action]);
  }
  return groups;
}

async function inParallel(actions: readonly Action[], act: (action: Action) => Promise<void>): Promise<void> {
  const left = actions.values();
  const work = async (): Promise<void> => {
    for (const action of left) await act(action);
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT, actions.length) }, work));
}

function countsOf(actions: readonly Action[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of actions) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/** "attach 1f2e…". */
function formatAction({ kind, ...subject }: Action): string {
  const words = Object.values(subject).filter((value) => typeof value !== 'object');
  return `${kind} ${words.join(' ')}`;
}
