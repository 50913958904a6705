// The far ends of the veth pairs, in a network namespace of their own: a small program there (frames.pl, since Node opens
// no packet sockets) sends frames into the datapath and tells when they have come out by the right port.

import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { runTool } from '../../ovs/process';

const PROGRAM = 'test/bench/support/frames.pl';

export interface Frame {
  readonly from: number;
  readonly to: number;
  readonly bytes: Buffer;
}

export class FrameSource {
  private lines: string[] = [];
  private waiting: { resolve(lines: string[]): void; reject(error: Error): void } | undefined;

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      if (line !== 'done') return void this.lines.push(line);
      const { lines } = this;
      this.lines = [];
      this.waiting?.resolve(lines);
    });
    child.once('exit', () => this.waiting?.reject(new Error(`${PROGRAM} ended`)));
  }

  /** Starts it, with the pairs h1–p1, h2–p2, …: h here, p there. `folder` is for its files. */
  static async start(folder: string, ports: number): Promise<FrameSource> {
    const child = spawn('unshare', ['--net', 'perl', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] });
    const source = new FrameSource(child, folder);
    await source.answer();
    const numbers = Array.from({ length: ports }, (_, i) => i + 1);
    const there = ['nsenter', `--net=/proc/${child.pid}/ns/net`, 'sh', '-c'];
    // Nothing but our frames is to pass.
    const quiet = 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6';
    await Promise.all([runTool(['sh', '-c', quiet]), runTool([...there, quiet])]);
    const pairs = numbers.map((n) => `link add name h${n} up type veth peer name p${n} netns ${child.pid}\n`);
    const up = numbers.map((n) => `link set p${n} up\n`);
    writeFileSync(join(folder, 'pairs'), pairs.join(''));
    writeFileSync(join(folder, 'up'), up.join(''));
    await runTool(['ip', '-batch', join(folder, 'pairs')]);
    await runTool([...there, `ip -batch ${join(folder, 'up')}`]);
    return source;
  }

  /** The frames that `loop` and `rate` count from 0; all of one length. */
  async load(frames: readonly Frame[]): Promise<void> {
    const length = frames[0]?.bytes.length ?? 0;
    const records = Buffer.alloc(frames.length * (length + 4));
    frames.forEach(({ from, to, bytes }, i) => {
      const at = i * (length + 4);
      records.writeUInt16BE(from, at);
      records.writeUInt16BE(to, at + 2);
      bytes.copy(records, at + 4);
    });
    const file = join(this.folder, 'frames');
    writeFileSync(file, records);
    await this.command(`load ${file} ${length}`);
  }

  /** Microseconds from sending to arrival, `times` times for each frame; negative: it never arrived. */
  async loop(first: number, count: number, times: number): Promise<number[][]> {
    const lines = await this.command(`loop ${first} ${count} ${times}`);
    return lines.map((line) => line.split(' ').map(Number));
  }

  /** How many arrived of `count` sent at a rate, and in how many seconds they were sent. */
  async rate(perSecond: number, first: number, count: number): Promise<{ arrived: number; seconds: number }> {
    const [line = ''] = await this.command(`rate ${perSecond} ${first} ${count}`);
    const [arrived = 0, seconds = 0] = line.split(' ').map(Number);
    return { arrived, seconds };
  }

  /** Its namespace goes with it, and with that the pairs. */
  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.stdin?.end();
    await ended;
  }

  private command(line: string): Promise<string[]> {
    this.child.stdin?.write(`${line}\n`);
    return this.answer();
  }

  private answer(): Promise<string[]> {
    return new Promise((resolve, reject) => (this.waiting = { resolve, reject }));
  }
}
