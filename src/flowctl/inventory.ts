// What exists: host, networks, endpoints and the policy over them. One for all datapaths. Changes are checked here, so
// that whatever is in it can be programmed; what they mean for flows is told by others.

import { cidrsOverlap, formatCidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { EndpointIndex, NO_SLOT } from './endpoint-index';
import { Relays } from './relays';
import type { FlowEndpoint, FlowHost, FlowNetwork, FlowPeer, Policy } from './model';
import type { OutsideEnd } from './route-flows';
import { OUTSIDE } from './route-table';
import type { EndpointRow } from './static-flows';

const MAX_KEY = 0xffffffff;
/** What 16 bits of a cookie leave for pools. */
const MAX_POOLS = 1024;

export class Inventory {
  readonly endpoints: EndpointIndex;
  readonly relays = new Relays();
  private readonly networks = new Map<number, FlowNetwork>();
  private readonly keys = new Map<string, number>();

  private knownHost: FlowHost | undefined;
  private readonly peers = new Map<Ipv4, FlowPeer>();

  /** `datapathId`: the datapath of endpoints that name none. */
  constructor(
    private knownPolicy: Policy,
    datapathId?: string,
  ) {
    this.endpoints = new EndpointIndex(datapathId);
  }

  get hasHost(): boolean {
    return this.knownHost !== undefined;
  }

  /** The host, which is told before anything is programmed. */
  get host(): FlowHost {
    if (this.knownHost === undefined) throw new DaoliError('internal', 'the controller was not told its host');
    return this.knownHost;
  }

  set host(host: FlowHost) {
    this.knownHost = host;
    this.endpoints.locatorBase = host.locatorRange.base;
    this.endpoints.hostPortMac = host.hostPort?.mac ?? 0;
  }

  get policy(): Policy {
    return this.knownPolicy;
  }

  /** Asks the new policy for every endpoint's subject. */
  set policy(policy: Policy) {
    this.knownPolicy = policy;
    for (let slot = 0; slot < this.endpoints.slotLimit; slot += 1) this.refreshSubject(slot);
  }

  /** Asks the policy what it knows an endpoint as now. True where that has changed. */
  refreshSubject(slot: number): boolean {
    const { endpoints, policy } = this;
    const id = endpoints.idOf(slot);
    if (id === undefined) return false;
    const subject = policy.subjectOf(id, endpoints.networkKeyOf(slot)) >>> 0;
    if (subject === endpoints.subjectOf(slot)) return false;
    endpoints.setSubject(slot, subject);
    return true;
  }

  /** The ports that are not endpoints': the host port and the fabric port. */
  ownPorts(): number[] {
    const { hostPort, fabric } = this.host;
    return [hostPort?.portNo, fabric?.portNo].filter((portNo) => portNo !== undefined);
  }

  /** Enters another host, or replaces the one of its locator. */
  setPeer(peer: FlowPeer): void {
    this.peers.set(peer.locator, peer);
  }

  /** Idempotent. */
  removePeer(locator: Ipv4): void {
    this.peers.delete(locator);
  }

  /** The host whose own locator this is. */
  peerAt(locator: Ipv4): FlowPeer | undefined {
    return this.peers.get(locator);
  }

  /**
   * Enters a network or replaces the one of its id. Throws `invalid` for keys out of range, `conflict` where the key, or
   * a pool in the tenant, is another network's, or where key or tenant would change under endpoints.
   */
  setNetwork(network: FlowNetwork): void {
    this.checkNetwork(network);
    const before = this.keys.get(network.id);
    if (before !== undefined) this.networks.delete(before);
    this.networks.set(network.key, network);
    this.keys.set(network.id, network.key);
  }

  private checkNetwork(network: FlowNetwork): void {
    const { id, key, tenant } = network;
    const inRange = (value: number) => Number.isInteger(value) && value >= 1 && value <= MAX_KEY;
    if (!inRange(key) || !inRange(tenant)) {
      throw new DaoliError('invalid', `network ${id}: key ${key} and tenant ${tenant} are 1 to ${MAX_KEY}`, id);
    }
    if (network.pools.length > MAX_POOLS) {
      throw new DaoliError('invalid', `network ${id} has more than ${MAX_POOLS} pools`, id);
    }
    const before = this.networkOfId(id);
    if (before !== undefined && (before.key !== key || before.tenant !== tenant) && this.isUsed(before)) {
      throw new DaoliError('conflict', `network ${id} has endpoints: its key and tenant cannot change`, id);
    }
    for (const other of this.networks.values()) {
      if (other.id !== id) refuseOverlap(network, other);
    }
  }

  /** Takes a network away. Idempotent. Throws `conflict` where it has endpoints. */
  removeNetwork(id: string): FlowNetwork | undefined {
    const network = this.networkOfId(id);
    if (network === undefined) return undefined;
    if (this.isUsed(network)) {
      throw new DaoliError('conflict', `network ${id} has endpoints: remove them first`, id);
    }
    this.networks.delete(network.key);
    this.keys.delete(id);
    return network;
  }

  network(key: number): FlowNetwork | undefined {
    return this.networks.get(key);
  }

  networkOfId(id: string): FlowNetwork | undefined {
    const key = this.keys.get(id);
    return key === undefined ? undefined : this.networks.get(key);
  }

  /** Every network. */
  allNetworks(): Iterable<FlowNetwork> {
    return this.networks.values();
  }

  /** Throws what `addEndpoint` would throw, if the endpoint of this id were not there. */
  checkEndpoint(endpoint: FlowEndpoint): void {
    this.endpoints.check(endpoint, this.networkFor(endpoint));
  }

  /** Enters an endpoint and returns its slot. Throws `not-found` where its network is not there; see EndpointIndex. */
  addEndpoint(endpoint: FlowEndpoint): number {
    const subject = this.policy.subjectOf(endpoint.id, endpoint.networkKey) >>> 0;
    return this.endpoints.add(endpoint, this.networkFor(endpoint), subject);
  }

  /** The slot of exactly this endpoint, if it is there already. */
  slotOfSame(endpoint: FlowEndpoint): number {
    const slot = this.endpoints.slotOfId(endpoint.id);
    return slot !== NO_SLOT && this.endpoints.holds(slot, endpoint, this.networkFor(endpoint)) ? slot : NO_SLOT;
  }

  /** Has the network at this key no way to and from the outside? True also where there is no such network. */
  isInternal(networkKey: number): boolean {
    return this.networks.get(networkKey)?.internal ?? true;
  }

  /** An endpoint as its flows need it. Allocates: not for the packet path. */
  rowOf(slot: number): EndpointRow & OutsideEnd {
    const { endpoints } = this;
    return {
      portNo: endpoints.portNoOf(slot),
      mac: endpoints.hopTo(slot),
      ip: endpoints.ipOf(slot),
      locator: endpoints.locatorOf(slot),
      tenant: endpoints.tenantOf(slot),
      networkKey: endpoints.networkKeyOf(slot),
    };
  }

  /** The port of this datapath that the packets of an end come in on: an endpoint here, one elsewhere, or OUTSIDE. */
  portNoFrom(slot: number): number {
    const { endpoints, host } = this;
    if (slot === OUTSIDE || endpoints.isTunnelled(slot)) return host.hostPort?.portNo ?? 0;
    return endpoints.isElsewhere(slot) ? (host.fabric?.portNo ?? 0) : endpoints.portNoOf(slot);
  }

  private networkFor(endpoint: FlowEndpoint): FlowNetwork {
    const network = this.networks.get(endpoint.networkKey);
    if (network !== undefined) return network;
    throw new DaoliError(
      'not-found',
      `endpoint ${endpoint.id} is of network ${endpoint.networkKey}, which does not exist`,
      endpoint.id,
    );
  }

  private isUsed(network: FlowNetwork): boolean {
    return this.endpoints.countOfNetwork(network.key) > 0;
  }
}

function refuseOverlap(network: FlowNetwork, other: FlowNetwork): void {
  if (other.key === network.key) {
    throw new DaoliError('conflict', `key ${network.key} of network ${network.id} is network ${other.id}'s`, other.id);
  }
  if (other.tenant !== network.tenant) return;
  for (const pool of network.pools) {
    const theirs = other.pools.find((candidate) => cidrsOverlap(candidate, pool));
    if (theirs === undefined) continue;
    const what = `pool ${formatCidr(pool)} of network ${network.id} overlaps ${formatCidr(theirs)}`;
    throw new DaoliError('conflict', `${what} of network ${other.id} in the same tenant`, other.id);
  }
}
