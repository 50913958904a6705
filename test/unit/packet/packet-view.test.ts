// PacketView reads what the kernel sent, and calls by name what is malformed.
import fc from 'fast-check';
import { formatIpv4, formatMac } from '../../../src/base/addresses';
import { PacketView } from '../../../src/packet/packet-view';
import { buildFrame, captured, isIcmpType, isLaterFragment, isProto } from './frames';

const view = new PacketView();
const parse = (frame: Buffer, fullLength = frame.length) => view.parse(frame, 0, frame.length, fullLength);

test('reads ARP', () => {
  expect(parse(captured[1] as Buffer)).toBe('ok');
  expect(view).toMatchObject({ ethType: 0x0806, arpOp: 2, hasVlan: false });
  expect([view.ethDst, view.ethSrc, view.arpSha, view.arpTha].map(formatMac)).toEqual([
    '02:42:0a:01:00:02',
    '02:42:0a:01:00:01',
    '02:42:0a:01:00:01',
    '02:42:0a:01:00:02',
  ]);
  expect([view.arpSpa, view.arpTpa].map(formatIpv4)).toEqual(['10.1.0.1', '10.1.0.2']);
});

test('reads TCP', () => {
  expect(parse(captured.find(isProto(6)) as Buffer)).toBe('ok');
  expect(view).toMatchObject({ ethType: 0x0800, ipHeaderLength: 20, ipTotalLength: 60, ipTtl: 64, ipProto: 6 });
  expect(view).toMatchObject({ ipDontFragment: true, isFragment: false, l4Dst: 8080, icmpType: -1, l4Length: 40 });
  expect([view.ipSrc, view.ipDst].map(formatIpv4)).toEqual(['10.1.0.2', '10.2.0.2']);
});

test('reads ICMP', () => {
  expect(parse(captured.find(isIcmpType(11)) as Buffer)).toBe('ok');
  expect(view).toMatchObject({ icmpType: 11, icmpCode: 0, l4Src: 0, l4Dst: 0 });
});

test('reads fragments: ports in the first only', () => {
  const fragments = captured.filter((frame) => isProto(17)(frame) && (frame.readUInt16BE(20) & 0x3fff) !== 0);
  const seen = fragments.map((frame) => {
    expect(parse(frame)).toBe('ok');
    return [view.ipFragOffset, view.ipMoreFragments, view.l4Dst === 0, view.isFragment];
  });
  expect(seen.slice(0, 3)).toEqual([
    [0, true, false, true],
    [1480, true, true, true],
    [2960, false, true, true],
  ]);
});

test('reads inside a larger buffer, behind a VLAN tag', () => {
  const frame = captured.find(isProto(6)) as Buffer;
  const tagged = Buffer.concat([frame.subarray(0, 12), Buffer.from('8100a007', 'hex'), frame.subarray(12)]);
  const buffer = Buffer.concat([Buffer.alloc(33, 0xff), tagged, Buffer.alloc(9, 0xff)]);
  expect(view.parse(buffer, 33, tagged.length)).toBe('ok');
  expect(view).toMatchObject({ hasVlan: true, vlanTci: 0xa007, ethType: 0x0800, ipProto: 6, l4Dst: 8080 });
  expect(view.l4Offset).toBe(33 + 18 + 20);
});

test('a cut frame is whole where its full length says so', () => {
  const frame = captured.find(isLaterFragment) as Buffer;
  const cut = frame.subarray(0, 128);
  expect(parse(cut)).toBe('bad-length');
  expect(parse(cut, frame.length)).toBe('ok');
  expect(view.l4Length).toBe(128 - 34);
});

test('padding after the packet does not count', () => {
  const frame = Buffer.concat([buildFrame({ src: 1, dst: 2, proto: 17, payload: Buffer.alloc(8) }), Buffer.alloc(18)]);
  expect(parse(frame)).toBe('ok');
  expect(view.l4Length).toBe(8);
});

describe('malformed', () => {
  const frame = buildFrame({ src: 0x0a010002, dst: 0x0a020002, proto: 6, payload: Buffer.alloc(20) });
  const changed = (offset: number, ...bytes: number[]) => {
    const copy = Buffer.from(frame);
    bytes.forEach((byte, i) => (copy[offset + i] = byte));
    return copy;
  };
  const arp = captured[0] as Buffer;
  test.each([
    ['no Ethernet header', Buffer.alloc(13), 'truncated'],
    ['no VLAN tag', Buffer.from(`${'00'.repeat(12)}8100aa`, 'hex'), 'truncated'],
    ['no IPv4 header', frame.subarray(0, 33), 'truncated'],
    ['version 6 in IPv4', changed(14, 0x65), 'bad-version'],
    ['IHL 4', changed(14, 0x44), 'bad-ihl'],
    ['IHL past the frame', changed(14, 0x4f).subarray(0, 40), 'truncated'],
    ['total length under the header', changed(16, 0, 19), 'bad-length'],
    ['total length past the frame', changed(16, 0xff, 0xff), 'bad-length'],
    ['a fragment past 65,535', changed(20, 0x1f, 0xff), 'bad-length'],
    ['half a TCP header', changed(16, 0, 39), 'truncated'],
    ['a tiny first fragment', changed(20, 0x20, 0).fill(28, 17, 18), 'truncated'],
    ['half an ICMP header', changed(23, 1).fill(24, 17, 18), 'truncated'],
    ['half an ARP packet', arp.subarray(0, 41), 'truncated'],
    ['ARP of another hardware', Buffer.from(arp).fill(6, 15, 16), 'bad-arp'],
    ['ARP with long addresses', Buffer.from(arp).fill(16, 18, 19), 'bad-arp'],
  ])('%s', (_name, bytes, reason) => {
    expect(parse(bytes)).toBe(reason);
  });
});

test('any bytes give a result, and offsets that stay inside', () => {
  const mutated = fc
    .tuple(fc.constantFrom(...captured), fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { maxLength: 6 }), fc.nat(120))
    .map(([frame, changes, cut]) => {
      const copy = Buffer.from(frame.subarray(0, frame.length - (cut % frame.length)));
      for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
      return copy;
    });
  const random = fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes));
  fc.assert(
    fc.property(fc.oneof(mutated, random), (bytes) => {
      const result = parse(bytes);
      expect(['ok', 'truncated', 'bad-version', 'bad-ihl', 'bad-length', 'bad-arp']).toContain(result);
      if (result === 'ok' && view.ethType === 0x0800) {
        expect(view.l4Length).toBeGreaterThanOrEqual(0);
        expect(view.l4Offset + view.l4Length).toBeLessThanOrEqual(bytes.length);
      }
    }),
    { numRuns: 2000 },
  );
});
