// From typed rows back to rows as the OVSDB client gives them: the server sends changes of sets and maps as differences,
// so the client needs the row before. For the two tables that grow with the containers it is made from the typed row when
// it is asked for, instead of being kept beside it: this halves the memory of an endpoint.

import { formatIpv4, formatMac } from '../base/addresses';
import type { Uuid } from '../ovsdb/notation';
import type { StoredRow } from '../ovsdb/rows';
import type { EndpointRecord } from './endpoint-record';
import type { RawRow } from './row-decoding';
import type { AddressRow, HostRow, NetworkRow, PoolRow, TenantRow } from './rows';

/** The tables of which only typed rows are kept. */
export type TypedOnlyTable = 'Address' | 'Endpoint';

/** Finds the rows that typed rows name. */
export interface RowFinder {
  host(name: string): HostRow | undefined;
  tenant(name: string): TenantRow | undefined;
  network(id: NetworkRow['id']): NetworkRow | undefined;
  pool(id: PoolRow['id']): PoolRow | undefined;
}

export function encodeAddress(row: AddressRow, rows: RowFinder): RawRow {
  return {
    tenant: rows.tenant(row.tenant)?.uuid,
    address: formatIpv4(row.address),
    pool: rows.pool(row.poolId)?.uuid,
    use: row.use,
    mac: row.mac === undefined ? undefined : formatMac(row.mac),
    holders: row.holders.map((name) => rows.host(name)?.uuid),
    since: row.since,
  };
}

export function encodeEndpoint(row: EndpointRecord, rows: RowFinder): RawRow {
  return {
    id: row.id,
    network: rows.network(row.networkId)?.uuid,
    address: row.addressUuid,
    mac: formatMac(row.mac),
    host: rows.host(row.host)?.uuid,
    locator: formatIpv4(row.locator),
    port_no: row.portNo,
    interface: row.interfaceName,
    sandbox: row.sandbox,
    container_id: row.containerId,
    container_name: row.containerName,
    aliases: row.aliases,
    service: row.service,
    labels: row.labels,
    published_ports: [...row.publishedPorts.map((port) => port.uuid), ...row.unknownPorts],
    created: row.created,
  };
}

/** Where the typed rows of one table are. */
export interface TypedRows {
  has(uuid: Uuid): boolean;
  uuids(): Iterable<Uuid>;
  raw(uuid: Uuid): RawRow | undefined;
}

/**
 * The rows of one table for the OVSDB client: those that came since the last `settle` as they are, all others made from
 * their typed rows. A new one knows none of the others until it is settled for the first time: it receives a whole
 * snapshot, while the one before it still answers for the typed rows.
 */
export class TypedOnlyRows extends Map<Uuid, StoredRow> {
  private readonly gone = new Set<Uuid>();
  private isSettled = false;

  constructor(private readonly typed: TypedRows) {
    super();
  }

  /** The typed rows have what came since the last time. Rows that make no sense have no typed row, and are kept. */
  settle(): void {
    this.isSettled = true;
    this.gone.clear();
    for (const uuid of super.keys()) if (this.typed.has(uuid)) super.delete(uuid);
  }

  override has(uuid: Uuid): boolean {
    return super.has(uuid) || this.isBacked(uuid);
  }

  override get(uuid: Uuid): StoredRow | undefined {
    const recent = super.get(uuid);
    if (recent !== undefined || !this.isBacked(uuid)) return recent;
    return { ...this.typed.raw(uuid), _uuid: uuid };
  }

  override set(uuid: Uuid, row: StoredRow): this {
    this.gone.delete(uuid);
    return super.set(uuid, row);
  }

  override delete(uuid: Uuid): boolean {
    const wasThere = this.has(uuid);
    super.delete(uuid);
    if (wasThere) this.gone.add(uuid);
    return wasThere;
  }

  override *[Symbol.iterator](): MapIterator<[Uuid, StoredRow]> {
    yield* super.entries();
    for (const uuid of this.isSettled ? this.typed.uuids() : []) {
      const row = super.has(uuid) ? undefined : this.get(uuid);
      if (row !== undefined) yield [uuid, row];
    }
  }

  private isBacked(uuid: Uuid): boolean {
    return this.isSettled && !this.gone.has(uuid) && this.typed.has(uuid);
  }
}
