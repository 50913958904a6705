// Whom this host has to do with: the hosts that it needs a tunnel to, where it reaches them by one. These are the hosts of
// containers that its own may talk to, the hosts of its firewall rules, those that it stands by for or with, or that stand by
// for it, and the servers; a server needs all. Whoever needs another host is needed by it, since both ask the same of the same
// rows.
//
// Containers come and go far more often than the answer changes, so hosts are counted by network as endpoints come and go,
// and a change costs as much as it is large.

import { connectedWith } from '../directory/conditions';
import { companionsOf } from '../directory/companions';
import { RuleContainers } from '../directory/rule-containers';
import type { DirectoryChange, EndpointRow, NetworkId } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

/** Tables that say which networks are connected. */
const RULES: ReadonlySet<DirectoryChange['table']> = new Set(['Network', 'Group', 'Pair', 'Policy']);

export class NeededHosts {
  /** How many endpoints of a network are on a host. */
  private readonly counts = new Map<NetworkId, Map<string, number>>();
  /** Networks that this host's containers may talk to; undefined where it has to be found out anew. */
  private networks: ReadonlySet<NetworkId> | undefined;
  private readonly containers: RuleContainers;

  constructor(
    private readonly view: DirectoryView,
    private readonly own: string,
  ) {
    this.containers = new RuleContainers(view);
    for (const endpoint of view.endpoints()) this.count(endpoint, 1);
  }

  /** Takes what one transaction changed. True where other hosts may be needed now. */
  take(changes: readonly DirectoryChange[]): boolean {
    let matters = this.containers.take(changes);
    for (const change of changes) matters = this.takeChange(change) || matters;
    return matters;
  }

  /** The names of the hosts that are needed at this moment. */
  hosts(): ReadonlySet<string> {
    const { view, own } = this;
    const hosts = new Set<string>();
    const isServer = view.host(own)?.isServer === true;
    for (const host of view.hosts()) if (isServer || host.isServer) hosts.add(host.name);
    if (!isServer) {
      this.networks ??= this.connected();
      for (const id of this.networks) for (const host of this.counts.get(id)?.keys() ?? []) hosts.add(host);
      for (const host of this.hostsOfRules()) hosts.add(host);
      for (const host of companionsOf(view, own)) hosts.add(host);
    }
    hosts.delete(own);
    return hosts;
  }

  private takeChange(change: DirectoryChange): boolean {
    if (change.table === 'Endpoint') {
      const before = change.kind === 'insert' ? undefined : change.previous;
      const after = change.kind === 'delete' ? undefined : change.row;
      const isMoved = before?.host !== after?.host || before?.networkId !== after?.networkId;
      const isFirst = isMoved && after !== undefined && this.count(after, 1);
      const isLast = isMoved && before !== undefined && this.count(before, -1);
      return isFirst || isLast;
    }
    if (change.table === 'Switch') {
      // Another master, of another generation, stands in a row that is decoded anew: the backups are the same all the same.
      return change.kind !== 'modify' || !sameNames(change.row.backups, change.previous.backups);
    }
    if (RULES.has(change.table)) this.networks = undefined;
    return change.table === 'Host' || RULES.has(change.table);
  }

  /** True where it is the first of its network on its host, or was the last. */
  private count({ networkId, host }: EndpointRow, step: 1 | -1): boolean {
    const hosts = this.counts.get(networkId) ?? new Map<string, number>();
    this.counts.set(networkId, hosts);
    const number = (hosts.get(host) ?? 0) + step;
    if (number > 0) hosts.set(host, number);
    else hosts.delete(host);
    if (hosts.size === 0) this.counts.delete(networkId);
    const hasChanged = number === 0 || (number === 1 && step === 1);
    if (hasChanged && host === this.own) this.networks = undefined;
    return hasChanged;
  }

  private connected(): ReadonlySet<NetworkId> {
    const { view, own } = this;
    const networks = new Set<NetworkId>();
    for (const [id, hosts] of this.counts) {
      const network = hosts.has(own) ? view.network(id) : undefined;
      if (network === undefined) continue;
      networks.add(id);
      for (const other of connectedWith(view, network)) networks.add(other.id);
    }
    return networks;
  }

  /** Ports of one host that lead to a container of another: either side needs the other. */
  private *hostsOfRules(): Iterable<string> {
    for (const rule of this.view.firewallRules()) {
      for (const { host } of this.containers.joinedOf(rule)) {
        if (rule.host === this.own) yield host;
        else if (host === this.own) yield rule.host;
      }
    }
  }
}

function sameNames(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((name) => others.includes(name));
}
