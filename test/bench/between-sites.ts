// Containers at two sites of one cluster, on emulated hosts, with Open vSwitch and WireGuard in user space where this machine's
// kernel has neither: the first packet of a pair over the second, beside a pair on one host, and the steady round trip, beside
// bare WireGuard between the same two hosts. (Throughput: throughput-between-sites.)

import type { Host } from '../../lab/host';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';
import { bareAddress, NETWORK, runContainer, withTwoSites, type TwoSites } from './support/two-sites';

const FIRST_ROUNDS = 25;
const STEADY_ROUNDS = 5;
/** Longer than a route is idle before it goes. */
const SILENCE_MS = 2_500;
const CLIENT = 'client';

/** Round trips, in ms, of `count` pings that are sent 0.2 s apart. */
async function pings(count: number, to: string, ping: (...options: string[]) => Promise<string>): Promise<number[]> {
  const said = await ping('busybox', 'ping', '-c', String(count), '-i', '0.2', '-W', '2', to);
  return [...said.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
}

const fromContainer =
  (host: Host) =>
  (...command: string[]) =>
    host.docker('exec', CLIENT, ...command);
const fromHost =
  (host: Host) =>
  (program = '', ...args: string[]) =>
    host.exec(program, args);

/** What the first packet takes over the second: between sites, and on one host. */
async function measureFirst(host: Host, to: { far: string; near: string }): Promise<{ far: number[]; near: number[] }> {
  const extra = { far: [] as number[], near: [] as number[] };
  for (let round = 0; round < FIRST_ROUNDS; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, SILENCE_MS));
    for (const which of ['far', 'near'] as const) {
      const [first, second] = await pings(2, to[which], fromContainer(host));
      if (first !== undefined && second !== undefined) extra[which].push(first - second);
    }
  }
  return extra;
}

async function measure({ near, far }: TwoSites): Promise<Result[]> {
  const to = {
    far: await runContainer(far, 'far', NETWORK.daolinet, 'sleep', '3600'),
    near: await runContainer(near, 'near', NETWORK.daolinet, 'sleep', '3600'),
  };
  await runContainer(near, CLIENT, NETWORK.daolinet, 'sleep', '3600');
  // The tunnel's handshake, which is once in two minutes, is no part of a first packet.
  await pings(2, to.far, fromContainer(near));
  await pings(2, bareAddress(2), fromHost(near));
  // Open vSwitch forgets a flow of the datapath after 10 s without packets; here, before the next round.
  for (const host of [near, far]) {
    await host.ovs('ovs-vsctl', 'set', 'Open_vSwitch', '.', 'other_config:max-idle=1000');
  }
  const first = await measureFirst(near, to);
  const steady = { daolinet: [] as number[], bare: [] as number[] };
  for (let round = 0; round < STEADY_ROUNDS; round += 1) {
    steady.daolinet.push(...(await pings(20, to.far, fromContainer(near))).slice(2));
    steady.bare.push(...(await pings(20, bareAddress(2), fromHost(near))).slice(2));
  }
  const [ours, theirs] = [median(steady.daolinet), median(steady.bare)];
  const onOne = (value: number) => ({ name: 'on one host', value });
  return [
    {
      measure: 'first packet over the second, p50',
      value: median(first.far),
      unit: 'ms',
      peer: onOne(median(first.near)),
    },
    {
      measure: 'the same, p90',
      value: percentile(first.far, 0.9),
      unit: 'ms',
      peer: onOne(percentile(first.near, 0.9)),
    },
    { measure: 'first packet over that on one host', value: median(first.far) / median(first.near), unit: '×' },
    { measure: 'round trip, p50', value: ours, unit: 'ms', peer: { name: 'bare WireGuard', value: theirs } },
    { measure: 'round trip over bare WireGuard', value: ours / theirs, unit: '×' },
  ];
}

async function main(): Promise<void> {
  const rows = await withTwoSites({ settings: { DAOLINET_IDLE_TIMEOUT: '1' } }, measure);
  publish('between-sites', 'containers of two sites, userspace datapath', rows);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
