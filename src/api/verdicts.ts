// What rules say of two containers, for every pair of networks by which they could talk.

import { z } from 'zod';
import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { EndpointRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import { explain, explainOutside, summarize, type Opening } from '../policy/explain';
import { readPolicies } from '../policy/read-policies';
import type { FoundContainer } from './find-container';
import { networkLabel } from './find-network';

const SIDE = z.object({
  container: z.string().nullable().meta({ description: 'null for what is outside' }),
  network: z.string().nullable(),
  address: z.string(),
  host: z.string().nullable(),
});

export const VERDICT = z
  .object({
    from: SIDE,
    to: SIDE,
    allowed: z.boolean().nullable().meta({ description: 'null where it depends on protocol and port' }),
    decidedBy: z.string().nullable().meta({ description: 'the rule, as in "policy p1"; null where none decides' }),
    reason: z.string(),
  })
  .meta({ id: 'Verdict', description: 'Whether one container may open conversations with another, and why' });
export type Verdict = z.infer<typeof VERDICT>;

/** Without an opening: of all conversations together. Throws `not-found` where the two are in no tenant together. */
export function verdictsBetween(
  view: DirectoryView,
  from: FoundContainer,
  to: FoundContainer,
  opening?: Opening,
): Verdict[] {
  const { book, subjects } = readPolicies(view);
  const verdicts = from.endpoints.flatMap((source) =>
    to.endpoints.flatMap((destination): Verdict[] => {
      const [one, other] = [subjects.subjectOf(source), subjects.subjectOf(destination)];
      if (source.tenant !== destination.tenant || one === undefined || other === undefined) return [];
      const sides = { from: sideOf(view, source), to: sideOf(view, destination) };
      if (opening === undefined) return [{ ...sides, ...summarize(book, one, other) }];
      const { isAllowed, decidedBy = null, reason } = explain(book, one, other, opening);
      return [{ ...sides, allowed: isAllowed, decidedBy, reason }];
    }),
  );
  if (verdicts.length > 0) return verdicts;
  const names = [from, to].map(({ name, containerId }) => name ?? containerId.slice(0, 12));
  throw new DaoliError('not-found', `${names.join(' and ')} are in no tenant together: nothing connects two tenants`);
}

/** Between a container and an address outside. */
export function verdictsOutside(
  view: DirectoryView,
  { endpoints }: FoundContainer,
  direction: 'out' | 'in',
  address: Ipv4,
  opening: Opening,
): Verdict[] {
  const { book, subjects } = readPolicies(view);
  const outside = { container: null, network: null, address: formatIpv4(address), host: null };
  return endpoints.flatMap((endpoint): Verdict[] => {
    const subject = subjects.subjectOf(endpoint);
    if (subject === undefined) return [];
    const { isAllowed, decidedBy = null, reason } = explainOutside(book, subject, direction, address, opening);
    const own = sideOf(view, endpoint);
    const sides = direction === 'out' ? { from: own, to: outside } : { from: outside, to: own };
    if (view.network(endpoint.networkId)?.internal === true) {
      const why = `network ${own.network} is internal: it has no way out and none in`;
      return [{ ...sides, allowed: false, decidedBy: null, reason: why }];
    }
    return [{ ...sides, allowed: isAllowed, decidedBy, reason }];
  });
}

function sideOf(view: DirectoryView, endpoint: EndpointRow) {
  const network = view.network(endpoint.networkId);
  return {
    container: endpoint.containerName ?? endpoint.containerId?.slice(0, 12) ?? null,
    network: network === undefined ? null : networkLabel(network),
    address: formatIpv4(endpoint.address),
    host: endpoint.host,
  };
}
