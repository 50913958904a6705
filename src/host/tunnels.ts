// The tunnels of this host, kept as they were asked for: what is there is read, and only what differs is changed. A device that
// goes away is made again, with the endpoints that were learned in it, and its peers are called at once.

import type { Clock } from '../base/clock';
import { KeyedQueue } from '../base/keyed-queue';
import type { Logger } from '../base/logger';
import type { CoProcessSession } from './co-process-session';
import type { ProbeSpec, TunnelDevice, TunnelDeviceState, Tunnels, TunnelsSpec } from './host';
import { checkInterfaceName } from './links';
import { sendProbe } from './probe';
import type { Runner } from './runner';
import type { SysctlFiles } from './sysctl-files';
import { TunnelDevices, type TunnelKind, type TunnelLink } from './tunnel-devices';
import { checkKey } from './tunnel-keys';
import type { TunnelListing } from './tunnel-listing';
import {
  callWords,
  checkTunnels,
  knownAfter,
  planTunnel,
  planTunnelRoutes,
  renewWords,
  type AddressChange,
  type KnownPeers,
  type TunnelPlanInput,
} from './tunnel-plan';
import { TunnelWatcher } from './tunnel-watcher';

const MAX_WAITING = 64;

export interface TunnelsOptions {
  readonly runner: Runner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
  /** Of its own: nothing else waits for it. */
  readonly shell: CoProcessSession;
  readonly sysctl: SysctlFiles;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

type WantedDevice = Pick<TunnelPlanInput, 'device' | 'privateKey' | 'change'>;

export class HostTunnels implements Tunnels {
  private readonly devices: TunnelDevices;
  private readonly watcher: TunnelWatcher;
  private readonly queue = new KeyedQueue(MAX_WAITING);
  private readonly listeners = new Set<(device: string) => void>();
  private spec: TunnelsSpec | undefined;
  /** By device. What was had before is lost when it is not there. */
  private readonly known = new Map<string, KnownPeers>();

  constructor(private readonly options: TunnelsOptions) {
    const { runner, clock, logger, random, shell, sysctl } = options;
    this.devices = new TunnelDevices(shell, sysctl);
    const check = (change: AddressChange | undefined) => this.serially(() => this.reconcile(change));
    this.watcher = new TunnelWatcher({ runner, clock, logger, random, check });
  }

  apply(spec: TunnelsSpec): Promise<void> {
    return this.serially(async () => {
      checkKey(spec.privateKey, 'private');
      checkTunnels(spec.devices, spec.routes);
      this.spec = spec;
      if (spec.devices.length > 0) this.watcher.start();
      await this.reconcile();
      if (spec.devices.length === 0) await this.watcher.stop();
    });
  }

  renew(device: string, publicKey: string): Promise<void> {
    return this.serially(async () => {
      const peer = this.wanted(device)?.peers.find((each) => each.publicKey === publicKey);
      const listing = peer && (await this.devices.show(device));
      if (peer === undefined || listing === undefined) return;
      const has = listing.peers.find((each) => each.publicKey === publicKey);
      await this.devices.set(device, renewWords(peer, has), '');
      await this.devices.set(device, callWords([peer]), '');
    });
  }

  async state(): Promise<TunnelDeviceState[]> {
    const states: TunnelDeviceState[] = [];
    for (const { name } of await this.devices.list()) {
      const listing = await this.devices.show(name);
      if (listing === undefined) continue;
      const { privateKey: _privateKey, ...state } = listing;
      states.push(state);
    }
    return states;
  }

  kind(): Promise<TunnelKind> {
    return this.devices.kind();
  }

  probe(spec: ProbeSpec): Promise<number | undefined> {
    if (spec.device !== undefined) checkInterfaceName(spec.device);
    return sendProbe(this.options.runner, this.options.clock, spec);
  }

  onLost(listener: (device: string) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Ends the watch, after what is under way. Devices and routes stay. */
  async stop(): Promise<void> {
    await this.watcher.stop();
    await this.serially(() => Promise.resolve());
  }

  private serially<T>(task: () => Promise<T>): Promise<T> {
    return this.queue.run('the tunnels', task);
  }

  private wanted(name: string): TunnelDevice | undefined {
    return this.spec?.devices.find((device) => device.name === name);
  }

  private async reconcile(change?: AddressChange): Promise<void> {
    const { spec } = this;
    if (spec === undefined) return;
    const links = await this.devices.list();
    for (const { name } of links.filter(({ name }) => this.wanted(name) === undefined)) {
      await this.devices.remove(name);
      this.known.delete(name);
    }
    for (const device of spec.devices) {
      const link = links.find(({ name }) => name === device.name);
      await this.reconcileDevice({ device, privateKey: spec.privateKey, change }, link);
    }
    const commands = planTunnelRoutes(spec.routes, spec.source, await this.devices.routes());
    if (commands.length > 0) await this.devices.batch(commands);
  }

  private async reconcileDevice(wanted: WantedDevice, link?: TunnelLink): Promise<void> {
    const { device, privateKey } = wanted;
    const { name, mtu } = device;
    const known = this.known.get(name);
    const found = link === undefined ? undefined : await this.devices.show(name);
    const listing = found ?? (await this.make(name));
    if (known === undefined || found === undefined || link?.up !== true || link.mtu !== mtu) {
      await this.devices.prepare(name, mtu);
    }
    const peers: KnownPeers = known ?? new Map();
    const { words, calls } = planTunnel({ ...wanted, listing, known: peers, now: this.options.now() });
    if (words.length > 0) await this.devices.set(name, words, privateKey);
    if (calls.length > 0) await this.devices.set(name, callWords(calls), '');
    this.known.set(name, knownAfter(device, listing, peers));
    if (known === undefined || found === undefined) await this.joinSegments(name);
  }

  private async joinSegments(device: string): Promise<void> {
    const error = await this.devices.joinSegments(device);
    if (error !== undefined) this.options.logger.warn('a tunnel is slower than it could be', { device, error });
  }

  private async make(name: string): Promise<TunnelListing> {
    if (this.known.has(name)) {
      this.options.logger.warn('a tunnel device has gone: it is made again', { device: name });
      for (const listener of this.listeners) listener(name);
    }
    await this.devices.make(name);
    return { name, privateKey: undefined, listenPort: 0, peers: [] };
  }
}
