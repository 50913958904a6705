// What the fault matrix says about a load's records, and where it writes it.
import { FAULTS, faultCalled } from '../faults/faults/all';
import { LOST_AFTER_MS, type LoadRecord } from '../faults/load-program';
import { measure, type Pairing } from '../faults/measure';
import { withLines } from '../faults/report';
import { seeded } from '../faults/seeded';
import { growth } from '../faults/vitals';

const AB: Pairing = { from: 'a', to: 'b', hosts: ['h1', 'h2'] };
const CD: Pairing = { from: 'c', to: 'd', hosts: ['h1', 'h3'] };
const of = (records: LoadRecord[], others: LoadRecord[] = []) =>
  measure(
    new Map([
      ['a>b', records],
      ['c>d', others],
    ]),
    [AB, CD],
    { from: 1000, to: 9000 },
  );
const udp = (at: number, ms: number): LoadRecord => ['udp', 'b', at, ms];

test('datagrams: how many were lost, and the longest time without an answer', () => {
  const records = [
    udp(900, -1),
    udp(1000, 5),
    udp(2000, -1),
    udp(2050, -1),
    udp(2100, 3),
    udp(3000, -1),
    udp(3050, 40),
  ];
  expect(of(records)).toMatchObject({ lost: 3, sent: 6, silenceMs: 100, troubleAt: 3000 });
  expect(of([udp(8000, 1), udp(8050, -1), udp(8950, -1)])).toMatchObject({ lost: 2, silenceMs: 900 });
  expect(LOST_AFTER_MS).toBeGreaterThan(2000);
});

test('records come in the order of their answers', () => {
  expect(of([udp(2100, 3), udp(2000, -1), udp(2050, -1)])).toMatchObject({ lost: 2, silenceMs: 100 });
});

test('a line of a stream that waits is silence, a stream that breaks is counted', () => {
  const records: LoadRecord[] = [
    ['tcp', 'b', 2000, 1500],
    ['tcp', 'b', 4000, 2],
    ['reset', 'b', 5000, -1],
  ];
  expect(of(records)).toMatchObject({ silenceMs: 1500, resets: 1, troubleAt: 5000 });
});

test('new connections: the longest wait of those that were open in between, made or not', () => {
  const began: LoadRecord = ['new', 'b', 500, 700];
  const before: LoadRecord = ['new', 'b', 500, 400];
  expect(of([before])).toMatchObject({ opened: 0, longestNewMs: 0, troubleAt: 0 });
  expect(of([began])).toMatchObject({ opened: 1, longestNewMs: 700, troubleAt: 1200 });
  expect(of([['new', 'b', 800, -1]], [['new', 'd', 2000, 3]])).toMatchObject({ opened: 2, longestNewMs: 60_000 });
});

test('an answer of somebody else is counted', () => {
  expect(of([['wrong', 'b', 2000, 3, 'other']])).toMatchObject({ wrong: 1 });
});

describe('the table', () => {
  const mark = '<!-- faults: begin, written by npm run test:faults -->';
  const text = `# Title\n\n${mark}\n<!-- faults: end -->\n\nMore.\n`;
  const order = ['one', 'two', 'three'];

  test('has the lines in the order of the faults; those that are not made anew stay', () => {
    const once = withLines(text, ['| three | 3 |', '| one | 1 |'], order);
    const twice = withLines(once, ['| two | 2 |', '| three | 4 |'], order);
    expect(twice.split('\n').filter((line) => /^\| (one|two|three)/.test(line))).toEqual([
      '| one | 1 |',
      '| two | 2 |',
      '| three | 4 |',
    ]);
    expect(twice.startsWith('# Title\n\n') && twice.endsWith('\n\nMore.\n')).toBe(true);
  });

  test('drops lines of faults that there are no more, and needs its place', () => {
    expect(withLines(withLines(text, ['| one | 1 |'], order), [], ['two'])).not.toContain('| one |');
    expect(() => withLines('no place', [], order)).toThrow('no place for the table');
  });
});

test('each fault has a name and a line of its own', () => {
  for (const all of [FAULTS.map(({ name }) => name), FAULTS.map(({ what }) => what)]) {
    expect(new Set(all).size).toBe(all.length);
  }
  expect(() => faultCalled('nothing')).toThrow('there is no fault nothing; there are daolinetd-killed, ');
});

test('chance comes again with its seed, and is between 0 and 1', () => {
  const numbers = (seed: number) => Array.from({ length: 50 }, seeded(seed));
  expect(numbers(7)).toEqual(numbers(7));
  expect(numbers(8)).not.toEqual(numbers(7));
  expect(numbers(7).every((number) => number >= 0 && number < 1)).toBe(true);
});

test('what grows from the first half to the second is told, what goes up and down is not', () => {
  const of = (...megabytes: number[]) =>
    growth(megabytes.map((each) => ({ daolinetd: { megabytes: each, descriptors: 40 } })));
  expect(of(100, 140, 90, 120, 145, 100)).toEqual([]);
  expect(of(100, 120, 140, 160, 180, 200)).toEqual(['daolinetd had 140 megabytes, and has 200']);
});
