// Who has ports in the packet filter: endpoints with published ports, and firewall rules. What tells them apart, which of two
// may have a port, and which tracked connections are theirs. Pure.

import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { publishedKeys, type Publisher } from './firewall-rules';
import type { ForwardedPort, PublishedEndpoint } from './host';

/** Each costs a look at every tracked connection. Of a wide range of ports, the first that many are seen to. */
const MAX_FLUSHED_PORTS = 64;

/** The locator that its ports lead to. */
export function locatorOf(publisher: Publisher): Ipv4 | undefined {
  return 'name' in publisher ? publisher.target?.locator : publisher.locator;
}

/** The same with the pools that its tenant has now. */
export function withPoolsOf<P extends Publisher>(publisher: P, other: Publisher): P {
  const tenantPools = 'name' in other ? (other.target?.tenantPools ?? []) : other.tenantPools;
  if (!('name' in publisher)) return { ...publisher, tenantPools };
  return publisher.target === undefined ? publisher : { ...publisher, target: { ...publisher.target, tenantPools } };
}

export const isForwarded = (publisher: Publisher): publisher is ForwardedPort => 'name' in publisher;
/** No endpoint's id has a colon. */
export const ruleKey = (name: string): string => `rule:${name}`;
export const keyOf = (publisher: Publisher): string =>
  isForwarded(publisher) ? ruleKey(publisher.name) : publisher.endpointId;
const shown = (key: string): string => (key.startsWith('rule:') ? `firewall rule ${key.slice(5)}` : `endpoint ${key}`);

/** A forwarded port with the pools of an endpoint's that leads to the same locator. */
export function withPoolsOfFirst(port: ForwardedPort, published: readonly PublishedEndpoint[]): ForwardedPort {
  const same = published.find(({ locator }) => locator === port.target?.locator);
  return same === undefined ? port : withPoolsOf(port, same);
}

export function targetOf(publisher: Publisher): string {
  const { target } = isForwarded(publisher) ? publisher : {};
  return target === undefined ? '' : `${formatIpv4(target.locator)} ${target.port}`;
}

/** What finds the connections that came by the port of a firewall rule. */
export function connectionsBy(publisher: Publisher): string[] {
  if (!isForwarded(publisher) || publisher.target === undefined) return [];
  const { protocol, hostPort, target } = publisher;
  const ports = `--orig-port-dst ${hostPort} --reply-port-src ${target.port}`;
  return [`-p ${protocol} ${ports} --reply-src ${formatIpv4(target.locator)}`];
}

/** The ports of a publisher as far as packets to them are translated, and where they are. */
function portsOf(publisher: Publisher) {
  if (!isForwarded(publisher)) return publisher.ports;
  return publisher.target === undefined ? [] : [publisher];
}

/**
 * What finds UDP flows to ports that are new. Whoever sent to one while nobody had it (its container was restarting) is
 * tracked as talking to the host itself, and would pass the rules by for as long as it goes on.
 */
export function strayFlows(before: Publisher | undefined, after: Publisher): string[] {
  const keyOfPort = ({ protocol, hostPort, hostIp }: ReturnType<typeof portsOf>[number]) =>
    `${protocol} ${hostPort} ${hostIp}`;
  const known = new Set(before === undefined ? [] : portsOf(before).map(keyOfPort));
  return portsOf(after)
    .filter((port) => port.protocol === 'udp' && !known.has(keyOfPort(port)))
    .slice(0, MAX_FLUSHED_PORTS)
    .map(({ hostIp, hostPort }) => {
      const address = hostIp === undefined ? '' : ` --orig-dst ${formatIpv4(hostIp)}`;
      return `-p udp --orig-port-dst ${hostPort}${address}`;
    });
}

export function claim(owners: Map<string, string>, publisher: Publisher): void {
  const own = keyOf(publisher);
  for (const key of publishedKeys(publisher)) {
    const owner = owners.get(key);
    if (owner !== undefined && owner !== own) {
      throw new DaoliError('conflict', `${shown(own)} cannot publish ${key}: ${shown(owner)} does`, key);
    }
    owners.set(key, own);
  }
}

export function release(owners: Map<string, string>, publisher: Publisher | undefined): void {
  for (const key of publisher === undefined ? [] : publishedKeys(publisher)) owners.delete(key);
}
