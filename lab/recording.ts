// All that tcpdump saw somewhere, for tests that say how often a packet with a marker in it came, zero included.

import { readFileSync } from 'node:fs';
import { waitFor, type BackgroundCommand } from './namespace';

/** Where it runs: an emulated host, or a namespace of the lab. */
export interface RecordingPlace {
  path(inside: string): string;
  background(command: readonly string[], netns?: string): BackgroundCommand;
}

export interface RecordingOptions {
  readonly ethernetInterface: string;
  readonly netns?: string;
  /** What comes in alone; without it, what goes out as well. */
  readonly isInwardOnly?: boolean;
  /** What stands before tcpdump, to have it run elsewhere. */
  readonly enter?: readonly string[];
}

/** tcpdump's own buffer holds a handful of packets where it sees all interfaces: while it waits for a processor, it loses the rest. */
export const ROOMY = ['-s', '65535', '-B', '65536'] as const;

/** Sizes of the headers of a capture file and of each packet in it; where in the latter the packet's length stands. */
const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const LENGTH_AT = 8;

let recordings = 0;

export class Recording {
  private constructor(
    private readonly path: string,
    private readonly tcpdump: BackgroundCommand,
  ) {}

  /** Everything from now on is seen. */
  static async start(place: RecordingPlace, options: RecordingOptions): Promise<Recording> {
    const { ethernetInterface, netns, isInwardOnly = false, enter = [] } = options;
    const file = `/run/capture-${++recordings}.pcap`;
    const direction = isInwardOnly ? ['-Q', 'in'] : [];
    const tcpdump = [
      'tcpdump',
      '-Z',
      'root',
      '-i',
      ethernetInterface,
      ...direction,
      '-n',
      '-U',
      '--immediate-mode',
      ...ROOMY,
    ];
    const running = place.background([...enter, ...tcpdump, '-w', file], netns);
    await waitFor('tcpdump', () => running.text().includes('listening on'), 30_000);
    return new Recording(place.path(file), running);
  }

  /** Every frame so far that has `marker` somewhere in it. */
  frames(marker: string | Buffer): Buffer[] {
    const wanted = Buffer.from(marker);
    const file = readFileSync(this.path);
    const found: Buffer[] = [];
    for (let at = FILE_HEADER; at + PACKET_HEADER <= file.length;) {
      const end = at + PACKET_HEADER + file.readUInt32LE(at + LENGTH_AT);
      const frame = file.subarray(at + PACKET_HEADER, end);
      if (end <= file.length && frame.includes(wanted)) found.push(frame);
      at = end;
    }
    return found;
  }

  /** How many frames so far have `marker` in them. */
  count(marker: string | Buffer): number {
    return this.frames(marker).length;
  }

  stop(): Promise<void> {
    return this.tcpdump.stop();
  }
}
