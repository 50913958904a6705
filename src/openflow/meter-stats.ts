// What meters there are, what they dropped, and what the datapath can do: OFPMP_METER, OFPMP_METER_CONFIG and
// OFPMP_METER_FEATURES (OpenFlow 1.4, 7.3.5.13 to 7.3.5.15).

import { OFPMP } from './constants';
import type { MessageWriter } from './message-writer';
import type { MeterConfig } from './meter';
import { decodeConfig, encodeBands, meterFlags } from './meter';
import type { Part } from './multipart';
import { MULTIPART_HEADER, beginReply, beginRequest, hasMore } from './multipart';
import { ProtocolError, requireLength } from './protocol-error';
import { counter, u16, u32 } from './reader';

/** For one meter, or OFPM_ALL. */
export interface MeterRequest {
  readonly type: 'meterStatsRequest' | 'meterConfigRequest';
  readonly meterId: number;
}

export interface MeterStats {
  readonly meterId: number;
  readonly flowCount: number;
  readonly packetInCount: number;
  readonly byteInCount: number;
  readonly durationSeconds: number;
  readonly durationNanoseconds: number;
  /** What each band dropped. */
  readonly bands: readonly { readonly packetCount: number; readonly byteCount: number }[];
}

export interface MeterStatsReply extends Part {
  readonly type: 'meterStatsReply';
  readonly meters: readonly MeterStats[];
}

export interface MeterConfigReply extends Part {
  readonly type: 'meterConfigReply';
  readonly meters: readonly (MeterConfig & { readonly meterId: number })[];
}

export interface MeterFeaturesReply {
  readonly type: 'meterFeaturesReply';
  /** 0 where the datapath has no meters. */
  readonly maxMeter: number;
  /** Bits 1 << OFPMBT. */
  readonly bandTypes: number;
  /** Bits of OFPMF. */
  readonly capabilities: number;
  readonly maxBands: number;
  readonly maxColor: number;
}

const STATS_LENGTH = 40;
const BAND_STATS_LENGTH = 16;
const CONFIG_LENGTH = 8;

export function encodeMeterRequest(writer: MessageWriter, xid: number, request: MeterRequest): void {
  const type = request.type === 'meterStatsRequest' ? OFPMP.METER : OFPMP.METER_CONFIG;
  const start = beginRequest(writer, xid, type);
  writer.u32(request.meterId);
  writer.u32(0);
  writer.end(start);
}

export function decodeMeterRequest(
  type: MeterRequest['type'],
  buffer: Buffer,
  offset: number,
  end: number,
): MeterRequest {
  requireLength('ofp_meter_multipart_request', end - offset, MULTIPART_HEADER + 8);
  return { type, meterId: u32(buffer, offset + MULTIPART_HEADER) };
}

export function encodeMeterStatsReply(writer: MessageWriter, xid: number, reply: MeterStatsReply): void {
  const start = beginReply(writer, xid, OFPMP.METER, reply);
  for (const meter of reply.meters) {
    writer.u32(meter.meterId);
    writer.u16(STATS_LENGTH + BAND_STATS_LENGTH * meter.bands.length);
    writer.zeros(6);
    writer.u32(meter.flowCount);
    writer.counter(meter.packetInCount);
    writer.counter(meter.byteInCount);
    writer.u32(meter.durationSeconds);
    writer.u32(meter.durationNanoseconds);
    for (const { packetCount, byteCount } of meter.bands) {
      writer.counter(packetCount);
      writer.counter(byteCount);
    }
  }
  writer.end(start);
}

export function decodeMeterStatsReply(buffer: Buffer, offset: number, end: number): MeterStatsReply {
  const meters: MeterStats[] = [];
  for (let at = offset + MULTIPART_HEADER; at < end; at += u16(buffer, at + 4)) {
    requireLength('ofp_meter_stats', end - at, STATS_LENGTH);
    const length = u16(buffer, at + 4);
    const isWhole = length >= STATS_LENGTH && (length - STATS_LENGTH) % BAND_STATS_LENGTH === 0 && at + length <= end;
    if (!isWhole) throw new ProtocolError('ofp_meter_stats', `length ${length}`);
    meters.push(decodeMeterStats(buffer, at, at + length));
  }
  return { type: 'meterStatsReply', more: hasMore(buffer, offset), meters };
}

function decodeMeterStats(buffer: Buffer, at: number, end: number): MeterStats {
  const bands: MeterStats['bands'][number][] = [];
  for (let band = at + STATS_LENGTH; band < end; band += BAND_STATS_LENGTH) {
    bands.push({ packetCount: counter(buffer, band), byteCount: counter(buffer, band + 8) });
  }
  return {
    meterId: u32(buffer, at),
    flowCount: u32(buffer, at + 12),
    packetInCount: counter(buffer, at + 16),
    byteInCount: counter(buffer, at + 24),
    durationSeconds: u32(buffer, at + 32),
    durationNanoseconds: u32(buffer, at + 36),
    bands,
  };
}

export function encodeMeterConfigReply(writer: MessageWriter, xid: number, reply: MeterConfigReply): void {
  const start = beginReply(writer, xid, OFPMP.METER_CONFIG, reply);
  for (const meter of reply.meters) {
    const entry = writer.position;
    writer.u16(0);
    writer.u16(meterFlags(meter));
    writer.u32(meter.meterId);
    encodeBands(writer, meter.bands);
    writer.setU16(entry, writer.position - entry);
  }
  writer.end(start);
}

export function decodeMeterConfigReply(buffer: Buffer, offset: number, end: number): MeterConfigReply {
  const meters: MeterConfigReply['meters'][number][] = [];
  for (let at = offset + MULTIPART_HEADER; at < end; at += u16(buffer, at)) {
    requireLength('ofp_meter_config', end - at, CONFIG_LENGTH);
    const length = u16(buffer, at);
    if (length < CONFIG_LENGTH || at + length > end) throw new ProtocolError('ofp_meter_config', `length ${length}`);
    const config = decodeConfig(u16(buffer, at + 2), buffer, at + CONFIG_LENGTH, at + length);
    meters.push({ meterId: u32(buffer, at + 4), ...config });
  }
  return { type: 'meterConfigReply', more: hasMore(buffer, offset), meters };
}

export function encodeMeterFeaturesReply(writer: MessageWriter, xid: number, reply: MeterFeaturesReply): void {
  const start = beginReply(writer, xid, OFPMP.METER_FEATURES, { more: false });
  writer.u32(reply.maxMeter);
  writer.u32(reply.bandTypes);
  writer.u32(reply.capabilities);
  writer.u8(reply.maxBands);
  writer.u8(reply.maxColor);
  writer.zeros(2);
  writer.end(start);
}

export function decodeMeterFeaturesReply(buffer: Buffer, offset: number, end: number): MeterFeaturesReply {
  const body = offset + MULTIPART_HEADER;
  requireLength('ofp_meter_features', end - body, 16);
  return {
    type: 'meterFeaturesReply',
    maxMeter: u32(buffer, body),
    bandTypes: u32(buffer, body + 4),
    capabilities: u32(buffer, body + 8),
    maxBands: buffer[body + 12] as number,
    maxColor: buffer[body + 13] as number,
  };
}
