// What this host's own datapath needs to be served by others while this host's controller is not: Open vSwitch is told which
// controllers stand by and how to show them who it is, and the directory what they have to know.

import { existsSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { OwnSwitch } from './backup/ports';
import { formatIpv4, type Cidr } from './base/addresses';
import type { Clock } from './base/clock';
import { messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { RetriedWork } from './base/retried-work';
import { FRONT_PORT } from './cluster/front';
import { doorOf } from './cluster/sites';
import type { DirectoryChange } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import { formatProfile, type ProfileSettings } from './flow-profile';
import type { Controller } from './flowctl/controller';
import type { FlowHost } from './flowctl/model';
import type { BackupController } from './switch/backup-controllers';
import { keyFilesIn, removeKeyFiles, writeKeyFiles, type SwitchKeys } from './switch/key-files';
import type { Switch } from './switch/switch';

/** By then Open vSwitch has connected, unless it waits between its attempts. */
export const DIALLED_WITHIN_MS = 250;
const TABLES: readonly DirectoryChange['table'][] = ['Switch', 'Host', 'Tunnel'];

export interface OwnDatapathParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  readonly switch: Pick<
    Switch,
    'setBackups' | 'backups' | 'hasForeignSsl' | 'onControllerChange' | 'redial' | 'reconfigure'
  >;
  readonly controller: Pick<Controller, 'counters' | 'isServing' | 'setHost'>;
  readonly settings: ProfileSettings;
  readonly locatorRange: Cidr;
  /** What Open vSwitch is to show; undefined where this host is in no cluster. */
  readonly keys: () => SwitchKeys | undefined;
  /** Where ovs-vswitchd reads it. */
  readonly keyFolder: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number;
}

export class OwnDatapath implements OwnSwitch {
  private readonly listeners = new Set<() => void>();
  private readonly work: RetriedWork;
  private flowHost: FlowHost | undefined;
  private written: SwitchKeys | undefined;
  private told: string | undefined;
  private stopFollowing = (): void => undefined;
  private cancelDial = (): void => undefined;

  constructor(private readonly parts: OwnDatapathParts) {
    const { logger } = parts;
    this.work = new RetriedWork({
      ...parts,
      work: () => this.ensure(),
      onProblem: (error) => logger.error('Open vSwitch could not be told who stands by for this host', { error }),
      onMended: () => logger.info('Open vSwitch knows who stands by for this host'),
    });
  }

  /** Open vSwitch is there, and the controller listens: who stands by is followed from now on. */
  start(): void {
    this.cancelDial();
    this.cancelDial = this.parts.clock.after(DIALLED_WITHIN_MS, () => this.dial());
    this.stopFollowing();
    this.stopFollowing = this.parts.switch.onControllerChange(() => {
      this.tell();
      this.work.ask();
    });
    this.work.ask();
  }

  stop(): void {
    this.cancelDial();
    this.stopFollowing();
    this.work.stop();
  }

  /** The datapath has connected: should it lose this agent, it is to try again every second; see Switch. */
  handleConnected(): void {
    this.attempt(this.parts.switch.reconfigure(), 'Open vSwitch was not told how often to try to connect');
  }

  /** The directory has changed. */
  follow(changes: readonly DirectoryChange[]): void {
    if (changes.some(({ table }) => TABLES.includes(table))) this.work.ask();
  }

  /** What is around the datapath, told to the controller, and to those that stand by. */
  setHost(host: FlowHost): void {
    this.parts.controller.setHost(host);
    if (isDeepStrictEqual(host, this.flowHost)) return;
    this.flowHost = host;
    this.tell();
  }

  get isMaster(): boolean {
    return this.parts.controller.isServing;
  }

  get obstacle(): string | undefined {
    if (!this.parts.switch.hasForeignSsl) return undefined;
    const remedy = 'where nobody needs it, remove it with `ovs-vsctl del-ssl`';
    return `Open vSwitch has one SSL configuration, and it is not DaoliNet’s: ${remedy}`;
  }

  get links(): OwnSwitch['links'] {
    return this.parts.switch.backups();
  }

  profile(): string {
    const { settings } = this.parts;
    return this.flowHost === undefined ? '' : formatProfile({ ...this.flowHost, settings });
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Profile or obstacle may have changed. */
  private tell(): void {
    const now = JSON.stringify([this.profile(), this.obstacle]);
    if (now === this.told) return;
    this.told = now;
    for (const listener of [...this.listeners]) listener();
  }

  /** Until it is connected, whoever stands by serves the datapath, or nobody. */
  private dial(): void {
    if (this.parts.controller.counters().connections > 0) return;
    this.attempt(this.parts.switch.redial(), 'Open vSwitch was not told to connect at once');
  }

  private attempt(told: Promise<void>, problem: string): void {
    told.catch((error: unknown) => this.parts.logger.warn(problem, { error: messageOf(error) }));
  }

  private async ensure(): Promise<void> {
    const { keyFolder } = this.parts;
    const keys = this.parts.keys();
    const backups = keys === undefined ? [] : this.backups();
    const files = keyFilesIn(keyFolder);
    if (keys !== undefined && backups.length > 0) {
      const isThere = existsSync(files.privateKey) && isDeepStrictEqual(keys, this.written);
      if (!isThere) writeKeyFiles(keyFolder, keys);
      this.written = keys;
    }
    await this.parts.switch.setBackups(backups, files);
    if (backups.length === 0) removeKeyFiles(keyFolder);
  }

  private backups(): BackupController[] {
    const { store, locatorRange } = this.parts;
    const { view, host } = store;
    return (view.switchOf(host)?.backups ?? []).flatMap((name) => {
      const row = view.host(name);
      const door = row && doorOf(view, host, row, locatorRange);
      return door === undefined ? [] : { host: name, target: `ssl:${formatIpv4(door)}:${FRONT_PORT}` };
    });
  }
}
