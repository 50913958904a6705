// An endpoint's row in little memory: 100,000 of them have to fit into an agent. What Docker's habits let follow from
// something else is not kept (the customary interface name, the alias that is the container's short id), and ids of 64
// hexadecimal digits are kept as their 32 bytes. What a row shows is the same either way.

import type { Ipv4, Mac } from '../base/addresses';
import { compactId, flat, fullId, type CompactId } from '../base/compact-id';
import type { Uuid } from '../ovsdb/notation';
import type { AddressRow, EndpointId, EndpointRow, NetworkId, PoolId, PublishedPortRow } from './rows';

/** Where Docker keeps the network namespaces of its sandboxes. */
const SANDBOX_FOLDER = '/var/run/docker/netns/';
const SHORT_ID_LENGTH = 12;
/** In front of what is kept shorter than it is; what is kept as it is has PLAIN there. */
const SHORTENED = '#';
const PLAIN = '=';

/** The interface on br-int of an endpoint. Interface names have at most 15 characters. */
export function customaryInterface(endpointId: string): string {
  return `dl${endpointId.slice(0, 11)}`;
}

function compactSandbox(sandbox: string): string {
  return flat(sandbox.startsWith(SANDBOX_FOLDER) ? SHORTENED + sandbox.slice(SANDBOX_FOLDER.length) : PLAIN + sandbox);
}

function fullSandbox(sandbox: string): string {
  return sandbox.startsWith(PLAIN) ? sandbox.slice(1) : SANDBOX_FOLDER + sandbox.slice(1);
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** As JSON; labels of one image are one text in V8's memory only by chance, so they are short at least. */
function flatten(labels: ReadonlyMap<string, string>): string | undefined {
  return labels.size === 0 ? undefined : flat(JSON.stringify([...labels]));
}

function unflatten(text: string): ReadonlyMap<string, string> {
  return new Map(JSON.parse(text) as [string, string][]);
}

/** The columns that are not in the row of its address. */
export type EndpointColumns = Omit<EndpointRow, 'tenant' | 'address' | 'poolId' | 'addressUuid'> & {
  /** Published ports whose rows are not in this replica. */
  readonly unknownPorts: readonly Uuid[];
};

export class EndpointRecord implements EndpointRow {
  readonly uuid: Uuid;
  readonly networkId: NetworkId;
  readonly prefix: number;
  readonly mac: Mac;
  readonly host: string;
  readonly locator: Ipv4;
  readonly portNo: number;
  readonly containerName: string | undefined;
  readonly service: string | undefined;
  readonly publishedPorts: readonly PublishedPortRow[];
  readonly unknownPorts: readonly Uuid[];
  readonly created: number;
  readonly compactId: CompactId;
  private readonly compactContainerId: CompactId | undefined;
  private readonly compactSandbox: string | undefined;
  /** Undefined: the customary one. */
  private readonly ownInterface: string | undefined;
  /** Undefined: none. One text in place of a map and its texts. */
  private readonly flatLabels: string | undefined;
  /** Undefined: the container's short id alone. */
  private readonly ownAliases: readonly string[] | undefined;

  /** Of `addressRow` only what never changes is read: a newer one need not replace it. */
  constructor(
    columns: EndpointColumns,
    private readonly addressRow: AddressRow,
  ) {
    const { id, containerId, sandbox, interfaceName, aliases } = columns;
    this.uuid = columns.uuid;
    this.networkId = columns.networkId;
    this.prefix = columns.prefix;
    this.mac = columns.mac;
    this.host = columns.host;
    this.locator = columns.locator;
    this.portNo = columns.portNo;
    this.containerName = columns.containerName;
    this.service = columns.service;
    this.flatLabels = flatten(columns.labels);
    this.publishedPorts = columns.publishedPorts;
    this.unknownPorts = columns.unknownPorts;
    this.created = columns.created;
    this.compactId = compactId(id);
    this.compactContainerId = containerId === undefined ? undefined : compactId(containerId);
    this.compactSandbox = sandbox === undefined ? undefined : compactSandbox(sandbox);
    this.ownInterface = interfaceName === customaryInterface(id) ? undefined : interfaceName;
    const isCustomary = aliases.length === 1 && aliases[0] === containerId?.slice(0, SHORT_ID_LENGTH);
    this.ownAliases = isCustomary ? undefined : aliases;
  }

  get id(): EndpointId {
    return fullId(this.compactId) as EndpointId;
  }
  get tenant(): string {
    return this.addressRow.tenant;
  }
  get address(): Ipv4 {
    return this.addressRow.address;
  }
  get poolId(): PoolId {
    return this.addressRow.poolId;
  }
  get addressUuid(): Uuid {
    return this.addressRow.uuid;
  }
  get interfaceName(): string {
    return this.ownInterface ?? customaryInterface(this.id);
  }
  get sandbox(): string | undefined {
    return this.compactSandbox === undefined ? undefined : fullSandbox(this.compactSandbox);
  }
  get labels(): ReadonlyMap<string, string> {
    return this.flatLabels === undefined ? NO_LABELS : unflatten(this.flatLabels);
  }
  get containerId(): string | undefined {
    return this.compactContainerId === undefined ? undefined : fullId(this.compactContainerId);
  }
  get aliases(): readonly string[] {
    return this.ownAliases ?? [this.containerId?.slice(0, SHORT_ID_LENGTH) ?? ''];
  }
}
