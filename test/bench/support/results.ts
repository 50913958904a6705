// What a benchmark found, in the form that all of them share: one row for each measure, with the floor and the goal that
// it has and what stands beside it in the same run, on the screen and as JSON.

import { printTable, writeJson } from './report';

export interface Result {
  readonly measure: string;
  readonly value: number;
  readonly unit: string;
  /** What it must not fall short of, in the same unit. */
  readonly floor?: number;
  readonly goal?: number;
  /** The same measure of something else, in the same alternating run. */
  readonly peer?: { readonly name: string; readonly value: number };
}

/** Prints a table under `title` and writes `{ name, rows }` where `--json FILE` asks for it. */
export function publish(name: string, title: string, rows: readonly Result[]): void {
  const lines = rows.map(({ measure, value, unit, floor, goal, peer }) => ({
    '': measure,
    value: digits(value),
    unit,
    floor: floor === undefined ? '' : digits(floor),
    goal: goal === undefined ? '' : digits(goal),
    beside: peer === undefined ? '' : `${digits(peer.value)} ${peer.name}`,
  }));
  printTable(title, lines);
  writeJson({ name, rows });
}

/** Three significant digits, whatever the size. */
function digits(value: number): string {
  if (!Number.isFinite(value)) return '–';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(3)));
}
