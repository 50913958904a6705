// What two containers on different hosts get through their network: a TCP stream, and UDP packets of 18 bytes as fast as they
// can be sent, by iperf3, on emulated hosts with Open vSwitch's userspace datapath, without and then with its TSO, which takes
// a restart of ovs-vswitchd. Beside it Docker's overlay network and plain host to host, in alternating runs.

import { joinAll, startHosts, stopCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import { median } from './support/report';
import { publish, type Result } from './support/results';

const ROUNDS = 5;
const SECONDS = '2';
const PLAIN_PORT = '5301';
const PATHS = ['daolinet', 'overlay', 'plain'] as const;
type Path = (typeof PATHS)[number];
const NETWORKS = ['daolinet', 'overlay'] as const;

interface Sample {
  /** Gbit/s that arrived. */
  readonly tcp: number;
  /** Thousands of packets a second that arrived. */
  readonly udp: number;
}
type Samples = Record<Path, Sample[]>;

interface Report {
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number };
    readonly sum: { readonly packets: number; readonly lost_packets: number; readonly seconds: number };
  };
}

async function prepare(h1: Host, h2: Host): Promise<void> {
  await joinAll([h1, h2]);
  await h1.docker('network', 'create', '-d', 'daolinet', 'n-daolinet');
  await waitFor('the network on h2', async () => (await h2.docker('network', 'ls')).includes('n-daolinet'), 20_000);
  await h1.docker('swarm', 'init', '--advertise-addr', h1.address);
  const token = await h1.docker('swarm', 'join-token', '-q', 'worker');
  await h2.docker('swarm', 'join', '--advertise-addr', h2.address, '--token', token, `${h1.address}:2377`);
  await h1.docker('network', 'create', '-d', 'overlay', '--attachable', 'n-overlay');
  for (const network of NETWORKS) {
    const options = ['--network', `n-${network}`];
    await h2.docker('run', '-d', '--name', `server-${network}`, ...options, IMAGE, 'iperf3', '-s');
    await h1.docker('run', '-d', '--name', `client-${network}`, ...options, IMAGE, 'sleep', '3600');
  }
  h2.background(['iperf3', '-s', '-p', PLAIN_PORT]);
}

async function iperf(h1: Host, h2: Host, path: Path, ...options: string[]): Promise<Report> {
  const words = ['-t', SECONDS, '-J', ...options];
  if (path === 'plain') return read(await h1.exec('iperf3', ['-c', h2.address, '-p', PLAIN_PORT, ...words]));
  const format = '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}';
  const to = await h2.docker('inspect', '--format', format, `server-${path}`);
  return read(await h1.docker('exec', `client-${path}`, 'iperf3', '-c', to, ...words));
}

const read = (text: string) => JSON.parse(text) as Report;

async function measureOnce(h1: Host, h2: Host, path: Path): Promise<Sample> {
  const tcp = await iperf(h1, h2, path);
  const udp = await iperf(h1, h2, path, '-u', '-l', '18', '-b', '0');
  const { packets, lost_packets: lost, seconds } = udp.end.sum;
  return { tcp: (tcp.end.sum_received?.bits_per_second ?? 0) / 1e9, udp: (packets - lost) / seconds / 1000 };
}

async function measure(h1: Host, h2: Host): Promise<Samples> {
  const samples: Samples = { daolinet: [], overlay: [], plain: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let turn = 0; turn < PATHS.length; turn += 1) {
      const path = PATHS[(round + turn) % PATHS.length] ?? 'plain';
      samples[path].push(await measureOnce(h1, h2, path));
    }
  }
  return samples;
}

/** Open vSwitch with userspace TSO, and a container that leaves segments and checksums to it. */
async function switchOnTso(host: Host, container: string): Promise<void> {
  await host.ovs('ovs-vsctl', 'set', 'Open_vSwitch', '.', 'other_config:userspace-tso-enable=true');
  await host.restartVswitchd();
  await host.inNetworkOf(container, 'ethtool', '-K', 'eth0', 'tx', 'on', 'tso', 'on');
}

function resultsOf(title: string, samples: Samples): Result[] {
  const middle = (path: Path, key: keyof Sample) => median(samples[path].map((sample) => sample[key]));
  return (['overlay', 'plain'] as const).flatMap((path) => {
    const name = path === 'plain' ? 'host to host' : path;
    const row = (measure: string, key: keyof Sample, unit: string): Result => ({
      measure: `${measure}, ${title}`,
      value: middle('daolinet', key),
      unit,
      peer: { name, value: middle(path, key) },
    });
    return [row('TCP stream', 'tcp', 'Gbit/s'), row('packets of 18 bytes', 'udp', '1000/s')];
  });
}

async function main(): Promise<void> {
  const lab = await startHosts(2, { docker: '20.10' });
  const rows: Result[] = [];
  try {
    const [h1, h2] = lab.hosts as [Host, Host];
    await prepare(h1, h2);
    rows.push(...resultsOf('no TSO', await measure(h1, h2)));
    await switchOnTso(h1, 'client-daolinet');
    await switchOnTso(h2, 'server-daolinet');
    rows.push(...resultsOf('TSO', await measure(h1, h2)));
  } finally {
    await stopCluster(lab);
  }
  publish('throughput-between-hosts', `containers of two hosts, userspace datapath, ${ROUNDS} rounds`, rows);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
