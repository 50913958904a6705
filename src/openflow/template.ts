// Messages encoded once, with places whose bytes are stored over for each use. A template comes from the very function
// that declares the flow, so what tests print as text is what leaves. Copying and patching costs a fifth of
// encoding.

import { MessageWriter } from './message-writer';

/** One value of a template: where it stands, counted from the start of the template's bytes. */
export class Place {
  private readonly first: number;
  private readonly others: readonly number[];

  constructor(
    readonly name: string,
    readonly width: PlaceWidth,
    readonly offsets: readonly number[],
  ) {
    [this.first = 0, ...this.others] = offsets;
  }

  /** Stores `value` everywhere the place stands, in the copy of the template that `append` left at `at`. */
  put(writer: MessageWriter, at: number, value: number): void {
    store(writer.bytes, at + this.first, this.width, value);
    for (let i = 0; i < this.others.length; i++) {
      store(writer.bytes, at + (this.others[i] as number), this.width, value);
    }
  }
}

/** Width of a place in bytes. A cookie is two places of 4. */
export type PlaceWidth = 1 | 2 | 4 | 6;

function store(bytes: Buffer, offset: number, width: PlaceWidth, value: number): void {
  switch (width) {
    case 6: {
      const high = (value / 0x1_0000_0000) >>> 0;
      bytes[offset] = high >>> 8;
      bytes[offset + 1] = high;
      storeU32(bytes, offset + 2, value);
      return;
    }
    case 4:
      storeU32(bytes, offset, value);
      return;
    case 2:
      bytes[offset] = value >>> 8;
      bytes[offset + 1] = value;
      return;
    case 1:
      bytes[offset] = value;
  }
}

function storeU32(bytes: Buffer, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
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
    new Place(name, places[name], findPlace(bytes, encode(name), name, places[name])),
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
