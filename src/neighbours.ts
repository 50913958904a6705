// What other hosts write into the directory, told to this host's controller: networks, the hosts themselves, and their
// endpoints. Of one change, what went is told before what came, so an address that moves is free when it arrives.

import { messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { hostLocator } from './directory/allocation';
import { reachOf } from './directory/reach';
import { endpointState, type DirectoryChange, type EndpointRow, type HostRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import { flowEndpointOf } from './driver/wiring';
import type { Networks } from './driver/network';
import type { Controller } from './flowctl/controller';
import type { Settings } from './settings';

export interface NeighboursParts {
  readonly settings: Pick<Settings, 'locatorRange'>;
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  readonly controller: Pick<Controller, 'addEndpoint' | 'removeEndpoint' | 'removeNetwork' | 'setPeer' | 'removePeer'>;
  readonly networks: Pick<Networks, 'tellController'>;
  readonly logger: Logger;
}

export class Neighbours {
  /** How each other host is reached, as it was told. */
  private readonly ways = new Map<string, string>();

  constructor(private readonly parts: NeighboursParts) {}

  /** Tells everything that there is. Before the first datapath connects, so that it keeps its routes. */
  async load(): Promise<void> {
    const { view } = this.parts.store;
    for (const network of view.networks()) await this.parts.networks.tellController(network.id);
    for (const peer of view.hosts()) this.tellWay(peer);
  }

  /** Tells what one transaction changed. */
  take(changes: readonly DirectoryChange[]): void {
    for (const change of changes) this.takeChange(change);
    this.followReach(changes);
  }

  /** How hosts reach each other is in their rows and in those of their tunnels; this host's own are about all others. */
  private followReach(changes: readonly DirectoryChange[]): void {
    const { view, host } = this.parts.store;
    const names = new Set<string>();
    for (const change of changes) {
      if (change.table === 'Host') names.add((change.kind === 'delete' ? change.previous : change.row).name);
      if (change.table === 'Tunnel') names.add((change.kind === 'delete' ? change.previous : change.row).host);
    }
    if (names.size === 0) return;
    for (const other of view.hosts()) if (names.has(host) || names.has(other.name)) this.tellWay(other);
  }

  /** Tells a host and its endpoints anew, if the way there is another one than before. */
  private tellWay(other: HostRow): void {
    const { view, host } = this.parts.store;
    const reach = reachOf(view, host, other);
    const way = `${reach} ${other.routerMac} ${other.address}`;
    if (this.ways.get(other.name) === way) return;
    this.ways.set(other.name, way);
    this.tellHost(other);
    for (const endpoint of view.endpointsOn(other.name)) if (other.name !== host) this.tellEndpoint(endpoint);
  }

  private takeChange(change: DirectoryChange): void {
    switch (change.table) {
      case 'Host':
        if (change.kind === 'delete') this.forgetHost(change.previous);
        else this.tellHost(change.row, change.kind === 'modify' ? change.previous : undefined);
        return;
      case 'Network':
        if (change.kind === 'delete') this.forgetNetwork(change.previous.id);
        else this.tellNetwork(change.row.id);
        return;
      case 'Pool': {
        const { networkId } = change.kind === 'delete' ? change.previous : change.row;
        if (networkId !== undefined) this.tellNetwork(networkId);
        return;
      }
      case 'Endpoint': {
        const row = change.kind === 'delete' ? change.previous : change.row;
        if (row.host === this.parts.store.host) return;
        if (change.kind === 'delete') this.attempt(row.id, this.parts.controller.removeEndpoint(row.id));
        else this.tellEndpoint(row);
        return;
      }
    }
  }

  /** An endpoint of another host: from its Join to its Leave. */
  private tellEndpoint(endpoint: EndpointRow): void {
    const { store, controller } = this.parts;
    const network = store.view.network(endpoint.networkId);
    const peer = store.view.host(endpoint.host);
    const reach = peer && reachOf(store.view, store.host, peer);
    const isThere = reach !== undefined && endpointState(endpoint) === 'joined';
    if (network === undefined || peer === undefined || !isThere)
      return this.attempt(endpoint.id, controller.removeEndpoint(endpoint.id));
    const location = { kind: 'remote', routerMac: peer.routerMac, isTunnelled: reach === 'tunnel' } as const;
    this.attempt(endpoint.id, controller.addEndpoint({ ...flowEndpointOf(endpoint, network), location }));
  }

  private tellHost(row: HostRow, previous?: HostRow): void {
    const { store, controller, settings } = this.parts;
    if (row.name === store.host) return;
    const locator = hostLocator(row, settings.locatorRange);
    const before = previous && hostLocator(previous, settings.locatorRange);
    if (before !== undefined && before !== locator) controller.removePeer(before);
    if (locator !== undefined && row.address !== undefined) {
      const isTunnelled = reachOf(store.view, store.host, row) === 'tunnel';
      controller.setPeer({ routerMac: row.routerMac, locator, address: row.address, isTunnelled });
    }
  }

  private forgetHost(previous: HostRow): void {
    this.ways.delete(previous.name);
    const locator = hostLocator(previous, this.parts.settings.locatorRange);
    if (locator !== undefined) this.parts.controller.removePeer(locator);
  }

  private tellNetwork(id: Parameters<Networks['tellController']>[0]): void {
    this.attempt(id, this.parts.networks.tellController(id));
  }

  private forgetNetwork(id: string): void {
    try {
      this.parts.controller.removeNetwork(id);
    } catch (error) {
      this.complain(id, error);
    }
  }

  private attempt(id: string, told: Promise<unknown>): void {
    told.catch((error: unknown) => this.complain(id, error));
  }

  private complain(id: string, error: unknown): void {
    this.parts.logger.error('the controller could not be told of a change on another host', {
      id,
      error: messageOf(error),
    });
  }
}
