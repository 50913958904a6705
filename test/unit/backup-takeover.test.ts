// Who is master of a datapath when: the state machine alone, and hosts with all of src/backup whose agents are killed, stopped
// and brought back, while the directory is there or not.
import fc from 'fast-check';
import { STANDING_BY, step, type Effect, type Event, type Facts, type State } from '../../src/backup/takeover';
import { isRow, update } from '../../src/ovsdb/operations';
import { BackupWorld } from '../fakes/backup-world';

describe('the machine', () => {
  const facts: Facts = {
    rank: 0,
    isConnected: true,
    isDescribed: true,
    isServed: false,
    generation: 7,
    master: 'owner',
  };
  const look: Event = { kind: 'look' };
  const run = (state: State, event: Event, more: Partial<Facts> = {}) => {
    const { state: next, effects } = step(state, event, { ...facts, ...more });
    return `${next.kind}: ${effects.map((effect) => Object.values(effect).join(' ')).join(', ')}`;
  };
  const reigning: State = { kind: 'master', isDisputed: false };

  test.each<[string, Partial<Facts>, string]>([
    ['a datapath that is served', { isServed: true }, 'standing-by: '],
    ['one that is not connected', { isConnected: false }, 'standing-by: '],
    ['one that cannot be served', { isDescribed: false, master: 'self' }, 'standing-by: '],
    ['one that it stands by for no more', { rank: undefined }, 'standing-by: '],
    ['one that another backup has', { master: 'rival' }, 'standing-by: '],
    ['one that nobody serves', {}, 'claiming: claim 7'],
    ['one that is nobody’s', { master: 'nobody' }, 'claiming: claim 7'],
    ['one that it has in the directory', { master: 'self', rank: 1 }, 'taking: take 7'],
    ['one that nobody serves, as the second', { rank: 1 }, 'waiting: wait 700'],
  ])('%s', (_, more, expected) => expect(run(STANDING_BY, look, more)).toBe(expected));

  test('the second waits, and looks again', () => {
    const waiting: State = { kind: 'waiting', tries: 0 };
    expect(run(waiting, look, { rank: 1 })).toBe('waiting: ');
    expect(run(waiting, { kind: 'due' }, { rank: 1 })).toBe('claiming: claim 7');
    expect(run(waiting, { kind: 'due' }, { rank: 1, master: 'rival' })).toBe('standing-by: release');
    expect(run(waiting, look, { rank: 1, isServed: true })).toBe('standing-by: release');
  });

  test('the directory comes before the datapath', () => {
    const claiming: State = { kind: 'claiming', tries: 0 };
    const claimed = (outcome: 'done' | 'lost' | 'failed'): Event => ({ kind: 'claimed', outcome, generation: 8 });
    expect(run(claiming, look)).toBe('claiming: ');
    expect(run(claiming, claimed('done'), { master: 'self' })).toBe('taking: take 8');
    expect(run(claiming, claimed('done'), { master: 'self', isServed: true })).toBe('standing-by: release, resign');
    expect(run(claiming, claimed('lost'), { master: 'rival' })).toBe('standing-by: release');
    expect(run(claiming, claimed('lost'))).toBe('waiting: wait 250');
    expect(run(claiming, claimed('failed'))).toBe('waiting: wait 250');
  });

  test('the datapath decides', () => {
    const taking: State = { kind: 'taking', tries: 0 };
    const taken = (outcome: 'master' | 'stale' | 'away' | 'unready'): Event => ({ kind: 'taken', outcome });
    expect(run(taking, taken('master'), { master: 'self' })).toBe('master: ');
    expect(run(taking, taken('master'), { master: 'self', rank: undefined })).toBe('standing-by: release, resign');
    expect(run(taking, taken('stale'))).toBe('waiting: release, resign, wait 250');
    expect(run(taking, taken('away'))).toBe('waiting: release, resign, wait 250');
    expect(run(taking, taken('away'), { isConnected: false })).toBe('standing-by: release, resign');
    expect(run(taking, taken('unready'))).toBe('waiting: wait 250');
  });

  test('what fails again and again is tried less and less often', () => {
    let state: State = STANDING_BY;
    const waits: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      for (const event of [n === 0 ? look : ({ kind: 'due' } as const), { kind: 'taken', outcome: 'away' } as const]) {
        const next: { state: State; effects: readonly Effect[] } = step(state, event, { ...facts, master: 'self' });
        state = next.state;
        for (const effect of next.effects) if (effect.kind === 'wait') waits.push(effect.ms);
      }
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
  });

  test('a master reigns until the datapath says otherwise, or is away', () => {
    expect(run(reigning, look, { master: 'self', isServed: true })).toBe('master: ');
    expect(run(reigning, look, { master: 'owner' })).toBe('master: wait 3000');
    expect(run({ kind: 'master', isDisputed: true }, { kind: 'due' }, { master: 'owner' })).toBe('claiming: claim 7');
    expect(run({ kind: 'master', isDisputed: true }, { kind: 'due' }, { master: 'self' })).toBe('master: ');
    expect(run(reigning, { kind: 'demoted' })).toBe('standing-by: release, presume');
    expect(run(reigning, look, { master: 'self', isConnected: false })).toBe('standing-by: release, resign');
    expect(run(reigning, look, { master: 'self', rank: undefined })).toBe('standing-by: release, resign');
  });

  test('what was under way when it was demoted is undone', () => {
    expect(run({ kind: 'claiming', tries: 0 }, { kind: 'demoted' })).toBe('standing-by: release, presume');
    expect(run(STANDING_BY, { kind: 'claimed', outcome: 'done', generation: 8 })).toBe('standing-by: resign');
    expect(run(STANDING_BY, { kind: 'taken', outcome: 'master' })).toBe('standing-by: release, resign');
    expect(run(STANDING_BY, { kind: 'taken', outcome: 'stale' })).toBe('standing-by: ');
    expect(run(STANDING_BY, { kind: 'demoted' })).toBe('standing-by: ');
  });

  test('whatever happens, it takes a datapath only after the directory said so, and lets go of what it took', () => {
    const someFacts = fc.record<Facts>({
      rank: fc.constantFrom(undefined, 0, 1),
      isConnected: fc.boolean(),
      isDescribed: fc.boolean(),
      isServed: fc.boolean(),
      generation: fc.integer({ min: 1, max: 9 }),
      master: fc.constantFrom('owner', 'self', 'rival', 'nobody'),
    });
    const someEvent = fc.constantFrom<Event>(
      look,
      { kind: 'due' },
      { kind: 'demoted' },
      { kind: 'claimed', outcome: 'done', generation: 8 },
      { kind: 'claimed', outcome: 'failed', generation: 8 },
      { kind: 'taken', outcome: 'master' },
      { kind: 'taken', outcome: 'away' },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(someEvent, someFacts), { maxLength: 50 }), (events) => {
        let state: State = STANDING_BY;
        for (const [event, now] of events) {
          const before: State = state;
          const next: { state: State; effects: readonly Effect[] } = step(before, event, now);
          const kinds = next.effects.map(({ kind }) => kind);
          const isClaimed = event.kind === 'claimed' && event.outcome === 'done';
          if (kinds.includes('take')) expect(isClaimed || now.master === 'self').toBe(true);
          if (kinds.includes('take') || kinds.includes('claim')) expect(now.rank).not.toBeUndefined();
          const isBack = before.kind !== 'standing-by' && next.state.kind === 'standing-by';
          if (isBack) expect(kinds).toContain('release');
          if (next.state.kind === 'waiting' && before.kind !== 'waiting') expect(kinds).toContain('wait');
          state = next.state;
        }
      }),
    );
  });
});

describe('hosts', () => {
  const names = ['h1', 'h2', 'h3'];
  let world: BackupWorld;
  const masterOf = (host: string) => world.host(host).datapath.master;
  const written = (host: string) => world.row(host)?.master;
  const orderOf = (host: string) => names.filter((name) => world.row(host)!.backups.includes(name));

  beforeEach(async () => {
    world = new BackupWorld(names);
    await world.advance(5_000);
    for (const name of names) {
      expect([masterOf(name), written(name), orderOf(name)]).toEqual([name, name, names.filter((n) => n !== name)]);
    }
  });

  test('nothing happens while nothing happens', async () => {
    const before = world.hosts.get('h1')!.store.committed.length;
    await world.advance(60_000);
    expect(world.hosts.get('h1')!.store.committed).toHaveLength(before);
    for (const name of names) expect(world.host(name).datapath.masters).toEqual([name]);
  });

  test.each(['gone', 'stopped'] as const)(
    'one whose agent is %s has another master within 2 s, and itself again',
    async (how) => {
      if (how === 'gone') world.host('h1').kill();
      else world.host('h1').process.state = 'stopped';
      await world.advance(2_000);
      const backup = masterOf('h1');
      expect(['h2', 'h3']).toContain(backup);
      expect(written('h1')).toBe(backup);
      expect(BigInt(world.row('h1')!.generation)).toBe(world.host('h1').datapath.generation);
      await world.advance(10_000);
      expect(masterOf('h1')).toBe(backup);
      if (how === 'gone') world.host('h1').start();
      else world.host('h1').process.continue();
      await world.advance(1_000);
      expect([masterOf('h1'), written('h1')]).toEqual(['h1', 'h1']);
      await world.advance(30_000);
      expect(world.host('h1').datapath.masters).toEqual(['h1', backup, 'h1']);
    },
  );

  test('one whose datapath finds it late is master again once, and for good', async () => {
    world.host('h1').kill();
    await world.advance(3_000);
    const first = masterOf('h1')!;
    world.host(first).kill();
    await world.advance(3_000);
    const second = masterOf('h1')!;
    world.host(first).start();
    await world.advance(5_000);
    expect(masterOf('h1')).toBe(second);
    // It answers, and is in charge of nothing yet; the first backup has no turn to wait for.
    world.connectMs = 4_200;
    world.host('h1').start();
    await world.advance(4_000);
    expect(masterOf('h1')).toBe(second);
    await world.advance(20_000);
    expect(world.host('h1').datapath.masters).toEqual(['h1', first, second, 'h1']);
  });

  test('the other backup takes over where the first is gone, too, and where it goes later', async () => {
    world.host('h1').process.state = 'stopped';
    await world.advance(2_000);
    const first = masterOf('h1')!;
    const second = names.find((name) => name !== 'h1' && name !== first)!;
    world.host(first).kill();
    await world.advance(3_000);
    expect([masterOf('h1'), written('h1')]).toEqual([second, second]);
    // It is master of its own, and of those of both others.
    expect(names.map(masterOf)).toEqual([second, second, second]);
    world.host('h1').process.continue();
    world.host(first).start();
    await world.advance(5_000);
    expect(names.map(masterOf)).toEqual(names);
    expect(names.map(written)).toEqual(names);
  });

  test('without the directory nobody takes over, and then as soon as it is back; the own agent needs none', async () => {
    world.setDirectoryAway(true);
    world.host('h1').kill();
    await world.advance(5_000);
    expect(masterOf('h1')).toBeUndefined();
    world.setDirectoryAway(false);
    await world.advance(1_000);
    expect(['h2', 'h3']).toContain(masterOf('h1'));
    world.setDirectoryAway(true);
    world.host('h1').start();
    await world.advance(2_000);
    expect(masterOf('h1')).toBe('h1');
    expect(written('h1')).not.toBe('h1');
    world.setDirectoryAway(false);
    await world.advance(5_000);
    expect([masterOf('h1'), written('h1')]).toEqual(['h1', 'h1']);
  });

  test('nobody takes over what it does not know all of yet', async () => {
    let follow = (): void => undefined;
    for (const name of ['h2', 'h3']) world.host(name).followed = new Promise((resolve) => (follow = resolve));
    const last = world.host('h3').followed;
    world.host('h1').kill();
    await world.advance(5_000);
    expect(masterOf('h1')).toBeUndefined();
    follow();
    await last;
    await world.advance(1_000);
    expect([masterOf('h1'), written('h1')]).toEqual(['h3', 'h3']);
  });

  test('one that the directory names already, as one that begins anew, does not know all of it yet either', async () => {
    world.host('h1').kill();
    await world.advance(3_000);
    const backup = world.host(masterOf('h1')!);
    const other = world.host(names.find((name) => !['h1', backup.name].includes(name))!);
    other.process.state = 'stopped';
    backup.kill();
    let follow = (): void => undefined;
    backup.followed = new Promise((resolve) => (follow = resolve));
    backup.start();
    await world.advance(10_000);
    expect([masterOf('h1'), written('h1')]).toEqual([undefined, backup.name]);
    world.setDirectoryAway(true);
    follow();
    await world.advance(5_000);
    expect([masterOf('h1'), written('h1')]).toEqual([undefined, backup.name]);
    world.setDirectoryAway(false);
    await world.advance(1_000);
    expect([masterOf('h1'), written('h1')]).toEqual([backup.name, backup.name]);
  });

  test('one that cannot be served is not claimed', async () => {
    world.host('h1').isDescribed = false;
    world.host('h1').kill();
    const before = world.row('h2')!.generation;
    await world.advance(10_000);
    expect([written('h1'), world.row('h2')!.generation]).toEqual(['h1', before]);
  });

  test.each([
    ['is never had', () => 'away' as const],
    [
      'makes an error',
      () => {
        throw new Error('a bug');
      },
    ],
  ])('a datapath that %s is written of less and less often', async (_, fault) => {
    world.host('h3').process.state = 'stopped';
    world.host('h1').fault = fault;
    world.host('h1').kill();
    await world.advance(30_000);
    const { generation } = world.row('h1')!;
    expect(generation).toBeGreaterThan(4);
    expect(generation).toBeLessThan(20);
    world.host('h1').fault = undefined;
    await world.advance(9_000);
    expect([masterOf('h1'), written('h1')]).toEqual(['h2', 'h2']);
  });

  test('one that ends is followed at once, and does not take its datapath back', async () => {
    const { backups, datapath } = world.host('h1');
    await backups.leave();
    for (const name of ['h2', 'h3']) world.host(name).backups.hear('h1', 'leaving');
    world.host('h1').process.state = 'stopped';
    await world.advance(800);
    expect(datapath.masters).toHaveLength(2);
    expect(['h2', 'h3']).toContain(masterOf('h1'));
  });

  test('a datapath that starts anew has its own agent', async () => {
    world.restartDatapath('h1');
    await world.advance(10_000);
    expect(world.host('h1').datapath.masters).toEqual(['h1', 'h1']);
  });

  test('a backup that is away for long is replaced', async () => {
    world = new BackupWorld([...names, 'h4']);
    await world.advance(5_000);
    const [away] = world.row('h1')!.backups as [string];
    world.host(away).kill();
    await world.advance(30_000);
    expect(world.row('h1')!.backups).toContain(away);
    await world.advance(40_000);
    expect(world.row('h1')!.backups).not.toContain(away);
    expect(world.row('h1')!.backups).toHaveLength(2);
  });

  test('what it writes late of a datapath that was away does not undo that it is master of it by then', async () => {
    let write = (): void => undefined;
    let first = '';
    world.host('h1').fault = () => {
      world.host('h1').fault = undefined;
      first = written('h1')!;
      const { store } = world.host(first);
      store.onTransact = () => {
        store.onTransact = () => undefined;
        return new Promise((resolve) => (write = resolve));
      };
      return 'away';
    };
    world.host('h1').kill();
    await world.advance(4_000);
    expect(names).toContain(first);
    write();
    await world.advance(6_000);
    expect([masterOf('h1'), written('h1')]).toEqual([first, first]);
    expect(world.host('h1').datapath.masters).toEqual(['h1', first]);
  });

  test('one that was a backup when it wrote that it is master, and is none any more, is in nobody’s way', async () => {
    world = new BackupWorld([...names, 'h4']);
    await world.advance(5_000);
    const { uuid, backups, generation } = world.row('h1')!;
    const former = [...world.hosts.keys()].find((name) => name !== 'h1' && !backups.includes(name))!;
    const { store } = world.host(former);
    world.host('h1').kill();
    const row = { master: store.view.host(former)!.uuid, generation: generation + 1 };
    await store.transact(() => ({ ops: [update('Switch', isRow(uuid), row)], result: undefined }));
    await world.advance(4_000);
    expect(backups).toContain(masterOf('h1'));
    expect(written('h1')).toBe(masterOf('h1'));
  });

  const KINDS = ['kill', 'start', 'stop', 'continue', 'datapath', 'away', 'back'] as const;
  const someStep = fc.record({
    kind: fc.constantFrom(...KINDS),
    host: fc.constantFrom(...names),
    ms: fc.integer({ min: 0, max: 4_000 }),
  });

  function perform({ kind, host }: { kind: (typeof KINDS)[number]; host: string }): void {
    const { process } = world.host(host);
    if (kind === 'kill' && process.state !== 'gone') world.host(host).kill();
    if (kind === 'start' && process.state === 'gone') world.host(host).start();
    if (kind === 'stop' && process.state === 'up') process.state = 'stopped';
    if (kind === 'continue' && process.state === 'stopped') process.continue();
    if (kind === 'datapath') world.restartDatapath(host);
    if (kind === 'away' || kind === 'back') world.setDirectoryAway(kind === 'away');
  }

  test('whatever happens, each datapath has its own agent in the end, or a backup that is there, and the directory says so', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(someStep, { maxLength: 12 }), async (steps) => {
        world = new BackupWorld(names);
        await world.advance(3_000);
        for (const each of steps) {
          perform(each);
          await world.advance(each.ms);
        }
        world.setDirectoryAway(false);
        await world.advance(20_000);
        const isUp = (name: string) => world.host(name).process.state === 'up';
        if (!names.some(isUp)) return;
        for (const name of names) {
          const master = masterOf(name);
          const candidates = world.row(name)!.backups.filter(isUp);
          if (isUp(name)) expect([name, master, written(name)]).toEqual([name, name, name]);
          else if (candidates.length > 0) {
            expect(candidates).toContain(master);
            expect([name, written(name)]).toEqual([name, master]);
          }
        }
      }),
      { numRuns: 60 },
    );
  }, 120_000);
});
