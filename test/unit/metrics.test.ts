// What Prometheus reads: names, labels that do not grow, and that the dashboard asks for nothing that is not there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Metrics, type MeasuredAgent } from '../../src/api/metrics';
import { newCounters } from '../../src/flowctl/counters';
import { addContainer, createSmallCluster } from '../fakes/small-cluster';

const DASHBOARD = join(__dirname, '../../dashboards/daolinet.json');

let agent: MeasuredAgent & { counted: Record<string, number>; state: string };
beforeEach(async () => {
  const { h1 } = await createSmallCluster();
  agent = {
    view: h1.view,
    counted: { ...newCounters(), endpoints: 4, routes: 2, datapaths: 1, droppedSpoofed: 3, droppedTagged: 0 },
    state: 'ready',
    counters: () => Promise.resolve(agent.counted),
    status: () => ({
      ...{ version: '0.1.0', host: 'h1', state: agent.state, datapath: 'netdev', ovsVersion: '3.1.0' },
      charges: {
        master: 'h1',
        obstacle: null,
        backups: [
          { host: 'h2', isConnected: true },
          { host: 'h3', isConnected: false },
        ],
        standsBy: [{ host: 'h3', isConnected: true, isMaster: true }],
      },
    }),
    gauges: () => ({
      calls: 2,
      openflowQueuedBytes: 10,
      wordsDropped: 5,
      takeovers: 3,
      directory: { connected: true, committed: 7, failed: 1, repeated: 0, tookMs: 1500, underWay: 0 },
    }),
  };
});

/** Series by name and labels, as Prometheus reads them. */
async function scrape(metrics = new Metrics(agent)): Promise<Map<string, number>> {
  const series = new Map<string, number>();
  for (const line of (await metrics.render()).split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [, name, value] = /^(\w+(?:\{[^}]*\})?) (\S+)$/.exec(line) ?? [];
    if (name === undefined) throw new Error(`not a series: ${line}`);
    expect(series.has(name)).toBe(false);
    series.set(name, Number(value));
  }
  return series;
}

test('counters, levels and reasons have the values of the agent', async () => {
  Object.assign(agent.counted, { packetIns: 11, wordsTold: 4, timeExceeded: 6, malformed: 9 });
  const series = await scrape();
  const of = (name: string) => series.get(`daolinet_${name}`);
  expect(of('packet_ins_total')).toBe(11);
  const charges = ['own_datapath_master', 'backups_connected', 'foreign_datapaths_master', 'takeovers_total'];
  expect(charges.map(of)).toEqual([1, 1, 1, 3]);
  expect(of('words_total{what="told"}')).toBe(4);
  expect(of('words_total{what="dropped"}')).toBe(5);
  expect(of('icmp_sent_total{type="time_exceeded"}')).toBe(6);
  expect(of('controller_unhandled_total{reason="malformed"}')).toBe(9);
  expect(of('datapath_dropped_packets_total{reason="spoofed"}')).toBe(3);
  expect(of('routes')).toBe(2);
  expect(of('endpoints{state="joined"}')).toBe(4);
  expect(of('networks')).toBe(3);
  expect(of('hosts')).toBe(2);
  expect(of('ready')).toBe(1);
  expect(of('directory_connected')).toBe(1);
  expect(of('directory_transactions_total{result="committed"}')).toBe(7);
  expect(of('directory_transaction_seconds_total')).toBe(1.5);
  expect(of('docker_calls')).toBe(2);
  expect(of('openflow_queued_bytes')).toBe(10);
  expect(of('info{version="0.1.0",datapath="netdev",ovs_version="3.1.0"}')).toBe(1);
  expect(series.get('process_start_time_seconds')).toBeGreaterThan(0);
  expect(series.has('nodejs_eventloop_lag_p99_seconds')).toBe(true);
});

test('every name is as Prometheus wants it, with a help text and a type', async () => {
  const text = await new Metrics(agent).render();
  const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name = '', type = '']) => ({ name, type }));
  for (const { name, type } of types.filter((each) => each.name.startsWith('daolinet_'))) {
    expect(name).toMatch(/^daolinet_[a-z][a-z0-9_]*$/);
    expect(`${name} ${name.endsWith('_total') ? 'counter' : 'gauge'}`).toBe(`${name} ${type}`);
    expect(text).toMatch(new RegExp(`^# HELP ${name} [A-Z0-9].*\\.$`, 'm'));
  }
  expect(new Set(types.map(({ name }) => name)).size).toBe(types.length);
});

test('every counter of the controller is shown, a new one under its own name', async () => {
  const shown = [...(await scrape())].length;
  agent.counted['somethingNew'] = 12;
  const series = await scrape();
  expect(series.get('daolinet_something_new_total')).toBe(12);
  expect(series.size).toBe(shown + 1);
  const keys = Object.keys(newCounters()).length;
  expect([...series.keys()].filter((name) => /^daolinet_\w+_total/.test(name)).length).toBeGreaterThanOrEqual(keys);
});

test('the same agent can be asked again; the number of series does not grow with containers', async () => {
  const metrics = new Metrics(agent);
  const before = [...(await scrape(metrics)).keys()].filter((name) => name.startsWith('daolinet_'));
  const { h1 } = await createSmallCluster();
  for (let n = 10; n < 40; n += 1) await addContainer(h1, `c${n}`, 'red', `10.1.0.${n}`);
  const after = await scrape(new Metrics({ ...agent, view: h1.view }));
  expect([...after.keys()].filter((name) => name.startsWith('daolinet_'))).toEqual(before);
  expect(after.get('daolinet_endpoints{state="joined"}')).toBe(34);
});

test('an agent that waits for something says so', async () => {
  agent.state = 'waiting for Open vSwitch';
  const series = await scrape(new Metrics({ ...agent, view: undefined, counters: () => Promise.resolve({}) }));
  expect(series.get('daolinet_ready')).toBe(0);
  expect(series.has('daolinet_networks')).toBe(false);
});

describe('the dashboard', () => {
  interface Panel {
    readonly title: string;
    readonly id: number;
    readonly targets?: readonly { readonly expr: string }[];
  }
  const { panels, uid } = JSON.parse(readFileSync(DASHBOARD, 'utf8')) as { panels: Panel[]; uid: string };
  const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

  test('every metric in it exists', async () => {
    const names = new Set([...(await scrape()).keys()].map((name) => name.replace(/\{.*/, '')));
    const asked = queries.flatMap((query) => query.match(/\b(?:daolinet|nodejs|process)_\w+/g) ?? []);
    expect(asked.length).toBeGreaterThan(15);
    expect(asked.filter((name) => !names.has(name))).toEqual([]);
  });

  test('every counter in it is asked for its rate, every panel has a query and an id of its own', () => {
    expect(uid).toBe('daolinet');
    for (const query of queries) {
      for (const [name] of query.matchAll(/\w+_total\b/g))
        expect(query).toMatch(new RegExp(`(rate|increase)\\(${name}`));
    }
    expect(panels.filter(({ targets = [] }) => targets.length === 0)).toEqual([]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  });
});
