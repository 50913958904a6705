// Looks at everything, plans (reconcile.ts), and acts: at the start, on a timer, and when told that something was lost.
// One run at a time. What an action does is reconcile-actions.ts.

import { Backoff } from '../base/backoff';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import type { NetworkDriver } from './network-driver';
import type { DockerInventory, DriverParts } from './ports';
import {
  type Action,
  type Complaint,
  type DockerState,
  type Observation,
  planReconcile,
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
  /** How long a thing must be unwanted before it is taken away, ms. Default 120,000. */
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
/** Between runs that could not do everything, at first. */
const RETRY_MS = 1_000;
const CONCURRENT = 16;

export class Reconciler {
  private readonly intervalMs: number;
  private readonly graceMs: number;
  private readonly backoff: Backoff;
  private suspects: Suspects = new Map();
  /** What was said already: a thing that stays wrong is logged once. */
  private reported: ReadonlySet<string> = new Set();
  private complained: ReadonlySet<string> = new Set();
  private readonly actions: ReconcileActions;
  private isDueAgain = false;
  private running: Promise<ReconcileResult> | undefined;
  private isStarted = false;
  private cancelTimer: () => void = () => undefined;

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
    void this.runAndSchedule();
  }

  /** Ends with the run under way. Idempotent. */
  async stop(): Promise<void> {
    this.isStarted = false;
    this.cancelTimer();
    await this.running;
  }

  /** Something was lost, or is there again (the bridge, OVS, Docker): run soon, instead of waiting for the timer. */
  trigger(): void {
    this.isDueAgain = true;
    if (this.isStarted && this.running === undefined) this.schedule(0);
  }

  /** One run; joins the one under way. Never throws: what failed is logged once and tried again by the next. */
  run(): Promise<ReconcileResult> {
    this.running ??= this.runOnce().finally(() => (this.running = undefined));
    return this.running;
  }

  private async runAndSchedule(): Promise<void> {
    this.isDueAgain = false;
    const { failed } = await this.run();
    if (!this.isStarted) return;
    if (failed === 0) this.backoff.succeeded();
    if (this.isDueAgain) this.schedule(0);
    else this.schedule(failed === 0 ? this.intervalMs : this.backoff.nextMs());
  }

  private schedule(pauseMs: number): void {
    this.cancelTimer();
    this.cancelTimer = this.options.clock.after(pauseMs, () => void this.runAndSchedule());
  }

  private async runOnce(): Promise<ReconcileResult> {
    const problems: string[] = [];
    try {
      // Endpoints are repaired before Docker is asked: at a host's start it does not answer for long.
      const repaired = await this.pass('unavailable', problems);
      const docker = await this.readDocker();
      if (docker === 'unavailable') this.suspects = new Map();
      const cleaned = docker === 'unavailable' ? 0 : await this.pass(docker, problems);
      return { done: repaired + cleaned, failed: problems.length, askedDocker: docker !== 'unavailable' };
    } catch (error) {
      problems.push(`reconciling stopped: ${messageOf(error)}`);
      return { done: 0, failed: problems.length, askedDocker: false };
    } finally {
      this.report(problems);
    }
  }

  /** Plans from one look and acts. Returns how many actions were done; those that failed are added to `problems`. */
  private async pass(docker: DockerState | 'unavailable', problems: string[]): Promise<number> {
    const { clock } = this.options;
    const plan = planReconcile(await this.observe(docker), this.suspects, clock.now(), this.graceMs);
    this.suspects = plan.suspects;
    let done = 0;
    const act = async (action: Action): Promise<void> => {
      try {
        await this.actions.perform(action);
        done += 1;
      } catch (error) {
        problems.push(`${formatAction(action)} failed: ${messageOf(error)}`);
      }
    };
    for (const group of groupsOf(plan.actions)) await inParallel(group, act);
    this.complain(plan.complaints);
    if (done > 0) this.options.logger.info(`reconciled ${done} things`, countsOf(plan.actions));
    return done;
  }

  private async observe(docker: DockerState | 'unavailable'): Promise<Observation> {
    const { driver, parts } = this.options;
    await parts.store.whenReady();
    const [links, ports] = await Promise.all([
      parts.links.listLinks(),
      parts.switch.whenReady().then(
        () => parts.switch.ports(),
        () => 'unavailable' as const,
      ),
    ]);
    return {
      view: parts.store.view,
      host: parts.store.host,
      docker,
      links: new Set(links.map(({ name }) => name)),
      ports,
      flows: parts.flows,
      isPublished: (endpoint) => driver.publishing.isOpen(endpoint),
      reservedFor: new Set(parts.ports.list().map(({ endpointId }) => endpointId)),
    };
  }

  private async readDocker(): Promise<DockerState | 'unavailable'> {
    const { docker } = this.options;
    try {
      const [networks, endpoints, subnets] = await Promise.all([
        docker.listNetworks(),
        docker.listEndpoints(),
        docker.listOwnSubnets?.(),
      ]);
      const ownSubnets = subnets === undefined ? undefined : new Set(subnets);
      return { networkIds: new Set(networks.map(({ id }) => id)), endpoints, ownSubnets };
    } catch {
      return 'unavailable'; // as while dockerd starts; whoever follows its events says so
    }
  }

  private complain(complaints: readonly Complaint[]): void {
    const texts = complaints.map(({ endpointId, problem }) => `${endpointId} ${problem}`);
    for (const [index, text] of texts.entries()) {
      const { endpointId = '', problem = '' } = complaints[index] ?? {};
      if (!this.complained.has(text)) this.options.logger.warn(problem, { endpointId });
    }
    this.complained = new Set(texts);
  }

  private report(problems: readonly string[]): void {
    for (const problem of problems) {
      if (!this.reported.has(problem)) this.options.logger.warn(problem);
    }
    this.reported = new Set(problems);
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
  return `${kind} ${Object.values(subject).join(' ')}`;
}
