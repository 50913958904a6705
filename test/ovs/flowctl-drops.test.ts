// What is dropped, where and why, as a real datapath counts it.
import { parseIpv4, type Mac } from '../../src/base/addresses';
import type { DropFlow } from '../../src/flowctl/drop-report';
import { far, frameFrom, internal, Lab, one, other, OUTSIDE, two, udp, until } from './flowctl-lab';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ packetInRate: 20, packetInBurst: 20, negativeTimeoutSeconds: 30 });
});
afterAll(() => lab.stop());

const NOBODY = parseIpv4('10.1.0.99');

/** OVS adds up what its datapath flows count every half second. */
async function dropped(wanted: Partial<DropFlow>): Promise<DropFlow> {
  let found: DropFlow | undefined;
  await until(`drop ${JSON.stringify(wanted)}`, async () => {
    const drops = await lab.controller.dropFlows();
    found = drops.find((drop) => Object.entries(wanted).every(([key, value]) => drop[key as keyof DropFlow] === value));
    return found !== undefined && found.packets > 0;
  });
  return found!;
}

test('nothing is dropped where nobody sends', async () => {
  expect(await lab.controller.dropFlows()).toEqual([]);
});

test('by the pipeline: the table, the reason, and how many packets', async () => {
  await lab.inject(1, frameFrom({ ...one, ip: two.ip }, two.ip, udp('forged')));
  await lab.inject(1, frameFrom(one, parseIpv4('169.254.169.254'), udp('secret')));
  await lab.inject(1, frameFrom(one, two.locator, udp('back door')));
  await lab.inject(1, frameFrom(one, two.ip, udp('to all'), 0xffffffffffff as Mac));
  expect(await dropped({ reason: 'spoofed' })).toMatchObject({ table: 'CLASSIFY', packets: 1 });
  expect(await dropped({ reason: 'guarded' })).toMatchObject({ table: 'ROUTE', packets: 1 });
  expect(await dropped({ reason: 'locators' })).toMatchObject({ table: 'ROUTE', packets: 1 });
  expect(await dropped({ reason: 'multicast' })).toMatchObject({ table: 'CLASSIFY', packets: 1 });
});

test('a pair that the policy refuses, with both ends', async () => {
  const frame = frameFrom(one, other.ip, udp('x'));
  await lab.inject(1, frame);
  await until('drop', async () => (await lab.reactiveFlows()).some((line) => line.includes('nw_dst=10.2.0.2')));
  await lab.inject(1, frame, frame);
  const drop = await dropped({ reason: 'denied' });
  expect(drop).toMatchObject({ table: 'ROUTE', source: 'e1', destination: 'e4' });
  expect(drop.packets).toBeLessThanOrEqual(2);
});

test('an address that nobody has; no way out', async () => {
  await lab.inject(2, frameFrom(two, NOBODY, udp('x')));
  await until('drop', async () => (await lab.reactiveFlows()).some((line) => line.includes('nw_dst=10.1.0.99')));
  await lab.inject(2, frameFrom(two, NOBODY, udp('x')));
  expect(await dropped({ reason: 'nobody' })).toMatchObject({ table: 'ROUTE', source: 'e2', address: NOBODY });
  await lab.inject(5, frameFrom(internal, OUTSIDE, udp('x')));
  await until('drop', async () => (await lab.reactiveFlows()).some((line) => /table=3.*in_port=5/.test(line)));
  await lab.inject(5, frameFrom(internal, OUTSIDE, udp('x')));
  expect(await dropped({ reason: 'no-way-out' })).toMatchObject({ table: 'OUTSIDE', source: 'e5' });
});

test('more first packets than one port may send', async () => {
  const frames = Array.from({ length: 100 }, (_, n) => frameFrom(one, parseIpv4(`10.1.0.${100 + n}`), udp('flood')));
  await lab.inject(1, ...frames);
  const drop = await dropped({ reason: 'metered' });
  expect(drop).toMatchObject({ table: 'PUNT', source: 'e1' });
  expect(drop.packets).toBeLessThan(100);
});

test('an endpoint on another host is named, too', async () => {
  await lab.controller.addEndpoint({ ...far, networkKey: 3, id: 'far9', ip: parseIpv4('10.2.0.9') });
  const frame = frameFrom(two, parseIpv4('10.2.0.9'), udp('x'));
  await lab.inject(2, frame);
  await until('drop', async () => (await lab.reactiveFlows()).some((line) => line.includes('nw_dst=10.2.0.9')));
  await lab.inject(2, frame);
  expect(await dropped({ reason: 'denied', source: 'e2' })).toMatchObject({ destination: 'far9' });
});
