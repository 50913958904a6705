// What our bridge must be, and the operations that make it so in one transaction. Pure: rows in, operations out; nothing
// to do gives no operations. Bridge and Controller come together, because a first controller on an existing bridge
// flushes its flows; a controller is changed in place, never removed.

import { named, type Mutation, type Operation, type Uuid, type Value } from '../ovsdb/notation';
import { insert, isRow, mutate, update } from '../ovsdb/operations';
import type { StoredRow } from '../ovsdb/rows';
import { sameValue } from '../ovsdb/values';
import type { BridgeRow, ControllerRow, OvsRow } from './ovs-tables';

/** Marks bridges, ports and interfaces as ours; its value names the agent. */
export const OWNER_KEY = 'daolinet-owner';
/** Marks the controllers that are ours: this host's own agent, whatever its target was, and those of other hosts. */
export const ROLE_KEY = 'daolinet-role';
export const LOCAL_ROLE = 'local';

export type DatapathType = 'system' | 'netdev' | 'dummy';

export interface BridgeProfile {
  readonly bridge: string;
  readonly controllerTarget: string;
  /** 16 hexadecimal digits. */
  readonly datapathId: string;
  readonly datapathType: DatapathType;
  readonly hwaddr?: string | undefined;
  readonly owner: string;
}

/** What is there of it. */
export interface BridgeView {
  readonly ovs: StoredRow<OvsRow>;
  readonly bridge: StoredRow<BridgeRow> | undefined;
  readonly controllers: ReadonlyArray<StoredRow<ControllerRow>>;
}

function bridgeColumns({ datapathType }: BridgeProfile) {
  return {
    datapath_type: datapathType,
    fail_mode: 'secure',
    // The controller speaks 1.4; 1.5 alone says how long a flow has been idle.
    protocols: ['OpenFlow13', 'OpenFlow14', 'OpenFlow15'],
    mcast_snooping_enable: false,
    stp_enable: false,
    rstp_enable: false,
  } as const satisfies Partial<BridgeRow>;
}

function bridgeConfig({ datapathId, hwaddr }: BridgeProfile): Record<string, string> {
  return {
    'datapath-id': datapathId,
    'disable-in-band': 'true',
    'forward-bpdu': 'false',
    ...(hwaddr !== undefined && { hwaddr }),
  };
}

/** How OVS is to talk to a controller. */
export function controllerColumns(target: string) {
  return {
    target,
    connection_mode: 'out-of-band',
    max_backoff: 1_000,
    // OVS raises what is below 5 s to 5 s.
    inactivity_probe: 5_000,
    // The second line behind the per-port meters: packet-ins a second of the whole bridge.
    controller_rate_limit: 10_000,
    controller_burst_limit: 10_000,
    // The largest that OVS takes is 512; with its default of 100 bursts are dropped silently.
    controller_queue_size: 511,
  } as const satisfies Partial<ControllerRow>;
}

/** All operations that lead from the view to the profile. */
export function bridgeOps(view: BridgeView, profile: BridgeProfile): Operation[] {
  return view.bridge === undefined
    ? newBridgeOps(view.ovs, profile)
    : [...changedBridgeOps(view.bridge, profile), ...controllerOps(view.bridge, view.controllers, profile)];
}

function newBridgeOps(ovs: StoredRow<OvsRow>, profile: BridgeProfile): Operation[] {
  const { bridge: name, owner } = profile;
  const external_ids = { [OWNER_KEY]: owner };
  return [
    insert('Interface', { name, type: 'internal', external_ids }, { uuidName: 'local_interface' }),
    insert('Port', { name, interfaces: [named('local_interface')], external_ids }, { uuidName: 'local_port' }),
    newController(profile),
    insert(
      'Bridge',
      {
        name,
        ...bridgeColumns(profile),
        other_config: bridgeConfig(profile),
        external_ids,
        ports: [named('local_port')],
        controller: [named('controller')],
      },
      { uuidName: 'bridge' },
    ),
    mutate('Open_vSwitch', isRow(ovs._uuid), [['bridges', 'insert', [named('bridge')]]]),
  ];
}

function newController(profile: BridgeProfile): Operation {
  const row = { ...controllerColumns(profile.controllerTarget), external_ids: { [ROLE_KEY]: LOCAL_ROLE } };
  return insert('Controller', row, { uuidName: 'controller' });
}

function changedBridgeOps(bridge: StoredRow<BridgeRow>, profile: BridgeProfile): Operation[] {
  const changed = differing(bridge, bridgeColumns(profile));
  const mutations = [
    ...mapMutations('other_config', bridge.other_config, bridgeConfig(profile)),
    ...mapMutations('external_ids', bridge.external_ids, { [OWNER_KEY]: profile.owner }),
  ];
  return [...updateOps('Bridge', bridge._uuid, changed), ...mutateOps('Bridge', bridge._uuid, mutations)];
}

/** Whether a target leads to this host's own agent, however it is spelled: see redialOps. */
export function isOwnTarget({ controllerTarget }: Pick<BridgeProfile, 'controllerTarget'>, target: string): boolean {
  return target === controllerTarget || target === respelled(controllerTarget);
}

/**
 * Has OVS connect to the bridge's own controller at once, and not when its back-off is over. It knows controllers by their
 * targets, so the same socket under another name is a new one to it, which it makes before the old one goes: the bridge is
 * never without, and its flows stay. Nothing where the controller's row is not there, or its target has no path.
 */
export function redialOps({ controllers }: BridgeView, profile: BridgeProfile): Operation[] {
  const own = ownController(controllers, profile);
  if (own === undefined) return [];
  const { controllerTarget } = profile;
  const target = own.target === controllerTarget ? respelled(controllerTarget) : controllerTarget;
  return updateOps('Controller', own._uuid, differing(own, { target }));
}

/** The same path with two slashes before its last name. */
function respelled(target: string): string {
  return target.replace(/^(unix:.*\/)/, '$1/');
}

function ownController(controllers: ReadonlyArray<StoredRow<ControllerRow>>, profile: BridgeProfile) {
  return (
    controllers.find(({ target }) => isOwnTarget(profile, target)) ??
    controllers.find(({ external_ids }) => external_ids.get(ROLE_KEY) === LOCAL_ROLE)
  );
}

function controllerOps(
  bridge: StoredRow<BridgeRow>,
  controllers: ReadonlyArray<StoredRow<ControllerRow>>,
  profile: BridgeProfile,
): Operation[] {
  const own = ownController(controllers, profile);
  if (own === undefined) {
    return [
      newController(profile),
      mutate('Bridge', isRow(bridge._uuid), [['controller', 'insert', [named('controller')]]]),
    ];
  }
  const mutations = mapMutations('external_ids', own.external_ids, { [ROLE_KEY]: LOCAL_ROLE });
  const target = isOwnTarget(profile, own.target) ? own.target : profile.controllerTarget;
  return [
    ...updateOps('Controller', own._uuid, differing(own, controllerColumns(target))),
    ...mutateOps('Controller', own._uuid, mutations),
  ];
}

/** The wanted columns that a row does not have so. */
export function differing(row: object, wanted: Readonly<Record<string, Value>>): Record<string, Value> {
  const now = row as Readonly<Record<string, unknown>>;
  return Object.fromEntries(Object.entries(wanted).filter(([column, value]) => !sameValue(now[column], value)));
}

/** Mutations that give a map these pairs and leave all other keys; an `insert` alone never replaces a value. */
export function mapMutations(
  column: string,
  now: ReadonlyMap<string, string>,
  wanted: Readonly<Record<string, string>>,
): Mutation[] {
  const pairs = Object.entries(wanted).filter(([key, value]) => now.get(key) !== value);
  if (pairs.length === 0) return [];
  return [
    [column, 'delete', pairs.map(([key]) => key)],
    [column, 'insert', Object.fromEntries(pairs)],
  ];
}

export function updateOps(table: string, uuid: Uuid, row: Record<string, Value>): Operation[] {
  return Object.keys(row).length === 0 ? [] : [update(table, isRow(uuid), row)];
}

export function mutateOps(table: string, uuid: Uuid, mutations: readonly Mutation[]): Operation[] {
  return mutations.length === 0 ? [] : [mutate(table, isRow(uuid), mutations)];
}
