// What the policy refused of late, for people to read: a bounded list, one entry for whatever was refused alike. Packets
// are those that the controller saw; what the drops in the datapath took meanwhile is not among them.

import { formatIpv4 } from '../base/addresses';
import type { PacketView } from '../packet/packet-view';
import type { PacketEnds } from './conversation';
import type { EndpointIndex } from './endpoint-index';
import type { Denial } from './model';
import { OUTSIDE } from './route-table';

const MAX_DENIALS = 256;

interface Entry {
  readonly denial: Omit<Denial, 'packets' | 'lastMs'>;
  packets: number;
  lastMs: number;
}

export class Denials {
  /** The one that was seen longest ago comes first. */
  private readonly entries = new Map<string, Entry>();

  constructor(private readonly endpoints: EndpointIndex) {}

  take(packet: PacketView, { from, to }: Pick<PacketEnds, 'from' | 'to'>, nowMs: number): void {
    const source = from === OUTSIDE ? formatIpv4(packet.ipSrc) : this.nameOf(from);
    const destination = to === OUTSIDE ? formatIpv4(packet.ipDst) : this.nameOf(to);
    this.enter(packet, source, destination, nowMs);
  }

  /** The latest first. */
  list(): Denial[] {
    return [...this.entries.values()].map(({ denial, packets, lastMs }) => ({ ...denial, packets, lastMs })).reverse();
  }

  private enter(packet: PacketView, source: string, destination: string, lastMs: number): void {
    const { ipProto: protocol, l4Dst: port } = packet;
    const key = `${source} ${destination} ${protocol} ${port}`;
    const entry = this.entries.get(key) ?? { denial: { source, destination, protocol, port }, packets: 0, lastMs };
    entry.packets += 1;
    entry.lastMs = lastMs;
    this.entries.delete(key);
    this.entries.set(key, entry);
    if (this.entries.size > MAX_DENIALS) this.entries.delete(this.entries.keys().next().value ?? key);
  }

  private nameOf(slot: number): string {
    return this.endpoints.idOf(slot) ?? '';
  }
}
