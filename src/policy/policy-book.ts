// Who may talk to whom, for the controller: rules over networks and groups, worked out beforehand as far as it can be. What
// rules say of an endpoint is its subject, a number; endpoints that no rule tells apart share one. Between two subjects the
// rules that matter are found once, so a packet costs a look-up, and where ports matter a few comparisons. It never changes:
// other rules are another book.

import type { Ipv4 } from '../base/addresses';
import { RuleIndex, type Meant } from './rule-index';
import { speaksOf, type Action, type Rule } from './rule';
import { matchOutside, mayBeOutside, type Selector, type Subject, type SubjectNetwork } from './selector';

/** How far rules decide without looking at a packet. */
export type Judgement = 'allow' | 'deny' | 'depends';

/** What rules say, in their order; the first that speaks of a packet decides, `otherwise` where none does. */
export interface Verdict {
  readonly judgement: Judgement;
  readonly rules: readonly Rule[];
  readonly otherwise: Action;
}

/** Endpoints that no rule tells apart. */
interface SubjectClass {
  readonly network: SubjectNetwork;
  readonly from: Meant;
  readonly to: Meant;
  readonly outward: Verdict;
  readonly inward: Verdict;
}

/** Subjects of a book; far more than there are endpoints. This number is nobody's: it is denied everything. */
const MAX_SUBJECTS = 2 ** 21;
/** Pairs of subjects whose verdict is kept. */
const MAX_VERDICTS = 1_000_000;

export class PolicyBook {
  private readonly from: RuleIndex;
  private readonly to: RuleIndex;
  private readonly classes: SubjectClass[] = [];
  /** By what means them from either side, and by network. */
  private readonly numbers = new Map<Meant, Map<Meant, Map<string, number>>>();
  private readonly verdicts = new Map<number, Verdict>();

  /** `find`: what is known of an endpoint; undefined for one that is not there. */
  constructor(
    private readonly rules: readonly Rule[],
    private readonly find: (endpointId: string) => Subject | undefined,
  ) {
    this.from = new RuleIndex(rules, (rule) => rule.from);
    this.to = new RuleIndex(rules, (rule) => rule.to);
  }

  /** What an endpoint is to this book. One that is not known is denied everything. */
  subjectOf(endpointId: string): number {
    const subject = this.find(endpointId);
    return subject === undefined ? MAX_SUBJECTS : this.subject(subject);
  }

  /** The same of one that need not be there. */
  subject(subject: Subject): number {
    const { network } = subject;
    const from = this.from.meaning(subject);
    const to = this.to.meaning(subject);
    const numbers = this.numbersOf(from, to);
    let number = numbers.get(network.id);
    if (number === undefined) {
      if (this.classes.length >= MAX_SUBJECTS) return MAX_SUBJECTS;
      number = this.classes.length;
      const outward = this.outside(from, (rule) => rule.to);
      const inward = this.outside(to, (rule) => rule.from);
      this.classes[number] = { network, from, to, outward, inward };
      numbers.set(network.id, number);
    }
    return number;
  }

  private numbersOf(from: Meant, to: Meant): Map<string, number> {
    let byTo = this.numbers.get(from);
    if (byTo === undefined) this.numbers.set(from, (byTo = new Map<Meant, Map<string, number>>()));
    let numbers = byTo.get(to);
    if (numbers === undefined) byTo.set(to, (numbers = new Map<string, number>()));
    return numbers;
  }

  judge(source: number, destination: number): Judgement {
    return this.verdict(source, destination).judgement;
  }

  /** Where judge says `depends`. `protocol` is IP's number, `port` the destination's, 0 where there is none. */
  permits(source: number, destination: number, protocol: number, port: number): boolean {
    const { rules, otherwise } = this.verdict(source, destination);
    return (decidingRule(rules, protocol, port)?.action ?? otherwise) === 'allow';
  }

  judgeOutside(subject: number, direction: 'out' | 'in'): Judgement {
    return this.outsideVerdict(subject, direction).judgement;
  }

  permitsOutside(subject: number, direction: 'out' | 'in', address: Ipv4, protocol: number, port: number): boolean {
    const { rules, otherwise } = this.outsideVerdict(subject, direction);
    return (decidingRuleOutside(rules, direction, address, protocol, port)?.action ?? otherwise) === 'allow';
  }

  /** What is said about conversations that one subject opens with another. */
  verdict(source: number, destination: number): Verdict {
    const key = source * (MAX_SUBJECTS + 1) + destination;
    const known = this.verdicts.get(key);
    if (known !== undefined) return known;
    if (this.verdicts.size >= MAX_VERDICTS) this.verdicts.clear();
    const verdict = this.decide(this.classes[source], this.classes[destination]);
    this.verdicts.set(key, verdict);
    return verdict;
  }

  outsideVerdict(subject: number, direction: 'out' | 'in'): Verdict {
    const known = this.classes[subject];
    if (known === undefined) return NO;
    return direction === 'out' ? known.outward : known.inward;
  }

  private decide(source: SubjectClass | undefined, destination: SubjectClass | undefined): Verdict {
    if (source === undefined || destination === undefined) return NO;
    const otherwise = isConnected(source.network, destination.network) ? 'allow' : 'deny';
    return this.verdictOf(otherwise, source.from, (_rule, index) => destination.to.get(index) ?? 'no');
  }

  /** Between an endpoint and what is outside, which rules may mean by their `other` side. */
  private outside(meant: Meant, other: (rule: Rule) => Selector): Verdict {
    const isWhole = (rule: Rule) => other(rule).kind === 'any';
    return this.verdictOf('allow', meant, (rule) => (mayBeOutside(other(rule)) ? 'yes' : 'no'), isWhole);
  }

  /**
   * The rules that may decide, up to the first that decides about every packet. As long as a name is not known, a rule that
   * may mean it counts if it denies.
   */
  private verdictOf(
    otherwise: Action,
    meant: Meant,
    other: (rule: Rule, index: number) => 'yes' | 'maybe' | 'no',
    isWhole: (rule: Rule) => boolean = () => true,
  ): Verdict {
    const rules: Rule[] = [];
    for (const [index, match] of meant) {
      const rule = this.rules[index]!;
      const theirs = other(rule, index);
      const isSure = match === 'yes' && theirs === 'yes';
      if (theirs === 'no' || (!isSure && rule.action === 'allow')) continue;
      if (rule.protocol === undefined && isWhole(rule)) return asVerdict(rules, rule.action, rule);
      rules.push(rule);
    }
    return asVerdict(rules, otherwise);
  }
}

/** `last` decides about every packet that no other does. */
function asVerdict(rules: readonly Rule[], otherwise: Action, last?: Rule): Verdict {
  const isOne = rules.every(({ action }) => action === otherwise);
  const all = last === undefined ? rules : [...rules, last];
  return { judgement: isOne ? otherwise : 'depends', rules: all, otherwise };
}

/** The rule of a verdict that decides about such packets, the first that speaks of them. Undefined: none does. */
export function decidingRule(rules: readonly Rule[], protocol: number, port: number): Rule | undefined {
  for (const rule of rules) if (speaksOf(rule, protocol, port)) return rule;
  return undefined;
}

/** The same of an `outsideVerdict`, whose rules are about some addresses outside. */
export function decidingRuleOutside(
  rules: readonly Rule[],
  direction: 'out' | 'in',
  address: Ipv4,
  protocol: number,
  port: number,
): Rule | undefined {
  for (const rule of rules) {
    if (!speaksOf(rule, protocol, port)) continue;
    if (matchOutside(direction === 'out' ? rule.to : rule.from, address)) return rule;
  }
  return undefined;
}

/** Two networks whose containers are connected, where no rule says otherwise. */
export function isConnected(one: SubjectNetwork, other: SubjectNetwork): boolean {
  if (one.isDefaultDeny || other.isDefaultDeny) return false;
  if (one.id === other.id) return true;
  for (const group of one.groups) if (other.groups.has(group)) return true;
  return false;
}

const NO: Verdict = { judgement: 'deny', rules: [], otherwise: 'deny' };
