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
import type { FlowProfile } from './flow-profile';
import { Controller } from './flowctl/controller';
import { Neighbours } from './neighbours';
import { PolicyFollower } from './policy-follower';
import { RelayFollower } from './relay-follower';

export interface StandbyControllerParts {
  readonly store: Pick<DirectoryStore, 'view' | 'onChange'>;
  /** Whose datapath it is. */
  readonly host: string;
  readonly profile: FlowProfile;
  readonly locatorRange: Cidr;
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
    // Other hosts' controllers are told nothing: a word is taken from the host alone whose endpoint it is about.
    this.controller = new Controller({ clock, logger, settings: profile.settings });
    this.controller.setHost(profile.host);
    const { controller } = this;
    const seen = { view: store.view, host };
    const networks = { tellController: (id: NetworkId) => Promise.resolve(this.tellNetwork(id)) };
    this.policies = new PolicyFollower(seen, controller);
    // The kernel's routes of that host stay as they are.
    this.relays = new RelayFollower({ store: seen, locatorRange, controller, setRelayed: () => undefined });
    this.neighbours = new Neighbours({ settings: { locatorRange }, store: seen, controller, networks, logger });
  }

  /** Enters all that there is, and follows it from now on. To be done before a datapath is adopted, which is compared with it. */
  async load(): Promise<void> {
    const { store, host } = this.parts;
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

  private take(changes: readonly DirectoryChange[]): void {
    this.neighbours.take(changes);
    for (const change of changes) {
      if (change.table !== 'Endpoint') continue;
      const row = change.kind === 'delete' ? change.previous : change.row;
      if (row.host !== this.parts.host) continue;
      if (change.kind === 'delete') this.attempt(row.id, this.controller.removeEndpoint(row.id));
      else this.tellOwn(row);
    }
    this.policies.take(changes);
    this.relays.take(changes);
  }

  /** An endpoint of that host, from its Join to its Leave. */
  private tellOwn(endpoint: EndpointRow): void {
    const { controller } = this;
    const network = this.parts.store.view.network(endpoint.networkId);
    const isThere = network !== undefined && endpointState(endpoint) === 'joined';
    const told = isThere
      ? controller.addEndpoint(flowEndpointOf(endpoint, network))
      : controller.removeEndpoint(endpoint.id);
    this.attempt(endpoint.id, told);
  }

  private tellNetwork(id: NetworkId): void {
    const { view } = this.parts.store;
    const network = view.network(id);
    if (network !== undefined) this.controller.setNetwork(flowNetworkOf(view, network));
  }

  private attempt(id: string, told: Promise<unknown>): void {
    const { logger, host } = this.parts;
    told.catch((error: unknown) =>
      logger.info('the datapath of another host has not confirmed a change', { host, id, error: messageOf(error) }),
    );
  }
}
