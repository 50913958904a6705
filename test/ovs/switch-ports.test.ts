// Ports against a real OVS with the dummy datapath, where every name is a device that can be opened.
import { systemClock } from '../../src/base/clock';
import { select } from '../../src/ovsdb/operations';
import { Switch, type PortChange, type SwitchOptions } from '../../src/switch/switch';
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
    owner: 'host-1',
    clock: systemClock,
    random: Math.random,
  };
  ovsSwitch = new Switch(options);
  ovsSwitch.start();
  await ovsSwitch.ensureBridge();
});
afterEach(async () => {
  ovsSwitch.stop();
  await ovs.stop();
});

const externalIds = { daolinet: 'endpoint-1' };

test('a port is added with its number and ids, adding again changes nothing, and removing leaves no rows', async () => {
  expect(await ovsSwitch.addPort({ name: 'p1', ofportRequest: 17, externalIds })).toBe(17);
  expect(await ovs.ofctl('show', 'br-int')).toContain('17(p1)');
  expect(await ovs.vsctl('get', 'interface', 'p1', 'external_ids')).toBe(
    '{daolinet=endpoint-1, daolinet-owner=host-1}',
  );
  expect(await ovs.vsctl('get', 'port', 'p1', 'external_ids')).toBe('{daolinet=endpoint-1, daolinet-owner=host-1}');
  const version = () => ovsSwitch.client.transact([select('Port', [], ['name', '_version'])]);
  const before = await version();
  expect(await ovsSwitch.addPort({ name: 'p1', ofportRequest: 17, externalIds })).toBe(17);
  expect(await version()).toEqual(before);
  await ovsSwitch.addPort({ name: 'p1', externalIds: { daolinet: 'endpoint-2' } });
  expect(ovsSwitch.ports()).toEqual([
    {
      name: 'p1',
      portNo: 17,
      error: undefined,
      externalIds: new Map([
        ['daolinet', 'endpoint-2'],
        ['daolinet-owner', 'host-1'],
      ]),
    },
  ]);
  await ovsSwitch.removePort('p1');
  await ovsSwitch.removePort('p1');
  expect(ovsSwitch.ports()).toEqual([]);
  expect(await ovs.vsctl('--bare', '--columns=name', 'list', 'interface')).toBe('br-int');
});

test('a device that cannot be opened rejects with the words of OVS, and the port is gone again', async () => {
  const bad = { name: 'bad', type: 'nonsense' as '', externalIds };
  await expect(ovsSwitch.addPort(bad)).rejects.toMatchObject({
    code: 'internal',
    subject: 'bad',
    message: /could not open network device bad/,
  });
  expect(await ovs.vsctl('list-ports', 'br-int')).toBe('');
});

test('an internal port gets its address, and a new one later', async () => {
  const portNo = await ovsSwitch.ensureInternalPort('daoli0', { mac: '02:da:00:00:00:02', ofportRequest: 2 });
  expect(portNo).toBe(2);
  expect(await ovs.vsctl('get', 'interface', 'daoli0', 'mac_in_use')).toBe('"02:da:00:00:00:02"');
  expect(await ovsSwitch.ensureInternalPort('daoli0', { mac: '02:da:00:00:00:03' })).toBe(2);
  expect(await ovs.vsctl('get', 'interface', 'daoli0', 'mac')).toBe('"02:da:00:00:00:03"');
});

test('a port of somebody else, on our bridge or another, is a conflict and is neither listed nor removed', async () => {
  await ovs.vsctl('add-port', 'br-int', 'theirs');
  await ovs.vsctl(
    'add-br',
    'br-x',
    '--',
    'set',
    'bridge',
    'br-x',
    'datapath_type=dummy',
    '--',
    'add-port',
    'br-x',
    'far',
  );
  for (const name of ['theirs', 'far', 'br-x', 'br-int']) {
    await expect(ovsSwitch.addPort({ name, externalIds })).rejects.toMatchObject({ code: 'conflict', subject: name });
    await expect(ovsSwitch.removePort(name)).rejects.toMatchObject({ code: 'conflict', subject: name });
  }
  expect(ovsSwitch.ports()).toEqual([]);
  expect(await ovs.vsctl('list-ports', 'br-int')).toBe('theirs');
});

test('a hundred ports at once get a hundred numbers; added and removed together, a port ends as asked last', async () => {
  const names = Array.from({ length: 100 }, (_, index) => `p${index}`);
  const numbers = await Promise.all(names.map((name) => ovsSwitch.addPort({ name, externalIds })));
  expect(new Set(numbers).size).toBe(100);
  await Promise.all([
    ...names.map((name) => ovsSwitch.removePort(name)),
    ovsSwitch.addPort({ name: 'p7', externalIds }),
    ovsSwitch.addPort({ name: 'p7', externalIds }),
  ]);
  expect(ovsSwitch.ports().map(({ name }) => name)).toEqual(['p7']);
});

test('changes of ports are told: came, numbered, changed, gone', async () => {
  const seen: string[] = [];
  const tell = ({ name, old, port }: PortChange) =>
    seen.push(`${name} ${old?.portNo ?? '-'} ${port?.portNo ?? '-'} ${port ? 'is' : 'gone'}`);
  const end = ovsSwitch.onPortChange(tell);
  await ovsSwitch.addPort({ name: 'p1', ofportRequest: 5, externalIds });
  await ovs.vsctl('set', 'interface', 'p1', 'ofport_request=6');
  await ovsSwitch.removePort('p1');
  end();
  await ovsSwitch.addPort({ name: 'p2', externalIds });
  expect(seen).toEqual(['p1 - - is', 'p1 - 5 is', 'p1 5 6 is', 'p1 6 - gone']);
});

test('the number stays over a restart of ovs-vswitchd, and a port added meanwhile gets its number after it', async () => {
  await ovsSwitch.addPort({ name: 'p1', ofportRequest: 33, externalIds });
  await ovs.killVswitchd();
  const added = ovsSwitch.addPort({ name: 'p2', ofportRequest: 34, externalIds });
  await ovs.startVswitchd();
  expect(await added).toBe(34);
  expect(ovsSwitch.port('p1')?.portNo).toBe(33);
});

test('ports that are being added while ovsdb-server restarts are added once', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `p${index}`);
  const added = Promise.all(names.map((name) => ovsSwitch.addPort({ name, externalIds })));
  await ovs.ovsdb.kill('SIGKILL');
  const late = ovsSwitch.addPort({ name: 'late', externalIds });
  await ovs.ovsdb.restart();
  expect(new Set([...(await added), await late]).size).toBe(21);
  expect(ovsSwitch.ports()).toHaveLength(21);
});

test('without ovs-vswitchd the deadline rejects and the port is gone again', async () => {
  const other = new Switch({ ...options, deadlineMs: 100 });
  other.start();
  await ovs.killVswitchd();
  await expect(other.addPort({ name: 'p1', externalIds })).rejects.toMatchObject({ code: 'unavailable' });
  expect(other.ports()).toEqual([]);
  other.stop();
});

test('a port for a new device under a name that is taken is made anew, after OVS has let go of the old one', async () => {
  const log: string[] = [];
  ovsSwitch.onPortChange(({ port }) => log.push(port === undefined ? 'gone' : `${port.portNo ?? 'unnumbered'}`));
  await ovsSwitch.addPort({ name: 'p1', ofportRequest: 4, externalIds });
  await ovsSwitch.addPort({ name: 'p1', ofportRequest: 4, externalIds, isNewDevice: true });
  await ovsSwitch.removePort('p1');
  await ovsSwitch.addPort({ name: 'p1', ofportRequest: 4, externalIds });
  const once = ['unnumbered', '4', 'gone'];
  expect(log).toEqual([...once, ...once, 'unnumbered', '4']);
  // A port that OVS let go of and took again has been told of as deleted and added.
  expect(
    ovs
      .vswitchd()
      .log()
      .match(/deleted interface p1 on port 4/g),
  ).toHaveLength(2);
});

test('a frozen ovsdb-server does not hold a call beyond its deadline', async () => {
  const other = new Switch({ ...options, deadlineMs: 200 });
  other.start();
  await other.whenReady();
  ovs.ovsdb.daemon().signal('SIGSTOP');
  try {
    await expect(other.addPort({ name: 'p1', externalIds })).rejects.toMatchObject({ code: 'unavailable' });
  } finally {
    ovs.ovsdb.daemon().signal('SIGCONT');
    other.stop();
  }
});

test('what is under way when the switch is stopped rejects at once', async () => {
  ovs.ovsdb.daemon().signal('SIGSTOP');
  const started = performance.now();
  const added = ovsSwitch.addPort({ name: 'p1', externalIds });
  const refused = expect(added).rejects.toMatchObject({ code: 'unavailable' });
  ovsSwitch.stop();
  await refused;
  await expect(ovsSwitch.removePort('p1')).rejects.toMatchObject({ code: 'unavailable' });
  ovs.ovsdb.daemon().signal('SIGCONT');
  expect(performance.now() - started).toBeLessThan(4_000);
});
