// Serving the datapath of another host from the directory: what its controller is told, and the datapaths at this host's door.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseMac } from '../../src/base/addresses';
import { silentLogger, type Logger } from '../../src/base/logger';
import { DatapathStandbys } from '../../src/datapath-standbys';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import type { DirectoryChange, EndpointRow } from '../../src/directory/rows';
import { planSwitch } from '../../src/directory/switch-operations';
import { planTunnel } from '../../src/directory/tunnel-operations';
import { formatProfile, type FlowProfile } from '../../src/flow-profile';
import { OFPT } from '../../src/openflow/constants';
import { StandbyController } from '../../src/standby-controller';
import { attach, FakeDatapath } from '../fakes/fake-datapath';
import { ManualClock } from '../fakes/manual-clock';
import { addContainer, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

const locatorRange = parseCidr('100.64.0.0/10');
const PROFILE: FlowProfile = {
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  kernelDatapath: false,
  settings: { idleTimeoutSeconds: 60, packetInRate: 1000, packetInBurst: 1000, maxRoutesPerEndpoint: 4096 },
};

let cluster: SmallCluster;
let problems: string[];
const logger: Logger = {
  ...silentLogger,
  info: (message, fields) => void problems.push(`${message} ${JSON.stringify(fields)}`),
  error: (message, fields) => void problems.push(`${message} ${JSON.stringify(fields)}`),
};
const settled = () => new Promise((resolve) => setTimeout(resolve, 20));
const tell = (profile: string) =>
  change(cluster.h1, (context) => planSwitch(context, { generation: 1, backups: ['h2'], profile }));

beforeEach(async () => {
  problems = [];
  cluster = await createSmallCluster();
});

describe('the controller of another host’s datapath', () => {
  let standby: StandbyController;
  let listener: (changes: readonly DirectoryChange[]) => void;
  let profile: FlowProfile;

  beforeEach(() => {
    profile = PROFILE;
    const { h2 } = cluster;
    const store = {
      view: h2.view,
      onChange: (each: typeof listener) => {
        listener = each;
        return h2.onChange(each);
      },
    };
    const world = { clock: new ManualClock(), logger, locatorRange, settings: { packetInRate: 1000 } };
    standby = new StandbyController({ ...world, store, host: 'h1', profile: () => profile });
  });
  afterEach(() => standby.stop());

  test('knows the host around it from the directory, and follows what changes there', async () => {
    await standby.load();
    const { routerMac, address } = cluster.h2.view.host('h1')!;
    expect(standby.controller.flowHost).toMatchObject({ routerMac, serverAddress: address, hasTunnels: false });
    for (const [store, key] of [
      [cluster.h1, 'A'],
      [cluster.h2, 'B'],
    ] as const) {
      const tunnel = { key: `${key.repeat(42)}A=`, port: 51820, endpoint: undefined, noL2: 'said' } as const;
      await change(store, (context) => planTunnel(context, tunnel));
    }
    expect(standby.controller.flowHost).toMatchObject({ hasTunnels: true });
    profile = { ...PROFILE, fabric: { portNo: 11, mtu: 1400, isNarrow: true } };
    await tell('{}');
    expect(standby.controller.flowHost).toMatchObject({ hasTunnels: true, fabric: { mtu: 1400 } });
  });

  test('has all but what it cannot be told', async () => {
    const setNetwork = jest.spyOn(standby.controller, 'setNetwork').mockImplementationOnce(() => {
      throw new Error('no such network');
    });
    await standby.load();
    expect(setNetwork).toHaveBeenCalledTimes(3);
    expect(problems.filter((line) => line.includes('no such network'))).toHaveLength(1);
    expect([...standby.controller.endpointIds()].length).toBeGreaterThan(0);
  });

  test('knows an endpoint on another host that has the address of one that was there', async () => {
    await standby.load();
    await settled();
    problems = [];
    const bob = [...cluster.h2.view.endpointsOn('h1')].find((row) => row.containerName === 'bob') as EndpointRow;
    standby.stop();
    const changes: DirectoryChange[] = [];
    cluster.h2.onChange((each) => changes.push(...each));
    await change(cluster.h1, (context) => deleteEndpoint(context, bob.id));
    const moved = await addContainer(cluster.h2, 'bob', 'red', '10.1.0.3');
    // As one transaction, of which who came is told first.
    const isEnd = ({ kind }: DirectoryChange) => kind === 'delete';
    listener([...changes.filter((each) => !isEnd(each)), ...changes.filter(isEnd)]);
    await settled();
    expect(standby.controller.hasEndpoint(bob.id)).toBe(false);
    expect(standby.controller.hasEndpoint(moved.id)).toBe(true);
    expect(problems).toEqual([]);
  });
});

describe('datapaths at the door', () => {
  let clock: ManualClock;
  let standbys: DatapathStandbys;
  let folder: string;
  let door: Server;
  const events: string[] = [];

  beforeEach(async () => {
    events.length = 0;
    clock = new ManualClock();
    const settings = { packetInRate: 1000 };
    standbys = new DatapathStandbys({ store: cluster.h2, locatorRange, settings, clock, logger });
    standbys.onConnected((host, isConnected) => void events.push(`${host} ${isConnected ? 'came' : 'went'}`));
    folder = mkdtempSync(join(tmpdir(), 'standby-'));
    door = createServer((socket) => standbys.accept(socket, 'h1'));
    await new Promise<void>((resolve) => door.listen(join(folder, 'door'), resolve));
  });
  afterEach(() => {
    standbys.stop();
    door.close();
    clock.advance(60_000);
    rmSync(folder, { recursive: true });
  });

  const datapathId = () => BigInt(`0x${cluster.h1.view.host('h1')!.datapathId}`);

  test('can be served when what their host says can be read, and are told once where it cannot', async () => {
    const standby = standbys.of('h1');
    expect(standby.isDescribed).toBe(false);
    expect(problems).toEqual([]);
    await tell('{"fabric": 1}');
    expect([standby.isDescribed, standby.isDescribed]).toEqual([false, false]);
    expect(problems).toHaveLength(1);
    await tell(formatProfile(PROFILE));
    expect(standby.isDescribed).toBe(true);
  });

  test('one that ends with the bytes in which it agrees to be a slave’s has never come', async () => {
    class Rude extends FakeDatapath {
      override take(bytes: Buffer): Buffer {
        const answers = super.take(bytes);
        const isSlave = answers[1] === OFPT.ROLE_REPLY && answers.readUInt32BE(8) === 3;
        return isSlave ? Buffer.concat([answers, Buffer.from([5, 0, 0, 3, 0, 0, 0, 0])]) : answers;
      }
    }
    const { socket } = await attach(join(folder, 'door'), new Rude(datapathId()));
    await new Promise((resolve) => socket.once('close', resolve));
    await settled();
    expect([standbys.of('h1').isConnected, events]).toEqual([false, []]);
    await attach(join(folder, 'door'), new FakeDatapath(datapathId()));
    while (!standbys.of('h1').isConnected) await settled();
    expect([standbys.of('h1').isConnected, events]).toEqual([true, ['h1 came']]);
  });

  test('hosts that are no more are forgotten', () => {
    const gone = standbys.of('gone');
    const there = standbys.of('h1');
    standbys.of('h3');
    expect(standbys.of('gone')).not.toBe(gone);
    expect(standbys.of('h1')).toBe(there);
  });
});
