// The life of an endpoint: CreateEndpoint writes it down, Join makes its veth pair, OVS port and flows (wiring.ts), Leave
// takes them away, DeleteEndpoint forgets it. Rows come first and effects after them; in the other direction effects go
// first: so whatever is cut short, the rows say what is left to do, and the same call, or the reconciler, finishes it.

import {
  formatCidr,
  formatIpv4,
  formatMac,
  parseIpv4,
  parseMac,
  type Cidr,
  type Ipv4,
  type Mac,
} from '../base/addresses';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { dnsAddressOf } from '../directory/allocation';
import { describeEndpoint, describeNetwork } from '../directory/descriptions';
import {
  deleteEndpoint,
  insertEndpoint,
  publishPorts,
  removeAddress,
  updateEndpoint,
} from '../directory/endpoint-operations';
import type { EndpointId, EndpointRow, NetworkId, NetworkRow } from '../directory/rows';
import type { Ops, PlanContext, Planned } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import { type CallQueue, settleAll } from './call-queue';
import type { Deadline } from './deadline';
import { linkNamesOf } from './link-names';
import { interfacePrefixOf } from './network-options';
import { gatewayOf, isInterfaceAddress, poolHolding, requireNetwork } from './network-pools';
import { parsePortMap } from './port-map';
import type { DriverParts } from './ports';
import type { Publishing } from './publishing';
import type { Wiring } from './wiring';
import type { CreateEndpointRequest, EndpointRequest, JoinRequest, ProgramRequest } from './schemas';

const DIRECTORY = 'the directory';

/** How the answer to Join says that a destination is on the link (libnetwork, types.CONNECTED). */
const CONNECTED = 1;

interface StaticRoute {
  readonly Destination: string;
  readonly RouteType: number;
  readonly NextHop: string;
}

interface Created {
  readonly mac: Mac;
  readonly isNew: boolean;
}

/** What Docker is told after Join. */
export interface JoinReply {
  readonly InterfaceName: { readonly SrcName: string; readonly DstPrefix: string };
  readonly Gateway: string;
  readonly StaticRoutes: readonly StaticRoute[];
  readonly DisableGatewayService: boolean;
}

/** What Docker has of an endpoint that the directory has lost. */
export interface AdoptedEndpoint {
  readonly endpointId: EndpointId;
  readonly networkId: NetworkId;
  /** "10.1.0.2" */
  readonly address: string;
  readonly mac: string;
  readonly sandbox: string;
}

export interface EndpointParts {
  readonly driver: DriverParts;
  readonly calls: CallQueue;
  readonly wiring: Wiring;
  readonly publishing: Publishing;
  readonly logger: Logger;
}

export class Endpoints {
  constructor(private readonly parts: EndpointParts) {}

  /** CreateEndpoint. Resolves with its MAC address. Idempotent for the same content; throws `conflict` for another. */
  async create(request: CreateEndpointRequest, deadline: Deadline): Promise<Mac> {
    const { address } = request;
    if (request.hasIpv6) {
      throw new DaoliError(
        'unsupported',
        'Interface.AddressIPv6: IPv6 is not supported yet: make the network without it',
      );
    }
    if (address === undefined) {
      throw new DaoliError('invalid', 'Interface.Address is empty: an endpoint needs an IPv4 address');
    }
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const { store } = this.parts.driver;
      // Before it is there: its first packet finds whoever else is in its network.
      await deadline.wait(DIRECTORY, store.follow({ network: request.networkId }));
      const planned = store.transact((context) => this.planCreate(context, request, address.address));
      const { mac, isNew } = await deadline.wait(DIRECTORY, planned);
      if (isNew) this.parts.wiring.prepareNext(request.endpointId);
      return mac;
    });
  }

  /**
   * Writes an endpoint down whose container runs and whose rows are lost, and connects it again, under another locator. In its
   * turn. Throws `conflict` where its address is somebody else's by now.
   */
  async adopt({ endpointId, networkId, address, mac, sandbox }: AdoptedEndpoint, deadline: Deadline): Promise<void> {
    const { store } = this.parts.driver;
    const wanted = { endpointId, networkId, mac: parseMac(mac), wantedMac: undefined };
    await deadline.wait(
      DIRECTORY,
      store.transact((context) => this.planCreate(context, wanted, parseIpv4(address))),
    );
    await deadline.wait(DIRECTORY, this.writeSandbox(endpointId, sandbox));
    // Its OVS port has the number that it had before.
    await this.parts.wiring.disconnect(endpointId, deadline);
    const endpoint = store.view.endpoint(endpointId);
    if (endpoint !== undefined) await this.parts.wiring.attach(endpoint, deadline);
  }

  /** Join. The veth pair, the OVS port and the flows are there when it resolves. Idempotent for the same sandbox. */
  async join(request: JoinRequest, deadline: Deadline): Promise<JoinReply> {
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const endpoint = this.require(request);
      if (endpoint.sandbox !== request.sandbox || !this.parts.wiring.isAttached(endpoint)) {
        // The endpoint's row is there: whichever of the two fails, the other leaves nothing that could not be found.
        await settleAll([
          () => deadline.wait(DIRECTORY, this.writeSandbox(endpoint.id, request.sandbox)),
          () => this.parts.wiring.connect(endpoint, deadline),
        ]);
      }
      return this.joinReply(endpoint);
    });
  }

  /** Leave: takes ports, flows and OVS port away. Docker gives the interface back, so the veth pair stays until then. */
  leave(request: EndpointRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const endpoint = this.find(request);
      if (endpoint === undefined) return;
      await this.parts.wiring.disconnect(endpoint.id, deadline);
      await deadline.wait(DIRECTORY, this.writeLeft(endpoint.id));
    });
  }

  /** DeleteEndpoint. Unknown ids succeed. */
  delete(request: EndpointRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const endpoint = this.find(request);
      if (endpoint !== undefined) await this.forget(endpoint, deadline);
    });
  }

  /** ProgramExternalConnectivity: publishes the ports of the endpoint's container. */
  program(request: ProgramRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const endpoint = this.require(request);
      const wishes = parsePortMap(request.portMap);
      // As with Docker's bridge, nothing is published from an internal network.
      if (this.networkOf(endpoint).internal) return;
      await this.parts.publishing.publish(endpoint, wishes, deadline);
    });
  }

  /** RevokeExternalConnectivity. Unknown ids succeed. */
  revoke(request: EndpointRequest, deadline: Deadline): Promise<void> {
    return this.parts.calls.run(request.endpointId, deadline, async () => {
      const endpoint = this.find(request);
      if (endpoint !== undefined) await this.parts.publishing.withdraw(endpoint, deadline);
    });
  }

  /**
   * Takes an endpoint away with all that it has. In its turn. Idempotent. `address` is what becomes of its address:
   * "kept" until Docker releases it, or "released", where Docker knows nothing of the endpoint and will not.
   */
  async forget(endpoint: EndpointRow, deadline: Deadline, address: 'kept' | 'released' = 'kept'): Promise<void> {
    await this.parts.wiring.disconnect(endpoint.id, deadline);
    this.parts.driver.links.deleteLink(endpoint.interfaceName);
    const rows = this.parts.driver.store.transact((context) => ({
      ops: [...deleteEndpoint(context, endpoint.id), ...(address === 'released' ? release(context, endpoint) : [])],
      result: undefined,
    }));
    await deadline.wait(DIRECTORY, rows);
    // The locator is given out again only when all others of the host have been: nobody waits for this.
    this.parts.driver.firewall.flushConnections(endpoint.locator).catch((error: unknown) => {
      const message = `tracked connections of an endpoint that is gone may be left: ${messageOf(error)}`;
      this.parts.logger.warn(message, { endpointId: endpoint.id });
    });
  }

  private planCreate(
    context: PlanContext,
    request: Pick<CreateEndpointRequest, 'endpointId' | 'networkId' | 'mac' | 'wantedMac'>,
    address: Ipv4,
  ): Planned<Created> {
    const { view } = context;
    const { endpointId: id, networkId } = request;
    const network = requireNetwork(view, request.networkId);
    const wanted = request.mac ?? request.wantedMac;
    const existing = view.endpoint(id);
    if (existing !== undefined) {
      const isSame = existing.networkId === networkId && existing.address === address && existing.host === context.host;
      if (isSame && (wanted === undefined || wanted === existing.mac)) {
        return { ops: [], result: { mac: existing.mac, isNew: false } };
      }
      const message = `${describeEndpoint(view, existing)} exists already, with address ${formatIpv4(existing.address)} and MAC address ${formatMac(existing.mac)}`;
      throw new DaoliError('conflict', message, id);
    }
    refuseAddress(view, network, address);
    const mac = wanted ?? this.randomMac();
    const interfaceName = linkNamesOf(id).host;
    const ops = insertEndpoint(context, { id, networkId, address, mac, interfaceName });
    return { ops, result: { mac, isNew: true } };
  }

  /** Locally administered, unicast (IEEE 802). */
  private randomMac(): Mac {
    const bytes = Buffer.from(this.parts.driver.randomBytes(6));
    bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
    return bytes.readUIntBE(0, 6) as Mac;
  }

  private joinReply(endpoint: EndpointRow): JoinReply {
    const { view } = this.parts.driver.store;
    const network = this.networkOf(endpoint);
    const pool = poolHolding(view, network.id, endpoint.address);
    const gateway = pool && !network.internal ? gatewayOf(view, network, pool) : undefined;
    const others = [...view.poolsOfNetwork(network.id)].filter((other) => other.id !== pool?.id);
    return {
      InterfaceName: { SrcName: linkNamesOf(endpoint.id).container, DstPrefix: interfacePrefixOf(network.options) },
      Gateway: gateway === undefined ? '' : formatIpv4(gateway),
      // Without a default route, the network's other subnets need their own, and whoever answers for names. ARP is answered
      // for every address.
      StaticRoutes: (gateway === undefined ? [...others.map(({ cidr }) => cidr), ...this.names()] : []).map((cidr) => ({
        Destination: formatCidr(cidr),
        RouteType: CONNECTED,
        NextHop: '',
      })),
      // Else libnetwork would lead a container without a gateway out by a bridge of its own, docker_gwbridge.
      DisableGatewayService: gateway === undefined,
    };
  }

  /** Where names of containers on other hosts are answered, in a cluster. */
  private names(): Cidr[] {
    const { store, settings } = this.parts.driver;
    const isAlone = store.view.host(store.host)?.address === undefined;
    return isAlone ? [] : [{ base: dnsAddressOf(settings.locatorRange), prefix: 32 }];
  }

  private writeSandbox(id: EndpointId, sandbox: string): Promise<void> {
    return this.parts.driver.store.transact((context) => ({
      ops: updateEndpoint(context, id, { sandbox }),
      result: undefined,
    }));
  }

  private writeLeft(id: EndpointId): Promise<void> {
    return this.parts.driver.store.transact((context) => {
      if (context.view.endpoint(id) === undefined) return { ops: [], result: undefined };
      const ops = [...publishPorts(context, id, []), ...updateEndpoint(context, id, { sandbox: undefined })];
      return { ops, result: undefined };
    });
  }

  private networkOf(endpoint: EndpointRow): NetworkRow {
    return requireNetwork(this.parts.driver.store.view, endpoint.networkId);
  }

  private find({ networkId, endpointId }: EndpointRequest): EndpointRow | undefined {
    const { view, host } = this.parts.driver.store;
    const endpoint = view.endpoint(endpointId);
    return endpoint?.networkId === networkId && endpoint.host === host ? endpoint : undefined;
  }

  private require(request: EndpointRequest): EndpointRow {
    const { view, host } = this.parts.driver.store;
    requireNetwork(view, request.networkId);
    const endpoint = this.find(request);
    if (endpoint !== undefined) return endpoint;
    const elsewhere = view.endpoint(request.endpointId);
    const network = describeNetwork(view, request.networkId);
    const id = request.endpointId.slice(0, 12);
    const problem =
      elsewhere === undefined
        ? `endpoint ${id} does not exist in ${network}: restart the container`
        : `${describeEndpoint(view, elsewhere)} is on host ${elsewhere.host}, not on ${host} in ${network}`;
    throw new DaoliError('not-found', problem, request.endpointId);
  }
}

/** Removes the address of an endpoint that goes in the same transaction, if no other host holds it. */
function release(context: PlanContext, endpoint: EndpointRow): Ops {
  const { view, host } = context;
  const row = view.endpoint(endpoint.id) && view.addressHolder(endpoint.tenant, endpoint.address);
  const isOnlyOurs = row !== undefined && row.holders.length > 0 && row.holders.every((holder) => holder === host);
  return isOnlyOurs ? removeAddress(context, row) : [];
}

function refuseAddress(view: DirectoryView, network: NetworkRow, address: Ipv4): void {
  const text = formatIpv4(address);
  const where = describeNetwork(view, network.id);
  const pool = poolHolding(view, network.id, address);
  if (pool === undefined) {
    const pools = [...view.poolsOfNetwork(network.id)].map(({ cidr }) => formatCidr(cidr)).join(', ');
    throw new DaoliError(
      'invalid',
      `Interface.Address: ${text} lies outside ${where} (${pools || 'without pools'})`,
      text,
    );
  }
  if (!isInterfaceAddress(pool.cidr, address)) {
    throw new DaoliError(
      'invalid',
      `Interface.Address: ${text} cannot be an interface's in ${formatCidr(pool.cidr)}`,
      text,
    );
  }
  if (address === gatewayOf(view, network, pool)) {
    throw new DaoliError('conflict', `Interface.Address: ${text} is the gateway of ${where}`, text);
  }
}
