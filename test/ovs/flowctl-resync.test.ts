// What survives what, on a real Open vSwitch: the controller, ovs-vswitchd, both, and flows of other people.
import { connect } from 'node:net';
import { stat } from 'node:fs/promises';
import { parseIpv4 } from '../../src/base/addresses';
import { Controller } from '../../src/flowctl/controller';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import {
  blue,
  endpoints,
  frameFrom,
  host,
  internal,
  Lab,
  networks,
  one,
  OUTSIDE,
  two,
  udp,
  until,
} from './flowctl-lab';

const FOREIGN = 'cookie=0x77,table=0,priority=9,in_port=6,actions=output:10';

let lab: Lab;
beforeEach(async () => {
  lab = await Lab.start({ idleTimeoutSeconds: 300 });
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'add-flow', 'br0', FOREIGN);
  await lab.inject(1, frameFrom(one, two.ip, udp('pair')), frameFrom(one, OUTSIDE, udp('out')));
  await lab.leaving(2, 1);
  await lab.leaving(10, 1);
  await lab.settled();
});
afterEach(() => lab?.stop());

const meters = () => lab.ovs.ofctl('-O', 'OpenFlow14', 'dump-meters', 'br0');
/** Flows with the time since they were installed, which is only kept by those that nobody touched. */
const ages = async () => {
  const text = await lab.ovs.ofctl('-O', 'OpenFlow14', '--no-names', 'dump-flows', 'br0');
  return [...text.matchAll(/duration=([\d.]+)s/g)].map(([, seconds]) => Number(seconds));
};

test('a controller that comes back finds everything right, touches nothing and knows the routes', async () => {
  const flows = await lab.flows();
  const metersBefore = await meters();
  await lab.controller.stop();
  await lab.startController();
  const restarted = Date.now();
  await lab.reconnect();
  expect(await lab.flows()).toEqual(flows);
  expect(await meters()).toBe(metersBefore);
  const sinceMs = Date.now() - restarted;
  expect(Math.min(...(await ages()))).toBeGreaterThan(sinceMs / 1000);
  expect(lab.controller.counters()).toMatchObject({ flowsRepaired: 0, errors: 0, routes: 2 });
  await lab.inject(1, frameFrom(one, two.ip, udp('still there')));
  expect(await lab.leaving(2, 1)).toHaveLength(1);
  expect(lab.controller.counters().packetIns).toBe(0);
});

test('what changed while the controller was away is made right, and routes that stay right stay', async () => {
  const kept = await lab.flows('table=2,in_port=1,ip,nw_dst=10.1.0.3');
  await lab.controller.stop();
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'del-flows', 'br0', 'table=0,in_port=2');
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'mod-flows', 'br0', 'table=0,ip,in_port=1,actions=drop');
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'mod-flows', 'br0', 'table=3,in_port=1,ip,nw_src=10.1.0.2,actions=output:6');
  await lab.ovs.ofctl('-O', 'OpenFlow14', 'del-meter', 'br0', 'meter=2');
  const moved = { ...blue, ip: parseIpv4('10.1.0.44') };
  await lab.startController([one, two, moved, internal]);
  await lab.reconnect();
  expect(lab.controller.counters()).toMatchObject({ errors: 0 });
  const flows = await lab.flows();
  expect(kept).toHaveLength(1);
  expect(flows).toEqual(expect.arrayContaining(kept));
  expect(flows.filter((line) => /in_port=4\b|10\.1\.0\.3,dl_dst|in_port=3,.*10\.1\.0\.3/.test(line))).toEqual([]);
  expect(flows.filter((line) => line.startsWith('priority=9,'))).toHaveLength(1);
  expect(await meters()).toMatch(/meter=2 (.|\n)*/);
  expect(await meters()).not.toContain('meter=4 ');
  // What a controller on an empty datapath would have made, and the routes.
  const fresh = await Lab.start({ idleTimeoutSeconds: 300 }, [one, two, moved, internal]);
  try {
    const statics = flows.filter((line) => !line.includes('_timeout=') && !line.startsWith('priority=9,'));
    expect(statics.sort()).toEqual((await fresh.flows()).sort());
    expect(flows.filter((line) => line.includes('_timeout='))).toHaveLength(4);
    expect(flows.join('\n')).not.toContain('output:6');
  } finally {
    await fresh.stop();
  }
});

test('ovs-vswitchd comes back with nothing and gets everything, routes and meters too', async () => {
  const flows = (await lab.flows()).filter((line) => !line.startsWith('priority=9,'));
  const metersBefore = await meters();
  await lab.ovs.killVswitchd('SIGKILL');
  await until('disconnection', () => lab.controller.counters().datapaths === 0);
  await lab.ovs.startVswitchd();
  await lab.connected();
  expect((await lab.flows()).sort()).toEqual(flows.sort());
  expect((await meters()).split('\n\n').sort()).toEqual(metersBefore.split('\n\n').sort());
  expect(lab.controller.counters().errors).toBe(0);
  const { packetIns } = lab.controller.counters();
  lab.forget();
  await lab.inject(1, frameFrom(one, two.ip, udp('on the old route')));
  expect(await lab.leaving(2, 1)).toHaveLength(1);
  expect(lab.controller.counters().packetIns).toBe(packetIns);
});

test('endpoints that came and went while no datapath was there are right when it is back', async () => {
  await lab.ovs.killVswitchd('SIGKILL');
  await until('disconnection', () => lab.controller.counters().datapaths === 0);
  await lab.controller.removeEndpoint(two.id);
  const late = { ...two, id: 'late', location: { kind: 'local', portNo: 6 } } as const;
  const added = lab.controller.addEndpoint(late);
  await lab.ovs.startVswitchd();
  await added;
  expect((await lab.flows()).filter((line) => /in_port=2\b|output:2\b/.test(line))).toEqual([]);
  lab.forget();
  await lab.inject(1, frameFrom(one, late.ip, udp('to the new one')));
  expect(await lab.leaving(6, 1)).toHaveLength(1);
});

test('without a datapath an endpoint is kept and its caller told', async () => {
  await lab.controller.stop();
  const controller = new Controller({
    path: `${lab.socket}2`,
    clock: systemClock,
    logger: silentLogger,
    settings: { installTimeoutMs: 20 },
  });
  controller.setNetwork(networks[0] as (typeof networks)[number]);
  await expect(controller.addEndpoint(one)).rejects.toMatchObject({ code: 'unavailable' });
  expect([...controller.endpointIds()]).toEqual([one.id]);
});

test('a second controller on the same socket is refused, a dead one’s socket is taken over', async () => {
  const second = new Controller({ path: lab.socket, clock: systemClock, logger: silentLogger });
  second.setHost(host);
  await expect(second.start()).rejects.toMatchObject({ code: 'conflict' });
  expect(((await stat(lab.socket)).mode & 0o777).toString(8)).toBe('600');
  await second.stop();
  expect(lab.controller.counters().datapaths).toBe(1);
});

test('a refused endpoint is told so and leaves nothing', async () => {
  // OVS numbers meters up to 262,144 in user space, but a full table is a refusal that it can be brought to.
  await lab.ovs.vsctl(
    ...['--', '--id=@t', 'create', 'Flow_Table', 'flow_limit=0', 'overflow_policy=refuse'],
    ...['--', 'set', 'bridge', 'br0', 'flow_tables:7=@t'],
  );
  const extra = { ...two, id: 'extra', ip: parseIpv4('10.1.0.50'), locator: parseIpv4('100.64.0.50') };
  const at = { ...extra, location: { kind: 'local', portNo: 6 } } as const;
  await expect(lab.controller.addEndpoint(at)).rejects.toMatchObject({
    code: 'internal',
    message: expect.stringContaining('OFPFMFC_TABLE_FULL'),
  });
  expect(lab.controller.hasEndpoint('extra')).toBe(false);
  await until('clean table', async () =>
    (await lab.flows('in_port=6')).every((line) => line.startsWith('priority=9,')),
  );
  await lab.ovs.vsctl('clear', 'bridge', 'br0', 'flow_tables');
  await lab.controller.addEndpoint(at);
});

test('routes that the table refuses are not believed in, and the packets arrive all the same', async () => {
  await lab.ovs.vsctl(
    ...['--', '--id=@t', 'create', 'Flow_Table', 'flow_limit=1', 'overflow_policy=refuse'],
    ...['--', 'set', 'bridge', 'br0', 'flow_tables:2=@t'],
  );
  const { routes, errors } = lab.controller.counters();
  lab.forget();
  await lab.inject(3, frameFrom(blue, OUTSIDE, udp('other table')));
  await lab.leaving(10, 1);
  await lab.controller.removeEndpoint(two.id);
  const again = lab.controller.addEndpoint({ ...two, id: 'again' });
  await again;
  await lab.settled();
  await lab.inject(1, frameFrom(one, two.ip, udp('without a route')));
  expect((await lab.leaving(2, 1)).map((frame) => frame.subarray(42).toString())).toEqual(['without a route']);
  await until('errors', () => lab.controller.counters().errors >= errors + 2);
  expect(lab.controller.counters().routes).toBe(routes);
});

test('what is no OpenFlow ends its own connection and nothing else', async () => {
  const closed = async (bytes: Buffer) => {
    const socket = connect(lab.socket);
    socket.write(bytes);
    socket.resume();
    await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  };
  await closed(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await closed(Buffer.from('0500000400000000', 'hex'));
  // OpenFlow 1.0 only: told what to change.
  await closed(Buffer.from('0100000800000001', 'hex'));
  // Greets twice; and says it is a datapath that is too short.
  await closed(Buffer.from('05000008000000010500000800000001', 'hex'));
  await closed(Buffer.from('0500000800000001' + '0506000800000002', 'hex'));
  lab.forget();
  await lab.inject(1, frameFrom(one, two.ip, udp('undisturbed')));
  expect(await lab.leaving(2, 1)).toHaveLength(1);
  expect(lab.controller.counters()).toMatchObject({ datapaths: 1, protocolErrors: 5 });
});

test('every endpoint has its meter', async () => {
  const text = await meters();
  for (const { location } of endpoints) expect(text).toContain(`meter=${location.portNo} pktps burst`);
});
