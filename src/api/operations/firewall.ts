// Firewall rules: ports of hosts that lead to containers, wherever these run.

import { z } from 'zod';
import { cidrOf, formatCidr, formatIpv4, parseCidr, parseIpv4, type Cidr, type Ipv4 } from '../../base/addresses';
import { parsed, parsedUnlessEmpty } from '../../base/body-schema';
import { DaoliError } from '../../base/errors';
import { namedBy, OPEN, RuleContainers } from '../../directory/rule-containers';
import type { FirewallRuleRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import type { FirewallWriter } from '../../policy/firewall-writer';
import { byName, name } from '../fields';
import { containerLabel, containersOf, findContainer, type FoundContainer } from '../find-container';
import { directoryOf, operation, type ApiAgent } from '../operation';

export interface FirewallAgent extends ApiAgent {
  readonly firewallRules: FirewallWriter;
  status(): { readonly state: string; readonly host: string };
}

const MAX_CLIENTS = 64;
const ANY = 0 as Ipv4;
const PROTOCOL = z.enum(['tcp', 'udp'], { error: 'is neither tcp nor udp' });
const PORT = z
  .int('is no port: give 1 to 65535')
  .min(1, 'is no port: give 1 to 65535')
  .max(65_535, 'is no port: give 1 to 65535');

const RULE = z
  .object({
    name: z.string(),
    host: z.string().meta({ description: 'whose port it is' }),
    protocol: PROTOCOL,
    hostIp: z.string().nullable().meta({ description: 'the address that it is bound to; null: every one of the host' }),
    hostPort: z.number(),
    container: z
      .string()
      .meta({ description: 'a name; with a host in front, as in "h1/web", for the one there alone' }),
    containerPort: z.number(),
    from: z.array(z.string()).meta({ description: 'who may come; none: everybody' }),
    status: z
      .string()
      .nullable()
      .meta({ description: `"${OPEN}", or what is in the way; null: not known yet` }),
    runsOn: z.string().nullable().meta({ description: 'the host where the container is now' }),
  })
  .meta({ id: 'FirewallRule' });
export type ShownFirewallRule = z.infer<typeof RULE>;

const WANTED = z.strictObject({
  name,
  container: name.meta({ description: 'a name or id' }),
  hostPort: PORT,
  hostIp: parsedUnlessEmpty(parseIpv4)
    .optional()
    .meta({ description: 'of a host of the cluster, or of this host; default: every address of the container’s host' }),
  containerPort: PORT,
  protocol: PROTOCOL.default('tcp'),
  from: z.array(parsed(parseClients)).max(MAX_CLIENTS, `are more than ${MAX_CLIENTS}`).default([]),
});

const SHARED = { tag: 'firewall', needsDirectory: true } as const;

export const firewallOperations = [
  operation({
    ...SHARED,
    id: 'listFirewallRules',
    method: 'get',
    path: '/v1/firewall',
    summary: 'All firewall rules',
    answer: z.array(RULE),
    handle: (agent: FirewallAgent) => listed(directoryOf(agent), () => true),
  }),
  operation({
    ...SHARED,
    id: 'createFirewallRule',
    method: 'post',
    path: '/v1/firewall',
    summary: 'Opens a port of a host to a container, and waits until it is open. On a server of the cluster',
    body: WANTED,
    answer: RULE,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: FirewallAgent, { body }) => {
      const view = directoryOf(agent);
      const found = findContainer(view, body.container);
      const { container: asked, hostIp = ANY, ...rest } = body;
      const host = hostOf(view, hostIp, hostIp === ANY ? found.host : agent.status().host);
      const rule = { ...rest, host, hostIp, container: selectorOf(view, asked, found) };
      await agent.firewallRules.create(rule);
      return describe({ ...rule, status: OPEN }, found.host);
    },
  }),
  operation({
    ...SHARED,
    id: 'deleteFirewallRules',
    method: 'delete',
    path: '/v1/firewall/{name}',
    summary: 'Deletes a firewall rule, or several whose names stand between commas. On a server of the cluster',
    parameters: byName,
    answer: z.object({}),
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: FirewallAgent, { parameters }) => {
      await agent.firewallRules.delete([...new Set(parameters.name.split(','))]);
      return {};
    },
  }),
  operation({
    ...SHARED,
    id: 'showFirewall',
    method: 'get',
    path: '/v1/containers/{name}/firewall',
    summary: 'The firewall rules that lead to a container',
    parameters: byName,
    answer: z.array(RULE),
    errors: ['not-found', 'conflict'],
    handle: (agent: FirewallAgent, { parameters }) => {
      const view = directoryOf(agent);
      const container = findContainer(view, parameters.name);
      return listed(view, (rule) => {
        const named = namedBy(rule);
        return named?.name === container.name && (named?.host ?? container.host) === container.host;
      });
    },
  }),
];

/** A prefix, or one address. */
function parseClients(text: string): Cidr {
  return text.includes('/') ? parseCidr(text) : cidrOf(parseIpv4(text), 32);
}

/** The host of the cluster that has an address, else `otherwise`. */
function hostOf(view: DirectoryView, address: Ipv4, otherwise: string): string {
  const owner = address === ANY ? undefined : [...view.hosts()].find((host) => host.address === address);
  return owner?.name ?? otherwise;
}

/** By the name, so that the rule follows the container; on one host alone where that was said. */
function selectorOf(view: DirectoryView, asked: string, found: FoundContainer): string {
  if (found.name === undefined) {
    const message = `container ${containerLabel(found)} has no name yet, which the rule would follow: try again`;
    throw new DaoliError('unavailable', message, asked);
  }
  if (asked.includes('/')) return `container:${found.host}/${found.name}`;
  const others = containersOf(view).filter(({ name: other }) => other === found.name);
  if (others.length <= 1) return `container:${found.name}`;
  const labels = others.map(containerLabel).sort();
  const message = `${others.length} containers are called ${found.name}: ${labels.join(', ')}; name one of them so`;
  throw new DaoliError('conflict', message, asked);
}

function listed(view: DirectoryView, isMeant: (rule: FirewallRuleRow) => boolean): ShownFirewallRule[] {
  const containers = new RuleContainers(view);
  return [...view.firewallRules()]
    .filter(isMeant)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((rule) => describe(rule, containers.endpointsOf(rule)[0]?.host));
}

function describe(rule: Omit<FirewallRuleRow, 'uuid' | 'created'>, runsOn: string | undefined): ShownFirewallRule {
  const { host, protocol, hostIp, hostPort, container, containerPort, from, status = null } = rule;
  return {
    ...{ name: rule.name, host, protocol, hostPort, containerPort, status },
    hostIp: hostIp === ANY ? null : formatIpv4(hostIp),
    container: container.replace(/^container:/, ''),
    from: from.map(formatCidr),
    runsOn: runsOn ?? null,
  };
}
