// This host's tunnels, kept as the directory says: what changes there is planned anew, and given to the host as devices, peers
// and routes. What others need of this host's own tunnel, its public key above all, is written there.
//
// The two are done side by side. The directory may be away, and its server is often a hub: then the tunnels go on, by what was
// known last, and another hub takes over.

import type { Cidr, Ipv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import { RetriedWork } from '../base/retried-work';
import { hostLocator } from '../directory/allocation';
import type { DirectoryChange, NoL2, TunnelRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { planTunnel, TUNNEL_PORT, type L2Setting, type OwnTunnel } from '../directory/tunnel-operations';
import type { TunnelDeviceState, Tunnels, TunnelsSpec } from '../host/host';
import { withAllThatIsThere, withLearned } from './carry-over';
import { HubWatch } from './hub-watch';
import type { KeyFile, TunnelKey } from './key-file';
import { tunnelMtu } from './mtu';
import { NeededHosts } from './needed';
import { NO_TUNNELS, planTunnels, type TunnelPlan } from './plan';
import { RecentlyNeeded } from './recently';
import { Verdicts } from './verdicts';

/** Until the interface is looked at. */
const ETHERNET_MTU = 1_500;

export interface TunnelFollowerParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host' | 'connected' | 'transact' | 'onConnected'>;
  readonly tunnels: Pick<Tunnels, 'apply' | 'renew' | 'probe' | 'state'>;
  readonly keys: KeyFile;
  readonly locatorRange: Cidr;
  /** What this host tells of its tunnel; undefined where it is in no cluster, and then there is none. */
  readonly facts: () => { readonly endpoint: OwnTunnel['endpoint']; readonly l2: L2Setting } | undefined;
  /** Of the interface towards other hosts, in bytes. */
  readonly interfaceMtu: () => Promise<number>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class TunnelFollower {
  /** Devices and routes. */
  private readonly applying: RetriedWork;
  /** This host's own row. */
  private readonly telling: RetriedWork;
  private readonly hubs: HubWatch;
  private readonly recently: RecentlyNeeded;
  private needed: NeededHosts | undefined;
  private plan: TunnelPlan = NO_TUNNELS;
  private isPlanned = false;
  private deviceMtu = tunnelMtu(ETHERNET_MTU);
  /** What the host was given last, as text. */
  private applied = '';
  /** By "DEVICE KEY": the peers that it was given. */
  private peers: ReadonlySet<string> = new Set();
  /** The directory was heard since the start: what is not in it is not there. */
  private isHeard = false;
  /** What was found out since the start. */
  private judgedL2: boolean | undefined;
  private rotation: Promise<void> | undefined;
  private readonly verdicts: Verdicts;
  private endConnected = (): void => undefined;

  constructor(private readonly parts: TunnelFollowerParts) {
    const { clock, random, tunnels } = parts;
    const world = { clock, random };
    this.verdicts = new Verdicts(clock, () => this.telling.ask());
    this.applying = new RetriedWork({
      ...world,
      work: () => this.apply(),
      ...this.telltales(
        'tunnels to other hosts cannot be set up',
        'the tunnels to other hosts are as they should be again',
      ),
    });
    this.telling = new RetriedWork({
      ...world,
      work: () => this.tell(),
      ...this.telltales('others cannot be told of this host’s tunnel', 'others were told of this host’s tunnel'),
    });
    this.recently = new RecentlyNeeded(clock, () => this.applying.ask());
    this.hubs = new HubWatch({
      clock,
      probe: async (address, device, timeoutMs) => {
        const { source } = this;
        const spec = { address, device, timeoutMs, ...(source && { source }) };
        return (await tunnels.probe(spec)) !== undefined;
      },
      wasDead: (hub) => this.ownRow?.unheard.includes(hub) === true,
      onChange: (hub, isAlive) => this.hubChanged(hub, isAlive),
      onVerdict: () => this.telling.ask(),
    });
  }

  /** Brings the tunnels to what the directory says, as far as they can be now; what is in the way is tried again. */
  async load(): Promise<void> {
    const { store } = this.parts;
    this.needed = new NeededHosts(store.view, store.host);
    this.endConnected();
    this.endConnected = store.onConnected(() => this.ask());
    this.ask();
    await this.applying.idle();
  }

  /** Takes what one transaction changed. */
  take(changes: readonly DirectoryChange[]): void {
    const areOthersNeeded = this.needed?.take(changes) === true;
    if (areOthersNeeded || changes.some(({ table }) => table === 'Host' || table === 'Tunnel')) this.ask();
  }

  /** What this host tells of itself, or the MTU of its interface, may have changed. */
  look(): void {
    this.ask();
  }

  /**
   * Gives this host another key. The others are told first: whoever reads it waits for this host to use it, which follows at
   * once. A connection goes on, as packets that are lost meanwhile are sent again. Whoever asks while it is under way gets the
   * same. Throws what the directory throws; then the row says, as soon as it is read, which key is used.
   */
  rotate(): Promise<void> {
    this.rotation ??= this.rotateNow().finally(() => {
      this.rotation = undefined;
      this.ask();
    });
    return this.rotation;
  }

  /** This host has found out whether it shares the L2 of its site: the others are told. Before that it is as it told them last. */
  judgeL2(isMissing: boolean): void {
    this.judgedL2 = isMissing;
    this.telling.ask();
  }

  /** Whether it was detected that this host shares no L2 with its site. */
  get isL2Missing(): boolean {
    return this.judgedL2 ?? this.ownRow?.noL2 === 'detected';
  }

  /** The tunnels stay. Idempotent. */
  stop(): void {
    this.endConnected();
    this.verdicts.stop();
    this.applying.stop();
    this.telling.stop();
    this.recently.stop();
    this.hubs.stop();
  }

  /** What goes through this host's tunnels at once, in bytes of IPv4. */
  get mtu(): number {
    return this.deviceMtu;
  }

  /** The names of the hosts that this one has a tunnel to, direct or through a hub. */
  get hosts(): string[] {
    const direct = this.plan.devices.flatMap(({ peers }) => peers.map(({ host }) => host));
    return [...new Set([...direct, ...this.plan.relayed.map(({ host }) => host)])].sort();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.applying.idle();
    await this.telling.idle();
    await this.applying.idle();
  }

  private ask(): void {
    this.applying.ask();
    this.telling.ask();
  }

  private telltales(problem: string, mended: string) {
    const { logger } = this.parts;
    return {
      onProblem: (error: string) => logger.error(problem, { error }),
      onMended: () => logger.info(mended),
    };
  }

  /** This host's own locator: its devices have no address. */
  private get source(): Ipv4 | undefined {
    const { store, locatorRange } = this.parts;
    const own = store.view.host(store.host);
    return own && hostLocator(own, locatorRange);
  }

  private get ownRow(): TunnelRow | undefined {
    const { view, host } = this.parts.store;
    return view.tunnel(host);
  }

  private async rotateNow(): Promise<void> {
    const { keys, facts } = this.parts;
    if (facts() === undefined) throw new DaoliError('conflict', 'this host is in no cluster: it has no tunnels');
    // What is being written has the old key.
    await this.telling.idle();
    await this.writeOwn(keys.prepare());
    keys.promote();
    this.applying.ask();
    await this.applying.idle();
  }

  private async tell(): Promise<void> {
    const { store, facts } = this.parts;
    // Whoever rotates writes it, and whoever is connected again asks.
    if (!store.connected || this.rotation !== undefined || facts() === undefined) return;
    await this.writeOwn(this.ownKey());
  }

  private async writeOwn({ publicKey: key }: TunnelKey): Promise<void> {
    const { store, facts } = this.parts;
    const { endpoint, l2 } = facts() ?? {};
    // Before the first plan, an earlier agent's word holds.
    const unheard = this.isPlanned ? this.verdicts.toTell(this.hubs.unheard, this.ownRow?.unheard ?? []) : undefined;
    const own = { key, port: TUNNEL_PORT, endpoint, noL2: this.noL2Of(l2), unheard };
    await store.transact((context) => ({ ops: planTunnel(context, own), result: undefined }));
  }

  private noL2Of(l2: L2Setting | undefined): NoL2 {
    if (l2 === 'no') return 'said';
    return l2 === 'auto' && this.isL2Missing ? 'detected' : false;
  }

  /** A key that the others were told of is used, whatever came between. */
  private ownKey(): TunnelKey {
    const { keys } = this.parts;
    const { next } = keys;
    if (next !== undefined && this.ownRow?.key === next.publicKey) keys.promote();
    return keys.create();
  }

  private async apply(): Promise<void> {
    const { store, tunnels, facts } = this.parts;
    const { source } = this;
    if (source === undefined) return;
    if (facts() === undefined) return this.takeAway(source);
    // Of a host whose own row is not known (yet), nothing is known.
    if (this.ownRow === undefined) return;
    this.isHeard ||= store.connected;
    // A laptop that is nowhere at the moment has what it had.
    const interfaceMtu = await this.parts.interfaceMtu().catch(() => undefined);
    if (interfaceMtu !== undefined) this.deviceMtu = tunnelMtu(interfaceMtu);
    const state = this.isHeard && this.applied !== '' ? undefined : await tunnels.state();
    this.plan = this.planNow(state);
    await this.give({ privateKey: this.ownKey().privateKey, source, ...this.plan }, state);
    this.hubs.watch(this.plan.relayed.length === 0 ? [] : this.plan.hubs);
    if (this.isPlanned) return;
    this.isPlanned = true;
    this.telling.ask();
  }

  /** `state`: the devices as they are, where they have been looked at. */
  private async give(plan: TunnelsSpec, state: readonly TunnelDeviceState[] | undefined): Promise<void> {
    const { tunnels } = this.parts;
    const { privateKey, source, devices, routes } = plan;
    const text = JSON.stringify([privateKey, source, devices, routes, this.isHeard]);
    if (text === this.applied) return;
    this.applied = '';
    const peers = new Set(devices.flatMap(({ name, peers }) => peers.map(({ publicKey }) => `${name} ${publicKey}`)));
    const isKnown = state === undefined && [...peers].every((peer) => this.peers.has(peer));
    const there = isKnown ? [] : (state ?? (await tunnels.state()));
    const learned = withLearned(devices, there);
    const whole = this.isHeard
      ? { devices: learned, routes }
      : withAllThatIsThere({ devices: learned, routes }, there, this.deviceMtu);
    await tunnels.apply({ privateKey, source, ...whole });
    this.applied = text;
    this.peers = peers;
  }

  /** This host has left its cluster. */
  private async takeAway(source: TunnelsSpec['source']): Promise<void> {
    const { tunnels, keys } = this.parts;
    const privateKey = keys.current?.privateKey;
    this.plan = NO_TUNNELS;
    this.hubs.watch([]);
    if (privateKey === undefined || (await tunnels.state()).length === 0) return;
    await tunnels.apply({ privateKey, source, devices: [], routes: [] });
  }

  private planNow(state: readonly TunnelDeviceState[] | undefined): TunnelPlan {
    const { store, locatorRange } = this.parts;
    return planTunnels({
      view: store.view,
      own: store.host,
      locatorRange,
      mtu: this.deviceMtu,
      needed: this.recently.with([...(this.needed?.hosts() ?? []), ...this.hostsOf(state ?? [])]),
      isAlive: (hub) => this.hubs.isAlive(hub),
      lastHub: (host) => this.plan.relayed.find((each) => each.host === host)?.hub,
    });
  }

  /** Hosts that are peers already, as an earlier agent has left them. */
  private *hostsOf(state: readonly TunnelDeviceState[]): Iterable<string> {
    const keys = new Set(state.flatMap(({ peers }) => peers.map(({ publicKey }) => publicKey)));
    if (keys.size === 0) return;
    for (const { host, key } of this.parts.store.view.tunnels()) if (keys.has(key)) yield host;
  }

  private hubChanged(hub: string, isAlive: boolean): void {
    const { logger, tunnels } = this.parts;
    if (isAlive) logger.info('a hub answers again', { hub });
    else logger.warn('a hub does not answer', { hub });
    this.applying.ask();
    // It may have started anew, and know nothing of the session that this host thinks there is.
    const device = isAlive ? undefined : this.plan.devices.find(({ peers }) => peers.some(({ host }) => host === hub));
    const peer = device?.peers.find(({ host }) => host === hub);
    if (device !== undefined && peer !== undefined) {
      void tunnels.renew(device.name, peer.publicKey).catch(() => undefined);
    }
  }
}
