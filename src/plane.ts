// The data plane of this host: the bridge in Open vSwitch, the controller that programs it, and what both stand on. Made
// once this host's row is known, since the bridge carries its numbers.

import { join } from 'node:path';
import { formatMac } from './base/addresses';
import { systemClock } from './base/clock';
import { DaoliError, messageOf } from './base/errors';
import type { Logger } from './base/logger';
import type { DirectoryStore } from './directory/store';
import { endpointState, type DirectoryChange } from './directory/rows';
import { flowEndpointOf } from './driver/wiring';
import type { NetworkDriver } from './driver/network-driver';
import { Controller } from './flowctl/controller';
import type { TellPeer } from './flowctl/model';
import type { Host } from './host/host';
import { Neighbours } from './neighbours';
import type { Settings } from './settings';
import { Switch } from './switch/switch';
import { chooseDatapath, Underlay } from './underlay';

const UNDERLAY_LOOK_MS = 30_000;
const CONTROLLER_SOCKET = 'daolinet.sock';
const OVS_RUNDIR = '/run/openvswitch';
/** The same folder as ovs-vswitchd spells it: it connects to Unix sockets nowhere else, and compares the names. */
const OVS_RUNDIR_OF_VSWITCHD = '/var/run/openvswitch';

export interface PlaneParts {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly host: Host;
  readonly store: DirectoryStore;
  readonly driver: NetworkDriver;
  readonly tellPeer: TellPeer;
}

export class Plane {
  readonly switch: Switch;
  readonly controller: Controller;
  readonly datapath: 'system' | 'netdev';
  private readonly underlay: Underlay;
  private readonly neighbours: Neighbours;
  private isUp = false;
  private cancelLook = (): void => undefined;

  /** Throws `unavailable` where this host has no row. */
  constructor(private readonly parts: PlaneParts) {
    const { settings, store, host, logger, tellPeer } = parts;
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
    this.controller = new Controller({ ...world, path: socket, logger, settings: flowSettings(settings), tellPeer });
    this.underlay = new Underlay({
      ...parts,
      ...world,
      datapath: this.datapath,
      host,
      switch: this.switch,
      controller: this.controller,
    });
    const { controller } = this;
    this.neighbours = new Neighbours({ settings, store, controller, networks: parts.driver.networks, logger });
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
    this.isUp = true;
    this.lookLater();
    this.switch.onBridgeLost(() => void this.restore(onLost));
    this.switch.onPortChange(({ port }) => {
      if (port === undefined || port.error !== undefined) onLost();
    });
  }

  /** See Underlay. */
  setDockerBridges(names: readonly string[]): Promise<void> {
    return this.underlay.setDockerBridges(names);
  }

  /** Nobody says when the MTU of the NIC changes, or its address comes back. */
  private lookLater(): void {
    this.cancelLook = systemClock.after(UNDERLAY_LOOK_MS, () => {
      void this.refreshUnderlay().finally(() => this.lookLater());
    });
  }

  async stop(): Promise<void> {
    this.cancelLook();
    this.underlay.stop();
    await this.controller.stop();
    this.switch.stop();
  }

  /** Before the first datapath connects: what it has of ours is compared with this. */
  private async loadController(): Promise<void> {
    const { store } = this.parts;
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
    if (changes.some(({ table }) => table === 'Host' || table === 'Network')) void this.refreshUnderlay();
  }

  private async restore(onLost: () => void): Promise<void> {
    await this.underlay.bringUp().catch((error: unknown) => {
      this.parts.logger.error('the bridge was lost and cannot be made again', { error: messageOf(error) });
    });
    onLost();
  }

  private async refreshUnderlay(): Promise<void> {
    await this.underlay.refresh().catch((error: unknown) => {
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
