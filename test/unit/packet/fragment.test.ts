// A packet cut into fragments is the same packet to whoever puts it together again.
import fc from 'fast-check';
import { internetChecksum } from '../../../src/packet/checksum';
import { cutIntoFragments } from '../../../src/packet/ipv4-fragment';
import { decrementTtl } from '../../../src/packet/ipv4-rewrite';
import { PacketView } from '../../../src/packet/packet-view';
import { buildFrame, capturedWhere, isIpv4 } from './frames';

const view = new PacketView();
const IP = { src: 0x64400005, dst: 0x64400109, proto: 47 };

const offsetOf = (frame: Buffer) => (frame.readUInt16BE(20) & 0x1fff) * 8;
const hasMore = (frame: Buffer) => (frame.readUInt16BE(20) & 0x2000) !== 0;
const headerOf = (frame: Buffer) => (frame[14]! & 15) * 4;

/** Cuts, checks every piece by itself, and returns the pieces. */
function cut(frame: Buffer, mtu: number): Buffer[] {
  expect(view.parse(frame, 0, frame.length)).toBe('ok');
  const pieces = cutIntoFragments(view, mtu).map(({ buffer, offset, length }) =>
    buffer.subarray(offset, offset + length),
  );
  for (const piece of pieces) {
    expect(piece.length).toBeLessThanOrEqual(14 + mtu);
    expect(piece.readUInt16BE(16)).toBe(piece.length - 14);
    expect(internetChecksum(piece, 14, headerOf(piece))).toBe(0);
    expect(piece.subarray(0, 14)).toEqual(frame.subarray(0, 14));
  }
  return pieces;
}

test('the pieces make the packet, whatever its size and the link’s', () => {
  const payload = fc.uint8Array({ minLength: 1, maxLength: 3000 }).map((bytes) => Buffer.from(bytes));
  // A fragment itself, in the middle or at the end, or a whole packet.
  const fragment = fc.constantFrom(0, 0x2000, 0x2000 | 185, 185);
  fc.assert(
    fc.property(payload, fc.integer({ min: 68, max: 1500 }), fragment, (bytes, mtu, flags) => {
      const frame = buildFrame({ ...IP, payload: bytes, fragment: flags });
      const pieces = cut(frame, mtu);
      expect(Buffer.concat(pieces.map((piece) => piece.subarray(34)))).toEqual(bytes);
      let at = (flags & 0x1fff) * 8;
      for (const piece of pieces) {
        expect(offsetOf(piece)).toBe(at);
        at += piece.length - 34;
      }
      const last = pieces[pieces.length - 1]!;
      expect(pieces.slice(0, -1).every(hasMore)).toBe(true);
      expect(hasMore(last)).toBe((flags & 0x2000) !== 0);
    }),
  );
});

test('options go with every piece where they say so (RFC 791: the copied flag), else with the first', () => {
  // Router alert is copied, record route is not.
  const routerAlert = Buffer.from([0x94, 4, 0, 0]);
  const options = Buffer.concat([Buffer.from([7, 7, 4, 0, 0, 0, 0, 1]), routerAlert]);
  const [first, second] = cut(buildFrame({ ...IP, payload: Buffer.alloc(200, 'x'), options }), 132) as [Buffer, Buffer];
  expect(first.subarray(34, 46)).toEqual(options);
  expect([headerOf(second), second.subarray(34, 38)]).toEqual([24, routerAlert]);
});

test.each([
  ['longer than the header', [0x94, 40, 0, 0]],
  ['of no length', [0x94, 0, 0x94, 0]],
  ['of one byte that is two', [0x94, 1, 0, 0]],
])('an option %s ends the options', (_, bytes) => {
  const frame = buildFrame({ ...IP, payload: Buffer.alloc(200, 'x'), options: Buffer.from(bytes) });
  expect(cut(frame, 132).slice(1).map(headerOf)).toEqual([20]);
});

test('one hop less, with a right checksum', () => {
  for (const frame of capturedWhere(isIpv4)) {
    view.parse(frame, 0, frame.length);
    const before = view.ipTtl;
    decrementTtl(view);
    expect([frame[22], view.ipTtl, internetChecksum(frame, 14, 20)]).toEqual([before - 1, before - 1, 0]);
  }
});
