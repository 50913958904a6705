// Policies: who may open conversations with whom, in an order; and what decides about two containers.

import { z } from 'zod';
import { tryParseIpv4 } from '../../base/addresses';
import { DaoliError } from '../../base/errors';
import type { PolicyRow } from '../../directory/rows';
import { formatRule, parsePorts, policyRule, PROTOCOLS } from '../../policy/rule';
import { formatSelector } from '../../policy/selector';
import { byName, name, text } from '../fields';
import { findContainer } from '../find-container';
import { findNetwork, networkLabel } from '../find-network';
import { findSelector } from '../find-selector';
import { directoryOf, operation } from '../operation';
import { VERDICT, verdictsBetween, verdictsOutside } from '../verdicts';
import type { RulesAgent } from './groups';

const PROTOCOL = z.enum(['tcp', 'udp', 'sctp', 'icmp'], { error: 'is none of tcp, udp, sctp and icmp' });
const ACTION = z.enum(['allow', 'deny'], { error: 'is neither allow nor deny' });
const MAX_PORTS = 64;

const POLICY = z
  .object({
    name: z.string(),
    action: ACTION,
    from: z.string(),
    to: z.string(),
    protocol: PROTOCOL.nullable(),
    ports: z.array(z.string()),
    rule: z.string().meta({ description: 'all of it in one line' }),
  })
  .meta({ id: 'Policy' });
export type ShownPolicy = z.infer<typeof POLICY>;

const DEFAULT = z.object({ network: z.string(), default: ACTION }).meta({ id: 'NetworkDefault' });
export type ShownDefault = z.infer<typeof DEFAULT>;

const WANTED = z.strictObject({
  name: name.optional(),
  action: ACTION,
  from: name.meta({ description: 'a selector, as in "label:app=web", or the name of a container, service or network' }),
  to: name,
  protocol: PROTOCOL.optional(),
  ports: z.array(text).max(MAX_PORTS, `are more than ${MAX_PORTS}`).optional(),
  before: name.optional().meta({ description: 'the policy in front of which it stands; last without' }),
});

const SHARED = { tag: 'policies', needsDirectory: true } as const;

export const policyOperations = [
  operation({
    ...SHARED,
    id: 'listPolicies',
    method: 'get',
    path: '/v1/policies',
    summary: 'All policies, in the order in which they are asked',
    answer: z.array(POLICY),
    handle: (agent: RulesAgent) => directoryOf(agent).policies().map(describe),
  }),
  operation({
    ...SHARED,
    id: 'checkPolicies',
    method: 'get',
    path: '/v1/policies/check',
    summary: 'Whether one container may open a conversation with another, or with an address outside, and why',
    query: z.strictObject({
      from: name.meta({ description: 'a container, or an address outside' }),
      to: name,
      protocol: PROTOCOL.optional().meta({ description: 'default: tcp where there is a port, else icmp' }),
      port: text.optional(),
    }),
    answer: z.array(VERDICT),
    errors: ['not-found', 'conflict'],
    handle: (agent: RulesAgent, { query }) => {
      const view = directoryOf(agent);
      const opening = openingOf(query.protocol, query.port);
      const [from, to] = [tryParseIpv4(query.from), tryParseIpv4(query.to)];
      if (from !== undefined && to !== undefined) throw new DaoliError('invalid', 'one of the two is a container');
      if (from !== undefined) return verdictsOutside(view, findContainer(view, query.to), 'in', from, opening);
      if (to !== undefined) return verdictsOutside(view, findContainer(view, query.from), 'out', to, opening);
      return verdictsBetween(view, findContainer(view, query.from), findContainer(view, query.to), opening);
    },
  }),
  operation({
    ...SHARED,
    id: 'addPolicy',
    method: 'post',
    path: '/v1/policies',
    summary: 'Adds a policy. On a server of the cluster',
    body: WANTED,
    answer: POLICY,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { body }) => {
      const view = directoryOf(agent);
      const { protocol, action, before } = body;
      const ports = [...new Set(body.ports)];
      checkPorts(protocol, ports);
      const [from, to] = [body.from, body.to].map((each) => formatSelector(findSelector(view, each)));
      const wanted = { action, from: from!, to: to!, protocol, ports };
      const added = await agent.rules.addPolicy({ ...wanted, name: body.name, before });
      return describe({ ...wanted, name: added });
    },
  }),
  operation({
    ...SHARED,
    id: 'removePolicy',
    method: 'delete',
    path: '/v1/policies/{name}',
    summary: 'Removes a policy. On a server of the cluster',
    parameters: byName,
    answer: z.object({}),
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters }) => {
      await agent.rules.removePolicy(parameters.name);
      return {};
    },
  }),
  operation({
    ...SHARED,
    id: 'listDefaults',
    method: 'get',
    path: '/v1/policies/defaults',
    summary: 'What holds between containers of each network where no rule says anything',
    answer: z.array(DEFAULT),
    handle: (agent: RulesAgent) =>
      [...directoryOf(agent).networks()].map((network): ShownDefault => ({
        network: networkLabel(network),
        default: network.isDefaultDeny ? 'deny' : 'allow',
      })),
  }),
  operation({
    ...SHARED,
    id: 'setDefault',
    method: 'put',
    path: '/v1/policies/defaults/{name}',
    summary: 'Says what holds between containers of a network where no rule does. On a server of the cluster',
    parameters: byName,
    body: z.strictObject({ default: ACTION }),
    answer: DEFAULT,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters, body }) => {
      const network = findNetwork(directoryOf(agent), parameters.name);
      await agent.rules.setDefaultDeny(network.id, body.default === 'deny');
      return { network: networkLabel(network), default: body.default };
    },
  }),
];

function describe(policy: Omit<PolicyRow, 'uuid' | 'position' | 'created'>): ShownPolicy {
  const { name: called, action, from, to, protocol = null, ports } = policy;
  return { name: called, action, from, to, protocol, ports: [...ports], rule: shownRule(policy) };
}

/** As far as this version can read it. */
function shownRule(policy: Parameters<typeof policyRule>[0]): string {
  try {
    return formatRule(policyRule(policy));
  } catch {
    return `${policy.action} from ${policy.from} to ${policy.to}: of a newer version, which this host cannot read`;
  }
}

function checkPorts(protocol: PolicyRow['protocol'], ports: readonly string[]): void {
  for (const each of ports) parsePorts(each);
  if (ports.length === 0 || (protocol !== undefined && protocol !== 'icmp')) return;
  const why = protocol === undefined ? 'say of which protocol' : 'ICMP has none';
  throw new DaoliError('invalid', `ports ${ports.join(',')} are of TCP, UDP or SCTP: ${why}`, ports.join(','));
}

/** What opens a conversation by these words. */
function openingOf(protocol: PolicyRow['protocol'], port: string | undefined) {
  const chosen = protocol ?? (port === undefined ? 'icmp' : 'tcp');
  checkPorts(chosen, port === undefined ? [] : [port]);
  if (port === undefined && chosen !== 'icmp') {
    throw new DaoliError('invalid', `${chosen} needs a port, as in ${chosen}/80`, chosen);
  }
  return { protocol: PROTOCOLS[chosen], port: port === undefined ? 0 : parsePorts(port).first };
}
