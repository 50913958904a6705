// Reads what the containers of a load write down, as it comes.

import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import * as path from 'node:path';
import type { LoadRecord } from './load-program';
import { pairKey } from './measure';

const CHUNK = 1024 * 1024;

export class RecordReader {
  readonly all = new Map<string, LoadRecord[]>();
  private readonly files = new Map<string, { offset: number; rest: string }>();
  private readonly chunk = Buffer.alloc(CHUNK);

  constructor(private readonly folder: string) {}

  /** Takes in what is new. */
  read(): void {
    for (const name of readdirSync(this.folder)) this.readFile(name);
  }

  /** Forgets what began before. */
  forget(before: number): void {
    for (const [key, records] of this.all) {
      this.all.set(
        key,
        records.filter(([, , at]) => at >= before),
      );
    }
  }

  private readFile(name: string): void {
    const state = this.files.get(name) ?? { offset: 0, rest: '' };
    this.files.set(name, state);
    const file = openSync(path.join(this.folder, name), 'r');
    try {
      for (;;) {
        const count = readSync(file, this.chunk, 0, CHUNK, state.offset);
        if (count === 0) return;
        state.offset += count;
        const lines = (state.rest + this.chunk.toString('latin1', 0, count)).split('\n');
        state.rest = lines.pop() ?? '';
        for (const line of lines) this.take(name, line);
      }
    } finally {
      closeSync(file);
    }
  }

  private take(from: string, line: string): void {
    let record: LoadRecord;
    try {
      record = JSON.parse(line) as LoadRecord;
    } catch {
      return; // the container ended as it wrote, and its successor went on in the same line
    }
    const key = pairKey({ from, to: record[1] });
    const records = this.all.get(key) ?? [];
    records.push(record);
    this.all.set(key, records);
  }
}
