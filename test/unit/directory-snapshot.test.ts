// The file of what a host knew last: whole or none, for root alone, and not written all the time.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../src/base/logger';
import { readSnapshot, writeSnapshot, type SnapshotRow } from '../../src/directory/snapshot';
import { SCHEMA_VERSION } from '../../src/directory/schema-version';
import { SnapshotKeeper } from '../../src/directory/snapshot-keeper';
import type { Uuid } from '../../src/ovsdb/notation';
import { ManualClock } from '../fakes/manual-clock';
import { DIRECTORY_SCHEMA_FILE } from '../fakes/memory-directory';

const uuid = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}` as Uuid;
const rows: SnapshotRow[] = [
  ['Host', uuid(1), { name: 'h1', locator_blocks: [uuid(3)], is_server: true }],
  ['Network', uuid(2), { id: 'n', options: new Map([['mtu', '1400']]) }],
];

const write = (what: readonly SnapshotRow[]) => writeSnapshot(path, 'h1', what, () => performance.now());

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'snapshot-'));
  path = join(folder, 'directory.snapshot');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test('rows come back as they were', async () => {
  await write(rows);
  expect(readSnapshot(path, 'h1')).toEqual(rows);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  await write([]);
  expect(readSnapshot(path, 'h1')).toEqual([]);
  expect(existsSync(`${path}.new`)).toBe(false);
});

test('where there is none there is none', () => expect(readSnapshot(path, 'h1')).toBeUndefined());

test('it is of the schema that this code reads', () => {
  expect((JSON.parse(readFileSync(DIRECTORY_SCHEMA_FILE, 'utf8')) as { version: string }).version).toBe(SCHEMA_VERSION);
});

test.each(['1.2.0', '1.99.0'])('one that an agent of version %s has left is begun with', async (version) => {
  await write(rows);
  writeFileSync(path, readFileSync(path, 'utf8').replace(SCHEMA_VERSION, version));
  expect(readSnapshot(path, 'h1')).toEqual(rows);
});

test.each<[string, (text: string) => string, string]>([
  ['another host’s', (text) => text.replace('"host":"h1"', '"host":"h2"'), 'it is another host’s'],
  ['of another major version', (text) => text.replace(SCHEMA_VERSION, '2.0.0'), 'it is of another version'],
  ['without its end', (text) => text.slice(0, text.lastIndexOf('["end"')), 'it is not whole'],
  ['cut in a row', (text) => text.slice(0, text.length / 2), 'it is not whole'],
  ['with a row missing', (text) => text.replace(/\n\["Host".*\n/, '\n'), 'it is not whole'],
  ['with a line that is no row', (text) => text.replace('["Host","0', '["Host","x'), 'a line is no row'],
  ['empty', () => '', 'is not used'],
])('one that is %s is not used', async (_, change, said) => {
  await write(rows);
  writeFileSync(path, change(readFileSync(path, 'utf8')));
  expect(() => readSnapshot(path, 'h1')).toThrow(said);
});

test('many rows are written in slices, as they were when it began', async () => {
  const many = Array.from({ length: 5000 }, (_, n): SnapshotRow => ['Host', uuid(n), { name: `h${n}`.padEnd(100) }]);
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 0);
  await write(many);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
  expect(readSnapshot(path, 'h1')).toHaveLength(5000);
});

describe('when it is written', () => {
  let clock: ManualClock;
  let keeper: SnapshotKeeper;
  let taken: number;
  let busyMs: number;
  let warned: string[];
  beforeEach(() => {
    clock = new ManualClock();
    taken = 0;
    warned = [];
    const logger = { ...silentLogger, warn: (message: string) => void warned.push(message) };
    busyMs = 0;
    function* count(): Iterable<SnapshotRow> {
      taken += 1;
      clock.advance(busyMs);
      yield ['Host', uuid(taken), {}];
    }
    keeper = new SnapshotKeeper({ path, host: 'h1', rows: count, clock, logger });
  });
  /** Waits until what was taken as the n-th is the file. */
  const written = async (n: number) => {
    const deadline = Date.now() + 4000;
    while (!existsSync(path) || !readFileSync(path, 'utf8').includes(uuid(n))) {
      if (Date.now() > deadline) throw new Error(`it was taken ${taken} times`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await keeper.settled();
  };

  test('soon after a change, those that come with it together; then after a pause; without a change never', async () => {
    for (let n = 0; n < 10; n += 1) keeper.changed();
    clock.advance(199);
    expect(taken).toBe(0);
    clock.advance(1);
    await written(1);
    keeper.changed();
    clock.advance(2_999);
    expect(taken).toBe(1);
    clock.advance(1);
    await written(2);
    expect(clock.waiting).toBe(0);
    expect(keeper.read()).toEqual([['Host', uuid(2), {}]]);
  });

  test('what changes while it is written is written after the pause', async () => {
    keeper.changed();
    clock.advance(200);
    keeper.changed();
    await written(1);
    clock.advance(3_000);
    await written(2);
    expect(clock.waiting).toBe(0);
  });

  test('how long the disk takes makes no difference, how long the rows take does', async () => {
    keeper.changed();
    clock.advance(200);
    keeper.changed();
    // The file is being made now: the disk has two minutes.
    clock.advance(120_000);
    await written(1);
    clock.advance(3_000);
    await written(2);
    busyMs = 100;
    keeper.changed();
    clock.advance(3_000);
    await written(3);
    keeper.changed();
    clock.advance(4_999);
    expect(taken).toBe(3);
    clock.advance(1);
    await written(4);
  });

  test('in a hurry, what has changed is written at once, and what changes while it is written, too', async () => {
    keeper.hurry();
    expect(taken).toBe(0);
    keeper.changed();
    keeper.hurry();
    await written(1);
    keeper.changed();
    keeper.hurry();
    keeper.changed();
    keeper.hurry();
    await written(2);
    clock.advance(0);
    await written(3);
    keeper.changed();
    clock.advance(2_999);
    expect(taken).toBe(3);
    clock.advance(1);
    await written(4);
  });

  test('a folder that is gone is said, and nothing is made', async () => {
    rmSync(folder, { recursive: true });
    keeper.changed();
    clock.advance(200);
    const deadline = Date.now() + 4000;
    while (warned.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(warned).toEqual(['what is known of the cluster cannot be kept on disk']);
    expect(existsSync(folder)).toBe(false);
  });

  test('stopped, it writes no more', () => {
    keeper.changed();
    keeper.stop();
    clock.advance(60_000);
    expect(taken).toBe(0);
  });
});
