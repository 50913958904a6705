// Firewall rules, written into the directory. A rule holds when its port's host says that it does: until then whoever made it
// waits, and what is in the way takes the rule back.

import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import { deleteFirewallRule, insertFirewallRule, type NewFirewallRule } from '../directory/control-operations';
import { OPEN } from '../directory/rule-containers';
import type { FirewallRuleRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { DirectoryView } from '../directory/view';

/** How long the port's host may take. */
const ANSWER_MS = 5_000;

export interface FirewallWriterParts {
  readonly store: Pick<DirectoryStore, 'transact' | 'onChange' | 'view'>;
  readonly clock: Clock;
  /** Throws where this host is a client of a cluster. */
  readonly mayWrite: () => void;
}

export class FirewallWriter {
  constructor(private readonly parts: FirewallWriterParts) {}

  /**
   * Resolves when the port is open. Throws `conflict` with what is in the way on the port's host, and `unavailable` where that
   * does not answer; then the rule is not there.
   */
  async create(rule: NewFirewallRule): Promise<void> {
    const { store, mayWrite } = this.parts;
    mayWrite();
    await store.transact((context) => ({ ops: insertFirewallRule(context, rule), result: undefined }));
    const status = await this.statusOf(rule.name);
    if (status === OPEN) return;
    await this.takeBack(rule.name);
    if (status !== undefined) throw new DaoliError('conflict', status, rule.name);
    const message = `host ${rule.host} did not open the port within ${ANSWER_MS / 1_000} s: is its agent running?`;
    throw new DaoliError('unavailable', message, rule.host);
  }

  /** All of them, or none. Throws `not-found`, with names that are like it. */
  async delete(names: readonly string[]): Promise<void> {
    const { store, mayWrite } = this.parts;
    mayWrite();
    await store.transact(({ view }) => ({
      ops: names.flatMap((name) => deleteFirewallRule(existingRule(view, name))),
      result: undefined,
    }));
  }

  /** What the port's host says of a rule; undefined where it says nothing in time. */
  private statusOf(name: string): Promise<string | undefined> {
    const { store, clock } = this.parts;
    const find = () => findRule(store.view, name)?.status;
    return new Promise((resolve) => {
      const end = (status: string | undefined): void => {
        cancel();
        unfollow();
        resolve(status);
      };
      const cancel = clock.after(ANSWER_MS, () => end(undefined));
      const unfollow = store.onChange(() => {
        const status = find();
        if (status !== undefined) end(status);
      });
      const status = find();
      if (status !== undefined) end(status);
    });
  }

  private async takeBack(name: string): Promise<void> {
    await this.parts.store.transact(({ view }) => {
      const rule = findRule(view, name);
      return { ops: rule === undefined ? [] : deleteFirewallRule(rule), result: undefined };
    });
  }
}

function findRule(view: DirectoryView, name: string): FirewallRuleRow | undefined {
  return [...view.firewallRules()].find((rule) => rule.name === name);
}

function existingRule(view: DirectoryView, name: string): FirewallRuleRow {
  const rule = findRule(view, name);
  if (rule !== undefined) return rule;
  const names = [...view.firewallRules()].map((each) => each.name);
  throw new DaoliError('not-found', `firewall rule ${name} does not exist${didYouMean(name, names)}`, name);
}
