// The Open_vSwitch database as DaoliNet uses it: our bridge with its controller, and ports on it, whose numbers come
// back from ovs-vswitchd. Everything goes over one OVSDB connection and its replica; no child process is started. It
// outlives restarts of ovsdb-server and ovs-vswitchd: what was under way looks at the database again and goes on, within
// its deadline.

import { DaoliError } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import type { PortNo } from '../openflow/constants';
import type { OvsdbClient } from '../ovsdb/client';
import type { ReplicaChange } from '../ovsdb/replica';
import type { StoredRow } from '../ovsdb/rows';
import { isRow, mutate } from '../ovsdb/operations';
import { sameValue } from '../ovsdb/values';
import {
  backupOps,
  backupStatuses,
  isBackup,
  isForeign,
  type BackupController,
  type BackupStatus,
  type SslFiles,
} from './backup-controllers';
import {
  bridgeOps,
  isOwnTarget,
  mapMutations,
  mutateOps,
  OWNER_KEY,
  redialOps,
  type BridgeProfile,
  type BridgeView,
} from './bridge-profile';
import { OvsDatabase, type OvsDatabaseOptions } from './ovs-database';
import type { BridgeRow, OvsRow, OvsTables, SslRow } from './ovs-tables';
import { addPortOps, changedPortOps, isOwn, ownPorts, portRows, removePortOps, toSwitchPort } from './ports';
import type { PortRows, PortSpec, SwitchPort } from './ports';

export interface SwitchOptions extends BridgeProfile, OvsDatabaseOptions {
  /** How long an operation may take in all, ms. Default 5,000. */
  readonly deadlineMs?: number;
}

export interface SwitchCapabilities {
  readonly ovsVersion: string | undefined;
  readonly datapathTypes: readonly string[];
  readonly interfaceTypes: readonly string[];
}

/** A port came (no `old`), changed its number, error or ids, or went (no `port`). */
export interface PortChange {
  readonly name: string;
  readonly old: SwitchPort | undefined;
  readonly port: SwitchPort | undefined;
}

const DEADLINE_MS = 5_000;
/** What a removal may take: its caller gives something back, and waits for nothing that is away. */
const REMOVAL_MS = 1_000;
const DATAPATH_ID = /^[0-9a-f]{16}$/;

export class Switch {
  private readonly database: OvsDatabase;
  private readonly queue = new KeyedQueue();
  private readonly portListeners = new Set<(change: PortChange) => void>();
  private readonly bridgeLostListeners = new Set<() => void>();
  private readonly controllerListeners = new Set<() => void>();
  private readonly known = new Map<string, SwitchPort>();
  /** Names of removed ports to the configuration that removes them, until ovs-vswitchd has carried it out. */
  private readonly removals = new Map<string, number>();

  /** Throws `invalid` for a datapath id that is none. */
  constructor(private readonly options: SwitchOptions) {
    const { datapathId } = options;
    if (!DATAPATH_ID.test(datapathId)) {
      throw new DaoliError('invalid', `datapath id "${datapathId}" is not 16 hexadecimal digits`, datapathId);
    }
    this.database = new OvsDatabase(options);
    this.database.replica.onChange((changes) => changes.forEach((change) => this.handleChange(change)));
  }

  /** The client below, for its events and state. */
  get client(): OvsdbClient {
    return this.database.client;
  }

  /** Begins to connect. Idempotent. */
  start(): void {
    this.database.start();
  }

  /** Idempotent. */
  stop(): void {
    this.database.stop();
  }

  /** Resolves when the database was read. Throws `unavailable` after the deadline. */
  whenReady(): Promise<void> {
    return this.database.whenReady(this.deadline());
  }

  /** Throws `unavailable` until the database was read. */
  get capabilities(): SwitchCapabilities {
    const {
      ovs_version: ovsVersion,
      datapath_types: datapathTypes,
      iface_types: interfaceTypes,
    } = this.database.root();
    return { ovsVersion, datapathTypes, interfaceTypes };
  }

  /**
   * Makes the bridge with its controller, or mends what differs from the profile, in one transaction, and waits until
   * ovs-vswitchd has carried it out. Idempotent. Throws `conflict` if the bridge is somebody else's, `unsupported` if
   * OVS cannot have it with that datapath type (a bridge that this call made is gone again then), `unavailable` if OVS
   * does not answer within the deadline.
   */
  ensureBridge(): Promise<void> {
    return this.queue.run(this.options.bridge, async () => {
      const deadline = this.deadline();
      const { isNew, configuration } = await this.database.whileConnected(deadline, () => this.transactBridge());
      await this.database.whenConfigured(configuration, deadline);
      const { bridge, datapathType } = this.options;
      const local = portRows(this.database.replica, bridge)?.interface;
      if (local?.ofport !== undefined && local.ofport > 0) return;
      if (isNew) await this.removeBridge(deadline);
      // For a datapath that it cannot open OVS says nothing in the database.
      const reason = local?.error ?? 'see the log of ovs-vswitchd';
      const text = `OVS cannot make bridge ${bridge} with datapath type ${datapathType}: ${reason}`;
      throw new DaoliError('unsupported', text, bridge);
    });
  }

  /**
   * Adds a network device to the bridge and resolves with its OpenFlow port number. Idempotent: a port that is there is
   * given the ids and taken as it is; one in error, or with `isNewDevice`, is made anew. Throws `conflict` if the name
   * is another's, `internal` with OVS's own words if the device cannot be opened, `unavailable` after the deadline;
   * after the last two the port is removed again.
   */
  addPort(spec: PortSpec): Promise<PortNo> {
    return this.queue.run(spec.name, async () => {
      const deadline = this.deadline();
      if (spec.isNewDevice) await this.removePortNow(spec.name, deadline);
      else await this.database.whenReady(deadline);
      // A removal and an addition that ovs-vswitchd sees at once cancel out, and it keeps the device that is gone.
      await this.database.whenConfigured(this.removals.get(spec.name) ?? 0, deadline);
      await this.database.whileConnected(deadline, () => this.transactPort(spec));
      try {
        return await this.database.waitForInterface(spec.name, () => this.portNoOrThrow(spec.name), deadline);
      } catch (error) {
        // At once or never: the caller has waited long enough.
        await this.removePortNow(spec.name, this.database.deadlineIn(REMOVAL_MS)).catch(() => {});
        throw error;
      }
    });
  }

  /** Adds a port whose device OVS makes itself, as addPort does. `mac` is its address; it can be changed later. */
  ensureInternalPort(name: string, options: { mac?: string; ofportRequest?: number } = {}): Promise<PortNo> {
    return this.addPort({ name, type: 'internal', externalIds: {}, ...options });
  }

  /** Takes a port off the bridge. Idempotent. Throws `conflict` if the name is another's, `unavailable` after 1 s. */
  removePort(name: string): Promise<void> {
    return this.queue.run(name, () => this.removePortNow(name, this.database.deadlineIn(REMOVAL_MS)));
  }

  /** Our ports, without the bridge's own. */
  ports(): SwitchPort[] {
    return ownPorts(this.database.replica, this.options.bridge);
  }

  /** One of our ports. */
  port(name: string): SwitchPort | undefined {
    return this.known.get(name);
  }

  /** Calls back when a port of ours came, changed or went. Returns what ends it. */
  onPortChange(listener: (change: PortChange) => void): () => void {
    this.portListeners.add(listener);
    return () => void this.portListeners.delete(listener);
  }

  /** Calls back when our bridge was taken out of the database. Returns what ends it. */
  onBridgeLost(listener: () => void): () => void {
    this.bridgeLostListeners.add(listener);
    return () => void this.bridgeLostListeners.delete(listener);
  }

  /**
   * Has OVS connect to these controllers besides its own, and to no others of ours, and show what is in these files. Flows
   * stay. Idempotent. False: another's SSL row is there, so there are none. Throws `unavailable` after the deadline.
   */
  setBackups(backups: readonly BackupController[], files: SslFiles): Promise<boolean> {
    const { bridge, owner } = this.options;
    return this.queue.run(bridge, () =>
      this.database.whileConnected(this.deadline(), async () => {
        const view = this.bridgeView();
        const ssl = this.sslRow();
        const mayHave = !isForeign(ssl);
        const operations = backupOps({ ...view, ssl }, mayHave ? backups : [], { files, owner });
        if (operations.length > 0) await this.database.configure(operations);
        return mayHave;
      }),
    );
  }

  /**
   * Has OVS connect to the bridge's own controller at once: of one that was away it tries again after up to 8 s. Flows and
   * other controllers stay. Throws `unavailable` after the deadline.
   */
  redial(): Promise<void> {
    return this.queue.run(this.options.bridge, () =>
      this.database.whileConnected(this.deadline(), async () => {
        const operations = redialOps(this.bridgeView(), this.options);
        if (operations.length > 0) await this.database.configure(operations);
      }),
    );
  }

  /**
   * Has OVS look at its configuration again. Before 3.3 it follows what its controllers' rows say of the back-off only when it
   * looks while a controller is connected; until then it is 8 s. Throws `unavailable` after the deadline.
   */
  async reconfigure(): Promise<void> {
    await this.database.whileConnected(this.deadline(), () => this.database.configure([]));
  }

  /** The controllers of other hosts that OVS was told of. Throws as bridgeRow() does. */
  backups(): BackupStatus[] {
    return backupStatuses(this.bridgeView().controllers);
  }

  /** Whether OVS's one SSL row is another's. */
  get hasForeignSsl(): boolean {
    return isForeign(this.sslRow());
  }

  /** Calls back when a controller, or the SSL row, is another than before. Returns what ends it. */
  onControllerChange(listener: () => void): () => void {
    this.controllerListeners.add(listener);
    return () => void this.controllerListeners.delete(listener);
  }

  /** Sets keys of Open_vSwitch.other_config, OVS's global settings, and leaves all others. Idempotent. */
  setGlobalConfig(values: Readonly<Record<string, string>>): Promise<void> {
    return this.database.whileConnected(this.deadline(), async () => {
      const { _uuid, other_config: now } = this.database.root();
      const operations = mutateOps('Open_vSwitch', _uuid, mapMutations('other_config', now, values));
      if (operations.length > 0) await this.database.transact(operations);
    });
  }

  /** How far the bridge is from its profile, and whose controllers it has besides. Throws as bridgeRow() does. */
  inspect(): { readonly differences: number; readonly otherControllers: readonly string[] } {
    const view = this.bridgeView();
    const otherControllers = view.controllers
      .filter((row) => !isBackup(row))
      .map(({ target }) => target)
      .filter((target) => !isOwnTarget(this.options, target));
    return { differences: bridgeOps(view, this.options).length, otherControllers };
  }

  private deadline(): number {
    return this.database.deadlineIn(this.options.deadlineMs ?? DEADLINE_MS);
  }

  /** The bridge, if it is there. Throws `conflict` if it is not ours. */
  private bridgeRow(): StoredRow<BridgeRow> | undefined {
    const { bridge } = this.options;
    const row = this.database.replica.table('Bridge').findOne('name', bridge);
    if (row === undefined || row.external_ids.has(OWNER_KEY)) return row;
    const text = `a bridge ${bridge} that DaoliNet has not made exists: rename it, or give DaoliNet another bridge name`;
    throw new DaoliError('conflict', text, bridge);
  }

  private async transactBridge(): Promise<{ isNew: boolean; configuration: number }> {
    const view = this.bridgeView();
    const operations = bridgeOps(view, this.options);
    const configuration = operations.length > 0 ? await this.database.configure(operations) : view.ovs.next_cfg;
    return { isNew: view.bridge === undefined, configuration };
  }

  private bridgeView(): BridgeView {
    const { replica } = this.database;
    const ovs = this.database.root();
    const bridge = this.bridgeRow();
    const controllers = (bridge?.controller ?? []).flatMap((uuid) => replica.table('Controller').get(uuid) ?? []);
    return { ovs, bridge, controllers };
  }

  private sslRow(): StoredRow<SslRow> | undefined {
    const { replica } = this.database;
    const [root] = replica.table('Open_vSwitch').rows();
    return root?.ssl && replica.table('SSL').get(root.ssl);
  }

  private removeBridge(deadline: number): Promise<void> {
    return this.database.whileConnected(deadline, async () => {
      const row = this.bridgeRow();
      if (row === undefined) return;
      const { _uuid } = this.database.root();
      await this.database.transact([mutate('Open_vSwitch', isRow(_uuid), [['bridges', 'delete', [row._uuid]]])]);
    });
  }

  private async transactPort(spec: PortSpec): Promise<void> {
    const { owner, bridge: bridgeName } = this.options;
    const gone = () =>
      new DaoliError('unavailable', `bridge ${bridgeName} is not there: it will be made again shortly`, bridgeName);
    const bridge = this.bridgeRow();
    if (bridge === undefined) throw gone();
    const rows = this.ownPortRows(spec.name);
    const isUsable = rows?.interface.error === undefined && rows?.interface.type === (spec.type ?? '');
    if (rows !== undefined && isUsable) {
      const operations = changedPortOps(rows, spec, owner);
      if (operations.length > 0) await this.database.transact(operations);
      return;
    }
    const removal = rows === undefined ? [] : removePortOps(rows);
    const results = await this.database.transact([...removal, ...addPortOps(bridge._uuid, spec, owner)]);
    // The last operation puts the port into the bridge's row, which may have gone in between.
    if (results.at(-1)?.count !== 1) throw gone();
  }

  private async removePortNow(name: string, deadline: number): Promise<void> {
    await this.database.whileConnected(deadline, async () => {
      const rows = this.ownPortRows(name);
      if (rows !== undefined) this.removals.set(name, await this.database.configure(removePortOps(rows)));
    });
  }

  /** A port's rows. Throws `conflict` if it is on another bridge, or not made by us. */
  private ownPortRows(name: string): PortRows | undefined {
    const { bridge } = this.options;
    const rows = portRows(this.database.replica, name);
    if (rows === undefined) return undefined;
    if (isOwn(rows.interface, bridge) && rows.bridgeId === this.bridgeRow()?._uuid) return rows;
    throw new DaoliError('conflict', `an OVS port ${name} that DaoliNet has not made on ${bridge} exists`, name);
  }

  private portNoOrThrow(name: string): PortNo | undefined {
    const row = portRows(this.database.replica, name)?.interface;
    if (row === undefined)
      throw new DaoliError('unavailable', `port ${name} was removed while it was being added`, name);
    if (row.error !== undefined || row.ofport === -1) {
      throw new DaoliError('internal', `OVS cannot open ${name}: ${row.error ?? 'no reason given'}`, name);
    }
    return toSwitchPort(row).portNo;
  }

  private handleChange(change: ReplicaChange<OvsTables>): void {
    if (change.table === 'Interface') this.handleInterface((change.row ?? change.old)?.name ?? '');
    if (change.table === 'Open_vSwitch' && change.row !== undefined) this.forgetRemovals(change.row);
    if (change.table === 'Controller' || change.table === 'SSL') {
      for (const listener of [...this.controllerListeners]) this.client.guard(listener);
    }
    if (change.table !== 'Bridge' || change.row !== undefined || change.old?.name !== this.options.bridge) return;
    for (const listener of [...this.bridgeLostListeners]) this.client.guard(listener);
  }

  /** Those that are carried out, and those that another database knew. */
  private forgetRemovals({ cur_cfg: done, next_cfg: last }: OvsRow): void {
    for (const [name, configuration] of this.removals) {
      if (configuration <= done || configuration > last) this.removals.delete(name);
    }
  }

  private handleInterface(name: string): void {
    const { bridge } = this.options;
    const { replica } = this.database;
    const rows = portRows(replica, name);
    const isOurs =
      rows && isOwn(rows.interface, bridge) && rows.bridgeId === replica.table('Bridge').findOne('name', bridge)?._uuid;
    const old = this.known.get(name);
    const port = isOurs ? toSwitchPort(rows.interface) : undefined;
    if (old === port || (old && port && isSamePort(old, port))) return;
    if (port === undefined) this.known.delete(name);
    else this.known.set(name, port);
    for (const listener of [...this.portListeners]) this.client.guard(() => listener({ name, old, port }));
  }
}

function isSamePort(a: SwitchPort, b: SwitchPort): boolean {
  return a.portNo === b.portNo && a.error === b.error && sameValue(a.externalIds, b.externalIds);
}
