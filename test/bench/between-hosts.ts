// Containers on two hosts of one cluster, on emulated hosts with Open vSwitch's userspace datapath: the first packet of a
// pair over the second, beside a pair on one host; the steady round trip; and the time from `docker run` to the first answered
// ping. Beside them Docker's own overlay network, in alternating runs on the same lab. (Throughput: throughput-between-hosts.)

import { joinAll, startHosts, stopCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import { getApi } from '../e2e/support/peers';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';

const FIRST_ROUNDS = 25;
const RUN_ROUNDS = 11;
const STEADY_ROUNDS = 5;
const FRESH_ROUNDS = 7;
/** Longer than a route is idle before it goes. */
const SILENCE_MS = 2_500;
const NETWORKS = ['daolinet', 'overlay'] as const;
type Network = (typeof NETWORKS)[number];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function addressOf(host: Host, container: string): Promise<string> {
  return host.docker('inspect', '--format', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}', container);
}

/** Round trips, in ms, of `count` pings that are sent 0.2 s apart. */
async function pings(host: Host, from: string, to: string, count: number, ...options: string[]): Promise<number[]> {
  const command = ['busybox', 'ping', '-c', String(count), '-i', '0.2', '-W', '2', ...options, to];
  const said = await host.docker('exec', from, ...command);
  return [...said.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
}

/** What the first packet takes over the second: between hosts, and on one. */
async function measureFirst(host: Host, near: string, far: string): Promise<{ far: number[]; near: number[] }> {
  const extra = { far: [] as number[], near: [] as number[] };
  for (let round = 0; round < FIRST_ROUNDS; round += 1) {
    await pause(SILENCE_MS);
    for (const [which, to] of [
      ['far', far],
      ['near', near],
    ] as const) {
      const [first, second] = await pings(host, 'client-daolinet', to, 2);
      if (first !== undefined && second !== undefined) extra[which].push(first - second);
    }
  }
  return extra;
}

/** How many routes a host has made because another told it of them, and packets that its controller was asked about. */
async function askedAt(host: Host): Promise<{ followed: number; packetIns: number }> {
  const counters = await getApi<Record<string, number>>(host, '/v1/counters');
  return { followed: counters['wordsFollowed'] ?? NaN, packetIns: counters['packetIns'] ?? NaN };
}

/** With words between the hosts, and without: nothing comes to the door of h2 then. */
async function measureWords(h1: Host, h2: Host, near: string, far: string): Promise<Result[]> {
  const before = await askedAt(h2);
  const first = await measureFirst(h1, near, far);
  const after = await askedAt(h2);
  await h2.exec('nft', ['-f', '-'], {
    input:
      'add table inet bench\nadd chain inet bench in { type filter hook input priority -10; }\n' +
      'add rule inet bench in tcp dport 7470 drop\n',
  });
  const alone = await measureFirst(h1, near, far);
  await h2.exec('nft', ['delete', 'table', 'inet', 'bench']);
  const [told, untold] = [median(first.far), median(alone.far)];
  const [here, hereThen] = [median(first.near), median(alone.near)];
  const onOne = (value: number) => ({ name: 'on one host', value });
  return [
    { measure: 'first packet over the second, p50', value: told, unit: 'ms', peer: onOne(here) },
    {
      measure: 'the same, p90',
      value: percentile(first.far, 0.9),
      unit: 'ms',
      peer: onOne(percentile(first.near, 0.9)),
    },
    { measure: 'first packet over that on one host', value: told / here, unit: '×', floor: 2, goal: 1.3 },
    { measure: 'without words, p50', value: untold, unit: 'ms', peer: onOne(hereThen) },
    { measure: 'without words, over that on one host', value: untold / hereThen, unit: '×' },
    {
      measure: 'routes by a word, of 100 first packets',
      value: (100 * (after.followed - before.followed)) / FIRST_ROUNDS,
      unit: '',
    },
    {
      measure: 'packets that came to the destination’s controller',
      value: (after.packetIns - before.packetIns) / FIRST_ROUNDS,
      unit: 'a route',
    },
  ];
}

/** From starting the client until a ping from the new container was answered, in ms. What ends it is not counted. */
async function runOnce(host: Host, network: string, to: string): Promise<number> {
  const script = `until busybox ping -c 1 -W 1 ${to} >/dev/null; do :; done; echo answered`;
  const begin = performance.now();
  const client = host.background(['docker', 'run', '--rm', '--network', network, IMAGE, 'busybox', 'sh', '-c', script]);
  let hasEnded = false;
  void client.ended.then(() => (hasEnded = true));
  while (!client.text().includes('answered')) {
    if (hasEnded) throw new Error(`docker run on ${network}: ${client.text()}`);
    await pause(1);
  }
  const answered = performance.now();
  await client.ended;
  return answered - begin;
}

/** The same for the first container of a host on a network that was just made, with a container on another host. */
async function runFresh(host: Host, peer: Host, network: Network): Promise<number> {
  const name = `fresh-${network}`;
  const options = network === 'overlay' ? ['--attachable'] : [];
  await host.docker('network', 'create', '-d', network, ...options, name);
  if (network === 'daolinet') {
    await waitFor('the network', async () => (await peer.docker('network', 'ls')).includes(name), 20_000);
  }
  await peer.docker('run', '-d', '--name', name, '--network', name, IMAGE, 'sleep', '600');
  const ms = await runOnce(host, name, await addressOf(peer, name));
  await peer.docker('rm', '-f', name);
  await waitFor('the network to go', async () => (await host.tryDocker('network', 'rm', name)).code === 0, 20_000);
  await pause(500);
  return ms;
}

/** When an endpoint was first seen at a host's API, in ms of this process; asked again and again. */
async function firstSeen(host: Host, before: ReadonlySet<string>, isOver: () => boolean): Promise<number> {
  while (!isOver()) {
    const rows = await getApi<{ id: string }[]>(host, '/v1/endpoints');
    if (rows.some(({ id }) => !before.has(id))) return performance.now();
  }
  throw new Error(`${host.name} has not seen the endpoint`);
}

/** From the moment a new endpoint is known on its own host until all others know it, in ms. */
async function measureKnown(hosts: readonly Host[]): Promise<number[]> {
  const [h1, h2] = hosts as [Host, Host];
  const times: number[] = [];
  for (let round = 0; round < RUN_ROUNDS; round += 1) {
    const before = new Set((await getApi<{ id: string }[]>(h1, '/v1/endpoints')).map(({ id }) => id));
    const end = performance.now() + 20_000;
    const seen = Promise.all(hosts.map((host) => firstSeen(host, before, () => performance.now() > end)));
    await h2.docker('run', '-d', '--name', 'known', '--network', 'n-daolinet', IMAGE, 'sleep', '60');
    const at = await seen;
    times.push(Math.max(...at) - (at[1] ?? 0));
    await h2.docker('rm', '-f', 'known');
    await pause(500);
  }
  return times;
}

async function prepare(h1: Host, h2: Host, h3: Host): Promise<void> {
  await joinAll([h1, h2, h3]);
  // A route that has ended after its 60 seconds has left nothing in OVS's cache either, which lasts 10 s: here both are shorter.
  for (const host of [h1, h2]) await host.ovs('ovs-vsctl', 'set', 'Open_vSwitch', '.', 'other_config:max-idle=500');
  await h1.docker('network', 'create', '-d', 'daolinet', 'n-daolinet');
  await waitFor('the network on h2', async () => (await h2.docker('network', 'ls')).includes('n-daolinet'), 20_000);
  await h1.docker('swarm', 'init', '--advertise-addr', h1.address);
  const token = await h1.docker('swarm', 'join-token', '-q', 'worker');
  await h2.docker('swarm', 'join', '--advertise-addr', h2.address, '--token', token, `${h1.address}:2377`);
  await h1.docker('network', 'create', '-d', 'overlay', '--attachable', 'n-overlay');
  for (const network of NETWORKS) {
    const options = ['--network', `n-${network}`];
    await h2.docker('run', '-d', '--name', `server-${network}`, ...options, IMAGE, 'sleep', '3600');
    await h1.docker('run', '-d', '--name', `client-${network}`, ...options, IMAGE, 'sleep', '3600');
  }
  await h1.docker('run', '-d', '--name', 'near', '--network', 'n-daolinet', IMAGE, 'sleep', '3600');
}

async function main(): Promise<void> {
  const lab = await startHosts(3, { docker: '20.10', settings: { DAOLINET_IDLE_TIMEOUT: '1' } });
  const rows: Result[] = [];
  try {
    const [h1, h2, h3] = lab.hosts as [Host, Host, Host];
    await prepare(h1, h2, h3);
    const to = {
      daolinet: await addressOf(h2, 'server-daolinet'),
      overlay: await addressOf(h2, 'server-overlay'),
    };
    rows.push(...(await measureWords(h1, h2, await addressOf(h1, 'near'), to.daolinet)));

    const known = await measureKnown(lab.hosts);
    rows.push({ measure: 'a new endpoint known on 3 hosts, p50', value: median(known), unit: 'ms', floor: 100 });
    rows.push({ measure: 'the same, the longest', value: Math.max(...known), unit: 'ms', floor: 100 });

    const steady: Record<Network, number[]> = { daolinet: [], overlay: [] };
    for (let round = 0; round < STEADY_ROUNDS; round += 1) {
      for (const network of NETWORKS)
        steady[network].push(...(await pings(h1, `client-${network}`, to[network], 20)).slice(2));
    }
    const overlay = (value: number) => ({ name: 'overlay', value });
    rows.push({
      measure: 'round trip, p50',
      value: median(steady.daolinet),
      unit: 'ms',
      peer: overlay(median(steady.overlay)),
    });

    const runs = {
      used: { daolinet: [] as number[], overlay: [] as number[] },
      fresh: { daolinet: [] as number[], overlay: [] as number[] },
    };
    for (let round = 0; round < RUN_ROUNDS; round += 1) {
      for (const network of NETWORKS) {
        runs.used[network].push(await runOnce(h1, `n-${network}`, to[network]));
        if (round < FRESH_ROUNDS) runs.fresh[network].push(await runFresh(h1, h2, network));
      }
    }
    for (const [kind, { daolinet, overlay: theirs }] of [
      ['a network in use', runs.used],
      ['a new network', runs.fresh],
    ] as const) {
      const [ours, peer] = [median(daolinet), median(theirs)];
      rows.push({
        measure: `docker run to the first answered ping, ${kind}, p50`,
        value: ours,
        unit: 'ms',
        peer: overlay(peer),
      });
      rows.push({ measure: 'the same over the overlay’s', value: ours / peer, unit: '×', floor: 0.5 });
    }
  } finally {
    await stopCluster(lab);
  }
  publish('between-hosts', 'containers of two hosts, userspace datapath', rows);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
