// Big-endian loads and stores. The caller has checked the bounds.

import type { Mac } from '../base/addresses';

export function u16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
}

export function u32(bytes: Uint8Array, offset: number): number {
  return (
    (((bytes[offset] as number) << 24) |
      ((bytes[offset + 1] as number) << 16) |
      ((bytes[offset + 2] as number) << 8) |
      (bytes[offset + 3] as number)) >>>
    0
  );
}

export function mac(bytes: Uint8Array, offset: number): Mac {
  return (u16(bytes, offset) * 0x1_0000_0000 + u32(bytes, offset + 2)) as Mac;
}

export function setU16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

export function setU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

export function setMac(bytes: Uint8Array, offset: number, value: Mac): void {
  setU16(bytes, offset, (value / 0x1_0000_0000) >>> 0);
  setU32(bytes, offset + 2, value);
}
