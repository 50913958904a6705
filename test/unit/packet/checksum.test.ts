// Checksums against the kernel's, and incremental updates against computing anew.
import fc from 'fast-check';
import {
  finishSum,
  internetChecksum,
  pseudoHeaderSum,
  sumWords,
  updateChecksum16,
  updateChecksum32,
} from '../../../src/packet/checksum';
import { capturedWhere, isIpv4, isLaterFragment, isProto, naiveChecksum } from './frames';

test('is 0 over what the kernel sent', () => {
  for (const frame of capturedWhere(isIpv4)) expect(internetChecksum(frame, 14, 20)).toBe(0);
  for (const frame of capturedWhere(isProto(1))) expect(internetChecksum(frame, 34, frame.length - 34)).toBe(0);
  for (const frame of capturedWhere(isProto(6))) {
    const pseudo = pseudoHeaderSum(frame.readUInt32BE(26), frame.readUInt32BE(30), 6, frame.length - 34);
    expect(finishSum(sumWords(frame, 34, frame.length - 34, pseudo))).toBe(0);
  }
  expect(capturedWhere(isLaterFragment).length).toBeGreaterThan(0);
});

test('equals the definition, for odd lengths too', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const buffer = Buffer.concat([Buffer.from([1, 2, 3]), bytes]);
      expect(internetChecksum(buffer, 3, bytes.length)).toBe(naiveChecksum(Buffer.from(bytes)));
    }),
  );
});

test('an update equals computing anew', () => {
  const word = fc.nat(0xffff);
  // 1 among the words: a header is never all zero, where 0 and 0xffff are the same sum.
  fc.assert(
    fc.property(fc.array(word, { minLength: 4, maxLength: 12 }), word, word, (words, high, low) => {
      const bytes = (list: number[]) => Buffer.from(list.flatMap((each) => [each >> 8, each & 255]));
      const before = [1, ...words];
      const after = [1, high, low, ...words.slice(2)];
      const checksum = naiveChecksum(bytes(before));
      const both = ((high << 16) | low) >>> 0;
      const old = (((words[0] ?? 0) << 16) | (words[1] ?? 0)) >>> 0;
      expect(updateChecksum32(checksum, old, both)).toBe(naiveChecksum(bytes(after)));
      expect(updateChecksum16(updateChecksum16(checksum, words[0] ?? 0, high), words[1] ?? 0, low)).toBe(
        naiveChecksum(bytes(after)),
      );
    }),
  );
});
