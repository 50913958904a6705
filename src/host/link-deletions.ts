// Deletes links in the background. The kernel waits for a grace period at each deletion (16 ms), but only once for a whole
// group of links (30 in 25 ms); batches are bounded because it holds its lock for links all that time.

import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OneAtATime } from '../base/one-at-a-time';
import type { CoProcessSession } from './co-process-session';

const MAX_BATCH = 32;
// More than any host has links: reached only where the kernel no longer answers. The reconciler finds what was dropped.
const MAX_PENDING = 16_384;
// A link group of our own, "dn" and a number: links are in group 0 unless somebody says otherwise.
const GROUP = 0x646e0001;
/** What iproute2 says of a link, and of a group, that is not there. */
const GONE = /^Cannot find device|^RTNETLINK answers: No such device$/;

export class LinkDeletions {
  private readonly pending = new Set<string>();
  private batch: readonly string[] = [];
  private readonly deletions = new OneAtATime(() => this.work());

  constructor(
    private readonly session: CoProcessSession,
    private readonly logger: Logger,
  ) {}

  add(name: string): void {
    if (this.pending.size >= MAX_PENDING) {
      this.logger.warn('too many links wait for their deletion: one is left behind', { link: name });
      return;
    }
    this.pending.add(name);
    this.deletions.ask();
  }

  /** Takes a name back: resolves when no deletion of it is under way or will come. */
  async cancel(name: string): Promise<void> {
    if (this.batch.includes(name)) await this.deletions.idle();
    this.pending.delete(name);
  }

  async done(): Promise<void> {
    await this.deletions.idle();
  }

  private async work(): Promise<void> {
    // Those of this turn of the event loop go together.
    await Promise.resolve();
    while (this.pending.size > 0) {
      this.batch = [...this.pending].slice(0, MAX_BATCH);
      for (const name of this.batch) this.pending.delete(name);
      await this.deleteBatch(this.batch);
      this.batch = [];
    }
  }

  private async deleteBatch(names: readonly string[]): Promise<void> {
    const commands =
      names.length === 1
        ? `link delete dev ${names[0]}`
        : [...names.map((name) => `link set dev ${name} group ${GROUP}`), `link delete group ${GROUP}`].join('\n');
    try {
      const { stderr } = await this.session.run(commands);
      const failures = stderr.split('\n').filter((line) => line !== '' && !GONE.test(line));
      if (failures.length > 0) this.logger.warn('links could not be deleted', { links: names, reason: failures });
    } catch (error) {
      this.logger.warn('links could not be deleted', { links: names, reason: messageOf(error) });
    }
  }
}
