// The datapaths of other hosts that have connected to this host's door, as slaves: nothing is done for them until src/backup
// says that this host is to be their master. Then a controller is made for the one, and ends when another is master.

import type { Socket } from 'node:net';
import type { Standby, Standbys, Taken } from './backup/ports';
import type { Cidr } from './base/addresses';
import type { Clock } from './base/clock';
import { messageOf } from './base/errors';
import type { Logger } from './base/logger';
import type { DirectoryStore } from './directory/store';
import { parseProfile, type FlowProfile } from './flow-profile';
import { DatapathLink } from './flowctl/datapath-link';
import { DEFAULT_FLOW_SETTINGS } from './flowctl/model';
import { StandbyController } from './standby-controller';

export interface StandbysParts {
  readonly store: Pick<DirectoryStore, 'view' | 'onChange'>;
  readonly locatorRange: Cidr;
  readonly settings: { readonly packetInRate: number };
  readonly clock: Clock;
  readonly logger: Logger;
}

export class DatapathStandbys implements Standbys {
  private readonly standbys = new Map<string, DatapathStandby>();
  private readonly connectedListeners = new Set<(host: string, isConnected: boolean) => void>();
  private readonly demotedListeners = new Set<(host: string) => void>();

  constructor(private readonly parts: StandbysParts) {}

  of(host: string): DatapathStandby {
    const known = this.standbys.get(host);
    if (known !== undefined) return known;
    for (const [name, { isConnected }] of this.standbys) {
      if (!isConnected && this.parts.store.view.host(name) === undefined) this.standbys.delete(name);
    }
    const standby = new DatapathStandby(host, this.parts, {
      connected: (isConnected) => this.connectedListeners.forEach((listener) => listener(host, isConnected)),
      demoted: () => this.demotedListeners.forEach((listener) => listener(host)),
    });
    this.standbys.set(host, standby);
    return standby;
  }

  onConnected(listener: (host: string, isConnected: boolean) => void): () => void {
    this.connectedListeners.add(listener);
    return () => void this.connectedListeners.delete(listener);
  }

  onDemoted(listener: (host: string) => void): () => void {
    this.demotedListeners.add(listener);
    return () => void this.demotedListeners.delete(listener);
  }

  /** Open vSwitch of a host, which its certificate has proved, has come in. */
  accept(socket: Socket, host: string): void {
    this.of(host).accept(socket);
  }

  /** Ends every connection. The flows stay. */
  stop(): void {
    for (const standby of this.standbys.values()) standby.close('this host stops');
  }
}

interface Events {
  readonly connected: (isConnected: boolean) => void;
  readonly demoted: () => void;
}

export class DatapathStandby implements Standby {
  /** A slave, or master. */
  private link: DatapathLink | undefined;
  /** What serves the datapath, or is about to. */
  private charge: StandbyController | undefined;
  /** What the host has told last of its datapath, and what can be read of that. */
  private read = '';
  private readable: FlowProfile | undefined;

  constructor(
    private readonly host: string,
    private readonly parts: StandbysParts,
    private readonly events: Events,
  ) {}

  get isConnected(): boolean {
    return this.link !== undefined;
  }

  /** See Standby. */
  get isDescribed(): boolean {
    return this.profile() !== undefined;
  }

  /** Whether this host is its master, and serves it. */
  get isMaster(): boolean {
    return this.link?.isMaster === true;
  }

  accept(socket: Socket): void {
    const { clock } = this.parts;
    const { inactivityProbeMs, installTimeoutMs: answerWithinMs } = DEFAULT_FLOW_SETTINGS;
    const user = {
      identified: (link: DatapathLink) => this.claim(link),
      demoted: () => {
        this.drop();
        this.events.demoted();
      },
      closed: (link: DatapathLink, reason: string) => this.forget(link, reason),
    };
    new DatapathLink(socket, user, { clock, inactivityProbeMs, answerWithinMs });
  }

  async take(generation: bigint): Promise<Taken> {
    const { link } = this;
    const profile = this.profile();
    if (link === undefined || profile === undefined) return 'away';
    this.drop();
    const { host } = this;
    const charge = new StandbyController({ ...this.parts, host, profile: () => this.profile() ?? profile });
    this.charge = charge;
    await charge.load();
    // It may have been released meanwhile, or have gone away.
    if (this.charge !== charge) return 'away';
    const taken = await link.take(generation, () => charge.controller.adopt(link));
    if (taken !== 'master') {
      if (this.charge === charge) this.drop();
    } else if (this.charge !== charge) {
      await link.release();
      return 'away';
    }
    return taken;
  }

  release(): void {
    this.drop();
    if (this.link?.isMaster === true) void this.link.release();
  }

  close(reason: string): void {
    this.link?.close(reason);
  }

  /** The certificate says whose datapath it is; what it says itself has to agree. */
  private claim(link: DatapathLink): boolean {
    const { store } = this.parts;
    if (store.view.host(this.host)?.datapathId !== link.datapathId) return false;
    void link.release().then((isSlave) => {
      if (isSlave) this.settle(link);
    });
    return true;
  }

  /** One that connects anew takes the place of its former connection. */
  private settle(link: DatapathLink): void {
    // It may have ended with the very bytes in which it agreed.
    if (!link.isIdentified) return;
    this.link?.close(`datapath ${link.datapathId} connected anew`);
    this.link = link;
    this.events.connected(true);
  }

  private forget(link: DatapathLink, reason: string): void {
    const { logger } = this.parts;
    const { host } = this;
    if (link !== this.link) {
      logger.info('a datapath that this host could stand by for went away', { host, reason });
      return;
    }
    this.link = undefined;
    this.drop();
    this.events.connected(false);
  }

  /** What the host has told of its datapath; undefined before, and where it cannot be read. */
  private profile(): FlowProfile | undefined {
    const { store, logger } = this.parts;
    const { host } = this;
    const text = store.view.switchOf(host)?.profile ?? '';
    if (text === this.read) return this.readable;
    this.read = text;
    this.readable = undefined;
    try {
      if (text !== '') this.readable = parseProfile(text);
    } catch (error) {
      logger.error('the datapath of another host cannot be served', { host, error: messageOf(error) });
    }
    return this.readable;
  }

  private drop(): void {
    this.charge?.stop();
    this.charge = undefined;
  }
}
