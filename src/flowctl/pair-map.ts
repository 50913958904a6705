// A map from two 32-bit numbers to one, in one typed array: open addressing, linear probing, deletion by shifting back.
// The packet path looks up addresses and routes in it without allocating. Twelve bytes a place, at most three quarters
// full: what a look-up costs is fetching memory, so a small table beats a sparse one.
// Not for values of 2^32-1, which stand for "nothing".

const NONE = 0xffffffff;
const STRIDE = 3;

/** What `get` returns where there is no entry. */
export const ABSENT = NONE;

function hash(a: number, b: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ (h >>> 12), 0x297a2d39);
  return h ^ (h >>> 15);
}

export class PairMap {
  // a, b, value of each place; value NONE: the place is free.
  private cells: Uint32Array;
  private mask: number;
  private used = 0;

  constructor(initialPlaces = 16) {
    this.cells = new Uint32Array(initialPlaces * STRIDE).fill(NONE);
    this.mask = initialPlaces - 1;
  }

  get size(): number {
    return this.used;
  }

  get(a: number, b: number): number {
    return this.cells[this.find(a, b) + 2]!;
  }

  /** Sets or replaces. `value` is 0 to 2^32-2. */
  set(a: number, b: number, value: number): void {
    let at = this.find(a, b);
    if (this.cells[at + 2] === NONE) {
      this.used += 1;
      if (this.used * 4 > (this.mask + 1) * 3) {
        this.resize((this.mask + 1) * 2);
        at = this.find(a, b);
      }
      this.cells[at] = a;
      this.cells[at + 1] = b;
    }
    this.cells[at + 2] = value;
  }

  /** True where there was such an entry. */
  delete(a: number, b: number): boolean {
    const at = this.find(a, b);
    if (this.cells[at + 2] === NONE) return false;
    this.vacate(at / STRIDE);
    this.used -= 1;
    if (this.mask >= 64 && this.used * 8 < this.mask) this.resize((this.mask + 1) / 2);
    return true;
  }

  clear(): void {
    this.cells = new Uint32Array(16 * STRIDE).fill(NONE);
    this.mask = 15;
    this.used = 0;
  }

  /** Calls back with every entry, in no order. The map must not change meanwhile. */
  forEach(visit: (a: number, b: number, value: number) => void): void {
    const { cells } = this;
    for (let at = 0; at < cells.length; at += STRIDE) {
      const value = cells[at + 2]!;
      if (value !== NONE) visit(cells[at]!, cells[at + 1]!, value);
    }
  }

  /** Where (a, b) is, or the free place where it would go. */
  private find(a: number, b: number): number {
    const { cells, mask } = this;
    let place = hash(a, b) & mask;
    for (;;) {
      const at = place * STRIDE;
      if (cells[at + 2] === NONE || (cells[at] === a && cells[at + 1] === b)) return at;
      place = (place + 1) & mask;
    }
  }

  /** Frees a place and moves back whatever was pushed past it, so that no probe meets a hole too early. */
  private vacate(freed: number): void {
    const { cells, mask } = this;
    let hole = freed;
    let place = hole;
    for (;;) {
      place = (place + 1) & mask;
      const at = place * STRIDE;
      if (cells[at + 2] === NONE) break;
      const home = hash(cells[at]!, cells[at + 1]!) & mask;
      if (((place - home) & mask) < ((place - hole) & mask)) continue;
      cells.copyWithin(hole * STRIDE, at, at + STRIDE);
      hole = place;
    }
    cells[hole * STRIDE + 2] = NONE;
  }

  private resize(places: number): void {
    const old = this.cells;
    this.cells = new Uint32Array(places * STRIDE).fill(NONE);
    this.mask = places - 1;
    for (let from = 0; from < old.length; from += STRIDE) {
      if (old[from + 2] === NONE) continue;
      this.cells.set(old.subarray(from, from + STRIDE), this.find(old[from]!, old[from + 1]!));
    }
  }
}
