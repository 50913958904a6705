// The two ends of what is seen between containers, as the API shows them: by name where one is known.

import { z } from 'zod';
import { formatIpv4 } from '../base/addresses';
import type { EndpointId, EndpointRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

export const END = z
  .object({
    endpoint: z.string().nullable().meta({ description: 'its id; null for what is no endpoint, or gone' }),
    container: z.string().nullable().meta({ description: 'the name of its container, or the beginning of its id' }),
    host: z.string().nullable(),
    network: z.string().nullable(),
    address: z.string().nullable(),
  })
  .meta({ id: 'End', description: 'An endpoint, or an address' });
export type ShownEnd = Readonly<z.infer<typeof END>>;

const SHOWN_ID = 12;
const NOBODY: ShownEnd = { endpoint: null, container: null, host: null, network: null, address: null };

export function endOfRow(view: DirectoryView, row: EndpointRow): ShownEnd {
  return {
    endpoint: row.id,
    container: row.containerName ?? row.containerId?.slice(0, SHOWN_ID) ?? null,
    host: row.host,
    network: view.network(row.networkId)?.name ?? row.networkId.slice(0, SHOWN_ID),
    address: formatIpv4(row.address),
  };
}

/** By an endpoint's id; one that is gone has nothing but that. */
export function endOf(view: DirectoryView, endpointId: string): ShownEnd {
  const row = view.endpoint(endpointId as EndpointId);
  return row === undefined ? { ...NOBODY, endpoint: endpointId } : endOfRow(view, row);
}

export function endAt(address: string): ShownEnd {
  return { ...NOBODY, address };
}

/** "h1/ann", "198.51.100.7", or "?" for one that is gone. */
export function formatEnd({ container, host, address, endpoint }: ShownEnd): string {
  if (container !== null) return host === null ? container : `${host}/${container}`;
  return address ?? (endpoint === null ? '?' : `endpoint ${endpoint.slice(0, SHOWN_ID)}`);
}
