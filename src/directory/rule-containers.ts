// Which endpoints the containers of firewall rules have. There may be far more endpoints than rules name, so those that are
// named are kept apart, and all are gone through only when a rule names a container that none did before.

import type { DirectoryChange, EndpointId, EndpointRow, FirewallRuleRow } from './rows';
import type { DirectoryView } from './view';

/** What FirewallRule.status says where nothing is in the way. */
export const OPEN = 'open';

/** Whom a rule names. */
export interface NamedContainer {
  readonly name: string;
  /** Undefined: on whichever host it runs. */
  readonly host: string | undefined;
}

/** Reads "container:web" and "container:h1/web". Undefined for what names no container. */
export function namedBy({ container }: Pick<FirewallRuleRow, 'container'>): NamedContainer | undefined {
  const [, host, name] = /^container:(?:([^/]+)\/)?([^/]+)$/.exec(container) ?? [];
  return name === undefined ? undefined : { name, host };
}

/** The names of the containers that the ports of these hosts lead to. */
export function containersOf(view: Pick<DirectoryView, 'firewallRules'>, hosts: readonly string[]): Set<string> {
  const rules = [...view.firewallRules()].filter((rule) => hosts.includes(rule.host));
  return new Set(rules.flatMap((rule) => namedBy(rule)?.name ?? []));
}

/** The tables that tell what becomes of rules. */
const TABLES: ReadonlySet<DirectoryChange['table']> = new Set(['FirewallRule', 'Host', 'Network', 'Pool']);

export class RuleContainers {
  /** Ids by the container's name, for every name that a rule has. */
  private byName = new Map<string, Set<EndpointId>>();

  constructor(private readonly view: Pick<DirectoryView, 'firewallRules' | 'endpoints' | 'endpoint' | 'network'>) {
    this.nameAgain();
  }

  /** Takes what one transaction changed. True where it may matter to a rule. */
  take(changes: readonly DirectoryChange[]): boolean {
    let matters = false;
    for (const change of changes) {
      // Of a rule only its status is ever changed.
      if (change.table === 'FirewallRule' && change.kind === 'modify') continue;
      if (TABLES.has(change.table)) matters = true;
      if (change.table !== 'Endpoint') continue;
      if (change.kind !== 'insert') matters = this.drop(change.previous) || matters;
      if (change.kind !== 'delete') matters = this.enter(change.row) || matters;
    }
    if (changes.some(({ table }) => table === 'FirewallRule')) this.nameAgain();
    return matters;
  }

  /**
   * The endpoints that a rule may lead to: joined, of networks that are open to the outside, the oldest first. Who is there
   * longest keeps the rule where another container of that name appears.
   */
  endpointsOf(rule: FirewallRuleRow): EndpointRow[] {
    return this.joinedOf(rule)
      .filter(({ networkId }) => this.view.network(networkId)?.internal === false)
      .sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
  }

  /** Those of internal networks among them. */
  joinedOf(rule: FirewallRuleRow): EndpointRow[] {
    const named = namedBy(rule);
    if (named === undefined) return [];
    return [...(this.byName.get(named.name) ?? [])]
      .flatMap((id) => this.view.endpoint(id) ?? [])
      .filter((endpoint) => endpoint.sandbox !== undefined && (named.host ?? endpoint.host) === endpoint.host);
  }

  private nameAgain(): void {
    const names = new Set([...this.view.firewallRules()].flatMap((rule) => namedBy(rule)?.name ?? []));
    const before = this.byName;
    this.byName = new Map([...names].map((name) => [name, before.get(name) ?? new Set()]));
    const fresh = new Set([...names].filter((name) => !before.has(name)));
    if (fresh.size === 0) return;
    for (const endpoint of this.view.endpoints()) if (fresh.has(endpoint.containerName ?? '')) this.enter(endpoint);
  }

  private enter({ id, containerName }: EndpointRow): boolean {
    const ids = this.byName.get(containerName ?? '');
    ids?.add(id);
    return ids !== undefined;
  }

  private drop({ id, containerName }: EndpointRow): boolean {
    return this.byName.get(containerName ?? '')?.delete(id) === true;
  }
}
