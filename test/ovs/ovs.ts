// A private Open vSwitch in a temporary folder: ovsdb-server and ovs-vswitchd with the dummy datapath, so no privileges
// and no kernel module are needed and nothing of the machine's own OVS is touched. Controllers' unix sockets must stand
// under `rundir`, the only place where ovs-vswitchd takes them from.

import { join } from 'node:path';
import { runTool, startDaemon, type Daemon } from './process';
import { startOvsdbServer, VSWITCH_SCHEMA, type OvsdbServer } from './ovsdb-server';

export interface OvsOptions {
  /** The dummy datapath (the default), or the real ones, which take root. */
  readonly dummy?: boolean;
  /** Put in front of ovs-vswitchd's command line, as `['nsenter', …]`. */
  readonly wrapper?: readonly string[];
}

export interface Ovs {
  /** OVS_RUNDIR: `db.sock`, controllers' and bridges' sockets. Short enough for a unix socket's path. */
  readonly rundir: string;
  /** `unix:<rundir>/db.sock`. */
  readonly dbRemote: string;
  readonly ovsdb: OvsdbServer;
  readonly vswitchd: () => Daemon;
  /** `ovs-vsctl` on this database; waits for ovs-vswitchd unless told `--no-wait`. Returns its output. */
  vsctl(...args: string[]): Promise<string>;
  /** `ovs-ofctl`, with OpenFlow 1.4 where the bridge takes it; a bridge may be given by its name. */
  ofctl(...args: string[]): Promise<string>;
  /** `ovs-appctl` to ovs-vswitchd, as `ofproto/trace` and `netdev-dummy/receive`. */
  appctl(...args: string[]): Promise<string>;
  killVswitchd(signal?: NodeJS.Signals): Promise<void>;
  startVswitchd(): Promise<void>;
  restartVswitchd(): Promise<void>;
  restartOvsdbServer(): Promise<void>;
  /** Ends both daemons and removes the folder. Idempotent. */
  stop(): Promise<void>;
}

/** Ours for bridges that take only those, and OVS's default for others. */
const VERSIONS = ['-O', 'OpenFlow10,OpenFlow13,OpenFlow14'];
const READY = /bridge\|INFO\|ovs-vswitchd \(Open vSwitch\)/;

/** Starts a private Open vSwitch, ready for bridges. */
export async function startOvs(options: OvsOptions = {}): Promise<Ovs> {
  const ovsdb = await startOvsdbServer({ schema: VSWITCH_SCHEMA });
  const rundir = ovsdb.dir;
  const ctl = join(rundir, 'vswitchd.ctl');
  const env = { OVS_RUNDIR: rundir, OVS_LOGDIR: rundir, OVS_DBDIR: rundir, OVS_SYSCONFDIR: rundir };
  const dummy = options.dummy === false ? [] : ['--enable-dummy=override', '--disable-system'];
  const argv = ['ovs-vswitchd', '-vconsole:info', `--unixctl=${ctl}`, '--no-chdir', ...dummy, ovsdb.remote];
  const startVswitchd = async () => {
    vswitchd = await startDaemon([...(options.wrapper ?? []), ...argv], env, READY);
  };
  let vswitchd: Daemon;
  try {
    await runTool(['ovs-vsctl', `--db=${ovsdb.remote}`, '--no-wait', 'init'], env);
    await startVswitchd();
  } catch (error) {
    await ovsdb.stop();
    throw error;
  }
  return {
    rundir,
    dbRemote: ovsdb.remote,
    ovsdb,
    vswitchd: () => vswitchd,
    vsctl: (...args) => runTool(['ovs-vsctl', `--db=${ovsdb.remote}`, '--timeout=15', ...args], env),
    ofctl: (...args) => runTool(['ovs-ofctl', ...VERSIONS, '--timeout=15', ...args], env),
    appctl: (...args) => runTool(['ovs-appctl', '-t', ctl, ...args], env),
    killVswitchd: (signal = 'SIGKILL') => vswitchd.end(signal),
    startVswitchd,
    restartVswitchd: async () => {
      await vswitchd.end();
      await startVswitchd();
    },
    restartOvsdbServer: () => ovsdb.restart(),
    stop: async () => {
      await vswitchd.end();
      await ovsdb.stop();
    },
  };
}
