// Groups of networks: containers of networks in one group are connected, as if they were in one network.

import { z } from 'zod';
import type { GroupRow } from '../../directory/rows';
import type { DirectoryView } from '../../directory/view';
import { existingGroup, type RuleWriter } from '../../policy/rule-writer';
import { byName, name } from '../fields';
import { findNetwork, networkLabel } from '../find-network';
import { directoryOf, operation, type ApiAgent } from '../operation';

export interface RulesAgent extends ApiAgent {
  readonly rules: RuleWriter;
}

const GROUP = z
  .object({ name: z.string(), networks: z.array(z.string()).meta({ description: 'their names' }) })
  .meta({ id: 'Group' });
export type ShownGroup = z.infer<typeof GROUP>;

const SHARED = { tag: 'groups', needsDirectory: true } as const;
const member = z.strictObject({ name, network: name });

export const groupOperations = [
  operation({
    ...SHARED,
    id: 'listGroups',
    method: 'get',
    path: '/v1/groups',
    summary: 'All groups of networks',
    answer: z.array(GROUP),
    handle: (agent: RulesAgent) => {
      const view = directoryOf(agent);
      return [...view.groups()].map((group) => describe(view, group)).sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  }),
  operation({
    ...SHARED,
    id: 'createGroup',
    method: 'post',
    path: '/v1/groups',
    summary: 'Makes a group, without networks. On a server of the cluster',
    body: z.strictObject({ name }),
    answer: GROUP,
    errors: ['conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { body }) => {
      await agent.rules.createGroup(body.name);
      return { name: body.name, networks: [] };
    },
  }),
  operation({
    ...SHARED,
    id: 'showGroup',
    method: 'get',
    path: '/v1/groups/{name}',
    summary: 'One group',
    parameters: byName,
    answer: GROUP,
    errors: ['not-found'],
    handle: (agent: RulesAgent, { parameters }) => show(directoryOf(agent), parameters.name),
  }),
  operation({
    ...SHARED,
    id: 'deleteGroup',
    method: 'delete',
    path: '/v1/groups/{name}',
    summary: 'Deletes a group; its networks stay, and are connected no more. On a server of the cluster',
    parameters: byName,
    answer: z.object({}),
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters }) => {
      await agent.rules.deleteGroup(parameters.name);
      return {};
    },
  }),
  operation({
    ...SHARED,
    id: 'addMember',
    method: 'put',
    path: '/v1/groups/{name}/networks/{network}',
    summary: 'Puts a network into a group. On a server of the cluster',
    parameters: member,
    answer: GROUP,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters }) => {
      const view = directoryOf(agent);
      await agent.rules.addMember(parameters.name, findNetwork(view, parameters.network).id);
      return show(view, parameters.name);
    },
  }),
  operation({
    ...SHARED,
    id: 'removeMember',
    method: 'delete',
    path: '/v1/groups/{name}/networks/{network}',
    summary: 'Takes a network out of a group. On a server of the cluster',
    parameters: member,
    answer: GROUP,
    errors: ['not-found', 'conflict', 'unavailable'],
    handle: async (agent: RulesAgent, { parameters }) => {
      const view = directoryOf(agent);
      await agent.rules.removeMember(parameters.name, findNetwork(view, parameters.network).id);
      return show(view, parameters.name);
    },
  }),
];

function show(view: DirectoryView, group: string): ShownGroup {
  return describe(view, existingGroup(view, group));
}

function describe(view: DirectoryView, group: GroupRow): ShownGroup {
  const networks = group.networkIds.flatMap((id) => view.network(id) ?? []);
  return { name: group.name, networks: networks.map(networkLabel).sort() };
}
