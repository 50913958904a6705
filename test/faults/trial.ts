// One fault after another on a stage, with the load running: what was lost meanwhile, and whether all is as before afterwards.

import { waitFor, type Host } from '../../lab/host';
import { Churn, pause, type Call } from './churn';
import type { Bounds, Fault } from './fault';
import { areServersWhole, crashes, differences, isReady, pairProblems } from './invariants';
import { LOST_AFTER_MS } from './load-program';
import { measure, pairKey, type Measured, type Pairing, type Stretch } from './measure';
import { RecordReader } from './records';
import type { Stage } from './stage';

export interface Outcome {
  readonly fault: Fault;
  readonly victims: readonly string[];
  /** Conversations between hosts that nothing was done to, and containers there; and all others. */
  readonly beside: Side;
  readonly through: Side;
  /** When the fault was over, and when all agents worked again. */
  readonly healed: number;
  readonly readyAt: number;
  /** What must not be: leaks, lost rows, addresses of two. */
  readonly broken: readonly string[];
}

export interface Side {
  readonly measured: Measured;
  readonly starts: Starts;
}

export interface Starts {
  readonly count: number;
  readonly failed: number;
  readonly longestMs: number;
}

const BEFORE_MS = 4000;
/** The containers write down what they know five times a second. */
const MARGIN_MS = 500;
const WHOLE_MS = 180_000;
/** The reconciler looks once a minute. */
const TIDY_MS = 100_000;

export class Trial {
  private readonly records: RecordReader;
  private readonly churn: Churn;

  constructor(private readonly stage: Stage) {
    this.records = new RecordReader(stage.folder);
    this.churn = new Churn(stage);
  }

  /** Waits until the load runs, and all is whole. */
  async begin(): Promise<void> {
    const since = Date.now();
    const amiss = (await this.untilHeard(since)) ?? (await this.untilReady()).amiss ?? (await this.untilTidy())[0];
    if (amiss !== undefined) throw new Error(`before any fault: ${amiss}`);
  }

  /** Makes a fault, and waits until all is as before, or was given time enough for it. */
  async run(fault: Fault): Promise<Outcome> {
    const { stage, churn } = this;
    if (fault.prepare !== undefined) {
      await fault.prepare(stage);
      await this.begin();
    }
    const victims = await fault.victims(stage);
    this.records.forget(Date.now());
    const seen = { starts: churn.starts.length, twice: churn.twice.length };
    churn.start();
    await pause(BEFORE_MS);
    const from = Date.now();
    await fault.inject(stage, victims);
    await pause(fault.lastsMs);
    const healed = fault.lastsMs === 0 ? from : Date.now();
    await fault.heal?.(stage, victims);
    const [unheard, ready] = await Promise.all([this.untilHeard(healed), this.untilReady()]);
    await pause(healed + LOST_AFTER_MS + MARGIN_MS - Date.now());
    const stretch = { from, to: Date.now() };
    await churn.stop();
    const starts = churn.starts.slice(seen.starts).filter(({ at, ms }) => at + ms >= from && at <= stretch.to);
    const late = [unheard, ready.amiss].filter((each) => each !== undefined);
    const broken = [
      ...late.map((each) => `after ${WHOLE_MS / 1000} s ${each}`),
      ...churn.twice.slice(seen.twice),
      ...(await this.untilTidy()),
    ];
    this.records.read();
    return { fault, healed, broken, readyAt: ready.at, ...this.sides(fault, victims, stretch, starts) };
  }

  /** What there was between hosts that nothing was done to, and what with the others. */
  private sides(fault: Fault, hosts: readonly Host[], stretch: Stretch, starts: readonly Call[]) {
    const victims = hosts.map(({ name }) => name);
    const { isBetween = (_victims, pair) => pair.some((name) => victims.includes(name)) } = fault;
    const side = (isThrough: boolean): Side => ({
      measured: measure(
        this.records.all,
        this.pairings.filter((pairing) => isBetween(victims, pairing.hosts) === isThrough),
        stretch,
      ),
      starts: summary(starts.filter(({ host }) => victims.includes(host) === isThrough)),
    });
    return { victims, beside: side(false), through: side(true) };
  }

  /** Those between hosts that are not gone for good. */
  private get pairings(): Pairing[] {
    const { steady, fresh, gone } = this.stage;
    return [...steady, ...fresh].filter(({ hosts }) => hosts.every((name) => !gone.has(name)));
  }

  /** All calls of `docker run` that failed, for whoever looks into it. */
  get failures(): readonly Call[] {
    return this.churn.starts.filter(({ problem }) => problem !== undefined);
  }

  /** Until everybody hears everybody, by what was sent since then. Resolves with what was still amiss at the end. */
  private async untilHeard(since: number): Promise<string | undefined> {
    const waiting = (): Pairing | undefined => {
      this.records.read();
      return this.pairings.find((pairing) => !this.hears(pairing, since));
    };
    await waitFor('everybody to hear everybody', () => waiting() === undefined, WHOLE_MS).catch(() => undefined);
    const pairing = waiting();
    return pairing && `${pairing.from} does not hear ${pairing.to}`;
  }

  private hears(pairing: Pairing, since: number): boolean {
    const records = this.records.all.get(pairKey(pairing)) ?? [];
    const kinds = this.stage.steady.includes(pairing) ? (['udp', 'tcp'] as const) : (['new'] as const);
    return kinds.every((kind) => records.some(([each, , at, ms]) => each === kind && at > since && ms >= 0));
  }

  /** Until all agents work, with their directory. */
  private async untilReady(): Promise<{ at: number; amiss: string | undefined }> {
    const { stage } = this;
    let amiss: string | undefined;
    const look = async () => {
      const answers = await Promise.all(stage.hosts.map((host) => isReady(stage, host)));
      amiss = answers.find((each) => each !== undefined) ?? (await areServersWhole(stage));
      return amiss === undefined;
    };
    const carefully = () =>
      look().catch((error: Error) => {
        amiss = error.message;
        return false;
      });
    await waitFor('all to be ready', carefully, WHOLE_MS).catch(() => undefined);
    return { at: Date.now(), amiss };
  }

  /** Resolves with what was left over or missing at the end. */
  private async untilTidy(): Promise<string[]> {
    let found: string[] = [];
    const look = async () => {
      found = await this.untidy().catch((error: Error) => [error.message]);
      return found.length === 0;
    };
    await waitFor('all to be tidy', look, TIDY_MS).catch(() => undefined);
    return found;
  }

  private async untidy(): Promise<string[]> {
    const { stage } = this;
    const crashed = await Promise.all(stage.hosts.map((host: Host) => crashes(host)));
    return [...(await differences(stage)), ...(await pairProblems(stage, this.churn)), ...crashed.flat()];
  }
}

function summary(calls: readonly Call[]): Starts {
  return {
    count: calls.length,
    failed: calls.filter(({ problem }) => problem !== undefined).length,
    longestMs: Math.max(0, ...calls.map(({ ms }) => ms)),
  };
}

/** From the end of a fault until nothing was lost or late any more, and all agents worked. */
export function wholeAfterMs({ healed, readyAt, beside, through }: Outcome): number {
  return Math.max(0, Math.max(readyAt, beside.measured.troubleAt, through.measured.troubleAt) - healed);
}

/** What of the bounds was not kept, each of them taken `times` over. */
export function misses(outcome: Outcome, times = 1): string[] {
  const { bounds } = outcome.fault;
  const [beside, through] = [outcome.beside.measured, outcome.through.measured];
  const over = (what: string, value: number, bound: keyof Bounds, unit = 1000): string[] => {
    const limit = bounds[bound];
    if (limit === undefined || value <= times * limit) return [];
    return [unit === 1 ? `${what}: ${value}` : `${what} ${(value / unit).toFixed(1)} s, not ${limit / unit} s`];
  };
  const wrong = beside.wrong + through.wrong;
  return [
    ...outcome.broken,
    ...(wrong === 0 ? [] : [`${wrong} answers came from somebody else`]),
    ...over('datagrams lost between living hosts', beside.lost, 'besideLost', 1),
    ...over('new conversations between living hosts waited', beside.longestNewMs, 'besideNewMs'),
    ...over('datagrams lost', through.lost, 'throughLost', 1),
    ...over('new conversations waited', through.longestNewMs, 'throughNewMs'),
    ...over('whole again after', wholeAfterMs(outcome), 'wholeMs'),
  ];
}
