// A host stands by for another: the other's Open vSwitch (a real one, with the dummy datapath) connects to it, and when told it
// serves that datapath from its own replica of the directory, as the other's own controller would.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { parseCidr } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { DatapathStandbys } from '../../src/datapath-standbys';
import { hostLocator } from '../../src/directory/allocation';
import { setPair } from '../../src/directory/control-operations';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointRow } from '../../src/directory/rows';
import { planSwitch } from '../../src/directory/switch-operations';
import { formatProfile } from '../../src/flow-profile';
import { Controller } from '../../src/flowctl/controller';
import type { FlowHost } from '../../src/flowctl/model';
import { addContainer, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';
import { FABRIC_PORT, frameFrom, HOST_MAC, HOST_PORT, udp, until } from './flowctl-lab';
import { startOvs, type Ovs } from './ovs';

const RANGE = parseCidr('100.64.0.0/10');
const SETTINGS = { idleTimeoutSeconds: 300, packetInRate: 1000, packetInBurst: 1000, maxRoutesPerEndpoint: 4096 };

let ovs: Ovs;
let cluster: SmallCluster;
let standbys: DatapathStandbys;
let door: Server;
let own: Controller;
const events: string[] = [];

const endpointOf = (name: string) =>
  [...cluster.h2.view.endpoints()].find((row) => row.containerName === name) as EndpointRow;

function hostAround(): FlowHost {
  const row = cluster.h1.view.host('h1')!;
  return {
    routerMac: row.routerMac,
    hostPort: { portNo: HOST_PORT, mac: HOST_MAC },
    hostAddress: hostLocator(row, RANGE)!,
    serverAddress: row.address!,
    fabric: { portNo: FABRIC_PORT, mtu: 1500, isNarrow: false },
    hasTunnels: false,
    locatorRange: RANGE,
    kernelDatapath: false,
  };
}

beforeEach(async () => {
  events.length = 0;
  ovs = await startOvs();
  cluster = await createSmallCluster();
  const profile = formatProfile({ ...hostAround(), settings: SETTINGS });
  await change(cluster.h1, (context) => planSwitch(context, { generation: 1, backups: ['h2'], profile }));
  standbys = new DatapathStandbys({
    store: cluster.h2,
    locatorRange: RANGE,
    settings: SETTINGS,
    clock: systemClock,
    logger: silentLogger,
  });
  standbys.onConnected((host, isConnected) => void events.push(`${host} ${isConnected ? 'came' : 'went'}`));
  standbys.onDemoted((host) => void events.push(`${host} demoted`));
  door = createServer((socket: Socket) => standbys.accept(socket, 'h1'));
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  own = new Controller({ path: join(ovs.rundir, 'o.sock'), clock: systemClock, logger: silentLogger });
  own.setHost(hostAround());
});
afterEach(async () => {
  standbys.stop();
  door.close();
  await own.stop();
  await ovs.stop();
});

/** The datapath of h1, with the ports of its containers, connected to h2. */
async function connect(datapathId = cluster.h1.view.host('h1')!.datapathId): Promise<void> {
  const words = ['add-br', 'br0', '--', 'set', 'bridge', 'br0', 'datapath_type=dummy', 'fail_mode=secure'];
  words.push('protocols=OpenFlow14', 'other-config:disable-in-band=true', `other-config:datapath-id=${datapathId}`);
  words.push('--', 'set-controller', 'br0', `tcp:127.0.0.1:${(door.address() as AddressInfo).port}`);
  words.push(`unix:${join(ovs.rundir, 'o.sock')}`);
  const portNos = [...cluster.h1.view.endpointsOn('h1')].map(({ portNo }) => portNo);
  for (const portNo of [...portNos, HOST_PORT, FABRIC_PORT]) {
    words.push('--', 'add-port', 'br0', `p${portNo}`, '--', 'set', 'interface', `p${portNo}`, 'type=dummy');
    words.push(`ofport_request=${portNo}`);
  }
  await ovs.vsctl(...words);
}

const flows = async (...match: string[]) => {
  const text = await ovs.ofctl('--no-names', '--no-stats', 'dump-flows', 'br0', ...match);
  return text.split('\n').filter((line) => line.includes('actions='));
};
const routes = async () => (await flows()).filter((line) => line.includes('idle_timeout=300'));

/** The first packet of one container to another. */
async function send(from: EndpointRow, to: EndpointRow): Promise<void> {
  const end = { mac: from.mac, ip: from.address };
  const frame = frameFrom(end, to.address, udp('x'), cluster.h1.view.host('h1')!.routerMac);
  await ovs.appctl('netdev-dummy/receive', `p${from.portNo}`, frame.toString('hex'));
}

test('a datapath that has connected is a slave’s, and nothing is done for it', async () => {
  await connect();
  await until('connection', () => standbys.of('h1').isConnected);
  expect(events).toEqual(['h1 came']);
  expect(standbys.of('h1').isMaster).toBe(false);
  expect(await flows()).toEqual([]);
  standbys.stop();
  await until('end', () => events.length > 1);
  expect(events[1]).toBe('h1 went');
});

test('one that is another than the certificate says is turned away', async () => {
  await connect('00000000000000ff');
  await new Promise<void>((resolve) => door.once('connection', (socket) => socket.once('close', () => resolve())));
  expect(events).toEqual([]);
  expect(await standbys.of('h1').take(1n)).toBe('away');
});

test('its master serves it: routes here and to other hosts, what the policy says, and what goes', async () => {
  await connect();
  await until('connection', () => standbys.of('h1').isConnected);
  expect(await standbys.of('h1').take(2n)).toBe('master');
  const [ann, bob, dan] = ['ann', 'bob', 'dan'].map(endpointOf) as [EndpointRow, EndpointRow, EndpointRow];
  await until('flows', async () => (await flows(`table=0,in_port=${ann.portNo}`)).length > 0);
  await send(ann, bob);
  await send(ann, dan);
  await until('routes', async () => (await routes()).length === 4);

  await change(cluster.h2, (context) => setPair(context, 'container:ann', 'container:bob', false));
  await until('end of the route of a pair that is apart', async () => (await routes()).length === 2);
  await change(cluster.h2, (context) => deleteEndpoint(context, dan.id));
  await until('end of the route to who is gone', async () => (await routes()).length === 0);
  const eve = await addContainer(cluster.h2, 'eve', 'red', '10.1.0.5');
  await send(ann, eve);
  await until('route to who is new', async () => (await routes()).length === 2);
});

test('another master ends it, and its flows stay; it may be told again, but not with what is over', async () => {
  await connect();
  await until('connection', () => standbys.of('h1').isConnected);
  const standby = standbys.of('h1');
  expect(await standby.take(2n)).toBe('master');
  const [ann, bob] = ['ann', 'bob'].map(endpointOf) as [EndpointRow, EndpointRow];
  await until('flows', async () => (await flows(`table=0,in_port=${ann.portNo}`)).length > 0);
  await send(ann, bob);
  await until('routes', async () => (await routes()).length === 2);
  const view = cluster.h1.view;
  for (const { id, key, tenant } of view.networks()) {
    const pools = [...view.poolsOfNetwork(id)].map(({ cidr }) => cidr);
    own.setNetwork({ id, key, tenant: view.tenant(tenant)!.number, pools, internal: false });
  }
  await own.start();
  await until('own master', () => own.counters().datapaths === 1);
  await until('demotion', () => events.includes('h1 demoted'));
  expect(standby).toMatchObject({ isConnected: true, isMaster: false });
  expect(await standby.take(2n)).toBe('stale');
  expect(standby.isMaster).toBe(false);
  await own.stop();
  expect(await standby.take(9n)).toBe('master');
  standby.release();
  expect(standby.isMaster).toBe(false);
  expect(standby.isConnected).toBe(true);
  // Before the datapath has agreed to the one, the other.
  expect(await standby.take(10n)).toBe('master');
  const taken = standby.take(11n);
  standby.release();
  expect(await taken).toBe('away');
  await until('end of its work', () => !standby.isMaster);
  expect(await standby.take(12n)).toBe('master');
  await send(bob, ann);
  await change(cluster.h2, (context) => setPair(context, 'container:ann', 'container:bob', false));
  await until('end of the route of a pair that is apart', async () => (await routes()).length === 0);
});
