// The tables and columns of OVS's own database (ovs-vswitchd.conf.db(5)) that DaoliNet reads, as row types and as what
// the replica holds of them.

import type { Uuid } from '../ovsdb/notation';
import type { ReplicaTables } from '../ovsdb/replica';

type Strings = ReadonlyMap<string, string>;

export interface OvsRow {
  readonly bridges: readonly Uuid[];
  readonly next_cfg: number;
  readonly cur_cfg: number;
  readonly ovs_version: string | undefined;
  readonly datapath_types: readonly string[];
  readonly iface_types: readonly string[];
  readonly other_config: Strings;
  readonly ssl: Uuid | undefined;
}

export interface BridgeRow {
  readonly name: string;
  readonly ports: readonly Uuid[];
  readonly controller: readonly Uuid[];
  readonly datapath_type: string;
  readonly fail_mode: 'standalone' | 'secure' | undefined;
  readonly protocols: readonly string[];
  readonly mcast_snooping_enable: boolean;
  readonly stp_enable: boolean;
  readonly rstp_enable: boolean;
  readonly other_config: Strings;
  readonly external_ids: Strings;
}

export interface PortRow {
  readonly name: string;
  readonly interfaces: readonly Uuid[];
  readonly external_ids: Strings;
}

export interface InterfaceRow {
  readonly name: string;
  readonly type: string;
  readonly mac: string | undefined;
  /** The OpenFlow port number; -1 if the device could not be opened, undefined until ovs-vswitchd has seen the row. */
  readonly ofport: number | undefined;
  readonly ofport_request: number | undefined;
  readonly error: string | undefined;
  readonly external_ids: Strings;
}

export interface ControllerRow {
  readonly target: string;
  readonly connection_mode: 'in-band' | 'out-of-band' | undefined;
  readonly max_backoff: number | undefined;
  readonly inactivity_probe: number | undefined;
  readonly controller_rate_limit: number | undefined;
  readonly controller_burst_limit: number | undefined;
  readonly controller_queue_size: number | undefined;
  readonly external_ids: Strings;
  readonly is_connected: boolean;
  readonly role: 'master' | 'slave' | 'other' | undefined;
}

export interface SslRow {
  readonly private_key: string;
  readonly certificate: string;
  readonly ca_cert: string;
  readonly bootstrap_ca_cert: boolean;
  readonly external_ids: Strings;
}

/** Spelled as in the database. */
export interface OvsTables {
  Open_vSwitch: OvsRow;
  Bridge: BridgeRow;
  Port: PortRow;
  Interface: InterfaceRow;
  Controller: ControllerRow;
  SSL: SslRow;
}

/** The columns of each table, held to its row type in both directions by the compiler. */
const COLUMNS: { readonly [Table in keyof OvsTables]: { readonly [Column in keyof OvsTables[Table]]: true } } = {
  Open_vSwitch: {
    bridges: true,
    next_cfg: true,
    cur_cfg: true,
    ovs_version: true,
    datapath_types: true,
    iface_types: true,
    other_config: true,
    ssl: true,
  },
  Bridge: {
    name: true,
    ports: true,
    controller: true,
    datapath_type: true,
    fail_mode: true,
    protocols: true,
    mcast_snooping_enable: true,
    stp_enable: true,
    rstp_enable: true,
    other_config: true,
    external_ids: true,
  },
  Port: { name: true, interfaces: true, external_ids: true },
  Interface: {
    name: true,
    type: true,
    mac: true,
    ofport: true,
    ofport_request: true,
    error: true,
    external_ids: true,
  },
  Controller: {
    target: true,
    connection_mode: true,
    max_backoff: true,
    inactivity_probe: true,
    controller_rate_limit: true,
    controller_burst_limit: true,
    controller_queue_size: true,
    external_ids: true,
    is_connected: true,
    role: true,
  },
  SSL: { private_key: true, certificate: true, ca_cert: true, bootstrap_ca_cert: true, external_ids: true },
};

const columns = (table: keyof OvsTables) => Object.keys(COLUMNS[table]);

export const OVS_TABLES: ReplicaTables<OvsTables> = {
  Open_vSwitch: { columns: columns('Open_vSwitch') },
  Bridge: { columns: columns('Bridge'), indexes: { name: ['name'], ports: ['ports'] } },
  Port: { columns: columns('Port'), indexes: { name: ['name'], interfaces: ['interfaces'] } },
  Interface: { columns: columns('Interface'), indexes: { name: ['name'] } },
  Controller: { columns: columns('Controller') },
  SSL: { columns: columns('SSL') },
};
