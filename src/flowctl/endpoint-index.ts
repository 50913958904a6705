// All endpoints, in columns: typed arrays, eight words an endpoint, found by address, locator, port or id without
// allocating. An endpoint's `slot` is its row; it stays the same until the endpoint is removed and is used again then.
// Knows nothing of flows. 100,000 endpoints take some 200 bytes each, the id's text included.

import { formatIpv4, type Ipv4, type Mac } from '../base/addresses';
import { compactId, fullId, type CompactId } from '../base/compact-id';
import { DaoliError } from '../base/errors';
import { AddressTables } from './address-tables';
import type { FlowEndpoint, FlowNetwork, LocalLocation, PolicyEndpoint } from './model';
import { ABSENT, PairMap } from './pair-map';
import { REMOTE_PLACE } from './pipeline';

/** No such endpoint. */
export const NO_SLOT = -1;
/** OFPP_MAX of OpenFlow 1.0, which is what OVS numbers ports up to. */
export const MAX_PORT_NO = 0xfeff;
/** In place of the number of a datapath: on another host. */
export const ELSEWHERE = 0xffffffff;

const WORDS = 8;
const IP = 0;
const LOCATOR = 1;
/** The endpoint's MAC, 16 bits of it; of one on another host, that host's router MAC. */
const MAC_HIGH = 2;
const MAC_LOW = 3;
/** Its place: its port, or what stands for one that is elsewhere (REMOTE_PLACE). */
const PORT_NO = 4;
const NETWORK = 5;
const TENANT = 6;
const DATAPATH = 7;

/** A row to read in the policy; `at` says which. */
export class EndpointView implements PolicyEndpoint {
  private row = 0;
  constructor(private readonly index: EndpointIndex) {}
  at(slot: number): this {
    this.row = slot;
    return this;
  }
  get networkKey(): number {
    return this.index.networkKeyOf(this.row);
  }
  get tenant(): number {
    return this.index.tenantOf(this.row);
  }
  get ip(): Ipv4 {
    return this.index.ipOf(this.row);
  }
}

export class EndpointIndex {
  private words = new Uint32Array(16 * WORDS);
  private readonly ids: (CompactId | undefined)[] = [];
  private readonly free: number[] = [];
  private readonly byId = new Map<CompactId, number>();
  private readonly addresses = new AddressTables();
  private readonly byLocator = new PairMap();
  /** Per datapath: port number → slot + 1. */
  private readonly byPort: Uint32Array[] = [];
  private readonly datapaths = new Map<string, number>();

  /** The first address of the locator range: places of endpoints on other hosts are counted from it. */
  locatorBase = 0;

  /** `datapathId`: the datapath of endpoints that name none, where it is known. */
  constructor(private readonly datapathId?: string) {}

  get size(): number {
    return this.byId.size;
  }

  /** Slots are below this. */
  get slotLimit(): number {
    return this.ids.length;
  }

  /** The number of a datapath: 0 is the one that no endpoint names. */
  datapathOf(datapathId: string | undefined): number {
    if (datapathId === undefined || datapathId === this.datapathId) return 0;
    return this.datapaths.get(datapathId) ?? 0;
  }

  /**
   * Adds an endpoint and returns its slot. Throws `conflict` where its id, address, locator or port is somebody else's,
   * and `invalid` where its place has no number.
   */
  add(endpoint: FlowEndpoint, network: FlowNetwork): number {
    this.check(endpoint, network);
    if (this.byId.has(compactId(endpoint.id))) throw taken('the id', endpoint, endpoint.id);
    const { mac, place, datapath } = this.locate(endpoint);
    const slot = this.free.pop() ?? this.ids.length;
    this.reserve(slot);
    this.words.set(
      [
        endpoint.ip,
        endpoint.locator,
        Math.floor(mac / 0x1_0000_0000),
        mac >>> 0,
        place,
        network.key,
        network.tenant,
        datapath,
      ],
      slot * WORDS,
    );
    const id = compactId(endpoint.id);
    this.ids[slot] = id;
    this.byId.set(id, slot);
    this.addresses.set(network.tenant, endpoint.ip, slot);
    this.byLocator.set(0, endpoint.locator, slot);
    if (datapath !== ELSEWHERE) this.setPort(datapath, place, slot + 1);
    return slot;
  }

  /** Throws what `add` would throw, if the endpoint of this id were not there. */
  check(endpoint: FlowEndpoint, network: FlowNetwork): void {
    const claims: [string, number][] = [
      [`the address ${formatIpv4(endpoint.ip)}`, this.slotOfAddress(network.tenant, endpoint.ip)],
      [`the locator ${formatIpv4(endpoint.locator)}`, this.slotOfLocator(endpoint.locator)],
    ];
    const { location } = endpoint;
    if (location.kind === 'local') claims.push([`port ${location.portNo}`, this.slotAtPort(endpoint.id, location)]);
    else this.placeOf(endpoint);
    for (const [what, slot] of claims) {
      const owner = slot === NO_SLOT ? endpoint.id : this.idOf(slot);
      if (owner !== endpoint.id) throw taken(what, endpoint, owner ?? '');
    }
  }

  /** Whose the port is. Throws `invalid` for a number that no port has. */
  private slotAtPort(id: string, { portNo, datapathId }: LocalLocation): number {
    if (!Number.isInteger(portNo) || portNo < 1 || portNo > MAX_PORT_NO) {
      throw new DaoliError('invalid', `port number ${portNo} is not from 1 to ${MAX_PORT_NO}`, id);
    }
    const isKnown = datapathId === undefined || datapathId === this.datapathId || this.datapathOf(datapathId) !== 0;
    return isKnown ? this.slotOfPort(this.datapathOf(datapathId), portNo) : NO_SLOT;
  }

  /** What stands for a port of an endpoint on another host. Throws `invalid` for a locator outside of the range. */
  private placeOf(endpoint: FlowEndpoint): number {
    const number = endpoint.locator - this.locatorBase;
    if (number >= 0 && number < REMOTE_PLACE) return REMOTE_PLACE + number;
    const locator = formatIpv4(endpoint.locator);
    throw new DaoliError(
      'invalid',
      `the locator ${locator} of endpoint ${endpoint.id} is outside of the range`,
      locator,
    );
  }

  private locate(endpoint: FlowEndpoint): { mac: Mac; place: number; datapath: number } {
    const { location, mac } = endpoint;
    if (location.kind === 'local') {
      return { mac, place: location.portNo, datapath: this.openDatapath(location.datapathId) };
    }
    return { mac: location.routerMac, place: this.placeOf(endpoint), datapath: ELSEWHERE };
  }

  remove(slot: number): void {
    const id = this.ids[slot];
    if (id === undefined) return;
    this.byId.delete(id);
    this.addresses.delete(this.tenantOf(slot), this.ipOf(slot));
    this.byLocator.delete(0, this.locatorOf(slot));
    if (!this.isElsewhere(slot)) this.setPort(this.datapathNoOf(slot), this.portNoOf(slot), 0);
    this.ids[slot] = undefined;
    this.free.push(slot);
  }

  slotOfId(id: string): number {
    return this.byId.get(compactId(id)) ?? NO_SLOT;
  }

  *allIds(): Iterable<string> {
    for (const id of this.byId.keys()) yield fullId(id);
  }

  /** Is there an endpoint at this slot? */
  isTaken(slot: number): boolean {
    return this.ids[slot] !== undefined;
  }

  slotOfAddress(tenant: number, ip: number): number {
    const slot = this.addresses.get(tenant, ip);
    return slot === ABSENT ? NO_SLOT : slot;
  }

  slotOfLocator(locator: number): number {
    const slot = this.byLocator.get(0, locator);
    return slot === ABSENT ? NO_SLOT : slot;
  }

  slotOfPort(datapath: number, portNo: number): number {
    const ports = this.byPort[datapath];
    return ports === undefined || portNo >= ports.length ? NO_SLOT : ports[portNo]! - 1;
  }

  /** The endpoint at a place of a datapath: a port of it, or on another host. */
  slotOfPlace(datapath: number, place: number): number {
    if (place < REMOTE_PLACE) return this.slotOfPort(datapath, place);
    const slot = this.slotOfLocator(this.locatorBase + place - REMOTE_PLACE);
    return slot !== NO_SLOT && this.isElsewhere(slot) ? slot : NO_SLOT;
  }

  isElsewhere(slot: number): boolean {
    return this.words[slot * WORDS + DATAPATH]! === ELSEWHERE;
  }

  ipOf(slot: number): Ipv4 {
    return this.words[slot * WORDS + IP]! as Ipv4;
  }
  locatorOf(slot: number): Ipv4 {
    return this.words[slot * WORDS + LOCATOR]! as Ipv4;
  }
  macOf(slot: number): Mac {
    return (this.words[slot * WORDS + MAC_HIGH]! * 0x1_0000_0000 + this.words[slot * WORDS + MAC_LOW]!) as Mac;
  }
  macHighOf(slot: number): number {
    return this.words[slot * WORDS + MAC_HIGH]!;
  }
  macLowOf(slot: number): number {
    return this.words[slot * WORDS + MAC_LOW]!;
  }
  portNoOf(slot: number): number {
    return this.words[slot * WORDS + PORT_NO]!;
  }
  networkKeyOf(slot: number): number {
    return this.words[slot * WORDS + NETWORK]!;
  }
  tenantOf(slot: number): number {
    return this.words[slot * WORDS + TENANT]!;
  }
  datapathNoOf(slot: number): number {
    return this.words[slot * WORDS + DATAPATH]!;
  }
  idOf(slot: number): string | undefined {
    const id = this.ids[slot];
    return id && fullId(id);
  }

  /** Is the row exactly this endpoint? */
  holds(slot: number, endpoint: FlowEndpoint, network: FlowNetwork): boolean {
    const { mac, place, datapath } = this.locate(endpoint);
    return (
      this.ids[slot] === compactId(endpoint.id) &&
      this.ipOf(slot) === endpoint.ip &&
      this.locatorOf(slot) === endpoint.locator &&
      this.macOf(slot) === mac &&
      this.portNoOf(slot) === place &&
      this.networkKeyOf(slot) === network.key &&
      this.tenantOf(slot) === network.tenant &&
      this.datapathNoOf(slot) === datapath
    );
  }

  /** Calls back with the slot of every endpoint on a datapath. */
  forEachOn(datapath: number, visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.ids.length; slot += 1) {
      if (this.ids[slot] !== undefined && this.datapathNoOf(slot) === datapath) visit(slot);
    }
  }

  countOfNetwork(networkKey: number): number {
    let count = 0;
    for (let slot = 0; slot < this.ids.length; slot += 1) {
      if (this.ids[slot] !== undefined && this.networkKeyOf(slot) === networkKey) count += 1;
    }
    return count;
  }

  private openDatapath(datapathId: string | undefined): number {
    if (datapathId === undefined || datapathId === this.datapathId) return 0;
    const known = this.datapaths.get(datapathId);
    if (known !== undefined) return known;
    const number = this.datapaths.size + 1;
    this.datapaths.set(datapathId, number);
    return number;
  }

  private reserve(slot: number): void {
    if ((slot + 1) * WORDS <= this.words.length) return;
    const grown = new Uint32Array(Math.ceil(this.words.length * 1.5));
    grown.set(this.words);
    this.words = grown;
  }

  private setPort(datapath: number, portNo: number, value: number): void {
    let ports = this.byPort[datapath] ?? new Uint32Array(16);
    if (portNo >= ports.length) {
      const grown = new Uint32Array(Math.min(MAX_PORT_NO + 1, Math.max(portNo + 1, ports.length * 2)));
      grown.set(ports);
      ports = grown;
    }
    ports[portNo] = value;
    this.byPort[datapath] = ports;
  }
}

function taken(what: string, endpoint: FlowEndpoint, owner: string): DaoliError {
  return new DaoliError('conflict', `${what} of endpoint ${endpoint.id} is in use by endpoint ${owner}`, owner);
}
