// What the lists of the API answer, and what of it changes, as one stream: what the page needs. The directory's lists are looked at
// when it has changed, what is of the datapath once a second, and both only while somebody watches.

import { z } from 'zod';
import { DaoliError, messageOf } from '../../base/errors';
import { pause } from '../../base/pause';
import type { DirectoryStore } from '../../directory/store';
import { COLLECTIONS, difference, seen, type Collection, type Difference, type Item, type Seen } from '../collections';
import { streamOperation, type ApiAgent, type Operation } from '../operation';
import { Merged } from '../merged';

const DIFFERENCE = z
  .object({
    set: z.record(z.string(), z.record(z.string(), z.unknown())).meta({ description: 'new or changed, by their keys' }),
    gone: z.array(z.string()).meta({ description: 'the keys of those that are there no more' }),
  })
  .meta({ id: 'Difference', description: 'What has become of a list, whose items are those of the operation for it' });

const SIGHT = z
  .object({
    host: z.string().meta({ description: 'whose agent has seen it' }),
    isFirst: z.boolean().meta({ description: 'whether what that one has said before is to be forgotten' }),
    changes: z.record(z.string(), DIFFERENCE).meta({ description: 'by list: "hosts", "networks", "routes", …' }),
    problem: z.string().nullable().meta({ description: 'why something is not seen of that host' }),
  })
  .meta({ id: 'Sight' });
export type Sight = Readonly<z.infer<typeof SIGHT>>;

/** The agent of another host, where this one may ask it: see RemoteAgents. */
interface OtherAgent {
  lines<S extends z.ZodType>(
    path: string,
    schema: S,
    options?: { readonly signal?: AbortSignal },
  ): AsyncGenerator<z.output<S>, void, undefined>;
}

export interface WatchAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  /** Of the directory. */
  readonly onChange: DirectoryStore['onChange'];
  /** Throws `conflict` where this host may not. */
  remote(host: string): OtherAgent;
}

const LIVE_MS = 1_000;
/** After a change of the directory more of them come, mostly. */
const SETTLE_MS = 100;
/** So often something is said in any case: who reads knows by it that all is well. */
const ALIVE_MS = 5_000;
const RETRY_MS = 5_000;
/** Looking takes at most this part of the time. */
const SHARE = 1 / 4;
const MAX_WATCHERS = 8;
/** Of each list. A page does not show more. */
const MAX_ITEMS = 10_000;
/** In one line: those who read bound the length of lines. */
const MAX_ITEMS_A_LINE = 1_000;
/** Whose routes are shown beside this host's. */
const MAX_OTHERS = 64;

const query = z.strictObject({
  only: z.enum(['live'], { error: 'is not "live"' }).optional().meta({ description: 'what is of the datapath alone' }),
  hosts: z
    .enum(['this', 'all'], { error: 'is neither "this" nor "all"' })
    .default('this')
    .meta({ description: 'all: with what the other hosts have in their datapaths. On a server of the cluster' }),
});
type Wanted = z.output<typeof query>;

/** `operations` are those whose lists are watched. */
export function watchOperations<Agent extends WatchAgent>(operations: readonly Operation<Agent>[]) {
  let watchers = 0;
  return [
    streamOperation({
      id: 'watch',
      method: 'get',
      path: '/v1/watch',
      tag: 'seeing',
      summary: 'What the lists of this API answer, and what of it changes, as it does',
      needsDirectory: true,
      errors: ['exhausted'],
      query,
      item: SIGHT,
      handle: (agent: Agent, asked) => {
        if (watchers >= MAX_WATCHERS) {
          throw new DaoliError('exhausted', `${MAX_WATCHERS} watch this agent already: close one of them`);
        }
        watchers += 1;
        const gone = new AbortController();
        const end = () => {
          if (!gone.signal.aborted) watchers -= 1;
          gone.abort();
        };
        // Who has gone before the first word does not even begin to read.
        asked.signal.addEventListener('abort', end);
        if (asked.signal.aborted) end();
        return Promise.resolve(ended(new Watch(agent, operations, asked.query, gone.signal).sights(), end));
      },
    }),
  ];
}

/** Calls `end` whether all was read or not. */
async function* ended<T>(items: AsyncIterable<T>, end: () => void): AsyncGenerator<T> {
  try {
    yield* items;
  } finally {
    end();
  }
}

class Watch<Agent extends WatchAgent> {
  private readonly lists: readonly (readonly [name: string, Collection, Operation<Agent>])[];
  private readonly merged: Merged<Sight>;
  private readonly others = new Set<string>();

  constructor(
    private readonly agent: Agent,
    operations: readonly Operation<Agent>[],
    private readonly wanted: Wanted,
    private readonly signal: AbortSignal,
  ) {
    this.merged = new Merged(signal);
    this.lists = Object.entries(COLLECTIONS).flatMap(([name, collection]) => {
      const operation = operations.find(({ id }) => id === collection.operation);
      const isWanted = wanted.only === undefined || collection.isLive === true;
      return operation === undefined || !isWanted ? [] : [[name, collection, operation] as const];
    });
  }

  sights(): AsyncGenerator<Sight> {
    this.merged.add(this.own());
    return this.merged.values();
  }

  /** What this host's agent knows. */
  private async *own(): AsyncGenerator<Sight> {
    const { agent, signal } = this;
    const { host } = agent.status();
    const before = new Map<string, Seen>();
    const changes = new Changes(agent.onChange);
    let [isFirst, saidAt] = [true, 0];
    let said: string | null = null;
    try {
      while (!signal.aborted) {
        const start = performance.now();
        const isChanged = changes.take();
        const { found, problem } = await this.look(before, isFirst || isChanged);
        if (isFirst || found.length > 0 || problem !== said || start - saidAt > ALIVE_MS) {
          for (const part of found.length === 0 ? [{}] : found) {
            yield { host, isFirst, changes: part, problem };
            isFirst = false;
          }
          [saidAt, said] = [start, problem];
        }
        // This host's is what is said first.
        this.followHosts(before.get('hosts'));
        const busyMs = (performance.now() - start) * (1 / SHARE - 1);
        await pause(Math.max(SETTLE_MS, busyMs), signal);
        await changes.wait(start + LIVE_MS - performance.now(), signal);
      }
    } finally {
      changes.stop();
    }
  }

  /** What has changed since `before`, which is brought up to date, in parts; and why something is not seen. */
  private async look(before: Map<string, Seen>, isChanged: boolean): Promise<Look> {
    const found = new Lines();
    let problem: string | null = null;
    for (const [name, collection, operation] of this.lists) {
      if (!isChanged && collection.isLive !== true) continue;
      let items: readonly Item[] = [];
      try {
        items = await this.ask(collection, operation);
      } catch (error) {
        // The datapath may be away for a while; the directory is what all else hangs on.
        if (collection.isLive !== true) throw error;
        problem = messageOf(error);
      }
      const now = seen(collection, items);
      const change = difference(before.get(name), now);
      if (change !== undefined) found.add(name, change);
      before.set(name, now);
    }
    return { found: found.all, problem };
  }

  private async ask({ list }: Collection, operation: Operation<Agent>): Promise<readonly Item[]> {
    const { agent, signal } = this;
    const outgoing = await operation.run(agent, { parameters: {}, query: {}, body: {}, signal });
    if (outgoing.kind !== 'json') return [];
    const value = list === undefined ? outgoing.value : (outgoing.value as Item)[list];
    return (value as readonly Item[]).slice(0, MAX_ITEMS);
  }

  private followHosts(hosts: Seen | undefined): void {
    if (this.wanted.hosts !== 'all') return;
    for (const name of hosts?.keys() ?? []) {
      if (name === this.agent.status().host || this.others.has(name) || this.others.size >= MAX_OTHERS) continue;
      this.others.add(name);
      this.merged.add(this.other(name));
    }
  }

  /** What another host's agent has in its datapath. */
  private async *other(host: string): AsyncGenerator<Sight> {
    const { agent, signal } = this;
    while (!signal.aborted && agent.view?.host(host) !== undefined) {
      let [problem, isForGood] = ['its agent ended the answer', false];
      try {
        const path = '/v1/watch?only=live';
        for await (const sight of agent.remote(host).lines(path, SIGHT, { signal })) yield { ...sight, host };
      } catch (error) {
        problem = messageOf(error);
        isForGood = error instanceof DaoliError && error.code === 'conflict';
      }
      yield { host, isFirst: true, changes: {}, problem };
      if (isForGood) return;
      await pause(RETRY_MS, signal);
    }
    // Should it come again, it is another one.
    this.others.delete(host);
  }
}

interface Look {
  /** A line each. */
  readonly found: readonly Record<string, Difference>[];
  readonly problem: string | null;
}

/** Differences by their lists, none longer than a line may be. */
class Lines {
  readonly all: Record<string, Difference>[] = [];
  private room = 0;

  add(name: string, { set, gone }: Difference): void {
    this.put(name).gone.push(...gone);
    for (const [key, item] of Object.entries(set)) {
      this.put(name).set[key] = item;
      this.room -= 1;
    }
  }

  /** Where to put the next item of that list. */
  private put(name: string): { readonly set: Record<string, Item>; readonly gone: string[] } {
    if (this.room <= 0) {
      this.all.push({});
      this.room = MAX_ITEMS_A_LINE;
    }
    const line = this.all.at(-1) as Record<string, { set: Record<string, Item>; gone: string[] }>;
    return (line[name] ??= { set: {}, gone: [] });
  }
}

/** Whether the directory has changed since that was asked last. */
class Changes {
  private isChanged = false;
  private wake: () => void = () => undefined;
  readonly stop: () => void;

  constructor(onChange: DirectoryStore['onChange']) {
    this.stop = onChange(() => {
      this.isChanged = true;
      this.wake();
    });
  }

  take(): boolean {
    const { isChanged } = this;
    this.isChanged = false;
    return isChanged;
  }

  /** Until it changes, or that long. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (this.isChanged) return;
    const woken = new AbortController();
    this.wake = () => woken.abort();
    await pause(ms, AbortSignal.any([woken.signal, signal]));
  }
}
