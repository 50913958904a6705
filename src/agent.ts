// The running agent: constructs every part, brings them up in the order in which they need one another, and keeps trying
// while something outside (directory, Open vSwitch) is away. Docker's calls are taken from the first moment; until all is
// up they wait within their own deadline.

import { join } from 'node:path';
import { ApiServer } from './api/api-server';
import type { AgentStatus, ShownAgent } from './api/management-api';
import { Backoff } from './base/backoff';
import { systemClock } from './base/clock';
import { DaoliError, messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { Cluster } from './cluster/cluster';
import { DirectoryServer } from './cluster/directory-server';
import { readCluster, type ClusterFacts } from './cluster/files';
import { OVSDB_PROTOCOL } from './cluster/front';
import { remotesOf } from './cluster/server-role';
import { dnsAddressOf } from './directory/allocation';
import { Directory } from './directory/directory';
import { Engine } from './docker/engine';
import { NameFollower } from './driver/name-follower';
import { NetworkDriver } from './driver/network-driver';
import type { PluginHandler, PluginHandlers } from './driver/plugin-app';
import type { DriverParts } from './driver/ports';
import { Reconciler } from './driver/reconciler';
import { Replicator } from './driver/replicator';
import { PluginServer } from './driver/server';
import { SwarmNetworks } from './driver/swarm-networks';
import type { LiveRoute, TellPeer } from './flowctl/model';
import type { Host } from './host/host';
import { createLinuxHost } from './host/linux-host';
import { createRunner } from './host/runner';
import { createSysctlFiles } from './host/sysctl-files';
import { ipamHandlers } from './ipam/handlers';
import { Ipam } from './ipam/ipam';
import { NameServer } from './names/name-server';
import { Plane } from './plane';
import type { Settings } from './settings';

export const VERSION = '0.1.0';

/** Where Docker looks for the managed plugin, inside it. */
const PLUGIN_SOCKET = '/run/docker/plugins/daolinet.sock';
/** Where Docker looks for a driver by its bare name, below the host's /run. */
const BARE_NAME_SOCKET = 'docker/plugins/daolinet.sock';
/** This plugin's own ovsdb-server of the directory, and what is said to its supervisor; see supervisor.sh. */
const DIRECTORY_SERVER = {
  control: '/run/daolinet/directory.ctl',
  plan: '/data/directory.plan',
  members: '/run/daolinet/members',
};
/** Docker's names of this driver. */
const DRIVER_NAMES = ['daolinet', 'daolinet:latest', 'daolinet/daolinet', 'daolinet/daolinet:latest'];
/** Answered at once, whatever state the rest is in: Docker disables a plugin that does not. */
const ALWAYS_ANSWERED = /\.(GetCapabilities|GetDefaultAddressSpaces)$/;
/** What gives an endpoint or an address back does without Open vSwitch: while it waited, the address would stay in use. */
const GIVES_BACK = /\.(Leave|DeleteEndpoint|RevokeExternalConnectivity|ReleaseAddress|ReleasePool)$/;
const RETRY = { minMs: 200, maxMs: 5_000 };
const RESTART_AFTER_MS = 200;
/** In the folder of the cluster, with which it goes: what this host knew last of the directory. */
const SNAPSHOT_FILE = 'directory.snapshot';

export interface AgentOptions {
  readonly settings: Settings;
  /** What is wrong with the settings: then nothing is started, and every call of Docker's is answered with it. */
  readonly settingsError?: Error;
  /** This host's name in the directory: the same over restarts. */
  readonly hostName: string;
  /** Where this host keeps what it knows of its cluster. */
  readonly clusterFolder: string;
  /** Ends this process, so that its supervisor starts another. */
  readonly restart: () => void;
  readonly logger: Logger;
}

export class Agent implements ShownAgent {
  private readonly directory: Directory;
  /** What this host knows of its cluster, where it is in one. */
  private readonly facts: ClusterFacts | undefined;
  /** Why nothing is started. */
  private readonly startError: Error | undefined;
  readonly cluster: Cluster;
  private readonly host: Host;
  private readonly driver: NetworkDriver;
  private readonly parts: DriverParts;
  private readonly server: PluginServer;
  private readonly api: ApiServer;
  private readonly follower: NameFollower;
  private readonly reconciler: Reconciler;
  private readonly replicator: Replicator;
  readonly swarm: SwarmNetworks;
  private readonly backoff = new Backoff(RETRY.minMs, RETRY.maxMs, Math.random);
  private plane: Plane | undefined;
  private names: NameServer | undefined;
  private state: 'stopped' | 'starting' | 'ready' | 'stopping' = 'stopped';
  private waitingFor = 'the DaoliNet database';
  private rowsAreReady!: () => void;
  /** The directory is known and the host can be worked on. */
  private readonly rowsReady = new Promise<void>((resolve) => (this.rowsAreReady = resolve));
  private becomeReady!: () => void;
  /** All is up. */
  private readonly ready = new Promise<void>((resolve) => (this.becomeReady = resolve));
  private cancelRetry: () => void = () => undefined;

  constructor(private readonly options: AgentOptions) {
    const { hostName, logger } = options;
    this.startError = options.settingsError;
    try {
      this.facts = readCluster(options.clusterFolder);
    } catch (error) {
      this.startError ??= error as Error;
    }
    const settings = this.settings();
    const world = { clock: systemClock, logger, random: Math.random };
    const { locatorRange, defaultPools, hostRun } = settings;
    this.directory = new Directory({ host: hostName, locatorRange, logger, ...this.directoryOptions() });
    this.host = createLinuxHost({ ...world, runner: createRunner(), sysctl: createSysctlFiles() });
    this.parts = this.driverParts();
    this.driver = new NetworkDriver(this.parts, systemClock, logger);
    const ipam = new Ipam({ store: this.directory, host: this.host.links, defaultPools, locatorRange });
    this.server = new PluginServer({
      ...world,
      paths: [PLUGIN_SOCKET, join(hostRun, BARE_NAME_SOCKET)],
      handlers: this.whenReady({ ...ipamHandlers(ipam), ...this.driver.handlers }),
    });
    const docker = new Engine({ ...world, socketPath: join(hostRun, 'docker.sock'), drivers: DRIVER_NAMES });
    const { directory: store, driver, parts } = this;
    this.reconciler = new Reconciler({ ...world, driver, parts, docker });
    const setDockerBridges = async (names: readonly string[]) => this.plane?.setDockerBridges(names);
    this.replicator = new Replicator({ ...world, store, docker });
    this.swarm = new SwarmNetworks({ ...world, store, docker, host: this.host.links, settings });
    const onDockerBack = () => {
      void this.reconciler.run();
      this.replicator.trigger();
      this.swarm.look();
    };
    const onSwarmNetworkGone = (id: string) => this.swarm.gone(id);
    this.follower = new NameFollower({ docker, store, setDockerBridges, logger, onDockerBack, onSwarmNetworkGone });
    this.cluster = this.createCluster();
    this.api = new ApiServer(join(hostRun, 'daolinet'), this, logger);
  }

  /** In a cluster, its range of locators holds. */
  private settings(): Settings {
    const { settings } = this.options;
    return this.facts === undefined ? settings : { ...settings, locatorRange: this.facts.locatorRange };
  }

  /** Outside of a cluster the directory is the plugin's own. */
  private directoryOptions() {
    const { facts } = this;
    if (facts === undefined) return {};
    const { address, authority, identity, clusterId } = facts;
    const tls = {
      ca: authority.certificate,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3' as const,
      ALPNProtocols: [OVSDB_PROTOCOL],
      checkServerIdentity: (_name: string, { raw }: { raw: Buffer }) =>
        this.cluster.isServerCertificate(raw)
          ? undefined
          : new Error('the certificate is no server’s of this cluster (any more)'),
    };
    const snapshotPath = join(this.options.clusterFolder, SNAPSHOT_FILE);
    // Servers look at what others write, and answer for them.
    const extent = authority.key === undefined ? ('needed' as const) : ('everything' as const);
    return { address, tls, extent, clusterId, remotes: remotesOf(facts), snapshotPath };
  }

  private createCluster(): Cluster {
    const { clusterFolder: folder, logger, restart } = this.options;
    return new Cluster({
      folder,
      facts: this.facts,
      store: this.directory,
      server: new DirectoryServer(DIRECTORY_SERVER, systemClock),
      members: DIRECTORY_SERVER.members,
      setRemotes: (remotes) => this.directory.setRemotes(remotes),
      remote: () => this.directory.remote,
      locatorRange: this.settings().locatorRange,
      logger,
      clock: systemClock,
      now: Date.now,
      defaultAddress: () => this.host.links.defaultAddress(),
      // The answer to whoever asked goes first.
      restart: () => void systemClock.after(RESTART_AFTER_MS, restart),
      takeWord: (mac, { source, destination }) => this.plane?.controller.takeWord(mac, source, destination),
      // What another host's packets may cause, its words may.
      wordsPerSecond: this.settings().packetInRate,
    });
  }

  /** Opens the sockets and begins to bring everything up. Throws where no plugin socket can be opened. */
  async start(): Promise<void> {
    if (this.state !== 'stopped') return;
    this.state = 'starting';
    await this.server.start();
    if (this.startError !== undefined) return;
    this.api.start();
    void this.bringUp();
  }

  /** Answers what Docker has asked, then ends. Traffic goes on. */
  async stop(): Promise<void> {
    this.state = 'stopping';
    this.cancelRetry();
    await this.server.stop();
    this.api.stop();
    this.cluster.stop();
    this.names?.stop();
    await this.follower.stop();
    await this.reconciler.stop();
    await this.replicator.stop();
    await this.swarm.stop();
    await this.plane?.stop();
    await this.host.stop();
    this.directory.stop();
  }

  get view() {
    return this.state === 'ready' ? this.directory.view : undefined;
  }

  status(): AgentStatus {
    return {
      version: VERSION,
      host: this.options.hostName,
      state: this.state === 'ready' ? 'ready' : `waiting for ${this.waitingFor}`,
      datapath: this.plane?.datapath ?? 'unknown',
      ovsVersion: this.plane?.ovsVersion ?? 'unknown',
    };
  }

  async routes(): Promise<readonly LiveRoute[]> {
    return (await this.plane?.controller.routes()) ?? [];
  }

  async counters(): Promise<Readonly<Record<string, number>>> {
    const controller = this.plane?.controller;
    if (controller === undefined) return {};
    const shown: Record<string, number> = { ...controller.counters() };
    for (const [reason, packets] of Object.entries<number>({ ...(await controller.drops()) })) {
      shown[`dropped${reason.charAt(0).toUpperCase()}${reason.slice(1)}`] = packets;
    }
    return shown;
  }

  private driverParts(): DriverParts {
    const plane = () => {
      if (this.plane !== undefined) return this.plane;
      throw new DaoliError('unavailable', `DaoliNet is starting: it waits for ${this.waitingFor}`);
    };
    return {
      store: this.directory,
      get flows() {
        return plane().controller;
      },
      get switch() {
        return plane().switch;
      },
      links: this.host.links,
      firewall: this.host.firewall,
      ports: this.host.ports,
      settings: {
        mtu: this.settings().mtu,
        locatorRange: this.settings().locatorRange,
        get checksumOffload() {
          return plane().datapath === 'system';
        },
      },
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    };
  }

  /** Each call waits until what it needs is up, or ends with what is waited for. */
  private whenReady(handlers: PluginHandlers): PluginHandlers {
    const wait = (name: string, handler: PluginHandler): PluginHandler => {
      if (ALWAYS_ANSWERED.test(name)) return handler;
      const needed = GIVES_BACK.test(name) ? this.rowsReady : this.ready;
      return async (body, deadline) => {
        if (this.startError !== undefined) throw this.startError;
        if (this.state !== 'ready') await deadline.wait(this.waitingFor, needed);
        return handler(body, deadline);
      };
    };
    return Object.fromEntries(Object.entries(handlers).map(([name, handler]) => [name, wait(name, handler)]));
  }

  private async bringUp(): Promise<void> {
    let reported = '';
    while (this.state === 'starting') {
      try {
        await this.bringUpOnce();
        return;
      } catch (error) {
        const message = messageOf(error);
        if (message !== reported) this.options.logger.error('DaoliNet cannot start yet', { error: message });
        reported = message;
        this.waitingFor = `a remedy: ${message}`;
        await new Promise<void>((resolve) => {
          this.cancelRetry = systemClock.after(this.backoff.nextMs(), resolve);
        });
      }
    }
  }

  /** In a cluster: Docker's resolver knows the containers of its own host alone. */
  private async startNameServer(): Promise<void> {
    if (this.facts === undefined) return;
    const { logger } = this.options;
    const address = dnsAddressOf(this.facts.locatorRange);
    this.names ??= new NameServer({ address, store: this.directory, clock: systemClock, logger });
    await this.names.start();
  }

  /** What this host did not know of itself while the directory was away is looked at when it is back. */
  private followReturns(): void {
    this.directory.onConnected((isConnected) => {
      if (isConnected && this.state === 'ready') void this.reconciler.run();
    });
  }

  private async bringUpOnce(): Promise<void> {
    this.waitingFor = 'the DaoliNet database';
    await this.cluster.prepare();
    this.directory.start();
    await this.directory.whenReady();
    await this.host.start();
    this.rowsAreReady();
    this.waitingFor = 'Open vSwitch';
    const { logger } = this.options;
    const settings = this.settings();
    const { host, directory: store, driver, cluster } = this;
    const tellPeer: TellPeer = (mac, source, destination) => cluster.tell(mac, { source, destination });
    this.plane ??= new Plane({ settings, logger, host, store, driver, tellPeer });
    await this.plane.bringUp(() => this.reconciler.trigger());
    if (this.state !== 'starting') return;
    this.cluster.start();
    await this.startNameServer();
    this.state = 'ready';
    this.becomeReady();
    logger.info('DaoliNet is ready', { ...this.status() });
    this.reconciler.start();
    this.followReturns();
    this.replicator.start();
    this.swarm.start();
    this.follower.start();
  }
}
