// The table of docs/reliability.md, between two marks: one line for each fault. Faults that were not made keep their line.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Measured } from './measure';
import { misses, wholeAfterMs, type Outcome, type Side, type Starts } from './trial';

const BEGIN = '<!-- faults: begin, written by npm run test:faults -->';
const END = '<!-- faults: end -->';
const SIDE = ['established: lost, silent', 'new ones wait', 'starts: failed, longest'];
const HEAD = [
  'fault',
  ...SIDE.map((each) => `others’ ${each}`),
  ...SIDE.map((each) => `its ${each}`),
  'whole again',
  'as promised',
];

/** The line of one fault. */
export function tableLine(outcome: Outcome): string {
  const { fault, beside, through } = outcome;
  const missed = misses(outcome);
  return `| ${[
    fault.what,
    ...cells(beside),
    ...cells(through),
    seconds(wholeAfterMs(outcome)),
    missed.length === 0 ? 'yes' : `no: ${missed.join('; ').replaceAll('|', '/')}`,
  ].join(' | ')} |`;
}

/** Puts lines into a document, each in the place of the one about the same fault. `order` is that of all faults. */
export function withLines(text: string, lines: readonly string[], order: readonly string[]): string {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (from < 0 || to < 0) throw new Error(`the document has no place for the table: ${BEGIN} … ${END}`);
  const what = (line: string): string => line.split(' | ')[0]?.replace(/^\| /, '') ?? '';
  const before = text
    .slice(from, to)
    .split('\n')
    .filter((line) => line.startsWith('| ') && order.includes(what(line)));
  const all = new Map([...before, ...lines].map((line) => [what(line), line]));
  const rows = order.flatMap((each) => all.get(each) ?? []);
  const head = [`| ${HEAD.join(' | ')} |`, `|${HEAD.map(() => '---').join('|')}|`];
  return `${text.slice(0, from)}${[BEGIN, '', ...head, ...rows, '', END].join('\n')}${text.slice(to + END.length)}`;
}

export function writeTable(file: string, outcomes: readonly Outcome[], order: readonly string[]): void {
  const text = existsSync(file) ? readFileSync(file, 'utf8') : `${BEGIN}\n${END}\n`;
  writeFileSync(file, withLines(text, outcomes.map(tableLine), order));
}

function cells({ measured, starts }: Side): string[] {
  return [established(measured), waited(measured), started(starts)];
}

function established({ sent, lost, silenceMs, resets }: Measured): string {
  if (sent === 0) return '-';
  return `${lost} of ${sent}, ${seconds(silenceMs)}${resets === 0 ? '' : `, ${resets} reset`}`;
}

function waited({ opened, longestNewMs }: Measured): string {
  return opened === 0 ? '-' : seconds(longestNewMs);
}

function started({ count, failed, longestMs }: Starts): string {
  return count === 0 ? '-' : `${failed} of ${count}, ${seconds(longestMs)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;
}
