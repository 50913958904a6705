// One rule: who may open conversations with whom, by which protocol and ports. Rules are read from the directory's pairs and
// policies; in which order they are asked is said here, once.

import { DaoliError, messageOf } from '../base/errors';
import type { PairRow, PolicyRow } from '../directory/rows';
import { IP_PROTO } from '../packet/protocol-numbers';
import { covers, formatSelector, parseSelector, type Selector } from './selector';

export type Action = 'allow' | 'deny';
export type Protocol = NonNullable<PolicyRow['protocol']>;

/** Both inclusive. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export interface Rule {
  /** What people call it: "pair web:db", "policy p1". */
  readonly title: string;
  readonly action: Action;
  readonly from: Selector;
  readonly to: Selector;
  /** IP's number; undefined: whatever it is. */
  readonly protocol: number | undefined;
  /** None: all. */
  readonly ports: readonly PortRange[];
}

export const PROTOCOLS: Readonly<Record<Protocol, number>> = {
  tcp: IP_PROTO.TCP,
  udp: IP_PROTO.UDP,
  sctp: IP_PROTO.SCTP,
  icmp: IP_PROTO.ICMP,
};

export function protocolName(protocol: number): string {
  return Object.entries(PROTOCOLS).find(([, number]) => number === protocol)?.[0] ?? `protocol ${protocol}`;
}

/** "80" or "8000-8010". Throws `invalid`. */
export function parsePorts(text: string): PortRange {
  const [, low, high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const range = { first: Number(low), last: Number(high) };
  if (low !== undefined && range.first >= 1 && range.last <= 65535 && range.first <= range.last) return range;
  throw new DaoliError('invalid', `"${text}" is no port and no range of ports (1-65535, as in 80 or 8000-8010)`, text);
}

/** Does the rule speak of such packets? `port` is the destination's, 0 for protocols without. */
export function speaksOf(rule: Rule, protocol: number, port: number): boolean {
  if (rule.protocol === undefined) return true;
  if (rule.protocol !== protocol) return false;
  if (rule.ports.length === 0) return true;
  for (const { first, last } of rule.ports) if (port >= first && port <= last) return true;
  return false;
}

/**
 * The rules of these rows in the order in which they are asked: what somebody has said about two containers, then about one
 * and a service, then about two services, of each a no before a yes; then policies in their own order.
 */
export function rulesOf(pairs: Iterable<PairRow>, policies: readonly PolicyRow[]): Rule[] {
  const containers = ({ a, b }: PairRow) => [a, b].filter((each) => each.startsWith('container:')).length;
  const byCare = (x: PairRow, y: PairRow) =>
    containers(y) - containers(x) || Number(x.isConnected) - Number(y.isConnected) || x.created - y.created;
  const ofPairs = [...pairs].sort(byCare).flatMap(pairRules);
  return [...ofPairs, ...policies.flatMap((row) => asFarAsRead(row.action, () => policyRule(row)))];
}

/**
 * Rows are checked before they are written, but a newer version may write what this one cannot read: then what it allows
 * is not allowed, and what it denies is denied to all.
 */
function asFarAsRead(action: Action, read: () => Rule): Rule[] {
  try {
    return [read()];
  } catch (error) {
    if (action === 'allow') return [];
    const any = { kind: 'any' } as const;
    return [
      {
        title: `a rule that cannot be read (${messageOf(error)})`,
        action,
        from: any,
        to: any,
        protocol: undefined,
        ports: [],
      },
    ];
  }
}

/** Both directions. */
function pairRules(pair: PairRow): Rule[] {
  const { a, b, isConnected } = pair;
  const action: Action = isConnected ? 'allow' : 'deny';
  const rest = { title: `pair ${shownPair(a, b)}`, action, protocol: undefined, ports: [] };
  const rule = (from: string, to: string) =>
    asFarAsRead(action, () => ({ ...rest, from: readSelector(from), to: readSelector(to) }));
  return [...rule(a, b), ...rule(b, a)];
}

/** "web:db", as it is given to `daolictl connect`; the kind stays where it is no container. */
export function shownPair(a: string, b: string): string {
  return [a, b].map((each) => each.replace(/^container:/, '')).join(':');
}

export function policyRule(row: Pick<PolicyRow, 'name' | 'action' | 'from' | 'to' | 'protocol' | 'ports'>): Rule {
  const { name, action, from, to, protocol, ports } = row;
  return {
    title: `policy ${name}`,
    action,
    from: readSelector(from),
    to: readSelector(to),
    protocol: protocol === undefined ? undefined : PROTOCOLS[protocol],
    ports: ports.map(parsePorts),
  };
}

/** "allow from network:shop to container:db tcp/5432". */
export function formatRule({ action, from, to, protocol, ports }: Rule): string {
  const shown = ports.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
  const what = protocol === undefined ? '' : ` ${protocolName(protocol)}${shown === '' ? '' : `/${shown}`}`;
  return `${action} from ${formatSelector(from)} to ${formatSelector(to)}${what}`;
}

/** Whether all that `narrow` speaks of is also spoken of by `wide`. */
export function coversRule(wide: Rule, narrow: Rule): boolean {
  const isWide = covers(wide.from, narrow.from) && covers(wide.to, narrow.to);
  if (!isWide || wide.protocol === undefined) return isWide;
  if (wide.protocol !== narrow.protocol) return false;
  if (wide.ports.length === 0) return true;
  const holds = (port: PortRange) => wide.ports.some(({ first, last }) => first <= port.first && port.last <= last);
  return narrow.ports.length > 0 && narrow.ports.every(holds);
}

/** A selector of the directory, which servers have checked before they wrote it. */
function readSelector(text: string): Selector {
  const selector = parseSelector(text);
  if (selector === undefined) throw new DaoliError('invalid', `"${text}" in the directory selects nothing`, text);
  return selector;
}
