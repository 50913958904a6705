// Firewall rules whose port is on one host and whose container on another, told to the controllers of both: each works out its
// own part from its own replica of the directory, so a host lets in what a rule says, and not what another host says.

import type { Cidr, Ipv4 } from './base/addresses';
import { hostLocator } from './directory/allocation';
import { reachOf } from './directory/reach';
import { RuleContainers } from './directory/rule-containers';
import type { DirectoryChange, EndpointRow, FirewallRuleRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import type { Controller } from './flowctl/controller';
import type { FlowRelay, RelayService } from './flowctl/model';

export interface RelayFollowerParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  readonly locatorRange: Cidr;
  readonly controller: Pick<Controller, 'setRelays'>;
  /** Told the locators on other hosts that packets of this host's kernel are to reach. */
  readonly setRelayed: (locators: readonly Ipv4[]) => void;
}

export class RelayFollower {
  private readonly containers: RuleContainers;

  constructor(private readonly parts: RelayFollowerParts) {
    this.containers = new RuleContainers(parts.store.view);
  }

  /** Tells everything that there is. Before the first datapath connects, so that it keeps its flows. */
  load(): void {
    const relays = this.relays();
    this.parts.controller.setRelays(relays);
    this.parts.setRelayed(
      relays.flatMap((relay) => (relay.kind === 'away' && relay.isTunnelled !== true ? relay.locator : [])),
    );
  }

  /** Tells what one transaction changed. */
  take(changes: readonly DirectoryChange[]): void {
    const isReach = changes.some(({ table }) => table === 'Host' || table === 'Tunnel');
    if (this.containers.take(changes) || isReach) this.load();
  }

  private relays(): FlowRelay[] {
    const lanes = new Lanes();
    for (const rule of this.parts.store.view.firewallRules()) {
      const service: RelayService = { protocol: rule.protocol === 'udp' ? 'UDP' : 'TCP', port: rule.containerPort };
      for (const relay of this.relaysOf(rule)) lanes.add(relay, service);
    }
    return lanes.list();
  }

  private relaysOf(rule: FirewallRuleRow): RelayWithoutServices[] {
    const { view, host } = this.parts.store;
    const endpoints = this.containers.endpointsOf(rule);
    if (rule.host !== host) {
      return endpoints.filter((endpoint) => endpoint.host === host).flatMap((each) => this.here(rule, each) ?? []);
    }
    const [target] = endpoints;
    const other = target === undefined || target.host === host ? undefined : view.host(target.host);
    const reach = other && reachOf(view, host, other);
    if (target === undefined || other === undefined || reach === undefined) return [];
    const isTunnelled = reach === 'tunnel';
    return [{ kind: 'away', locator: target.locator, routerMac: other.routerMac, isTunnelled }];
  }

  /** From the port's host to an endpoint of this one. */
  private here(rule: FirewallRuleRow, endpoint: EndpointRow): RelayWithoutServices | undefined {
    const { store, locatorRange } = this.parts;
    const peer = store.view.host(rule.host);
    const reach = peer && reachOf(store.view, store.host, peer);
    const locator = peer === undefined || reach === undefined ? undefined : hostLocator(peer, locatorRange);
    if (peer === undefined || locator === undefined) return undefined;
    const { portNo, mac, address: ip, locator: own } = endpoint;
    const here = { portNo, mac, ip, locator: own };
    return {
      kind: 'here',
      peer: { locator, routerMac: peer.routerMac, isTunnelled: reach === 'tunnel' },
      endpoint: here,
    };
  }
}

type Without<T> = T extends FlowRelay ? Omit<T, 'services'> : never;
type RelayWithoutServices = Without<FlowRelay>;

/** Relays between the same two, of several rules, are one. */
class Lanes {
  private readonly lanes = new Map<string, { relay: RelayWithoutServices; services: Map<string, RelayService> }>();

  add(relay: RelayWithoutServices, service: RelayService): void {
    const key = relay.kind === 'away' ? `${relay.locator}` : `${relay.peer.locator} ${relay.endpoint.locator}`;
    const lane = this.lanes.get(key) ?? { relay, services: new Map<string, RelayService>() };
    lane.services.set(`${service.protocol} ${service.port}`, service);
    this.lanes.set(key, lane);
  }

  list(): FlowRelay[] {
    return [...this.lanes.values()].map(({ relay, services }) => ({
      ...relay,
      services: [...services.values()].sort(inOrder),
    }));
  }
}

function inOrder(a: RelayService, b: RelayService): number {
  if (a.protocol !== b.protocol) return a.protocol < b.protocol ? -1 : 1;
  return a.port - b.port;
}
