// NetworkDriver.* by name: each body checked, handed to networks or endpoints, and the result in the wire's spelling.

import { formatMac } from '../base/addresses';
import type { Logger } from '../base/logger';
import type { Clock } from '../base/clock';
import type { NetworkId } from '../directory/rows';
import { CallQueue } from './call-queue';
import { Endpoints } from './endpoint';
import { Networks } from './network';
import type { PluginHandlers } from './plugin-app';
import type { DriverParts } from './ports';
import { Publishing } from './publishing';
import { parseRequest } from './schemas';
import { Wiring } from './wiring';

/** Networks are known on one engine; names resolve and policies hold over all of them. */
const CAPABILITIES = { Scope: 'local', ConnectivityScope: 'global', GwAllocChecker: true } as const;

export class NetworkDriver {
  readonly calls: CallQueue;
  readonly publishing: Publishing;
  readonly wiring: Wiring;
  readonly endpoints: Endpoints;
  readonly networks: Networks;

  constructor(
    private readonly parts: DriverParts,
    clock: Clock,
    logger: Logger,
  ) {
    this.calls = new CallQueue(clock);
    this.publishing = new Publishing(parts);
    this.wiring = new Wiring(parts, this.calls, this.publishing);
    const { calls, wiring, publishing } = this;
    this.endpoints = new Endpoints({ driver: parts, calls, wiring, publishing, logger });
    const { endpoints } = this;
    this.networks = new Networks({ driver: parts, calls, endpoints, publishing, logger });
  }

  readonly handlers: PluginHandlers = {
    'NetworkDriver.GetCapabilities': () => CAPABILITIES,
    // A gateway address is always wanted: it answers ping, and Docker adds a bridge of its own where there is none.
    'NetworkDriver.GwAllocCheck': () => ({ SkipIPv4: false, SkipIPv6: false }),
    // Of swarm's managers alone, which keep what is answered and hand it to every node.
    'NetworkDriver.AllocateNetwork': (body) => ({ Options: parseRequest.allocateNetwork(body).options }),
    'NetworkDriver.FreeNetwork': (body) => (parseRequest.network(body), {}),
    'NetworkDriver.CreateNetwork': async (body, deadline) => {
      await this.networks.create(parseRequest.createNetwork(body), deadline);
      return {};
    },
    'NetworkDriver.DeleteNetwork': async (body, deadline) => {
      await this.networks.delete(this.ours(parseRequest.network(body)), deadline);
      return {};
    },
    'NetworkDriver.CreateEndpoint': async (body, deadline) => {
      const request = this.ours(parseRequest.createEndpoint(body));
      const mac = await this.endpoints.create(request, deadline);
      // Docker refuses an answer that repeats what it has chosen itself.
      return { Interface: request.mac === undefined ? { MacAddress: formatMac(mac) } : {} };
    },
    'NetworkDriver.DeleteEndpoint': async (body, deadline) => {
      await this.endpoints.delete(this.ours(parseRequest.endpoint(body)), deadline);
      return {};
    },
    // Docker for Linux reads nothing of it.
    'NetworkDriver.EndpointOperInfo': (body) => (parseRequest.endpoint(body), { Value: {} }),
    'NetworkDriver.Join': (body, deadline) => this.endpoints.join(this.ours(parseRequest.join(body)), deadline),
    'NetworkDriver.Leave': async (body, deadline) => {
      await this.endpoints.leave(this.ours(parseRequest.endpoint(body)), deadline);
      return {};
    },
    'NetworkDriver.ProgramExternalConnectivity': async (body, deadline) => {
      await this.endpoints.program(this.ours(parseRequest.program(body)), deadline);
      return {};
    },
    'NetworkDriver.RevokeExternalConnectivity': async (body, deadline) => {
      await this.endpoints.revoke(this.ours(parseRequest.endpoint(body)), deadline);
      return {};
    },
    // Of swarm's nodes; the directory knows its hosts by itself.
    'NetworkDriver.DiscoverNew': () => ({}),
    'NetworkDriver.DiscoverDelete': () => ({}),
  };

  /** With our id of the network: this host's Docker may have it under another. */
  private ours<T extends { readonly networkId: NetworkId }>(request: T): T {
    const networkId = this.parts.store.view.networkOfDocker(request.networkId)?.id ?? request.networkId;
    return { ...request, networkId };
  }
}
