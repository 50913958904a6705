// How fast flows get into one Open vSwitch, and how fast a controller that comes back has everything in order.
//   flow mods          50,000 routes, each encoded and written as the controller does it, then one barrier; one by one, and
//                      in its bundles. Beside them ovs-ofctl with the same flows from a file.
//   resynchronisation  12,500 endpoints are 50,000 flows. From the moment that OVS connects until all is compared and right:
//                      all flows there (nothing is touched), all flows missing, and flows and meters missing.
// On the bridge of the agent with the userspace datapath, in a network namespace of its own, in alternating runs.

import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { subscribe } from 'node:diagnostics_channel';
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { BundleWriter } from '../../src/flowctl/bundle-writer';
import { Controller } from '../../src/flowctl/controller';
import { EndpointIndex } from '../../src/flowctl/endpoint-index';
import { DEFAULT_FLOW_SETTINGS } from '../../src/flowctl/model';
import { pairFlow } from '../../src/flowctl/route-flows';
import { RouteWriter } from '../../src/flowctl/route-writer';
import { OFPT, OFP_VERSION } from '../../src/openflow/constants';
import { formatFlow } from '../../src/openflow/flow-text';
import { encodeMessage, messageType } from '../../src/openflow/message';
import { MessageFramer } from '../../src/openflow/message-framer';
import { MessageWriter } from '../../src/openflow/message-writer';
import type { Ovs } from '../ovs/ovs';
import { BRIDGE, endpointAt, host, network, ROUTER_MAC, startBridge } from './support/ovs-rig';
import { inPrivateNetwork } from './support/private-network';
import { median } from './support/report';
import { publish } from './support/results';

const FLOWS = 50_000;
/** Enough for as many routes. */
const PORTS = 225;
const ENDPOINTS = FLOWS / 4;
const RUNS = 3;
const FLUSH_BYTES = 256 * 1024;

/** All directions between the ports, up to FLOWS. */
function* directions(): Generator<readonly [number, number]> {
  let count = 0;
  for (let from = 0; from < PORTS; from += 1) {
    for (let to = 0; to < PORTS; to += 1) {
      if (from === to) continue;
      if (count === FLOWS) return;
      count += 1;
      yield [from, to];
    }
  }
}

function newRouteWriter(): RouteWriter {
  const endpoints = new EndpointIndex();
  for (let portNo = 1; portNo <= PORTS; portNo += 1) endpoints.add(endpointAt(portNo), network);
  const routes = new RouteWriter(endpoints, DEFAULT_FLOW_SETTINGS.idleTimeoutSeconds);
  routes.setHost(host);
  return routes;
}

/** A connection to the bridge's management socket, greeted; `barrier` resolves when all before it is done. */
async function openBridge(ovs: Ovs): Promise<{
  readonly socket: Socket;
  readonly barrier: () => Promise<void>;
  readonly errors: () => number;
}> {
  const socket = connect(join(ovs.rundir, `${BRIDGE}.mgmt`));
  let errors = 0;
  let answered = () => undefined as void;
  const framer = new MessageFramer((buffer, offset) => {
    const type = messageType(buffer, offset);
    if (type === OFPT.BARRIER_REPLY) answered();
    if (type === OFPT.ERROR) errors += 1;
  });
  socket.on('data', (chunk) => framer.push(chunk));
  const write = (message: Parameters<typeof encodeMessage>[2]) => {
    const writer = new MessageWriter();
    encodeMessage(writer, 1, message);
    socket.write(Buffer.from(writer.take()));
  };
  const barrier = () => {
    write({ type: 'barrierRequest' });
    return new Promise<void>((resolve) => (answered = resolve));
  };
  write({ type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
  await barrier();
  return { socket, barrier, errors: () => errors };
}

/** Flow mods a second. */
async function push(ovs: Ovs, routes: RouteWriter, inBundles: boolean): Promise<number> {
  const { socket, barrier, errors } = await openBridge(ovs);
  const writer = new MessageWriter(1024 * 1024);
  const begin = performance.now();
  const bundle = new BundleWriter(writer, 1, inBundles);
  const flush = () => {
    const bytes = writer.take();
    return new Promise<void>((resolve) => socket.write(bytes, () => (writer.release(bytes), resolve())));
  };
  for (const [from, to] of directions()) {
    bundle.add(() => routes.pairFlow(writer, from, to));
    if (bundle.isFull) bundle.end();
    if (writer.pending >= FLUSH_BYTES) await flush();
  }
  bundle.end();
  await flush();
  await barrier();
  const seconds = (performance.now() - begin) / 1000;
  socket.destroy();
  if (errors() > 0) throw new Error(`${errors()} flow mods were refused`);
  return FLOWS / seconds;
}

async function pushByOfctl(ovs: Ovs, file: string, ...options: string[]): Promise<number> {
  const begin = performance.now();
  await ovs.ofctl(...options, 'add-flows', BRIDGE, file);
  return FLOWS / ((performance.now() - begin) / 1000);
}

async function empty(ovs: Ovs): Promise<void> {
  await ovs.ofctl('del-flows', BRIDGE);
}

async function countFlows(ovs: Ovs): Promise<number> {
  return Number(/flow_count=(\d+)/.exec(await ovs.ofctl('dump-aggregate', BRIDGE))?.[1]);
}

function writeFlowFile(file: string): void {
  const context = { routerMac: ROUTER_MAC, idleTimeoutSeconds: DEFAULT_FLOW_SETTINGS.idleTimeoutSeconds };
  const end = (slot: number) => ({ ...endpointAt(slot + 1), portNo: slot + 1 });
  const lines = [...directions()].map(([from, to]) => formatFlow(pairFlow(end(from), end(to), context)));
  writeFileSync(file, lines.join('\n'));
}

const KINDS = ['plain', 'in bundles', 'ovs-ofctl', 'ovs-ofctl --bundle'] as const;

async function measureFlowMods(ovs: Ovs, folder: string): Promise<Record<(typeof KINDS)[number], number>> {
  const file = join(folder, 'flows');
  writeFlowFile(file);
  const routes = newRouteWriter();
  const rates = new Map<string, number[]>(KINDS.map((kind) => [kind, []]));
  const work = {
    plain: () => push(ovs, routes, false),
    'in bundles': () => push(ovs, routes, true),
    'ovs-ofctl': () => pushByOfctl(ovs, file),
    'ovs-ofctl --bundle': () => pushByOfctl(ovs, file, '--bundle'),
  };
  for (let run = 0; run < RUNS; run += 1) {
    for (const kind of KINDS) {
      await empty(ovs);
      rates.get(kind)?.push(await work[kind]());
      const count = await countFlows(ovs);
      if (count !== FLOWS) throw new Error(`${kind}: ${count} flows of ${FLOWS}`);
    }
  }
  await empty(ovs);
  const middle = (kind: (typeof KINDS)[number]) => [kind, median(rates.get(kind) ?? [])] as const;
  return Object.fromEntries(KINDS.map(middle)) as Record<(typeof KINDS)[number], number>;
}

/** Milliseconds from connecting to all in order. */
async function resynchronise(path: string): Promise<{ ms: number; repaired: number }> {
  let connectedAt = 0;
  const connecting = () => (connectedAt = performance.now());
  subscribe('net.server.socket', connecting);
  let ready = () => undefined as void;
  const isReady = new Promise<void>((resolve) => (ready = resolve));
  const controller = new Controller({ path, clock: systemClock, logger: silentLogger, onConnected: () => ready() });
  controller.setHost(host);
  controller.setNetwork(network);
  for (let portNo = 1; portNo <= ENDPOINTS; portNo += 1) {
    controller.addEndpoint(endpointAt(portNo)).catch(() => undefined); // confirmed with the connection
  }
  await controller.start();
  await isReady;
  const ms = performance.now() - connectedAt;
  const { flowsRepaired: repaired, errors } = controller.counters();
  await controller.stop();
  if (errors > 0) throw new Error(`OVS refused ${errors} messages`);
  return { ms, repaired };
}

async function measureResync(ovs: Ovs, path: string): Promise<Record<'bare' | 'missing' | 'there', number>> {
  const times = { bare: [] as number[], missing: [] as number[], there: [] as number[] };
  for (let run = 0; run < RUNS; run += 1) {
    await empty(ovs);
    await ovs.ofctl('del-meters', BRIDGE);
    times.bare.push((await resynchronise(path)).ms);
    const untouched = await resynchronise(path);
    if (untouched.repaired !== 0) throw new Error(`${untouched.repaired} flows that were right were touched`);
    times.there.push(untouched.ms);
    await empty(ovs);
    const { ms, repaired } = await resynchronise(path);
    if (repaired < FLOWS) throw new Error(`only ${repaired} flows were put back`);
    times.missing.push(ms);
  }
  return { bare: median(times.bare), missing: median(times.missing), there: median(times.there) };
}

inPrivateNetwork(async (folder) => {
  const { ovs, socket, stop } = await startBridge();
  try {
    const rate = await measureFlowMods(ovs, folder);
    const { bare, missing, there } = await measureResync(ovs, socket);
    const perSecond = { unit: '/s', floor: 100_000, goal: 180_000 };
    const resync = { unit: 'ms', floor: 1000, goal: 350 };
    const peer = (name: (typeof KINDS)[number]) => ({ name, value: rate[name] });
    publish('flow-mods', `${FLOWS.toLocaleString('en-US')} flows, ${RUNS} runs`, [
      { measure: 'flow mods', value: rate.plain, ...perSecond, peer: peer('ovs-ofctl') },
      { measure: 'flow mods in bundles', value: rate['in bundles'], unit: '/s', peer: peer('ovs-ofctl --bundle') },
      { measure: 'resynchronising, all flows there', value: there, ...resync },
      { measure: 'resynchronising, all flows missing', value: missing, ...resync },
      { measure: `the same, and ${ENDPOINTS.toLocaleString('en-US')} meters missing`, value: bare, unit: 'ms' },
    ]);
  } finally {
    await stop();
  }
});
