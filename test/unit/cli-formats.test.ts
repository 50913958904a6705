// Numbers as people read them, and the packets of a capture as they come.
import { tableOf } from '../../src/cli/command-context';
import { formatAge, formatBytes, queryOf } from '../../src/cli/formats';
import { PcapCount } from '../../src/cli/pcap-count';
import { printable } from '../../src/cli/printable';
import { table } from '../../src/cli/table';

test('what an agent of another version does not say is a dash in a table', () => {
  const columns = {
    HOST: (row: { name: string; site?: string }) => row.name,
    SITE: (row: { site?: string }) => row.site,
  };
  expect(tableOf(columns, [{ name: 'h1', site: 'dc' }, { name: 'h2' }]).rows).toEqual([
    ['h1', 'dc'],
    ['h2', '-'],
  ]);
});

test.each([
  [undefined, '-'],
  [null, '-'],
  [0, '0s'],
  [59, '59s'],
  [60, '1m'],
  [200, '3m20s'],
  [7_500, '2h5m'],
  [273_600, '3d4h'],
])('%p seconds are %s', (seconds, text) => {
  expect(formatAge(seconds)).toBe(text);
});

test.each([
  [undefined, '-'],
  [0, '0 B'],
  [1023, '1023 B'],
  [1536, '1.5 KiB'],
  [3 * 2 ** 30, '3.0 GiB'],
])('%p bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test('a query has what was given, and nothing else', () => {
  expect(queryOf({})).toBe('');
  expect(queryOf({ from: 'h1/web', to: undefined, count: 3 })).toBe('?from=h1%2Fweb&count=3');
});

describe('a capture file', () => {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  const packet = (length: number) => {
    const bytes = Buffer.alloc(16 + length, 7);
    bytes.writeUInt32LE(length, 8);
    return bytes;
  };
  const file = Buffer.concat([header, packet(60), packet(0), packet(1500)]);

  test('is the same however it is cut, and its packets are counted', () => {
    for (const step of [1, 7, 100, file.length]) {
      const count = new PcapCount();
      const parts: Buffer[] = [];
      for (let at = 0; at < file.length; at += step) parts.push(Buffer.from(count.push(file.subarray(at, at + step))));
      expect(count.packets).toBe(3);
      expect(Buffer.concat(parts).equals(file)).toBe(true);
    }
  });

  test('that is cut off ends with a whole packet', () => {
    const count = new PcapCount();
    expect(count.push(file.subarray(0, file.length - 1))).toHaveLength(24 + 76 + 16);
    expect(count.packets).toBe(2);
  });
});

test('what a terminal would obey is shown, not sent to it', () => {
  expect(printable('a\u001b]0;x\u0007 b\u202ec\u009bd\n\te ü')).toBe('a\\x1b]0;x\\x07 b\\u202ec\\x9bd\n\te ü');
  expect(table(['NAME', 'X'], [['web\nfake   line', 'y']])).toBe('NAME               X\nweb\\nfake   line   y');
});
