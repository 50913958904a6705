// Address → slot, by tenant: a table for each, so that one tenant's packets touch little memory.

import { ABSENT, PairMap } from './pair-map';

/** `get` gives ABSENT for an address that nobody has. */
export class AddressTables {
  private readonly tables = new Map<number, PairMap>();
  // Packets of one tenant come in rows.
  private lastTenant = -1;
  private lastTable: PairMap | undefined;

  get(tenant: number, ip: number): number {
    if (tenant !== this.lastTenant) {
      this.lastTenant = tenant;
      this.lastTable = this.tables.get(tenant);
    }
    return this.lastTable === undefined ? ABSENT : this.lastTable.get(0, ip);
  }

  set(tenant: number, ip: number, slot: number): void {
    const table = this.tables.get(tenant) ?? new PairMap();
    table.set(0, ip, slot);
    this.tables.set(tenant, table);
    this.lastTenant = -1;
  }

  delete(tenant: number, ip: number): void {
    const table = this.tables.get(tenant);
    table?.delete(0, ip);
    if (table?.size === 0) this.tables.delete(tenant);
    this.lastTenant = -1;
  }
}
