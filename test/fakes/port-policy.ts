// A policy of a few rules, looked through from the first to the last: what it says is plain to see.

import type { Ipv4 } from '../../src/base/addresses';
import type { Judgement, OutsideDirection, Policy } from '../../src/flowctl/model';

/** What a rule is about. What is left out is whatever; a rule without protocol and port allows everything. */
export interface Allowed {
  readonly protocol?: number;
  readonly port?: number;
}
/** From one subject to another. */
export interface PairRule extends Allowed {
  readonly from: number;
  readonly to: number;
}
/** Between a subject and the outside, or one address there. */
export interface OutsideRule extends Allowed {
  readonly subject: number;
  readonly direction: OutsideDirection;
  readonly address?: Ipv4;
}

export class PortPolicy implements Policy {
  /** Endpoints that are not a subject by their network. */
  readonly subjects = new Map<string, number>();

  constructor(
    public pairs: readonly PairRule[],
    public outside: readonly OutsideRule[] = [],
  ) {}

  subjectOf(endpointId: string, networkKey: number): number {
    return this.subjects.get(endpointId) ?? networkKey;
  }

  judge(source: number, destination: number): Judgement {
    return judgementOf(this.pairs.filter(({ from, to }) => from === source && to === destination));
  }

  permits(source: number, destination: number, protocol: number, port: number): boolean {
    const rules = this.pairs.filter(({ from, to }) => from === source && to === destination);
    return rules.some((rule) => isAbout(rule, protocol, port));
  }

  judgeOutside(subject: number, direction: OutsideDirection): Judgement {
    const rules = this.outsideRules(subject, direction);
    const wide = judgementOf(rules.filter(({ address }) => address === undefined));
    return wide === 'deny' && rules.length > 0 ? 'depends' : wide;
  }

  permitsOutside(subject: number, direction: OutsideDirection, address: Ipv4, protocol: number, port: number): boolean {
    const rules = this.outsideRules(subject, direction);
    return rules.some((rule) => (rule.address ?? address) === address && isAbout(rule, protocol, port));
  }

  private outsideRules(subject: number, direction: OutsideDirection): OutsideRule[] {
    return this.outside.filter((rule) => rule.subject === subject && rule.direction === direction);
  }
}

function isAbout(rule: Allowed, protocol: number, port: number): boolean {
  return (rule.protocol ?? protocol) === protocol && (rule.port ?? port) === port;
}

function judgementOf(rules: readonly Allowed[]): Judgement {
  if (rules.length === 0) return 'deny';
  return rules.some(({ protocol, port }) => protocol === undefined && port === undefined) ? 'allow' : 'depends';
}
