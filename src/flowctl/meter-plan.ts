// One meter for each port that may cause packet-ins; its id is the port's number. Meters have no cookie, so only those of
// our own ports are touched. Flow mods name meters, so meters come before them and go after them.

import { encodeMeterMod, type MeterMod } from '../openflow/meter';
import type { MeterConfigReply } from '../openflow/meter-stats';
import type { MessageWriter } from '../openflow/message-writer';
import type { FlowSettings } from './model';

type ListedMeter = MeterConfigReply['meters'][number];

/** The meter of a port. */
export function meterOf(portNo: number, command: MeterMod['command'], settings: FlowSettings): MeterMod {
  if (command === 'delete') return { type: 'meterMod', command, meterId: portNo, bands: [] };
  const band = { rate: settings.packetInRate, burst: settings.packetInBurst };
  return { type: 'meterMod', command, meterId: portNo, unit: 'pktps', bands: [band] };
}

/** Appends a port's meter as if there was none before: a delete of what is not there is no error, a second add is. */
export function appendFreshMeter(writer: MessageWriter, xid: number, portNo: number, settings: FlowSettings): void {
  encodeMeterMod(writer, xid, meterOf(portNo, 'delete', settings));
  encodeMeterMod(writer, xid, meterOf(portNo, 'add', settings));
}

/** What the datapath has, held against what it should have. */
export class MeterPlan {
  private readonly listed = new Map<number, boolean>();

  constructor(private readonly settings: FlowSettings) {}

  take(meters: readonly ListedMeter[]): void {
    for (const meter of meters) this.listed.set(meter.meterId, this.isRight(meter));
  }

  /** Appends what makes the meter of `portNo` right. A meter that is in use is changed, not replaced. */
  append(writer: MessageWriter, xid: number, portNo: number): void {
    const isRight = this.listed.get(portNo);
    if (isRight === true) return;
    encodeMeterMod(writer, xid, meterOf(portNo, isRight === undefined ? 'add' : 'modify', this.settings));
  }

  private isRight(meter: ListedMeter): boolean {
    const [band, more] = meter.bands;
    const { packetInRate, packetInBurst } = this.settings;
    return meter.unit === 'pktps' && band?.rate === packetInRate && band.burst === packetInBurst && more === undefined;
  }
}
