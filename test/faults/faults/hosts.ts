// Whole hosts: their engines, their power, and those that never come back.

import type { Host } from '../../../lab/host';
import { ELECTION_MS, everyHost, follower, OFF_THE_WAY, ON_THE_WAY, type Fault } from '../fault';

const OFF_MS = 4000;

export const hostFaults: readonly Fault[] = [
  {
    name: 'engine-restarted',
    what: 'dockerd is killed without live-restore: containers and plugin stop, and come back',
    victims: follower,
    inject: (_stage, victims) => Promise.all(victims.map((host) => host.restartDockerd({ signal: 'SIGKILL' }))),
    lastsMs: 0,
    heal: (_stage, victims) => Promise.all(victims.map((host) => host.setLiveRestore(true))),
    bounds: { ...ON_THE_WAY, besideNewMs: ELECTION_MS },
  },
  {
    name: 'power-cut',
    what: `a host loses its power for ${OFF_MS / 1000} s`,
    victims: follower,
    inject: (_stage, victims) => Promise.all(victims.map((host) => host.reboot(OFF_MS))),
    lastsMs: 0,
    bounds: { ...ON_THE_WAY, besideNewMs: ELECTION_MS, wholeMs: 60_000 },
  },
  {
    name: 'hosts-restarted',
    what: 'all hosts lose their power at once, and come back in any order',
    victims: everyHost,
    inject: (stage, victims) => Promise.all(victims.map((host) => host.reboot(stage.random() * 2 * OFF_MS))),
    lastsMs: 0,
    bounds: { wholeMs: 120_000 },
  },
  {
    name: 'host-gone',
    what: 'a host is gone for good, and put out of the cluster',
    victims: follower,
    inject: async (stage, victims) => {
      for (const host of victims) {
        stage.gone.add(host.name);
        await host.stop();
      }
    },
    lastsMs: OFF_MS,
    heal: async (stage, victims) => {
      const [by] = stage.hosts as [Host];
      for (const { name } of victims) await by.daolictl('host', 'rm', name);
    },
    bounds: { ...OFF_THE_WAY, besideNewMs: ELECTION_MS },
    isLast: true,
  },
];
