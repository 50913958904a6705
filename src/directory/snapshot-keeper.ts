// Keeps the file of a host's rows up to date: soon after a change, then every few seconds at most, and never so often that
// making it takes more than a small part of the time. How long the disk takes does not count: it keeps nobody from working.

import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import { readSnapshot, writeSnapshot, type SnapshotRow } from './snapshot';

/** After a change, for those that come with it. */
const SOON_MS = 200;
const INTERVAL_MS = 3_000;
/** Of the time that making it takes: the pause after it. */
const PAUSE_FACTOR = 50;

export interface SnapshotKeeperParts {
  readonly path: string;
  /** Whose it is. */
  readonly host: string;
  /** The rows of this moment; they stay as they are while they are gone through. */
  readonly rows: () => Iterable<SnapshotRow>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class SnapshotKeeper {
  private readonly problems: ProblemLog;
  private cancel: (() => void) | undefined;
  private writing: Promise<void> | undefined;
  private hasChanged = false;
  private isUrgent = false;
  private notBefore = -Infinity;

  constructor(private readonly parts: SnapshotKeeperParts) {
    this.problems = new ProblemLog(parts.clock, parts.logger);
  }

  /** Cheap: call it with every change. */
  changed(): void {
    if (this.hasChanged) return;
    this.hasChanged = true;
    if (this.writing === undefined) this.schedule();
  }

  /** What has changed is written now: nothing comes after it for the time being, and the process may end meanwhile. */
  hurry(): void {
    if (!this.hasChanged) return;
    this.isUrgent = true;
    if (this.writing !== undefined) return;
    this.cancel?.();
    this.begin();
  }

  /** What has changed and is not being written is not written any more. */
  stop(): void {
    this.cancel?.();
    this.cancel = undefined;
    this.hasChanged = false;
    this.isUrgent = false;
  }

  /** Resolves when nothing is being written any more. */
  async settled(): Promise<void> {
    await this.writing;
  }

  /** What was written last, by whatever process. See readSnapshot. */
  read(): SnapshotRow[] | undefined {
    return readSnapshot(this.parts.path, this.parts.host);
  }

  private schedule(): void {
    const { clock } = this.parts;
    const pauseMs = this.isUrgent ? 0 : Math.max(SOON_MS, this.notBefore - clock.now());
    this.cancel = clock.after(pauseMs, () => this.begin());
  }

  private begin(): void {
    this.writing = this.write().then(() => {
      this.writing = undefined;
      if (this.hasChanged) this.schedule();
    });
  }

  private async write(): Promise<void> {
    const { path, host, rows, clock } = this.parts;
    this.hasChanged = false;
    this.isUrgent = false;
    let busyMs = 0;
    try {
      busyMs = await writeSnapshot(path, host, rows(), () => clock.now());
    } catch (error) {
      this.problems.report('what is known of the cluster cannot be kept on disk', { error: messageOf(error) });
    }
    this.notBefore = clock.now() + Math.max(INTERVAL_MS, PAUSE_FACTOR * busyMs);
  }
}
