// Processes that die, and processes that stand still.

import type { Daemon, Host } from '../../../lab/host';
import { ELECTION_MS, follower, leader, OFF_THE_WAY, ON_THE_WAY, type Bounds, type Fault } from '../fault';

const STILL_MS = 8000;

const AS_SERVER: Bounds = { ...OFF_THE_WAY, besideNewMs: ELECTION_MS, throughNewMs: ELECTION_MS };

function killed(daemon: Daemon, bounds: Bounds, kill: (host: Host) => Promise<unknown>): Fault {
  return {
    name: `${daemon}-killed`,
    what: `${named(daemon)} is killed`,
    victims: follower,
    inject: (_stage, hosts) => Promise.all(hosts.map(kill)),
    lastsMs: 0,
    bounds,
  };
}

function still(daemon: Daemon, bounds: Bounds): Fault {
  const send = (signal: NodeJS.Signals) => (_stage: unknown, hosts: readonly Host[]) =>
    Promise.all(hosts.map((host) => host.signal(daemon, signal)));
  return {
    name: `${daemon}-still`,
    what: `${named(daemon)} stands still for ${STILL_MS / 1000} s`,
    victims: follower,
    inject: send('SIGSTOP'),
    lastsMs: STILL_MS,
    heal: send('SIGCONT'),
    bounds,
  };
}

const named = (daemon: Daemon): string => (daemon === 'member' ? 'a member of the directory' : daemon);

export const processFaults: readonly Fault[] = [
  killed('daolinetd', OFF_THE_WAY, (host) => host.signal('daolinetd', 'SIGKILL')),
  still('daolinetd', OFF_THE_WAY),
  killed('dockerd', OFF_THE_WAY, (host) => host.restartDockerd({ liveRestore: true, signal: 'SIGKILL' })),
  still('dockerd', OFF_THE_WAY),
  killed('ovs-vswitchd', ON_THE_WAY, (host) => host.restartVswitchd('SIGKILL')),
  still('ovs-vswitchd', ON_THE_WAY),
  killed('ovsdb-server', ON_THE_WAY, (host) => host.restartOvsdb('SIGKILL')),
  still('ovsdb-server', ON_THE_WAY),
  killed('member', AS_SERVER, (host) => host.signal('member', 'SIGKILL')),
  still('member', AS_SERVER),
  {
    ...killed('member', AS_SERVER, (host) => host.signal('member', 'SIGKILL')),
    name: 'leader-killed',
    what: 'the leader of the directory is killed',
    victims: leader,
  },
  {
    ...still('member', AS_SERVER),
    name: 'leader-still',
    what: `the leader of the directory stands still for ${STILL_MS / 1000} s`,
    victims: leader,
  },
];
