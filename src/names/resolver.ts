// Which addresses a name has, for one container that asks: those of containers in its own networks, on whatever host. Docker's
// resolver answers for containers of its own host and passes everything else on. Pure.

import type { Ipv4 } from '../base/addresses';
import type { EndpointRow, NetworkId } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

export type Answer =
  | { readonly kind: 'addresses'; readonly addresses: readonly Ipv4[] }
  /** A name of one label, which nobody outside would know either. */
  | { readonly kind: 'no-such-name' }
  /** Somebody else may know it: Docker asks its next server. */
  | { readonly kind: 'not-ours' };

/** As many fit a datagram of 512 bytes. */
const MAX_ADDRESSES = 16;

/** `asker` is the locator that the question came from; `name` is as in the question, without its last dot. */
export function resolve(view: DirectoryView, host: string, asker: Ipv4, name: string): Answer {
  const endpoint = view.endpointByLocator(asker);
  if (endpoint === undefined || endpoint.host !== host) return { kind: 'not-ours' };
  const wanted = name.toLowerCase();
  const addresses: Ipv4[] = [];
  for (const networkId of networksOf(view, endpoint)) {
    const suffix = `.${(view.network(networkId)?.name ?? '').toLowerCase()}`;
    const short = wanted.endsWith(suffix) ? wanted.slice(0, -suffix.length) : wanted;
    for (const other of view.endpointsOf(networkId)) {
      if (isCalled(other, wanted) || isCalled(other, short)) addresses.push(other.address);
    }
  }
  if (addresses.length > 0) return { kind: 'addresses', addresses: [...new Set(addresses)].slice(0, MAX_ADDRESSES) };
  return { kind: wanted.includes('.') ? 'not-ours' : 'no-such-name' };
}

/** The networks of the container that the endpoint is of. */
function networksOf(view: DirectoryView, { containerId, networkId, host }: EndpointRow): ReadonlySet<NetworkId> {
  const ids = new Set([networkId]);
  if (containerId === undefined) return ids;
  for (const other of view.endpointsOn(host)) if (other.containerId === containerId) ids.add(other.networkId);
  return ids;
}

function isCalled({ containerName, containerId, aliases, sandbox }: EndpointRow, name: string): boolean {
  if (sandbox === undefined) return false;
  const isId = name.length >= 12 && containerId?.startsWith(name) === true;
  return isId || containerName?.toLowerCase() === name || aliases.some((alias) => alias.toLowerCase() === name);
}
