// The part of the table `inet daolinet` that is about tunnels, and about where packets for locators go at all. These rules stand on
// every host, in whatever state: a tunnel that is away means that nothing is sent, never that it is sent another way. Pure.

import { formatCidr, formatIpv4 } from '../base/addresses';
import type { FirewallConfig } from './host';

/** As nftables names all of them. */
export const TUNNELS = '"daoli-wg*"';
/** As iptables does. */
export const TUNNELS_IPTABLES = 'daoli-wg+';

/** Before fragments are put together, which is for connection tracking alone. */
const BEFORE_DEFRAGMENTING = -450;

export const TUNNEL_COUNTERS = `
  counter locator_astray { }
  counter tunnel_forged { }
  counter tunnel_refused { }`;

/** Chains of their own. */
export function buildTunnelChains(config: FirewallConfig): string {
  const { hostAddress, locatorRange, dnsAddress, tunnels } = config;
  const own = formatIpv4(hostAddress);
  const range = formatCidr(locatorRange);
  const hostInterface = `"${config.hostInterface}"`;
  const blockList = config.locatorBlocks.map(formatCidr);
  const blocks = `{ ${blockList.join(', ')} }`;
  const local = `{ ${[...blockList, ...(dnsAddress === undefined ? [] : [formatIpv4(dnsAddress)])].join(', ')} }`;
  return `
  chain prerouting_tunnels {
    type filter hook prerouting priority ${BEFORE_DEFRAGMENTING}; policy accept;
    iifname ${TUNNELS} goto from_peers
    # Between containers of two hosts nothing is tracked
    iifname ${hostInterface} ip saddr ${blocks} ip daddr ${range} ip daddr != ${local} notrack
  }
  chain from_peers {
    meta nfproto ipv6 counter name tunnel_forged drop
    ip saddr != ${range} counter name tunnel_forged drop
    ip saddr ${blocks} counter name tunnel_forged drop
    ip daddr != ${range} counter name tunnel_forged drop
    # Answers to who came by a port of this host have its own locator
    ip daddr != ${own} notrack
  }
  chain segment_size {
    type filter hook forward priority mangle; policy accept;
    # The smaller of the two ways, there and back
    iifname ${TUNNELS} tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
    oifname ${TUNNELS} tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu
  }
  chain from_tunnel {${
    tunnels === undefined
      ? ''
      : `
    oifname ${hostInterface} ip daddr ${blocks} accept${tunnels.isHub ? `\n    oifname ${TUNNELS} accept` : ''}
    ct state established,related ct status dnat accept`
  }
    counter name tunnel_refused drop
  }
  chain to_tunnel {${
    tunnels === undefined
      ? ''
      : `
    iifname ${hostInterface} ip saddr ${blocks} ip daddr ${range} accept
    ct status dnat accept`
  }
    counter name tunnel_refused drop
  }
  chain to_host_by_tunnel {${
    tunnels === undefined
      ? ''
      : `
    ct state established,related accept
    ip daddr ${own} meta l4proto 6 th dport ${tunnels.doorPort} accept
    ip daddr ${own} icmp type { echo-request, echo-reply, destination-unreachable, time-exceeded, parameter-problem } accept`
  }
    counter name tunnel_refused drop
  }
  # Before Docker's masquerading
  chain postrouting_tunnels_nat {
    type nat hook postrouting priority srcnat - 5; policy accept;
    oifname ${TUNNELS} snat ip to ${own}
  }
  chain postrouting_guard {
    type filter hook postrouting priority filter; policy accept;
    oifname ${TUNNELS} return${buildForeign(config, blocks)}
    ip daddr ${range} oifname != { "lo", ${hostInterface} } counter name locator_astray drop
  }`;
}

/** Addresses of the range that another VPN has: what is no host's of the cluster, and comes from none of our containers. */
function buildForeign({ foreign, dnsAddress }: FirewallConfig, ownBlocks: string): string {
  if (foreign === undefined) return '';
  const devices = foreign.devices.map((device) => `"${device}"`).join(', ');
  const used = [...foreign.usedBlocks.map(formatCidr), ...(dnsAddress === undefined ? [] : [formatIpv4(dnsAddress)])];
  return `
    oifname { ${devices} } ip saddr != ${ownBlocks} ip daddr != { ${used.join(', ')} } return`;
}
