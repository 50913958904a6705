// Finds the facts that the doctor judges: of this host from its own parts, of other hosts by knocking at their doors and, on a
// server, by asking their agents. What cannot be found out is a fact, too.

import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { release } from 'node:os';
import { z } from 'zod';
import { cidrHolds, formatCidr, formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import { FRONT_PORT } from '../cluster/front';
import { doorOf } from '../cluster/sites';
import { hostLocator } from '../directory/allocation';
import { reachOf } from '../directory/reach';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { Docker } from '../docker/docker';
import { LINK_NAME, linkNamesOf } from '../driver/link-names';
import { ENDPOINT_KEY } from '../driver/ports';
import type { FlowHost } from '../flowctl/model';
import type { Host } from '../host/host';
import type { SwitchPort } from '../switch/ports';
import { askHost, findingOf } from '../tunnel/l2-watch';
import type {
  ChargeFacts,
  DatabaseFacts,
  DockerFacts,
  DoctorFacts,
  TunnelFacts,
  FabricFacts,
  KernelFacts,
  LeakFacts,
  LocatorFacts,
  OvsFacts,
  PeerFacts,
  Unknown,
  VersionFacts,
} from './doctor-checks';
import { labelOf } from './prediction';

/** Open vSwitch and its controller, as far as they are looked at. */
export interface SeenPlane {
  readonly datapath: string;
  readonly ovsVersion: string | undefined;
  readonly flowHost: FlowHost | undefined;
  readonly isConnected: boolean;
  /** How many operations would set the bridge right, and targets of controllers that are not this agent. */
  inspect(): { readonly differences: number; readonly otherControllers: readonly string[] };
  ports(): readonly SwitchPort[];
  /** Whether the datapath of the host with this locator answers over the fabric. */
  probeFabric(locator: Ipv4, timeoutMs: number): Promise<boolean>;
}

/** Another host's agent. */
export interface SeenAgent {
  get<S extends z.ZodType>(path: string, schema: S, options?: { readonly timeoutMs?: number }): Promise<z.output<S>>;
}

/** This host's cluster. */
export interface SeenCluster {
  status(): Promise<{
    readonly cluster: { readonly isServer: boolean; readonly servers: readonly string[] } | null;
    readonly hosts: readonly { readonly isServer: boolean; readonly member: string | null }[];
  }>;
  /** Of this host's certificate; undefined outside of a cluster. */
  readonly certificateDays: number | undefined;
  /** What is wrong with this host's own address; undefined: nothing. */
  readonly addressProblem: string | undefined;
}

export interface DoctorParts {
  readonly store: DirectoryStore;
  readonly host: Host;
  readonly docker: Pick<Docker, 'listEndpoints' | 'readVersion'>;
  readonly cluster: SeenCluster;
  readonly locatorRange: Cidr;
  /** The one interface of ours that has locators: "daoli0". */
  readonly plane: () => SeenPlane | undefined;
  readonly agentState: () => string;
  readonly charges: () => Pick<ChargeFacts, 'master' | 'obstacle' | 'backups'>;
  /** Throws where this host may not ask others. */
  readonly remote: (host: string) => SeenAgent;
  /**
   * For how long a host's datapath has answered others over the fabric, this host's where none is named; undefined where it does
   * not, or cannot be asked.
   */
  readonly standsMs: (host?: string) => Promise<number | undefined>;
  /** Of the directory's file. */
  readonly databasePath: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** What is in the way to the door at an address; undefined: nothing. */
  readonly knock: (address: string) => Promise<string | undefined>;
  /** How large packets through tunnels may be, and the hosts that this one has a tunnel to. */
  readonly tunnels: () => { readonly mtu: number; readonly hosts: readonly string[] };
  /** Of container interfaces, where a network says nothing else. */
  readonly mtu: number;
}

const KNOCK_MS = 3_000;
const PING_MS = 1_500;
const LARGE_ANSWER_MS = 5_000;
/** Hosts that are asked at a time, and in all. */
const CONCURRENT = 16;
const MAX_PEERS = 256;

/** Longer than several packets of full size. */
const LARGE_PATH = '/v1/openapi.json';
const CLOCK = z.object({ time: z.string() });

export async function findFacts(parts: DoctorParts): Promise<DoctorFacts> {
  const [kernel, docker, database, locators, fabric, tunnels, leaks] = await Promise.all([
    findKernel(parts),
    orUnknown(findDocker(parts)),
    findDatabase(parts),
    orUnknown(findLocators(parts)),
    findFabric(parts),
    findTunnels(parts),
    orUnknown(findLeaks(parts)),
  ]);
  return {
    state: parts.agentState(),
    versions: findVersions(parts),
    kernel,
    ovs: findOvs(parts),
    docker,
    database,
    locators,
    fabric,
    tunnels,
    charges: findCharges(parts),
    certificateDays: parts.cluster.certificateDays,
    addressProblem: parts.cluster.addressProblem,
    leaks,
  };
}

function findVersions({ store }: DoctorParts): VersionFacts {
  const hosts = [...store.view.hosts()].map(({ name, version }) => ({ host: name, version }));
  return hosts.sort((a, b) => (a.host < b.host ? -1 : 1));
}

function findCharges({ store, charges }: DoctorParts): ChargeFacts {
  const { master, obstacle, backups } = charges();
  return { host: store.host, master, obstacle, backups, others: [...store.view.hosts()].length - 1 };
}

async function orUnknown<T>(fact: Promise<T>): Promise<T | Unknown> {
  return fact.catch((error: unknown) => ({ problem: messageOf(error) }));
}

async function findKernel({ host, plane }: DoctorParts): Promise<KernelFacts> {
  const [ipForward, bridgeNetfilter] = await Promise.all([
    host.kernel.read('net/ipv4/ip_forward'),
    host.kernel.read('net/bridge/bridge-nf-call-iptables'),
  ]);
  const datapath = plane()?.datapath ?? 'unknown';
  return {
    release: release(),
    hasOpenvswitch: existsSync('/sys/module/openvswitch'),
    datapath,
    ipForward,
    bridgeNetfilter,
  };
}

function findOvs({ plane }: DoctorParts): OvsFacts | Unknown {
  const seen = plane();
  if (seen === undefined) return { problem: 'it does not answer, or not yet' };
  try {
    return { version: seen.ovsVersion ?? 'unknown', isConnected: seen.isConnected, ...seen.inspect() };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

async function findDocker({ docker, host }: DoctorParts): Promise<DockerFacts> {
  const [version, filter] = await Promise.all([docker.readVersion(), host.firewall.inspect()]);
  return { version, ...filter };
}

async function findDatabase({ store, cluster, databasePath }: DoctorParts): Promise<DatabaseFacts> {
  const { cluster: own, hosts } = await cluster.status();
  const servers = hosts.filter(({ isServer }) => isServer);
  // Of the Raft only its members know.
  const isMember = servers.some(({ member }) => member !== null);
  return {
    isConnected: store.connected,
    isInCluster: own !== null,
    isServer: own?.isServer ?? false,
    servers: servers.length,
    members: isMember ? servers.filter(({ member }) => member === 'leader' || member === 'follower').length : null,
    hasLeader: isMember ? servers.some(({ member }) => member === 'leader') : null,
    // A client's is from the time before it joined.
    bytes: own?.isServer === false ? undefined : (await stat(databasePath).catch(() => undefined))?.size,
  };
}

async function findLocators({ store, host, locatorRange }: DoctorParts): Promise<LocatorFacts> {
  const hosts = [...store.view.hosts()];
  const found = (await host.links.hostAddresses()).filter(({ address }) => cidrHolds(locatorRange, address));
  return {
    range: formatCidr(locatorRange),
    isInCluster: store.view.host(store.host)?.address !== undefined,
    foreign: found.map(({ device, address }) => ({
      device,
      address: formatIpv4(address),
      host: hosts.find(({ locatorBlocks }) => locatorBlocks.some((block) => cidrHolds(block, address)))?.name,
    })),
  };
}

async function findFabric(parts: DoctorParts): Promise<FabricFacts> {
  const { store, plane, mtu } = parts;
  const fabric = plane()?.flowHost?.fabric;
  const others = [...store.view.hosts()].filter(({ name, address }) => name !== store.host && address !== undefined);
  const largestMtu = [...store.view.networks()].reduce((most, network) => Math.max(most, network.mtu), mtu);
  const peers = await inParallel(others.slice(0, MAX_PEERS), (row) => findPeer(parts, row));
  const hasPeers = others.some((other) => reachOf(store.view, store.host, other) === 'fabric');
  const noL2 = store.view.tunnel(store.host)?.noL2 ?? false;
  return { noL2, hasPeers, isThere: fabric !== undefined, mtu: fabric?.mtu, largestMtu, peers };
}

async function findPeer(parts: DoctorParts, row: HostRow): Promise<PeerFacts> {
  const { store, locatorRange } = parts;
  const { name } = row;
  const address = doorOf(store.view, store.host, row, locatorRange);
  const text = address === undefined ? undefined : formatIpv4(address);
  const doorProblem = text === undefined ? 'no way leads there yet' : await parts.knock(text);
  const answersOnFabric = doorProblem === undefined ? await askOnFabric(parts, row) : null;
  const unasked = { name, address: text, doorProblem, answersOnFabric, sizeProblem: null, clockOffsetMs: null };
  if (doorProblem !== undefined || answersOnFabric === false) return unasked;
  let agent: SeenAgent;
  try {
    agent = parts.remote(name);
  } catch {
    return unasked;
  }
  const sizeProblem = await agent.get(LARGE_PATH, z.unknown(), { timeoutMs: LARGE_ANSWER_MS }).then(
    () => undefined,
    // It answers, but is too old to be asked: checkVersions() has that.
    (error: unknown) => (error instanceof DaoliError && error.code === 'conflict' ? null : messageOf(error)),
  );
  if (sizeProblem === null) return unasked;
  return { ...unasked, sizeProblem, clockOffsetMs: await clockOffset(parts, agent) };
}

/** Silence counts where the other's datapath is there to answer, as its agent says, and this host's own is there to hear it. */
async function askOnFabric(
  { store, plane, locatorRange, standsMs }: DoctorParts,
  row: HostRow,
): Promise<boolean | null> {
  const locator = hostLocator(row, locatorRange);
  if (locator === undefined || reachOf(store.view, store.host, row) !== 'fabric') return null;
  const probe = async (_host: string, timeoutMs: number) => (await plane()?.probeFabric(locator, timeoutMs)) === true;
  const finding = findingOf([await askHost(row.name, { probe, standsMs })], await standsMs());
  return finding === 'unknown' ? null : finding === 'shared';
}

/** Against the middle of the time that the answer took. */
async function clockOffset({ now }: DoctorParts, agent: SeenAgent): Promise<number | null> {
  const start = now();
  const theirs = await agent.get('/v1/status', CLOCK, { timeoutMs: LARGE_ANSWER_MS }).catch(() => undefined);
  const time = Date.parse(theirs?.time ?? '');
  return Number.isNaN(time) ? null : time - (start + now()) / 2;
}

/** Pings the hosts at the other ends of this one's tunnels. */
function findTunnels({ store, host, locatorRange, tunnels }: DoctorParts): Promise<TunnelFacts[]> {
  const { mtu, hosts } = tunnels();
  const locatorOf = (name: string) => {
    const row = store.view.host(name);
    return row && hostLocator(row, locatorRange);
  };
  const source = locatorOf(store.host);
  const ends = hosts.slice(0, MAX_PEERS).flatMap((name) => {
    const address = locatorOf(name);
    return address === undefined ? [] : [{ name, address }];
  });
  return inParallel(ends, async ({ name, address }): Promise<TunnelFacts> => {
    const ping = (size: { packetBytes?: number }) =>
      host.tunnels.probe({ address, ...(source && { source }), timeoutMs: PING_MS, ...size });
    const isFull = (await ping({ packetBytes: mtu })) !== undefined;
    const passes = isFull ? 'full' : (await ping({})) === undefined ? 'nothing' : 'small';
    return { name, locator: formatIpv4(address), mtu, passes };
  });
}

/** By a TCP connection that ends at once. */
export function knockAtDoor(address: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: FRONT_PORT });
    const end = (problem: string | undefined) => {
      socket.destroy();
      resolve(problem);
    };
    socket.setTimeout(KNOCK_MS, () => end(`no answer within ${KNOCK_MS / 1000} s`));
    socket.on('error', (error) => end(error.message));
    socket.on('connect', () => end(undefined));
  });
}

async function findLeaks({ store, host, docker, plane }: DoctorParts): Promise<LeakFacts> {
  const [links, listed] = await Promise.all([host.links.listLinks(), docker.listEndpoints()]);
  const ports = plane()?.ports() ?? [];
  // Read last: what is just being made has its row first.
  const rows = [...store.view.endpointsOn(store.host)];
  const own = new Set(
    rows.flatMap(({ id, interfaceName }) => [linkNamesOf(id).host, linkNamesOf(id).container, interfaceName]),
  );
  const ids = new Set<string>(rows.map(({ id }) => id));
  const known = new Set(listed.map(({ endpointId }) => endpointId));
  return {
    links: links.map(({ name }) => name).filter((name) => LINK_NAME.test(name) && !own.has(name)),
    ports: ports
      .filter(({ externalIds }) => externalIds.has(ENDPOINT_KEY) && !ids.has(externalIds.get(ENDPOINT_KEY) ?? ''))
      .map(({ name }) => name),
    endpoints: rows.filter(({ id, sandbox }) => sandbox !== undefined && !known.has(id)).map(labelOf),
  };
}

async function inParallel<T, R>(items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  const left = items.entries();
  const work = async (): Promise<void> => {
    for (const [index, item] of left) results[index] = await task(item);
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENT, items.length) }, work));
  return results;
}
