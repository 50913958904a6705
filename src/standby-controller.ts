// A controller for the datapath of another host, as that host's own would be: it knows what there is from the directory, seen
// from that host, and from what the host has told of its datapath. Nothing of the host but its datapath is changed by it.

import type { Cidr } from './base/addresses';
import type { Clock } from './base/clock';
import { messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { endpointState, type DirectoryChange, type EndpointRow, type NetworkId } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import { flowNetworkOf } from './driver/network-pools';
import { flowEndpointOf } from './driver/wiring';
import { flowHostOf, type FlowProfile } from './flow-profile';
import { Controller } from './flowctl/controller';
import { Neighbours } from './neighbours';
import { PolicyFollower } from './policy-follower';
import { RelayFollower } from './relay-follower';

/** What is worked out of the host around the datapath is in these. */
const HOST_TABLES: readonly DirectoryChange['table'][] = ['Host', 'Tunnel', 'Switch'];

export interface StandbyControllerParts {
  readonly store: Pick<DirectoryStore, 'view' | 'onChange'>;
  /** Whose datapath it is. */
  readonly host: string;
  /** What it has told of it: also later, when it is another. */
  readonly profile: () => FlowProfile;
  readonly locatorRange: Cidr;
  /** Of this host: what its own ports may ask a second, that datapath may. */
  readonly settings: { readonly packetInRate: number };
  readonly clock: Clock;
  readonly logger: Logger;
}

export class StandbyController {
  readonly controller: Controller;
  private readonly neighbours: Neighbours;
  private readonly policies: PolicyFollower;
  private readonly relays: RelayFollower;
  private stopFollowing = (): void => undefined;

  constructor(private readonly parts: StandbyControllerParts) {
    const { store, host, profile, locatorRange, clock, logger } = parts;
    const { packetInRate: packetInsPerSecond } = parts.settings;
    // Other hosts' controllers are told nothing: a word is taken from the host alone whose endpoint it is about.
    this.controller = new Controller({ clock, logger, packetInsPerSecond, settings: profile().settings });
    const { controller } = this;
    const seen = { view: store.view, host };
    const networks = { tellController: (id: NetworkId) => this.attempt(id, () => this.tellNetwork(id)) };
    this.policies = new PolicyFollower(seen, controller);
    // The kernel's routes of that host stay as they are.
    this.relays = new RelayFollower({ store: seen, locatorRange, controller, setRelayed: () => undefined });
    this.neighbours = new Neighbours({ settings: { locatorRange }, store: seen, controller, networks, logger });
  }

  /**
   * Enters all that there is, and follows it from now on. To be done before a datapath is adopted, which is compared with it.
   * What cannot be entered is left out, and told.
   */
  async load(): Promise<void> {
    const { store, host } = this.parts;
    this.tellHost();
    this.policies.load();
    this.relays.load();
    await this.neighbours.load();
    for (const endpoint of store.view.endpointsOn(host)) this.tellOwn(endpoint);
    this.stopFollowing = store.onChange((changes) => this.take(changes));
  }

  /** Idempotent. */
  stop(): void {
    this.stopFollowing();
  }

  /** What went comes first, so that the address of who has moved to another host is free when that is told. */
  private take(changes: readonly DirectoryChange[]): void {
    const { host } = this.parts;
    if (changes.some(({ table }) => HOST_TABLES.includes(table))) this.tellHost();
    for (const change of changes) {
      if (change.table !== 'Endpoint' || change.kind !== 'delete' || change.previous.host !== host) continue;
      const { id } = change.previous;
      void this.attempt(id, () => this.controller.removeEndpoint(id));
    }
    this.neighbours.take(changes);
    for (const change of changes) {
      if (change.table === 'Endpoint' && change.kind !== 'delete' && change.row.host === host) this.tellOwn(change.row);
    }
    this.policies.take(changes);
    this.relays.take(changes);
  }

  /** Nothing where that host's row has gone: what it was holds until it is not to be served any more. */
  private tellHost(): void {
    const { store, host, profile, locatorRange } = this.parts;
    const flowHost = flowHostOf(store.view, host, { ...profile(), locatorRange });
    if (flowHost !== undefined) this.controller.setHost(flowHost);
  }

  /** An endpoint of that host, from its Join to its Leave. */
  private tellOwn(endpoint: EndpointRow): void {
    const { controller } = this;
    const network = this.parts.store.view.network(endpoint.networkId);
    const isThere = network !== undefined && endpointState(endpoint) === 'joined';
    void this.attempt(endpoint.id, () =>
      isThere ? controller.addEndpoint(flowEndpointOf(endpoint, network)) : controller.removeEndpoint(endpoint.id),
    );
  }

  private tellNetwork(id: NetworkId): void {
    const { view } = this.parts.store;
    const network = view.network(id);
    if (network !== undefined) this.controller.setNetwork(flowNetworkOf(view, network));
  }

  private async attempt(id: string, tell: () => unknown): Promise<void> {
    const { logger, host } = this.parts;
    try {
      await tell();
    } catch (error) {
      logger.info('the datapath of another host has not confirmed a change', { host, id, error: messageOf(error) });
    }
  }
}
