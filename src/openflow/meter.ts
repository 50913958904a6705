// Meters: OFPT_METER_MOD (OpenFlow 1.4, 7.3.4.5). A meter drops what of a flow's packets is over its rate.

import { OFPMBT, OFPMF, OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { ProtocolError, requireLength } from './protocol-error';
import { u16, u32 } from './reader';

/** Only drop bands: OVS has no others. Rate and burst are in the unit of the meter. */
export interface DropBand {
  readonly rate: number;
  readonly burst?: number;
}

export interface MeterMod {
  readonly type: 'meterMod';
  readonly command: 'add' | 'modify' | 'delete';
  /** 1 to the datapath's most, or OFPM_ALL in deletes. */
  readonly meterId: number;
  /** Packets or kilobits a second. */
  readonly unit?: 'pktps' | 'kbps';
  /** Keep statistics. */
  readonly stats?: true;
  readonly bands: readonly DropBand[];
}

const COMMANDS = ['add', 'modify', 'delete'] as const;
const FIXED_LENGTH = 16;
const BAND_LENGTH = 16;

/** Appends the message. OFPMF_BURST is set where a band has a burst. */
export function encodeMeterMod(writer: MessageWriter, xid: number, mod: MeterMod): void {
  const start = writer.begin(OFPT.METER_MOD, xid);
  writer.u16(COMMANDS.indexOf(mod.command));
  writer.u16(meterFlags(mod));
  writer.u32(mod.meterId);
  encodeBands(writer, mod.bands);
  writer.end(start);
}

/** What a meter is, as modifications and OFPMP_METER_CONFIG state it. */
export type MeterConfig = Pick<MeterMod, 'unit' | 'stats' | 'bands'>;

export function meterFlags({ unit, stats, bands }: MeterConfig): number {
  return (
    (unit === 'kbps' ? OFPMF.KBPS : unit === 'pktps' ? OFPMF.PKTPS : 0) |
    (bands.some(({ burst }) => burst !== undefined) ? OFPMF.BURST : 0) |
    (stats ? OFPMF.STATS : 0)
  );
}

export function encodeBands(writer: MessageWriter, bands: readonly DropBand[]): void {
  for (const { rate, burst = 0 } of bands) {
    writer.u32((OFPMBT.DROP << 16) | BAND_LENGTH);
    writer.u32(rate);
    writer.u32(burst);
    writer.u32(0);
  }
}

export function decodeMeterMod(buffer: Buffer, offset: number, end: number): MeterMod {
  requireLength('ofp_meter_mod', end - offset, FIXED_LENGTH);
  const command = COMMANDS[u16(buffer, offset + 8)];
  if (command === undefined) throw new ProtocolError('ofp_meter_mod', `command ${u16(buffer, offset + 8)}`);
  return {
    type: 'meterMod',
    command,
    meterId: u32(buffer, offset + 12),
    ...decodeConfig(u16(buffer, offset + 10), buffer, offset + FIXED_LENGTH, end),
  };
}

/** Decodes flags, and bands that fill `offset` to `end`. Throws ProtocolError for a band that does not drop. */
export function decodeConfig(flags: number, buffer: Buffer, offset: number, end: number): MeterConfig {
  const bands: DropBand[] = [];
  for (let at = offset; at < end; at += BAND_LENGTH) {
    requireLength('ofp_meter_band_header', end - at, BAND_LENGTH);
    if (u32(buffer, at) !== ((OFPMBT.DROP << 16) | BAND_LENGTH)) {
      throw new ProtocolError('ofp_meter_band_header', `type ${u16(buffer, at)} length ${u16(buffer, at + 2)}`);
    }
    const [rate, burst] = [u32(buffer, at + 4), u32(buffer, at + 8)];
    bands.push((flags & OFPMF.BURST) !== 0 ? { rate, burst } : { rate });
  }
  return { ...decodeUnit(flags), ...((flags & OFPMF.STATS) !== 0 ? { stats: true } : {}), bands };
}

function decodeUnit(flags: number): Pick<MeterMod, 'unit'> {
  if ((flags & OFPMF.KBPS) !== 0) return { unit: 'kbps' };
  return (flags & OFPMF.PKTPS) !== 0 ? { unit: 'pktps' } : {};
}
