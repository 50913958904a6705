// A private ovsdb-server in a temporary folder, standalone or one member of a local Raft cluster. It takes nothing from
// the machine's own OVS but the programs.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTool, startDaemon, type Daemon } from './process';

export const VSWITCH_SCHEMA = '/usr/share/openvswitch/vswitch.ovsschema';

export interface OvsdbServerOptions {
  /** A schema file, or a <database-schema> as an object. */
  readonly schema: string | object;
  /** More arguments of ovsdb-server, such as `--remote=pssl:…`. */
  readonly args?: readonly string[];
  /** Makes the first member of a Raft cluster instead of a standalone database. */
  readonly clustered?: boolean;
}

export interface OvsdbServer {
  readonly dir: string;
  /** How clients reach it: `unix:<dir>/db.sock`. */
  readonly remote: string;
  readonly daemon: () => Daemon;
  /** Ends the process (SIGTERM if no signal is given) and leaves its file. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same file and address. */
  restart(): Promise<void>;
  /** `ovs-appctl` to this server. */
  appctl(...args: string[]): Promise<string>;
  /** Ends it and removes its folder. Idempotent. */
  stop(): Promise<void>;
}

const READY = /ovsdb_server\|INFO\|ovsdb-server \(Open vSwitch\)/;

/** Starts a private ovsdb-server with an empty database of that schema. */
export async function startOvsdbServer(options: OvsdbServerOptions): Promise<OvsdbServer> {
  const dir = await mkdtemp(join(tmpdir(), 'ovsdb-'));
  const schemaFile = typeof options.schema === 'string' ? options.schema : join(dir, 'schema');
  if (typeof options.schema !== 'string') await writeFile(schemaFile, JSON.stringify(options.schema));
  const file = join(dir, 'db');
  if (options.clustered) {
    await runTool(['ovsdb-tool', 'create-cluster', file, schemaFile, `unix:${dir}/raft.sock`]);
  } else {
    await runTool(['ovsdb-tool', 'create', file, schemaFile]);
  }
  return serve(dir, file, options.args ?? []);
}

export interface OvsdbCluster {
  readonly members: readonly OvsdbServer[];
  readonly remotes: readonly string[];
  /** Ends all members and removes their folders. */
  stop(): Promise<void>;
}

/** Starts a Raft cluster of `count` members on unix sockets and waits until all have joined. */
export async function startOvsdbCluster(schema: object & { name: string }, count: number): Promise<OvsdbCluster> {
  const first = await startOvsdbServer({ schema, clustered: true });
  const members = [first];
  const stop = async () => {
    await Promise.all(members.map((member) => member.stop()));
  };
  try {
    for (let index = 1; index < count; index += 1) {
      const dir = await mkdtemp(join(tmpdir(), 'ovsdb-'));
      const addresses = [`unix:${dir}/raft.sock`, `unix:${first.dir}/raft.sock`];
      await runTool(['ovsdb-tool', 'join-cluster', join(dir, 'db'), schema.name, ...addresses]);
      members.push(await serve(dir, join(dir, 'db'), []));
    }
    for (const { remote } of members) {
      await runTool(['ovsdb-client', '--timeout=15', 'wait', remote, schema.name, 'connected']);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { members, remotes: members.map((member) => member.remote), stop };
}

async function serve(dir: string, file: string, args: readonly string[]): Promise<OvsdbServer> {
  const remote = `unix:${dir}/db.sock`;
  const ctl = join(dir, 'ctl');
  const argv = ['ovsdb-server', '-vconsole:info', `--remote=p${remote}`, `--unixctl=${ctl}`, '--no-chdir'];
  const env = { OVS_RUNDIR: dir, OVS_LOGDIR: dir, OVS_DBDIR: dir, OVS_SYSCONFDIR: dir };
  const start = () => startDaemon([...argv, ...args, file], env, READY);
  const clean = () => rm(dir, { recursive: true, force: true });
  let daemon: Daemon;
  try {
    daemon = await start();
  } catch (error) {
    await clean();
    throw error;
  }
  return {
    dir,
    remote,
    daemon: () => daemon,
    kill: (signal) => daemon.end(signal),
    restart: async () => {
      await daemon.end();
      daemon = await start();
    },
    appctl: (...words) => runTool(['ovs-appctl', '-t', ctl, ...words]),
    stop: async () => {
      await daemon.end();
      await clean();
    },
  };
}
