// Every flow of ours that drops, as the datapath has it now, for people to read: in which table, why, how many packets. Those
// that packets have caused name their ends; the others are added up. Packets that a port's meter stopped are told apart.

import type { Ipv4 } from '../base/addresses';
import { decodeFlowStats, type FlowStats } from '../openflow/flow-stats';
import { NO_SLOT, type EndpointIndex } from './endpoint-index';
import { BASE, FABRIC_FLOW, KIND, ofKind, PIPELINE, PORT_FLOW, readCookie, TABLE, VARIANT } from './pipeline';
import type { Session } from './session';

/** Why a packet is dropped, and what that means to whoever looks. */
export const DROP_REASONS = {
  tagged: 'a VLAN tag: containers send none',
  arp: 'ARP that is not the container’s own question',
  'own-address': 'an ARP question for the sender’s own address, which nobody is to answer',
  multicast: 'broadcast or multicast, which go nowhere',
  spoofed: 'not IPv4 from the container’s own MAC and address to its router',
  guarded: 'to loopback, link-local, multicast or another address that no container has',
  locators: 'to an address of the fabric',
  'icmp-redirect': 'an ICMP redirect or source quench',
  'fabric-noise': 'ARP or multicast of the L2 that the hosts share',
  denied: 'the policy refuses this pair',
  nobody: 'an address of the network that nobody has',
  'no-way-out': 'from a container that has no way out',
  'no-way-in': 'from outside to an address of the fabric that nobody has here, or that has no way out',
  'nobody-here': 'from another host to a container that is not here',
  metered: 'first packets beyond what one container may send to the controller',
} as const;
export type DropReason = keyof typeof DROP_REASONS;

/** Flows of one table that drop for one reason, or one flow where it names its ends. */
export interface DropFlow {
  /** As in pipeline.md: "CLASSIFY", "ROUTE", … */
  readonly table: string;
  readonly reason: DropReason;
  readonly packets: number;
  readonly bytes: number;
  /** Endpoint ids; of the destination the address, where it is nobody's. */
  readonly source?: string;
  readonly destination?: string;
  readonly address?: Ipv4;
  readonly ageSeconds?: number;
}

const BASE_REASONS: Readonly<Record<number, DropReason>> = {
  [BASE.TAGGED]: 'tagged',
  [BASE.ARP_REFUSED]: 'arp',
  [BASE.ARP_MISS]: 'arp',
  [BASE.MULTICAST]: 'multicast',
  [BASE.SPOOFED]: 'spoofed',
  [BASE.PUNT_MISS]: 'spoofed',
  [BASE.GUARD_THIS_NETWORK]: 'guarded',
  [BASE.GUARD_LOOPBACK]: 'guarded',
  [BASE.GUARD_LINK_LOCAL]: 'guarded',
  [BASE.GUARD_MULTICAST]: 'guarded',
  [BASE.LOCATORS]: 'locators',
  [BASE.ICMP_REDIRECT]: 'icmp-redirect',
  [BASE.ICMP_QUENCH]: 'icmp-redirect',
};
/** All else of the fabric that drops is about ICMP. */
const FABRIC_NOISE: readonly number[] = [FABRIC_FLOW.NOISE_ARP, FABRIC_FLOW.NOISE_MULTICAST];
const NEGATIVE_REASONS: Readonly<Record<number, DropReason>> = {
  [TABLE.ROUTE]: 'nobody',
  [TABLE.OUTSIDE]: 'no-way-out',
  [TABLE.FABRIC_IN]: 'nobody-here',
};
/** Kinds with flows that drop. */
const KINDS = [KIND.BASE, KIND.HOST, KIND.FABRIC, KIND.ENDPOINT, KIND.DENY, KIND.NEGATIVE] as const;

/** Asks datapaths for the flows that drop, and for what their meters have stopped. */
export async function listDropFlows(sessions: readonly Session[], endpoints: EndpointIndex): Promise<DropFlow[]> {
  const drops = await Promise.all(sessions.map((session) => dropsOf(session, endpoints)));
  return summed(drops.flat()).sort((a, b) => b.packets - a.packets);
}

async function dropsOf(session: Session, endpoints: EndpointIndex): Promise<DropFlow[]> {
  const drops: DropFlow[] = [];
  const datapathNo = session.datapath?.number ?? 0;
  const take = (buffer: Buffer, at: number, length: number) => {
    const drop = describeDrop(decodeFlowStats(buffer, at, at + length), datapathNo, endpoints);
    if (drop !== undefined) drops.push(drop);
  };
  await Promise.all(KINDS.map((kind) => session.listFlows(ofKind(kind), take)));
  await session.listMeters(({ meterId, bands }) => {
    const packets = bands.reduce((sum, { packetCount }) => sum + packetCount, 0);
    const bytes = bands.reduce((sum, { byteCount }) => sum + byteCount, 0);
    if (packets > 0) drops.push({ table: 'PUNT', reason: 'metered', packets, bytes, ...sourceAt(meterId) });
  });
  function sourceAt(place: number) {
    return endOf('source', datapathNo, place, endpoints);
  }
  return drops;
}

/** Undefined for a flow that drops nothing, or that is not of this layout. */
function describeDrop(flow: FlowStats, datapathNo: number, endpoints: EndpointIndex): DropFlow | undefined {
  const cookie = readCookie(flow.cookie);
  const drops = (flow.actions?.length ?? 0) === 0 && flow.gotoTable === undefined;
  if (cookie === undefined || !drops) return undefined;
  const head = {
    table: PIPELINE[flow.table]?.name ?? String(flow.table),
    packets: flow.packetCount,
    bytes: flow.byteCount,
  };
  const which = cookie.b & ~VARIANT;
  const ageSeconds = flow.durationSeconds;
  const source = () => endOf('source', datapathNo, cookie.a, endpoints);
  switch (cookie.kind) {
    case KIND.BASE:
      return { ...head, reason: BASE_REASONS[which] ?? 'spoofed' };
    case KIND.FABRIC:
      return { ...head, reason: FABRIC_NOISE.includes(which) ? 'fabric-noise' : 'icmp-redirect' };
    case KIND.HOST:
    case KIND.ENDPOINT:
      return which === PORT_FLOW.ARP_SELF ? { ...head, reason: 'own-address' } : undefined;
    case KIND.DENY:
      return {
        ...head,
        reason: 'denied',
        ageSeconds,
        ...source(),
        ...addressOf(flow),
        ...endOf('destination', datapathNo, cookie.b, endpoints),
      };
    case KIND.NEGATIVE:
      return { ...head, reason: negativeReason(flow), ageSeconds, ...source(), ...addressOf(flow) };
    default:
      return undefined;
  }
}

/** In the table of the outside, one that names a destination is about what comes in. */
function negativeReason({ table, match }: FlowStats): DropReason {
  return table === TABLE.OUTSIDE && match.ipv4Dst !== undefined ? 'no-way-in' : (NEGATIVE_REASONS[table] ?? 'nobody');
}

function addressOf({ match }: FlowStats): { address?: Ipv4 } {
  return typeof match.ipv4Dst === 'number' ? { address: match.ipv4Dst } : {};
}

function endOf(
  which: 'source' | 'destination',
  datapathNo: number,
  place: number,
  endpoints: EndpointIndex,
): { source?: string; destination?: string } {
  const slot = endpoints.slotOfPlace(datapathNo, place);
  const id = slot === NO_SLOT ? undefined : endpoints.idOf(slot);
  return id === undefined ? {} : { [which]: id };
}

/** Those that name no ends, added up for each table and reason; those that dropped nothing are left out of them. */
function summed(drops: readonly DropFlow[]): DropFlow[] {
  const sums = new Map<string, DropFlow>();
  const named: DropFlow[] = [];
  for (const drop of drops) {
    if (drop.source !== undefined || drop.destination !== undefined || drop.address !== undefined) {
      named.push(drop);
      continue;
    }
    const key = `${drop.table} ${drop.reason}`;
    const { packets = 0, bytes = 0 } = sums.get(key) ?? {};
    sums.set(key, { ...drop, packets: packets + drop.packets, bytes: bytes + drop.bytes });
  }
  return [...sums.values()].filter(({ packets }) => packets > 0).concat(named);
}
