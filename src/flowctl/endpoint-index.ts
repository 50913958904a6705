// All endpoints, in columns: typed arrays, eight words an endpoint, found by address, locator, port or id without
// allocating. An endpoint's `slot` is its row; it stays the same until the endpoint is removed and is used again then.
// Knows nothing of flows. 100,000 endpoints take some 200 bytes each, the id's text included.

import { formatIpv4, type Ipv4, type Mac } from '../base/addresses';
import { compactId, fullId, type CompactId } from '../base/compact-id';
import { DaoliError } from '../base/errors';
import { AddressTables } from './address-tables';
import type { FlowEndpoint, FlowNetwork, LocalLocation } from './model';
import { ABSENT, PairMap } from './pair-map';
import { REMOTE_PLACE } from './pipeline';

/** No such endpoint. */
export const NO_SLOT = -1;
/** OFPP_MAX of OpenFlow 1.0, which is what OVS numbers ports up to. */
export const MAX_PORT_NO = 0xfeff;
/** In place of the number of a datapath, which has 16 bits: on another host, by the fabric or by a tunnel. */
const ELSEWHERE = 0xffff;
const TUNNELLED = 0xfffe;

const WORDS = 8;
const IP = 0;
const LOCATOR = 1;
/** The number of its datapath, and the upper 16 bits of its MAC; of one on another host, that host's router MAC. */
const DATAPATH_AND_MAC_HIGH = 2;
const MAC_LOW = 3;
/** Its place: its port, or what stands for one that is elsewhere (REMOTE_PLACE). */
const PORT_NO = 4;
const NETWORK = 5;
const TENANT = 6;
/** What the policy knows it as. In its row, since a first packet looks at nothing else of it. */
const SUBJECT = 7;

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
  /** The host port's MAC, by which endpoints behind a tunnel are reached. */
  hostPortMac = 0;

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
   * Adds an endpoint, which the policy knows as `subject`, and returns its slot. Throws `conflict` where its id, address, locator or port is somebody else's,
   * and `invalid` where its place has no number.
   */
  add(endpoint: FlowEndpoint, network: FlowNetwork, subject = network.key): number {
    this.check(endpoint, network);
    if (this.byId.has(compactId(endpoint.id))) throw taken('the id', endpoint, endpoint.id);
    const { mac, place, datapath } = this.locate(endpoint);
    const slot = this.free.pop() ?? this.ids.length;
    this.reserve(slot);
    this.words.set(
      [
        endpoint.ip,
        endpoint.locator,
        datapath * 0x1_0000 + Math.floor(mac / 0x1_0000_0000),
        mac >>> 0,
        place,
        network.key,
        network.tenant,
        subject,
      ],
      slot * WORDS,
    );
    const id = compactId(endpoint.id);
    this.ids[slot] = id;
    this.byId.set(id, slot);
    this.addresses.set(network.tenant, endpoint.ip, slot);
    this.byLocator.set(0, endpoint.locator, slot);
    if (datapath < TUNNELLED) this.setPort(datapath, place, slot + 1);
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
    const datapath = location.isTunnelled === true ? TUNNELLED : ELSEWHERE;
    return { mac: location.routerMac, place: this.placeOf(endpoint), datapath };
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
    return this.datapathNoOf(slot) >= TUNNELLED;
  }
  /** Is it on another host, and reached by a tunnel? */
  isTunnelled(slot: number): boolean {
    return this.datapathNoOf(slot) === TUNNELLED;
  }

  ipOf(slot: number): Ipv4 {
    return this.words[slot * WORDS + IP]! as Ipv4;
  }
  locatorOf(slot: number): Ipv4 {
    return this.words[slot * WORDS + LOCATOR]! as Ipv4;
  }
  macOf(slot: number): Mac {
    const high = this.words[slot * WORDS + DATAPATH_AND_MAC_HIGH]! & 0xffff;
    return (high * 0x1_0000_0000 + this.words[slot * WORDS + MAC_LOW]!) as Mac;
  }
  /** The MAC that it is reached by: its own, that of its host, or the host port's where a tunnel leads there. */
  hopTo(slot: number): Mac {
    return this.isTunnelled(slot) ? (this.hostPortMac as Mac) : this.macOf(slot);
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
    return this.words[slot * WORDS + DATAPATH_AND_MAC_HIGH]! >>> 16;
  }
  subjectOf(slot: number): number {
    return this.words[slot * WORDS + SUBJECT]!;
  }
  setSubject(slot: number, subject: number): void {
    this.words[slot * WORDS + SUBJECT] = subject;
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
