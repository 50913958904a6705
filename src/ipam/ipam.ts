// The addresses of networks with `--ipam-driver daolinet`: pools and addresses requested and released, each as one
// transaction of the directory, which is where they are kept. Calls for different addresses run side by side.

import type { Cidr, Ipv4 } from '../base/addresses';
import { KeyedQueue } from '../base/keyed-queue';
import { releaseAddress } from '../directory/endpoint-operations';
import { releasePool } from '../directory/operations';
import type { PoolId } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { AddressCursors, planAddress, type GivenAddress } from './addresses';
import { planPool, type GivenPool } from './pools';
import type { AddressRequest, PoolRequest } from './schemas';

export interface IpamOptions {
  readonly store: DirectoryStore;
  /** Knows the destinations of the host's routes. */
  readonly host: { hostRoutes(): Promise<ReadonlyArray<{ readonly destination: Cidr }>> };
  /** Where pools come from that the user leaves open. */
  readonly defaultPools: Cidr;
  /** No pool may overlap it. */
  readonly locatorRange: Cidr;
}

/** As many containers may be starting at the same time. */
const MAX_WAITING = 4096;

export class Ipam {
  private readonly cursors = new AddressCursors();
  private readonly queue = new KeyedQueue(MAX_WAITING);

  constructor(private readonly options: IpamOptions) {}

  /** RequestPool. Throws `invalid`, `conflict`, `exhausted`, `unavailable`. */
  requestPool(request: PoolRequest): Promise<GivenPool> {
    const { store, defaultPools: within, locatorRange: locators } = this.options;
    return this.queue.run(`tenant ${request.tenant}`, async () => {
      const routes = request.cidr === undefined ? await this.options.host.hostRoutes() : [];
      const defaults = { within, locators, routes: routes.map((route) => route.destination) };
      return store.transact((context) => planPool(context, request, defaults));
    });
  }

  /** ReleasePool. Idempotent. */
  async releasePool(poolId: PoolId): Promise<void> {
    await this.write((context) => releasePool(context, poolId));
    this.cursors.forget(poolId);
  }

  /** RequestAddress. Idempotent for the same MAC address or the same purpose. Throws as planAddress. */
  requestAddress(request: AddressRequest): Promise<GivenAddress> {
    const { store } = this.options;
    const plan = async () => {
      // What is free is what is not there: the pool has to be known whole. A gateway's address is known everywhere.
      if (request.use !== 'gateway') await store.follow({ pool: request.poolId });
      return store.transact((context) => planAddress(context, request, this.cursors));
    };
    // A request that comes twice at once is answered once; those without a MAC address cannot be told apart.
    return request.mac === undefined ? plan() : this.queue.run(`${request.poolId} ${request.mac}`, plan);
  }

  /** ReleaseAddress. Idempotent. An address whose endpoint is still there stays until that is gone. */
  releaseAddress(poolId: PoolId, address: Ipv4): Promise<void> {
    return this.write((context) => releaseAddress(context, poolId, address));
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.options.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
