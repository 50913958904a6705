// What people decide about who may talk to whom, written into the directory. Names are those that the directory has by now: whoever
// asks has found what is meant. Refuses what contradicts what is there.

import {
  addMember,
  clearPair,
  deleteGroup,
  deletePolicy,
  insertGroup,
  insertPolicy,
  removeMember,
  setDefaultDeny,
  setPair,
  type NewPolicy,
} from '../directory/control-operations';
import { DaoliError } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import type { GroupRow, NetworkId, NetworkRow, PolicyRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import { coversRule, formatRule, policyRule, type Rule } from './rule';

/** A policy to be added; without a name it gets one. */
export interface WantedPolicy extends Omit<NewPolicy, 'name'> {
  readonly name: string | undefined;
  /** The name of the one that it is to stand in front of; undefined: last. */
  readonly before: string | undefined;
}

export class RuleWriter {
  /** `mayWrite` throws where this host is a client of a cluster. */
  constructor(
    private readonly store: Pick<DirectoryStore, 'transact'>,
    private readonly mayWrite: () => void,
  ) {}

  createGroup(name: string): Promise<void> {
    return this.write((context) => insertGroup(context, name));
  }

  deleteGroup(name: string): Promise<void> {
    return this.write(({ view }) => deleteGroup(existingGroup(view, name)));
  }

  addMember(group: string, network: NetworkId): Promise<void> {
    return this.write((c) => addMember(c, existingGroup(c.view, group), existingNetwork(c.view, network)));
  }

  removeMember(group: string, network: NetworkId): Promise<void> {
    return this.write((c) => removeMember(c, existingGroup(c.view, group), existingNetwork(c.view, network)));
  }

  /** Selectors as text. */
  setPair(a: string, b: string, isConnected: boolean): Promise<void> {
    if (a === b) throw new DaoliError('invalid', `${a} is one container: name two`, a);
    return this.write((context) => setPair(context, a, b, isConnected));
  }

  clearPair(a: string, b: string): Promise<void> {
    return this.write((context) => clearPair(context, a, b));
  }

  setDefaultDeny(network: NetworkId, isDefaultDeny: boolean): Promise<void> {
    return this.write((context) => setDefaultDeny(context, network, isDefaultDeny));
  }

  /** Resolves with the policy's name. Throws `conflict` where it contradicts another, or could never decide. */
  async addPolicy({ name: wantedName, before, ...policy }: WantedPolicy): Promise<string> {
    this.mayWrite();
    return this.store.transact((context) => {
      const name = wantedName ?? freeName(context.view);
      refuseIdle(context.view, { ...policy, name }, before);
      return { ops: insertPolicy(context, { ...policy, name }, before), result: name };
    });
  }

  removePolicy(name: string): Promise<void> {
    return this.write(({ view }) => deletePolicy(existingPolicy(view, name)));
  }

  private async write(plan: (context: PlanContext) => Ops): Promise<void> {
    this.mayWrite();
    await this.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}

/** Throws `not-found`, with names that are like it. */
export function existingGroup(view: DirectoryView, name: string): GroupRow {
  const group = view.group(name);
  if (group !== undefined) return group;
  const names = [...view.groups()].map((each) => each.name);
  throw new DaoliError('not-found', `group ${name} does not exist${didYouMean(name, names)}`, name);
}

function existingPolicy(view: DirectoryView, name: string): PolicyRow {
  const policies = view.policies();
  const policy = policies.find((each) => each.name === name);
  if (policy !== undefined) return policy;
  const hint = didYouMean(
    name,
    policies.map((each) => each.name),
  );
  throw new DaoliError('not-found', `policy ${name} does not exist${hint}`, name);
}

function existingNetwork(view: DirectoryView, id: NetworkId): NetworkRow {
  const network = view.network(id);
  if (network === undefined) throw new DaoliError('not-found', `network ${id} was just removed`, id);
  return network;
}

function freeName(view: DirectoryView): string {
  const names = new Set(view.policies().map(({ name }) => name));
  for (let number = 1; ; number += 1) if (!names.has(`p${number}`)) return `p${number}`;
}

/** A policy that another one in front of it leaves nothing to decide, or that says the opposite of one with the same words. */
function refuseIdle(view: DirectoryView, policy: NewPolicy, before: string | undefined): void {
  const rule = policyRule(policy);
  const policies = view.policies();
  const place = before === undefined ? -1 : policies.findIndex(({ name }) => name === before);
  const rules = policies.map((row) => ({ name: row.name, other: policyRule(row) }));
  const inFront = place < 0 ? rules : rules.slice(0, place);
  const covering = inFront.find(({ other }) => coversRule(other, rule));
  if (covering !== undefined) throw idle(covering.name, covering.other, rule);
  const twin = rules.find(({ other }) => coversRule(other, rule) && coversRule(rule, other));
  if (twin === undefined) return;
  const message = `policy ${twin.name} says about the same: ${formatRule(twin.other)}`;
  throw new DaoliError('conflict', `${message}. Remove it first: daolictl policy rm ${twin.name}`, twin.name);
}

function idle(name: string, other: Rule, rule: Rule): DaoliError {
  const what = `policy ${name} decides all that before it: ${formatRule(other)}`;
  const remedy =
    other.action === rule.action
      ? 'nothing would change'
      : `remove it (daolictl policy rm ${name}), or put this one before it (--before ${name})`;
  return new DaoliError('conflict', `${what}; ${remedy}`, name);
}
