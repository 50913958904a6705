// Bundles: OFPT_BUNDLE_CONTROL and OFPT_BUNDLE_ADD_MESSAGE (OpenFlow 1.4, 7.3.9). All of a bundle's messages are applied
// or none, and a packet sees the tables before or after.

import { OFPT } from './constants';
import type { MessageWriter } from './message-writer';
import { requireLength } from './protocol-error';
import { u16, u32 } from './reader';

export interface BundleControl {
  readonly type: 'bundleControl';
  readonly bundleId: number;
  /** One of OFPBCT. */
  readonly control: number;
  /** Bits of OFPBF, the same in every message of a bundle. */
  readonly flags: number;
}

/** Bytes of OFPT_BUNDLE_ADD_MESSAGE before the message inside it. */
export const BUNDLE_ADD_HEADER = 16;

export function encodeBundleControl(writer: MessageWriter, xid: number, message: BundleControl): void {
  const start = writer.begin(OFPT.BUNDLE_CONTROL, xid);
  writer.u32(message.bundleId);
  writer.u16(message.control);
  writer.u16(message.flags);
  writer.end(start);
}

export function decodeBundleControl(buffer: Buffer, offset: number, end: number): BundleControl {
  requireLength('ofp_bundle_ctrl_msg', end - offset, 16);
  return {
    type: 'bundleControl',
    bundleId: u32(buffer, offset + 8),
    control: u16(buffer, offset + 12),
    flags: u16(buffer, offset + 14),
  };
}

/** Starts an OFPT_BUNDLE_ADD_MESSAGE. One message with the same xid follows, then `writer.end`. */
export function beginBundleAdd(writer: MessageWriter, xid: number, bundleId: number, flags: number): number {
  const start = writer.begin(OFPT.BUNDLE_ADD_MESSAGE, xid);
  writer.u32(bundleId);
  writer.u32(flags);
  return start;
}
