// `docker run --rm … true` on DaoliNet, beside Docker's own user-defined bridge, and without any network: from starting the
// client until it has ended, on an emulated host with the plugin as it is installed (userspace datapath). Alternating, each
// round in another order. dockerd itself takes most of it: what counts is the difference to the bridge in the same run.

import { IMAGE, startHost, type Host } from '../../lab/host';
import { median, percentile } from './support/report';
import { publish } from './support/results';

const ROUNDS = 25;
const WARM_UP = 3;
const NETWORKS = ['daolinet', 'bridge', 'none'] as const;
type Network = (typeof NETWORKS)[number];
const NAMES: Record<Network, string> = { daolinet: 'bench-daolinet', bridge: 'bench-bridge', none: 'none' };

async function run(host: Host, network: Network): Promise<number> {
  const begin = performance.now();
  await host.docker('run', '--rm', '--network', NAMES[network], IMAGE, 'true');
  return performance.now() - begin;
}

async function measure(host: Host): Promise<Record<Network, number[]>> {
  await host.docker('network', 'create', '-d', 'daolinet', NAMES.daolinet);
  await host.docker('network', 'create', '-d', 'bridge', NAMES.bridge);
  const times: Record<Network, number[]> = { daolinet: [], bridge: [], none: [] };
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    for (let turn = 0; turn < NETWORKS.length; turn += 1) {
      const network = NETWORKS[(round + turn) % NETWORKS.length] as Network;
      const ms = await run(host, network);
      if (round >= WARM_UP) times[network].push(ms);
    }
  }
  return times;
}

async function main(): Promise<void> {
  const host = await startHost({ docker: '20.10' });
  try {
    const times = await measure(host);
    const half = (network: Network) => median(times[network]);
    const late = (network: Network) => percentile(times[network], 0.95);
    const bridge = (value: number) => ({ name: 'user-defined bridge', value });
    publish('docker-run', `docker run --rm … true, ${ROUNDS} rounds`, [
      { measure: 'DaoliNet, p50', value: half('daolinet'), unit: 'ms', peer: bridge(half('bridge')) },
      { measure: 'DaoliNet, p95', value: late('daolinet'), unit: 'ms', peer: bridge(late('bridge')) },
      {
        measure: 'DaoliNet over the bridge, p50',
        value: half('daolinet') / half('bridge'),
        unit: '×',
        floor: 1.1,
        goal: 1,
      },
      { measure: 'without a network, p50', value: half('none'), unit: 'ms' },
    ]);
  } finally {
    await host.stop();
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
