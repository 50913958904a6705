// The names of an endpoint's veth pair, made from its id, so that they are found again whatever else is forgotten.

/** The host's end, which is also the port's name in OVS, and the end that Docker moves into the container. */
export function linkNamesOf(endpointId: string): { readonly host: string; readonly container: string } {
  const digits = endpointId.slice(0, 11); // IFNAMSIZ leaves 15 characters
  return { host: `dl${digits}`, container: `dc${digits}` };
}

/** What `linkNamesOf` makes, and nothing else on a host is called. */
export const LINK_NAME = /^d[lc][0-9a-f]{11}$/;
