// How long routes have been idle, as a real datapath says it in OpenFlow 1.5, and what becomes of the list where it does not.
import { join } from 'node:path';
import { systemClock } from '../../src/base/clock';
import { fetchIdleTimes } from '../../src/flowctl/idle-query';
import { takeIdleReply } from '../../src/openflow/idle-stats';
import { far, frameFrom, Lab, one, OUTSIDE, two, udp, until } from './flowctl-lab';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({});
});
afterAll(() => lab.stop());

const routes = async () =>
  new Map(
    (await lab.controller.routes()).map(({ source, destination, ...rest }) => [`${source}>${destination}`, rest]),
  );

test('every route says how long ago it had its last packet', async () => {
  await lab.controller.addEndpoint(far);
  await lab.inject(1, frameFrom(one, two.ip, udp('x')));
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('x')));
  await lab.inject(1, frameFrom(one, far.ip, udp('x')));
  await until('six routes', async () => (await routes()).size === 6);
  for (const { idleSeconds, ageSeconds } of (await routes()).values()) {
    expect(idleSeconds).toBeLessThanOrEqual(ageSeconds + 1);
  }
  await until('idle routes', async () =>
    [...(await routes()).values()].every(({ idleSeconds = 0 }) => idleSeconds >= 2),
  );
  await lab.inject(1, frameFrom(one, two.ip, udp('again')));
  await until('a packet', async () => ((await routes()).get('e1>e2')?.idleSeconds ?? 9) < 2);
  expect((await routes()).get('e2>e1')?.idleSeconds).toBeGreaterThanOrEqual(2);
});

test('where the datapath does not speak 1.5, routes are listed without it', async () => {
  await lab.ovs.vsctl('set', 'bridge', 'br0', 'protocols=OpenFlow14');
  await expect(fetchIdleTimes(join(lab.ovs.rundir, 'br0.mgmt'), systemClock)).rejects.toMatchObject({
    code: 'unavailable',
  });
  const [route] = await lab.controller.routes();
  expect(route?.ageSeconds).toBeGreaterThanOrEqual(0);
  expect(route).not.toHaveProperty('idleSeconds');
  await expect(fetchIdleTimes(join(lab.ovs.rundir, 'none'), systemClock)).rejects.toThrow('ENOENT');
});

describe('bytes that are no answer', () => {
  test('are waited for, or refused; never misread', () => {
    const visit = jest.fn();
    expect(takeIdleReply(Buffer.from([6, 19, 0, 16, 0, 0]), visit)).toEqual({ taken: 0, isDone: false });
    const other = Buffer.from([6, 0, 0, 8, 0, 0, 0, 1]);
    expect(takeIdleReply(other, visit)).toEqual({ taken: 8, isDone: false });
    const error = Buffer.from([6, 1, 0, 12, 0, 0, 0, 2, 0, 1, 0, 1]);
    expect(() => takeIdleReply(error, visit)).toThrow('does not answer in OpenFlow 1.5');
    expect(() => takeIdleReply(Buffer.from([6, 19, 0, 4, 0, 0, 0, 2]), visit)).toThrow('length 4');
    const short = Buffer.alloc(24);
    short.set([6, 19, 0, 24, 0, 0, 0, 2, 0, 1]);
    expect(() => takeIdleReply(short, visit)).toThrow('ofp_flow_desc');
    expect(visit).not.toHaveBeenCalled();
  });
});
