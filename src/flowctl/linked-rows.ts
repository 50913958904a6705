// Numbered rows in lists, oldest first: doubly linked in typed arrays, so that a row leaves from anywhere at once. A row is
// in one list at most.

const NONE = 0xffffffff;

interface List {
  first: number;
  last: number;
  size: number;
}

export class LinkedRows {
  private next = new Uint32Array(16);
  private previous = new Uint32Array(16);
  private readonly lists = new Map<number, List>();

  /** The row that has been in the list longest. Undefined for an empty list. */
  first(list: number): number | undefined {
    return this.lists.get(list)?.first;
  }

  sizeOf(list: number): number {
    return this.lists.get(list)?.size ?? 0;
  }

  /** The row behind this one in its list. */
  after(row: number): number | undefined {
    const next = this.next[row]!;
    return next === NONE ? undefined : next;
  }

  /** Puts a row that is in no list at the end of one. */
  push(list: number, row: number): void {
    if (row >= this.next.length) this.grow(row);
    const found = this.lists.get(list);
    this.next[row] = NONE;
    this.previous[row] = found?.last ?? NONE;
    if (found === undefined) {
      this.lists.set(list, { first: row, last: row, size: 1 });
      return;
    }
    this.next[found.last] = row;
    found.last = row;
    found.size += 1;
  }

  /** Takes a row out of the list that it is in. */
  remove(list: number, row: number): void {
    const found = this.lists.get(list);
    if (found === undefined) return;
    const [before, behind] = [this.previous[row]!, this.next[row]!];
    if (before === NONE) found.first = behind;
    else this.next[before] = behind;
    if (behind === NONE) found.last = before;
    else this.previous[behind] = before;
    found.size -= 1;
    if (found.size === 0) this.lists.delete(list);
  }

  private grow(row: number): void {
    const length = Math.max(row + 1, Math.ceil(this.next.length * 1.5));
    const [next, previous] = [new Uint32Array(length), new Uint32Array(length)];
    next.set(this.next);
    previous.set(this.previous);
    this.next = next;
    this.previous = previous;
  }
}
