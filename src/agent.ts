// The running agent: constructs every part, brings them up in the order in which they need one another, and keeps trying
// while something outside (directory, Open vSwitch) is away. Docker's calls are taken from the first moment; until all is
// up they wait within their own deadline.

import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { ApiServer } from './api/api-server';
import { logChanges } from './api/change-log';
import { findContainer } from './api/find-container';
import { createManagementApi } from './api/management-api';
import { OPERATIONS, type ShownAgent } from './api/operations';
import type { AgentStatus } from './api/operations/status';
import { TcpAccess } from './api/tcp-access';
import { Metrics, type AgentGauges } from './api/metrics';
import { Backoff } from './base/backoff';
import { systemClock } from './base/clock';
import { DaoliError, messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { Cluster } from './cluster/cluster';
import { DirectoryServer } from './cluster/directory-server';
import { readCluster, type ClusterFacts } from './cluster/files';
import { DIRECTORY_PROTOCOLS } from './cluster/front';
import type { RemoteAgent } from './cluster/remote-agents';
import { remotesOf } from './cluster/server-role';
import { dnsAddressOf } from './directory/allocation';
import { Directory } from './directory/directory';
import { Engine } from './docker/engine';
import { EngineContainers } from './docker/engine-containers';
import { ForwardedPorts } from './driver/forwarded-ports';
import { NameFollower } from './driver/name-follower';
import { NetworkDriver } from './driver/network-driver';
import type { EarlyServer } from './driver/early-server';
import type { DriverParts } from './driver/ports';
import { Reconciler } from './driver/reconciler';
import { Replicator } from './driver/replicator';
import { PluginServer } from './driver/server';
import { SwarmNetworks } from './driver/swarm-networks';
import type { LiveRoute, TellPeer } from './flowctl/model';
import type { Host } from './host/host';
import { createLinuxHost } from './host/linux-host';
import { probePort } from './host/port-probe';
import { createRunner } from './host/runner';
import { createSysctlFiles } from './host/sysctl-files';
import { ipamHandlers } from './ipam/handlers';
import { Ipam } from './ipam/ipam';
import { LocalHost } from './move/local-host';
import { L2Follower, standsMsOf } from './l2-follower';
import type { MoveHost } from './move/move-host';
import { Mover } from './move/mover';
import { RemoteHost } from './move/remote-host';
import { NameServer } from './names/name-server';
import type { DoctorFacts } from './observe/doctor-checks';
import { findFacts, knockAtDoor } from './observe/doctor-facts';
import { explainRules } from './observe/explain';
import { Seeing } from './observe/seeing';
import { OVS_RUNDIR, Plane } from './plane';
import { FirewallWriter } from './policy/firewall-writer';
import { RuleWriter } from './policy/rule-writer';
import type { Settings } from './settings';
import { StandingBy } from './standing-by';
import { Startup } from './startup';
import { Vswitchd } from './switch/vswitchd';
import { KeyFile } from './tunnel/key-file';
import { networkMtu } from './tunnel/mtu';
import { TunnelFollower } from './tunnel/tunnels';

export const VERSION = '0.1.0';

/** Where Docker looks for a driver by its bare name, below the host's /run. */
const BARE_NAME_SOCKET = 'docker/plugins/daolinet.sock';
/** This plugin's own ovsdb-server of the directory, and what is said to its supervisor; see supervisor.sh. */
const DIRECTORY_SERVER = {
  control: '/run/daolinet/directory.ctl',
  plan: '/data/directory.plan',
  file: '/data/directory.db',
  restored: '/data/directory.restored',
  members: '/run/daolinet/members',
};
/** Docker's names of this driver. */
const DRIVER_NAMES = ['daolinet', 'daolinet:latest', 'daolinet/daolinet', 'daolinet/daolinet:latest'];
const RETRY = { minMs: 200, maxMs: 5_000 };
/** How long who asks the management API waits for an agent that comes up. */
const ASKED_PATIENCE_MS = 5_000;
const RESTART_AFTER_MS = 200;
/** In the folder of the cluster, with which it goes: what this host knew last of the directory. */
const SNAPSHOT_FILE = 'directory.snapshot';
/** Beside the folder of the cluster, which is replaced as a whole. */
const TUNNEL_KEY_FILE = 'tunnel.key';

export interface AgentOptions {
  readonly settings: Settings;
  /** Of the socket on which Docker looks for the managed plugin, inside it. */
  readonly early: EarlyServer;
  /** What is wrong with the settings: then nothing is started, and every call of Docker's is answered with it. */
  readonly settingsError?: Error;
  /** This host's name in the directory: the same over restarts. */
  readonly hostName: string;
  /** Where this host keeps what it knows of its cluster. */
  readonly clusterFolder: string;
  /** Where the certificates of its management API are. */
  readonly apiFolder: string;
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
  private readonly docker: Engine;
  private readonly driver: NetworkDriver;
  private readonly parts: DriverParts;
  private readonly server: PluginServer;
  private readonly api: ApiServer;
  readonly access: TcpAccess;
  private readonly follower: NameFollower;
  private readonly reconciler: Reconciler;
  private readonly forwardedPorts: ForwardedPorts;
  private readonly replicator: Replicator;
  readonly swarm: SwarmNetworks;
  readonly seeing: Seeing;
  readonly metrics = new Metrics(this);
  readonly rules: RuleWriter;
  readonly moveHost: LocalHost;
  readonly mover: Mover;
  readonly firewallRules: FirewallWriter;
  private readonly backoff = new Backoff(RETRY.minMs, RETRY.maxMs, Math.random);
  private readonly tunnels: TunnelFollower;
  private readonly standing: StandingBy;
  private plane: Plane | undefined;
  private l2: L2Follower | undefined;
  private names: NameServer | undefined;
  private state: 'stopped' | 'starting' | 'ready' | 'stopping' = 'stopped';
  private readonly startup = new Startup();
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
    this.directory = new Directory({
      host: hostName,
      locatorRange,
      logger,
      version: VERSION,
      ...this.directoryOptions(),
    });
    this.host = createLinuxHost({ ...world, runner: createRunner(), sysctl: createSysctlFiles() });
    this.parts = this.driverParts();
    this.driver = new NetworkDriver(this.parts, systemClock, logger);
    const ipam = new Ipam({ store: this.directory, host: this.host.links, defaultPools, locatorRange });
    this.server = new PluginServer({
      ...world,
      paths: [options.early.socket.path, join(hostRun, BARE_NAME_SOCKET)],
      early: options.early,
      handlers: this.startup.guard({ ...ipamHandlers(ipam), ...this.driver.handlers }, this.startError),
    });
    const socketPath = join(hostRun, 'docker.sock');
    this.docker = new Engine({ ...world, socketPath, drivers: DRIVER_NAMES });
    const { directory: store, driver, parts, docker } = this;
    this.reconciler = new Reconciler({ ...world, driver, parts, docker });
    const { firewall, ports } = this.host;
    this.forwardedPorts = new ForwardedPorts({ ...world, store, firewall, ports });
    const setDockerBridges = async (names: readonly string[]) => this.plane?.setDockerBridges(names);
    this.replicator = new Replicator({ ...world, store, docker });
    this.swarm = new SwarmNetworks({ ...world, store, docker, host: this.host.links, settings });
    const onDockerBack = () => {
      void this.reconciler.run();
      this.replicator.trigger();
      this.swarm.look();
    };
    const onSwarmNetworkGone = (id: string) => this.swarm.gone(id);
    this.follower = new NameFollower({ ...world, docker, store, setDockerBridges, onDockerBack, onSwarmNetworkGone });
    this.seeing = new Seeing({
      store,
      host: this.host,
      controller: () => this.plane?.controller,
      vswitchd: new Vswitchd(OVS_RUNDIR),
      bridge: settings.bridge,
      idleTimeoutSeconds: settings.idleTimeoutSeconds,
      explain: explainRules(store.view),
      now: () => systemClock.now(),
    });
    const setPeers = (hosts: ReadonlySet<string>) => this.cluster.setPeers(hosts);
    this.standing = new StandingBy({ store, settings, locatorRange, setPeers, logger });
    this.cluster = this.createCluster();
    this.tunnels = new TunnelFollower({
      ...world,
      store,
      tunnels: this.host.tunnels,
      keys: new KeyFile(join(dirname(options.clusterFolder), TUNNEL_KEY_FILE)),
      locatorRange,
      facts: () => this.cluster.tunnel,
      interfaceMtu: () => this.host.links.defaultRouteMtu(),
    });
    const mayOpen = () => this.cluster.refuseClients('open ports of hosts');
    this.firewallRules = new FirewallWriter({ ...world, store, mayWrite: mayOpen });
    this.rules = new RuleWriter(store, () => this.cluster.refuseClients('say who may talk to whom'));
    const containers = new EngineContainers({ clock: systemClock, socketPath });
    const premises = { memory: () => ({ total: totalmem(), available: freemem() }), probePort };
    this.moveHost = new LocalHost({ store, docker: containers, premises });
    this.mover = new Mover({
      ...world,
      store,
      refuseClients: () => this.cluster.refuseClients('move containers'),
      hostOf: (name) => this.moveHostOf(name),
      find: (text) => findContainer(store.view, text),
    });
    // Others come by the door of the cluster, and go no further.
    const app = createManagementApi(this, OPERATIONS, this.cluster.agents);
    this.api = new ApiServer(join(hostRun, 'daolinet'), app, logger);
    const { apiAddress: address } = settings;
    const tcp = { address, folder: options.apiFolder, app: logChanges(app, 'over TCP', logger) };
    this.access = new TcpAccess({ ...tcp, logger, now: Date.now });
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
      ALPNProtocols: DIRECTORY_PROTOCOLS,
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

  private moveHostOf(name: string): MoveHost {
    if (name === this.options.hostName) return this.moveHost;
    return new RemoteHost(name, this.remote(name));
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
      addresses: () => this.host.links.hostAddresses(),
      onAddress: (address, isElsewhere) => {
        this.directory.setAddress(address, isElsewhere);
        this.tunnels.look();
      },
      random: Math.random,
      // The answer to whoever asked goes first.
      restart: () => void systemClock.after(RESTART_AFTER_MS, restart),
      rotateTunnelKey: () => this.tunnels.rotate(),
      takeWord: (mac, { source, destination }) => this.plane?.controller.takeWord(mac, source, destination),
      // What another host's packets may cause, its words may.
      wordsPerSecond: this.settings().packetInRate,
      pulse: this.standing.pulse,
      acceptOpenFlow: (socket, of) => this.standing.standbys.accept(socket, of),
      api: logChanges(createManagementApi(this, OPERATIONS), 'by another host', logger),
    });
  }

  /** Opens the sockets and begins to bring everything up. Throws where no plugin socket can be opened. */
  async start(): Promise<void> {
    if (this.state !== 'stopped') return;
    this.state = 'starting';
    await this.server.start();
    if (this.startError !== undefined) return;
    this.api.start();
    void this.access.start();
    void this.bringUp();
  }

  /** Answers what Docker has asked, then ends. Traffic goes on. */
  async stop(): Promise<void> {
    this.state = 'stopping';
    this.cancelRetry();
    this.startup.stop();
    await this.server.stop();
    await this.standing.leave();
    this.api.stop();
    this.access.stop();
    this.cluster.stop();
    this.standing.stop();
    this.names?.stop();
    this.l2?.stop();
    await this.follower.stop();
    await this.forwardedPorts.stop();
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

  /** Another host's agent: see RemoteAgents. */
  remote(host: string): RemoteAgent {
    return this.cluster.agents.at(host);
  }

  /** Calls back when the directory has changed. Returns what ends it. */
  readonly onChange: Directory['onChange'] = (listener) => this.directory.onChange(listener);

  settled(): Promise<void> {
    return this.state === 'starting' ? this.startup.settled(systemClock, ASKED_PATIENCE_MS) : Promise.resolve();
  }

  status(): AgentStatus {
    return {
      version: VERSION,
      host: this.options.hostName,
      state: this.state === 'ready' ? 'ready' : `waiting for ${this.startup.waitingFor}`,
      datapath: this.plane?.datapath ?? 'unknown',
      ovsVersion: this.plane?.ovsVersion ?? 'unknown',
      charges: this.standing.charges(),
      time: new Date().toISOString(),
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

  findFacts(): Promise<DoctorFacts> {
    return findFacts({
      store: this.directory,
      host: this.host,
      docker: this.docker,
      cluster: this.cluster,
      charges: () => this.standing.charges(),
      plane: () => this.plane,
      agentState: () => this.status().state,
      remote: (name) => this.remote(name),
      standsMs: (name) => (name === undefined ? this.fabricStandsMs() : standsMsOf(this.cluster.agents, name)),
      databasePath: DIRECTORY_SERVER.file,
      knock: knockAtDoor,
      locatorRange: this.settings().locatorRange,
      now: Date.now,
      tunnels: () => ({ mtu: this.tunnels.mtu, hosts: this.tunnels.hosts }),
      mtu: this.settings().mtu,
    });
  }

  /** See Controller. */
  async fabricStandsMs(): Promise<number | undefined> {
    return this.plane?.controller.fabricStandsMs();
  }

  gauges(): AgentGauges {
    const { directory, driver, cluster, plane, standing } = this;
    return {
      calls: driver.calls.size,
      openflowQueuedBytes: plane?.controller.queuedBytes ?? 0,
      wordsDropped: cluster.wordsDropped,
      takeovers: standing.takeovers,
      directory: { connected: directory.connected, ...directory.transactions },
    };
  }

  private driverParts(): DriverParts {
    const plane = () => {
      if (this.plane !== undefined) return this.plane;
      throw new DaoliError('unavailable', `DaoliNet is starting: it waits for ${this.startup.waitingFor}`);
    };
    const { directory } = this;
    const setting = this.settings().mtu;
    const mtu = () => networkMtu(setting, directory.view, directory.host, this.tunnels.mtu);
    return {
      store: directory,
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
        get mtu() {
          return mtu();
        },
        locatorRange: this.settings().locatorRange,
        get checksumOffload() {
          return plane().datapath === 'system';
        },
      },
      randomBytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
    };
  }

  private async bringUp(): Promise<void> {
    while (this.state === 'starting') {
      try {
        await this.bringUpOnce();
        return;
      } catch (error) {
        const message = messageOf(error);
        if (this.startup.fail(message)) this.options.logger.error('DaoliNet cannot start yet', { error: message });
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

  private startL2({ controller }: Plane): void {
    const { directory: store, cluster, tunnels, options } = this;
    const world = { clock: systemClock, logger: options.logger, random: Math.random };
    this.l2 ??= new L2Follower({ ...world, store, cluster, controller, tunnels, ...this.settings() });
    this.l2.start();
  }

  /** What this host did not know of itself while the directory was away is looked at when it is back. */
  private followReturns(): void {
    this.directory.onConnected((isConnected) => {
      if (!isConnected || this.state !== 'ready') return;
      this.follower.onDirectoryBack();
      void this.reconciler.run();
    });
  }

  /** Its interfaces have changed, or it is time to look. */
  private async lookAtHost(): Promise<void> {
    if (this.state !== 'ready') return;
    await this.cluster.lookAtAddress();
    // Also before its row has the next address: it may be on another L2, which the fabric must not reach.
    await this.plane?.look();
  }

  private async bringUpOnce(): Promise<void> {
    this.startup.begin();
    await this.cluster.prepare();
    this.directory.start();
    await this.directory.whenReady();
    await this.host.start();
    this.startup.haveRows();
    const { logger } = this.options;
    const settings = this.settings();
    const { host, directory: store, driver, cluster } = this;
    const tellPeer: TellPeer = (mac, source, destination) => cluster.tell(mac, { source, destination });
    const { tunnels } = this;
    const { nextGeneration } = this.standing;
    const keys = () => cluster.keys;
    this.plane ??= new Plane({ settings, logger, host, store, driver, tellPeer, tunnels, nextGeneration, keys });
    await this.plane.bringUp(() => this.reconciler.trigger());
    if (this.state !== 'starting') return;
    this.forwardedPorts.start();
    this.cluster.start();
    this.startL2(this.plane);
    if (this.cluster.isJoined) this.standing.start(this.plane.ownSwitch);
    await this.startNameServer();
    this.state = 'ready';
    this.startup.haveAll();
    logger.info('DaoliNet is ready', { ...this.status() });
    this.host.onChange(() => void this.lookAtHost());
    void this.lookAtHost();
    this.reconciler.start();
    this.followReturns();
    this.replicator.start();
    this.swarm.start();
    this.follower.start();
  }
}
