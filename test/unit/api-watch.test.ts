// The stream of what the API's lists answer, and what of it changes; and several streams as one.
import { once } from 'node:events';
import { z } from 'zod';
import { COLLECTIONS, difference, seen } from '../../src/api/collections';
import { Merged } from '../../src/api/merged';
import { operation, type Operation } from '../../src/api/operation';
import { groupOperations } from '../../src/api/operations/groups';
import { networkOperations } from '../../src/api/operations/networks';
import { watchOperations, type Sight, type WatchAgent } from '../../src/api/operations/watch';
import { DaoliError } from '../../src/base/errors';
import { addContainer, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

interface FakeAgent extends WatchAgent {
  routes: object[];
  problem?: Error;
}

let cluster: SmallCluster;
let agent: FakeAgent;
let gone: AbortController;

const facts = { tag: 'x', summary: 'x', method: 'get' } as const;
const LISTS: readonly Operation<FakeAgent>[] = [
  ...networkOperations,
  ...(groupOperations as readonly unknown[] as Operation<FakeAgent>[]),
  operation({
    ...{ ...facts, id: 'getCluster', path: '/v1/cluster' },
    answer: z.object({ hosts: z.array(z.object({ name: z.string() })) }),
    handle: (asked: FakeAgent) => ({ hosts: [...asked.view!.hosts()].map(({ name }) => ({ name })) }),
  }),
  operation({
    ...{ ...facts, id: 'listRoutes', path: '/v1/routes' },
    answer: z.array(z.unknown()),
    handle: (asked: FakeAgent) => {
      if (asked.problem !== undefined) throw asked.problem;
      return asked.routes;
    },
  }),
];
const [watch] = watchOperations(LISTS) as [Operation<FakeAgent>];

beforeEach(async () => {
  cluster = await createSmallCluster();
  gone = new AbortController();
  agent = {
    view: cluster.h1.view,
    settled: () => Promise.resolve(),
    status: () => ({ state: 'ready', host: 'h1' }),
    onChange: (listener) => cluster.h1.onChange(listener),
    remote: () => {
      throw new DaoliError('conflict', 'only servers may: do it on 192.0.2.1');
    },
    routes: [],
  };
});
afterEach(() => gone.abort());

async function begin(query: object = {}): Promise<AsyncIterator<Sight>> {
  const outgoing = await watch.run(agent, { parameters: {}, query, body: {}, signal: gone.signal });
  if (outgoing.kind !== 'stream') throw new Error('it is no stream');
  return (outgoing.items as AsyncIterable<Sight>)[Symbol.asyncIterator]();
}
const next = async (sights: AsyncIterator<Sight>) => (await sights.next()).value as Sight;

describe('watch', () => {
  test('begins with all there is, and goes on with what comes, changes and goes', async () => {
    const sights = await begin();
    const first = await next(sights);
    expect(first).toMatchObject({ host: 'h1', isFirst: true, problem: null });
    expect(Object.keys(first.changes['hosts']!.set)).toEqual(['h1', 'h2']);
    expect(
      Object.values(first.changes['endpoints']!.set)
        .map(({ container }) => container)
        .sort(),
    ).toEqual([...['ann', 'bob', 'cat', 'dan']]);
    await addContainer(cluster.h1, 'eve', 'red', '10.1.0.9');
    const second = await next(sights);
    expect(second.isFirst).toBe(false);
    expect(Object.values(second.changes['endpoints']!.set)).toMatchObject([{ container: 'eve' }]);
    // How many are in it.
    expect(Object.keys(second.changes['networks']!.set)).toHaveLength(1);
    await sights.return?.();
  });

  test('looks at routes again and again; that they grow older is no news', async () => {
    agent.routes = [{ kind: 'pair', source: 'a', destination: 'b', ageSeconds: 1, packets: 1 }];
    const sights = await begin({ only: 'live' });
    const first = await next(sights);
    expect(Object.keys(first.changes)).toEqual(['routes']);
    const { packets, ...older } = { ...(agent.routes[0] as { packets: number }), ageSeconds: 2 };
    agent.routes = [{ ...older, packets }];
    const second = next(sights);
    setTimeout(() => (agent.routes = [{ ...older, packets: 2 }]), 1_500);
    expect(Object.values((await second).changes['routes']!.set)).toMatchObject([{ packets: 2 }]);
    agent.routes = [];
    expect((await next(sights)).changes['routes']).toEqual({ set: {}, gone: [expect.stringContaining('pair a b')] });
    await sights.return?.();
  });

  test('says a long list in parts, of which the first alone is the first', async () => {
    agent.routes = Array.from({ length: 2_500 }, (_, index) => ({ kind: 'pair', source: `e${index}` }));
    const sights = await begin({ only: 'live' });
    const said = [await next(sights), await next(sights), await next(sights)];
    expect(said.map(({ isFirst }) => isFirst)).toEqual([true, false, false]);
    expect(said.map(({ changes }) => Object.keys(changes['routes']!.set).length)).toEqual([1_000, 1_000, 500]);
    await sights.return?.();
  });

  test('goes on while the datapath is away, and says so', async () => {
    const sights = await begin();
    await next(sights);
    agent.problem = new DaoliError('unavailable', 'Open vSwitch is away');
    expect(await next(sights)).toMatchObject({ isFirst: false, problem: 'Open vSwitch is away' });
    delete agent.problem;
    expect(await next(sights)).toMatchObject({ problem: null });
    await sights.return?.();
  });

  test('tells of other hosts what their agents say, as theirs; and why it cannot', async () => {
    const said = { host: 'liar', isFirst: true, changes: { routes: { set: {}, gone: [] } }, problem: null };
    const asked: string[] = [];
    agent.remote = (host) => ({
      async *lines(path, schema) {
        asked.push(`${host} ${path}`);
        yield schema.parse(said);
        await once(gone.signal, 'abort');
      },
    });
    const sights = await begin({ hosts: 'all' });
    expect((await next(sights)).host).toBe('h1');
    expect(await next(sights)).toMatchObject({ host: 'h2', isFirst: true });
    expect(asked).toEqual(['h2 /v1/watch?only=live']);
    await sights.return?.();
  });

  test('says of which hosts nothing is seen, and why', async () => {
    const refused = await begin({ hosts: 'all' });
    await next(refused);
    expect(await next(refused)).toMatchObject({ host: 'h2', problem: 'only servers may: do it on 192.0.2.1' });
    await refused.return?.();
  });

  test('is refused to the ninth; who has gone counts no more', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => begin()));
    for (const each of all) await next(each);
    await expect(begin()).rejects.toMatchObject({ code: 'exhausted' });
    gone.abort();
    for (const each of all) await each.return?.();
    gone = new AbortController();
    const sights = await begin();
    expect((await next(sights)).isFirst).toBe(true);
    await sights.return?.();
  });

  test('follows the directory no longer than somebody watches', async () => {
    let listeners = 0;
    agent = { ...agent, onChange: () => ((listeners += 1), () => (listeners -= 1)) };
    const sights = await begin();
    await next(sights);
    expect(listeners).toBe(1);
    gone.abort();
    await sights.return?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(listeners).toBe(0);
  });

  test('refuses what it does not know', async () => {
    await expect(begin({ hosts: 'some' })).rejects.toMatchObject({ code: 'invalid' });
  });
});

test('a difference is what is new, changed and gone; undefined where nothing is', () => {
  const { policies } = COLLECTIONS as { policies: (typeof COLLECTIONS)[string] };
  const before = seen(policies, [{ name: 'a' }, { name: 'b' }]);
  expect(difference(before, seen(policies, [{ name: 'a' }, { name: 'b' }]))).toBeUndefined();
  // Another one in front moves those behind it.
  expect(difference(before, seen(policies, [{ name: 'c' }, { name: 'a' }]))).toEqual({
    set: { c: { name: 'c', place: 0 }, a: { name: 'a', place: 1 } },
    gone: ['b'],
  });
});

describe('merged streams', () => {
  async function* numbers(...given: number[]) {
    for (const each of given) yield Promise.resolve(each);
  }
  async function all(merged: Merged<number>): Promise<number[]> {
    const found: number[] = [];
    for await (const each of merged.values()) found.push(each);
    return found;
  }

  test('are read to the end of all', async () => {
    const merged = new Merged<number>(gone.signal);
    merged.add(numbers(1, 2, 3));
    merged.add(numbers(10, 20));
    expect((await all(merged)).sort((a, b) => a - b)).toEqual([1, 2, 3, 10, 20]);
  });

  test('fail with the one that fails', async () => {
    const merged = new Merged<number>(gone.signal);
    async function* failing() {
      yield Promise.resolve(1);
      throw new Error('broken');
    }
    merged.add(failing());
    await expect(all(merged)).rejects.toThrow('broken');
  });

  test('are read no faster than they are taken, and end with the signal', async () => {
    let made = 0;
    async function* endless() {
      for (;;) yield Promise.resolve((made += 1));
    }
    const merged = new Merged<number>(gone.signal);
    merged.add(endless());
    const values = merged.values();
    for (let count = 0; count < 3; count += 1) await values.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(made).toBeLessThanOrEqual(4);
    gone.abort();
    expect(await values.next()).toEqual({ done: true, value: undefined });
  });
});
