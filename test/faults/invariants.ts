// What has to hold whatever happened, once all is whole again: nobody shares an address, what Docker runs is in the directory, and
// nothing else is anywhere. Each check says what is wrong, or nothing.

import { isDeepStrictEqual } from 'node:util';
import type { Host } from '../../lab/host';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import type { ShownEndpoint } from '../../src/api/operations/networks';
import type { ShownPairState } from '../../src/api/operations/pairs';
import type { AgentStatus } from '../../src/api/operations/status';
import type { Churn } from './churn';
import { NETWORKS, type Stage } from './stage';

const ASK_MS = 10_000;
const FORMAT = `{{.Name}}{{range $network, $end := .NetworkSettings.Networks}} {{$network}} {{$end.IPAddress}}{{end}}`;
/** What the bridge has beside containers. */
const OWN_PORTS = ['daoli0', 'daoli-fab'];
/** Between two addresses, as long as they talk. */
const ROUTE = /idle_timeout=\d+.*nw_src=.*nw_dst=/;

/** Whether a host's agent works, with its directory. */
export async function isReady(stage: Stage, host: Host): Promise<string | undefined> {
  const ask = async <T>(path: string): Promise<T | undefined> => {
    try {
      return await stage.api(host).get<T>(path, { timeoutMs: ASK_MS });
    } catch {
      return undefined;
    }
  };
  const status = await ask<AgentStatus>('/v1/status');
  if (status?.state !== 'ready') return `the agent of ${host.name} is ${status?.state ?? 'away'}`;
  const cluster = await ask<ClusterStatus>('/v1/cluster');
  return cluster?.connected === true ? undefined : `${host.name} is without its directory`;
}

/** Whether all that should be servers are, by whoever leads them. */
export async function areServersWhole(stage: Stage): Promise<string | undefined> {
  const leader = await stage.leader();
  const { hosts } = await stage.api(leader).get<ClusterStatus>('/v1/cluster', { timeoutMs: ASK_MS });
  const away = hosts.filter(({ isServer, member }) => isServer && member !== 'leader' && member !== 'follower');
  return away.length === 0 ? undefined : `${away.map(({ name }) => name).join(', ')} does not serve the directory`;
}

interface Found {
  /** "NAME NETWORK ADDRESS" of each container, as Docker has it, and as the directory has it. */
  readonly containers: readonly string[];
  readonly endpoints: readonly ShownEndpoint[];
  /** Of all hosts, as this one knows them. */
  readonly known: readonly ShownEndpoint[];
  readonly links: readonly string[];
  readonly ports: readonly string[];
  /** Of routes, in the text of ovs-ofctl. */
  readonly routes: readonly string[];
}

async function find(stage: Stage, host: Host): Promise<Found> {
  const lines = async (script: string) => (await host.exec('sh', ['-c', script])).split('\n').filter(Boolean).sort();
  const running = await lines(`docker ps -q | xargs -r docker inspect --format '${FORMAT}'`);
  const known = await stage.api(host).get<ShownEndpoint[]>('/v1/endpoints');
  return {
    containers: running.map((line) => line.replace(/^\//, '')),
    endpoints: known.filter((each) => each.host === host.name),
    known,
    links: await lines("ls /sys/class/net | grep '^dl' || true"),
    ports: (await lines('ovs-vsctl list-ports br-int')).filter((name) => !OWN_PORTS.includes(name)),
    routes: (await lines('ovs-ofctl -O OpenFlow14 --names dump-flows br-int')).filter((flow) => ROUTE.test(flow)),
  };
}

/** Routes from a port that no container has, or to an address that nobody has there. */
function staleRoutes(host: string, { routes, endpoints }: Found, everywhere: readonly ShownEndpoint[]): string[] {
  const tenants = new Map(endpoints.map((endpoint) => [endpoint.interface, endpoint.tenant]));
  const locators = new Set(endpoints.map(({ locator }) => locator));
  const isStale = (flow: string): boolean => {
    const [inPort = '', to] = [/in_port="?([\w-]+)/, /nw_dst=([\d.]+)/].map((pattern) => pattern.exec(flow)?.[1]);
    if (OWN_PORTS.includes(inPort)) return to === undefined || !locators.has(to);
    const tenant = tenants.get(inPort);
    return tenant === undefined || !everywhere.some((each) => each.tenant === tenant && each.address === to);
  };
  return routes.filter(isStale).map((flow) => `${host}: a route of nobody, ${flow.trim()}`);
}

/** What is left over, or missing, on any host. */
export async function differences(stage: Stage): Promise<string[]> {
  const all = await Promise.all(stage.hosts.map(async (host) => [host.name, await find(stage, host)] as const));
  const everywhere = all.flatMap(([, { known }]) => known);
  const problems = all.flatMap(([name, found]) => {
    const { containers, endpoints, links, ports } = found;
    const rows = endpoints
      .map(({ container, tenant, address }) => `${container} ${networkOf(tenant)} ${address}`)
      .sort();
    const interfaces = endpoints.map((endpoint) => endpoint.interface).sort();
    return [
      ...difference(`${name}: containers`, containers, 'rows of the directory', rows),
      ...difference(`${name}: ports of the bridge`, ports, 'interfaces of rows', interfaces),
      ...difference(`${name}: links`, links, 'interfaces of rows', interfaces),
      ...staleRoutes(name, found, everywhere),
    ];
  });
  return [...problems, ...shared(all.flatMap(([, { containers }]) => containers))];
}

/** Whether every host thinks of each pair what was answered last. Where an answer was lost, they have to agree. */
export async function pairProblems(stage: Stage, churn: Churn): Promise<string[]> {
  const problems: string[] = [];
  for (const [path, answered] of churn.pairs) {
    const states = await Promise.all(
      stage.hosts.map(async (host) => (await stage.api(host).get<ShownPairState>(path)).connected),
    );
    const wanted = answered ?? states[0];
    if (states.some((state) => state !== wanted))
      problems.push(`${path}: ${String(wanted)} was answered, hosts say ${states.join(', ')}`);
  }
  return problems;
}

/** What an agent only says when it has a fault of its own. */
export async function crashes(host: Host): Promise<string[]> {
  const pattern = 'TypeError|ReferenceError|RangeError|nhandled|ncaught';
  const { stdout } = await host.tryExec('sh', [
    '-c',
    `grep -hE 'plugin=.*(${pattern})' /var/log/daolinet/dockerd.log || true`,
  ]);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => `${host.name}: ${line.slice(0, 300)}`);
}

function networkOf(tenant: string): string {
  return Object.entries(NETWORKS).find(([, each]) => each === tenant)?.[0] ?? tenant;
}

function difference(what: string, one: readonly string[], others: string, other: readonly string[]): string[] {
  if (isDeepStrictEqual(one, other)) return [];
  const [more, less] = [one.filter((each) => !other.includes(each)), other.filter((each) => !one.includes(each))];
  return [
    `${what} that are no ${others}: ${more.join('; ') || 'none'}; the other way round: ${less.join('; ') || 'none'}`,
  ];
}

/** Addresses that two have in one network. */
function shared(containers: readonly string[]): string[] {
  const holders = new Map<string, string>();
  return containers.flatMap((line) => {
    const [name = '', ...place] = line.split(' ');
    const [address, before] = [place.join(' '), holders.get(place.join(' '))];
    holders.set(address, name);
    return before === undefined ? [] : [`${address} is ${before}'s and ${name}'s`];
  });
}
