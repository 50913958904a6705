// The pipeline, declared once: tables, what they match, where they lead, what a miss does, priorities, registers,
// cookies and userdata, with every bit named. `checkFlow` holds a flow against it; the tests hold every flow that any
// code builds against it. docs/pipeline.md tells the same in words.

import { OFPFF, type PortNo } from '../openflow/constants';
import type { FlowMod } from '../openflow/flow-mod';
import type { FieldName } from '../openflow/oxm';
import type { Action } from '../openflow/action';

export const TABLE = {
  /** Who sent it? What is not what its port may send is dropped here. */
  CLASSIFY: 0,
  /** Turns an ARP request into its answer. */
  ARP: 1,
  /** From an endpoint: to another one, to its gateway, or out. Routes live here. */
  ROUTE: 2,
  /** Between an endpoint and everything behind the host port, both ways. */
  OUTSIDE: 3,
  /** A routed packet to another host: what needs more than rewriting is taken out. */
  FABRIC_OUT: 4,
  /** Onto the fabric, or into the tunnel, with locators in place of addresses. */
  FABRIC_SEND: 5,
  /** From another host, by fabric or tunnel, to an endpoint. */
  FABRIC_IN: 6,
  /** To the controller, through the meter of the port that it came in on. */
  PUNT: 7,
} as const;

/** What a packet carries from table to table. Each is a whole 32-bit register. */
export const REGISTER = {
  /** Key of the tenant of the endpoint that sent it. */
  TENANT: 'reg0',
  /** Key of its network. */
  NETWORK: 'reg1',
  /** One of PUNT_REASON. */
  PUNT_REASON: 'reg2',
  /** Holds the asked address while ARP swaps addresses. */
  SCRATCH: 'reg3',
  /** Locators that a packet to the fabric gets, as source and destination. */
  FROM_LOCATOR: 'reg4',
  TO_LOCATOR: 'reg5',
  /** Bit 0: the packet is larger than the fabric takes. */
  TOO_LARGE: 'reg6',
} as const satisfies Record<string, FieldName>;
/** Which registers of a packet-in are which. */
export const TENANT_INDEX = 0;
export const PUNT_REASON_INDEX = 2;

/** Why the controller gets a packet. */
export const PUNT_REASON = {
  /** From an endpoint to an address inside a pool of its tenant, and no route is there. */
  PAIR: 1,
  /** To or from the outside, and no route is there. */
  OUTSIDE: 2,
  /** An ICMP error to or from the outside: the packet inside it has to be rewritten too. */
  ICMP_ERROR: 3,
  /** A later fragment to or from the outside, which this datapath cannot rewrite. */
  FRAGMENT: 4,
  /** To or from the fabric on a route that is there, but more than a flow can do: see FABRIC_OUT. */
  FABRIC: 5,
  /** From the fabric, and no route is there. */
  ARRIVAL: 6,
} as const;

/** What comes with our packet-ins and nobody else's: magic and layout. */
export const USERDATA = Buffer.from([0xda, 0x02]);

export const PRIORITY = {
  CLASSIFY: {
    TAGGED: 400,
    FABRIC_NOISE: 320,
    ARP_SELF: 310,
    ARP: 300,
    ARP_REFUSED: 260,
    MULTICAST: 250,
    OWN_LOCATOR: 220,
    TUNNEL: 210,
    IP: 200,
    MISS: 0,
  },
  ARP: { ANSWER: 100, MISS: 0 },
  ROUTE: {
    GUARD: 700,
    ECHO: 650,
    CONVERSATION: 620,
    ROUTE: 600,
    REFUSAL: 550,
    POOL: 500,
    DNS: 450,
    HOST_ADDRESS: 400,
    RELAY: 350,
    LOCATORS: 300,
    MISS: 0,
  },
  OUTSIDE: { RELAY: 600, ICMP: 500, FRAGMENT: 400, CONVERSATION: 300, ROUTE: 200, REFUSAL: 100, MISS: 0 },
  FABRIC_OUT: { TTL: 600, ICMP: 500, FRAGMENT: 400, MISS: 0 },
  FABRIC_SEND: { TUNNEL: 150, TOO_LARGE: 100, SEND: 50 },
  FABRIC_IN: {
    TTL: 600,
    ECHO: 570,
    RELAY: 550,
    ICMP: 500,
    FRAGMENT: 400,
    CONVERSATION: 300,
    ROUTE: 200,
    REFUSAL: 100,
    MISS: 0,
  },
  PUNT: { PORT: 100, MISS: 0 },
} as const;

/**
 * Kinds of flows. 8 and above belong to places, which are ports, and endpoints on other hosts: their `a` is where packets
 * come from, and where `b` is a place (all but endpoint and negative) it is where they would go to.
 */
export const KIND = {
  BASE: 0,
  HOST: 1,
  NETWORK: 2,
  FABRIC: 3,
  RELAY: 4,
  ENDPOINT: 8,
  PAIR: 9,
  EGRESS: 10,
  DENY: 11,
  NEGATIVE: 12,
  REMOTE: 13,
  /** A conversation, wherever its ends are: what its opener sends, and what answers. */
  OPENING: 14,
  ANSWER: 15,
} as const;
export type Kind = (typeof KIND)[keyof typeof KIND];
const ROUTES: readonly number[] = [KIND.PAIR, KIND.EGRESS, KIND.REMOTE, KIND.OPENING, KIND.ANSWER];
const REACTIVE: readonly number[] = [...ROUTES, KIND.DENY, KIND.NEGATIVE];

/** Is a flow of this kind part of a conversation? */
export function isOfConversation(kind: number): boolean {
  return kind === KIND.OPENING || kind === KIND.ANSWER;
}

/** Base flows, told apart by `b`. Drops among them are counters that users see. */
export const BASE = {
  TAGGED: 1,
  ARP_REFUSED: 2,
  MULTICAST: 3,
  SPOOFED: 4,
  ARP_ANSWER: 5,
  ARP_MISS: 6,
  GUARD_THIS_NETWORK: 7,
  GUARD_LOOPBACK: 8,
  GUARD_LINK_LOCAL: 9,
  GUARD_MULTICAST: 10,
  HOST_ADDRESS: 11,
  LOCATORS: 12,
  ROUTE_MISS: 13,
  ICMP_UNREACHABLE: 14,
  ICMP_TIME_EXCEEDED: 15,
  ICMP_PARAMETER: 16,
  ICMP_REDIRECT: 17,
  ICMP_QUENCH: 18,
  FRAGMENT_TCP: 19,
  FRAGMENT_UDP: 20,
  OUTSIDE_MISS: 21,
  PUNT_MISS: 22,
  DNS_ADDRESS: 23,
} as const;

/** Flows of an endpoint, of the host port or of the fabric port, told apart by `b` less VARIANT. */
export const PORT_FLOW = {
  IP: 1,
  ARP_SELF: 2,
  ARP: 3,
  PUNT: 4,
  DROP: 5,
  TUNNEL: 6,
  OWN_LOCATOR: 7,
  OWN_NAMES: 8,
} as const;
/** Flows of the fabric tables, of kind FABRIC too. */
export const FABRIC_FLOW = {
  OUT_TTL_0: 16,
  OUT_TTL_1: 17,
  OUT_MISS: 18,
  TOO_LARGE: 19,
  SEND: 20,
  /** Into the tunnel. */
  SEND_TUNNEL: 50,
  IN_TTL_0: 21,
  IN_TTL_1: 22,
  IN_MISS: 23,
  /** These and four more each: one for each kind of ICMP error. */
  OUT_ICMP: 24,
  IN_ICMP: 32,
  OUT_FRAGMENT_TCP: 40,
  OUT_FRAGMENT_UDP: 41,
  IN_FRAGMENT_TCP: 42,
  IN_FRAGMENT_UDP: 43,
  /** Other hosts ask whether packets come through, and answer. */
  ECHO: 44,
  ECHO_ANSWER: 45,
  NOISE_ARP: 48,
  NOISE_MULTICAST: 49,
} as const;
/**
 * Flows of a relay, told apart by `b` less VARIANT: which way it goes, which protocol, and the service's port; port 0 is for
 * later fragments. Their `a` is the relay's number.
 */
export const RELAY_FLOW = { TO: 0x20000, FROM: 0x40000, UDP: 0x10000, TO_ERROR: 0x60000, FROM_ERROR: 0x60001 } as const;
/** Added to what is no place, so that no delete by place takes it. */
export const VARIANT = 0x800000;
/** Added to the number of a locator in its range: the place of an endpoint on another host. The range is at most a /10. */
export const REMOTE_PLACE = 0x400000;

/** Flows of a network, told apart by the lowest 16 bits; pools are POOL and above. */
export const NETWORK_FLOW = { ECHO: 0, ECHO_LATER: 1, POOL: 2, DNS: 0x8000 } as const;

// Cookie, from the top: magic 8, layout 4, kind 4, a 24, b 24. A network's key takes the upper 32 bits of a and b.
const MAGIC = 0xdan;
/**
 * Changes with the meaning of flows: those of another layout are replaced on connecting, and whoever has another one stands by for
 * nobody of this.
 */
export const LAYOUT = 2n;

/** The bits of a cookie that say "ours", whatever the layout. */
export const OURS = { cookie: MAGIC << 56n, cookieMask: 0xffn << 56n } as const;

export interface Cookie {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
}

export function cookieOf(kind: Kind, a: number, b: number): bigint {
  return (MAGIC << 56n) | (LAYOUT << 52n) | (BigInt(kind) << 48n) | (BigInt(a) << 24n) | BigInt(b);
}

export function networkCookie(key: number, flow: number): bigint {
  return (MAGIC << 56n) | (LAYOUT << 52n) | (BigInt(KIND.NETWORK) << 48n) | (BigInt(key) << 16n) | BigInt(flow);
}

/** Undefined for a cookie that is not ours or of another layout. */
export function readCookie(cookie: bigint): Cookie | undefined {
  return readCookieWords(Number(cookie >> 32n), Number(cookie & 0xffff_ffffn));
}

/** The same for a cookie in two words, as it stands in messages. */
export function readCookieWords(high: number, low: number): Cookie | undefined {
  if (high >>> 20 !== Number((MAGIC << 4n) | LAYOUT)) return undefined;
  return { kind: (high >>> 16) & 0xf, a: ((high & 0xffff) << 8) | (low >>> 24), b: low & 0xffffff };
}

/** The key and the flow in a network's cookie. */
export function readNetwork(cookie: Cookie): { key: number; flow: number } {
  const low = cookie.a * 0x1000000 + cookie.b;
  return { key: Math.floor(low / 0x10000), flow: low % 0x10000 };
}

/** Picks every flow of a place's own, whatever the layout: packets that come from there. */
export function fromPlace(place: number) {
  return { cookie: (MAGIC << 56n) | (8n << 48n) | (BigInt(place) << 24n), cookieMask: 0xff08_ffff_ff00_0000n };
}

/** Picks the flows of other places that lead to a place. */
export function toPlace(place: number) {
  return { cookie: (MAGIC << 56n) | (8n << 48n) | BigInt(place), cookieMask: 0xff08_0000_00ff_ffffn };
}

/** Picks the flows of a kind that have to do with packets from a place, or to one. */
export function ofKindAt(kind: Kind, at: { from: number } | { to: number }) {
  const { cookie, cookieMask } = ofKind(kind);
  if ('from' in at) return { cookie: cookie | (BigInt(at.from) << 24n), cookieMask: cookieMask | 0xffff_ff00_0000n };
  return { cookie: cookie | BigInt(at.to), cookieMask: cookieMask | 0xff_ffffn };
}

/** Picks every flow of a kind. */
export function ofKind(kind: Kind) {
  return { cookie: (MAGIC << 56n) | (BigInt(kind) << 48n), cookieMask: 0xff0f_0000_0000_0000n };
}

/** What one table may hold. */
interface TableRow {
  readonly name: string;
  readonly fields: readonly FieldName[];
  readonly priorities: readonly number[];
  readonly kinds: readonly number[];
  readonly next: readonly number[];
  readonly actions: readonly Action['type'][];
}

const T = TABLE;
/** What conversations are told apart by. */
const CONVERSATION_FIELDS: readonly FieldName[] = [
  'ipFrag',
  'ipProto',
  'tcpSrc',
  'tcpDst',
  'udpSrc',
  'udpDst',
  'sctpSrc',
  'sctpDst',
  'icmpv4Type',
];
const row = (
  name: keyof typeof TABLE,
  fields: readonly FieldName[],
  rest: Omit<TableRow, 'name' | 'fields' | 'priorities'>,
) => ({
  name,
  fields,
  priorities: Object.values(PRIORITY[name]),
  ...rest,
});

/** Every table in the order of its number. A miss is a flow of ours too: priority 0, no match. */
export const PIPELINE: readonly TableRow[] = [
  row(
    'CLASSIFY',
    ['inPort', 'ethSrc', 'ethDst', 'ethType', 'vlanVid', 'ipv4Src', 'ipv4Dst', 'arpOp', 'arpSpa', 'arpTpa', 'arpSha'],
    {
      kinds: [KIND.BASE, KIND.HOST, KIND.FABRIC, KIND.ENDPOINT],
      next: [T.ARP, T.ROUTE, T.OUTSIDE, T.FABRIC_IN],
      actions: ['setField'],
    },
  ),
  row('ARP', ['ethType'], { kinds: [KIND.BASE], next: [], actions: ['setField', 'move', 'output'] }),
  row('ROUTE', ['inPort', 'ethType', 'ipv4Src', 'ipv4Dst', ...CONVERSATION_FIELDS, 'reg0', 'reg1'], {
    kinds: [
      KIND.BASE,
      KIND.RELAY,
      KIND.NETWORK,
      KIND.PAIR,
      KIND.DENY,
      KIND.NEGATIVE,
      KIND.REMOTE,
      KIND.OPENING,
      KIND.ANSWER,
    ],
    next: [T.OUTSIDE, T.FABRIC_OUT, T.PUNT],
    actions: ['setField', 'move', 'output'],
  }),
  row('OUTSIDE', ['inPort', 'ethType', 'ipv4Src', 'ipv4Dst', ...CONVERSATION_FIELDS], {
    kinds: [KIND.BASE, KIND.RELAY, KIND.EGRESS, KIND.DENY, KIND.NEGATIVE, KIND.OPENING, KIND.ANSWER],
    next: [T.PUNT],
    actions: ['setField', 'output'],
  }),
  row('FABRIC_OUT', ['ethType', 'ipFrag', 'ipProto', 'icmpv4Type', 'nwTtl'], {
    kinds: [KIND.FABRIC],
    next: [T.FABRIC_SEND, T.PUNT],
    actions: ['setField', 'checkPktLarger'],
  }),
  row('FABRIC_SEND', ['ethType', 'ethDst', 'reg6'], {
    kinds: [KIND.FABRIC],
    next: [T.PUNT],
    actions: ['setField', 'move', 'decTtl', 'output'],
  }),
  row('FABRIC_IN', ['inPort', 'ethSrc', 'ethType', 'ipv4Src', 'ipv4Dst', ...CONVERSATION_FIELDS, 'nwTtl'], {
    kinds: [KIND.FABRIC, KIND.RELAY, KIND.REMOTE, KIND.DENY, KIND.NEGATIVE, KIND.OPENING, KIND.ANSWER],
    next: [T.PUNT],
    actions: ['setField', 'move', 'decTtl', 'output'],
  }),
  row('PUNT', ['inPort'], {
    kinds: [KIND.BASE, KIND.HOST, KIND.FABRIC, KIND.ENDPOINT],
    next: [],
    actions: ['controller'],
  }),
];

/** What is wrong with a flow of ours, or undefined. */
export function checkFlow(flow: FlowMod): string | undefined {
  const table = PIPELINE[flow.table];
  const cookie = readCookie(flow.cookie ?? 0n);
  if (table === undefined) return `there is no table ${flow.table}`;
  if (cookie === undefined) return 'its cookie is not ours';
  return checkPlace(flow, table, cookie) ?? checkLife(flow, cookie) ?? checkWay(flow, table);
}

function checkPlace(flow: FlowMod, table: TableRow, cookie: Cookie): string | undefined {
  if (!table.kinds.includes(cookie.kind)) return `no flow of kind ${cookie.kind} goes in ${table.name}`;
  if (!table.priorities.includes(flow.priority)) return `${table.name} has no priority ${flow.priority}`;
  const fields = Object.keys(flow.match) as FieldName[];
  if ((flow.priority === 0) !== (fields.length === 0)) return 'priority 0 and an empty match go together';
  const stray = fields.find((field) => !table.fields.includes(field));
  return stray && `${table.name} does not match ${stray}`;
}

function checkLife(flow: FlowMod, cookie: Cookie): string | undefined {
  const isRoute = ROUTES.includes(cookie.kind);
  const ends = (flow.idleTimeoutSeconds ?? 0) > 0 || (flow.hardTimeoutSeconds ?? 0) > 0;
  if (ends !== REACTIVE.includes(cookie.kind)) return 'reactive flows end by themselves, others do not';
  if (isRoute !== ((flow.flags ?? 0) === OFPFF.SEND_FLOW_REM)) return 'routes, and only they, tell of their end';
  return undefined;
}

function checkWay(flow: FlowMod, table: TableRow): string | undefined {
  const stray = flow.actions?.find((action) => !table.actions.includes(action.type));
  if (stray) return `${table.name} does no ${stray.type}`;
  if (flow.gotoTable !== undefined && !table.next.includes(flow.gotoTable)) {
    return `${table.name} does not lead to table ${flow.gotoTable}`;
  }
  const punts = flow.actions?.some((action) => action.type === 'controller') ?? false;
  if (punts !== (flow.meter !== undefined)) return 'a packet to the controller passes a meter, and no other does';
  return undefined;
}

/** A number from the model as the codec's type. */
export function asPortNo(portNo: number): PortNo {
  return portNo as PortNo;
}
