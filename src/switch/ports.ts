// The ports of our bridge as rows and operations. Pure: the replica's rows in, ports and operations out.

import type { PortNo } from '../openflow/constants';
import { named, type Operation, type Uuid } from '../ovsdb/notation';
import { insert, isRow, mutate } from '../ovsdb/operations';
import type { Replica } from '../ovsdb/replica';
import type { StoredRow } from '../ovsdb/rows';
import { mapMutations, mutateOps, OWNER_KEY, updateOps } from './bridge-profile';
import type { InterfaceRow, OvsTables, PortRow } from './ovs-tables';

export interface PortSpec {
  /** The device's name, as the host's end of a veth pair. */
  readonly name: string;
  /** Asks for this OpenFlow port number, 1 to 65,279; OVS gives another one if it is taken. */
  readonly ofportRequest?: number | undefined;
  /** Kept on Port and Interface, as `daolinet` = endpoint id. */
  readonly externalIds: Readonly<Record<string, string>>;
  /** OVS's interface type; '' (the default) is an existing network device, 'internal' one that OVS makes. */
  readonly type?: '' | 'internal';
  /**
   * The device was made just now. A port that is left under its name belongs to a device that is gone, which OVS goes
   * on using; it is removed first.
   */
  readonly isNewDevice?: boolean;
  /** The address of an internal port. */
  readonly mac?: string | undefined;
}

export interface SwitchPort {
  readonly name: string;
  /** Undefined until ovs-vswitchd has opened the device, and when it could not. */
  readonly portNo: PortNo | undefined;
  readonly externalIds: ReadonlyMap<string, string>;
  /** Why ovs-vswitchd could not open the device. */
  readonly error: string | undefined;
}

/** A port's rows, and the bridge that it is on. */
export interface PortRows {
  readonly port: StoredRow<PortRow>;
  readonly interface: StoredRow<InterfaceRow>;
  readonly bridgeId: Uuid | undefined;
}

type OvsReplica = Replica<OvsTables>;

export function portRows(replica: OvsReplica, name: string): PortRows | undefined {
  const port = replica.table('Port').findOne('name', name);
  return port && rowsOf(replica, port);
}

/** All ports of a bridge that have our mark, but for the bridge's own local port. */
export function ownPorts(replica: OvsReplica, bridge: string): SwitchPort[] {
  const row = replica.table('Bridge').findOne('name', bridge);
  return (row?.ports ?? [])
    .map((uuid) => replica.table('Port').get(uuid))
    .map((port) => port && rowsOf(replica, port))
    .filter((rows) => rows !== undefined && isOwn(rows.interface, bridge))
    .map((rows) => toSwitchPort((rows as PortRows).interface));
}

function rowsOf(replica: OvsReplica, port: StoredRow<PortRow>): PortRows | undefined {
  const [interfaceId] = port.interfaces;
  const row = interfaceId && replica.table('Interface').get(interfaceId);
  const bridgeId = replica.table('Bridge').findOne('ports', port._uuid)?._uuid;
  return row && { port, interface: row, bridgeId };
}

export function isOwn(row: InterfaceRow, bridge: string): boolean {
  return row.external_ids.has(OWNER_KEY) && row.name !== bridge;
}

export function toSwitchPort(row: InterfaceRow): SwitchPort {
  const { name, ofport, external_ids: externalIds, error } = row;
  return { name, portNo: ofport !== undefined && ofport > 0 ? (ofport as PortNo) : undefined, externalIds, error };
}

/** Interface, Port, and its place in the bridge. */
export function addPortOps(bridgeId: Uuid, spec: PortSpec, owner: string): Operation[] {
  const { name, type = '', ofportRequest, mac } = spec;
  const external_ids = { ...spec.externalIds, [OWNER_KEY]: owner };
  const row = { name, type, ofport_request: ofportRequest, mac, external_ids };
  return [
    insert('Interface', row, { uuidName: 'new_interface' }),
    insert('Port', { name, interfaces: [named('new_interface')], external_ids }, { uuidName: 'new_port' }),
    mutate('Bridge', isRow(bridgeId), [['ports', 'insert', [named('new_port')]]]),
  ];
}

/** Takes a port off its bridge; its rows, which nothing refers to then, go by themselves. */
export function removePortOps(rows: PortRows): Operation[] {
  if (rows.bridgeId === undefined) return [];
  return [mutate('Bridge', isRow(rows.bridgeId), [['ports', 'delete', [rows.port._uuid]]])];
}

/** What an existing port lacks of its specification. */
export function changedPortOps(rows: PortRows, spec: PortSpec, owner: string): Operation[] {
  const wanted = { ...spec.externalIds, [OWNER_KEY]: owner };
  const { port, interface: row } = rows;
  const changed = {
    ...(spec.mac !== undefined && row.mac !== spec.mac && { mac: spec.mac }),
    ...(spec.ofportRequest !== undefined &&
      row.ofport_request !== spec.ofportRequest && { ofport_request: spec.ofportRequest }),
  };
  return [
    ...updateOps('Interface', row._uuid, changed),
    ...mutateOps('Interface', row._uuid, mapMutations('external_ids', row.external_ids, wanted)),
    ...mutateOps('Port', port._uuid, mapMutations('external_ids', port.external_ids, wanted)),
  ];
}
