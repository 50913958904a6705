// What the policy says of a packet, in words: as narrow as whoever explains needs it.

import type { Ipv4 } from '../base/addresses';
import type { EndpointRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import { IP_PROTO } from '../packet/protocol-numbers';
import { explain, explainOutside, type Opening } from '../policy/explain';
import { readPolicies } from '../policy/read-policies';
import type { TracedTransport } from './packet';

export interface Explanation {
  readonly isAllowed: boolean;
  /** Which rule decides, and why. */
  readonly reason: string;
  /** Whether one route serves all packets between the two: both may open whatever they like. Else each conversation has its own. */
  readonly isWide: boolean;
}

/** May a packet of that kind open a conversation? */
export interface ExplainPolicy {
  between(source: EndpointRow, destination: EndpointRow, opening: Opening): Explanation;
  /** From an endpoint to an address outside. */
  outward(source: EndpointRow, address: Ipv4, opening: Opening): Explanation;
}

const UNKNOWN: Explanation = { isAllowed: false, reason: 'its network is not known here', isWide: false };

export function openingOf({ protocol, port }: TracedTransport): Opening {
  const number = { tcp: IP_PROTO.TCP, udp: IP_PROTO.UDP, icmp: IP_PROTO.ICMP }[protocol];
  return { protocol: number, port: port ?? 0 };
}

/** By the rules of the directory, as they are when they are asked. */
export function explainRules(view: DirectoryView): ExplainPolicy {
  return {
    between(source, destination, opening) {
      const { book, subjects } = readPolicies(view);
      const [from, to] = [subjects.subjectOf(source), subjects.subjectOf(destination)];
      if (from === undefined || to === undefined) return UNKNOWN;
      const [one, other] = [book.subject(from), book.subject(to)];
      const isWide = book.judge(one, other) === 'allow' && book.judge(other, one) === 'allow';
      return { ...explain(book, from, to, opening), isWide };
    },
    outward(source, address, opening) {
      const { book, subjects } = readPolicies(view);
      const subject = subjects.subjectOf(source);
      if (subject === undefined) return UNKNOWN;
      const number = book.subject(subject);
      const isWide = (['out', 'in'] as const).every((direction) => book.judgeOutside(number, direction) === 'allow');
      return { ...explainOutside(book, subject, 'out', address, opening), isWide };
    },
  };
}
