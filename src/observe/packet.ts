// A packet that is only thought of, as `daolictl trace` follows it: what it is, and its text for ofproto/trace.

import { formatIpv4, formatMac, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';

export type TracedProtocol = 'tcp' | 'udp' | 'icmp';

/** What it is besides its addresses. */
export interface TracedTransport {
  readonly protocol: TracedProtocol;
  /** The destination's; undefined for ICMP, which is an echo request. */
  readonly port: number | undefined;
}

export interface TracedPacket extends TracedTransport {
  readonly inPort: number;
  readonly ethSrc: Mac;
  readonly ethDst: Mac;
  readonly ipSrc: Ipv4;
  readonly ipDst: Ipv4;
  readonly ttl: number;
}

/** As Linux sends it. */
export const FIRST_TTL = 64;
/** Of the source, where one is needed: from the range that Linux takes for clients. */
export const CLIENT_PORT = 50_000;
const MAX_PORT = 65_535;

/** "tcp/80", "udp/53" or "icmp"; without anything, ICMP. Throws `invalid`. */
export function parseTransport(text: string | undefined): TracedTransport {
  if (text === undefined || text === '' || text === 'icmp') return { protocol: 'icmp', port: undefined };
  const [, protocol, digits] = /^(tcp|udp)\/(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (protocol !== undefined && port >= 1 && port <= MAX_PORT) return { protocol: protocol as 'tcp' | 'udp', port };
  throw new DaoliError('invalid', `"${text}" is none of tcp/PORT, udp/PORT (1 to ${MAX_PORT}) and icmp`, text);
}

export function formatTransport({ protocol, port }: TracedTransport): string {
  return port === undefined ? protocol : `${protocol}/${port}`;
}

/** In the notation of ovs-fields(7). */
export function formatPacket(packet: TracedPacket): string {
  const { protocol, port, inPort, ethSrc, ethDst, ipSrc, ipDst, ttl } = packet;
  const transport =
    port === undefined ? 'icmp_type=8,icmp_code=0' : `${protocol}_src=${CLIENT_PORT},${protocol}_dst=${port}`;
  return [
    `${protocol},in_port=${inPort},dl_src=${formatMac(ethSrc)},dl_dst=${formatMac(ethDst)}`,
    `nw_src=${formatIpv4(ipSrc)},nw_dst=${formatIpv4(ipDst)},nw_ttl=${ttl},${transport}`,
  ].join(',');
}
