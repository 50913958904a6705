// The bridge and its controller against a real OVS with the dummy datapath.
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { once } from 'node:events';
import { systemClock } from '../../src/base/clock';
import { Switch, type SwitchOptions } from '../../src/switch/switch';
import { startOvs, type Ovs } from './ovs';

let ovs: Ovs;
let options: SwitchOptions;
let ovsSwitch: Switch;

beforeEach(async () => {
  ovs = await startOvs();
  options = {
    remote: ovs.dbRemote,
    bridge: 'br-int',
    controllerTarget: `unix:${ovs.rundir}/of.sock`,
    datapathId: '0000da0100000001',
    datapathType: 'dummy',
    hwaddr: '02:da:00:00:00:01',
    owner: 'host-1',
    clock: systemClock,
    random: Math.random,
  };
  ovsSwitch = new Switch(options);
  ovsSwitch.start();
});
afterEach(async () => {
  ovsSwitch.stop();
  await ovs.stop();
});

test('the bridge comes with its whole profile, and OVS connects to its controller', async () => {
  const controller = createServer().listen(join(ovs.rundir, 'of.sock'));
  const connected = once(controller, 'connection');
  await ovsSwitch.ensureBridge();
  const [socket] = await connected;
  socket.destroy();
  controller.close();
  const get = (table: string, record: string, ...columns: string[]) => ovs.vsctl('get', table, record, ...columns);
  expect(
    (await get('bridge', 'br-int', 'fail_mode', 'protocols', 'datapath_type', 'external_ids')).split('\n'),
  ).toEqual(['secure', '[OpenFlow13, OpenFlow14, OpenFlow15]', 'dummy', '{daolinet-owner=host-1}']);
  expect(await get('bridge', 'br-int', 'datapath_id')).toBe('"0000da0100000001"');
  expect(await get('interface', 'br-int', 'mac_in_use')).toBe('"02:da:00:00:00:01"');
  const [uuid = ''] = (await get('bridge', 'br-int', 'controller')).match(/[0-9a-f-]{36}/) ?? [];
  const columns = [
    'connection_mode',
    'max_backoff',
    'inactivity_probe',
    'controller_rate_limit',
    'controller_queue_size',
  ];
  expect((await get('controller', uuid, ...columns)).split('\n')).toEqual([
    'out-of-band',
    '1000',
    '5000',
    '10000',
    '511',
  ]);
});

test('ensuring twice changes nothing; what somebody changed is mended; foreign keys and controllers stay', async () => {
  await ovsSwitch.ensureBridge();
  const configuration = await ovs.vsctl('get', 'open_vswitch', '.', 'next_cfg');
  await ovsSwitch.ensureBridge();
  expect(await ovs.vsctl('get', 'open_vswitch', '.', 'next_cfg')).toBe(configuration);
  const [uuid = ''] = (await ovs.vsctl('get', 'bridge', 'br-int', 'controller')).match(/[0-9a-f-]{36}/) ?? [];
  await ovs.vsctl(
    ...['--id=@c', 'create', 'controller', 'target="unix:backup"', '--', 'add', 'bridge', 'br-int', 'controller', '@c'],
    ...['--', 'set', 'bridge', 'br-int', 'fail_mode=standalone', 'other_config:datapath-id=00000000000000ff'],
    ...['other_config:mine=1', '--', 'set', 'controller', uuid, 'target="unix:elsewhere"', 'max_backoff=8000'],
  );
  await ovsSwitch.ensureBridge();
  expect(await ovs.vsctl('get', 'bridge', 'br-int', 'fail_mode')).toBe('secure');
  expect(await ovs.vsctl('get', 'bridge', 'br-int', 'other_config')).toBe(
    '{datapath-id="0000da0100000001", disable-in-band="true", forward-bpdu="false", hwaddr="02:da:00:00:00:01", mine="1"}',
  );
  const targets = await ovs.vsctl('--bare', '--columns=target', 'list', 'controller');
  expect(targets.split('\n').filter(Boolean).sort()).toEqual([options.controllerTarget, 'unix:backup']);
  expect(await ovs.vsctl('get', 'controller', uuid, 'max_backoff')).toBe('1000');
});

test("somebody else's bridge is refused and left alone", async () => {
  await ovs.vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=dummy');
  await expect(ovsSwitch.ensureBridge()).rejects.toMatchObject({ code: 'conflict', subject: 'br-int' });
  expect(await ovs.vsctl('get', 'bridge', 'br-int', 'fail_mode')).toBe('[]');
});

test('a datapath that OVS cannot make is refused, and the bridge is gone again', async () => {
  const other = new Switch({ ...options, datapathType: 'nonsense' as 'dummy' });
  other.start();
  await expect(other.ensureBridge()).rejects.toMatchObject({ code: 'unsupported' });
  other.stop();
  expect(await ovs.vsctl('list-br')).toBe('');
});

test('a bridge that is removed is noticed, and can be made again', async () => {
  await ovsSwitch.ensureBridge();
  const lost = new Promise<void>((resolve) => ovsSwitch.onBridgeLost(resolve));
  await ovs.vsctl('del-br', 'br-int');
  await lost;
  await ovsSwitch.ensureBridge();
  expect(await ovs.vsctl('list-br')).toBe('br-int');
});

test('without ovs-vswitchd, and without ovsdb-server, the deadline says what is missing', async () => {
  const other = new Switch({ ...options, deadlineMs: 200 });
  other.start();
  await ovs.killVswitchd();
  await expect(other.ensureBridge()).rejects.toMatchObject({ code: 'unavailable', message: /ovs-vswitchd/ });
  await ovs.ovsdb.kill();
  await expect(other.ensureBridge()).rejects.toMatchObject({ code: 'unavailable', message: /ovsdb-server/ });
  other.stop();
});

test('capabilities tell versions and types; global settings are set beside those of others', async () => {
  await ovs.vsctl('set', 'open_vswitch', '.', 'other_config:mine=1');
  await ovsSwitch.whenReady();
  expect(ovsSwitch.capabilities.datapathTypes).toContain('dummy');
  expect(ovsSwitch.capabilities.interfaceTypes).toContain('internal');
  await ovsSwitch.setGlobalConfig({ 'max-idle': '20000' });
  expect(await ovs.vsctl('get', 'open_vswitch', '.', 'other_config')).toBe('{max-idle="20000", mine="1"}');
});

describe('a controller that was away', () => {
  const path = () => join(ovs.rundir, 'of.sock');
  /** An agent that is there: OVS has a connection when both have said hello. */
  async function listen(): Promise<{ afterMs: number; close: () => void }> {
    const server = createServer().listen(path());
    const startedAt = Date.now();
    const [socket] = (await once(server, 'connection')) as [Socket];
    const afterMs = Date.now() - startedAt;
    const hello = once(socket, 'data');
    socket.write(Buffer.from([5, 0, 0, 8, 0, 0, 0, 1]));
    await hello;
    const close = () => {
      socket.destroy();
      server.close();
    };
    return { afterMs, close };
  }
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

  test('is connected to at once when told, each time; flows and others’ rows stay', async () => {
    await ovsSwitch.ensureBridge();
    await ovs.ofctl('add-flow', 'br-int', 'cookie=0x7,priority=9,actions=drop');
    for (const awayMs of [20_000, 100]) {
      await pause(awayMs);
      const listening = listen();
      await ovsSwitch.redial();
      const { afterMs, close } = await listening;
      expect(afterMs).toBeLessThan(3_000); // by itself, up to 8 s later
      close();
    }
    expect(await ovs.ofctl('dump-flows', 'br-int')).toContain('cookie=0x7');
    expect(ovsSwitch.inspect()).toEqual({ differences: 0, otherControllers: [] });
    expect((await ovs.vsctl('get-controller', 'br-int')).trim().split('\n')).toHaveLength(1);
  }, 60_000);

  test('is tried every second, once OVS has looked at its configuration while it was there', async () => {
    await ovsSwitch.ensureBridge();
    const { close } = await listen();
    await ovsSwitch.reconfigure();
    close();
    // OVS that backs off tries after 1, 3, 7 and 15 s.
    await pause(8_000);
    const again = await listen();
    expect(again.afterMs).toBeLessThan(3_000);
    again.close();
  }, 60_000);
});
