// Which rules mean an endpoint by one of their sides, without asking each: there may be a thousand, and a hundred thousand
// endpoints are asked about at once when rules change. What the network alone decides is found once a network; most endpoints
// are meant by nothing else. Equal answers are one object, so that comparing them is cheap.

import type { Rule } from './rule';
import { matchSubject, type Match, type Selector, type Subject, type SubjectNetwork } from './selector';

/** By the number of the rule, ascending: those that mean an endpoint, or may. */
export type Meant = ReadonlyMap<number, Exclude<Match, 'no'>>;

/** Numbers of rules, by a name. */
type Numbers = Map<string, number[]>;

export class RuleIndex {
  /** "any". */
  private readonly always: number[] = [];
  private readonly networks: Numbers = new Map();
  private readonly groups: Numbers = new Map();
  private readonly containers: Numbers = new Map();
  private readonly services: Numbers = new Map();
  /** Labels by key and value, and by key alone. */
  private readonly labels = new Map<string, Numbers>();
  private readonly labelKeys: Numbers = new Map();
  /** Asked one by one. */
  private readonly cidrs: number[] = [];
  /** Those that depend on a name, which may not be known yet. */
  private readonly named: number[] = [];

  private readonly ofNetworks = new WeakMap<SubjectNetwork, Meant>();
  private readonly answers = new Map<string, Meant>();

  constructor(
    private readonly rules: readonly Rule[],
    private readonly side: (rule: Rule) => Selector,
  ) {
    for (const [index, rule] of rules.entries()) {
      const selector = side(rule);
      this.listOf(selector).push(index);
      if (NAMED.has(selector.kind)) this.named.push(index);
    }
  }

  meaning(subject: Subject): Meant {
    const ofNetwork = this.meaningOf(subject.network);
    const { cidrs, named } = this;
    if (cidrs.length === 0 && named.length === 0) return ofNetwork;
    const meant: [number, Exclude<Match, 'no'>][] = [];
    const ask = (numbers: readonly number[] | undefined): void => {
      for (const index of numbers ?? []) {
        const match = matchSubject(this.side(this.rules[index]!), subject);
        if (match !== 'no') meant.push([index, match]);
      }
    };
    ask(cidrs);
    if (subject.containerName === undefined) ask(named);
    else this.forEachNamed(subject, ask);
    return meant.length === 0 ? ofNetwork : this.answer([...ofNetwork, ...meant]);
  }

  /** Calls back with the rules that may mean a container whose name is known, by its name, service or labels. */
  private forEachNamed(subject: Subject, ask: (numbers: readonly number[] | undefined) => void): void {
    const { containers, services, labels, labelKeys } = this;
    const { containerName, service } = subject;
    if (containerName !== undefined) ask(containers.get(containerName));
    if (service !== undefined) ask(services.get(service));
    // Reading labels takes longer than all else.
    if (labels.size === 0 && labelKeys.size === 0) return;
    for (const [key, value] of subject.labels) {
      ask(labels.get(key)?.get(value));
      ask(labelKeys.get(key));
    }
  }

  /** What means all endpoints of a network, whatever else they are. */
  private meaningOf(network: SubjectNetwork): Meant {
    const known = this.ofNetworks.get(network);
    if (known !== undefined) return known;
    const { name } = network;
    const sure = [
      ...this.always,
      ...((name === undefined ? undefined : this.networks.get(name)) ?? []),
      ...[...network.groups].flatMap((group) => this.groups.get(group) ?? []),
    ];
    const unsure = name === undefined ? [...this.networks.values()].flat() : [];
    const meant = this.answer([
      ...sure.map((index) => [index, 'yes'] as const),
      ...unsure.map((index) => [index, 'maybe'] as const),
    ]);
    this.ofNetworks.set(network, meant);
    return meant;
  }

  /** One object for all that are equal. No number is there twice. */
  private answer(meant: (readonly [number, Exclude<Match, 'no'>])[]): Meant {
    meant.sort(([a], [b]) => a - b);
    const key = meant.join(' ');
    const known = this.answers.get(key);
    if (known !== undefined) return known;
    const answer = new Map(meant);
    this.answers.set(key, answer);
    return answer;
  }

  private listOf(selector: Selector): number[] {
    switch (selector.kind) {
      case 'any':
        return this.always;
      case 'cidr':
        return this.cidrs;
      case 'network':
        return numbersAt(this.networks, selector.name);
      case 'group':
        return numbersAt(this.groups, selector.name);
      case 'container':
        return numbersAt(this.containers, selector.name);
      case 'service':
        return numbersAt(this.services, selector.name);
      case 'label': {
        const { key, value } = selector;
        if (value === undefined) return numbersAt(this.labelKeys, key);
        const values: Numbers = this.labels.get(key) ?? new Map<string, number[]>();
        this.labels.set(key, values);
        return numbersAt(values, value);
      }
    }
  }
}

/** What is known of a container only with its name. */
const NAMED: ReadonlySet<Selector['kind']> = new Set(['container', 'service', 'label']);

function numbersAt(lists: Numbers, name: string): number[] {
  let list = lists.get(name);
  if (list === undefined) lists.set(name, (list = []));
  return list;
}
