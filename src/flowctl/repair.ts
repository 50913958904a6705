// One resynchronisation over a connection: asks for meters and flows, and when both are listed sends what resync.ts plans,
// as fast as the datapath reads it. Begun on connecting, and when host or policy change.

import { OURS } from './pipeline';
import { encodeFlowStatsRequest } from '../openflow/flow-stats';
import { encodeMessage } from '../openflow/message';
import { encodeMeterMod } from '../openflow/meter';
import { encodeMeterRequest, type MeterConfigReply } from '../openflow/meter-stats';
import { OFPM_ALL } from '../openflow/constants';
import type { Connection } from './connection';
import type { ConversationRules } from './conversation-rules';
import type { DatapathState } from './datapath-state';
import { DesiredFlows } from './desired-flows';
import type { Inventory } from './inventory';
import { MeterPlan, meterOf } from './meter-plan';
import type { FlowSettings } from './model';
import { Resync, type ResyncOptions } from './resync';
import type { RouteRules } from './route-rules';
import type { StaticWriter } from './static-writer';

/** Unsent bytes over which the next step waits. */
const HIGH_WATER_BYTES = 1024 * 1024;

export interface RepairParts {
  readonly inventory: Inventory;
  readonly settings: FlowSettings;
  readonly datapath: DatapathState;
  readonly routes: RouteRules;
  readonly conversations: ConversationRules;
  readonly staticWriter: StaticWriter;
}

export class Repair {
  /** The name of an error that the datapath answered. */
  failure: string | undefined;
  private readonly resync: Resync;
  private readonly meters: MeterPlan;
  private isFlowsListed = false;
  private isMetersListed = false;
  private plan: Generator<void> | undefined;

  constructor(
    private readonly parts: RepairParts,
    private readonly connection: Connection,
    private readonly options: ResyncOptions,
  ) {
    const { inventory, datapath, routes, conversations, staticWriter } = parts;
    const flows = new DesiredFlows(inventory, datapath.number, staticWriter);
    this.resync = new Resync({ endpoints: inventory.endpoints, datapath, flows, routes, conversations }, options);
    this.meters = new MeterPlan(parts.settings);
  }

  get xid(): number {
    return this.options.xid;
  }

  get isAtomic(): boolean {
    return this.options.atomic;
  }

  get isRepairing(): boolean {
    return this.isFlowsListed && this.isMetersListed;
  }

  /** Flow mods that it took. */
  get repaired(): number {
    return this.resync.repaired;
  }

  begin(): void {
    const { writer } = this.connection;
    encodeMeterRequest(writer, this.xid, { type: 'meterConfigRequest', meterId: OFPM_ALL });
    encodeFlowStatsRequest(writer, this.xid, { type: 'flowStatsRequest', match: {}, ...OURS });
  }

  readonly takeFlow = (buffer: Buffer, at: number, length: number): void => this.resync.takeFlow(buffer, at, length);

  flowsListed(isLast: boolean): void {
    if (!isLast) return;
    this.isFlowsListed = true;
    this.repairWhenListed();
  }

  takeMeters(meters: MeterConfigReply['meters'], isLast: boolean): void {
    this.meters.take(meters);
    if (!isLast) return;
    this.isMetersListed = true;
    this.repairWhenListed();
  }

  /** Goes on with the plan as far as the datapath reads. */
  continue(): void {
    const { connection, plan } = this;
    while (plan !== undefined && this.plan === plan && connection.queuedBytes < HIGH_WATER_BYTES) {
      if (plan.next().done === true) this.finish();
      connection.flush();
    }
  }

  private repairWhenListed(): void {
    if (!this.isRepairing || this.plan !== undefined) return;
    this.repairMeters();
    this.plan = this.resync.plan(this.connection.writer);
    this.continue();
  }

  private repairMeters(): void {
    const { inventory, datapath } = this.parts;
    const { endpoints } = inventory;
    const { writer } = this.connection;
    for (const portNo of inventory.ownPorts()) this.meters.append(writer, this.xid, portNo);
    endpoints.forEachOn(datapath.number, (slot) => this.meters.append(writer, this.xid, endpoints.portNoOf(slot)));
  }

  /** Everything is sent: the answer to the barrier is the end. */
  private finish(): void {
    const { writer } = this.connection;
    this.plan = undefined;
    for (const portNo of this.resync.portsGone()) {
      encodeMeterMod(writer, this.xid, meterOf(portNo, 'delete', this.parts.settings));
    }
    encodeMessage(writer, this.xid, { type: 'barrierRequest' });
  }
}
