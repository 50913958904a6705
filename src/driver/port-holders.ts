// Who holds ports of this host: endpoints by their ids, as Docker publishes them, and firewall rules by their names.

import { describeEndpoint } from '../directory/descriptions';
import type { EndpointId } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { PortReservations, ReservedPort } from '../host/host';

/** No endpoint's id has a colon. */
const RULE = 'rule:';

/** What a firewall rule holds its port as. */
export function holderOf(rule: string): string {
  return RULE + rule;
}

/** The endpoints that hold ports. */
export function endpointsOf(reserved: readonly ReservedPort[]): ReadonlySet<string> {
  return new Set(reserved.map(({ endpointId }) => endpointId).filter((holder) => !holder.startsWith(RULE)));
}

/**
 * "is published by container web in network demo", "is that of firewall rule ssh", of whoever else holds a port on whatever
 * address. Undefined where nobody of ours does.
 */
export function describePortHolder(
  { store, ports }: { readonly store: Pick<DirectoryStore, 'view'>; readonly ports: Pick<PortReservations, 'list'> },
  wanted: Pick<ReservedPort, 'protocol' | 'hostPort'>,
  except = '',
): string | undefined {
  const { protocol, hostPort } = wanted;
  const held = ports
    .list()
    .find((port) => port.protocol === protocol && port.hostPort === hostPort && port.endpointId !== except);
  if (held === undefined) return undefined;
  if (held.endpointId.startsWith(RULE)) return `is that of firewall rule ${held.endpointId.slice(RULE.length)}`;
  const endpoint = store.view.endpoint(held.endpointId as EndpointId);
  return endpoint === undefined ? undefined : `is published by ${describeEndpoint(store.view, endpoint)}`;
}
