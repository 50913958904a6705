// Numbers of IANA that packets carry.

/** EtherTypes. */
export const ETH_TYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const;

/** IPv4 protocol numbers. */
export const IP_PROTO = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, SCTP: 132 } as const;

/** ICMP types. */
export const ICMP = {
  ECHO_REPLY: 0,
  DESTINATION_UNREACHABLE: 3,
  SOURCE_QUENCH: 4,
  REDIRECT: 5,
  ECHO_REQUEST: 8,
  TIME_EXCEEDED: 11,
  PARAMETER_PROBLEM: 12,
} as const;

/** Codes of ICMP destination unreachable. */
export const ICMP_UNREACHABLE = {
  NET: 0,
  HOST: 1,
  PROTOCOL: 2,
  PORT: 3,
  FRAGMENTATION_NEEDED: 4,
  NET_PROHIBITED: 9,
  HOST_PROHIBITED: 10,
  COMMUNICATION_PROHIBITED: 13,
} as const;

export const ARP_OP = { REQUEST: 1, REPLY: 2 } as const;

/** Bytes of an Ethernet header without a tag, of an IPv4 header without options, and of an ICMP header. */
export const ETHERNET_HEADER = 14;
export const IPV4_HEADER = 20;
export const ICMP_HEADER = 8;

/** True for the ICMP types that report an error and quote a packet (RFC 1122, 3.2.2). */
export function isIcmpError(type: number): boolean {
  return (
    type === ICMP.DESTINATION_UNREACHABLE ||
    type === ICMP.SOURCE_QUENCH ||
    type === ICMP.REDIRECT ||
    type === ICMP.TIME_EXCEEDED ||
    type === ICMP.PARAMETER_PROBLEM
  );
}
