// Where faults happen: hosts of one cluster, with two tenants that have the same subnet, and containers that are there all along.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { joinAll, startHosts, stopCluster, untilNetwork, type LabCluster } from '../../lab/cluster';
import { IMAGE, waitFor, type Host } from '../../lab/host';
import { Site } from '../../lab/site';
import { ApiClient } from '../../src/cli/api-client';
import type { ClusterStatus } from '../../src/cluster/cluster-status';
import { lendPrograms, NODE, WITH_PROGRAMS } from '../e2e/support/peers';
import { LOAD_PROGRAM, type LoadPeer, type LoadTask } from './load-program';
import type { Pairing } from './measure';

/** Two networks of two tenants with the same subnet. */
export const NETWORKS = { load: 'red', other: 'blue' } as const;
const SUBNET = '10.50.0';
/** Longer than a route without traffic stays, so that each connection needs a new one. */
const PERIOD_MS = 4000;
/** A host that is gone without a word is waited for before an agent answers how its cluster is. */
const CLUSTER_MS = 10_000;
const IDLE_SECONDS = '1';
const RECORDS = '/records';

interface Member extends LoadPeer {
  readonly host: Host;
  readonly network: keyof typeof NETWORKS;
}

export class Stage {
  readonly steady: Pairing[] = [];
  readonly fresh: Pairing[] = [];
  readonly folder = mkdtempSync(path.join(tmpdir(), `daolinet-faults-${process.pid}-`));
  /** Hosts that are gone for good. */
  readonly gone = new Set<string>();

  private constructor(
    private readonly cluster: LabCluster,
    readonly site: Site,
    readonly random: () => number,
  ) {}

  /** Nothing stays behind when it fails. `version`: see HostOptions. */
  static async start(count: number, random: () => number = Math.random, version?: string): Promise<Stage> {
    const settings = { DAOLINET_IDLE_TIMEOUT: IDLE_SECONDS };
    const cluster = await startHosts(count, { settings, ...(version !== undefined && { version }) });
    const { site } = cluster;
    if (!(site instanceof Site)) throw new Error('faults are made on one L2');
    const stage = new Stage(cluster, site, random);
    try {
      await stage.prepare();
      return stage;
    } catch (error) {
      await stage.stop();
      throw error;
    }
  }

  get hosts(): readonly Host[] {
    return this.cluster.hosts.filter(({ name }) => !this.gone.has(name));
  }

  host(name: string): Host {
    const found = this.cluster.hosts.find((each) => each.name === name);
    if (found === undefined) throw new Error(`there is no host ${name}`);
    return found;
  }

  others(hosts: readonly Host[]): Host[] {
    return this.hosts.filter((host) => !hosts.includes(host));
  }

  /** The agent of a host. */
  api(host: Host): ApiClient {
    return new ApiClient({ kind: 'unix', path: host.path('/run/daolinet/api.sock'), host: undefined });
  }

  /** The host that leads the directory, as one of the others knows. */
  leader(): Promise<Host> {
    return waitFor(
      'a leader',
      async () => {
        for (const host of this.hosts) {
          const status = await this.api(host)
            .get<ClusterStatus>('/v1/cluster', { timeoutMs: CLUSTER_MS })
            .catch(() => undefined);
          const name = status?.hosts.find(({ member }) => member === 'leader')?.name;
          if (name !== undefined) return this.host(name);
        }
        return undefined;
      },
      60_000,
    );
  }

  async stop(): Promise<void> {
    await stopCluster(this.cluster);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async prepare(): Promise<void> {
    const { hosts } = this;
    hosts.forEach(lendPrograms);
    await Promise.all(hosts.map((host) => host.setLiveRestore(true)));
    await joinAll(hosts);
    const [first] = hosts as [Host];
    for (const [network, tenant] of Object.entries(NETWORKS)) {
      const ipam = ['--ipam-driver', 'daolinet', '--ipam-opt', `tenant=${tenant}`, '--subnet', `${SUBNET}.0/24`];
      // What has no fixed address takes one of the upper half.
      await first.docker('network', 'create', '-d', 'daolinet', ...ipam, '--ip-range', `${SUBNET}.128/25`, network);
    }
    const members = hosts.flatMap(membersOf);
    await Promise.all(hosts.map((host) => this.startMembers(host, members)));
  }

  private async startMembers(host: Host, members: readonly Member[]): Promise<void> {
    for (const network of Object.keys(NETWORKS)) {
      await untilNetwork(network, [host]);
    }
    for (const member of members.filter((each) => each.host === host)) {
      const task = this.taskOf(member, members);
      const lasting = ['-d', '--init', '--restart', 'always', '--name', member.name];
      const place = ['--network', member.network, '--ip', member.address, '-v', `${this.folder}:${RECORDS}`];
      const program = [IMAGE, ...NODE, '-e', LOAD_PROGRAM, JSON.stringify(task)];
      await host.docker('run', ...lasting, ...place, ...WITH_PROGRAMS, ...program);
    }
  }

  private taskOf(member: Member, members: readonly Member[]): LoadTask {
    const steady = members.filter((other) => isSteady(member, other));
    const fresh = members.filter((other) => isFresh(member, other, members));
    const pairing = (other: Member): Pairing => ({
      from: member.name,
      to: other.name,
      hosts: [member.host.name, other.host.name],
    });
    this.steady.push(...steady.map(pairing));
    this.fresh.push(...fresh.map(pairing));
    const peer = ({ name, address }: Member): LoadPeer => ({ name, address });
    return {
      name: member.name,
      file: `${RECORDS}/${member.name}`,
      steady: steady.map(peer),
      fresh: fresh.map((other, index) => ({ ...peer(other), offsetMs: (PERIOD_MS / fresh.length) * index })),
      periodMs: PERIOD_MS,
    };
  }
}

/** s1: conversations that go on; n1a and n1b: new ones; o1: another tenant's, with the address that s1 has. */
function membersOf(host: Host): Member[] {
  const number = Number(host.name.slice(1));
  const member = (name: string, last: number, network: Member['network'] = 'load'): Member => ({
    name,
    address: `${SUBNET}.${last}`,
    host,
    network,
  });
  return [
    member(`s${number}`, 10 + number),
    member(`n${number}a`, 20 + number),
    member(`n${number}b`, 40 + number),
    member(`o${number}`, 10 + number, 'other'),
  ];
}

const kindOf = ({ name }: Member): string => name.charAt(0);

/** Each two hosts, and two containers of each host. */
function isSteady(from: Member, to: Member): boolean {
  if (kindOf(from) !== 's') return false;
  return from.host === to.host
    ? to.name === from.name.replace('s', 'n') + 'a'
    : kindOf(to) === 's' && from.name < to.name;
}

/** Each two, once; who begins goes in turns. */
function isFresh(from: Member, to: Member, members: readonly Member[]): boolean {
  if (kindOf(from) === 's' || kindOf(from) !== kindOf(to) || from === to) return false;
  const [one, other] = [members.indexOf(from), members.indexOf(to)];
  return (one + other) % 2 === 0 ? one < other : one > other;
}
