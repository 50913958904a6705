// What a host writes of its own tunnel, as operations of one transaction; see operations.ts. No host writes another's
// (src/cluster/inspection.ts), and no two have one key: an index of the database sees to it.

import { formatAddressPort } from '../base/address-port';
import { cidrHolds, parseCidr, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { insert, isRow, update } from '../ovsdb/operations';
import { ownHost } from './operations';
import { TUNNEL_KEY, type TunnelRow } from './rows';
import type { Ops, PlanContext } from './store';

/** UDP: where tunnels listen, and are reached where nothing else is said. */
export const TUNNEL_PORT = 7471;

/** What is said of a host's L2: that it shares that of its site, that it does not, or that it is to find out. */
export const L2_SETTINGS = ['auto', 'yes', 'no'] as const;
export type L2Setting = (typeof L2_SETTINGS)[number];

const NOBODYS = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'].map(parseCidr);

/**
 * Whether another host may be at an address, as far as the address says: not in 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, nor from
 * 224.0.0.0 on (RFC 6890, RFC 5771), nor among the locators, which are behind tunnels.
 */
export function isOfAnyHost(address: Ipv4, locatorRange: Cidr): boolean {
  return ![...NOBODYS, locatorRange].some((range) => cidrHolds(range, address));
}

export type OwnTunnel = Omit<TunnelRow, 'uuid' | 'host' | 'unheard'> & {
  /** Undefined: as it was told last. */
  readonly unheard?: readonly string[] | undefined;
};

/**
 * This host's tunnel is reached like that. Nothing to do where the directory says so already. Throws `unavailable` before
 * the host's row is there, `invalid` for what is no key, and `conflict` for the key of another host.
 */
export function planTunnel(context: PlanContext, tunnel: OwnTunnel): Ops {
  const { view, host } = context;
  if (!TUNNEL_KEY.test(tunnel.key)) throw new DaoliError('invalid', `"${tunnel.key}" is no public key of WireGuard`);
  for (const other of view.tunnels()) {
    if (other.host === host || other.key !== tunnel.key) continue;
    const message = `the tunnel of host ${host} has the key of host ${other.host}: is this server a copy of that one? `;
    const remedy = 'Make this host a new key with `daolictl cluster rotate-keys`';
    throw new DaoliError('conflict', message + remedy, other.host);
  }
  const own = view.tunnel(host);
  const unheard = tunnel.unheard?.filter((name) => view.host(name) !== undefined) ?? own?.unheard ?? [];
  const isDetected = tunnel.noL2 === 'detected';
  const row = {
    key: tunnel.key,
    port: tunnel.port,
    endpoint: tunnel.endpoint && formatAddressPort(tunnel.endpoint),
    no_l2: tunnel.noL2 !== false,
    // Left out where there is nothing to say: the database of an older version has no such columns.
    ...(isDetected === (own?.noL2 === 'detected') ? {} : { l2_detected: isDetected }),
    ...(isSameSet(own?.unheard ?? [], unheard) ? {} : { unheard: unheard.map((name) => view.host(name)?.uuid) }),
  };
  if (own === undefined) return [insert('Tunnel', { host: ownHost(context).uuid, ...row })];
  return isSame(own, { ...tunnel, unheard }) ? [] : [update('Tunnel', isRow(own.uuid), row)];
}

function isSame(a: TunnelRow, b: OwnTunnel & Pick<TunnelRow, 'unheard'>): boolean {
  const isSameEndpoint = a.endpoint?.address === b.endpoint?.address && a.endpoint?.port === b.endpoint?.port;
  const isSameReach = a.key === b.key && a.port === b.port && a.noL2 === b.noL2 && isSameEndpoint;
  return isSameReach && isSameSet(a.unheard, b.unheard);
}

function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each) => b.includes(each));
}
