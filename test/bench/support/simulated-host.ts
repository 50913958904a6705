// A host of a large cluster as ovsdb-server sees it: one connection with the monitor that the product would ask for. It looks at
// nothing but marks in the bytes that come, so that a thousand of them cost less than the server that they measure.

import { connect, type Socket } from 'node:net';
import { Monitor, type MonitoredTables } from '../../../src/ovsdb/monitor';
import type { DatabaseSchema } from '../../../src/ovsdb/schema';

/** In front of a number, in a row or an answer. */
export const MARK = 'mark-';
const END = '-end';
const READY = 0;

const NOTHING = { onChanges: () => undefined, onSynced: () => undefined };

export class SimulatedHost {
  bytes = 0;
  private socket: Socket | undefined;
  private tail = Buffer.alloc(0);
  private becomeReady = (): void => undefined;

  /** `onMark` hears of each mark in what the server sends. */
  constructor(private readonly onMark: (mark: number) => void) {}

  /** Resolves when it has its rows; where `since` is given, those that changed after that transaction. */
  start(path: string, schema: DatabaseSchema, tables: MonitoredTables, since?: string): Promise<void> {
    const asked = new Monitor('host', tables, NOTHING).begin('monitor_cond_since', schema);
    const params = since === undefined ? asked : [...asked.slice(0, 3), since];
    const requests = [
      { id: 1, method: 'monitor_cond_since', params },
      { id: 2, method: 'echo', params: [markOf(READY)] },
    ];
    const text = requests.map((request) => JSON.stringify(request)).join('');
    return new Promise((resolve, reject) => {
      this.becomeReady = resolve;
      this.connect(path, text, reject);
    });
  }

  /** Again and again while more wait to be let in than the server's socket takes. */
  private connect(path: string, text: string, reject: (error: Error) => void): void {
    const socket = connect(path);
    this.socket = socket;
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EAGAIN') reject(error);
      else setTimeout(() => this.connect(path, text, reject), 20 + Math.random() * 200);
    });
    socket.on('data', (chunk: Buffer) => this.look(chunk));
    socket.on('connect', () => socket.write(text));
  }

  stop(): void {
    this.socket?.destroy();
  }

  private look(chunk: Buffer): void {
    this.bytes += chunk.length;
    if (chunk.includes('"method":"echo"')) this.socket?.write('{"id":"echo","result":[],"error":null}');
    const data = this.tail.length === 0 ? chunk : Buffer.concat([this.tail, chunk]);
    let from = 0;
    for (let at = data.indexOf(MARK); at >= 0; at = data.indexOf(MARK, from)) {
      const end = data.indexOf(END, at);
      if (end < 0) break;
      const mark = Number(data.toString('latin1', at + MARK.length, end));
      from = end;
      if (mark === READY) this.becomeReady();
      else this.onMark(mark);
    }
    this.tail = Buffer.from(data.subarray(Math.max(from, data.length - 32)));
  }
}

/** Text that a SimulatedHost finds. */
export function markOf(number: number): string {
  return `${MARK}${number}${END}`;
}
