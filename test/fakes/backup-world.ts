// Hosts that stand by for one another, their datapaths and a directory, in memory, on a clock that tests move: agents can be
// killed, stopped and go on, datapaths start anew, and the directory be away. Real are the directory's transactions and all of
// src/backup; a datapath does with roles and generations what Open vSwitch does.

import { parseIpv4 } from '../../src/base/addresses';
import type { Clock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { Backups } from '../../src/backup/backups';
import type { OwnSwitch, Standby, Standbys, Taken } from '../../src/backup/ports';
import { ASK_EVERY_MS } from '../../src/cluster/pulse-links';
import { ManualClock } from './manual-clock';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from './memory-directory';

/** Where a datapath tells of its connections. */
interface Line {
  connected(isConnected: boolean): void;
  demoted(): void;
}

export class FakeDatapath {
  generation: bigint | undefined;
  master: string | undefined;
  readonly lines = new Map<string, Line>();
  /** Every master that it has had, the newest last. */
  readonly masters: string[] = [];

  request(host: string, generation: bigint): Taken {
    if (!this.lines.has(host)) return 'away';
    if (this.generation !== undefined && generation < this.generation) return 'stale';
    this.generation = generation;
    const before = this.master;
    this.master = host;
    if (before === host) return 'master';
    this.masters.push(host);
    if (before !== undefined) this.lines.get(before)?.demoted();
    return 'master';
  }

  connect(host: string, line: Line): void {
    this.lines.set(host, line);
    line.connected(true);
  }

  disconnect(host: string): void {
    const line = this.lines.get(host);
    this.lines.delete(host);
    if (this.master === host) this.master = undefined;
    line?.connected(false);
  }

  /** ovs-vswitchd starts anew: nothing is left, the fence neither. */
  restart(): void {
    for (const host of [...this.lines.keys()]) this.disconnect(host);
    this.generation = undefined;
  }
}

/** An agent's process: what is due while it is stopped comes when it goes on, and never when it is gone. */
class Process implements Clock {
  state: 'up' | 'stopped' | 'gone' = 'up';
  private late: (() => void)[] = [];

  constructor(private readonly clock: ManualClock) {}

  now(): number {
    return this.clock.now();
  }

  after(ms: number, callback: () => void): () => void {
    let isCancelled = false;
    const cancel = this.clock.after(ms, () => this.run(() => isCancelled || callback()));
    return () => {
      isCancelled = true;
      cancel();
    };
  }

  run(callback: () => void): void {
    if (this.state === 'up') callback();
    else if (this.state === 'stopped') this.late.push(callback);
  }

  continue(): void {
    this.state = 'up';
    for (const callback of this.late.splice(0)) callback();
  }
}

export class BackupHost {
  readonly store: MemoryDirectory;
  readonly datapath = new FakeDatapath();
  process!: Process;
  backups!: Backups;
  peers: ReadonlySet<string> = new Set();
  /** Resolves when its view has all that it follows. */
  followed: Promise<void> = Promise.resolve();
  /** Whether others can read what it says of its datapath. */
  isDescribed = true;
  /** What taking its datapath comes to for others, where it is not as it should be. */
  fault: (() => Taken) | undefined;

  constructor(
    readonly name: string,
    private readonly world: BackupWorld,
    number: number,
  ) {
    const { database } = world;
    this.store = createMemoryDirectory({
      host: name,
      database,
      address: parseIpv4(`192.0.2.${number}`),
      clock: world.clock,
    });
    this.start();
  }

  get isMaster(): boolean {
    return this.datapath.master === this.name;
  }

  start(): void {
    const process = new Process(this.world.clock);
    const { store } = this;
    const refuse = () => Promise.reject(new Error('the process is gone'));
    this.process = process;
    this.backups = new Backups({
      store: {
        view: store.view,
        host: store.host,
        get connected() {
          return store.connected;
        },
        transact: (plan) => (process.state === 'up' ? store.transact(plan) : refuse()),
        whenFollowed: () => this.followed,
        onChange: (listener) => store.onChange((changes) => process.run(() => listener(changes))),
        onConnected: (listener) => store.onConnected((is) => process.run(() => listener(is))),
      },
      standbys: this.standbys(process),
      setPeers: (peers) => (this.peers = peers),
      clock: process,
      logger: silentLogger,
      random: () => 0,
    });
    this.backups.start(this.ownSwitch());
    this.world.connectLater(this, this);
  }

  kill(): void {
    this.process.state = 'gone';
    for (const { datapath } of this.world.hosts.values()) datapath.disconnect(this.name);
  }

  /** A datapath connects to this host, its own or one that it stands by for. */
  lineOf(of: BackupHost): Line {
    const { process } = this;
    const isOwn = of === this;
    const state = this.standbyStates.get(process)!;
    return {
      connected: (isConnected) => {
        process.run(() => {
          if (isOwn && isConnected) void this.takeOwn(process);
          if (!isOwn) for (const listener of state.connected) listener(of.name, isConnected);
        });
      },
      demoted: () => {
        process.run(() => {
          if (isOwn) void this.takeOwn(process);
          else for (const listener of state.demoted) listener(of.name);
        });
      },
    };
  }

  private readonly standbyStates = new Map<
    Process,
    { connected: Set<(host: string, is: boolean) => void>; demoted: Set<(host: string) => void> }
  >();

  private standbys(process: Process): Standbys {
    const state = {
      connected: new Set<(host: string, is: boolean) => void>(),
      demoted: new Set<(host: string) => void>(),
    };
    this.standbyStates.set(process, state);
    const { hosts } = this.world;
    const own = this.name;
    return {
      of: (host): Standby => ({
        get isConnected() {
          return hosts.get(host)?.datapath.lines.has(own) === true;
        },
        get isDescribed() {
          return hosts.get(host)?.isDescribed === true;
        },
        take: async (generation) => {
          await Promise.resolve();
          const fault = hosts.get(host)!.fault;
          if (fault !== undefined) return fault();
          return process.state === 'up' ? hosts.get(host)!.datapath.request(own, generation) : 'away';
        },
        release: () => {
          const datapath = hosts.get(host)?.datapath;
          if (process.state === 'up' && datapath?.master === own) datapath.master = undefined;
        },
      }),
      onConnected: (listener) => {
        state.connected.add(listener);
        return () => void state.connected.delete(listener);
      },
      onDemoted: (listener) => {
        state.demoted.add(listener);
        return () => void state.demoted.delete(listener);
      },
    };
  }

  private ownSwitch(): OwnSwitch {
    const isMaster = () => this.isMaster;
    return {
      get isMaster() {
        return isMaster();
      },
      obstacle: undefined,
      links: [],
      profile: () => '{}',
      onChange: () => () => undefined,
    };
  }

  /** As src/flowctl does it: at each connection, and after each demotion. */
  private async takeOwn(process: Process): Promise<void> {
    for (let outcome: Taken = 'stale'; outcome === 'stale';) {
      const generation = await this.backups.nextGeneration(this.datapath.generation ?? 0n);
      if (process !== this.process || process.state === 'gone') return;
      while (process.state === 'stopped') await new Promise<void>((resolve) => process.run(resolve));
      outcome = this.datapath.request(this.name, generation);
    }
  }
}

export class BackupWorld {
  readonly clock = new ManualClock();
  readonly database = createMemoryDatabase();
  readonly hosts = new Map<string, BackupHost>();
  /** Until a datapath and a controller that are both there have found each other: Open vSwitch backs off. */
  connectMs = 100;

  constructor(names: readonly string[]) {
    names.forEach((name, index) => this.hosts.set(name, new BackupHost(name, this, index + 1)));
    this.pulse();
  }

  host(name: string): BackupHost {
    return this.hosts.get(name)!;
  }

  /** What the directory says, as a host that is up sees it. */
  row(host: string) {
    return this.host(host).store.view.switchOf(host);
  }

  /** A datapath dials its controllers whenever they are not there. */
  connectLater(of: BackupHost, to: BackupHost): void {
    const { process } = to;
    this.clock.after(this.connectMs, () => {
      if (to.process !== process || process.state === 'gone' || of.datapath.lines.has(to.name)) return;
      of.datapath.connect(to.name, to.lineOf(of));
    });
  }

  restartDatapath(host: string): void {
    this.host(host).datapath.restart();
  }

  setDirectoryAway(isAway: boolean): void {
    for (const { store } of this.hosts.values()) store.setAway(isAway);
  }

  /** Lets time pass, and all that follows from it. */
  async advance(ms: number): Promise<void> {
    const STEP_MS = 50;
    for (let done = 0; done < ms; done += STEP_MS) {
      this.clock.advance(Math.min(STEP_MS, ms - done));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Twice a second every host asks its companions, and datapaths dial. */
  private pulse(): void {
    for (const host of this.hosts.values()) {
      const backups = this.row(host.name)?.backups ?? [];
      for (const name of [host.name, ...backups]) {
        if (!host.datapath.lines.has(name)) this.connectLater(host, this.host(name));
      }
      if (host.process.state !== 'up') continue;
      for (const peer of host.peers) {
        const other = this.host(peer);
        if (other.process.state === 'up') host.backups.hear(peer, other.isMaster ? 'serving' : 'idle');
      }
    }
    this.clock.after(ASK_EVERY_MS, () => this.pulse());
  }
}
