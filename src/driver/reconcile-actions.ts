// What each action of a reconciliation does. It takes its turn among the calls of Docker, looks at the directory again,
// and does nothing where the plan is out of date. Every action can be repeated.

import { releaseAddress } from '../directory/endpoint-operations';
import { releasePool } from '../directory/operations';
import type { EndpointId, EndpointRow, NetworkId, PoolId } from '../directory/rows';
import type { Ops, PlanContext } from '../directory/store';
import { addressState } from '../directory/view';
import type { Ipv4 } from '../base/addresses';
import type { Deadline } from './deadline';
import { linkNamesOf } from './link-names';
import type { NetworkDriver } from './network-driver';
import type { DriverParts } from './ports';
import { type Action, isStray } from './reconcile';

const SETTLE_MS = 10_000;

export class ReconcileActions {
  /** Within this time after its last call for an endpoint, Docker lists it or has let go of it: its calls end within 8 s. */
  private readonly settleMs: number;

  /** A network that Docker called for within the last `graceMs` is not forgotten, nor an endpoint within the last 10 s. */
  constructor(
    private readonly driver: NetworkDriver,
    private readonly parts: DriverParts,
    private readonly graceMs: number,
  ) {
    this.settleMs = Math.min(graceMs, SETTLE_MS);
  }

  /** Resolves with whether it was still to be done. Throws what went wrong, and may be called again then. */
  async perform(action: Action): Promise<boolean> {
    const { wiring, publishing, networks } = this.driver;
    switch (action.kind) {
      case 'set-network':
        await networks.tellController(action.networkId);
        return true;
      case 'attach':
        return this.whileJoined(action.endpointId, (endpoint, deadline) => wiring.attach(endpoint, deadline));
      case 'restore-ports':
        return this.whileJoined(action.endpointId, (endpoint, deadline) => publishing.restore(endpoint, deadline));
      case 'adopt-endpoint':
        return this.adoptEndpoint(action);
      case 'disconnect':
        return this.disconnect(action.endpointId);
      case 'remove-port':
        if (this.isLinkOfSomebody(action.name)) return false;
        await this.parts.switch.removePort(action.name);
        return true;
      case 'delete-link':
        if (this.isLinkOfSomebody(action.name)) return false;
        this.parts.links.deleteLink(action.name);
        return true;
      case 'forget-endpoint':
        return this.forgetEndpoint(action.endpointId);
      case 'release-address':
        return this.releaseAddress(action.poolId, action.address);
      case 'forget-network':
        return this.forgetNetwork(action.networkId);
      case 'release-pool':
        return this.releasePool(action.poolId);
    }
  }

  private whileJoined(
    id: EndpointId,
    task: (endpoint: EndpointRow, deadline: Deadline) => Promise<void>,
  ): Promise<boolean> {
    return this.driver.calls.runOnOwn(id, async (deadline) => {
      const endpoint = this.joined(id);
      if (endpoint === undefined) return false;
      await task(endpoint, deadline);
      return true;
    });
  }

  private joined(endpointId: string): EndpointRow | undefined {
    const { view, host } = this.parts.store;
    const endpoint = view.endpoint(endpointId as EndpointId);
    return endpoint?.sandbox !== undefined && endpoint.host === host ? endpoint : undefined;
  }

  private adoptEndpoint(adoption: Extract<Action, { kind: 'adopt-endpoint' }>): Promise<boolean> {
    const { endpointId: id, networkId, interface: given } = adoption;
    return this.driver.calls.runOnOwn(id, async (deadline) => {
      if (this.parts.store.view.endpoint(id) !== undefined || this.driver.calls.wasCalled(id, this.settleMs))
        return false;
      await this.driver.endpoints.adopt({ endpointId: id, networkId, ...given }, deadline);
      return true;
    });
  }

  /** Not between CreateEndpoint and Join, when the port is being made already. */
  private disconnect(endpointId: string): Promise<boolean> {
    return this.driver.calls.runOnOwn(endpointId, async (deadline) => {
      const { view, host } = this.parts.store;
      if (!isStray(view, host, endpointId) || this.driver.calls.wasCalled(endpointId, this.graceMs)) return false;
      await this.driver.wiring.disconnect(endpointId, deadline);
      return true;
    });
  }

  private isLinkOfSomebody(name: string): boolean {
    const { view, host } = this.parts.store;
    for (const { id } of view.endpointsOn(host)) if (Object.values(linkNamesOf(id)).includes(name)) return true;
    return false;
  }

  private forgetEndpoint(id: EndpointId): Promise<boolean> {
    return this.driver.calls.runOnOwn(id, async (deadline) => {
      const endpoint = this.parts.store.view.endpoint(id);
      if (endpoint === undefined || this.driver.calls.wasCalled(id, this.settleMs)) return false;
      await this.driver.endpoints.forget(endpoint, deadline, 'released');
      return true;
    });
  }

  private forgetNetwork(id: NetworkId): Promise<boolean> {
    return this.driver.calls.runOnOwn(id, async (deadline) => {
      const { view, host } = this.parts.store;
      const isUsed = [...view.endpointsOf(id)].some((endpoint) => endpoint.host === host);
      if (isUsed || this.driver.calls.wasCalled(id, this.graceMs)) return false;
      await this.driver.networks.forget(id, deadline, 'lost');
      return true;
    });
  }

  private releaseAddress(poolId: PoolId, address: Ipv4): Promise<boolean> {
    return this.write((context) => {
      const pool = context.view.pool(poolId);
      const row = pool && context.view.addressHolder(pool.tenant, address);
      const isReserved = row !== undefined && addressState(context.view, row) === 'reserved';
      return isReserved ? releaseAddress(context, poolId, address) : [];
    });
  }

  private releasePool(id: PoolId): Promise<boolean> {
    return this.write((context) => {
      const pool = context.view.pool(id);
      return pool !== undefined && pool.networkId === undefined ? releasePool(context, id) : [];
    });
  }

  private write(plan: (context: PlanContext) => Ops): Promise<boolean> {
    return this.parts.store.transact((context) => {
      const ops = plan(context);
      return { ops, result: ops.length > 0 };
    });
  }
}
