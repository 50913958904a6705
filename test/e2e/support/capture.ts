// What arrives at an interface, as tcpdump saw it: in a container's network, on the host, or "outside". For tests that say how often a
// packet with a marker in it came, zero included.

import { readFileSync } from 'node:fs';
import { type Host, waitFor } from '../../../lab/host';
import type { BackgroundCommand } from '../../../lab/namespace';
import { ON_HOST, OUTSIDE } from './peers';

/** Sizes of the headers of a capture file and of each packet in it; where in the latter the packet's length stands. */
const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const LENGTH_AT = 8;

let captures = 0;

export class Capture {
  private constructor(
    private readonly host: Host,
    private readonly file: string,
    private readonly tcpdump: BackgroundCommand,
  ) {}

  /** Starts to record what comes in at an interface, of a container by its name, ON_HOST or OUTSIDE. Everything from now on is seen. */
  static async start(host: Host, where: string, ethernetInterface = 'eth0'): Promise<Capture> {
    const file = `/run/capture-${++captures}.pcap`;
    const tcpdump = ['tcpdump', '-Z', 'root', '-i', ethernetInterface, '-Q', 'in', '-n', '-U', '--immediate-mode'];
    const writing = [...tcpdump, '-w', file];
    const running =
      where === ON_HOST || where === OUTSIDE
        ? host.background(writing, where === OUTSIDE ? 'outside' : undefined)
        : host.background(['nsenter', `--net=${await networkOf(host, where)}`, ...writing]);
    await waitFor('tcpdump', () => running.text().includes('listening on'), 30_000);
    return new Capture(host, file, running);
  }

  /** Every frame so far that has `marker` somewhere in it. */
  frames(marker: string | Buffer): Buffer[] {
    const wanted = Buffer.from(marker);
    const file = readFileSync(this.host.path(this.file));
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

/** The network namespace of a running container, as a file of the host. */
export async function networkOf(host: Host, container: string): Promise<string> {
  return `/proc/${await host.docker('inspect', '--format', '{{.State.Pid}}', container)}/ns/net`;
}
