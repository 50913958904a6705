// What is measured on a path, from its end on host a to that on host b: a TCP stream, UDP packets of 18 bytes as fast as one
// sender goes, and round trips of a TCP ping-pong.

import type { ChildProcess } from 'node:child_process';
import { background, command, inside } from './command';
import { addressOf, endOf, type Path } from './layout';

const SECONDS = '1';
/** In which the servers have begun to listen, and the bridges have learned that their links are up. */
const SETTLING_MS = 3_000;
const TCP_PORT = '11111';
const UDP_PORT = '11112';

export interface Sample {
  /** Gbit/s that arrived. */
  readonly tcp: number;
  /** Packets a second that arrived at the receiver's UDP, whether it took them or not. */
  readonly packets: number;
  /** Median in µs. */
  readonly roundTrip: number;
}

/** The other end of every path's measurements. */
export async function startServers(paths: readonly Path[]): Promise<void> {
  const deaf: ChildProcess[] = [];
  for (const path of paths) {
    const enter = inside(endOf(path, 'b'));
    background(...enter, 'iperf3', '--server');
    background(...enter, 'sockperf', 'server', '--tcp', '--port', TCP_PORT);
    // It does not read: the sender alone is what sets the pace.
    deaf.push(background(...enter, 'sockperf', 'server', '--port', UDP_PORT));
  }
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
  for (const server of deaf) server.kill('SIGSTOP');
}

export async function measure(path: Path): Promise<Sample> {
  return { tcp: await stream(path), packets: await packets(path), roundTrip: await roundTrip(path) };
}

async function stream(path: Path): Promise<number> {
  const said = await client(path, 'iperf3', '--json', '--time', SECONDS, '--client', addressOf(path, 'b'));
  const { end } = JSON.parse(said) as { end: { sum_received: { bits_per_second: number } } };
  return end.sum_received.bits_per_second / 1e9;
}

async function packets(path: Path): Promise<number> {
  const before = await arrived(path);
  const said = await sockperf(path, 'throughput', '--msg-size', '18', '--port', UDP_PORT);
  // What is still on its way when the sender ends.
  await new Promise((resolve) => setTimeout(resolve, 200));
  return ((await arrived(path)) - before) / number(/messages sent in ([\d.]+) sec/, said);
}

async function roundTrip(path: Path): Promise<number> {
  const said = await sockperf(path, 'ping-pong', '--tcp', '--msg-size', '64', '--port', TCP_PORT);
  // It tells half of it.
  return 2 * number(/percentile 50\.0+ = +([\d.]+)/, said);
}

function sockperf(path: Path, kind: string, ...options: string[]): Promise<string> {
  return client(path, 'sockperf', kind, '--ip', addressOf(path, 'b'), '--time', SECONDS, ...options);
}

function client(path: Path, ...argv: string[]): Promise<string> {
  return command(...inside(endOf(path, 'a')), ...argv);
}

/** Datagrams that have come to the receiver's namespace, those that found its buffer full too. */
async function arrived(path: Path): Promise<number> {
  const text = await command(...inside(endOf(path, 'b')), 'cat', '/proc/net/snmp');
  const [names = [], values = []] = [...text.matchAll(/^Udp: (.*)$/gm)].map(([, line = '']) => line.split(' '));
  const value = (name: string) => Number(values[names.indexOf(name)]);
  return value('InDatagrams') + value('RcvbufErrors');
}

function number(pattern: RegExp, text: string): number {
  const found = Number(pattern.exec(text)?.[1]);
  if (Number.isNaN(found)) throw new Error(`there is no ${String(pattern)} in: ${text}`);
  return found;
}
