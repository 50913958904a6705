// What Prometheus reads at /metrics. Everything is looked up when it is asked for: whoever asks nobody costs nothing. Labels are
// reasons and results, never containers, networks or addresses, so that the number of series does not grow with them.

import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import { endpointState } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { Charges } from './operations/status';

/** What the agent counts besides packets. */
export interface AgentGauges {
  /** Calls of Docker's, and the reconciler's own, that run or wait for one another. */
  readonly calls: number;
  /** Bytes for Open vSwitch that it has not taken yet. */
  readonly openflowQueuedBytes: number;
  /** Words to other hosts that did not leave: monotonic. */
  readonly wordsDropped: number;
  /** How often this host became master of another's datapath: monotonic. */
  readonly takeovers: number;
  readonly directory: {
    readonly connected: boolean;
    /** Monotonic. */
    readonly committed: number;
    readonly failed: number;
    /** Lost races, after each of which it was tried again. */
    readonly repeated: number;
    /** How long all of them took, in milliseconds. */
    readonly tookMs: number;
    /** Under way now. */
    readonly underWay: number;
  };
}

export interface MeasuredAgent {
  readonly view: DirectoryView | undefined;
  status(): {
    readonly version: string;
    readonly host: string;
    readonly state: string;
    readonly datapath: string;
    readonly ovsVersion: string;
    readonly charges: Charges;
  };
  counters(): Promise<Readonly<Record<string, number>>>;
  gauges(): AgentGauges;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly label?: string;
}

export const METRICS_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;
const PREFIX = 'daolinet_';
const DROPPED: Family = {
  name: 'datapath_dropped_packets_total',
  help: 'Packets that the pipeline of the datapath has dropped, by reason.',
  label: 'reason',
};
const UNHANDLED: Family = {
  name: 'controller_unhandled_total',
  help: 'Packets and messages that the controller gave up, by reason.',
  label: 'reason',
};
const WORDS: Family = {
  name: 'words_total',
  help: 'Words between controllers, by what became of them.',
  label: 'what',
};
const ICMP: Family = { name: 'icmp_sent_total', help: 'ICMP errors that the controller has sent.', label: 'type' };
const REWRITTEN: Family = {
  name: 'controller_rewritten_total',
  help: 'Packets that the controller rewrote because no flow can.',
  label: 'what',
};

/** Of a counter of the agent, by its name there: the family, and the label's value. */
const COUNTERS: Readonly<Record<string, readonly [Family, string?]>> = {
  packetIns: [{ name: 'packet_ins_total', help: 'Packets that the datapath has sent to the controller.' }],
  packetOuts: [{ name: 'packet_outs_total', help: 'Packets that the controller has sent to the datapath.' }],
  routesInstalled: [{ name: 'routes_installed_total', help: 'Directions of routes that were installed.' }],
  routesRemoved: [{ name: 'routes_removed_total', help: 'Directions of routes that ended by being idle.' }],
  routesCapped: [{ name: 'routes_capped_total', help: 'Packets that went on without a route, for want of room.' }],
  denied: [{ name: 'denials_total', help: 'First packets that the policy refused.' }],
  wordsTold: [WORDS, 'told'],
  wordsFollowed: [WORDS, 'followed'],
  wordsRefused: [WORDS, 'refused'],
  wordsDropped: [WORDS, 'dropped'],
  unreachable: [ICMP, 'unreachable'],
  timeExceeded: [ICMP, 'time_exceeded'],
  tooLarge: [ICMP, 'fragmentation_needed'],
  noWay: [UNHANDLED, 'no_way'],
  dropsCapped: [UNHANDLED, 'drop_flow'],
  malformed: [UNHANDLED, 'malformed'],
  stale: [UNHANDLED, 'stale'],
  foreign: [UNHANDLED, 'foreign'],
  packetOutsDropped: [UNHANDLED, 'packet_out'],
  packetInsDropped: [UNHANDLED, 'packet_in'],
  icmpErrorsRewritten: [REWRITTEN, 'icmp_error'],
  fragmentsRewritten: [REWRITTEN, 'fragment'],
  errors: [{ name: 'openflow_errors_total', help: 'Errors that the datapath answered with.' }],
  protocolErrors: [{ name: 'openflow_protocol_errors_total', help: 'Connections that ended because of bad messages.' }],
  connections: [{ name: 'openflow_connections_total', help: 'Connections of datapaths.' }],
  flowsRepaired: [{ name: 'flows_repaired_total', help: 'Flows put back or taken away when a datapath connected.' }],
};

/** Numbers among the counters that go up and down. */
const LEVELS: Readonly<Record<string, Family>> = {
  routes: { name: 'routes', help: 'Pairs of endpoints that have a route now.' },
  datapaths: { name: 'datapaths_connected', help: 'Datapaths that are connected and have all of their flows.' },
  endpoints: { name: 'controller_endpoints', help: 'Endpoints that the controller knows, of all hosts.' },
};

/** `droppedSpoofed` → "spoofed". */
const DROPPED_KEY = /^dropped([A-Z]\w*)$/;
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/^_/, '');

/** A counter that has no line above is shown under its own name. */
function familyOf(key: string): readonly [Family, string?] {
  const reason = DROPPED_KEY.exec(key)?.[1];
  if (reason !== undefined) return [DROPPED, snake(reason)];
  return COUNTERS[key] ?? [{ name: `${snake(key)}_total`, help: `The agent’s counter ${key}.` }];
}

export class Metrics {
  /** Made with the first question: the event loop is watched from then on. */
  private registry: Registry | undefined;

  constructor(private readonly agent: MeasuredAgent) {}

  /** The text that Prometheus reads. */
  async render(): Promise<string> {
    this.registry ??= newRegistry();
    const own = new Registry();
    const counters = await this.agent.counters();
    for (const [key, value] of Object.entries(counters)) {
      const level = LEVELS[key];
      if (level !== undefined) gauge(own, level, value);
      else count(own, familyOf(key), value);
    }
    this.addAgent(own);
    addDirectory(own, this.agent.view);
    return `${await own.metrics()}\n${await this.registry.metrics()}`;
  }

  private addAgent(registry: Registry): void {
    const { version, host, state, datapath, ovsVersion, charges } = this.agent.status();
    const info = new Gauge({
      name: `${PREFIX}info`,
      help: 'Always 1: what runs, in its labels.',
      labelNames: ['version', 'datapath', 'ovs_version'],
      registers: [registry],
    });
    info.set({ version, datapath, ovs_version: ovsVersion }, 1);
    gauge(registry, { name: 'ready', help: '1 where the agent has all that it needs.' }, state === 'ready' ? 1 : 0);
    const { calls, openflowQueuedBytes, wordsDropped, takeovers, directory } = this.agent.gauges();
    addCharges(registry, host, charges, takeovers);
    gauge(registry, { name: 'docker_calls', help: 'Calls of Docker that run or wait for one another.' }, calls);
    const queued = { name: 'openflow_queued_bytes', help: 'Bytes that Open vSwitch has not taken yet.' };
    gauge(registry, queued, openflowQueuedBytes);
    count(registry, familyOf('wordsDropped'), wordsDropped);
    const connected = { name: 'directory_connected', help: '1 where the directory’s database is followed.' };
    gauge(registry, connected, directory.connected ? 1 : 0);
    const transactions: Family = {
      name: 'directory_transactions_total',
      help: 'Transactions of the directory, by result; a repeated one had lost a race.',
      label: 'result',
    };
    for (const result of ['committed', 'failed', 'repeated'] as const) {
      count(registry, [transactions, result], directory[result]);
    }
    const took = { name: 'directory_transaction_seconds_total', help: 'How long all transactions took together.' };
    count(registry, [took], directory.tookMs / 1000);
    const underWay = { name: 'directory_transactions_under_way', help: 'Transactions that are not answered yet.' };
    gauge(registry, underWay, directory.underWay);
  }
}

function addCharges(registry: Registry, host: string, { master, backups, standsBy }: Charges, takeovers: number): void {
  const own = { name: 'own_datapath_master', help: '1 where this host is master of its own datapath.' };
  gauge(registry, own, master === host ? 1 : 0);
  const connected = { name: 'backups_connected', help: 'Hosts that stand by, and that Open vSwitch has reached.' };
  gauge(registry, connected, backups.filter(({ isConnected }) => isConnected).length);
  const others = { name: 'foreign_datapaths_master', help: 'Datapaths of other hosts that this one is master of.' };
  gauge(registry, others, standsBy.filter(({ isMaster }) => isMaster).length);
  const times: Family = { name: 'takeovers_total', help: 'How often this host became master of another’s datapath.' };
  count(registry, [times], takeovers);
}

function addDirectory(registry: Registry, view: DirectoryView | undefined): void {
  if (view === undefined) return;
  gauge(registry, { name: 'networks', help: 'Networks of the cluster.' }, [...view.networks()].length);
  gauge(registry, { name: 'hosts', help: 'Hosts of the cluster.' }, [...view.hosts()].length);
  const states = { joined: 0, created: 0 };
  for (const endpoint of view.endpoints()) states[endpointState(endpoint)] += 1;
  const known = {
    name: 'endpoints',
    help: 'Endpoints in the directory, as far as this host knows them.',
    label: 'state',
  };
  for (const [state, number] of Object.entries(states)) gauge(registry, known, number, state);
}

function newRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  return registry;
}

function count(registry: Registry, [family, value]: readonly [Family, string?], number: number): void {
  const found = registry.getSingleMetric(PREFIX + family.name);
  const metric = found instanceof Counter ? found : new Counter(configuration(registry, family));
  metric.inc(labels(family, value), number);
}

function gauge(registry: Registry, family: Family, number: number, value?: string): void {
  const found = registry.getSingleMetric(PREFIX + family.name);
  const metric = found instanceof Gauge ? found : new Gauge(configuration(registry, family));
  metric.set(labels(family, value), number);
}

function configuration(registry: Registry, { name, help, label }: Family) {
  return { name: PREFIX + name, help, labelNames: label === undefined ? [] : [label], registers: [registry] };
}

function labels({ label }: Family, value: string | undefined): Record<string, string> {
  return label === undefined || value === undefined ? {} : { [label]: value };
}
