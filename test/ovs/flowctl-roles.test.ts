// Who is master of a real Open vSwitch: this host's own controller, and a rival that takes its place and gives it back.
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock';
import { DatapathLink } from '../../src/flowctl/datapath-link';
import { UnixListener } from '../../src/flowctl/unix-listener';
import type { Controller } from '../../src/flowctl/controller';
import { endpoints, frameFrom, HOST_PORT, Lab, one, other, OUTSIDE, two, udp, until } from './flowctl-lab';

const TIMING = { clock: systemClock, inactivityProbeMs: 5000, answerWithinMs: 4000 };

/** A controller on another host, as Open vSwitch sees it: connected besides, a slave, and master when it says so. */
class Rival {
  link: DatapathLink | undefined;
  demotions = 0;
  readonly controller: Controller;
  private readonly listener: UnixListener;

  constructor(private readonly lab: Lab) {
    this.controller = lab.createController();
    this.listener = new UnixListener(join(lab.ovs.rundir, 'r.sock'), systemClock, (socket) => {
      const user = {
        identified: (link: DatapathLink) => {
          void link.release().then(() => (this.link = link));
          return true;
        },
        demoted: () => (this.demotions += 1),
        closed: () => (this.link = undefined),
      };
      new DatapathLink(socket, user, TIMING);
    });
  }

  async enter(): Promise<void> {
    await this.listener.start();
    const { ovs } = this.lab;
    const own = (await ovs.vsctl('get-controller', 'br0')).trim();
    // In one transaction: Open vSwitch adds it to the one that is there.
    await ovs.vsctl('set-controller', 'br0', own, `unix:${join(ovs.rundir, 'r.sock')}`);
    await until('connection of the rival', () => this.link !== undefined);
  }

  take(generation: bigint): Promise<string> {
    return this.link!.take(generation, () => this.controller.adopt(this.link!));
  }

  async stop(): Promise<void> {
    this.link?.close('the test is over');
    await this.listener.stop();
  }
}

let lab: Lab;
let rival: Rival;
/** What the own controller was asked, and what lets it go on. */
let asked: bigint[];
let mayTake: Promise<void>;
let letTake: () => void;

const holdBack = (): void => {
  mayTake = new Promise((resolve) => (letTake = resolve));
};
const startOwn = () =>
  lab.startController(endpoints, {
    nextGeneration: async (seen) => {
      asked.push(seen);
      await mayTake;
      return seen + 1n;
    },
  });

beforeEach(async () => {
  [asked, mayTake] = [[], Promise.resolve()];
  lab = await Lab.start({ idleTimeoutSeconds: 300 });
  await lab.controller.stop();
  await startOwn();
  await lab.reconnect();
  rival = new Rival(lab);
  await lab.inject(1, frameFrom(one, two.ip, udp('pair')));
  await lab.leaving(2, 1);
});
afterEach(async () => {
  letTake?.();
  await rival.stop();
  await lab.stop();
});

/** The seconds that each flow is there, which only those have that nobody touched; without refusals, which come and go. */
const ages = async () => {
  const text = await lab.ovs.ofctl('--no-names', 'dump-flows', 'br0');
  return [...text.matchAll(/duration=([\d.]+)s(?!.*hard_timeout)/g)].map(([, seconds]) => Number(seconds));
};
/** As Open vSwitch says in its database, which it does every five seconds. */
const roles = async () => {
  const rows = await lab.ovs.vsctl('--columns=target,role', '--format=csv', '--no-headings', 'list', 'controller');
  return Object.fromEntries([...rows.matchAll(/(\w)\.sock"*,(\w+)/g)].map(([, name, role]) => [name, role]));
};
const rolesAre = async (wanted: Record<string, string>) => {
  for (const [name, role] of Object.entries(wanted)) {
    while ((await roles())[name] !== role) await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

test('the own controller is master, with a generation that rises with each of its lives', async () => {
  // The one before it was the first ever.
  expect(asked.at(-1)).toBe(1n);
  await rival.enter();
  expect(await rival.link!.generation()).toBe(2n);
  await rolesAre({ c: 'master', r: 'slave' });
});

test('another controller comes and goes: nothing is flushed, and it is told of no packets', async () => {
  const flows = await lab.flows();
  const before = Date.now();
  await rival.enter();
  await lab.inject(1, frameFrom(one, other.ip, udp('nobody')));
  await until('denial', async () => (await lab.flows()).length > flows.length);
  expect(rival.controller.counters().packetIns).toBe(0);
  expect(await lab.flows()).toEqual(expect.arrayContaining(flows));
  const [own = ''] = (await lab.ovs.vsctl('get-controller', 'br0'))
    .split('\n')
    .filter((target) => /c\.sock/.test(target));
  await lab.ovs.vsctl('set-controller', 'br0', own);
  await until('end of the rival', () => rival.link === undefined);
  expect(await lab.flows()).toEqual(expect.arrayContaining(flows));
  const sinceMs = Date.now() - before;
  const kept = (await ages()).filter((age) => age > sinceMs / 1000);
  expect(kept).toHaveLength(flows.length);
});

test('one that becomes master serves at once with all flows that there are; the former one acts no more, and takes back', async () => {
  await rival.enter();
  const flows = await lab.flows();
  const before = Date.now();
  holdBack();
  expect(await rival.take(2n + 1n)).toBe('master');
  await until('work of the rival', () => rival.controller.counters().datapaths === 1);
  await until('demotion', () => asked.length === 2);
  expect(asked[1]).toBe(3n);
  expect(rival.controller.counters()).toMatchObject({ flowsRepaired: 0, errors: 0, routes: 1 });
  expect(await lab.flows()).toEqual(flows);
  let sinceMs = Date.now() - before;
  expect(Math.min(...(await ages()))).toBeGreaterThan(sinceMs / 1000);

  const { packetIns } = lab.controller.counters();
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('out')));
  expect(await lab.leaving(HOST_PORT, 1)).toHaveLength(1);
  expect(lab.controller.counters()).toMatchObject({ packetIns, datapaths: 0, errors: 0 });
  expect(await rival.link!.take(2n, () => rival.controller.adopt(rival.link!))).toBe('stale');

  letTake();
  await lab.connected();
  await until('demotion of the rival', () => rival.demotions === 1);
  expect(rival.controller.counters().datapaths).toBe(0);
  expect(lab.controller.counters()).toMatchObject({ flowsRepaired: 0, errors: 0, routes: 2 });
  sinceMs = Date.now() - before;
  expect(Math.max(...(await ages()))).toBeGreaterThan(sinceMs / 1000);
});

test('what its policy and endpoints are meanwhile is made so when it is master again', async () => {
  await rival.enter();
  holdBack();
  expect(await rival.take(3n)).toBe('master');
  await until('work of the rival', () => rival.controller.counters().datapaths === 1);
  await until('demotion', () => asked.length === 2);
  await expect(lab.controller.removeEndpoint(two.id)).resolves.toBeUndefined();
  expect(await lab.flows('table=0,in_port=2')).not.toEqual([]);
  letTake();
  await lab.connected();
  expect(await lab.flows('table=0,in_port=2')).toEqual([]);
  expect((await lab.flows()).filter((line) => line.includes(`in_port=${other.location.portNo}`))).not.toEqual([]);
});

test('a master that goes away leaves the flows; Open vSwitch that starts anew knows no generation', async () => {
  await rival.enter();
  const flows = await lab.flows();
  expect(await rival.take(9n)).toBe('master');
  await until('demotion', () => asked.at(-1) === 9n);
  await lab.connected();
  await rival.stop();
  expect(await lab.flows()).toEqual(flows);
  await lab.ovs.restartVswitchd();
  await until('connection anew', () => asked.at(-1) === 0n);
  await lab.connected();
  expect((await lab.flows()).sort()).toEqual([...flows].sort());
});
