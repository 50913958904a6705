// What OVSDB costs.
//   transaction   one small change of a row that a replica follows, on a real ovsdb-server over a Unix socket: one after
//                 another, and many at once; and one that waits for the disk. Beside them ovs-vsctl with the like, and bytes
//                 that are written and read without being looked at, which is what the server and the socket take.
//   port          a veth pair's end is added to the bridge until its OpenFlow number is known, userspace datapath: one after
//                 another, and all at once. Beside it `ovs-vsctl add-port … -- get Interface … ofport`.
// In a network namespace of its own, in alternating runs.

import { connect } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OvsdbClient } from '../../src/ovsdb/client';
import type { Operation } from '../../src/ovsdb/notation';
import { commit, insert, mutate } from '../../src/ovsdb/operations';
import { Replica } from '../../src/ovsdb/replica';
import { LITTLE_SCHEMA, type LittleTables } from '../ovs/little-schema';
import { startOvsdbServer, type OvsdbServer } from '../ovs/ovsdb-server';
import { runTool } from '../ovs/process';
import { BRIDGE, startBridge } from './support/ovs-rig';
import { inPrivateNetwork } from './support/private-network';
import { median, percentile } from './support/report';
import { publish, type Result } from './support/results';

const RUNS = 3;
const SERIAL = 3000;
const PIPELINED = 10_000;
const DURABLE = 300;
const BY_PROGRAM = 20;
const PORTS = 60;
const AT_ONCE = 100;

const CHANGE: Operation = mutate('Item', [['name', '==', 'one']], [['size', '+=', 1]]);

/** Milliseconds of each of `count` calls, one after another. */
async function times(count: number, work: (index: number) => Promise<unknown>): Promise<number[]> {
  const list: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const begin = performance.now();
    await work(index);
    list.push(performance.now() - begin);
  }
  return list;
}

/** The bytes of a transaction and of its answer, and nothing else. */
async function rawTimes(server: OvsdbServer, count: number): Promise<number[]> {
  const socket = connect(server.remote.slice('unix:'.length));
  let depth = 0;
  let answered = () => undefined as void;
  socket.on('data', (chunk) => {
    for (const byte of chunk) {
      if (byte === 0x7b) depth += 1;
      else if (byte === 0x7d) depth -= 1;
    }
    if (depth === 0) answered();
  });
  const request = JSON.stringify({ id: 1, method: 'transact', params: ['Little', CHANGE] });
  const list = await times(count, () => {
    socket.write(request);
    return new Promise<void>((resolve) => (answered = resolve));
  });
  socket.destroy();
  return list;
}

interface Transactions {
  readonly serial: number[];
  readonly raw: number[];
  readonly durable: number[];
  readonly perSecond: number[];
}

async function measureTransactions(): Promise<Transactions> {
  const server = await startOvsdbServer({ schema: LITTLE_SCHEMA });
  const client = new OvsdbClient({ remotes: [server.remote], database: 'Little' });
  const replica = new Replica<LittleTables>(client, { Item: {}, Parent: {} });
  const found: Transactions = { serial: [], raw: [], durable: [], perSecond: [] };
  try {
    replica.start();
    client.start();
    await client.whenReady();
    await client.transact([insert('Item', { name: 'one', size: 0 })]);
    await times(SERIAL, () => client.transact([CHANGE]));
    for (let run = 0; run < RUNS; run += 1) {
      found.serial.push(...(await times(SERIAL, () => client.transact([CHANGE]))));
      found.raw.push(...(await rawTimes(server, SERIAL)));
      found.durable.push(...(await times(DURABLE, () => client.transact([CHANGE, commit(true)]))));
      const begin = performance.now();
      await Promise.all(Array.from({ length: PIPELINED }, () => client.transact([CHANGE])));
      found.perSecond.push((1000 * PIPELINED) / (performance.now() - begin));
    }
  } finally {
    client.stop();
    await server.stop();
  }
  return found;
}

interface Ports {
  readonly ours: number[];
  readonly program: number[];
  readonly setting: number[];
  readonly atOnce: number[];
}

async function makePairs(folder: string, names: readonly string[]): Promise<void> {
  const lines = names.map((name) => `link add name ${name} up type veth peer name x${name}\n`);
  writeFileSync(join(folder, 'links'), lines.join(''));
  await runTool(['ip', '-batch', join(folder, 'links')]);
}

async function measurePorts(folder: string): Promise<Ports> {
  const { ovs, bridge, stop } = await startBridge();
  const found: Ports = { ours: [], program: [], setting: [], atOnce: [] };
  const names = (prefix: string, count: number) => Array.from({ length: count }, (_, i) => `${prefix}${i}`);
  try {
    const pairs = [...names('a', PORTS), ...names('b', BY_PROGRAM), ...names('c', AT_ONCE)];
    await makePairs(folder, pairs);
    for (let index = 0; index < PORTS; index += 1) {
      found.ours.push(...(await times(1, () => bridge.addPort({ name: `a${index}`, externalIds: {} }))));
      if (index >= BY_PROGRAM) continue;
      const add = ['add-port', BRIDGE, `b${index}`];
      found.program.push(...(await times(1, () => ovs.vsctl(...add))));
      const set = ['--no-wait', 'set', 'Open_vSwitch', '.', `external_ids:bench=${index}`];
      found.setting.push(...(await times(1, () => ovs.vsctl(...set))));
    }
    const begin = performance.now();
    const all = names('c', AT_ONCE).map((name) => bridge.addPort({ name, externalIds: {} }));
    await Promise.all(all);
    found.atOnce.push(performance.now() - begin);
  } finally {
    await stop();
  }
  return found;
}

inPrivateNetwork(async (folder) => {
  const { serial, raw, durable, perSecond } = await measureTransactions();
  const ports = await measurePorts(folder);
  const micros = (list: readonly number[], share = 0.5) => 1000 * percentile(list, share);
  const vsctl = { name: 'ovs-vsctl', value: micros(ports.setting) };
  const results: Result[] = [
    { measure: 'transaction, p50', value: micros(serial), unit: 'µs', floor: 500, goal: 70, peer: vsctl },
    { measure: 'transaction, p99', value: micros(serial, 0.99), unit: 'µs' },
    { measure: 'bytes of a transaction alone, p50', value: micros(raw), unit: 'µs' },
    { measure: 'transaction that waits for the disk, p50', value: micros(durable), unit: 'µs' },
    { measure: `transactions, ${PIPELINED.toLocaleString('en-US')} at once`, value: median(perSecond), unit: '/s' },
    {
      measure: 'port added until its number is known, p50',
      value: median(ports.ours),
      unit: 'ms',
      floor: 15,
      goal: 6,
      peer: { name: 'ovs-vsctl', value: median(ports.program) },
    },
    { measure: 'the same, p99', value: percentile(ports.ours, 0.99), unit: 'ms' },
    { measure: `${AT_ONCE} ports at once, each`, value: median(ports.atOnce) / AT_ONCE, unit: 'ms' },
  ];
  publish('ovsdb', `OVSDB, ${RUNS} runs`, results);
});
