// Hot-plug routes on a real Open vSwitch: the first packet, those after it, and the end.
import { ICMP_UNREACHABLE } from '../../src/packet/protocol-numbers';
import { internetChecksum } from '../../src/packet/checksum';
import {
  describeFrame,
  endpoints,
  frameFrom,
  HOST_ADDRESS,
  Lab,
  one,
  OUTSIDE,
  ROUTER_MAC,
  two,
  udp,
  until,
} from './flowctl-lab';
import { parseIpv4 } from '../../src/base/addresses';

let lab: Lab;
beforeAll(async () => {
  lab = await Lab.start({ idleTimeoutSeconds: 1 });
});
afterAll(() => lab?.stop());
beforeEach(async () => {
  await until('end of every route', async () => (await lab.reactiveFlows()).length === 0);
  lab.forget();
});

test('with no traffic there is no route', async () => {
  expect(await lab.reactiveFlows()).toEqual([]);
  expect(await lab.controller.routes()).toEqual([]);
});

test('the first packet arrives once, both directions are there, and the second needs no controller', async () => {
  const before = lab.controller.counters();
  await lab.inject(1, frameFrom(one, two.ip, udp('first')));
  const [first] = await lab.leaving(2, 1);
  expect(first && describeFrame(first)).toBe('02da000000fe>020000000002 10.1.0.2>10.1.0.3 ttl 64 proto 17');
  expect(await lab.reactiveFlows()).toEqual([
    'table=2, idle_timeout=1, send_flow_rem priority=600,ip,in_port=2,nw_src=10.1.0.3,nw_dst=10.1.0.2 ' +
      'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:01->eth_dst,output:1',
    'table=2, idle_timeout=1, send_flow_rem priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.3 ' +
      'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:02->eth_dst,output:2',
  ]);
  await lab.settled();
  await lab.inject(1, frameFrom(one, two.ip, udp('second')));
  await lab.inject(2, frameFrom(two, one.ip, udp('answer')));
  const [second, third] = await lab.leaving(2, 1);
  expect([second?.subarray(42).toString(), third]).toEqual(['second', undefined]);
  expect((await lab.leaving(1, 1)).map((frame) => frame.subarray(42).toString())).toEqual(['answer']);
  const after = lab.controller.counters();
  expect([after.packetIns - before.packetIns, after.packetOuts - before.packetOuts]).toEqual([1, 1]);
});

test('an idle route goes, the controller knows, and the next packet brings it back', async () => {
  const removed = lab.controller.counters().routesRemoved;
  await lab.inject(1, frameFrom(one, two.ip, udp('a')));
  await lab.leaving(2, 1);
  // Which flow OVS counts the packet for that asked for it depends on when it revalidates.
  const counted = {
    ...{ ageSeconds: 0, idleSeconds: expect.any(Number) },
    ...{ packets: expect.any(Number), bytes: expect.any(Number) },
  };
  expect(await lab.controller.routes()).toEqual([
    { kind: 'pair', source: 'e2', destination: 'e1', ...counted },
    { kind: 'pair', source: 'e1', destination: 'e2', ...counted },
  ]);
  await until('flow removed', () => lab.controller.counters().routesRemoved === removed + 2);
  expect(lab.controller.counters().routes).toBe(0);
  await lab.inject(1, frameFrom(one, two.ip, udp('b')));
  expect(await lab.leaving(2, 1)).toHaveLength(1);
});

test('a burst before the route settles arrives whole and once, over one pair of flow mods', async () => {
  const before = lab.controller.counters();
  // A dummy port takes a hundred frames at once.
  const texts = Array.from({ length: 90 }, (_, i) => `packet ${i}`);
  await lab.inject(1, ...texts.map((text) => frameFrom(one, two.ip, udp(text))));
  const frames = await lab.leaving(2, texts.length);
  expect(frames.map((frame) => frame.subarray(42).toString()).sort()).toEqual([...texts].sort());
  const after = lab.controller.counters();
  expect(after.packetOuts - before.packetOuts).toBe(after.packetIns - before.packetIns);
  expect(after.routesInstalled - before.routesInstalled).toBeLessThanOrEqual(4);
});

test('out through the host: the locator becomes the source, and one pair of routes serves every address', async () => {
  const before = lab.controller.counters().packetIns;
  await lab.inject(1, frameFrom(one, OUTSIDE, udp('out')));
  const [out] = await lab.leaving(10, 1);
  expect(out && describeFrame(out)).toBe('02da000000fe>02da00000010 100.64.0.2>198.51.100.7 ttl 64 proto 17');
  await lab.settled();
  await lab.inject(1, frameFrom(one, parseIpv4('203.0.113.9'), udp('elsewhere')));
  await lab.inject(1, frameFrom(one, HOST_ADDRESS, udp('the host itself')));
  expect((await lab.leaving(10, 2)).map(describeFrame)).toEqual([
    '02da000000fe>02da00000010 100.64.0.2>203.0.113.9 ttl 64 proto 17',
    '02da000000fe>02da00000010 100.64.0.2>100.64.0.1 ttl 64 proto 17',
  ]);
  expect(await lab.reactiveFlows()).toHaveLength(2);
  expect(lab.controller.counters().packetIns).toBe(before + 1);
});

test('an address that nobody has is answered with host unreachable, and dropped for a second', async () => {
  const nobody = parseIpv4('10.1.0.99');
  await lab.inject(1, frameFrom(one, nobody, udp('?')));
  const [error] = (await lab.leaving(1, 1)) as [Buffer];
  expect(describeFrame(error)).toBe('02da000000fe>020000000001 10.1.0.1>10.1.0.2 ttl 64 proto 1');
  expect([error[34], error[35]]).toEqual([3, ICMP_UNREACHABLE.HOST]);
  expect(internetChecksum(error, 34, error.length - 34)).toBe(0);
  expect(await lab.reactiveFlows()).toEqual([
    'table=2, hard_timeout=1, priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.99 actions=drop',
  ]);
});

test('a negative entry goes at once when its address appears', async () => {
  const late = { ...two, id: 'late', mac: 0x020000000006 as typeof two.mac, ip: parseIpv4('10.1.0.98') };
  await lab.inject(1, frameFrom(one, late.ip, udp('too early')));
  await lab.leaving(1, 1);
  const locator = parseIpv4('100.64.0.77');
  await lab.controller.addEndpoint({ ...late, locator, location: { kind: 'local', portNo: 6 } });
  await lab.settled();
  await lab.inject(1, frameFrom(one, late.ip, udp('now')));
  expect((await lab.leaving(6, 1)).map((frame) => frame.subarray(42).toString())).toEqual(['now']);
  await lab.controller.removeEndpoint('late');
});

test('a port of the gateway is closed, and says so', async () => {
  await lab.inject(1, frameFrom(one, parseIpv4('10.1.0.1'), udp('dns?')));
  const [error] = (await lab.leaving(1, 1)) as [Buffer];
  expect([error[34], error[35]]).toEqual([3, ICMP_UNREACHABLE.PORT]);
});

test('an endpoint that is removed takes flows, routes and meter with it, and its port is silent', async () => {
  const six = { ...two, id: 'six', mac: ROUTER_MAC, ip: parseIpv4('10.1.0.66'), locator: parseIpv4('100.64.0.66') };
  const gone = { ...six, location: { kind: 'local', portNo: 6 } } as const;
  await lab.controller.addEndpoint(gone);
  await lab.inject(1, frameFrom(one, gone.ip, udp('hello')));
  await lab.leaving(6, 1);
  await lab.inject(6, frameFrom(gone, OUTSIDE, udp('out')));
  await lab.leaving(10, 1);
  expect(await lab.reactiveFlows()).toHaveLength(4);
  await lab.controller.removeEndpoint('six');
  expect(await lab.reactiveFlows()).toEqual([]);
  expect((await lab.flows()).filter((line) => /in_port=6\b|output:6\b/.test(line))).toEqual([]);
  expect(await lab.ovs.ofctl('-O', 'OpenFlow14', 'dump-meters', 'br0')).not.toContain('meter=6 ');
  expect(lab.controller.counters().routes).toBe(0);
  await lab.inject(6, frameFrom(gone, one.ip, udp('ghost')));
  expect(await lab.trace(`udp,in_port=6,dl_src=${'02:da:00:00:00:fe'},nw_src=10.1.0.66,nw_dst=10.1.0.2`)).toBe('drop');
});

test('every flow that a datapath gets back from a listing is byte for byte the one that was sent', async () => {
  const lasting = await Lab.start({ idleTimeoutSeconds: 300 });
  try {
    await lasting.inject(1, frameFrom(one, two.ip, udp('a')), frameFrom(one, OUTSIDE, udp('b')));
    await lasting.leaving(2, 1);
    await lasting.leaving(10, 1);
    const { flowsRepaired } = lasting.controller.counters();
    const flows = await lasting.flows();
    await lasting.controller.stop();
    await lasting.startController();
    await lasting.reconnect();
    expect(lasting.controller.counters().flowsRepaired).toBe(0);
    expect(flowsRepaired).toBeGreaterThan(0);
    expect(await lasting.flows()).toEqual(flows);
    expect(endpoints.every(({ id }) => lasting.controller.hasEndpoint(id))).toBe(true);
  } finally {
    await lasting.stop();
  }
});

test('over its cap an endpoint gets no more routes, and its packets arrive all the same', async () => {
  const capped = await Lab.start({ maxRoutesPerEndpoint: 1 });
  try {
    await capped.inject(1, frameFrom(one, two.ip, udp('with a route')));
    await capped.leaving(2, 1);
    for (const text of ['one', 'two']) {
      await capped.inject(1, frameFrom(one, OUTSIDE, udp(text)));
      expect((await capped.leaving(10, 1)).map((frame) => frame.subarray(42).toString())).toEqual([text]);
    }
    expect(await capped.reactiveFlows()).toHaveLength(2);
    expect(capped.controller.counters()).toMatchObject({ packetIns: 3, routesCapped: 2, routes: 1 });
  } finally {
    await capped.stop();
  }
});
