// The data plane of this host: the bridge in Open vSwitch, the controller that programs it, and what both stand on. Made
// once this host's row is known, since the bridge carries its numbers.

import { join } from 'node:path';
import { formatMac, type Ipv4 } from './base/addresses';
import { systemClock } from './base/clock';
import { DaoliError, messageOf } from './base/errors';
import type { Logger } from './base/logger';
import type { NextGeneration } from './backup/ports';
import type { DirectoryStore } from './directory/store';
import { endpointState, type DirectoryChange } from './directory/rows';
import { flowEndpointOf } from './driver/wiring';
import type { NetworkDriver } from './driver/network-driver';
import { Controller } from './flowctl/controller';
import { fetchIdleTimes } from './flowctl/idle-query';
import type { FlowHost, TellPeer } from './flowctl/model';
import type { Host } from './host/host';
import { Neighbours } from './neighbours';
import { OwnDatapath } from './own-datapath';
import { PolicyFollower } from './policy-follower';
import { RelayFollower } from './relay-follower';
import type { Settings } from './settings';
import type { SwitchKeys } from './switch/key-files';
import { Switch } from './switch/switch';
import type { TunnelFollower } from './tunnel/tunnels';
import { chooseDatapath, Underlay } from './underlay';

const CONTROLLER_SOCKET = 'daolinet.sock';
/** Below the run directory: what ovs-vswitchd shows to controllers of other hosts. */
const KEY_FOLDER = 'daolinet';
export const OVS_RUNDIR = '/run/openvswitch';
/** The same folder as ovs-vswitchd spells it: it connects to Unix sockets nowhere else, and compares the names. */
const OVS_RUNDIR_OF_VSWITCHD = '/var/run/openvswitch';

export interface PlaneParts {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly host: Host;
  readonly store: DirectoryStore;
  readonly driver: NetworkDriver;
  readonly tellPeer: TellPeer;
  readonly tunnels: TunnelFollower;
  /** How this host becomes master of its datapath: see ControllerOptions. */
  readonly nextGeneration: NextGeneration;
  /** What Open vSwitch shows to other hosts; undefined where this host is in no cluster. */
  readonly keys: () => SwitchKeys | undefined;
}

export class Plane {
  readonly switch: Switch;
  readonly controller: Controller;
  readonly datapath: 'system' | 'netdev';
  /** For those who stand by. */
  readonly ownSwitch: OwnDatapath;
  private readonly underlay: Underlay;
  private readonly neighbours: Neighbours;
  private readonly policies: PolicyFollower;
  private readonly relays: RelayFollower;
  private isUp = false;

  /** Throws `unavailable` where this host has no row. */
  constructor(private readonly parts: PlaneParts) {
    const { settings, store, host, logger, tellPeer, nextGeneration } = parts;
    const row = store.view.host(store.host);
    if (row === undefined) throw new DaoliError('unavailable', `host ${store.host} is not in the directory yet`);
    this.datapath = chooseDatapath(settings.datapath);
    const socket = join(OVS_RUNDIR, CONTROLLER_SOCKET);
    const world = { clock: systemClock, random: Math.random };
    this.switch = new Switch({
      ...world,
      remote: `unix:${join(OVS_RUNDIR, 'db.sock')}`,
      bridge: settings.bridge,
      controllerTarget: `unix:${join(OVS_RUNDIR_OF_VSWITCHD, CONTROLLER_SOCKET)}`,
      datapathId: row.datapathId,
      datapathType: this.datapath,
      hwaddr: formatMac(row.routerMac),
      owner: store.host,
    });
    const management = join(OVS_RUNDIR, `${settings.bridge}.mgmt`);
    this.controller = new Controller({
      ...world,
      path: socket,
      logger,
      settings: flowSettings(settings),
      tellPeer,
      nextGeneration,
      onConnected: () => this.ownSwitch.handleConnected(),
      fetchIdleTimes: () => fetchIdleTimes(management, systemClock),
    });
    const { controller, switch: ovs } = this;
    const { locatorRange } = settings;
    const keyFolder = join(OVS_RUNDIR, KEY_FOLDER);
    const flows = flowSettings(settings);
    this.ownSwitch = new OwnDatapath({
      ...parts,
      ...world,
      switch: ovs,
      controller,
      settings: flows,
      locatorRange,
      keyFolder,
    });
    this.underlay = new Underlay({
      ...parts,
      ...world,
      datapath: this.datapath,
      host,
      switch: ovs,
      controller: this.ownSwitch,
    });
    this.policies = new PolicyFollower(store, controller);
    const setRelayed = (locators: readonly Ipv4[]) => void this.attempt(this.underlay.setRelayed(locators));
    this.relays = new RelayFollower({ store, locatorRange, controller, setRelayed });
    this.neighbours = new Neighbours({ settings, store, controller, networks: parts.driver.networks, logger });
  }

  get flowHost(): FlowHost | undefined {
    return this.controller.flowHost;
  }

  /** Whether the datapath is connected, and has all of its flows. */
  get isConnected(): boolean {
    return this.controller.counters().datapaths > 0;
  }

  /** See Switch. */
  inspect(): ReturnType<Switch['inspect']> {
    return this.switch.inspect();
  }

  ports(): ReturnType<Switch['ports']> {
    return this.switch.ports();
  }

  /** See Controller. */
  probeFabric(locator: Ipv4, timeoutMs: number): Promise<boolean> {
    return this.controller.probeFabric(locator, timeoutMs);
  }

  get ovsVersion(): string | undefined {
    return this.isUp ? this.switch.capabilities.ovsVersion : undefined;
  }

  /**
   * Brings bridge, packet filter and controller up, with every network and endpoint there was, so that the datapath keeps
   * its routes. `onLost` is called when something was lost later and has been brought back as far as it could.
   */
  async bringUp(onLost: () => void): Promise<void> {
    this.switch.start();
    await this.switch.whenReady();
    await this.underlay.bringUp();
    if (this.isUp) return;
    this.parts.store.onChange((changes) => this.follow(changes));
    await this.loadController();
    await this.controller.start();
    // The packet filter stands by now: nothing for a tunnel leaves by anything else.
    await this.parts.tunnels.load();
    this.isUp = true;
    this.ownSwitch.start();
    this.switch.onBridgeLost(() => void this.restore(onLost));
    this.switch.onPortChange(({ port }) => {
      if (port === undefined || port.error !== undefined) onLost();
    });
  }

  /** See Underlay. */
  setDockerBridges(names: readonly string[]): Promise<void> {
    return this.underlay.setDockerBridges(names);
  }

  /** Interfaces of the host have other addresses, or another MTU. */
  async look(): Promise<void> {
    if (!this.isUp) return;
    this.parts.tunnels.look();
    await this.refreshUnderlay();
  }

  async stop(): Promise<void> {
    this.ownSwitch.stop();
    this.underlay.stop();
    this.parts.tunnels.stop();
    await this.controller.stop();
    this.switch.stop();
  }

  /** Before the first datapath connects: what it has of ours is compared with this. */
  private async loadController(): Promise<void> {
    const { store } = this.parts;
    this.policies.load();
    this.relays.load();
    await this.neighbours.load();
    for (const endpoint of store.view.endpointsOn(store.host)) {
      const network = store.view.network(endpoint.networkId);
      if (network === undefined || endpointState(endpoint) !== 'joined') continue;
      // Confirmed when the datapath connects; the reconciler sees to those that are not.
      this.controller.addEndpoint(flowEndpointOf(endpoint, network)).catch(() => undefined);
    }
  }

  private follow(changes: readonly DirectoryChange[]): void {
    this.neighbours.take(changes);
    this.policies.take(changes);
    this.relays.take(changes);
    this.parts.tunnels.take(changes);
    this.ownSwitch.follow(changes);
    if (changes.some(({ table }) => table === 'Host' || table === 'Tunnel' || table === 'Network'))
      void this.refreshUnderlay();
  }

  private async restore(onLost: () => void): Promise<void> {
    await this.underlay.bringUp().catch((error: unknown) => {
      this.parts.logger.error('the bridge was lost and cannot be made again', { error: messageOf(error) });
    });
    this.ownSwitch.start();
    onLost();
  }

  private refreshUnderlay(): Promise<void> {
    return this.attempt(this.underlay.refresh());
  }

  private async attempt(change: Promise<void>): Promise<void> {
    await change.catch((error: unknown) => {
      this.parts.logger.error('a change of the hosts or networks cannot be followed', { error: messageOf(error) });
    });
  }
}

function flowSettings(settings: Settings) {
  return {
    idleTimeoutSeconds: settings.idleTimeoutSeconds,
    packetInRate: settings.packetInRate,
    packetInBurst: settings.packetInRate,
    maxRoutesPerEndpoint: settings.maxRoutesPerEndpoint,
  };
}
