// What two containers of one host get through their network: a TCP stream, and UDP packets of 18 bytes as fast as they can be
// sent, by iperf3, on an emulated host with the plugin as it is installed and Open vSwitch's userspace datapath. Beside it
// Docker's user-defined bridge, in alternating runs. Then the same with Open vSwitch's userspace TSO, which takes a restart
// of ovs-vswitchd, and containers that leave segments and checksums to it. The kernel's datapath is not measured here: the
// machine's kernel may have none.

import { IMAGE, startHost, type Host } from '../../lab/host';
import { median } from './support/report';
import { publish, type Result } from './support/results';

const RUNS = 3;
const SECONDS = 2;
const NETWORKS = ['daolinet', 'bridge'] as const;
type Network = (typeof NETWORKS)[number];

interface Throughput {
  /** Gbit/s that arrived. */
  readonly tcp: number;
  /** Thousands of packets a second that arrived. */
  readonly udp: number;
}
const NOTHING: Throughput = { tcp: 0, udp: 0 };

interface Report {
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number };
    readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
  };
}

async function iperf(host: Host, network: Network, ...options: string[]): Promise<Report> {
  const to = await host.docker(
    'inspect',
    '--format',
    '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
    `s-${network}`,
  );
  const command = ['iperf3', '-c', to, '-t', String(SECONDS), '-J', ...options];
  return JSON.parse(await host.docker('exec', `c-${network}`, ...command)) as Report;
}

async function measureOnce(host: Host, network: Network): Promise<Throughput> {
  const tcp = await iperf(host, network);
  const udp = await iperf(host, network, '-u', '-l', '18', '-b', '0');
  const { packets, lost_packets: lost, seconds } = udp.end.sum;
  return { tcp: (tcp.end.sum_received?.bits_per_second ?? 0) / 1e9, udp: (packets - lost) / seconds / 1000 };
}

async function measure(host: Host, networks: readonly Network[]): Promise<Record<Network, Throughput>> {
  const runs: Record<Network, Throughput[]> = { daolinet: [], bridge: [] };
  for (let run = 0; run < RUNS; run += 1) {
    for (const network of networks) runs[network].push(await measureOnce(host, network));
  }
  const middle = (list: readonly Throughput[]): Throughput =>
    list.length === 0 ? NOTHING : { tcp: median(list.map(({ tcp }) => tcp)), udp: median(list.map(({ udp }) => udp)) };
  return { daolinet: middle(runs.daolinet), bridge: middle(runs.bridge) };
}

async function startContainers(host: Host): Promise<void> {
  for (const network of NETWORKS) {
    await host.docker('network', 'create', '-d', network, `n-${network}`);
    await host.docker('run', '-d', '--name', `s-${network}`, '--network', `n-${network}`, IMAGE, 'iperf3', '-s');
    await host.docker('run', '-d', '--name', `c-${network}`, '--network', `n-${network}`, IMAGE, 'sleep', '3600');
  }
}

/** Open vSwitch with userspace TSO, and containers that use it. */
async function switchOnTso(host: Host): Promise<void> {
  await host.ovs('ovs-vsctl', 'set', 'Open_vSwitch', '.', 'other_config:userspace-tso-enable=true');
  await host.restartVswitchd();
  for (const container of ['s-daolinet', 'c-daolinet']) {
    await host.inNetworkOf(container, 'ethtool', '-K', 'eth0', 'tx', 'on', 'tso', 'on');
  }
}

async function offloads(host: Host): Promise<string> {
  const text = await host.inNetworkOf('c-daolinet', 'ethtool', '-k', 'eth0');
  const state = (name: string) => new RegExp(`^${name}: (\\w+)`, 'm').exec(text)?.[1] ?? '?';
  return `tx checksums ${state('tx-checksumming')}, segmentation ${state('tcp-segmentation-offload')}`;
}

async function main(): Promise<void> {
  const host = await startHost({ docker: '20.10' });
  const rows: Result[] = [];
  try {
    await startContainers(host);
    const { daolinet, bridge } = await measure(host, NETWORKS);
    const peer = (value: number) => ({ name: 'bridge', value });
    rows.push({ measure: 'TCP stream', value: daolinet.tcp, unit: 'Gbit/s', peer: peer(bridge.tcp) });
    rows.push({ measure: 'packets of 18 bytes', value: daolinet.udp, unit: '1,000/s', peer: peer(bridge.udp) });
    console.log(`without TSO, the container has ${await offloads(host)}`);
    await switchOnTso(host);
    console.log(`with TSO, the container has ${await offloads(host)}`);
    const withTso = await measure(host, ['daolinet']).catch((error: unknown) => {
      console.log(`with TSO no connection comes about: ${String(error)}`);
      return { daolinet: NOTHING };
    });
    rows.push({ measure: 'TCP stream, with TSO', value: withTso.daolinet.tcp, unit: 'Gbit/s' });
    rows.push({ measure: 'packets of 18 bytes, with TSO', value: withTso.daolinet.udp, unit: '1,000/s' });
  } finally {
    await host.stop();
  }
  publish('throughput', `two containers of one host, userspace datapath, ${RUNS} runs of ${SECONDS} s`, rows);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
