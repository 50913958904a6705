// What two containers at different sites get through their network, a TCP stream by iperf3, on emulated hosts with Open vSwitch's
// userspace datapath. Beside it bare WireGuard between the same two hosts, and Docker's overlay network with `--opt encrypted` where this kernel has ESP, in alternating runs. The
// kernel's WireGuard and datapath, which this machine's kernel need not have, are measured in a guest: kernel-sites.

import { median } from './support/report';
import { publish, type Result } from './support/results';
import { bareAddress, NETWORK, runContainer, withTwoSites, type TwoSites } from './support/two-sites';

const ROUNDS = 5;
const SECONDS = '3';
type Path = 'daolinet' | 'bare' | 'overlay';
/** What runs one stream on each path that there is, and resolves with Mbit/s that arrived. */
type Streams = ReadonlyMap<Path, () => Promise<number>>;
type Samples = ReadonlyMap<Path, readonly number[]>;

interface Report {
  readonly end: { readonly sum_received: { readonly bits_per_second: number } };
}

const read = (text: string) => (JSON.parse(text) as Report).end.sum_received.bits_per_second / 1e6;

async function prepare({ near, far, hasOverlay }: TwoSites): Promise<Streams> {
  const streams = new Map<Path, () => Promise<number>>();
  const iperf = (to: string) => ['iperf3', '-J', '-t', SECONDS, '-c', to];
  for (const path of hasOverlay ? (['daolinet', 'overlay'] as const) : (['daolinet'] as const)) {
    const to = await runContainer(far, `server-${path}`, NETWORK[path], 'iperf3', '-s');
    await runContainer(near, `client-${path}`, NETWORK[path], 'sleep', '3600');
    streams.set(path, async () => read(await near.docker('exec', `client-${path}`, ...iperf(to))));
  }
  far.background(['iperf3', '-s', '-B', bareAddress(2)]);
  const [program = '', ...args] = iperf(bareAddress(2));
  streams.set('bare', async () => read(await near.exec(program, args)));
  return streams;
}

async function measure(streams: Streams): Promise<Samples> {
  const paths = [...streams.keys()];
  // Does not count: handshakes, and the first packets of the route.
  for (const path of paths) await streams.get(path)?.();
  const samples = new Map(paths.map((path) => [path, [] as number[]]));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let turn = 0; turn < paths.length; turn += 1) {
      const path = paths[(round + turn) % paths.length] ?? 'daolinet';
      samples.get(path)?.push((await streams.get(path)?.()) ?? NaN);
    }
  }
  return samples;
}

function resultsOf(samples: Samples): Result[] {
  const ours = samples.get('daolinet') ?? [];
  const theirs = samples.get('bare') ?? [];
  const overlay = samples.get('overlay');
  const ratio = median(ours.map((value, round) => value / (theirs[round] ?? NaN)));
  const peer = { name: 'bare WireGuard', value: median(theirs) };
  return [
    { measure: 'TCP stream', value: median(ours), unit: 'Mbit/s', peer },
    { measure: '  over bare WireGuard', value: ratio, unit: '×', floor: 0.85, goal: 0.95 },
    ...(overlay === undefined
      ? []
      : [{ measure: '  Docker’s encrypted overlay network', value: median(overlay), unit: 'Mbit/s' }]),
  ];
}

async function main(): Promise<void> {
  const rows = await withTwoSites({}, async (sites) => resultsOf(await measure(await prepare(sites))));
  publish('throughput-between-sites', `containers of two sites, userspace datapath, ${ROUNDS} rounds`, rows);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
