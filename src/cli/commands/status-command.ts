// daolictl status: how the agent of a host is, on one page.

import type { Command } from 'commander';
import type { ClusterStatus } from '../../api/operations/cluster';
import type { ShownNetwork } from '../../api/operations/networks';
import type { AgentStatus } from '../../api/operations/status';
import { withExamples, type CommandContext } from '../command-context';

export function statusCommand(daolictl: Command, context: CommandContext): void {
  withExamples(daolictl.command('status'), 'daolictl status', 'daolictl --output json status')
    .description('show how the agent of this host is: version, state, networks, endpoints, routes, cluster')
    .action(
      context.action(async () => {
        const client = context.client();
        const status = await client.get<AgentStatus>('/v1/status');
        const [cluster, counters, networks] = await Promise.all([
          client.get<ClusterStatus>('/v1/cluster'),
          client.get<Record<string, number>>('/v1/counters'),
          // Not to be had before the agent has its directory.
          client.get<ShownNetwork[]>('/v1/networks').catch(() => undefined),
        ]);
        const value = { ...status, ...summaryOf(cluster, counters, networks) };
        return { value, text: lines(value) };
      }),
    );
}

interface Summary {
  readonly networks: number | null;
  readonly endpoints: number | null;
  readonly endpointsHere: number | null;
  readonly routes: number | null;
  readonly datapathConnected: boolean;
  readonly cluster: {
    readonly hosts: number;
    readonly servers: number;
    readonly role: 'server' | 'client';
    readonly directoryConnected: boolean;
  } | null;
  readonly directoryConnected: boolean;
}

function summaryOf(
  { cluster, hosts, connected }: ClusterStatus,
  counters: Readonly<Record<string, number>>,
  networks: readonly ShownNetwork[] | undefined,
): Summary {
  const here = hosts.find(({ isThis }) => isThis);
  return {
    networks: networks?.length ?? null,
    endpoints: counters['endpoints'] ?? null,
    endpointsHere: here?.endpoints ?? null,
    routes: counters['routes'] ?? null,
    datapathConnected: (counters['datapaths'] ?? 0) > 0,
    directoryConnected: connected,
    cluster: cluster && {
      hosts: hosts.length,
      servers: hosts.filter(({ isServer }) => isServer).length,
      role: cluster.isServer ? 'server' : 'client',
      directoryConnected: connected,
    },
  };
}

function lines(value: AgentStatus & Summary): string {
  const { cluster, endpointsHere, endpoints } = value;
  const datapath = `${value.ovsVersion}, ${value.datapath} datapath`;
  const rows: [string, string][] = [
    ['host', value.host],
    ['version', value.version],
    ['state', value.state],
    ['Open vSwitch', value.datapathConnected ? datapath : `${datapath}, not connected`],
    ['directory', value.directoryConnected ? 'connected' : 'away; routes go on, and new ones between known containers'],
    ...chargeRows(value),
    ['networks', shown(value.networks)],
    ['endpoints', endpointsHere === null ? shown(endpoints) : `${endpointsHere} here, ${shown(endpoints)} known`],
    ['routes', value.routes === 1 ? '1 pair talks' : `${shown(value.routes)} pairs talk`],
    ['cluster', cluster === null ? 'none' : `${cluster.role}; hosts: ${cluster.hosts}, servers: ${cluster.servers}`],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, text]) => `${`${label}:`.padEnd(width + 2)}${text}`).join('\n');
}

/** Who stands by for whom; nothing where this host is alone. */
function chargeRows({ host, charges: { master, obstacle, backups, standsBy } }: AgentStatus): [string, string][] {
  const named = (each: { readonly host: string; readonly isConnected: boolean }) =>
    each.isConnected ? each.host : `${each.host} (not connected)`;
  const masters = standsBy.filter(({ isMaster }) => isMaster).map((each) => each.host);
  const inCharge = masters.length === 0 ? '' : `; in charge of ${masters.join(', ')}`;
  return [
    ...(master === host ? [] : [['in charge', master ?? 'nobody'] satisfies [string, string]]),
    ...(obstacle === null ? [] : [['no backups', obstacle] satisfies [string, string]]),
    ...(backups.length === 0 ? [] : [['backups', backups.map(named).join(', ')] satisfies [string, string]]),
    ...(standsBy.length === 0
      ? []
      : [['stands by for', standsBy.map(named).join(', ') + inCharge] satisfies [string, string]]),
  ];
}

function shown(number: number | null): string {
  return number === null ? '-' : String(number);
}
