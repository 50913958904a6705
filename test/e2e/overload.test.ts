// One container sends as much as it can, of what costs most. Others open conversations meanwhile, each of which needs its first packet
// to be decided: they do not notice. And nothing grows without end: flows of the switch, memory of the controller.
import { startHost, waitFor, type Host } from '../../lab/host';
import { readFileSync } from 'node:fs';
import { getApi, lendPrograms, NODE, startClient, startServer } from './support/peers';
import { startFlood, type FloodKind } from './support/flood';

jest.setTimeout(180_000);

/** Peers of one endpoint; of routes by conversation four times as many, and each has two flows. */
const MAX_ROUTES = 256;
const FLOWS_OF_ONE = 2 * 4 * MAX_ROUTES;
/** At the median, in ms: what is above it is that of a machine which has other work, and of two cores for all. */
const FIRST_PACKET_MS = 10;
const TIMES = 3;
const CONNECTIONS = 300;
const PAUSE_MS = 10;
/** Where OVS begins to remove them early. */
const MEGAFLOWS = 200_000;
const MEMORY_MARGIN_MB = 64;

/** usage: ADDRESS PORT COUNT PAUSE. One connection after another; prints how long each took, in ms, as JSON. -1: refused or none in 5 s. */
const CLIENT = `
const [host, port, count, pause] = process.argv.slice(1);
const once = () => new Promise((resolve) => {
  const begin = process.hrtime.bigint();
  const socket = require('net').connect({ host, port: Number(port) });
  const end = (ms) => { socket.destroy(); resolve(ms); };
  socket.setTimeout(5000, () => end(-1)).on('error', () => end(-1));
  socket.on('connect', () => end(Number(process.hrtime.bigint() - begin) / 1e6));
});
(async () => {
  const times = [];
  for (let i = 0; i < Number(count); i += 1) {
    times.push(await once());
    await new Promise((resolve) => setTimeout(resolve, Number(pause)));
  }
  console.log(JSON.stringify(times));
})();`;

let host: Host;

beforeAll(async () => {
  host = await startHost({ settings: { DAOLINET_IDLE_TIMEOUT: '2', DAOLINET_MAX_ROUTES: String(MAX_ROUTES) } });
  lendPrograms(host);
  const ipam = ['--ipam-driver', 'daolinet', '--subnet', '10.60.0.0/16'];
  await host.docker('network', 'create', '-d', 'daolinet', ...ipam, 'web');
  await startServer(host, 'server', ['80/tcp'], ['--network', 'web', '--ip', '10.60.0.80']);
  for (const name of ['client', 'flooder']) await startClient(host, name, ['--network', 'web']);
  // What looks at ports makes a route for each conversation, so each connection needs a decision.
  await host.daolictl('policy', 'add', 'allow', 'tcp/80', '--from', 'client', '--to', 'server');
  await host.daolictl('policy', 'add', 'deny', 'tcp/81', '--from', 'web', '--to', 'web');
}, 900_000);
afterAll(() => host?.stop(), 60_000);

const flows = async () => Number(await host.exec('sh', ['-c', 'ovs-ofctl -O OpenFlow14 dump-flows br-int | wc -l']));
const datapathFlows = async () =>
  Number(await host.exec('sh', ['-c', 'ovs-appctl dpctl/dump-flows netdev@ovs-netdev | wc -l']));
const memoryMb = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(host.path(`/proc/${host.agentPid()}/status`), 'utf8'))?.[1]) / 1024;
const packetIns = async () => (await getApi<Record<string, number>>(host, '/v1/counters'))['packetIns'] ?? 0;

/** How long connections took, in ms, sorted. */
async function connect(): Promise<number[]> {
  const client = [...NODE, '-e', CLIENT, '10.60.0.80', '80', String(CONNECTIONS), String(PAUSE_MS)];
  const times = JSON.parse(await host.docker('exec', 'client', ...client)) as number[];
  return times.sort((one, other) => one - other);
}

const at = (sorted: readonly number[], share: number): number => sorted[Math.floor(sorted.length * share)] ?? NaN;

const described = (times: readonly number[]): string =>
  `first packets ${at(times, 0.5).toFixed(1)} ms, p90 ${at(times, 0.9).toFixed(1)}, p99 ${at(times, 0.99).toFixed(1)} ms`;

test('each connection is decided by the controller', async () => {
  const before = await packetIns();
  await connect();
  expect((await packetIns()) - before).toBeGreaterThanOrEqual(CONNECTIONS);
});

test.each<FloodKind>(['destinations', 'arp', 'malformed'])('a flood of %s', async (kind) => {
  const [agent, memory, others] = [host.agentPid(), memoryMb(), await flows()];
  const before = await connect();
  const flood = await startFlood(host, 'flooder', kind, '10.60');
  let times: number[];
  try {
    await waitFor('the flood', () => flood.text().includes('flooding'), 30_000);
    const [began, frames] = [Date.now(), await sent()];
    times = await connect();
    const rate = ((await sent()) - frames) / (Date.now() - began);
    const [now, megaflows] = [await flows(), await datapathFlows()];
    console.log(
      `${kind}, ${rate.toFixed(0)} kpps: ${described(times)} (${described(before)} without); ${now} flows, ` +
        `${megaflows} in the datapath; ${memoryMb().toFixed(0)} MB, ${memory.toFixed(0)} MB before`,
    );
    expect(rate).toBeGreaterThan(5);
    expect(times[0]).toBeGreaterThan(0); // none was lost
    expect(now).toBeLessThan(others + FLOWS_OF_ONE + CONNECTIONS * 2);
    expect(megaflows).toBeLessThan(MEGAFLOWS);
    expect(memoryMb()).toBeLessThan(memory + MEMORY_MARGIN_MB);
  } finally {
    await flood.stop();
  }
  // What the machine does beside decides about all three.
  const quiet = Math.max(at(before, 0.5), at(await connect(), 0.5));
  expect(at(times, 0.5)).toBeLessThan(TIMES * Math.max(FIRST_PACKET_MS, quiet));
  expect(host.agentPid()).toBe(agent);
});

/** Frames that the flooder's interface has sent. */
async function sent(): Promise<number> {
  return Number(await host.docker('exec', 'flooder', 'cat', '/sys/class/net/eth0/statistics/tx_packets'));
}
