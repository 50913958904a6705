// The memory of conversations against a plain list: whatever comes and goes, both hold the same, and no bound is passed.
import fc from 'fast-check';
import type { Conversation } from '../../src/flowctl/conversation';
import { ConversationMemory } from '../../src/flowctl/conversation-memory';
import { LinkedRows } from '../../src/flowctl/linked-rows';
import { OUTSIDE, RouteTable } from '../../src/flowctl/route-table';

const MINUTE = 600;
const lifetimeOf = ({ protocol }: Conversation) => (protocol === 6 ? 124 * MINUTE : 5 * MINUTE);

interface Plain {
  readonly conversation: Conversation;
  readonly live: Set<boolean>;
  ticks: number;
}

/** What ConversationMemory is to do where nothing is full, the slow way. */
class PlainMemory {
  private entries: Plain[] = [];

  has(conversation: Conversation, ticks: number): boolean {
    return this.current(ticks).some((each) => isSame(each.conversation, conversation));
  }

  hasBetween(a: number, b: number, outsideAddress: number, ticks: number): boolean {
    return this.current(ticks).some(({ conversation: { opener, answerer, outsideAddress: address } }) => {
      const isBetween = (opener === a && answerer === b) || (opener === b && answerer === a);
      return isBetween && address === outsideAddress;
    });
  }

  get liveCount(): number {
    return this.entries.filter(({ live }) => live.size > 0).length;
  }

  install(conversation: Conversation, sides: readonly boolean[], ticks: number): void {
    const entry = this.enter(conversation, ticks);
    for (const side of sides) entry.live.add(side);
    entry.ticks = ticks;
  }

  /** These flows are there, and no others. */
  replaceLive(seen: readonly { conversation: Conversation; side: boolean }[], ticks: number): void {
    const isSeen = (conversation: Conversation, side: boolean) =>
      seen.some((each) => each.side === side && isSame(each.conversation, conversation));
    for (const { conversation, side } of seen) this.enter(conversation, ticks).live.add(side);
    for (const entry of this.entries) {
      const before = entry.live.size;
      for (const side of [...entry.live]) if (!isSeen(entry.conversation, side)) entry.live.delete(side);
      if (before > 0 && entry.live.size === 0) entry.ticks = ticks;
    }
  }

  ended(conversation: Conversation, side: boolean, ticks: number): boolean {
    const entry = this.enter(conversation, ticks);
    if (!entry.live.delete(side)) return false;
    if (entry.live.size === 0) entry.ticks = ticks;
    return true;
  }

  take(isMeant: (conversation: Conversation) => boolean): number {
    const before = this.entries.length;
    this.entries = this.entries.filter(({ conversation }) => !isMeant(conversation));
    return before - this.entries.length;
  }

  private current(ticks: number): Plain[] {
    return this.entries.filter(
      ({ conversation, live, ticks: then }) => live.size > 0 || ticks - then < lifetimeOf(conversation),
    );
  }

  private enter(conversation: Conversation, ticks: number): Plain {
    const old = this.entries.find((each) => isSame(each.conversation, conversation));
    if (old !== undefined && (old.live.size > 0 || ticks - old.ticks < lifetimeOf(conversation))) return old;
    this.take((each) => isSame(each, conversation));
    const entry = { conversation, live: new Set<boolean>(), ticks };
    this.entries.push(entry);
    return entry;
  }
}

const isSame = (a: Conversation, b: Conversation) => JSON.stringify(a) === JSON.stringify(b);

const conversation = fc
  .record({
    ends: fc.constantFrom([0, 1], [1, 0], [0, 2], [2, 1], [0, OUTSIDE], [OUTSIDE, 0]),
    address: fc.constantFrom(7, 8),
    protocol: fc.constantFrom(6, 17),
    port: fc.constantFrom(1, 2),
  })
  .map(({ ends: [opener = 0, answerer = 0], address, protocol, port }): Conversation => {
    const outsideAddress = opener === OUTSIDE || answerer === OUTSIDE ? address : 0;
    return { opener, answerer, outsideAddress, protocol, openerPort: 0xff00 + port, answererPort: port };
  });

const step = fc.oneof(
  fc.record({ do: fc.constant('claim' as const), conversation }),
  fc.record({ do: fc.constant('adopt' as const), conversation, side: fc.boolean() }),
  fc.record({ do: fc.constant('end' as const), conversation, side: fc.boolean() }),
  fc.record({ do: fc.constant('forget' as const), conversation }),
  fc.record({ do: fc.constant('delete' as const), slot: fc.constantFrom(0, 1, 2, OUTSIDE) }),
  fc.record({ do: fc.constant('list' as const), seen: fc.array(fc.record({ conversation, side: fc.boolean() })) }),
  fc.record({ do: fc.constant('wait' as const), ticks: fc.constantFrom(1, 2 * MINUTE, 5 * MINUTE, 124 * MINUTE) }),
);

function memoryOf({ perEndpoint, total }: { perEndpoint: number; total: number }) {
  const limits = { perEndpoint: 0, conversationsPerEndpoint: perEndpoint, total };
  const routes = new RouteTable(limits);
  return { routes, memory: new ConversationMemory(routes, limits) };
}

test('holds what a list holds, whatever comes and goes', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const { routes, memory } = memoryOf({ perEndpoint: 1000, total: 1000 });
      const plain = new PlainMemory();
      const known: Conversation[] = [];
      let now = 0;
      for (const each of steps) {
        if ('conversation' in each) known.push(each.conversation);
        if (each.do === 'list') known.push(...each.seen.map((one) => one.conversation));
        if (each.do === 'wait') now += each.ticks;
        else perform(each, memory, plain, (now += 1));
        // Those that have flows are passed over a few at a time.
        for (let i = 0; i < 10; i += 1) memory.hasBetween(0, 1, 0, now);
        for (const one of known) {
          const { opener, answerer, outsideAddress } = one;
          expect(memory.has(one, now)).toBe(plain.has(one, now));
          const ends = [answerer, opener, outsideAddress, now] as const;
          expect(memory.hasBetween(...ends)).toBe(plain.hasBetween(...ends));
        }
        expect(routes.size).toBe(plain.liveCount);
      }
    }),
    { numRuns: 200 },
  );
});

function perform(
  each: typeof step extends fc.Arbitrary<infer T> ? T : never,
  memory: ConversationMemory,
  plain: PlainMemory,
  now: number,
): void {
  switch (each.do) {
    case 'claim':
      expect(memory.claim(each.conversation, now)).toBe(true);
      expect(memory.claim(each.conversation, now)).toBe(undefined);
      return plain.install(each.conversation, [true, false], now);
    case 'adopt':
      memory.adopt(each.conversation, each.side, now);
      return plain.install(each.conversation, [each.side], now);
    case 'end':
      expect(memory.ended(each.conversation, each.side, now + 1, now)).toBe(
        plain.ended(each.conversation, each.side, now),
      );
      return;
    case 'forget':
      memory.forget(each.conversation);
      return void plain.take((one) => isSame(one, each.conversation));
    case 'delete':
      memory.deleteSlot(each.slot);
      plain.take(({ opener, answerer }) => opener === each.slot || answerer === each.slot);
      return;
    case 'list':
      memory.beginListing();
      for (const { conversation: seen, side } of each.seen) memory.adopt(seen, side, now);
      memory.endListing(now);
      return plain.replaceLive(each.seen, now);
    case 'wait':
      return;
  }
}

test('has as many as its bounds allow: the oldest without flows goes first, of those that the endpoint opened', () => {
  const { memory, routes } = memoryOf({ perEndpoint: 2, total: 5 });
  const of = (opener: number, port: number): Conversation => ({
    opener,
    answerer: 99,
    outsideAddress: 0,
    protocol: 17,
    openerPort: port,
    answererPort: 53,
  });
  const kept = (opener: number, now: number) => [1, 2, 3, 4, 5, 6].filter((port) => memory.has(of(opener, port), now));
  expect([1, 2, 3, 4, 5, 6].map((port) => memory.claim(of(0, port), port))).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
  expect([kept(0, 7), routes.size]).toEqual([[1, 2, 5, 6], 2]);
  memory.ended(of(0, 1), true, 100, 8);
  memory.ended(of(0, 1), false, 100, 8);
  expect(routes.size).toBe(1);
  // Another endpoint takes nothing from this one, but when all is full.
  for (let port = 1; port <= 6; port += 1) memory.claim(of(1, port), 10 + port);
  expect([kept(0, 20), kept(1, 20).length]).toEqual([[1, 2, 5, 6], 4]);
  for (let port = 1; port <= 4; port += 1) memory.claim(of(2, port), 20 + port);
  expect(memory.size).toBe(10);
  expect(kept(0, 30)).toEqual([1, 2]);
});

test('grows and is emptied with many', () => {
  const { memory, routes } = memoryOf({ perEndpoint: 100_000, total: 100_000 });
  const of = (n: number): Conversation => ({
    opener: n % 100,
    answerer: 100 + (n % 7),
    outsideAddress: 0,
    protocol: 6,
    openerPort: n & 0xffff,
    answererPort: 80,
  });
  for (let n = 0; n < 20_000; n += 1) memory.claim(of(n), 1);
  expect([memory.size, routes.size]).toEqual([20_000, 20_000]);
  for (let n = 0; n < 20_000; n += 1) if (!memory.has(of(n), 2)) throw new Error(`${n} is not there`);
  expect(memory.take(({ opener }) => opener !== 3)).toHaveLength(19_800);
  expect(memory.deleteSlot(3)).toBe(true);
  expect(memory.deleteSlot(3)).toBe(false);
  expect([memory.size, routes.size, memory.hasBetween(3, 100, 0, 2)]).toEqual([0, 0, false]);
});

test('LinkedRows keeps the order in which rows came, whichever leave', () => {
  const action = fc.record({ list: fc.constantFrom(1, 2), row: fc.nat(8) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const rows = new LinkedRows();
      const plain = new Map([1, 2].map((list) => [list, [] as number[]]));
      for (const { list, row } of actions) {
        const [where] = [...plain].find(([, members]) => members.includes(row)) ?? [];
        if (where === undefined) {
          rows.push(list, row);
          plain.get(list)!.push(row);
        } else {
          rows.remove(where, row);
          plain.set(
            where,
            plain.get(where)!.filter((member) => member !== row),
          );
        }
        for (const [each, members] of plain) {
          const seen: number[] = [];
          for (let at = rows.first(each); at !== undefined; at = rows.after(at)) seen.push(at);
          expect([seen, rows.sizeOf(each)]).toEqual([members, members.length]);
        }
      }
    }),
  );
});
