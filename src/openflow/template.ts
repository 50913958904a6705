// Messages encoded once, with places whose bytes are stored over for each use. A template comes from the very function
// that declares the flow, so what tests print as text is what leaves. Copying and patching costs a fifth of
// encoding.

import { MessageWriter } from './message-writer';

/** Width of a place in bytes. */
export type PlaceWidth = 1 | 2 | 3 | 4 | 6;

/**
 * One value of a template: where it stands, counted from the start of the template's bytes. Each width is a class of its
 * own, so that V8 puts `put` into its caller: one class that looks at its width costs three times as much.
 */
export abstract class Place {
  protected readonly first: number;
  /** Where it stands besides; mostly nowhere. */
  protected readonly others: readonly number[] | undefined;

  constructor(readonly offsets: readonly number[]) {
    this.first = offsets[0] ?? 0;
    this.others = offsets.length > 1 ? offsets.slice(1) : undefined;
  }

  /** Stores `value` everywhere the place stands, in the copy of the template that `append` left at `at`. */
  abstract put(writer: MessageWriter, at: number, value: number): void;
}

class Place8 extends Place {
  put({ bytes }: MessageWriter, at: number, value: number): void {
    bytes[at + this.first] = value;
    if (this.others !== undefined) for (const other of this.others) bytes[at + other] = value;
  }
}

class Place16 extends Place {
  put({ bytes }: MessageWriter, at: number, value: number): void {
    storeU16(bytes, at + this.first, value);
    if (this.others !== undefined) for (const other of this.others) storeU16(bytes, at + other, value);
  }
}

class Place24 extends Place {
  put({ bytes }: MessageWriter, at: number, value: number): void {
    storeU24(bytes, at + this.first, value);
    if (this.others !== undefined) for (const other of this.others) storeU24(bytes, at + other, value);
  }
}

class Place32 extends Place {
  put({ bytes }: MessageWriter, at: number, value: number): void {
    storeU32(bytes, at + this.first, value);
    if (this.others !== undefined) for (const other of this.others) storeU32(bytes, at + other, value);
  }
}

class Place48 extends Place {
  put({ bytes }: MessageWriter, at: number, value: number): void {
    storeU48(bytes, at + this.first, value);
    if (this.others !== undefined) for (const other of this.others) storeU48(bytes, at + other, value);
  }
}

const PLACES = { 1: Place8, 2: Place16, 3: Place24, 4: Place32, 6: Place48 } as const;

function storeU16(bytes: Buffer, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

function storeU24(bytes: Buffer, offset: number, value: number): void {
  bytes[offset] = value >>> 16;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value;
}

function storeU32(bytes: Buffer, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

function storeU48(bytes: Buffer, offset: number, value: number): void {
  storeU16(bytes, offset, (value / 0x1_0000_0000) >>> 0);
  storeU32(bytes, offset + 2, value);
}

/** Messages in their bytes, with the places that vary. Made by `compileTemplate`. */
export class Template<Name extends string> {
  constructor(
    readonly bytes: Buffer,
    readonly place: { readonly [Key in Name]: Place },
  ) {}

  /**
   * Copies the template to the end of `writer` and returns where it begins there, for `Place.put`. Every place is to be
   * put: until then it is 0.
   */
  append(writer: MessageWriter): number {
    const { bytes } = this;
    writer.reserve(bytes.length);
    const at = writer.position;
    writer.bytes.set(bytes, at);
    writer.position = at + bytes.length;
    return at;
  }

  /**
   * The same with `length` bytes of `data` from `offset` after it, counted into the length of the last message: a
   * packet-out whose packet follows. The template is one message.
   */
  appendWith(writer: MessageWriter, data: Buffer, offset: number, length: number): number {
    const { bytes } = this;
    const total = bytes.length + length;
    writer.reserve(total);
    const at = writer.position;
    writer.bytes.set(bytes, at);
    writer.setU16(at + 2, total);
    copyBytes(data, offset, length, writer.bytes, at + bytes.length);
    writer.position = at + total;
    return at;
  }
}

// Below this a loop is faster than the subarray that TypedArray.set needs.
const SHORT_COPY = 48;

function copyBytes(source: Buffer, from: number, length: number, target: Buffer, to: number): void {
  if (length > SHORT_COPY) source.copy(target, to, from, from + length);
  else for (let i = 0; i < length; i++) target[to + i] = source[from + i] as number;
}

/**
 * Makes a template of the messages that `write` writes. `places` gives the width of each value that varies; `write` gets
 * a number for each and puts it, whole and unchanged, into one or more fields. Where a value stands is found by encoding
 * with a marker in its place, so a place that `write` forgets, shifts or computes with is an error here, not on the wire.
 */
export function compileTemplate<Name extends string>(
  places: { readonly [Key in Name]: PlaceWidth },
  write: (writer: MessageWriter, values: { readonly [Key in Name]: number }) => void,
): Template<Name> {
  const names = Object.keys(places) as Name[];
  const writer = new MessageWriter();
  const encode = (marked?: Name) => {
    const values = Object.fromEntries(names.map((name) => [name, name === marked ? marker(places[name]) : 0]));
    write(writer, values as { [Key in Name]: number });
    return Buffer.from(writer.take());
  };
  const bytes = encode();
  const found = names.map((name) => [
    name,
    new PLACES[places[name]](findPlace(bytes, encode(name), name, places[name])),
  ]);
  return new Template(bytes, Object.fromEntries(found) as { [Key in Name]: Place });
}

/** A number of which every byte is another and none is 0: 0xa1, 0xa1a2, ... */
function marker(width: PlaceWidth): number {
  return Array.from({ length: width }, (_, i) => 0xa1 + i).reduce((value, byte) => value * 256 + byte, 0);
}

function findPlace(base: Buffer, marked: Buffer, name: string, width: PlaceWidth): number[] {
  const offsets: number[] = [];
  if (marked.length !== base.length) throw new Error(`place ${name} changes the length of the message`);
  for (let at = 0; at < base.length; at++) {
    if (marked[at] === base[at]) continue;
    const whole = [...Array(width).keys()].every((i) => base[at + i] === 0 && marked[at + i] === 0xa1 + i);
    if (!whole) throw new Error(`place ${name} is not stored as ${width} bytes at offset ${at}`);
    offsets.push(at);
    at += width - 1;
  }
  if (offsets.length === 0) throw new Error(`place ${name} stands nowhere in the message`);
  return offsets;
}
