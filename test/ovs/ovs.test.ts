// The helper that all tests against OVS stand on: it starts, works, restarts, and leaves nothing behind.
import { existsSync } from 'node:fs';
import { startOvs } from './ovs';
import { startOvsdbCluster } from './ovsdb-server';

test('a private Open vSwitch starts, makes a bridge, survives a restart of both daemons and vanishes', async () => {
  const ovs = await startOvs();
  try {
    await ovs.vsctl('add-br', 'br-int', '--', 'set', 'bridge', 'br-int', 'datapath_type=dummy', 'fail_mode=secure');
    await ovs.vsctl('add-port', 'br-int', 'p1', '--', 'set', 'interface', 'p1', 'ofport_request=7');
    expect(await ovs.vsctl('get', 'interface', 'p1', 'ofport')).toBe('7');
    expect(await ovs.ofctl('dump-flows', 'br-int')).not.toContain('actions');
    await ovs.restartVswitchd();
    await ovs.restartOvsdbServer();
    expect(await ovs.appctl('dpif/show')).toContain('br-int');
  } finally {
    await ovs.stop();
  }
  expect(existsSync(ovs.rundir)).toBe(false);
  expect(() => process.kill(ovs.vswitchd().pid, 0)).toThrow();
});

test('three ovsdb-servers make a cluster', async () => {
  const schema = { name: 'Little', version: '1.0.0', tables: { T: { columns: { n: { type: 'integer' } } } } };
  const cluster = await startOvsdbCluster(schema, 3);
  try {
    expect(cluster.remotes).toHaveLength(3);
    expect(await cluster.members[2]?.appctl('cluster/status', 'Little')).toContain('Status: cluster member');
  } finally {
    await cluster.stop();
  }
});
