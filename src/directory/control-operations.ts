// What people decide about the network, as operations of one transaction each; see operations.ts: groups of networks, pairs
// of containers, policies, and ports of hosts. Only servers of a cluster write these (src/cluster/inspection.ts).

import { formatCidr, formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { Uuid } from '../ovsdb/notation';
import { insert, isRow, mutate, remove, update, wait } from '../ovsdb/operations';
import { describeNetwork } from './descriptions';
import type { FirewallRuleRow, GroupRow, NetworkId, NetworkRow, PairRow, PolicyRow } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

/** Names of groups, policies and firewall rules. */
export const CONTROL_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

function checkName(what: string, name: string): void {
  if (CONTROL_NAME.test(name)) return;
  const rule = 'letters, digits, "_", "." and "-", at most 63, a letter or digit first';
  throw new DaoliError('invalid', `"${name}" is no name of a ${what}: it is made of ${rule}`, name);
}

/** A group without networks. Throws `invalid` for the name, `conflict` where it exists. */
export function insertGroup({ view, nowMs }: PlanContext, name: string): Ops {
  checkName('group', name);
  if (view.group(name) !== undefined) throw new DaoliError('conflict', `group ${name} exists already`, name);
  return [insert('Group', { name, networks: [], created: nowMs })];
}

/** Its networks are then as they are without it. */
export function deleteGroup(group: GroupRow): Ops {
  return [remove('Group', isRow(group.uuid))];
}

/**
 * Puts a network into a group. Nothing to do where it is in it. Throws `conflict` where the group has networks of another
 * tenant: an address of theirs may be another container's here.
 */
export function addMember({ view }: PlanContext, group: GroupRow, network: NetworkRow): Ops {
  if (group.networkIds.includes(network.id)) return [];
  const other = networksOf(view, group).find(({ tenant }) => tenant !== network.tenant);
  if (other !== undefined) {
    const [own, theirs] = [describeNetwork(view, network.id), describeNetwork(view, other.id)];
    const message = `${own} is of tenant ${network.tenant}, and group ${group.name} has ${theirs} of tenant ${other.tenant}`;
    const why = 'addresses of two tenants may be the same, so their networks cannot be connected';
    throw new DaoliError('conflict', `${message}: ${why}`, group.name);
  }
  return [waitForMembers(view, group), mutate('Group', isRow(group.uuid), [['networks', 'insert', [network.uuid]]])];
}

/** Throws `not-found` where the network is not in the group. */
export function removeMember({ view }: PlanContext, group: GroupRow, network: NetworkRow): Ops {
  if (!group.networkIds.includes(network.id)) {
    const what = describeNetwork(view, network.id);
    throw new DaoliError('not-found', `${what} is not in group ${group.name}`, group.name);
  }
  return [mutate('Group', isRow(group.uuid), [['networks', 'delete', [network.uuid]]])];
}

function networksOf(view: DirectoryView, group: GroupRow): NetworkRow[] {
  return group.networkIds.flatMap((id) => view.network(id) ?? []);
}

/** Two that put networks of different tenants in at once must not both succeed. */
function waitForMembers(view: DirectoryView, group: GroupRow) {
  return wait('Group', isRow(group.uuid), [{ networks: networksOf(view, group).map(({ uuid }): Uuid => uuid) }]);
}

const inOrder = (a: string, b: string): [string, string] => (a < b ? [a, b] : [b, a]);

/** The pair of two selectors, in whatever order. */
export function findPair(view: DirectoryView, a: string, b: string): PairRow | undefined {
  const [first, second] = inOrder(a, b);
  return [...view.pairs()].find((pair) => pair.a === first && pair.b === second);
}

/** Connects or disconnects two containers. Nothing to do where they are so already. */
export function setPair({ view, nowMs }: PlanContext, a: string, b: string, isConnected: boolean): Ops {
  const pair = findPair(view, a, b);
  if (pair?.isConnected === isConnected) return [];
  if (pair !== undefined) return [update('Pair', isRow(pair.uuid), { connected: isConnected })];
  const [first, second] = inOrder(a, b);
  return [insert('Pair', { a: first, b: second, connected: isConnected, created: nowMs })];
}

/** Networks and policies decide again. Nothing to do where nothing is said about the two. */
export function clearPair({ view }: PlanContext, a: string, b: string): Ops {
  const pair = findPair(view, a, b);
  return pair === undefined ? [] : [remove('Pair', isRow(pair.uuid))];
}

export type NewPolicy = Pick<PolicyRow, 'name' | 'action' | 'from' | 'to' | 'protocol' | 'ports'>;

/** A policy in front of the one named `before`, else last. Throws `invalid`, `conflict` and `not-found`. */
export function insertPolicy({ view, nowMs }: PlanContext, policy: NewPolicy, before: string | undefined): Ops {
  checkName('policy', policy.name);
  const policies = view.policies();
  if (policies.some(({ name }) => name === policy.name)) {
    throw new DaoliError('conflict', `policy ${policy.name} exists already: remove it first, or choose another name`);
  }
  const at = before === undefined ? policies.length : policies.findIndex(({ name }) => name === before);
  if (at < 0) throw new DaoliError('not-found', `policy ${before} does not exist`, before);
  const position = policies[at]?.position ?? (policies.at(-1)?.position ?? 0) + 1;
  // Those behind it move on by one; the index over positions refuses whoever decided at the same time.
  const behind = policies.slice(at).map((row) => update('Policy', isRow(row.uuid), { position: row.position + 1 }));
  return [...behind, insert('Policy', { ...policy, position, created: nowMs })];
}

export function deletePolicy(policy: PolicyRow): Ops {
  return [remove('Policy', isRow(policy.uuid))];
}

/** Whether containers of a network are connected by rules alone. Nothing to do where it is so already. */
export function setDefaultDeny({ view }: PlanContext, id: NetworkId, isDefaultDeny: boolean): Ops {
  const network = view.network(id);
  if (network === undefined) throw new DaoliError('not-found', `network ${id} does not exist`, id);
  if (network.isDefaultDeny === isDefaultDeny) return [];
  return [update('Network', isRow(network.uuid), { default_deny: isDefaultDeny })];
}

export interface NewFirewallRule {
  readonly name: string;
  readonly host: string;
  readonly protocol: FirewallRuleRow['protocol'];
  readonly hostIp: Ipv4;
  readonly hostPort: number;
  readonly container: string;
  readonly containerPort: number;
  readonly from: readonly Cidr[];
}

/** Throws `invalid` for the name, `not-found` for the host, `conflict` where the name or the port is another rule's. */
export function insertFirewallRule({ view, nowMs }: PlanContext, rule: NewFirewallRule): Ops {
  checkName('firewall rule', rule.name);
  const host = view.host(rule.host);
  if (host === undefined) throw new DaoliError('not-found', `host ${rule.host} does not exist`, rule.host);
  for (const other of view.firewallRules()) {
    if (other.name === rule.name) {
      throw new DaoliError('conflict', `firewall rule ${rule.name} exists already: choose another name`, rule.name);
    }
    if (sharesPort(other, rule)) {
      const port = `port ${rule.hostPort}/${rule.protocol} of host ${rule.host}`;
      const message = `${port} is taken by firewall rule ${other.name}, which leads to ${other.container}`;
      throw new DaoliError('conflict', `${message}: choose another port, or delete that rule`, other.name);
    }
  }
  const row = {
    name: rule.name,
    host: host.uuid,
    protocol: rule.protocol,
    host_ip: formatIpv4(rule.hostIp),
    host_port: rule.hostPort,
    container: rule.container,
    container_port: rule.containerPort,
    from: rule.from.map(formatCidr),
    created: nowMs,
  };
  return [insert('FirewallRule', row)];
}

function sharesPort(a: NewFirewallRule, b: NewFirewallRule): boolean {
  const isSamePort = a.host === b.host && a.protocol === b.protocol && a.hostPort === b.hostPort;
  return isSamePort && (a.hostIp === b.hostIp || a.hostIp === 0 || b.hostIp === 0);
}

export function deleteFirewallRule(rule: FirewallRuleRow): Ops {
  return [remove('FirewallRule', isRow(rule.uuid))];
}

/** What the port's host has made of a rule: "open", or what is in the way. Nothing to do where it says so already. */
export function tellFirewallStatus({ view }: PlanContext, name: string, status: string): Ops {
  const rule = [...view.firewallRules()].find((row) => row.name === name);
  return rule === undefined || rule.status === status ? [] : [update('FirewallRule', isRow(rule.uuid), { status })];
}
