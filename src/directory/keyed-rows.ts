// A map from a key that stands in the row itself to the row, in a quarter of the memory of a Map: one table of references
// with open addressing. For the tables that grow with the containers. While one is iterated, rows may come and go: those
// that are there all the time are seen once.

/** In the place of a row that was deleted: whoever looks for another one goes on behind it. */
const GONE = Symbol('gone');
type Slot<V> = V | typeof GONE | undefined;

const SMALLEST = 16;
/** Slots in use, of ten: more make look-ups slow, fewer take memory. */
const FULL_TENTHS = 8;

export class KeyedRows<K extends string | number, V extends object> {
  private slots: Slot<V>[] = emptySlots(SMALLEST);
  /** Rows and GONE together. */
  private used = 0;
  private count = 0;

  /** `keyOf` gives the key of a row, the same each time. */
  constructor(private readonly keyOf: (row: V) => K) {}

  get size(): number {
    return this.count;
  }

  has(key: K): boolean {
    return this.get(key) !== undefined;
  }

  get(key: K): V | undefined {
    return this.slots[this.find(key)] as V | undefined;
  }

  /** Enters a row, in the place of the one that has its key. */
  set(row: V): void {
    const at = this.find(this.keyOf(row));
    if (this.slots[at] === undefined) {
      if ((this.used + 1) * 10 > this.slots.length * FULL_TENTHS) {
        this.rebuild();
        return this.set(row);
      }
      this.used += 1;
      this.count += 1;
    }
    this.slots[at] = row;
  }

  delete(key: K): boolean {
    const at = this.find(key);
    if (this.slots[at] === undefined) return false;
    this.slots[at] = GONE;
    this.count -= 1;
    return true;
  }

  *values(): IterableIterator<V> {
    for (const slot of this.slots) if (slot !== undefined && slot !== GONE) yield slot;
  }

  *keys(): IterableIterator<K> {
    for (const row of this.values()) yield this.keyOf(row);
  }

  /** Where the row with this key is, or the empty slot where it would be. There always is one. */
  private find(key: K): number {
    const { slots, keyOf } = this;
    const mask = slots.length - 1;
    for (let at = hash(key) & mask; ; at = (at + 1) & mask) {
      const slot = slots[at];
      if (slot === undefined || (slot !== GONE && keyOf(slot) === key)) return at;
    }
  }

  /** A new table, twice as large where rows fill this one; whoever iterates goes on with the old one. */
  private rebuild(): void {
    const rows = [...this.values()];
    const isFull = rows.length * 20 > this.slots.length * FULL_TENTHS;
    this.slots = emptySlots(this.slots.length * (isFull ? 2 : 1));
    this.used = this.count = rows.length;
    for (const row of rows) this.slots[this.find(this.keyOf(row))] = row;
  }
}

function emptySlots<V>(length: number): Slot<V>[] {
  return new Array<Slot<V>>(length).fill(undefined);
}

/** FNV-1a for text, a multiplicative hash for numbers; the low bits are good. */
function hash(key: string | number): number {
  if (typeof key === 'number') {
    const mixed = Math.imul(key ^ (key >>> 16), 0x45d9f3b);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }
  let value = 0x811c9dc5;
  for (let i = 0; i < key.length; i += 1) value = Math.imul(value ^ key.charCodeAt(i), 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}
