// Why two containers may talk, or may not: the rule that decides, in words, and what would decide without it.

import { formatIpv4, type Ipv4 } from '../base/addresses';
import { decidingRule, decidingRuleOutside, isConnected, type PolicyBook } from './policy-book';
import { formatRule, type Rule } from './rule';
import type { Subject, SubjectNetwork } from './selector';

/** A packet that opens a conversation. */
export interface Opening {
  /** IP's number. */
  readonly protocol: number;
  /** The destination's; 0 where there is none. */
  readonly port: number;
}

export interface Explanation {
  readonly isAllowed: boolean;
  /** "policy p1", "pair web:db"; undefined where no rule speaks of it. */
  readonly decidedBy: string | undefined;
  /** "policy p1: allow from network:shop to container:db tcp/5432". */
  readonly reason: string;
}

/** Of the conversations that `from` opens with `to`. Both are of one tenant. */
export function explain(book: PolicyBook, from: Subject, to: Subject, opening: Opening): Explanation {
  const { rules } = book.verdict(book.subject(from), book.subject(to));
  const rule = decidingRule(rules, opening.protocol, opening.port);
  return rule === undefined ? byNetworks(from.network, to.network) : byRule(rule, from, to);
}

/** Of those that an endpoint opens with an address outside ("out"), or that are opened from there. */
export function explainOutside(
  book: PolicyBook,
  subject: Subject,
  direction: 'out' | 'in',
  address: Ipv4,
  opening: Opening,
): Explanation {
  const { rules } = book.outsideVerdict(book.subject(subject), direction);
  const rule = decidingRuleOutside(rules, direction, address, opening.protocol, opening.port);
  if (rule !== undefined) return byRule(rule, subject, subject);
  const reason = `no rule speaks of ${formatIpv4(address)}, which is outside: containers reach it as their networks allow`;
  return { isAllowed: true, decidedBy: undefined, reason };
}

/** Of all conversations that `from` opens with `to`, whatever their protocol and port. */
export function summarize(
  book: PolicyBook,
  from: Subject,
  to: Subject,
): { readonly allowed: boolean | null; readonly decidedBy: string | null; readonly reason: string } {
  const { judgement, rules } = book.verdict(book.subject(from), book.subject(to));
  const [first] = rules;
  if (judgement !== 'depends') {
    const decisive = rules.find((rule) => rule.protocol === undefined);
    const said = decisive === undefined ? byNetworks(from.network, to.network) : byRule(decisive, from, to);
    return { allowed: judgement === 'allow', decidedBy: said.decidedBy ?? null, reason: said.reason };
  }
  const whole = rules.some((rule) => rule.protocol === undefined);
  const lines = rules.map((rule) => `${rule.title}: ${formatRule(rule)}`);
  const all = whole ? lines : [...lines, `else ${byNetworks(from.network, to.network).reason}`];
  return { allowed: null, decidedBy: first?.title ?? null, reason: all.join('; ') };
}

function byRule(rule: Rule, from: Subject, to: Subject): Explanation {
  const isUnnamed = [from, to].some((each) => each.containerName === undefined || each.network.name === undefined);
  const note = isUnnamed ? ' (the name of one of the two is not known yet, so it counts)' : '';
  return {
    isAllowed: rule.action === 'allow',
    decidedBy: rule.title,
    reason: `${rule.title}: ${formatRule(rule)}${note}`,
  };
}

function byNetworks(from: SubjectNetwork, to: SubjectNetwork): Explanation {
  const isAllowed = isConnected(from, to);
  return { isAllowed, decidedBy: undefined, reason: reasonOf(from, to, isAllowed) };
}

function reasonOf(from: SubjectNetwork, to: SubjectNetwork, isAllowed: boolean): string {
  const [own, theirs] = [shown(from), shown(to)];
  const denying = [from, to].find(({ isDefaultDeny }) => isDefaultDeny);
  if (denying !== undefined) return `no rule allows it, and ${shown(denying)} is default deny`;
  if (from.id === to.id) return `no rule says otherwise, and both are in ${own}`;
  const group = [...from.groups].find((name) => to.groups.has(name));
  if (isAllowed) return `no rule says otherwise, and ${own} and ${theirs} are in group ${group}`;
  return `no rule allows it, and ${own} and ${theirs} are in no group together`;
}

function shown({ name, id }: SubjectNetwork): string {
  return `network ${name ?? id.slice(0, 12)}`;
}
