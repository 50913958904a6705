// Unsigned big-endian reads. The caller has checked the bounds; a read outside gives rubbish, never an exception.

export function u16(buffer: Uint8Array, offset: number): number {
  return ((buffer[offset] as number) << 8) | (buffer[offset + 1] as number);
}

export function u32(buffer: Uint8Array, offset: number): number {
  return (
    (((buffer[offset] as number) << 24) |
      ((buffer[offset + 1] as number) << 16) |
      ((buffer[offset + 2] as number) << 8) |
      (buffer[offset + 3] as number)) >>>
    0
  );
}

/** 48 bits: a MAC address. */
export function u48(buffer: Uint8Array, offset: number): number {
  return u16(buffer, offset) * 0x1_0000_0000 + u32(buffer, offset + 2);
}

const scratch = new DataView(new ArrayBuffer(8));

export function u64(buffer: Uint8Array, offset: number): bigint {
  // Through a scratch view: putting a bigint together from two would allocate four.
  scratch.setUint32(0, u32(buffer, offset));
  scratch.setUint32(4, u32(buffer, offset + 4));
  return scratch.getBigUint64(0);
}

/** 64 bits as a number: exact up to 2^53, which no counter of a datapath reaches. */
export function counter(buffer: Uint8Array, offset: number): number {
  return u32(buffer, offset) * 0x1_0000_0000 + u32(buffer, offset + 4);
}

/** A value of 1, 2, 4, 6 (numbers), 8 or 16 bytes (bigints). */
export function readValue(buffer: Uint8Array, offset: number, bytes: number): number | bigint {
  switch (bytes) {
    case 1:
      return buffer[offset] as number;
    case 2:
      return u16(buffer, offset);
    case 4:
      return u32(buffer, offset);
    case 6:
      return u48(buffer, offset);
    case 8:
      return u64(buffer, offset);
    default:
      return (u64(buffer, offset) << 64n) | u64(buffer, offset + 8);
  }
}
