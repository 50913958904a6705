// Wires that are cut, one way or both, or are bad.

import type { Host } from '../../../lab/host';
import { ELECTION_MS, follower, leader, on, ON_THE_WAY, type Fault } from '../fault';
import type { Stage } from '../stage';

const CUT_MS = 8000;
const BAD_MS = 10_000;
const LOSS_PERCENT = 20;
const DELAY_MS = 200;

const heal = (stage: Stage) => stage.site.heal();

async function cutOff(stage: Stage, victims: readonly Host[]): Promise<void> {
  for (const host of victims) for (const other of stage.others(victims)) await stage.site.cut(host.name, other.name);
}

const offFault: Fault = {
  name: 'host-cut-off',
  what: `a host is cut off for ${CUT_MS / 1000} s`,
  victims: follower,
  inject: cutOff,
  lastsMs: CUT_MS,
  heal,
  bounds: ON_THE_WAY,
};

export const networkFaults: readonly Fault[] = [
  offFault,
  {
    ...on(offFault, leader, {
      name: 'leader-cut-off',
      what: `the directory’s leader is cut off for ${CUT_MS / 1000} s`,
    }),
    bounds: { ...ON_THE_WAY, besideNewMs: ELECTION_MS },
  },
  {
    ...offFault,
    name: 'two-parts',
    what: `the cluster is cut into two parts for ${CUT_MS / 1000} s`,
    victims: async (stage) => stage.hosts.slice(stage.hosts.length / 2),
    isBetween: (victims, hosts) => hosts.filter((name) => victims.includes(name)).length === 1,
    bounds: { ...ON_THE_WAY, besideNewMs: ELECTION_MS },
  },
  {
    ...offFault,
    name: 'one-way-cut',
    what: `nothing passes from one host to one other for ${CUT_MS / 1000} s; the way back is open`,
    victims: async (stage) => stage.hosts.slice(0, 2),
    isBetween: (victims, hosts) => hosts.every((name) => victims.includes(name)) && hosts[0] !== hosts[1],
    inject: (stage, victims) => {
      const [one, other] = victims as [Host, Host];
      return stage.site.cutOneWay(one.name, other.name);
    },
    bounds: { ...ON_THE_WAY, besideNewMs: ELECTION_MS },
  },
  {
    ...offFault,
    name: 'loss',
    what: `a host loses ${LOSS_PERCENT} % of all frames, either way, for ${BAD_MS / 1000} s`,
    inject: (stage, victims) => Promise.all(victims.map(({ name }) => stage.site.setLoss(name, LOSS_PERCENT))),
    lastsMs: BAD_MS,
  },
  {
    ...offFault,
    name: 'delay',
    what: `each frame from and to a host takes ${DELAY_MS} ms longer, for ${BAD_MS / 1000} s`,
    inject: (stage, victims) => Promise.all(victims.map(({ name }) => stage.site.delay(name, DELAY_MS))),
    lastsMs: BAD_MS,
    bounds: { ...ON_THE_WAY, throughNewMs: 2000 },
  },
];
