// What a flow of ours is there for, in words, by its table and cookie. Pure.

import {
  BASE,
  FABRIC_FLOW,
  KIND,
  NETWORK_FLOW,
  PIPELINE,
  PORT_FLOW,
  readCookie,
  readNetwork,
  TABLE,
  VARIANT,
} from '../flowctl/pipeline';
import type { Cookie } from '../flowctl/pipeline';

const BASE_WORDS: Readonly<Record<number, string>> = {
  [BASE.TAGGED]: 'has a VLAN tag: dropped',
  [BASE.ARP_REFUSED]: 'ARP that is not the container’s own question: dropped',
  [BASE.MULTICAST]: 'broadcast or multicast: dropped',
  [BASE.SPOOFED]: 'nothing that this port may send: dropped',
  [BASE.GUARD_THIS_NETWORK]: 'an address that no container has (0.0.0.0/8): dropped',
  [BASE.GUARD_LOOPBACK]: 'a loopback address: dropped',
  [BASE.GUARD_LINK_LOCAL]: 'a link-local address: dropped',
  [BASE.GUARD_MULTICAST]: 'a multicast address or above: dropped',
  [BASE.HOST_ADDRESS]: 'the host’s own address on the fabric',
  [BASE.DNS_ADDRESS]: 'where the agent answers for names',
  [BASE.LOCATORS]: 'an address of the fabric, which containers never reach: dropped',
  [BASE.ROUTE_MISS]: 'no container’s address: to the outside',
  [BASE.ICMP_UNREACHABLE]: 'an ICMP error, which the controller rewrites',
  [BASE.ICMP_TIME_EXCEEDED]: 'an ICMP error, which the controller rewrites',
  [BASE.ICMP_PARAMETER]: 'an ICMP error, which the controller rewrites',
  [BASE.ICMP_REDIRECT]: 'an ICMP redirect: dropped',
  [BASE.ICMP_QUENCH]: 'an ICMP source quench: dropped',
  [BASE.FRAGMENT_TCP]: 'a later fragment, which the controller rewrites',
  [BASE.FRAGMENT_UDP]: 'a later fragment, which the controller rewrites',
  [BASE.OUTSIDE_MISS]: 'no route to the outside is there: the controller is asked',
  [BASE.PUNT_MISS]: 'from a port that is nobody’s: dropped',
};

const FABRIC_WORDS: Readonly<Record<number, string>> = {
  [PORT_FLOW.IP]: 'from another host, between addresses of the fabric',
  [PORT_FLOW.PUNT]: 'to the controller, through the meter of the fabric port',
  [FABRIC_FLOW.OUT_TTL_0]: 'its TTL has run out: the controller answers',
  [FABRIC_FLOW.OUT_TTL_1]: 'its TTL runs out here: the controller answers',
  [FABRIC_FLOW.OUT_MISS]: 'nothing but rewriting is needed',
  [FABRIC_FLOW.TOO_LARGE]: 'larger than the fabric takes: the controller answers, or cuts it',
  [FABRIC_FLOW.SEND]: 'the addresses of the fabric take the place of its own; one is taken from the TTL',
  [FABRIC_FLOW.SEND_TUNNEL]:
    'the addresses of the fabric take the place of its own; the kernel sends it into the tunnel',
  [FABRIC_FLOW.IN_TTL_0]: 'its TTL has run out: the controller answers',
  [FABRIC_FLOW.IN_TTL_1]: 'its TTL runs out here: the controller answers',
  [FABRIC_FLOW.IN_MISS]: 'no route is there: the controller is asked',
  [FABRIC_FLOW.NOISE_ARP]: 'ARP on the L2 that the hosts share: dropped',
  [FABRIC_FLOW.NOISE_MULTICAST]: 'multicast on the L2 that the hosts share: dropped',
};

const PORT_WORDS: Readonly<Record<number, string>> = {
  [PORT_FLOW.IP]: 'from this port’s own MAC and address, to the router',
  [PORT_FLOW.ARP_SELF]: 'an ARP question for its own address: dropped',
  [PORT_FLOW.ARP]: 'an ARP question of its own',
  [PORT_FLOW.PUNT]: 'to the controller, through the meter of this port',
  [PORT_FLOW.TUNNEL]: 'out of a tunnel from another host, between addresses of the fabric',
  [PORT_FLOW.OWN_LOCATOR]: 'from this host itself',
  [PORT_FLOW.OWN_NAMES]: 'from the names of this host',
};

const ROUTE_WORDS: Readonly<Record<number, string>> = {
  [KIND.PAIR]: 'the hot-plug route between the two',
  [KIND.EGRESS]: 'the route between this container and the outside',
  [KIND.REMOTE]: 'the hot-plug route between the two, on different hosts',
  [KIND.OPENING]: 'the route of this conversation, from who opened it',
  [KIND.ANSWER]: 'the route of this conversation, back to who opened it',
  [KIND.RELAY]: 'between a port of one host and a container on another, as a firewall rule says',
  [KIND.DENY]: 'refused by the policy a moment ago: dropped',
  [KIND.NEGATIVE]: 'nobody was there a moment ago: dropped',
};

/** "CLASSIFY"; undefined for a table that is not ours. */
export function tableName(table: number): string | undefined {
  return PIPELINE[table]?.name;
}

export function describeFlow(table: number, cookieBits: bigint): string {
  const cookie = readCookie(cookieBits);
  if (cookie === undefined) return cookieBits === 0n ? 'no flow matches' : 'a flow that is not DaoliNet’s';
  return wordsOf(cookie, table) ?? 'a flow of DaoliNet’s';
}

function wordsOf(cookie: Cookie, table: number): string | undefined {
  const which = cookie.b & ~VARIANT;
  switch (cookie.kind) {
    case KIND.BASE:
      return table === TABLE.ARP ? 'ARP is answered with the router’s MAC' : BASE_WORDS[which];
    case KIND.FABRIC:
      return FABRIC_WORDS[which] ?? fabricExceptions(which);
    case KIND.HOST:
    case KIND.ENDPOINT:
      return PORT_WORDS[which];
    case KIND.NETWORK:
      return networkWords(readNetwork(cookie).flow);
    default:
      return ROUTE_WORDS[cookie.kind];
  }
}

function fabricExceptions(which: number): string {
  if (which >= FABRIC_FLOW.OUT_FRAGMENT_TCP) return 'a later fragment, which the controller rewrites';
  return which % 8 < 3 ? 'an ICMP error, which the controller rewrites' : 'an ICMP redirect or source quench: dropped';
}

function networkWords(flow: number): string {
  if (flow === NETWORK_FLOW.DNS) return 'an internal network’s questions for names go by the controller';
  if (flow === NETWORK_FLOW.ECHO || flow === NETWORK_FLOW.ECHO_LATER)
    return 'the gateway answers ping, in the datapath';
  return 'an address of the tenant’s networks, and no route is there: the controller is asked';
}
