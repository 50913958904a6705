// An emulated host for end-to-end tests: its own network, Docker engine, Open vSwitch (userspace datapath) and plugin,
// installed from a registry, and beside it a network namespace, "outside", that stands for the internet. Nothing of this
// machine's own Docker, Open vSwitch or network is touched, and `stop()` leaves nothing behind.
//
//   outside 198.51.100.1 ──── 198.51.100.10 eth0 host: dockerd, OVS, plugin
//   (and 203.0.113.7)                            default route to outside; outside has no route back to any container
//
// With `site` it is one of several on a common L2 instead (see site.ts), or on several (internet.ts).

import { execFile } from 'node:child_process';
import { buildSync } from 'esbuild';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import * as http from 'node:http';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { Namespace, waitFor, type BackgroundCommand, type CommandOptions, type CommandResult } from './namespace';
import { copyDisk, readyDisk } from './ready-disk';
import { INTERNET } from './site';
import type { Wiring } from './wiring';

export { waitFor } from './namespace';

/** The plugin's name once installed; `-d daolinet` and `-d daolinet/daolinet:latest` are both its driver. */
export const PLUGIN = 'daolinet/daolinet:latest';
/** What the host installs the plugin from. */
export const REGISTRY = '127.0.0.1:5000';
export const REMOTE_PLUGIN = `${REGISTRY}/${PLUGIN}`;
/** The image of the test containers: busybox and iperf3. */
export const IMAGE = 'busybox';
export const HOST_ADDRESS = '198.51.100.10';
export const OUTSIDE_ADDRESS = '198.51.100.1';
/** A second address of "outside", which is nobody's neighbour. */
export const INTERNET_ADDRESS = INTERNET;

/** Where agents of a cluster answer for names, with the default locators. */
const NAMES_ADDRESS = '100.127.255.254';

const ENGINES = ['20.10', '28'] as const;
export type Engine = (typeof ENGINES)[number];

export interface HostOptions {
  /**
   * The engine: '20.10' is this machine's (Debian 12), '28' that of Debian testing, with all other programs from there.
   * The default is what the environment variable DAOLINET_TEST_DOCKER says, or else '20.10'.
   */
  readonly docker?: Engine;
  /** Settings of the plugin at its installation, such as `{ DAOLINET_IDLE_TIMEOUT: '2' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /**
   * Where it comes from. 'ready' (the default): the host starts from a disk that has it already. 'registry': it is installed from
   * there, as a user does it. 'none': there is no plugin yet; `installPlugin()` does that.
   */
  readonly plugin?: 'ready' | 'registry' | 'none';
  /** A folder of files that take the place of those of the ready plugin before it is first enabled: another version of it. */
  readonly version?: string;
  /** Without it (false) no Open vSwitch runs on the host. */
  readonly ovs?: boolean;
  /** It has a network and nothing that runs, not even a Docker engine; it starts in no time. */
  readonly isBare?: boolean;
  /** What the host is called. Default "host-a". */
  readonly name?: string;
  /** What it is plugged into, with others, in place of an "outside" of its own. */
  readonly site?: Wiring;
}

/** What runs on a host; "member" is the plugin's ovsdb-server, which serves the directory. */
export type Daemon = 'daolinetd' | 'dockerd' | 'ovs-vswitchd' | 'ovsdb-server' | 'member';

const BUILD_TIMEOUT_MS = 900_000;
const IMAGE_SCRIPT = path.join(__dirname, 'image.sh');
const DOCKER_FOLDER = '/var/lib/docker';
const GET_CAPABILITIES = { method: 'POST', path: '/NetworkDriver.GetCapabilities' };
const GET_STATUS = { path: '/v1/status' };
const LOG_LINES = 60;
const LOG_LINE_LENGTH = 400;

const NETWORK = `
set -e
ip netns add outside
ip link add eth0 type veth peer name uplink netns outside
ip addr add ${HOST_ADDRESS}/24 dev eth0
ip link set eth0 up
ip -n outside link set lo up
ip -n outside addr add ${INTERNET_ADDRESS}/32 dev lo
ip -n outside addr add ${OUTSIDE_ADDRESS}/24 dev uplink
ip -n outside link set uplink up
ip route add default via ${OUTSIDE_ADDRESS}
`;

/** Perl is part of every Debian. 17 is AF_PACKET, 0x8933 SIOCGIFINDEX; in struct sockaddr_ll the index comes third. */
const SEND_FRAME = `
  my ($name, $frame) = @ARGV;
  socket(my $socket, 17, 3, 0) or die "socket: $!";
  my $request = pack('a16 x16', $name);
  ioctl($socket, 0x8933, $request) or die "$name: $!";
  my $address = pack('S n i S C C a8', 17, 3, unpack('x16 i', $request), 0, 0, 0, '');
  send($socket, pack('H*', $frame), 0, $address) or die "send: $!";
`;

const OVS_DATABASE = '/etc/openvswitch/conf.db';
const OVS_SOCKET = '/run/openvswitch/db.sock';

function isTelling(line: string): boolean {
  return !/module=grpc|Datapath supports|kernel does not support cgroup|loading plugin/.test(line);
}

/** Settings of the plugin as Docker's command line takes them. */
function assignments(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`);
}

async function runScript(name: string): Promise<string> {
  const { stdout } = await promisify(execFile)('bash', [path.join(__dirname, name)], { timeout: BUILD_TIMEOUT_MS });
  return stdout.trim();
}

let plugin: Promise<string> | undefined;

/**
 * Builds the plugin from the sources as they are, once. Returns the folder of a registry that has it; quick when it is there.
 * A whole test run builds it at its beginning, and says so in DAOLINET_LAB_REGISTRY.
 */
export function buildPlugin(): Promise<string> {
  const built = process.env['DAOLINET_LAB_REGISTRY'];
  return (plugin ??= built === undefined ? runScript('build-plugin.sh') : Promise.resolve(built));
}

/** Starts a host, ready for `docker network create -d daolinet`. Nothing stays behind when that fails. */
export async function startHost(options: HostOptions = {}): Promise<Host> {
  if (options.isBare === true) return startBareHost(options);
  const { plugin: origin = 'ready', settings = {} } = options;
  const registry = await buildPlugin();
  utimesSync(registry, new Date(), new Date()); // it is in use
  const root = chosenEngine(options) === '28' ? await runScript('testing-userland.sh') : undefined;
  const disk = origin === 'ready' ? await diskFor(options, registry) : undefined;
  const namespace = Namespace.create(options.name ?? 'host-a', root);
  const host = new Host(namespace, options);
  try {
    cpSync(registry, path.join(namespace.folder, 'registry'), { recursive: true });
    if (disk !== undefined) await copyDisk(disk, namespace.onDisk(DOCKER_FOLDER));
    await host.boot();
    if (disk === undefined) await host.importImage();
    if (origin === 'registry') await host.installPlugin(settings);
    if (origin === 'ready') {
      if (options.version !== undefined) host.layOver(options.version);
      await host.enablePlugin(settings);
      // That of another version may come later than Docker is answered.
      if (options.version !== undefined) await host.untilApi();
    }
  } catch (error) {
    const log = host.log();
    await host.stop();
    throw new Error(`the host did not start: ${(error as Error).message}\n${log}`, { cause: error });
  }
  return host;
}

/** The disk that a host with these options starts from; made by a host whose plugin is installed and was never enabled. */
function diskFor(options: HostOptions, registry: string): Promise<string> {
  const docker = chosenEngine(options);
  return readyDisk([path.basename(registry), docker, readFileSync(IMAGE_SCRIPT)], async () => {
    const host = await startHost({ docker, plugin: 'none', ovs: false, name: 'model' });
    try {
      await host.installPlugin({}, '--disable');
      return { docker: await host.endDocker(), stop: () => host.stop() };
    } catch (error) {
      await host.stop();
      throw error;
    }
  });
}

async function startBareHost(options: HostOptions): Promise<Host> {
  const host = new Host(Namespace.create(options.name ?? 'host-a'), options);
  try {
    await host.boot();
  } catch (error) {
    await host.stop();
    throw error;
  }
  return host;
}

/** The engine that a host with these options has; for tests whose expectations differ. Throws on an unknown one. */
export function chosenEngine(options: HostOptions = {}): Engine {
  const name = options.docker ?? process.env['DAOLINET_TEST_DOCKER'] ?? '20.10';
  const engine = ENGINES.find((known) => known === name);
  if (engine === undefined) throw new Error(`DAOLINET_TEST_DOCKER is ${name}; it can be ${ENGINES.join(' or ')}`);
  return engine;
}

export class Host {
  private liveRestore = false;
  readonly name: string;

  /** Does nothing yet; `startHost` makes hosts. */
  constructor(
    private readonly namespace: Namespace,
    private readonly options: HostOptions,
  ) {
    this.name = options.name ?? 'host-a';
  }

  /** The address of its eth0, by which others on its L2 know it. */
  get address(): string {
    return this.options.site?.addressOf(this.name) ?? HOST_ADDRESS;
  }

  /** Runs a command on the host. Fails, with what it said on standard error, when its exit code is not 0. */
  async exec(command: string, args: readonly string[] = [], options?: CommandOptions): Promise<string> {
    const result = await this.tryExec(command, args, options);
    if (result.code === 0) return result.stdout.trimEnd();
    throw new Error(`${command} ${args.join(' ')}: exit code ${result.code}: ${result.stderr || result.stdout}`);
  }

  /** Runs a command on the host, whatever its result. */
  tryExec(command: string, args: readonly string[] = [], options?: CommandOptions): Promise<CommandResult> {
    return this.namespace.run([command, ...args], options);
  }

  /** `docker ARGS` on the host. Fails with Docker's message. */
  docker(...args: string[]): Promise<string> {
    return this.exec('docker', args);
  }

  tryDocker(...args: string[]): Promise<CommandResult> {
    return this.tryExec('docker', args);
  }

  /** `daolictl ARGS` for the host's agent. Fails with what it says on standard error. */
  async daolictl(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryDaolictl(...args);
    if (code === 0) return stdout.trimEnd();
    throw new Error(stderr.trim());
  }

  /** It runs on this machine, since the host's own system need not have Node.js. */
  tryDaolictl(...args: string[]): Promise<CommandResult> {
    const [program = '', ...command] = [...this.daolictlCommand(), ...args];
    return new Promise((resolve) => {
      execFile(program, command, { timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : null, stdout, stderr });
      });
    });
  }

  /** What stands before the arguments of daolictl. */
  daolictlCommand(): string[] {
    return [process.execPath, this.commandLine(), '--socket', this.path('/run/daolinet/api.sock')];
  }

  /** daolictl, from the sources as they are; it goes with the host. */
  private commandLine(): string {
    const outfile = path.join(this.namespace.folder, 'daolictl.cjs');
    const entryPoints = [path.join(__dirname, '../src/cli/main.ts')];
    if (!existsSync(outfile)) {
      buildSync({ entryPoints, outfile, bundle: true, platform: 'node', logLevel: 'error' });
    }
    return outfile;
  }

  /** What stands before a command that is to run on the host, and its environment. */
  entry(): { enter: string[]; environment: Record<string, string> } {
    return this.namespace.entry();
  }

  /** Whether a daemon of the host runs: its own, or the agent. */
  runs(name: string): boolean {
    return name === 'daolinetd' ? this.agentPid() !== undefined : this.namespace.daemonPid(name) !== undefined;
  }

  /** A command of Open vSwitch on the host, such as `ovs('ovs-ofctl', 'dump-flows', 'br-int')`. */
  ovs(command: string, ...args: string[]): Promise<string> {
    return this.exec(command, args);
  }

  /** Runs a command in the namespace that stands for the internet. Fails like `exec`. */
  outside(command: string, ...args: string[]): Promise<string> {
    return this.exec(command, args, { netns: 'outside' });
  }

  tryOutside(command: string, ...args: string[]): Promise<CommandResult> {
    return this.tryExec(command, args, { netns: 'outside' });
  }

  /** Runs a program of the host (tcpdump, ip, perl) in the network of a running container. Fails like `exec`. */
  async inNetworkOf(container: string, command: string, ...args: string[]): Promise<string> {
    const pid = await this.docker('inspect', '--format', '{{.State.Pid}}', container);
    return this.exec('nsenter', [`--net=/proc/${pid}/ns/net`, command, ...args]);
  }

  /**
   * Sends a whole Ethernet frame from a container's interface, whatever it says; for what the container's own stack would
   * not send. `frame` is hexadecimal, spaces allowed.
   */
  async sendFrame(container: string, frame: string, ethernetInterface = 'eth0'): Promise<void> {
    await this.inNetworkOf(container, 'perl', '-e', SEND_FRAME, ethernetInterface, frame.replaceAll(' ', ''));
  }

  /** A command that runs on the host (or "outside") beside the test; it ends with the host at the latest. */
  background(command: readonly string[], netns?: string): BackgroundCommand {
    return this.namespace.background(command, netns);
  }

  /** A path of the host, as this process can open it. */
  path(inside: string): string {
    return this.namespace.path(inside);
  }

  /** The names of Docker's networks. */
  async networks(): Promise<string[]> {
    return (await this.docker('network', 'ls', '--format', '{{.Name}}')).split('\n');
  }

  /** Process id of the agent, as the host numbers it; undefined while it does not run. */
  agentPid(): number | undefined {
    return this.namespace.processes('daolinetd')[0];
  }

  /** Ends the agent and waits until its successor is ready. With SIGSTOP it only stands still, until SIGCONT. */
  async killAgent(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.replaceAgent(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await this.untilReady();
  }

  /** As killAgent, but its successor only answers then: it may wait for Open vSwitch, or its directory. */
  async replaceAgent(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const before = await waitFor('the agent', () => this.agentPid());
    await this.exec('kill', [`-${signal.slice(3)}`, String(before)]);
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') return;
    await waitFor('another agent', () => {
      const now = this.agentPid();
      return now !== undefined && now !== before;
    });
    await waitFor('the agent to answer', () => this.answers('/run/docker/plugins/daolinet.sock', GET_CAPABILITIES));
    await this.untilApi();
  }

  /** Waits until the agent's management API answers. */
  async untilApi(): Promise<void> {
    await waitFor('its management API', () => this.answers('/run/daolinet/api.sock', GET_STATUS));
  }

  /** Waits until the agent has all that it needs: its directory was read, and its datapath is up. */
  async untilReady(): Promise<void> {
    await waitFor(`the agent of ${this.name} to be ready`, async () => {
      const status = await this.answer('/run/daolinet/api.sock', GET_STATUS);
      return status !== undefined && (JSON.parse(status) as { state: string }).state === 'ready';
    });
  }

  /** Process id, as the host numbers it, of a daemon, of the agent, or of the ovsdb-server of the directory ("member"). */
  pidOf(daemon: Daemon): number | undefined {
    if (daemon === 'daolinetd') return this.agentPid();
    if (daemon !== 'member') return this.namespace.daemonPid(daemon);
    const ofSwitch = this.namespace.daemonPid('ovsdb-server');
    return this.namespace.processes('ovsdb-server').find((pid) => pid !== ofSwitch);
  }

  /** Sends a signal, and waits for nothing. */
  async signal(daemon: Daemon, signal: NodeJS.Signals): Promise<void> {
    const pid = await waitFor(`${daemon} of ${this.name}`, () => this.pidOf(daemon));
    await this.exec('kill', [`-${signal.slice(3)}`, String(pid)]);
  }

  /** Makes the image of the test containers. */
  async importImage(): Promise<void> {
    await this.exec('sh', ['-s', IMAGE], { input: readFileSync(IMAGE_SCRIPT) });
  }

  /** Installs the plugin from the registry and enables it. `flags` are of `docker plugin install`. */
  async installPlugin(settings: Readonly<Record<string, string>> = {}, ...flags: string[]): Promise<void> {
    const options = ['--grant-all-permissions', '--alias', PLUGIN, ...flags];
    await this.docker('plugin', 'install', ...options, REMOTE_PLUGIN, ...assignments(settings));
  }

  /** Enables the plugin that is installed, for the first time. */
  async enablePlugin(settings: Readonly<Record<string, string>>): Promise<void> {
    const values = assignments(settings);
    if (values.length > 0) await this.docker('plugin', 'set', PLUGIN, ...values);
    await this.docker('plugin', 'enable', PLUGIN);
  }

  /** Another version of the plugin takes the place of the one that is installed, as a user does it. */
  async upgradePlugin(remote = REMOTE_PLUGIN): Promise<void> {
    await this.docker('plugin', 'disable', '-f', PLUGIN);
    await this.docker('plugin', 'upgrade', '--grant-all-permissions', '--skip-remote-check', PLUGIN, remote);
    await this.docker('plugin', 'enable', PLUGIN);
  }

  /** Pushes the plugin that is installed, with other files in it, into this host's registry. Returns what it is called there. */
  async publishVersion(version: string, tag: string): Promise<string> {
    const remote = REMOTE_PLUGIN.replace('latest', tag);
    const inside = `${DOCKER_FOLDER}/version`;
    const folder = this.namespace.onDisk(inside);
    const root = path.join(folder, 'rootfs');
    try {
      // Beside the files there are the sockets of the plugin as it runs.
      const filter = (file: string) => !lstatSync(file).isSocket();
      cpSync(this.pluginRoot(), root, { recursive: true, verbatimSymlinks: true, filter });
      cpSync(version, root, { recursive: true });
      cpSync(path.join(__dirname, '../config.json'), path.join(folder, 'config.json'));
      await this.docker('plugin', 'create', remote, inside);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
    await this.docker('plugin', 'push', remote);
    await this.docker('plugin', 'rm', '-f', remote);
    return remote;
  }

  /** The files of another version take the place of those of the plugin, which does not run. */
  layOver(version: string): void {
    cpSync(version, this.pluginRoot(), { recursive: true });
  }

  /** Where Docker has the files of the plugin. */
  private pluginRoot(): string {
    const folder = this.namespace.onDisk(`${DOCKER_FOLDER}/plugins`);
    const roots = readdirSync(folder).map((name) => path.join(folder, name, 'rootfs'));
    const [root, ...others] = roots.filter((each) => existsSync(path.join(each, 'usr/lib/daolinet')));
    if (root === undefined || others.length > 0) throw new Error(`not one plugin, but ${roots.join(', ')}`);
    return root;
  }

  /** Ends the Docker engine for good. Returns what it had on its disk, which goes with the host. */
  async endDocker(): Promise<string> {
    await this.namespace.stopDaemon('dockerd', 'SIGTERM');
    return this.namespace.onDisk(DOCKER_FOLDER);
  }

  /**
   * Restarts the Docker engine. With `liveRestore` its containers and the plugin go on meanwhile; without it they stop,
   * and those with a restart policy come back. With SIGKILL it dies as in a crash.
   */
  async restartDockerd(options: { liveRestore?: boolean; signal?: NodeJS.Signals } = {}): Promise<void> {
    const { liveRestore = false, signal = 'SIGTERM' } = options;
    if (liveRestore !== this.liveRestore) await this.setLiveRestore(liveRestore);
    await this.namespace.stopDaemon('dockerd', signal);
    await this.startDockerd();
  }

  /** Restarts ovs-vswitchd. With SIGKILL it dies as in a crash. */
  async restartVswitchd(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.namespace.stopDaemon('ovs-vswitchd', signal);
    await this.startVswitchd();
  }

  /** Restarts the ovsdb-server of the switch. With SIGKILL it dies as in a crash. */
  async restartOvsdb(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.namespace.stopDaemon('ovsdb-server', signal);
    await this.startOvsdb();
  }

  /** Ends both daemons of Open vSwitch, with their connections; the datapath goes with them, as it is theirs. */
  async stopOvs(): Promise<void> {
    await this.namespace.stopDaemon('ovs-vswitchd', 'SIGTERM');
    await this.namespace.stopDaemon('ovsdb-server', 'SIGTERM');
  }

  /** Power off, and on after a while: every process dies at once, interfaces and flows are gone, /run is empty, the disk is kept. */
  async reboot(offMs = 0): Promise<void> {
    await this.namespace.end();
    await new Promise((resolve) => setTimeout(resolve, offMs));
    await this.boot();
  }

  /** Ends the host and removes all that it was made of. Idempotent. */
  async stop(): Promise<void> {
    await this.namespace.end();
    this.namespace.remove();
  }

  /** The last lines of each daemon's log; the agent's are in dockerd's. */
  log(): string {
    const folder = path.join(this.namespace.folder, 'log');
    if (!existsSync(folder)) return '';
    return readdirSync(folder)
      .filter((name) => name !== 'registry.log')
      .map((name) => {
        const lines = readFileSync(path.join(folder, name), 'utf8').trimEnd().split('\n').filter(isTelling);
        const last = lines.slice(-LOG_LINES).map((line) => line.slice(0, LOG_LINE_LENGTH));
        return `--- ${name}\n${last.join('\n')}\n`;
      })
      .join('');
  }

  /** Starts namespaces and daemons; the host is off before. */
  async boot(): Promise<void> {
    await this.namespace.start();
    if (this.options.site === undefined) await this.exec('sh', ['-c', NETWORK]);
    else await this.options.site.plug(this.namespace, this.name);
    if (this.options.isBare === true) return;
    this.namespace.startDaemon('containerd', ['containerd', '--log-level', 'warn']);
    await Promise.all([this.startDockerd(), this.startRegistry(), this.options.ovs === false || this.startOvs()]);
  }

  /** Starts Open vSwitch with the database that it had. */
  async startOvs(): Promise<void> {
    await this.startOvsdb();
    // As ovs-ctl does it.
    const [, version = ''] = /\) (\S+)/.exec(await this.exec('ovs-vswitchd', ['--version'])) ?? [];
    await this.exec('ovs-vsctl', ['--no-wait', 'init', '--', 'set', 'Open_vSwitch', '.', `ovs_version=${version}`]);
    await this.startVswitchd();
  }

  private async startOvsdb(): Promise<void> {
    if (!existsSync(this.path(OVS_DATABASE))) {
      await this.exec('ovsdb-tool', ['create', OVS_DATABASE, '/usr/share/openvswitch/vswitch.ovsschema']);
    }
    mkdirSync(this.path('/run/openvswitch'), { recursive: true });
    this.namespace.startDaemon('ovsdb-server', [
      'ovsdb-server',
      OVS_DATABASE,
      `--remote=punix:${OVS_SOCKET}`,
      '--remote=db:Open_vSwitch,Open_vSwitch,manager_options',
      '--pidfile',
    ]);
    await waitFor('ovsdb-server', async () => (await this.tryExec('ovs-vsctl', ['--no-wait', 'show'])).code === 0);
  }

  private async startVswitchd(): Promise<void> {
    this.namespace.startDaemon('ovs-vswitchd', ['ovs-vswitchd', `unix:${OVS_SOCKET}`, '--pidfile']);
    await waitFor('ovs-vswitchd', async () => (await this.tryExec('ovs-appctl', ['version'])).code === 0);
  }

  private async startRegistry(): Promise<void> {
    const configuration = {
      version: 0.1,
      log: { level: 'error' },
      storage: {
        filesystem: { rootdirectory: path.join(this.namespace.folder, 'registry') },
        delete: { enabled: true },
      },
      http: { addr: REGISTRY },
    };
    writeFileSync(this.path('/run/registry.yml'), JSON.stringify(configuration));
    this.namespace.startDaemon('registry', ['docker-registry', 'serve', '/run/registry.yml']);
    const probe = ['-c', `echo | busybox nc ${REGISTRY.replace(':', ' ')}`];
    await waitFor('the registry', async () => (await this.tryExec('sh', probe)).code === 0);
  }

  private async startDockerd(): Promise<void> {
    // On a site: names of containers on other hosts, and then whoever would know those outside.
    const names = this.options.site === undefined ? [] : ['--dns', NAMES_ADDRESS, '--dns', INTERNET_ADDRESS];
    const containerd = ['--containerd', '/run/containerd/containerd.sock'];
    this.namespace.startDaemon('dockerd', ['dockerd', ...containerd, ...names]);
    await waitFor('dockerd', () => this.namespace.daemonPid('dockerd'));
    await waitFor(
      'the Docker engine',
      async () => {
        const answers = await this.answers('/run/docker.sock', { path: '/_ping' });
        if (!answers && this.namespace.daemonPid('dockerd') === undefined)
          throw new Error(`dockerd ended\n${this.log()}`);
        return answers;
      },
      60_000,
    );
  }

  /** Whether a server on a unix socket of the host answers a request with 200. */
  private async answers(socket: string, request: http.RequestOptions): Promise<boolean> {
    return (await this.answer(socket, request)) !== undefined;
  }

  /** What a server on a unix socket of the host answers a request with; undefined where that is not 200, or nobody answers. */
  private answer(socket: string, request: http.RequestOptions): Promise<string | undefined> {
    return new Promise((resolve) => {
      http
        .request({ ...request, socketPath: this.path(socket), agent: false }, (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
          response.on('close', () => resolve(response.statusCode === 200 && response.complete ? text : undefined));
        })
        .on('error', () => resolve(undefined))
        .end();
    });
  }

  /** Whether containers and the plugin outlive the Docker engine. */
  async setLiveRestore(liveRestore: boolean): Promise<void> {
    writeFileSync(this.path('/etc/docker/daemon.json'), JSON.stringify({ 'live-restore': liveRestore }));
    await this.exec('kill', ['-HUP', String(this.namespace.daemonPid('dockerd'))]);
    await waitFor(
      'the engine to read its configuration',
      async () => (await this.docker('info', '--format', '{{.LiveRestoreEnabled}}')) === String(liveRestore),
    );
    this.liveRestore = liveRestore;
  }
}
