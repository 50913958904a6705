// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/** One's complement sum of 16-bit words, added to `initial`; not folded, not complemented. An odd byte is the upper one. */
export function sumWords(bytes: Uint8Array, offset: number, length: number, initial = 0): number {
  let sum = initial;
  const even = offset + (length & ~1);
  for (let at = offset; at < even; at += 2) sum += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  if (length & 1) sum += (bytes[even] as number) << 8;
  return sum;
}

/** Folds a sum (of up to 2^32) to 16 bits and complements it: the checksum as it stands in a header. */
export function finishSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** Checksum of `length` bytes. Over bytes that hold a right checksum it is 0. */
export function internetChecksum(bytes: Uint8Array, offset: number, length: number): number {
  return finishSum(sumWords(bytes, offset, length));
}

/** The sum of the pseudo header that TCP and UDP check beside their own bytes (RFC 793, 768). */
export function pseudoHeaderSum(src: number, dst: number, protocol: number, l4Length: number): number {
  return (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + l4Length;
}

/** A checksum after one 16-bit word went from `before` to `after` (RFC 1624, equation 3). */
export function updateChecksum16(checksum: number, before: number, after: number): number {
  return finishSum((~checksum & 0xffff) + (~before & 0xffff) + after);
}

/** The same for 32 bits: an IPv4 address. */
export function updateChecksum32(checksum: number, before: number, after: number): number {
  const upper = (~(before >>> 16) & 0xffff) + (after >>> 16);
  const lower = (~before & 0xffff) + (after & 0xffff);
  return finishSum((~checksum & 0xffff) + upper + lower);
}
