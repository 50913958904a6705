// The names of an endpoint's veth pair, made from its id, so that they are found again whatever else is forgotten.

import { customaryInterface } from '../directory/endpoint-record';

/** The host's end, which is also the port's name in OVS, and the end that Docker moves into the container. */
export function linkNamesOf(endpointId: string): { readonly host: string; readonly container: string } {
  const host = customaryInterface(endpointId);
  return { host, container: host.replace(/^dl/, 'dc') };
}

/** What `linkNamesOf` makes, and nothing else on a host is called. */
export const LINK_NAME = /^d[lc][0-9a-f]{11}$/;
