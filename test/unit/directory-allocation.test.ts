// Numbers that go round, locator blocks, this host's own row, and rows that make no sense: the pure parts of the directory.
import * as fc from 'fast-check';
import { formatMac, parseCidr, parseIpv4 } from '../../src/base/addresses';
import { hostLocator, nextFree, nextLocatorBlock, RoundRobinAllocator } from '../../src/directory/allocation';
import { datapathIdOf, planOwnHost, randomMac } from '../../src/directory/own-host';
import { TypedOnlyRows } from '../../src/directory/row-encoding';
import type { HostRow } from '../../src/directory/rows';
import { DirectoryTables, type RawChange } from '../../src/directory/tables';
import type { Uuid } from '../../src/ovsdb/notation';

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}` as Uuid;
const RANGE = parseCidr('100.64.0.0/10');

describe('nextFree', () => {
  test('is the free number that comes next after the last one, going round', () => {
    const bounds = fc.record({
      first: fc.nat({ max: 5 }),
      size: fc.nat({ max: 20 }),
      after: fc.integer({ min: -3, max: 30 }),
    });
    fc.assert(
      fc.property(bounds, fc.uniqueArray(fc.nat({ max: 30 })), ({ first, size, after }, taken) => {
        const last = first + size - 1;
        const found = nextFree(first, last, after, (number) => taken.includes(number));
        const all = Array.from({ length: size }, (_, n) => first + n);
        const start = after < first || after >= last ? first : after + 1;
        const inTurn = [...all.filter((n) => n >= start), ...all.filter((n) => n < start)];
        expect(found).toBe(inTurn.find((n) => !taken.includes(n)));
      }),
    );
  });
});

/** Tables with one host for each list of blocks. */
function tablesWith(...blocks: string[][]): DirectoryTables {
  const tables = new DirectoryTables('host0');
  let made = 100;
  const changes = blocks.flatMap((cidrs, index): RawChange[] => {
    const uuids = cidrs.map(() => uuid((made += 1)));
    const row = { name: `host${index}`, router_mac: '02:00:00:00:00:01', datapath_id: '1', locator_blocks: uuids };
    const blockRows = cidrs.map((cidr, n) => ({ table: 'LocatorBlock', uuid: uuids[n] as Uuid, row: { cidr } }));
    return [{ table: 'Host', uuid: uuid(index), row }, ...blockRows];
  });
  tables.apply(changes);
  return tables;
}

describe('locator blocks', () => {
  test('are /24s of the range that no host has, clear of blocks of other sizes', () => {
    const block = (...taken: string[]) => nextLocatorBlock(tablesWith(taken), RANGE);
    expect(block()).toEqual(parseCidr('100.64.0.0/24'));
    expect(block('100.64.0.0/24', '100.64.2.0/24')).toEqual(parseCidr('100.64.1.0/24'));
    expect(block('100.64.0.0/22', '100.64.4.128/25')).toEqual(parseCidr('100.64.5.0/24'));
    expect(nextLocatorBlock(tablesWith(['100.64.0.0/24']), parseCidr('100.64.0.0/24'))).toBeUndefined();
    expect(nextLocatorBlock(tablesWith([]), parseCidr('100.64.0.0/26'))).toEqual(parseCidr('100.64.0.0/26'));
  });

  test("the host's own address is the first of its first block in the range", () => {
    const tables = tablesWith(['100.64.3.0/24', '100.64.9.0/24', '10.0.0.0/24']);
    expect(hostLocator(tables.host('host0') as HostRow, RANGE)).toBe(parseIpv4('100.64.3.1'));
    expect(hostLocator(tables.host('host0') as HostRow, parseCidr('100.96.0.0/16'))).toBeUndefined();
  });

  test('locators spare the first two addresses and the last of each block, and blocks outside the range', () => {
    const tables = tablesWith(['10.0.0.0/24', '100.64.3.0/24', '100.64.9.0/24']);
    const allocator = new RoundRobinAllocator(tables, 'host0', RANGE);
    const given = Array.from({ length: 507 }, () => allocator.locator().locator);
    expect(new Set(given.slice(0, 506)).size).toBe(506);
    expect(given[0]).toBe(parseIpv4('100.64.3.2'));
    expect(given[252]).toBe(parseIpv4('100.64.3.254'));
    expect(given[253]).toBe(parseIpv4('100.64.9.2'));
    expect(given[505]).toBe(parseIpv4('100.64.9.254'));
    expect(given[506]).toBe(given[0]);
  });
});

describe("this host's row", () => {
  test('its MAC address is unicast and locally administered, whatever chance says', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), (chances) => {
        const mac = randomMac(() => chances.next().value as number);
        expect(formatMac(mac)).toMatch(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
        expect(datapathIdOf(mac)).toBe(`0000${formatMac(mac).replaceAll(':', '')}`);
      }),
    );
  });

  test('is left alone if it is right, and refused where no block is left', () => {
    const contextOf = (view: DirectoryTables, host: string) => {
      const allocate = new RoundRobinAllocator(view, host, RANGE);
      return { view, host, allocate, nowMs: 0, attempt: 0 };
    };
    const full = { locatorRange: parseCidr('100.64.0.0/24'), address: undefined };
    const tables = tablesWith(['100.64.0.0/24']);
    expect(planOwnHost(contextOf(tables, 'host0'), full, Math.random)).toEqual([]);
    expect(() => planOwnHost(contextOf(tables, 'host9'), full, Math.random)).toThrow(
      'every locator block of 100.64.0.0/24 is taken: use a larger locator range',
    );
  });
});

describe('rows that make no sense', () => {
  test('are left out and said, also where they were right before, and come back when they are mended', () => {
    const problems: string[] = [];
    const tables = new DirectoryTables('host0', (error) => problems.push(error.message));
    const host = { name: 'h', router_mac: '02:00:00:00:00:01', datapath_id: '1', locator_blocks: [] };
    const change = (row: object) =>
      tables.apply([{ table: 'Host', uuid: uuid(1), row: row as Record<string, unknown> }]);
    expect(change(host)).toMatchObject([{ kind: 'insert' }]);
    expect(change({ ...host, router_mac: 'x' })).toMatchObject([{ kind: 'delete', previous: { name: 'h' } }]);
    expect(tables.host('h')).toBeUndefined();
    expect(change({ ...host, router_mac: 'y' })).toEqual([]);
    expect(change({ ...host, locator_blocks: [uuid(7)] })).toEqual([]);
    expect(change(host)).toMatchObject([{ kind: 'insert', row: { name: 'h' } }]);
    expect(problems).toEqual([
      expect.stringContaining('of Host is left out: "x" is not a MAC address'),
      expect.stringContaining('of Host is left out: "y" is not a MAC address'),
      expect.stringContaining('refers to a LocatorBlock that is not there'),
    ]);
  });

  test('a table that we do not know is passed over', () => {
    expect(new DirectoryTables('h').apply([{ table: 'Other', uuid: uuid(1), row: {} }])).toEqual([]);
  });
});

describe('rows kept as typed rows alone', () => {
  const row = (n: number) => ({ _uuid: uuid(n), since: n });
  const backing = new Map([1, 2, 3].map((n) => [uuid(n), { since: n }]));
  const typed = {
    has: (id: Uuid) => backing.has(id),
    uuids: () => backing.keys(),
    raw: (id: Uuid) => backing.get(id),
  };

  test('a new one holds what it is given and nothing else, until it is settled', () => {
    const rows = new TypedOnlyRows(typed);
    rows.set(uuid(1), row(1));
    rows.set(uuid(9), row(9));
    expect([...rows]).toEqual([
      [uuid(1), row(1)],
      [uuid(9), row(9)],
    ]);
    expect(rows.has(uuid(2))).toBe(false);
    rows.settle();
    expect(rows.get(uuid(2))).toEqual(row(2));
    expect(rows.get(uuid(9))).toEqual(row(9));
    expect([...rows].map(([id]) => id).sort()).toEqual([1, 2, 3, 9].map(uuid));
  });

  test('what is changed or deleted counts at once', () => {
    const rows = new TypedOnlyRows(typed);
    rows.settle();
    rows.set(uuid(1), row(11));
    expect(rows.get(uuid(1))).toEqual(row(11));
    expect(rows.delete(uuid(2))).toBe(true);
    expect(rows.delete(uuid(2))).toBe(false);
    expect(rows.get(uuid(2))).toBeUndefined();
    expect([...rows].map(([id]) => id).sort()).toEqual([1, 3].map(uuid));
    rows.set(uuid(2), row(2));
    expect(rows.has(uuid(2))).toBe(true);
  });
});
