// What is shown of the cluster, as this host sees it: what it is there itself, the hosts and how it reaches each, and those that
// wait to be let in. Pure.

import { formatAddressPort } from '../base/address-port';
import { formatCidr, formatIpv4 } from '../base/addresses';
import { dnsAddressOf } from '../directory/allocation';
import { wayOf, type Way } from '../directory/reach';
import type { HostRow, NoL2 } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { L2Setting } from '../directory/tunnel-operations';
import type { DirectoryView } from '../directory/view';
import { waitingHosts } from './approval';
import type { MemberStatus } from './directory-server';
import type { ClusterFacts } from './files';
import { toldTunnel } from './own-address';
import { seenFrom } from './sites';

/** A host as `daolictl host ls` shows it. */
export interface ShownHost {
  readonly name: string;
  readonly address: string | null;
  readonly site: string;
  readonly isServer: boolean;
  readonly isHub: boolean;
  /** Whether its packets are encrypted inside of its site, too. */
  readonly encrypts: boolean;
  /** Of its plugin; null where that is from before hosts told theirs. */
  readonly version: string | null;
  /** Where other sites reach it; null behind NAT, and where it has not told that. */
  readonly endpoint: string | null;
  /** How this host reaches it, as far as the directory says. */
  readonly way: Way['kind'] | null;
  /** Whether it shares no L2 with its site, and who says so; null: as far as is known it shares that. */
  readonly noL2: Exclude<NoL2, false> | null;
  /** Through which hubs, where it is through one. */
  readonly hubs: readonly string[];
  /** Null where that is not known: on a client, and on a server that is away from the others. */
  readonly member: 'leader' | 'follower' | 'joining' | null;
  /** The host whose controller is in charge of its datapath; null while it is nobody's, or it has told nothing. */
  readonly master: string | null;
  readonly isThis: boolean;
  readonly locators: readonly string[];
  /** Null where this host does not know all endpoints of that one. */
  readonly endpoints: number | null;
}

/** Somebody has to let it in, or not; `from` is where its connection comes from. */
export interface WaitingHost {
  readonly name: string;
  readonly address: string;
  readonly from: string;
  readonly site: string;
  readonly isHub: boolean;
  /** Milliseconds since 1970. */
  readonly since: number;
}

export interface ClusterStatus {
  /** When this agent began, milliseconds since 1970: one that has started anew is another. */
  readonly startedAt: number;
  /** Null where this host is in no cluster. */
  readonly cluster: {
    readonly servers: readonly string[];
    readonly isServer: boolean;
    /** Where containers ask for names of those on other hosts. */
    readonly dns: string;
    /** This host's own. */
    readonly site: string;
    /** Where other sites reach this host; null behind NAT. */
    readonly endpoint: string | null;
    readonly l2: L2Setting;
  } | null;
  /** Whether the directory is there at present. */
  readonly connected: boolean;
  /** Hosts that somebody has to let in. */
  readonly waiting: readonly WaitingHost[];
  readonly hosts: readonly ShownHost[];
}

type Store = Pick<DirectoryStore, 'view' | 'host' | 'connected'>;

/** `raft`: what this host's own database says of the servers; undefined where it is none, or does not answer. */
export function showStatus(
  store: Store,
  facts: ClusterFacts | undefined,
  raft: MemberStatus | undefined,
  { startedAt, nowMs }: { readonly startedAt: number; readonly nowMs: number },
): ClusterStatus {
  const hosts = [...store.view.hosts()].map((row) => showHost(store, row, raft));
  return {
    startedAt,
    cluster: facts === undefined ? null : showOwnPart(facts),
    connected: store.connected,
    waiting: showWaiting(store.view, nowMs),
    hosts: hosts.sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
}

function showOwnPart(facts: ClusterFacts): ClusterStatus['cluster'] {
  const { endpoint, l2 } = toldTunnel(facts);
  return {
    servers: seenFrom(facts.site, facts.servers).map(({ address }) => formatIpv4(address)),
    isServer: facts.authority.key !== undefined,
    dns: formatIpv4(dnsAddressOf(facts.locatorRange)),
    site: facts.site,
    endpoint: endpoint ? formatAddressPort(endpoint) : null,
    l2,
  };
}

function showHost(store: Store, row: HostRow, raft: MemberStatus | undefined): ShownHost {
  const { view, host } = store;
  return {
    name: row.name,
    address: row.address === undefined ? null : formatIpv4(row.address),
    site: row.site,
    isServer: row.isServer,
    isHub: row.isHub,
    encrypts: row.encrypts,
    version: row.version ?? null,
    ...wayTo(store, row),
    member: memberOf(row, raft),
    master: view.switchOf(row.name)?.master ?? null,
    isThis: row.name === host,
    locators: row.locatorBlocks.map(formatCidr),
    endpoints: view.isWhole || row.name === host ? [...view.endpointsOn(row.name)].length : null,
  };
}

function wayTo({ view, host }: Store, row: HostRow): Pick<ShownHost, 'endpoint' | 'way' | 'noL2' | 'hubs'> {
  const { endpoint, noL2 } = view.tunnel(row.name) ?? {};
  const way = wayOf(view, host, row);
  return {
    endpoint: endpoint ? formatAddressPort(endpoint) : null,
    way: way?.kind ?? null,
    noL2: noL2 || null,
    hubs: way?.hubs ?? [],
  };
}

function memberOf({ isServer, datapathId }: HostRow, raft: MemberStatus | undefined): ShownHost['member'] {
  if (!isServer || raft === undefined) return null;
  if (!raft.members.includes(datapathId)) return 'joining';
  return raft.leader === datapathId ? 'leader' : 'follower';
}

function showWaiting(view: DirectoryView, nowMs: number): WaitingHost[] {
  const rows = waitingHosts({ view, nowMs }).filter(({ verdict }) => verdict === undefined);
  return rows.map(({ name, address, from, site, isHub, since }) => {
    return { name, address: formatIpv4(address), from: formatIpv4(from), site, isHub, since };
  });
}
