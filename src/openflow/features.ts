// OFPT_FEATURES_REPLY: struct ofp_switch_features (OpenFlow 1.4, 7.3.1).

import { OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { requireLength } from './protocol-error';
import { u32, u64 } from './reader';

export interface FeaturesReply {
  readonly type: 'featuresReply';
  readonly datapathId: bigint;
  /** Packets that the datapath holds for the controller. OVS: 0. */
  readonly bufferCount: number;
  readonly tableCount: number;
  /** 0 for the main connection. */
  readonly auxiliaryId: number;
  /** Bits of enum ofp_capabilities. */
  readonly capabilities: number;
}

export function encodeFeaturesReply(writer: MessageWriter, xid: number, features: FeaturesReply): void {
  const start = writer.begin(OFPT.FEATURES_REPLY, xid);
  writer.u64(features.datapathId);
  writer.u32(features.bufferCount);
  writer.u8(features.tableCount);
  writer.u8(features.auxiliaryId);
  writer.zeros(2);
  writer.u32(features.capabilities);
  writer.u32(0);
  writer.end(start);
}

export function decodeFeaturesReply(buffer: Buffer, offset: number, end: number): FeaturesReply {
  requireLength('ofp_switch_features', end - offset, 32);
  return {
    type: 'featuresReply',
    datapathId: u64(buffer, offset + 8),
    bufferCount: u32(buffer, offset + 16),
    tableCount: buffer[offset + 20] as number,
    auxiliaryId: buffer[offset + 21] as number,
    capabilities: u32(buffer, offset + 24),
  };
}
