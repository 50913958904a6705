// What other hosts write into the directory, told to this host's controller: networks, the hosts themselves, and their
// endpoints. Of one change, what went is told before what came, so an address that moves is free when it arrives.

import { messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { hostLocator } from './directory/allocation';
import { endpointState, type DirectoryChange, type EndpointRow, type HostRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import { flowEndpointOf } from './driver/wiring';
import type { Networks } from './driver/network';
import type { Controller } from './flowctl/controller';
import type { Settings } from './settings';

export interface NeighboursParts {
  readonly settings: Pick<Settings, 'locatorRange'>;
  readonly store: DirectoryStore;
  readonly controller: Pick<Controller, 'addEndpoint' | 'removeEndpoint' | 'removeNetwork' | 'setPeer' | 'removePeer'>;
  readonly networks: Pick<Networks, 'tellController'>;
  readonly logger: Logger;
}

/** Another host of the site: one that peers can reach. */
export function isPeer(row: HostRow, host: string): boolean {
  return row.name !== host && row.address !== undefined;
}

export class Neighbours {
  constructor(private readonly parts: NeighboursParts) {}

  /** Tells everything that there is. Before the first datapath connects, so that it keeps its routes. */
  async load(): Promise<void> {
    const { view, host } = this.parts.store;
    for (const network of view.networks()) await this.parts.networks.tellController(network.id);
    for (const peer of view.hosts()) this.tellHost(peer);
    for (const endpoint of view.endpoints()) if (endpoint.host !== host) this.tellEndpoint(endpoint);
  }

  /** Tells what one transaction changed. */
  take(changes: readonly DirectoryChange[]): void {
    for (const change of changes) this.takeChange(change);
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
    const isThere = peer !== undefined && isPeer(peer, store.host) && endpointState(endpoint) === 'joined';
    if (network === undefined || !isThere) return this.attempt(endpoint.id, controller.removeEndpoint(endpoint.id));
    const location = { kind: 'remote', routerMac: peer.routerMac } as const;
    this.attempt(endpoint.id, controller.addEndpoint({ ...flowEndpointOf(endpoint, network), location }));
  }

  private tellHost(row: HostRow, previous?: HostRow): void {
    const { store, controller, settings } = this.parts;
    if (row.name === store.host) return;
    const locator = hostLocator(row, settings.locatorRange);
    const before = previous && hostLocator(previous, settings.locatorRange);
    if (before !== undefined && before !== locator) controller.removePeer(before);
    if (locator !== undefined && row.address !== undefined) {
      controller.setPeer({ routerMac: row.routerMac, locator, address: row.address });
    }
    const isSame = previous?.routerMac === row.routerMac && previous.address === row.address;
    if (previous === undefined || isSame) return;
    for (const endpoint of store.view.endpointsOn(row.name)) this.tellEndpoint(endpoint);
  }

  private forgetHost(previous: HostRow): void {
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
