// Whether this host is as it should be: facts in, findings out, each with its remedy. Pure; doctor-facts.ts finds the facts.

import type { NoL2 } from '../directory/rows';

export type Level = 'ok' | 'warning' | 'error';

export interface Finding {
  /** What was looked at: "kernel", "fabric", … */
  readonly check: string;
  readonly level: Level;
  readonly what: string;
  /** Null where nothing has to be done. */
  readonly remedy: string | null;
}

/** A fact that could not be found out, and why. */
export interface Unknown {
  readonly problem: string;
}

export interface KernelFacts {
  readonly release: string;
  readonly hasOpenvswitch: boolean;
  readonly datapath: string;
  /** Undefined where the kernel has no such setting. */
  readonly ipForward: string | undefined;
  readonly bridgeNetfilter: string | undefined;
}

export interface OvsFacts {
  readonly version: string;
  /** How many settings of the bridge are not as they should be. */
  readonly differences: number;
  /** Targets of the bridge's controllers that are not this agent. */
  readonly otherControllers: readonly string[];
  readonly isConnected: boolean;
}

export interface DockerFacts {
  readonly version: string;
  /** Accept rules in Docker's FORWARD chains that are missing. */
  readonly missingForward: number;
  /** Whether the table `inet daolinet` is as the agent left it. */
  readonly isTableRight: boolean;
}

export interface DatabaseFacts {
  readonly isConnected: boolean;
  readonly isInCluster: boolean;
  readonly isServer: boolean;
  readonly servers: number;
  /** Servers of which this host knows that they are in the Raft; null where it does not know. */
  readonly members: number | null;
  readonly hasLeader: boolean | null;
  /** Of its file on this host. */
  readonly bytes: number | undefined;
}

export interface PeerFacts {
  readonly name: string;
  readonly address: string | undefined;
  /** Why its door could not be reached; undefined: it was. */
  readonly doorProblem: string | undefined;
  /** Why packets of full size do not come back from it; undefined: they do; null: not tried. */
  readonly sizeProblem: string | undefined | null;
  /** Whether its datapath answers over the fabric; null where it is not to, or is not known to be there. */
  readonly answersOnFabric: boolean | null;
  /** How far its clock is ahead of this one, in milliseconds; null where that is not known. */
  readonly clockOffsetMs: number | null;
}

export interface FabricFacts {
  /** Whether this host shares no L2 with its site, and who says so. */
  readonly noL2: NoL2;
  readonly hasPeers: boolean;
  readonly isThere: boolean;
  readonly mtu: number | undefined;
  readonly largestMtu: number;
  readonly peers: readonly PeerFacts[];
}

/** Addresses of other interfaces inside of the range of locators. */
export interface LocatorFacts {
  readonly range: string;
  readonly isInCluster: boolean;
  readonly foreign: readonly {
    readonly device: string;
    readonly address: string;
    /** The host of the cluster that has the block which it is in. */
    readonly host: string | undefined;
  }[];
}

/** A host that this one has a tunnel to. */
export interface TunnelFacts {
  readonly name: string;
  /** Its own locator, which answers pings. */
  readonly locator: string;
  /** Of the tunnel, in bytes of IPv4. */
  readonly mtu: number;
  /** What comes back from there: packets of that size, smaller ones alone, or nothing. */
  readonly passes: 'full' | 'small' | 'nothing';
}

export interface LeakFacts {
  /** Interfaces, and ports of the bridge, of endpoints that are not there. */
  readonly links: readonly string[];
  readonly ports: readonly string[];
  /** Endpoints of this host that Docker does not know, by their labels. */
  readonly endpoints: readonly string[];
}

/** Who is in charge of this host's datapath, and who stands by. */
export interface ChargeFacts {
  readonly host: string;
  readonly master: string | null;
  /** Why it can have no backups. */
  readonly obstacle: string | null;
  readonly backups: readonly { readonly host: string; readonly isConnected: boolean }[];
  /** Other hosts of the cluster that could stand by. */
  readonly others: number;
}

/** Which version of the plugin each host of the cluster has; undefined: one that is too old to tell. */
export type VersionFacts = readonly { readonly host: string; readonly version: string | undefined }[];

export interface DoctorFacts {
  readonly state: string;
  readonly versions: VersionFacts;
  readonly kernel: KernelFacts;
  readonly ovs: OvsFacts | Unknown;
  readonly docker: DockerFacts | Unknown;
  readonly database: DatabaseFacts;
  readonly locators: LocatorFacts | Unknown;
  readonly charges: ChargeFacts;
  readonly fabric: FabricFacts;
  readonly tunnels: readonly TunnelFacts[];
  /** What is wrong with this host's own address; undefined: nothing. */
  readonly addressProblem: string | undefined;
  /** Of this host's certificate; undefined outside of a cluster. */
  readonly certificateDays: number | undefined;
  readonly leaks: LeakFacts | Unknown;
}

/** Beyond this a certificate of another host may look as if it were not valid yet. */
const MAX_CLOCK_OFFSET_MS = 30_000;
const MIN_CERTIFICATE_DAYS = 7;
const LARGE_DATABASE_BYTES = 512 * 1024 * 1024;
const MAX_LISTED = 5;

const isUnknown = (fact: object): fact is Unknown => 'problem' in fact;

const finding =
  (check: string) =>
  (level: Level, what: string, remedy: string | null = null): Finding => ({ check, level, what, remedy });

/** All findings, in the order in which things need one another. */
export function examine(facts: DoctorFacts): Finding[] {
  return [
    ...checkAgent(facts.state),
    ...checkVersions(facts.versions),
    ...checkKernel(facts.kernel),
    ...checkOvs(facts.ovs),
    ...checkDocker(facts.docker),
    ...checkDatabase(facts.database),
    ...checkCertificate(facts.certificateDays),
    ...checkAddress(facts.addressProblem),
    ...checkLocators(facts.locators),
    ...checkCharges(facts.charges),
    ...checkFabric(facts.fabric),
    ...facts.tunnels.map(checkTunnel),
    ...checkClocks(facts.fabric.peers),
    ...checkLeaks(facts.leaks),
  ];
}

export function checkCharges({ host, master, obstacle, backups, others }: ChargeFacts): Finding[] {
  const say = finding('backups');
  const findings: Finding[] = [];
  if (master !== host) {
    const remedy = 'this passes within seconds; where it stays, restart the agent';
    findings.push(
      say('error', `${master ?? 'nobody'} is in charge of this host’s datapath, and not this agent`, remedy),
    );
  }
  if (obstacle !== null) return [...findings, say('warning', 'no host stands by for this one', obstacle)];
  for (const { host: name } of backups.filter(({ isConnected }) => !isConnected)) {
    const remedy = `see whether ${name} is up, and whether this host reaches 7470/tcp of it`;
    findings.push(say('warning', `${name} stands by for this host, but Open vSwitch does not reach it`, remedy));
  }
  if (findings.length > 0 || others === 0) return findings;
  if (backups.length > 0)
    return [say('ok', `${backups.map((each) => each.host).join(' and ')} stand by for this host`)];
  return [
    say('warning', 'no host stands by for this one', 'see whether the agents of the other hosts are of this version'),
  ];
}

export function checkAgent(state: string): Finding[] {
  const say = finding('agent');
  if (state === 'ready') return [say('ok', 'it is ready')];
  return [say('error', `it is ${state}`, 'see its lines in dockerd’s log, and the findings below')];
}

/** Outside of a cluster there is nothing to compare. */
export function checkVersions(hosts: VersionFacts): Finding[] {
  if (hosts.length < 2) return [];
  const say = finding('versions');
  const versions = [...new Set(hosts.map(({ version }) => version))];
  if (versions.length === 1) {
    const what = versions[0] === undefined ? 'no host has told its version' : `all hosts have version ${versions[0]}`;
    return [say('ok', what)];
  }
  const each = versions.map((version) => {
    const names = hosts.filter((host) => host.version === version).map(({ host }) => host);
    const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
    return `${version ?? 'an older one'} on ${names.slice(0, MAX_LISTED).join(', ')}${more}`;
  });
  const remedy = 'two versions that follow one another work side by side; upgrade the rest: docs/upgrade.md';
  return [say('warning', `hosts have different versions of the plugin: ${each.join('; ')}`, remedy)];
}

export function checkKernel(facts: KernelFacts): Finding[] {
  const say = finding('kernel');
  const { release, hasOpenvswitch, datapath, ipForward, bridgeNetfilter } = facts;
  const own =
    datapath === 'netdev'
      ? say(
          'warning',
          `Linux ${release}; packets go through Open vSwitch’s userspace datapath, which is slower`,
          hasOpenvswitch
            ? 'docker plugin set DAOLINET_DATAPATH=system'
            : 'load the kernel module openvswitch where the kernel has it, then restart the plugin',
        )
      : say('ok', `Linux ${release}, with its own Open vSwitch datapath`);
  const forward =
    ipForward === '1'
      ? say('ok', 'it forwards IPv4 (net.ipv4.ip_forward=1)')
      : say('error', 'it does not forward IPv4: containers have no way out', 'sysctl -w net.ipv4.ip_forward=1');
  const bridge =
    bridgeNetfilter === '1'
      ? [say('ok', 'br_netfilter is on: where the fabric is on a Linux bridge, iptables sees what passes it')]
      : [];
  return [own, forward, ...bridge];
}

export function checkOvs(facts: OvsFacts | Unknown): Finding[] {
  const say = finding('Open vSwitch');
  if (isUnknown(facts)) return [say('error', facts.problem, 'systemctl start openvswitch-switch')];
  const { version, differences, otherControllers, isConnected } = facts;
  return [
    isConnected
      ? say('ok', `version ${version}, connected to the controller`)
      : say('error', `version ${version}; its bridge is not connected to the controller`, 'is ovs-vswitchd running?'),
    differences === 0
      ? say('ok', 'the bridge is as it should be')
      : say('error', `the bridge is set otherwise in ${differences} places`, 'restart the plugin, which sets it right'),
    ...(otherControllers.length === 0
      ? []
      : [
          say(
            'warning',
            `the bridge has other controllers, too: ${otherControllers.join(', ')}`,
            'whatever they do on it is not known to DaoliNet: take them off with ovs-vsctl',
          ),
        ]),
  ];
}

export function checkDocker(facts: DockerFacts | Unknown): Finding[] {
  const say = finding('Docker');
  if (isUnknown(facts)) return [say('error', facts.problem, 'systemctl status docker')];
  const { version, missingForward, isTableRight } = facts;
  return [
    say('ok', `version ${version}`),
    missingForward === 0
      ? say('ok', 'its FORWARD chain lets containers out')
      : say(
          'error',
          `${missingForward} of our rules are missing from its FORWARD chain`,
          'they are put back within seconds: if this stays, another program removes them',
        ),
    isTableRight
      ? say('ok', 'the packet filter (table inet daolinet) is as it should be')
      : say(
          'error',
          'the table inet daolinet was changed',
          'it is put back within seconds, unless another program goes on',
        ),
  ];
}

export function checkDatabase(facts: DatabaseFacts): Finding[] {
  const say = finding('directory');
  const { isConnected, isInCluster, isServer, servers, members, hasLeader, bytes } = facts;
  const connection = isConnected
    ? say('ok', isServer || !isInCluster ? 'connected' : 'connected to a server')
    : say(
        'error',
        'its database does not answer: new containers fail',
        'are most of the servers up, and where `daolictl cluster status` shows them? One that has another address may need the old one, too',
      );
  const raft: Finding[] = [];
  if (isInCluster && hasLeader === false) {
    raft.push(
      say('error', 'the servers have no leader', 'more than half of them have to be up, and to reach one another'),
    );
  }
  if (members !== null && members < servers) {
    const what = `${servers - members} of ${servers} servers have not taken their part yet`;
    raft.push(say('warning', what, 'daolictl cluster status says which; it does so when it is up'));
  }
  if (isInCluster && servers < 3) {
    raft.push(
      say('warning', `${servers} server: none can be lost`, 'let a third host join, or daolictl cluster promote'),
    );
  }
  const isLarge = (bytes ?? 0) > LARGE_DATABASE_BYTES;
  const size = bytes === undefined ? [] : [sizeFinding(bytes, isLarge)];
  return [connection, ...raft, ...size];
}

function sizeFinding(bytes: number, isLarge: boolean): Finding {
  const say = finding('directory');
  const text = `its file has ${(bytes / 1024 / 1024).toFixed(1)} MiB`;
  return isLarge ? say('warning', text, 'ovsdb-server compacts it by itself; look for free space') : say('ok', text);
}

export function checkCertificate(days: number | undefined): Finding[] {
  if (days === undefined) return [];
  const say = finding('certificate');
  const left = `${Math.floor(days)} days are left of this host’s certificate`;
  if (days <= 0) return [say('error', 'this host’s certificate is over', 'daolictl cluster leave, and join anew')];
  if (days < MIN_CERTIFICATE_DAYS) {
    return [say('warning', `${left}: it should have been renewed`, 'daolictl cluster rotate says what is in the way')];
  }
  return [say('ok', left)];
}

export function checkAddress(problem: string | undefined): Finding[] {
  if (problem === undefined) return [];
  return [finding('address')('error', problem, 'ip addr; ip route: which address is this host to have?')];
}

export function checkLocators(facts: LocatorFacts | Unknown): Finding[] {
  const say = finding('locators');
  if (isUnknown(facts)) return [say('warning', `not looked at: ${facts.problem}`)];
  const { range, isInCluster, foreign } = facts;
  const set = 'docker plugin set DAOLINET_LOCATORS=…, a range that is free on every host';
  const remedy = isInCluster
    ? `its range is the cluster’s own: begin one anew, after ${set}, or take the address off`
    : `${set}, before there are networks`;
  if (foreign.length === 0) return [say('ok', `no other interface has addresses in ${range}`)];
  return foreign.map(({ device, address, host }) => {
    const what = `${device} has ${address}, and ${range} are the locators of DaoliNet`;
    return host === undefined
      ? say('warning', `${what}: what of it is a host’s of the cluster is not reached by ${device}`, remedy)
      : say(
          'error',
          `${what}; that very address is in a block of host ${host}: it is not reached by ${device}`,
          remedy,
        );
  });
}

export function checkFabric({ noL2, hasPeers, isThere, mtu, largestMtu, peers }: FabricFacts): Finding[] {
  const say = finding('fabric');
  const l2 = noL2 === false ? [] : [checkL2(noL2)];
  if (!hasPeers) return [...l2, ...peers.flatMap(checkPeer)];
  if (!isThere || mtu === undefined) {
    return [
      say(
        'error',
        'the port onto the fabric is not there',
        'has an interface the address that `daolictl host ls` shows of this host? ip addr',
      ),
    ];
  }
  const size =
    largestMtu <= mtu
      ? say('ok', `it takes packets of ${mtu} bytes, and containers send no larger ones`)
      : say(
          'warning',
          `containers send up to ${largestMtu} bytes, and the fabric takes ${mtu}: larger ones are cut or refused`,
          `make networks with -o mtu=${mtu}, or set DAOLINET_MTU=${mtu}`,
        );
  return [size, ...peers.flatMap(checkPeer)];
}

function checkL2(noL2: Exclude<NoL2, false>): Finding {
  const say = finding('fabric');
  const what = 'this host shares no L2 with its site, so its packets go through tunnels there';
  if (noL2 === 'said') return say('ok', `${what}: that was said`);
  const remedy =
    'where it is to be so, daolictl cluster set --no-l2; else let its network pass other MAC addresses than that of the NIC, ' +
    'which is looked at every minute';
  return say('warning', `${what} (detected): hosts that are there do not answer over it`, remedy);
}

function checkPeer({ name, address, doorProblem, sizeProblem, answersOnFabric }: PeerFacts): Finding[] {
  const say = finding('fabric');
  const where = `host ${name} (${address ?? 'no address'})`;
  if (doorProblem === undefined && answersOnFabric === false) {
    return [
      say(
        'error',
        `${where} is there, and does not answer over the fabric: no L2 is common to the two`,
        'is it at another site? daolictl host set; or say on it, or here, daolictl cluster set --no-l2',
      ),
    ];
  }
  if (doorProblem !== undefined) {
    return [say('error', `${where} is out of reach: ${doorProblem}`, 'is it up, and port 7470/tcp open on the way?')];
  }
  if (sizeProblem === null)
    return [say('ok', `${where} is reached; packets of full size were not tried from a client`)];
  if (sizeProblem === undefined) return [say('ok', `${where} is reached, with packets of full size`)];
  return [
    say(
      'error',
      `${where} is reached by small packets, and not by large ones: ${sizeProblem}`,
      'give the interface the MTU of the way between the two: ip link set dev NIC mtu …',
    ),
  ];
}

export function checkTunnel({ name, locator, mtu, passes }: TunnelFacts): Finding {
  const say = finding('tunnels');
  const where = `host ${name} (${locator})`;
  switch (passes) {
    case 'full':
      return say('ok', `${where} answers through its tunnel, packets of ${mtu} bytes too`);
    case 'small':
      return say(
        'warning',
        `${where} answers small packets through its tunnel, and none of ${mtu} bytes`,
        'give the interface the MTU of the way between the two: ip link set dev NIC mtu …',
      );
    case 'nothing':
      return say(
        'error',
        `${where} does not answer through its tunnel`,
        'is it up, and UDP port 7471 open on the way?',
      );
  }
}

export function checkClocks(peers: readonly PeerFacts[]): Finding[] {
  const say = finding('clocks');
  const known = peers.flatMap(({ name, clockOffsetMs }) => (clockOffsetMs === null ? [] : [{ name, clockOffsetMs }]));
  if (known.length === 0) return [];
  const wrong = known.filter(({ clockOffsetMs }) => Math.abs(clockOffsetMs) > MAX_CLOCK_OFFSET_MS);
  if (wrong.length === 0)
    return [say('ok', `those of the other hosts that were asked (${known.length}) go with this one`)];
  return wrong.map(({ name, clockOffsetMs }) => {
    const seconds = Math.round(Math.abs(clockOffsetMs) / 1000);
    const what = `that of host ${name} is ${seconds} s ${clockOffsetMs > 0 ? 'ahead of' : 'behind'} this one`;
    return say('error', what, 'certificates are judged by it: let both follow NTP');
  });
}

export function checkLeaks(facts: LeakFacts | Unknown): Finding[] {
  const say = finding('leaks');
  if (isUnknown(facts)) return [say('warning', `not looked for: ${facts.problem}`, null)];
  const { links, ports, endpoints } = facts;
  const leaked = (what: string, names: readonly string[]) => {
    const shown = names.slice(0, MAX_LISTED).join(', ');
    const more = names.length > MAX_LISTED ? ` and ${names.length - MAX_LISTED} more` : '';
    const remedy = 'they go within a minute; if they stay, see the agent’s lines in dockerd’s log';
    return names.length === 0 ? [] : [say('warning', `${what}: ${shown}${more}`, remedy)];
  };
  const findings = [
    ...leaked('interfaces of no endpoint', links),
    ...leaked('ports of the bridge of no endpoint', ports),
    ...leaked('endpoints that Docker does not know', endpoints),
  ];
  return findings.length > 0 ? findings : [say('ok', 'nothing is left behind')];
}
