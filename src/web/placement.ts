// Where things are drawn: each host has a box with places, a container keeps its place while it lives, and a new one takes the
// first that is free. Boxes grow downwards by whole rows, so that little moves when things come and go.

import { compare } from './picture';

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Its middle, and its size. */
export interface Box extends Point {
  readonly width: number;
  readonly height: number;
}

export interface Placed {
  readonly id: string;
  readonly host: string;
}

/** How boxes stand, and how wide they are. */
interface Grid {
  /** Boxes in a row. */
  readonly boxes: number;
  /** Places in a row of a box. */
  readonly columns: number;
  /** Rows of the fullest box, when this was chosen. */
  readonly rows: number;
}

const CELL = { width: 96, height: 80 };
const BOX = { padding: 24, title: 30, gap: 56 };
const LEAST = { columns: 2, rows: 2 };
const MOST_COLUMNS = 40;
/** Room at the foot of a box for the ports that lead in. */
const DOORS_HEIGHT = 14;
const DOOR_WIDTH = 72;
/** Every second row stands a little aside, or connections would pass through the containers between. */
const ASIDE = 0.5;
/** Above the boxes. */
const OUTSIDE_HEIGHT = 62;
/** What has grown by more than this is laid out anew. */
const OUTGROWN = 2;

export class Placement {
  readonly boxes = new Map<string, Box>();
  readonly points = new Map<string, Point>();
  outside: Point = { x: 0, y: 0 };
  /** By host: whose each place is; undefined: free. */
  private readonly slots = new Map<string, (string | undefined)[]>();
  private grid: Grid | undefined;
  private gridOf = '';

  /**
   * Gives everything its place. Hosts stand in the order in which they are given, and what comes for the first time side by side in
   * that in which it is. `aspect` is the width of what it is drawn on by its height: it counts when hosts come or go.
   */
  place(names: readonly string[], things: readonly Placed[], doors: readonly Placed[], aspect: number): void {
    for (const known of this.slots.keys()) if (!names.includes(known)) this.slots.delete(known);
    for (const name of names) this.fill(name, ofHost(things, name));
    const grid = this.chooseGrid(names, aspect);
    this.layOut(names, grid);
    this.points.clear();
    for (const [name, slots] of this.slots) this.point(name, slots, grid);
    for (const name of names) this.pointDoors(name, ofHost(doors, name));
  }

  private fill(host: string, ids: readonly string[]): void {
    const slots = this.slots.get(host) ?? [];
    this.slots.set(host, slots);
    const wanted = new Set(ids);
    slots.forEach((id, slot) => {
      if (id === undefined) return;
      if (!wanted.delete(id)) slots[slot] = undefined;
    });
    for (const id of wanted) {
      const free = slots.indexOf(undefined);
      slots[free < 0 ? slots.length : free] = id;
    }
  }

  /** The one with which things are drawn largest. It stays as long as it does. */
  private chooseGrid(names: readonly string[], aspect: number): Grid {
    const most = Math.max(1, ...[...this.slots.values()].map(({ length }) => length));
    const isOutgrown = this.grid !== undefined && most > this.grid.rows * this.grid.columns * OUTGROWN;
    if (this.grid !== undefined && this.gridOf === names.join() && !isOutgrown) return this.grid;
    let best: (Grid & { readonly scale: number }) | undefined;
    for (let boxes = 1; boxes <= Math.max(1, names.length); boxes += 1) {
      for (let columns = LEAST.columns; columns <= Math.min(MOST_COLUMNS, most + 1); columns += 1) {
        const rows = Math.max(LEAST.rows, Math.ceil(most / columns));
        const { width, height } = boxSize(columns, rows);
        const lines = Math.ceil(names.length / boxes);
        const whole = {
          width: boxes * (width + BOX.gap) - BOX.gap,
          height: lines * (height + BOX.gap) - BOX.gap + OUTSIDE_HEIGHT,
        };
        const scale = Math.min(aspect / whole.width, 1 / whole.height);
        if (best === undefined || scale > best.scale) best = { boxes, columns, rows, scale };
      }
    }
    [this.grid, this.gridOf] = [best!, names.join()];
    return best!;
  }

  private layOut(names: readonly string[], { boxes, columns }: Grid): void {
    this.boxes.clear();
    const heights: number[] = [];
    names.forEach((name, index) => {
      const rows = Math.max(LEAST.rows, Math.ceil((this.slots.get(name)?.length ?? 0) / columns));
      const line = Math.floor(index / boxes);
      heights[line] = Math.max(heights[line] ?? 0, boxSize(columns, rows).height);
    });
    const { width } = boxSize(columns, 0);
    names.forEach((name, index) => {
      const line = Math.floor(index / boxes);
      const height = heights[line]!;
      const above = heights.slice(0, line).reduce((total, each) => total + each + BOX.gap, 0);
      // Each line stands in the middle.
      const inLine = Math.min(boxes, names.length - line * boxes);
      const x = ((index % boxes) - (inLine - 1) / 2) * (width + BOX.gap);
      this.boxes.set(name, { x, y: above + height / 2, width, height });
    });
    this.outside = { x: 0, y: -OUTSIDE_HEIGHT };
  }

  private point(host: string, slots: readonly (string | undefined)[], { columns }: Grid): void {
    const box = this.boxes.get(host)!;
    const left = box.x - box.width / 2 + BOX.padding / 2;
    const top = box.y - box.height / 2 + BOX.title;
    slots.forEach((id, slot) => {
      if (id === undefined) return;
      const [column, row] = [slot % columns, Math.floor(slot / columns)];
      const aside = row % 2 === 0 ? 0 : ASIDE;
      this.points.set(id, { x: left + (column + 0.5 + aside) * CELL.width, y: top + (row + 0.5) * CELL.height });
    });
  }

  /** On the lower edge of the box. */
  private pointDoors(host: string, ids: readonly string[]): void {
    const box = this.boxes.get(host)!;
    [...ids].sort(compare).forEach((id, index) => {
      const x = box.x + (index - (ids.length - 1) / 2) * DOOR_WIDTH;
      this.points.set(id, { x, y: box.y + box.height / 2 });
    });
  }
}

function ofHost(things: readonly Placed[], name: string): string[] {
  return things.filter(({ host }) => host === name).map(({ id }) => id);
}

function boxSize(columns: number, rows: number): { readonly width: number; readonly height: number } {
  return {
    width: (columns + ASIDE) * CELL.width + BOX.padding,
    height: rows * CELL.height + BOX.title + DOORS_HEIGHT,
  };
}
